//! Whether this host's own firewall is in the way.
//!
//! The router's probes go through the host's stack, where netfilter may drop them or their answers;
//! what the load balancer's program redirects passes netfilter only at the `egress` hook of the
//! leg. So two things are tried, each with a packet or two:
//!
//! * a backend whose probes fail is asked again, while a tap on the leg tells whether the request
//!   leaves and whether an answer comes ([`witness`]);
//! * an answer of the Service to a client is put on each leg where it is announced, addressed to
//!   the leg's own MAC address so that nobody else takes it in, and the tap tells whether it
//!   leaves.
//!
//! Only where this proves that the host drops something are the rules of nftables read, to name
//! those that may do it ([`ruleset`]).

mod attempt;
mod nft;
mod question;
mod ruleset;
mod told;
mod witness;

use std::{collections::BTreeSet, net::IpAddr};

use roadstead_model::{Family, config::NodeProbe};
use roadstead_netlink::Netlink;
use tokio::task::JoinSet;

pub(super) use told::step;

use crate::{local_files::Object, status::ServiceView};
use attempt::{Finding, Obstacle};
use question::{Departure, Question};
use ruleset::{Packet, Suspect};
use witness::{Lost, Outcome};

/// What was tried and found.
#[derive(Debug)]
pub(super) enum Firewall {
    /// Nothing gave cause to ask a backend, and answers to clients leave, as far as that could be
    /// tried.
    NoSign,
    /// There is cause, and it could not be tried; why.
    Untested(String),
    /// It was tried.
    Tried {
        /// What each try showed.
        tries: Vec<Tried>,
        /// Every port of the nodes, beside the NodePorts, that probes ask.
        probed: BTreeSet<u16>,
    },
}

/// One try, and the rules that may explain it.
#[derive(Debug)]
pub(super) struct Tried {
    finding: Finding,
    /// None where nothing is lost on this host.
    rules: Option<Rules>,
}

/// The rules that may drop the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rules {
    /// The ruleset could not be read; why.
    Unread(String),
    /// Those of nftables, each with its text; empty where it has none that could.
    Read(Vec<(Suspect, String)>),
}

/// Tries what the state of a Service gives cause to.
pub(super) async fn look(
    view: &ServiceView,
    object: &Object,
    probe: NodeProbe,
    client: Option<IpAddr>,
) -> Firewall {
    let questions = question::questions(view, object, probe);
    let departures = question::departures(view, client);
    let is_asked = !questions.is_empty();
    match try_all(questions, departures).await {
        Ok(findings) => explained(findings, question::probed(object, probe)),
        Err(obstacle) if is_asked => Firewall::Untested(obstacle.to_string()),
        Err(_) => Firewall::NoSign,
    }
}

/// All at once: together they take no longer than one.
async fn try_all(
    questions: Vec<Question>,
    departures: Vec<Departure>,
) -> Result<Vec<Finding>, Obstacle> {
    if questions.is_empty() && departures.is_empty() {
        return Ok(Vec::new());
    }
    let (netlink, follower) = Netlink::open()?;
    let trying = async {
        let mut tables = netlink.tables();
        drop(tables.wait_for(|tables| tables.is_read()).await);
        let mut tries = JoinSet::new();
        for question in questions {
            tries.spawn(attempt::ask(netlink.clone(), question));
        }
        for departure in departures {
            tries.spawn(attempt::depart(netlink.clone(), departure));
        }
        gathered(tries.join_all().await)
    };
    tokio::select! {
        tried = trying => tried,
        () = follower.run() => Err(Obstacle::Other("the rtnetlink socket closed".to_owned())),
    }
}

/// What could be tried; where nothing could, why.
fn gathered(tries: Vec<Result<Finding, Obstacle>>) -> Result<Vec<Finding>, Obstacle> {
    let (mut findings, mut obstacle) = (Vec::new(), None);
    for tried in tries {
        match tried {
            Ok(finding) => findings.push(finding),
            Err(error) => obstacle = Some(error),
        }
    }
    match obstacle {
        Some(obstacle) if findings.is_empty() => Err(obstacle),
        _ => Ok(findings),
    }
}

fn explained(mut findings: Vec<Finding>, probed: BTreeSet<u16>) -> Firewall {
    findings.sort_by(|a, b| (&a.node, a.remote).cmp(&(&b.node, b.remote)));
    let lost = findings.iter().any(|finding| lost(&finding.outcome).is_some());
    if !lost && findings.iter().all(|finding| finding.node.is_none()) {
        return Firewall::NoSign;
    }
    let rules = lost.then(nft::ruleset);
    let tried = |finding: Finding| Tried { rules: rules_of(&finding, rules.as_ref()), finding };
    Firewall::Tried { tries: findings.into_iter().map(tried).collect(), probed }
}

/// Which packet this host loses, if any.
fn lost(outcome: &Outcome) -> Option<Lost> {
    match outcome {
        Outcome::Kept(lost) | Outcome::Withheld(lost) => Some(*lost),
        Outcome::Answered
        | Outcome::Refused
        | Outcome::Silent
        | Outcome::Unreachable(_)
        | Outcome::NoNeighbour(_) => None,
    }
}

fn rules_of(
    finding: &Finding,
    ruleset: Option<&Result<ruleset::Ruleset, String>>,
) -> Option<Rules> {
    let lost = lost(&finding.outcome)?;
    let ruleset = match ruleset? {
        Ok(ruleset) => ruleset,
        Err(why) => return Some(Rules::Unread(why.clone())),
    };
    let mut suspects = Vec::new();
    // Where the question for the MAC address does not leave, the segment before it may be the one
    // that is dropped.
    if lost == Lost::Segment || matches!(finding.outcome, Outcome::Kept(_)) {
        suspects.extend(ruleset.suspects(&packet(finding, true)));
    }
    if lost == Lost::Resolution {
        suspects.extend(ruleset.suspects(&packet(finding, false)));
    }
    suspects.dedup();
    Some(Rules::Read(suspects.into_iter().map(|s| (s.clone(), nft::text(&s))).collect()))
}

fn packet(finding: &Finding, is_segment: bool) -> Packet {
    let remote = (Some(finding.remote.ip()), Some(finding.remote.port()));
    let arrives = finding.way == ruleset::Way::In;
    let ends = if arrives { [remote, finding.own] } else { [finding.own, remote] };
    Packet {
        family: Family::of(finding.remote.ip()),
        segment: is_segment.then_some(ends),
        leg: finding.leg.clone(),
        way: finding.way,
    }
}
