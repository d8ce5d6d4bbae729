//! Interfaces and addresses of the edge host change.
//!
//! Input: a leg is removed and made again, gets another MAC address, its address is exchanged, an
//! IPv6 address is deprecated. Output: the Services are served again without a restart.
//! On the wire: the new MAC address is announced, new flows have a source address that is there.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use roadstead_lab::{Host, edge::DaemonName, eventually};
use roadstead_scenarios::{World, ask, scenario, world::SOON};

fn served(world: &World, vips: &[IpAddr]) -> Result<()> {
    for vip in vips {
        let to = SocketAddr::new(*vip, 80);
        for host in [world.client()?, world.near()?] {
            eventually(&format!("{to} from {}", host.name()), SOON, || ask::tcp(host, to))?;
        }
    }
    for daemon in DaemonName::ALL {
        ensure!(world.edge.daemon(daemon)?.starts() == 1, "{} ended", daemon.as_str());
    }
    Ok(())
}

/// Takes an interface of the edge host away, and puts it back with its addresses and routes.
fn replug(world: &World, interface: &str, between: impl Fn() -> Result<()>) -> Result<()> {
    let (edge, switch) = (world.lab.edge()?, world.lab.switch()?);
    let leg = edge.leg(interface)?.clone();
    edge.ip(&format!("link del {interface}"))?;
    between()?;
    let (port, namespace) = (format!("edge-{interface}"), edge.namespace().name());
    switch.ip(&format!(
        "link add name {port} type veth peer name {interface} address {} netns {namespace}",
        leg.mac
    ))?;
    switch.ip(&format!("link set {port} master {}", leg.segment))?;
    switch.ip(&format!("link set {port} up"))?;
    for address in &leg.addresses {
        edge.ip(&format!("addr add {address} dev {interface}"))?;
    }
    edge.link(interface, true)?;
    if leg.segment == "front" {
        edge.ip("route replace default via 192.0.2.1")?;
        edge.ip("route replace default via 2001:db8:1::1")?;
    }
    Ok(())
}

#[test]
fn the_leg_to_the_nodes_vanishes_and_returns() -> Result<()> {
    scenario(
        || World::routed("interfaces-back"),
        |world| {
            let vips = world.serve_web()?;
            replug(world, "eth1", || Ok(()))?;
            served(world, &vips)
        },
    )
}

#[test]
fn the_leg_to_the_clients_vanishes_and_returns() -> Result<()> {
    scenario(
        || World::routed("interfaces-front"),
        |world| {
            let vips = world.serve_web()?;
            replug(world, "eth0", || {
                eventually("it is announced nowhere", SOON, || {
                    let status = world.edge.status()?;
                    let web = status.service("default/web")?;
                    ensure!(web.announced.is_empty(), "{:?}", web.announced);
                    Ok(())
                })
            })?;
            let again = world.edge.wait_announced("default/web", SOON)?;
            ensure!(vips.iter().all(|vip| again.contains(vip)), "{again:?}");
            served(world, &vips)
        },
    )
}

#[test]
fn a_new_mac_address_is_announced_and_answered_with() -> Result<()> {
    const NEW: &str = "02:52:53:00:99:00";
    scenario(
        || World::routed("interfaces-mac"),
        |world| {
            let vips = world.serve_web()?;
            served(world, &vips)?;
            world.lab.edge()?.ip(&format!("link set eth0 address {NEW}"))?;
            for vip in vips {
                eventually("the new address answers", SOON, || {
                    let mac = ask::who_has(world.near()?, vip)?;
                    ensure!(mac.as_deref() == Some(NEW), "{vip} is at {mac:?}");
                    Ok(())
                })?;
            }
            served(world, &vips)
        },
    )
}

/// Waits until a node sees a client of `vip` come from `source`.
fn comes_from(world: &World, client: &Host, vip: IpAddr, source: &str) -> Result<()> {
    let wanted: IpAddr = source.parse()?;
    eventually(&format!("flows come from {source}"), SOON, || {
        let seen: SocketAddr = ask::tcp(client, SocketAddr::new(vip, 80))?.client.parse()?;
        ensure!(seen.ip() == wanted, "the node saw {seen}");
        Ok(())
    })?;
    served(world, &[vip])
}

#[test]
fn an_address_that_goes_is_replaced_as_source() -> Result<()> {
    scenario(
        || World::routed("interfaces-address"),
        |world| {
            let [v4, v6] = world.serve_web()?;
            let (edge, client) = (world.lab.edge()?, world.client()?);
            comes_from(world, client, v4, "203.0.113.2")?;
            comes_from(world, client, v6, "2001:db8:3::2")?;
            edge.ip("addr add 203.0.113.9/24 dev eth1")?;
            edge.ip("addr add 2001:db8:3::9/64 dev eth1 nodad")?;
            edge.ip("addr del 203.0.113.2/24 dev eth1")?;
            edge.ip("addr del 2001:db8:3::2/64 dev eth1")?;
            // The kernel drops the secondary addresses with their primary one by default.
            edge.ip("addr replace 203.0.113.9/24 dev eth1")?;
            comes_from(world, client, v4, "203.0.113.9")?;
            comes_from(world, client, v6, "2001:db8:3::9")
        },
    )
}

#[test]
fn a_deprecated_address_is_not_a_source_of_new_flows() -> Result<()> {
    scenario(
        || World::routed("interfaces-deprecated"),
        |world| {
            let [_, v6] = world.serve_web()?;
            let (edge, client) = (world.lab.edge()?, world.client()?);
            comes_from(world, client, v6, "2001:db8:3::2")?;
            edge.ip("addr add 2001:db8:3::9/64 dev eth1 nodad")?;
            edge.ip("addr change 2001:db8:3::2/64 dev eth1 valid_lft forever preferred_lft 0")?;
            comes_from(world, client, v6, "2001:db8:3::9")
        },
    )
}
