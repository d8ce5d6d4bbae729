//! When an address may be answered for: "doubt holds, knowledge withdraws" (S3), and when it may be
//! given back: only after it is silent (S5).
//!
//! The gate knows nothing of packets. It is told what the allocator holds, what the router says of
//! the Services, and what the announcer has seen on the wire, and decides per address:
//!
//! | the router says of the live Services | not answered for so far | answered for so far |
//! |---|---|---|
//! | one is Ready or Degraded | open | stays open |
//! | all are Unserved (knowledge) | closed | closes |
//! | anything else: Pending, unheard of, no router (doubt) | closed | **stays open** |
//! | no live Service, or the host is drained (knowledge) | closed | closes |
//!
//! A Service whose object has no finalizer yet could be gone without a word: it is as one that the
//! router does not call ready, until it was served there once.
//!
//! Opening: probe, announce, then let the kernel answer. Closing: tell the kernel to be silent,
//! wait until the router says that it is, and only then release.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{
    ServiceKey,
    local::{Programmed, ServiceServing, Serving, VipKind},
    reason::{Condition, ConditionStatus},
};

#[cfg(test)]
mod tests;
mod words;

/// Name of a leg.
pub type Leg = Arc<str>;
/// Addresses with the legs on which each is answered for.
pub type Answers = BTreeMap<IpAddr, BTreeSet<Leg>>;

/// One address that the allocator holds.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The address.
    pub address: IpAddr,
    /// Virtual or the host's own.
    pub kind: VipKind,
    /// Services that are served on it.
    pub live: Vec<ServiceKey>,
    /// Services that only wait for it to fall silent.
    pub leaving: Vec<ServiceKey>,
    /// Legs on which it is to be announced.
    pub legs: Vec<Leg>,
    /// Whether its pool is announced by ARP and NDP at all.
    pub l2: bool,
    /// Generation of the assignments that first named the live Services on it: what the router
    /// says of an older one is not about them.
    pub since: u64,
}

/// What the announcer has seen of an address on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Being probed.
    Probing,
    /// Probed: nobody answered.
    Probed,
    /// Announced by us.
    Announced,
    /// Another holds it; we do not announce it.
    Conflict {
        /// Who.
        mac: [u8; 6],
    },
}

/// Everything that a decision rests on.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What the allocator holds.
    pub holdings: &'a [Holding],
    /// The last that the router said; `None` = nothing since this speaker started.
    pub programmed: Option<&'a Programmed>,
    /// Whether announcements wait for the router at all.
    pub require_ready: bool,
    /// Whether the host is drained.
    pub drained: bool,
    /// Who announces instead of this host; `None`: this host does.
    pub elsewhere: Option<&'a Elsewhere>,
    /// Services whose object is to have a finalizer and has none: not announced for the first time.
    pub unguarded: &'a BTreeSet<ServiceKey>,
    /// What the announcer has seen.
    pub wire: &'a BTreeMap<(IpAddr, Leg), Wire>,
    /// Generation of the assignments published last, by this run or the one before it.
    pub published: u64,
}

/// Another host of the segment announces: this one must not (S2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// The writer of the group, by name.
    Writer(Arc<str>),
    /// Nobody: the group has no writer yet that this host has heard of.
    NoWriter,
    /// A host that this one was never told of.
    Stranger(Arc<str>),
}

/// What the announcer shall do with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Probe it, so that a later announcement need not wait; do not announce it.
    Probe,
    /// Announce it as soon as it is probed.
    Announce,
    /// Announce it at once: it was answered for before a restart.
    Resume,
}

/// One address for the announcer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The address.
    pub address: IpAddr,
    /// On these legs.
    pub legs: Vec<Leg>,
    /// What to do with it.
    pub hold: Hold,
}

/// What follows from the facts.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// For the announcer.
    pub wanted: Vec<Wanted>,
    /// For the kernel program, and for the disk: where each address is answered for.
    pub answers: Answers,
    /// For the allocator: these Services may be released from these addresses.
    pub released: Vec<(IpAddr, ServiceKey)>,
    /// Services not served yet on an address that is open for others: for them it is not announced.
    pub waiting: BTreeSet<(IpAddr, ServiceKey)>,
    /// For people: the condition `Announced` of every Service.
    pub conditions: BTreeMap<ServiceKey, Condition>,
}

/// Remembers which addresses are open and which are closing.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// Open addresses.
    open: BTreeSet<IpAddr>,
    /// Addresses answered for before a restart that the announcer has not spoken of yet.
    resumed: Answers,
    /// Addresses that the host before us announced, until the announcer has them: they are taken over
    /// without a probe, which that host might still answer.
    taken: BTreeSet<IpAddr>,
    /// Addresses held before a restart that were not to be answered for: the last run may have ended
    /// before they were silent.
    unsure: BTreeSet<IpAddr>,
    /// Addresses that were open, with the generation that tells the router to be silent.
    closing: BTreeMap<IpAddr, u64>,
    /// Services that the router has once called ready where they are, so that doubt holds them too.
    served: BTreeSet<(IpAddr, ServiceKey)>,
}

/// Whether an address is to be answered for, and why (not).
enum Decision {
    Open(Certainty),
    Closed(Reason),
}

enum Certainty {
    Ready,
    Degraded(String),
    Held(String),
}

enum Reason {
    Drained,
    Elsewhere(Elsewhere),
    Leaving,
    Unserved(String),
    Pending(String),
    Unguarded,
    NoRouter,
}

/// What a Service without a finalizer waits for.
const UNGUARDED: &str = "its finalizer service.kubernetes.io/load-balancer-cleanup is not on it yet; `roadstead status` tells where the cluster cannot be written to";

impl Gate {
    /// A gate that goes on where the last run stopped: `answers` is what it kept on disk, `held` are
    /// all addresses of the ledger.
    pub fn restore(answers: Answers, held: impl IntoIterator<Item = IpAddr>) -> Self {
        let open: BTreeSet<IpAddr> = answers.keys().copied().collect();
        let unsure = held.into_iter().filter(|address| !open.contains(address)).collect();
        Self { open, resumed: answers, unsure, ..Self::default() }
    }

    /// This host announces from now on what another has announced until now: what follows is as
    /// after a restart of that host.
    pub fn take_over(&mut self, announced: impl IntoIterator<Item = IpAddr>) {
        for address in announced {
            self.open.insert(address);
            self.taken.insert(address);
            self.closing.remove(&address);
        }
    }

    /// Decides on every address. Level-triggered: the same facts give the same verdict again.
    pub fn step(&mut self, facts: &Facts<'_>) -> Verdict {
        self.forget_unheld(facts);
        let barred = self.barred(facts);
        let said = Said::of(facts, &barred);
        let mut verdict = Verdict::default();
        for holding in facts.holdings {
            let heard = said.about(holding);
            let decision = self.decide(holding, &heard, facts);
            match &decision {
                Decision::Open(_) => self.open(holding, facts, &mut verdict),
                Decision::Closed(_) => self.close(holding, facts, &mut verdict),
            }
            self.release(holding, facts, &mut verdict);
            for service in &holding.live {
                let waits = self.waits(holding, service, &said, facts);
                if waits.is_some() {
                    verdict.waiting.insert((holding.address, service.clone()));
                }
                let condition = words::condition(holding, &decision, waits, facts);
                merge(&mut verdict.conditions, service, condition);
            }
        }
        verdict
    }

    /// Addresses that the allocator no longer holds at all were released before; one that a lost
    /// ledger forgot is no longer in any pool's books and must not be answered for (S1).
    fn forget_unheld(&mut self, facts: &Facts<'_>) {
        let held: BTreeSet<IpAddr> = facts.holdings.iter().map(|h| h.address).collect();
        self.open.retain(|address| held.contains(address));
        self.unsure.retain(|address| held.contains(address));
        self.taken.retain(|address| held.contains(address) && !announced(*address, facts.wire));
        self.resumed.retain(|address, _| held.contains(address));
        self.closing.retain(|address, _| held.contains(address));
        let live: BTreeSet<(IpAddr, &ServiceKey)> =
            facts.holdings.iter().flat_map(|h| h.live.iter().map(|s| (h.address, s))).collect();
        self.served.retain(|(address, service)| live.contains(&(*address, service)));
        self.resumed.retain(|address, legs| {
            legs.retain(|leg| !facts.wire.contains_key(&(*address, leg.clone())));
            !legs.is_empty()
        });
    }

    /// Services that are not to be announced for the first time, on each of their addresses.
    fn barred<'a>(&self, facts: &Facts<'a>) -> BTreeSet<(IpAddr, &'a ServiceKey)> {
        let unguarded = facts.unguarded;
        let live = facts.holdings.iter().flat_map(|h| h.live.iter().map(|s| (h.address, s)));
        let was_announced =
            |address: &IpAddr| self.resumed.contains_key(address) || self.taken.contains(address);
        live.filter(|(address, service)| {
            unguarded.contains(*service)
                && !was_announced(address)
                && !self.served.contains(&(*address, (*service).clone()))
        })
        .collect()
    }

    /// What a Service that was never served on its address waits for, on an address that is open
    /// for the sake of others.
    fn waits<'s>(
        &mut self,
        holding: &Holding,
        service: &ServiceKey,
        said: &Said<'s, '_>,
        facts: &Facts<'_>,
    ) -> Option<&'s str> {
        if said.barred.contains(&(holding.address, service)) {
            return Some(UNGUARDED);
        }
        let place = (holding.address, service.clone());
        let own = said.of_service(holding, service);
        let serves = matches!(own, Some((Serving::Ready | Serving::Degraded, _)));
        if serves || !facts.require_ready || self.resumed.contains_key(&holding.address) {
            self.served.insert(place);
            return None;
        }
        (!self.served.contains(&place)).then(|| own.map_or("", |(_, message)| message))
    }

    fn decide(&self, holding: &Holding, heard: &Heard, facts: &Facts<'_>) -> Decision {
        if facts.drained {
            return Decision::Closed(Reason::Drained);
        }
        if let Some(elsewhere) = facts.elsewhere {
            return Decision::Closed(Reason::Elsewhere(elsewhere.clone()));
        }
        if holding.live.is_empty() {
            return Decision::Closed(Reason::Leaving);
        }
        let is_open = self.open.contains(&holding.address);
        if !facts.require_ready {
            let all_barred = heard.barred == holding.live.len() && !is_open;
            return if all_barred {
                Decision::Closed(Reason::Unguarded)
            } else {
                Decision::Open(Certainty::Ready)
            };
        }
        if heard.ready {
            return Decision::Open(Certainty::Ready);
        }
        if let Some(message) = &heard.degraded {
            return Decision::Open(Certainty::Degraded(message.clone()));
        }
        if heard.unserved == holding.live.len() {
            return Decision::Closed(Reason::Unserved(heard.message.clone()));
        }
        if is_open {
            return Decision::Open(Certainty::Held(heard.message.clone()));
        }
        match facts.programmed {
            _ if heard.barred > 0 => Decision::Closed(Reason::Unguarded),
            None => Decision::Closed(Reason::NoRouter),
            Some(_) => Decision::Closed(Reason::Pending(heard.message.clone())),
        }
    }

    fn open(&mut self, holding: &Holding, facts: &Facts<'_>, verdict: &mut Verdict) {
        let address = holding.address;
        self.closing.remove(&address);
        self.unsure.remove(&address);
        self.open.insert(address);
        if holding.kind == VipKind::Host || !holding.l2 {
            return;
        }
        let answered: BTreeSet<Leg> =
            holding.legs.iter().filter(|leg| self.answers(address, leg, facts)).cloned().collect();
        if !answered.is_empty() {
            verdict.answers.insert(address, answered);
        }
        let resumes = self.resumed.contains_key(&address) || self.taken.contains(&address);
        let hold = if resumes { Hold::Resume } else { Hold::Announce };
        verdict.wanted.push(Wanted { address, legs: holding.legs.clone(), hold });
    }

    fn answers(&self, address: IpAddr, leg: &Leg, facts: &Facts<'_>) -> bool {
        match facts.wire.get(&(address, leg.clone())) {
            Some(wire) => *wire == Wire::Announced,
            None => self.resumed.get(&address).is_some_and(|legs| legs.contains(leg)),
        }
    }

    fn close(&mut self, holding: &Holding, facts: &Facts<'_>, verdict: &mut Verdict) {
        let address = holding.address;
        self.resumed.remove(&address);
        self.taken.remove(&address);
        let was_open = self.open.remove(&address) | self.unsure.remove(&address);
        if was_open && holding.kind == VipKind::Virtual {
            self.closing.insert(address, facts.published.saturating_add(1));
        }
        if self.closing.contains_key(&address) && is_silent(address, &self.closing, facts) {
            self.closing.remove(&address);
        }
        // The writer of the group would answer every probe.
        let silent = facts.drained || facts.elsewhere.is_some();
        let may_probe = holding.l2 && !holding.live.is_empty() && !silent;
        if may_probe && holding.kind == VipKind::Virtual {
            let legs = holding.legs.clone();
            verdict.wanted.push(Wanted { address, legs, hold: Hold::Probe });
        }
    }

    /// A Service leaves an address that others live on at once: the address goes on being
    /// announced, only the port is unprogrammed. The last one leaves when the address is silent.
    fn release(&self, holding: &Holding, facts: &Facts<'_>, verdict: &mut Verdict) {
        let waits = holding.live.is_empty()
            && (self.closing.contains_key(&holding.address)
                || announced(holding.address, facts.wire));
        if !waits {
            let released = holding.leaving.iter().map(|s| (holding.address, s.clone()));
            verdict.released.extend(released);
        }
    }
}

/// The router's verdicts by Service.
struct Said<'a, 'b> {
    applied: u64,
    barred: &'b BTreeSet<(IpAddr, &'a ServiceKey)>,
    services: BTreeMap<&'a ServiceKey, &'a ServiceServing>,
}

/// What the router says of the live Services of one address.
#[derive(Default)]
struct Heard {
    ready: bool,
    degraded: Option<String>,
    unserved: usize,
    /// Those that no word of the router's opens.
    barred: usize,
    message: String,
}

impl<'a, 'b> Said<'a, 'b> {
    fn of(facts: &Facts<'a>, barred: &'b BTreeSet<(IpAddr, &'a ServiceKey)>) -> Self {
        let services = facts.programmed.into_iter().flat_map(|p| &p.services);
        Self {
            applied: facts.programmed.map_or(0, |p| p.applied),
            barred,
            services: services.map(|service| (&service.service, service)).collect(),
        }
    }

    /// The verdict on a Service on one of its addresses, with its reason. An address that no node
    /// can serve is unserved, whatever the Service's other one does.
    fn of_service(&self, holding: &Holding, service: &ServiceKey) -> Option<(Serving, &'a str)> {
        if self.applied < holding.since {
            return None;
        }
        let said = *self.services.get(service)?;
        let withheld = said.withheld.contains(&holding.address);
        Some((if withheld { Serving::Unserved } else { said.serving }, &said.message))
    }

    fn about(&self, holding: &Holding) -> Heard {
        let mut heard = Heard::default();
        for service in &holding.live {
            let is_barred = self.barred.contains(&(holding.address, service));
            match (self.of_service(holding, service), is_barred) {
                (Some((Serving::Unserved, message)), _) => {
                    heard.unserved += 1;
                    message.clone_into(&mut heard.message);
                }
                (_, true) => heard.barred += 1,
                (Some((Serving::Ready, _)), false) => heard.ready = true,
                (Some((Serving::Degraded, message)), false) => {
                    heard.degraded = Some(message.to_owned());
                }
                (Some((Serving::Pending, message)), false) => {
                    message.clone_into(&mut heard.message);
                }
                (None, false) => {}
            }
        }
        heard
    }
}

/// Whether nobody answers for a closing address any more: our own sockets are done with it, and
/// the router has applied the assignments that told it to be silent. A router not heard of yet may
/// have left its program behind, answering.
fn is_silent(address: IpAddr, closing: &BTreeMap<IpAddr, u64>, facts: &Facts<'_>) -> bool {
    if announced(address, facts.wire) {
        return false;
    }
    match facts.programmed {
        Some(programmed) => {
            closing.get(&address).is_none_or(|told| programmed.applied >= *told)
                && !programmed.answering.iter().any(|a| a.address == address && !a.legs.is_empty())
        }
        None => !facts.require_ready,
    }
}

fn announced(address: IpAddr, wire: &BTreeMap<(IpAddr, Leg), Wire>) -> bool {
    let legs = wire.range((address, Leg::from(""))..);
    legs.take_while(|((held, _), _)| *held == address).any(|(_, wire)| *wire == Wire::Announced)
}

/// A Service with two addresses tells the worse of its two conditions.
fn merge(
    conditions: &mut BTreeMap<ServiceKey, Condition>,
    service: &ServiceKey,
    condition: Condition,
) {
    let worse = |old: &Condition| {
        old.status == ConditionStatus::True && condition.status != ConditionStatus::True
    };
    if conditions.get(service).is_none_or(worse) {
        conditions.insert(service.clone(), condition);
    }
}
