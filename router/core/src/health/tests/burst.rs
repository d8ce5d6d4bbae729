//! How fast a node leaves, on a clock of our own: probes take time, and are lost.

use proptest::prelude::*;

use super::*;

const MILLI: Duration = Duration::from_millis(1);
/// A burst: every probe runs out of patience, jittered by a tenth.
const BURST: Duration = Duration::from_millis(3 * 150 + 15 * 3);

/// The defaults of `[router.health]`.
fn defaults() -> config::Health {
    config::Health {
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        slow_start: Duration::ZERO,
        ..rules()
    }
}

/// How long a node takes to answer the probe with this number; `None` = it never does.
type Answers<'a> = &'a dyn Fn(&Target, usize) -> Option<Duration>;

/// A probe that is over when its time comes, with what will have come of it.
type UnderWay = (Target, Question, Result<(), Failure>);

/// Health with probes under way.
struct Road {
    health: Health,
    now: Duration,
    under_way: BTreeMap<(Duration, usize), UnderWay>,
    sent: Vec<(Duration, Target)>,
}

impl Road {
    fn new(rules: config::Health, nodes_watched: u8) -> Self {
        let mut road = Self {
            health: Health::new(rules),
            now: Duration::from_secs(100),
            under_way: BTreeMap::new(),
            sent: Vec::new(),
        };
        road.health.watch(&nodes(nodes_watched, &[30_080]), road.now);
        road
    }

    fn send(&mut self, probe: Probe, answers: Answers<'_>) {
        let number = self.sent.len();
        let taken = answers(&probe.target, number).filter(|taken| *taken < probe.patience);
        let over = self.now + taken.unwrap_or(probe.patience);
        let result = taken.map(|_| ()).ok_or(Failure::TimedOut);
        self.sent.push((self.now, probe.target.clone()));
        self.under_way.insert((over, number), (probe.target, probe.question, result));
    }

    /// Goes on until `end` or until `done`.
    fn run(&mut self, end: Duration, answers: Answers<'_>, done: impl Fn(&Self) -> bool) {
        while self.now < end && !done(self) {
            while let Some(probe) = self.health.poll_probe(self.now) {
                self.send(probe, answers);
            }
            let result = self.under_way.first_key_value().map(|((over, _), _)| *over);
            let due = self.health.next_deadline(self.now).map(|due| due.max(self.now + MILLI / 10));
            self.now = result.into_iter().chain(due).min().unwrap_or(end).min(end);
            while let Some(entry) = self.under_way.first_entry()
                && entry.key().0 <= self.now
            {
                let (target, question, result) = entry.remove();
                self.health.handle_result(&target, question, result, self.now);
            }
        }
    }

    fn fails(&self, last: u8) -> bool {
        self.health.node(node(last), self.now).state == BackendState::Unhealthy
    }

    /// Runs until a node is out of use; how long that took, at most a minute.
    fn until_out(&mut self, last: u8, answers: Answers<'_>) -> Duration {
        let since = self.now;
        self.run(since + SECOND * 60, answers, |road| road.fails(last));
        self.now - since
    }
}

fn prompt(_: &Target, _: usize) -> Option<Duration> {
    Some(MILLI)
}

fn dead(last: u8) -> impl Fn(&Target, usize) -> Option<Duration> {
    move |target, _| (*target != Target::Node(node(last))).then_some(MILLI)
}

proptest! {
    /// Whenever it dies, whatever the threshold: an interval, and the burst.
    #[test]
    fn without_traffic_a_dead_node_is_out_after_an_interval_and_the_burst(
        quiet in 3_000_u32..7_000,
        fall in 1_u32..6,
    ) {
        let mut road = Road::new(config::Health { fall, ..defaults() }, 3);
        road.run(road.now + MILLI * quiet, &prompt, |_| false);
        let took = road.until_out(2, &dead(2));
        let burst = Duration::from_millis(165) * fall;
        prop_assert!(took <= defaults().interval * 11 / 10 + burst, "{took:?}");
        prop_assert!(!road.fails(1) && !road.fails(3));
    }

    /// A signal needs no interval.
    #[test]
    fn with_traffic_a_dead_node_is_out_after_the_burst(quiet in 3_000_u32..7_000) {
        let mut road = Road::new(defaults(), 3);
        road.run(road.now + MILLI * quiet, &prompt, |_| false);
        // The last answer may be so fresh that the signal is a late one.
        let mut fresh = road.sent.iter().filter(|(_, target)| *target == Target::Node(node(2)));
        let fresh = fresh.next_back().is_some_and(|(at, _)| road.now < *at + CONFIRM + MILLI);
        if fresh {
            road.run(road.now + CONFIRM * 2, &prompt, |_| false);
        }
        road.health.suspect_node(node(2), road.now);
        let took = road.until_out(2, &dead(2));
        prop_assert!(took <= BURST, "{took:?}");
    }

    /// One probe lost, or two in a row of three: nothing happens, and the interval goes on.
    #[test]
    fn fewer_lost_probes_than_the_threshold_remove_nobody(lost in 1_usize..40, run in 1_usize..3) {
        let mut road = Road::new(defaults(), 1);
        let lost = lost..lost + run;
        let answers = |_: &Target, number: usize| (!lost.contains(&number)).then_some(MILLI);
        road.run(road.now + SECOND * 120, &answers, |road| road.fails(1));
        prop_assert!(!road.fails(1));
        prop_assert!(road.sent.len() > lost.end, "the lost probes were sent");
    }

    /// Patience follows the node: one that takes its time is not taken for dead.
    #[test]
    fn a_slow_node_is_waited_for(usual in 1_u32..240, slower in prop::collection::vec(1_u32..4, 16)) {
        let mut road = Road::new(defaults(), 1);
        let answers = |_: &Target, number: usize| {
            let times = if number == 0 { 1 } else { slower[number % slower.len()] };
            Some(MILLI * usual * times)
        };
        road.run(road.now + SECOND * 60, &answers, |road| road.fails(1));
        prop_assert!(!road.fails(1));
    }
}

#[test]
fn a_failure_is_confirmed_by_probes_that_do_not_wait_for_the_interval() {
    let mut road = Road::new(defaults(), 1);
    road.run(road.now + SECOND * 5, &prompt, |_| false);
    let before = road.sent.len();
    road.until_out(1, &dead(1));
    let burst: Vec<Duration> = road.sent[before..].iter().map(|(at, _)| *at).collect();
    assert_eq!(burst.len(), 3, "{burst:?}");
    let gaps: Vec<Duration> = burst.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps.iter().all(|gap| (MILLI * 100..=MILLI * 250).contains(gap)), "{gaps:?}");
}

/// A refusal comes at once; the probes that confirm it keep their distance all the same.
#[test]
fn refusals_are_confirmed_at_the_same_pace() {
    let mut bench = Bench::new(defaults());
    bench.watch(&nodes(1, &[30_080]));
    bench.run(SECOND * 3, |_, _| Ok(()));
    bench.asked.clear();
    bench.run(SECOND * 3, |_, _| Err(Failure::Status(503)));
    let times: Vec<Duration> = bench.asked.iter().take(3).map(|(at, ..)| *at).collect();
    assert!(times.windows(2).all(|two| two[1] - two[0] >= MILLI * 135), "{times:?}");
    assert!(times[2] - times[0] <= MILLI * 330, "{times:?}");
}

#[test]
fn a_node_comes_back_after_as_many_passes_as_it_takes_to_rise() {
    let mut road = Road::new(defaults(), 1);
    road.run(road.now + SECOND * 5, &prompt, |_| false);
    road.until_out(1, &dead(1));
    let before = road.sent.len();
    road.run(road.now + SECOND * 60, &prompt, |road| !road.fails(1));
    assert_eq!(road.sent.len() - before, 2);
}

/// Half of a hundred nodes die in one moment: bursts take turns within the budget.
#[test]
fn many_deaths_at_once_stay_within_the_budget() {
    let mut road = Road::new(defaults(), 100);
    road.run(road.now + SECOND * 10, &prompt, |_| false);
    let (died, before) = (road.now, road.sent.len());
    let answers = |target: &Target, _: usize| {
        let alive = matches!(target, Target::Node(IpAddr::V4(at)) if at.octets()[3] > 50);
        alive.then_some(MILLI)
    };
    road.run(died + SECOND * 10, &answers, |road| (1..=50).all(|last| road.fails(last)));
    let (took, sent) = (road.now - died, road.sent.len() - before);
    assert!((1..=50).all(|last| road.fails(last)));
    assert!(took <= SECOND * 4, "{took:?}");
    let most = 100 + took.as_millis() / 5;
    assert!(sent as u128 <= most, "{sent} probes, at most {most} within {took:?}");
}

/// A dead host is dead in both families, and traffic may be of one.
#[test]
fn where_one_family_fails_the_other_is_asked_at_once() {
    let mut subjects = nodes(2, &[30_080]);
    subjects.siblings = [(node(1), node(2)), (node(2), node(1))].into();
    let mut road = Road::new(defaults(), 0);
    road.health.watch(&subjects, road.now);
    road.run(road.now + SECOND * 5 + CONFIRM, &prompt, |_| false);
    road.run(road.now + CONFIRM * 2, &prompt, |_| false);
    road.health.suspect_node(node(1), road.now);
    let (since, both_dead) = (road.now, |_: &Target, _: usize| None);
    road.run(since + SECOND * 60, &both_dead, |road| road.fails(1) && road.fails(2));
    assert!(road.now - since <= BURST, "{:?}", road.now - since);
}
