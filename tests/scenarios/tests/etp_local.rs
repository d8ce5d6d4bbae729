//! `externalTrafficPolicy: Local`.
//!
//! Input: EndpointSlices of both families that name two of three nodes, and a healthCheckNodePort.
//! Output: only nodes with ready local endpoints get connections; the condition says that the
//! client's address is not preserved under nat. On the wire: probes to the healthCheckNodePort.

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

/// The slices of `web`, one per family as the API has them: a pod on each of two nodes.
fn slices(second_ready: bool) -> Result<String> {
    let family = |first: &str, second: &str| {
        let pods = [(first.parse()?, "node1", true), (second.parse()?, "node2", second_ready)];
        endpoint_slice_yaml("web", &pods)
    };
    let v4 = family("198.18.1.1", "198.18.2.1")?;
    let v6 = family("2001:db8:4:1::1", "2001:db8:4:2::1")?;
    Ok(format!("{v4}\n---\n{v6}"))
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
            eventually("node1 alone", SOON, || web.spread_over(world, &["node1"]))
        },
    )
}
