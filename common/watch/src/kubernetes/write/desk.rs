//! What is to be written to one cluster, and when. Pure: no I/O, no clock, no chance.
//!
//! `handle_*` takes what the speaker says, what the API server shows and what it answered;
//! [`Desk::poll_request`] says what is to be sent now, [`Desk::poll_wake`] when to ask again.
//! Level-triggered: a Service is looked at when anything about it has changed, and what it lacks
//! follows from what is known now. Nothing queues up but names of Services, each once.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use roadstead_model::{
    ServiceKey, SourceName,
    problem::Severity,
    reason::{Condition, ConditionStatus},
    report::{Cleaned, Reports},
};
use serde_json::Value;

use super::{
    Now,
    answer::Answer,
    claim,
    entry::{Apply, Entry, Intent, Said, Urgency},
    events::{Events, Happening, Telling},
    pace::Pace,
    status::{self, Lack},
};
use crate::kubernetes::{
    read::observed::{Marks, Observed},
    timing::Timing,
};

/// Services that are named in problems.
const NAMED: usize = 20;

/// The one writer of a cluster's objects.
#[derive(Debug)]
pub(super) struct Desk {
    source: SourceName,
    timing: Timing,
    reports: Arc<Reports>,
    entries: BTreeMap<ServiceKey, Entry>,
    ready: BTreeSet<(Urgency, u64, ServiceKey)>,
    waiting: BTreeSet<(Instant, ServiceKey)>,
    queued: BTreeMap<ServiceKey, Queued>,
    order: u64,
    pace: Pace,
    events: Events,
    cleaned: VecDeque<Cleaned>,
    /// What is wrong with all that is written, and with single Services.
    trouble: Option<String>,
    wrong: BTreeMap<ServiceKey, String>,
}

#[derive(Clone, Copy, Debug)]
enum Queued {
    Ready(Urgency, u64),
    Waiting(Instant),
}

/// A request on its way, to be handed back with its answer.
#[derive(Debug)]
pub(super) enum Ticket {
    /// A Service is written.
    Service { key: ServiceKey, intent: Intent, happenings: Vec<Happening> },
    /// An Event is told.
    Event,
}

/// A request to be sent.
#[derive(Debug)]
pub(super) enum Sending {
    /// Server-side apply to the status of a Service.
    Apply {
        key: ServiceKey,
        body: Value,
        /// Over what others have written.
        force: bool,
    },
    Tell(Telling),
}

impl Desk {
    pub(super) fn new(source: SourceName, instance: &str, timing: Timing, now: Instant) -> Self {
        Self {
            source,
            timing,
            reports: Arc::default(),
            entries: BTreeMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            queued: BTreeMap::new(),
            order: 0,
            pace: Pace::new(&timing, now),
            events: Events::new(instance, now),
            cleaned: VecDeque::new(),
            trouble: None,
            wrong: BTreeMap::new(),
        }
    }

    /// Takes what the speaker says.
    pub(super) fn handle_reports(&mut self, reports: Arc<Reports>, now: Now) {
        if Arc::ptr_eq(&self.reports, &reports) {
            return;
        }
        let old = std::mem::replace(&mut self.reports, reports);
        let all = old.complete.contains(&self.source) != self.is_complete();
        let mut changed: BTreeSet<ServiceKey> = BTreeSet::new();
        if all {
            changed.extend(self.entries.keys().cloned());
        }
        let new = &self.reports;
        let differs = |key: &ServiceKey| match (old.services.get(key), new.services.get(key)) {
            (Some(old), Some(new)) => !Arc::ptr_eq(old, new) && old != new,
            (old, new) => old.is_some() != new.is_some(),
        };
        let named = old.services.keys().chain(new.services.keys());
        changed.extend(named.filter(|key| all || differs(key)).cloned());
        changed.extend(old.kept.symmetric_difference(&new.kept).cloned());
        let lapses = old.lapsed.keys().chain(new.lapsed.keys());
        changed.extend(
            lapses.filter(|key| all || old.lapsed.get(*key) != new.lapsed.get(*key)).cloned(),
        );
        changed.retain(|key| key.source == self.source);
        changed.iter().for_each(|key| self.touch(key, now));
    }

    /// Takes the whole list of Services that the API server has.
    pub(super) fn handle_listed(
        &mut self,
        mut seen: BTreeMap<ServiceKey, Arc<Observed>>,
        now: Now,
    ) {
        let known: Vec<_> = self.entries.keys().cloned().collect();
        for key in known {
            let one = seen.remove(&key);
            if let Some(entry) = self.entries.get_mut(&key) {
                // What a list says may be the past: a store that was restored.
                entry.observed = None;
            }
            self.handle_seen(&key, one, now);
        }
        for (key, one) in seen {
            self.handle_seen(&key, Some(one), now);
        }
    }

    /// Takes what the API server shows of one Service now; none: no load balancer is there.
    pub(super) fn handle_seen(&mut self, key: &ServiceKey, seen: Option<Arc<Observed>>, now: Now) {
        let timing = self.timing;
        let entry =
            self.entries.entry(key.clone()).or_insert_with(|| Entry::new(&timing, now.mono));
        let is_old = match (&entry.observed, &seen) {
            (Some(old), Some(new)) => match (&old.version, &new.version) {
                (Some(old), Some(new)) => new.is_before(old),
                _ => false,
            },
            _ => false,
        };
        if !is_old {
            entry.see(seen, now.mono);
            self.touch(key, now);
        }
    }

    /// There is another client.
    pub(super) fn handle_client(&mut self) {
        self.pace.resume();
    }

    /// Takes the answer to a request.
    pub(super) fn handle_answer(&mut self, ticket: Ticket, answer: Answer, now: Now) {
        self.pace_by(&ticket, &answer, now);
        let Ticket::Service { key, intent, happenings } = ticket else { return };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.in_flight = false;
        match answer {
            Answer::Taken(seen) => {
                entry.succeed(&intent, seen.map(Arc::new), now.mono);
                for it in &happenings {
                    self.events.handle(it, now);
                }
                self.is_clean(&key, &intent, now.mono);
            }
            Answer::Gone => {
                entry.fail(None, now.chance, now.mono);
                self.is_clean(&key, &intent, now.mono);
            }
            Answer::Conflict => entry.has_conflict = true,
            Answer::Failed { why, is_common: true, .. } => {
                tracing::debug!(source = %self.source, %key, why, "a status is not written");
            }
            Answer::Failed { why, .. } => {
                entry.fail(Some(why), now.chance, now.mono);
            }
        }
        self.touch(&key, now);
    }

    fn pace_by(&mut self, ticket: &Ticket, answer: &Answer, now: Now) {
        match answer {
            Answer::Failed { why, is_common: true, retry_after } => {
                self.pace.fail(*retry_after, now.chance, now.mono);
                self.trouble = Some(why.clone());
            }
            Answer::Taken(_) | Answer::Gone | Answer::Conflict | Answer::Failed { .. } => {
                self.pace.end();
                let is_word = matches!(answer, Answer::Taken(_));
                if is_word && matches!(ticket, Ticket::Service { .. }) {
                    self.trouble = None;
                }
            }
        }
    }

    /// The object that was to be cleaned is, or is gone.
    fn is_clean(&mut self, key: &ServiceKey, intent: &Intent, now: Instant) {
        let Intent::Clean(uid) = intent else { return };
        if let Some(entry) = self.entries.get_mut(key) {
            entry.is_clean(uid, now);
        }
        if self.reports.lapsed.get(key) == Some(uid) {
            self.cleaned.push_back(Cleaned { service: key.clone(), uid: Arc::clone(uid) });
        }
    }

    /// What the speaker is to be told next.
    pub(super) fn poll_cleaned(&mut self) -> Option<Cleaned> {
        self.cleaned.pop_front()
    }

    /// What is to be sent now.
    pub(super) fn poll_request(&mut self, now: Now) -> Option<(Ticket, Sending)> {
        self.wake_up(now);
        while let Some(key) = self.ready.first().map(|(_, _, key)| key.clone()) {
            if self.pace.ready_at(now.mono).is_none_or(|at| at > now.mono) {
                return None;
            }
            self.unqueue(&key);
            let intent = self.intent(&key, now.mono);
            if let Some(request) = self.request(key, intent, now) {
                self.pace.start(now.mono);
                return Some(request);
            }
        }
        self.event(now)
    }

    fn event(&mut self, now: Now) -> Option<(Ticket, Sending)> {
        self.events.ready_at(now.mono).filter(|at| *at <= now.mono)?;
        if !self.pace.start(now.mono) {
            return None;
        }
        let telling = self.events.next(now.mono)?;
        Some((Ticket::Event, Sending::Tell(telling)))
    }

    fn request(&mut self, key: ServiceKey, intent: Intent, now: Now) -> Option<(Ticket, Sending)> {
        let entry = self.entries.get_mut(&key)?;
        let (body, force, happenings) = match &intent {
            Intent::Apply(apply) => {
                let marks = &entry.observed.as_ref()?.marks;
                let body = apply.applied.body(&key, &apply.uid, marks, now.wall);
                let others = !marks.shown.is_ours && !marks.shown.is_empty;
                (body, others || entry.has_conflict, happenings(&key, apply, marks))
            }
            Intent::Clean(uid) => (status::empty(&key, uid), true, Vec::new()),
            Intent::Rest | Intent::Wait(_) => return None,
        };
        entry.start(now.mono);
        let sending = Sending::Apply { key: key.clone(), body, force };
        Some((Ticket::Service { key, intent, happenings }, sending))
    }

    /// When to ask again, where nothing else happens.
    pub(super) fn poll_wake(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting.first().map(|(at, _)| *at);
        let free = self.pace.ready_at(now);
        let ready = if self.ready.is_empty() { None } else { free };
        let event = self.events.ready_at(now).and_then(|at| Some(at.max(free?)));
        [waiting, ready, event].into_iter().flatten().min()
    }

    /// What is wrong: with all of it first, then with single Services.
    pub(super) fn problems(&self) -> Vec<(Severity, String)> {
        let trouble = self.trouble.iter().map(|why| (Severity::Error, why.clone()));
        let named = self.wrong.iter().take(NAMED).map(|(key, why)| {
            (Severity::Warning, format!("Service {}/{}: {why}", key.namespace, key.name))
        });
        let more = self.wrong.len().saturating_sub(NAMED);
        let rest = (more > 0).then(|| {
            let what = format!("{more} more Services whose status is not as it should be");
            (Severity::Warning, what)
        });
        trouble.chain(named).chain(rest).collect()
    }

    fn wake_up(&mut self, now: Now) {
        while let Some((at, key)) = self.waiting.first().cloned() {
            if at > now.mono {
                return;
            }
            self.touch(&key, now);
        }
    }

    /// Looks at a Service, and queues it where something is to be done.
    fn touch(&mut self, key: &ServiceKey, now: Now) {
        self.unqueue(key);
        let timing = self.timing;
        if !matches!(self.said(key), Said::Nothing | Said::Kept) {
            self.entries.entry(key.clone()).or_insert_with(|| Entry::new(&timing, now.mono));
        }
        self.note_wrong(key, now.mono);
        if self.entries.get(key).is_none_or(|entry| entry.in_flight) {
            return;
        }
        let urgency = match self.intent(key, now.mono) {
            Intent::Rest => return self.drop_idle(key),
            Intent::Wait(at) => return self.queue(key, Queued::Waiting(at)),
            Intent::Clean(_) => Urgency::Clean,
            Intent::Apply(apply) => match apply.lack {
                Lack::Guard => Urgency::Guard,
                Lack::Ingress => Urgency::Ingress,
                Lack::Conditions => Urgency::Conditions,
            },
        };
        self.order = self.order.wrapping_add(1);
        self.queue(key, Queued::Ready(urgency, self.order));
    }

    fn intent(&self, key: &ServiceKey, now: Instant) -> Intent {
        let Some(entry) = self.entries.get(key).filter(|_| self.is_complete()) else {
            return Intent::Rest;
        };
        entry.intent(self.said(key), now)
    }

    fn is_complete(&self) -> bool {
        self.reports.complete.contains(&self.source)
    }

    fn said(&self, key: &ServiceKey) -> Said<'_> {
        let reports = &self.reports;
        if let Some(report) = reports.services.get(key) {
            return Said::Shows(report);
        }
        match reports.lapsed.get(key) {
            Some(uid) => Said::Lapsed(uid),
            None if reports.kept.contains(key) => Said::Kept,
            None => Said::Nothing,
        }
    }

    fn note_wrong(&mut self, key: &ServiceKey, now: Instant) {
        let entry = self.entries.get(key);
        let held = entry.and_then(|entry| match self.said(key) {
            Said::Shows(report) => entry.held_by(report, now).map(|by| claim::held(&by)),
            Said::Lapsed(_) | Said::Kept | Said::Nothing => None,
        });
        match entry.and_then(|entry| entry.wrong.clone()).or(held) {
            Some(why) => self.wrong.insert(key.clone(), why),
            None => self.wrong.remove(key),
        };
    }

    fn queue(&mut self, key: &ServiceKey, queued: Queued) {
        match queued {
            Queued::Ready(urgency, order) => self.ready.insert((urgency, order, key.clone())),
            Queued::Waiting(at) => self.waiting.insert((at, key.clone())),
        };
        self.queued.insert(key.clone(), queued);
    }

    fn unqueue(&mut self, key: &ServiceKey) {
        match self.queued.remove(key) {
            Some(Queued::Ready(urgency, order)) => {
                self.ready.remove(&(urgency, order, key.clone()));
            }
            Some(Queued::Waiting(at)) => {
                self.waiting.remove(&(at, key.clone()));
            }
            None => {}
        }
    }

    fn drop_idle(&mut self, key: &ServiceKey) {
        let is_unsaid = matches!(self.said(key), Said::Nothing | Said::Kept);
        if is_unsaid && self.entries.get(key).is_some_and(Entry::is_idle) {
            self.entries.remove(key);
            self.wrong.remove(key);
        }
    }
}

/// What is told of an apply once it is taken.
fn happenings(key: &ServiceKey, apply: &Apply, marks: &Marks) -> Vec<Happening> {
    let about = |is_warning, reason: &str, note: String| Happening {
        service: key.clone(),
        uid: Arc::clone(&apply.uid),
        is_warning,
        reason: reason.to_owned(),
        note,
    };
    let restored = apply.restored_from.as_ref().map(|by| {
        let note = format!(
            "status.loadBalancer was changed by `{by}`; it is written again, and packets go where they went"
        );
        about(true, "StatusRestored", note)
    });
    let news = apply.applied.news(marks).filter(|it| is_worth_telling(it));
    let news = news.map(|it| about(is_warning(it), &it.reason, it.message.clone()));
    restored.into_iter().chain(news).collect()
}

/// What passes by itself within moments, or goes without saying, is no Event.
fn is_worth_telling(condition: &Condition) -> bool {
    let is_calm = matches!(condition.reason.as_str(), "FinalizerPending" | "Probing");
    let is_default = condition.kind == claim::KIND && condition.status == ConditionStatus::True;
    !is_calm && !is_default
}

fn is_warning(condition: &Condition) -> bool {
    let calm = ["Allocated", "Probed", "HostAddress", "Drained", "Withdrawing", "Nat"];
    !calm.contains(&condition.reason.as_str())
}
