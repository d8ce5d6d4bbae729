//! Every complaint with its line and its words.

use super::*;

/// Asserts all that is told about a text.
fn tells(text: &str, wanted: &[&str]) {
    assert_eq!(told(&parse(text)), wanted, "{text}");
}

/// Asserts all that is told about a Service by its `spec`, which begins in line 7.
fn spec_tells(spec: &str, wanted: &[&str]) {
    let told: Vec<_> = told(&parse(&with_spec(spec)))
        .iter()
        .map(|line| line.replace("Service default/web: ", ""))
        .collect();
    assert_eq!(told, wanted, "{spec}");
}

#[test]
fn text_that_is_not_yaml() {
    let broken = |text: &str, line: usize, word: &str| {
        let parsed = parse(text);
        assert_eq!(parsed.reading, Reading::Broken, "{text}");
        assert_eq!(parsed.items, []);
        let [problem] = parsed.problems.as_slice() else {
            panic!("one problem wanted: {parsed:?}")
        };
        assert_eq!(problem.location.line, line, "{problem}");
        assert!(problem.message.contains(word), "{problem}");
    };
    broken("a: [1,2\nb: 3\n", 2, "':'");
    broken("kind: Service\nkind: Node\n", 2, "the key `kind` is there twice");
    broken("a: 1\n  b: 2\n", 2, "the file is not used");
    broken("a: 1\n b: 2\n", 2, "check indentation");
    broken("a: \"never closed\n", 2, "the file is not used");
    broken("{\"a\": 1,}}\n", 1, "the file is not used");
    broken(&"[".repeat(5_000), 1, "the file is not used");
    let nested: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    broken(&nested, 49, "the file is not used");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..9 {
        let uses = vec![format!("*a{}", level - 1); 10].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
    }
    assert_eq!(parse(&bomb).reading, Reading::Broken);
}

#[test]
fn documents_that_are_no_objects() {
    tells("hello\n", &["E 1: text where a Kubernetes object is wanted"]);
    tells("- a\n", &["E 1: a list where a Kubernetes object is wanted"]);
    tells("image: nginx\n", &["E 1: not a Kubernetes object: kind is missing"]);
    tells("kind: Service\n", &["E 1: Service: apiVersion is missing; `v1` is right"]);
    tells("kind: Pod\n", &["E 1: Pod: apiVersion is missing"]);
    tells(
        "\napiVersion: v1\nkind: Servise\n",
        &["E 2: Servise: no such kind; did you mean Service?"],
    );
    tells(
        "apiVersion: core/v1\nkind: Service\n",
        &["E 1: Service: no apiVersion `core/v1` is read; `v1` is right"],
    );
    tells(
        "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\n",
        &[
            "E 1: EndpointSlice: no apiVersion `discovery.k8s.io/v1beta1` is read; `discovery.k8s.io/v1` is right",
        ],
    );
    tells(
        "apiVersion: v1\nkind: 5\n",
        &[
            "E 1: not a Kubernetes object: kind is missing",
            "E 2: object: kind: a number where text is wanted; write it in quotes",
        ],
    );
    for text in ["hello\n", "image: nginx\n", "apiVersion: v1\nkind: Servise\n"] {
        assert_eq!(parse(text).reading, Reading::Nameless, "{text}");
    }
}

#[test]
fn metadata() {
    tells("apiVersion: v1\nkind: Service\n", &["E 1: Service: metadata.name is missing"]);
    tells(
        "apiVersion: v1\nkind: Service\nmetadata:\n  generateName: web-\n",
        &["E 3: Service: metadata.name is missing"],
    );
    tells(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: Team_A\n",
        &[
            "E 4: Namespace Team_A: metadata.name: `Team_A` is not a name; at most 63 small letters, digits and `-`, no `-` at either end would be",
        ],
    );
    tells(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  labels:\n    version: 1.10\n    b: true\n",
        &[
            "E 6: Namespace a: metadata.labels.version: a number where text is wanted; write it in quotes",
            "E 7: Namespace a: metadata.labels.b: a boolean where text is wanted; write it in quotes",
        ],
    );
    tells(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  lables: {}\nspecs: {}\n",
        &[
            "W 5: Namespace a: metadata.lables: no such field; did you mean labels?",
            "W 6: Namespace a: specs: no such field; did you mean spec?",
        ],
    );
    tells(
        "apiVersion: v1\nkind: Service\nmetadata: {name: 10, namespace: x}\nspec: {}\n",
        &["E 3: Service: metadata.name: a number where text is wanted; write it in quotes"],
    );
}

#[test]
fn typos_in_a_spec() {
    spec_tells("  port: 80\n", &["W 7: spec.port: no such field; did you mean ports?"]);
    spec_tells(
        "  ports:\n  - port: 80\n    nodeport: 30080\n",
        &[
            "W 7: port TCP 80 has no nodePort, and nobody allocates one here; `nodePort: 30080` or the like is wanted",
            "W 8: spec.ports[0].nodeport: no such field; did you mean nodePort?",
        ],
    );
    spec_tells("  replicas: 3\n", &["W 7: spec.replicas: no such field"]);
    tells(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  tpye: LoadBalancer\n",
        &["W 5: Service default/web: spec.tpye: no such field; did you mean type?"],
    );
    tells(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  type: Loadbalancer\n",
        &[
            "E 5: Service default/web: spec.type: `Loadbalancer` is none of LoadBalancer, ClusterIP, NodePort, ExternalName; did you mean LoadBalancer?",
        ],
    );
}

#[test]
fn ports() {
    let port = |port: &str, wanted: &[&str]| {
        spec_tells(&format!("  ports:\n  - {{nodePort: 30080, {port}}}\n"), wanted);
    };
    port("port: 0", &["E 7: spec.ports[0].port: 0 is not a port; 1 to 65535 is"]);
    port("port: 65536", &["E 7: spec.ports[0].port: 65536 is not a port; 1 to 65535 is"]);
    port("port: -1", &["E 7: spec.ports[0].port: -1 is not a port; 1 to 65535 is"]);
    port("port: '80'", &["E 7: spec.ports[0].port: text where a number without quotes is wanted"]);
    port("port: 80.5", &["E 7: spec.ports[0].port: a number where a whole number is wanted"]);
    port("protocol: TCP", &["E 7: spec.ports[0].port is missing; 1 to 65535 is right"]);
    port(
        "port: 80, protocol: tcp",
        &["E 7: spec.ports[0].protocol: `tcp` is none of TCP, UDP, SCTP; did you mean TCP?"],
    );
    port(
        "port: 80, targetPort: 8080/tcp",
        &[
            "E 7: spec.ports[0].targetPort: `8080/tcp` is not a target; a port from 1 to 65535, or a name of at most 15 small letters, digits and `-`, would be",
        ],
    );
    port(
        "port: 80, targetPort: 70000",
        &["E 7: spec.ports[0].targetPort: 70000 is not a port; 1 to 65535 is"],
    );
    port(
        "port: 80, name: HTTP",
        &[
            "E 7: spec.ports[0].name: `HTTP` is not a port's name; at most 63 small letters, digits and `-`, no `-` at either end would be",
        ],
    );
    port("port: 80, protocol: SCTP", &["W 7: port SCTP 80 is not served: SCTP is not supported"]);
    port("port: 80, targetPort: http, appProtocol: kubernetes.io/h2c", &[]);
}

#[test]
fn node_ports() {
    spec_tells(
        "  ports:\n  - {port: 80, nodePort: 8080}\n",
        &["N 7: spec.ports[0].nodePort: 8080 is outside of the usual 30000-32767"],
    );
    spec_tells(
        "  ports:\n  - {port: 80, nodePort: 65536}\n",
        &["E 7: spec.ports[0].nodePort: 65536 is not a port; 1 to 65535 is"],
    );
    spec_tells(
        "  ports:\n  - {port: 80, nodePort: 0}\n",
        &[
            "W 7: port TCP 80 has no nodePort, and nobody allocates one here; `nodePort: 30080` or the like is wanted",
        ],
    );
}

#[test]
fn several_ports() {
    spec_tells(
        "  ports:\n  - {port: 80, nodePort: 30080}\n  - {port: 81, nodePort: 30081, name: b}\n",
        &["E 7: spec.ports[0].name is missing; where there are several ports, each has a name"],
    );
    spec_tells(
        "  ports:\n  - {port: 80, nodePort: 30080, name: a}\n  - {port: 80, nodePort: 30080, name: a}\n",
        &[
            "E 8: spec.ports[1].name: `a` is there twice, first in spec.ports[0].name",
            "E 8: spec.ports[1].nodePort: TCP 30080 is there twice, first in spec.ports[0].nodePort",
            "E 8: spec.ports[1].port: TCP 80 is there twice, first in spec.ports[0].port",
        ],
    );
    // One number for two protocols is right, in both places.
    spec_tells(
        "  ports:\n  - {port: 53, nodePort: 30053, name: a}\n  - {port: 53, nodePort: 30053, name: b, protocol: UDP}\n",
        &[],
    );
}

#[test]
fn policies_and_affinity() {
    spec_tells(
        "  externalTrafficPolicy: local\n",
        &[
            "E 7: spec.externalTrafficPolicy: `local` is none of Cluster, Local; did you mean Local?",
        ],
    );
    spec_tells(
        "  healthCheckNodePort: 31000\n",
        &["E 7: spec.healthCheckNodePort: has a meaning only with externalTrafficPolicy: Local"],
    );
    spec_tells("  healthCheckNodePort: 0\n", &[]);
    spec_tells(
        "  externalTrafficPolicy: Local\n",
        &[
            "N 7: spec.healthCheckNodePort is not set: nodes with local endpoints are known from EndpointSlices only",
        ],
    );
    spec_tells(
        "  externalTrafficPolicy: Local\n  healthCheckNodePort: 30080\n",
        &["E 8: spec.healthCheckNodePort: 30080 is the nodePort of one of spec.ports too"],
    );
    for seconds in ["0", "86401", "-5"] {
        spec_tells(
            &format!(
                "  sessionAffinity: ClientIP\n  sessionAffinityConfig:\n    clientIP:\n      timeoutSeconds: {seconds}\n"
            ),
            &[&format!(
                "E 10: spec.sessionAffinityConfig.clientIP.timeoutSeconds: {seconds} s is out of range; 1 to 86400 is right"
            )],
        );
    }
    spec_tells(
        "  sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}\n",
        &["E 7: spec.sessionAffinityConfig has a meaning only with sessionAffinity: ClientIP"],
    );
    spec_tells(
        "  externalIPs: [192.0.2.1]\n",
        &[
            "N 7: spec.externalIPs is never read; ask for an address by the annotation roadstead.io/addresses",
        ],
    );
    spec_tells(
        "  loadBalancerClass: ''\n",
        &["E 7: spec.loadBalancerClass: not a class; `roadstead.io/load-balancer` would be"],
    );
}

#[test]
fn families_that_contradict() {
    spec_tells(
        "  ipFamilyPolicy: SingleStack\n  ipFamilies: [IPv4, IPv6]\n",
        &[
            "E 7: spec.ipFamilyPolicy: SingleStack with two families; PreferDualStack or RequireDualStack would be right",
        ],
    );
    spec_tells("  ipFamilies: [IPv4, IPv4]\n", &["E 7: spec.ipFamilies[1]: IPv4 is there twice"]);
    spec_tells(
        "  ipFamilies: [IPv5]\n",
        &["E 7: spec.ipFamilies[0]: `IPv5` is none of IPv4, IPv6; did you mean IPv4?"],
    );
    spec_tells(
        "  ipFamilies: [IPv6]\n  clusterIP: 198.51.100.1\n",
        &["E 7: spec.ipFamilies and spec.clusterIPs name the families in a different order"],
    );
    spec_tells(
        "  clusterIP: None\n",
        &["E 7: spec.clusterIP: None (headless) cannot be of type LoadBalancer"],
    );
}

#[test]
fn source_ranges_are_never_read_as_leave_for_all() {
    let refused = |spec: &str, wanted: &[&str]| {
        spec_tells(spec, wanted);
        let parsed = parse(&with_spec(spec));
        assert!(matches!(parsed.items.as_slice(), [Item { content: Content::Refused { .. }, .. }]));
    };
    refused(
        "  loadBalancerSourceRanges:\n  - 203.0.113.0/24\n  - 192.0.2.7\n  - 2001:db8::1\n  - 192.0.2.0/33\n  - ''\n",
        &[
            "E 9: spec.loadBalancerSourceRanges[1]: `192.0.2.7` is not a range; `192.0.2.7/32` would be",
            "E 10: spec.loadBalancerSourceRanges[2]: `2001:db8::1` is not a range; `2001:db8::1/128` would be",
            "E 11: spec.loadBalancerSourceRanges[3]: `192.0.2.0/33` is not a range; `192.0.2.0/24` would be",
            "E 12: spec.loadBalancerSourceRanges[4]: `` is not a range; `192.0.2.0/24` would be",
        ],
    );
    refused(
        "  loadBalancerSourceRanges: 203.0.113.0/24\n",
        &["E 7: spec.loadBalancerSourceRanges: text where a list is wanted"],
    );
    refused(
        "  loadBalancerSourceRanges: [null]\n",
        &["E 7: spec.loadBalancerSourceRanges[0]: nothing where text is wanted"],
    );
}

#[test]
fn a_family_that_no_source_range_lets_in_is_told() {
    let dual = "  ipFamilyPolicy: RequireDualStack\n  ports: [{port: 80, nodePort: 30080}]\n";
    let only = |ranges: &str| format!("{dual}  loadBalancerSourceRanges: [{ranges}]\n");
    spec_tells(&only("'::/0'"), &["W 8: no source range is of IPv4: no client may come over IPv4"]);
    spec_tells(
        &only("203.0.113.0/24"),
        &["W 8: no source range is of IPv6: no client may come over IPv6"],
    );
    spec_tells(&only("203.0.113.0/24, '2001:db8::/32'"), &[]);
}

#[test]
fn annotations() {
    let annotated = |annotation: &str, wanted: &[&str]| {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  annotations:\n    {annotation}\nspec: {{type: LoadBalancer, ports: [{{port: 80, nodePort: 30080}}]}}\n"
        );
        tells(&text, wanted);
    };
    annotated(
        "roadstead.io/addresses: 192.0.2.300",
        &[
            "E 6: Service default/web: metadata.annotations.roadstead.io/addresses: `192.0.2.300` is not an address; 192.0.2.10 or 2001:db8::10 would be",
        ],
    );
    annotated(
        "roadstead.io/addresses: ::ffff:192.0.2.3",
        &[
            "E 6: Service default/web: metadata.annotations.roadstead.io/addresses: `::ffff:192.0.2.3` is to be written 192.0.2.3",
        ],
    );
    annotated(
        "roadstead.io/address: 192.0.2.3",
        &[
            "W 6: Service default/web: annotation roadstead.io/address: no such annotation; did you mean roadstead.io/addresses?",
        ],
    );
    annotated(
        "metallb.universe.tf/address-pool: lan",
        &[
            "W 6: Service default/web: annotation metallb.universe.tf/address-pool is deprecated; metallb.io/address-pool is read too",
        ],
    );
    annotated(
        "service.beta.kubernetes.io/load-balancer-source-ranges: 192.0.2.0/24,",
        &[
            "E 6: Service default/web: metadata.annotations.service.beta.kubernetes.io/load-balancer-source-ranges: `` is not a range; `192.0.2.0/24` would be",
        ],
    );
}

#[test]
fn nodes() {
    let node = |status: &str, wanted: &[&str]| {
        tells(
            &format!("apiVersion: v1\nkind: Node\nmetadata: {{name: n1}}\nstatus:\n{status}"),
            wanted,
        );
    };
    let no_address = "W 1: Node n1: status.addresses has no InternalIP: nothing can be sent to this node; `- {type: InternalIP, address: 192.0.2.5}` would be one";
    node("  phase: Running\n", &[no_address]);
    node("  addresses: [{type: ExternalIP, address: 192.0.2.1}]\n", &[no_address]);
    for (address, what) in [
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("0.0.0.0", "the unspecified address"),
        ("224.0.0.5", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("255.255.255.255", "the broadcast address"),
        ("169.254.1.1", "a link-local address"),
        ("fe80::1", "a link-local address"),
    ] {
        node(
            &format!("  addresses:\n  - type: InternalIP\n    address: '{address}'\n"),
            &[&format!(
                "E 7: Node n1: status.addresses[0].address: {address} is {what}, which no other host can reach"
            )],
        );
    }
    node(
        "  addresses:\n  - type: InternalIP\n    address: n1\n",
        &[
            "E 7: Node n1: status.addresses[0].address: `n1` is not an address; 192.0.2.10 or 2001:db8::10 would be",
        ],
    );
    node(
        "  adresses: []\n",
        &[no_address, "W 5: Node n1: status.adresses: no such field; did you mean addresses?"],
    );
}

#[test]
fn endpoint_slices() {
    let slice = |rest: &str, wanted: &[&str]| {
        tells(
            &format!(
                "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: a, labels: {{kubernetes.io/service-name: web}}}}\n{rest}"
            ),
            wanted,
        );
    };
    slice(
        "",
        &["E 1: EndpointSlice default/a: addressType is missing; IPv4 or IPv6 would be right"],
    );
    slice(
        "addressType: FQDN\nendpoints: [{addresses: [example.com]}]\n",
        &["N 4: EndpointSlice default/a: passed over: its addresses are names (addressType FQDN)"],
    );
    slice(
        "addressType: IPv4\nendpoints:\n- addresses: ['2001:db8::1']\n",
        &[
            "E 6: EndpointSlice default/a: endpoints[0].addresses[0]: 2001:db8::1 is not IPv4, which addressType says",
        ],
    );
    slice(
        "addressType: IPv4\nendpoints:\n- addresses: []\n",
        &["E 6: EndpointSlice default/a: endpoints[0].addresses: 1 to 100 addresses are right"],
    );
    slice(
        "addressType: IPv4\nendpoints:\n- addresses: [192.0.2.1]\n  conditions:\n    ready: 'yes'\n    redy: true\n",
        &[
            "E 8: EndpointSlice default/a: endpoints[0].conditions.ready: text where true or false is wanted",
            "W 9: EndpointSlice default/a: endpoints[0].conditions.redy: no such field; did you mean ready?",
        ],
    );
    tells(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\n",
        &[
            "N 1: EndpointSlice default/a: passed over: no label kubernetes.io/service-name says whose it is",
        ],
    );
}

#[test]
fn problems_are_bounded_and_the_worst_are_kept() {
    let many: String = (0..60).map(|i| format!("  typo{i}: 1\n")).collect();
    let object = with_spec(&many).replace("port: 80", "port: 0");
    let parsed = parse(&object);
    assert_eq!(parsed.problems.len(), 51, "of one object");
    assert!(told(&parsed).iter().any(|line| line.starts_with('E')));
    let many: String = (0..150).map(|_| object.clone() + "---\n").collect();
    let told = told(&parse(&many));
    assert_eq!(told.len(), MAX_PROBLEMS + 1, "of one file");
    assert!(told.iter().filter(|line| line.starts_with('E')).count() == MAX_PROBLEMS);
    assert_eq!(told.first().map(String::as_str), Some("N 0: 7550 more problems are not shown"));
}

#[test]
fn an_object_keeps_few_of_its_warnings() {
    let many: String = (0..60).map(|i| format!("  typo{i}: 1\n")).collect();
    let text = with_spec(&many);
    match only(parse(&text), &text) {
        Object::Service(service) => assert_eq!(service.warnings.len(), 20),
        other => panic!("a Service wanted, not {other:?}"),
    }
}

#[test]
fn foreign_kinds_are_bounded() {
    let many: String =
        (0..500).map(|i| format!("apiVersion: example.com/v1\nkind: K{i}\n---\n")).collect();
    let parsed = parse(&many);
    assert_eq!(parsed.foreign.len(), 101);
    assert_eq!(parsed.foreign.iter().map(|foreign| foreign.count).sum::<usize>(), 500);
}

#[test]
fn too_many_objects_are_refused_whole() {
    let text = format!("apiVersion: v1\nkind: List\nitems: [{}]\n", "{},".repeat(MAX_OBJECTS + 1));
    let parsed = parse(&text);
    assert_eq!(parsed.reading, Reading::Broken);
    assert_eq!(parsed.problems.len(), 1);
}

#[test]
fn more_values_than_are_read_at_once_are_refused_with_the_bounds() {
    let text = format!("x: [{}]\n", "a,".repeat(800_000));
    let told = parse_file(&SourceName::new("local"), Path::new("/m/a.yaml"), &text);
    let problem = told.problems.first().map(|problem| problem.message.clone());
    assert_eq!(
        problem.as_deref(),
        Some(
            "the file is not used: it holds more than is read at once (at most 750000 values, 20000 documents, 48 levels, 1000 aliases); split it"
        )
    );
}
