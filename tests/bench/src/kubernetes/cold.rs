//! Starts with thousands of Services and hundreds of Nodes in the cluster.

use std::time::Instant;

use anyhow::Result;

use super::{audit::Requests, world::World};

/// Seconds from the start of both daemons, and what they asked of the API server.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Every Service has its address, and the kernel's maps hold it.
    pub(crate) synced: f64,
    /// A probe of each has passed.
    pub(crate) probed: f64,
    /// The kernel answers ARP for each.
    pub(crate) announced: f64,
    pub(crate) requests: Requests,
}

/// Starts them with an empty kernel; `disk`: with an empty disk too.
pub(crate) fn measure(world: &mut World, disk: bool) -> Result<Start> {
    world.forget(disk)?;
    let mark = world.audit.mark()?;
    let began = Instant::now();
    world.start_daemons()?;
    let stages = world.wait_served()?;
    let since = |stage: Instant| stage.saturating_duration_since(began).as_secs_f64();
    Ok(Start {
        synced: since(stages.programmed),
        probed: since(stages.ready),
        announced: since(stages.answering),
        requests: world.audit.since(mark)?,
    })
}
