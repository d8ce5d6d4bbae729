//! Drains that operators ordered: on disk, so that they outlive a restart, with the time of the
//! order, so that their deadline does too. An order that shall be forgotten at the next boot is kept
//! in the runtime directory, which a boot empties.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use roadstead_daemon::state::{self, StateError};
use roadstead_model::{NodeKey, Snapshot, config::Paths};
use serde::{Deserialize, Serialize};

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    node: NodeKey,
    /// Seconds since 1970.
    since: u64,
}

/// The orders of one kind and their file.
#[derive(Clone, Debug)]
struct Book {
    path: PathBuf,
    orders: BTreeMap<NodeKey, Order>,
}

impl Book {
    /// Reads the orders. A damaged file is told and kept as it is until the next order.
    fn read(path: PathBuf) -> Self {
        let orders: Vec<Order> = match state::read(&path) {
            Ok(orders) => orders.unwrap_or_default(),
            Err(error) => {
                tracing::error!(error = %error, "the ordered drains are not known");
                Vec::new()
            }
        };
        Self { path, orders: orders.into_iter().map(|order| (order.node.clone(), order)).collect() }
    }

    /// Replaces the orders, on disk first.
    fn replace(&mut self, orders: BTreeMap<NodeKey, Order>) -> Result<(), StateError> {
        state::write(&self.path, &orders.values().collect::<Vec<_>>())?;
        self.orders = orders;
        Ok(())
    }
}

/// The orders on disk.
#[derive(Debug)]
pub(crate) struct Orders {
    operator: Book,
    until_reboot: Book,
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
    /// The orders as they are on disk.
    pub(crate) fn read(paths: &Paths) -> Self {
        Self {
            operator: Book::read(paths.state_of("router").join("drains.json")),
            until_reboot: Book::read(paths.runtime.join("router").join("drains.json")),
        }
    }

    /// The drained nodes, each with how long ago it was ordered.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (NodeKey, Duration)> {
        let now = unix_now();
        self.all().map(move |order| {
            (order.node.clone(), Duration::from_secs(now.saturating_sub(order.since)))
        })
    }

    /// Records an order; one that stands keeps its time.
    ///
    /// # Errors
    /// When it cannot be written: then it is not in force.
    pub(crate) fn order(&mut self, node: NodeKey, until_reboot: bool) -> Result<(), StateError> {
        let known = self.all().find(|order| order.node == node).map(|order| order.since);
        let since = known.unwrap_or_else(unix_now);
        let book = if until_reboot { &mut self.until_reboot } else { &mut self.operator };
        let mut orders = book.orders.clone();
        orders.insert(node.clone(), Order { node, since });
        book.replace(orders)
    }

    /// Takes an order back, of either kind. False where there was none.
    ///
    /// # Errors
    /// When that cannot be written: then the order stands.
    pub(crate) fn take_back(&mut self, node: &NodeKey) -> Result<bool, StateError> {
        let mut stood = false;
        for book in [&mut self.operator, &mut self.until_reboot] {
            if book.orders.contains_key(node) {
                let mut orders = book.orders.clone();
                orders.remove(node);
                book.replace(orders)?;
                stood = true;
            }
        }
        Ok(stood)
    }

    fn all(&self) -> impl Iterator<Item = &Order> {
        self.operator.orders.values().chain(self.until_reboot.orders.values())
    }

    /// The ordered node of that name, which may be gone from the snapshot.
    pub(crate) fn named(&self, name: &str, snapshot: &Snapshot) -> Result<NodeKey, UnknownNode> {
        let known = snapshot.nodes.keys().chain(self.all().map(|order| &order.node));
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

    fn paths(directory: &std::path::Path) -> Paths {
        let paths = Paths {
            state: directory.join("state"),
            runtime: directory.join("run"),
            bpffs: directory.join("bpf"),
        };
        std::fs::create_dir_all(paths.state_of("router")).unwrap();
        std::fs::create_dir_all(paths.runtime.join("router")).unwrap();
        paths
    }

    #[test]
    fn orders_outlive_a_restart_and_end_when_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        let mut orders = Orders::read(&paths);
        orders.order(key("local", "n1"), false).unwrap();
        orders.order(key("local", "n2"), true).unwrap();
        let mut again = Orders::read(&paths);
        assert_eq!(standing(&again), [key("local", "n1"), key("local", "n2")]);
        assert!(again.take_back(&key("local", "n1")).unwrap());
        assert!(!again.take_back(&key("local", "n1")).unwrap());
        assert_eq!(standing(&Orders::read(&paths)), [key("local", "n2")]);
        std::fs::remove_dir_all(&paths.runtime).unwrap();
        assert_eq!(standing(&Orders::read(&paths)), [], "a boot empties the runtime directory");
    }

    #[test]
    fn an_order_that_cannot_be_written_is_not_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        std::fs::remove_dir_all(&paths.state).unwrap();
        let mut orders = Orders::read(&paths);
        assert!(orders.order(key("local", "n1"), false).is_err());
        assert_eq!(standing(&orders), []);
    }

    #[test]
    fn a_name_stands_for_one_node() {
        let directory = tempfile::tempdir().unwrap();
        let orders = Orders::read(&paths(directory.path()));
        let snapshot = snapshot(&[key("a", "n1"), key("b", "n1"), key("a", "n2")]);
        assert_eq!(orders.named("n2", &snapshot).unwrap(), key("a", "n2"));
        assert_eq!(orders.named("b/n1", &snapshot).unwrap(), key("b", "n1"));
        let several = orders.named("n1", &snapshot).unwrap_err().to_string();
        assert_eq!(several, "several nodes are named `n1`: write one of a/n1, b/n1");
        assert!(orders.named("n3", &snapshot).unwrap_err().to_string().contains("`n3`"));
    }
}
