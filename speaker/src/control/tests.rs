//! A control with a disk that may refuse, and crashes.

use std::{collections::BTreeMap, fs, path::PathBuf};

use prometheus_client::{encoding::text::encode, registry::Registry};
use roadstead_daemon::publish::{Published, published, run_number};
use roadstead_model::{
    Family, Location, Problem, Protocol, ServiceKey, SourceName,
    local::{Answering, Programmed},
    object::{AddressRequest, Families, Service, ServicePort, SourceRanges, TrafficPolicy},
    snapshot::SourceState,
};

use roadstead_model::report::Reports;
use tokio::sync::watch;

use super::*;
use crate::{legs::LegFacts, metrics::Metrics};

mod pools;

/// A directory that outlives the speaker, and what was ever published.
pub(crate) struct Machine {
    directory: tempfile::TempDir,
    control: Option<Control>,
    assignments: Option<Published<Assignments>>,
    reports: Option<watch::Receiver<Arc<Reports>>>,
    pub(crate) snapshot: Snapshot,
    said: BTreeMap<(u64, u64), Assignments>,
}

impl Machine {
    fn new() -> Self {
        Self::configured("")
    }

    /// With another beginning of its configuration, which may leave `[speaker]` open.
    pub(crate) fn configured(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let speaker = if config.contains("[speaker]") { "" } else { "[speaker]\n" };
        let config = format!("{config}{speaker}require_ready = false\n");
        let pool = "[[pool]]\nname = \"lan\"\naddresses = [\"192.0.2.10-192.0.2.12\"]\n";
        fs::write(directory.path().join("roadstead.toml"), config + pool).unwrap();
        fs::create_dir(directory.path().join("state")).unwrap();
        let mut snapshot = Snapshot::default();
        snapshot.sources.insert(SourceName::new("local"), SourceState::Unread);
        let mut machine = Self {
            directory,
            control: None,
            assignments: None,
            reports: None,
            snapshot,
            said: BTreeMap::new(),
        };
        machine.start();
        machine
    }

    /// Another pool `lan`, as by a reload.
    fn configure(&mut self, lan: &str) {
        let file = self.directory.path().join("roadstead.toml");
        let pool = format!("[[pool]]\nname = \"lan\"\n{lan}\n[speaker]\nrequire_ready = false\n");
        fs::write(&file, pool).unwrap();
        let config = roadstead_config::load_and_warn(&file).unwrap();
        self.control.as_mut().unwrap().config = Arc::new(config);
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn reports(&self) -> Arc<Reports> {
        self.reports.as_ref().unwrap().borrow().clone()
    }

    pub(crate) fn assignments(&self) -> Arc<Assignments> {
        self.assignments.as_ref().unwrap().current()
    }

    pub(crate) fn control(&mut self) -> &mut Control {
        self.control.as_mut().unwrap()
    }

    /// Ends the speaker at once, and starts the next.
    pub(crate) fn start(&mut self) {
        let config = roadstead_config::load_and_warn(&self.directory.path().join("roadstead.toml"));
        let first = Assignments { run: run_number(), ..Assignments::default() };
        let (assignments_in, assignments) = published(first);
        let (status, _) = published(report::nothing_yet());
        let store = Store::new(&self.state());
        let (reports_in, reports) = watch::channel(Arc::default());
        let reporter = Reporter::load(&self.state(), reports_in);
        self.reports = Some(reports);
        let config = config.unwrap().into();
        let control = Control::new(config, store, reporter, assignments_in, status).unwrap();
        self.control = Some(control);
        self.assignments = Some(assignments);
    }

    /// The disk refuses from now on, or takes what it is given again.
    pub(crate) fn refuse(&self, refuses: bool) {
        let away = self.directory.path().join("away");
        let (from, to) = if refuses { (self.state(), away) } else { (away, self.state()) };
        if from.exists() {
            fs::rename(from, to).unwrap();
        }
    }

    fn read_sources(&mut self) {
        self.snapshot.sources.insert(SourceName::new("local"), SourceState::Current);
    }

    pub(crate) fn step(&mut self) -> Arc<Assignments> {
        let control = self.control.as_mut().unwrap();
        control.snapshot = Arc::new(self.snapshot.clone());
        control.surroundings = Arc::new(one_leg());
        let wanted = control.step().wanted;
        announce(control, &wanted);
        let said = self.assignments.as_ref().unwrap().current();
        let before = self.said.insert((said.run, said.generation), (*said).clone());
        assert!(before.is_none_or(|before| before == *said), "two meanings: {said:?}");
        said
    }

    /// Why a Service is announced, or is not.
    fn reason(&self, name: &str) -> String {
        let status = self.control.as_ref().unwrap().status();
        let key = service(name).key;
        let found = status.services.iter().find(|service| service.service == key).unwrap();
        found.conditions.iter().find(|c| c.kind == "Announced").unwrap().reason.clone()
    }

    /// Steps until what the announcer does in answer to one is known to the next.
    pub(crate) fn settle(&mut self) -> Arc<Assignments> {
        self.step();
        self.step();
        self.step()
    }

    pub(crate) fn toggle(&mut self, name: &str) {
        let service = service(name);
        if self.snapshot.services.remove(&service.key).is_none() {
            self.snapshot.services.insert(service.key.clone(), Arc::new(service));
        }
    }
}

fn one_leg() -> Surroundings {
    let leg = LegFacts {
        name: "eth0".into(),
        ifindex: 2,
        mac: [2, 0, 0, 0, 0, 2],
        addresses: vec!["192.0.2.2/24".parse().unwrap()],
    };
    Surroundings { legs: vec![leg], ..Surroundings::default() }
}

/// What an announcer does that nobody on the wire disturbs.
fn announce(control: &mut Control, wanted: &[Wanted]) {
    let announced: BTreeSet<IpAddr> =
        wanted.iter().filter(|w| w.hold != Hold::Probe).map(|w| w.address).collect();
    for n in 10..=12 {
        let address = IpAddr::from([192, 0, 2, n]);
        let wire = announced.contains(&address).then_some(Wire::Announced);
        control.see(Seen::Wire(address, "eth0".into(), wire));
    }
}

pub(crate) fn service(name: &str) -> Service {
    Service {
        key: ServiceKey::new(&SourceName::new("local"), "default", name),
        uid: None,
        labels: BTreeMap::new(),
        class: None,
        request: AddressRequest::default(),
        families: Families::Single(Family::V4),
        ports: vec![ServicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: Some(30000),
        }],
        source_ranges: SourceRanges::Any,
        traffic_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        health_check: None,
        affinity: None,
        status_addresses: Vec::new(),
        guarded: true,
        warnings: Vec::new(),
    }
}

/// Changes, drains, a disk that refuses at times, crashes at any moment. Withdrawals are published
/// although the disk refuses, and a crash then forgets the numbers that they had.
#[test]
fn a_number_of_a_run_never_means_two_things() {
    let mut reused = 0;
    for seed in 1..=10_u64 {
        let mut machine = Machine::new();
        machine.read_sources();
        let mut dice = seed;
        for _ in 0..60 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let name = ["a", "b", "c", "d"][usize::try_from((dice >> 40) % 4).unwrap()];
            match (dice >> 33) % 8 {
                0..=2 => machine.toggle(name),
                3 => machine.control.as_mut().unwrap().drained ^= true,
                4 | 5 => machine.refuse(true),
                6 => machine.refuse(false),
                _ => {
                    machine.refuse(false);
                    machine.start();
                }
            }
            machine.step();
        }
        let numbers: BTreeSet<u64> = machine.said.keys().map(|(_, number)| *number).collect();
        reused += machine.said.len() - numbers.len();
    }
    assert!(reused > 0, "no crash forgot a number: nothing was tried");
}

#[test]
fn an_empty_ledger_is_told_once_the_sources_were_read() {
    let mut machine = Machine::new();
    assert_eq!(machine.step().generation, 0, "told before anything is known");
    machine.read_sources();
    let said = machine.step();
    assert!(said.generation > 0 && said.vips.is_empty(), "{said:?}");
    assert_eq!(machine.step().generation, said.generation, "told again without need");
}

#[test]
fn a_disk_that_refuses_is_told_with_its_cause_and_what_it_means() {
    let mut machine = Machine::new();
    machine.read_sources();
    machine.toggle("a");
    machine.refuse(true);
    assert!(machine.step().vips.is_empty(), "published, and not on the disk");
    let status = machine.control.as_ref().unwrap().status();
    let told =
        &status.daemon.conditions.iter().find(|c| c.reason == "DiskRefuses").unwrap().message;
    assert!(told.contains("ledger.json") && told.contains("No such file"), "{told}");
    assert!(told.ends_with(WHILE_THE_DISK_REFUSES), "{told}");
    machine.refuse(false);
    assert_eq!(machine.step().vips.len(), 1);
    let status = machine.control.as_ref().unwrap().status();
    assert!(status.daemon.conditions.iter().all(|c| c.reason != "DiskRefuses"));
}

#[test]
fn a_change_of_the_ledger_alone_is_written() {
    let mut machine = Machine::new();
    machine.read_sources();
    machine.toggle("a");
    machine.step();
    let mut shared = service("a");
    shared.request.sharing_key = Some("front".into());
    machine.snapshot.services.insert(shared.key.clone(), Arc::new(shared));
    machine.step();
    let ledger = fs::read_to_string(machine.state().join("ledger.json")).unwrap();
    assert!(ledger.contains("\"sharing_key\":\"front\""), "{ledger}");
}

/// A crash while the disk refuses: what the disk holds is announced, what is deleted is withdrawn,
/// and what is new waits.
#[test]
fn a_speaker_that_starts_on_a_disk_that_refuses_says_what_the_disk_holds() {
    let mut machine = Machine::new();
    machine.read_sources();
    machine.toggle("a");
    machine.toggle("b");
    machine.settle();
    machine.start();
    machine.refuse(true);
    let said = machine.settle();
    assert_eq!(answered(&said), ["192.0.2.10", "192.0.2.11"], "{said:?}");
    machine.toggle("a");
    machine.toggle("c");
    let said = machine.settle();
    assert_eq!(answered(&said), ["192.0.2.11"], "{said:?}");
    assert_eq!(said.services.len(), 1, "what is new waits: {said:?}");
    assert_eq!(machine.reason("c"), "DiskRefuses");
    assert_eq!(machine.reason("b"), "Probed");
    machine.control.as_mut().unwrap().drained = true;
    assert!(answered(&machine.settle()).is_empty(), "silence needs no disk");
}

/// The ledger alone says what is held: without the answers a restart probes, and announces.
#[test]
fn what_the_ledger_got_through_is_announced_over_a_crash_whatever_became_of_the_answers() {
    let mut machine = Machine::new();
    machine.read_sources();
    fs::create_dir(machine.state().join("answers.json")).unwrap();
    machine.toggle("a");
    assert_eq!(answered(&machine.settle()), ["192.0.2.10"]);
    assert!(machine.control.as_ref().unwrap().store.is_behind(), "the answers were written");
    machine.start();
    assert_eq!(answered(&machine.settle()), ["192.0.2.10"]);
}

/// A router that was asked to answer and has not said yet that it does may do so any moment.
#[test]
fn silent_is_what_the_router_has_applied() {
    let mut machine = Machine::new();
    machine.read_sources();
    machine.toggle("web");
    let asked = machine.settle();
    assert!(asked.vips.iter().any(|vip| !vip.answer_on.is_empty()), "{asked:?}");
    let heard = |applied, answering: &[Answering]| Heard {
        programmed: Some(Arc::new(Programmed {
            applied,
            answering: answering.to_vec(),
            ..Programmed::default()
        })),
        connected: true,
    };
    let before = asked.generation - 1;
    let control = machine.control.as_mut().unwrap();
    (control.heard, control.drained) = (heard(before, &[]), true);
    let drained = machine.settle().generation;
    let answering = Answering { address: [192, 0, 2, 10].into(), legs: vec!["eth0".into()] };
    for (applied, answering, silent) in [
        (before, vec![], false),
        (asked.generation, vec![answering.clone()], false),
        (drained, vec![answering], false),
        (drained, vec![], true),
    ] {
        let control = machine.control.as_mut().unwrap();
        control.heard = heard(applied, &answering);
        assert_eq!(control.is_silent(), silent, "{applied} {answering:?}");
    }
}

/// A step tells when an address has cooled down, so that who waits is served without an edit.
#[test]
fn a_step_tells_when_to_step_again() {
    let cooling = "addresses = [\"192.0.2.10\"]\ncool_down = \"1h\"\n";
    let mut machine = Machine::new();
    machine.configure(cooling);
    machine.read_sources();
    machine.toggle("a");
    machine.settle();
    machine.toggle("a");
    machine.toggle("b");
    machine.settle();
    let control = machine.control.as_mut().unwrap();
    let next = control.step().next.expect("a time");
    let now = control.clock.now();
    assert!((now + 3_590..=now + 3_601).contains(&next), "{next} is not an hour after {now}");
    machine.configure(&cooling.replace("1h", "0s"));
    machine.settle();
    assert_eq!(answered(&machine.settle()), ["192.0.2.10"]);
    assert_eq!(machine.control.as_mut().unwrap().step().next, None);
}

#[test]
fn an_operator_releases_a_reservation_and_it_is_on_the_disk() {
    let mut machine = Machine::new();
    machine.read_sources();
    let mut web = service("a");
    web.request.reservation = Some("front".into());
    machine.snapshot.services.insert(web.key.clone(), Arc::new(web));
    machine.settle();
    let control = machine.control.as_mut().unwrap();
    assert!(control.give_up("default/front").unwrap_err().contains("in use by local/default/a"));
    assert!(control.give_up("default/none").unwrap_err().contains("nothing is kept"));
    machine.toggle("a");
    machine.settle();
    machine.start();
    machine.settle();
    let control = machine.control.as_mut().unwrap();
    let kept = control.status().reservations.clone();
    assert_eq!((&*kept[0].name, kept[0].r#for.as_str()), ("front", "local/default"));
    assert!(control.give_up("default/front").unwrap().contains("192.0.2.10"));
    machine.settle();
    let ledger = fs::read_to_string(machine.state().join("ledger.json")).unwrap();
    assert!(!ledger.contains("kept"), "{ledger}");
    assert!(machine.control.as_ref().unwrap().status().reservations.is_empty());
}

fn answered(said: &Assignments) -> Vec<String> {
    let answered = said.vips.iter().filter(|vip| !vip.answer_on.is_empty());
    answered.map(|vip| vip.address.to_string()).collect()
}

#[test]
fn the_gauges_say_what_the_status_says() {
    let mut registry = Registry::with_prefix("roadstead");
    let metrics = Metrics::register(&mut registry);
    let mut machine = Machine::new();
    machine.read_sources();
    ["a", "b", "c", "d"].into_iter().for_each(|name| machine.toggle(name));
    machine.settle();
    let assert_told = |machine: &Machine, samples: &[(&str, u32)]| {
        metrics.note(machine.control.as_ref().unwrap());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for (name, value) in samples {
            let line = format!("\nroadstead_{name} {value}\n");
            assert!(text.contains(&line), "no {line}in\n{text}");
        }
    };
    let samples = [
        ("services{state=\"announced\"}", 3),
        ("services{state=\"allocated\"}", 0),
        ("services{state=\"refused\"}", 1),
        ("pool_addresses_used{pool=\"lan\"}", 3),
        ("source_problems", 0),
        ("config_stale", 0),
        ("router_connected", 0),
        ("drained", 0),
    ];
    assert_told(&machine, &samples);

    let control = machine.control.as_mut().unwrap();
    control.drained = true;
    control.heard.connected = true;
    control.stale_config = Some("line 3 is wrong".into());
    let problem = Problem::error(Location::new("/m/x.yaml", 3), "wrong");
    machine.snapshot.problems.push(problem);
    machine.settle();
    let samples = [
        ("services{state=\"announced\"}", 0),
        ("services{state=\"allocated\"}", 3),
        ("services{state=\"refused\"}", 1),
        ("source_problems", 1),
        ("config_stale", 1),
        ("router_connected", 1),
        ("drained", 1),
    ];
    assert_told(&machine, &samples);
}
