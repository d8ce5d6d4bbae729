//! One case per thing that can be wrong: the exact `file:line: message`.

use super::{load_text, shown};

/// A pool for cases about other things; it fills lines 1 to 3.
const POOL: &str = "[[pool]]\nname = \"lan\"\naddresses = [\"192.0.2.10-192.0.2.50\"]\n";

/// `text` is refused with exactly these lines (warnings among them).
fn refused(text: &str, expected: &[&str]) {
    let problems = load_text(text).expect_err("refused");
    assert_eq!(shown(&problems), expected, "for:\n{text}");
}

/// `text` follows [`POOL`], so that its first line is line 4.
fn refused_beside_pool(text: &str, expected: &str) {
    refused(&format!("{POOL}{text}"), &[expected]);
}

/// `text` is used, with exactly these warnings.
fn warned(text: &str, expected: &[&str]) {
    let loaded = load_text(text).expect("used");
    assert_eq!(shown(&loaded.warnings), expected, "for:\n{text}");
}

#[test]
fn syntax() {
    refused("[[pool]\n", &["roadstead.toml:1: not TOML: unclosed array table, expected `]`"]);
    refused(
        "a = 1\na = 2\n[speaker\n",
        &[
            "roadstead.toml:2: not TOML: duplicate key",
            "roadstead.toml:3: not TOML: unclosed table, expected `]`",
        ],
    );
}

#[test]
fn unknown_keys_and_their_nearest() {
    refused_beside_pool(
        "[speker]\n",
        "roadstead.toml:4: `speker` is unknown: did you mean `speaker`?",
    );
    refused_beside_pool("[banana]\n", "roadstead.toml:4: `banana` is unknown");
    refused_beside_pool(
        "\"a.b[0]\" = 1\n",
        "roadstead.toml:4: `a.b[0]` of pool \"lan\" is unknown",
    );
    refused_beside_pool(
        "[router.health]\ninterfal = \"1s\"\n",
        "roadstead.toml:5: `router.health.interfal` is unknown: did you mean `interval`?",
    );
    refused_beside_pool(
        "auto-assign = true\n",
        "roadstead.toml:4: `auto-assign` of pool \"lan\" is unknown: did you mean `auto_assign`?",
    );
}

#[test]
fn every_problem_is_told_at_once() {
    refused(
        "[[pool]]\nname = \"Lan\"\naddresses = [\n  \"192.0.2.9-192.0.2.1\",\n  7,\n]\n\
         [speaker]\nclass_only = \"yes\"\n[router]\nmode = \"dsr\"\nflows = 1.5\n",
        &[
            "roadstead.toml:2: `name` of pool: \"Lan\" is no name: 1 to 63 of a-z, 0-9, '.' and '-', \
             first a letter or digit",
            "roadstead.toml:4: `addresses` of pool: the range starts at 192.0.2.9, above its end \
             192.0.2.1",
            "roadstead.toml:5: `addresses` of pool is a number, not a list of strings",
            "roadstead.toml:8: `speaker.class_only` is a string, not true or false",
            "roadstead.toml:10: `router.mode`: \"dsr\" is not served yet: write \"nat\"",
            "roadstead.toml:11: `router.flows` is a fraction, not a whole number",
        ],
    );
}

#[test]
fn values_of_the_wrong_kind() {
    refused_beside_pool(
        "[speaker]\nmetrics = 9641\n",
        "roadstead.toml:5: `speaker.metrics` is a number, not a string",
    );
    refused_beside_pool(
        "[router.health]\ninterval = 2\n",
        "roadstead.toml:5: `router.health.interval` is a number, not a duration: write \"250ms\", \
         \"10s\", \"5m\" or \"1h\"",
    );
    refused_beside_pool(
        "namespaces = \"a\"\n",
        "roadstead.toml:4: `namespaces` of pool \"lan\" is a string, not a list of strings",
    );
    refused_beside_pool(
        "service_selector = 5\n",
        "roadstead.toml:4: `service_selector` of pool \"lan\" is a number, not a selector: write \
         \"tier=front\" or { tier = \"front\" }",
    );
    refused_beside_pool(
        "service_selector = [\"tier=front\",\n  \"tier near (a)\"]\n",
        "roadstead.toml:5: `service_selector` of pool \"lan\": \"tier near (a)\": write `key in (a, \
         b)` or `key notin (a, b)`",
    );
    refused_beside_pool(
        "namespace_selector = \"team in prod\"\n",
        "roadstead.toml:4: `namespace_selector` of pool \"lan\": \"team in prod\": `team in prod` is \
         no key of a label: write one as tier or example.com/tier",
    );
    refused_beside_pool(
        "service_selector = { tier = 1 }\n",
        "roadstead.toml:4: `service_selector` of pool \"lan\" is a number, not a table of strings",
    );
    refused_beside_pool(
        "[router]\nhealth = 1979-05-27\n",
        "roadstead.toml:5: `router.health` is a date, not a table: write [router.health]",
    );
    refused("pool = 5\n", &["roadstead.toml:1: `pool` is a number, not a list: write [[pool]]"]);
    refused("pool = [\"a\"]\n", &["roadstead.toml:1: `pool` holds a string: write [[pool]]"]);
    refused(
        "[pool]\nname = \"a\"\n",
        &["roadstead.toml:1: `pool` is a table, not a list: write [[pool]]"],
    );
}

#[test]
fn a_source_is_a_directory_or_a_cluster() {
    let source = |rest: &str| format!("[[source]]\nname = \"home\"\n{rest}");
    refused_beside_pool(
        &source("directory = \"/m\"\nkubeconfig = \"/k\"\n"),
        "roadstead.toml:4: source \"home\" has both `directory` and `kubeconfig`: a source is one of \
         them, make two of it",
    );
    refused_beside_pool(
        &source(""),
        "roadstead.toml:4: source \"home\" has no `directory`: add directory = \
         \"/etc/roadstead/manifests\", or kubeconfig = \"/etc/roadstead/home.kubeconfig\"",
    );
    refused_beside_pool(
        &source("kubeconfig = \"home.kubeconfig\"\n"),
        "roadstead.toml:6: `kubeconfig` of source \"home\": \"home.kubeconfig\" is not an absolute \
         path: start it with '/' and leave out \"..\"",
    );
    refused_beside_pool(
        &source("directory = \"/m\"\nreport = false\n"),
        "roadstead.toml:4: `report` of source \"home\" has a meaning only with `kubeconfig`",
    );
    refused_beside_pool(
        &source("kubeconfig = 5\n"),
        "roadstead.toml:6: `kubeconfig` of source \"home\" is a number, not a string",
    );
    refused_beside_pool(
        &source("kubeconfig = { speaker = \"/s\" }\n"),
        "roadstead.toml:6: kubeconfig of source \"home\" has no `router`: add router = a path, as in \
         { speaker = \"/etc/roadstead/home.speaker\", router = \"/etc/roadstead/home.router\" }",
    );
    refused_beside_pool(
        &source("kubeconfig = { speaker = \"/s\", router = \"/r\", ruter = \"/r\" }\n"),
        "roadstead.toml:6: `kubeconfig of source \"home\".ruter` is unknown: did you mean `router`?",
    );
    refused_beside_pool(
        &format!(
            "{}[[source]]\nname = \"away\"\nkubeconfig = \"/k\"\n",
            source("kubeconfig = \"/k\"\n")
        ),
        "roadstead.toml:8: sources \"away\" and \"home\" (roadstead.toml:5) read the same cluster: \
         both name /k",
    );
}

#[test]
fn what_is_not_served_yet_is_refused_by_name() {
    refused_beside_pool(
        "[speaker.bgp]\nasn = 64512\n[[speaker.bgp.peer]]\naddress = \"198.51.100.1\"\n",
        "roadstead.toml:4: `speaker.bgp`: BGP is not served yet: leave [speaker.bgp] out",
    );
    refused_beside_pool(
        "announce = [\"bgp\"]\n",
        "roadstead.toml:4: pool \"lan\" is announced by BGP alone, which is not served yet: write \
         announce = [\"l2\"]",
    );
    warned(
        &format!("{POOL}announce = [\"l2\", \"bgp\"]\n[proxy]\nworkers = 4\n"),
        &[
            "roadstead.toml:4: pool \"lan\": BGP is not served yet, only l2",
            "roadstead.toml:5: [proxy] is passed over: the L7 front is not served yet",
        ],
    );
}

#[test]
fn sources() {
    refused_beside_pool(
        "[[source]]\ndirectory = \"/a\"\n",
        "roadstead.toml:4: source has no `name`: add name = \"local\"",
    );
    refused_beside_pool(
        "[[source]]\nname = \"a\"\ndirectory = \"manifests\"\n",
        "roadstead.toml:6: `directory` of source \"a\": \"manifests\" is not an absolute path: start it \
         with '/' and leave out \"..\"",
    );
    let two = |a, b| {
        format!(
            "[[source]]\nname = \"a\"\ndirectory = \"/m\"\n\
             [[source]]\nname = \"{a}\"\ndirectory = \"{b}\"\n"
        )
    };
    refused_beside_pool(
        &two("a", "/n"),
        "roadstead.toml:8: source \"a\" is written twice: first at roadstead.toml:5",
    );
    refused_beside_pool(
        &two("b", "/m/inner"),
        "roadstead.toml:8: sources \"b\" and \"a\" (roadstead.toml:5) read the same files: /m/inner and /m",
    );
}

#[test]
fn pools_alone() {
    refused(
        "[[pool]]\naddresses = [\"192.0.2.1\"]\n",
        &["roadstead.toml:1: pool has no `name`: add name = \"lan\""],
    );
    refused(
        "[[pool]]\nname = \"lan\"\n",
        &[
            "roadstead.toml:1: pool \"lan\" has no `addresses`: add addresses = [\"192.0.2.10-192.0.2.50\"]",
        ],
    );
    refused(
        "[[pool]]\nname = \"lan\"\naddresses = []\n",
        &[
            "roadstead.toml:3: `addresses` of pool \"lan\" is empty: write [\"192.0.2.10-192.0.2.50\"]",
        ],
    );
    refused_beside_pool(
        "interfaces = []\n",
        "roadstead.toml:4: `interfaces` of pool \"lan\" is empty: leave it out for every interface",
    );
    refused_beside_pool(
        "announce = []\n",
        "roadstead.toml:4: `announce` of pool \"lan\" is empty: write announce = [\"l2\"]",
    );
    refused_beside_pool(
        "priority = -1\n",
        "roadstead.toml:4: `priority` of pool \"lan\" is -1, outside 0 to 4294967295",
    );
    refused_beside_pool(
        "sharing = \"when-ful\"\n",
        "roadstead.toml:4: `sharing` of pool \"lan\": \"when-ful\" is no choice: did you mean \"when-full\"?",
    );
    refused_beside_pool(
        "namespaces = [\"Team_A\"]\n",
        "roadstead.toml:4: `namespaces` of pool \"lan\": \"Team_A\" is no namespace: 1 to 63 of a-z, 0-9 and '-'",
    );
}

#[test]
fn ranges() {
    let cases = [
        (
            "banana",
            "`addresses` of pool \"lan\": `banana` is no address, CIDR (192.0.2.0/28) or range (192.0.2.10-192.0.2.20)",
        ),
        (
            "192.0.2.9-192.0.2.1",
            "`addresses` of pool \"lan\": the range starts at 192.0.2.9, above its end 192.0.2.1",
        ),
        (
            "192.0.2.9-2001:db8::1",
            "`addresses` of pool \"lan\": the range mixes families: 192.0.2.9 and 2001:db8::1",
        ),
        (
            "126.0.0.1-128.0.0.1",
            "pool \"lan\" holds 126.0.0.1-128.0.0.1, which reaches into loopback (127.0.0.0/8)",
        ),
        ("224.0.0.1", "pool \"lan\" holds 224.0.0.1, which reaches into multicast (224.0.0.0/4)"),
        (
            "fe80::1-fe80::9",
            "pool \"lan\" holds fe80::1-fe80::9, which reaches into link-local (fe80::/10)",
        ),
        ("::", "pool \"lan\" holds ::, which reaches into unspecified (::)"),
        (
            "255.255.255.255",
            "pool \"lan\" holds 255.255.255.255, which reaches into reserved or broadcast (240.0.0.0/4)",
        ),
    ];
    for (range, message) in cases {
        let text = format!("[[pool]]\nname = \"lan\"\naddresses = [\n\"{range}\"]\n");
        refused(&text, &[&format!("roadstead.toml:4: {message}")]);
    }
    warned(
        "[[pool]]\nname = \"lan\"\naddresses = [\"192.0.2.5/28\"]\nreserved = [\"192.0.2.1\", \"198.51.100.1\"]\n",
        &[
            "roadstead.toml:3: `addresses` of pool \"lan\": taken as 192.0.2.0/28, which is 192.0.2.0-192.0.2.15",
            "roadstead.toml:4: `reserved` of pool \"lan\": 198.51.100.1 is not in the pool",
        ],
    );
}

#[test]
fn pools_together() {
    refused_beside_pool(
        "[[pool]]\nname = \"lan\"\naddresses = [\"198.51.100.1\"]\n",
        "roadstead.toml:5: pool \"lan\" is written twice: first at roadstead.toml:2",
    );
    refused_beside_pool(
        "[[pool]]\nname = \"dmz\"\naddresses = [\"198.51.100.1\", \"192.0.2.40-192.0.2.60\"]\n",
        "roadstead.toml:6: pool \"dmz\": 192.0.2.40-192.0.2.60 overlaps 192.0.2.10-192.0.2.50 of pool \
         \"lan\" (roadstead.toml:3); an address belongs to one pool, once",
    );
    refused(
        "[[pool]]\nname = \"lan\"\naddresses = [\n\"2001:db8::5\",\n\"2001:db8::/64\"]\n",
        &["roadstead.toml:5: pool \"lan\": \
           2001:db8::-2001:db8::ffff:ffff:ffff:ffff overlaps 2001:db8::5 of the same pool \
           (roadstead.toml:4); an address belongs to one pool, once"],
    );
}

#[test]
fn interfaces() {
    refused_beside_pool(
        "[speaker]\ninterfaces = [\"a-very-long-name0\"]\n",
        "roadstead.toml:5: `speaker.interfaces`: \"a-very-long-name0\" is no interface: its name has 17 \
         bytes, the kernel allows 15",
    );
    refused_beside_pool(
        "[speaker]\ninterfaces = [\"e/0\"]\n",
        "roadstead.toml:5: `speaker.interfaces`: \"e/0\" is no interface: write a name as eth0",
    );
    refused_beside_pool(
        "[router]\ninterfaces = [\"e0\", \"e0\"]\n",
        "roadstead.toml:5: interface \"e0\" is named twice",
    );
    refused_beside_pool(
        "[speaker]\ninterfaces = [\"e0\", \"e1\"]\n[router]\ninterfaces = [\"e0\"]\n",
        "roadstead.toml:7: `router.interfaces` leaves out \"e1\", on which `speaker.interfaces` \
         (roadstead.toml:5) announces: name it in both or in neither",
    );
    warned(
        &format!("{POOL}interfaces = [\"e9\"]\n[speaker]\ninterfaces = [\"e0\"]\n"),
        &["roadstead.toml:4: pool \"lan\" is visible on \"e9\", which `speaker.interfaces` \
           (roadstead.toml:6) does not name: it stays silent there"],
    );
}

#[test]
fn paths() {
    refused_beside_pool(
        "[paths]\nstate = \"var/lib\"\n",
        "roadstead.toml:5: `paths.state`: \"var/lib\" is not an absolute path: start it with '/' and leave out \"..\"",
    );
    let long = format!("/{}", "r".repeat(100));
    refused_beside_pool(
        &format!("[paths]\nruntime = \"{long}\"\n"),
        &format!(
            "roadstead.toml:5: `paths.runtime`: \"{long}\" is too long: the socket's path below it would \
             have 120 bytes, the kernel allows 107"
        ),
    );
}

#[test]
fn speaker() {
    refused_beside_pool(
        "[speaker.l2]\nprobe = \"quick\"\n",
        "roadstead.toml:5: `speaker.l2.probe`: \"quick\" is no choice: one of \"fast\", \"rfc5227\", \"off\"",
    );
    refused_beside_pool(
        "[speaker.l2]\nrefresh = \"0s\"\n",
        "roadstead.toml:5: `speaker.l2.refresh`: \"0s\" is outside \"1s\" to \"1h\"",
    );
    refused_beside_pool(
        "[speaker.l2]\nprobe_ahead = 65\n",
        "roadstead.toml:5: `speaker.l2.probe_ahead` is 65, outside 0 to 64",
    );
    refused_beside_pool(
        "[speaker]\nmetrics = \":9641\"\n",
        "roadstead.toml:5: `speaker.metrics`: \":9641\" is no address with a port: write \"127.0.0.1:9641\" or \"off\"",
    );
    refused_beside_pool(
        "[speaker]\nmetrics = \"127.0.0.1:9642\"\n",
        "roadstead.toml:5: `speaker.metrics` and `router.metrics` are both 127.0.0.1:9642 (the \
         default): choose another port",
    );
    refused_beside_pool(
        "[speaker]\nmetrics = \"[::]:99\"\n[router]\nmetrics = \"[::]:99\"\n",
        "roadstead.toml:7: `speaker.metrics` and `router.metrics` are both [::]:99 \
         (roadstead.toml:5): choose another port",
    );
}

#[test]
fn router() {
    let cases = [
        (
            "snat_addresses = [\"192.0.2.300\"]",
            "`router.snat_addresses`: \"192.0.2.300\" is no IP address",
        ),
        (
            "snat_addresses = [\"127.0.0.1\"]",
            "`router.snat_addresses`: 127.0.0.1 is loopback (127.0.0.0/8)",
        ),
        (
            "snat_addresses = [\"198.51.100.1\", \"198.51.100.1\"]",
            "`router.snat_addresses`: 198.51.100.1 is named twice",
        ),
        (
            "snat_addresses = [\"192.0.2.20\"]",
            "`router.snat_addresses`: 192.0.2.20 lies in 192.0.2.10-192.0.2.50 of pool \"lan\" (roadstead.toml:3): take one outside every pool",
        ),
        (
            "snat_ports = \"32768\"",
            "`router.snat_ports`: \"32768\" is no range of ports: write \"32768-60999\"",
        ),
        (
            "snat_ports = \"2000-70000\"",
            "`router.snat_ports`: \"2000-70000\" is no range of ports: write \"32768-60999\"",
        ),
        (
            "snat_ports = \"60999-32768\"",
            "`router.snat_ports`: the range starts at 60999, above its end 32768",
        ),
        (
            "snat_ports = \"80-60999\"",
            "`router.snat_ports`: port 80 is below 1024, where the host's own services live",
        ),
        (
            "flows = 99999999999999999999999",
            "`router.flows` is 99999999999999999999999, outside 1024 to 16777216",
        ),
        (
            "nodes_allowed = [\"192.0.2.0/33\"]",
            "`router.nodes_allowed`: \"192.0.2.0/33\" is no prefix: write 192.0.2.0/24 or 2001:db8::/64",
        ),
        (
            "drain_deadline = \"5\"",
            "`router.drain_deadline`: \"5\" is no duration: write \"250ms\", \"10s\", \"5m\" or \"1h\"",
        ),
    ];
    for (line, message) in cases {
        refused_beside_pool(
            &format!("[router]\n{line}\n"),
            &format!("roadstead.toml:5: {message}"),
        );
    }
}

#[test]
fn health() {
    let cases = [
        ("interval = \"0s\"", "`router.health.interval`: \"0s\" is outside \"100ms\" to \"1h\""),
        ("timeout = \"0ms\"", "`router.health.timeout`: \"0ms\" is outside \"10ms\" to \"1m\""),
        (
            "timeout = \"3s\"",
            "`router.health.timeout` (3s) is longer than `router.health.interval` (2s): probes of one node would pile up",
        ),
        ("fall = 0", "`router.health.fall` is 0, outside 1 to 100"),
        ("rise = 0", "`router.health.rise` is 0, outside 1 to 100"),
        ("budget = 0", "`router.health.budget` is 0, outside 1 to 100000"),
        ("panic_threshold = 101", "`router.health.panic_threshold` is 101, outside 0 to 100"),
        ("port = 70000", "`router.health.port` is 70000, outside 1 to 65535"),
        (
            "probe = \"nodeport\"",
            "`router.health.probe`: \"nodeport\" is no choice: did you mean \"node-port\"?",
        ),
    ];
    for (line, message) in cases {
        refused_beside_pool(
            &format!("[router.health]\n{line}\n"),
            &format!("roadstead.toml:5: {message}"),
        );
    }
    warned(
        &format!("{POOL}[router.health]\nprobe = \"node-port\"\nport = 10256\n"),
        &["roadstead.toml:6: `router.health.port` has no effect with probe = \"node-port\""],
    );
}

#[test]
fn no_pool_is_told_but_used() {
    warned("", &["roadstead.toml: no [[pool]]: no Service gets an address"]);
}
