use std::{net::IpAddr, time::Duration};

use roadstead_model::{
    Family, NodeKey, Protocol, Snapshot,
    local::{Answering, BackendState, PortClaim, Serving, VipKind},
    object::TrafficPolicy,
    snapshot::SourceState,
};

use super::status;
use crate::{
    fixture::*,
    health::{Failure, Question, Target},
    maps::{BackendMode, FrontendKey, NextHop, Op, Snat},
};

mod client_address;
mod duplicates;
mod families;
mod listed;
mod permitted;
mod ranges;
mod scale;
mod subjects;
mod terminating;

const HTTP: PortClaim = PortClaim { protocol: Protocol::Tcp, port: 80 };
const WEB: [(Protocol, u16, Option<u16>); 1] = [(Protocol::Tcp, 80, Some(30_080))];

fn web() -> roadstead_model::object::Service {
    service("web", &WEB)
}

/// A world with `nodes` healthy nodes that serve `web` at 192.0.2.10.
fn serving_web(nodes: u16) -> World {
    let mut world = World::new(nodes);
    world.serve(web(), &["192.0.2.10"]);
    world.settle();
    world.all_pass();
    world.settle();
    world.ready_before.insert(key("web"));
    world
}

fn v4(n: u16) -> IpAddr {
    node_address(Family::V4, n)
}

fn frontend_key(address: &str, port: u16) -> FrontendKey {
    FrontendKey { address: ip(address), protocol: Protocol::Tcp, port }
}

#[test]
fn one_service_is_programmed_from_object_to_answer() {
    let mut world = World::new(2);
    world.serve(web(), &["192.0.2.10"]);
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "web").serving, Serving::Pending);
    let backend = world.installed.backends.values().find(|b| b.address == v4(1)).unwrap();
    assert_eq!((backend.ifindex, backend.mtu, backend.state), (NODES, 1_500, BackendMode::Active));
    let macs = NextHop { destination: [2, 0, 0, 1, 0, 1], source: [2, 0, 0, 0, 0, 3] };
    assert_eq!(backend.macs, Some(macs));
    let snat = world.installed.snats[&backend.snat.0];
    let own = Snat { address: ip("198.18.255.254"), low: 32_768, high: 60_999, shared: true };
    assert_eq!((snat, backend.snat.1), (own, 1));
    let legs = vec!["clients".into()];
    assert_eq!(plan.answering, [Answering { address: ip("192.0.2.10"), legs }]);
    world.all_pass();
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "web").serving, Serving::Ready);
    assert_eq!(world.targets("192.0.2.10", 80).len(), 2);
}

#[test]
fn a_plan_of_the_same_is_no_operation_also_after_a_restart() {
    let mut world = serving_web(3);
    assert_eq!(world.settle().1, []);
    world.planner = super::Planner::default();
    world.health = crate::health::Health::new(world.router.health.clone());
    let backends: Vec<IpAddr> = world.installed.backends.values().map(|b| b.address).collect();
    world.health.adopt(backends, world.now);
    assert_eq!(world.settle().1, []);
}

#[test]
fn services_with_the_same_nodes_share_a_table_and_one_write_moves_them_all() {
    let mut world = World::new(10);
    for n in 0..50_u16 {
        let ports = [(Protocol::Tcp, 80, Some(30_000 + n))];
        world.serve(service(&format!("s{n}"), &ports), &[&format!("192.0.2.{}", n + 10)]);
    }
    world.all_pass();
    world.settle();
    assert_eq!(world.installed.tables.len(), 1);
    world.fail_nodes(&[4]);
    let (_, ops) = world.settle();
    let tables = ops.iter().filter(|op| matches!(op, Op::PutTable(..))).count();
    let frontends = ops.iter().filter(|op| matches!(op, Op::PutFrontend(..))).count();
    assert_eq!((tables, frontends), (1, 0), "{} operations", ops.len());
    assert!(!world.targets("192.0.2.30", 80).contains_key(&v4(4)));
}

#[test]
fn a_service_that_parts_from_the_others_gets_a_table_of_its_own() {
    let mut world = serving_web(3);
    world.serve(service("api", &[(Protocol::Tcp, 80, Some(30_081))]), &["192.0.2.11"]);
    world.all_pass();
    world.settle();
    assert_eq!(world.installed.tables.len(), 1);
    let before = world.installed.frontends[&frontend_key("192.0.2.10", 80)];
    world.edit_service("api", |service| service.traffic_policy = TrafficPolicy::Local);
    world.endpoints("api", &[(2, true), (2, true), (3, true)]);
    world.all_pass();
    world.settle();
    assert_eq!(world.installed.frontends[&frontend_key("192.0.2.10", 80)], before);
    let api = world.targets("192.0.2.11", 80);
    let ratio = api[&v4(2)] as f64 / api[&v4(3)] as f64;
    assert!(!api.contains_key(&v4(1)) && (1.9..2.1).contains(&ratio), "{api:?}");
}

#[test]
fn the_doubtful_node_leaves_the_tables_and_keeps_its_flows() {
    let mut world = serving_web(3);
    world.fail_nodes(&[2]);
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "web").serving, Serving::Ready);
    assert_eq!(world.targets("192.0.2.10", 80).keys().copied().collect::<Vec<_>>(), [v4(1), v4(3)]);
    let backend = world.installed.backends.values().find(|b| b.address == v4(2)).unwrap();
    assert_eq!(backend.state, BackendMode::Doubtful);
}

/// S3: more than the threshold fails, so the probes are not believed.
#[test]
fn when_too_many_fail_all_are_used_and_the_service_is_degraded_not_withdrawn() {
    let mut world = serving_web(3);
    world.fail_nodes(&[1, 2, 3]);
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "web").serving, Serving::Degraded);
    assert_eq!(world.targets("192.0.2.10", 80).len(), 3);
    assert!(world.installed.backends.values().all(|b| b.state == BackendMode::Active));
}

#[test]
fn a_service_that_was_never_ready_is_not_announced_while_its_port_is_refused() {
    let mut world = World::new(3);
    world.serve(web(), &["192.0.2.10"]);
    world.probe(Duration::from_secs(5), |target, _| match target {
        Target::Port(..) => Err(Failure::Refused),
        Target::Node(_) | Target::Local(..) => Ok(()),
    });
    let (plan, _) = world.settle();
    let verdict = serving(&plan, "web");
    assert_eq!(verdict.serving, Serving::Pending);
    assert_eq!(verdict.message, "no probe of a backend has passed yet");
    assert_eq!(world.targets("192.0.2.10", 80).len(), 3);
}

#[test]
fn without_budget_for_its_own_probe_a_service_is_ready_by_its_nodes_after_a_second() {
    let mut world = serving_web(3);
    world.serve(service("api", &[(Protocol::Tcp, 80, Some(30_081))]), &["192.0.2.11"]);
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "api").serving, Serving::Pending);
    world.now += Duration::from_secs(1);
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "api").serving, Serving::Ready);
}

#[test]
fn one_node_that_refuses_one_service_leaves_the_table_of_that_service() {
    let mut world = serving_web(3);
    world.serve(service("api", &[(Protocol::Tcp, 80, Some(30_081))]), &["192.0.2.11"]);
    world.probe(Duration::from_secs(5), |target, question| {
        let broken = question == Question::Tcp((v4(1), 30_081).into());
        if broken && !matches!(target, Target::Node(_)) { Err(Failure::Refused) } else { Ok(()) }
    });
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "api").serving, Serving::Ready);
    assert!(!world.targets("192.0.2.11", 80).contains_key(&v4(1)));
    assert!(world.targets("192.0.2.10", 80).contains_key(&v4(1)));
}

/// S3: EndpointSlices that are there without a ready endpoint are knowledge; absent ones are not.
#[test]
fn no_ready_endpoint_is_unserved_and_refuses_visibly() {
    let mut world = serving_web(3);
    world.endpoints("web", &[(1, false)]);
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "web").serving, Serving::Unserved);
    assert_eq!(world.installed.frontends[&frontend_key("192.0.2.10", 80)].table, None);
    world.snapshot.endpoints.clear();
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "web").serving, Serving::Ready);
}

/// K6: NotReady removes nobody.
#[test]
fn a_thousand_flips_of_ready_change_nothing() {
    let mut world = serving_web(3);
    for n in 0..1_000 {
        world.edit_node(2, |node| node.ready = n % 2 == 0);
        assert_eq!(world.settle().1, []);
    }
}

/// K5 and S4.
#[test]
fn an_excluded_node_gets_no_new_flows_and_keeps_old_ones_until_the_deadline() {
    let mut world = serving_web(3);
    world.edit_node(1, |node| node.excluded = true);
    world.settle();
    let state = |world: &World| {
        world.installed.backends.values().find(|b| b.address == v4(1)).unwrap().state
    };
    assert!(!world.targets("192.0.2.10", 80).contains_key(&v4(1)));
    assert_eq!(state(&world), BackendMode::Active);
    world.now += world.router.drain_deadline;
    world.settle();
    assert_eq!(state(&world), BackendMode::Gone);
    world.edit_node(1, |node| node.excluded = false);
    world.settle();
    assert_eq!(state(&world), BackendMode::Active);
    assert!(world.targets("192.0.2.10", 80).contains_key(&v4(1)));
}

#[test]
fn draining_every_node_is_an_order_and_unserves() {
    let mut world = serving_web(2);
    for n in 1..=2 {
        world.drains.order(NodeKey::new(&source(), format!("n{n}")), Duration::from_secs(900));
    }
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "web").serving, Serving::Unserved);
    assert_eq!(serving(&plan, "web").message, "every node drains or is excluded");
}

#[test]
fn a_deleted_nodes_index_is_held_until_no_flow_refers_to_it() {
    let mut world = serving_web(3);
    let id = *world.installed.backends.iter().find(|(_, b)| b.address == v4(3)).unwrap().0;
    world.snapshot.nodes.remove(&NodeKey::new(&source(), "n3"));
    world.settle();
    assert_eq!(world.installed.backends[&id].state, BackendMode::Active);
    world.freed.backends.insert(id);
    world.settle();
    assert!(world.installed.backends.contains_key(&id), "its drain is not over");
    world.now += world.router.drain_deadline;
    world.settle();
    world.settle();
    assert!(!world.installed.backends.contains_key(&id));
}

#[test]
fn a_deleted_node_that_is_dead_resets_its_flows_without_waiting() {
    let mut world = serving_web(3);
    world.snapshot.nodes.remove(&NodeKey::new(&source(), "n3"));
    world.settle();
    world.fail_nodes(&[3]);
    world.settle();
    let backend = world.installed.backends.values().find(|b| b.address == v4(3)).unwrap();
    assert_eq!(backend.state, BackendMode::Gone);
}

#[test]
fn a_frontends_index_outlives_it_until_no_flow_refers_to_it() {
    let mut world = serving_web(1);
    let id = world.installed.frontends[&frontend_key("192.0.2.10", 80)].id;
    world.assignments.services.clear();
    world.settle();
    assert_eq!(world.installed.identities.get(&id), Some(&frontend_key("192.0.2.10", 80)));
    world.serve(service("api", &WEB), &["192.0.2.11"]);
    world.settle();
    assert_ne!(world.installed.frontends[&frontend_key("192.0.2.11", 80)].id, id);
    world.freed.frontends.insert(id);
    world.settle();
    assert!(!world.installed.identities.contains_key(&id));
}

/// S3, S8: until a source has been read, the maps stay as they are, and so do the verdicts on nodes:
/// one that failed gets no new flows when the source is read.
#[test]
fn what_is_installed_and_known_stays_while_the_sources_have_not_been_read() {
    let mut world = serving_web(3);
    world.fail_nodes(&[2]);
    world.settle();
    let before = world.installed.clone();
    let unread =
        Snapshot { sources: [(source(), SourceState::Unread)].into(), ..Snapshot::default() };
    let read = std::mem::replace(&mut world.snapshot, unread);
    let (plan, ops) = world.settle();
    assert_eq!(ops, []);
    assert_eq!(world.installed, before);
    assert_eq!(serving(&plan, "web").serving, Serving::Degraded);
    world.snapshot = read;
    assert_eq!(world.settle().1, [], "the verdicts were forgotten");
    assert_eq!(world.targets("192.0.2.10", 80).keys().copied().collect::<Vec<_>>(), [v4(1), v4(3)]);
}

/// An address is judged by its own probes, whatever the node's other family says.
#[test]
fn a_backend_is_healthy_by_a_probe_of_its_own_family() {
    let mut world = World::new(2);
    world.serve(web(), &["192.0.2.10", "2001:db8:2::10"]);
    world.settle();
    world.probe(Duration::from_secs(2), |target, _| {
        if target.address().is_ipv4() { Ok(()) } else { Err(Failure::TimedOut) }
    });
    let (plan, _) = world.settle();
    let told = status(&world.inputs(), &plan);
    let backends = || told.services[0].ports.iter().flat_map(|port| port.backends(&told.lists));
    assert_eq!(backends().count(), 4);
    for backend in backends() {
        let healthy = backend.state == BackendState::Healthy;
        assert_eq!(healthy, backend.address.is_ipv4(), "{backend:?}");
    }
}

/// S3: a start with a source in doubt (its directory is not mounted, a file is unreadable) leaves
/// the maps as they are, until the doubt is over.
#[test]
fn what_is_installed_stays_while_a_source_is_in_doubt_since_the_start() {
    let mut world = serving_web(3);
    let before = world.installed.clone();
    world.drains = crate::drain::Drains::default();
    let web = std::mem::take(&mut world.snapshot.services);
    world.snapshot.nodes.clear();
    let doubt = SourceState::Doubtful { reason: "holds no manifests".into() };
    world.snapshot.sources.insert(source(), doubt);
    for (services, what) in [(Default::default(), "nothing"), (web, "the Service, and no node")] {
        world.snapshot.services = services;
        let (plan, ops) = world.settle();
        assert_eq!(ops, [], "{what} is shown");
        assert_eq!(world.installed, before);
        assert_eq!(serving(&plan, "web").serving, Serving::Degraded);
    }
    world.snapshot.services.clear();
    world.snapshot.gone.insert(key("web"));
    assert_eq!(serving(&world.settle().0, "web").serving, Serving::Unserved, "by an order");
}

/// A start finds an object refused of which the run before knew a good version: the object is
/// there, and what it holds stays its own (S6).
#[test]
fn what_is_installed_stays_while_its_object_is_refused_since_the_start() {
    let mut world = serving_web(3);
    let before = world.installed.clone();
    world.snapshot.services.clear();
    world.snapshot.refused.insert(key("web"), "spec.ports is missing".into());
    let (plan, ops) = world.settle();
    assert_eq!(ops, []);
    assert_eq!(world.installed, before);
    assert_eq!(serving(&plan, "web").serving, Serving::Degraded);
    world.snapshot.refused.clear();
    assert_eq!(serving(&world.settle().0, "web").serving, Serving::Unserved, "gone by now");
}

#[test]
fn a_service_that_withdraws_keeps_what_is_programmed() {
    let mut world = serving_web(3);
    world.snapshot.services.clear();
    world.assignments.services[0].withdrawing = true;
    let (plan, ops) = world.settle();
    assert_eq!(ops, []);
    assert_eq!(serving(&plan, "web").serving, Serving::Unserved);
    world.assignments.services.clear();
    world.assignments.vips.clear();
    world.settle();
    assert!(world.installed.frontends.is_empty() && world.installed.answers.is_empty());
}

#[test]
fn an_address_of_a_family_that_no_node_has_is_withheld() {
    let mut world = World::new(2);
    for n in 1..=2 {
        world.edit_node(n, |node| node.addresses.retain(IpAddr::is_ipv4));
    }
    world.serve(web(), &["192.0.2.10", "2001:db8:2::10"]);
    world.all_pass();
    let (plan, _) = world.settle();
    let verdict = serving(&plan, "web");
    assert_eq!(verdict.serving, Serving::Ready);
    assert_eq!(verdict.withheld, [ip("2001:db8:2::10")]);
    assert_eq!(world.installed.frontends[&frontend_key("2001:db8:2::10", 80)].table, None);
}

#[test]
fn ports_that_cannot_be_served_are_named_and_their_siblings_served() {
    let mut world = World::new(1);
    let ports = [
        (Protocol::Sctp, 5_060, Some(30_060)),
        (Protocol::Tcp, 443, None),
        (Protocol::Tcp, 80, Some(30_080)),
    ];
    world.serve(service("web", &ports), &["192.0.2.10"]);
    world.all_pass();
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "web").serving, Serving::Ready);
    assert_eq!(world.installed.frontends.len(), 1);
    let status = status(&world.inputs(), &plan);
    let served = status.services[0].conditions.iter().find(|c| c.kind == "PortsServed").unwrap();
    assert_eq!(served.reason, "SctpNotServed");
    assert_eq!(
        served.message,
        "port 5060 is SCTP, which is not served; port 443 TCP has no nodePort: name one in the Service"
    );
}

#[test]
fn nodes_at_addresses_that_are_no_nodes_are_refused_by_name() {
    let mut world = World::new(6);
    world.serve(web(), &["192.0.2.10"]);
    world.router.nodes_allowed = vec!["198.18.0.0/16".parse().unwrap()];
    let odd = ["198.18.255.254", "192.0.2.10", "127.0.0.1", "203.0.113.9", "169.254.0.1"];
    for (n, address) in (1..).zip(odd) {
        world.edit_node(n, |node| node.addresses = vec![ip(address)]);
    }
    world.all_pass();
    let (plan, _) = world.settle();
    assert_eq!(world.targets("192.0.2.10", 80).keys().copied().collect::<Vec<_>>(), [v4(6)]);
    let reasons: Vec<String> =
        status(&world.inputs(), &plan).nodes.into_iter().map(|node| node.reason).collect();
    assert_eq!(
        reasons[..5],
        [
            "198.18.255.254 is this edge host's own address: an edge host that is itself a node is not served yet",
            "192.0.2.10 is a load balancer address, not a node's",
            "127.0.0.1 is no unicast address that a node can be reached at",
            "203.0.113.9 is outside router.nodes_allowed",
            "169.254.0.1 is no unicast address that a node can be reached at",
        ]
    );
}

#[test]
fn a_node_without_a_route_is_doubt() {
    let mut world = World::new(1);
    world.serve(web(), &["192.0.2.10"]);
    let routes = std::mem::take(&mut world.host.routes);
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "web").serving, Serving::Pending);
    assert_eq!(serving(&plan, "web").message, "no node can be reached");
    world.host.routes = routes;
    world.all_pass();
    world.settle();
    world.host.routes.clear();
    assert_eq!(world.settle().1, [], "a route that vanishes leaves everything as it is");
}

#[test]
fn a_changed_neighbour_changes_its_backend_alone() {
    let mut world = serving_web(3);
    world.host.neighbours.insert((NODES, v4(2)), [2, 9, 9, 9, 9, 9]);
    let (_, ops) = world.settle();
    assert!(matches!(ops[..], [Op::PutBackend(_, backend)] if backend.address == v4(2)), "{ops:?}");
}

#[test]
fn a_frontend_has_the_affinity_of_its_service() {
    let mut world = serving_web(1);
    let affinity =
        |world: &World| world.installed.frontends[&frontend_key("192.0.2.10", 80)].affinity_seconds;
    assert_eq!(affinity(&world), 0);
    for (timeout, seconds) in [(600_000, 600), (10_800_000, 10_800), (1, 1)] {
        world.edit_service("web", |s| s.affinity = Some(Duration::from_millis(timeout)));
        world.settle();
        assert_eq!(affinity(&world), seconds);
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name_and_the_rest_is_served() {
    let mut world = World::new(2);
    world.capacity.frontends = 1;
    world.capacity.backends = 2;
    world.serve(web(), &["192.0.2.10"]);
    world.serve(service("api", &WEB), &["192.0.2.11"]);
    world.all_pass();
    let (plan, _) = world.settle();
    assert_eq!(serving(&plan, "web").serving, Serving::Ready);
    assert_eq!(serving(&plan, "api").serving, Serving::Pending);
    assert_eq!(
        serving(&plan, "api").message,
        "no room for 192.0.2.11 port 80 TCP: at most 1 ports are served in all"
    );
    assert_eq!(world.installed.backends.len(), 2);
    assert_eq!(plan.problems.len(), 2, "{:?}", plan.problems);
}

#[test]
fn dedicated_source_addresses_are_a_run_and_grow_in_place() {
    let mut world = World::new(2);
    world.router.snat_addresses = vec![ip("198.18.250.1"), ip("198.18.250.2")];
    world.serve(web(), &["192.0.2.10"]);
    world.settle();
    let run = |world: &World| {
        world.installed.backends.values().find(|b| b.address == v4(1)).unwrap().snat
    };
    let (first, count) = run(&world);
    assert_eq!(count, 2);
    let dedicated = world.installed.snats[&first];
    assert_eq!((dedicated.low, dedicated.shared), (1_024, false));
    world.router.snat_addresses.push(ip("198.18.250.3"));
    world.settle();
    assert_eq!(run(&world), (first, 3));
    let answered: Vec<u32> = world
        .installed
        .answers
        .keys()
        .filter(|k| k.address == ip("198.18.250.3"))
        .map(|k| k.ifindex)
        .collect();
    assert_eq!(answered, [NODES], "replies come to it");
}

#[test]
fn a_copy_on_disk_keeps_answers_and_adds_none() {
    let mut world = World::new(2);
    world.serve(web(), &["192.0.2.10"]);
    world.remembered = true;
    let (plan, _) = world.settle();
    assert!(world.installed.answers.is_empty(), "the copy may be older than what was released");
    assert!(plan.answering.is_empty());
    world.remembered = false;
    world.settle();
    assert_eq!(world.installed.answers.len(), 1);
    world.remembered = true;
    world.settle();
    assert_eq!(world.installed.answers.len(), 1, "what the kernel answers for, it goes on with");
}

#[test]
fn a_pool_that_is_visible_on_one_leg_has_that_legs_bit() {
    let mut world = World::new(1);
    world.serve(web(), &["192.0.2.10"]);
    world.assignments.vips[0].visible_on = Some(vec!["clients".into()]);
    world.settle();
    let slot = world.installed.legs[&CLIENTS];
    assert_eq!(world.installed.vips[&ip("192.0.2.10")].legs, 1 << slot);
    world.assignments.vips[0].visible_on = Some(vec!["gone".into()]);
    world.settle();
    assert_eq!(
        world.installed.vips[&ip("192.0.2.10")].legs,
        0,
        "a leg that is not there is no other"
    );
}

#[test]
fn nobody_answers_on_a_leg_without_the_program() {
    let mut world = World::new(1);
    world.serve(web(), &["192.0.2.10"]);
    world.host.legs.get_mut(&CLIENTS).unwrap().attached = false;
    let (plan, _) = world.settle();
    assert!(plan.answering.is_empty() && world.installed.answers.is_empty());
}

#[test]
fn the_hosts_own_address_is_served_as_such_or_not_at_all() {
    let mut world = World::new(1);
    world.serve(web(), &["192.0.2.1"]);
    let (plan, _) = world.settle();
    assert!(plan.problems[0].starts_with("192.0.2.1 is this host's own address"));
    assert!(world.installed.vips.is_empty() && world.installed.frontends.is_empty());
    world.assignments.vips[0].kind = VipKind::Host;
    world.settle();
    assert_eq!(world.installed.frontends.len(), 1);
    assert!(world.installed.answers.is_empty(), "the host's stack answers for it");
}

#[test]
fn policy_local_follows_its_health_check_port_where_no_endpoints_are_known() {
    let mut world = World::new(4);
    let mut local = web();
    local.traffic_policy = TrafficPolicy::Local;
    local.health_check_node_port = Some(32_000);
    world.serve(local, &["192.0.2.10"]);
    world.probe(Duration::from_secs(5), |target, _| match target {
        Target::Local(_, address) if *address != v4(3) => Err(Failure::Status(503)),
        Target::Port(_, _, address) if *address != v4(3) => Err(Failure::TimedOut),
        Target::Port(..) | Target::Node(_) | Target::Local(..) => Ok(()),
    });
    let (plan, _) = world.settle();
    assert_eq!(world.targets("192.0.2.10", 80).keys().copied().collect::<Vec<_>>(), [v4(3)]);
    let status = status(&world.inputs(), &plan);
    let condition =
        status.services[0].conditions.iter().find(|c| c.kind == "ClientAddressPreserved").unwrap();
    assert_eq!(condition.reason, "Nat");
}

#[test]
fn status_tells_every_backend_with_its_share_and_reason() {
    let mut world = serving_web(3);
    world.drains.order(NodeKey::new(&source(), "n1"), Duration::from_secs(900));
    world.fail_nodes(&[2]);
    let (plan, _) = world.settle();
    let status = status(&world.inputs(), &plan);
    let backends: Vec<_> = status.services[0].ports[0].backends(&status.lists).collect();
    let told: Vec<(&str, BackendState, u32, &str)> =
        backends.iter().map(|b| (&*b.node, b.state, b.weight, &*b.reason)).collect();
    let probe = "the node's probe: no answer in time";
    assert_eq!(
        told,
        [
            ("n1", BackendState::Draining, 0, "drained by an operator"),
            ("n2", BackendState::Unhealthy, 0, probe),
            ("n3", BackendState::Healthy, 1, ""),
        ]
    );
    assert_eq!(status.nodes[1].state, BackendState::Unhealthy);
}

#[test]
fn two_addresses_of_one_node_and_the_one_in_use_is_kept() {
    let mut world = serving_web(1);
    let second = ip("198.18.77.77");
    world.host.routes.insert(second, world.host.routes[&v4(1)]);
    world.edit_node(1, |node| node.addresses.insert(0, second));
    world.settle();
    assert_eq!(world.targets("192.0.2.10", 80).keys().copied().collect::<Vec<_>>(), [v4(1)]);
}
