//! One Service: what is on it, what is remembered of writing it, and what is to be done. Pure.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use roadstead_model::report::ServiceReport;

use super::{
    claim::{Claim, Contest},
    pace::Bucket,
    status::{Applied, Lack},
};
use crate::kubernetes::{
    api::backoff::Backoff,
    read::observed::{Marks, Observed},
    timing::Timing,
};

/// Conditions are written this long after the last write of the object, so that what passes within
/// is one write. The finalizer and addresses never wait.
const SETTLE: Duration = Duration::from_secs(1);

/// Writes of one object: so many at once, and one more each: a tenant who undoes each of them costs no
/// other tenant anything (S6).
const OF_OBJECT: (u32, Duration) = (5, Duration::from_secs(2));
/// Within this time the speaker has heard, and written down, that an object is clean.
const HEARD: Duration = Duration::from_secs(10);

/// What is to be written to a Service, in the order in which Services are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Its announcement waits for the finalizer.
    Guard,
    /// Its deletion waits for us.
    Clean,
    /// An address.
    Ingress,
    /// Conditions.
    Conditions,
}

/// What is to be done with a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// Nothing, until something changes.
    Rest,
    /// Nothing before this moment.
    Wait(Instant),
    /// This is to be on it.
    Apply(Box<Apply>),
    /// Nothing of ours is to be on the object with this uid.
    Clean(Arc<str>),
}

/// What is to be on a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Apply {
    pub(super) uid: Arc<str>,
    pub(super) applied: Applied,
    pub(super) lack: Lack,
    /// Where somebody wrote over our addresses.
    pub(super) restored_from: Option<Arc<str>>,
}

/// One Service.
#[derive(Debug)]
pub(super) struct Entry {
    /// As the API server last showed it; none: it is not there, or no load balancer.
    pub(super) observed: Option<Arc<Observed>>,
    /// A request about it is on its way.
    pub(super) in_flight: bool,
    /// A conflict was met at this version of it.
    pub(super) has_conflict: bool,
    /// What is wrong with writing it.
    pub(super) wrong: Option<String>,
    contest: Contest,
    /// What was applied last, and what came of it: the same is never tried twice on the same.
    done: Option<(u64, u64)>,
    writes: Bucket,
    last_write: Option<Instant>,
    not_before: Option<Instant>,
    backoff: Backoff,
    /// The object of which everything was taken off, and when the speaker was told.
    clean: Option<(Arc<str>, Instant)>,
}

/// What is said of one Service.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said<'a> {
    /// It is to show this.
    Shows(&'a ServiceReport),
    /// It holds nothing and is no concern of ours any more; it was this object that was written to.
    Lapsed(&'a Arc<str>),
    /// It holds something, and nothing is known that should be on it.
    Kept,
    /// Nothing: it holds nothing, and is no concern of ours.
    Nothing,
}

impl Entry {
    pub(super) fn new(timing: &Timing, now: Instant) -> Self {
        Self {
            observed: None,
            in_flight: false,
            has_conflict: false,
            wrong: None,
            contest: Contest::default(),
            done: None,
            writes: Bucket::new(OF_OBJECT.0, OF_OBJECT.1, now),
            last_write: None,
            not_before: None,
            backoff: Backoff::new(timing.retry, timing.retry_most),
            clean: None,
        }
    }

    /// Takes what the API server shows now; what it showed before is the past.
    pub(super) fn see(&mut self, seen: Option<Arc<Observed>>, now: Instant) {
        let before = self.observed.take();
        match (&before, &seen) {
            (Some(old), Some(new)) if old.uid == new.uid => {
                if !self.in_flight {
                    self.contest.note(&old.marks, &new.marks, now);
                }
                self.has_conflict &= old.version == new.version;
            }
            _ => self.forget(),
        }
        self.observed = seen;
    }

    /// Another object has the name, or none.
    fn forget(&mut self) {
        self.contest = Contest::default();
        (self.done, self.last_write, self.not_before) = (None, None, None);
        (self.wrong, self.has_conflict) = (None, false);
        self.backoff.reset();
    }

    /// What is to be done.
    pub(super) fn intent(&self, said: Said<'_>, now: Instant) -> Intent {
        let intent = match said {
            Said::Shows(report) => self.showing(report, now),
            Said::Lapsed(uid) => self.cleaning(uid, now),
            Said::Kept => Intent::Rest,
            Said::Nothing => match &self.observed {
                Some(seen) if seen.marks.is_marked => {
                    self.unless_done(Intent::Clean(seen.uid.clone()))
                }
                Some(_) | None => Intent::Rest,
            },
        };
        let free = self.writes.ready_at(now).max(self.not_before.unwrap_or(now));
        match intent {
            Intent::Apply(_) | Intent::Clean(_) if free > now => Intent::Wait(free),
            intent => intent,
        }
    }

    fn showing(&self, report: &ServiceReport, now: Instant) -> Intent {
        let Some(seen) = &self.observed else { return Intent::Rest };
        let is_another = report.uid.as_ref().is_some_and(|uid| *uid != seen.uid);
        // An object that is going takes no finalizer any more.
        if is_another || seen.marks.is_going {
            return Intent::Rest;
        }
        let (applied, claim) = self.wanted(report, &seen.marks, now);
        let Some(lack) = applied.lack(&seen.marks) else {
            return match claim {
                Some(Claim::Held { until: Some(until), .. }) => Intent::Wait(until),
                Some(_) | None => Intent::Rest,
            };
        };
        let settled = self.last_write.and_then(|at| at.checked_add(SETTLE)).filter(|at| *at > now);
        if let (Lack::Conditions, Some(settled)) = (lack, settled) {
            return Intent::Wait(settled);
        }
        let restored_from = match claim {
            Some(Claim::Ours { restored_from }) => restored_from,
            Some(Claim::Held { .. }) | None => None,
        };
        let apply = Apply { uid: Arc::clone(&seen.uid), applied, lack, restored_from };
        self.unless_done(Intent::Apply(Box::new(apply)))
    }

    /// Who holds the status, where another does.
    pub(super) fn held_by(&self, report: &ServiceReport, now: Instant) -> Option<Arc<str>> {
        let seen = self.observed.as_ref().filter(|seen| !seen.marks.is_going)?;
        match self.wanted(report, &seen.marks, now).1? {
            Claim::Held { by, .. } => Some(by),
            Claim::Ours { .. } => None,
        }
    }

    fn wanted(
        &self,
        report: &ServiceReport,
        marks: &Marks,
        now: Instant,
    ) -> (Applied, Option<Claim>) {
        let claim =
            (!report.ingress.is_empty()).then(|| self.contest.decide(marks, &report.ingress, now));
        let is_ours = matches!(claim, Some(Claim::Ours { .. }));
        let ingress = if is_ours { &report.ingress[..] } else { &[] };
        let mut conditions = report.conditions.clone();
        conditions.extend(claim.as_ref().map(Claim::condition));
        (Applied::new(report.holds, ingress, &conditions), claim)
    }

    /// It is always asked for: an object that is seen without anything of ours may have been seen
    /// before an apply that nobody heard of again, and one that is no load balancer is not seen.
    /// One that lapses still, a while after it was told to be clean, was written to again meanwhile.
    fn cleaning(&self, uid: &Arc<str>, now: Instant) -> Intent {
        let told = self.clean.as_ref().filter(|(clean, _)| clean == uid);
        match told.and_then(|(_, at)| at.checked_add(HEARD)).filter(|at| *at > now) {
            Some(at) => Intent::Wait(at),
            None => Intent::Clean(Arc::clone(uid)),
        }
    }

    /// What an API server does not take as it was meant (an older one, an admission webhook) is not
    /// said again and again.
    fn unless_done(&self, intent: Intent) -> Intent {
        let Some(seen) = &self.observed else { return intent };
        if self.done == Some((mark(&intent), hash(&seen.marks))) { Intent::Rest } else { intent }
    }

    /// A request about it is sent.
    pub(super) fn start(&mut self, now: Instant) {
        self.in_flight = true;
        self.writes.take(now);
    }

    /// The API server has taken it; `seen` is what came of it.
    pub(super) fn succeed(&mut self, what: &Intent, seen: Option<Arc<Observed>>, now: Instant) {
        self.last_write = Some(now);
        (self.not_before, self.wrong, self.has_conflict) = (None, None, false);
        self.backoff.reset();
        let Some(seen) = seen else { return };
        self.done = Some((mark(what), hash(&seen.marks)));
        let is_newer = |old: &Arc<Observed>| match (&old.version, &seen.version) {
            (Some(old), Some(new)) => !new.is_before(old),
            _ => true,
        };
        if self.observed.as_ref().is_some_and(|old| old.uid == seen.uid && is_newer(old)) {
            self.observed = Some(seen);
        }
    }

    /// It is known that nothing of ours is on this object.
    pub(super) fn is_clean(&mut self, uid: &Arc<str>, now: Instant) {
        self.clean = Some((Arc::clone(uid), now));
    }

    /// It could not be written; it is tried again after a while.
    pub(super) fn fail(&mut self, wrong: Option<String>, chance: u64, now: Instant) {
        self.wrong = wrong;
        self.not_before = now.checked_add(self.backoff.after_failure(chance));
    }

    /// Whether nothing is remembered that a later request would miss.
    pub(super) fn is_idle(&self) -> bool {
        self.observed.is_none() && !self.in_flight
    }
}

/// The part of an intent that decides what the object looks like afterwards.
fn mark(intent: &Intent) -> u64 {
    match intent {
        Intent::Apply(apply) => hash(&(&apply.uid, &apply.applied)),
        Intent::Clean(uid) => hash(&(uid, Applied::default())),
        Intent::Rest | Intent::Wait(_) => 0,
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
