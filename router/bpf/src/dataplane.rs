//! Everything that is pinned, opened: needs no capability, only the right to open the pins.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use roadstead_router_core::maps::{MapError, TableId};

use crate::{
    Error,
    layout::{
        Address, Answer, AnswerKey, Backend, BackendCounters, Clock, Flow, FlowKey, Frontend,
        FrontendCounters, FrontendKey, MaglevTable, Plain as _, RangeKey, Reply, ReplyKey, Snat,
        Timeouts, Vip,
    },
    log,
    pins::Pins,
    settings::Shared,
    sys,
    typed::TypedMap,
};

/// The programs and maps of one edge host.
#[derive(Debug)]
pub struct Dataplane {
    pub(crate) pins: Pins,
    pub(crate) ingress: OwnedFd,
    pub(crate) sweep: OwnedFd,
    read_clock: OwnedFd,
    pub(crate) settings: Shared,
    pub(crate) vips: TypedMap<Address, Vip>,
    pub(crate) frontends: TypedMap<FrontendKey, Frontend>,
    pub(crate) identities: TypedMap<u32, FrontendKey>,
    pub(crate) backends: TypedMap<u32, Backend>,
    pub(crate) snats: TypedMap<u32, Snat>,
    pub(crate) table_refs: TypedMap<u32, u32>,
    pub(crate) tables: TypedMap<u32, MaglevTable>,
    pub(crate) ranges: TypedMap<RangeKey, u8>,
    pub(crate) answers: TypedMap<AnswerKey, Answer>,
    pub(crate) flows: TypedMap<FlowKey, Flow>,
    pub(crate) replies: TypedMap<ReplyKey, Reply>,
    pub(crate) half_open: TypedMap<u32, FlowKey>,
    pub(crate) sweep_keys: TypedMap<u32, FlowKey>,
    pub(crate) drops: TypedMap<u32, u64>,
    pub(crate) frontend_counts: TypedMap<u32, FrontendCounters>,
    pub(crate) backend_counts: TypedMap<u32, BackendCounters>,
    /// The element of `tables` that each table is in.
    pub(crate) placed: BTreeMap<TableId, u32>,
    /// Elements of `tables` that hold nothing, those free for longest first.
    pub(crate) free_elements: VecDeque<u32>,
    /// The addresses behind the bits of `Settings::classes`.
    pub(crate) classified: Classified,
}

/// The addresses of each class.
#[derive(Debug, Default)]
pub(crate) struct Classified {
    pub(crate) vips: BTreeSet<Address>,
    pub(crate) snats: BTreeMap<u32, Address>,
}

impl Dataplane {
    /// Opens what [`crate::load()`] has pinned.
    ///
    /// # Errors
    /// When nothing is pinned, the pins belong to somebody else or are of another version.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        log::take_over();
        let program = |name| {
            let path = pins.program(name);
            sys::open_pinned(&path).map_err(|source| not_there(path, source))
        };
        let settings = crate::typed::open_map(pins, "settings")?;
        let mut dataplane = Self {
            ingress: program("ingress")?,
            sweep: program("sweep")?,
            read_clock: program("read_clock")?,
            settings: Shared::new(settings.as_fd()).map_err(Error::kernel("share the settings"))?,
            vips: TypedMap::open(pins, "vips")?,
            frontends: TypedMap::open(pins, "frontends")?,
            identities: TypedMap::open(pins, "identities")?,
            backends: TypedMap::open(pins, "backends")?,
            snats: TypedMap::open(pins, "snats")?,
            table_refs: TypedMap::open(pins, "table_refs")?,
            tables: TypedMap::open(pins, "tables")?,
            ranges: TypedMap::open(pins, "ranges")?,
            answers: TypedMap::open(pins, "answers")?,
            flows: TypedMap::open(pins, "flows")?,
            replies: TypedMap::open(pins, "replies")?,
            half_open: TypedMap::open(pins, "half_open")?,
            sweep_keys: TypedMap::open(pins, "sweep_keys")?,
            drops: TypedMap::open(pins, "drops")?,
            frontend_counts: TypedMap::open(pins, "frontend_counts")?,
            backend_counts: TypedMap::open(pins, "backend_counts")?,
            placed: BTreeMap::new(),
            free_elements: VecDeque::new(),
            classified: Classified::default(),
            pins: pins.clone(),
        };
        dataplane.find_tables()?;
        dataplane.find_classes()?;
        Ok(dataplane)
    }

    /// Which tables are where, and which elements are free.
    fn find_tables(&mut self) -> Result<(), MapError> {
        for (table, reference) in self.table_refs.all()? {
            if let (Ok(table), Some(element)) = (TableId::try_from(table), reference.checked_sub(1))
            {
                self.placed.insert(table, element);
            }
        }
        let used: BTreeSet<u32> = self.placed.values().copied().collect();
        self.free_elements = (0..self.tables.capacity()).filter(|e| !used.contains(e)).collect();
        Ok(())
    }

    fn find_classes(&mut self) -> Result<(), MapError> {
        self.classified.vips = self.vips.all()?.into_iter().map(|(address, _)| address).collect();
        let present = self.snats.all()?.into_iter().filter(|(_, snat)| snat.present != 0);
        self.classified.snats = present.map(|(id, snat)| (id, snat.address)).collect();
        Ok(())
    }

    /// How long flows live.
    pub fn timeouts(&self) -> Timeouts {
        self.settings.timeouts()
    }

    /// Changes how long flows live, those there are included.
    pub fn set_timeouts(&self, timeouts: Timeouts) {
        self.settings.set_timeouts(timeouts);
    }

    /// Until when leased answers to ARP and NDP are given: `CLOCK_BOOTTIME` in nanoseconds. One that has
    /// passed makes the program silent.
    pub fn set_lease(&self, until: u64) {
        self.settings.set_lease(until);
    }

    /// The kernel's clocks at one moment.
    pub(crate) fn clock(&self) -> io::Result<Clock> {
        let mut context = [0; size_of::<Clock>()];
        sys::test_run(self.read_clock.as_fd(), None, &mut context, 0)?;
        Clock::from_bytes(&context).ok_or_else(|| io::Error::other("the clock told nothing"))
    }
}

fn not_there(path: std::path::PathBuf, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::NotFound {
        Error::NotLoaded { path, source }
    } else {
        Error::Open { path, source }
    }
}
