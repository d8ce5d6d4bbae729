//! Sources → [`Snapshot`]. Nothing after this crate knows which kind of source an object came from.
//!
//! ```text
//! directory thread ──┐
//! directory thread ──┼─ views (bounded) ─▶ merger ─ watch ─▶ readers hold Arc<Snapshot>
//!      …             ┘
//! ```
//!
//! * [`manifests`] is the directory source, its parser and its rules (defaults, validation, last
//!   good objects, doubt).
//! * `merge` puts the sources together and counts generations.
//!
//! Level-triggered throughout: a view says everything that a source says, a Snapshot everything
//! that all sources say, and a reader that sleeps through ten of them sees the last.

#![forbid(unsafe_code)]

pub mod manifests;
mod merge;
mod view;

use std::{future::Future, sync::Arc};

use roadstead_model::{
    Snapshot,
    config::{Source, SourceKind},
};
use tokio::sync::{mpsc, watch};

pub use view::SourceView;

use manifests::{Timing, thread};
use merge::Merger;

/// Views that may wait for the merger. It takes all that wait at once, so that more would only hold
/// older ones; when they are full a source waits, and sends a newer view than it would have.
const VIEWS: usize = 8;

/// Watches the sources until `shutdown` resolves or the last receiver is dropped: one task that
/// merges and owns everything, one thread for each directory. Must be called within a tokio runtime.
///
/// The first value is generation 0, in which no source was read yet. Nothing here holds state that
/// outlives it, so that ending at any moment is safe; a caller that reloads its configuration calls
/// this again and drops the old receiver.
pub fn spawn(
    sources: &[Source],
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> watch::Receiver<Arc<Snapshot>> {
    spawn_with(sources, Timing::DEFAULT, shutdown)
}

fn spawn_with(
    sources: &[Source],
    timing: Timing,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> watch::Receiver<Arc<Snapshot>> {
    let merger = Merger::new(sources.iter().map(|source| source.name.clone()));
    let (sender, receiver) = watch::channel(Arc::new(merger.snapshot()));
    let sources = sources.to_vec();
    tokio::spawn(async move {
        tokio::select! {
            () = run(&sources, timing, merger, sender) => {}
            () = shutdown => {}
        }
    });
    receiver
}

/// Owns what watches the sources: dropping this future ends it all.
async fn run(
    sources: &[Source],
    timing: Timing,
    merger: Merger,
    snapshots: watch::Sender<Arc<Snapshot>>,
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
    merge::run(merger, waiting, snapshots).await;
}

#[cfg(test)]
mod tests;
