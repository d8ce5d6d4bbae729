//! Pods that end: they take new connections only where nobody else does (KEP-1669).

use std::{collections::BTreeSet, sync::Arc};

use roadstead_model::object::{Endpoint, Endpoints};

use super::*;

const VIP: &str = "192.0.2.10";

/// A pod on a node.
#[derive(Clone, Copy)]
enum Pod {
    Ready,
    /// Its preStop hook runs, and its readiness probe passes.
    Serving,
    /// It ends, and does not serve any more.
    Ended,
    /// Its readiness probe fails.
    Sick,
}

fn endpoint((index, (node, pod)): (u8, (u16, Pod))) -> Endpoint {
    Endpoint {
        address: IpAddr::from([203, 0, 113, index]),
        node: Some(format!("n{node}").into()),
        ready: matches!(pod, Pod::Ready),
        serving: matches!(pod, Pod::Ready | Pod::Serving),
        terminating: matches!(pod, Pod::Serving | Pod::Ended),
    }
}

/// The pods, whether they are served, and by which nodes under policy Local.
type Row = (&'static [(u16, Pod)], Serving, &'static [u16]);

/// Three nodes with these pods of `web`, all of which answer.
fn with_pods(policy: TrafficPolicy, pods: &[(u16, Pod)]) -> World {
    let mut world = World::new(3);
    world.serve(web(), &[VIP]);
    world.edit_service("web", |service| service.traffic_policy = policy);
    let endpoints = (1_u8..).zip(pods.iter().copied()).map(endpoint).collect();
    world.snapshot.endpoints.insert(key("web"), Arc::new(Endpoints { endpoints }));
    world.all_pass();
    world
}

/// Who serves `web`, and the nodes that new connections go to.
fn verdict(policy: TrafficPolicy, pods: &[(u16, Pod)]) -> (Serving, BTreeSet<IpAddr>) {
    let mut world = with_pods(policy, pods);
    let (plan, _) = world.settle();
    (serving(&plan, "web").serving, world.targets(VIP, 80).into_keys().collect())
}

#[test]
fn a_pod_that_ends_has_its_node_only_where_no_pod_is_ready() {
    use Pod::{Ended, Ready, Serving as Ends, Sick};
    use Serving::{Ready as Served, Unserved};
    let table: [Row; 7] = [
        (&[(1, Ready), (2, Ready)], Served, &[1, 2]),
        (&[(1, Ends), (2, Ready)], Served, &[2]),
        (&[(1, Ends), (2, Sick)], Served, &[1]),
        (&[(1, Ends), (2, Ends)], Served, &[1, 2]),
        (&[(1, Ends), (2, Ended)], Served, &[1]),
        (&[(1, Ended), (2, Sick)], Unserved, &[]),
        (&[], Unserved, &[]),
    ];
    for (number, (pods, served, nodes)) in table.into_iter().enumerate() {
        let nodes: BTreeSet<IpAddr> = nodes.iter().map(|node| v4(*node)).collect();
        assert_eq!(verdict(TrafficPolicy::Local, pods), (served, nodes.clone()), "row {number}");
        let all = if nodes.is_empty() { nodes } else { [v4(1), v4(2), v4(3)].into() };
        assert_eq!(verdict(TrafficPolicy::Cluster, pods), (served, all), "row {number}");
    }
}

/// kube-proxy says 503 on the healthCheckNodePort of a node whose pods all end, and forwards to them
/// all the same: with no other node the address stays, and so does its traffic.
#[test]
fn a_health_check_port_that_says_none_takes_nobody_out_where_all_end() {
    let mut world = with_pods(TrafficPolicy::Local, &[(1, Pod::Serving)]);
    world.edit_service("web", |service| service.health_check_node_port = Some(32_000));
    world.probe(Duration::from_secs(5), |target, _| match target {
        Target::Local(..) => Err(Failure::Status(503)),
        Target::Port(..) | Target::Node(_) => Ok(()),
    });
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "web").serving, Serving::Ready);
    assert_eq!(world.targets(VIP, 80).into_keys().collect::<Vec<_>>(), [v4(1)]);
}
