//! `loadBalancerSourceRanges`.
//!
//! Input: ranges of both families that hold one client and not the other; edited; invalid. Output:
//! only clients inside are served; invalid ranges are refused and the good ones stay.
//! On the wire: a client outside gets no answer at all.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use roadstead_lab::{edge::ServiceYaml, eventually, throughout};
use roadstead_scenarios::{World, ask, scenario, world::SOON};
use serde_json::json;

const NEAR: [&str; 2] = ["192.0.2.0/24", "2001:db8:1::/64"];
const FAR: [&str; 2] = ["198.51.100.0/24", "2001:db8:2::/64"];

fn web(ranges: &[&str]) -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000).dual().set("loadBalancerSourceRanges", json!(ranges))
}

#[test]
fn only_clients_inside_are_served_and_an_edit_acts_at_once() -> Result<()> {
    scenario(
        || World::routed("source-ranges"),
        |world| {
            let (near, client) = (world.near()?, world.client()?);
            let at = world.serve_both("web", &web(&NEAR), 80)?;
            at.answer(near)?;
            at.stay_silent(client)?;
            world.edge.manifests.service(&web(&FAR))?;
            eventually("the far client is served", SOON, || at.answer(client))?;
            at.stay_silent(near)?;
            world.edge.manifests.service(&web(&[NEAR, FAR].concat()))?;
            eventually("both are served", SOON, || at.answer(near))?;
            at.answer(client)
        },
    )
}

/// Neither is read as "no rule" for the other family.
#[test]
fn ranges_of_one_family_let_nobody_of_the_other_in() -> Result<()> {
    scenario(
        || World::routed("source-ranges-family"),
        |world| {
            let client = world.client()?;
            let web_at = world.serve_both("web", &web(&["::/0"]), 80)?;
            let [v4, v6] = web_at.addresses().map(|vip| SocketAddr::new(vip, 80));
            ask::tcp(client, v6)?;
            ask::unanswered(client, v4)?;
            world.edge.manifests.service(&web(&["0.0.0.0/0"]))?;
            eventually("IPv4 is served", SOON, || ask::tcp(client, v4))?;
            ask::unanswered(client, v6)
        },
    )
}

#[test]
fn invalid_ranges_never_open_the_service() -> Result<()> {
    scenario(
        || World::routed("source-ranges-invalid"),
        |world| {
            let (near, client) = (world.near()?, world.client()?);
            let at = world.serve_both("web", &web(&NEAR), 80)?;
            at.stay_silent(client)?;
            world.edge.manifests.service(&web(&["not-a-range"]))?;
            eventually("the problem is told", SOON, || {
                let text = String::from_utf8(world.edge.cli(&["status"])?.stdout)?;
                let found = text.contains("not-a-range");
                ensure!(found, "{text}");
                Ok(())
            })?;
            throughout("the old range holds", std::time::Duration::from_secs(1), || {
                at.answer(near)?;
                at.stay_silent(client)
            })
        },
    )
}
