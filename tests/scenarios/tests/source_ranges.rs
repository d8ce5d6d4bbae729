//! `loadBalancerSourceRanges`.
//!
//! Input: ranges that hold one client and not the other; edited; invalid. Output: only clients
//! inside are served; invalid ranges are refused and the good ones stay.
//! On the wire: a client outside gets no answer at all.

use anyhow::{Result, ensure};
use roadstead_lab::{edge::ServiceYaml, eventually, throughout};
use roadstead_scenarios::{World, ask, scenario, world::SOON};
use serde_json::json;

const NEAR: &str = "192.0.2.0/24";
const FAR: &str = "198.51.100.0/24";

fn web(ranges: &[&str]) -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000).set("loadBalancerSourceRanges", json!(ranges))
}

#[test]
fn only_clients_inside_are_served_and_an_edit_acts_at_once() -> Result<()> {
    scenario(
        || World::routed("source-ranges"),
        |world| {
            let (near, client) = (world.near()?, world.client()?);
            let to = world.serve_at("web", &web(&[NEAR]), 80)?;
            ask::tcp(near, to)?;
            ask::unanswered(client, to)?;
            world.edge.manifests.service(&web(&[FAR]))?;
            eventually("the far client is served", SOON, || ask::tcp(client, to))?;
            ask::unanswered(near, to)?;
            world.edge.manifests.service(&web(&[NEAR, FAR]))?;
            eventually("both are served", SOON, || ask::tcp(near, to))?;
            ask::tcp(client, to).map(drop)
        },
    )
}

#[test]
fn invalid_ranges_never_open_the_service() -> Result<()> {
    scenario(
        || World::routed("source-ranges-invalid"),
        |world| {
            let (near, client) = (world.near()?, world.client()?);
            let to = world.serve_at("web", &web(&[NEAR]), 80)?;
            ask::unanswered(client, to)?;
            world.edge.manifests.service(&web(&["not-a-range"]))?;
            eventually("the problem is told", SOON, || {
                let text = String::from_utf8(world.edge.cli(&["status"])?.stdout)?;
                let found = text.contains("not-a-range");
                ensure!(found, "{text}");
                Ok(())
            })?;
            throughout("the old range holds", std::time::Duration::from_secs(1), || {
                ask::tcp(near, to)?;
                ask::unanswered(client, to)
            })
        },
    )
}
