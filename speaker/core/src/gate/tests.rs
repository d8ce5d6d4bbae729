use roadstead_model::{
    SourceName,
    local::{Answering, ServiceServing},
};

use super::*;

const ADDRESS: &str = "192.0.2.10";

struct World {
    gate: Gate,
    holdings: Vec<Holding>,
    programmed: Option<Programmed>,
    wire: BTreeMap<(IpAddr, Leg), Wire>,
    drained: bool,
    require_ready: bool,
    elsewhere: Option<Elsewhere>,
    unguarded: BTreeSet<ServiceKey>,
    published: u64,
}

fn address() -> IpAddr {
    ADDRESS.parse().unwrap()
}

fn service(name: &str) -> ServiceKey {
    ServiceKey::new(&SourceName::new("local"), "default", name)
}

fn leg() -> Leg {
    "eth0".into()
}

impl World {
    fn new() -> Self {
        let holding = Holding {
            address: address(),
            kind: VipKind::Virtual,
            live: vec![service("web")],
            leaving: vec![],
            legs: vec![leg()],
            l2: true,
            since: 1,
        };
        Self {
            gate: Gate::default(),
            holdings: vec![holding],
            programmed: None,
            wire: BTreeMap::new(),
            drained: false,
            require_ready: true,
            elsewhere: None,
            unguarded: BTreeSet::new(),
            published: 1,
        }
    }

    fn says(&mut self, serving: Serving) -> &mut Self {
        let service = ServiceServing {
            service: service("web"),
            serving,
            message: "probes fail".into(),
            withheld: vec![],
        };
        let answering = self.programmed.take().map(|p| p.answering).unwrap_or_default();
        self.programmed = Some(Programmed {
            applied: self.published,
            services: vec![service],
            answering,
            ..Programmed::default()
        });
        self
    }

    fn wire(&mut self, wire: Option<Wire>) -> &mut Self {
        match wire {
            Some(wire) => self.wire.insert((address(), leg()), wire),
            None => self.wire.remove(&(address(), leg())),
        };
        self
    }

    fn step(&mut self) -> Verdict {
        let facts = Facts {
            holdings: &self.holdings,
            programmed: self.programmed.as_ref(),
            require_ready: self.require_ready,
            drained: self.drained,
            elsewhere: self.elsewhere.as_ref(),
            unguarded: &self.unguarded,
            wire: &self.wire,
            published: self.published,
        };
        self.gate.step(&facts)
    }

    fn announced() -> Self {
        let mut world = Self::new();
        world.says(Serving::Ready).step();
        world.wire(Some(Wire::Announced)).step();
        world
    }

    fn answers(&mut self) -> bool {
        self.step().answers.contains_key(&address())
    }

    fn reason(&mut self) -> String {
        self.step().conditions.remove(&service("web")).unwrap().reason
    }
}

#[test]
fn the_first_announcement_needs_a_passed_probe() {
    let mut world = World::new();
    assert_eq!(world.step().wanted[0].hold, Hold::Probe);
    assert_eq!(world.reason(), "RouterSilent");
    world.says(Serving::Pending);
    assert_eq!(world.step().wanted[0].hold, Hold::Probe);
    assert_eq!(world.reason(), "NotReady");
    world.says(Serving::Ready);
    assert_eq!(world.step().wanted[0].hold, Hold::Announce);
    assert!(!world.answers(), "the kernel must not answer before the wire was probed");
    world.wire(Some(Wire::Announced));
    assert!(world.answers());
    assert_eq!(world.reason(), "Probed");
}

#[test]
fn a_verdict_about_an_older_assignment_does_not_count() {
    let mut world = World::new();
    world.says(Serving::Ready);
    world.holdings[0].since = 2;
    assert_eq!(world.step().wanted[0].hold, Hold::Probe);
}

#[test]
fn doubt_holds() {
    for doubt in [Serving::Pending, Serving::Degraded] {
        let mut world = World::announced();
        assert!(world.says(doubt).answers(), "{doubt:?}");
    }
    let mut world = World::announced();
    world.programmed = None;
    assert!(world.answers(), "a router that is gone is doubt");
    world.programmed = Some(Programmed { applied: 1, ..Programmed::default() });
    assert!(world.answers(), "a router that forgot the service is doubt");
}

#[test]
fn knowledge_withdraws() {
    let mut world = World::announced();
    assert!(!world.says(Serving::Unserved).answers());
    assert_eq!(world.reason(), "NothingServes");

    let mut world = World::announced();
    world.drained = true;
    assert!(!world.answers());
    assert_eq!(world.reason(), "Drained");

    let mut world = World::announced();
    world.holdings[0].leaving = std::mem::take(&mut world.holdings[0].live);
    assert!(!world.answers());
}

#[test]
fn an_address_without_nodes_of_its_family_is_withdrawn_alone() {
    let mut world = World::announced();
    world.programmed.as_mut().unwrap().services[0].withheld = vec![address()];
    assert!(!world.answers());
}

#[test]
fn one_service_that_serves_keeps_a_shared_address() {
    let mut world = World::announced();
    world.holdings[0].live.push(service("mail"));
    assert!(world.says(Serving::Unserved).answers(), "of the other one nothing is known yet");
}

#[test]
fn a_newcomer_on_a_shared_address_waits_for_its_own_word() {
    let mut world = World::announced();
    world.holdings[0].live.push(service("mail"));
    let verdict = world.step();
    assert_eq!(verdict.conditions[&service("mail")].reason, "NotReady");
    assert_eq!(verdict.waiting, [(address(), service("mail"))].into());
    let mail = ServiceServing {
        service: service("mail"),
        serving: Serving::Ready,
        message: String::new(),
        withheld: vec![],
    };
    world.programmed.as_mut().unwrap().services.push(mail);
    let verdict = world.step();
    assert_eq!(verdict.conditions[&service("mail")].reason, "Probed");
    assert!(verdict.waiting.is_empty());
    world.programmed.as_mut().unwrap().services.pop();
    assert_eq!(world.step().conditions[&service("mail")].status, ConditionStatus::True, "doubt");
}

#[test]
fn a_service_that_comes_back_under_its_name_waits_for_its_own_word_again() {
    let mut world = World::announced();
    let mail = ServiceServing {
        service: service("mail"),
        serving: Serving::Ready,
        message: String::new(),
        withheld: vec![],
    };
    world.holdings[0].live.push(service("mail"));
    world.programmed.as_mut().unwrap().services.push(mail);
    assert!(world.step().waiting.is_empty());
    world.holdings[0].live.pop();
    world.programmed.as_mut().unwrap().services.pop();
    world.step();
    world.holdings[0].live.push(service("mail"));
    assert_eq!(world.step().waiting, [(address(), service("mail"))].into());
}

#[test]
fn released_only_when_socket_and_kernel_are_silent() {
    let mut world = World::announced();
    let answering = Answering { address: address(), legs: vec![leg()] };
    world.programmed.as_mut().unwrap().answering = vec![answering];
    world.holdings[0].leaving = std::mem::take(&mut world.holdings[0].live);
    assert!(world.step().released.is_empty());

    world.wire(None);
    assert!(world.step().released.is_empty(), "the kernel still answers");

    let answering = std::mem::take(&mut world.programmed.as_mut().unwrap().answering);
    assert!(world.step().released.is_empty(), "that may be from before the order");

    world.published = 2;
    let said = Programmed { applied: 2, answering, ..Programmed::default() };
    world.programmed = Some(said);
    assert!(world.step().released.is_empty(), "the order is applied, but not whole");

    world.programmed.as_mut().unwrap().answering.clear();
    assert_eq!(world.step().released, [(address(), service("web"))]);
}

#[test]
fn an_address_never_answered_for_is_released_at_once() {
    let mut world = World::new();
    world.step();
    world.holdings[0].leaving = std::mem::take(&mut world.holdings[0].live);
    assert_eq!(world.step().released, [(address(), service("web"))]);
}

#[test]
fn a_service_leaves_a_shared_address_at_once() {
    let mut world = World::announced();
    world.holdings[0].leaving = vec![service("mail")];
    let verdict = world.step();
    assert_eq!(verdict.released, [(address(), service("mail"))]);
    assert!(verdict.answers.contains_key(&address()));
}

#[test]
fn a_restart_goes_on_answering_before_anybody_has_spoken() {
    let mut world = World::new();
    world.gate = Gate::restore(Answers::from([(address(), BTreeSet::from([leg()]))]), [address()]);
    let verdict = world.step();
    assert_eq!(verdict.wanted[0].hold, Hold::Resume);
    assert!(verdict.answers.contains_key(&address()));
    world.wire(Some(Wire::Conflict { mac: [2, 0, 0, 0, 0, 9] }));
    assert!(!world.answers(), "the wire has spoken");
    assert_eq!(world.reason(), "ConflictOnWire");
}

#[test]
fn an_address_that_the_ledger_does_not_know_is_not_answered_for() {
    let mut world = World::new();
    world.gate = Gate::restore(Answers::from([(address(), BTreeSet::from([leg()]))]), [address()]);
    let held = std::mem::take(&mut world.holdings);
    let verdict = world.step();
    assert!(verdict.answers.is_empty() && verdict.wanted.is_empty());
    world.holdings = held;
    let verdict = world.step();
    assert_eq!(verdict.wanted[0].hold, Hold::Probe, "who gets it next begins anew");
    assert!(verdict.answers.is_empty());
}

#[test]
fn the_hosts_own_address_is_never_announced() {
    let mut world = World::new();
    world.holdings[0].kind = VipKind::Host;
    let verdict = world.says(Serving::Ready).step();
    assert!(verdict.wanted.is_empty() && verdict.answers.is_empty());
    assert_eq!(world.reason(), "HostAddress");
}

#[test]
fn what_was_closing_when_the_speaker_was_killed_is_not_released_before_it_is_silent() {
    let mut world = World::new();
    world.gate = Gate::restore(Answers::new(), [address()]);
    world.published = 7;
    let web = world.holdings[0].live.drain(..).next().unwrap();
    world.holdings[0].leaving.push(web);
    assert!(world.step().released.is_empty(), "the program may still answer");
    world.says(Serving::Ready);
    assert!(world.step().released.is_empty(), "the router has applied what came before");
    world.published = 8;
    world.says(Serving::Ready);
    assert_eq!(world.step().released.len(), 1);
}

/// In a group: silent as after a drain, and without a probe that the writer would answer.
#[test]
fn what_another_host_announces_is_silent_here_and_not_probed() {
    let mut world = World::announced();
    assert!(world.answers());
    world.elsewhere = Some(Elsewhere::Writer("edge2".into()));
    let verdict = world.step();
    assert!(verdict.answers.is_empty() && verdict.wanted.is_empty(), "{verdict:?}");
    let condition = &verdict.conditions[&service("web")];
    assert_eq!(
        (condition.reason.as_str(), condition.status),
        ("FollowsWriter", ConditionStatus::False)
    );
    assert!(condition.message.contains("announced by edge2"), "{condition:?}");
}

/// The next writer announces at once what the last one announced, and probes the rest.
#[test]
fn what_the_last_writer_announced_is_announced_at_once_and_the_rest_is_probed() {
    for announced in [true, false] {
        let mut world = World::new();
        world.elsewhere = Some(Elsewhere::Writer("edge2".into()));
        world.says(Serving::Ready).step();
        world.elsewhere = None;
        world.gate.take_over(announced.then(address));
        let hold = if announced { Hold::Resume } else { Hold::Announce };
        assert_eq!(world.step().wanted[0].hold, hold);
        world.wire(Some(Wire::Announced)).step();
        assert_eq!(world.step().wanted[0].hold, Hold::Announce, "taken over once");
        assert!(world.answers());
    }
}

/// K1: an object without the finalizer could be gone without a word.
#[test]
fn an_address_waits_for_the_finalizer_and_stays_when_that_is_lost() {
    for require_ready in [true, false] {
        let mut world = World::new();
        world.require_ready = require_ready;
        world.unguarded.insert(service("web"));
        let verdict = world.says(Serving::Ready).step();
        assert!(verdict.wanted.iter().all(|wanted| wanted.hold == Hold::Probe), "{verdict:?}");
        assert_eq!(verdict.conditions[&service("web")].reason, "FinalizerPending");
        world.unguarded.clear();
        assert_eq!(world.step().wanted[0].hold, Hold::Announce);
        world.wire(Some(Wire::Announced));
        world.step();
        world.unguarded.insert(service("web"));
        let verdict = world.step();
        assert_eq!(verdict.conditions[&service("web")].reason, "Probed", "what is open stays open");
        assert!(!verdict.answers.is_empty());
    }
}

#[test]
fn a_service_without_the_finalizer_waits_on_an_address_that_is_open_for_another() {
    for require_ready in [true, false] {
        let mut world = World::new();
        world.require_ready = require_ready;
        world.says(Serving::Ready).wire(Some(Wire::Announced)).step();
        world.holdings[0].live.push(service("new"));
        world.unguarded.insert(service("new"));
        let verdict = world.step();
        assert!(verdict.waiting.contains(&(address(), service("new"))), "{verdict:?}");
        assert_eq!(verdict.conditions[&service("new")].reason, "FinalizerPending");
        assert_eq!(verdict.conditions[&service("web")].reason, "Probed");
    }
}

/// S8: a restart announces what was announced, with an API server or without.
#[test]
fn what_was_announced_before_a_restart_does_not_wait_for_the_finalizer() {
    let mut world = World::new();
    let answers = Answers::from([(address(), BTreeSet::from([leg()]))]);
    world.gate = Gate::restore(answers, [address()]);
    world.unguarded.insert(service("web"));
    let verdict = world.step();
    assert_eq!(verdict.wanted[0].hold, Hold::Resume, "{verdict:?}");
    world.wire(Some(Wire::Announced)).says(Serving::Ready);
    assert_eq!(world.step().conditions[&service("web")].reason, "Probed");
}
