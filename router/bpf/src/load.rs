//! Loading: the one step that needs privileges (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON). Everything is
//! pinned, so that afterwards [`crate::Dataplane::open`] needs none.

use std::{fs, os::fd::AsFd as _};

use roadstead_router_core::maps::{Capacity, MapError, TableId};

use crate::{
    Dataplane, Error, host,
    layout::{BACKENDS, SNAT_ADDRESSES},
    log,
    object::{Aligned, load_refused, open_object, pin_maps, pin_programs, prepare_maps},
    pins::{PROGRAMS, Pins},
    sys,
};

pub(crate) static NAT: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/nat.bpf.o")));

/// Elements of `tables` beyond one per table: a table is filled aside and swapped in, and an element
/// set free rests until all others have been used, so that no packet still reads it.
const SPARE_TABLES: u32 = 8;

/// How to load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Flows at most that are half-open (a SYN without its handshake, UDP without an answer); a
    /// quarter of all flows where `None`.
    pub half_open_budget: Option<u32>,
    /// The user and group that the pins shall belong to.
    pub owner: Option<(u32, u32)>,
    /// Part of every choice of a backend: the same on every edge host.
    pub seed: u64,
    /// Serve the host's own connections to VIPs too, by programs on the root of the cgroup tree.
    pub host_traffic: bool,
    /// Whether maps of another version may be removed, with their flows.
    pub replace_other_version: bool,
}

/// What loading did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What fits.
    pub capacity: Capacity,
    /// The maps, with their flows, were there and stay: a change of capacity waits until they are
    /// unloaded.
    pub kept_maps: bool,
    /// Legs whose program was replaced, between two packets.
    pub replaced: Vec<u32>,
    /// The host's own connections to VIPs are served too.
    pub host_traffic: bool,
}

/// Loads the programs, creates the maps that are not there, pins all of it, and puts the programs in
/// the place of those that are attached.
///
/// # Errors
/// When the bpf filesystem cannot be used, a capability is missing, the capacity is impossible or
/// the kernel refuses a program.
pub fn load(pins: &Pins, capacity: &Capacity, options: &Options) -> Result<Loaded, Error> {
    check(capacity)?;
    other_versions(pins, options)?;
    pins.create()?;
    log::take_over();

    let mut object = open_object(NAT)?;
    let sizes = |name: &str| entries(name, capacity, options);
    let kept_maps = prepare_maps(&mut object, pins, sizes)?;
    let mut object = object.load().map_err(load_refused("the programs"))?;
    pin_maps(&mut object, pins)?;
    pin_programs(&object, pins, PROGRAMS)?;
    let mut replaced = replace_programs(pins)?;
    let host_traffic = options.host_traffic && host::load_or_warn(pins);
    if let Some((uid, gid)) = options.owner {
        pins.give_to(uid, gid).map_err(Error::kernel("hand the pins to the router's user"))?;
    }
    let dataplane = Dataplane::open(pins)?;
    if kept_maps && replaced.is_empty() {
        // An earlier load made links for all legs or, before Linux 6.6, for none.
        replaced = dataplane.replace_clsact()?;
    }
    dataplane.settle(options, kept_maps)?;
    Ok(Loaded { capacity: dataplane.capacity_of_maps(), kept_maps, replaced, host_traffic })
}

fn check(capacity: &Capacity) -> Result<(), Error> {
    let backends = u32::try_from(BACKENDS).unwrap_or(u32::MAX);
    let limits = [
        ("flows", capacity.flows, 1_024, 1 << 26),
        ("vips", capacity.vips, 1, 1 << 16),
        ("frontends", capacity.frontends, 1, 1 << 20),
        ("backends", capacity.backends.into(), 1, backends),
        ("tables", capacity.tables.into(), 1, u32::from(TableId::MAX) - SPARE_TABLES),
        ("snats", capacity.snats.into(), 1, SNAT_ADDRESSES),
        ("ranges", capacity.ranges, 1, 1 << 20),
    ];
    for (map, value, low, high) in limits {
        if !(low..=high).contains(&value) {
            return Err(Error::Capacity { map, value, low, high });
        }
    }
    Ok(())
}

fn other_versions(pins: &Pins, options: &Options) -> Result<(), Error> {
    let refused = |source| Error::Pins { path: pins.root(), source };
    for path in pins.other_versions().map_err(refused)? {
        if !options.replace_other_version {
            return Err(Error::Schema { path });
        }
        fs::remove_dir_all(&path).map_err(|source| Error::Pins { path, source })?;
    }
    Ok(())
}

/// The capacity of a map, where it is not what the C says.
fn entries(name: &str, capacity: &Capacity, options: &Options) -> Option<u32> {
    let tables = u32::from(capacity.tables);
    Some(match name {
        "vips" => capacity.vips,
        "frontends" => capacity.frontends,
        // An identity outlives its frontend until its flows are gone.
        "identities" | "frontend_counts" => capacity.frontends.saturating_mul(2),
        "backends" | "backend_counts" => capacity.backends.into(),
        "table_refs" => tables,
        "tables" => tables.saturating_add((tables / 8).max(SPARE_TABLES)),
        "flows" | "replies" => capacity.flows,
        "half_open" => options.half_open_budget.unwrap_or(capacity.flows / 4).max(64),
        "snats" => capacity.snats.into(),
        "ranges" => capacity.ranges,
        "answers" => capacity.vips.saturating_mul(4),
        _ => return None,
    })
}

fn replace_programs(pins: &Pins) -> Result<Vec<u32>, Error> {
    let program = sys::open_pinned(&pins.program("ingress"))
        .map_err(Error::kernel("open the program just pinned"))?;
    let mut replaced = Vec::new();
    for (ifindex, link) in crate::attach::pinned_links(pins)? {
        // A link whose interface is gone refuses; attaching that leg again replaces the link.
        if sys::update_link(link.as_fd(), program.as_fd()).is_ok() {
            replaced.push(ifindex);
        }
    }
    Ok(replaced)
}

impl Dataplane {
    /// What is to be set once, after the maps have been created.
    fn settle(&self, options: &Options, kept_maps: bool) -> Result<(), Error> {
        let clock = self.clock().map_err(Error::kernel("read the kernel's clock"))?;
        self.settings.set_clock(crate::clock::hz(&clock));
        self.settings.set_seed(options.seed);
        let own = if options.host_traffic { sys::netns_cookie() } else { Ok(0) };
        let own = own.map_err(Error::kernel("tell this network namespace from others"))?;
        self.settings.set_netns_cookie(own);
        let ring = self.half_open.capacity();
        let budget = options.half_open_budget.unwrap_or(ring).min(ring);
        self.settings.set_half_open_budget(budget);
        tracing::debug!(kept_maps, budget, "the dataplane is loaded");
        Ok(())
    }

    pub(crate) fn capacity_of_maps(&self) -> Capacity {
        let short = |entries: u32| u16::try_from(entries).unwrap_or(u16::MAX);
        Capacity {
            flows: self.flows.capacity(),
            vips: self.vips.capacity(),
            frontends: self.frontends.capacity(),
            backends: short(self.backends.capacity()),
            tables: short(self.table_refs.capacity()),
            snats: short(self.snats.capacity()),
            ranges: self.ranges.capacity(),
        }
    }
}

impl From<MapError> for Error {
    fn from(error: MapError) -> Self {
        Self::Kernel { act: "use the maps", source: std::io::Error::other(error) }
    }
}
