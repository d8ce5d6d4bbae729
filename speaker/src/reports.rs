//! What is to be said on the Services of clusters: made of what the control has decided, and taken
//! to the objects by `roadstead-watch`.
//!
//! It follows the disk as announcements do: a report is given out only once the ledger, and what is
//! owed to the objects ([`Owed`]), are written.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    sync::Arc,
};

use roadstead_daemon::state::StateError;
use roadstead_model::{
    ServiceKey, Snapshot, SourceName,
    config::{Config, SourceKind},
    local::{Assignments, PortClaim, SpeakerService, SpeakerStatus},
    object::{LOAD_BALANCER_CLASS, Service, ServicePort},
    reason,
    report::{Cleaned, Ingress, PortStatus, Reports, ServiceReport},
    snapshot::SourceState,
};
use tokio::sync::watch;

use crate::owed::Owed;

/// Makes the reports.
#[derive(Debug)]
pub(crate) struct Reporter {
    owed: Owed,
    out: watch::Sender<Arc<Reports>>,
}

/// What a report rests on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided<'a> {
    pub(crate) config: &'a Config,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) assignments: &'a Assignments,
    pub(crate) status: &'a SpeakerStatus,
    /// Whether this host assigns: in a group one does, and the others say nothing.
    pub(crate) writes: bool,
    /// Whether nothing answers for an address that nobody is known to hold.
    pub(crate) is_sure: bool,
}

impl Reporter {
    /// What the last run left, and where reports go.
    pub(crate) fn load(directory: &Path, out: watch::Sender<Arc<Reports>>) -> Self {
        Self { owed: Owed::load(directory), out }
    }

    /// The API server has confirmed that nothing of ours is on an object.
    pub(crate) fn note(&mut self, cleaned: &Cleaned) {
        self.owed.forget(cleaned);
    }

    /// Says what was decided.
    ///
    /// # Errors
    /// When the disk does not take what is owed; what was said last stays.
    pub(crate) fn report(&mut self, decided: &Decided<'_>) -> Result<(), StateError> {
        let written = written(decided.config);
        if written.is_empty() && self.owed.services().is_empty() {
            return Ok(());
        }
        let last = self.out.borrow().clone();
        let services = services(decided, &written, &last);
        for (key, report) in &services {
            if let Some(uid) = &report.uid {
                self.owed.owe(key, uid);
            }
        }
        if !decided.writes {
            // What is on objects that go is seen on them by whoever writes next.
            let holding = holding(decided.assignments);
            self.owed.keep(|key| services.contains_key(key) || holding.contains(key));
        }
        self.owed.save()?;
        let reports = Reports {
            complete: complete(decided, &written),
            kept: kept(decided.assignments, &services),
            lapsed: self.lapsed(decided, &services),
            services,
        };
        if reports != *last {
            self.out.send_replace(Arc::new(reports));
        }
        Ok(())
    }

    /// Services that were written to, hold nothing, and are known to be gone or another's.
    fn lapsed(
        &self,
        decided: &Decided<'_>,
        services: &BTreeMap<ServiceKey, Arc<ServiceReport>>,
    ) -> BTreeMap<ServiceKey, Arc<str>> {
        let holding: BTreeSet<&ServiceKey> = holding(decided.assignments);
        let snapshot = decided.snapshot;
        let is_over = |key: &ServiceKey| {
            !services.contains_key(key)
                && !holding.contains(key)
                && (snapshot.is_gone(key) || snapshot.services.contains_key(key))
        };
        let owed = self.owed.services().iter().filter(|(key, _)| is_over(key));
        owed.map(|(key, uid)| (key.clone(), Arc::clone(uid))).collect()
    }
}

/// The clusters that are written to.
fn written(config: &Config) -> BTreeSet<&SourceName> {
    let is_written = |kind: &SourceKind| matches!(kind, SourceKind::Cluster(_));
    let sources = config.sources.iter().filter(|source| source.report && is_written(&source.kind));
    sources.map(|source| &source.name).collect()
}

fn complete(decided: &Decided<'_>, written: &BTreeSet<&SourceName>) -> BTreeSet<SourceName> {
    let is_read = |source: &SourceName| {
        decided.snapshot.sources.get(source).is_some_and(|state| *state != SourceState::Unread)
    };
    let is_sure = decided.writes && decided.is_sure;
    let is_known = |source: &&&SourceName| is_sure && is_read(source);
    written.iter().filter(is_known).map(|source| (*source).clone()).collect()
}

/// Every Service that holds an address, also one that only waits for it to fall silent.
fn holding(assignments: &Assignments) -> BTreeSet<&ServiceKey> {
    assignments.services.iter().map(|assignment| &assignment.service).collect()
}

fn kept(
    assignments: &Assignments,
    services: &BTreeMap<ServiceKey, Arc<ServiceReport>>,
) -> BTreeSet<ServiceKey> {
    let unspoken = holding(assignments).into_iter().filter(|key| !services.contains_key(*key));
    unspoken.cloned().collect()
}

fn services(
    decided: &Decided<'_>,
    written: &BTreeSet<&SourceName>,
    last: &Reports,
) -> BTreeMap<ServiceKey, Arc<ServiceReport>> {
    let Decided { config, snapshot, assignments, status, .. } = *decided;
    let holding = holding(assignments);
    let claims = claims(assignments);
    let report = |service: &SpeakerService| {
        let key = &service.service;
        let object = snapshot.services.get(key).map(AsRef::as_ref);
        let is_ours = object.map_or(snapshot.refused.contains_key(key), |it| is_ours(config, it));
        if !written.contains(&key.source) || !is_ours {
            return None;
        }
        let ports = object.map_or(&[][..], |object| &object.ports);
        let of = |address: &IpAddr| Ingress {
            address: *address,
            ip_mode: config.speaker.ip_mode,
            ports: ports.iter().map(|port| port_status(snapshot, key, port, &claims)).collect(),
        };
        let mut conditions = service.conditions.clone();
        conditions.extend(object.and_then(reason::client_address));
        let report = ServiceReport {
            uid: object.and_then(|object| object.uid.clone()),
            holds: holding.contains(key),
            ingress: service.addresses.iter().map(of).collect(),
            conditions,
        };
        let same = last.services.get(key).filter(|last| ***last == report);
        Some((key.clone(), same.cloned().unwrap_or_else(|| Arc::new(report))))
    };
    status.services.iter().filter_map(report).collect()
}

fn is_ours(config: &Config, service: &Service) -> bool {
    let class = service.class.as_deref();
    class.map_or(!config.speaker.class_only, |class| class == LOAD_BALANCER_CLASS)
}

/// The ports that each Service is served on.
fn claims(assignments: &Assignments) -> BTreeMap<&ServiceKey, &[PortClaim]> {
    let live = assignments.services.iter().filter(|assignment| !assignment.withdrawing);
    live.map(|assignment| (&assignment.service, &assignment.ports[..])).collect()
}

/// K11: a port that is not served says why, in the words of the refusal.
fn port_status(
    snapshot: &Snapshot,
    key: &ServiceKey,
    port: &ServicePort,
    claims: &BTreeMap<&ServiceKey, &[PortClaim]>,
) -> PortStatus {
    let claim = PortClaim { protocol: port.protocol, port: port.port };
    let is_served = claims.get(key).is_some_and(|claims| claims.contains(&claim));
    let error = match port.node_port {
        _ if is_served => None,
        _ if port.protocol == roadstead_model::Protocol::Sctp => Some("SctpNotServed"),
        None => Some("NoNodePort"),
        Some(_) if snapshot.contested.contains(&(key.clone(), claim)) => Some("NodePortTaken"),
        Some(_) => Some("PortConflict"),
    };
    PortStatus { port: port.port, protocol: port.protocol, error: error.map(Arc::from) }
}

#[cfg(test)]
mod tests;
