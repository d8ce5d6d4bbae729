//! The lists of nodes that ports share: for each source and family the nodes as they serve a Service
//! that says nothing of its own, and as they stand for one that has no endpoint on any.
//!
//! A port takes the list that it differs less from, so that what is told grows with nodes, Services,
//! endpoints and verdicts on single ports, never with Services times nodes.

use std::{collections::BTreeMap, sync::Arc};

use roadstead_model::{
    Family, SourceName,
    local::{Backend, BackendState, Listed, PortClaim},
    object::Service,
};

use super::reasons::{candidate_reason, node_state};
use crate::plan::{
    Inputs,
    candidates::{Candidate, Pool, Pools},
    nodes::Row,
};

/// The lists that ports have asked for so far.
pub(super) struct Lists<'a> {
    inputs: &'a Inputs<'a>,
    pools: &'a Pools<'a>,
    lists: Vec<Arc<[Backend]>>,
    tallies: Vec<Tally>,
    known: BTreeMap<(SourceName, Family), Known>,
}

/// The lists of one source and family, by index.
#[derive(Clone, Copy)]
struct Known {
    /// Nobody takes new flows.
    nobody: usize,
    /// The nodes as they are for everybody, with the divisor of their weights; the same as `nobody`
    /// where none takes new flows.
    shared: (usize, u32),
}

/// Backends by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// All of them.
    pub(super) all: usize,
    /// Those that pass their probes.
    pub(super) healthy: usize,
    /// Those that have not been probed.
    pub(super) unknown: usize,
    /// Those that fail and get new flows all the same.
    pub(super) panicking: usize,
}

impl<'a> Lists<'a> {
    pub(super) fn new(inputs: &'a Inputs<'a>, pools: &'a Pools<'a>) -> Self {
        let (lists, tallies, known) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { inputs, pools, lists, tallies, known }
    }

    pub(super) fn into_lists(self) -> Vec<Arc<[Backend]>> {
        self.lists
    }

    /// The nodes of a family behind a port.
    pub(super) fn listed(
        &mut self,
        service: &Service,
        claim: PortClaim,
        node_port: u16,
        family: Family,
    ) -> Listed {
        let source = &service.key.source;
        let known = self.known(source, family);
        let listed = |(list, divisor), except| Listed { list, node_port, divisor, except };
        match self.pools.own(self.inputs, service, claim, family) {
            Err(_) => listed((known.nobody, 1), Vec::new()),
            Ok(None) => listed(known.shared, Vec::new()),
            Ok(Some(own)) => {
                let (list, except) = self.differing(known, source, family, &own);
                listed((list, own.choice.divisor), except)
            }
        }
    }

    /// What the backends of a port do.
    pub(super) fn tally(&self, listed: &Listed) -> Tally {
        let list = &self.lists[listed.list];
        listed.except.iter().fold(self.tallies[listed.list], |tally, (index, own)| {
            tally.without(Tally::of(&list[*index])).with(Tally::of(own))
        })
    }

    fn known(&mut self, source: &SourceName, family: Family) -> Known {
        let key = (source.clone(), family);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let rows = self.pools.nodes.of(source, family);
        let nodes = &self.pools.nodes.rows;
        let list: Vec<Backend> = rows.iter().map(|row| backend(&nodes[*row], None, 0)).collect();
        let nobody = self.add(list);
        let shared = self.pools.of(source, family).map(|pool| {
            let mut list = self.lists[nobody].to_vec();
            for (index, own) in self.entries(source, family, pool) {
                list[index] = own;
            }
            (self.add(list), pool.choice.divisor)
        });
        let known = Known { nobody, shared: shared.unwrap_or((nobody, 1)) };
        self.known.insert(key, known);
        known
    }

    fn add(&mut self, list: Vec<Backend>) -> usize {
        let tally = list.iter().map(Tally::of).fold(Tally::default(), Tally::with);
        self.tallies.push(tally);
        self.lists.push(list.into());
        self.lists.len() - 1
    }

    /// The candidates by their place in the lists.
    fn entries(&self, source: &SourceName, family: Family, pool: &Pool) -> Vec<(usize, Backend)> {
        let rows = self.pools.nodes.of(source, family);
        let shares: BTreeMap<u16, u32> = pool.choice.shares.iter().copied().collect();
        let entry = |candidate: &Candidate| {
            let row = &self.pools.nodes.rows[candidate.row];
            let share = row.backend.and_then(|id| shares.get(&id)).copied().unwrap_or(0);
            let entry = backend(row, Some(candidate), share * pool.choice.divisor);
            Some((rows.binary_search(&candidate.row).ok()?, entry))
        };
        pool.candidates.iter().filter_map(entry).collect()
    }

    /// The list that a port with candidates of its own differs less from, and how it does.
    fn differing(
        &self,
        known: Known,
        source: &SourceName,
        family: Family,
        own: &Pool,
    ) -> (usize, Vec<(usize, Backend)>) {
        let (nobody, shared) = (&self.lists[known.nobody], &self.lists[known.shared.0]);
        let mut from_nobody = self.entries(source, family, own);
        from_nobody.retain(|(index, entry)| *entry != nobody[*index]);
        if from_nobody.len() * 2 <= nobody.len() {
            return (known.nobody, from_nobody);
        }
        let own: BTreeMap<usize, &Backend> =
            from_nobody.iter().map(|(index, entry)| (*index, entry)).collect();
        let entries = nobody.iter().enumerate();
        let entries = entries.map(|(index, entry)| (index, *own.get(&index).unwrap_or(&entry)));
        let from_shared = entries.filter(|(index, entry)| **entry != shared[*index]);
        let from_shared = from_shared.map(|(index, entry)| (index, entry.clone()));
        (known.shared.0, from_shared.collect())
    }
}

impl Tally {
    fn of(backend: &Backend) -> Self {
        let Backend { state, weight, .. } = backend;
        let healthy = matches!(state, BackendState::Healthy | BackendState::SlowStart);
        Self {
            all: 1,
            healthy: usize::from(healthy),
            unknown: usize::from(*state == BackendState::Unknown),
            panicking: usize::from(*state == BackendState::Unhealthy && *weight > 0),
        }
    }

    /// This and `other`.
    pub(super) fn with(self, other: Self) -> Self {
        self.each(other, |one, other| one + other)
    }

    fn without(self, other: Self) -> Self {
        self.each(other, |one, other| one - other)
    }

    fn each(self, other: Self, of: impl Fn(usize, usize) -> usize) -> Self {
        Self {
            all: of(self.all, other.all),
            healthy: of(self.healthy, other.healthy),
            unknown: of(self.unknown, other.unknown),
            panicking: of(self.panicking, other.panicking),
        }
    }
}

fn backend(row: &Row, candidate: Option<&Candidate>, weight: u32) -> Backend {
    let (state, reason) = match candidate {
        Some(candidate) => (candidate.state, candidate_reason(candidate)),
        None => match node_state(row) {
            (BackendState::Healthy | BackendState::SlowStart, _) => {
                (BackendState::Unhealthy, "it has no ready endpoint of this Service".to_owned())
            }
            standing => standing,
        },
    };
    let node = row.node.name.clone();
    Backend { node, address: row.address, state, weight, reason: reason.into() }
}
