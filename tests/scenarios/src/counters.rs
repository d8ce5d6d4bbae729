//! What the router counts, read from its metrics as a scraper would.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use roadstead_lab::eventually;

use crate::{World, ask};

/// `router.metrics` by default: on the edge host's loopback.
const METRICS: ([u8; 4], u16) = ([127, 0, 0, 1], 9642);
/// The kernel's counters are read with each sweep of the flow table.
const SWEEP: Duration = Duration::from_secs(8);

/// A sample by its full name with labels; 0 where there is none yet.
pub fn metric(world: &World, name: &str) -> Result<u64> {
    let body = ask::get(world.lab.edge()?, SocketAddr::from(METRICS), "/metrics")?;
    let text = String::from_utf8_lossy(&body);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(Ok(0), |value| value.parse().with_context(|| format!("{name} is {value}")))
}

/// Packets dropped for a reason.
pub fn drops(world: &World, reason: &str) -> Result<u64> {
    metric(world, &format!("roadstead_router_drops_total{{reason=\"{reason}\"}}"))
}

/// Waits until at least `least` more packets than `before` were dropped for a reason.
pub fn wait_drops(world: &World, reason: &str, before: u64, least: u64) -> Result<u64> {
    eventually(&format!("{least} more drops by {reason}"), SWEEP, || {
        let more = drops(world, reason)?.saturating_sub(before);
        ensure!(more >= least, "{more} more");
        Ok(more)
    })
}

/// Waits for a sample to satisfy `wanted`.
pub fn wait_metric(world: &World, name: &str, wanted: impl Fn(u64) -> bool) -> Result<u64> {
    eventually(name, SWEEP, || {
        let value = metric(world, name)?;
        ensure!(wanted(value), "{name} is {value}");
        Ok(value)
    })
}
