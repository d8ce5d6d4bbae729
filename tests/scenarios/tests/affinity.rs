//! `sessionAffinity: ClientIP`.
//!
//! Input: a Service with affinity and clients with many addresses. Output: connections of one
//! address go to one node, the addresses spread over the nodes.
//! On the wire: nothing but the choice of the node.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use roadstead_lab::{Load, edge::ServiceYaml};
use roadstead_scenarios::{World, scenario};
use serde_json::json;

#[test]
fn an_address_stays_on_its_node_and_addresses_spread() -> Result<()> {
    scenario(
        || World::routed("affinity"),
        |world| {
            let client = world.client()?;
            let web =
                ServiceYaml::new("web").tcp(80, 30000).set("sessionAffinity", json!("ClientIP"));
            let to = world.serve_at("web", &web, 80)?;
            let mut nodes = Vec::new();
            for last in 20..40 {
                let from = Ipv4Addr::new(198, 51, 100, last);
                client.ip(&format!("addr add {from}/24 dev eth0"))?;
                let load = Load::connect(to).rate(200).count(10).from([IpAddr::V4(from)]);
                let report = load.run(client, &world.lab.logs())?;
                report.all_answered()?;
                ensure!(
                    report.by_node.len() == 1,
                    "{from} met several nodes: {:?}",
                    report.by_node
                );
                nodes.extend(report.by_node.into_keys());
            }
            nodes.sort_unstable();
            nodes.dedup();
            ensure!(nodes == ["node1", "node2", "node3"], "20 addresses met only {nodes:?}");
            Ok(())
        },
    )
}
