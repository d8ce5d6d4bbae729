//! The control task: the one place where everything that happens meets the [`Reconciler`].
//!
//! ```text
//! watch ──── Snapshot ──┐                       ┌── Programmed ──▶ local socket
//! speaker ── Heard ─────┤   ┌────────────────┐  ├── Retired ─────▶ sweeper
//! netlink ── Host ──────┼──▶│  control task  │──┼── Wanted ──────▶ netlink
//! sweeper ── Swept ─────┤   │  (Reconciler)  │  ├── Probe ───────▶ a task each, within the budget
//! kernel ─── Event ─────┤   └────────────────┘  ├── Op ──────────▶ kernel maps
//! socket ─── Order ─────┤                       └── Memory ──────▶ disk
//! app ────── Config ────┘
//! ```
//!
//! Whatever happens only marks what is to be done; a step does it all. The first change is planned
//! at once, those within a few milliseconds after it together. Owned by `app`; cancelling between two
//! awaits is safe: the maps are whole after each operation, and the next start reads them back.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use roadstead_daemon::{
    pools::PoolBook,
    publish::Publisher,
    ready::{Blocker, Readiness},
    words::chain,
};
use roadstead_model::{
    Snapshot,
    config::{Config, Daemon},
    local::{Assignments, Programmed, RouterStatus},
};
use roadstead_router_core::{health::Target, host::Host, maps::MapError, plan::orphans};
use roadstead_watch::{Confirm, Reader, Watch};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use pace::Pace;

use crate::{
    api::Order,
    assignments::Heard,
    dataplane::{Dataplane, Event},
    drain::{Orders, since_boot},
    host::Wanted,
    memory::{Memory, Remembering},
    metrics::Metrics,
    probe::{Probed, probe},
    reconcile::{Reconciler, Retired, World, shown},
    sweep::Swept,
};

/// After something that the kernel refused.
const RETRY: Duration = Duration::from_secs(1);
/// How often the legs are looked at: a program may be taken off by somebody else.
const LOOK: Duration = Duration::from_secs(5);
/// How often the maps are read back and compared with what was written.
const COMPARE: Duration = Duration::from_secs(60);
/// Events of the dataplane that may wait. When they are full the newest are dropped: one signal is
/// enough to have a backend probed, and it will signal again.
pub(crate) const EVENTS: usize = 1_024;

/// Where everything comes from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) config: watch::Receiver<Arc<Config>>,
    /// Why the last reload was refused; `None` when the configuration in use is the one on disk.
    pub(crate) stale_config: watch::Receiver<Option<String>>,
    pub(crate) heard: watch::Receiver<Heard>,
    pub(crate) host: watch::Receiver<Option<Arc<Host>>>,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) swept: mpsc::Receiver<Swept>,
    pub(crate) orders: mpsc::Receiver<Order>,
}

/// Where everything goes.
#[derive(Debug)]
pub(crate) struct Sinks {
    pub(crate) programmed: Publisher<Programmed>,
    pub(crate) retired: watch::Sender<Retired>,
    pub(crate) wanted: watch::Sender<Wanted>,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
}

/// The control task's state.
#[derive(Debug)]
pub(crate) struct Control<D> {
    pub(crate) reconciler: Reconciler<D>,
    pub(crate) sources: Sources,
    pub(crate) sinks: Sinks,
    pub(crate) config: Arc<Config>,
    /// The pools in use: the configuration's, and those of sources.
    pub(crate) pools: PoolBook,
    pub(crate) snapshot: watch::Receiver<Arc<Snapshot>>,
    confirm: Confirm,
    drains: Orders,
    /// The host with what came of attaching to its legs.
    pub(crate) host: Option<Arc<Host>>,
    pub(crate) attached: BTreeMap<u32, Result<(), String>>,
    probes: JoinSet<Probed>,
    pub(crate) memory: Remembering,
    start: Instant,
    /// Something happened since the last plan.
    dirty: bool,
    /// Who is probed may follow differently too.
    rewatch: bool,
    /// When the last plan began and when it was applied.
    begun: Duration,
    planned: Duration,
    pace: Pace,
    retry: Option<Duration>,
    look: Duration,
    compare: Duration,
    pub(crate) failure: Option<String>,
    pub(crate) flows: u64,
    /// Questions for the status with their time, until what had happened by then is planned.
    asked: Vec<(Duration, oneshot::Sender<Arc<RouterStatus>>)>,
    /// Held until the first plan is applied.
    unready: Option<Blocker>,
}

impl<D: Dataplane> Control<D> {
    /// Goes on with what the maps and the disk hold. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the maps cannot be read.
    pub(crate) fn new(
        maps: D,
        sources: Sources,
        sinks: Sinks,
        memory: Memory,
    ) -> Result<Self, MapError> {
        let config = sources.config.borrow().clone();
        let state = config.paths.state_of("router");
        let rules = config.router.health.clone();
        let mut reconciler = Reconciler::new(maps, rules, memory.ready.clone(), Duration::ZERO)?;
        let drains = Orders::read(&config.paths, since_boot());
        for (node, age) in drains.standing(since_boot()) {
            let left = config.router.drain_deadline.saturating_sub(age);
            reconciler.drains.order(node, left);
        }
        let reader = Reader::of(Daemon::Router, &config.paths);
        let Watch { snapshots: snapshot, confirm, .. } =
            roadstead_watch::spawn(&config.sources, reader, pending());
        Ok(Self {
            reconciler,
            snapshot,
            confirm,
            unready: Some(sinks.readiness.block("the first plan")),
            sources,
            sinks,
            pools: PoolBook::load(&state, Arc::clone(&config)),
            config,
            drains,
            host: None,
            attached: BTreeMap::new(),
            probes: JoinSet::new(),
            memory: Remembering::new(&state, memory),
            start: Instant::now(),
            dirty: true,
            rewatch: true,
            begun: Duration::ZERO,
            planned: Duration::ZERO,
            pace: Pace::default(),
            retry: None,
            look: LOOK,
            compare: COMPARE,
            failure: None,
            flows: 0,
            asked: Vec::new(),
        })
    }

    /// Runs for ever.
    pub(crate) async fn run(mut self) {
        loop {
            self.send_probes();
            if self.plan_due() <= self.now() {
                self.step();
            }
            self.tell();
            self.wait().await;
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Waits for the next thing that happens, and takes it in.
    async fn wait(&mut self) {
        let deadline = self.start + self.deadline();
        tokio::select! {
            Ok(()) = self.sources.config.changed() => self.reconfigure(),
            Ok(()) = self.snapshot.changed() => self.changed(),
            Ok(()) = self.sources.heard.changed() => self.changed(),
            Ok(()) = self.sources.host.changed() => self.host_changed(),
            Some(event) = self.sources.events.recv() => self.hear(&event),
            Some(swept) = self.sources.swept.recv() => self.swept(&swept),
            Some(order) = self.sources.orders.recv() => self.carry_out(order),
            Some(probed) = self.probes.join_next(), if !self.probes.is_empty() => {
                if let Ok(probed) = probed {
                    self.probed(&probed);
                }
            }
            () = self.memory.written() => {}
            () = sleep_until(deadline) => self.time_passed(),
        }
    }

    /// When something is due although nothing happens.
    fn deadline(&self) -> Duration {
        let now = self.now();
        let probes = self.reconciler.health.next_deadline(now);
        let drains = self.reconciler.drains.next_deadline(now);
        let again = self.reconciler.again();
        let due = [probes, drains, again, self.retry];
        let often = self.plan_due().min(self.look).min(self.compare);
        due.into_iter().flatten().fold(often, Duration::min)
    }

    /// When the next plan is due: far away where nothing has changed.
    fn plan_due(&self) -> Duration {
        if self.dirty { self.pace.next() } else { Duration::from_secs(u64::from(u32::MAX)) }
    }

    /// Something other than a verdict on a Service changed.
    fn changed(&mut self) {
        self.dirty = true;
        self.rewatch = true;
    }

    /// A deadline has come: whichever it was, a plan finds out what follows from it.
    fn time_passed(&mut self) {
        let now = self.now();
        let passed = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        let climbs = passed(self.reconciler.health.next_step(self.planned));
        let drained = self.reconciler.drains.passed(self.planned, now);
        if climbs || passed(self.reconciler.again()) || passed(self.retry) {
            self.dirty = true;
        }
        if drained {
            self.changed();
        }
        if passed(self.retry) {
            self.retry = None;
            self.attach();
        }
        if self.look <= now {
            self.look_at_legs();
        }
        if self.compare <= now {
            self.compare_maps();
        }
    }

    fn compare_maps(&mut self) {
        self.compare = self.now() + COMPARE;
        match self.reconciler.compare() {
            Ok(0) => {}
            Ok(entries) => {
                tracing::warn!(entries, "the maps were changed by somebody else and are mended");
                self.sinks.metrics.drifted(entries);
                self.dirty = true;
            }
            Err(error) => tracing::warn!(%error, "the maps could not be read back"),
        }
    }

    /// What a source says of its pools counts unless it would take the address of a Service that is
    /// served, as in the speaker.
    fn follow_pools(&mut self) {
        let assignments = self.sources.heard.borrow().assignments.clone();
        let snapshot = self.snapshot.borrow().clone();
        self.pools.follow(&self.config, &snapshot, |old, pools| {
            let assignments = assignments.as_deref();
            let orphans = assignments.map(|assignments| orphans(assignments, old, pools));
            let orphans = orphans.into_iter().flatten();
            orphans.map(|(service, address)| format!("{service} ({address})")).collect()
        });
    }

    /// Whether Services of a source have addresses that may lie in its own pools, which are not known.
    fn awaits_pools(&self, assignments: &Assignments) -> bool {
        let pools = self.pools.pools();
        let permitted = |address: &IpAddr| {
            pools.iter().any(|pool| pool.addresses.iter().any(|range| range.contains(*address)))
        };
        let unknown: BTreeSet<_> = self.pools.unknown().collect();
        assignments.services.iter().any(|assignment| {
            unknown.contains(&assignment.service.source)
                && !assignment.addresses.iter().all(permitted)
        })
    }

    /// Everything that a plan follows from, once it is known.
    pub(crate) fn world(&self) -> Option<World> {
        let heard = self.sources.heard.borrow();
        let assignments = heard.assignments.clone()?;
        if self.awaits_pools(&assignments) {
            return None;
        }
        Some(World {
            assignments,
            remembered: heard.remembered,
            snapshot: self.snapshot.borrow().clone(),
            host: self.host.clone()?,
            router: Arc::new(self.config.router.clone()),
            pools: Arc::clone(self.pools.pools()),
        })
    }

    fn step(&mut self) {
        self.dirty = false;
        self.rewatch |= self.snapshot.has_changed().unwrap_or(false);
        self.rewatch |= self.sources.heard.has_changed().unwrap_or(false);
        self.snapshot.mark_unchanged();
        self.sources.heard.mark_unchanged();
        if self.rewatch {
            self.want();
            self.follow_pools();
        }
        let Some(world) = self.world() else { return };
        let before = self.now();
        if std::mem::take(&mut self.rewatch) {
            self.reconciler.watch(&world, before);
        }
        self.begun = before;
        let step = self.reconciler.step(&world, before);
        self.planned = self.now();
        self.pace.planned(before, self.planned);
        let took = self.planned - before;
        let failed = step.failure.is_some();
        self.sinks.metrics.stepped(took, step.operations, failed);
        self.note_failure(step.failure.as_ref());
        if failed {
            self.retry = Some(self.planned + RETRY);
        } else {
            self.unready = None;
        }
        if step.operations > 0 {
            let operations = step.operations;
            tracing::debug!(operations, ?took, "the maps follow");
        }
        self.publish(&world);
    }

    fn note_failure(&mut self, failure: Option<&MapError>) {
        let failure = failure.map(|failure| chain(failure));
        if failure != self.failure {
            match &failure {
                Some(error) => tracing::error!(%error, "the plan could not be applied whole"),
                None => tracing::info!("the plan is applied again"),
            }
        }
        self.failure = failure;
    }

    fn publish(&mut self, world: &World) {
        let programmed = self.reconciler.programmed();
        if programmed.generation != self.sinks.programmed.current().generation {
            let run = self.sinks.programmed.current().run;
            self.sinks.programmed.publish(Programmed { run, ..programmed.clone() });
        }
        let subjects = self.reconciler.health.counts(self.planned);
        self.sinks.metrics.publish(programmed, &subjects);
        let retired = self.reconciler.retired();
        self.sinks.retired.send_if_modified(|last| {
            let changed = last != retired;
            if changed {
                last.clone_from(retired);
            }
            changed
        });
        let ready = self.reconciler.ready().clone();
        self.memory.keep(world, ready);
    }

    /// Says which routes are of interest.
    fn want(&mut self) {
        let nodes = self.snapshot.borrow();
        let nodes = nodes.nodes.values().flat_map(|node| node.addresses.iter().copied());
        let installed = self.reconciler.installed().backends.values();
        let nodes: BTreeSet<IpAddr> =
            nodes.chain(installed.map(|backend| backend.address)).collect();
        let interfaces = self.config.router.interfaces.clone();
        self.sinks.wanted.send_if_modified(|wanted| {
            let changed = wanted.nodes != nodes || wanted.interfaces != interfaces;
            if changed {
                *wanted = Wanted { interfaces, nodes };
            }
            changed
        });
    }

    fn send_probes(&mut self) {
        let now = self.now();
        while let Some(due) = self.reconciler.health.poll_probe(now) {
            self.probes.spawn(probe(due));
        }
    }

    fn probed(&mut self, probed: &Probed) {
        let Probed { target, question, result } = probed;
        self.sinks.metrics.probed(*result);
        let now = self.now();
        if self.reconciler.health.handle_result(target, question.clone(), *result, now) {
            tracing::debug!(%target, ?result, "a verdict changed");
            self.dirty = true;
            // A port that passes may stand in for kube-proxy on its nodes.
            self.rewatch |= matches!(target, Target::Node(_)) || result.is_ok();
        }
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::Suspicion { frontend, backend } => {
                self.sinks.metrics.signalled();
                let now = self.now();
                if let Some(world) = self.world() {
                    self.reconciler.suspect(&world, *frontend, *backend, now);
                }
            }
            Event::Silence { backend } => {
                self.sinks.metrics.signalled();
                self.reconciler.suspect_node(*backend, self.now());
            }
            Event::NewFlow { client, frontend, snat, backend, node_port } => {
                let installed = self.reconciler.installed();
                let vip = installed.identities.get(frontend).map(shown);
                let source = installed.snats.get(&snat.0).map(|source| source.address);
                let node = installed.backends.get(backend).map(|node| node.address);
                if let (Some(vip), Some(source), Some(node)) = (vip, source, node) {
                    let snat = std::net::SocketAddr::new(source, snat.1);
                    let node = std::net::SocketAddr::new(node, *node_port);
                    tracing::info!(%client, %vip, %snat, %node, "new flow");
                }
            }
        }
    }

    fn swept(&mut self, swept: &Swept) {
        self.flows = swept.pass.flows;
        let capacity = self.reconciler.maps.capacity().flows;
        self.sinks.metrics.swept(&swept.pass, capacity);
        if self.reconciler.free(swept.epoch, &swept.pass.unreferenced) {
            self.dirty = true;
        }
    }

    fn reconfigure(&mut self) {
        let config = self.sources.config.borrow_and_update().clone();
        if config.sources != self.config.sources {
            let reader = Reader::of(Daemon::Router, &config.paths);
            let watch = roadstead_watch::spawn(&config.sources, reader, pending());
            (self.snapshot, self.confirm) = (watch.snapshots, watch.confirm);
        }
        self.reconciler.health.configure(config.router.health.clone());
        self.config = config;
        self.changed();
    }
}

mod legs;
mod orders;
mod pace;
#[cfg(test)]
pub(crate) mod tests;
