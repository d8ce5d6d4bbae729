//! `BGPPeer`, in v1beta1 and v1beta2: what the older one lacks is absent.

use std::{net::IpAddr, net::Ipv4Addr, sync::Arc, time::Duration};

use roadstead_model::metallb::{BgpPeer, Neighbour, Password, RemoteAsn, Timers};

use super::values::{duration, flag, number, required, selectors};
use crate::objects::fields::{Fields, Report};

/// RFC 6793: an ASN has 32 bits, and 0 is none (RFC 7607).
const ASNS: std::ops::RangeInclusive<u32> = 1..=u32::MAX;
const DYNAMIC: [(&str, RemoteAsn); 2] =
    [("internal", RemoteAsn::Internal), ("external", RemoteAsn::External)];
/// `spec.peerPort`, as the CRD bounds it.
const PORTS: std::ops::RangeInclusive<u16> = 1..=16_384;

/// Reads `spec`; none where it says not what session is meant.
pub(super) fn read(
    name: Arc<str>,
    spec: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> Option<BgpPeer> {
    required(spec, "myASN", report);
    let my_asn = number(spec, "myASN", ASNS, report);
    let remote = remote(spec, report);
    let neighbour = neighbour(spec, report);
    let local_asn = number(spec, "localASN", ASNS, report);
    let port = number(spec, "peerPort", PORTS, report).unwrap_or(179);
    let source_address = spec.field("sourceAddress").and_then(|field| field.address(report));
    let timers = timers(spec, report);
    let multihop = flag(spec, "ebgpMultiHop", report);
    let peer = BgpPeer {
        name,
        my_asn: my_asn?,
        remote: remote?,
        local_asn,
        neighbour: neighbour?,
        port,
        source_address,
        router_id: router_id(spec, report),
        vrf: spec.text("vrf", report).unwrap_or_default().into(),
        timers,
        password: password(spec, report),
        bfd_profile: word(spec, "bfdProfile", report),
        graceful_restart: flag(spec, "enableGracefulRestart", report),
        multihop,
        dual_stack: flag(spec, "dualStackAddressFamily", report),
        node_selectors: selectors(spec, "nodeSelectors", report),
    };
    deprecated(spec, report);
    if peer.multihop && peer.remote.is_internal(peer.my_asn) {
        report
            .error(spec.line, "spec.ebgpMultiHop: the session is internal, where it means nothing");
    }
    Some(peer)
}

/// Text that says something.
fn word(spec: &Fields<'_, '_>, name: &str, report: &mut Report<'_>) -> Option<Arc<str>> {
    spec.text(name, report).filter(|text| !text.is_empty()).map(Arc::from)
}

/// Exactly one of two fields; an empty one is none.
fn remote(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<RemoteAsn> {
    let is_dynamic = word(spec, "dynamicASN", report).is_some();
    let is_zero = spec.field("peerASN").is_some_and(|it| it.integer(report) == Some(0));
    let is_fixed = spec.field("peerASN").is_some() && !is_zero;
    match (is_fixed, is_dynamic) {
        (true, false) => number(spec, "peerASN", ASNS, report).map(RemoteAsn::Is),
        (false, true) => spec.field("dynamicASN")?.choice(report, &DYNAMIC),
        (true, true) | (false, false) => {
            report.error(spec.line, "spec: exactly one of peerASN and dynamicASN is wanted");
            None
        }
    }
}

fn neighbour(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<Neighbour> {
    let address = word(spec, "peerAddress", report);
    let interface = word(spec, "interface", report);
    match (address, interface) {
        (Some(_), None) => {
            let address: IpAddr = spec.field("peerAddress")?.address(report)?;
            Some(Neighbour::Address(address))
        }
        (None, Some(interface)) => Some(Neighbour::Interface(interface)),
        (Some(_), Some(_)) | (None, None) => {
            report.error(spec.line, "spec: exactly one of peerAddress and interface is wanted");
            None
        }
    }
}

fn router_id(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<Ipv4Addr> {
    word(spec, "routerID", report)?;
    let field = spec.field("routerID")?;
    match field.address(report)? {
        IpAddr::V4(id) => Some(id),
        IpAddr::V6(_) => {
            field.wrong(report, "a router ID has the form of an IPv4 address");
            None
        }
    }
}

/// Where only one of hold and keepalive time is said the other follows from it.
fn timers(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Timers {
    let hold = duration(spec, "holdTime", report);
    let keepalive = duration(spec, "keepaliveTime", report);
    let connect = duration(spec, "connectTime", report);
    let least = Duration::from_secs(3);
    if hold.is_some_and(|hold| !hold.is_zero() && hold < least) {
        report.error(spec.line, "spec.holdTime: 0, or at least 3 s is right (RFC 4271 §4.2)");
    }
    let seconds = 1..=65_535;
    let is_whole = |time: &Duration| time.subsec_nanos() == 0 && seconds.contains(&time.as_secs());
    if connect.as_ref().is_some_and(|connect| !is_whole(connect)) {
        report.error(spec.line, "spec.connectTime: whole seconds from 1 to 65535 are right");
    }
    let hold = hold.or_else(|| keepalive.map(|keepalive| keepalive.saturating_mul(3)));
    let keepalive = keepalive.or_else(|| hold.and_then(|hold| hold.checked_div(3)));
    if hold < keepalive {
        report.error(spec.line, "spec.keepaliveTime is longer than spec.holdTime");
    }
    Timers { hold, keepalive, connect }
}

/// The text of a password is looked at only to see that there is one.
fn password(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<Password> {
    let is_written = word(spec, "password", report).is_some();
    let secret = spec.map("passwordSecret", report);
    let secret = secret.and_then(|secret| word(&secret, "name", report));
    match (is_written, secret) {
        (true, Some(_)) => {
            report.error(spec.line, "spec: one of password and passwordSecret is right, not both");
            None
        }
        (true, None) => Some(Password::Object),
        (false, secret) => secret.map(Password::Secret),
    }
}

fn deprecated(spec: &Fields<'_, '_>, report: &mut Report<'_>) {
    if let Some(field) = spec.field("disableMP") {
        report.notice(field.line, "spec.disableMP is deprecated, and not followed");
    }
}
