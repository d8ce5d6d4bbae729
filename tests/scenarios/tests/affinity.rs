//! `sessionAffinity: ClientIP`.
//!
//! Input: a dual-stack Service with affinity and clients with many addresses. Output: connections
//! of one address go to one node, the addresses of each family spread over the nodes.
//! On the wire: nothing but the choice of the node.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Result, ensure};
use roadstead_lab::{Load, edge::ServiceYaml};
use roadstead_scenarios::{World, scenario};
use serde_json::json;

/// One of the client's further addresses.
fn further(family: SocketAddr, number: u8) -> IpAddr {
    match family {
        SocketAddr::V4(_) => Ipv4Addr::new(198, 51, 100, number).into(),
        SocketAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 1, number.into()).into(),
    }
}

/// The node that all connections from one address meet.
fn only_node(world: &World, to: SocketAddr, from: IpAddr) -> Result<String> {
    let load = Load::connect(to).rate(500).count(10).from([from]);
    let report = load.run(world.client()?, &world.lab.logs())?;
    report.all_answered()?;
    let nodes: Vec<String> = report.by_node.into_keys().collect();
    ensure!(nodes.len() == 1, "{from} met {nodes:?}");
    Ok(nodes.concat())
}

#[test]
fn an_address_stays_on_its_node_and_addresses_spread() -> Result<()> {
    scenario(
        || World::routed("affinity"),
        |world| {
            let client = world.client()?;
            let web = ServiceYaml::new("web").tcp(80, 30000).dual();
            let web =
                world.serve_both("web", &web.set("sessionAffinity", json!("ClientIP")), 80)?;
            world.wait_healthy("default/web")?;
            for to in web {
                let mut nodes = BTreeSet::new();
                for number in 20..40 {
                    let from = further(to, number);
                    client.ip(&format!("addr add {from} dev eth0 nodad"))?;
                    nodes.insert(only_node(world, to, from)?);
                }
                let wanted = ["node1", "node2", "node3"].map(str::to_owned);
                ensure!(nodes == wanted.into(), "20 addresses met only {nodes:?}");
            }
            Ok(())
        },
    )
}
