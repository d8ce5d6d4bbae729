//! Two Node objects with one address: a renamed node whose old object lingers.

use super::*;

/// `web` on n1 and n2, and another Node of this name with the address of n1.
fn world_with(twin: &str) -> World {
    let mut world = serving_web(2);
    let mut node = (*world.snapshot.nodes[&node_key("n1")]).clone();
    node.key = node_key(twin);
    world.snapshot.nodes.insert(node.key.clone(), node.into());
    world
}

fn node_key(name: &str) -> NodeKey {
    NodeKey::new(&source(), name)
}

fn exclude(world: &mut World, name: &str) {
    let node = world.snapshot.nodes.get_mut(&node_key(name)).unwrap();
    std::sync::Arc::make_mut(node).excluded = true;
}

fn mode(world: &World) -> BackendMode {
    world.installed.backends.values().find(|backend| backend.address == v4(1)).unwrap().state
}

/// S4: in either order of the names.
#[test]
fn an_address_serves_as_long_as_one_of_its_nodes_does() {
    for twin in ["anode", "znode"] {
        let mut world = world_with(twin);
        exclude(&mut world, twin);
        world.settle();
        world.now += world.router.drain_deadline;
        world.all_pass();
        world.settle();
        assert_eq!(mode(&world), BackendMode::Active, "{twin}");
        assert!(world.targets("192.0.2.10", 80).contains_key(&v4(1)), "{twin}");
        exclude(&mut world, "n1");
        world.settle();
        assert_eq!(mode(&world), BackendMode::Active, "{twin}: n1 has its time to drain");
        assert!(!world.targets("192.0.2.10", 80).contains_key(&v4(1)), "{twin}");
        world.now += world.router.drain_deadline;
        world.settle();
        assert_eq!(mode(&world), BackendMode::Gone, "{twin}");
    }
}

#[test]
fn a_node_that_drains_does_not_change_the_table_of_the_one_that_serves() {
    let before = serving_web(2).installed.tables;
    for twin in ["anode", "znode"] {
        let mut world = world_with(twin);
        exclude(&mut world, twin);
        world.all_pass();
        world.settle();
        assert_eq!(world.installed.tables, before, "{twin}");
    }
}

#[test]
fn nodes_with_one_address_are_told_by_name() {
    let mut world = world_with("anode");
    exclude(&mut world, "anode");
    let (plan, _) = world.settle();
    let about = format!("local/anode and local/n1 have one address, {}", v4(1));
    assert!(plan.problems.iter().any(|problem| problem.starts_with(&about)), "{:?}", plan.problems);
    let status = status(&world.inputs(), &plan);
    let told: Vec<(&str, BackendState, bool)> = status
        .nodes
        .iter()
        .map(|node| (&*node.name, node.state, node.reason.contains("its address 198.18.0.1 is")))
        .collect();
    assert_eq!(
        told,
        [
            ("anode", BackendState::Draining, true),
            ("n1", BackendState::Healthy, true),
            ("n2", BackendState::Healthy, false),
        ]
    );
    let anode = status.services[0].ports[0].backends(&status.lists).next().unwrap();
    assert_eq!((&*anode.node, anode.weight), ("anode", 0));
}
