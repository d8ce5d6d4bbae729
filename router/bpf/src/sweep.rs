//! Taking away flows whose time is over. User space walks the table in slices and names candidates;
//! the sweep program decides about each at that moment, so that a packet in between saves its flow.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::AsFd as _,
};

use roadstead_model::Protocol;
use roadstead_router_core::maps::{BackendId, FrontendId, MapError, SnatId};

use crate::{
    Dataplane,
    layout::{
        Flow, FlowKey, Plain as _, ReplyKey, SWEEP_BATCH, Sweep, Timeouts, flow_state, sweep_kind,
    },
    sys,
    typed::Walk,
};

/// A full walk over the reverse entries, to find orphans, comes after so many over the forward ones.
const ORPHANS_EVERY: u32 = 16;

/// What one full walk over the flows found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Flows there are.
    pub flows: u64,
    /// Flows and reverse entries taken away.
    pub deleted: u64,
    /// Flows of each backend: one without any may be deleted.
    pub backends: BTreeMap<BackendId, u64>,
    /// Frontends that flows refer to: the identity of any other may be deleted.
    pub frontends: BTreeSet<FrontendId>,
    /// SNAT addresses that flows use: any other may be deleted.
    pub snats: BTreeSet<SnatId>,
}

/// The collector of flows that are over. Works in slices, so that whoever drives it can do other
/// things between them: [`Sweeper::step`] returns the result when a walk is complete.
#[derive(Debug, Default)]
pub struct Sweeper {
    walk: Walk,
    found: Swept,
    round: u32,
    orphans: Option<Walk>,
}

impl Sweeper {
    /// Looks at the next few thousand flows and deletes those that are expired. `Some` once all have
    /// been looked at; the next call begins anew.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn step(&mut self, dataplane: &Dataplane) -> Result<Option<Swept>, MapError> {
        if let Some(walk) = &mut self.orphans {
            self.found.deleted = self.found.deleted.saturating_add(dataplane.sweep_orphans(walk)?);
            if walk.done {
                self.orphans = None;
                return Ok(Some(self.finish()));
            }
            return Ok(None);
        }
        let deleted = dataplane.sweep_expired(&mut self.walk, &mut self.found)?;
        self.found.deleted = self.found.deleted.saturating_add(deleted);
        if !self.walk.done {
            return Ok(None);
        }
        self.round = self.round.wrapping_add(1);
        if self.round.is_multiple_of(ORPHANS_EVERY) {
            self.orphans = Some(Walk::default());
            return Ok(None);
        }
        Ok(Some(self.finish()))
    }

    /// Walks over all flows at once.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn complete(&mut self, dataplane: &Dataplane) -> Result<Swept, MapError> {
        loop {
            if let Some(swept) = self.step(dataplane)? {
                return Ok(swept);
            }
        }
    }

    fn finish(&mut self) -> Swept {
        self.walk = Walk::default();
        std::mem::take(&mut self.found)
    }
}

impl Dataplane {
    /// Seconds of the program's clock.
    pub(crate) fn now(&self) -> Result<u32, MapError> {
        Ok(self.run_sweep(0, sweep_kind::EXPIRED)?.now)
    }

    fn sweep_expired(&self, walk: &mut Walk, found: &mut Swept) -> Result<u64, MapError> {
        let now = self.now()?;
        let timeouts = self.timeouts();
        let mut candidates = Vec::new();
        self.flows.walk(walk, &mut |key, flow| {
            if may_be_expired(&key, &flow, &timeouts, now) {
                candidates.push(key);
            }
            found.note(&key, &flow);
        })?;
        let deleted = self.sweep_named(&candidates, sweep_kind::EXPIRED)?;
        found.flows = found.flows.saturating_sub(deleted);
        Ok(deleted)
    }

    fn sweep_orphans(&self, walk: &mut Walk) -> Result<u64, MapError> {
        let now = self.now()?;
        let longest = self.timeouts().udp_unanswered;
        let mut candidates = Vec::new();
        self.replies.walk(walk, &mut |key, reply| {
            if now.wrapping_sub(reply.last_seen).cast_signed() > longest.cast_signed() {
                candidates.extend(as_flow_key(&key));
            }
        })?;
        self.sweep_named(&candidates, sweep_kind::ORPHANS)
    }

    fn sweep_named(&self, keys: &[FlowKey], kind: u32) -> Result<u64, MapError> {
        let mut deleted = 0_u64;
        for slice in keys.chunks(SWEEP_BATCH) {
            self.sweep_keys.put_first(slice)?;
            let count = u32::try_from(slice.len()).unwrap_or(u32::MAX);
            deleted = deleted.saturating_add(self.run_sweep(count, kind)?.deleted.into());
        }
        Ok(deleted)
    }

    fn run_sweep(&self, count: u32, kind: u32) -> Result<Sweep, MapError> {
        let refused = |source| MapError::Kernel { act: "delete from", map: "flows", source };
        let mut context = Sweep { count, deleted: 0, now: 0, kind }.bytes().to_vec();
        sys::test_run(self.sweep.as_fd(), None, &mut context, 0).map_err(refused)?;
        Sweep::from_bytes(&context).ok_or_else(|| refused(io::Error::other("nothing was told")))
    }
}

impl Swept {
    fn note(&mut self, key: &FlowKey, flow: &Flow) {
        self.flows = self.flows.saturating_add(1);
        let of_backend = self.backends.entry(flow.backend).or_default();
        *of_backend = of_backend.saturating_add(1);
        self.frontends.insert(key.frontend);
        self.snats.insert(flow.snat);
    }
}

/// By the client's half alone, and the shortest time that its state allows: the program knows the
/// node's half too.
fn may_be_expired(key: &FlowKey, flow: &Flow, timeouts: &Timeouts, now: u32) -> bool {
    let age = now.wrapping_sub(flow.last_seen).cast_signed();
    u32::try_from(age).is_ok_and(|age| age >= shortest(key, flow.state, timeouts))
}

fn shortest(key: &FlowKey, state: u32, timeouts: &Timeouts) -> u32 {
    let both = flow_state::CLIENT_FIN | flow_state::NODE_FIN;
    if key.protocol == Protocol::Udp.number() {
        return timeouts.udp_unanswered.min(timeouts.udp_answered);
    }
    if state & both == both {
        let held = state & flow_state::NODE_CLOSED_FIRST != 0;
        return if held { timeouts.tcp_held } else { timeouts.tcp_closed };
    }
    if state & flow_state::RESET != 0 {
        return timeouts.tcp_closed;
    }
    if state & flow_state::ESTABLISHED == 0 {
        return timeouts.tcp_half_open;
    }
    if state & (flow_state::NODE_FIN | flow_state::RESET_IDLE) != 0 {
        return timeouts.tcp_closing;
    }
    timeouts.tcp_established
}

/// The two kinds of keys are of one size, and share the sweep program's array.
fn as_flow_key(key: &ReplyKey) -> Option<FlowKey> {
    FlowKey::from_bytes(key.bytes())
}
