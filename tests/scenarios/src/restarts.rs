//! Ends a daemon again and again under load and counts what was lost.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use nix::sys::signal::Signal;
use roadstead_lab::{Load, Report, edge::DaemonName, load::Running};

use crate::World;

/// What the load saw while daemons were ended and started again.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// One report per load.
    pub reports: Vec<(&'static str, Report)>,
    /// TCP segments that the client had to send again.
    pub retransmitted: u64,
}

impl Outcome {
    /// Requests in all.
    pub fn sent(&self) -> u64 {
        self.reports.iter().map(|(_, report)| report.sent).sum()
    }

    /// Requests without an answer.
    pub fn lost(&self) -> u64 {
        self.reports.iter().map(|(_, report)| report.failed()).sum()
    }

    /// Established connections that were answered by another node than before.
    pub fn moved(&self) -> u64 {
        self.reports.iter().map(|(_, report)| report.moved).sum()
    }
}

/// New connections, long connections and datagrams, over both families.
fn load(world: &World, web: [IpAddr; 2]) -> Result<Vec<(&'static str, Running)>> {
    let [v4, v6] = web;
    let (client, logs) = (world.client()?, world.lab.logs());
    let loads = [
        ("new connections, IPv4", Load::connect(SocketAddr::new(v4, 80)).rate(100)),
        ("new connections, IPv6", Load::connect(SocketAddr::new(v6, 80)).rate(100)),
        ("long connections, IPv4", Load::keep_alive(SocketAddr::new(v4, 80), 10).rate(200)),
        ("long connections, IPv6", Load::keep_alive(SocketAddr::new(v6, 80), 10).rate(200)),
        ("datagrams, IPv4", Load::udp(SocketAddr::new(v4, 53), 8).rate(200)),
        ("datagrams, IPv6", Load::udp(SocketAddr::new(v6, 53), 8).rate(200)),
    ];
    loads.into_iter().map(|(name, load)| Ok((name, load.start(client, &logs)?))).collect()
}

/// Ends `daemon` by `signal` `times` times under load; each time it is ready again before the next.
pub fn under_load(
    world: &World,
    web: [IpAddr; 2],
    daemons: &[DaemonName],
    signal: Signal,
    times: u32,
) -> Result<Outcome> {
    let client = world.client()?;
    let before = client.counter("Tcp", "RetransSegs")?;
    let running = load(world, web)?;
    for _ in 0..times {
        for daemon in daemons {
            world.edge.restart(*daemon, signal)?;
        }
    }
    let mut outcome = Outcome::default();
    for (name, load) in running {
        outcome.reports.push((name, load.finish()?));
    }
    outcome.retransmitted = client.counter("Tcp", "RetransSegs")? - before;
    Ok(outcome)
}
