//! Load by the programs that people know: wrk and iperf3.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use roadstead_lab::Host;

use super::rig::{CLIENTS, FIRST_USER};

/// Connections of wrk in all.
const CONNECTIONS: usize = 64;
/// Unit of /proc/stat (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// What came of a load.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Requests, connections or bits per second.
    pub(crate) rate: f64,
    /// Requests that failed.
    pub(crate) failed: u64,
    /// Seconds of work of all cores per second.
    pub(crate) busy: f64,
}

impl Outcome {
    /// Microseconds of work of the whole machine per request.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.busy / self.rate * 1e6
    }
}

/// Whether a connection serves one request or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    KeepAlive,
    Connection,
}

/// wrk from one address, or a wrk for each of several.
pub(crate) fn wrk(
    client: &Host,
    to: SocketAddr,
    reuse: Reuse,
    several: bool,
    span: Duration,
) -> Result<Outcome> {
    let before = busy()?;
    let outcomes = if several {
        each_address(client, to, reuse, span)?
    } else {
        vec![one_wrk(client, &[], (2, CONNECTIONS), to, reuse, span)?]
    };
    let busy = (busy()?.saturating_sub(before)).as_secs_f64() / span.as_secs_f64();
    let rate = outcomes.iter().map(|outcome| outcome.rate).sum();
    let failed = outcomes.iter().map(|outcome| outcome.failed).sum();
    Ok(Outcome { rate, failed, busy })
}

fn each_address(
    client: &Host,
    to: SocketAddr,
    reuse: Reuse,
    span: Duration,
) -> Result<Vec<Outcome>> {
    thread::scope(|scope| {
        let run = |user: u32| {
            let user = format!("--reuid={user}");
            let user = ["setpriv", &user, "--regid=65534", "--clear-groups"];
            one_wrk(client, &user, (1, CONNECTIONS / CLIENTS.len()), to, reuse, span)
        };
        let users = (FIRST_USER..).take(CLIENTS.len());
        let running: Vec<_> = users.map(|user| scope.spawn(move || run(user))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Result<Outcome>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a thread with wrk panicked")))
        };
        running.into_iter().map(join).collect()
    })
}

fn one_wrk(
    client: &Host,
    before: &[&str],
    (threads, connections): (usize, usize),
    to: SocketAddr,
    reuse: Reuse,
    span: Duration,
) -> Result<Outcome> {
    let url = format!("http://{to}/");
    let seconds = format!("-d{}s", span.as_secs().max(1));
    let (threads, connections) = (format!("-t{threads}"), format!("-c{connections}"));
    let mut line = before.to_vec();
    line.extend(["wrk", &threads, &connections, &seconds, &url]);
    if reuse == Reuse::Connection {
        line.extend(["-H", "Connection: close"]);
    }
    parse(&client.run(&line)?)
}

fn parse(text: &str) -> Result<Outcome> {
    let line = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start));
    let rate = line("Requests/sec:").with_context(|| format!("wrk said: {text}"))?;
    let numbers = |line: &str| {
        let words = line.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok());
        words.sum::<u64>()
    };
    let errors = line("Socket errors:").map_or(0, numbers);
    let refused = line("Non-2xx or 3xx responses:").map_or(0, numbers);
    Ok(Outcome { rate: rate.trim().parse()?, failed: errors + refused, busy: 0.0 })
}

/// Bits per second that iperf3 got to the other end.
pub(crate) fn bulk(client: &Host, to: SocketAddr, span: Duration) -> Result<Outcome> {
    let (address, port) = (to.ip().to_string(), to.port().to_string());
    let seconds = span.as_secs().max(1).to_string();
    let before = busy()?;
    let text = client.run(&["iperf3", "-c", &address, "-p", &port, "-t", &seconds, "-J"])?;
    let busy = busy()?.saturating_sub(before).as_secs_f64() / span.as_secs_f64();
    let report: serde_json::Value = serde_json::from_str(&text).context("iperf3's report")?;
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
    let rate = rate.with_context(|| format!("iperf3 said: {text}"))?;
    ensure!(rate > 0.0, "iperf3 moved nothing: {text}");
    Ok(Outcome { rate, failed: 0, busy })
}

/// Work of all cores since the start.
pub(crate) fn busy() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let line =
        text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("no cpu line")?;
    let fields: Vec<u32> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq (proc(5))
    let working = [0, 1, 2, 5, 6].into_iter().filter_map(|field| fields.get(field));
    Ok(TICK * working.sum::<u32>())
}

/// A request of its own connection, from the namespace of the calling thread; returns the answer.
pub(crate) fn one_request(to: SocketAddr) -> Result<String> {
    let limit = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&to, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_understood() -> Result<()> {
        let text = "Running 1s test\n  Socket errors: connect 1, read 2, write 0, timeout 4\n\
                    Non-2xx or 3xx responses: 5\nRequests/sec:  96600.25\nTransfer/sec: 1MB\n";
        let outcome = parse(text)?;
        assert_eq!((outcome.rate, outcome.failed), (96_600.25, 12));
        assert!(parse("unable to connect").is_err());
        Ok(())
    }
}
