//! End to end: the real daemons and each peer in networks of their own, measured in turn.
//!
//! In each round every peer is measured once, in random order; what is compared is the median of the
//! ratios within the rounds, since the machine itself drifts by a quarter.

mod echo;
mod latency;
mod load;
pub(crate) mod peer;
pub(crate) mod rig;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};

use crate::{
    Effort,
    report::{Goal, Section, Table},
    stats::{Dice, median, paired},
};

use latency::Latency;
use load::{Outcome, Reuse};
use peer::Peer;
pub(crate) use rig::Shape;
use rig::{Family, Rig};

/// How long one measurement takes: short, so that what drifts is the same for all peers of a round.
const SPAN: Duration = Duration::from_secs(1);

/// What is measured for each peer in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    KeepAlive,
    Connections,
    Bulk,
    KeepAliveSeveral,
    ConnectionsSeveral,
    KeepAliveV6,
    KeepAliveSummed,
    BulkSummed,
}

impl Test {
    const ALL: [Self; 8] = [
        Self::KeepAlive,
        Self::Connections,
        Self::Bulk,
        Self::KeepAliveSeveral,
        Self::ConnectionsSeveral,
        Self::KeepAliveV6,
        Self::KeepAliveSummed,
        Self::BulkSummed,
    ];

    /// Whether every leg computes checksums before it sends (offload off, which takes tso with it).
    fn is_summed(self) -> bool {
        matches!(self, Self::KeepAliveSummed | Self::BulkSummed)
    }

    fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep-alive req/s",
            Self::Connections => "connections/s",
            Self::Bulk => "iperf3 Gb/s",
            Self::KeepAliveSeveral => "keep-alive, 4 clients",
            Self::ConnectionsSeveral => "connections, 4 clients",
            Self::KeepAliveV6 => "keep-alive, IPv6",
            Self::KeepAliveSummed => "keep-alive, tx off",
            Self::BulkSummed => "iperf3 Gb/s, tx off",
        }
    }

    fn run(self, rig: &Rig, span: Duration) -> Result<Outcome> {
        let (client, web) = (rig.client()?, rig.web(Family::V4)?);
        match self {
            Self::KeepAlive | Self::KeepAliveSummed => {
                load::wrk(client, web, Reuse::KeepAlive, false, span)
            }
            Self::Connections => load::wrk(client, web, Reuse::Connection, false, span),
            Self::Bulk | Self::BulkSummed => load::bulk(client, rig.bulk()?, span),
            Self::KeepAliveSeveral => load::wrk(client, web, Reuse::KeepAlive, true, span),
            Self::ConnectionsSeveral => load::wrk(client, web, Reuse::Connection, true, span),
            Self::KeepAliveV6 => {
                load::wrk(client, rig.web(Family::V6)?, Reuse::KeepAlive, false, span)
            }
        }
    }
}

/// Everything measured, one value per round.
#[derive(Debug, Default)]
struct Results {
    outcomes: BTreeMap<(Test, Peer), Vec<Outcome>>,
    latencies: BTreeMap<Peer, Vec<Latency>>,
}

impl Results {
    fn rates(&self, test: Test, peer: Peer) -> Vec<f64> {
        let outcomes = self.outcomes.get(&(test, peer));
        outcomes.into_iter().flatten().map(|outcome| outcome.rate).collect()
    }

    /// How many times as much as a peer, in the median of the rounds.
    fn ratio(&self, test: Test, of: Peer, to: Peer) -> f64 {
        paired(&self.rates(test, of), &self.rates(test, to))
    }

    fn failed(&self) -> u64 {
        self.outcomes.values().flatten().map(|outcome| outcome.failed).sum()
    }
}

/// Measures one shape of network.
pub(crate) fn measure(shape: Shape, effort: Effort) -> Result<Section> {
    let rigs: Vec<Rig> =
        Peer::ALL.into_iter().map(|peer| Rig::build(shape, peer)).collect::<Result<_>>()?;
    let mut results = Results::default();
    let mut dice = Dice::new();
    for round in 1..=effort.rounds {
        eprintln!("{shape:?}: round {round} of {}", effort.rounds);
        one_round(&rigs, false, &mut dice, &mut results)?;
        fixed_rate(&rigs, &mut dice, &mut results)?;
    }
    rigs.iter().try_for_each(Rig::sum_before_sending)?;
    for _ in 0..effort.rounds {
        one_round(&rigs, true, &mut dice, &mut results)?;
    }
    Ok(section(shape, &results))
}

fn one_round(rigs: &[Rig], summed: bool, dice: &mut Dice, results: &mut Results) -> Result<()> {
    let mut order: Vec<&Rig> = rigs.iter().collect();
    for test in Test::ALL.into_iter().filter(|test| test.is_summed() == summed) {
        dice.shuffle(&mut order);
        for rig in &order {
            let outcome = test.run(rig, SPAN);
            let outcome = outcome.with_context(|| format!("{test:?} by {:?}", rig.peer))?;
            results.outcomes.entry((test, rig.peer)).or_default().push(outcome);
        }
    }
    Ok(())
}

fn fixed_rate(rigs: &[Rig], dice: &mut Dice, results: &mut Results) -> Result<()> {
    let mut order: Vec<&Rig> = rigs.iter().collect();
    dice.shuffle(&mut order);
    for rig in order {
        let latency = latency::at_fixed_rate(rig.client()?, rig.web(Family::V4)?, SPAN)
            .with_context(|| format!("latency by {:?}", rig.peer))?;
        results.latencies.entry(rig.peer).or_default().push(latency);
    }
    Ok(())
}

fn section(shape: Shape, results: &Results) -> Section {
    let name = match shape {
        Shape::Routed => "End to end, routed",
        Shape::Bridged => "End to end, bridged, one leg",
    };
    Section {
        title: name.to_owned(),
        method: format!(
            "A client, an edge host and a node in namespaces joined by veth (tso, gso and tx checksum \
             on, gro off), a network for each peer; nginx with two workers answers 96 bytes; wrk with \
             64 connections; congestion control reno, static neighbours, no TIME_WAIT at the servers. \
             Medians; in brackets the median of the per-round ratios to {} / nftables / HAProxy. \
             Requests that failed, in all rounds: {}.",
            Peer::Direct.name(shape),
            results.failed()
        ),
        tables: vec![throughput(shape, results), latencies(shape, results)],
        goals: goals(shape, results),
    }
}

fn throughput(shape: Shape, results: &Results) -> Table {
    let head: Vec<&str> = [""].into_iter().chain(Test::ALL.map(Test::name)).collect();
    let mut table = Table::new("", &head);
    for peer in Peer::ALL {
        let cell = |test| {
            let rate = median(&results.rates(test, peer));
            let ratios = [Peer::Direct, Peer::Nftables, Peer::Haproxy]
                .map(|to| format!("{:.2}", results.ratio(test, peer, to)));
            let rate = if matches!(test, Test::Bulk | Test::BulkSummed) {
                format!("{:.1}", rate / 1e9)
            } else {
                format!("{:.1}k", rate / 1e3)
            };
            format!("{rate} ({})", ratios.join(" / "))
        };
        let name = peer.name(shape).to_owned();
        table.row([name].into_iter().chain(Test::ALL.map(cell)));
    }
    table
}

fn latencies(shape: Shape, results: &Results) -> Table {
    let caption = format!(
        "Latency from the moment a request was due, {} requests/s on 16 connections (open loop), and \
         work of the whole machine per request: at that rate, and in the keep-alive test at full load.",
        latency::RATE
    );
    let mut table = Table::new(caption, &["", "p50 µs", "p99 µs", "CPU µs", "CPU µs, full load"]);
    for peer in Peer::ALL {
        let of = |field: fn(&Latency) -> f64| {
            let all: Vec<f64> =
                results.latencies.get(&peer).into_iter().flatten().map(field).collect();
            format!("{:.0}", median(&all))
        };
        let outcomes = results.outcomes.get(&(Test::KeepAlive, peer)).into_iter().flatten();
        let full: Vec<f64> = outcomes.map(Outcome::cpu_micros).collect();
        let cells = [of(|l| l.p50), of(|l| l.p99), of(|l| l.cpu), format!("{:.1}", median(&full))];
        table.row([peer.name(shape).to_owned()].into_iter().chain(cells));
    }
    table
}

/// (what, to whom, at least)
const ROUTED: [(Test, Peer, f64); 14] = [
    (Test::KeepAlive, Peer::Direct, 1.0),
    (Test::KeepAlive, Peer::Nftables, 1.2),
    (Test::KeepAlive, Peer::Haproxy, 1.75),
    (Test::Connections, Peer::Direct, 1.0),
    (Test::Connections, Peer::Nftables, 1.2),
    (Test::Connections, Peer::Haproxy, 1.75),
    (Test::Bulk, Peer::Direct, 1.0),
    (Test::Bulk, Peer::Nftables, 1.1),
    (Test::KeepAliveSeveral, Peer::Nftables, 1.2),
    (Test::KeepAliveSeveral, Peer::Haproxy, 1.75),
    (Test::ConnectionsSeveral, Peer::Nftables, 1.2),
    (Test::ConnectionsSeveral, Peer::Haproxy, 1.75),
    (Test::KeepAliveSummed, Peer::Nftables, 1.2),
    (Test::BulkSummed, Peer::Nftables, 1.1),
];
const BRIDGED: [(Test, Peer, f64); 4] = [
    (Test::KeepAlive, Peer::Nftables, 1.1),
    (Test::KeepAlive, Peer::Haproxy, 1.5),
    (Test::Connections, Peer::Nftables, 1.1),
    (Test::Connections, Peer::Haproxy, 1.5),
];

fn goals(shape: Shape, results: &Results) -> Vec<Goal> {
    let wanted: &[(Test, Peer, f64)] = match shape {
        Shape::Routed => &ROUTED,
        Shape::Bridged => &BRIDGED,
    };
    let goal = |(test, to, bound): &(Test, Peer, f64)| {
        let what = format!("{shape:?}, {} to {}", test.name(), to.name(shape));
        Goal::at_least(what, *bound, results.ratio(*test, Peer::Ours, *to), "×")
    };
    wanted.iter().map(goal).collect()
}
