//! MetalLB's objects from YAML: what is taken, what refuses the whole, and in which words.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use roadstead_model::{
    SourceName,
    metallb::{Community, MetalLb, Neighbour, Password, RemoteAsn},
    problem::Severity,
};

use crate::{
    SourceView,
    manifests::{self, Directory, parse_file_with_metallb},
};

/// A file of objects in MetalLB's namespace; each is `(kind, name, spec)` in flow style.
fn read(objects: &[(&str, &str, &str)]) -> SourceView {
    let text: Vec<_> =
        objects.iter().map(|(kind, name, spec)| document(kind, name, spec)).collect();
    read_text(&text.join("---\n"))
}

fn document(kind: &str, name: &str, spec: &str) -> String {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    format!(
        "apiVersion: metallb.io/{version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: metallb-system}}\nspec: {spec}\n"
    )
}

fn read_text(text: &str) -> SourceView {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("metallb.yaml");
    fs::write(&file, text).unwrap();
    let namespace = Some("metallb-system".into());
    manifests::check(&SourceName::new("home"), &file, namespace).unwrap()
}

fn told(view: &SourceView, least: Severity) -> Vec<&str> {
    let told = view.problems.iter().filter(|problem| problem.severity >= least);
    told.map(|problem| problem.message.as_str()).collect()
}

fn good(objects: &[(&str, &str, &str)]) -> MetalLb {
    let view = read(objects);
    assert_eq!(told(&view, Severity::Warning), Vec::<&str>::new());
    view.metallb.as_deref().expect("taken").clone()
}

/// That the objects are refused whole, with an error that says this.
fn refused(objects: &[(&str, &str, &str)], words: &str) {
    let view = read(objects);
    let told = told(&view, Severity::Error);
    assert!(told.iter().any(|message| message.contains(words)), "no `{words}` in {told:#?}");
    assert_eq!(view.metallb, None, "{words}");
}

const LAN: (&str, &str, &str) = ("IPAddressPool", "lan", "{addresses: [192.0.2.0/28]}");

#[test]
fn a_pool_with_everything() {
    let spec = "{addresses: [192.0.2.0/28, 192.0.2.20 - 192.0.2.30, 2001:db8::/64], autoAssign: false, \
                avoidBuggyIPs: true, serviceAllocation: {priority: 50, namespaces: [a, b], \
                namespaceSelectors: [{matchLabels: {team: x}}], serviceSelectors: \
                [{matchExpressions: [{key: app, operator: In, values: [web, api]}]}]}}";
    let objects = good(&[("IPAddressPool", "lan", spec)]);
    let [pool] = objects.pools.as_slice() else { panic!("one pool") };
    let ranges: Vec<_> = pool.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(
        ranges,
        [
            "192.0.2.0-192.0.2.15",
            "192.0.2.20-192.0.2.30",
            "2001:db8::-2001:db8::ffff:ffff:ffff:ffff"
        ]
    );
    assert!(!pool.auto_assign && pool.avoid_buggy_ips);
    let allocation = pool.allocation.as_ref().expect("an allocation");
    assert_eq!((allocation.priority, allocation.namespaces.len()), (50, 2));
    assert_eq!(allocation.namespace_selectors[0].to_string(), "team=x");
    assert_eq!(allocation.service_selectors[0].to_string(), "app in (api,web)");
}

#[test]
fn a_pool_of_addresses_alone_is_for_everybody() {
    let objects = good(&[LAN, ("L2Advertisement", "all", "{}")]);
    let pool = &objects.pools[0];
    assert!(pool.auto_assign && !pool.avoid_buggy_ips && pool.allocation.is_none());
    assert!(objects.l2_advertisements[0].scope.covers(pool));
    assert_eq!(objects.advertisements_of(pool).len(), 1);
}

#[test]
fn pools_that_are_wrong_or_overlap() {
    for (spec, words) in [
        ("{}", "IPAddressPool metallb-system/bad: spec.addresses: the pool has no address"),
        ("{addresses: []}", "spec.addresses: the pool has no address"),
        ("{addresses: [banana]}", "spec.addresses[0]: `banana` is no address"),
        ("{addresses: [198.51.100.9]}", "`198.51.100.9/32` would be right"),
        ("{addresses: [198.51.100.9-198.51.100.1]}", "starts at 198.51.100.9, above its end"),
        ("{addresses: [198.51.100.1-2001:db8::1]}", "mixes families"),
        (
            "{addresses: [198.51.100.0/24, 198.51.100.9/32]}",
            "spec.addresses[1]: 198.51.100.9 overlaps",
        ),
        ("{addresses: [224.0.0.0/24]}", "reaches into multicast"),
        (
            "{addresses: [192.0.2.8/32]}",
            "192.0.2.8 overlaps 192.0.2.0-192.0.2.15 of IPAddressPool metallb-system/lan",
        ),
        (
            "{addresses: [198.51.100.0/24], autoAssign: \"no\"}",
            "spec.autoAssign: text where true or false",
        ),
        (
            "{addresses: [198.51.100.0/24], serviceAllocation: {namespaces: [a, a]}}",
            "spec.serviceAllocation.namespaces[1]: `a` is there twice",
        ),
        (
            "{addresses: [198.51.100.0/24], serviceAllocation: {serviceSelectors: [{matchLabels: {a: b}}, {matchLabels: {a: b}}]}}",
            "spec.serviceAllocation.serviceSelectors[1]: `a=b` is there twice",
        ),
        (
            "{addresses: [198.51.100.0/24], serviceAllocation: {namespaceSelectors: [{matchExpressions: [{key: a, operator: In}]}]}}",
            "at least one value is wanted",
        ),
        ("{addresses: [198.51.100.0/24], serviceAllocation: {priority: -1}}", "-1 is outside 0 to"),
    ] {
        refused(&[LAN, ("IPAddressPool", "bad", spec)], words);
    }
}

/// S7: ten pools of a thousand ranges are taken, an eleventh refuses the whole.
#[test]
fn ranges_are_bounded() {
    let ranges = |pool: usize| {
        let range = |n: usize| format!("198.18.{}.{}/32", pool * 4 + n / 250, n % 250);
        format!("{{addresses: [{}]}}", (0..1_000).map(range).collect::<Vec<_>>().join(", "))
    };
    let specs: Vec<_> = (0..11).map(|pool| (format!("p{pool:02}"), ranges(pool))).collect();
    let objects: Vec<_> =
        specs.iter().map(|(name, spec)| ("IPAddressPool", name.as_str(), spec.as_str())).collect();
    assert_eq!(good(&objects[..10]).pools.len(), 10);
    refused(
        &objects,
        "IPAddressPool metallb-system/p10: spec.addresses: with those before it more than 10000",
    );
}

#[test]
fn advertisements_that_are_wrong() {
    for (kind, spec, words) in [
        (
            "L2Advertisement",
            "{ipAddressPools: [lan, lan]}",
            "spec.ipAddressPools[1]: `lan` is there twice",
        ),
        ("L2Advertisement", "{interfaces: eth0}", "spec.interfaces: text where a list is wanted"),
        ("L2Advertisement", "{preferredNodeSelectors: [{weight: 0}]}", "0 is outside 1 to 100"),
        (
            "L2Advertisement",
            "{nodeSelectors: [{matchExpressions: [{key: a, operator: Near}]}]}",
            "`Near` is none of In, NotIn, Exists, DoesNotExist",
        ),
        ("BGPAdvertisement", "{aggregationLength: 33}", "33 is outside 1 to 32"),
        (
            "BGPAdvertisement",
            "{aggregationLength: 24}",
            "/24 is wider than any prefix of 192.0.2.0-192.0.2.15 in IPAddressPool `lan`; at least /28",
        ),
        ("BGPAdvertisement", "{localPref: -1}", "-1 is outside 0 to"),
        (
            "BGPAdvertisement",
            "{communities: [\"1:2\", \"1:2\"]}",
            "spec.communities: 1:2 is there twice",
        ),
        ("BGPAdvertisement", "{communities: [\"65536:2\"]}", "`65536:2` is no community"),
        ("BGPAdvertisement", "{communities: [nobody]}", "no Community names `nobody`"),
        (
            "BGPAdvertisement",
            "{aggregationLength: 28, serviceSelectors: [{matchLabels: {a: b}}]}",
            "exclude each other",
        ),
    ] {
        refused(&[LAN, (kind, "bad", spec)], words);
    }
}

#[test]
fn an_aggregation_that_fits_one_entry_of_a_pool_but_not_another_is_refused() {
    let range = ("IPAddressPool", "range", "{addresses: [203.0.113.2-203.0.113.254]}");
    let with = |length: &str| format!("{{ipAddressPools: [range], aggregationLength: {length}}}");
    let (fits, wide) = (with("26"), with("24"));
    let objects = good(&[LAN, range, ("BGPAdvertisement", "fits", &fits)]);
    assert_eq!(objects.bgp_advertisements[0].aggregation_length, 26);
    refused(&[LAN, range, ("BGPAdvertisement", "wide", &wide)], "at least /26 is right");
}

#[test]
fn preferences_that_contradict_one_another() {
    let one = ("BGPAdvertisement", "one", "{localPref: 100}");
    let two = |spec| ("BGPAdvertisement", "two", spec);
    refused(
        &[LAN, one, two("{localPref: 200}")],
        "BGPAdvertisement metallb-system/one says another",
    );
    for disjoint in [
        "{localPref: 100}",
        "{localPref: 200, aggregationLength: 30}",
        "{localPref: 200, nodeSelectors: [{matchLabels: {rack: a}}]}",
        "{localPref: 200, serviceSelectors: [{matchLabels: {tier: a}}]}",
        "{localPref: 200, ipAddressPools: [other]}",
    ] {
        let other = ("IPAddressPool", "other", "{addresses: [198.51.100.0/24]}");
        let first = ("BGPAdvertisement", "one", "{localPref: 100, ipAddressPools: [lan]}");
        good(&[LAN, other, first, two(disjoint)]);
    }
    let peer = |name, address| {
        let spec = format!("{{myASN: 64512, peerASN: 64513, peerAddress: {address}}}");
        (name, spec)
    };
    let (a, b) = (peer("a", "192.0.2.101"), peer("b", "192.0.2.102"));
    good(&[
        LAN,
        ("BGPPeer", a.0, &a.1),
        ("BGPPeer", b.0, &b.1),
        ("BGPAdvertisement", "one", "{localPref: 100, peers: [a]}"),
        two("{localPref: 200, peers: [b]}"),
    ]);
}

#[test]
fn communities_are_named_and_resolved() {
    let names = (
        "Community",
        "names",
        "{communities: [{name: quiet, value: \"64512:1\"}, {name: big, value: \"large:64512:1:2\"}]}",
    );
    let ad = ("BGPAdvertisement", "ad", "{communities: [quiet, big, \"64512:9\"]}");
    let objects = good(&[LAN, ad, names]);
    assert_eq!(
        objects.bgp_advertisements[0].communities,
        [
            Community::Standard(64512, 1),
            Community::Large(64512, 1, 2),
            Community::Standard(64512, 9)
        ]
    );
    let again = ("Community", "again", "{communities: [{name: quiet, value: \"64512:3\"}]}");
    refused(&[names, again], "another object names `quiet` too");
    let twice = "{communities: [{name: a, value: \"1:1\"}, {name: a, value: \"1:2\"}]}";
    refused(&[("Community", "twice", twice)], "the name `a` is there twice");
}

#[test]
fn a_peer_with_everything_and_one_of_the_older_version() {
    let spec = "{myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, peerPort: 1790, sourceAddress: \
                192.0.2.9, routerID: 192.0.2.9, holdTime: 1m30s, vrf: red, passwordSecret: {name: md5}, \
                bfdProfile: fast, ebgpMultiHop: true, enableGracefulRestart: true, localASN: 65000}";
    let fast = ("BFDProfile", "fast", "{receiveInterval: 100, detectMultiplier: 5}");
    let objects = good(&[("BGPPeer", "tor", spec), fast]);
    let peer = &objects.peers[0];
    assert_eq!(peer.remote, RemoteAsn::Is(64513));
    assert_eq!(peer.neighbour, Neighbour::Address("192.0.2.1".parse().unwrap()));
    assert_eq!(peer.timers.hold, Some(Duration::from_secs(90)));
    assert_eq!(peer.timers.keepalive, Some(Duration::from_secs(30)), "a third of the hold time");
    assert_eq!(peer.password, Some(Password::Secret("md5".into())));
    assert!(peer.multihop && peer.graceful_restart);
    let profile = &objects.bfd_profiles[0];
    assert_eq!(
        (profile.receive, profile.transmit),
        (Duration::from_millis(100), Duration::from_millis(300))
    );
    assert_eq!((profile.multiplier, profile.minimum_ttl), (5, 254));

    let old = document(
        "BGPPeer",
        "old",
        "{myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, keepaliveTime: 10s}",
    );
    let view = read_text(&old.replace("v1beta2", "v1beta1"));
    let objects = view.metallb.expect("taken");
    assert_eq!(objects.peers[0].timers.hold, Some(Duration::from_secs(30)), "three times that");
    let view = read_text(&old.replace("v1beta2", "v1"));
    assert!(
        told(&view, Severity::Error)[0]
            .contains("`metallb.io/v1beta2` or `metallb.io/v1beta1` is right")
    );
}

#[test]
fn a_password_is_never_kept() {
    let spec = "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, password: hush}";
    let objects = good(&[("BGPPeer", "tor", spec)]);
    assert_eq!(objects.peers[0].password, Some(Password::Object));
    assert!(!format!("{objects:?}").contains("hush"));
}

/// A peer, and words of the error.
const WRONG_PEERS: &[(&str, &str)] = &[
    ("{peerASN: 2, peerAddress: 192.0.2.1}", "spec.myASN is missing"),
    ("{myASN: 0, peerASN: 2, peerAddress: 192.0.2.1}", "spec.myASN: 0 is outside 1 to 4294967295"),
    ("{myASN: 1, peerAddress: 192.0.2.1}", "exactly one of peerASN and dynamicASN"),
    (
        "{myASN: 1, peerASN: 2, dynamicASN: external, peerAddress: 192.0.2.1}",
        "exactly one of peerASN and dynamicASN",
    ),
    (
        "{myASN: 1, dynamicASN: both, peerAddress: 192.0.2.1}",
        "`both` is none of internal, external",
    ),
    ("{myASN: 1, peerASN: 2}", "exactly one of peerAddress and interface"),
    (
        "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, interface: eth0}",
        "exactly one of peerAddress and interface",
    ),
    ("{myASN: 1, peerASN: 2, peerAddress: tor}", "spec.peerAddress: `tor` is not an address"),
    ("{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, sourceAddress: me}", "spec.sourceAddress"),
    ("{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, routerID: \"2001:db8::1\"}", "spec.routerID"),
    (
        "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, peerPort: 20000}",
        "20000 is outside 1 to 16384",
    ),
    (
        "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, holdTime: 2s}",
        "spec.holdTime: 0, or at least 3 s",
    ),
    (
        "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, holdTime: 9}",
        "spec.holdTime: a number where text",
    ),
    (
        "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, holdTime: 9s, keepaliveTime: 10s}",
        "longer than spec.holdTime",
    ),
    (
        "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, connectTime: 1500ms}",
        "whole seconds from 1 to 65535",
    ),
    (
        "{myASN: 1, peerASN: 1, peerAddress: 192.0.2.1, ebgpMultiHop: true}",
        "the session is internal",
    ),
    (
        "{myASN: 1, dynamicASN: internal, peerAddress: 192.0.2.1, ebgpMultiHop: true}",
        "the session is internal",
    ),
    (
        "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, password: a, passwordSecret: {name: b}}",
        "not both",
    ),
    (
        "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, bfdProfile: none}",
        "there is no BFDProfile `none`",
    ),
];

#[test]
fn peers_that_are_wrong() {
    for (spec, words) in WRONG_PEERS {
        refused(&[("BGPPeer", "bad", spec)], words);
    }
}

#[test]
fn peers_that_one_node_cannot_both_have() {
    let first =
        ("BGPPeer", "a", "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, routerID: 192.0.2.9}");
    for (spec, words) in [
        (
            "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1}",
            "the same neighbour in the same VRF as BGPPeer metallb-system/a",
        ),
        (
            "{myASN: 3, peerASN: 2, peerAddress: 192.0.2.2}",
            "spec.myASN: another in the same VRF than",
        ),
        (
            "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.2, routerID: 192.0.2.8}",
            "spec.routerID: another than",
        ),
    ] {
        refused(&[first, ("BGPPeer", "b", spec)], words);
    }
    good(&[first, ("BGPPeer", "b", "{myASN: 3, peerASN: 2, peerAddress: 192.0.2.1, vrf: red}")]);
    let racks = |name, rack: &str| {
        let spec = format!(
            "{{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, nodeSelectors: [{{matchLabels: {{rack: {rack}}}}}]}}"
        );
        (name, spec)
    };
    let (a, b) = (racks("a", "one"), racks("b", "two"));
    good(&[("BGPPeer", a.0, &a.1), ("BGPPeer", b.0, &b.1)]);
}

#[test]
fn bfd_profiles_are_bounded_and_echo_is_for_ipv4() {
    for (spec, words) in [
        ("{receiveInterval: 9}", "9 is outside 10 to 60000"),
        ("{transmitInterval: 60001}", "60001 is outside 10 to 60000"),
        ("{detectMultiplier: 1}", "1 is outside 2 to 255"),
        ("{echoInterval: 5}", "5 is outside 10 to 60000"),
        ("{minimumTtl: 255}", "255 is outside 1 to 254"),
    ] {
        refused(&[("BFDProfile", "bad", spec)], words);
    }
    let echo = ("BFDProfile", "echo", "{echoMode: true}");
    let peer =
        ("BGPPeer", "tor", "{myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, bfdProfile: echo}");
    good(&[LAN, echo, peer]);
    let six = ("IPAddressPool", "six", "{addresses: [\"2001:db8::/64\"]}");
    refused(&[six, echo, peer], "echoMode of `echo` is for IPv4 alone");
}

/// What names something that is not there, stands elsewhere or is misspelt is told, and the rest is
/// taken.
#[test]
fn what_is_only_strange_is_told() {
    let view = read(&[
        LAN,
        ("L2Advertisement", "ad", "{ipAddressPools: [lann], interface: [eth0]}"),
        ("BGPAdvertisement", "ad", "{peers: [nobody]}"),
    ]);
    let told: Vec<_> = told(&view, Severity::Warning);
    assert_eq!(
        told,
        [
            "L2Advertisement metallb-system/ad: spec.ipAddressPools: there is no IPAddressPool `lann`",
            "L2Advertisement metallb-system/ad: spec.interface: no such field; did you mean interfaces?",
            "BGPAdvertisement metallb-system/ad: spec.peers: there is no BGPPeer `nobody`",
        ]
    );
    assert!(view.metallb.is_some());
    let elsewhere = document(LAN.0, LAN.1, LAN.2).replace("metallb-system", "default");
    let view = read_text(&elsewhere);
    let words = "not read: it is in the namespace `default`, MetalLB's is `metallb-system`";
    assert!(view.problems[0].message.contains(words), "{:?}", view.problems);
    assert_eq!(view.metallb.as_deref(), Some(&MetalLb::default()));
}

#[test]
fn objects_are_passed_over_where_the_source_does_not_read_them() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("metallb.yaml");
    fs::write(&file, document("IPAddressPool", "bad", "{addresses: []}")).unwrap();
    let view = manifests::check(&SourceName::new("home"), &file, None).unwrap();
    let told: Vec<_> = view.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        told,
        [
            "IPAddressPool (metallb.io/v1beta1): passed over (1 object); `metallb = true` of the source reads them"
        ]
    );
    assert_eq!(view.metallb, None);
}

/// One of everything, of which every pool is pools of addresses that no other has.
fn everything() -> String {
    [
        document("IPAddressPool", "lan", "{addresses: [192.0.2.0/28, 192.0.2.20-192.0.2.30], serviceAllocation: {priority: 5, namespaceSelectors: [{matchExpressions: [{key: a, operator: In, values: [b]}]}]}}"),
        document("IPAddressPool", "six", "{addresses: [\"2001:db8::/64\"]}"),
        document("L2Advertisement", "all", "{interfaces: [eth0], nodeSelectors: [{matchLabels: {a: b}}]}"),
        document("BGPAdvertisement", "ad", "{communities: [quiet], localPref: 100, peers: [tor]}"),
        document("BGPPeer", "tor", "{myASN: 1, peerASN: 2, peerAddress: 198.51.100.1, bfdProfile: fast, holdTime: 1m30s}"),
        document("BFDProfile", "fast", "{receiveInterval: 100}"),
        document("Community", "names", "{communities: [{name: quiet, value: \"64512:1\"}]}"),
    ]
    .join("---\n")
}

proptest! {
    /// Whatever is changed: the objects are taken and no two pools overlap, or they are refused and
    /// it is told.
    #[test]
    fn what_is_mutated_is_whole_or_refused(at in 0_usize..2_000, with in "[ -~\\n]{0,3}", cut in 0_usize..4) {
        let mut text = everything();
        let at = at.min(text.len());
        let end = at.saturating_add(cut).min(text.len());
        text.replace_range(at..end, &with);
        let source = SourceName::new("home");
        let mut directory = Directory::new(source.clone()).with_metallb(true);
        let parsed = parse_file_with_metallb(&source, Path::new("a.yaml"), &text, "metallb-system");
        directory.handle_parsed(Path::new("a.yaml"), parsed, Instant::now());
        directory.handle_scanned(BTreeMap::new());
        let view = directory.view();
        match &view.metallb {
            Some(metallb) => {
                let ranges: Vec<_> = metallb.pools.iter().flat_map(|pool| &pool.addresses).collect();
                for (index, range) in ranges.iter().enumerate() {
                    prop_assert!(ranges.iter().take(index).all(|other| !other.overlaps(range)));
                }
            }
            None => prop_assert!(!told(&view, Severity::Error).is_empty()),
        }
    }
}
