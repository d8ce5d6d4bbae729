//! Legs, VIPs, and where the program answers ARP and NDP.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::local::{Answering, Vip, VipKind};

use super::{Inputs, permitted::permits, snat::Snats};
use crate::maps::{Answer, AnswerKey, VipEntry};

/// Legs that [`VipEntry::legs`] can tell apart.
const LEGS: u8 = 32;
/// Visible on every leg, later ones included.
const EVERYWHERE: u32 = u32::MAX;

/// Slots of the legs: a leg keeps its own, and a slot set free in this plan is not given out in it.
pub(super) fn legs(inputs: &Inputs<'_>, problems: &mut Vec<String>) -> BTreeMap<u32, u8> {
    let installed = &inputs.installed.legs;
    let mut taken: BTreeSet<u8> = installed.values().copied().collect();
    let mut slots = BTreeMap::new();
    for (ifindex, leg) in &inputs.host.legs {
        let known = installed.get(ifindex).copied();
        let Some(slot) = known.or_else(|| (0..LEGS).find(|slot| !taken.contains(slot))) else {
            problems
                .push(format!("no room for the leg {}: at most {LEGS} are told apart", leg.name));
            continue;
        };
        taken.insert(slot);
        slots.insert(*ifindex, slot);
    }
    slots
}

/// The VIPs that fit and that may be served.
pub(super) fn vips(
    inputs: &Inputs<'_>,
    legs: &BTreeMap<u32, u8>,
    problems: &mut Vec<String>,
) -> BTreeMap<IpAddr, VipEntry> {
    let most = usize::try_from(inputs.capacity.vips).unwrap_or(usize::MAX);
    let mut wanted = BTreeMap::new();
    let known = |vip: &&Vip| !inputs.installed.vips.contains_key(&vip.address);
    let mut vips: Vec<&Vip> = inputs.assignments.vips.iter().collect();
    vips.sort_by_key(known);
    for vip in vips {
        if !permits(inputs.pools, vip.address) {
            problems.push(format!(
                "{} is assigned, but no pool of the router's configuration permits it: it is not served; reload both daemons with the same pools",
                vip.address
            ));
        } else if vip.kind == VipKind::Virtual && inputs.host.addresses.contains(&vip.address) {
            problems.push(format!(
                "{} is this host's own address: put it into a pool with host_addresses = true",
                vip.address
            ));
        } else if wanted.len() >= most {
            problems
                .push(format!("no room for {}: at most {most} addresses are served", vip.address));
        } else {
            wanted
                .insert(vip.address, VipEntry { kind: vip.kind, legs: visible(inputs, legs, vip) });
        }
    }
    wanted
}

fn visible(inputs: &Inputs<'_>, legs: &BTreeMap<u32, u8>, vip: &Vip) -> u32 {
    let Some(names) = &vip.visible_on else { return EVERYWHERE };
    names.iter().fold(0, |bits, name| {
        let leg = inputs.host.leg_named(name).and_then(|(ifindex, _)| legs.get(&ifindex));
        bits | leg.map_or(0, |slot| 1_u32 << slot)
    })
}

/// Answers for VIPs where the speaker wants them, and for dedicated SNAT addresses on the legs
/// towards nodes: replies come to them.
pub(super) fn answers(
    inputs: &Inputs<'_>,
    vips: &BTreeMap<IpAddr, VipEntry>,
    snats: &Snats,
) -> BTreeMap<AnswerKey, Answer> {
    let mut answers = BTreeMap::new();
    let expires = if inputs.assignments.leased { Answer::LEASED } else { None };
    for vip in inputs.assignments.vips.iter().filter(|vip| may_answer(vip, vips)) {
        for name in &vip.answer_on {
            if let Some((ifindex, leg)) = inputs.host.leg_named(name)
                && leg.attached
            {
                let key = AnswerKey { address: vip.address, ifindex };
                if !inputs.remembered || inputs.installed.answers.contains_key(&key) {
                    answers.insert(key, Answer { mac: leg.mac, expires });
                }
            }
        }
    }
    let towards_nodes: BTreeSet<u32> =
        inputs.host.routes.values().map(|route| route.ifindex).collect();
    for address in snats.unowned(inputs) {
        for ifindex in &towards_nodes {
            if let Some(leg) = inputs.host.legs.get(ifindex) {
                let answer = Answer { mac: leg.mac, expires: None };
                answers.insert(AnswerKey { address, ifindex: *ifindex }, answer);
            }
        }
    }
    answers
}

fn may_answer(vip: &Vip, vips: &BTreeMap<IpAddr, VipEntry>) -> bool {
    vip.kind == VipKind::Virtual && vips.contains_key(&vip.address)
}

/// The same for the speaker, by VIP and leg name.
pub(super) fn answering(
    inputs: &Inputs<'_>,
    answers: &BTreeMap<AnswerKey, Answer>,
    vips: &BTreeMap<IpAddr, VipEntry>,
) -> Vec<Answering> {
    let mut legs: BTreeMap<IpAddr, Vec<Arc<str>>> = BTreeMap::new();
    for key in answers.keys().filter(|key| vips.contains_key(&key.address)) {
        if let Some(leg) = inputs.host.legs.get(&key.ifindex) {
            legs.entry(key.address).or_default().push(Arc::clone(&leg.name));
        }
    }
    legs.into_iter().map(|(address, legs)| Answering { address, legs }).collect()
}
