//! More new flows than the table holds.
//!
//! Input: a flow table of 2,048; SYNs and datagrams from tens of thousands of made-up sources.
//! Output: established connections go on; new clients are served, or refused and counted; memory
//! stays where it was. On the wire: a SYN that finds no place is not forwarded.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Result, anyhow, ensure};
use roadstead_lab::{Load, edge::DaemonName, eventually, presets};
use roadstead_scenarios::{
    World, ask, counters,
    frames::{Wire, ethernet, syn, udp},
    scenario,
    world::{SOON, one_pool},
};

const FLOWS: u64 = 2048;
const SOURCES: u32 = 30_000;

fn small_table(test: &str) -> Result<World> {
    let toml = one_pool().replace("[router.health]", "[router]\nflows = 2048\n\n[router.health]");
    World::build(&presets::routed(2), test, &toml)
}

/// The n-th made-up client.
fn source(n: u32, v6: bool) -> Result<SocketAddr> {
    let port = u16::try_from(1024 + n % 60_000)?;
    let address: IpAddr = if v6 {
        Ipv6Addr::from(0x2001_0db8_00ff_0000_0000_0000_0000_0000 + u128::from(n)).into()
    } else {
        Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + n).into()
    };
    Ok(SocketAddr::new(address, port))
}

/// Sends `SOURCES` packets to a VIP, each from a source of its own.
fn flood(
    world: &World,
    to: SocketAddr,
    packet: impl Fn(SocketAddr, SocketAddr) -> Vec<u8>,
) -> Result<()> {
    let (edge, near) = (world.lab.edge()?, world.near()?);
    let macs = (edge.leg("eth0")?.mac, near.leg("eth0")?.mac);
    let wire = Wire::open(near, "eth0")?;
    (0..SOURCES).try_for_each(|n| {
        wire.send(&ethernet(macs.0, macs.1, &packet(source(n, to.is_ipv6())?, to)))
    })
}

/// Resident memory of the router in KiB.
fn resident(world: &World) -> Result<u64> {
    let pid = world.edge.daemon(DaemonName::Router)?.pid()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or_else(|| anyhow!("no VmRSS in {status}"))?.parse()?)
}

#[test]
fn a_syn_flood_costs_established_connections_nothing() -> Result<()> {
    scenario(
        || small_table("flood-syn"),
        |world| {
            let (client, logs) = (world.client()?, world.lab.logs());
            for vip in world.serve_web()? {
                let to = SocketAddr::new(vip, 80);
                let kept = Load::keep_alive(to, 20).rate(200).start(client, &logs)?;
                let before = resident(world)?;
                let reclaimed = counters::drops(world, "half-open-reclaimed")?;
                flood(world, to, syn)?;
                // Real clients in the middle of it: half-open flows make room for them.
                let new = Load::connect(to).rate(100).count(50).run(client, &logs)?;
                new.all_answered()?;
                kept.finish()?.all_answered()?;
                counters::wait_drops(world, "half-open-reclaimed", reclaimed, 1000)?;
                let flows = counters::metric(world, "roadstead_router_flows")?;
                ensure!(flows <= FLOWS, "{flows} flows in a table of {FLOWS}");
                let after = resident(world)?;
                ensure!(after < before + 8192, "the router grew from {before} to {after} KiB");
            }
            Ok(())
        },
    )
}

#[test]
fn a_full_table_refuses_and_counts_and_keeps_what_it_has() -> Result<()> {
    scenario(
        || small_table("flood-full"),
        |world| {
            let (client, logs) = (world.client()?, world.lab.logs());
            let [vip, _] = world.serve_web()?;
            let kept = Load::keep_alive(SocketAddr::new(vip, 80), 20).rate(200);
            let kept = kept.start(client, &logs)?;
            let full = counters::drops(world, "flows-full")?;
            // Datagrams are answered by the nodes: no half-open flow that could make room.
            flood(world, SocketAddr::new(vip, 53), |from, to| udp(from, to, b"fill"))?;
            counters::wait_drops(world, "flows-full", full, 1000)?;
            let flows = counters::wait_metric(world, "roadstead_router_flows", |n| n > FLOWS / 2)?;
            ensure!(flows <= FLOWS, "{flows} flows in a table of {FLOWS}");
            kept.finish()?.all_answered()
        },
    )
}

#[test]
fn after_the_flood_everybody_is_served_again() -> Result<()> {
    scenario(
        || small_table("flood-after"),
        |world| {
            for vip in world.serve_web()? {
                flood(world, SocketAddr::new(vip, 80), syn)?;
                for host in [world.client()?, world.near()?] {
                    eventually("a connection", SOON, || ask::tcp(host, SocketAddr::new(vip, 80)))?;
                    ask::bulk(host, SocketAddr::new(vip, 80), 1 << 20)?;
                }
            }
            Ok(())
        },
    )
}
