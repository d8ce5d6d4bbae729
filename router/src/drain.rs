//! Drains that operators ordered: on disk, so that they outlive a restart. An order that shall be
//! forgotten at the next boot is kept in the runtime directory, which a boot empties.
//!
//! When each was given is in the runtime directory too, by `CLOCK_BOOTTIME`: what the wall clock says
//! may jump, and would end flows too soon or never (S4). A boot takes these times away with the
//! flows that they are about.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::time::{ClockId, clock_gettime};
use roadstead_daemon::state::{self, StateError};
use roadstead_model::{NodeKey, Snapshot, config::Paths};
use serde::{Deserialize, Serialize};

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    node: NodeKey,
    /// Seconds since 1970, for people.
    since: u64,
}

/// When an order was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    node: NodeKey,
    /// Seconds since the boot.
    at: u64,
}

/// When the orders were given, and the file.
#[derive(Debug)]
struct Times {
    path: PathBuf,
    given: BTreeMap<NodeKey, u64>,
}

impl Times {
    /// Reads the times. What is not known of an order begins again: no flow ends too soon.
    fn read(path: PathBuf) -> Self {
        let given: Vec<Given> = match state::read(&path) {
            Ok(given) => given.unwrap_or_default(),
            Err(error) => {
                tracing::error!(error = %error, "the deadlines of the ordered drains begin again");
                Vec::new()
            }
        };
        Self { path, given: given.into_iter().map(|given| (given.node, given.at)).collect() }
    }

    /// Notes that these orders stand, the ones that have no time since `now`, and forgets all others.
    fn keep(
        &mut self,
        standing: impl IntoIterator<Item = NodeKey>,
        now: Duration,
    ) -> Result<(), StateError> {
        let time = |node: &NodeKey| self.given.get(node).copied().unwrap_or(now.as_secs());
        let given: BTreeMap<NodeKey, u64> =
            standing.into_iter().map(|node| (node.clone(), time(&node))).collect();
        if given != self.given {
            let file = given.iter().map(|(node, at)| Given { node: node.clone(), at: *at });
            state::write(&self.path, &file.collect::<Vec<_>>())?;
            self.given = given;
        }
        Ok(())
    }
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
    times: Times,
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
    /// The orders as they are on disk. `now` = time since the boot, see [`since_boot`].
    pub(crate) fn read(paths: &Paths, now: Duration) -> Self {
        let runtime = paths.runtime.join("router");
        let mut orders = Self {
            operator: Book::read(paths.state_of("router").join("drains.json")),
            until_reboot: Book::read(runtime.join("drains.json")),
            times: Times::read(runtime.join("drain-times.json")),
        };
        let standing: Vec<NodeKey> = orders.all().map(|order| order.node.clone()).collect();
        if let Err(error) = orders.times.keep(standing, now) {
            tracing::error!(error = %error, "the deadlines of the ordered drains begin again at the next start");
        }
        orders
    }

    /// The drained nodes, each with how long ago it was ordered.
    pub(crate) fn standing(&self, now: Duration) -> impl Iterator<Item = (NodeKey, Duration)> {
        self.all().map(move |order| {
            let at = self.times.given.get(&order.node);
            let given = at.map_or(now, |at| Duration::from_secs(*at));
            (order.node.clone(), now.saturating_sub(given))
        })
    }

    /// Records an order; one that stands keeps its time.
    ///
    /// # Errors
    /// When it cannot be written: then it is not in force.
    pub(crate) fn order(
        &mut self,
        node: NodeKey,
        until_reboot: bool,
        now: Duration,
    ) -> Result<(), StateError> {
        let known = self.all().find(|order| order.node == node).map(|order| order.since);
        if known.is_none() {
            // What is left of an order that could not be written.
            self.times.given.remove(&node);
        }
        let standing: Vec<NodeKey> = self.all().map(|order| order.node.clone()).collect();
        self.times.keep(standing.into_iter().chain([node.clone()]), now)?;
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
        // One that is ordered again begins again. Where this cannot be written, its time is of no
        // order and goes with the next one.
        self.times.given.remove(node);
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

/// The time since the boot, of a clock that nobody sets.
pub(crate) fn since_boot() -> Duration {
    // Linux has this clock since 2.6.39; without it every order is as old as the process.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roadstead_model::{SourceName, object::Node};

    use super::*;

    /// An hour after the boot.
    const NOW: Duration = Duration::from_secs(3_600);
    const MINUTE: Duration = Duration::from_secs(60);

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
        orders.standing(NOW).map(|(node, _)| node).collect()
    }

    fn age(orders: &Orders, now: Duration) -> Duration {
        orders.standing(now).map(|(_, age)| age).next().unwrap()
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
        let mut orders = Orders::read(&paths, NOW);
        orders.order(key("local", "n1"), false, NOW).unwrap();
        orders.order(key("local", "n2"), true, NOW).unwrap();
        let mut again = Orders::read(&paths, NOW);
        assert_eq!(standing(&again), [key("local", "n1"), key("local", "n2")]);
        assert!(again.take_back(&key("local", "n1")).unwrap());
        assert!(!again.take_back(&key("local", "n1")).unwrap());
        assert_eq!(standing(&Orders::read(&paths, NOW)), [key("local", "n2")]);
        std::fs::remove_dir_all(&paths.runtime).unwrap();
        assert_eq!(
            standing(&Orders::read(&paths, NOW)),
            [],
            "a boot empties the runtime directory"
        );
    }

    /// S4: each restart finds the wall clock somewhere else.
    #[test]
    fn a_deadline_outlives_restarts_whatever_the_wall_clock_says() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        for until_reboot in [false, true] {
            let node = key("local", "n1");
            let mut orders = Orders::read(&paths, NOW);
            orders.order(node.clone(), until_reboot, NOW).unwrap();
            let book = if until_reboot { &orders.until_reboot } else { &orders.operator };
            let day = 86_400;
            for since in [unix_now() - day, unix_now() + day] {
                state::write(&book.path, &[Order { node: node.clone(), since }]).unwrap();
                let later = Orders::read(&paths, NOW + MINUTE);
                assert_eq!(age(&later, NOW + 2 * MINUTE), 2 * MINUTE);
            }
            orders.order(node.clone(), until_reboot, NOW + MINUTE).unwrap();
            assert_eq!(age(&orders, NOW + MINUTE), MINUTE, "one that stands keeps its time");
            orders.take_back(&node).unwrap();
            orders.order(node.clone(), until_reboot, NOW + 3 * MINUTE).unwrap();
            assert_eq!(age(&Orders::read(&paths, NOW + 4 * MINUTE), NOW + 4 * MINUTE), MINUTE);
            orders.take_back(&node).unwrap();
        }
    }

    /// Orders of an earlier version, and those from before a boot.
    #[test]
    fn an_order_without_a_time_begins_when_it_is_first_read() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        let file = r#"[{"node":{"source":"local","name":"n1"},"since":1700000000}]"#;
        let book = Orders::read(&paths, NOW).operator.path;
        std::fs::write(&book, file).unwrap();
        assert_eq!(age(&Orders::read(&paths, NOW), NOW), Duration::ZERO);
        let again = Orders::read(&paths, NOW + MINUTE);
        assert_eq!(age(&again, NOW + MINUTE), MINUTE, "the next start goes on");
        std::fs::write(paths.runtime.join("router/drain-times.json"), "[{").unwrap();
        assert_eq!(age(&Orders::read(&paths, NOW), NOW), Duration::ZERO, "a damaged file");
    }

    #[test]
    fn what_is_left_of_an_order_that_failed_shortens_no_later_one() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        let mut orders = Orders::read(&paths, NOW);
        std::fs::remove_dir_all(&paths.state).unwrap();
        assert!(orders.order(key("local", "n1"), false, NOW).is_err());
        std::fs::create_dir_all(paths.state_of("router")).unwrap();
        orders.order(key("local", "n1"), false, NOW + MINUTE).unwrap();
        assert_eq!(age(&orders, NOW + MINUTE), Duration::ZERO);
    }

    #[test]
    fn an_order_that_cannot_be_written_is_not_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        std::fs::remove_dir_all(&paths.state).unwrap();
        let mut orders = Orders::read(&paths, NOW);
        assert!(orders.order(key("local", "n1"), false, NOW).is_err());
        assert_eq!(standing(&orders), []);
    }

    #[test]
    fn a_name_stands_for_one_node() {
        let directory = tempfile::tempdir().unwrap();
        let orders = Orders::read(&paths(directory.path()), NOW);
        let snapshot = snapshot(&[key("a", "n1"), key("b", "n1"), key("a", "n2")]);
        assert_eq!(orders.named("n2", &snapshot).unwrap(), key("a", "n2"));
        assert_eq!(orders.named("b/n1", &snapshot).unwrap(), key("b", "n1"));
        let several = orders.named("n1", &snapshot).unwrap_err().to_string();
        assert_eq!(several, "several nodes are named `n1`: write one of a/n1, b/n1");
        assert!(orders.named("n3", &snapshot).unwrap_err().to_string().contains("`n3`"));
    }
}
