//! What the speaker tells people: its status on the local socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use roadstead_daemon::{VERSION, pools::PoolBook, state::StateError, words::chain};
use roadstead_model::{
    Problem, ServiceKey, Snapshot,
    config::Config,
    group::GroupStatus,
    local::{Announced, DaemonStatus, SpeakerService, SpeakerStatus},
    reason::{Condition, ConditionStatus},
};
use roadstead_speaker_core::{
    gate::{Elsewhere, Verdict},
    ipam::{Outcome, Refusal},
};

use crate::{legs::Surroundings, programmed::Heard};

/// Addresses of a pool named as somebody else's before the rest is counted.
const REFUSALS_NAMED: usize = 5;

/// What a disk that refuses means.
pub(crate) const WHILE_THE_DISK_REFUSES: &str =
    "what is announced stays, withdrawals go on, what is new waits until the disk takes it";

/// What the speaker knows and tells, beside what it has decided.
pub(crate) struct Known<'a> {
    pub(crate) config: &'a Config,
    pub(crate) pools: &'a PoolBook,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) heard: &'a Heard,
    pub(crate) drained: bool,
    /// Why the last reload was refused.
    pub(crate) stale_config: Option<&'a str>,
    /// What to tell of a ledger that was damaged when this run began.
    pub(crate) damaged_ledger: Option<&'a str>,
    /// Who else writes, if anybody.
    pub(crate) elsewhere: Option<&'a Elsewhere>,
    pub(crate) group: Option<&'a GroupStatus>,
}

/// The status before the first step.
pub(crate) fn nothing_yet() -> SpeakerStatus {
    SpeakerStatus {
        daemon: DaemonStatus {
            name: "speaker".into(),
            version: VERSION.into(),
            ready: false,
            generation: 0,
            conditions: Vec::new(),
        },
        sources: Vec::new(),
        problems: Vec::new(),
        services: Vec::new(),
        pools: Vec::new(),
        reservations: Vec::new(),
        drained: false,
        group: None,
    }
}

/// The status after a step.
pub(crate) fn status(
    known: &Known<'_>,
    outcome: &Outcome,
    verdict: &Verdict,
    disk: Option<&StateError>,
) -> SpeakerStatus {
    let refused = &known.snapshot.refused;
    let mut held = held(outcome);
    let keys: BTreeSet<&ServiceKey> =
        outcome.conditions.keys().chain(verdict.conditions.keys()).chain(refused.keys()).collect();
    SpeakerStatus {
        daemon: daemon(known, outcome, disk),
        sources: known.snapshot.sources.iter().map(|(n, s)| (n.clone(), s.clone())).collect(),
        problems: problems(known),
        services: keys
            .into_iter()
            .map(|key| {
                let addresses = held.remove(key).unwrap_or_default();
                service(key, addresses, refused.get(key).map(AsRef::as_ref), outcome, verdict)
            })
            .collect(),
        pools: outcome.pools.clone(),
        reservations: outcome.reservations.clone(),
        drained: known.drained,
        group: known.group.cloned(),
    }
}

/// What the sources say that is wrong, and what of it is not taken.
fn problems(known: &Known<'_>) -> Vec<Problem> {
    known.snapshot.problems.iter().cloned().chain(known.pools.problems()).collect()
}

/// What each Service holds.
fn held(outcome: &Outcome) -> BTreeMap<&ServiceKey, Vec<IpAddr>> {
    let mut held: BTreeMap<_, Vec<IpAddr>> = BTreeMap::new();
    for holding in &outcome.addresses {
        for key in &holding.live {
            held.entry(key).or_default().push(holding.address);
        }
    }
    held
}

fn service(
    key: &ServiceKey,
    addresses: Vec<IpAddr>,
    refused: Option<&str>,
    outcome: &Outcome,
    verdict: &Verdict,
) -> SpeakerService {
    let served = |address: &&IpAddr| !verdict.waiting.contains(&(**address, key.clone()));
    let announced = addresses.iter().filter(served).flat_map(|address| {
        verdict.answers.get(address).into_iter().flatten().map(|leg| Announced {
            address: *address,
            by: "l2".into(),
            interface: leg.clone(),
        })
    });
    let object = refused.map(|why| object_refused(why, &addresses));
    let allocated = object.or_else(|| outcome.conditions.get(key).cloned());
    let conditions = [allocated, verdict.conditions.get(key).cloned()];
    SpeakerService {
        service: key.clone(),
        announced: announced.collect(),
        conditions: conditions.into_iter().flatten().collect(),
        addresses,
    }
}

/// A Service whose manifest is wrong keeps what it holds, and gets nothing new.
fn object_refused(why: &str, held: &[IpAddr]) -> Condition {
    let status = if held.is_empty() { ConditionStatus::False } else { ConditionStatus::Unknown };
    let message = format!("the object is not used as it is: {why}");
    Condition::new("Allocated", status, "ObjectRefused", message)
}

fn daemon(known: &Known<'_>, outcome: &Outcome, disk: Option<&StateError>) -> DaemonStatus {
    let mut conditions = Vec::new();
    if let Some(error) = disk {
        let message = format!("{}; {WHILE_THE_DISK_REFUSES}", chain(error));
        conditions.push(wrong("StateWritten", "DiskRefuses", message));
    }
    if let Some(message) = known.damaged_ledger {
        conditions.push(wrong("LedgerWhole", "Damaged", message.to_owned()));
    }
    if let Some(why) = known.stale_config {
        conditions.push(wrong("ConfigurationCurrent", "ReloadRefused", why.to_owned()));
    }
    if known.config.speaker.require_ready && !known.heard.connected {
        let message =
            "roadstead-router does not answer on its local socket; what is announced stays";
        conditions.push(wrong("RouterConnected", "NoAnswer", message.into()));
    }
    conditions.extend(legs_found(known));
    conditions.extend(known.group.and_then(group_complete));
    conditions.extend(passive(known));
    conditions.extend(outcome.passed_over.iter().map(|(pool, refusals)| used(pool, refusals)));
    DaemonStatus {
        name: "speaker".into(),
        version: VERSION.into(),
        ready: known.snapshot.is_complete(),
        generation: known.snapshot.generation,
        conditions,
    }
}

/// Every interface that is named is wanted: one that is missing is waited for, and told.
fn legs_found(known: &Known<'_>) -> Option<Condition> {
    let (named, host) = (&known.config.speaker.interfaces, &known.surroundings);
    if host.legs.is_empty() {
        let message = "no interface to announce on: see [speaker] interfaces";
        return Some(wrong("LegsFound", "NoLeg", message.into()));
    }
    let missing = host.missing(named.as_deref()).join(", ");
    let message = format!(
        "nothing is announced on {missing}: [speaker] interfaces names it, and it is not there, has no carrier or no address"
    );
    (!missing.is_empty()).then(|| wrong("LegsFound", "LegMissing", message))
}

/// A host that this one was never told of serves the same cluster.
fn passive(known: &Known<'_>) -> Option<Condition> {
    let Some(Elsewhere::Stranger(by)) = known.elsewhere else { return None };
    let message = format!(
        "{by} holds the Lease roadstead-writer of this cluster: this host assigns and announces nothing; \
         name both hosts in [group], or take the cluster out of one's sources"
    );
    Some(wrong("OnlyWriter", "Passive", message))
}

/// Every member is heard, and one of them writes.
fn group_complete(group: &GroupStatus) -> Option<Condition> {
    let silent: Vec<String> = group
        .members
        .iter()
        .filter(|member| !member.alive)
        .map(|member| format!("{} ({}): {}", member.name, member.address, member.reason))
        .collect();
    match (&group.writer, silent.is_empty()) {
        (Some(_), true) => None,
        (Some(_), false) => {
            let message = format!("not heard: {}", silent.join("; "));
            Some(wrong("GroupComplete", "MemberSilent", message))
        }
        (None, _) => {
            let message = "no host of the group writes: nothing is assigned or announced";
            Some(wrong("GroupComplete", "NoWriter", message.into()))
        }
    }
}

/// A pool that holds addresses of somebody around: it works without them.
fn used(pool: &str, refusals: &[Refusal]) -> Condition {
    let named = refusals.iter().take(REFUSALS_NAMED).map(ToString::to_string).collect::<Vec<_>>();
    let more = match refusals.len().saturating_sub(REFUSALS_NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let message = format!(
        "pool `{pool}` passes over what others have: {}{more}; take it out of `addresses`, or name \
         it in `reserved`",
        named.join("; ")
    );
    Condition::new("PoolsClear", ConditionStatus::Unknown, "AddressesInUse", message)
}

fn wrong(kind: &str, reason: &str, message: String) -> Condition {
    Condition::new(kind, ConditionStatus::False, reason, message)
}
