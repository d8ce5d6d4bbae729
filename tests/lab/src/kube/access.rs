//! The daemons as clients of a control plane, as a user lets them in: the roles of
//! `etc/kubernetes`, a bound token for each ServiceAccount, a kubeconfig for each daemon.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    edge::{DaemonName, Edge},
    kube::plane::Plane,
};

/// The manifests that a user applies, in the order of their names: the namespace comes first.
const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../etc/kubernetes");
/// Where the ServiceAccounts are.
const NAMESPACE: &str = "roadstead-system";

/// What RBAC and the audit log call a daemon.
pub fn user(daemon: DaemonName) -> String {
    format!("system:serviceaccount:{NAMESPACE}:{}", account(daemon))
}

/// Lets the daemons of an edge host in; returns the `[[source]]` of this name for its
/// configuration.
pub fn admit(plane: &Plane, edge: &Edge, name: &str) -> Result<String> {
    apply_roles(plane)?;
    let mut files = Vec::new();
    for daemon in DaemonName::ALL {
        let file = edge.config().with_file_name(format!("{name}.{}", daemon.as_str()));
        plane.kubeconfig(&token(plane, daemon)?)?.write(&file)?;
        files.push(format!("{} = \"{}\"", daemon.as_str(), file.display()));
    }
    Ok(format!("[[source]]\nname = \"{name}\"\nkubeconfig = {{ {} }}\n\n", files.join(", ")))
}

fn apply_roles(plane: &Plane) -> Result<()> {
    let mut files: Vec<_> = fs::read_dir(MANIFESTS)
        .with_context(|| format!("cannot read {MANIFESTS}"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let texts = files.iter().filter(|file| is_yaml(file)).map(fs::read_to_string);
    let manifests = texts.collect::<Result<Vec<_>, _>>()?.join("\n---\n");
    plane.kubectl()?.apply(
        &manifests.replace(
            "resources: [services, nodes]\n",
            "resources: [services, nodes, namespaces]\n",
        ),
    )
}

/// A token that is bound to the daemon's ServiceAccount, for an hour.
fn token(plane: &Plane, daemon: DaemonName) -> Result<String> {
    let kubectl = plane.kubectl()?;
    let token = kubectl.run(&["create", "token", &account(daemon), "--namespace", NAMESPACE])?;
    Ok(token.trim().to_owned())
}

fn account(daemon: DaemonName) -> String {
    format!("roadstead-{}", daemon.as_str())
}

fn is_yaml(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "yaml")
}
