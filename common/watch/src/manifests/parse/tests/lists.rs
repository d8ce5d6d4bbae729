//! Whole files: `kubectl` output, lists, JSON, several documents.

use super::*;

const KUBECTL: &str = include_str!("../../../../tests/fixtures/kubectl.yaml");

fn ids(parsed: &Parsed) -> Vec<String> {
    parsed.items.iter().map(|item| format!("{} {}", item.location.line, item.id)).collect()
}

#[test]
fn the_output_of_kubectl_is_read_as_it_comes() {
    let parsed = parse(KUBECTL);
    assert_eq!(told(&parsed), Vec::<String>::new());
    assert_eq!(
        ids(&parsed),
        [
            "3 Service default/kubernetes",
            "31 Service default/web",
            "116 Node n1",
            "181 EndpointSlice default/web-7xk2p",
            "233 EndpointSlice default/web-9vbnm",
        ]
    );
    let Some(Content::Good(Object::Service(web))) = parsed.items.get(1).map(|i| i.content.clone())
    else {
        panic!("a Service wanted")
    };
    assert_eq!(web.families, Families::PreferDual { first: Family::V4 });
    assert_eq!(web.traffic_policy, TrafficPolicy::Local);
    assert_eq!(web.health_check_node_port, Some(31999));
    assert_eq!(web.affinity, Some(Duration::from_secs(600)));
    assert_eq!(web.request.addresses.len(), 2);
    assert_eq!(web.status_addresses, ["192.0.2.17".parse::<std::net::IpAddr>().expect("one")]);
    assert_eq!(web.ports.len(), 2);
    let Some(Content::Good(Object::Node(node))) = parsed.items.get(2).map(|i| i.content.clone())
    else {
        panic!("a Node wanted")
    };
    assert!(!node.ready && !node.excluded);
    assert_eq!(node.addresses.len(), 2);
}

#[test]
fn json_is_read_like_yaml_with_lines() {
    let text = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"ServiceList\",\n\t\"items\": [\n\t\t{\"metadata\": {\"name\": \"web\"},\n\t\t \"spec\": {\"type\": \"LoadBalancer\",\n\t\t  \"ports\": [{\"port\": 80, \"nodePort\": 30080}],\n\t\t  \"sesionAffinity\": \"None\"}}\n\t]\n}\n";
    let parsed = parse(text);
    assert_eq!(
        told(&parsed),
        [
            "W 8: Service default/web: spec.sesionAffinity: no such field; did you mean sessionAffinity?"
        ]
    );
    assert_eq!(ids(&parsed), ["5 Service default/web"]);
}

#[test]
fn items_of_a_typed_list_need_no_type_of_their_own() {
    let text = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSliceList\nmetadata: {}\nitems:\n- metadata: {name: a, labels: {kubernetes.io/service-name: web}}\n  addressType: IPv4\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: b}\n";
    let parsed = parse(text);
    assert_eq!(told(&parsed), Vec::<String>::new());
    assert_eq!(ids(&parsed), ["5 EndpointSlice default/a", "7 Namespace b"]);
}

#[test]
fn documents_empty_or_not_and_lists_in_lists() {
    let text = "# a comment\n---\n---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n...\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items:\n  - {apiVersion: v1, kind: Namespace, metadata: {name: b}}\n- null\n---\n";
    let parsed = parse(text);
    assert_eq!(told(&parsed), Vec::<String>::new());
    assert_eq!(ids(&parsed), ["4 Namespace a", "16 Namespace b"]);
    assert_eq!(parsed.reading, Reading::Whole);
}

#[test]
fn foreign_kinds_are_counted_and_passed_over() {
    let foreign = |text: &str| -> Vec<String> {
        let parsed = parse(text);
        assert_eq!(told(&parsed), Vec::<String>::new(), "{text}");
        assert_eq!(parsed.reading, Reading::Whole);
        let line = |foreign: &Foreign| {
            format!("{} {} x{}", foreign.location.line, foreign.kind, foreign.count)
        };
        parsed.foreign.iter().map(line).collect()
    };
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n---\n";
    assert_eq!(foreign(&pod.repeat(3)), ["1 Pod (v1) x3"]);
    assert_eq!(foreign("apiVersion: v1\nkind: PodList\nitems: [{}, {}]\n"), ["1 Pod (v1) x1"]);
    assert_eq!(
        foreign("apiVersion: v1\nkind: Endpoints\nmetadata: {name: p}\n"),
        ["1 Endpoints (v1) x1"]
    );
    assert_eq!(
        foreign("apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: p}\n"),
        ["1 Service (serving.knative.dev/v1) x1"]
    );
    assert_eq!(
        foreign("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: p}\n"),
        ["1 Deployment (apps/v1) x1"]
    );
}

#[test]
fn a_bad_object_does_not_cost_its_siblings() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {type: LoadBalancer}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: c}\n";
    let parsed = parse(text);
    assert_eq!(
        told(&parsed),
        ["E 8: Service default/b: spec.ports is missing; a load balancer has at least one port"]
    );
    let refused: Vec<_> =
        parsed.items.iter().map(|item| matches!(item.content, Content::Refused { .. })).collect();
    assert_eq!(refused, [false, true, false]);
    assert_eq!(parsed.reading, Reading::Whole);
}

#[test]
fn what_is_being_deleted_is_passed_over() {
    let text = with_spec("")
        .replace("{name: web}", "{name: web, deletionTimestamp: '2026-11-20T07:00:00Z'}");
    let parsed = parse(&text);
    assert_eq!(parsed.items, []);
    assert_eq!(parsed.reading, Reading::Whole);
    assert_eq!(told(&parsed).len(), 1);
}
