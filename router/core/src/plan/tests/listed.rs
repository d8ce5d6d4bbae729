//! What is told of backends, in the size of what differs.

use super::*;
use crate::plan::Status;

/// Bytes of one answer to `GET /v1/status` for 5,000 Services on 500 nodes of both families; every
/// backend written out would be 500 MB.
const MOST: usize = 8 << 20;

fn told(world: &mut World) -> Status {
    let (plan, _) = world.settle();
    status(&world.inputs(), &plan)
}

/// The nodes of the first Service by name, with their weights, and how many entries are its own.
fn weights(status: &Status) -> (Vec<(String, u32)>, usize) {
    let port = &status.services[0].ports[0];
    let weights = port.backends(&status.lists).map(|told| (told.node.to_string(), told.weight));
    (weights.collect(), port.listed.iter().map(|listed| listed.except.len()).sum())
}

/// `nodes` healthy nodes, of which these have endpoints of `web`, whose policy is Local.
fn local(nodes: u16, with_endpoints: &[(u16, bool)]) -> World {
    let mut world = World::new(nodes);
    world.serve(web(), &["192.0.2.10"]);
    world.edit_service("web", |service| service.traffic_policy = TrafficPolicy::Local);
    world.endpoints("web", with_endpoints);
    world.settle();
    world.all_pass();
    world
}

#[test]
fn a_service_with_endpoints_on_few_nodes_or_on_all_but_few_tells_only_of_the_few() {
    let expected = |with: &[u16]| {
        let weight = |n: u16| (format!("n{n}"), u32::from(with.contains(&n)));
        (1..=8).map(weight).collect::<Vec<_>>()
    };
    let (few, own) = weights(&told(&mut local(8, &[(3, true)])));
    assert_eq!((few, own), (expected(&[3]), 1));
    let most: Vec<(u16, bool)> = (2..=8).map(|n| (n, true)).collect();
    let status = told(&mut local(8, &most));
    assert_eq!(weights(&status), (expected(&[2, 3, 4, 5, 6, 7, 8]), 1));
    let first = status.services[0].ports[0].backends(&status.lists).next().unwrap();
    assert_eq!(&*first.reason, "it has no ready endpoint of this Service");
    let conditions = &status.services[0].conditions;
    let healthy = conditions.iter().find(|condition| condition.kind == "BackendsHealthy").unwrap();
    assert_eq!(healthy.message, "7 of 8 backends pass their probes");
}

/// The other weights of the port are other numbers then, and still those of the list.
#[test]
fn a_node_port_that_climbs_on_one_node_is_one_entry_of_its_own() {
    let mut world = World::new(8);
    world.router.health.slow_start = Duration::from_secs(600);
    world.health.configure(world.router.health.clone());
    world.serve(web(), &["192.0.2.10"]);
    world.settle();
    world.all_pass();
    let asked = world.health.port(&key("web"), HTTP, world.now);
    let climbing = asked.map(|(address, _)| address).find(IpAddr::is_ipv4).unwrap();
    world.health.suspect(&key("web"), HTTP, 30_080, climbing, world.now);
    let fails = |target: &Target| matches!(target, Target::Port(_, _, a) if *a == climbing);
    world.probe(Duration::from_secs(60), |target, _| {
        if fails(target) { Err(Failure::TimedOut) } else { Ok(()) }
    });
    let (down, own) = weights(&told(&mut world));
    assert_eq!((down.iter().filter(|(_, weight)| *weight == 0).count(), own), (1, 1));
    world.probe(Duration::from_secs(60), |_, _| Ok(()));
    let (climbs, own) = weights(&told(&mut world));
    let most = climbs.iter().map(|(_, weight)| *weight).max().unwrap();
    assert!(most > 1 && own == 1, "{climbs:?}, {own} entries");
    assert_eq!(climbs.iter().filter(|(_, weight)| *weight < most).count(), 1);
}

#[test]
fn the_status_of_five_thousand_services_on_five_hundred_nodes_is_small() {
    let mut world = World::new(500);
    for n in 0..5_000_u16 {
        let [high, low] = n.to_be_bytes();
        let name = format!("s{n}");
        let ports = [(Protocol::Tcp, 80, Some(30_000 + n % 2_000))];
        let vips = [format!("198.19.{high}.{low}"), format!("2001:db8:2::{n:x}")];
        world.serve(service(&name, &ports), &[&vips[0], &vips[1]]);
        // Half of them name the nodes of their pods.
        if n % 2 == 0 {
            world.edit_service(&name, |service| service.traffic_policy = TrafficPolicy::Local);
            world
                .endpoints(&name, &[(1 + n % 500, true), (1 + n % 499, true), (1 + n % 491, true)]);
        }
    }
    world.observe();
    let told = status(&world.inputs(), &crate::plan::Plan::default());
    let backends = told.services[1].ports[0].backends(&told.lists).count();
    assert_eq!((told.services.len(), backends), (5_000, 1_000));
    let bytes = serde_json::to_vec(&(&told.services, &told.lists, &told.nodes)).unwrap().len();
    assert!(bytes < MOST, "{bytes} bytes");
}
