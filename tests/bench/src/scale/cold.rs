//! Starts with thousands of Services.

use std::{fs, time::Instant};

use anyhow::{Context, Result};
use roadstead_lab::edge::DaemonName;

use super::world::World;

/// Seconds from the start of both daemons.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) programmed: f64,
    pub(crate) ready: f64,
    pub(crate) answering: f64,
}

/// A machine on which nothing was ever assigned: manifests, and an empty disk and kernel.
pub(crate) fn first(world: &mut World) -> Result<Start> {
    start(world)
}

/// The same machine after a reboot: assignments are on the disk, the kernel is empty.
pub(crate) fn after_reboot(world: &mut World) -> Result<Start> {
    DaemonName::ALL.iter().for_each(|daemon| world.edge.stop_daemon(*daemon));
    let pins = world.edge.bpffs().join("router");
    fs::remove_dir_all(&pins).with_context(|| format!("cannot remove {}", pins.display()))?;
    start(world)
}

fn start(world: &mut World) -> Result<Start> {
    let began = Instant::now();
    world.start_daemons()?;
    let stages = world.wait_served()?;
    let since = |stage: Instant| stage.saturating_duration_since(began).as_secs_f64();
    Ok(Start {
        programmed: since(stages.programmed),
        ready: since(stages.ready),
        answering: since(stages.answering),
    })
}
