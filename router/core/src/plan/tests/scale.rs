//! Plans of the size of the latency goal.

use std::time::Instant;

use roadstead_model::{NodeKey, Protocol};

use crate::{diff::diff, fixture::*};

/// Plans and applies; prints what it took and returns how many operations.
fn measured(what: &str, world: &mut World) -> usize {
    let start = Instant::now();
    world.observe();
    let observed = start.elapsed();
    let plan = world.plan();
    let planned = start.elapsed();
    let ops = diff(&world.installed, &plan.wanted);
    let end = start.elapsed();
    let (plan, diff) = (planned - observed, end - planned);
    println!(
        "{what}: subjects {observed:?}, with plan {plan:?}, diff {diff:?}, {} operations",
        ops.len()
    );
    ops.iter().for_each(|op| world.installed.apply(op));
    ops.len()
}

/// The size of the latency goal. What it takes is printed (`--release -- --nocapture`), never
/// asserted; what is asserted is that only what changed is written.
#[test]
fn a_thousand_services_on_a_hundred_nodes_change_by_few_operations() {
    let mut world = World::new(100);
    for n in 0..1_000_u16 {
        let ports = [(Protocol::Tcp, 80, Some(30_000 + n)), (Protocol::Tcp, 443, Some(31_000 + n))];
        let [high, low] = n.to_be_bytes();
        let name = format!("s{n}");
        world.serve(service(&name, &ports), &[&format!("198.19.{high}.{low}")]);
    }
    measured("cold start", &mut world);
    world.all_pass();
    measured("all pass", &mut world);
    assert_eq!(measured("nothing changed", &mut world), 0);
    world.edit_service("s500", |service| service.ports[0].node_port = Some(29_000));
    assert_eq!(measured("a NodePort", &mut world), 1);
    world.endpoints("s500", &[(1, false)]);
    assert_eq!(measured("one Service loses its endpoints", &mut world), 2);
    world.fail_nodes(&[50]);
    let changed = measured("one node fails", &mut world);
    assert!(changed <= 3, "its two backends and the one table, not {changed} operations");
    world.snapshot.nodes.remove(&NodeKey::new(&source(), "n60"));
    let changed = measured("one node is deleted", &mut world);
    assert!(changed <= 3, "{changed} operations");
}
