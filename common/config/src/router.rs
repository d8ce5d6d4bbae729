//! `[router]` and `[router.health]`.

use std::{net::IpAddr, ops::RangeInclusive, time::Duration};

use roadstead_model::{
    Location,
    config::{Health, NodeProbe, Router},
    special,
};

use crate::{
    defaults, parse,
    section::{Placed, Section},
    speaker,
};

/// Smallest and largest flow table: below, a home's browsers fill it; above, it is gigabytes.
const FLOWS_RANGE: RangeInclusive<u32> = 1_024..=16_777_216;

const DRAIN_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);
const INTERVAL_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3_600);
const TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const SLOW_START_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);

/// The section with its places.
#[derive(Debug)]
pub(crate) struct Read {
    /// Checked.
    pub(crate) router: Router,
    /// `snat_addresses` with their lines.
    pub(crate) snat_addresses: Vec<Placed<IpAddr>>,
    /// Line of `interfaces`.
    pub(crate) interfaces: Option<Location>,
    /// Line of `metrics`.
    pub(crate) metrics: Option<Location>,
    /// Line of `health.timeout`, or else of `health.interval`, where one is written.
    pub(crate) timing: Location,
}

/// How packets reach a node.
#[derive(Clone, Copy)]
enum Mode {
    Nat,
    Dsr,
}

/// What the base verdict of a node asks, before the port is known.
#[derive(Clone, Copy)]
enum ProbeWord {
    Auto,
    KubeProxy,
    NodePort,
}

/// Reads the section.
pub(crate) fn read(mut section: Section<'_>) -> Read {
    mode(&mut section);
    let interfaces = speaker::interfaces(&mut section);
    let (metrics, metrics_place) = speaker::metrics(&mut section, defaults::ROUTER_METRICS);
    let snat_addresses = snat_addresses(&mut section);
    let (health, timing) = health(section.section("health"));
    let router = Router {
        interfaces: interfaces.as_ref().map(|list| list.value.clone()),
        snat_addresses: snat_addresses.iter().map(|address| address.value).collect(),
        snat_ports: section
            .parsed("snat_ports", parse::ports)
            .map_or(defaults::SNAT_PORTS, |ports| ports.value),
        flows: section.number("flows", FLOWS_RANGE).map(|flows| flows.value),
        nodes_allowed: section
            .list("nodes_allowed", parse::prefix)
            .map(|list| list.value.into_iter().map(|prefix| prefix.value).collect())
            .unwrap_or_default(),
        drain_deadline: section
            .duration("drain_deadline", DRAIN_RANGE)
            .map_or(defaults::DRAIN_DEADLINE, |deadline| deadline.value),
        log_flows: section.truth("log_flows", false),
        health,
        metrics,
    };
    section.finish();
    let interfaces = interfaces.map(|list| list.place);
    Read { router, snat_addresses, interfaces, metrics: metrics_place, timing }
}

fn mode(section: &mut Section<'_>) {
    let written = section.choice("mode", &[("nat", Mode::Nat), ("dsr", Mode::Dsr)]);
    if let Some(Placed { value: Mode::Dsr, place, .. }) = written {
        section.error(&place, "`router.mode`: \"dsr\" is not served yet: write \"nat\"");
    }
}

fn snat_addresses(section: &mut Section<'_>) -> Vec<Placed<IpAddr>> {
    let Some(list) = section.list("snat_addresses", parse::address) else { return Vec::new() };
    let mut addresses: Vec<Placed<IpAddr>> = Vec::new();
    for item in list.value {
        let address = item.value;
        if let Some(class) = special::unusable(address) {
            let message = format!("`router.snat_addresses`: {address} is {class}");
            section.error(&item.place, message);
        } else if addresses.iter().any(|other| other.value == address) {
            let message = format!("`router.snat_addresses`: {address} is named twice");
            section.error(&item.place, message);
        } else {
            addresses.push(item);
        }
    }
    addresses
}

fn health(mut section: Section<'_>) -> (Health, Location) {
    let interval = section.duration("interval", INTERVAL_RANGE);
    let timeout = section.duration("timeout", TIMEOUT_RANGE);
    let written = [&timeout, &interval].into_iter().flatten().next();
    let timing = written.map_or_else(|| section.place.clone(), |key| key.place.clone());
    let count = |section: &mut Section<'_>, key, most, default| {
        section.number(key, 1..=most).map_or(default, |count: Placed<u32>| count.value)
    };
    let health = Health {
        interval: interval.map_or(defaults::INTERVAL, |interval| interval.value),
        timeout: timeout.map_or(defaults::TIMEOUT, |timeout| timeout.value),
        fall: count(&mut section, "fall", 100, defaults::FALL),
        rise: count(&mut section, "rise", 100, defaults::RISE),
        node_probe: node_probe(&mut section),
        budget: count(&mut section, "budget", 100_000, defaults::BUDGET),
        panic_threshold: section
            .number("panic_threshold", 0..=100)
            .map_or(defaults::PANIC_THRESHOLD, |percent| percent.value),
        slow_start: section
            .duration("slow_start", SLOW_START_RANGE)
            .map_or(defaults::SLOW_START, |time| time.value),
    };
    section.finish();
    (health, timing)
}

fn node_probe(section: &mut Section<'_>) -> NodeProbe {
    let words = [
        ("auto", ProbeWord::Auto),
        ("kube-proxy", ProbeWord::KubeProxy),
        ("node-port", ProbeWord::NodePort),
    ];
    let probe = section.choice("probe", &words).map(|probe| probe.value);
    let written = section.number("port", 1..=u16::MAX);
    let port = written.as_ref().map_or(defaults::KUBE_PROXY_PORT, |port| port.value);
    match probe {
        None => defaults::NODE_PROBE(port),
        Some(ProbeWord::Auto) => NodeProbe::Auto { port },
        Some(ProbeWord::KubeProxy) => NodeProbe::KubeProxy { port },
        Some(ProbeWord::NodePort) => {
            if let Some(written) = written {
                let message = "`router.health.port` has no effect with probe = \"node-port\"";
                section.warning(&written.place, message);
            }
            NodeProbe::NodePort
        }
    }
}
