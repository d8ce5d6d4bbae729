//! `L2Advertisement` and `BGPAdvertisement`.

use std::sync::Arc;

use roadstead_model::metallb::{BgpAdvertisement, L2Advertisement};

use super::{
    CommunityName, Part, community,
    values::{bounded, names, number, scope, selectors},
};
use crate::objects::fields::{Fields, Report};

/// `spec.preferredNodeSelectors[].weight`.
const WEIGHTS: std::ops::RangeInclusive<u8> = 1..=100;

pub(super) fn l2(
    name: Arc<str>,
    spec: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> L2Advertisement {
    let preferred = spec.maps("preferredNodeSelectors", report);
    for preference in &preferred {
        number(preference, "weight", WEIGHTS, report);
    }
    L2Advertisement {
        name,
        scope: scope(spec, report),
        interfaces: names(spec, "interfaces", report),
        service_selectors: selectors(spec, "serviceSelectors", report),
        node_selectors: selectors(spec, "nodeSelectors", report),
        prefers_nodes: !preferred.is_empty(),
    }
}

pub(super) fn bgp(name: Arc<str>, spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Part {
    let service_selectors = selectors(spec, "serviceSelectors", report);
    let aggregation_length = number(spec, "aggregationLength", 1..=32, report).unwrap_or(32);
    let aggregation_length_v6 = number(spec, "aggregationLengthV6", 1..=128, report).unwrap_or(128);
    if !service_selectors.is_empty() && (aggregation_length, aggregation_length_v6) != (32, 128) {
        let what = "spec.serviceSelectors and an aggregation exclude each other: services of one \
                    prefix cannot be told apart";
        report.error(spec.line, what);
    }
    let communities = communities(spec, report);
    let advertisement = BgpAdvertisement {
        name,
        scope: scope(spec, report),
        aggregation_length,
        aggregation_length_v6,
        local_preference: number(spec, "localPref", 0..=u32::MAX, report).unwrap_or(0),
        communities: Vec::new(),
        peers: names(spec, "peers", report),
        service_selectors,
        node_selectors: selectors(spec, "nodeSelectors", report),
    };
    Part::BgpAdvertisement(advertisement, communities)
}

/// What has a colon is a community itself, anything else its alias.
fn communities(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Vec<CommunityName> {
    let mut communities = Vec::new();
    for field in bounded(spec, "communities", report) {
        let Some(text) = field.text(report) else { continue };
        if !text.contains(':') {
            communities.push(CommunityName::Alias(text.into()));
            continue;
        }
        communities.extend(community::value(&field, text, report).map(CommunityName::Value));
    }
    communities
}
