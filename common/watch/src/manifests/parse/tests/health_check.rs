//! `roadstead.io/health-check` and what belongs to it.

use roadstead_model::object::{HealthCheck, HealthProtocol};

use super::*;

fn annotated(annotations: &[&str]) -> String {
    let lines: String =
        annotations.iter().map(|line| format!("    roadstead.io/{line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  annotations:\n{lines}spec: {{type: LoadBalancer, ports: [\
         {{name: http, port: 80, nodePort: 30080}}, {{name: dns, port: 53, protocol: UDP, nodePort: 30053}}]}}\n"
    )
}

/// A Service that is served although something is told of it.
fn served(annotations: &[&str]) -> Service {
    let text = annotated(annotations);
    match only(parse(&text), &text) {
        Object::Service(service) => Service::clone(&service),
        other => panic!("a Service wanted, not {other:?}"),
    }
}

fn check(annotations: &[&str]) -> Option<HealthCheck> {
    served(annotations).health_check.map(|check| HealthCheck::clone(&check))
}

/// The warnings that a Service is served with, probed by TCP meanwhile.
fn warnings(annotations: &[&str]) -> Vec<String> {
    let service = served(annotations);
    assert_eq!(service.health_check, None, "{annotations:?}");
    service.warnings
}

#[test]
fn every_protocol_has_its_defaults() {
    let of = |protocol| Some(HealthCheck { protocol, path: "/".into(), host: None, port: None });
    assert_eq!(check(&["health-check: http"]), of(HealthProtocol::Http));
    assert_eq!(check(&["health-check: https"]), of(HealthProtocol::Https));
    assert_eq!(check(&["health-check: grpc"]), of(HealthProtocol::Grpc));
    assert_eq!(check(&["health-check: tcp"]), None);
    assert_eq!(check(&["pool: lan"]), None);
}

#[test]
fn path_host_and_port_are_read() {
    let all = |port: &str| {
        let port = format!("health-check-port: {port}");
        let path = "health-check-path: /ready?full=1";
        check(&["health-check: https", path, "health-check-host: web.example", &port])
    };
    let wanted = HealthCheck {
        protocol: HealthProtocol::Https,
        path: "/ready?full=1".into(),
        host: Some("web.example".into()),
        port: Some(80),
    };
    assert_eq!(all("http"), Some(wanted.clone()));
    assert_eq!(all("\"80\""), Some(wanted));
}

#[test]
fn what_is_wrong_is_told_and_tcp_is_asked_meanwhile() {
    let meanwhile = "; the ports are probed by TCP meanwhile";
    let wrong = |line: &str, message: &str| {
        let key = line.split_once(':').map(|(key, _)| key).unwrap_or_default();
        let annotations: &[&str] =
            if key == "health-check" { &[line] } else { &["health-check: http", line] };
        let said = warnings(annotations);
        assert_eq!(said, [format!("annotation roadstead.io/{key}: {message}{meanwhile}")]);
    };
    wrong("health-check: htpp", "`htpp` is none of tcp, http, https and grpc");
    wrong("health-check-path: healthz", "`healthz` is no path; `/healthz` or the like would be");
    let injected = "health-check-path: \"/ HTTP/1.1\\r\\nX: y\"";
    assert_eq!(warnings(&["health-check: http", injected]).len(), 1, "no line is begun");
    wrong("health-check-host: Web_1", "`Web_1` is neither a name in small letters nor an address");
    let right = "neither the name nor the number of a TCP port in spec.ports";
    wrong("health-check-port: dns", &format!("`dns` is {right}"));
    wrong("health-check-port: \"53\"", &format!("`53` is {right}"));
}

#[test]
fn what_has_no_effect_is_told() {
    let alone = served(&["health-check-path: /healthz"]);
    assert_eq!(
        alone.warnings,
        [
            "annotation roadstead.io/health-check-path: has no effect without roadstead.io/health-check: http, https or grpc"
        ]
    );
    let grpc = served(&["health-check: grpc", "health-check-path: /healthz"]);
    assert!(grpc.health_check.is_some());
    assert_eq!(
        grpc.warnings,
        [
            "annotation roadstead.io/health-check-path: has no effect with roadstead.io/health-check: grpc"
        ]
    );
}
