//! Reports of a control whose Services come from a cluster, over deletions, refusals and crashes.

use std::fs;

use roadstead_model::{
    Protocol,
    object::{AddressRequest, TrafficPolicy},
    report::IpMode,
};

use super::*;
use crate::control::tests::Machine;

const CLUSTER: &str =
    "[[source]]\nname = \"home\"\nkubeconfig = \"/etc/roadstead/home.kubeconfig\"\n";

/// A machine whose Services are those of the cluster `home`.
fn machine(config: &str) -> Machine {
    let mut machine = Machine::configured(&format!("{CLUSTER}{config}"));
    machine.snapshot.sources.insert(home(), SourceState::Current);
    machine
}

fn home() -> SourceName {
    SourceName::new("home")
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new(&home(), "default", name)
}

fn service(name: &str, uid: &str) -> Service {
    let template = crate::control::tests::service(name);
    Service { key: key(name), uid: Some(uid.into()), ..template }
}

fn put(machine: &mut Machine, service: Service) {
    machine.snapshot.services.insert(service.key.clone(), Arc::new(service));
}

fn owed(machine: &Machine) -> String {
    fs::read_to_string(machine.state().join("owed.json")).unwrap_or_default()
}

#[test]
fn a_service_is_reported_with_its_addresses_ports_and_conditions() {
    let mut machine = machine("");
    let mut web = service("web", "u1");
    let port =
        |port, protocol, node_port| ServicePort { name: "".into(), protocol, port, node_port };
    web.ports = vec![
        port(80, Protocol::Tcp, Some(30080)),
        port(9000, Protocol::Sctp, Some(30900)),
        port(443, Protocol::Tcp, None),
    ];
    web.traffic_policy = TrafficPolicy::Local;
    put(&mut machine, web);
    machine.settle();
    let reports = machine.reports();
    assert!(reports.complete.contains(&home()));
    let report = &reports.services[&key("web")];
    assert_eq!((report.uid.as_deref(), report.holds), (Some("u1"), true));
    let ingress = &report.ingress[0];
    assert_eq!(
        (ingress.address.to_string(), ingress.ip_mode),
        ("192.0.2.10".into(), IpMode::Proxy)
    );
    let errors: Vec<_> =
        ingress.ports.iter().map(|port| (port.port, port.error.as_deref())).collect();
    assert_eq!(errors, [(80, None), (9000, Some("SctpNotServed")), (443, Some("NoNodePort"))]);
    let kinds: Vec<_> = report.conditions.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(kinds, ["Allocated", "Announced", "ClientAddressPreserved"]);
}

#[test]
fn a_port_of_an_address_that_is_shared_says_who_is_in_the_way() {
    let mut machine = machine("");
    for (name, port) in [("a", 80), ("b", 80)] {
        let mut shared = service(name, name);
        shared.request = AddressRequest {
            addresses: vec!["192.0.2.10".parse().unwrap()],
            sharing_key: Some("front".into()),
            ..AddressRequest::default()
        };
        shared.ports[0].port = port;
        let free =
            ServicePort { port: if name == "a" { 81 } else { 82 }, ..shared.ports[0].clone() };
        shared.ports.push(free);
        put(&mut machine, shared);
        machine.settle();
    }
    let reports = machine.reports();
    let refused =
        reports.services[&key("b")].conditions.iter().any(|it| it.reason == "PortConflict");
    assert!(refused, "{:?}", reports.services[&key("b")]);
}

#[test]
fn the_address_mode_is_the_operators() {
    let mut machine = machine("[speaker]\nip_mode = \"vip\"\n");
    put(&mut machine, service("web", "u1"));
    machine.settle();
    assert_eq!(machine.reports().services[&key("web")].ingress[0].ip_mode, IpMode::Vip);
}

#[test]
fn nothing_is_said_of_directories_of_clusters_that_are_read_only_and_of_others_services() {
    let mut machine = machine("report = false\n");
    put(&mut machine, service("web", "u1"));
    machine.settle();
    assert_eq!(machine.reports(), Arc::default());
    assert_eq!(owed(&machine), "");

    let mut machine = self::machine("");
    put(&mut machine, Service { class: Some("example.com/other".into()), ..service("web", "u1") });
    machine.toggle("in-a-directory");
    machine.settle();
    assert!(machine.reports().services.is_empty());
}

#[test]
fn before_a_source_is_read_nothing_is_known_of_it() {
    let mut machine = machine("");
    machine.snapshot.sources.insert(home(), SourceState::Unread);
    machine.settle();
    assert!(machine.reports().complete.is_empty());
}

/// K1: an address is given at once, and announced when the finalizer is there.
#[test]
fn an_address_is_reported_before_it_is_announced() {
    let mut machine = machine("");
    put(&mut machine, Service { guarded: false, ..service("web", "u1") });
    machine.settle();
    let report = machine.reports().services[&key("web")].clone();
    assert!(report.holds && !report.ingress.is_empty());
    let announced = report.conditions.iter().find(|it| it.kind == "Announced").unwrap();
    assert_eq!(announced.reason, "FinalizerPending");
    assert!(owed(&machine).contains("home/default/web"), "{}", owed(&machine));
    put(&mut machine, service("web", "u1"));
    machine.settle();
    let report = machine.reports().services[&key("web")].clone();
    let announced = report.conditions.iter().find(|it| it.kind == "Announced").unwrap();
    assert_eq!(announced.reason, "Probed");
}

/// What is owed is on the disk before a word is said; a disk that refuses holds the word back.
#[test]
fn a_disk_that_refuses_holds_back_what_is_new() {
    let mut machine = machine("");
    machine.settle();
    machine.refuse(true);
    put(&mut machine, service("web", "u1"));
    machine.settle();
    assert!(machine.reports().services.is_empty());
    machine.refuse(false);
    machine.settle();
    assert!(machine.reports().services.contains_key(&key("web")));
}

/// K2 at every moment: whenever the speaker is killed, what it wrote to is remembered until the API
/// server has confirmed that it is clean, and lapses only when nothing is held any more.
#[test]
fn a_service_lapses_when_it_is_silent_and_until_it_is_clean_over_any_crash() {
    for crash_at in 0..6 {
        let mut machine = machine("");
        put(&mut machine, service("web", "u1"));
        let mut step = 0;
        let mut go_on = |machine: &mut Machine| {
            if step == crash_at {
                machine.start();
            }
            step += 1;
            machine.step();
            let reports = machine.reports();
            let held = !machine.assignments().services.is_empty();
            assert!(!held || reports.lapsed.is_empty(), "it lapses while it holds: {reports:?}");
        };
        (0..3).for_each(|_| go_on(&mut machine));
        machine.snapshot.services.clear();
        (0..4).for_each(|_| go_on(&mut machine));
        let reports = machine.reports();
        assert_eq!(reports.lapsed.get(&key("web")).map(AsRef::as_ref), Some("u1"), "{crash_at}");
        let cleaned = Cleaned { service: key("web"), uid: "u1".into() };
        machine.control().note_cleaned(&cleaned);
        machine.settle();
        machine.start();
        machine.settle();
        assert!(machine.reports().lapsed.is_empty(), "{crash_at}: it lapses for ever");
    }
}

/// A class that is not ours any more, and a type that is none of a load balancer's.
#[test]
fn a_service_that_is_given_away_lapses() {
    let mut machine = machine("");
    put(&mut machine, service("web", "u1"));
    machine.settle();
    put(&mut machine, Service { class: Some("example.com/other".into()), ..service("web", "u1") });
    machine.settle();
    machine.settle();
    assert!(machine.reports().lapsed.contains_key(&key("web")), "{:?}", machine.reports());
    put(&mut machine, service("web", "u2"));
    machine.settle();
    let reports = machine.reports();
    assert!(reports.lapsed.is_empty() && reports.services.contains_key(&key("web")));
}

#[test]
fn what_a_doubtful_source_does_not_show_is_not_touched() {
    let mut machine = machine("");
    put(&mut machine, service("web", "u1"));
    machine.settle();
    machine.snapshot.services.clear();
    machine.snapshot.sources.insert(home(), SourceState::Doubtful { reason: "empty".into() });
    machine.settle();
    let reports = machine.reports();
    assert!(reports.kept.contains(&key("web")) && reports.lapsed.is_empty(), "{reports:?}");
}
