//! A Service is created: how long until its address answers, beside its NodePorts.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use roadstead_lab::Host;

use super::{ask, world::World};
use crate::stats::{Dice, milliseconds};

/// Within what a Service answers.
const ANSWERED: Duration = Duration::from_secs(20);

/// Milliseconds from the request that created it, one value per Service.
#[derive(Debug, Default)]
pub(crate) struct Created {
    /// The first of the kube-proxies answered at the NodePort.
    pub(crate) first_node: Vec<f64>,
    /// Each of them did.
    pub(crate) last_node: Vec<f64>,
    /// The VIP answered.
    pub(crate) vip: Vec<f64>,
    /// The VIP after the first of the kube-proxies.
    pub(crate) beyond: Vec<f64>,
}

/// Creates so many, one after the other.
pub(crate) fn measure(world: &mut World, times: usize) -> Result<Created> {
    let mut created = Created::default();
    let mut dice = Dice::new();
    for _ in 0..times {
        // At any moment of what kube-proxy and the daemons do at intervals.
        thread::sleep(Duration::from_millis(u64::try_from(dice.below(1_500))?));
        let [vip, first, last] = one(world)?;
        created.vip.push(vip);
        created.first_node.push(first);
        created.last_node.push(last);
        created.beyond.push(vip - first);
    }
    Ok(created)
}

/// The VIP, the first and the last of the kube-proxies.
fn one(world: &mut World) -> Result<[f64; 3]> {
    let service = world.services;
    let (vip, ports) = (world.vip(service), world.node_ports(service)?);
    let mut asked: Vec<(Host, SocketAddr)> = vec![(world.client()?.clone(), vip)];
    asked.extend(ports.into_iter().map(|port| (world.asker().clone(), port)));
    let wanted = AtomicBool::new(true);
    thread::scope(|scope| {
        let ask = |(host, to): (Host, SocketAddr)| {
            let wanted = &wanted;
            scope.spawn(move || {
                let first = ask::first_answer(&host, to, wanted)?;
                first.with_context(|| format!("{to} does not answer within {ANSWERED:?}"))
            })
        };
        let asking: Vec<_> = asked.into_iter().map(ask).collect();
        let sent = world.create_one().map(|answered| answered.sent);
        wait(&wanted, || asking.iter().all(ScopedJoinHandle::is_finished));
        let joined = asking
            .into_iter()
            .map(|one| one.join().map_err(|_| anyhow!("a thread that asks panicked"))?);
        let answers = joined.collect::<Result<Vec<Instant>>>()?;
        let sent = sent?;
        let took = |at: &Instant| milliseconds(at.saturating_duration_since(sent));
        let (vip, ports) = answers.split_first().context("nobody asked")?;
        let (first, last) = (ports.iter().min(), ports.iter().max());
        Ok([took(vip), first.map_or(0.0, took), last.map_or(0.0, took)])
    })
}

/// Until all have their answer or the time is over.
fn wait(wanted: &AtomicBool, done: impl Fn() -> bool) {
    let deadline = Instant::now() + ANSWERED;
    while !done() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    wanted.store(false, Ordering::Relaxed);
}
