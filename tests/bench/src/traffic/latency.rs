//! Latency at a fixed rate, open loop: a request is due at its moment, whether the one before it has
//! been answered or not, and its latency counts from then.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use nix::sys::prctl;
use roadstead_lab::Host;

use super::load::busy;
use crate::stats::quantile;

/// Connections, a thread each.
const CONNECTIONS: u32 = 16;
/// Requests per second in all.
pub(crate) const RATE: u32 = 5_000;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
const TIMEOUT: Duration = Duration::from_secs(2);

/// Microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Work of the whole machine per request.
    pub(crate) cpu: f64,
}

/// Sends [`RATE`] requests a second for a while.
pub(crate) fn at_fixed_rate(client: &Host, to: SocketAddr, span: Duration) -> Result<Latency> {
    let before = busy()?;
    let all = client.namespace().enter(|| every_connection(to, span))?;
    let work = busy()?.saturating_sub(before).as_secs_f64();
    ensure!(!all.is_empty(), "no request was answered");
    let cpu = work * 1e6 / f64::from(u32::try_from(all.len())?);
    Ok(Latency { p50: quantile(&all, 0.5), p99: quantile(&all, 0.99), cpu })
}

fn every_connection(to: SocketAddr, span: Duration) -> Result<Vec<f64>> {
    thread::scope(|scope| {
        let period = Duration::from_secs(1) * CONNECTIONS / RATE;
        let start =
            |n| scope.spawn(move || one_connection(to, period, period * n / CONNECTIONS, span));
        let running: Vec<_> = (0..CONNECTIONS).map(start).collect();
        let mut all = Vec::new();
        for thread in running {
            all.extend(thread.join().map_err(|_| anyhow!("a client's thread panicked"))??);
        }
        Ok(all)
    })
}

/// Latencies in microseconds.
fn one_connection(
    to: SocketAddr,
    period: Duration,
    offset: Duration,
    span: Duration,
) -> Result<Vec<f64>> {
    // Sleeps end when they should, not up to 50 µs later.
    prctl::set_timerslack(1)?;
    let mut stream = TcpStream::connect_timeout(&to, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let start = Instant::now() + offset;
    let (mut due, mut latencies, mut answer) = (start, Vec::new(), [0; 1_024]);
    while due < start + span {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(REQUEST)?;
        ensure!(stream.read(&mut answer)? > 0, "the connection was closed");
        latencies.push(due.elapsed().as_secs_f64() * 1e6);
        due += period;
    }
    Ok(latencies)
}
