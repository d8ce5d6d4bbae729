//! Nanoseconds per packet from interface to interface: frames made in the kernel come by the edge
//! host's leg towards the client and are dropped where they reach the node, all on one core. What
//! counts is how much dearer a peer is than a program that only redirects.
//!
//! Frames belong to connections that were really made before, or are SYNs of new ones.

mod flows;
mod frame;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use roadstead_lab::{
    Host,
    process::{Process, Program, built_binaries},
};

use crate::{
    Effort,
    report::{Goal, Section, Table},
    stats::{Dice, median},
    traffic::{
        Shape,
        peer::Peer,
        rig::{Family, NEW_ROUNDS, Rig},
    },
};

use flows::Flows;
use frame::{Frame, Kind};

/// Source ports of the established flows.
const FIRST_PORT: u16 = 62_000;
const FLOWS: u16 = 64;
/// New flows of one round. Their ports are among those that SNAT uses, so that each keeps its own.
const NEW: u16 = 20_000;
const FIRST_NEW: u16 = 1_100;
/// A part of what was sent that may get lost: frames before a MAC address is known.
const LOSS: u64 = 100;
const ATTACHED: Duration = Duration::from_secs(5);

/// Whom the frames meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// A tc program that redirects, and nothing else.
    Redirect,
    Peer(Peer),
}

impl Way {
    const ALL: [Self; 4] = [
        Self::Redirect,
        Self::Peer(Peer::Direct),
        Self::Peer(Peer::Nftables),
        Self::Peer(Peer::Ours),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Redirect => "a bare redirect",
            Self::Peer(peer) => peer.name(Shape::Routed),
        }
    }
}

/// Transmit checksum offload of every leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Offload {
    On,
    Off,
}

impl Offload {
    const ALL: [Self; 2] = [Self::On, Self::Off];

    fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// What is sent.
type Test = (Offload, Kind, Family);

fn tests(offload: Offload) -> impl Iterator<Item = Test> {
    let all = Frame::ALL.into_iter().map(move |(kind, family)| (offload, kind, family));
    // The ports for new flows are used up with offload on.
    all.filter(move |(_, kind, _)| offload == Offload::On || *kind != Kind::Syn)
}

/// A network, and what keeps its flows alive.
struct Bed {
    way: Way,
    // Filters and connections end before the network goes.
    _filters: Vec<Process>,
    _flows: Flows,
    rig: Rig,
}

/// Nanoseconds per frame, one value per round.
type Costs = BTreeMap<(Test, Way), Vec<f64>>;

/// Measures all ways.
pub(crate) fn measure(effort: Effort) -> Result<Section> {
    let beds: Vec<Bed> = Way::ALL.into_iter().map(bed).collect::<Result<_>>()?;
    let mut costs = Costs::new();
    let mut dice = Dice::new();
    let count = effort.pick(200_000, 100_000);
    for offload in Offload::ALL {
        if offload == Offload::Off {
            beds.iter().try_for_each(|bed| bed.rig.sum_before_sending())?;
        }
        for round in 0..u16::try_from(effort.rounds)? {
            eprintln!("Live: offload {}, round {}", offload.name(), round + 1);
            for test in tests(offload) {
                let mut order: Vec<&Bed> = beds.iter().collect();
                dice.shuffle(&mut order);
                for bed in order {
                    if let Some(cost) = send(bed, test, round, count)? {
                        costs.entry((test, bed.way)).or_default().push(cost);
                    }
                }
            }
        }
    }
    Ok(section(&costs))
}

fn bed(way: Way) -> Result<Bed> {
    let peer = match way {
        Way::Redirect => Peer::Direct,
        Way::Peer(peer) => peer,
    };
    let rig = Rig::build(Shape::Routed, peer)?;
    let edge = rig.lab.edge()?;
    if peer == Peer::Nftables {
        // Frames are not of the connection's window, and their checksums are not right.
        edge.sysctl("net/netfilter/nf_conntrack_tcp_be_liberal", "1")?;
        edge.sysctl("net/netfilter/nf_conntrack_checksum", "0")?;
    }
    let flows = Flows::open(&rig, FIRST_PORT..FIRST_PORT + FLOWS)
        .with_context(|| format!("{way:?}: {}", rig.lab.explain_failure()))?;
    let mut filters = vec![filter(&rig, rig.lab.node(1)?, &["discard", "eth0"])?];
    if way == Way::Redirect {
        filters.push(filter(&rig, edge, &["redirect", "eth0", "eth1"])?);
    }
    Ok(Bed { way, _filters: filters, _flows: flows, rig })
}

/// A tc program on a leg, attached by the example `live` of roadstead-router-bpf.
fn filter(rig: &Rig, host: &Host, arguments: &[&str]) -> Result<Process> {
    let program = Program::new("filter", built_binaries()?.join("examples/live"), &rig.lab.logs());
    let mut process = program.args(arguments.iter().copied()).start(host.namespace())?;
    process.wait_for_text("attached", ATTACHED)?;
    Ok(process)
}

/// Runs the example in a host. In real time: nothing else takes the core, and what the frames cause
/// is done on the spot instead of by another thread.
fn generator(host: &Host, arguments: &[&str]) -> Result<String> {
    let program = built_binaries()?.join("examples/live").display().to_string();
    let mut line = vec!["chrt", "--fifo", "10", program.as_str()];
    line.extend(arguments);
    host.run(&line)
}

/// Nanoseconds per frame; none where the ports for new flows are used up.
fn send(bed: &Bed, test: Test, round: u16, count: u32) -> Result<Option<f64>> {
    let (_, kind, family) = test;
    let (count, flows, first) = match kind {
        Kind::Syn if round >= NEW_ROUNDS => return Ok(None),
        Kind::Syn => (u32::from(NEW), NEW, FIRST_NEW),
        Kind::Ack | Kind::Datagram => (count, FLOWS, FIRST_PORT),
    };
    let frame = Frame::to(&bed.rig, kind, family, round)?.hex();
    let [count_text, flows, first] = [count.to_string(), flows.to_string(), first.to_string()];
    let node = bed.rig.lab.node(1)?;
    let before = received(node)?;
    let said =
        generator(bed.rig.lab.edge()?, &["send", "eth0", &count_text, &flows, &first, &frame])?;
    let arrived = received(node)?.saturating_sub(before);
    let wanted = u64::from(count) * (LOSS - 1) / LOSS;
    ensure!(arrived >= wanted, "{test:?} by {:?}: of {count} frames {arrived} arrived", bed.way);
    Ok(Some(said.trim().parse().with_context(|| format!("the generator said {said}"))?))
}

/// Packets that came by the node's leg.
fn received(node: &Host) -> Result<u64> {
    let text = node.run(&["cat", "/proc/self/net/dev"])?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
    let packets = line.and_then(|rest| rest.split_whitespace().nth(1));
    packets.context("no eth0 in /proc/net/dev")?.parse().context("its packets")
}

fn section(costs: &Costs) -> Section {
    Section {
        title: "Nanoseconds per packet, from interface to interface".to_owned(),
        method: format!(
            "Frames made in the kernel (BPF_F_TEST_XDP_LIVE_FRAMES) come by the edge host's leg \
             towards the client and are dropped as they reach the node, all on one core in real time; \
             {FLOWS} established flows, {NEW} new ones a round. Medians; in brackets how much above a \
             bare tc redirect, in the median of the rounds."
        ),
        tables: Offload::ALL.map(|offload| table(costs, offload)).into(),
        goals: goals(costs),
    }
}

fn table(costs: &Costs, offload: Offload) -> Table {
    let caption = format!("Transmit checksum offload {}.", offload.name());
    let head: Vec<String> = [String::new()].into_iter().chain(tests(offload).map(name)).collect();
    let mut table = Table { head, ..Table::new(caption, &[]) };
    for way in Way::ALL {
        let cell = |test: Test| {
            let all = costs.get(&(test, way)).map_or(0.0, |all| median(all));
            format!("{all:.0} ({:.0})", above(costs, test, way))
        };
        table.row([way.name().to_owned()].into_iter().chain(tests(offload).map(cell)));
    }
    table
}

fn name((_, kind, family): Test) -> String {
    format!("{} {family}", kind.name())
}

/// How much dearer than a bare redirect, in the median of the rounds.
fn above(costs: &Costs, test: Test, way: Way) -> f64 {
    let of = |way| costs.get(&(test, way)).map(Vec::as_slice).unwrap_or_default();
    let pairs = of(way).iter().zip(of(Way::Redirect));
    let differences: Vec<f64> = pairs.map(|(cost, bare)| cost - bare).collect();
    median(&differences)
}

fn goals(costs: &Costs) -> Vec<Goal> {
    let (ours, nft) = (Way::Peer(Peer::Ours), Way::Peer(Peer::Nftables));
    let mut goals = Vec::new();
    for test in Offload::ALL.into_iter().flat_map(tests) {
        let (offload, kind, _) = test;
        let what = format!("{} above a bare redirect, offload {}", name(test), offload.name());
        let cost = above(costs, test, ours);
        if kind == Kind::Syn {
            let ratio = cost / above(costs, test, nft);
            goals.push(Goal::at_most(format!("{what}, to nftables"), 0.5, ratio, "×"));
        } else {
            goals.push(Goal::at_most(what, 150.0, cost, " ns"));
        }
    }
    goals
}
