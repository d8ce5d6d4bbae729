//! What the speaker has decided → status, conditions, the finalizer and Events of a cluster's Services.
//!
//! ```text
//! Reports (watch) ─────┐                    ┌─ apply to /status ─┐
//! inbox (Services seen)┼─▶ desk (pure) ─▶───┼─ Events ───────────┼─▶ API server
//! answers ◀────────────┘     │              └────────────────────┘
//!                            ├─ Cleaned (bounded) ─▶ speaker
//!                            └─ problems ─▶ the cluster's state
//! ```
//!
//! One task for each cluster, in that cluster's own thread (S6); nobody waits for it. The latest
//! Reports and the latest look of each Service are all that waits while the API is away. Cancelling
//! it at any moment is safe: what an object lacks is seen on the object, and what is to be taken off
//! it the speaker has on its disk.
//!
//! From the inside out: `status` compares what is on an object (`read::observed`) and
//! patches; `claim` says whose the status is; `entry` is one Service; `events` and `pace` bound; `desk`
//! is all of it; here is the I/O.
//!
//! Everything on a Service is written by server-side apply to `/status` with [`MANAGER`] as the field
//! manager and the uid as precondition: the finalizer too, so that no right to write Services is
//! needed. Standards: KEP-555, KEP-980, KEP-1860, `events.k8s.io/v1`.

mod answer;
mod claim;
mod desk;
mod entry;
mod events;
mod inbox;
mod pace;
mod status;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use http::Request;
use k8s_openapi::jiff::Timestamp;
use kube::{
    client::Body,
    core::{
        Request as Builder,
        params::{Patch, PatchParams, PostParams},
    },
};
use roadstead_model::{
    SourceName,
    problem::Severity,
    report::{Cleaned, Reports},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

pub(super) use inbox::Inbox;

use super::{
    api::{
        access::Access,
        failure::Failure,
        response::{self, MAX_EVENT},
    },
    read::{
        News,
        observed::{MANAGER, Observed},
    },
    timing::Timing,
};
use crate::requests::Requests;
use answer::Answer;
use desk::{Desk, Sending, Ticket};
use events::Telling;

/// How long to wait for room where the speaker does not listen.
const UNHEARD: Duration = Duration::from_millis(100);

/// How a speaker says what is to be on the Services of its clusters, and hears of what is done.
#[derive(Clone, Debug)]
pub struct Reporting {
    /// What is to be there.
    pub reports: watch::Receiver<Arc<Reports>>,
    /// What was taken off Services that lapsed.
    pub cleaned: mpsc::Sender<Cleaned>,
    /// Where requests are counted, over a change of the configuration too.
    pub requests: Requests,
}

/// A moment, and a number by chance for the spread of waits.
#[derive(Clone, Copy, Debug)]
struct Now {
    mono: std::time::Instant,
    wall: Timestamp,
    chance: u64,
}

impl Now {
    fn read() -> Self {
        let chance = RandomState::new().build_hasher().finish();
        Self { mono: Instant::now().into_std(), wall: Timestamp::now(), chance }
    }
}

/// Writes to one cluster.
pub(super) struct Writer {
    desk: Desk,
    reporting: Reporting,
    inbox: Inbox,
    clients: watch::Receiver<Option<Access>>,
    news: mpsc::Sender<News>,
    timing: Timing,
    /// What the speaker has not been told yet.
    untold: VecDeque<Cleaned>,
    told: Vec<(Severity, String)>,
}

impl Writer {
    pub(super) fn new(
        source: SourceName,
        reporting: Reporting,
        inbox: Inbox,
        clients: watch::Receiver<Option<Access>>,
        news: mpsc::Sender<News>,
        timing: Timing,
    ) -> Self {
        let desk = Desk::new(source, &host(), timing, Now::read().mono);
        let (untold, told) = (VecDeque::new(), Vec::new());
        Self { desk, reporting, inbox, clients, news, timing, untold, told }
    }

    /// Writes until the speaker says no more; what is on its way then is dropped.
    pub(super) async fn run(mut self) {
        let mut sent = JoinSet::new();
        loop {
            self.look();
            self.send(&mut sent);
            if self.tell().await.is_err() {
                return;
            }
            let wake = self.wake();
            tokio::select! {
                changed = self.reporting.reports.changed() => if changed.is_err() { return },
                () = self.inbox.noted() => {}
                Some(answered) = sent.join_next(), if !sent.is_empty() => {
                    if let Ok((ticket, answer)) = answered {
                        self.desk.handle_answer(ticket, answer, Now::read());
                    }
                }
                changed = self.clients.changed() => {
                    if changed.is_err() { return }
                    self.desk.handle_client();
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    fn look(&mut self) {
        let now = Now::read();
        let reports = Arc::clone(&self.reporting.reports.borrow_and_update());
        self.desk.handle_reports(reports, now);
        let inbox::Seen { listed, changed } = self.inbox.take();
        if let Some(all) = listed {
            self.desk.handle_listed(all, now);
        }
        for (key, seen) in changed {
            self.desk.handle_seen(&key, seen, now);
        }
    }

    fn send(&mut self, sent: &mut JoinSet<(Ticket, Answer)>) {
        let Some(access) = self.clients.borrow_and_update().clone() else { return };
        while let Some((ticket, sending)) = self.desk.poll_request(Now::read()) {
            let (access, patience) = (access.clone(), self.timing.answer);
            sent.spawn(async move { (ticket, answered(&access, sending, patience).await) });
        }
    }

    /// Tells the speaker and the cluster's state what is new; an error when nobody listens.
    async fn tell(&mut self) -> Result<(), mpsc::error::SendError<News>> {
        self.untold.extend(std::iter::from_fn(|| self.desk.poll_cleaned()));
        while let Some(first) = self.untold.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(first)) =
                self.reporting.cleaned.try_send(first)
            {
                self.untold.push_front(first);
                break;
            }
        }
        let problems = self.desk.problems();
        if problems != self.told {
            self.told.clone_from(&problems);
            self.news.send(News::Writing(problems)).await?;
        }
        Ok(())
    }

    fn wake(&self) -> Instant {
        let now = Instant::now();
        let unheard = (!self.untold.is_empty()).then(|| now + UNHEARD);
        let has_client = self.clients.borrow().is_some();
        let desk = self.desk.poll_wake(now.into_std()).filter(|_| has_client);
        let wake = [unheard, desk.map(Instant::from_std)].into_iter().flatten().min();
        wake.unwrap_or_else(|| now + Duration::from_secs(3_600))
    }
}

/// This host, in the words of Events.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "edge".to_owned() } else { name.to_owned() }
}

async fn answered(access: &Access, sending: Sending, patience: Duration) -> Answer {
    let is_service = matches!(sending, Sending::Apply { .. });
    let asked = async {
        let body = response::send(access, request(&sending)?, patience).await?;
        response::whole(body, MAX_EVENT, patience).await
    };
    match asked.await {
        Ok(bytes) if is_service => {
            let text = std::str::from_utf8(&bytes).ok();
            Answer::Taken(text.and_then(Observed::read))
        }
        Ok(_) => Answer::Taken(None),
        Err(failure) => Answer::of(&failure),
    }
}

fn request(sending: &Sending) -> Result<Request<Body>, Failure> {
    let request = match sending {
        Sending::Apply { key, body, force } => {
            let params = PatchParams { force: *force, ..PatchParams::apply(MANAGER) };
            let of = Builder::new(format!("/api/v1/namespaces/{}/services", key.namespace));
            of.patch_subresource("status", &key.name, &params, &Patch::Apply(body))
        }
        Sending::Tell(Telling::Create { namespace, body }) => {
            events_of(namespace).create(&PostParams::default(), body.to_string().into_bytes())
        }
        Sending::Tell(Telling::Count { namespace, name, body }) => {
            events_of(namespace).patch(name, &PatchParams::default(), &Patch::Merge(body))
        }
    };
    let request = request.map_err(|error| Failure::Broken(error.to_string()))?;
    Ok(request.map(Body::from))
}

fn events_of(namespace: &str) -> Builder {
    Builder::new(format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"))
}
