//! While all is well.
//!
//! Input: two hosts with the same manifests and the same pool. Output: both have the same assignments and
//! both routers have programmed them. On the wire: one host alone claims and answers for an address.

use anyhow::{Result, ensure};
use roadstead_lab::{
    Capture,
    edge::{DaemonName, ServiceYaml},
    eventually,
};
use roadstead_scenarios::{
    ask,
    group::{Pair, pair_scenario, v4_of, write_key},
    world::SOON,
};

fn web() -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000).dual()
}

#[test]
fn one_host_announces_and_the_other_has_the_same_assignments() -> Result<()> {
    pair_scenario(
        || Pair::prepare("group-follow"),
        |pair| {
            let near = pair.lab.near()?.clone();
            let capture = Capture::start(&near, "eth0", "arp", &pair.lab.logs())?;
            (0..2).try_for_each(|index| pair.start_daemons(index))?;
            let addresses = pair.serve(&web(), 0)?;
            pair.wait_follows(1, "default/web", &addresses)?;
            for address in &addresses {
                pair.answered_by(0, *address)?;
                ask::tcp(pair.client()?, (*address, 80).into())?;
            }
            let claimants = pair.claimants(&capture, v4_of(&addresses)?, 0.0)?;
            ensure!(claimants == [pair.mac(0)?], "claimed by {claimants:?}");
            let text = pair.edges[1].cli_ok(&["status"])?;
            ensure!(text.contains("edge2") && text.contains("follower"), "{text}");
            Ok(())
        },
    )
}

/// A Service that is deleted, one that is new, over a restart of both speakers.
#[test]
fn what_the_writer_changes_the_follower_has() -> Result<()> {
    pair_scenario(
        || Pair::start("group-changes"),
        |pair| {
            let first = pair.serve(&web(), 0)?;
            pair.wait_follows(1, "default/web", &first)?;
            let late = ServiceYaml::new("late").tcp(80, 30001);
            let second = pair.serve(&late, 0)?;
            pair.wait_follows(1, "default/late", &second)?;
            for edge in &pair.edges {
                edge.restart(DaemonName::Speaker, nix::sys::signal::Signal::SIGKILL)?;
            }
            pair.edges[0].wait_announced("default/late", SOON)?;
            pair.wait_follows(1, "default/late", &second)?;
            pair.edges.iter().try_for_each(|edge| edge.manifests.delete("web"))?;
            eventually("the follower gave the address up", SOON, || {
                let status = pair.edges[1].status()?;
                ensure!(status.service("default/web").is_err(), "{:?}", status.services);
                Ok(())
            })
        },
    )
}

/// Another key: neither end lets the other in, and the host that did not write stays silent.
#[test]
fn a_host_with_another_key_is_not_let_in_and_stays_silent() -> Result<()> {
    pair_scenario(
        || Pair::prepare("group-key"),
        |pair| {
            pair.start_daemons(0)?;
            let addresses = pair.serve(&web(), 0)?;
            let other = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
            write_key(&pair.edges[1], other, 0o600)?;
            let near = pair.lab.near()?.clone();
            let capture = Capture::start(&near, "eth0", "arp", &pair.lab.logs())?;
            pair.edges[1].start_daemon(DaemonName::Speaker)?;
            pair.wait_role(1, "waiting")?;
            pair.edges[1].wait_log(DaemonName::Speaker, "it has another group key", SOON)?;
            pair.edges[0].wait_log(DaemonName::Speaker, "most often its key", SOON)?;
            pair.wait_role(1, "waiting")?;
            let claimants = pair.claimants(&capture, v4_of(&addresses)?, 0.0)?;
            ensure!(!claimants.contains(&pair.mac(1)?), "claimed by {claimants:?}");
            pair.edges[0].wait_announced("default/web", SOON)?;
            Ok(())
        },
    )
}

#[test]
fn a_key_that_everybody_may_read_keeps_the_speaker_down() -> Result<()> {
    pair_scenario(
        || Pair::prepare("group-key-mode"),
        |pair| {
            write_key(&pair.edges[0], roadstead_scenarios::group::KEY, 0o644)?;
            pair.edges[0].start_daemon(DaemonName::Speaker)?;
            pair.edges[0].wait_log(DaemonName::Speaker, "chmod 0640", SOON)
        },
    )
}
