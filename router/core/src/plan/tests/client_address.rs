//! What full NAT takes from a Service is told.

use std::time::Duration;

use super::*;

/// The condition `ClientAddressPreserved` of `web` after an edit, where there is one.
fn told(edit: impl FnOnce(&mut roadstead_model::object::Service)) -> Option<String> {
    let mut world = serving_web(1);
    world.edit_service("web", edit);
    let plan = world.plan();
    let status = status(&world.inputs(), &plan);
    let mut conditions = status.services[0].conditions.iter();
    let condition = conditions.find(|condition| condition.kind == "ClientAddressPreserved")?;
    assert_eq!(condition.reason, "Nat");
    Some(condition.message.clone())
}

#[test]
fn policy_local_and_affinity_are_told_that_kube_proxy_sees_the_edge_host() {
    let local = "pods see an address of this edge host";
    let affinity = "may send all clients to one pod";
    assert_eq!(told(|_| {}), None);
    let message = told(|web| web.traffic_policy = TrafficPolicy::Local).unwrap();
    assert!(message.contains(local) && !message.contains(affinity), "{message}");
    let message = told(|web| web.affinity = Some(Duration::from_secs(10_800))).unwrap();
    assert!(!message.contains(local) && message.contains(affinity), "{message}");
    let both = told(|web| {
        web.traffic_policy = TrafficPolicy::Local;
        web.affinity = Some(Duration::from_secs(10_800));
    });
    let message = both.unwrap();
    assert!(message.contains(local) && message.contains(affinity), "{message}");
}
