//! Where the programs of Kubernetes are: `KUBEBUILDER_ASSETS`, or what `cargo xtask test` built.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::artifacts::target_dir;

/// The folder that envtest reads too; it must hold every component that is asked for.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// The path of a component (`etcd`, `kube-apiserver`, `kube-controller-manager`, `kube-proxy`,
/// `kubectl`); an error that says how to get it.
pub fn component(name: &str) -> Result<PathBuf> {
    let given = std::env::var_os(ASSETS).map(PathBuf::from);
    let dir = given.map_or_else(|| Ok(target_dir()?.join("kube")), anyhow::Ok)?;
    let path = dir.join(name);
    ensure!(
        path.exists(),
        "{} is not there: `cargo xtask test` builds it where Go is, or {ASSETS} names a folder \
         that holds it",
        path.display()
    );
    Ok(path)
}
