//! Services that were there and went by an order, as far as a source remembers them.

use std::{collections::BTreeSet, sync::Arc};

use roadstead_model::ServiceKey;

use crate::view::SourceView;

/// Most Services remembered as gone (S7). When there are more the older ones are forgotten, which
/// only means that they are not withdrawn while their source is in doubt.
const MAX_GONE: usize = 10_000;

/// The Services that left a source's views by an order since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gone(Arc<BTreeSet<ServiceKey>>);

impl Gone {
    /// Notes who left and who is back between two views of a source whose doubt keeps everything,
    /// so that only an order takes a Service out of them.
    pub(crate) fn note(
        &mut self,
        before: &SourceView,
        after: &SourceView,
    ) -> Arc<BTreeSet<ServiceKey>> {
        let is_there =
            |key: &ServiceKey| after.services.contains_key(key) || after.refused.contains_key(key);
        let known = before.services.keys().chain(before.refused.keys());
        let left: Vec<_> = known.filter(|key| !is_there(key)).cloned().collect();
        let is_back = self.0.iter().any(is_there);
        if !left.is_empty() || is_back {
            let gone = Arc::make_mut(&mut self.0);
            gone.retain(|key| !is_there(key));
            if gone.len().saturating_add(left.len()) > MAX_GONE {
                gone.clear();
            }
            gone.extend(left.into_iter().take(MAX_GONE));
        }
        Arc::clone(&self.0)
    }
}
