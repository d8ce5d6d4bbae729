//! A manifest changes: how long until packets follow.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    prober::Seen,
    tables,
    world::{NODES, World, last_byte},
};
use crate::stats::{Dice, milliseconds};

/// Bound of everything that is waited for.
const FOLLOWED: Duration = Duration::from_secs(10);
/// Between two datagrams to a Service whose manifest is about to change.
const EVERY: Duration = Duration::from_micros(300);
/// Between two datagrams while a node goes: as many as leave most of the machine to the daemons.
const DENSE: Duration = Duration::from_micros(100);
/// For how long the flows of a node are watched after it is gone.
const GONE: Duration = Duration::from_secs(1);
/// Flows of a node that are seen before it goes.
const SEEN_BEFORE: usize = 5;

/// Milliseconds, one value per change.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The NodePort of a Service was edited.
    pub(crate) edited: Vec<f64>,
    /// A Service was created.
    pub(crate) created: Vec<f64>,
    /// A node was deleted.
    pub(crate) gone: Vec<f64>,
    /// Mean time between two flows that the node would have got.
    pub(crate) resolution: Vec<f64>,
    /// Share of other nodes' table slots that a node's removal moved, in percent.
    pub(crate) moved: Vec<f64>,
}

/// Changes things, again and again.
pub(crate) fn measure(world: &World, edits: usize, nodes: usize) -> Result<Changes> {
    let mut changes = Changes::default();
    let mut dice = Dice::new();
    let mut other = vec![false; usize::from(world.plan.services)];
    for _ in 0..edits {
        let service = dice.below(other.len());
        let now_other = other.get_mut(service).context("a Service that is not there")?;
        *now_other = !*now_other;
        let took = edit(world, u16::try_from(service)?, *now_other)?;
        changes.edited.push(milliseconds(took));
        // Changes come at any moment of whatever the daemons do at intervals.
        thread::sleep(Duration::from_millis(u64::try_from(dice.below(50))?));
    }
    for _ in 0..edits / 4 {
        changes.created.push(milliseconds(create(world)?));
    }
    for _ in 0..nodes {
        let node = u8::try_from(dice.below(usize::from(NODES)))?;
        lose(world, node, &mut changes).with_context(|| format!("node {node}"))?;
    }
    Ok(changes)
}

/// From the rename of the file to the first new flow at the new NodePort.
fn edit(world: &World, service: u16, other: bool) -> Result<Duration> {
    let yaml = world.service(service, other)?;
    let prober = world.prober(vec![world.vip(service)], EVERY)?;
    let at = |other| move |seen: &Seen| seen.answer.is_some_and(|a| a.other_port == other);
    prober.wait(FOLLOWED, at(!other)).context("before the edit")?;
    let began = Instant::now();
    world.write_service(service, &yaml)?;
    let seen = prober.wait(FOLLOWED, at(other))?;
    Ok(seen.sent.saturating_duration_since(began))
}

/// From the rename of the file to the first flow that is answered.
fn create(world: &World) -> Result<Duration> {
    let service = world.plan.services;
    let yaml = world.service(service, false)?;
    let prober = world.prober(vec![world.vip(service)], EVERY)?;
    prober.wait(FOLLOWED, |seen| seen.answer.is_none()).context("before it is there")?;
    let began = Instant::now();
    world.write_service(service, &yaml)?;
    let seen = prober.wait(FOLLOWED, |seen| seen.answer.is_some())?;
    world.delete_service(service)?;
    prober.wait(FOLLOWED, |seen| seen.answer.is_none()).context("after it is deleted")?;
    Ok(seen.sent.saturating_duration_since(began))
}

/// From the deletion of the file to the last new flow, of any Service, that the node still got.
fn lose(world: &World, node: u8, changes: &mut Changes) -> Result<()> {
    let all: Vec<SocketAddr> = (0..world.plan.services).map(|service| world.vip(service)).collect();
    let before = tables::read(&world.edge)?;
    let prober = world.prober(all, DENSE)?;
    let here = |seen: &Seen| seen.answer.is_some_and(|answer| answer.node == last_byte(node));
    let started = Instant::now();
    for _ in 0..SEEN_BEFORE {
        prober.wait(FOLLOWED, here).context("before it goes")?;
    }
    changes.resolution.push(milliseconds(started.elapsed()) / 5.0);
    let began = Instant::now();
    world.delete_node(node)?;
    let after = prober.collect(GONE);
    let last = after.iter().filter(|seen| here(seen)).map(|seen| seen.sent).max();
    let took = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(began));
    changes.gone.push(milliseconds(took));
    changes.moved.push(tables::moved(&before, &tables::read(&world.edge)?)? * 100.0);
    world.put_node(node)?;
    prober.wait(FOLLOWED, here).context("after it came back")?;
    Ok(())
}
