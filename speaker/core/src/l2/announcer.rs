//! All pairs together: routing of inputs, timers, queues, and the last check before a frame leaves.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Instant,
};

use roadstead_wire::{Frame, Mac, arp::Operation, ndp};

use super::{
    Counters, Event, Leg, LegName, Phase, Settings, Wanted, Wire,
    entry::{Entry, Input, News, Output, Scene},
    observe::{Asked, Claimed, observe},
    queue::{Message, Queue, Refused},
};

/// The addresses wanted on each leg, by the leg's name; legs that are not there may be named.
pub type WantedByLeg = BTreeMap<LegName, BTreeMap<IpAddr, Wanted>>;

/// The announcer's state machine; see the [module](super) for its life.
///
/// After each call that takes `now`, take the frames and events that it left, then wait until
/// [`Self::next_deadline`] or the next input, whichever comes first.
#[derive(Debug)]
pub struct Announcer {
    settings: Settings,
    wanted: WantedByLeg,
    segments: BTreeMap<LegName, Segment>,
    /// Addresses of all legs: frames from these are our own.
    macs: BTreeSet<Mac>,
    /// Deadlines of all entries, earliest first.
    timers: BTreeSet<(Instant, LegName, IpAddr)>,
    events: VecDeque<Event>,
    /// Pairs whose standing changed and was not yet told.
    changed: BTreeSet<(IpAddr, LegName)>,
    counters: Counters,
    /// The last [`Entry::epoch`] given out.
    epochs: u64,
}

/// A leg with what is announced on it.
#[derive(Debug)]
struct Segment {
    leg: Leg,
    entries: BTreeMap<IpAddr, Entry>,
    queue: Queue,
}

impl Announcer {
    /// An announcer without legs and with nothing to announce.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            wanted: WantedByLeg::new(),
            segments: BTreeMap::new(),
            macs: BTreeSet::new(),
            timers: BTreeSet::new(),
            events: VecDeque::new(),
            changed: BTreeSet::new(),
            counters: Counters::default(),
            epochs: 0,
        }
    }

    /// Changes how it goes about it, from the next step of each address on.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Says which legs there are now. What was announced on one that is gone is silent; on one
    /// that is new everything wanted is probed; one whose MAC changed gets a new burst.
    pub fn set_legs(&mut self, legs: impl IntoIterator<Item = Leg>, now: Instant) {
        let legs: BTreeMap<LegName, Leg> = legs.into_iter().map(|l| (l.name.clone(), l)).collect();
        self.macs = legs.values().map(|leg| leg.mac).collect();
        let gone: Vec<_> =
            self.segments.keys().filter(|name| !legs.contains_key(*name)).cloned().collect();
        for name in gone {
            self.remove_leg(&name);
        }
        for (name, leg) in legs {
            match self.segments.get_mut(&name) {
                Some(segment) => {
                    let moved = segment.leg.mac != leg.mac;
                    segment.leg = leg;
                    if moved {
                        self.each(&name, &Input::Moved, now);
                    }
                }
                None => self.add_leg(name, leg, now),
            }
        }
    }

    /// Says what is wanted from now on, all of it. An address left out is silent when this
    /// returns: nothing more is sent for it, not even what waited to be sent.
    pub fn set_wanted(&mut self, wanted: WantedByLeg, now: Instant) {
        self.wanted = wanted;
        let legs: Vec<_> = self.segments.keys().cloned().collect();
        for leg in legs {
            self.reconcile(&leg, now);
        }
    }

    /// Takes in a frame heard on a leg.
    pub fn handle_frame(&mut self, leg: &str, frame: &Frame, now: Instant) {
        let Some((name, segment)) = self.segments.get_key_value(leg) else { return };
        let name = name.clone();
        let Some(seen) = observe(frame, segment.leg.mac, &self.macs) else {
            self.counters.own_frames += 1;
            return;
        };
        if let Some(claimed) = seen.claim {
            self.claimed(&name, claimed, now);
        }
        if let Some(asked) = seen.asked {
            self.asked(&name, asked, now);
        }
    }

    /// Does what is due. Must be called at [`Self::next_deadline`]; earlier or later is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((due, _, _)) = self.timers.first() {
            if *due > now {
                return;
            }
            let Some((_, leg, address)) = self.timers.pop_first() else { return };
            self.step(&leg, address, Input::Timer, now);
        }
    }

    /// When [`Self::handle_timeout`] has something to do; `None` = nothing until the next input.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _, _)| *due)
    }

    /// The next frame to send on a leg.
    pub fn poll_transmit(&mut self, leg: &str) -> Option<Vec<u8>> {
        let segment = self.segments.get_mut(leg)?;
        while let Some(item) = segment.queue.pop() {
            let entry = segment.entries.get(&item.address);
            let Some(entry) = entry.filter(|entry| entry.epoch == item.epoch) else { continue };
            // S1, whatever the transitions may have left behind: nothing leaves for an address
            // that is not wanted here, and only probes for one that is not announced.
            let may_leave = item.message.is_probe() || entry.is_announced();
            debug_assert!(may_leave, "{:?} for {}", item.message, item.address);
            if may_leave {
                self.counters.count(&item.message);
                return Some(item.message.emit(&segment.leg));
            }
        }
        None
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A pair whose standing changed since it was last given here, with where it stands now;
    /// `None` = it is no longer wanted, or its leg is gone.
    pub fn poll_change(&mut self) -> Option<(IpAddr, LegName, Option<Wire>)> {
        let (address, leg) = self.changed.pop_first()?;
        let entry = self.segments.get(&leg).and_then(|segment| segment.entries.get(&address));
        let wire = entry.map(Entry::wire);
        Some((address, leg, wire))
    }

    /// The Ethernet groups that a leg must receive for its addresses to be found and defended.
    pub fn groups(&self, leg: &str) -> BTreeSet<Mac> {
        let Some(segment) = self.segments.get(leg) else { return BTreeSet::new() };
        let solicited = segment.entries.keys().filter_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(ndp::solicited_node(*v6)),
        });
        let mut groups: BTreeSet<Mac> = solicited.map(Mac::of_ipv6_multicast).collect();
        if !groups.is_empty() {
            groups.insert(Mac::of_ipv6_multicast(ndp::ALL_NODES));
        }
        groups
    }

    /// Where every pair stands.
    pub fn wire(&self) -> BTreeMap<(IpAddr, LegName), Wire> {
        let pairs = self.segments.iter().flat_map(|(name, segment)| {
            let of_leg = segment.entries.iter();
            of_leg.map(|(address, entry)| ((*address, name.clone()), entry.wire()))
        });
        pairs.collect()
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn add_leg(&mut self, name: LegName, leg: Leg, now: Instant) {
        let segment = Segment { leg, entries: BTreeMap::new(), queue: Queue::default() };
        self.segments.insert(name.clone(), segment);
        self.reconcile(&name, now);
    }

    fn remove_leg(&mut self, name: &LegName) {
        let Some(segment) = self.segments.remove(name) else { return };
        for (address, entry) in segment.entries {
            self.forget(name, address, &entry);
        }
    }

    /// Brings the entries of a leg in line with what is wanted there.
    fn reconcile(&mut self, leg: &LegName, now: Instant) {
        let wanted = self.wanted.get(leg).cloned().unwrap_or_default();
        self.drop_unwanted(leg, &wanted);
        for (address, wanted) in wanted {
            let known = self.segments.get_mut(leg).and_then(|s| s.entries.get_mut(&address));
            match known {
                Some(entry) if entry.wanted == wanted => {}
                Some(entry) => {
                    entry.wanted = wanted;
                    self.step(leg, address, Input::Hold, now);
                }
                None => self.add_entry(leg, address, wanted, now),
            }
        }
    }

    fn drop_unwanted(&mut self, leg: &LegName, wanted: &BTreeMap<IpAddr, Wanted>) {
        let Some(segment) = self.segments.get_mut(leg) else { return };
        let dropped: Vec<_> =
            segment.entries.extract_if(.., |address, _| !wanted.contains_key(address)).collect();
        for (address, entry) in dropped {
            self.forget(leg, address, &entry);
        }
    }

    fn add_entry(&mut self, leg: &LegName, address: IpAddr, wanted: Wanted, now: Instant) {
        let mut outputs = Vec::new();
        let mut scene = Scene { now, settings: &self.settings, outputs: &mut outputs };
        let mut entry = Entry::new(address, leg, wanted, &mut scene);
        self.epochs += 1;
        entry.epoch = self.epochs;
        if let Some(due) = entry.due() {
            self.timers.insert((due, leg.clone(), address));
        }
        let Some(segment) = self.segments.get_mut(leg) else { return };
        segment.entries.insert(address, entry);
        self.changed.insert((address, leg.clone()));
        self.carry_out(leg, address, outputs, now);
    }

    /// Takes an entry out of the books; it is no longer among the segment's.
    fn forget(&mut self, leg: &LegName, address: IpAddr, entry: &Entry) {
        if let Some(due) = entry.due() {
            self.timers.remove(&(due, leg.clone(), address));
        }
        self.changed.insert((address, leg.clone()));
        if entry.is_announced() {
            self.events.push_back(Event::Silent { address, leg: leg.clone() });
        }
    }

    fn each(&mut self, leg: &LegName, input: &Input, now: Instant) {
        let Some(segment) = self.segments.get(leg) else { return };
        let addresses: Vec<_> = segment.entries.keys().copied().collect();
        for address in addresses {
            self.step(leg, address, input.clone(), now);
        }
    }

    fn claimed(&mut self, leg: &LegName, claimed: Claimed, now: Instant) {
        let Some(entry) = self.segments.get(leg).and_then(|s| s.entries.get(&claimed.address))
        else {
            return;
        };
        if claimed.nonce == Some(entry.dice.nonce()) {
            self.counters.own_frames += 1;
            return;
        }
        self.counters.conflicts += 1;
        self.step(leg, claimed.address, Input::Claim(claimed.claim, claimed.mac), now);
    }

    fn asked(&mut self, leg: &LegName, asked: Asked, now: Instant) {
        let entry = self.segments.get(leg).and_then(|s| s.entries.get(&asked.address));
        if entry.is_some_and(Entry::is_announced) {
            self.counters.requests += 1;
            self.step(leg, asked.address, Input::Asked(asked.answer), now);
        }
    }

    /// One step of one entry, its timer and its outputs.
    fn step(&mut self, leg: &LegName, address: IpAddr, input: Input, now: Instant) {
        let Some(entry) = self.segments.get_mut(leg).and_then(|s| s.entries.get_mut(&address))
        else {
            return;
        };
        let mut outputs = Vec::new();
        if let Some(due) = entry.due() {
            self.timers.remove(&(due, leg.clone(), address));
        }
        let before = entry.wire();
        entry.handle(input, &mut Scene { now, settings: &self.settings, outputs: &mut outputs });
        if entry.wire() != before {
            self.changed.insert((address, leg.clone()));
        }
        if let Some(due) = entry.due() {
            self.timers.insert((due, leg.clone(), address));
        }
        self.carry_out(leg, address, outputs, now);
    }

    fn carry_out(&mut self, leg: &LegName, address: IpAddr, outputs: Vec<Output>, now: Instant) {
        for output in outputs {
            let done = match output {
                Output::Probe => self.queue_probe(leg, address),
                Output::Announce => self.queue_announcement(leg, address),
                Output::Answer(answer) => self.queue_answer(leg, address, answer, now),
                Output::Hush => self.hush(leg, address),
                Output::Tell(news) => self.tell(leg, address, news),
            };
            match done {
                Ok(()) => {}
                Err(Refused::Limited) => self.counters.answers_limited += 1,
                Err(Refused::Full) => self.counters.overflows += 1,
            }
        }
    }

    fn of(&mut self, leg: &LegName, address: IpAddr) -> Option<(&mut Entry, &mut Queue)> {
        let segment = self.segments.get_mut(leg)?;
        Some((segment.entries.get_mut(&address)?, &mut segment.queue))
    }

    /// The solicited-node group is joined first, so that a switch that snoops lets the answers in.
    fn queue_probe(&mut self, leg: &LegName, address: IpAddr) -> Result<(), Refused> {
        let Some((entry, queue)) = self.of(leg, address) else { return Ok(()) };
        match address {
            IpAddr::V4(v4) => queue.push(address, entry.epoch, [Message::ArpProbe(v4)]),
            IpAddr::V6(v6) => {
                let probe = Message::NdpProbe(v6, entry.dice.nonce());
                queue.push(address, entry.epoch, [Message::Join(v6), probe])
            }
        }
    }

    /// Both forms for ARP, since receivers differ.
    fn queue_announcement(&mut self, leg: &LegName, address: IpAddr) -> Result<(), Refused> {
        let Some((entry, queue)) = self.of(leg, address) else { return Ok(()) };
        let messages = match address {
            IpAddr::V4(v4) => [Operation::Request, Operation::Reply]
                .map(|form| Message::ArpAnnouncement(v4, form)),
            IpAddr::V6(v6) => [Message::Join(v6), Message::NdpAnnouncement(v6)],
        };
        queue.push(address, entry.epoch, messages)
    }

    fn queue_answer(
        &mut self,
        leg: &LegName,
        address: IpAddr,
        answer: Frame,
        now: Instant,
    ) -> Result<(), Refused> {
        let Some((entry, queue)) = self.of(leg, address) else { return Ok(()) };
        queue.push_answer(address, entry.epoch, answer, now)
    }

    fn hush(&mut self, leg: &LegName, address: IpAddr) -> Result<(), Refused> {
        self.epochs += 1;
        let epoch = self.epochs;
        if let Some((entry, _)) = self.of(leg, address) {
            entry.epoch = epoch;
        }
        Ok(())
    }

    fn tell(&mut self, leg: &LegName, address: IpAddr, news: News) -> Result<(), Refused> {
        if matches!(news, News::Conflict(_, _, Phase::InUse)) {
            self.counters.defences += 1;
        }
        self.events.push_back(news.at(address, leg.clone()));
        Ok(())
    }
}

impl Counters {
    fn count(&mut self, sent: &Message) {
        match sent {
            Message::ArpProbe(_) | Message::NdpProbe(..) => self.probes += 1,
            Message::ArpAnnouncement(..) | Message::NdpAnnouncement(_) => self.announcements += 1,
            Message::Answer(_) => self.answers += 1,
            Message::Join(_) => {}
        }
    }
}
