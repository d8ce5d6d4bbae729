//! Owns what is known of one cluster: takes news and orders, sends views.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use roadstead_model::{SourceName, config::Daemon};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    api::clients,
    kept::{Kept, Reached},
    read::{Converter, News, Reflector, State, resource},
    timing::Timing,
    write::{Inbox, Reporting, Writer},
};
use crate::{
    confirm::Confirmed,
    objects::kind::Kind,
    requests::{Counter, Requests},
    view::{SourceView, Views},
};

/// A cluster as one daemon watches it.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) source: SourceName,
    /// How it is reached.
    pub(crate) kubeconfig: PathBuf,
    /// Who watches: each daemon asks for what it needs only.
    pub(crate) daemon: Daemon,
    /// The namespace whose MetalLB objects are read, if any.
    pub(crate) metallb: Option<Arc<str>>,
    /// Where things are kept that outlive the daemon.
    pub(crate) kept: Option<Kept>,
    /// What is to be written to it, where anything is.
    pub(crate) reporting: Option<Reporting>,
    /// Where its requests are counted.
    pub(crate) requests: Requests,
}

/// An order to confirm, with the place for its answer.
pub(super) type Order = oneshot::Sender<Confirmed>;

/// News that wait. When they are full the reflectors read no further from their connections.
const NEWS: usize = 64;

/// The one task that has a cluster's state.
pub(super) struct Owner {
    source: SourceName,
    daemon: Daemon,
    kinds: Vec<Kind>,
    /// The namespace of MetalLB's kinds, where they are among them.
    metallb: Arc<str>,
    kubeconfig: Arc<Path>,
    kept: Option<Kept>,
    /// What is to be written to the cluster, and what is seen for that.
    reporting: Option<Reporting>,
    inbox: Option<Inbox>,
    requests: Counter,
    timing: Timing,
    views: Views,
    orders: mpsc::Receiver<Order>,
    state: State,
    /// How far history was followed as it was last written down, and when the next time is.
    noted: Reached,
    note_at: Instant,
    /// The kinds that are to be listed again, for their lists are not believed.
    doubts: watch::Sender<BTreeSet<Kind>>,
    sent: Option<Arc<SourceView>>,
    /// How long the last view took to make.
    cost: Duration,
}

/// The time between two views is so many times what the last one took, at least: however fast
/// objects change, most of the time is for reading them.
const SPARING: u32 = 4;

impl Owner {
    pub(super) fn new(
        target: Target,
        timing: Timing,
        views: Views,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let Target { source, kubeconfig, daemon, metallb, kept, reporting, requests } = target;
        let mut kinds = resource::kinds(daemon).to_vec();
        if metallb.is_some() {
            kinds.extend(resource::metallb_kinds(daemon));
        }
        let noted = kept.as_ref().map(Kept::reached).unwrap_or_default();
        Self {
            state: State::new(source.clone(), &kinds, &noted),
            daemon,
            kinds,
            metallb: metallb.unwrap_or_default(),
            kubeconfig: kubeconfig.into(),
            kept,
            inbox: reporting.is_some().then(|| Inbox::new(source.clone())),
            reporting,
            requests: Counter::new(source.clone(), requests),
            source,
            timing,
            views,
            orders,
            noted,
            note_at: Instant::now(),
            doubts: watch::Sender::default(),
            sent: None,
            cost: Duration::ZERO,
        }
    }

    /// Runs until the orders' sender is dropped or nobody takes views any more; what follows the
    /// kinds ends with it.
    pub(super) async fn run(mut self) {
        let (news, waiting) = mpsc::channel(NEWS);
        let _tasks = self.spawn(&news);
        drop(news);
        self.own(waiting).await;
    }

    fn spawn(&self, news: &mpsc::Sender<News>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let (clients, client) = watch::channel(None);
        let (kubeconfig, kept) = (Arc::clone(&self.kubeconfig), self.kept.clone());
        let (requests, access) = (self.requests.clone(), news.clone());
        let told = move |wrong| {
            let access = access.clone();
            async move { access.send(News::Access(wrong)).await.is_ok() }
        };
        tasks.spawn(clients::follow(kubeconfig, kept, self.timing, requests, clients, told));
        if let (Some(reporting), Some(inbox)) = (self.reporting.clone(), self.inbox.clone()) {
            let (source, client, news) = (self.source.clone(), client.clone(), news.clone());
            let writer = Writer::new(source, reporting, inbox, client, news, self.timing);
            tasks.spawn(writer.run());
        }
        let converter = Converter::new(&self.source)
            .written(self.reporting.is_some())
            .keeping_status(self.daemon == Daemon::Speaker);
        for &kind in &self.kinds {
            let (client, news) = (client.clone(), news.clone());
            let resource = resource::within(kind, &self.metallb);
            let converter = converter.clone();
            let reflector = Reflector::new(kind, resource, converter, client, news, self.timing);
            tasks.spawn(reflector.doubting(self.doubts.subscribe()).run());
        }
        tasks
    }

    async fn own(&mut self, mut news: mpsc::Receiver<News>) {
        // When the news that came since the last view are to be one.
        let mut due: Option<Instant> = None;
        loop {
            let settled = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = settled => {
                    if !self.send().await {
                        return;
                    }
                    due = self.next_note();
                }
                order = self.orders.recv() => {
                    let Some(answer) = order else { return };
                    let confirmed = self.state.confirm();
                    self.note_at = Instant::now();
                    if !self.send().await {
                        return;
                    }
                    // Whoever asked may have gone away; the order is carried out all the same.
                    let _ = answer.send(confirmed);
                }
                found = news.recv() => {
                    let Some(found) = found else { return };
                    if let Some(inbox) = &self.inbox {
                        inbox.note(&found);
                    }
                    self.state.handle(found);
                    let settle = self.timing.settle.max(self.cost.saturating_mul(SPARING));
                    let soon = Instant::now().checked_add(settle);
                    due = [due, soon].into_iter().flatten().min();
                }
            }
        }
    }

    /// Sends a view that is not the one sent last. False when nobody takes it any more.
    async fn send(&mut self) -> bool {
        let began = Instant::now();
        let view = self.state.view();
        self.cost = began.elapsed();
        self.note(began);
        let doubted = self.state.doubted_kinds();
        self.doubts.send_if_modified(|told| {
            let is_new = *told != doubted;
            *told = doubted;
            is_new
        });
        if self.sent.as_ref().is_some_and(|sent| Arc::ptr_eq(sent, &view)) {
            return true;
        }
        self.sent = Some(Arc::clone(&view));
        self.views.send((self.source.clone(), view)).await.is_ok()
    }

    /// When there is something to be written down, without further news.
    fn next_note(&self) -> Option<Instant> {
        let is_noted = self.kept.is_none() || self.state.reached() == self.noted;
        (!is_noted).then_some(self.note_at)
    }

    /// Writes down how far history was followed, where that is due. What cannot be written is told
    /// in the log only: nothing that is served depends on it.
    fn note(&mut self, now: Instant) {
        let Some(kept) = self.kept.as_ref().filter(|_| now >= self.note_at) else { return };
        let reached = self.state.reached();
        if reached == self.noted {
            return;
        }
        self.note_at = now.checked_add(self.timing.notes).unwrap_or(now);
        if let Err(error) = kept.keep_reached(&reached) {
            let source = &self.source;
            tracing::warn!(%source, %error, "how far the cluster was followed cannot be kept");
        }
        self.noted = reached;
    }
}
