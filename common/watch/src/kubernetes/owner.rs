//! Owns what is known of one cluster: takes news and orders, sends views.

use std::{path::Path, sync::Arc, time::Duration};

use roadstead_model::SourceName;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    Order, Timing, access,
    convert::Converter,
    reflector::Reflector,
    resource,
    state::{News, State},
};
use crate::{manifests::thread::Views, view::SourceView};

/// News that wait. When they are full the reflectors read no further from their connections.
const NEWS: usize = 64;

/// The one task that has a cluster's state.
pub(super) struct Owner {
    source: SourceName,
    kubeconfig: Arc<Path>,
    timing: Timing,
    views: Views,
    orders: mpsc::Receiver<Order>,
    state: State,
    sent: Option<Arc<SourceView>>,
    /// How long the last view took to make.
    cost: Duration,
}

/// The time between two views is so many times what the last one took, at least: however fast
/// objects change, most of the time is for reading them.
const SPARING: u32 = 4;

impl Owner {
    pub(super) fn new(
        source: SourceName,
        kubeconfig: Arc<Path>,
        timing: Timing,
        views: Views,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let state = State::new(source.clone());
        Self { source, kubeconfig, timing, views, orders, state, sent: None, cost: Duration::ZERO }
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
        let kubeconfig = Arc::clone(&self.kubeconfig);
        tasks.spawn(access::follow(kubeconfig, self.timing.credentials, clients, news.clone()));
        let converter = Converter::new(&self.source);
        for kind in resource::KINDS {
            let (client, news) = (client.clone(), news.clone());
            tasks.spawn(Reflector::new(kind, converter.clone(), client, news, self.timing).run());
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
                    due = None;
                    if !self.send().await {
                        return;
                    }
                }
                order = self.orders.recv() => {
                    let Some(answer) = order else { return };
                    let confirmed = self.state.confirm();
                    if !self.send().await {
                        return;
                    }
                    // Whoever asked may have gone away; the order is carried out all the same.
                    let _ = answer.send(confirmed);
                }
                found = news.recv() => {
                    let Some(found) = found else { return };
                    self.state.handle(found);
                    let settle = self.timing.settle.max(self.cost.saturating_mul(SPARING));
                    due = due.or_else(|| Instant::now().checked_add(settle));
                }
            }
        }
    }

    /// Sends a view that is not the one sent last. False when nobody takes it any more.
    async fn send(&mut self) -> bool {
        let began = Instant::now();
        let view = self.state.view();
        self.cost = began.elapsed();
        if self.sent.as_ref().is_some_and(|sent| Arc::ptr_eq(sent, &view)) {
            return true;
        }
        self.sent = Some(Arc::clone(&view));
        self.views.send((self.source.clone(), view)).await.is_ok()
    }
}
