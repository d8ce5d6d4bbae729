mod burst;
mod checks;

use super::*;
use roadstead_model::SourceName;

pub(super) fn rules() -> config::Health {
    config::Health {
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        fall: 3,
        rise: 2,
        node_probe: NodeProbe::Auto { port: 10_256 },
        budget: 200,
        panic_threshold: 50,
        slow_start: Duration::from_secs(10),
    }
}

fn node(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn web() -> ServiceKey {
    ServiceKey::new(&SourceName::new("local"), "default", "web")
}

const HTTP: PortClaim = PortClaim { protocol: Protocol::Tcp, port: 80 };
const DNS: PortClaim = PortClaim { protocol: Protocol::Udp, port: 53 };

/// Health with its clock and a world that answers.
struct Bench {
    health: Health,
    now: Duration,
    asked: Vec<(Duration, Target, Question)>,
}

impl Bench {
    fn new(rules: config::Health) -> Self {
        Self { health: Health::new(rules), now: Duration::from_secs(100), asked: Vec::new() }
    }

    fn watch(&mut self, subjects: &Subjects) {
        self.health.watch(subjects, self.now);
    }

    /// Runs for `span`, answering every probe at once; returns how often a verdict changed.
    fn run(
        &mut self,
        span: Duration,
        answer: impl Fn(&Target, Question) -> Result<(), Failure>,
    ) -> usize {
        let end = self.now + span;
        let mut changes = 0;
        while self.now < end {
            while let Some(probe) = self.health.poll_probe(self.now) {
                let Probe { target, question, .. } = probe;
                let result = answer(&target, question.clone());
                let changed =
                    self.health.handle_result(&target, question.clone(), result, self.now);
                changes += usize::from(changed);
                self.asked.push((self.now, target, question));
            }
            let next = self.health.next_deadline(self.now).unwrap_or(end);
            self.now = next.max(self.now + Duration::from_micros(1)).min(end);
        }
        changes
    }

    fn state(&self, last: u8) -> BackendState {
        self.health.node(node(last), self.now).state
    }

    fn port_states(&self, claim: PortClaim) -> Vec<(IpAddr, BackendState)> {
        let port = self.health.port(&web(), claim, self.now);
        port.map(|(address, sight)| (address, sight.state)).collect()
    }
}

fn nodes(count: u8, sentinels: &[u16]) -> Subjects {
    let sentinels: Vec<Sentinel> =
        sentinels.iter().map(|port| Sentinel { port: *port, proven: true }).collect();
    let nodes = (1..=count).map(|last| (node(last), sentinels.clone())).collect();
    Subjects { nodes, ..Subjects::default() }
}

fn port(node_port: u16, at: Vec<IpAddr>) -> Port {
    Port { node_port, check: None, at }
}

fn with_port(mut subjects: Subjects, claim: PortClaim, node_port: u16, first: &[u8]) -> Subjects {
    let first = first.iter().map(|last| node(*last)).collect();
    subjects.ports.insert((web(), claim), port(node_port, first));
    subjects
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_node_whose_kube_proxy_answers_is_asked_there_alone() {
    let mut bench = Bench::new(rules());
    bench.watch(&nodes(2, &[30_080]));
    bench.run(SECOND * 5, |_, _| Ok(()));
    assert_eq!(bench.state(1), BackendState::Healthy);
    let port_10256 = |q: &Question| matches!(q, Question::Http(to) if to.port() == 10_256);
    assert!(bench.asked.iter().all(|(_, _, question)| port_10256(question)), "{:?}", bench.asked);
    assert!((9..=13).contains(&bench.asked.len()), "{} probes", bench.asked.len());
}

/// A hundred nodes that were all asked in one moment are not all asked in one moment again.
#[test]
fn rounds_of_probes_drift_apart() {
    let mut bench = Bench::new(rules());
    bench.watch(&nodes(100, &[]));
    bench.run(Duration::from_secs(20), |_, _| Ok(()));
    let last = bench.now - rules().interval;
    let late = bench.asked.iter().filter(|(at, ..)| *at >= last);
    let moments: BTreeSet<Duration> = late.map(|(at, ..)| *at).collect();
    assert!(moments.len() > 50, "the last round took {} moments", moments.len());
}

#[test]
fn a_node_without_kube_proxy_is_asked_at_a_node_port_and_now_and_then_there_again() {
    let mut bench = Bench::new(rules());
    bench.watch(&nodes(1, &[30_080]));
    let changes = bench.run(SECOND * 20, |_, question| match question {
        Question::Tcp(_) => Ok(()),
        Question::Udp(_) | Question::Http(_) | Question::Check(..) => Err(Failure::Refused),
    });
    assert_eq!((bench.state(1), changes), (BackendState::Healthy, 1));
    let health = bench.asked.iter().filter(|(_, _, q)| matches!(q, Question::Http(_))).count();
    assert!((2..=4).contains(&health), "kube-proxy was asked {health} times in 20 rounds");
}

/// K7: 503 is an answer, not a reason to ask elsewhere.
#[test]
fn a_node_that_says_503_gets_no_new_flows_although_its_node_port_answers() {
    let mut bench = Bench::new(rules());
    bench.watch(&nodes(1, &[30_080]));
    bench.run(SECOND, |_, _| Ok(()));
    bench.run(SECOND * 3, |_, question| match question {
        Question::Http(_) => Err(Failure::Status(503)),
        Question::Tcp(_) | Question::Udp(_) | Question::Check(..) => Ok(()),
    });
    let sight = bench.health.node(node(1), bench.now);
    assert_eq!(sight.state, BackendState::Unhealthy);
    assert_eq!(sight.failure, Some(Failure::Status(503)));
}

#[test]
fn a_node_that_neither_answers_is_unhealthy_within_the_interval_and_a_second() {
    let mut bench = Bench::new(rules());
    bench.watch(&nodes(2, &[30_080]));
    bench.run(SECOND * 3, |_, _| Ok(()));
    let cut = bench.now;
    let dead = Target::Node(node(1));
    while bench.state(1) != BackendState::Unhealthy {
        let answer = |target: &Target, _| {
            if *target == dead { Err(Failure::TimedOut) } else { Ok(()) }
        };
        bench.run(Duration::from_millis(10), answer);
        assert!(bench.now < cut + SECOND * 2, "still in use after two seconds");
    }
    assert_eq!(bench.state(2), BackendState::Healthy);
}

/// Silence of a kube-proxy that has answered is the host's; while it restarts, a NodePort decides.
#[test]
fn a_kube_proxy_that_has_answered_is_missed_when_silent_and_forgiven_when_it_refuses() {
    let mut bench = Bench::new(rules());
    bench.watch(&nodes(1, &[30_080]));
    bench.run(SECOND * 2, |_, _| Ok(()));
    let answer = |failure| {
        move |_: &Target, question| match question {
            Question::Http(_) => Err(failure),
            Question::Tcp(_) | Question::Udp(_) | Question::Check(..) => Ok(()),
        }
    };
    bench.run(SECOND * 5, answer(Failure::Refused));
    assert_eq!(bench.state(1), BackendState::Healthy);
    bench.run(SECOND * 2, answer(Failure::TimedOut));
    assert_eq!(bench.state(1), BackendState::Unhealthy);
}

#[test]
fn a_sentinel_without_endpoints_does_not_condemn_a_node_that_serves_another() {
    let mut bench = Bench::new(config::Health { node_probe: NodeProbe::NodePort, ..rules() });
    bench.watch(&nodes(1, &[30_081, 30_080]));
    bench.run(SECOND * 10, |_, question| match question {
        Question::Tcp(to) if to.port() == 30_080 => Ok(()),
        Question::Tcp(_) | Question::Udp(_) | Question::Http(_) | Question::Check(..) => {
            Err(Failure::Refused)
        }
    });
    assert_eq!(bench.state(1), BackendState::Healthy);
    let refused =
        bench.asked.iter().filter(|(_, _, q)| *q == Question::Tcp((node(1), 30_081).into()));
    assert_eq!(refused.count(), 1, "the one that passed is kept");
}

/// Where no Service has endpoints, every NodePort refuses, and that says nothing about the nodes.
#[test]
fn a_refusal_at_a_port_that_never_passed_condemns_nobody_and_silence_does() {
    let mut bench = Bench::new(rules());
    let mut subjects = nodes(2, &[30_080]);
    for sentinels in subjects.nodes.values_mut() {
        sentinels[0].proven = false;
    }
    bench.watch(&subjects);
    bench.run(SECOND * 5, |target, _| match target {
        Target::Node(address) if *address == node(2) => Err(Failure::TimedOut),
        Target::Node(_) | Target::Port(..) | Target::Local(..) => Err(Failure::Refused),
    });
    assert_eq!(bench.state(1), BackendState::Unknown);
    assert_eq!(bench.state(2), BackendState::Unhealthy);
    assert!(bench.asked.len() < 60, "{} probes", bench.asked.len());
}

#[test]
fn a_service_port_is_probed_until_its_first_pass_and_then_left_alone() {
    let mut bench = Bench::new(rules());
    bench.watch(&with_port(nodes(4, &[]), HTTP, 30_080, &[1, 2]));
    bench.run(SECOND * 2, |target, _| match target {
        Target::Port(_, _, address) if *address == node(2) => Err(Failure::Refused),
        Target::Port(..) | Target::Node(_) | Target::Local(..) => Ok(()),
    });
    let states = [(node(1), BackendState::Healthy), (node(2), BackendState::Unhealthy)];
    assert_eq!(bench.port_states(HTTP), states);
    let to = |last| Target::Port(web(), HTTP, node(last));
    let times = |bench: &Bench, last| bench.asked.iter().filter(|(_, t, _)| *t == to(last)).count();
    assert_eq!(times(&bench, 1), 1);
    assert!(times(&bench, 2) >= 3);
    bench.run(SECOND * 2, |_, _| Ok(()));
    assert_eq!(bench.port_states(HTTP)[1].1, BackendState::Healthy, "never passed: no climb");
}

/// kube-proxy takes its time for a new NodePort: whoever waits for it must not wait for us too.
#[test]
fn a_new_port_is_asked_again_at_once_for_a_while_and_then_once_in_an_interval() {
    let mut bench = Bench::new(config::Health { interval: SECOND * 2, ..rules() });
    bench.watch(&with_port(nodes(3, &[]), HTTP, 30_080, &[1, 2, 3]));
    bench.run(SECOND * 20, |target, _| match target {
        Target::Port(..) => Err(Failure::Refused),
        Target::Node(_) | Target::Local(..) => Ok(()),
    });
    let asked = bench.asked.iter().filter(|(_, target, _)| matches!(target, Target::Port(..)));
    let on_one = asked.filter(|(_, target, _)| target.address() == node(1));
    let times: Vec<Duration> = on_one.map(|(at, ..)| *at - SECOND * 100).collect();
    for two in times.windows(2) {
        let longest = if two[0] < SECOND * 4 { SECOND / 5 } else { SECOND * 22 / 10 };
        assert!(two[1] - two[0] <= longest, "asked at {two:?} and not between");
    }
    let late = times.iter().filter(|at| **at > SECOND * 6).count();
    assert!(late <= 8, "asked {late} times in 14 s although it is not new any more");
}

#[test]
fn a_passive_signal_probes_the_port_and_the_node_and_recovers_by_a_climb() {
    let mut bench = Bench::new(rules());
    bench.watch(&with_port(nodes(4, &[]), HTTP, 30_080, &[1]));
    bench.run(SECOND * 3, |_, _| Ok(()));
    bench.asked.clear();
    let signal = |bench: &mut Bench| {
        bench.health.suspect(&web(), HTTP, 30_080, node(3), bench.now);
    };
    signal(&mut bench);
    let broken = Target::Port(web(), HTTP, node(3));
    bench.run(SECOND, |target, _| if *target == broken { Err(Failure::Refused) } else { Ok(()) });
    assert_eq!(bench.port_states(HTTP)[1], (node(3), BackendState::Unhealthy));
    assert_eq!(bench.asked[0].0, bench.asked[1].0, "port and node are asked at once");
    bench.run(SECOND * 3, |_, _| Ok(()));
    assert_eq!(bench.port_states(HTTP)[1], (node(3), BackendState::SlowStart));
    bench.run(SECOND * 12, |_, _| Ok(()));
    assert_eq!(bench.port_states(HTTP)[1], (node(3), BackendState::Healthy));
}

#[test]
fn a_storm_of_signals_is_one_probe() {
    let mut bench = Bench::new(rules());
    bench.watch(&with_port(nodes(1, &[]), HTTP, 30_080, &[1]));
    bench.run(SECOND * 2, |_, _| Ok(()));
    bench.asked.clear();
    for _ in 0..1_000 {
        bench.health.suspect(&web(), HTTP, 30_080, node(1), bench.now);
        bench.run(Duration::from_micros(50), |_, _| Ok(()));
    }
    assert!(bench.asked.len() <= 3, "{} probes in 50 ms", bench.asked.len());
}

#[test]
fn udp_is_asked_by_a_datagram() {
    let mut bench = Bench::new(rules());
    bench.watch(&with_port(nodes(1, &[]), DNS, 30_053, &[1]));
    bench.run(SECOND, |_, _| Ok(()));
    let datagram = Question::Udp((node(1), 30_053).into());
    assert!(bench.asked.iter().any(|(_, _, question)| *question == datagram));
}

/// K8: 200 and 503 of `healthCheckNodePort`.
#[test]
fn the_local_endpoints_of_a_service_follow_its_health_check_port() {
    let mut bench = Bench::new(rules());
    let mut subjects = nodes(2, &[]);
    subjects.locals.insert((web(), node(1)), 32_000);
    subjects.locals.insert((web(), node(2)), 32_000);
    bench.watch(&subjects);
    bench.run(SECOND * 3, |target, _| match target {
        Target::Local(_, address) if *address == node(2) => Err(Failure::Status(503)),
        Target::Port(..) | Target::Node(_) | Target::Local(..) => Ok(()),
    });
    assert_eq!(bench.health.local(&web(), node(1), bench.now).state, BackendState::Healthy);
    assert_eq!(bench.health.local(&web(), node(2), bench.now).state, BackendState::Unhealthy);
}

#[test]
fn the_budget_holds_over_everything_and_starves_no_node() {
    let mut bench = Bench::new(config::Health { budget: 50, ..rules() });
    let mut subjects = nodes(20, &[]);
    for n in 0..2_000_u16 {
        let claim = PortClaim { protocol: Protocol::Tcp, port: n + 1 };
        subjects.ports.insert((web(), claim), port(n + 1, vec![node(1)]));
    }
    bench.watch(&subjects);
    bench.run(SECOND * 10, |_, _| Ok(()));
    assert!(bench.asked.len() <= 550, "{} probes in ten seconds", bench.asked.len());
    let of_nodes = bench.asked.iter().filter(|(_, t, _)| matches!(t, Target::Node(_))).count();
    assert!(of_nodes >= 150, "{of_nodes} of 200 base probes within ten seconds");
}

#[test]
fn adopted_nodes_are_in_use_until_probes_say_otherwise() {
    let mut bench = Bench::new(rules());
    bench.health.adopt([node(1)], bench.now);
    bench.watch(&nodes(2, &[30_080]));
    assert_eq!(bench.state(1), BackendState::Healthy);
    assert_eq!(bench.state(2), BackendState::Unknown);
    bench.run(SECOND * 2, |_, _| Err(Failure::TimedOut));
    assert_eq!(bench.state(1), BackendState::Unhealthy);
}

#[test]
fn who_is_no_longer_watched_is_forgotten_and_a_changed_node_port_starts_anew() {
    let mut bench = Bench::new(rules());
    bench.watch(&with_port(nodes(2, &[]), HTTP, 30_080, &[1, 2]));
    bench.run(SECOND, |_, _| Ok(()));
    bench.watch(&with_port(nodes(1, &[]), HTTP, 30_081, &[1]));
    assert_eq!(bench.port_states(HTTP), [(node(1), BackendState::Unknown)]);
    assert_eq!(bench.state(2), BackendState::Unknown);
    bench.watch(&Subjects::default());
    assert_eq!(bench.health.next_deadline(bench.now), None);
    assert!(bench.health.poll_probe(bench.now).is_none());
}

/// Other first nodes come and go with the verdicts on nodes; what was asked in vain is forgotten.
#[test]
fn nodes_that_never_passed_do_not_pile_up() {
    let mut bench = Bench::new(rules());
    for first in 1..=50 {
        bench.watch(&with_port(nodes(50, &[]), HTTP, 30_080, &[first]));
        bench.run(SECOND / 4, |_, _| Err(Failure::Refused));
    }
    assert_eq!(bench.port_states(HTTP).len(), 1);
}

/// However many probes wait, a new Service is asked for first.
#[test]
fn a_new_service_does_not_wait_behind_those_that_fail() {
    let mut bench = Bench::new(config::Health { budget: 20, ..rules() });
    let mut subjects = nodes(3, &[]);
    for n in 0..500_u16 {
        let claim = PortClaim { protocol: Protocol::Tcp, port: n + 1 };
        subjects.ports.insert((web(), claim), port(n + 1, vec![node(1)]));
    }
    bench.watch(&subjects);
    bench.run(SECOND * 60, |_, _| Err(Failure::Refused));
    let claim = PortClaim { protocol: Protocol::Tcp, port: 999 };
    subjects.ports.insert((web(), claim), port(999, vec![node(1)]));
    bench.watch(&subjects);
    bench.run(SECOND, |_, _| Ok(()));
    assert_eq!(bench.port_states(claim), [(node(1), BackendState::Healthy)]);
}

#[test]
fn a_result_that_comes_after_its_subject_has_gone_changes_nothing() {
    let mut bench = Bench::new(rules());
    bench.watch(&nodes(1, &[]));
    let probe = bench.health.poll_probe(bench.now).unwrap();
    bench.watch(&Subjects::default());
    let late = Err(Failure::TimedOut);
    assert!(!bench.health.handle_result(&probe.target, probe.question, late, bench.now));
}
