//! Who is probed, and what is kept of whom the sources do not show.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use roadstead_model::{
    ServiceKey,
    object::{HealthCheck, HealthProtocol},
};

use super::*;
use crate::{
    health::{FIRST_NODES, Subjects},
    plan::subjects,
};

/// Two TCP ports and a UDP port, of which the first is asked by HTTP.
fn with_a_check(nodes: u16) -> World {
    let mut world = World::new(nodes);
    let ports = [
        (Protocol::Tcp, 80, Some(30_080)),
        (Protocol::Tcp, 81, Some(30_081)),
        (Protocol::Udp, 80, Some(30_080)),
    ];
    let mut web = service("web", &ports);
    let (protocol, path) = (HealthProtocol::Http, "/".into());
    web.health_check = Some(Arc::new(HealthCheck { protocol, path, host: None, port: Some(80) }));
    world.serve(web, &["192.0.2.10", "2001:db8:2::10"]);
    world.settle();
    world
}

fn asked(subjects: &Subjects, protocol: Protocol, port: u16) -> (bool, usize) {
    let port = &subjects.ports[&(key("web"), PortClaim { protocol, port })];
    (port.check.is_some(), port.at.len())
}

#[test]
fn a_port_with_a_health_check_is_asked_on_every_node_and_its_siblings_on_a_few() {
    let mut world = with_a_check(5);
    let wanted = subjects(&world.inputs());
    assert_eq!(asked(&wanted, Protocol::Tcp, 80), (true, 10), "both families");
    assert_eq!(asked(&wanted, Protocol::Tcp, 81), (false, 2 * FIRST_NODES));
    assert_eq!(asked(&wanted, Protocol::Udp, 80), (false, 2 * FIRST_NODES));
    world.fail_nodes(&[2]);
    world.settle();
    assert_eq!(asked(&subjects(&world.inputs()), Protocol::Tcp, 80), (true, 8), "not at dead ones");
}

#[test]
fn each_address_knows_its_nodes_other_one() {
    let world = with_a_check(2);
    let siblings = subjects(&world.inputs()).siblings;
    let pair = |n| (node_address(Family::V4, n), node_address(Family::V6, n));
    let wanted: BTreeSet<_> =
        [1, 2].map(pair).into_iter().flat_map(|(a, b)| [(a, b), (b, a)]).collect();
    assert_eq!(siblings.into_iter().collect::<BTreeSet<_>>(), wanted);
}

/// The nodes that each of many Services is asked on first.
fn first_nodes(world: &World) -> BTreeMap<ServiceKey, BTreeSet<IpAddr>> {
    let ports = subjects(&world.inputs()).ports.into_iter();
    ports.map(|((service, _), port)| (service, port.at.into_iter().collect())).collect()
}

/// A thousand Services would be asked anew on three nodes each, for a budget of half a minute.
#[test]
fn a_node_that_goes_or_comes_back_has_no_port_probed_that_was_not_next_to_it() {
    let mut world = World::new(20);
    for n in 0..100_u8 {
        let port = [(Protocol::Tcp, 80, Some(30_000 + u16::from(n)))];
        world.serve(service(&format!("s{n}"), &port), &[&format!("192.0.2.{n}")]);
    }
    let before = first_nodes(&world);
    let (gone, key) = (v4(7), NodeKey::new(&source(), "n7"));
    let node = world.snapshot.nodes.remove(&key).unwrap();
    for (service, after) in first_nodes(&world) {
        let mut left = before[&service].clone();
        let was_there = left.remove(&gone);
        let others: BTreeSet<_> = after.difference(&left).collect();
        assert!(left.is_subset(&after), "{service}: {left:?} became {after:?}");
        assert_eq!(others.len(), usize::from(was_there), "{service}: {after:?}");
    }
    world.snapshot.nodes.insert(key, node);
    assert_eq!(first_nodes(&world), before, "it is back");
    let asked: BTreeSet<_> = before.values().flatten().collect();
    assert!(asked.len() > 15, "the Services are spread over the nodes: {asked:?}");
}

/// Until a source has been read again, the node that refuses a port stays out of its table.
#[test]
fn verdicts_on_ports_outlive_a_source_that_is_read_again() {
    let mut world = serving_web(4);
    let refused = Target::Port(key("web"), HTTP, v4(2));
    let answer =
        |target: &Target, _| if *target == refused { Err(Failure::Refused) } else { Ok(()) };
    world.health.suspect(&key("web"), HTTP, 30_080, v4(2), world.now);
    world.probe(Duration::from_secs(2), answer);
    world.settle();
    let before = world.targets("192.0.2.10", 80);
    assert!(!before.contains_key(&v4(2)), "{before:?}");
    let read = std::mem::take(&mut world.snapshot);
    world.settle();
    world.snapshot = read;
    assert_eq!(world.settle().1, [], "the verdicts were forgotten");
    assert_eq!(world.targets("192.0.2.10", 80), before);
    world.snapshot.services.remove(&key("web"));
    world.settle();
    assert_eq!(world.health.port(&key("web"), HTTP, world.now).count(), 0, "it is gone");
}
