//! The one writer of the maps: plan, compare, apply.
//!
//! Level-triggered: every step plans the whole and applies the difference to what the maps hold.
//! [`Reconciler::compare`] reads the maps back, so that what somebody else changed is counted and
//! mended by the next step.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use roadstead_model::{
    Protocol, ServiceKey, Snapshot, config,
    local::{Assignment, Assignments, PortClaim, Programmed, Serving},
};
use roadstead_router_core::{
    diff::diff,
    drain::Drains,
    health::Health,
    host::Host,
    maps::{BackendId, BackendMode, FrontendId, FrontendKey, Installed, MapError, Maps},
    plan::{Freed, Inputs, Plan, Planner, Status, status, subjects},
};

/// What a step follows from, apart from what the reconciler remembers.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) assignments: Arc<Assignments>,
    /// Whether they are the copy on disk.
    pub(crate) remembered: bool,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) host: Arc<Host>,
    pub(crate) router: Arc<config::Router>,
    pub(crate) pools: Arc<[config::Pool]>,
}

/// Indices out of use, for the sweeper to ask after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retired {
    /// Changes when an index comes back into use: answers about an earlier epoch are void.
    pub(crate) epoch: u64,
    pub(crate) ids: Freed,
}

/// What a step did.
#[derive(Debug)]
pub(crate) struct Step {
    /// Entries changed.
    pub(crate) operations: usize,
    /// The operation that failed, if one did: everything after it waits for the next step.
    pub(crate) failure: Option<MapError>,
}

/// Plans and applies. See the module's head.
#[derive(Debug)]
pub(crate) struct Reconciler<M> {
    pub(crate) maps: M,
    pub(crate) health: Health,
    pub(crate) drains: Drains,
    installed: Installed,
    planner: Planner,
    plan: Plan,
    programmed: Programmed,
    ready: BTreeSet<ServiceKey>,
    freed: Freed,
    retired: Retired,
}

impl<M: Maps> Reconciler<M> {
    /// Goes on with what the maps hold. `ready` are the Services that have been ready.
    ///
    /// # Errors
    /// When the maps cannot be read.
    pub(crate) fn new(
        maps: M,
        rules: config::Health,
        ready: BTreeSet<ServiceKey>,
        now: Duration,
    ) -> Result<Self, MapError> {
        let installed = maps.read()?;
        let mut health = Health::new(rules);
        let in_use = installed.backends.values().filter(|b| b.state == BackendMode::Active);
        health.adopt(in_use.map(|backend| backend.address), now);
        Ok(Self {
            maps,
            health,
            drains: Drains::default(),
            installed,
            planner: Planner::default(),
            plan: Plan::default(),
            programmed: Programmed::default(),
            ready,
            freed: Freed::default(),
            retired: Retired::default(),
        })
    }

    /// Follows who is to be probed and who drains: whenever the world or a node's verdict changed.
    pub(crate) fn watch(&mut self, world: &World, now: Duration) {
        let backends = self.installed.backends.values().map(|backend| backend.address);
        self.drains.observe(&world.snapshot, backends, now + world.router.drain_deadline);
        let wanted = subjects(&self.inputs(world, now));
        self.health.watch(&wanted, now);
    }

    /// Brings the maps to what they should hold now.
    pub(crate) fn step(&mut self, world: &World, now: Duration) -> Step {
        let mut planner = std::mem::take(&mut self.planner);
        self.plan = planner.plan(&self.inputs(world, now));
        self.planner = planner;
        let step = self.apply();
        self.freed = Freed::default();
        self.retire();
        if step.failure.is_none() {
            self.remember(world);
        }
        step
    }

    /// Reads the maps back. Returns how many entries differ from what was written; the next step
    /// mends them.
    ///
    /// # Errors
    /// When the maps cannot be read.
    pub(crate) fn compare(&mut self) -> Result<usize, MapError> {
        let read = self.maps.read()?;
        let drift = diff(&read, &self.installed).len();
        if drift > 0 {
            self.installed = read;
        }
        Ok(drift)
    }

    /// What the speaker is told. Its generation counts up with every change.
    pub(crate) fn programmed(&self) -> &Programmed {
        &self.programmed
    }

    /// Services that have been ready and are still assigned.
    pub(crate) fn ready(&self) -> &BTreeSet<ServiceKey> {
        &self.ready
    }

    /// What the maps hold.
    pub(crate) fn installed(&self) -> &Installed {
        &self.installed
    }

    /// What the last plan could not use or fit.
    pub(crate) fn problems(&self) -> &[String] {
        &self.plan.problems
    }

    /// When to plan again although nothing happens.
    pub(crate) fn again(&self) -> Option<Duration> {
        self.plan.again
    }

    /// The router's part of `status`.
    pub(crate) fn status(&self, world: &World, now: Duration) -> Status {
        status(&self.inputs(world, now), &self.plan)
    }

    /// Indices that wait for the sweeper's word.
    pub(crate) fn retired(&self) -> &Retired {
        &self.retired
    }

    /// The sweeper's word on indices that were retired in `epoch`: no flow refers to `ids`. True
    /// when that frees something.
    pub(crate) fn free(&mut self, epoch: u64, ids: &Freed) -> bool {
        if epoch != self.retired.epoch {
            return false;
        }
        let retired = &self.retired.ids;
        self.freed = Freed {
            frontends: retired.frontends.intersection(&ids.frontends).copied().collect(),
            backends: retired.backends.intersection(&ids.backends).copied().collect(),
            snats: retired.snats.intersection(&ids.snats).copied().collect(),
        };
        self.freed != Freed::default()
    }

    /// A passive signal of the dataplane. True when it concerns a Service in hand.
    pub(crate) fn suspect(
        &mut self,
        world: &World,
        frontend: FrontendId,
        backend: BackendId,
        now: Duration,
    ) -> bool {
        let Some((service, claim, node_port, address)) = self.named(world, frontend, backend)
        else {
            return false;
        };
        self.health.suspect(&service, claim, node_port, address, now);
        true
    }

    /// The dataplane sees a node answer nothing.
    pub(crate) fn suspect_node(&mut self, backend: BackendId, now: Duration) {
        if let Some(backend) = self.installed.backends.get(&backend) {
            self.health.suspect_node(backend.address, now);
        }
    }

    fn named(
        &self,
        world: &World,
        frontend: FrontendId,
        backend: BackendId,
    ) -> Option<(ServiceKey, PortClaim, u16, IpAddr)> {
        let key = self.installed.identities.get(&frontend)?;
        let address = self.installed.backends.get(&backend)?.address;
        let node_port = self.installed.frontends.get(key)?.node_port;
        let claim = PortClaim { protocol: key.protocol, port: key.port };
        let owns = |services: &&Assignment| {
            services.addresses.contains(&key.address) && services.ports.contains(&claim)
        };
        let owner = world.assignments.services.iter().find(owns)?;
        Some((owner.service.clone(), claim, node_port, address))
    }

    fn inputs<'a>(&'a self, world: &'a World, now: Duration) -> Inputs<'a> {
        Inputs {
            assignments: &world.assignments,
            remembered: world.remembered,
            snapshot: &world.snapshot,
            health: &self.health,
            drains: &self.drains,
            host: &world.host,
            router: &world.router,
            pools: &world.pools,
            installed: &self.installed,
            capacity: self.maps.capacity(),
            freed: &self.freed,
            ready_before: &self.ready,
            now,
        }
    }

    fn apply(&mut self) -> Step {
        let mut operations = 0;
        for op in diff(&self.installed, &self.plan.wanted) {
            if let Err(failure) = self.maps.apply(&op) {
                return Step { operations, failure: Some(failure) };
            }
            self.installed.apply(&op);
            operations += 1;
        }
        Step { operations, failure: None }
    }

    /// Notes which indices are out of use now.
    fn retire(&mut self) {
        let Installed { identities, frontends, backends, snats, .. } = &self.installed;
        let served: BTreeSet<FrontendId> = frontends.values().map(|served| served.id).collect();
        let sources: BTreeSet<u16> = backends
            .values()
            .flat_map(|backend| {
                let (first, count) = backend.snat;
                first..first.saturating_add(count)
            })
            .collect();
        let gone = backends.iter().filter(|(_, backend)| backend.state == BackendMode::Gone);
        let ids = Freed {
            frontends: identities.keys().copied().filter(|id| !served.contains(id)).collect(),
            backends: gone.map(|(id, _)| *id).collect(),
            snats: snats.keys().copied().filter(|id| !sources.contains(id)).collect(),
        };
        let before = &self.retired.ids;
        let came_back = before.frontends.iter().any(|id| served.contains(id))
            || before
                .backends
                .iter()
                .any(|id| backends.contains_key(id) && !ids.backends.contains(id))
            || before.snats.iter().any(|id| sources.contains(id));
        self.retired = Retired { epoch: self.retired.epoch + u64::from(came_back), ids };
    }

    /// The maps hold what was planned: says so, and notes who is ready.
    fn remember(&mut self, world: &World) {
        let assigned: BTreeSet<&ServiceKey> =
            world.assignments.services.iter().map(|assignment| &assignment.service).collect();
        self.ready.retain(|service| assigned.contains(service));
        let ready = self.plan.services.iter().filter(|s| s.serving == Serving::Ready);
        self.ready.extend(ready.map(|service| service.service.clone()));
        let legs = &world.host.legs;
        let programmed = Programmed {
            run: self.programmed.run,
            generation: self.programmed.generation,
            applied: world.assignments.generation,
            applied_run: world.assignments.run,
            attached: !legs.is_empty() && legs.values().all(|leg| leg.attached),
            services: self.plan.services.clone(),
            answering: self.plan.answering.clone(),
        };
        if programmed != self.programmed {
            let generation = self.programmed.generation + 1;
            self.programmed = Programmed { generation, ..programmed };
        }
    }
}

/// A frontend for people: `192.0.2.10:80/TCP`.
pub(crate) fn shown(key: &FrontendKey) -> String {
    let FrontendKey { address, protocol, port } = key;
    let protocol: &Protocol = protocol;
    format!("{}/{protocol}", std::net::SocketAddr::new(*address, *port))
}

#[cfg(test)]
pub(crate) mod tests;
