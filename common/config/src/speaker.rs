//! `[speaker]` and `[speaker.l2]`.

use std::{net::SocketAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use roadstead_model::{
    Location,
    config::{L2, Probe, Speaker},
    report::IpMode,
};

use crate::{
    defaults, parse,
    section::{Placed, Section},
};

/// More would probe a small pool whole, at three packets an address.
const PROBE_AHEAD_MAX: usize = 64;

const REFRESH_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

/// The section with its places.
#[derive(Debug)]
pub(crate) struct Read {
    /// Checked.
    pub(crate) speaker: Speaker,
    /// Line of `interfaces`.
    pub(crate) interfaces: Option<Location>,
    /// Line of `metrics`.
    pub(crate) metrics: Option<Location>,
}

/// Reads the section.
pub(crate) fn read(mut section: Section<'_>) -> Read {
    let interfaces = interfaces(&mut section);
    let (metrics, metrics_place) = metrics(&mut section, defaults::SPEAKER_METRICS);
    let speaker = Speaker {
        interfaces: interfaces.as_ref().map(|list| list.value.clone()),
        class_only: section.truth("class_only", false),
        require_ready: section.truth("require_ready", true),
        ip_mode: ip_mode(&mut section),
        l2: l2(section.section("l2")),
        metrics,
    };
    section.refuse("bgp", "BGP is not served yet: leave [speaker.bgp] out");
    section.finish();
    Read { speaker, interfaces: interfaces.map(|list| list.place), metrics: metrics_place }
}

fn ip_mode(section: &mut Section<'_>) -> IpMode {
    let modes = [("proxy", IpMode::Proxy), ("vip", IpMode::Vip)];
    section.choice("ip_mode", &modes).map_or(IpMode::Proxy, |mode| mode.value)
}

/// `interfaces`: a list of names without repetition.
pub(crate) fn interfaces(section: &mut Section<'_>) -> Option<Placed<Vec<Arc<str>>>> {
    let list = section.list("interfaces", parse::interface)?;
    let mut names: Vec<Arc<str>> = Vec::new();
    for item in &list.value {
        if names.contains(&item.value) {
            section.error(&item.place, format!("interface \"{}\" is named twice", item.value));
        } else {
            names.push(item.value.clone());
        }
    }
    if list.written == 0 {
        let title = section.title();
        let message = format!("`interfaces` of {title} is empty: leave it out for every interface");
        section.error(&list.place, message);
    }
    Some(Placed { value: names, place: list.place, written: list.written })
}

/// `metrics`, and where it is written.
pub(crate) fn metrics(
    section: &mut Section<'_>,
    default: &str,
) -> (Option<SocketAddr>, Option<Location>) {
    match section.parsed("metrics", parse::metrics) {
        Some(written) => (written.value, Some(written.place)),
        None => (default.parse().ok(), None),
    }
}

fn l2(mut section: Section<'_>) -> L2 {
    let probes = [("fast", Probe::Fast), ("rfc5227", Probe::Rfc5227), ("off", Probe::Off)];
    let l2 = L2 {
        probe: section.choice("probe", &probes).map_or(Probe::Fast, |probe| probe.value),
        refresh: section
            .duration("refresh", REFRESH_RANGE)
            .map_or(defaults::REFRESH, |refresh| refresh.value),
        probe_ahead: section
            .number("probe_ahead", 0..=PROBE_AHEAD_MAX)
            .map_or(defaults::PROBE_AHEAD, |count| count.value),
    };
    section.finish();
    l2
}
