//! The manifests hold these rights and no other, and the text says what is left to do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::output::Buffers;

fn arguments() -> KubeconfigArguments {
    KubeconfigArguments {
        kubeconfig: Some("/nonexistent/admin".into()),
        context: None,
        name: "home".to_owned(),
        server: None,
        out: "/nonexistent".into(),
        duration: Duration::from_secs(600),
        print: false,
    }
}

/// Objects of the manifests by kind and name.
fn objects() -> BTreeMap<(String, String), Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(&manifests()).expect("YAML");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    objects.into_iter().map(|it| ((text(&it["kind"]), text(&it["metadata"]["name"])), it)).collect()
}

fn rules(kind: &str, name: &str) -> Value {
    objects().remove(&(kind.to_owned(), name.to_owned())).expect("a role")["rules"].clone()
}

/// Nothing is written but status, Events, one Lease and one's own token; no Secret is read.
#[test]
fn each_daemon_may_do_this_and_nothing_more() {
    let token = |account: &str| json!({"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [account], "verbs": ["create"]});
    let slices = json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]});
    let metallb = json!({"apiGroups": ["metallb.io"], "resources": ["ipaddresspools", "l2advertisements", "bgpadvertisements", "bgppeers", "bfdprofiles", "communities"], "verbs": ["list", "watch"]});
    assert_eq!(
        rules("ClusterRole", "roadstead-router"),
        json!([
            {"apiGroups": [""], "resources": ["services", "nodes"], "verbs": ["list", "watch"]},
            slices,
            metallb,
        ])
    );
    assert_eq!(rules("Role", "roadstead-router"), json!([token("roadstead-router")]));
    assert_eq!(
        rules("ClusterRole", "roadstead-speaker"),
        json!([
            {"apiGroups": [""], "resources": ["services", "nodes", "namespaces"], "verbs": ["list", "watch"]},
            slices,
            {"apiGroups": [""], "resources": ["services/status"], "verbs": ["patch"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
            metallb,
        ])
    );
    assert_eq!(
        rules("Role", "roadstead-speaker"),
        json!([
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["roadstead-writer"], "verbs": ["get", "update"]},
            token("roadstead-speaker"),
        ])
    );
}

#[test]
fn there_is_an_account_with_its_own_bindings_for_each_daemon_and_nothing_else() {
    let kinds: Vec<String> =
        objects().into_keys().map(|(kind, name)| format!("{kind} {name}")).collect();
    assert_eq!(
        kinds,
        [
            "ClusterRole roadstead-router",
            "ClusterRole roadstead-speaker",
            "ClusterRoleBinding roadstead-router",
            "ClusterRoleBinding roadstead-speaker",
            "Lease roadstead-writer",
            "Namespace roadstead-system",
            "Role roadstead-router",
            "Role roadstead-speaker",
            "RoleBinding roadstead-router",
            "RoleBinding roadstead-speaker",
            "ServiceAccount roadstead-router",
            "ServiceAccount roadstead-speaker",
        ]
    );
    for ((kind, name), object) in objects() {
        if kind.ends_with("Binding") {
            let role = kind.trim_end_matches("Binding");
            let group = "rbac.authorization.k8s.io";
            assert_eq!(
                object["roleRef"],
                json!({"apiGroup": group, "kind": role, "name": name}),
                "{kind}"
            );
            let subject =
                json!({"kind": "ServiceAccount", "name": name, "namespace": setup::NAMESPACE});
            assert_eq!(object["subjects"], json!([subject]), "{kind}");
        }
    }
}

#[tokio::test]
async fn the_manifests_are_printed_without_a_word_to_a_cluster() {
    let buffers = Buffers::default();
    let arguments = KubeconfigArguments { print: true, ..arguments() };
    let mut out = buffers.output();
    assert_eq!(run(&arguments, &mut out).await, Exit::Fine);
    out.flush();
    assert_eq!(buffers.printed().trim_end(), manifests());
}

#[tokio::test]
async fn a_kubeconfig_that_is_not_there_is_named() {
    let mut out = Buffers::default().output();
    assert_eq!(run(&arguments(), &mut out).await, Exit::Problem);
}

#[test]
fn the_answer_can_be_pasted_into_the_configuration() {
    let credentials = DAEMONS.map(|daemon| Credentials {
        daemon,
        kubeconfig: String::new(),
        lasts: Duration::from_secs(86_400 * 7),
    });
    let written: Vec<_> = credentials
        .iter()
        .map(|it| (it, PathBuf::from(format!("/etc/roadstead/{}", it.daemon.as_str()))))
        .collect();
    assert_eq!(
        told("home", &written),
        "# /etc/roadstead/speaker: a token for 7 days, which the speaker renews\n\
         # /etc/roadstead/router: a token for 7 days, which the router renews\n\
         [[source]]\nname = \"home\"\n\
         kubeconfig = { speaker = \"/etc/roadstead/speaker\", router = \"/etc/roadstead/router\" }\n"
    );
}

#[test]
fn a_server_that_only_its_own_host_reaches_is_noticed() {
    for own in ["https://127.0.0.1:6443", "https://localhost:6443", "https://[::1]:6443"] {
        assert!(is_loopback(own), "{own}");
    }
    assert!(!is_loopback("https://192.0.2.1:6443"));
}
