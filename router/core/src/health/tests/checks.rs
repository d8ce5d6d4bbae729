//! Ports whose Services name a health check.

use roadstead_model::object::HealthProtocol;

use super::*;

fn check() -> Arc<HealthCheck> {
    let (protocol, path) = (HealthProtocol::Http, "/healthz".into());
    Arc::new(HealthCheck { protocol, path, host: None, port: None })
}

fn checked(count: u8) -> Subjects {
    let at = (1..=count).map(node).collect();
    let mut subjects = nodes(count, &[]);
    let port = Port { node_port: 30_080, check: Some(check()), at };
    subjects.ports.insert((web(), HTTP), port);
    subjects
}

const UNFIT: Result<(), Failure> = Err(Failure::Check(Unfit::Status(500)));

/// No sign in the traffic tells of an answer that has turned to 500: the check is asked for ever.
#[test]
fn a_node_that_passes_is_asked_again_and_leaves_and_returns() {
    let mut bench = Bench::new(config::Health { slow_start: Duration::ZERO, ..rules() });
    bench.watch(&checked(3));
    bench.run(SECOND * 5, |_, _| Ok(()));
    let healthy = BackendState::Healthy;
    assert_eq!(bench.port_states(HTTP), [1, 2, 3].map(|last| (node(last), healthy)));
    let question = Question::Check((node(2), 30_080).into(), check());
    assert!(bench.asked.iter().filter(|(.., asked)| *asked == question).count() >= 4);
    bench.run(SECOND * 3, |_, asked| if asked == question { UNFIT } else { Ok(()) });
    assert_eq!(bench.port_states(HTTP)[1], (node(2), BackendState::Unhealthy));
    assert_eq!(bench.state(2), healthy, "the node itself is well");
    bench.run(SECOND * 5, |_, _| Ok(()));
    assert_eq!(bench.port_states(HTTP)[1], (node(2), healthy));
}

#[test]
fn another_check_starts_anew() {
    let mut bench = Bench::new(rules());
    bench.watch(&checked(1));
    bench.run(SECOND * 3, |_, _| Ok(()));
    let other = HealthCheck { path: "/ready".into(), ..HealthCheck::clone(&check()) };
    let mut subjects = checked(1);
    for port in subjects.ports.values_mut() {
        port.check = Some(Arc::new(other.clone()));
    }
    bench.watch(&subjects);
    assert_eq!(bench.port_states(HTTP), [(node(1), BackendState::Unknown)]);
}

#[test]
fn a_signal_asks_what_the_service_wants_asked() {
    let mut bench = Bench::new(rules());
    let mut subjects = checked(3);
    for port in subjects.ports.values_mut() {
        port.at.truncate(1);
    }
    bench.watch(&subjects);
    bench.run(SECOND * 3, |_, _| Ok(()));
    bench.asked.clear();
    bench.health.suspect(&web(), HTTP, 30_080, node(3), bench.now);
    bench.run(SECOND / 10, |_, _| Ok(()));
    let question = Question::Check((node(3), 30_080).into(), check());
    assert!(bench.asked.iter().any(|(.., asked)| *asked == question), "{:?}", bench.asked);
}

/// Checks take at most half of the budget, however many there are; node addresses keep their rounds.
#[test]
fn checks_stretch_their_interval_instead_of_the_budget() {
    let mut bench = Bench::new(config::Health { budget: 50, ..rules() });
    let mut subjects = nodes(20, &[]);
    for n in 1..=50 {
        let at = (1..=20).map(node).collect();
        let port = Port { node_port: 30_000 + n, check: Some(check()), at };
        subjects.ports.insert((web(), PortClaim { protocol: Protocol::Tcp, port: n }), port);
    }
    bench.watch(&subjects);
    bench.run(SECOND * 60, |_, _| Ok(()));
    bench.asked.clear();
    bench.run(SECOND * 40, |_, _| Ok(()));
    let of_nodes = bench.asked.iter().filter(|(_, t, _)| matches!(t, Target::Node(_))).count();
    let of_ports = bench.asked.len() - of_nodes;
    assert!(of_nodes >= 700, "{of_nodes} of 800 base probes");
    assert!((900..=1_200).contains(&of_ports), "{of_ports} checks in 40 s, 25 a second");
}
