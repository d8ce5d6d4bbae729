//! Every Service of the assignments: its frontends and the verdict on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use roadstead_model::{
    Family, Protocol, ServiceKey,
    local::{Assignment, PortClaim, ServiceServing, Serving},
    object::{Service, ServicePort, SourceRanges},
    reason::NO_PROBE_PASSED,
    snapshot::SourceState,
};

use super::{
    Inputs,
    candidates::{Choice, Nobody, Pools},
    clients,
};
use crate::maps::{BackendId, Frontend, FrontendKey, RangeSetId, TableId, VipEntry};

/// A frontend on its way: what it should do, before it has its indices.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) key: FrontendKey,
    /// Index of its Service in the assignments.
    pub(super) service: usize,
    pub(super) node_port: u16,
    pub(super) affinity_seconds: u32,
    pub(super) allowed: Allowed,
    pub(super) demand: Demand,
    /// Whether a probe has passed.
    pub(super) confirmed: bool,
    /// When that is looked at again.
    pub(super) again: Option<Duration>,
    /// Knowledge that nobody serves it.
    pub(super) unserved: Option<Nobody>,
    /// What it did not get, when the maps are full.
    pub(super) refused: Option<String>,
    /// Index of its table, once it has one.
    pub(super) table: Option<TableId>,
    /// Index of its range set, once it has one.
    pub(super) ranges: Option<RangeSetId>,
}

/// Which clients may connect.
#[derive(Clone, Debug)]
pub(super) enum Allowed {
    Everybody,
    Only(BTreeSet<IpNet>),
    /// The set that is installed.
    Keep(RangeSetId),
}

/// Which table a frontend wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Demand {
    /// Nobody serves it.
    Nobody,
    /// The one that is installed.
    Keep(TableId),
    /// These backends with these weights.
    Shares(Arc<[(BackendId, u32)]>),
}

/// All Services of the assignments.
pub(super) struct Services {
    pub(super) drafts: Vec<Draft>,
    /// What keeps whole ports from being served, by index of the Service.
    skipped: BTreeMap<usize, Vec<String>>,
    /// Services about which the snapshot says nothing yet.
    held: BTreeMap<usize, Hold>,
}

/// Why a Service stays as it is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Its source has not been read.
    Unread,
    /// Its source is in doubt, and has not shown it since the start.
    Doubt,
    /// Its object is there and refused, and no good one was seen since the start.
    Refused,
    /// Its object is not there (any more, or yet).
    Absent,
}

impl Services {
    pub(super) fn plan(
        inputs: &Inputs<'_>,
        pools: &Pools<'_>,
        vips: &BTreeMap<IpAddr, VipEntry>,
    ) -> Self {
        let mut services =
            Self { drafts: Vec::new(), skipped: BTreeMap::new(), held: BTreeMap::new() };
        for (index, assignment) in inputs.assignments.services.iter().enumerate() {
            let known = known(inputs, &assignment.service);
            if let Err(hold) = known {
                services.held.insert(index, hold);
            }
            for address in &assignment.addresses {
                for claim in &assignment.ports {
                    let key = FrontendKey {
                        address: *address,
                        protocol: claim.protocol,
                        port: claim.port,
                    };
                    let draft = match known {
                        _ if !vips.contains_key(address) => {
                            Err(format!("{address} is not programmed"))
                        }
                        Ok(service) => draft(inputs, pools, index, service, key, *claim),
                        Err(_) => keep(inputs, index, key)
                            .ok_or_else(|| "the Service has not been read yet".to_owned()),
                    };
                    services.take(index, draft);
                }
            }
        }
        services
    }

    fn take(&mut self, index: usize, draft: Result<Draft, String>) {
        match draft {
            Ok(draft) => self.drafts.push(draft),
            Err(reason) => {
                let reasons = self.skipped.entry(index).or_default();
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
        }
    }

    /// When the verdicts are looked at again although nothing happens.
    pub(super) fn again(&self) -> Option<Duration> {
        self.drafts.iter().filter_map(|draft| draft.again).min()
    }

    /// The verdict on each Service, in the order of the assignments.
    pub(super) fn verdicts(&self, inputs: &Inputs<'_>) -> Vec<ServiceServing> {
        let mut of: Vec<Vec<&Draft>> = vec![Vec::new(); inputs.assignments.services.len()];
        for draft in &self.drafts {
            if let Some(drafts) = of.get_mut(draft.service) {
                drafts.push(draft);
            }
        }
        let assignments = inputs.assignments.services.iter().enumerate();
        assignments
            .zip(of)
            .map(|((index, assignment), drafts)| self.verdict(inputs, index, assignment, &drafts))
            .collect()
    }

    fn verdict(
        &self,
        inputs: &Inputs<'_>,
        index: usize,
        assignment: &Assignment,
        drafts: &[&Draft],
    ) -> ServiceServing {
        let ready_before = inputs.ready_before.contains(&assignment.service);
        let (serving, message) = match self.held.get(&index) {
            Some(Hold::Unread) if ready_before && !drafts.is_empty() => {
                (Serving::Degraded, "its source has not been read since the start".to_owned())
            }
            Some(Hold::Doubt) if ready_before && !drafts.is_empty() => {
                let message = "its source is in doubt and has not shown it since the start";
                (Serving::Degraded, message.to_owned())
            }
            Some(Hold::Refused) if ready_before && !drafts.is_empty() => {
                let message = "its object is refused, and no good one was seen since the start";
                (Serving::Degraded, message.to_owned())
            }
            Some(Hold::Absent) if !drafts.is_empty() => {
                (Serving::Unserved, "the Service is gone from its source".to_owned())
            }
            Some(Hold::Unread | Hold::Doubt | Hold::Refused | Hold::Absent) => {
                (Serving::Pending, "the Service has not been read yet".to_owned())
            }
            None => judge(drafts, self.skipped.get(&index), ready_before),
        };
        let withheld = withheld(serving, assignment, drafts);
        let message = if message.is_empty() { why_withheld(&withheld, drafts) } else { message };
        ServiceServing { service: assignment.service.clone(), serving, withheld, message }
    }
}

/// The Service, if its source has been read and it is there.
fn known<'a>(inputs: &Inputs<'a>, key: &ServiceKey) -> Result<&'a Service, Hold> {
    match inputs.snapshot.sources.get(&key.source) {
        None | Some(SourceState::Unread) => Err(Hold::Unread),
        Some(SourceState::Current | SourceState::Doubtful { .. }) => {
            let missing = if inputs.snapshot.refused.contains_key(key) {
                Hold::Refused
            } else if is_doubtful(inputs, key) && !inputs.snapshot.is_gone(key) {
                Hold::Doubt
            } else {
                Hold::Absent
            };
            inputs.snapshot.services.get(key).map(|service| &**service).ok_or(missing)
        }
    }
}

fn is_doubtful(inputs: &Inputs<'_>, key: &ServiceKey) -> bool {
    matches!(inputs.snapshot.sources.get(&key.source), Some(SourceState::Doubtful { .. }))
}

/// What a frontend should do. An error says why the port is not served at all.
fn draft(
    inputs: &Inputs<'_>,
    pools: &Pools<'_>,
    index: usize,
    service: &Service,
    key: FrontendKey,
    claim: PortClaim,
) -> Result<Draft, String> {
    let Some(port) = port_of(service, claim) else {
        return keep(inputs, index, key).ok_or_else(|| {
            format!(
                "port {} {} is assigned, but the Service no longer has it",
                claim.port, claim.protocol
            )
        });
    };
    let node_port = servable(port)?;
    let choice = pools.choice(inputs, service, claim, Family::of(key.address));
    if matches!(choice, Err(Nobody::NoNodes)) && is_doubtful(inputs, &service.key) {
        return keep(inputs, index, key).ok_or_else(|| {
            "its source is in doubt and has not shown a node since the start".to_owned()
        });
    }
    let (demand, confirmed, again, unserved) = match choice {
        Ok(Choice { shares, confirmed, again, .. }) => {
            (Demand::Shares(shares), confirmed, again, None)
        }
        Err(nobody) => (Demand::Nobody, false, None, Some(nobody)),
    };
    let (unserved, refused) = match unserved {
        Some(Nobody::Unreachable) => (None, Some("no node can be reached".to_owned())),
        unserved => (unserved, None),
    };
    Ok(Draft {
        key,
        service: index,
        node_port,
        affinity_seconds: affinity_seconds(service),
        allowed: match &service.source_ranges {
            SourceRanges::Any => Allowed::Everybody,
            SourceRanges::Only(nets) => Allowed::Only(clients::of_family(nets, key.address)),
        },
        demand,
        confirmed,
        again,
        unserved,
        refused,
        table: None,
        ranges: None,
    })
}

/// The frontend as it is installed.
fn keep(inputs: &Inputs<'_>, index: usize, key: FrontendKey) -> Option<Draft> {
    let Frontend { node_port, table, affinity_seconds, ranges, .. } =
        *inputs.installed.frontends.get(&key)?;
    Some(Draft {
        key,
        service: index,
        node_port,
        affinity_seconds,
        allowed: ranges.map_or(Allowed::Everybody, Allowed::Keep),
        demand: table.map_or(Demand::Nobody, Demand::Keep),
        confirmed: false,
        again: None,
        unserved: None,
        refused: None,
        table: None,
        ranges: None,
    })
}

/// The port of a Service that a claim names.
pub(super) fn port_of(service: &Service, claim: PortClaim) -> Option<&ServicePort> {
    service.ports.iter().find(|port| port.protocol == claim.protocol && port.port == claim.port)
}

/// The NodePort of a port that can be served.
pub(super) fn servable(port: &ServicePort) -> Result<u16, String> {
    if port.protocol == Protocol::Sctp {
        return Err(format!("port {} is SCTP, which is not served", port.port));
    }
    port.node_port.ok_or_else(|| {
        format!("port {} {} has no nodePort: name one in the Service", port.port, port.protocol)
    })
}

/// The affinity timeout in whole seconds, at least one; 0 = none.
fn affinity_seconds(service: &Service) -> u32 {
    let timeout = service.affinity.map(|timeout| timeout.as_secs().max(1));
    timeout.map_or(0, |seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
}

fn judge(
    drafts: &[&Draft],
    skipped: Option<&Vec<String>>,
    ready_before: bool,
) -> (Serving, String) {
    let first_skipped = || skipped.and_then(|reasons| reasons.first()).cloned();
    if drafts.is_empty() {
        let reason = first_skipped().unwrap_or_else(|| "it has no ports".to_owned());
        return (Serving::Pending, reason);
    }
    if let Some(reason) = drafts.iter().find_map(|draft| draft.refused.clone()) {
        return (Serving::Pending, reason);
    }
    if drafts.iter().any(|draft| draft.confirmed && draft.unserved.is_none()) {
        return (Serving::Ready, String::new());
    }
    if drafts.iter().all(|draft| draft.unserved.is_some()) {
        let why = drafts.iter().find_map(|draft| draft.unserved);
        return (Serving::Unserved, why.map_or_else(String::new, |why| why.to_string()));
    }
    if ready_before {
        (
            Serving::Degraded,
            "no backend passes its probe: new connections go to all nodes".to_owned(),
        )
    } else {
        (Serving::Pending, NO_PROBE_PASSED.to_owned())
    }
}

/// Addresses that are known to serve nothing while others do.
fn withheld(serving: Serving, assignment: &Assignment, drafts: &[&Draft]) -> Vec<IpAddr> {
    if !matches!(serving, Serving::Ready | Serving::Degraded) {
        return Vec::new();
    }
    let served = |address: &IpAddr| {
        drafts.iter().any(|draft| draft.key.address == *address && draft.unserved.is_none())
    };
    assignment.addresses.iter().copied().filter(|address| !served(address)).collect()
}

/// Why there are such addresses; empty where there are none.
fn why_withheld(withheld: &[IpAddr], drafts: &[&Draft]) -> String {
    let mut of_them = drafts.iter().filter(|draft| withheld.contains(&draft.key.address));
    of_them.find_map(|draft| draft.unserved).map_or_else(String::new, |why| why.to_string())
}

impl fmt::Display for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNodes => f.write_str("its source has no nodes"),
            Self::AllDraining => f.write_str("every node drains or is excluded"),
            Self::NoneOfFamily(family) => write!(f, "no node has a usable {family} address"),
            Self::Unreachable => f.write_str("no node can be reached"),
            Self::NoEndpoints => f.write_str("its EndpointSlices have no ready endpoint"),
            Self::NoEligibleEndpoints => {
                f.write_str("its ready endpoints are on no node that is eligible")
            }
        }
    }
}
