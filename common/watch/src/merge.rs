//! Views of the sources → one Snapshot, counted.

use std::{collections::BTreeMap, sync::Arc};

use roadstead_model::{Snapshot, SourceName};
use tokio::sync::{mpsc, watch};

use crate::view::SourceView;

/// The one writer of Snapshots.
#[derive(Debug)]
pub(crate) struct Merger {
    views: BTreeMap<SourceName, Arc<SourceView>>,
    generation: u64,
}

impl Merger {
    /// A merger of sources that were never read.
    pub(crate) fn new(sources: impl IntoIterator<Item = SourceName>) -> Self {
        let unread = Arc::new(SourceView::unread());
        let views = sources.into_iter().map(|name| (name, Arc::clone(&unread))).collect();
        Self { views, generation: 0 }
    }

    /// Takes a view. False where it says what the one before said.
    pub(crate) fn take(&mut self, source: SourceName, view: Arc<SourceView>) -> bool {
        let before = self.views.insert(source, Arc::clone(&view));
        before.is_none_or(|before| before != view)
    }

    /// The Snapshot of all views under the next generation.
    pub(crate) fn next(&mut self) -> Snapshot {
        self.generation = self.generation.saturating_add(1);
        self.snapshot()
    }

    /// The Snapshot of all views.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot { generation: self.generation, ..Snapshot::default() };
        for (source, view) in &self.views {
            snapshot.sources.insert(source.clone(), view.state.clone());
            snapshot.services.extend(shared(&view.services));
            snapshot.refused.extend(shared(&view.refused));
            snapshot.gone.extend(view.gone.iter().cloned());
            snapshot.nodes.extend(shared(&view.nodes));
            snapshot.endpoints.extend(shared(&view.endpoints));
            let namespaces = view.namespaces.iter();
            snapshot.namespaces.extend(
                namespaces.map(|(name, it)| ((source.clone(), Arc::clone(name)), Arc::clone(it))),
            );
            let metallb = view.metallb.iter().cloned();
            snapshot.metallb.extend(metallb.map(|objects| (source.clone(), objects)));
            snapshot.contested.extend(view.contested.iter().cloned());
            snapshot.problems.extend(view.problems.iter().cloned());
        }
        snapshot
    }
}

/// Publishes a Snapshot for every change until no source or no reader is left. Views that wait
/// together become one Snapshot. Dropping it is safe: a Snapshot is swapped in whole.
pub(crate) async fn run(
    mut merger: Merger,
    mut views: mpsc::Receiver<(SourceName, Arc<SourceView>)>,
    snapshots: watch::Sender<Arc<Snapshot>>,
) {
    loop {
        let first = tokio::select! {
            view = views.recv() => view,
            () = snapshots.closed() => None,
        };
        let Some((source, view)) = first else {
            return;
        };
        let mut changed = merger.take(source, view);
        while let Ok((source, view)) = views.try_recv() {
            changed |= merger.take(source, view);
        }
        if changed {
            snapshots.send_replace(Arc::new(merger.next()));
        }
    }
}

fn shared<K: Clone, V: ?Sized>(map: &BTreeMap<K, Arc<V>>) -> impl Iterator<Item = (K, Arc<V>)> {
    map.iter().map(|(key, value)| (key.clone(), Arc::clone(value)))
}

#[cfg(test)]
mod tests;
