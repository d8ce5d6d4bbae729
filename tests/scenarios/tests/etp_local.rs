//! `externalTrafficPolicy: Local`.
//!
//! Input: EndpointSlices that name two of three nodes, and a healthCheckNodePort. Output: only
//! nodes with ready local endpoints get connections; the condition says that the client's address
//! is not preserved under nat. On the wire: probes to the healthCheckNodePort.

use anyhow::{Result, ensure};
use roadstead_lab::{
    Load,
    edge::{ServiceYaml, endpoint_slice_yaml},
    eventually,
};
use roadstead_scenarios::{
    World, scenario,
    world::{HEALTH_CHECK_PORT, SOON},
};
use serde_json::json;

#[test]
fn only_nodes_with_ready_local_endpoints_get_connections() -> Result<()> {
    scenario(
        || World::routed("etp-local"),
        |world| {
            let slice = |second_ready| {
                let first = ("198.18.1.1".parse()?, "node1", true);
                endpoint_slice_yaml("web", &[first, ("198.18.2.1".parse()?, "node2", second_ready)])
            };
            world.edge.manifests.write("slice", &slice(true)?)?;
            let web = ServiceYaml::new("web")
                .tcp(80, 30000)
                .set("externalTrafficPolicy", json!("Local"))
                .set("healthCheckNodePort", json!(HEALTH_CHECK_PORT));
            let to = world.serve_at("web", &web, 80)?;
            let spread = |nodes: &[&str]| {
                let load = Load::connect(to).rate(300).count(90);
                let report = load.run(world.client()?, &world.lab.logs())?;
                report.all_answered()?;
                report.spread_over(nodes)
            };
            eventually("node1 and node2", SOON, || spread(&["node1", "node2"]))?;
            let condition = world.edge.wait_service(
                "default/web",
                "ClientAddressPreserved",
                SOON,
                |found| {
                    found.conditions.iter().find(|c| c.kind == "ClientAddressPreserved").cloned()
                },
            )?;
            ensure!(condition.status == "False", "{condition:?}");
            world.edge.manifests.write("slice", &slice(false)?)?;
            eventually("node1 alone", SOON, || spread(&["node1"]))
        },
    )
}
