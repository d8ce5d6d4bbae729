//! Drains that operators ordered: on disk, so that they outlive a restart, with the time of the
//! order, so that their deadline does too.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use roadstead_daemon::state::{self, StateError};
use roadstead_model::{NodeKey, Snapshot};
use serde::{Deserialize, Serialize};

/// Where the kernel names the boot, so that an order that holds until the next one is forgotten.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    node: NodeKey,
    /// Seconds since 1970.
    since: u64,
    /// The boot that it holds for; `None` = until it is taken back.
    #[serde(default)]
    boot: Option<String>,
}

/// The orders on disk.
#[derive(Debug)]
pub(crate) struct Orders {
    path: PathBuf,
    orders: BTreeMap<NodeKey, Order>,
}

/// A name that stands for no node, or for several.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnknownNode {
    #[error("no node is named `{0}`: `roadstead status` lists them")]
    Nobody(String),
    #[error("several nodes are named `{name}`: write one of {}", candidates.join(", "))]
    Several { name: String, candidates: Vec<String> },
}

impl Orders {
    /// Reads the orders. A damaged file is told and kept as it is until the next order.
    pub(crate) fn read(state: &Path) -> Self {
        let path = state.join("drains.json");
        let orders: Vec<Order> = match state::read(&path) {
            Ok(orders) => orders.unwrap_or_default(),
            Err(error) => {
                tracing::error!(error = %error, "the ordered drains are not known");
                Vec::new()
            }
        };
        let boot = boot();
        let standing = |order: &Order| order.boot.is_none() || order.boot == boot;
        let orders = orders.into_iter().filter(standing);
        Self { path, orders: orders.map(|order| (order.node.clone(), order)).collect() }
    }

    /// The drained nodes, each with how long ago it was ordered.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (NodeKey, Duration)> {
        let now = unix_now();
        self.orders.values().map(move |order| {
            (order.node.clone(), Duration::from_secs(now.saturating_sub(order.since)))
        })
    }

    /// Records an order; one that stands keeps its time.
    ///
    /// # Errors
    /// When it cannot be written: then it is not in force.
    pub(crate) fn order(&mut self, node: NodeKey, until_reboot: bool) -> Result<(), StateError> {
        let boot = if until_reboot { boot() } else { None };
        let known = self.orders.get(&node).cloned();
        let since = known.as_ref().map_or_else(unix_now, |order| order.since);
        self.orders.insert(node.clone(), Order { node: node.clone(), since, boot });
        self.write().inspect_err(|_| match known {
            Some(known) => drop(self.orders.insert(node, known)),
            None => drop(self.orders.remove(&node)),
        })
    }

    /// Takes an order back. False where there was none.
    ///
    /// # Errors
    /// When that cannot be written: then the order stands.
    pub(crate) fn take_back(&mut self, node: &NodeKey) -> Result<bool, StateError> {
        let Some(order) = self.orders.remove(node) else { return Ok(false) };
        self.write().inspect_err(|_| drop(self.orders.insert(node.clone(), order)))?;
        Ok(true)
    }

    /// The ordered node of that name, which may be gone from the snapshot.
    pub(crate) fn named(&self, name: &str, snapshot: &Snapshot) -> Result<NodeKey, UnknownNode> {
        let known = snapshot.nodes.keys().chain(self.orders.keys());
        let mut matching: Vec<&NodeKey> =
            known.filter(|key| *key.name == *name || key.to_string() == name).collect();
        matching.sort();
        matching.dedup();
        match matching.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(UnknownNode::Nobody(name.to_owned())),
            several => Err(UnknownNode::Several {
                name: name.to_owned(),
                candidates: several.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    fn write(&self) -> Result<(), StateError> {
        let orders: Vec<&Order> = self.orders.values().collect();
        state::write(&self.path, &orders)
    }
}

fn boot() -> Option<String> {
    std::fs::read_to_string(BOOT_ID).ok().map(|id| id.trim().to_owned())
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roadstead_model::{SourceName, object::Node};

    use super::*;

    fn key(source: &str, name: &str) -> NodeKey {
        NodeKey::new(&SourceName::new(source), name)
    }

    fn snapshot(keys: &[NodeKey]) -> Snapshot {
        let node = |key: &NodeKey| Node {
            key: key.clone(),
            addresses: Vec::new(),
            ready: true,
            excluded: false,
            labels: BTreeMap::new(),
        };
        Snapshot {
            nodes: keys.iter().map(|key| (key.clone(), Arc::new(node(key)))).collect(),
            ..Snapshot::default()
        }
    }

    fn standing(orders: &Orders) -> Vec<NodeKey> {
        orders.standing().map(|(node, _)| node).collect()
    }

    #[test]
    fn orders_outlive_a_restart_and_end_when_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut orders = Orders::read(directory.path());
        orders.order(key("local", "n1"), false).unwrap();
        orders.order(key("local", "n2"), true).unwrap();
        let mut again = Orders::read(directory.path());
        assert_eq!(standing(&again), [key("local", "n1"), key("local", "n2")]);
        assert!(again.take_back(&key("local", "n1")).unwrap());
        assert!(!again.take_back(&key("local", "n1")).unwrap());
        assert_eq!(standing(&Orders::read(directory.path())), [key("local", "n2")]);
    }

    #[test]
    fn an_order_for_another_boot_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let order = Order { node: key("local", "n1"), since: 1, boot: Some("another".into()) };
        state::write(&directory.path().join("drains.json"), &[order]).unwrap();
        assert_eq!(standing(&Orders::read(directory.path())), []);
    }

    #[test]
    fn an_order_that_cannot_be_written_is_not_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let mut orders = Orders::read(&directory.path().join("missing"));
        assert!(orders.order(key("local", "n1"), false).is_err());
        assert_eq!(standing(&orders), []);
    }

    #[test]
    fn a_name_stands_for_one_node() {
        let directory = tempfile::tempdir().unwrap();
        let orders = Orders::read(directory.path());
        let snapshot = snapshot(&[key("a", "n1"), key("b", "n1"), key("a", "n2")]);
        assert_eq!(orders.named("n2", &snapshot).unwrap(), key("a", "n2"));
        assert_eq!(orders.named("b/n1", &snapshot).unwrap(), key("b", "n1"));
        let several = orders.named("n1", &snapshot).unwrap_err().to_string();
        assert_eq!(several, "several nodes are named `n1`: write one of a/n1, b/n1");
        assert!(orders.named("n3", &snapshot).unwrap_err().to_string().contains("`n3`"));
    }
}
