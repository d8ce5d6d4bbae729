//! Sets of source ranges: shared by content, and never changed in place. A changed set is written
//! whole under a new index before a frontend turns to it, so that no client is let in or cut off by
//! a half-written one.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use ipnet::IpNet;

use super::{
    Inputs,
    serving::{Allowed, Demand, Draft},
};
use crate::maps::RangeSetId;

type Sets = BTreeMap<RangeSetId, BTreeSet<IpNet>>;

/// Gives every draft its range set, and returns all entries of the sets in use.
pub(super) fn assign(inputs: &Inputs<'_>, drafts: &mut [Draft]) -> BTreeSet<(RangeSetId, IpNet)> {
    let installed = installed(inputs);
    let mut ids: BTreeMap<BTreeSet<IpNet>, RangeSetId> =
        installed.iter().map(|(id, nets)| (nets.clone(), *id)).collect();
    let mut taken: BTreeSet<RangeSetId> = installed.keys().copied().collect();
    let mut wanted: Sets = BTreeMap::new();
    let room = usize::try_from(inputs.capacity.ranges).unwrap_or(usize::MAX);
    let mut used = 0;
    for draft in drafts {
        let nets = match &draft.allowed {
            Allowed::Everybody => continue,
            Allowed::Keep(id) => installed.get(id).cloned().unwrap_or_default(),
            Allowed::Only(nets) => nets.clone(),
        };
        let known = ids.get(&nets).copied();
        let id = known.unwrap_or_else(|| (0..).find(|id| !taken.contains(id)).unwrap_or(0));
        if let Entry::Vacant(new) = wanted.entry(id) {
            if used + nets.len() > room {
                refuse(inputs, draft);
                continue;
            }
            used += nets.len();
            new.insert(nets.clone());
        }
        ids.insert(nets, id);
        taken.insert(id);
        draft.ranges = Some(id);
    }
    wanted.into_iter().flat_map(|(id, nets)| nets.into_iter().map(move |net| (id, net))).collect()
}

fn installed(inputs: &Inputs<'_>) -> Sets {
    let mut sets = Sets::new();
    for (id, net) in &inputs.installed.ranges {
        sets.entry(*id).or_default().insert(*net);
    }
    sets
}

/// Ranges that do not fit are never read as "everybody": the frontend is closed.
fn refuse(inputs: &Inputs<'_>, draft: &mut Draft) {
    draft.demand = Demand::Nobody;
    draft.confirmed = false;
    draft.refused = Some(format!(
        "no room for its loadBalancerSourceRanges: at most {} prefixes are served in all",
        inputs.capacity.ranges
    ));
}
