//! Tables: a manifest, the object it makes, the problems it has.

use std::{path::Path, time::Duration};

use roadstead_model::{
    Family, NodeKey, Protocol, ServiceKey,
    object::{Families, Service, ServicePort, SourceRanges, TrafficPolicy},
};

use super::*;
use crate::manifests::parse_file;

mod health_check;
mod lists;
mod metallb;
mod problems;
mod random;

/// A file's text as it was read from `/m/a.yaml` of the source `local`.
fn parse(text: &str) -> Parsed {
    parse_file(&SourceName::new("local"), Path::new("/m/a.yaml"), text)
}

/// `E 3: message`, `W …`, `N …`.
fn told(parsed: &Parsed) -> Vec<String> {
    let told = |problem: &Problem| {
        let severity = match problem.severity {
            Severity::Error => 'E',
            Severity::Warning => 'W',
            Severity::Notice => 'N',
        };
        format!("{severity} {}: {}", problem.location.line, problem.message)
    };
    parsed.problems.iter().map(told).collect()
}

/// The only object of a text that has no problems.
fn object(text: &str) -> Object {
    let parsed = parse(text);
    assert_eq!(told(&parsed), Vec::<String>::new(), "{text}");
    only(parsed, text)
}

fn only(parsed: Parsed, text: &str) -> Object {
    match parsed.items.as_slice() {
        [Item { content: Content::Good(object), .. }] => object.clone(),
        other => panic!("one good object wanted, not {other:?}, of {text}"),
    }
}

fn service(text: &str) -> Service {
    match object(text) {
        Object::Service(service) => Service::clone(&service),
        other => panic!("a Service wanted, not {other:?}"),
    }
}

/// A Service of which only `spec` is of interest; `spec` begins in line 4.
fn with_spec(spec: &str) -> String {
    let mut text = String::from("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n");
    text.push_str("  type: LoadBalancer\n");
    if !spec.contains("ports:") {
        text.push_str("  ports: [{port: 80, nodePort: 30080}]\n");
    }
    text.push_str(spec);
    text
}

#[test]
fn a_short_service_gets_the_defaults_of_the_api() {
    let wanted = Service {
        key: ServiceKey::new(&SourceName::new("local"), "default", "web"),
        uid: None,
        labels: BTreeMap::new(),
        class: None,
        request: roadstead_model::object::AddressRequest::default(),
        families: Families::Single(Family::V4),
        ports: vec![ServicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: Some(30080),
        }],
        source_ranges: SourceRanges::Any,
        traffic_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        affinity: None,
        health_check: None,
        status_addresses: Vec::new(),
        guarded: true,
        warnings: Vec::new(),
    };
    assert_eq!(service(&with_spec("")), wanted);
}

#[test]
fn affinity_defaults_to_three_hours() {
    let affinity = |spec: &str| service(&with_spec(spec)).affinity;
    assert_eq!(affinity("  sessionAffinity: None\n"), None);
    assert_eq!(affinity("  sessionAffinity: ClientIP\n"), Some(Duration::from_secs(10_800)));
    let timed =
        "  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}\n";
    assert_eq!(affinity(timed), Some(Duration::from_secs(60)));
}

#[test]
fn families_follow_the_api() {
    use Family::{V4, V6};
    for (spec, wanted) in [
        ("  ipFamilies: [IPv6]\n", Families::Single(V6)),
        ("  ipFamilies: [IPv6, IPv4]\n", Families::RequireDual { first: V6 }),
        ("  ipFamilyPolicy: PreferDualStack\n", Families::PreferDual { first: V4 }),
        (
            "  ipFamilyPolicy: PreferDualStack\n  ipFamilies: [IPv6]\n",
            Families::PreferDual { first: V6 },
        ),
        ("  ipFamilyPolicy: RequireDualStack\n", Families::RequireDual { first: V4 }),
        ("  clusterIP: 2001:db8::1\n", Families::Single(V6)),
        ("  clusterIP: \"\"\n", Families::Single(V4)),
        ("  clusterIPs: [198.51.100.1, '2001:db8::1']\n", Families::RequireDual { first: V4 }),
        // A cluster with one family has settled for it.
        (
            "  ipFamilyPolicy: PreferDualStack\n  ipFamilies: [IPv4]\n  clusterIPs: [198.51.100.1]\n",
            Families::Single(V4),
        ),
        (
            "  ipFamilyPolicy: PreferDualStack\n  ipFamilies: [IPv6, IPv4]\n  clusterIPs: ['2001:db8::1', 198.51.100.1]\n",
            Families::PreferDual { first: V6 },
        ),
    ] {
        assert_eq!(service(&with_spec(spec)).families, wanted, "{spec}");
    }
}

#[test]
fn source_ranges_come_from_the_field_or_else_from_the_annotation() {
    let annotated = |annotation: &str, spec: &str| {
        let text = with_spec(spec).replace(
            "{name: web}",
            &format!("{{name: web, annotations: {{service.beta.kubernetes.io/load-balancer-source-ranges: '{annotation}'}}}}"),
        );
        service(&text).source_ranges
    };
    let only = |ranges: &[&str]| {
        SourceRanges::Only(ranges.iter().map(|range| range.parse().expect("a range")).collect())
    };
    assert_eq!(
        annotated(" 203.0.113.0/24 , 2001:db8::/48", ""),
        only(&["203.0.113.0/24", "2001:db8::/48"])
    );
    assert_eq!(annotated("", ""), SourceRanges::Any);
    assert_eq!(annotated("  ", "  loadBalancerSourceRanges: []\n"), SourceRanges::Any);
    assert_eq!(
        annotated("203.0.113.0/24", "  loadBalancerSourceRanges: [192.0.2.77/24, 192.0.2.0/24]\n"),
        only(&["192.0.2.0/24"]),
    );
}

#[test]
fn annotations_of_ours_win_and_others_are_read() {
    let request = |annotations: &str| {
        let text = with_spec("  loadBalancerIP: 192.0.2.99\n")
            .replace("{name: web}", &format!("{{name: web, annotations: {{{annotations}}}}}"));
        let parsed = parse(&text);
        let told = told(&parsed);
        match only(parsed, &text) {
            Object::Service(service) => (service.request.clone(), told),
            other => panic!("a Service wanted, not {other:?}"),
        }
    };
    let addresses = |annotations: &str| {
        let (request, told) = request(annotations);
        (
            request.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            told.len(),
        )
    };
    assert_eq!(addresses(""), ("192.0.2.99".to_owned(), 0));
    assert_eq!(addresses("roadstead.io/addresses: 192.0.2.99"), ("192.0.2.99".to_owned(), 0));
    assert_eq!(
        addresses("roadstead.io/addresses: '192.0.2.1, 2001:db8::1'"),
        ("192.0.2.1 2001:db8::1".to_owned(), 1)
    );
    assert_eq!(addresses("metallb.io/loadBalancerIPs: 192.0.2.99"), ("192.0.2.99".to_owned(), 0));
    assert_eq!(
        addresses("metallb.io/loadBalancerIPs: 192.0.2.2, roadstead.io/addresses: 192.0.2.1"),
        ("192.0.2.1".to_owned(), 2)
    );
    // A key that is there wins even when it is empty.
    assert_eq!(
        addresses("metallb.io/loadBalancerIPs: 192.0.2.2, roadstead.io/addresses: ''"),
        (String::new(), 2)
    );
    let (all, _) = request(
        "metallb.io/address-pool: lan, roadstead.io/pool: dmz, metallb.io/allow-shared-ip: 'a b'",
    );
    assert_eq!(all.pool.as_deref(), Some("dmz"));
    assert_eq!(all.sharing_key.as_deref(), Some("a b"));
}

#[test]
fn requests_beyond_an_address() {
    let read = |annotations: &str| {
        let text = with_spec("")
            .replace("{name: web}", &format!("{{name: web, annotations: {{{annotations}}}}}"));
        let parsed = parse(&text);
        (told(&parsed), parsed, text)
    };
    let request = |annotations: &str| {
        let (told, parsed, text) = read(annotations);
        assert!(told.is_empty(), "{told:?}");
        match only(parsed, &text) {
            Object::Service(service) => service.request.clone(),
            other => panic!("a Service wanted, not {other:?}"),
        }
    };
    let several =
        request("roadstead.io/addresses: '192.0.2.1, Web.Example.ORG., 2001:db8::1, 192.0.2.2'");
    assert_eq!(several.addresses.len(), 3);
    assert_eq!(several.hosts, ["web.example.org".into()]);
    assert_eq!(request("roadstead.io/address-count: '16'").count, Some(16));
    let pools = request("roadstead.io/pool: 'dmz, lan'");
    assert_eq!(pools.pools().collect::<Vec<_>>(), ["dmz", "lan"]);
    let shared = request("roadstead.io/share-with-namespaces: 'b, a,b'").share_with.unwrap();
    assert_eq!(shared, ["a".into(), "b".into()]);
    assert_eq!(request("roadstead.io/share-with-namespaces: ''").share_with, Some(vec![]));
    assert_eq!(request("roadstead.io/reservation: front").reservation.as_deref(), Some("front"));

    for (wrong, what) in [
        ("roadstead.io/addresses: '192.0.2.256'", "192.0.2.256"),
        ("roadstead.io/addresses: banana", "banana"),
        ("roadstead.io/addresses: 'web..example.org'", "web..example.org"),
        ("roadstead.io/addresses: 'a.example.org, A.example.org'", "a.example.org is there twice"),
        ("roadstead.io/addresses: 'a.org,b.org,c.org,d.org,e.org'", "4 host names"),
        ("roadstead.io/address-count: '0'", "from 1 to 16"),
        ("roadstead.io/address-count: '17'", "from 1 to 16"),
        ("roadstead.io/address-count: two", "`two`"),
        ("roadstead.io/share-with-namespaces: 'a, B'", "`B` is not the name of a namespace"),
        ("roadstead.io/reservation: ''", "1 to 63"),
        ("roadstead.io/reservation: 'a/b'", "`a/b`"),
    ] {
        let (told, parsed, _) = read(wrong);
        assert!(told.iter().any(|line| line.contains(what)), "{what} is not told of in {told:?}");
        let is_good = |item: &Item| matches!(item.content, Content::Good(_));
        assert!(!parsed.items.iter().any(is_good), "{wrong} is used");
    }
}

#[test]
fn ten_thousand_annotations_leave_nothing_behind() {
    let many: String =
        (0..10_000).map(|i| format!("    example.com/a{i}: {}\n", "x".repeat(100))).collect();
    let text = with_spec("").replace(
        " {name: web}",
        &format!("\n    name: web\n    annotations:\n{}", many.replace("    ", "      ")),
    );
    assert_eq!(service(&text), service(&with_spec("")));
}

#[test]
fn a_service_of_another_type_keeps_its_node_ports_only() {
    let text = with_spec("").replace("LoadBalancer", "NodePort");
    assert_eq!(object(&text), Object::OtherService(vec![(Protocol::Tcp, 30080)]));
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: db}\nspec: {clusterIP: None, selector: {app: db}}\n";
    assert_eq!(object(text), Object::OtherService(vec![]));
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: far}\nspec: {type: ExternalName, externalName: example.com}\n";
    assert_eq!(object(text), Object::OtherService(vec![]));
}

#[test]
fn a_node_written_by_hand() {
    let text = "apiVersion: v1\nkind: Node\nmetadata: {name: n1.example.com, labels: {node.kubernetes.io/exclude-from-external-load-balancers: ''}}\nstatus:\n  addresses:\n  - {type: InternalIP, address: 192.0.2.5}\n  - {type: InternalIP, address: 192.0.2.5}\n  - {type: InternalIP, address: '2001:db8::5'}\n";
    let Object::Node(node) = object(text) else { panic!("a Node wanted") };
    assert_eq!(node.key, NodeKey::new(&SourceName::new("local"), "n1.example.com"));
    assert_eq!(node.addresses.len(), 2);
    assert!(node.ready && node.excluded);
}

#[test]
fn conditions_of_endpoints_follow_the_contract() {
    let text = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\nendpoints:\n- {addresses: [198.51.100.1]}\n- {addresses: [198.51.100.2], conditions: {ready: null}}\n- {addresses: [198.51.100.3], conditions: {ready: false}}\n- {addresses: [198.51.100.4], conditions: {ready: false, serving: true, terminating: true}, nodeName: n1}\n";
    let Object::EndpointSlice(Some(slice)) = object(text) else { panic!("a slice wanted") };
    let flags: Vec<_> =
        slice.endpoints.iter().map(|e| (e.ready, e.serving, e.terminating)).collect();
    assert_eq!(
        flags,
        [(true, true, false), (true, true, false), (false, false, false), (false, true, true)]
    );
    assert_eq!(slice.endpoints.last().and_then(|e| e.node.as_deref()), Some("n1"));
    assert_eq!(slice.service, ServiceKey::new(&SourceName::new("local"), "default", "web"));
}
