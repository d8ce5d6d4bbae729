//! Sources → [`Snapshot`]. Nothing after this crate knows which kind of source an object came from.
//!
//! ```text
//! directory thread ──┐
//! cluster thread   ──┼─ views (bounded) ─▶ merger ─ watch ─▶ readers hold Arc<Snapshot>
//!      …      ▲      ┘
//!             └─ orders to confirm (`Confirm`)
//! ```
//!
//! * [`manifests`] is the directory source: files, YAML, last good objects, doubt.
//! * [`kubernetes`] is the cluster source: an API server that is listed and watched.
//! * [`objects`] reads one object, by the same rules for both.
//! * `merge` puts the sources together and counts generations.
//!
//! Level-triggered throughout: a view says everything that a source says, a Snapshot everything
//! that all sources say, and a reader that sleeps through ten of them sees the last.

#![forbid(unsafe_code)]

mod confirm;
mod gone;
pub mod kubernetes;
pub mod manifests;
mod merge;
pub mod objects;
mod requests;
mod view;

use std::{
    future::{Future, pending},
    io,
    path::PathBuf,
    sync::Arc,
};

use roadstead_model::{
    Snapshot,
    config::{Daemon, Paths, Source, SourceKind},
};
use tokio::sync::{mpsc, oneshot, watch};

pub use confirm::{Confirm, Confirmed, in_words};
pub use kubernetes::Reporting;
pub use requests::{Asked, Requests};
pub use view::SourceView;

use kubernetes::{Kept, Target};
use manifests::thread;
use merge::Merger;
use view::Views;

/// Views that may wait for the merger. It takes all that wait at once, so that more would only hold
/// older ones; when they are full a source waits, and sends a newer view than it would have.
const VIEWS: usize = 8;

/// A watch on the sources.
#[derive(Debug)]
pub struct Watch {
    /// What they say. The first value is generation 0, in which no source was read yet.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Makes doubt about them knowledge.
    pub confirm: Confirm,
    /// How often API servers were asked.
    pub requests: Requests,
}

/// For whom sources are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Which daemon: each reads what it needs, with rights of its own.
    pub daemon: Daemon,
    /// Its state directory, for what is to outlive it: tokens that were renewed, and how far the
    /// history of each cluster was followed. Nothing is kept without.
    pub state: Option<PathBuf>,
}

impl Reader {
    /// A daemon with its state directory.
    pub fn of(daemon: Daemon, paths: &Paths) -> Self {
        Self { daemon, state: Some(paths.state_of(daemon.as_str())) }
    }
}

impl From<Daemon> for Reader {
    /// One that keeps nothing.
    fn from(daemon: Daemon) -> Self {
        Self { daemon, state: None }
    }
}

/// The spans of time that watching sources knows.
#[derive(Clone, Copy, Debug)]
struct Timing {
    directories: manifests::Timing,
    clusters: kubernetes::Timing,
}

impl Timing {
    /// What daemons use.
    const DEFAULT: Self =
        Self { directories: manifests::Timing::DEFAULT, clusters: kubernetes::Timing::DEFAULT };
}

/// Watches the sources for one of the daemons, until `shutdown` resolves or the last receiver is
/// dropped: one task that merges and owns everything, one thread for each directory and each
/// cluster. Must be called within a tokio runtime.
///
/// Nothing here holds state that outlives it, so that ending at any moment is safe; a caller that
/// reloads its configuration calls this again and drops the old watch.
pub fn spawn(
    sources: &[Source],
    reader: impl Into<Reader>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Watch {
    spawn_with(sources, reader.into(), None, Timing::DEFAULT, shutdown)
}

/// The same for the speaker, which also says what is to be on the Services of clusters.
pub fn spawn_reporting(
    sources: &[Source],
    reader: impl Into<Reader>,
    reporting: Reporting,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Watch {
    spawn_with(sources, reader.into(), Some(reporting), Timing::DEFAULT, shutdown)
}

fn spawn_with(
    sources: &[Source],
    reader: Reader,
    reporting: Option<Reporting>,
    timing: Timing,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Watch {
    let merger = Merger::new(sources.iter().map(|source| source.name.clone()));
    let (sender, snapshots) = watch::channel(Arc::new(merger.snapshot()));
    let (confirm, orders) = confirm::channel();
    let sources = sources.to_vec();
    let requests = reporting.as_ref().map(|it| it.requests.clone()).unwrap_or_default();
    let starter = Starter { reader, reporting, requests: requests.clone(), timing };
    tokio::spawn(async move {
        tokio::select! {
            () = run(&sources, &starter, merger, sender, orders) => {}
            () = shutdown => {}
        }
    });
    Watch { snapshots, confirm, requests }
}

/// Owns what watches the sources: dropping this future ends it all.
async fn run(
    sources: &[Source],
    starter: &Starter,
    merger: Merger,
    snapshots: watch::Sender<Arc<Snapshot>>,
    orders: mpsc::Receiver<confirm::Order>,
) {
    let (views, waiting) = mpsc::channel(VIEWS);
    let mut watching = Vec::new();
    for source in sources {
        match starter.start(source, views.clone()) {
            Ok(started) => watching.push(started),
            Err(error) => {
                let source = &source.name;
                tracing::error!(%source, %error, "the source cannot be watched, its objects stay unknown");
            }
        }
    }
    tokio::select! {
        () = merge::run(merger, waiting, snapshots) => {}
        () = obey(&watching, orders) => {}
    }
}

/// A source that is watched. Dropping it ends that.
#[derive(Debug)]
enum Watching {
    Directory(thread::Watching),
    Cluster(kubernetes::Watching),
}

impl Watching {
    fn confirm(&self) -> oneshot::Receiver<Confirmed> {
        match self {
            Self::Directory(watching) => watching.confirm(),
            Self::Cluster(watching) => watching.confirm(),
        }
    }
}

/// What all sources are started with.
#[derive(Debug)]
struct Starter {
    reader: Reader,
    reporting: Option<Reporting>,
    requests: Requests,
    timing: Timing,
}

impl Starter {
    fn start(&self, source: &Source, views: Views) -> io::Result<Watching> {
        let (name, metallb) = (source.name.clone(), source.metallb.clone());
        match &source.kind {
            SourceKind::Directory(root) => {
                let timing = self.timing.directories;
                let started = thread::start(name, root.clone(), metallb, timing, views)?;
                Ok(Watching::Directory(started))
            }
            SourceKind::Cluster(kubeconfig) => {
                let none = || io::Error::other("it names no kubeconfig for this daemon");
                let kubeconfig = kubeconfig.of(self.reader.daemon).ok_or_else(none)?.to_path_buf();
                let target = Target {
                    kubeconfig,
                    daemon: self.reader.daemon,
                    metallb,
                    kept: self.reader.state.as_ref().map(|state| Kept::new(state, &name)),
                    reporting: self.reporting.clone().filter(|_| source.report),
                    requests: self.requests.clone(),
                    source: name,
                };
                let started = kubernetes::start(target, self.timing.clusters, views)?;
                Ok(Watching::Cluster(started))
            }
        }
    }
}

/// Passes orders on, one at a time. The merger goes on meanwhile, since the threads send what
/// follows from an order before they answer it.
async fn obey(watching: &[Watching], mut orders: mpsc::Receiver<confirm::Order>) {
    while let Some(answer) = orders.recv().await {
        let waiting: Vec<_> = watching.iter().map(Watching::confirm).collect();
        let mut confirmed = Vec::new();
        for source in waiting {
            confirmed.extend(source.await);
        }
        confirmed.sort_by(|a, b| a.source.cmp(&b.source));
        // Whoever asked may have gone away.
        let _ = answer.send(confirmed);
    }
    pending::<()>().await;
}

#[cfg(test)]
mod tests;
