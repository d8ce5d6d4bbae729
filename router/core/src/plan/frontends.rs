//! Frontends and the identities of their indices.

use std::collections::{BTreeMap, BTreeSet};

use super::{Inputs, serving::Draft};
use crate::maps::{Frontend, FrontendId, FrontendKey};

/// Frontends as they should be.
pub(super) struct Frontends {
    pub(super) served: BTreeMap<FrontendKey, Frontend>,
    pub(super) identities: BTreeMap<FrontendId, FrontendKey>,
}

/// Gives every draft its index. One that gets none is refused by name; indices out of use stay
/// reserved until no flow refers to them.
pub(super) fn plan(inputs: &Inputs<'_>, drafts: &mut [Draft]) -> Frontends {
    let installed = &inputs.installed.identities;
    let by_key: BTreeMap<FrontendKey, FrontendId> =
        installed.iter().map(|(id, key)| (*key, *id)).collect();
    let keys: BTreeSet<FrontendKey> = drafts.iter().map(|draft| draft.key).collect();
    let mut identities: BTreeMap<FrontendId, FrontendKey> = installed
        .iter()
        .filter(|(id, key)| keys.contains(key) || !inputs.freed.frontends.contains(id))
        .map(|(id, key)| (*id, *key))
        .collect();
    let mut free = (0..inputs.capacity.frontends).filter(|id| !installed.contains_key(id));
    let mut served = BTreeMap::new();
    for draft in drafts {
        let known = by_key.get(&draft.key).copied();
        let Some(id) = known.or_else(|| free.next()) else {
            draft.confirmed = false;
            draft.refused = Some(format!(
                "no room for {} port {} {}: at most {} ports are served in all",
                draft.key.address, draft.key.port, draft.key.protocol, inputs.capacity.frontends
            ));
            continue;
        };
        identities.insert(id, draft.key);
        served.insert(draft.key, frontend(inputs, draft, id));
    }
    Frontends { served, identities }
}

fn frontend(inputs: &Inputs<'_>, draft: &Draft, id: FrontendId) -> Frontend {
    Frontend {
        id,
        node_port: draft.node_port,
        table: draft.table,
        affinity_seconds: draft.affinity_seconds,
        ranges: draft.ranges,
        log: inputs.router.log_flows,
    }
}
