//! Pools that MetalLB's objects say: over restarts, with what is known of them lost, and taken away.

use roadstead_model::{
    metallb::{AddressPool, MetalLb},
    selector::Labels,
};

use super::*;

const READING: &str =
    "[[source]]\nname = \"local\"\ndirectory = \"/nowhere\"\nmetallb = true\n[speaker]\n";

fn objects(addresses: &str) -> Arc<MetalLb> {
    let pool = AddressPool {
        name: "more".into(),
        labels: Labels::new(),
        addresses: vec![addresses.parse().unwrap()],
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
    };
    Arc::new(MetalLb { pools: vec![pool], ..MetalLb::default() })
}

impl Machine {
    fn says(&mut self, addresses: &str) {
        self.snapshot.metallb.insert(SourceName::new("local"), objects(addresses));
    }

    fn held(&mut self) -> Vec<String> {
        let said = self.step();
        said.services.iter().flat_map(|it| &it.addresses).map(ToString::to_string).collect()
    }

    /// The next speaker, of which no source was read yet.
    fn restarted(&mut self) {
        self.snapshot = Snapshot::default();
        self.snapshot.sources.insert(SourceName::new("local"), SourceState::Unread);
        self.start();
        let snapshot = Arc::new(self.snapshot.clone());
        self.control().snapshot = snapshot;
    }
}

/// A Service on an address of a pool of MetalLB's.
fn served() -> Machine {
    let mut machine = Machine::configured(READING);
    machine.read_sources();
    machine.says("203.0.113.0/28");
    let mut web = service("web");
    web.request.addresses = vec!["203.0.113.5".parse().unwrap()];
    machine.snapshot.services.insert(web.key.clone(), Arc::new(web));
    assert_eq!(machine.held(), ["203.0.113.5"]);
    machine
}

#[test]
fn a_restart_without_the_source_has_the_same_pools() {
    let mut machine = served();
    machine.restarted();
    assert!(!machine.control().awaits_pools());
    assert_eq!(machine.held(), ["203.0.113.5"]);
    let status = machine.control().status();
    assert!(status.pools.iter().any(|pool| &*pool.name == "local/more"), "{:?}", status.pools);
}

#[test]
fn with_the_book_lost_nothing_is_decided_until_the_source_is_read() {
    let mut machine = served();
    fs::remove_file(machine.state().join("metallb.json")).unwrap();
    machine.restarted();
    assert!(machine.control().awaits_pools(), "the address may lie in a pool that is not known");
    machine.says("203.0.113.0/28");
    let snapshot = Arc::new(machine.snapshot.clone());
    machine.control().snapshot = snapshot;
    assert!(!machine.control().awaits_pools());
    assert_eq!(machine.held(), ["203.0.113.5"]);
}

#[test]
fn a_pool_that_serves_is_not_taken_away_and_it_is_told() {
    let mut machine = served();
    machine.says("203.0.113.8/29");
    assert_eq!(machine.held(), ["203.0.113.5"]);
    let words = "it would take the address of local/default/web (203.0.113.5)";
    let told = machine.control().status().problems.clone();
    assert!(told.iter().any(|problem| problem.message.contains(words)), "{told:?}");
    machine.snapshot.services.clear();
    machine.settle();
    assert_eq!(machine.held(), Vec::<String>::new());
    machine.step();
    assert!(machine.control().status().problems.is_empty());
}
