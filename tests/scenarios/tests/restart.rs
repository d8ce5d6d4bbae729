//! Restarts of our own daemons under load.
//!
//! Input: new connections, long connections and datagrams over both families; each daemon ended
//! ten times by SIGKILL and ten times by SIGTERM, started again by a supervisor within a second.
//! Output: nothing lost, nothing moved. On the wire: the addresses stay answered for throughout.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::edge::DaemonName;
use roadstead_scenarios::{World, restarts, scenario_alone};

const TIMES: u32 = 10;

fn ended_under_load(test: &str, daemon: DaemonName, signal: Signal) -> Result<()> {
    scenario_alone(
        || World::patient(test),
        |world| {
            let web = world.serve_web()?;
            let outcome = restarts::under_load(world, web, &[daemon], signal, TIMES)?;
            for (name, report) in &outcome.reports {
                ensure!(report.failed() == 0 && report.moved == 0, "{name}: {report:?}");
            }
            ensure!(world.edge.daemon(daemon)?.starts() == TIMES + 1, "it ended by itself as well");
            Ok(())
        },
    )
}

#[test]
fn the_speaker_killed() -> Result<()> {
    ended_under_load("restart-speaker-kill", DaemonName::Speaker, Signal::SIGKILL)
}

#[test]
fn the_router_killed() -> Result<()> {
    ended_under_load("restart-router-kill", DaemonName::Router, Signal::SIGKILL)
}

#[test]
fn the_speaker_stopped() -> Result<()> {
    ended_under_load("restart-speaker-term", DaemonName::Speaker, Signal::SIGTERM)
}

#[test]
fn the_router_stopped() -> Result<()> {
    ended_under_load("restart-router-term", DaemonName::Router, Signal::SIGTERM)
}
