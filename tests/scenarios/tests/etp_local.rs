//! `externalTrafficPolicy: Local`.
//!
//! Input: EndpointSlices of both families that name two of three nodes, and a healthCheckNodePort.
//! Output: each address has the nodes with ready local endpoints of its family; the condition says
//! that the client's address is not preserved under nat.
//! On the wire: probes to the healthCheckNodePort.

use anyhow::{Result, ensure};
use roadstead_lab::{
    edge::{ServiceYaml, endpoint_slice_yaml},
    eventually,
};
use roadstead_scenarios::{
    World, scenario,
    world::{HEALTH_CHECK_PORT, SOON},
};
use serde_json::json;

/// The slices of `web`, one per family as the API has them: a pod on node1 and one on node2. Of
/// the first only IPv4 is always ready, of the second only IPv6.
fn slices(all_ready: bool) -> Result<String> {
    let v4 = [("198.18.1.1".parse()?, "node1", true), ("198.18.2.1".parse()?, "node2", all_ready)];
    let v6 = [
        ("2001:db8:4:1::1".parse()?, "node1", all_ready),
        ("2001:db8:4:2::1".parse()?, "node2", true),
    ];
    Ok([endpoint_slice_yaml("web", &v4)?, endpoint_slice_yaml("web", &v6)?].join("\n---\n"))
}

#[test]
fn only_nodes_with_ready_local_endpoints_get_connections() -> Result<()> {
    scenario(
        || World::routed("etp-local"),
        |world| {
            world.edge.manifests.write("slices", &slices(true)?)?;
            let web = ServiceYaml::new("web")
                .tcp(80, 30000)
                .dual()
                .set("externalTrafficPolicy", json!("Local"))
                .set("healthCheckNodePort", json!(HEALTH_CHECK_PORT));
            let web = world.serve_both("web", &web, 80)?;
            let nodes = ["node1", "node2"];
            eventually("node1 and node2", SOON, || web.spread_over(world, &nodes))?;
            let condition = world.edge.wait_reason("default/web", "Nat", SOON)?;
            ensure!(condition.kind == "ClientAddressPreserved", "{condition:?}");
            ensure!(condition.status == "False", "{condition:?}");
            world.edge.manifests.write("slices", &slices(false)?)?;
            for (to, node) in web.into_iter().zip(nodes) {
                eventually(&format!("{node} alone"), SOON, || world.spread_over(to, &[node]))?;
            }
            Ok(())
        },
    )
}
