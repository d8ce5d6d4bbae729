//! MetalLB's annotations, old and new: which of them counts, and what contradicts what.

use roadstead_model::object::AddressRequest;

use super::*;

/// The request of a Service with these annotations and this beside `type` in its spec, and what is
/// told of it.
fn request(annotations: &str, spec: &str) -> (Option<AddressRequest>, Vec<String>) {
    let text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, annotations: {{{annotations}}}}}\nspec: {{type: LoadBalancer, ports: [{{port: 80, nodePort: 30080}}]{spec}}}\n"
    );
    let parsed = parse(&text);
    let told = parsed.problems.iter().map(|problem| problem.message.clone()).collect();
    let request = parsed.items.first().and_then(|item| match &item.content {
        Content::Good(Object::Service(service)) => Some(service.request.clone()),
        _ => None,
    });
    (request, told)
}

fn addresses(annotations: &str, spec: &str) -> Vec<String> {
    let (request, told) = request(annotations, spec);
    let request = request.unwrap_or_else(|| panic!("refused: {told:?}"));
    request.addresses.iter().map(ToString::to_string).collect()
}

const NEW: &str = "metallb.io/loadBalancerIPs: ";
const OLD: &str = "metallb.universe.tf/loadBalancerIPs: ";

#[test]
fn every_annotation_is_read_under_its_new_and_its_old_name() {
    for prefix in ["metallb.io", "metallb.universe.tf"] {
        let all = format!(
            "{prefix}/address-pool: lan, {prefix}/allow-shared-ip: key, {prefix}/loadBalancerIPs: '192.0.2.1, 2001:db8::1'"
        );
        let (request, told) = request(&all, "");
        let request = request.expect("good");
        assert_eq!(request.pool.as_deref(), Some("lan"));
        assert_eq!(request.sharing_key.as_deref(), Some("key"));
        let shown: Vec<_> = request.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.0.2.1", "2001:db8::1"]);
        let deprecated = told.iter().filter(|text| text.contains("is deprecated")).count();
        assert_eq!(deprecated, if prefix == "metallb.io" { 0 } else { 3 }, "{told:?}");
    }
}

#[test]
fn a_deprecated_annotation_is_a_warning_of_the_service() {
    let text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, annotations: {{{OLD}192.0.2.1}}}}\nspec: {{type: LoadBalancer, ports: [{{port: 80, nodePort: 30080}}]}}\n"
    );
    let parsed = parse(&text);
    let Content::Good(Object::Service(service)) = &parsed.items[0].content else { panic!("good") };
    let words =
        "metallb.universe.tf/loadBalancerIPs is deprecated; metallb.io/loadBalancerIPs is read too";
    assert!(service.warnings[0].contains(words), "{:?}", service.warnings);
}

#[test]
fn the_new_name_wins_even_when_it_is_empty_and_ours_over_both() {
    assert_eq!(addresses(&format!("{OLD}192.0.2.1, {NEW}192.0.2.2"), ""), ["192.0.2.2"]);
    assert!(addresses(&format!("{OLD}192.0.2.1, {NEW}''"), "").is_empty());
    let ours = "roadstead.io/addresses: 192.0.2.3, ";
    assert_eq!(addresses(&format!("{ours}{OLD}192.0.2.1, {NEW}192.0.2.2"), ""), ["192.0.2.3"]);
}

#[test]
fn an_annotation_of_metallbs_and_the_field_exclude_each_other() {
    let field = ", loadBalancerIP: 192.0.2.9";
    assert_eq!(addresses("", field), ["192.0.2.9"]);
    assert_eq!(addresses(&format!("{NEW}192.0.2.9"), field), ["192.0.2.9"], "they agree");
    assert_eq!(addresses(&format!("{NEW}''"), field), ["192.0.2.9"], "one says nothing");
    assert_eq!(addresses("roadstead.io/addresses: 192.0.2.3", field), ["192.0.2.3"], "ours wins");
    for annotation in [NEW, OLD] {
        let (request, told) = request(&format!("{annotation}192.0.2.1"), field);
        assert_eq!(request, None, "refused: who has an address keeps it");
        let words = "spec.loadBalancerIP: an annotation of MetalLB's asks for another address";
        assert!(told.iter().any(|text| text.contains(words)), "{told:?}");
    }
}

#[test]
fn what_metallb_writes_is_not_read() {
    let (request, told) = request("metallb.io/ip-allocated-from-pool: lan", "");
    assert_eq!((request, told), (Some(AddressRequest::default()), Vec::new()));
}
