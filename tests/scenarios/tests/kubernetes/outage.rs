//! An API server at its worst, under load: not one announcement, backend or connection is lost by it.
//!
//! Input: real objects behind a real API server, with something in between that answers late, not at
//! all, with errors, with half of what it should, with nothing where there was much, or with the past.
//! Output: `status` says the doubt and its reason; when the API is itself again, what happened
//! meanwhile is followed.
//! On the wire: every request of a far client is answered all the time, and the edge answers ARP and
//! NDP for every address, until an operator's order says that the doubt is the truth (S3).

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{edge::DaemonName, eventually, kube::Fault};
use roadstead_scenarios::Both;

use super::watched::{SOON, Watched, all_answered, faulty, watched};

/// What `status` says of the fault; nothing where it is none of its business.
type Told = Option<&'static str>;
/// A fault, and the Service that is made meanwhile.
type Meeting = (Fault, Told, &'static str);

fn meets(world: &mut Watched, web: Both, (fault, told, name): Meeting) -> Result<()> {
    world.faults()?.set(fault);
    if let Some(why) = told {
        world.wait_for_doubt(why)?;
    }
    // What nobody hears of now is followed afterwards.
    world.expose(name)?;
    world.is_announced(web)?;
    world.faults()?.set(Fault::None);
    world.served(name)?;
    world.wait_for_certainty()?;
    world.is_announced(web)
}

/// Late answers, 429 with Retry-After, 500, 503, half answers: one after the other.
#[test]
fn errors_and_slowness_lose_nothing_and_are_made_up_for() -> Result<()> {
    faulty("outage-errors", |world| {
        let web = world.serve("web")?;
        let loads = world.load(web)?;
        let faults: [(Fault, Told, &str); 5] = [
            (Fault::Late(Duration::from_secs(2)), None, "late"),
            (Fault::Refuses(429, Some(1)), Some("answers 429: the lab says so"), "busy"),
            (Fault::Refuses(500, None), Some("answers 500: the lab says so"), "broken"),
            (Fault::Refuses(503, None), Some("answers 503: the lab says so"), "away"),
            (Fault::Truncates, Some("the API server at https://"), "cut"),
        ];
        for meeting in faults {
            meets(world, web, meeting)?;
        }
        all_answered(loads)
    })
}

/// Packets to the API are lost, and neither end is told: daemons that are killed and come back
/// meanwhile serve from their disk.
#[test]
fn half_open_connections_hold_up_nobody_and_daemons_start_without_an_answer() -> Result<()> {
    faulty("outage-half-open", |world| {
        let web = world.serve("web")?;
        let loads = world.load(web)?;
        world.faults()?.set(Fault::HalfOpen);
        for daemon in DaemonName::ALL {
            world.edge.daemon(daemon)?.restart(Signal::SIGKILL, SOON)?;
        }
        world.answers(&web)?;
        world.is_announced(web)?;
        world.faults()?.set(Fault::None);
        world.wait_ready()?;
        let _late = world.serve("late")?;
        world.is_announced(web)?;
        all_answered(loads)
    })
}

/// The history is lost (410), and the list that follows is empty: nothing goes until an order says
/// that this is the truth.
#[test]
fn an_empty_list_takes_nothing_away_until_it_is_confirmed() -> Result<()> {
    faulty("outage-empty", |world| {
        let web = world.serve("web")?;
        let loads = world.load(web)?;
        world.faults()?.set(Fault::EmptyServices);
        world.wait_for_doubt("the list of Services lacks 1 of 1")?;
        for daemon in DaemonName::ALL {
            let (_, text) = world.said("status")?;
            ensure!(text.contains("roadstead confirm"), "{}: {text}", daemon.as_str());
        }
        world.is_announced(web)?;
        all_answered(loads)?;
        let (code, text) = world.said("confirm")?;
        ensure!(code == Some(0) && text.contains("home/default/web"), "{code:?}: {text}");
        eventually("silence", SOON, || web.resolve_to_nobody(world.lab.near()?))?;
        world.wait_for_certainty()
    })
}

/// A backup of the store is put back, and its history goes on by the same numbers: what it has is
/// served on, what it lacks stays announced until an order, also for daemons that were killed.
#[test]
fn a_restored_backup_takes_nothing_away_until_it_is_confirmed() -> Result<()> {
    watched("outage-backup", |world| {
        let old = world.serve("old")?;
        world.cluster.plane_mut().back_up()?;
        world.wait_for_certainty()?;
        let new = world.serve("new")?;
        let loads = world.load(old)?;
        world.cluster.plane_mut().restore()?;
        world.wait_for_doubt("its store was restored from a backup")?;
        for at in [old, new] {
            world.is_announced(at)?;
        }
        for daemon in DaemonName::ALL {
            world.edge.daemon(daemon)?.restart(Signal::SIGKILL, SOON)?;
        }
        world.wait_for_doubt("its store was restored from a backup")?;
        for at in [old, new] {
            world.is_announced(at)?;
        }
        let (code, text) = world.said("confirm")?;
        ensure!(code == Some(0), "{code:?}: {text}");
        eventually("silence", SOON, || new.resolve_to_nobody(world.lab.near()?))?;
        world.is_announced(old)?;
        world.wait_for_certainty()?;
        all_answered(loads)
    })
}

/// A store that is restored while no daemon runs is noticed by the first list.
#[test]
fn a_backup_restored_while_nobody_watched_is_noticed() -> Result<()> {
    watched("outage-backup-unseen", |world| {
        let old = world.serve("old")?;
        world.cluster.plane_mut().back_up()?;
        world.wait_for_certainty()?;
        let new = world.serve("new")?;
        wait_until_noted(world)?;
        let loads = world.load(old)?;
        for daemon in DaemonName::ALL {
            world.edge.stop_daemon(daemon);
        }
        world.cluster.plane_mut().restore()?;
        for daemon in DaemonName::ALL {
            world.edge.start_daemon(daemon)?;
        }
        world.wait_for_doubt("its store was restored from a backup")?;
        for at in [old, new] {
            world.is_announced(at)?;
        }
        let (code, text) = world.said("confirm")?;
        ensure!(code == Some(0), "{code:?}: {text}");
        eventually("silence", SOON, || new.resolve_to_nobody(world.lab.near()?))?;
        all_answered(loads)
    })
}

/// Waits until both daemons have written down that they saw the Service `new`.
fn wait_until_noted(world: &Watched) -> Result<()> {
    let service = world.cluster.kubectl()?.get(&["service", "new"])?;
    let wanted: u64 = service["metadata"]["resourceVersion"].as_str().unwrap_or("0").parse()?;
    eventually("how far the cluster was followed is written down", SOON, || {
        for daemon in DaemonName::ALL {
            let file = world.edge.state().join(daemon.as_str()).join("clusters/home/reached.json");
            let text = std::fs::read_to_string(&file)?;
            let reached: serde_json::Value = serde_json::from_str(&text)?;
            ensure!(reached["Services"].as_u64() >= Some(wanted), "{text}, wanted {wanted}");
        }
        Ok(())
    })
}
