//! Rulesets as nft prints them; one packet each, and which chains may drop it.

use serde_json::json;

use super::*;

fn packet(way: Way) -> Packet {
    let own = (Some("203.0.113.2".parse().unwrap()), None);
    let node = (Some("203.0.113.5".parse().unwrap()), Some(30080));
    let segment = Some(if way == Way::In { [node, own] } else { [own, node] });
    Packet { family: Family::V4, segment, leg: "eth1".to_owned(), way }
}

fn chain(family: &str, name: &str, hook: &str, policy: &str) -> Value {
    let mut chain = json!({"family": family, "table": "t", "name": name});
    if !hook.is_empty() {
        chain["hook"] = hook.into();
        chain["policy"] = policy.into();
        chain["prio"] = 0.into();
    }
    json!({ "chain": chain })
}

fn rule(family: &str, chain: &str, handle: u64, expr: Value) -> Value {
    json!({"rule": {"family": family, "table": "t", "chain": chain, "handle": handle, "expr": expr}})
}

fn equal(left: Value, right: Value) -> Value {
    json!({"match": {"op": "==", "left": left, "right": right}})
}

fn dport(right: Value) -> Value {
    equal(json!({"payload": {"protocol": "tcp", "field": "dport"}}), right)
}

fn meta(key: &str, right: Value) -> Value {
    equal(json!({"meta": {"key": key}}), right)
}

fn drops() -> Value {
    json!({"drop": null})
}

/// `chain handle` or `chain policy` of each suspect.
fn suspects(objects: Vec<Value>, packet: &Packet) -> Vec<String> {
    let text = json!({ "nftables": objects }).to_string();
    let ruleset = Ruleset::read(text.as_bytes()).expect("a ruleset");
    let told = |suspect: Suspect| match suspect.handle {
        Some(handle) => format!("{} {handle}", suspect.chain),
        None => format!("{} policy", suspect.chain),
    };
    ruleset.suspects(packet).into_iter().map(told).collect()
}

/// The handles that a chain `out` with these rules is suspected by.
fn of_rules(rules: Vec<Value>) -> Vec<String> {
    let mut objects = vec![chain("inet", "out", "output", "accept")];
    let numbered = rules.into_iter().zip(1..);
    objects.extend(numbered.map(|(expr, handle)| rule("inet", "out", handle, expr)));
    suspects(objects, &packet(Way::Out))
}

#[test]
fn only_chains_on_the_way_of_the_packet_are_met() {
    let objects = || {
        ["output", "postrouting", "prerouting", "input", "forward"]
            .iter()
            .map(|hook| chain("inet", hook, hook, "drop"))
            .collect::<Vec<_>>()
    };
    assert_eq!(suspects(objects(), &packet(Way::Out)), ["output policy"]);
    assert_eq!(suspects(objects(), &packet(Way::In)), ["prerouting policy"]);
    assert_eq!(suspects(objects(), &packet(Way::Redirected)), [""; 0]);
    for (family, leg, met) in
        [("netdev", "eth1", true), ("netdev", "eth0", false), ("ip6", "eth1", false)]
    {
        let mut base = chain(family, "e", "egress", "drop");
        base["chain"]["dev"] = leg.into();
        let found = suspects(vec![base], &packet(Way::Redirected));
        assert_eq!(!found.is_empty(), met, "{family} {leg}: {found:?}");
    }
}

#[test]
fn address_resolution_meets_chains_of_its_own_family() {
    let question = |family| Packet { family, segment: None, ..packet(Way::In) };
    let objects = || vec![chain("arp", "a", "input", "drop"), chain("inet", "i", "input", "drop")];
    assert_eq!(suspects(objects(), &question(Family::V4)), ["a policy"]);
    assert_eq!(suspects(objects(), &question(Family::V6)), ["i policy"]);
    assert_eq!(suspects(objects(), &packet(Way::In)), ["i policy"]);
}

#[test]
fn a_rule_counts_where_it_matches_or_may_match() {
    for (test, counts) in [
        (dport(json!(30080)), true),
        (dport(json!(30081)), false),
        (dport(json!({"range": [30000, 32767]})), true),
        (dport(json!({"set": [22, {"range": [1, 9]}]})), false),
        (dport(json!({"set": [22, {"elem": {"val": 30080}}]})), true),
        (
            equal(json!({"payload": {"protocol": "ip", "field": "daddr"}}), json!("203.0.113.5")),
            true,
        ),
        (
            equal(json!({"payload": {"protocol": "ip", "field": "daddr"}}), json!("203.0.113.6")),
            false,
        ),
        (
            equal(
                json!({"payload": {"protocol": "ip", "field": "saddr"}}),
                json!({"prefix": {"addr": "203.0.113.0", "len": 24}}),
            ),
            true,
        ),
        (equal(json!({"payload": {"protocol": "ip6", "field": "daddr"}}), json!("::")), false),
        (equal(json!({"payload": {"protocol": "udp", "field": "dport"}}), json!(30080)), false),
        (equal(json!({"payload": {"protocol": "tcp", "field": "flags"}}), json!("syn")), true),
        (meta("oifname", json!("eth1")), true),
        (meta("oifname", json!("eth*")), true),
        (meta("oifname", json!({"set": ["lo", "eth0"]})), false),
        (meta("iifname", json!("lo")), false),
        (meta("nfproto", json!("ipv6")), false),
        (meta("l4proto", json!("tcp")), true),
        (meta("skuid", json!(0)), true),
        (equal(json!({"ct": {"key": "state"}}), json!("new")), true),
        (equal(json!({"ct": {"key": "state"}}), json!(["established", "related"])), false),
        (json!({"limit": {"rate": 10}}), true),
        (json!({"counter": {"packets": 0}}), true),
    ] {
        let found = of_rules(vec![json!([test, drops()])]);
        assert_eq!(!found.is_empty(), counts, "{test}: {found:?}");
    }
    let unless =
        json!({"match": {"op": "!=", "left": {"meta": {"key": "oifname"}}, "right": "lo"}});
    assert_eq!(of_rules(vec![json!([unless, {"reject": null}])]), ["out 1"]);
}

#[test]
fn what_is_surely_accepted_or_dropped_ends_the_search() {
    let accepts = |test| json!([test, {"accept": null}]);
    let always = json!([drops()]);
    let ours = || dport(json!(30080));
    let perhaps = || meta("skuid", json!(0));
    assert_eq!(of_rules(vec![accepts(ours()), always.clone()]), [""; 0]);
    assert_eq!(of_rules(vec![accepts(perhaps()), always.clone()]), ["out 2"]);
    assert_eq!(of_rules(vec![always.clone(), always.clone()]), ["out 1"]);
    let both = of_rules(vec![json!([perhaps(), drops()]), always]);
    assert_eq!(both, ["out 1", "out 2"]);
}

#[test]
fn jumps_maps_and_named_sets_are_followed() {
    let jump = |target: &str| json!({"jump": {"target": target}});
    let objects = |first: Value| {
        vec![
            chain("inet", "out", "output", "drop"),
            chain("inet", "more", "", ""),
            json!({"set": {"family": "inet", "table": "t", "name": "bad", "elem": [30080]}}),
            rule("inet", "out", 1, first),
            rule("inet", "more", 2, json!([dport(json!("@bad")), drops()])),
            rule("inet", "more", 3, json!([jump("more")])),
        ]
    };
    let found = |first| suspects(objects(first), &packet(Way::Out));
    assert_eq!(found(json!([jump("more")])), ["more 2"]);
    assert_eq!(found(json!([{"goto": {"target": "more"}}])), ["more 2"]);
    assert_eq!(found(json!([dport(json!(1)), jump("more")])), ["out policy"]);
    let key = json!({"payload": {"protocol": "tcp", "field": "dport"}});
    let map = |port: u16| json!([{"vmap": {"key": key, "data": {"set": [[port, jump("more")], [1, drops()]]}}}]);
    assert_eq!(found(map(30080)), ["more 2"]);
    assert_eq!(found(map(30081)), ["out policy"]);
    assert_eq!(found(json!([{"accept": null}])), [""; 0]);
}

#[test]
fn an_extension_of_iptables_may_reject_and_is_never_sure_to() {
    let drops_all = json!([drops()]);
    for (last, found) in [
        (json!({"xt": {"type": "target", "name": "REJECT"}}), vec!["out 1", "out 2"]),
        (json!({"xt": null}), vec!["out 1", "out 2"]),
        (json!({"xt": {"type": "target", "name": "LOG"}}), vec!["out 2"]),
    ] {
        assert_eq!(of_rules(vec![json!([last]), drops_all.clone()]), found, "{last}");
    }
    let comment = json!({"xt": {"type": "match", "name": "comment"}});
    assert_eq!(of_rules(vec![json!([comment, {"accept": null}]), drops_all]), ["out 2"]);
}

#[test]
fn neighbour_discovery_and_arp_are_told_from_segments() {
    let objects = |family: &str, test: Value| {
        vec![chain(family, "a", "output", "accept"), rule(family, "a", 1, json!([test, drops()]))]
    };
    let field = |protocol: &str, field: &str, right: &str| {
        equal(json!({"payload": {"protocol": protocol, "field": field}}), json!(right))
    };
    let question = |family| Packet { family, segment: None, ..packet(Way::Out) };
    for (family, of, test, counts) in [
        ("inet", Family::V6, field("icmpv6", "type", "nd-neighbor-solicit"), true),
        ("inet", Family::V6, field("icmpv6", "type", "echo-request"), false),
        ("inet", Family::V6, field("ip6", "nexthdr", "tcp"), false),
        ("inet", Family::V6, dport(json!(30080)), false),
        ("arp", Family::V4, field("arp", "operation", "request"), true),
        ("arp", Family::V4, field("arp", "operation", "reply"), false),
    ] {
        let found = suspects(objects(family, test.clone()), &question(of));
        assert_eq!(!found.is_empty(), counts, "{test}: {found:?}");
    }
}

#[test]
fn what_is_no_ruleset_is_none() {
    for text in ["", "[]", "{}", "{\"nftables\": 7}"] {
        assert!(Ruleset::read(text.as_bytes()).is_none(), "{text}");
    }
    let odd = json!({"nftables": [7, {"chain": 7}, {"rule": {"expr": {}}}]}).to_string();
    let ruleset = Ruleset::read(odd.as_bytes()).expect("a list");
    assert_eq!(ruleset.suspects(&packet(Way::Out)), []);
}
