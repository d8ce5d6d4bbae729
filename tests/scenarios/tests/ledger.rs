//! Addresses stay where they are.
//!
//! Input: restarts, a state directory that is corrupt, files in another order. Output: the same
//! addresses of both families, without a new probe.
//! On the wire: an address held before a restart is not probed, neither by ARP nor by NDP.

use std::{collections::BTreeMap, fs, net::IpAddr};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    Capture,
    capture::Frame,
    edge::{DaemonName, ServiceYaml},
    eventually,
};
use roadstead_scenarios::{Both, World, scenario, world::SOON};

const NAMES: [&str; 4] = ["delta", "alpha", "charlie", "bravo"];

/// Every Service has a NodePort of its own, as a cluster would see to.
fn service(name: &str) -> ServiceYaml {
    let node_ports = (30000..).zip(NAMES);
    let own = node_ports.into_iter().find(|(_, known)| *known == name);
    ServiceYaml::new(name).tcp(80, own.map_or(30031, |(port, _)| port)).dual()
}

/// The addresses of each Service.
type Addresses = BTreeMap<&'static str, Both>;

/// The addresses of each Service, once all are announced.
fn addresses(world: &World) -> Result<Addresses> {
    NAMES.into_iter().map(|name| Ok((name, world.both_of(name, 80)?))).collect()
}

fn serve_all(world: &World) -> Result<Addresses> {
    for name in NAMES {
        world.serve(name, &service(name))?;
    }
    addresses(world)
}

/// Probes (RFC 5227 §2.1.1, RFC 4862 §5.4.2) of two addresses.
fn probes(capture: &Capture, v4: IpAddr, v6: IpAddr) -> Result<Vec<Frame>> {
    let mut arp = capture.frames("arp[6:2] = 1 and arp[14:4] = 0")?;
    arp.retain(|frame| frame.text.contains(&format!("who-has {v4} ")));
    let mut ndp = capture.frames("icmp6 and ip6[40] = 135 and src host ::")?;
    ndp.retain(|frame| frame.text.contains(&format!("who has {v6}")));
    arp.append(&mut ndp);
    Ok(arp)
}

#[test]
fn a_restart_changes_nothing_and_probes_nothing_that_is_held() -> Result<()> {
    scenario(
        || World::routed("ledger-restart"),
        |world| {
            let before = serve_all(world)?;
            let capture = world.capture(world.near()?, "eth0", "arp or icmp6")?;
            for signal in [Signal::SIGTERM, Signal::SIGKILL] {
                for daemon in DaemonName::ALL {
                    world.edge.restart(daemon, signal)?;
                }
            }
            ensure!(addresses(world)? == before, "addresses changed");
            for both in before.values() {
                let [v4, v6] = both.addresses();
                let probed = probes(&capture, v4, v6)?;
                ensure!(probed.is_empty(), "{both:?} was probed though it is held: {probed:?}");
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
            let client = world.client()?;
            before.values().try_for_each(|held| held.answer(client))
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
            let client = world.client()?;
            before.values().try_for_each(|held| held.answer(client))
        },
    )
}
