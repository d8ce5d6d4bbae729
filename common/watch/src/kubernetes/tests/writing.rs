//! What is written, from the speaker's word to the API server and back: over a small API server that
//! takes writes, and a small speaker that is killed at every write of a Service's life.

use std::collections::BTreeMap;

use roadstead_model::{
    reason::{Condition, ConditionStatus},
    report::{Cleaned, FINALIZER, Ingress, IpMode, Reports, ServiceReport},
};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::{Reporting, Requests};

/// A speaker with a disk that outlives it.
struct Speaker {
    directory: TempDir,
    sources: Vec<Source>,
    disk: Disk,
    run: Run,
}

/// What a restart finds: who holds an address, and who was written to.
#[derive(Default)]
struct Disk {
    held: BTreeMap<ServiceKey, Arc<str>>,
    owed: BTreeMap<ServiceKey, Arc<str>>,
}

struct Run {
    reports: watch::Sender<Arc<Reports>>,
    cleaned: mpsc::Receiver<Cleaned>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    requests: Requests,
}

fn run(directory: &TempDir, sources: &[Source]) -> Run {
    let (reports, said) = watch::channel(Arc::default());
    let (cleaned_in, cleaned) = mpsc::channel(4);
    let requests = Requests::default();
    let reporting = Reporting { reports: said, cleaned: cleaned_in, requests: requests.clone() };
    let reader = Reader { daemon: Daemon::Speaker, state: Some(directory.path().join("state")) };
    let timing = crate::Timing { clusters: QUICK, ..crate::Timing::DEFAULT };
    let watch = spawn_with(sources, reader, Some(reporting), timing, pending());
    Run { reports, cleaned, snapshots: watch.snapshots, requests }
}

impl Speaker {
    fn start(api: &Api) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        write_kubeconfig(directory.path(), &api.address.to_string(), "token");
        let kubeconfig = Kubeconfig::for_all(directory.path().join("kubeconfig"));
        let kind = SourceKind::Cluster(kubeconfig);
        let sources = vec![Source { name: home(), kind, metallb: None, report: true }];
        let run = run(&directory, &sources);
        Self { directory, sources, disk: Disk::default(), run }
    }

    fn restart(&mut self) {
        self.run = run(&self.directory, &self.sources);
    }

    /// One step: whoever is there holds an address; who is gone holds it until `silent`.
    fn step(&mut self, silent: bool) {
        while let Ok(Cleaned { service, uid }) = self.run.cleaned.try_recv() {
            if self.disk.owed.get(&service) == Some(&uid) {
                self.disk.owed.remove(&service);
            }
        }
        let snapshot = self.run.snapshots.borrow_and_update().clone();
        let mut reports = Reports::default();
        if snapshot.is_complete() {
            reports.complete.insert(home());
        }
        for (key, service) in &snapshot.services {
            let uid = service.uid.clone().expect("a uid");
            self.disk.held.insert(key.clone(), uid.clone());
            self.disk.owed.insert(key.clone(), uid);
            reports.services.insert(key.clone(), Arc::new(report(service.uid.clone())));
        }
        self.disk.held.retain(|key, _| !(silent && snapshot.is_gone(key)));
        let unspoken = |key: &&ServiceKey| !snapshot.services.contains_key(*key);
        reports.kept = self.disk.held.keys().filter(unspoken).cloned().collect();
        let lapsed = self
            .disk
            .owed
            .iter()
            .filter(|(key, _)| snapshot.is_gone(key) && !self.disk.held.contains_key(*key));
        reports.lapsed = lapsed.map(|(key, uid)| (key.clone(), uid.clone())).collect();
        if *self.run.reports.borrow().as_ref() != reports {
            self.run.reports.send_replace(Arc::new(reports));
        }
    }

    /// Steps until it is as wanted, or the server hears no more; true when it is as wanted.
    async fn until(
        &mut self,
        api: &Api,
        silent: bool,
        wanted: impl Fn(&Self, &Api) -> bool,
    ) -> bool {
        let reached = async {
            loop {
                self.step(silent);
                if wanted(self, api) {
                    return true;
                }
                if api.change(|world| world.written.is_cut) {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(BOUND, reached).await.expect("in time")
    }

    fn is_guarded(&self) -> bool {
        self.guards("web")
    }

    fn guards(&self, name: &str) -> bool {
        self.run.snapshots.borrow().services.get(&key(name)).is_some_and(|it| it.guarded)
    }
}

fn report(uid: Option<Arc<str>>) -> ServiceReport {
    let address = "192.0.2.10".parse().expect("an address");
    ServiceReport {
        uid,
        holds: true,
        ingress: vec![Ingress { address, ip_mode: IpMode::Proxy, ports: Vec::new() }],
        conditions: vec![Condition::new("Allocated", ConditionStatus::True, "Allocated", "m")],
    }
}

#[tokio::test]
async fn a_service_is_guarded_when_the_finalizer_is_seen_on_it() {
    let api = Api::start().await;
    api.change(|world| world.apply(SERVICES, service("web", 80)));
    let mut speaker = Speaker::start(&api);
    assert!(speaker.until(&api, false, |speaker, _| speaker.is_guarded()).await);
    let web = api.change(|world| world.objects[SERVICES]["default/web"].clone());
    assert_eq!(web["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(web["status"]["loadBalancer"]["ingress"][0]["ip"], "192.0.2.10");
    let told = |_: &Speaker, api: &Api| api.change(|world| !world.written.events.is_empty());
    assert!(speaker.until(&api, false, told).await);
    let event = api.change(|world| world.written.events[0].clone());
    assert_eq!(
        (&event["reason"], &event["regarding"]["uid"]),
        (&json!("Allocated"), &json!("uid-web"))
    );
    let counts = speaker.run.requests.all();
    let of =
        |verb| counts.iter().filter(|(asked, _)| asked.verb == verb).map(|(_, n)| n).sum::<u64>();
    assert_eq!((of("apply"), of("create")), (1, 1), "{counts:?}");
    assert!(of("watch") >= 4, "{counts:?}");
}

/// A cluster that is only read is asked for nothing more, and its Services wait for nothing.
#[tokio::test]
async fn nothing_is_written_to_a_cluster_that_is_only_read() {
    let api = Api::start().await;
    api.change(|world| world.apply(SERVICES, service("web", 80)));
    let mut speaker = Speaker::start(&api);
    speaker.sources[0].report = false;
    speaker.restart();
    assert!(speaker.until(&api, false, |speaker, _| speaker.is_guarded()).await);
    assert_eq!(api.change(|world| world.written.applies), 0);
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_and_nothing_is_announced_meanwhile() {
    let api = Api::start().await;
    api.change(|world| {
        world.apply(SERVICES, service("web", 80));
        world.written.refuses = true;
    });
    let mut speaker = Speaker::start(&api);
    let told = |speaker: &Speaker, _: &Api| {
        let snapshot = speaker.run.snapshots.borrow();
        snapshot.problems.iter().any(|it| it.message.contains("report = false"))
    };
    assert!(speaker.until(&api, false, told).await);
    assert!(!speaker.is_guarded());
    api.change(|world| world.written.refuses = false);
    assert!(speaker.until(&api, false, |speaker, _| speaker.is_guarded()).await);
    let mended = |speaker: &Speaker, _: &Api| speaker.run.snapshots.borrow().problems.is_empty();
    assert!(speaker.until(&api, false, mended).await);
}

/// K1 and K2: the speaker is killed at each of its writes, before the server has carried it out and
/// after; what it held is released when it is silent, and then only.
#[tokio::test]
async fn a_speaker_that_is_killed_at_any_write_leaves_no_finalizer_and_takes_none_off_too_early() {
    for cut_at in [(1, false), (1, true), (2, false), (2, true), (3, false), (3, true)] {
        let api = Api::start().await;
        api.change(|world| {
            world.apply(SERVICES, service("web", 80));
            world.written.cut_at = Some(cut_at);
        });
        let mut speaker = Speaker::start(&api);
        let mut kills = 0;
        live(&mut speaker, &api, &mut kills, false, |speaker, _| speaker.is_guarded()).await;
        api.change(|world| world.let_go("default/web"));
        let is_gone =
            |speaker: &Speaker, _: &Api| speaker.run.snapshots.borrow().is_gone(&key("web"));
        live(&mut speaker, &api, &mut kills, false, is_gone).await;
        // What is written later is there: nothing else was waiting to be written.
        api.change(|world| world.apply(SERVICES, service("later", 81)));
        live(&mut speaker, &api, &mut kills, false, |speaker, _| speaker.guards("later")).await;
        assert!(api.change(|world| world.has("default/web")), "{cut_at:?}: it is not silent yet");
        api.change(|world| world.written.may_release = true);
        let is_over = |speaker: &Speaker, api: &Api| {
            let owes = speaker.disk.owed.contains_key(&key("web"));
            !owes && !api.change(|world| world.has("default/web"))
        };
        live(&mut speaker, &api, &mut kills, true, is_over).await;
        assert_eq!(kills, 1, "{cut_at:?}: the writes are counted wrongly");
    }
}

/// Until it is as wanted; a speaker whose write was cut is killed, and the next one begins.
async fn live(
    speaker: &mut Speaker,
    api: &Api,
    kills: &mut usize,
    silent: bool,
    wanted: impl Fn(&Speaker, &Api) -> bool,
) {
    while !speaker.until(api, silent, &wanted).await {
        api.change(|world| {
            world.written.cut_at = None;
            world.written.is_cut = false;
        });
        speaker.restart();
        *kills += 1;
    }
}
