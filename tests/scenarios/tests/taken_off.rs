//! Somebody takes the program off a leg, under a running router.
//!
//! Input: the pin of a leg's link is removed, which detaches the program. Output: the router puts
//! it back by itself, and neither daemon is restarted.
//! On the wire: the VIP is answered for and served again, over both families.

use std::{fs, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use nix::net::if_::if_nametoindex;
use roadstead_lab::{edge::DaemonName, eventually};
use roadstead_scenarios::{World, ask, scenario, world::SOON};

#[test]
fn the_program_is_put_back_on_a_leg() -> Result<()> {
    scenario(
        || World::routed("taken-off"),
        |world| {
            let vips = world.serve_web()?;
            for interface in ["eth0", "eth1"] {
                take_off(world, interface)?;
                for vip in vips {
                    let to = SocketAddr::new(vip, 80);
                    let what = format!("{to} without {interface}'s program");
                    eventually(&what, SOON, || ask::tcp(world.client()?, to))?;
                }
            }
            let router = world.edge.daemon(DaemonName::Router)?;
            ensure!(router.starts() == 1, "the router ended");
            Ok(())
        },
    )
}

/// Removes the pin of the link, the last thing that holds it.
fn take_off(world: &World, interface: &str) -> Result<()> {
    let index = world.lab.edge()?.namespace().enter(|| Ok(if_nametoindex(interface)?))?;
    let router = world.edge.bpffs().join("router");
    let mut versions = fs::read_dir(&router)?.flatten().map(|entry| entry.path());
    let pin = versions.find_map(|version| {
        Some(version.join("links").join(index.to_string())).filter(|pin| pin.exists())
    });
    let pin = pin.with_context(|| format!("no pinned link below {}", router.display()))?;
    fs::remove_file(&pin).with_context(|| pin.display().to_string())
}
