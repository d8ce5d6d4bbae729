//! Addresses stay where they are.
//!
//! Input: restarts, a state directory that is corrupt, files in another order. Output: the same
//! addresses, without a new probe. On the wire: an address held before a restart is not probed.

use std::{collections::BTreeMap, fs, net::IpAddr};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    edge::{DaemonName, ServiceYaml},
    eventually,
};
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

/// Writes the beginning of a ledger over each of these files of the speaker's state.
fn damage(world: &World, files: &[&str]) -> Result<()> {
    let state = world.edge.state().join("speaker");
    files.iter().try_for_each(|file| Ok(fs::write(state.join(file), "{ \"version\": 1, \"gen")?))
}

#[test]
fn a_damaged_ledger_is_set_aside_and_the_one_before_it_used() -> Result<()> {
    scenario(
        || World::routed("ledger-damaged"),
        |world| {
            let before = serve_all(world)?;
            // A change that the ledger before the damaged one need not know.
            world.edge.stop_daemon(DaemonName::Speaker);
            world.edge.start_daemon(DaemonName::Speaker)?;
            world.edge.wait_ready(DaemonName::Speaker)?;
            world.edge.stop_daemon(DaemonName::Speaker);
            damage(world, &["ledger.json"])?;
            world.edge.start_daemon(DaemonName::Speaker)?;
            world.edge.wait_ready(DaemonName::Speaker)?;
            ensure!(addresses(world)? == before, "addresses changed");
            ensure!(
                world.edge.state().join("speaker/ledger.damaged.json").exists(),
                "not set aside"
            );
            for held in before.values() {
                ask::tcp(world.client()?, (held[0], 80).into())?;
            }
            Ok(())
        },
    )
}

#[test]
fn without_any_ledger_left_whole_the_speaker_stays_down_and_the_dataplane_up() -> Result<()> {
    scenario(
        || World::routed("ledger-lost"),
        |world| {
            let before = serve_all(world)?;
            world.edge.stop_daemon(DaemonName::Speaker);
            damage(world, &["ledger.json", "ledger.previous.json"])?;
            world.edge.start_daemon(DaemonName::Speaker)?;
            eventually("the speaker names the ledger", SOON, || {
                let logs = fs::read_dir(world.lab.logs())?.flatten();
                let said = logs
                    .filter_map(|log| fs::read_to_string(log.path()).ok())
                    .any(|log| log.contains("ledger.json cannot be used"));
                ensure!(said, "nothing of the kind in the logs");
                Ok(())
            })?;
            for held in before.values() {
                ask::tcp(world.client()?, (held[0], 80).into())?;
            }
            Ok(())
        },
    )
}
