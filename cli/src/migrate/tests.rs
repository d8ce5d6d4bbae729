//! Clusters in files, and what would change in them.

use std::fs;

use serde_json::Value;

use super::*;
use crate::output::{Buffers, Format};

struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new(objects: &[String]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("all.yaml"), objects.join("---\n")).expect("written");
        Self { directory }
    }

    /// The exit, and what is printed.
    fn migrate(&self, format: Format, paths: &[&str]) -> (Exit, String) {
        let at = |name: &&str| self.directory.path().join(name);
        let arguments = MetalLbArguments {
            kubeconfig: None,
            namespace: "metallb-system".to_owned(),
            paths: paths.iter().map(at).collect(),
            format,
        };
        let buffers = Buffers::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let config = self.directory.path().join("roadstead.toml");
        let mut out = buffers.output();
        let exit = runtime.expect("a runtime").block_on(metallb(&arguments, &config, &mut out));
        (exit, buffers.printed())
    }

    fn text(&self) -> (Exit, String) {
        self.migrate(Format::Text, &["all.yaml"])
    }
}

fn metallbs(kind: &str, name: &str, spec: &str) -> String {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    format!(
        "apiVersion: metallb.io/{version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: metallb-system}}\nspec: {spec}\n"
    )
}

fn service(name: &str, spec: &str, address: Option<&str>) -> String {
    let ingress = address.map(|ip| format!("{{ip: {ip}}}")).unwrap_or_default();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec: {{type: LoadBalancer, ports: [{{port: 80, nodePort: 3{:04}}}]{spec}}}\nstatus: {{loadBalancer: {{ingress: [{ingress}]}}}}\n",
        name.bytes().map(usize::from).sum::<usize>()
    )
}

fn lan() -> String {
    metallbs("IPAddressPool", "lan", "{addresses: [192.0.2.0/28]}")
}

fn everywhere() -> String {
    metallbs("L2Advertisement", "all", "{}")
}

/// The line about something, and those below it.
fn about<'t>(text: &'t str, subject: &str) -> Vec<&'t str> {
    let mut lines = text.lines().skip_while(|line| !line.contains(subject));
    let first = lines.next().unwrap_or_else(|| panic!("no `{subject}` in {text}"));
    let below = lines.take_while(|line| line.starts_with("         ")).map(str::trim);
    [first.trim()].into_iter().chain(below).collect()
}

#[test]
fn a_cluster_in_which_nothing_would_change() {
    let world = World::new(&[
        lan(),
        everywhere(),
        service("a", "", Some("192.0.2.7")),
        service("b", ", loadBalancerIP: 192.0.2.3", Some("192.0.2.3")),
        service("waiting", "", None),
    ]);
    let (exit, text) = world.text();
    assert_eq!(exit, Exit::Fine, "{text}");
    assert_eq!(about(&text, "IPAddressPool lan"), ["same     IPAddressPool lan"]);
    assert_eq!(about(&text, "Service default/a"), ["same     Service default/a: 192.0.2.7"]);
    assert_eq!(
        about(&text, "Service default/waiting"),
        ["gains    Service default/waiting: none -> 192.0.2.0"]
    );
    assert!(text.ends_with("No address would change.\n"), "{text}");

    let (exit, json) = world.migrate(Format::Json, &["all.yaml"]);
    let value: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((exit, &value["changes"]), (Exit::Fine, &Value::Bool(false)));
    assert_eq!(value["objects"][0]["verdict"], "same");
    assert_eq!(value["services"][0]["after"][0], "192.0.2.7");
    assert_eq!(value["services"][2]["verdict"], "gains");
}

#[test]
fn an_address_that_no_pool_has_would_change() {
    let world = World::new(&[lan(), everywhere(), service("a", "", Some("203.0.113.9"))]);
    let (exit, text) = world.text();
    assert_eq!(exit, Exit::Problem);
    assert_eq!(
        about(&text, "Service default/a")[0],
        "CHANGES  Service default/a: 203.0.113.9 -> 192.0.2.0"
    );
    assert!(text.ends_with("1 Service would not keep its address.\n"), "{text}");
}

#[test]
fn a_service_that_would_be_refused_says_why() {
    let closed = metallbs(
        "IPAddressPool",
        "lan",
        "{addresses: [192.0.2.0/28], serviceAllocation: {namespaces: [other]}}",
    );
    let world = World::new(&[closed, everywhere(), service("a", "", Some("192.0.2.7"))]);
    let (exit, text) = world.text();
    assert_eq!(exit, Exit::Problem);
    let lines = about(&text, "Service default/a");
    assert_eq!(lines[0], "CHANGES  Service default/a: 192.0.2.7 -> none");
    assert!(lines[1].starts_with("PoolNotAllowed: "), "{lines:?}");
}

#[test]
fn what_means_something_else_here_is_told_and_changes_no_address() {
    let world = World::new(&[
        lan(),
        metallbs("IPAddressPool", "routed", "{addresses: [198.51.100.0/24], autoAssign: false}"),
        metallbs(
            "L2Advertisement",
            "some",
            "{ipAddressPools: [lan], interfaces: [no-such-leg], nodeSelectors: [{matchLabels: {rack: a}}]}",
        ),
        metallbs("BGPAdvertisement", "bgp", "{ipAddressPools: [routed]}"),
        metallbs("BGPPeer", "tor", "{myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.254}"),
        service("local", ", externalTrafficPolicy: Local", Some("192.0.2.7")),
        service("classy", ", loadBalancerClass: example.com/other", None),
    ]);
    let (exit, text) = world.text();
    assert_eq!(exit, Exit::Fine, "{text}");
    assert!(about(&text, "IPAddressPool routed")[1].contains("announced by nothing until BGP"));
    let ad = about(&text, "L2Advertisement some");
    assert!(ad[1].contains("node selectors mean nothing"), "{ad:?}");
    assert!(ad[2].contains("this host has no no-such-leg: it announces nothing here"), "{ad:?}");
    assert_eq!(about(&text, "BGPPeer tor"), ["kept     BGPPeer tor"]);
    assert!(about(&text, "Service default/local")[1].contains("not the client's"));
    assert!(about(&text, "Service default/classy")[0].starts_with("not ours"));
}

#[test]
fn a_configuration_that_is_at_fault_is_named_with_its_object() {
    let other = metallbs("IPAddressPool", "other", "{addresses: [192.0.2.8/29]}");
    let world = World::new(&[lan(), other, everywhere(), service("a", "", Some("192.0.2.7"))]);
    let (exit, text) = world.text();
    assert_eq!(exit, Exit::Problem);
    let words =
        "192.0.2.8-192.0.2.15 overlaps 192.0.2.0-192.0.2.15 of IPAddressPool metallb-system/lan";
    assert!(text.contains(words), "{text}");
    assert!(text.contains("is not known, or not to be used as it is"), "{text}");
}

#[test]
fn pools_of_our_own_configuration_are_held_against_it() {
    let world = World::new(&[lan(), everywhere(), service("a", "", Some("192.0.2.7"))]);
    let own = "[[pool]]\nname = \"file\"\naddresses = [\"192.0.2.4\"]\n";
    fs::write(world.directory.path().join("roadstead.toml"), own).expect("written");
    let (exit, text) = world.text();
    assert_eq!(exit, Exit::Problem);
    assert!(text.contains("overlaps 192.0.2.4 of pool `file`"), "{text}");
    assert!(text.contains("take it out of the [[pool]]"), "{text}");
}

#[test]
fn a_configuration_that_only_looks_on_is_asked_what_it_would_do() {
    let world = World::new(&[lan(), everywhere(), service("a", "", Some("192.0.2.7"))]);
    let own = "[speaker]\nclass_only = true\n";
    fs::write(world.directory.path().join("roadstead.toml"), own).expect("written");
    let (exit, text) = world.text();
    assert_eq!(exit, Exit::Fine, "{text}");
    assert!(text.contains("`speaker.class_only` is set"), "{text}");
}

#[test]
fn several_files_are_one_cluster() {
    let world = World::new(&[lan(), service("a", "", Some("192.0.2.7"))]);
    let peer = metallbs(
        "BGPPeer",
        "tor",
        "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.254, bfdProfile: fast}",
    );
    fs::write(world.directory.path().join("peer.yaml"), peer).expect("written");
    fs::write(world.directory.path().join("bfd.yaml"), metallbs("BFDProfile", "fast", "{}"))
        .expect("written");
    let (exit, text) = world.migrate(Format::Text, &["all.yaml", "peer.yaml", "bfd.yaml"]);
    assert_eq!(exit, Exit::Fine, "{text}");
    assert!(text.contains("BFDProfile fast"), "{text}");
    let (exit, _) = world.migrate(Format::Text, &["nowhere.yaml"]);
    assert_eq!(exit, Exit::Problem);
}
