//! The desk against a model of an API server: whatever is lost, forged, deleted or killed in between,
//! each object shows in the end what the speaker says, and then nothing is sent any more.

mod property;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use roadstead_model::{
    ServiceKey, SourceName,
    reason::{Condition, ConditionStatus},
    report::{FINALIZER, Ingress, IpMode, Reports, ServiceReport},
};
use serde_json::{Value, json};

use super::{
    Now,
    answer::Answer,
    claim,
    desk::{Desk, Sending, Ticket},
    events::Telling,
};
use crate::kubernetes::{
    api::failure::Failure, read::observed::Observed, tests::ssa, timing::Timing,
};

/// An API server with the Services that it has, and a desk that writes to it.
struct World {
    desk: Desk,
    start: std::time::Instant,
    seconds: u64,
    version: u64,
    objects: BTreeMap<ServiceKey, Value>,
    /// What the watch has not told yet.
    untold: Vec<ServiceKey>,
    reports: Reports,
    /// Reasons of the Events that were told.
    events: Vec<String>,
    requests: usize,
}

fn home() -> SourceName {
    SourceName::new("home")
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new(&home(), "default", name)
}

fn report(uid: &str, address: Option<&str>, reason: &str) -> ServiceReport {
    let address = address.map(|text| text.parse().expect("an address"));
    let status = if address.is_some() { ConditionStatus::True } else { ConditionStatus::False };
    ServiceReport {
        uid: Some(uid.into()),
        holds: address.is_some(),
        ingress: address
            .into_iter()
            .map(|address| Ingress { address, ip_mode: IpMode::Proxy, ports: Vec::new() })
            .collect(),
        conditions: vec![Condition::new("Allocated", status, reason, "m")],
    }
}

impl World {
    fn new() -> Self {
        let start = std::time::Instant::now();
        let mut reports = Reports::default();
        reports.complete.insert(home());
        let desk = Desk::new(home(), "edge1", Timing::DEFAULT, start);
        let (objects, untold, events) = Default::default();
        Self {
            desk,
            start,
            seconds: 0,
            version: 100,
            objects,
            untold,
            reports,
            events,
            requests: 0,
        }
    }

    fn now(&self) -> Now {
        let seconds = i64::try_from(self.seconds).expect("small");
        Now {
            mono: self.start + Duration::from_secs(self.seconds),
            wall: Timestamp::from_second(seconds).expect("a time"),
            chance: 500,
        }
    }

    fn create(&mut self, name: &str, uid: &str) {
        let object = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "default", "uid": uid}, "spec": {"type": "LoadBalancer"}});
        self.change(&key(name), |_| object);
    }

    /// Changes an object; nothing becomes of one that only its finalizer kept.
    fn change(&mut self, key: &ServiceKey, change: impl FnOnce(Value) -> Value) {
        let mut object = change(self.objects.remove(key).unwrap_or_default());
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if !ssa::is_gone(&object) {
            self.objects.insert(key.clone(), object);
        }
        self.untold.push(key.clone());
    }

    fn forge(&mut self, name: &str, manager: &str, ingress: Value) {
        self.change(&key(name), |mut object| {
            ssa::forge(&mut object, manager, ingress);
            object
        });
    }

    fn delete(&mut self, name: &str) {
        if self.objects.contains_key(&key(name)) {
            self.change(&key(name), |mut object| {
                object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                object
            });
        }
    }

    fn say(&mut self, name: &str, report: ServiceReport) {
        self.reports.lapsed.remove(&key(name));
        self.reports.services.insert(key(name), Arc::new(report));
        self.tell_reports();
    }

    fn lapse(&mut self, name: &str) {
        if let Some(said) = self.reports.services.remove(&key(name)) {
            let uid = said.uid.clone().expect("a uid");
            self.reports.lapsed.insert(key(name), uid);
        }
        self.tell_reports();
    }

    fn tell_reports(&mut self) {
        let (reports, now) = (Arc::new(self.reports.clone()), self.now());
        self.desk.handle_reports(reports, now);
    }

    /// The watch tells what it has not told yet.
    fn watch(&mut self) {
        let now = self.now();
        for key in std::mem::take(&mut self.untold) {
            let seen = self.objects.get(&key).and_then(|it| Observed::read(&it.to_string()));
            self.desk.handle_seen(&key, seen.map(Arc::new), now);
        }
    }

    /// The speaker is killed, and the next one begins with a list.
    fn restart(&mut self) {
        self.desk = Desk::new(home(), "edge1", Timing::DEFAULT, self.now().mono);
        self.untold.clear();
        let read = |(key, object): (&ServiceKey, &Value)| {
            Some((key.clone(), Arc::new(Observed::read(&object.to_string())?)))
        };
        let all = self.objects.iter().filter_map(read).collect();
        let now = self.now();
        self.desk.handle_listed(all, now);
        self.tell_reports();
    }

    /// What the server does with a request.
    fn answer(&mut self, sending: &Sending) -> Answer {
        self.requests += 1;
        let (key, body, force) = match sending {
            Sending::Apply { key, body, force } => (key, body, *force),
            Sending::Tell(Telling::Create { body, .. }) => {
                self.events.push(body["reason"].as_str().expect("text").to_owned());
                return Answer::Taken(None);
            }
            Sending::Tell(Telling::Count { .. }) => return Answer::Taken(None),
        };
        let Some(mut object) = self.objects.get(key).cloned() else { return Answer::Gone };
        if let Err((code, message)) = ssa::apply(&mut object, "roadstead", body, force) {
            return Answer::of(&Failure::Refused { code, message, retry_after: None });
        }
        if self.objects.get(key) != Some(&object) {
            self.change(key, |_| object.clone());
        }
        Answer::Taken(Observed::read(&self.objects.get(key).unwrap_or(&object).to_string()))
    }

    /// One request with its answer; false where none is to be sent.
    fn step(&mut self) -> bool {
        let now = self.now();
        let Some((ticket, sending)) = self.desk.poll_request(now) else { return false };
        let answer = self.answer(&sending);
        self.desk.handle_answer(ticket, answer, now);
        true
    }

    /// A request that the server carries out, or does not, and whose answer nobody hears.
    fn step_unheard(&mut self, is_carried_out: bool) {
        let now = self.now();
        let Some((ticket, sending)) = self.desk.poll_request(now) else { return };
        if is_carried_out {
            self.answer(&sending);
        }
        let lost = Answer::of(&Failure::Unreachable("cut off".to_owned()));
        self.desk.handle_answer(ticket, lost, now);
    }

    fn take_cleaned(&mut self) {
        while let Some(cleaned) = self.desk.poll_cleaned() {
            let left = self.objects.get(&cleaned.service).filter(|object| {
                object["metadata"]["uid"] == *cleaned.uid
                    && object["metadata"]["managedFields"].to_string().contains("\"roadstead\"")
            });
            assert!(left.is_none(), "{cleaned:?} is said to be clean: {left:?}");
            if self.reports.lapsed.get(&cleaned.service) == Some(&cleaned.uid) {
                self.reports.lapsed.remove(&cleaned.service);
                self.tell_reports();
            }
        }
    }

    /// Hours pass in which nobody does anything but the desk.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.watch();
            while self.step() {
                self.watch();
            }
            self.take_cleaned();
            self.seconds += 60;
        }
        let before = self.requests;
        for _ in 0..10 {
            self.watch();
            while self.step() {}
            self.seconds += 600;
        }
        assert_eq!(self.requests, before, "it never comes to rest");
    }

    fn shown(&self, name: &str) -> Vec<&str> {
        let ingress = &self.objects[&key(name)]["status"]["loadBalancer"]["ingress"];
        ingress
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| it["ip"].as_str().expect("text"))
            .collect()
    }

    fn told(&self, name: &str, kind: &str) -> Option<&str> {
        let conditions = self.objects[&key(name)]["status"]["conditions"].as_array()?;
        let kind = format!("roadstead.io/{kind}");
        conditions.iter().find(|it| it["type"] == *kind)?["reason"].as_str()
    }

    fn is_guarded(&self, name: &str) -> bool {
        self.objects[&key(name)]["metadata"]["finalizers"] == json!([FINALIZER])
    }
}

fn served() -> World {
    let mut world = World::new();
    world.create("web", "u1");
    world.say("web", report("u1", Some("192.0.2.10"), "Allocated"));
    world.settle();
    assert!(world.is_guarded("web"));
    world
}

#[test]
fn one_request_writes_all_of_a_new_service_and_its_event_follows() {
    let mut world = World::new();
    world.create("web", "u1");
    world.say("web", report("u1", Some("192.0.2.10"), "Allocated"));
    world.watch();
    assert!(world.step());
    assert_eq!((world.shown("web"), world.is_guarded("web")), (vec!["192.0.2.10"], true));
    assert_eq!(world.told("web", "Allocated"), Some("Allocated"));
    world.settle();
    assert_eq!(world.requests, 2, "an apply and an Event");
    assert_eq!(world.events, ["Allocated"]);
}

/// Its answer and its event in the watch may come in any order.
#[test]
fn what_was_just_written_is_not_written_again() {
    let mut world = World::new();
    world.create("web", "u1");
    world.say("web", report("u1", Some("192.0.2.10"), "Allocated"));
    world.watch();
    let now = world.now();
    let (ticket, sending) = world.desk.poll_request(now).expect("a request");
    let answer = world.answer(&sending);
    world.watch();
    world.desk.handle_answer(ticket, answer, now);
    let Some((Ticket::Event, _)) = world.desk.poll_request(now) else { panic!("no Event") };
    assert!(world.desk.poll_request(now).is_none());
}

#[test]
fn conditions_wait_for_one_another_and_guards_for_nothing() {
    let mut world = World::new();
    for name in ["a", "b"] {
        world.create(name, name);
        world.say(name, report(name, None, "PoolExhausted"));
    }
    world.settle();
    let sent = world.requests;
    world.say("a", report("a", None, "AddressHeld"));
    assert!(world.step(), "long after the last write");
    world.say("a", report("a", None, "PoolExhausted"));
    while world.step() {}
    assert_eq!(world.told("a", "Allocated"), Some("AddressHeld"), "too soon");
    world.say("a", report("a", Some("192.0.2.10"), "Allocated"));
    world.say("b", report("b", None, "AddressHeld"));
    let Some((_, Sending::Apply { key: first, .. })) = world.desk.poll_request(world.now()) else {
        panic!("nothing is sent")
    };
    assert_eq!(first, key("a"), "a finalizer goes before conditions");
    assert!(world.requests > sent);
}

#[test]
fn a_condition_keeps_its_time_while_its_status_stays() {
    let mut world = World::new();
    world.create("web", "u1");
    world.say("web", report("u1", None, "PoolExhausted"));
    world.settle();
    let since = |world: &World| {
        let conditions = &world.objects[&key("web")]["status"]["conditions"];
        conditions[0]["lastTransitionTime"].as_str().expect("a time").to_owned()
    };
    let first = since(&world);
    world.say("web", report("u1", None, "AddressHeld"));
    world.settle();
    assert_eq!(
        (since(&world), world.told("web", "Allocated")),
        (first.clone(), Some("AddressHeld"))
    );
    world.say("web", report("u1", Some("192.0.2.10"), "Allocated"));
    world.settle();
    assert_ne!(since(&world), first);
    assert_eq!(world.events, ["PoolExhausted", "AddressHeld", "Allocated"]);
}

#[test]
fn a_restart_tells_nothing_again() {
    let mut world = served();
    let before = world.requests;
    world.restart();
    world.settle();
    assert_eq!(world.requests, before);
}

#[test]
fn a_forged_status_is_restored_with_an_event_also_when_it_was_forged_while_nobody_watched() {
    let mut world = served();
    world.forge("web", "tenant", json!([{"ip": "198.51.100.66"}]));
    world.settle();
    assert_eq!(world.shown("web"), ["192.0.2.10"]);
    assert!(world.events.contains(&"StatusRestored".to_owned()), "{:?}", world.events);
    world.forge("web", "tenant", json!([{"hostname": "evil.example.com"}]));
    world.restart();
    world.settle();
    assert_eq!(world.shown("web"), ["192.0.2.10"]);
}

#[test]
fn whoever_insists_is_left_alone_for_a_while_and_asked_rarely() {
    let mut world = served();
    for round in 0..6 {
        world.forge("web", "cloud", json!([{"ip": "198.51.100.66"}]));
        world.watch();
        while world.step() {
            world.watch();
        }
        if round == 1 {
            assert_eq!(world.shown("web"), ["198.51.100.66"]);
            let problems = world.desk.problems();
            assert!(problems[0].1.contains("default/web: status.loadBalancer is held by `cloud`"));
        }
        world.seconds += 5;
    }
    world.seconds += claim::PEACE.as_secs();
    world.settle();
    assert_eq!(world.shown("web"), ["192.0.2.10"], "peace is over, and nobody objects");
    assert_eq!(world.told("web", "Reported"), Some("Written"));
    assert_eq!(world.desk.problems(), []);
}

#[test]
fn addresses_that_another_wrote_first_stay_and_ours_take_over_what_is_ours() {
    let mut world = World::new();
    for (name, there) in [("held", "198.51.100.7"), ("migrated", "192.0.2.10")] {
        world.create(name, name);
        world.forge(name, "k3s", json!([{"ip": there, "ipMode": "VIP"}]));
        world.say(name, report(name, Some("192.0.2.10"), "Allocated"));
    }
    world.settle();
    assert_eq!(world.shown("held"), ["198.51.100.7"]);
    assert_eq!(world.told("held", "Reported"), Some("StatusHeldByAnother"));
    assert!(world.is_guarded("held"), "it is announced all the same");
    assert!(world.events.contains(&"StatusHeldByAnother".to_owned()));
    let entry = &world.objects[&key("migrated")]["status"]["loadBalancer"]["ingress"][0];
    assert_eq!(*entry, json!({"ip": "192.0.2.10", "ipMode": "Proxy"}));
    world.forge("held", "k3s", json!([]));
    world.settle();
    assert_eq!(world.shown("held"), ["192.0.2.10"], "the other has given up");
}

#[test]
fn what_lapsed_is_taken_off_and_what_others_wrote_stays() {
    let mut world = served();
    world.change(&key("web"), |mut object| {
        let body = json!({"metadata": {"finalizers": [FINALIZER]}});
        ssa::apply(&mut object, "cloud", &body, false).expect("applied");
        object
    });
    world.lapse("web");
    world.settle();
    assert!(world.is_guarded("web"), "another's finalizer is not ours to take off");
    assert!(world.shown("web").is_empty());
    assert!(world.reports.lapsed.is_empty(), "it was not said that it is clean");
}

#[test]
fn a_deleted_service_goes_with_our_finalizer_and_not_before() {
    let mut world = served();
    world.delete("web");
    world.reports.services.remove(&key("web"));
    world.reports.kept.insert(key("web"));
    world.tell_reports();
    world.settle();
    assert!(world.objects.contains_key(&key("web")), "it still holds its address");
    world.reports.kept.clear();
    world.reports.lapsed.insert(key("web"), "u1".into());
    world.tell_reports();
    world.settle();
    assert!(world.objects.is_empty() && world.reports.lapsed.is_empty());
}

/// The disk was lost with all that was owed: what is seen of ours on an object that is none of ours.
#[test]
fn what_nobody_owes_is_taken_off_where_it_is_seen() {
    let mut world = served();
    world.delete("web");
    world.reports.services.clear();
    let complete = std::mem::take(&mut world.reports.complete);
    world.restart();
    world.settle();
    assert!(world.objects.contains_key(&key("web")), "not before it is known who holds what");
    world.reports.complete = complete;
    world.tell_reports();
    world.settle();
    assert!(world.objects.is_empty());
}

#[test]
fn another_object_of_the_same_name_is_not_taken_for_the_one_that_lapsed() {
    let mut world = served();
    world.objects.clear();
    world.untold.clear();
    world.create("web", "u2");
    world.lapse("web");
    world.settle();
    assert!(world.reports.lapsed.is_empty(), "the old one is gone");
    assert_eq!(world.objects[&key("web")]["metadata"]["uid"], "u2");
    world.say("web", report("u1", Some("192.0.2.10"), "Allocated"));
    world.settle();
    assert!(world.shown("web").is_empty(), "the report is about another object");
}

#[test]
fn with_the_api_away_nothing_is_sent_but_rarely() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.create(name, name);
        world.say(name, report(name, Some("192.0.2.10"), "Allocated"));
    }
    world.watch();
    let mut tries = 0;
    for _ in 0..600 {
        while let Some((ticket, _)) = world.desk.poll_request(world.now()) {
            tries += 1;
            let lost = Answer::of(&Failure::Unreachable("no route".to_owned()));
            let now = world.now();
            world.desk.handle_answer(ticket, lost, now);
        }
        world.seconds += 1;
    }
    assert!((15..=40).contains(&tries), "{tries} in ten minutes");
    assert!(world.desk.problems()[0].1.contains("no route"));
    world.seconds += 60;
    world.settle();
    assert_eq!(world.desk.problems(), []);
    assert!(["a", "b", "c"].iter().all(|name| world.is_guarded(name)));
}

/// A server that drops what it does not know (`ipMode` before 1.29) is not written to for ever.
#[test]
fn a_server_that_takes_it_otherwise_is_told_once() {
    let mut world = World::new();
    world.create("web", "u1");
    world.say("web", report("u1", Some("192.0.2.10"), "Allocated"));
    let mut sent = 0;
    for _ in 0..100 {
        world.watch();
        let now = world.now();
        while let Some((ticket, mut sending)) = world.desk.poll_request(now) {
            if let Sending::Apply { body, .. } = &mut sending {
                sent += 1;
                let entry = &mut body["status"]["loadBalancer"]["ingress"][0];
                entry.as_object_mut().expect("an entry").remove("ipMode");
            }
            let answer = world.answer(&sending);
            world.desk.handle_answer(ticket, answer, now);
        }
        world.seconds += 10;
    }
    assert_eq!(sent, 1);
}

/// A tenant who takes the finalizer off again and again, as fast as it is put there.
#[test]
fn an_object_that_is_undone_for_ever_is_written_now_and_then() {
    let mut world = served();
    let before = world.requests;
    for _ in 0..600 {
        world.change(&key("web"), |mut object| {
            object["metadata"]["finalizers"] = json!([]);
            object
        });
        world.watch();
        while world.step() {
            world.watch();
        }
        world.seconds += 1;
    }
    let sent = world.requests - before;
    assert!((250..=320).contains(&sent), "{sent} in ten minutes");
}

/// Found by the property: what is seen without anything of ours may be the past of an apply that was
/// carried out and never answered.
#[test]
fn a_service_that_lapses_after_an_apply_that_nobody_heard_of_is_cleaned() {
    let mut world = World::new();
    world.create("web", "u1");
    world.say("web", report("u1", Some("192.0.2.10"), "Allocated"));
    world.watch();
    world.step_unheard(true);
    world.lapse("web");
    world.settle();
    assert!(!world.is_guarded("web") && world.reports.lapsed.is_empty());
}

/// Found by the property: the speaker may say so between two looks of the desk.
#[test]
fn a_service_that_lapses_again_is_cleaned_again() {
    let mut world = served();
    for _ in 0..2 {
        world.lapse("web");
        world.settle();
        assert!(world.reports.lapsed.is_empty());
        world.reports.lapsed.insert(key("web"), "u1".into());
        world.tell_reports();
        world.settle();
        assert!(world.reports.lapsed.is_empty(), "it is told once only");
        world.say("web", report("u1", Some("192.0.2.10"), "Allocated"));
        world.settle();
    }
}
