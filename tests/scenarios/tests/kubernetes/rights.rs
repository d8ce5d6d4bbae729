//! What `roadstead kubeconfig` gives the daemons on a real API server: what they need, and nothing
//! more; for as long as they go on renewing it.
//!
//! That the roles are enough is shown by every other scenario of this folder: all of their daemons
//! live by them.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use roadstead_lab::{
    eventually,
    kube::{Admission, Admitted, Kubectl},
};
use serde_json::{Value, json};

use super::{Common, on_common};

const SOON: Duration = Duration::from_secs(30);

/// Roles are a cluster's: one test at a time looks at them or changes them.
static ROLES: Mutex<()> = Mutex::new(());

fn on_roles(test: impl FnOnce(&Common) -> Result<()>) -> Result<()> {
    on_common(|common| {
        let _roles = ROLES.lock().unwrap_or_else(PoisonError::into_inner);
        test(common)
    })
}

fn admitted(common: &Common, name: &str) -> Result<Admitted> {
    let dir = common.lab.dir().join(format!("rights-{name}"));
    Admission::new(name, &dir).run(common.cluster.plane())
}

/// kubectl with one of the files that a daemon is given.
fn kubectl(common: &Common, file: &Path) -> Result<Kubectl> {
    let home = file.with_extension("home");
    std::fs::create_dir_all(&home)?;
    Kubectl::new(common.cluster.plane().host(), file.to_owned(), home)
}

/// Whether the API server would let somebody `VERB GROUP/RESOURCE[/SUBRESOURCE] [NAMESPACE[/NAME]]`
/// (SelfSubjectAccessReview); the core group is called `core`.
fn may(who: &Kubectl, question: &str) -> Result<bool> {
    let mut words = question.split(' ');
    let verb = words.next().context("a verb")?;
    let mut what = words.next().context("a resource")?.split('/');
    let group = what.next().map(|group| if group == "core" { "" } else { group });
    let (resource, subresource) = (what.next().context("a resource")?, what.next());
    let mut place = words.next().unwrap_or_default().splitn(2, '/');
    let (namespace, name) = (place.next(), place.next());
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "verb": verb, "group": group, "resource": resource,
            "subresource": subresource.unwrap_or_default(),
            "namespace": namespace.unwrap_or_default(), "name": name.unwrap_or_default(),
        }},
    });
    let answer =
        who.feed(&["create", "--validate=false", "-o", "json", "-f", "-"], &review.to_string())?;
    let answer: Value = serde_json::from_str(&answer)?;
    answer["status"]["allowed"].as_bool().context("an answer")
}

/// What each daemon may do.
const BOTH: &[&str] = &[
    "watch core/services",
    "list core/nodes",
    "list discovery.k8s.io/endpointslices",
    "watch metallb.io/ipaddresspools",
];

/// What the speaker may do and the router not.
const SPEAKERS: &[&str] = &[
    "list core/namespaces",
    "patch core/services/status",
    "create events.k8s.io/events",
    "patch events.k8s.io/events",
    "update coordination.k8s.io/leases roadstead-system/roadstead-writer",
    "create core/serviceaccounts/token roadstead-system/roadstead-speaker",
];

/// What none of them may do.
const NOBODYS: &[&str] = &[
    "update core/services",
    "patch core/services",
    "update core/services/status",
    "patch core/nodes",
    "list core/secrets",
    "get core/secrets roadstead-system",
    "list core/pods",
    "list core/configmaps kube-system",
    "create coordination.k8s.io/leases roadstead-system",
    "update coordination.k8s.io/leases roadstead-system/other",
    "update coordination.k8s.io/leases default/roadstead-writer",
    "create core/serviceaccounts/token default/default",
    "create core/serviceaccounts/token roadstead-system",
    "impersonate core/users",
    "escalate rbac.authorization.k8s.io/clusterroles",
    "patch metallb.io/ipaddresspools",
    "delete events.k8s.io/events",
];

/// In: a cluster that never heard of us. Out: two files for their owner only, by which each daemon
/// may do its work, and neither may do anything that it has no need for.
#[test]
fn each_daemon_may_do_its_work_and_nothing_else() -> Result<()> {
    on_roles(|common| {
        let files = admitted(common, "least")?;
        for file in [&files.speaker, &files.router] {
            let mode = std::fs::metadata(file)?.permissions().mode() & 0o777;
            ensure!(mode == 0o600, "{} has mode {mode:o}", file.display());
        }
        let (speaker, router) = (kubectl(common, &files.speaker)?, kubectl(common, &files.router)?);
        eventually("the roles count", SOON, || {
            ensure!(
                may(&speaker, "list core/nodes")? && may(&router, "list core/nodes")?,
                "not yet"
            );
            Ok(())
        })?;
        for question in BOTH {
            ensure!(may(&speaker, question)?, "the speaker may not {question}");
            ensure!(may(&router, question)?, "the router may not {question}");
        }
        for question in SPEAKERS {
            ensure!(may(&speaker, question)?, "the speaker may not {question}");
            ensure!(!may(&router, question)?, "the router may {question}");
        }
        for question in NOBODYS {
            ensure!(!may(&speaker, question)?, "the speaker may {question}");
            ensure!(!may(&router, question)?, "the router may {question}");
        }
        let own = "create core/serviceaccounts/token roadstead-system/roadstead-router";
        ensure!(may(&router, own)?, "the router may not renew its token");
        Ok(())
    })
}

/// A rule that somebody has added goes, an old token is good until it runs out, and what a Lease
/// holds stays.
#[test]
fn doing_it_again_restores_the_roles_and_leaves_the_lease_alone() -> Result<()> {
    on_roles(|common| {
        let first = admitted(common, "first")?;
        let admin = common.cluster.kubectl()?;
        let more = r#"[{"op": "add", "path": "/rules/-", "value":
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}}]"#;
        admin.run(&["patch", "clusterrole", "roadstead-router", "--type=json", "-p", more])?;
        let lease = ["lease", "roadstead-writer", "-n", "roadstead-system"];
        let held = r#"{"spec": {"holderIdentity": "edge1", "leaseDurationSeconds": 15}}"#;
        admin.run(&[&["patch"], &lease[..], &["--type=merge", "-p", held]].concat())?;
        let router = kubectl(common, &first.router)?;
        eventually("the rule counts", SOON, || {
            ensure!(may(&router, "list core/secrets")?, "not yet");
            Ok(())
        })?;
        admitted(common, "second")?;
        eventually("the rule is gone", SOON, || {
            ensure!(!may(&router, "list core/secrets")?, "the router may list Secrets");
            Ok(())
        })?;
        ensure!(may(&router, "list core/nodes")?, "the first token is no longer good");
        let holder = admin.get(&lease)?["spec"]["holderIdentity"].clone();
        ensure!(holder == "edge1", "the Lease is held by {holder}");
        Ok(())
    })
}

/// Manifests are printed as they are applied, for those who apply by themselves.
#[test]
fn the_printed_manifests_are_what_is_applied() -> Result<()> {
    on_roles(|common| {
        admitted(common, "printed")?;
        let program = roadstead_lab::process::built("roadstead")?.display().to_string();
        let edge = common.lab.edge()?;
        let printed = edge.output(&[&program, "kubeconfig", "--print"])?;
        let text = String::from_utf8(printed.stdout)?;
        let changes = common.cluster.kubectl()?.feed(&["diff", "-f", "-"], &text);
        let said = changes.context("what is printed differs from what was applied")?;
        ensure!(said.is_empty(), "{said}");
        Ok(())
    })
}

/// Nobody is let in by a kubeconfig that verifies nobody, and an API server that refuses is told.
#[test]
fn who_may_not_set_it_up_is_told_which_step_was_refused() -> Result<()> {
    on_common(|common| {
        let (plane, dir) = (common.cluster.plane(), common.lab.dir().join("rights-refused"));
        std::fs::create_dir_all(&dir)?;
        let mine = dir.join("mine.kubeconfig");
        plane.kubeconfig(&roadstead_lab::kube::Identity::Proxy.token())?.write(&mine)?;
        let program = roadstead_lab::process::built("roadstead")?.display().to_string();
        let (from, out) =
            (format!("--kubeconfig={}", mine.display()), format!("--out={}", dir.display()));
        let output = plane.host().output(&[&program, "kubeconfig", &from, &out])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{:?}: {said}", output.status);
        ensure!(said.contains("Namespace roadstead-system: the API server answers 403"), "{said}");
        ensure!(!dir.join("home.speaker.kubeconfig").exists(), "a file was written");
        Ok(())
    })
}
