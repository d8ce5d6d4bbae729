//! The condition `Announced` in words.

use std::{collections::BTreeMap, net::IpAddr};

use roadstead_model::{
    local::VipKind,
    reason::{Condition, ConditionStatus},
};

use super::{Certainty, Decision, Elsewhere, Facts, Holding, Leg, Reason, UNGUARDED, Wire};

/// The condition of one Service on one address. `waits` says what it waits for where it was never
/// served there although the address is open for others.
pub(super) fn condition(
    holding: &Holding,
    decision: &Decision,
    waits: Option<&str>,
    facts: &Facts<'_>,
) -> Condition {
    use ConditionStatus::{False, True};
    let said = |status, reason: &str, message: String| {
        Condition::new("Announced", status, reason, message)
    };
    let address = holding.address;
    if let (Decision::Open(_), Some(why)) = (decision, waits) {
        let message = format!("{address} is up, this service is not yet: {}", or_silent(why));
        let reason = if why == UNGUARDED { "FinalizerPending" } else { "NotReady" };
        return said(False, reason, message);
    }
    match decision {
        Decision::Closed(reason) => {
            let (reason, message) = closed_in_words(address, reason);
            said(False, reason, message)
        }
        Decision::Open(_) if holding.kind == VipKind::Host => said(
            True,
            "HostAddress",
            format!("{address} is this host's own address: nothing is announced for it"),
        ),
        Decision::Open(_) if !holding.l2 => said(
            False,
            "NoProtocol",
            format!(
                "nothing says that {address} is announced by ARP and NDP: its pool does not name l2 in \
                 `announce`, or no L2Advertisement selects it; bgp is not served yet"
            ),
        ),
        Decision::Open(certainty) => match on_the_wire(holding, facts.wire) {
            Err((reason, message)) => said(False, reason, message),
            Ok(legs) => match certainty {
                Certainty::Ready => {
                    said(True, "Probed", format!("{address} is announced on {legs}"))
                }
                Certainty::Degraded(why) => said(
                    True,
                    "Degraded",
                    format!("{address} stays announced on {legs} although {why}"),
                ),
                Certainty::Held(why) => said(
                    True,
                    "Held",
                    format!(
                        "{address} stays announced on {legs}; the router is not sure: {}",
                        or_silent(why)
                    ),
                ),
            },
        },
    }
}

fn closed_in_words(address: IpAddr, reason: &Reason) -> (&'static str, String) {
    match reason {
        Reason::Drained => {
            ("Drained", "this host is drained; `roadstead undrain` brings it back".into())
        }
        Reason::Elsewhere(elsewhere) => announced_elsewhere(address, elsewhere),
        Reason::Leaving => ("Withdrawing", format!("{address} is being withdrawn")),
        Reason::Unserved(why) => ("NothingServes", format!("{address} is not announced: {why}")),
        Reason::Pending(why) => {
            ("NotReady", format!("{address} waits for the router: {}", or_silent(why)))
        }
        Reason::Unguarded => {
            ("FinalizerPending", format!("{address} is not announced: {UNGUARDED}"))
        }
        Reason::NoRouter => (
            "RouterSilent",
            format!("{address} waits for roadstead-router, which has not answered yet"),
        ),
    }
}

fn announced_elsewhere(address: IpAddr, elsewhere: &Elsewhere) -> (&'static str, String) {
    match elsewhere {
        Elsewhere::Writer(host) => (
            "FollowsWriter",
            format!("{address} is announced by {host}, which writes for the group"),
        ),
        Elsewhere::NoWriter => (
            "FollowsWriter",
            format!("{address} is not announced by this host, and no host of the group writes yet"),
        ),
        Elsewhere::Stranger(host) => (
            "Passive",
            format!(
                "{address} is left to {host}, which serves the same cluster and is not in the [group] \
                 of this host: name both hosts in [group], or take the cluster out of one"
            ),
        ),
    }
}

fn or_silent(why: &str) -> &str {
    if why.is_empty() { "it has not spoken of this service yet" } else { why }
}

/// The legs on which an open address is announced, or what keeps it from all of them.
fn on_the_wire(
    holding: &Holding,
    wire: &BTreeMap<(IpAddr, Leg), Wire>,
) -> Result<String, (&'static str, String)> {
    let address = holding.address;
    let state = |leg: &Leg| wire.get(&(address, leg.clone()));
    let announced: Vec<&str> = holding
        .legs
        .iter()
        .filter(|leg| state(leg) == Some(&Wire::Announced))
        .map(AsRef::as_ref)
        .collect();
    if !announced.is_empty() {
        return Ok(announced.join(", "));
    }
    if holding.legs.is_empty() {
        let message = format!(
            "{address} fits no leg: bring the interface up that its pool or L2Advertisement names, or \
             name one that is here"
        );
        return Err(("NoLeg", message));
    }
    let conflict = holding.legs.iter().find_map(|leg| match state(leg) {
        Some(Wire::Conflict { mac }) => Some((leg, mac)),
        _ => None,
    });
    Err(match conflict {
        Some((leg, mac)) => (
            "ConflictOnWire",
            format!("{address} is in use by {} on {leg}; free it there or reserve it", hex(mac)),
        ),
        None => ("Probing", format!("{address} is being probed on {}", holding.legs.join(", "))),
    })
}

fn hex(mac: &[u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
