//! A node forwards within a family: each address of a dual-stack Service has endpoints of its own.

use std::sync::Arc;

use roadstead_model::object::{Endpoint, Endpoints};

use super::*;

const V4: &str = "192.0.2.10";
const V6: &str = "2001:db8:2::10";

/// `web` at two addresses, with a ready pod of each of these addresses on these nodes.
fn dual_web(policy: TrafficPolicy, pods: &[(&str, u16)]) -> World {
    let mut world = World::new(3);
    world.serve(web(), &[V4, V6]);
    world.edit_service("web", |service| service.traffic_policy = policy);
    let endpoints = pods.iter().map(|(address, node)| Endpoint {
        address: ip(address),
        node: Some(format!("n{node}").into()),
        ready: true,
        serving: true,
        terminating: false,
    });
    let endpoints = Endpoints { endpoints: endpoints.collect() };
    world.snapshot.endpoints.insert(key("web"), Arc::new(endpoints));
    world.all_pass();
    world
}

#[test]
fn under_policy_local_each_address_has_the_nodes_with_endpoints_of_its_family() {
    let pods =
        [("198.51.100.1", 1), ("198.51.100.2", 2), ("2001:db8:7::2", 2), ("2001:db8:7::3", 3)];
    let mut world = dual_web(TrafficPolicy::Local, &pods);
    world.settle();
    let nodes = |address| world.targets(address, 80).into_keys().collect::<Vec<_>>();
    assert_eq!(nodes(V4), [v4(1), v4(2)]);
    assert_eq!(nodes(V6), [node_address(Family::V6, 2), node_address(Family::V6, 3)]);
}

#[test]
fn an_address_without_endpoints_of_its_family_is_withheld() {
    let mut world = dual_web(TrafficPolicy::Cluster, &[("198.51.100.1", 1)]);
    let (plan, _) = world.settle();
    let verdict = serving(&plan, "web");
    assert_eq!((verdict.serving, &*verdict.withheld), (Serving::Ready, &[ip(V6)][..]));
    assert_eq!(verdict.message, "its EndpointSlices have no ready endpoint");
    assert_eq!(world.targets(V4, 80).len(), 3);
}

#[test]
fn several_addresses_of_a_family_have_the_same_nodes_and_these_are_told_once() {
    let mut world = World::new(2);
    world.serve(web(), &[V4, "192.0.2.11", V6]);
    world.all_pass();
    let (plan, _) = world.settle();
    assert_eq!(world.targets(V4, 80), world.targets("192.0.2.11", 80));
    assert_eq!(world.targets(V4, 80).len(), 2);
    let told = status(&world.inputs(), &plan);
    let backends: Vec<_> = told.services[0].ports[0].backends(&told.lists).collect();
    assert_eq!(backends.len(), 4, "each node once in each family: {backends:?}");
}
