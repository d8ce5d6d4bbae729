//! Nodes that get no new flows: by an operator's order, by the label
//! `node.kubernetes.io/exclude-from-external-load-balancers`, or because the Node object is gone.
//! Established flows stay until the deadline (S4).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use roadstead_model::{NodeKey, Snapshot};

/// Why a node drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// An operator said so.
    Ordered,
    /// It carries the label.
    Excluded,
}

/// Who drains, and until when established flows stay.
#[derive(Clone, Debug, Default)]
pub struct Drains {
    ordered: BTreeMap<NodeKey, Duration>,
    excluded: BTreeMap<NodeKey, Duration>,
    /// Addresses in the maps that no Node object has any more.
    orphans: BTreeMap<IpAddr, Duration>,
    /// Addresses in the maps that a Node had since the start.
    seen: BTreeSet<IpAddr>,
}

impl Drains {
    /// Drains a node until `deadline`; one that drains already keeps its deadline.
    pub fn order(&mut self, node: NodeKey, deadline: Duration) {
        self.ordered.entry(node).or_insert(deadline);
    }

    /// Ends an ordered drain. False when there was none.
    pub fn undo(&mut self, node: &NodeKey) -> bool {
        self.ordered.remove(node).is_some()
    }

    /// Follows the snapshot: labels, and addresses of `installed` that belong to no Node any more.
    /// While a source has not been read, what is missing says nothing; while one is in doubt, only
    /// what was there since the start is known to be gone.
    pub fn observe(
        &mut self,
        snapshot: &Snapshot,
        installed: impl IntoIterator<Item = IpAddr>,
        deadline: Duration,
    ) {
        let nodes = snapshot.nodes.values();
        let excluded: BTreeSet<&NodeKey> =
            nodes.clone().filter(|node| node.excluded).map(|node| &node.key).collect();
        self.excluded.retain(|node, _| excluded.contains(node));
        for node in excluded {
            self.excluded.entry(node.clone()).or_insert(deadline);
        }
        if !snapshot.is_complete() {
            return;
        }
        let named: BTreeSet<IpAddr> =
            nodes.flat_map(|node| node.addresses.iter().copied()).collect();
        let installed: BTreeSet<IpAddr> = installed.into_iter().collect();
        self.seen.extend(named.intersection(&installed));
        self.seen.retain(|address| installed.contains(address));
        let doubt = snapshot.is_in_doubt();
        let is_known = |address: &IpAddr| !doubt || self.seen.contains(address);
        let orphans: BTreeSet<IpAddr> =
            installed.difference(&named).copied().filter(is_known).collect();
        self.orphans.retain(|address, _| orphans.contains(address));
        for address in orphans {
            self.orphans.entry(address).or_insert(deadline);
        }
    }

    /// Whether and why a node drains, and until when its flows stay.
    pub fn of(&self, node: &NodeKey) -> Option<(Cause, Duration)> {
        let ordered = self.ordered.get(node).map(|deadline| (Cause::Ordered, *deadline));
        ordered.or_else(|| self.excluded.get(node).map(|deadline| (Cause::Excluded, *deadline)))
    }

    /// Until when flows to an address without a Node stay.
    pub fn orphan(&self, address: IpAddr) -> Option<Duration> {
        self.orphans.get(&address).copied()
    }

    /// The next deadline after `now`.
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        self.deadlines().filter(|deadline| *deadline > now).min()
    }

    /// Whether a deadline lies after `since` and not after `now`.
    pub fn passed(&self, since: Duration, now: Duration) -> bool {
        self.deadlines().any(|deadline| since < deadline && deadline <= now)
    }

    fn deadlines(&self) -> impl Iterator<Item = Duration> {
        let nodes = self.ordered.values().chain(self.excluded.values());
        nodes.chain(self.orphans.values()).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roadstead_model::{SourceName, object::Node, snapshot::SourceState};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);
    const LATE: Duration = Duration::from_secs(99);

    fn key() -> NodeKey {
        NodeKey::new(&SourceName::new("local"), "n1")
    }

    fn address() -> IpAddr {
        IpAddr::from([192, 0, 2, 1])
    }

    fn snapshot(state: SourceState, excluded: Option<bool>) -> Snapshot {
        let node = |excluded| Node {
            key: key(),
            addresses: vec![address()],
            ready: true,
            excluded,
            labels: BTreeMap::new(),
        };
        Snapshot {
            sources: BTreeMap::from([(SourceName::new("local"), state)]),
            nodes: excluded.map(|excluded| (key(), Arc::new(node(excluded)))).into_iter().collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_label_drains_from_its_first_sight_and_its_removal_ends_it() {
        let mut drains = Drains::default();
        drains.observe(&snapshot(SourceState::Current, Some(true)), [], SOON);
        drains.observe(&snapshot(SourceState::Current, Some(true)), [], LATE);
        assert_eq!(drains.of(&key()), Some((Cause::Excluded, SOON)));
        assert_eq!(drains.next_deadline(Duration::ZERO), Some(SOON));
        assert_eq!(drains.next_deadline(SOON), None);
        assert!(drains.passed(Duration::ZERO, SOON) && !drains.passed(SOON, LATE));
        drains.observe(&snapshot(SourceState::Current, Some(false)), [], LATE);
        assert_eq!(drains.of(&key()), None);
    }

    #[test]
    fn an_order_outlives_the_label_and_ends_by_an_order() {
        let mut drains = Drains::default();
        drains.order(key(), SOON);
        drains.order(key(), LATE);
        drains.observe(&snapshot(SourceState::Current, Some(false)), [], LATE);
        assert_eq!(drains.of(&key()), Some((Cause::Ordered, SOON)));
        assert!(drains.undo(&key()));
        assert!(!drains.undo(&key()));
        assert_eq!(drains.of(&key()), None);
    }

    #[test]
    fn an_address_is_orphaned_by_knowledge_alone() {
        let mut drains = Drains::default();
        drains.observe(&snapshot(SourceState::Unread, None), [address()], SOON);
        assert_eq!(drains.orphan(address()), None);
        let doubtful = SourceState::Doubtful { reason: "gone".into() };
        drains.observe(&snapshot(doubtful.clone(), None), [address()], SOON);
        assert_eq!(drains.orphan(address()), None, "it may be in what cannot be read");
        drains.observe(&snapshot(doubtful.clone(), Some(false)), [address()], SOON);
        assert_eq!(drains.orphan(address()), None);
        drains.observe(&snapshot(doubtful, None), [address()], SOON);
        assert_eq!(drains.orphan(address()), Some(SOON), "it was there, and went");
        drains.observe(&snapshot(SourceState::Current, None), [address()], LATE);
        assert_eq!(drains.orphan(address()), Some(SOON));
        drains.observe(&snapshot(SourceState::Current, Some(false)), [address()], LATE);
        assert_eq!(drains.orphan(address()), None);
    }
}
