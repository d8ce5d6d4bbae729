//! Addresses stay where they are.
//!
//! Input: restarts, a state directory that is corrupt, files in another order. Output: the same
//! addresses, without a new probe. On the wire: an address held before a restart is not probed.

use std::{collections::BTreeMap, fs, net::IpAddr};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::edge::{DaemonName, ServiceYaml};
use roadstead_scenarios::{World, ask, scenario, world::SOON};

const NAMES: [&str; 4] = ["delta", "alpha", "charlie", "bravo"];

/// Every Service has a NodePort of its own, as a cluster would see to.
fn service(name: &str) -> ServiceYaml {
    let node_ports = (30000..).zip(NAMES);
    let own = node_ports.into_iter().find(|(_, known)| *known == name);
    ServiceYaml::new(name).tcp(80, own.map_or(30031, |(port, _)| port))
}

/// The address of each Service, once all are announced.
fn addresses(world: &World) -> Result<BTreeMap<&'static str, Vec<IpAddr>>> {
    let one = |name| Ok((name, world.edge.wait_announced(&format!("default/{name}"), SOON)?));
    NAMES.into_iter().map(one).collect()
}

fn serve_all(world: &World) -> Result<BTreeMap<&'static str, Vec<IpAddr>>> {
    for name in NAMES {
        world.serve(name, &service(name))?;
    }
    addresses(world)
}

#[test]
fn a_restart_changes_nothing_and_probes_nothing_that_is_held() -> Result<()> {
    scenario(
        || World::routed("ledger-restart"),
        |world| {
            let before = serve_all(world)?;
            let capture = world.capture(world.near()?, "eth0", "arp")?;
            for signal in [Signal::SIGTERM, Signal::SIGKILL] {
                for daemon in DaemonName::ALL {
                    world.edge.restart(daemon, signal)?;
                }
            }
            ensure!(addresses(world)? == before, "addresses changed");
            let probes = capture.frames("arp[6:2] = 1 and arp[14:4] = 0")?;
            for address in before.values().flatten() {
                let probed = probes.iter().any(|f| f.text.contains(&format!("who-has {address} ")));
                ensure!(!probed, "{address} was probed though it is held");
            }
            Ok(())
        },
    )
}

#[test]
fn all_files_written_again_in_another_order_change_nothing() -> Result<()> {
    scenario(
        || World::routed("ledger-order"),
        |world| {
            let before = serve_all(world)?;
            world.edge.stop_daemon(DaemonName::Speaker);
            for name in NAMES {
                world.edge.manifests.delete(name)?;
            }
            let all: Vec<String> =
                NAMES.iter().map(|name| service(name).yaml()).collect::<Result<_>>()?;
            world.edge.manifests.write("all", &all.join("\n---\n"))?;
            world.edge.start_daemon(DaemonName::Speaker)?;
            world.edge.wait_ready(DaemonName::Speaker)?;
            ensure!(addresses(world)? == before, "addresses changed");
            Ok(())
        },
    )
}

#[test]
fn a_corrupt_ledger_is_set_aside_and_told() -> Result<()> {
    scenario(
        || World::routed("ledger-corrupt"),
        |world| {
            let before = serve_all(world)?;
            world.edge.stop_daemon(DaemonName::Speaker);
            let state = world.edge.state().join("speaker");
            for entry in fs::read_dir(&state)?.flatten() {
                if entry.file_type()?.is_file()
                    && entry.file_name().to_string_lossy().contains("ledger")
                {
                    fs::write(entry.path(), "{ \"generation\": 4, \"assign")?;
                }
            }
            world.edge.start_daemon(DaemonName::Speaker)?;
            world.edge.wait_ready(DaemonName::Speaker)?;
            let after = addresses(world)?;
            for (name, held) in &after {
                ask::tcp(world.client()?, (held[0], 80).into())?;
                ensure!(held.len() == before[name].len(), "{name}: {held:?}");
            }
            Ok(())
        },
    )
}
