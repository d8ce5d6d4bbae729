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
mod view;

use std::{
    future::{Future, pending},
    io,
    sync::Arc,
};

use roadstead_model::{
    Snapshot,
    config::{Daemon, Source, SourceKind},
};
use tokio::sync::{mpsc, oneshot, watch};

pub use confirm::{Confirm, Confirmed, in_words};
pub use view::SourceView;

use manifests::thread::{self, Views};
use merge::Merger;

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
    daemon: Daemon,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Watch {
    spawn_with(sources, daemon, Timing::DEFAULT, shutdown)
}

fn spawn_with(
    sources: &[Source],
    daemon: Daemon,
    timing: Timing,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Watch {
    let merger = Merger::new(sources.iter().map(|source| source.name.clone()));
    let (sender, snapshots) = watch::channel(Arc::new(merger.snapshot()));
    let (confirm, orders) = confirm::channel();
    let sources = sources.to_vec();
    tokio::spawn(async move {
        tokio::select! {
            () = run(&sources, daemon, timing, merger, sender, orders) => {}
            () = shutdown => {}
        }
    });
    Watch { snapshots, confirm }
}

/// Owns what watches the sources: dropping this future ends it all.
async fn run(
    sources: &[Source],
    daemon: Daemon,
    timing: Timing,
    merger: Merger,
    snapshots: watch::Sender<Arc<Snapshot>>,
    orders: mpsc::Receiver<confirm::Order>,
) {
    let (views, waiting) = mpsc::channel(VIEWS);
    let mut watching = Vec::new();
    for source in sources {
        match start(source, daemon, timing, views.clone()) {
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

fn start(source: &Source, daemon: Daemon, timing: Timing, views: Views) -> io::Result<Watching> {
    let name = source.name.clone();
    match &source.kind {
        SourceKind::Directory(root) => {
            let started = thread::start(name, root.clone(), timing.directories, views)?;
            Ok(Watching::Directory(started))
        }
        SourceKind::Cluster(kubeconfig) => {
            let none = || io::Error::other("it names no kubeconfig for this daemon");
            let file = kubeconfig.of(daemon).ok_or_else(none)?;
            let started = kubernetes::start(name, file.to_path_buf(), timing.clusters, views)?;
            Ok(Watching::Cluster(started))
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
