//! One case per step that can hold a Service back.

use std::sync::Arc;

use roadstead_model::{
    SourceName,
    local::{BackendState, RouterStatus, SpeakerStatus},
    object::{AddressRequest, Families, LOAD_BALANCER_CLASS, Service, SourceRanges, TrafficPolicy},
    reason::{Condition, ConditionStatus, NO_PROBE_PASSED},
    snapshot::SourceState,
};

use super::*;
use crate::{
    daemons::Heard,
    fixtures::{answers, backend, fails, holds, router, source, speaker, web},
    local_files::Object,
};

/// All is well; each test changes one thing.
struct World {
    speaker: SpeakerStatus,
    router: Heard<RouterStatus>,
    object: Object,
    config: Config,
    from: Option<IpAddr>,
    here: Here,
}

impl World {
    fn new() -> Self {
        let pool = "[[pool]]\nname = \"lan\"\naddresses = [\"192.0.2.10-192.0.2.50\"]\n\
                    reserved = [\"192.0.2.11\"]\n";
        let file = ("roadstead.toml".into(), pool.to_owned());
        let loaded = roadstead_config::load_from(vec![file], std::iter::empty()).expect("good");
        Self {
            speaker: speaker(),
            router: Heard::Status(router()),
            object: Object::Service(Arc::new(service())),
            config: loaded.config,
            from: None,
            here: Here::unseen(),
        }
    }

    fn speaker_says(mut self, condition: Condition) -> Self {
        let conditions = &mut self.speaker.services[0].conditions;
        conditions.retain(|old| old.kind != condition.kind);
        conditions.push(condition);
        self
    }

    fn router_says(self, condition: Condition) -> Self {
        self.router(|router| {
            let conditions = &mut router.services[0].conditions;
            conditions.retain(|old| old.kind != condition.kind);
            conditions.push(condition);
        })
    }

    fn router(mut self, change: impl FnOnce(&mut RouterStatus)) -> Self {
        if let Heard::Status(router) = &mut self.router {
            change(router);
        }
        self
    }

    fn without_address(mut self) -> Self {
        self.speaker.services[0].addresses.clear();
        self.speaker.services[0].announced.clear();
        self.router(|router| router.services.clear())
    }

    fn unlisted(mut self) -> Self {
        self.speaker.services.clear();
        self.router(|router| router.services.clear())
    }

    fn facts<T>(self, look: impl FnOnce(&Facts<'_>, &Object, &Here) -> T) -> T {
        let mut answers = answers(self.speaker, router());
        answers.router = self.router;
        let status = Status::of(&answers);
        let facts = Facts::new(&status, Some(&self.config), &answers, self.from);
        look(&facts, &self.object, &self.here)
    }

    fn steps(self) -> Vec<Step> {
        self.facts(|facts, object, here| {
            let key = web();
            let view = facts.status.services.iter().find(|view| view.key() == key);
            Case { key: &key, view, object, here, facts }.steps()
        })
    }

    /// The step that holds it back, and what to do.
    fn held_by(self) -> (&'static str, String) {
        let steps = self.steps();
        let held = steps.iter().find(|step| step.verdict == Verdict::Held);
        let held = held.unwrap_or_else(|| panic!("nothing holds it back: {steps:#?}"));
        assert!(!held.advice.is_empty(), "{held:?}");
        (held.name, held.message.clone())
    }
}

fn service() -> Service {
    Service {
        key: web(),
        uid: None,
        labels: Default::default(),
        class: None,
        request: AddressRequest::default(),
        families: Families::Single(roadstead_model::Family::V4),
        ports: Vec::new(),
        source_ranges: SourceRanges::Any,
        traffic_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        affinity: None,
        health_check: None,
        status_addresses: Vec::new(),
        guarded: true,
        warnings: Vec::new(),
    }
}

fn object(change: impl FnOnce(&mut Service)) -> Object {
    let mut service = service();
    change(&mut service);
    Object::Service(Arc::new(service))
}

#[test]
fn nothing_holds_back_what_is_well() {
    let steps = World::new().steps();
    assert!(steps.iter().all(|step| step.verdict == Verdict::Passed), "{steps:#?}");
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    assert_eq!(
        names,
        [
            "object",
            "class",
            "pool",
            "address",
            "conflict",
            "endpoints",
            "firewall",
            "backends",
            "programmed",
            "announced",
            "source ranges"
        ]
    );
    assert_eq!(steps[2].message, "lan");
}

#[test]
fn reasons_of_the_allocator() {
    for (reason, step) in [
        ("NoNodePort", "object"),
        ("NodePortTaken", "object"),
        ("SctpNotServed", "object"),
        ("InvalidRequest", "object"),
        ("NoPools", "pool"),
        ("NoSuchPool", "pool"),
        ("PoolNotAllowed", "pool"),
        ("PoolExhausted", "pool"),
        ("DualStackUnavailable", "pool"),
        ("AddressHeld", "address"),
        ("PortConflict", "address"),
        ("AddressOfNode", "address"),
        ("SomethingNew", "address"),
        ("ConflictOnWire", "conflict"),
    ] {
        let world = World::new().speaker_says(fails("Allocated", reason, "why")).without_address();
        assert_eq!(world.held_by(), (step, "why".to_owned()), "{reason}");
    }
    let doubt = Condition::new("Allocated", ConditionStatus::Unknown, "SourceInDoubt", "it shrank");
    let world = World::new().speaker_says(doubt).without_address();
    assert_eq!(world.held_by(), ("object", "it shrank".to_owned()));
}

#[test]
fn reasons_of_the_announcer() {
    for (reason, step) in [
        ("ConflictOnWire", "conflict"),
        ("Probing", "conflict"),
        ("NoLeg", "announced"),
        ("Drained", "announced"),
        ("Withdrawing", "announced"),
    ] {
        let world = World::new().speaker_says(fails("Announced", reason, "why"));
        assert_eq!(world.held_by(), (step, "why".to_owned()), "{reason}");
    }
    let host = World::new().speaker_says(holds("Announced", "HostAddress", "the host's own"));
    assert!(host.steps().iter().all(|step| step.verdict == Verdict::Passed));
}

#[test]
fn reasons_of_the_router_come_before_the_announcement_that_waits_for_them() {
    for (reason, message, step) in [
        ("Unserved", "its EndpointSlices have no ready endpoint", "endpoints"),
        ("Unserved", "its ready endpoints are on no node that is eligible", "endpoints"),
        ("Unserved", "its source has no nodes", "backends"),
        ("Unserved", "every node drains or is excluded", "backends"),
        ("Pending", "the map of services is full", "programmed"),
    ] {
        let world = World::new()
            .router_says(fails("Programmed", reason, message))
            .speaker_says(fails("Announced", "NotReady", "waits for the router"));
        assert_eq!(world.held_by(), (step, message.to_owned()));
    }
}

#[test]
fn node_ports_that_never_answered_on_healthy_nodes() {
    let pending = fails("Programmed", "Pending", NO_PROBE_PASSED);
    let (step, message) = World::new().router_says(pending).held_by();
    let expected = "the nodes answer, and no probe of NodePort 30080 has passed yet";
    assert_eq!((step, &*message), ("backends", expected));
}

#[test]
fn backends_that_do_not_serve_are_named_with_their_reason() {
    let all = |state, reason: &'static str| {
        World::new().router(move |router| {
            router.lists[0] = [backend("n1", state, reason)].into();
        })
    };
    let (step, message) = all(BackendState::Unhealthy, "connection refused").held_by();
    assert_eq!(step, "backends");
    assert_eq!(message, "0 of 1 healthy; n1 unhealthy: connection refused");
    let steps = all(BackendState::Draining, "drained by an operator").steps();
    assert_eq!(steps[7].advice, "roadstead undrain node NAME");
    let (step, message) = World::new().router(|router| router.lists[0] = [].into()).held_by();
    assert_eq!((step, &*message), ("backends", "0 of 0 healthy"));

    let some = World::new().router(|router| {
        let mut backends = router.lists[0].to_vec();
        let nodes = ["n11", "n12", "n13", "n14", "n15", "n16", "n17", "n18", "n19"];
        // Each over both families.
        backends.extend(nodes.iter().map(|node| backend(node, BackendState::Unknown, "")));
        backends.extend(nodes.iter().map(|node| backend(node, BackendState::Unknown, "")));
        router.lists[0] = backends.into();
    });
    let steps = some.steps();
    assert_eq!(steps[7].verdict, Verdict::Passed);
    assert!(
        steps[7].message.starts_with("2 of 20 healthy; n11 unknown; n12 "),
        "{}",
        steps[7].message
    );
    assert!(steps[7].message.ends_with("; and 4 more"), "{}", steps[7].message);
}

#[test]
fn a_leg_without_the_program() {
    let world = World::new().router(|router| {
        router.legs[0].attached = false;
        router.legs[0].reason = "operation not permitted".into();
    });
    let expected = "the program is not on leg eth0: operation not permitted";
    assert_eq!(world.held_by(), ("programmed", expected.to_owned()));

    let other = || {
        World::new().router(|router| {
            let mut other = router.legs[0].clone();
            other.name = "eth9".into();
            other.attached = false;
            router.legs.push(other);
        })
    };
    assert!(other().steps().iter().all(|step| step.verdict == Verdict::Passed));
    let mut towards_nodes = other();
    towards_nodes.here.node_legs.insert("eth9".into());
    let (step, message) = towards_nodes.held_by();
    assert_eq!(step, "programmed");
    assert_eq!(message, "the program is not on leg eth9: it was not attached yet");
}

#[test]
fn an_announcement_on_what_is_no_leg_of_the_router() {
    let world = World::new().router(|router| router.legs[0].name = "eth1".into());
    let expected = "the program is not on leg eth0, where 192.0.2.10 is announced: it is no leg of \
                    the router";
    assert_eq!(world.held_by(), ("programmed", expected.to_owned()));
}

#[test]
fn a_router_that_is_silent_or_behind_or_not_needed() {
    let mut world = World::new();
    world.router = Heard::Silent("no answer".into());
    let (step, message) = world.held_by();
    assert_eq!((step, &*message), ("programmed", "the router cannot be asked: no answer"));

    let behind = World::new().router(|router| router.services.clear());
    assert_eq!(behind.held_by().0, "programmed");

    let mut world = World::new();
    world.router = Heard::NotNeeded;
    assert!(world.steps().iter().all(|step| step.verdict != Verdict::Held));
}

#[test]
fn source_ranges_hold_back_the_client_that_is_asked_about() {
    let restricted = |from: Option<&str>| {
        let mut world = World::new();
        world.object = object(|service| {
            service.source_ranges = SourceRanges::Only(vec!["198.51.100.0/24".parse().unwrap()]);
        });
        world.from = from.map(|address| address.parse().unwrap());
        world
    };
    let (step, message) = restricted(Some("203.0.113.7")).held_by();
    assert_eq!(step, "source ranges");
    assert!(message.starts_with("203.0.113.7 is turned away"), "{message}");
    for from in [None, Some("198.51.100.7")] {
        let steps = restricted(from).steps();
        assert!(steps.iter().all(|step| step.verdict == Verdict::Passed), "{steps:#?}");
    }
}

#[test]
fn a_service_that_the_speaker_does_not_list() {
    let unlisted = |object| {
        let mut world = World::new().unlisted();
        world.object = object;
        world
    };
    let (step, message) = unlisted(Object::Absent).held_by();
    assert_eq!(step, "object");
    assert_eq!(message, "source `local` has no Service default/web of type LoadBalancer");

    let (step, message) = unlisted(Object::Refused("no ports".into())).held_by();
    assert_eq!((step, &*message), ("object", "the manifest is refused: no ports"));

    let foreign = object(|service| service.class = Some("example.com/other".into()));
    assert_eq!(unlisted(foreign).held_by().0, "class");

    let ours = object(|service| service.class = Some(LOAD_BALANCER_CLASS.into()));
    assert_eq!(unlisted(ours).held_by().0, "class");

    let mut world = unlisted(object(|_| ()));
    world.config.speaker.class_only = true;
    let expected = "it names no loadBalancerClass, and speaker.class_only is true";
    assert_eq!(world.held_by(), ("class", expected.to_owned()));

    let mut world = unlisted(Object::Absent);
    world.speaker.sources[0].0 = SourceName::new("home");
    let expected = "there is no source `local`; there is home";
    assert_eq!(world.held_by(), ("object", expected.to_owned()));

    let mut world = unlisted(Object::Absent);
    world.speaker.sources[0].1 = SourceState::Unread;
    assert_eq!(world.held_by(), ("object", "source `local` was not read yet".to_owned()));
}

#[test]
fn a_file_that_is_wrong_is_pointed_at() {
    let wrong = |mut world: World| {
        let place = roadstead_model::Location::new("/m/web.yaml", 6);
        world.speaker.problems = vec![roadstead_model::Problem::error(place, "not used")];
        world.object = Object::Absent;
        world
    };
    let served = wrong(World::new()).steps();
    assert_eq!(served[0].verdict, Verdict::Unknown);
    assert!(served[0].message.starts_with("the last good one is served"), "{:?}", served[0]);
    assert!(served[0].advice.contains("roadstead check"), "{:?}", served[0]);
    let unlisted = wrong(World::new().unlisted()).steps();
    assert_eq!(unlisted[0].verdict, Verdict::Held);
    assert!(unlisted[0].advice.contains("roadstead check"), "{:?}", unlisted[0]);
    let mut sound = World::new();
    sound.object = Object::Absent;
    assert_eq!(sound.steps()[0].verdict, Verdict::Passed);
}

#[test]
fn a_namesake_elsewhere_is_named() {
    let mut world = World::new();
    world.speaker.services[0].service = ServiceKey::new(&source(), "prod", "web");
    world.object = Object::Absent;
    let message = world.router(|router| router.services.clear()).held_by().1;
    assert!(message.ends_with("; there is local/prod/web"), "{message}");
}

#[test]
fn an_address_leads_to_its_services_or_is_explained_itself() {
    let keys = |world: World, text: &str| {
        world.facts(|facts, _, _| facts.keys(&text.parse().expect("a target")))
    };
    for text in ["192.0.2.10", "192.0.2.10:80", "default/web", "local/default/web"] {
        assert_eq!(keys(World::new(), text), Ok(vec![web()]), "{text}");
    }
    let why = |text| keys(World::new(), text).expect_err(text);
    assert_eq!(
        why("192.0.2.10:81"),
        "port 81 of 192.0.2.10 is no Service's: it is answered as closed; held by \
         local/default/web (80/TCP)"
    );
    assert_eq!(
        why("192.0.2.12"),
        "192.0.2.12 of pool `lan` is held by no Service: nobody answers for it"
    );
    assert_eq!(why("192.0.2.11"), "192.0.2.11 is reserved in pool `lan`: no Service may hold it");
    assert_eq!(
        why("203.0.113.1"),
        "203.0.113.1 lies in no pool and is held by no Service: it is not ours"
    );
}

#[test]
fn a_service_without_its_source_is_found_in_every_source() {
    let mut world = World::new();
    let mut second = world.speaker.services[0].clone();
    second.service = ServiceKey::new(&SourceName::new("other"), "default", "web");
    world.speaker.services.push(second);
    let found = world.facts(|facts, _, _| facts.keys(&"default/web".parse().expect("a target")));
    assert_eq!(found.map(|keys| keys.len()), Ok(2));
}

#[test]
fn the_text_names_the_step_and_what_to_do() {
    let world = World::new()
        .speaker_says(fails("Allocated", "PoolExhausted", "no free\u{1b}[2J address in `lan`"))
        .without_address();
    let text =
        world.facts(|facts, object, here| shown(&facts.explain(&web(), object, here), false));
    assert!(text.starts_with("local/default/web\n  "), "{text}");
    assert!(text.contains("Held back by: pool\nWhat to do: add addresses to the pool"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let well = World::new()
        .facts(|facts, object, here| shown(&facts.explain(&web(), object, here), false));
    assert!(well.ends_with("Nothing holds it back.\n"), "{well}");
}
