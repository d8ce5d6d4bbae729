//! Single rules by hand, and many hosts over a network that loses, delays and parts them.

use proptest::prelude::*;

use super::*;

const DETECTION: Duration = Duration::from_millis(500);
const GRACE: Duration = Duration::from_secs(2);
const SETTINGS: Settings = Settings { detection: DETECTION, grace: GRACE };

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn version(term: u64, edition: u64) -> Version {
    Version { term, edition }
}

fn writes(term: u64) -> Heartbeat {
    let standing = Standing::Writes;
    Heartbeat { term, standing, hears: None, version: version(term, 1), fit: true }
}

fn follows(term: u64, hears: Option<Rank>, version: Version) -> Heartbeat {
    Heartbeat { term, standing: Standing::Follows, hears, version, fit: true }
}

fn starting() -> Heartbeat {
    Heartbeat {
        term: 0,
        standing: Standing::Starting,
        hears: None,
        version: Version::default(),
        fit: true,
    }
}

fn fresh(me: Rank, now: Instant) -> Election {
    Election::new(SETTINGS, me, 2, Stored::default(), now)
}

/// Time passes from one moment to another, and the host runs all the while.
fn pass(election: &mut Election, from: Instant, to: Instant) {
    let mut now = from;
    while now < to {
        election.handle_timeout(now);
        now += ms(50);
    }
    election.handle_timeout(to);
}

#[test]
fn a_host_that_was_never_heard_may_be_alive_until_the_grace_is_over() {
    let now = Instant::now();
    let mut election = fresh(1, now);
    pass(&mut election, now, now + GRACE - ms(1));
    assert_eq!(election.role(), Role::Starting);
    assert_eq!(election.next_deadline(now), Some(now + GRACE));
    election.handle_timeout(now + GRACE);
    assert_eq!(election.role(), Role::Writer { term: 1 });
}

#[test]
fn of_two_that_start_together_the_better_rank_writes() {
    let now = Instant::now();
    let (mut first, mut second) = (fresh(0, now), fresh(1, now));
    first.handle_heartbeat(1, starting(), now);
    second.handle_heartbeat(0, starting(), now);
    assert_eq!(first.role(), Role::Writer { term: 1 });
    assert_eq!(second.role(), Role::Follower { writer: None });
    second.handle_heartbeat(0, first.heartbeat(now), now);
    assert_eq!(second.role(), Role::Follower { writer: Some(0) });
}

/// After a blackout the assignments that are newest go on, not those of the host that boots first.
#[test]
fn of_two_that_start_together_the_newest_assignments_go_on() {
    let now = Instant::now();
    let mut first = fresh(0, now);
    first.handle_heartbeat(1, Heartbeat { version: version(4, 2), term: 4, ..starting() }, now);
    assert_eq!(first.role(), Role::Follower { writer: None });
    let stored = Stored { term: 4, wrote: false, version: version(4, 2) };
    let mut second = Election::new(SETTINGS, 1, 2, stored, now);
    second.handle_heartbeat(0, first.heartbeat(now), now);
    assert_eq!(second.role(), Role::Writer { term: 5 });
}

#[test]
fn a_writer_that_is_alive_keeps_it_whatever_its_rank() {
    let now = Instant::now();
    let mut first = fresh(0, now);
    first.handle_heartbeat(1, writes(3), now);
    assert_eq!(first.role(), Role::Follower { writer: Some(1) });
    for beat in 1..100 {
        let at = now + ms(100) * beat;
        first.handle_timeout(at - ms(1));
        first.handle_heartbeat(1, writes(3), at);
        assert_eq!(first.role(), Role::Follower { writer: Some(1) });
    }
}

#[test]
fn a_writer_that_falls_silent_is_followed_by_the_next_at_the_time_of_detection() {
    let now = Instant::now();
    let mut second = fresh(1, now);
    second.handle_heartbeat(0, writes(3), now);
    pass(&mut second, now, now + DETECTION - ms(1));
    assert_eq!(second.role(), Role::Follower { writer: Some(0) });
    assert_eq!(second.next_deadline(now), Some(now + DETECTION));
    second.handle_timeout(now + DETECTION);
    assert_eq!(second.role(), Role::Writer { term: 4 });
}

#[test]
fn two_that_wrote_apart_agree_on_meeting() {
    let now = Instant::now();
    let alone = |me, term| {
        let stored = Stored { term, ..Stored::default() };
        let mut election = Election::new(SETTINGS, me, 2, stored, now);
        pass(&mut election, now, now + GRACE);
        election
    };
    let later = now + GRACE + ms(10);
    for (terms, writer) in [((3, 3), 0), ((3, 4), 1), ((4, 3), 0)] {
        let (mut first, mut second) = (alone(0, terms.0), alone(1, terms.1));
        let said = (first.heartbeat(later), second.heartbeat(later));
        first.handle_heartbeat(1, said.1, later);
        second.handle_heartbeat(0, said.0, later);
        assert_eq!((first.writer(), second.writer()), (Some(writer), Some(writer)), "{terms:?}");
    }
}

/// A restart that is quicker than the detection changes nothing.
#[test]
fn a_writer_that_is_back_before_it_was_missed_goes_on() {
    let now = Instant::now();
    let mut second = fresh(1, now);
    second.handle_heartbeat(0, writes(3), now);
    let stored = Stored { term: 3, wrote: true, version: version(3, 1) };
    let back = now + ms(300);
    pass(&mut second, now, back);
    let mut first = Election::new(SETTINGS, 0, 2, stored, back);
    second.handle_heartbeat(0, first.heartbeat(back), back);
    assert_eq!(
        second.role(),
        Role::Follower { writer: Some(0) },
        "it was taken for one that resigned"
    );
    first.handle_heartbeat(1, second.heartbeat(back), back);
    assert_eq!(first.role(), Role::Writer { term: 3 });
    // It was restarted once more, and stays away: counted from what it wrote last.
    second.handle_heartbeat(0, starting(), back + ms(100));
    pass(&mut second, back + ms(100), now + DETECTION);
    assert_eq!(second.role(), Role::Writer { term: 4 });
}

#[test]
fn a_writer_that_is_back_after_it_was_missed_follows() {
    let now = Instant::now();
    let stored = Stored { term: 3, wrote: true, version: version(3, 1) };
    let mut first = Election::new(SETTINGS, 0, 2, stored, now);
    first.handle_heartbeat(1, writes(4), now);
    assert_eq!(first.role(), Role::Follower { writer: Some(1) });
}

/// Restarted with nobody to hear: it goes on in its term, so that whoever took over meanwhile is newer.
#[test]
fn a_writer_that_is_back_and_hears_nobody_goes_on_in_its_term() {
    let now = Instant::now();
    let stored = Stored { term: 3, wrote: true, version: version(3, 1) };
    let mut first = Election::new(SETTINGS, 0, 2, stored, now);
    pass(&mut first, now, now + GRACE);
    assert_eq!(first.role(), Role::Writer { term: 3 });
    first.handle_heartbeat(1, writes(4), now + GRACE);
    assert_eq!(first.role(), Role::Follower { writer: Some(1) });
}

/// A member with another key may be the writer: of two that do not understand each other only the one
/// that wrote last goes on.
#[test]
fn whoever_meets_a_member_with_another_key_does_not_begin_to_write() {
    let now = Instant::now();
    for (wrote, role) in [(false, Role::Starting), (true, Role::Writer { term: 3 })] {
        let stored = Stored { term: 3, wrote, version: version(3, 1) };
        let mut election = Election::new(SETTINGS, 1, 2, stored, now);
        let later = now + GRACE;
        pass(&mut election, now, later - ms(1));
        election.handle_refused(0, later);
        assert_eq!(election.role(), role);
        pass(&mut election, later, later + GRACE);
        assert_ne!(election.role(), Role::Starting, "it is not met any more");
    }
}

/// One that had the key has said the newest term that there is: the others understand one another still.
#[test]
fn a_term_beyond_all_counting_parts_nobody() {
    let now = Instant::now();
    let (mut first, mut second) = (fresh(0, now), fresh(1, now));
    let last = follows(MAX_COUNTER, None, Version::default());
    first.handle_heartbeat(1, last, now);
    second.handle_heartbeat(0, last, now);
    let later = now + GRACE * 2;
    pass(&mut first, now, later);
    pass(&mut second, now, later);
    let heard = |of: &Election| {
        let said = of.heartbeat(later).encode(|_| None);
        Heartbeat::decode(&said, |_| None).expect("a heartbeat that is understood")
    };
    let said = [heard(&first), heard(&second)];
    first.handle_heartbeat(1, said[1], later);
    second.handle_heartbeat(0, said[0], later);
    assert_eq!(first.role(), Role::Writer { term: MAX_COUNTER });
    assert_eq!(second.role(), Role::Follower { writer: Some(0) });
}

#[test]
fn a_drained_writer_hands_over_where_there_is_another() {
    let now = Instant::now();
    let mut first = fresh(0, now);
    first.handle_heartbeat(1, follows(1, None, Version::default()), now);
    assert_eq!(first.role(), Role::Writer { term: 2 });
    first.handle_fitness(false, now);
    assert_eq!(first.role(), Role::Follower { writer: None });
    let mut second = fresh(1, now);
    second.handle_heartbeat(0, first.heartbeat(now), now);
    assert_eq!(second.role(), Role::Writer { term: 3 });
    // Left alone, somebody has to write, drained or not.
    pass(&mut first, now, now + GRACE);
    assert_eq!(first.role(), Role::Writer { term: 3 });
}

/// A busy machine, or one that was paused: what the others said waits to be read.
#[test]
fn a_follower_that_did_not_run_takes_nobody_for_dead() {
    let now = Instant::now();
    let mut second = fresh(1, now);
    second.handle_heartbeat(0, writes(3), now);
    let awake = now + DETECTION * 9;
    second.handle_timeout(awake);
    assert_eq!(second.role(), Role::Follower { writer: Some(0) });
    pass(&mut second, awake, awake + DETECTION);
    assert_eq!(second.role(), Role::Writer { term: 4 });
}

/// The same for a writer: another may have taken over, and says so, or has not noticed.
#[test]
fn a_writer_that_did_not_run_asks_before_it_goes_on() {
    let now = Instant::now();
    for (said, role) in [
        (writes(2), Role::Follower { writer: Some(1) }),
        (follows(1, Some(0), version(1, 1)), Role::Writer { term: 1 }),
    ] {
        let mut first = fresh(0, now);
        first.handle_heartbeat(1, starting(), now);
        assert_eq!(first.role(), Role::Writer { term: 1 });
        let awake = now + DETECTION;
        first.handle_timeout(awake);
        assert_eq!(first.role(), Role::Starting);
        first.handle_heartbeat(1, said, awake);
        assert_eq!(first.role(), role);
    }
}

/// A hears B, B hears C, A and C do not hear each other: A takes B's word for it.
#[test]
fn a_writer_that_only_another_hears_is_not_replaced() {
    let now = Instant::now();
    let mut first = Election::new(SETTINGS, 0, 3, Stored::default(), now);
    let at = now + GRACE;
    pass(&mut first, now, at - ms(1));
    first.handle_heartbeat(1, follows(3, Some(2), version(3, 1)), at);
    assert_eq!(first.role(), Role::Follower { writer: Some(2) });
    first.handle_heartbeat(1, follows(3, None, Version::default()), at + ms(100));
    assert_eq!(first.role(), Role::Writer { term: 4 });
}

// --- a network ---------------------------------------------------------------------------------

const BEAT: u64 = 100;
const DELAY_MOST: u64 = 30;

/// One host: what runs, and what is on its disk.
struct Host {
    election: Option<Election>,
    stored: Stored,
    /// Since when its role is what it is.
    since: u64,
}

struct Network {
    hosts: Vec<Host>,
    /// Since when each pair hears each other; `None` = it does not.
    linked: BTreeMap<(Rank, Rank), Option<u64>>,
    /// Under way: when it arrives, from, to, what.
    flying: Vec<(u64, Rank, Rank, Heartbeat)>,
    zero: Instant,
    now: u64,
    dice: u64,
}

impl Network {
    fn new(count: usize, seed: u64) -> Self {
        let zero = Instant::now();
        let pairs = (0..count).flat_map(|a| (0..a).map(move |b| (b, a)));
        let mut network = Self {
            hosts: Vec::new(),
            linked: pairs.map(|pair| (pair, Some(0))).collect(),
            flying: Vec::new(),
            zero,
            now: 0,
            dice: seed,
        };
        for _ in 0..count {
            network.hosts.push(Host { election: None, stored: Stored::default(), since: 0 });
        }
        (0..count).for_each(|rank| network.start(rank));
        network
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.dice >> 33) % sides
    }

    fn clock(&self) -> Instant {
        self.zero + ms(self.now)
    }

    fn start(&mut self, rank: Rank) {
        let (now, count) = (self.clock(), self.hosts.len());
        let host = &mut self.hosts[rank];
        if host.election.is_none() {
            host.election = Some(Election::new(SETTINGS, rank, count, host.stored, now));
            host.since = self.now;
        }
    }

    fn kill(&mut self, rank: Rank) {
        self.hosts[rank].election = None;
        self.flying.retain(|(_, from, to, _)| *from != rank && *to != rank);
    }

    fn link(&mut self, a: Rank, b: Rank, up: bool) {
        let now = self.now;
        let Some(link) = self.linked.get_mut(&(a.min(b), a.max(b))) else { return };
        *link = up.then_some(link.unwrap_or(now));
        if !up {
            let pair = [(a, b), (b, a)];
            self.flying.retain(|(_, from, to, _)| !pair.contains(&(*from, *to)));
        }
    }

    fn say(&mut self, from: Rank) {
        let now = self.clock();
        let Some(election) = &self.hosts[from].election else { return };
        let heartbeat = election.heartbeat(now);
        for to in 0..self.hosts.len() {
            if to != from && self.linked[&(from.min(to), from.max(to))].is_some() {
                let arrives = self.now + 1 + self.roll(DELAY_MOST);
                self.flying.push((arrives, from, to, heartbeat));
            }
        }
    }

    /// Something happens to a host; its disk keeps what must be kept, and a new role is told at once.
    fn act(&mut self, rank: Rank, input: impl FnOnce(&mut Election, Instant)) {
        let (clock, now) = (self.clock(), self.now);
        let host = &mut self.hosts[rank];
        let Some(election) = &mut host.election else { return };
        let before = election.role();
        input(election, clock);
        let role = election.role();
        if let (Role::Writer { term }, true) = (role, role != before) {
            let edition = host.stored.version.edition + 1;
            election.handle_version(Version { term, edition });
        }
        let wrote = matches!(role, Role::Writer { .. });
        host.stored = Stored { term: election.term(), wrote, version: election.version };
        if role != before {
            host.since = now;
            self.say(rank);
        }
    }

    /// A millisecond.
    fn tick(&mut self) {
        self.now += 1;
        let (due, later) = std::mem::take(&mut self.flying)
            .into_iter()
            .partition(|(arrives, ..)| *arrives <= self.now);
        self.flying = later;
        let due: Vec<(u64, Rank, Rank, Heartbeat)> = due;
        for (_, from, to, heartbeat) in due {
            self.act(to, |election, now| {
                election.handle_heartbeat(from, heartbeat, now);
                // Its assignments come on the same link.
                if election.writer() == Some(from) && heartbeat.standing == Standing::Writes {
                    election.handle_version(heartbeat.version);
                }
            });
        }
        for rank in 0..self.hosts.len() {
            self.act(rank, Election::handle_timeout);
            if (self.now + 7 * rank as u64).is_multiple_of(BEAT) {
                self.write(rank);
                self.say(rank);
            }
        }
        self.assert_one_writer_among_those_that_hear_each_other();
    }

    /// Now and then a writer assigns something.
    fn write(&mut self, rank: Rank) {
        let something = self.roll(3) == 0;
        self.act(rank, |election, _| {
            if let (Role::Writer { term }, true) = (election.role(), something) {
                let edition = election.version.edition + 1;
                election.handle_version(Version { term, edition });
            }
        });
    }

    fn writers(&self) -> Vec<Rank> {
        let writes = |rank: &Rank| {
            let role = self.hosts[*rank].election.as_ref().map(Election::role);
            matches!(role, Some(Role::Writer { .. }))
        };
        (0..self.hosts.len()).filter(writes).collect()
    }

    /// Two that have heard each other since do not both write. Only while a word is under way they may.
    fn assert_one_writer_among_those_that_hear_each_other(&self) {
        let writers = self.writers();
        for a in &writers {
            for b in writers.iter().filter(|b| *b > a) {
                let Some(linked) = self.linked[&(*a, *b)] else { continue };
                let both = self.hosts[*a].since.max(self.hosts[*b].since);
                let told = (linked + BEAT + DELAY_MOST + 1).max(both + DELAY_MOST + 1);
                assert!(self.now <= told, "{a} and {b} both write at {} ms", self.now);
            }
        }
    }

    fn run(&mut self, span: u64) {
        (0..span).for_each(|_| self.tick());
    }

    /// Something that happens to hosts and links.
    fn fault(&mut self) {
        let count = self.hosts.len();
        let rank = usize::try_from(self.roll(count as u64)).unwrap();
        let other = usize::try_from(self.roll(count as u64)).unwrap();
        match self.roll(7) {
            0 => self.kill(rank),
            1 | 2 => self.start(rank),
            3 => self.link(rank, other, false),
            4 => self.link(rank, other, true),
            5 => (0..count)
                .filter(|peer| *peer != rank)
                .for_each(|peer| self.link(rank, peer, false)),
            _ => {
                let fit = self.roll(2) == 0;
                self.act(rank, |election, now| election.handle_fitness(fit, now));
            }
        }
    }

    /// Everything works again.
    fn mend(&mut self) {
        for a in 0..self.hosts.len() {
            self.start(a);
            self.act(a, |election, now| election.handle_fitness(true, now));
            (0..a).for_each(|b| self.link(a, b, true));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Hosts die and come back, links break and heal, hosts are drained, at any moment. Those that hear
    /// each other have one writer at most all the time, and when the faults are over all have the same.
    #[test]
    fn one_writes_among_those_that_hear_each_other(count in 2_usize..5, seed in any::<u64>(), faults in 0_u64..40) {
        let mut network = Network::new(count, seed);
        for _ in 0..faults {
            let pause = network.roll(900);
            network.run(pause);
            network.fault();
        }
        network.mend();
        network.run(4_000);
        let writers = network.writers();
        prop_assert_eq!(writers.len(), 1, "{:?}", writers);
        for host in &network.hosts {
            prop_assert_eq!(host.election.as_ref().and_then(Election::writer), Some(writers[0]));
        }
        network.run(3_000);
        prop_assert_eq!(network.writers(), writers, "nothing happened, and another writes");
    }

    /// All hosts go down one after the other and come back in any order within the grace: whoever has
    /// the newest assignments goes on with them.
    #[test]
    fn after_a_blackout_the_newest_assignments_go_on(count in 2_usize..5, seed in any::<u64>()) {
        let mut network = Network::new(count, seed);
        network.run(3_000);
        for _ in 0..count {
            let rank = usize::try_from(network.roll(count as u64)).unwrap();
            network.kill(rank);
            let pause = network.roll(2_000);
            network.run(pause);
        }
        (0..count).for_each(|rank| network.kill(rank));
        let newest = network.hosts.iter().map(|host| host.stored.version).max().unwrap();
        for rank in 0..count {
            let pause = network.roll(300);
            network.run(pause);
            let turn = usize::try_from(seed % count as u64).unwrap();
            network.start((rank + turn) % count);
        }
        network.run(2_600);
        let writers = network.writers();
        prop_assert_eq!(writers.len(), 1);
        let writer = &network.hosts[writers[0]];
        prop_assert!(writer.stored.version >= newest, "{:?} {newest:?}", writer.stored);
    }
}
