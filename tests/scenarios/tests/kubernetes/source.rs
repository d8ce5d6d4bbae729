//! A real API server as the only source of Services and Nodes.
//!
//! Input: objects by kubectl. Output: what a client gets at the address that they lead to, with the
//! API server there, away, and back; with the daemons killed meanwhile.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{edge::DaemonName, eventually};
use roadstead_scenarios::Both;

use super::watched::{SOON, all_answered, watched};

#[test]
fn what_kubectl_says_is_served_and_what_it_deletes_falls_silent() -> Result<()> {
    watched("cluster-source", |world| {
        let web = world.serve("web")?;
        let pods: Vec<String> =
            world.pods.iter().map(|pod| format!("pod/{}", pod.name())).collect();
        world.cluster.kubectl()?.delete(&["service/web"])?;
        let near = world.lab.near()?;
        eventually("silence", SOON, || web.resolve_to_nobody(near))?;
        let gone: Vec<&str> = pods.iter().map(String::as_str).collect();
        world.cluster.kubectl()?.delete(&gone)
    })
}

/// S3 and S8: with the API server gone nothing changes, also for daemons that start meanwhile; and
/// when it is back, what happened is followed.
#[test]
fn an_api_server_that_is_away_changes_nothing() -> Result<()> {
    watched("cluster-away", |world| {
        let web = world.serve("web")?;
        let loads = world.load(web)?;
        world.cluster.plane_mut().kill_api()?;
        for daemon in DaemonName::ALL {
            world.edge.daemon(daemon)?.restart(Signal::SIGKILL, SOON)?;
        }
        world.answers(&web)?;
        world.is_announced(web)?;
        world.cluster.plane_mut().start_api()?;
        world.wait_ready()?;
        let again = Both::new(world.edge.wait_announced("default/web", SOON)?, 80)?;
        ensure!(again == web, "the addresses changed to {again:?}");
        let _late = world.serve("late")?;
        all_answered(loads)
    })
}
