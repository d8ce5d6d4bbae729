//! What the reflector of Services has seen and the writer has not looked at yet: of each Service the
//! last, so that it is bounded by their number (S7), and nobody ever waits for the writer.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use roadstead_model::{ServiceKey, SourceName};
use tokio::sync::Notify;

use crate::{
    kubernetes::read::{Change, News, observed::Observed},
    objects::{ObjectId, kind::Kind},
};

/// Shared by the one who sees and the one who writes.
#[derive(Clone, Debug)]
pub(in crate::kubernetes) struct Inbox {
    source: SourceName,
    shared: Arc<(Mutex<Seen>, Notify)>,
}

/// By Service; none: it is not there.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Everything there is, where it was listed since.
    pub(super) listed: Option<BTreeMap<ServiceKey, Arc<Observed>>>,
    /// What has changed since, or since the last look.
    pub(super) changed: BTreeMap<ServiceKey, Option<Arc<Observed>>>,
}

impl Inbox {
    pub(in crate::kubernetes) fn new(source: SourceName) -> Self {
        Self { source, shared: Arc::default() }
    }

    /// Takes out of the news what the writer is to see.
    pub(in crate::kubernetes) fn note(&self, news: &News) {
        let (seen, notify) = &*self.shared;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
            News::Listed(Kind::Service, listing) => {
                let all = listing.changes.iter().filter_map(|change| self.observed(change));
                *seen = Seen { listed: Some(all.collect()), changed: BTreeMap::new() };
            }
            News::Changed(Kind::Service, change) => {
                if let Some(key) = self.key(&change.id) {
                    seen.changed.insert(key, change.seen.clone());
                }
            }
            News::Deleted(Kind::Service, id, _) => {
                if let Some(key) = self.key(id) {
                    seen.changed.insert(key, None);
                }
            }
            _ => return,
        }
        notify.notify_one();
    }

    /// Everything since the last time.
    pub(super) fn take(&self) -> Seen {
        mem::take(&mut *self.shared.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Until something was noted since the last time. Cancelling it loses nothing.
    pub(super) async fn noted(&self) {
        self.shared.1.notified().await;
    }

    fn observed(&self, change: &Change) -> Option<(ServiceKey, Arc<Observed>)> {
        Some((self.key(&change.id)?, change.seen.clone()?))
    }

    fn key(&self, id: &ObjectId) -> Option<ServiceKey> {
        match id {
            ObjectId::Service(namespace, name) => {
                Some(ServiceKey::new(&self.source, Arc::clone(namespace), Arc::clone(name)))
            }
            _ => None,
        }
    }
}
