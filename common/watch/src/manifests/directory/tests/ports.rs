//! A node port belongs to one Service of a source.

use super::*;

/// A Service with a node port of its own choice.
fn at(name: &str, node_port: u16) -> String {
    service(name, 80).replace("30080", &node_port.to_string())
}

/// `a=30080 b=30081`.
fn held(dir: &mut Dir) -> String {
    let view = dir.view();
    let shown = |service: &Arc<roadstead_model::object::Service>| {
        let port = service.ports.first().and_then(|port| port.node_port).unwrap_or(0);
        format!("{}={port}", service.key.name)
    };
    view.services.values().map(shown).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_first_has_it_and_the_second_is_refused() {
    let mut dir = Dir::with(&[("a.yaml", &at("a", 30080)), ("b.yaml", &at("b", 30080))]);
    assert_eq!(held(&mut dir), "a=30080");
    assert_eq!(
        dir.errors(),
        [
            "/m/b.yaml:1: Service default/b: node port TCP 30080 is taken by Service default/a in /m/a.yaml:1"
        ]
    );
    assert_eq!(dir.view().refused.keys().collect::<Vec<_>>(), [&key("b")]);
    dir.directory.handle_removed(&path("a.yaml"));
    assert_eq!(held(&mut dir), "b=30080");
    assert_eq!(dir.errors(), Vec::<String>::new());
}

#[test]
fn an_edit_takes_no_other_service_out() {
    let mut dir = Dir::with(&[("a.yaml", &at("a", 30080)), ("b.yaml", &at("b", 30081))]);
    dir.write("a.yaml", &at("a", 30081));
    assert_eq!(held(&mut dir), "a=30080 b=30081");
    assert_eq!(dir.errors().len(), 1);
    // It stays so however often it is looked at, and ends when the other lets go.
    dir.write("c.yaml", &at("c", 30082));
    assert_eq!(held(&mut dir), "a=30080 b=30081 c=30082");
    dir.write("b.yaml", &at("b", 30083));
    assert_eq!(held(&mut dir), "a=30081 b=30083 c=30082");
    assert_eq!(dir.errors(), Vec::<String>::new());
}

#[test]
fn two_may_swap() {
    let mut dir = Dir::with(&[("a.yaml", &(at("a", 30080) + &at("b", 30081)))]);
    dir.write("a.yaml", &(at("a", 30081) + &at("b", 30080)));
    assert_eq!(held(&mut dir), "a=30081 b=30080");
}

#[test]
fn protocols_are_apart_and_other_types_and_health_checks_count() {
    let udp = at("u", 30080).replace("port: 80,", "port: 80, protocol: UDP,");
    let mut dir = Dir::with(&[("a.yaml", &(at("a", 30080) + &udp))]);
    assert_eq!(held(&mut dir), "a=30080 u=30080");
    let other = at("n", 30081).replace("LoadBalancer", "NodePort");
    let health = at("h", 30082)
        .replace("spec: {", "spec: {externalTrafficPolicy: Local, healthCheckNodePort: 30081, ");
    dir.write("b.yaml", &(other + &health));
    assert_eq!(held(&mut dir), "a=30080 u=30080");
    assert_eq!(
        dir.errors(),
        [
            "/m/b.yaml:6: Service default/h: node port TCP 30081 is taken by Service default/n in /m/b.yaml:1"
        ]
    );
}
