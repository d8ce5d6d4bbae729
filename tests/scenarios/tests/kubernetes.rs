//! Over a real control plane and real kube-proxies (`roadstead_lab::kube`). Every test that needs
//! their programs stands below this module: `cargo xtask test` leaves it out by its name where
//! they cannot be had, and says so.

mod clusters;
mod metallb;
mod node_ports;
mod nodes;
mod outage;
mod plane;
mod rights;
mod source;
mod strangers;
mod tokens;
mod watched;
mod writing;

use anyhow::Result;
use roadstead_lab::{
    Lab,
    kube::{Cluster, Shared},
};
use roadstead_scenarios::world::beside_others;

/// A cluster of two nodes that several tests use at once: each with objects of its own names.
struct Common {
    // Before the lab: its processes run in the lab's namespaces.
    cluster: Cluster,
    lab: Lab,
}

static COMMON: Shared<Common> = Shared::new();

/// Runs a test on the common cluster; a failure keeps the logs.
fn on_common(test: impl FnOnce(&Common) -> Result<()>) -> Result<()> {
    let _turn = beside_others();
    let common = COMMON.join(|| {
        let lab = Cluster::topology(2).build("kubernetes")?;
        let cluster = explained(&lab, Cluster::start(&lab, 2))?;
        Ok(Common { cluster, lab })
    })?;
    explained(&common.lab, test(&common))
}

fn explained<T>(lab: &Lab, outcome: Result<T>) -> Result<T> {
    if outcome.is_err() {
        println!("{}", lab.explain_failure());
    }
    outcome
}
