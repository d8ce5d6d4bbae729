//! Services one by one: the addresses in their status, and those that the allocator would give them
//! from an empty ledger. It is the speaker's own allocator.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use roadstead_model::{
    ServiceKey,
    config::Pool,
    object::{self, LOAD_BALANCER_CLASS, TrafficPolicy},
    reason::Condition,
};
use roadstead_speaker_core::ipam::{Allocator, Host, Input};

use super::{
    Facts,
    verdict::{Service, Verdict},
};

/// All of them, in the order of their keys.
pub(super) fn all(facts: &Facts, pools: &[Pool]) -> Vec<Service> {
    let mut allocator = Allocator::new();
    let (host, conflicts) = (Host::default(), BTreeMap::new());
    let outcome = allocator.reconcile(&Input {
        pools,
        // What is asked is what would be without it: it is for looking on.
        class_only: false,
        snapshot: &facts.snapshot,
        host: &host,
        conflicts: &conflicts,
        reservations: facts.config.as_ref().map_or(&[], |config| &config.reservations),
        now: 0,
    });
    let mut given: BTreeMap<&ServiceKey, BTreeSet<IpAddr>> = BTreeMap::new();
    for holding in &outcome.addresses {
        for service in &holding.live {
            given.entry(service).or_default().insert(holding.address);
        }
    }
    let services = facts.snapshot.services.values();
    let services = services.map(|service| {
        let after = given.remove(&service.key).unwrap_or_default();
        one(service, after, outcome.conditions.get(&service.key), pools)
    });
    services.collect()
}

fn one(
    service: &object::Service,
    after: BTreeSet<IpAddr>,
    condition: Option<&Condition>,
    pools: &[Pool],
) -> Service {
    let before: BTreeSet<IpAddr> = service.status_addresses.iter().copied().collect();
    let verdict = verdict(service, &before, &after, pools);
    let mut notes = Vec::new();
    if let (Verdict::Changes | Verdict::Waits, Some(condition)) = (verdict, condition) {
        notes.push(format!("{}: {}", condition.reason, condition.message));
    }
    notes.extend(not_ours(service));
    let is_local = service.traffic_policy == TrafficPolicy::Local;
    if is_local && !after.is_empty() {
        let what = "externalTrafficPolicy: Local: its pods see the edge host's address, not the \
                    client's, and every node with a ready pod is used";
        notes.push(what.to_owned());
    }
    Service {
        namespace: service.key.namespace.to_string(),
        name: service.key.name.to_string(),
        verdict,
        before: before.into_iter().collect(),
        after: after.into_iter().collect(),
        notes,
    }
}

fn verdict(
    service: &object::Service,
    before: &BTreeSet<IpAddr>,
    after: &BTreeSet<IpAddr>,
    pools: &[Pool],
) -> Verdict {
    let in_pool = |address: &IpAddr| {
        pools.iter().any(|pool| pool.addresses.iter().any(|range| range.contains(*address)))
    };
    let is_foreign = not_ours(service).is_some();
    match (before.is_empty(), after.is_empty()) {
        // Somebody else serves it, unless it has an address of these pools.
        (_, true) if is_foreign && !before.iter().any(in_pool) => Verdict::NotOurs,
        (true, true) => Verdict::Waits,
        (true, false) => Verdict::Gains,
        (false, _) if before == after => Verdict::Same,
        (false, _) => Verdict::Changes,
    }
}

/// Why a Service would be left alone.
fn not_ours(service: &object::Service) -> Option<String> {
    let class = service.class.as_deref().filter(|class| *class != LOAD_BALANCER_CLASS)?;
    Some(format!(
        "its loadBalancerClass is {class}, which cannot be changed: a Service that is made anew \
         without it, or with {LOAD_BALANCER_CLASS}, is taken"
    ))
}
