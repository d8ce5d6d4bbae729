//! Sources → [`Snapshot`]. Nothing after this crate knows which kind of source an object came from.
//!
//! ```text
//! directory thread ──┐
//! directory thread ──┼─ views (bounded) ─▶ merger ─ watch ─▶ readers hold Arc<Snapshot>
//!      …      ▲      ┘
//!             └─ orders to confirm (`Confirm`)
//! ```
//!
//! * [`manifests`] is the directory source, its parser and its rules (defaults, validation, last
//!   good objects, doubt).
//! * `merge` puts the sources together and counts generations.
//!
//! Level-triggered throughout: a view says everything that a source says, a Snapshot everything
//! that all sources say, and a reader that sleeps through ten of them sees the last.

#![forbid(unsafe_code)]

mod confirm;
pub mod manifests;
mod merge;
pub mod objects;
mod view;

use std::{
    future::{Future, pending},
    sync::Arc,
};

use roadstead_model::{
    Snapshot,
    config::{Source, SourceKind},
};
use tokio::sync::{mpsc, watch};

pub use confirm::{Confirm, Confirmed, in_words};
pub use view::SourceView;

use manifests::{
    Timing,
    thread::{self, Watching},
};
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

/// Watches the sources until `shutdown` resolves or the last receiver is dropped: one task that
/// merges and owns everything, one thread for each directory. Must be called within a tokio runtime.
///
/// Nothing here holds state that outlives it, so that ending at any moment is safe; a caller that
/// reloads its configuration calls this again and drops the old watch.
pub fn spawn(sources: &[Source], shutdown: impl Future<Output = ()> + Send + 'static) -> Watch {
    spawn_with(sources, Timing::DEFAULT, shutdown)
}

fn spawn_with(
    sources: &[Source],
    timing: Timing,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Watch {
    let merger = Merger::new(sources.iter().map(|source| source.name.clone()));
    let (sender, snapshots) = watch::channel(Arc::new(merger.snapshot()));
    let (confirm, orders) = confirm::channel();
    let sources = sources.to_vec();
    tokio::spawn(async move {
        tokio::select! {
            () = run(&sources, timing, merger, sender, orders) => {}
            () = shutdown => {}
        }
    });
    Watch { snapshots, confirm }
}

/// Owns what watches the sources: dropping this future ends it all.
async fn run(
    sources: &[Source],
    timing: Timing,
    merger: Merger,
    snapshots: watch::Sender<Arc<Snapshot>>,
    orders: mpsc::Receiver<confirm::Order>,
) {
    let (views, waiting) = mpsc::channel(VIEWS);
    let mut watching = Vec::new();
    for Source { name, kind } in sources {
        let SourceKind::Directory(root) = kind;
        match thread::start(name.clone(), root.clone(), timing, views.clone()) {
            Ok(started) => watching.push(started),
            Err(error) => {
                tracing::error!(source = %name, %error, "the source cannot be watched, its objects stay unknown");
            }
        }
    }
    tokio::select! {
        () = merge::run(merger, waiting, snapshots) => {}
        () = obey(&watching, orders) => {}
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
