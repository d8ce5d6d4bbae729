//! A node that is about to be deleted (KEP-3836).
//!
//! Input: the taint of the cluster autoscaler, which kube-proxy sees too. Output: kube-proxy says 503
//! on its health port, new connections go elsewhere, those of the node live (K7); the Node object is
//! there all the while, so that nothing but the probe tells (K6).

use anyhow::{Result, ensure};
use roadstead_lab::eventually;

use super::{SOON, with_nodes};

const TAINT: &str = "ToBeDeletedByClusterAutoscaler";

#[test]
fn a_node_that_will_be_deleted_gets_nothing_new_and_keeps_what_it_has() -> Result<()> {
    with_nodes(|nodes| {
        let app = nodes.serve("drained", &[1, 2])?;
        app.first_hops(&[1, 2])?;
        let running = app.keep_asking()?;
        let kubectl = nodes.kubectl()?;
        kubectl.run(&["taint", "node", "node2", &format!("{TAINT}=1:NoSchedule")])?;
        eventually("kube-proxy says 503", SOON, || {
            let reply = nodes.cluster.node(2)?.healthz()?;
            ensure!(reply.status == 503, "{reply:?}");
            Ok(())
        })?;
        app.first_hops(&[1])?;
        kubectl.run(&["taint", "node", "node2", &format!("{TAINT}-")])?;
        app.first_hops(&[1, 2])?;
        running.all_answered()?;
        app.end()
    })
}
