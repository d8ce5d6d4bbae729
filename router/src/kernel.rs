//! [`Dataplane`] over the pinned programs and maps.
//!
//! Two handles of the same pins: one for the control task, which writes; one for everything that only
//! reads or sweeps, and may take its time on another thread.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, poll},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use roadstead_daemon::words::chain;
use roadstead_model::{
    FlowFilter,
    config::Config,
    local::{Flow, Flows},
};
use roadstead_router_bpf::{
    self as bpf, Dataplane as Pinned, Error, EventKind, Events, FlowEntry, Loaded, Options, Pins,
    Sweeper,
};
use roadstead_router_core::{
    host::Leg,
    maps::{Capacity, Installed, MapError, Maps, Op},
    plan::Freed,
};
use tokio::sync::mpsc;

use crate::{
    api::ListFlows,
    dataplane::{Dataplane, Event},
    lease::SetLease,
    silence::Silence,
    sweep::{Pass, Sweep},
};

/// Part of every choice of a node, the same on every edge host: a change of it moves every client.
const SEED: u64 = 0x0072_6f61_6473_7465;
/// Memory of one flow: an entry in each direction, and the kernel's own.
const FLOW_BYTES: u64 = 256;
/// Share of the machine's memory for flows where the configuration names no number.
const MEMORY_SHARE: u64 = 16;
/// Bounds of that number: 16 MiB and 256 MiB.
const FLOWS: std::ops::RangeInclusive<u64> = 1 << 16..=1 << 20;

/// Milliseconds that the reader of events waits for one, before it looks at the counters
/// ([`LOOK`](crate::silence::LOOK)) and whether it is still wanted.
const PATIENCE: u16 = 100;

/// The writing handle.
#[derive(Debug)]
pub(crate) struct Kernel {
    pinned: Pinned,
    reader: Arc<Pinned>,
}

impl Kernel {
    /// Opens what is pinned.
    ///
    /// # Errors
    /// When nothing is loaded, or somebody else's.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let pins = pins(config);
        Ok(Self { pinned: Pinned::open(&pins)?, reader: Arc::new(Pinned::open(&pins)?) })
    }

    /// One pass over the flow table.
    pub(crate) fn sweep(&self) -> Arc<Sweep> {
        let reader = Arc::clone(&self.reader);
        let sweeper = Mutex::new(Sweeper::default());
        Arc::new(move |retired| {
            let mut sweeper = sweeper.lock().unwrap_or_else(PoisonError::into_inner);
            let swept = sweeper.complete(&reader).map_err(|error| chain(&error))?;
            let drops = reader.drops().map_err(|error| chain(&error))?;
            Ok(Pass {
                flows: swept.flows,
                removed: swept.deleted,
                unreferenced: unreferenced(retired, &swept),
                drops,
            })
        })
    }

    /// Lists flows.
    pub(crate) fn list_flows(&self) -> Arc<ListFlows> {
        let reader = Arc::clone(&self.reader);
        Arc::new(move |filter, limit| list(&reader, filter, limit).map_err(|error| chain(&error)))
    }

    /// Tells the program until when leased answers are given.
    pub(crate) fn set_lease(&self) -> Arc<SetLease> {
        let reader = Arc::clone(&self.reader);
        Arc::new(move |until| reader.set_lease(until))
    }

    /// The reader of what the program tells.
    ///
    /// # Errors
    /// When the ring buffer cannot be mapped.
    pub(crate) fn events(&self) -> Result<Telling, Error> {
        Ok(Telling { events: self.reader.events()?, reader: Arc::clone(&self.reader) })
    }
}

impl Kernel {
    fn attach_to(&self, ifindex: u32, leg: &Leg) -> Result<(), String> {
        self.pinned.refresh_leg(ifindex);
        if self.pinned.is_attached(ifindex) {
            return Ok(());
        }
        self.pinned.attach(ifindex).map_err(|error| chain(&error))?;
        tracing::info!(leg = %leg.name, "the program is attached");
        Ok(())
    }
}

/// What the program tells, and counts.
#[derive(Debug)]
pub(crate) struct Telling {
    events: Events,
    reader: Arc<Pinned>,
}

impl Maps for Kernel {
    fn capacity(&self) -> Capacity {
        self.pinned.capacity()
    }

    fn read(&self) -> Result<Installed, MapError> {
        self.pinned.read()
    }

    fn apply(&mut self, op: &Op) -> Result<(), MapError> {
        self.pinned.apply(op)
    }
}

impl Dataplane for Kernel {
    fn attach(&mut self, legs: &BTreeMap<u32, Leg>) -> BTreeMap<u32, Result<(), String>> {
        for ifindex in self.pinned.attached().unwrap_or_default() {
            if !legs.contains_key(&ifindex)
                && let Err(error) = self.pinned.detach(ifindex)
            {
                tracing::warn!(ifindex, error = chain(&error), "the program stays on a leg");
            }
        }
        legs.iter().map(|(ifindex, leg)| (*ifindex, self.attach_to(*ifindex, leg))).collect()
    }

    fn drops(&self) -> Vec<(String, u64)> {
        let drops = self.pinned.drops().unwrap_or_default();
        drops.into_iter().map(|(label, count)| (label.to_owned(), count)).collect()
    }
}

/// An error where pins would lie on another filesystem, which the kernel refuses without a word of why.
fn on_bpffs(path: &Path) -> anyhow::Result<()> {
    let there = path.ancestors().find(|directory| directory.exists()).unwrap_or(path);
    let filesystem =
        statfs(there).with_context(|| format!("cannot look at {}", there.display()))?;
    ensure!(
        filesystem.filesystem_type() == BPF_FS_MAGIC,
        "{path} is on no bpf filesystem: start run-roadstead-bpf.mount (or: mkdir -p {path} && mount \
         -t bpf bpf {path}), or name another in paths.bpffs",
        path = path.display()
    );
    Ok(())
}

/// Loads and pins the programs, for the user that the router's state belongs to. With `replace`
/// maps of another version go first, and their flows with them.
///
/// # Errors
/// When the bpf filesystem cannot be used, a capability is missing or the kernel refuses a program.
pub(crate) fn load(config: &Config, replace: bool) -> anyhow::Result<Loaded> {
    on_bpffs(&config.paths.bpffs)?;
    let options = Options {
        owner: owner(config),
        seed: SEED,
        host_traffic: true,
        replace_other_version: replace,
        ..Options::default()
    };
    let loaded = bpf::load(&pins(config), &capacity(config), &options)?;
    let wanted = config.router.flows.unwrap_or(loaded.capacity.flows);
    if loaded.capacity.flows != wanted {
        let flows = loaded.capacity.flows;
        tracing::warn!(
            flows,
            wanted,
            "the flow table keeps its size, and its flows, until a reboot"
        );
    }
    Ok(loaded)
}

/// Hands on what the program tells, and which nodes fall silent, on a thread of its own, until the
/// receiver is gone. When the receiver lags, the newest events are dropped.
///
/// # Errors
/// When the ring buffer or the counters can no longer be read.
pub(crate) async fn follow(telling: Telling, heard: mpsc::Sender<Event>) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || listen(telling, &heard)).await?
}

fn listen(mut telling: Telling, heard: &mpsc::Sender<Event>) -> anyhow::Result<()> {
    let mut silence = Silence::new(Instant::now());
    let backends = telling.reader.capacity().backends;
    let tell = |event| {
        // A full queue: one signal is enough, and there will be others.
        let _ = heard.try_send(event);
    };
    while !heard.is_closed() {
        let mut ready = [PollFd::new(telling.events.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PATIENCE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for the dataplane's events"),
        }
        telling.events.drain(|event| translated(&event).into_iter().for_each(tell))?;
        let read = |id| telling.reader.backend_counters(id);
        let silent = silence.look(Instant::now(), backends, read)?;
        silent.into_iter().for_each(|backend| tell(Event::Silence { backend }));
    }
    Ok(())
}

fn translated(event: &bpf::Event) -> Option<Event> {
    let bpf::Event { frontend, backend, snat, node_port, client, .. } = *event;
    match event.kind {
        EventKind::NewFlow => {
            let client = SocketAddr::new(client.0, client.1);
            Some(Event::NewFlow { client, frontend, snat, backend, node_port })
        }
        EventKind::Refused | EventKind::Unanswered => Some(Event::Suspicion { frontend, backend }),
        // Counted among the drops.
        EventKind::SnatExhausted => None,
    }
}

fn unreferenced(retired: &Freed, swept: &bpf::Swept) -> Freed {
    let frontends = retired.frontends.iter().copied();
    let backends = retired.backends.iter().copied();
    let snats = retired.snats.iter().copied();
    Freed {
        frontends: frontends.filter(|id| !swept.frontends.contains(id)).collect(),
        backends: backends.filter(|id| !swept.backends.contains_key(id)).collect(),
        snats: snats.filter(|id| !swept.snats.contains(id)).collect(),
    }
}

fn list(pinned: &Pinned, filter: &FlowFilter, limit: usize) -> Result<Flows, MapError> {
    let mut found = Flows::default();
    pinned.for_each_flow(|entry| {
        let flow = described(entry);
        if filter.matches(&flow) {
            if found.flows.len() == limit {
                found.truncated = true;
                return false;
            }
            found.flows.push(flow);
        }
        true
    })?;
    Ok(found)
}

fn described(entry: FlowEntry) -> Flow {
    let FlowEntry { protocol, client, vip, snat, node, state, idle_seconds, .. } = entry;
    Flow { protocol, client, vip, snat, node, state: state.to_owned(), idle_seconds }
}

fn pins(config: &Config) -> Pins {
    Pins::new(config.paths.bpffs.join("router"))
}

/// Who the pins shall be handed to: whoever the router's state directory belongs to, unless that is
/// who loads.
fn owner(config: &Config) -> Option<(u32, u32)> {
    let state = config.paths.state_of("router").metadata().ok()?;
    (state.uid() != nix::unistd::geteuid().as_raw()).then(|| (state.uid(), state.gid()))
}

/// What fits. Only the flow table is of a size that matters: 64 KiB is the largest of the others,
/// apart from tables of 32 KiB each.
fn capacity(config: &Config) -> Capacity {
    Capacity {
        flows: config.router.flows.unwrap_or_else(|| flows_for(memory())),
        vips: 8_192,
        frontends: 16_384,
        backends: 2_048,
        tables: 512,
        snats: 64,
        ranges: 16_384,
    }
}

fn flows_for(memory: u64) -> u32 {
    let flows = (memory / MEMORY_SHARE / FLOW_BYTES).clamp(*FLOWS.start(), *FLOWS.end());
    u32::try_from(flows).unwrap_or(u32::MAX)
}

/// The machine's memory in bytes, asked of the kernel: /proc is hidden from the unit that loads.
fn memory() -> u64 {
    nix::sys::sysinfo::sysinfo().map_or(0, |info| info.ram_total())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flow_table_follows_the_machines_memory_within_bounds() {
        assert_eq!(flows_for(0), 1 << 16);
        assert_eq!(flows_for(2 << 30), 1 << 19);
        assert_eq!(flows_for(64 << 30), 1 << 20);
    }

    #[test]
    fn what_a_flow_refers_to_stays_reserved() {
        let retired =
            Freed { frontends: [1, 2].into(), backends: [1, 2].into(), snats: [1, 2].into() };
        let swept = bpf::Swept {
            flows: 1,
            frontends: [2].into(),
            backends: [(1, 1)].into(),
            snats: [1].into(),
            ..bpf::Swept::default()
        };
        let free = unreferenced(&retired, &swept);
        let expected = Freed { frontends: [1].into(), backends: [2].into(), snats: [2].into() };
        assert_eq!(free, expected);
        assert_eq!(unreferenced(&retired, &bpf::Swept::default()), retired);
    }
}
