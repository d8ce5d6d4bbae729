//! The merge, the contract's JSON, the exit status, the text.

use roadstead_model::{Location, local::BackendState};
use serde_json::{Value, json};

use super::*;
use crate::{
    daemons::Heard,
    fixtures::{answers, backend, fails, router, source, speaker, web},
};

fn merged() -> Status {
    Status::of(&answers(speaker(), router()))
}

fn as_json(status: &Status) -> Value {
    serde_json::to_value(status).expect("JSON")
}

#[test]
fn the_json_is_as_the_contract_spells_it() {
    let json = as_json(&merged());
    let backend = |node: &str| {
        json!({"node": node, "address": "198.51.100.5", "port": 30080, "state": "healthy",
               "weight": 1, "reason": ""})
    };
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message});
    assert_eq!(
        json["services"],
        json!([{
            "cluster": "local",
            "namespace": "default",
            "name": "web",
            "addresses": ["192.0.2.10"],
            "announced": [{"address": "192.0.2.10", "by": "l2", "interface": "eth0"}],
            "ports": [{"protocol": "TCP", "port": 80, "backends": [backend("n1"), backend("n2")]}],
            "conditions": [
                condition("Allocated", "Allocated", "192.0.2.10 from pool `lan`"),
                condition("Announced", "Probed", "192.0.2.10 is announced on eth0"),
                condition("Programmed", "Programmed", ""),
                condition("BackendsHealthy", "Probed", "2 of 2 backends pass their probes"),
            ],
        }])
    );
    assert_eq!(json["ingresses"], json!([]));
    assert_eq!(json["gateways"], json!([]));
    let daemon = &json["daemons"][0];
    assert_eq!(
        (&daemon["name"], &daemon["version"], &daemon["ready"], &daemon["generation"]),
        (&json!("speaker"), &json!("0.1.0"), &json!(true), &json!(42))
    );
    assert_eq!(json["daemons"][1]["name"], "router");
}

#[test]
fn yaml_says_the_same_as_json() {
    let status = merged();
    let yaml = serde_saphyr::to_string(&status).expect("YAML");
    let read: Value = serde_saphyr::from_str(&yaml).expect("read back");
    assert_eq!(read, as_json(&status));
}

#[test]
fn services_of_either_daemon_are_there_once_and_in_order() {
    let mut told = speaker();
    let mut other = told.services[0].clone();
    other.service = ServiceKey::new(&source(), "default", "api");
    told.services.push(other);
    let mut programmed = router();
    programmed.services[0].service = ServiceKey::new(&source(), "default", "old");
    let status = Status::of(&answers(told, programmed));
    let names: Vec<&str> = status.services.iter().map(|service| &*service.name).collect();
    assert_eq!(names, ["api", "old", "web"]);
    assert!(status.services[1].addresses.is_empty());
    assert_eq!(status.services[2].key(), web());
}

#[test]
fn exit_status() {
    let exit = |change: &dyn Fn(&mut SpeakerStatus, &mut RouterStatus)| {
        let (mut speaker, mut router) = (speaker(), router());
        change(&mut speaker, &mut router);
        Status::of(&answers(speaker, router)).exit()
    };
    let problem = |severity| Problem {
        location: Location::new("/m/x.yaml", 3),
        severity,
        message: "wrong".into(),
    };
    assert_eq!(exit(&|_, _| ()), Exit::Fine);
    assert_eq!(exit(&|s, _| s.problems.push(problem(Severity::Warning))), Exit::Fine);
    assert_eq!(exit(&|s, _| s.problems.push(problem(Severity::Error))), Exit::Problem);
    assert_eq!(exit(&|s, _| s.sources[0].1 = SourceState::Unread), Exit::Problem);
    let doubt = || SourceState::Doubtful { reason: "holds no manifests".into() };
    assert_eq!(exit(&|s, _| s.sources[0].1 = doubt()), Exit::Problem);
    let fresh = |s: &mut SpeakerStatus, r: &mut RouterStatus| {
        s.sources[0].1 = doubt();
        s.services.clear();
        r.services.clear();
    };
    assert_eq!(exit(&fresh), Exit::Fine, "a fresh install is not broken");
    assert_eq!(exit(&|s, _| s.daemon.ready = false), Exit::Problem);
    let no_router = fails("RouterConnected", "NoAnswer", "no answer");
    assert_eq!(exit(&|s, _| s.daemon.conditions.push(no_router.clone())), Exit::Problem);
    let exhausted = fails("Allocated", "PoolExhausted", "no free address");
    assert_eq!(exit(&|s, _| s.services[0].conditions[0] = exhausted.clone()), Exit::Problem);
    let degraded = fails("BackendsHealthy", "Panic", "0 of 2");
    assert_eq!(exit(&|_, r| r.services[0].conditions[1] = degraded.clone()), Exit::Problem);
    let nat = fails("ClientAddressPreserved", "Nat", "by design");
    assert_eq!(exit(&|_, r| r.services[0].conditions.push(nat.clone())), Exit::Fine);
}

#[test]
fn a_silent_daemon_is_told_and_the_other_is_shown() {
    let mut answers = answers(speaker(), router());
    answers.router = Heard::Silent("no daemon answers on /run/x".into());
    let status = Status::of(&answers);
    assert_eq!(status.exit(), Exit::Silent);
    assert_eq!(status.services.len(), 1);
    assert_eq!(status.daemons.len(), 1);
    assert_eq!(as_json(&status)["silent"], json!(["no daemon answers on /run/x"]));

    answers.router = Heard::NotNeeded;
    assert_eq!(Status::of(&answers).exit(), Exit::Fine);
}

#[test]
fn the_text_names_what_a_person_looks_for() {
    let text = text::shown(&merged(), false);
    for part in [
        "default/web",
        "192.0.2.10",
        "l2 on eth0",
        "80/TCP",
        "2 healthy",
        "serving",
        "Flows: 7 of 65536",
        "Dropped packets: ttl 3",
        "router 0.1.0: ready",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colour away from a terminal");
    assert!(text::shown(&merged(), true).contains("\u{1b}[32mserving"));
}

#[test]
fn the_text_says_what_is_wrong() {
    let (mut speaker, mut router) = (speaker(), router());
    speaker.services[0].conditions[1] = fails("Announced", "ConflictOnWire", "in use by aa:bb");
    speaker.drained = true;
    speaker.sources[0].1 = SourceState::Doubtful { reason: "it shrank".into() };
    speaker.problems.push(Problem::error(Location::new("/m/x.yaml", 3), "wrong"));
    router.legs[0].attached = false;
    router.legs[0].reason = "no such device".into();
    let refused = backend("n2", BackendState::Unhealthy, "refused");
    router.lists[0] = [router.lists[0][0].clone(), refused].into();
    let text = text::shown(&Status::of(&answers(speaker, router)), false);
    for part in [
        "ConflictOnWire: in use by aa:bb",
        "This host is drained",
        "Source local is in doubt, what is held stays: it shrank",
        "/m/x.yaml:3: wrong",
        "Leg eth0: the program is not attached: no such device",
        "1 healthy, 1 unhealthy",
    ] {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
}
