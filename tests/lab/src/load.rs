//! Load: `lab-client` in a host, and what it reports.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::{
    host::Host,
    process::{Process, Program, built},
};

/// How long the client may take to finish what is outstanding.
const FINISH: Duration = Duration::from_secs(15);

/// What `lab-client` counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Requests sent.
    pub sent: u64,
    /// Answered.
    pub ok: u64,
    /// Not answered in time.
    pub lost: u64,
    /// Ended by a reset or by an unexpected end of the connection.
    pub reset: u64,
    /// Refused: a closed port, or an ICMP error.
    pub refused: u64,
    /// Requests of an established connection that another node answered than the one before.
    pub moved: u64,
    /// Answers by node.
    pub by_node: BTreeMap<String, u64>,
    /// Longest time between two answers, from the start on.
    pub longest_gap_ms: u64,
    /// From the moment a request was due to its answer.
    pub latency_us: Latency,
    /// Requests by the error they met.
    pub errors: BTreeMap<String, u64>,
}

/// Percentiles of the latency, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Longest.
    pub max: u64,
}

impl Report {
    /// Requests that did not get their answer.
    pub fn failed(&self) -> u64 {
        self.sent - self.ok
    }

    /// An error unless every request was answered and no connection changed its node.
    pub fn all_answered(&self) -> Result<()> {
        ensure!(self.sent > 0, "nothing was sent");
        ensure!(self.failed() == 0 && self.moved == 0, "requests were lost or moved: {self:?}");
        Ok(())
    }

    /// An error unless each of `nodes` answered at least once, and no other.
    pub fn spread_over(&self, nodes: &[&str]) -> Result<()> {
        let seen: Vec<&str> = self.by_node.keys().map(String::as_str).collect();
        ensure!(seen == nodes, "answers came from {seen:?}, wanted {nodes:?}");
        Ok(())
    }
}

/// How requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A TCP connection for each request.
    Connect,
    /// Requests with sequence numbers on so many connections.
    KeepAlive(u32),
    /// Datagrams from so many sockets; 0 = a socket for each datagram.
    Udp(u32),
}

/// A load to be started.
#[derive(Clone, Debug)]
pub struct Load {
    shape: Shape,
    to: SocketAddr,
    rate: u32,
    count: Option<u64>,
    from: Vec<IpAddr>,
    timeout: Duration,
}

impl Load {
    /// 200 requests a second until it is stopped.
    pub fn new(shape: Shape, to: SocketAddr) -> Self {
        Self {
            shape,
            to,
            rate: 200,
            count: None,
            from: Vec::new(),
            timeout: Duration::from_secs(3),
        }
    }

    /// A connection for each request.
    pub fn connect(to: SocketAddr) -> Self {
        Self::new(Shape::Connect, to)
    }

    /// Requests on a few long connections.
    pub fn keep_alive(to: SocketAddr, connections: u32) -> Self {
        Self::new(Shape::KeepAlive(connections), to)
    }

    /// Datagrams from a few sockets.
    pub fn udp(to: SocketAddr, sockets: u32) -> Self {
        Self::new(Shape::Udp(sockets), to)
    }

    /// Requests per second in all.
    #[must_use]
    pub fn rate(mut self, rate: u32) -> Self {
        self.rate = rate;
        self
    }

    /// Ends by itself after so many requests.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Source addresses, used in turn.
    #[must_use]
    pub fn from(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.from.extend(addresses);
        self
    }

    /// How long an answer may take before the request is lost.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn arguments(&self) -> Vec<String> {
        let mut args = match self.shape {
            Shape::Connect => vec!["connect".to_owned()],
            Shape::KeepAlive(n) => vec!["keep-alive".to_owned(), format!("--connections={n}")],
            Shape::Udp(n) => vec!["udp".to_owned(), format!("--sockets={n}")],
        };
        args.push(format!("--to={}", self.to));
        args.push(format!("--rate={}", self.rate));
        args.push(format!("--timeout-ms={}", self.timeout.as_millis()));
        args.extend(self.count.map(|count| format!("--count={count}")));
        args.extend(self.from.iter().map(|address| format!("--from={address}")));
        args
    }

    /// Starts it in a host; it runs until [`Running::finish`]. The first answer has come by then.
    pub fn start(&self, host: &Host, logs: &Path) -> Result<Running> {
        let running = self.start_cold(host, logs)?;
        let Running { mut process } = running;
        process.wait_for_text("first answer", FINISH)?;
        Ok(Running { process })
    }

    /// Starts it in a host without waiting for an answer.
    pub fn start_cold(&self, host: &Host, logs: &Path) -> Result<Running> {
        let name = format!("load-{}-{}", host.name(), unique());
        let program = Program::new(&name, built("lab-client")?, logs).args(self.arguments());
        Ok(Running { process: program.start(host.namespace())? })
    }

    /// Runs it to its end; wants a count.
    pub fn run(&self, host: &Host, logs: &Path) -> Result<Report> {
        let count = self.count.context("a load that runs to its end wants a count")?;
        let takes = Duration::from_secs(count / u64::from(self.rate.max(1)));
        let mut running = self.start_cold(host, logs)?;
        running.process.wait(takes + self.timeout + FINISH)?;
        running.report()
    }
}

/// A load that runs.
#[derive(Debug)]
pub struct Running {
    process: Process,
}

impl Running {
    /// Stops sending, waits for what is outstanding, reports.
    pub fn finish(mut self) -> Result<Report> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait(FINISH)?;
        self.report()
    }

    fn report(&self) -> Result<Report> {
        let text = self.process.stdout();
        let line = text.lines().last().unwrap_or_default();
        serde_json::from_str(line).with_context(|| {
            format!("no report from lab-client: `{text}` {}", self.process.stderr())
        })
    }
}

/// A number for the names of log files.
fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}
