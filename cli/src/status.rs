//! `roadstead status`: what speaker and router know, as one value. Its JSON is a contract.

mod group;
mod port;
#[cfg(test)]
mod tests;
mod text;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use roadstead_model::{
    Problem, ServiceKey, SourceName,
    group::GroupStatus,
    local::{
        Announced, Backend, BackendStatus, DaemonStatus, LegStatus, NodeStatus, PoolStatus,
        ReservationStatus, RouterService, RouterStatus, SpeakerService, SpeakerStatus,
    },
    problem::Severity,
    reason::{Condition, ConditionStatus, NO_PROBE_PASSED},
    snapshot::SourceState,
};
use serde::Serialize;

pub(crate) use port::PortView;

use crate::{
    daemons::{Answers, Daemons},
    exit::Exit,
    output::{Format, Output},
};

/// Conditions that a Service in order has; others tell of what is as it was asked for.
const WANTED: [&str; 4] = ["Allocated", "Announced", "Programmed", "BackendsHealthy"];

/// All of it. Fields may be added; none is renamed or removed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Status {
    /// Every Service that is ours, in the order of source, namespace and name.
    pub(crate) services: Vec<ServiceView>,
    /// Ingresses: none are served yet.
    pub(crate) ingresses: [(); 0],
    /// Gateways: none are served yet.
    pub(crate) gateways: [(); 0],
    /// The daemons that answered.
    pub(crate) daemons: Vec<DaemonStatus>,
    /// Why others did not.
    pub(crate) silent: Vec<String>,
    /// Whether this host is drained.
    pub(crate) drained: bool,
    /// The group of hosts that this one is in; `null` where it is alone.
    pub(crate) group: Option<GroupStatus>,
    /// Sources by name.
    pub(crate) sources: BTreeMap<SourceName, SourceState>,
    /// Pools with their use.
    pub(crate) pools: Vec<PoolStatus>,
    /// Addresses that are kept for somebody and that nobody holds.
    pub(crate) reservations: Vec<ReservationStatus>,
    /// Nodes with their verdict.
    pub(crate) nodes: Vec<NodeStatus>,
    /// Legs of the router.
    pub(crate) legs: Vec<LegStatus>,
    /// The flow table.
    pub(crate) flows: Option<FlowTable>,
    /// Packets dropped, by reason.
    pub(crate) drops: BTreeMap<String, u64>,
    /// What is wrong with the inputs.
    pub(crate) problems: Vec<Problem>,
}

/// One Service as both daemons see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ServiceView {
    /// Name of the source.
    pub(crate) cluster: SourceName,
    /// `metadata.namespace`.
    pub(crate) namespace: Arc<str>,
    /// `metadata.name`.
    pub(crate) name: Arc<str>,
    /// Addresses held.
    pub(crate) addresses: Vec<IpAddr>,
    /// Where they are announced.
    pub(crate) announced: Vec<Announced>,
    /// Ports with their backends.
    pub(crate) ports: Vec<PortView>,
    /// Those of the speaker, then those of the router.
    pub(crate) conditions: Vec<Condition>,
}

/// Use of the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FlowTable {
    /// Flows in it.
    pub(crate) used: u64,
    /// Flows that fit.
    pub(crate) capacity: u64,
}

/// Asks both daemons and prints the answer.
pub(crate) async fn run(daemons: &Daemons, format: Format, out: &mut Output) -> Exit {
    let status = Status::of(&daemons.statuses().await);
    for why in &status.silent {
        out.complain(why);
    }
    let printed = out.value(format, &status).unwrap_or_else(|| {
        let text = text::shown(&status, out.terminal);
        if !text.is_empty() {
            out.print(&text);
        }
        Exit::Fine
    });
    printed.max(status.exit())
}

impl Status {
    /// Puts the answers together.
    pub(crate) fn of(answers: &Answers) -> Self {
        let mut status = Self {
            silent: answers.silences().into_iter().map(str::to_owned).collect(),
            ..Self::default()
        };
        let mut services = BTreeMap::new();
        if let Some(speaker) = answers.speaker.status() {
            status.add_speaker(speaker, &mut services);
        }
        if let Some(router) = answers.router.status() {
            status.add_router(router, &mut services);
        }
        status.services = services.into_values().collect();
        status
    }

    fn add_speaker(
        &mut self,
        speaker: &SpeakerStatus,
        services: &mut BTreeMap<ServiceKey, ServiceView>,
    ) {
        self.daemons.push(speaker.daemon.clone());
        self.drained = speaker.drained;
        self.group.clone_from(&speaker.group);
        self.sources = speaker.sources.iter().cloned().collect();
        self.pools.clone_from(&speaker.pools);
        self.reservations.clone_from(&speaker.reservations);
        self.problems.clone_from(&speaker.problems);
        for service in &speaker.services {
            view(services, &service.service).add_speaker(service);
        }
    }

    fn add_router(
        &mut self,
        router: &RouterStatus,
        services: &mut BTreeMap<ServiceKey, ServiceView>,
    ) {
        self.daemons.push(router.daemon.clone());
        self.nodes.clone_from(&router.nodes);
        self.legs.clone_from(&router.legs);
        let (used, capacity) = router.flows;
        self.flows = Some(FlowTable { used, capacity });
        self.drops = router.drops.iter().cloned().collect();
        let lists: Arc<[_]> = router.lists.iter().cloned().collect();
        for service in &router.services {
            view(services, &service.service).add_router(service, &lists);
        }
    }

    /// The worst of what is told.
    pub(crate) fn exit(&self) -> Exit {
        if !self.silent.is_empty() {
            return Exit::Silent;
        }
        let daemons_well = self
            .daemons
            .iter()
            .all(|daemon| daemon.ready && daemon.conditions.iter().all(|c| !is_false(c)));
        let inputs_well = self.problems.iter().all(|problem| problem.severity != Severity::Error)
            && self.sources.values().all(|state| self.is_harmless(state));
        if daemons_well && inputs_well && self.services.iter().all(ServiceView::is_well) {
            Exit::Fine
        } else {
            Exit::Problem
        }
    }

    /// Doubt matters to those who hold an address: without any, a directory that is still empty is
    /// a fresh install. What is wrong beyond that is among the problems.
    fn is_harmless(&self, state: &SourceState) -> bool {
        match state {
            SourceState::Current => true,
            SourceState::Unread => false,
            SourceState::Doubtful { .. } => self.services.iter().all(|s| s.addresses.is_empty()),
        }
    }
}

impl ServiceView {
    fn of(key: &ServiceKey) -> Self {
        Self {
            cluster: key.source.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            addresses: Vec::new(),
            announced: Vec::new(),
            ports: Vec::new(),
            conditions: Vec::new(),
        }
    }

    fn add_speaker(&mut self, service: &SpeakerService) {
        self.addresses.clone_from(&service.addresses);
        self.announced.clone_from(&service.announced);
        self.conditions.extend(service.conditions.iter().cloned());
    }

    fn add_router(&mut self, service: &RouterService, lists: &Arc<[Arc<[Backend]>]>) {
        self.ports =
            service.ports.iter().map(|port| PortView::new(port.clone(), lists.clone())).collect();
        self.conditions.extend(service.conditions.iter().cloned());
    }

    /// The backends of all its ports.
    pub(crate) fn backends(&self) -> impl Iterator<Item = BackendStatus> {
        self.ports.iter().flat_map(PortView::backends)
    }

    /// Its identity.
    pub(crate) fn key(&self) -> ServiceKey {
        ServiceKey::new(&self.cluster, self.namespace.clone(), self.name.clone())
    }

    /// A condition by its type.
    pub(crate) fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// The first wanted condition that does not hold.
    pub(crate) fn trouble(&self) -> Option<&Condition> {
        let wanted = WANTED.iter().filter_map(|kind| self.condition(kind));
        wanted.into_iter().find(|condition| is_false(condition) && !is_elsewhere(condition))
    }

    /// Whether its NodePorts are asked, and nobody has answered there yet: the nodes themselves may
    /// be healthy.
    pub(crate) fn is_unproven(&self) -> bool {
        let programmed = self.condition("Programmed");
        programmed
            .is_some_and(|condition| is_false(condition) && condition.message == NO_PROBE_PASSED)
    }

    fn is_well(&self) -> bool {
        self.trouble().is_none()
    }
}

fn view<'s>(
    services: &'s mut BTreeMap<ServiceKey, ServiceView>,
    key: &ServiceKey,
) -> &'s mut ServiceView {
    services.entry(key.clone()).or_insert_with(|| ServiceView::of(key))
}

/// Another host of the group announces the address: all is as it should be.
fn is_elsewhere(condition: &Condition) -> bool {
    condition.kind == "Announced" && condition.reason == "FollowsWriter"
}

fn is_false(condition: &Condition) -> bool {
    condition.status == ConditionStatus::False
}
