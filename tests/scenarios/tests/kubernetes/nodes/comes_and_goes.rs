//! A node joins the cluster and leaves it, under load.
//!
//! Input: a Node object whose kube-proxy starts later; the same Node deleted while its kube-proxy
//! runs. Output: it gets connections as soon as its NodePorts answer and none before; when its Node is
//! gone it gets none, and those that it has go on (S4). Not a request is lost.

use anyhow::Result;
use roadstead_lab::{Load, kube::ProxyMode};

use super::{SOON, with_nodes};

#[test]
fn a_node_is_used_from_its_first_answer_to_the_end_of_its_object() -> Result<()> {
    with_nodes(|nodes| {
        let app = nodes.serve("joined", &[1])?;
        app.first_hops(&[1, 2])?;
        let requests = app.load(|to| Load::connect(to).rate(50))?;
        let mut node = nodes.cluster.prepare_node(&nodes.lab, ProxyMode::Nftables)?;
        node.register(nodes.cluster.plane())?;
        nodes.edge.wait_service(&app.key(), "node3 is known and unused", SOON, |found| {
            let mut backends = found.ports.iter().flat_map(|port| &port.backends);
            backends.any(|backend| backend.node == "node3" && backend.weight == 0).then_some(())
        })?;
        app.first_hops(&[1, 2])?;
        node.start_proxy()?;
        app.first_hops(&[1, 2, 3])?;
        let running = app.keep_asking()?;
        nodes.kubectl()?.run(&["delete", "node", "node3"])?;
        app.first_hops(&[1, 2])?;
        requests.all_answered()?;
        running.all_answered()?;
        node.leave(nodes.cluster.plane())?;
        app.end()
    })
}
