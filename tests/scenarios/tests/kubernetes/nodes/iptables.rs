//! A node whose kube-proxy runs in iptables mode, the default of Kubernetes, beside nodes in nftables
//! mode.
//!
//! Input: Services of both policies with a pod on that node. Output: it passes connections and
//! datagrams on like the others, over both families.

use anyhow::{Result, ensure};
use roadstead_lab::{eventually, kube::ProxyMode};
use roadstead_scenarios::ask;
use serde_json::json;

use super::{App, SOON, service, with_nodes};

/// A Service of a policy with TCP port 80 and UDP port 53, and a pod on node2.
fn serve<'n>(nodes: &'n super::Nodes, name: &str, policy: &str) -> Result<App<'n>> {
    let mut service = service(name);
    service["spec"]["externalTrafficPolicy"] = json!(policy);
    service["spec"]["ports"] = json!([
        {"name": "main", "protocol": "TCP", "port": 80, "targetPort": 8080},
        {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 8080},
    ]);
    nodes.serve_as(&service, &[2])
}

#[test]
fn a_node_in_iptables_mode_serves_like_the_others() -> Result<()> {
    with_nodes(|nodes| {
        let mut cluster = serve(nodes, "legacy-cluster", "Cluster")?;
        let mut local = serve(nodes, "legacy-local", "Local")?;
        let plane = nodes.cluster.plane();
        let mut node = nodes.cluster.prepare_node(&nodes.lab, ProxyMode::Iptables)?;
        node.register(plane)?;
        node.start_proxy()?;
        for app in [&mut cluster, &mut local] {
            let pod = format!("{}-2", app.name);
            app.pods.push(node.run_pod(&nodes.lab, plane, &pod, &[("app", &app.name)])?);
        }
        cluster.first_hops(&[1, 2, 3])?;
        cluster.answered_by(&["legacy-cluster-1", "legacy-cluster-2"])?;
        local.answered_by(&["legacy-local-1", "legacy-local-2"])?;
        let rules = node.host().run(&["iptables-save", "-t", "nat"])?;
        ensure!(rules.contains("KUBE-NODEPORTS"), "it is no node in iptables mode: {rules}");
        for app in [&cluster, &local] {
            app.at.port(53).into_iter().try_for_each(|to| {
                eventually(&format!("{to} answers datagrams"), SOON, || {
                    ask::udp(nodes.client()?, to).map(drop)
                })
            })?;
            app.keep_asking()?.all_answered()?;
        }
        let names = [cluster, local].map(App::end);
        names.into_iter().collect::<Result<()>>()?;
        node.leave(plane)
    })
}
