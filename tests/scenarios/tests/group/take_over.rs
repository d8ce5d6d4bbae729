//! When the writer dies, is cut off, comes back, or leaves.
//!
//! Input: two hosts; one dies or both lose sight of each other. Output: every address stays what it was
//! and is answered by a host that lives. On the wire: a burst of the host that takes over, and from then
//! on nobody else claims the address, also when the other is back.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    Capture,
    edge::{DaemonName, ServiceYaml},
    eventually,
};
use roadstead_scenarios::{
    ask,
    group::{Pair, pair_scenario, v4_of},
    world::SOON,
};

fn web() -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000).dual()
}

/// The host of the writer is gone from the network and its daemons are killed: the other answers with the
/// same addresses. Back on the network it follows, and nobody claims an address but the new writer.
#[test]
fn a_writer_that_dies_is_followed_by_the_other_with_the_same_addresses() -> Result<()> {
    pair_scenario(
        || Pair::start("group-death"),
        |pair| {
            let addresses = pair.serve(&web(), 0)?;
            pair.wait_follows(1, "default/web", &addresses)?;
            let near = pair.lab.near()?.clone();
            let capture = Capture::start(&near, "eth0", "arp", &pair.lab.logs())?;
            let cut = pair.cut(0)?;
            for daemon in DaemonName::ALL {
                pair.edges[0].daemon(daemon)?.signal(Signal::SIGKILL)?;
            }
            ensure!(pair.edges[1].wait_announced("default/web", SOON)? == addresses);
            let vip = v4_of(&addresses)?;
            for address in &addresses {
                let to = (*address, 80).into();
                eventually(&format!("{address} answers"), SOON, || ask::tcp(pair.client()?, to))?;
                pair.answered_by(1, *address)?;
            }
            let claimants = pair.claimants(&capture, vip, 0.0)?;
            ensure!(claimants == [pair.mac(1)?], "claimed by {claimants:?}");
            drop(cut);
            pair.wait_follows(0, "default/web", &addresses)?;
            pair.wait_role(1, "writer")?;
            let back = Capture::start(&near, "eth0", "arp", &pair.lab.logs())?;
            for address in &addresses {
                pair.answered_by(1, *address)?;
                ask::tcp(pair.client()?, (*address, 80).into())?;
            }
            let claimants = pair.claimants(&back, vip, 0.0)?;
            ensure!(claimants == [pair.mac(1)?], "claimed by {claimants:?}");
            Ok(())
        },
    )
}

/// The speaker alone is killed and stays away: its kernel program falls silent before the other answers.
#[test]
fn a_speaker_that_is_killed_for_good_leaves_nobody_answering() -> Result<()> {
    pair_scenario(
        || Pair::start("group-speaker-death"),
        |pair| {
            let addresses = pair.serve(&web(), 0)?;
            pair.wait_follows(1, "default/web", &addresses)?;
            let near = pair.lab.near()?.clone();
            let capture = Capture::start(&near, "eth0", "arp", &pair.lab.logs())?;
            pair.edges[0].kill_daemon(DaemonName::Speaker);
            pair.edges[1].wait_announced("default/web", SOON)?;
            let vip = v4_of(&addresses)?;
            for address in &addresses {
                pair.answered_by(1, *address)?;
                ask::tcp(pair.client()?, (*address, 80).into())?;
            }
            let (first, second) = (pair.mac(0)?, pair.mac(1)?);
            let taken_over =
                pair.claims(&capture, vip)?.into_iter().find(|claim| claim.from == second);
            let since = taken_over.map(|claim| claim.at).unwrap_or_default();
            let claimants = pair.claimants(&capture, vip, since)?;
            ensure!(
                claimants == [second],
                "after the take-over claimed by {claimants:?}, {first} is dead"
            );
            Ok(())
        },
    )
}

/// A restart that is quicker than the detection moves nothing.
#[test]
fn a_writer_that_restarts_at_once_stays_the_writer() -> Result<()> {
    pair_scenario(
        || Pair::start("group-restart"),
        |pair| {
            let addresses = pair.serve(&web(), 0)?;
            pair.wait_follows(1, "default/web", &addresses)?;
            pair.edges[0].restart(DaemonName::Router, Signal::SIGKILL)?;
            pair.edges[0].wait_announced("default/web", SOON)?;
            pair.wait_role(0, "writer")?;
            pair.wait_follows(1, "default/web", &addresses)
        },
    )
}

/// S8: both speakers start again and hear nobody. Each goes on with what it has, and when they meet the
/// addresses are still the same and one writes.
#[test]
fn both_that_restart_apart_keep_their_assignments() -> Result<()> {
    pair_scenario(
        || Pair::start("group-apart"),
        |pair| {
            let addresses = pair.serve(&web(), 0)?;
            pair.wait_follows(1, "default/web", &addresses)?;
            let cut = pair.cut(1)?;
            for edge in &pair.edges {
                edge.restart(DaemonName::Speaker, Signal::SIGKILL)?;
            }
            for edge in &pair.edges {
                ensure!(edge.wait_announced("default/web", SOON)? == addresses);
            }
            drop(cut);
            pair.wait_role(0, "follower")?;
            pair.wait_role(1, "writer")?;
            pair.wait_follows(0, "default/web", &addresses)?;
            addresses.iter().try_for_each(|address| pair.answered_by(1, *address))
        },
    )
}

/// `roadstead drain self` on the writer: silent there first, then the other answers.
#[test]
fn a_writer_that_is_drained_hands_over() -> Result<()> {
    pair_scenario(
        || Pair::start("group-drain"),
        |pair| {
            let addresses = pair.serve(&web(), 0)?;
            pair.wait_follows(1, "default/web", &addresses)?;
            pair.edges[0].cli_ok(&["drain", "self"])?;
            ensure!(pair.edges[1].wait_announced("default/web", SOON)? == addresses);
            addresses.iter().try_for_each(|address| pair.answered_by(1, *address))?;
            pair.edges[0].cli_ok(&["undrain", "self"])?;
            pair.wait_follows(0, "default/web", &addresses)?;
            pair.wait_role(1, "writer")
        },
    )
}
