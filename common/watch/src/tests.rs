//! Real directories, real inotify. Every wait is for an event and bounded.

use std::{
    fs::{self, File},
    future::pending,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use roadstead_model::{ServiceKey, SourceName, snapshot::SourceState};
use tempfile::TempDir;
use tokio::{sync::oneshot, time::timeout};

use super::*;
use crate::manifests::Timing;

/// Far longer than anything here takes.
const BOUND: Duration = Duration::from_secs(60);

/// A watched directory.
struct Lab {
    /// Holds the watched directory, so that it can be moved away.
    outside: TempDir,
    confirm: Confirm,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl Lab {
    /// A directory with these files, watched and read once.
    async fn with(files: &[(&str, &str)]) -> Self {
        let mut lab = Self::starting(Timing::DEFAULT, |root| {
            fs::create_dir(root).expect("a directory");
            for (name, text) in files {
                fs::write(root.join(name), text).expect("a file");
            }
        });
        lab.until(Snapshot::is_complete).await;
        lab
    }

    fn starting(timing: Timing, prepare: impl FnOnce(&Path)) -> Self {
        let outside = tempfile::tempdir().expect("a directory");
        let root = outside.path().join("manifests");
        prepare(&root);
        let kind = SourceKind::Directory(root);
        let sources =
            [Source { name: SourceName::new("local"), kind, metallb: None, report: true }];
        let timing = super::Timing { directories: timing, ..super::Timing::DEFAULT };
        let Watch { snapshots, confirm, .. } =
            spawn_with(&sources, Daemon::Router.into(), None, timing, pending());
        Self { outside, confirm, snapshots }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.outside.path().join("manifests").join(name)
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    /// Waits for a Snapshot of which `wanted` is true.
    async fn until(&mut self, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let last = self.snapshots.clone();
        let waited = timeout(BOUND, self.snapshots.wait_for(|snapshot| wanted(snapshot))).await;
        match waited {
            Ok(Ok(snapshot)) => Arc::clone(&snapshot),
            Ok(Err(_)) => panic!("the watcher ended"),
            Err(_) => panic!("not within {BOUND:?}: {:#?}", last.borrow()),
        }
    }

    /// Waits for exactly these Services, `a:80 b:81`, while `always` is there at every moment.
    async fn until_services(&mut self, wanted: &str, always: &[&str]) {
        let never_lost = |snapshot: &Snapshot| {
            for name in always {
                assert!(snapshot.services.contains_key(&key(name)), "{name} was lost for a moment");
            }
        };
        self.until(|snapshot| {
            never_lost(snapshot);
            services(snapshot) == wanted
        })
        .await;
    }
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new(&SourceName::new("local"), "default", name)
}

fn services(snapshot: &Snapshot) -> String {
    let port = |s: &roadstead_model::object::Service| s.ports.first().map_or(0, |p| p.port);
    let shown: Vec<_> =
        snapshot.services.values().map(|s| format!("{}:{}", s.key.name, port(s))).collect();
    shown.join(" ")
}

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: LoadBalancer, ports: [{{port: {port}, nodePort: {}}}]}}\n---\n",
        30_000 + port
    )
}

#[tokio::test]
async fn files_that_are_there_appear_change_and_go() {
    let mut lab = Lab::with(&[("a.yaml", &service("a", 80))]).await;
    lab.until_services("a:80", &[]).await;
    lab.write("b.yaml", &service("b", 81));
    lab.until_services("a:80 b:81", &["a"]).await;
    lab.write("b.yaml", &service("b", 82));
    lab.until_services("a:80 b:82", &["a", "b"]).await;
    fs::remove_file(lab.path("a.yaml")).expect("removed");
    lab.until_services("b:82", &["b"]).await;
}

#[tokio::test]
async fn generations_count_up() {
    let mut lab = Lab::starting(Timing::DEFAULT, |root| fs::create_dir(root).expect("a directory"));
    assert_eq!(lab.snapshots.borrow().generation, 0);
    let first = lab.until(Snapshot::is_complete).await.generation;
    assert!(first > 0);
    lab.write("a.yaml", &service("a", 80));
    let second = lab.until(|snapshot| !snapshot.services.is_empty()).await.generation;
    assert!(second > first);
}

#[tokio::test]
async fn editors_lose_nothing() {
    // A grace that the slowest machine keeps: what is shown is that there is one.
    let timing = Timing { delete_grace: Duration::from_secs(3), ..Timing::DEFAULT };
    let mut lab = Lab::starting(timing, |root| {
        fs::create_dir(root).expect("a directory");
        fs::write(root.join("a.yaml"), service("a", 80)).expect("a file");
    });
    lab.until_services("a:80", &[]).await;
    // vim with a backup: away, anew, backup removed.
    fs::rename(lab.path("a.yaml"), lab.path("a.yaml~")).expect("a rename");
    lab.write("a.yaml", &service("a", 81));
    fs::remove_file(lab.path("a.yaml~")).expect("removed");
    lab.until_services("a:81", &["a"]).await;
    // Atomic: a temporary file moved over.
    lab.write(".a.yaml.tmp", &service("a", 82));
    fs::rename(lab.path(".a.yaml.tmp"), lab.path("a.yaml")).expect("a rename");
    lab.until_services("a:82", &["a"]).await;
    // Deleted and made anew.
    fs::remove_file(lab.path("a.yaml")).expect("removed");
    lab.write("a.yaml", &service("a", 83));
    lab.until_services("a:83", &["a"]).await;
    // Another name, the same object.
    fs::rename(lab.path("a.yaml"), lab.path("b.yaml")).expect("a rename");
    lab.write("c.yaml", &service("c", 90));
    lab.until_services("a:83 c:90", &["a"]).await;
}

#[tokio::test]
async fn a_half_saved_file_never_counts() {
    let mut lab = Lab::with(&[("a.yaml", &(service("a", 80) + &service("b", 81)))]).await;
    let mut file = File::create(lab.path("a.yaml")).expect("truncated");
    file.write_all(service("a", 70).as_bytes()).expect("written");
    // The first half is good YAML without `b`. Another file shows that the watcher went on.
    lab.write("m.yaml", &service("m", 90));
    lab.until_services("a:80 b:81 m:90", &["a", "b"]).await;
    file.write_all(service("b", 71).as_bytes()).expect("written");
    drop(file);
    lab.until_services("a:70 b:71 m:90", &["a", "b", "m"]).await;
}

#[tokio::test]
async fn an_emptied_file_is_doubt_and_loses_nothing_when_it_is_written() {
    let mut lab = Lab::with(&[("a.yaml", &service("a", 80))]).await;
    lab.write("a.yaml", "");
    let is_doubt = |snapshot: &Snapshot| {
        snapshot.sources.values().any(|state| matches!(state, SourceState::Doubtful { .. }))
    };
    let snapshot = lab.until(is_doubt).await;
    assert_eq!(services(&snapshot), "a:80");
    lab.write("a.yaml", &service("a", 81));
    lab.until_services("a:81", &["a"]).await;
    lab.until(|snapshot| !is_doubt(snapshot)).await;
}

#[tokio::test]
async fn new_subdirectories_are_watched_with_what_is_in_them() {
    let mut lab = Lab::with(&[]).await;
    fs::create_dir_all(lab.path("team/web")).expect("directories");
    lab.write("team/web/a.yaml", &service("a", 80));
    lab.until_services("a:80", &[]).await;
    lab.write("team/web/a.yaml", &service("a", 81));
    lab.until_services("a:81", &["a"]).await;
    fs::rename(lab.path("team"), lab.path("squad")).expect("a rename");
    lab.write("squad/web/b.yaml", &service("b", 82));
    lab.until_services("a:81 b:82", &["a"]).await;
    fs::remove_dir_all(lab.path("squad")).expect("removed");
    lab.until_services("", &[]).await;
}

#[tokio::test]
async fn a_directory_that_vanishes_is_doubt_until_it_is_back() {
    let mut lab = Lab::with(&[("a.yaml", &service("a", 80))]).await;
    fs::rename(lab.path(""), lab.outside("elsewhere")).expect("a rename");
    let snapshot = lab.until(|s| s.sources.values().any(|s| *s != SourceState::Current)).await;
    assert_eq!(services(&snapshot), "a:80");
    assert_eq!(snapshot.problems.len(), 1);
    // An empty directory in its place says nothing either.
    fs::create_dir(lab.path("")).expect("a directory");
    lab.until(|s| s.problems.iter().any(|p| p.message.contains("another directory"))).await;
    assert_eq!(services(&lab.snapshots.borrow()), "a:80");
    fs::remove_dir(lab.path("")).expect("removed");
    fs::rename(lab.outside("elsewhere"), lab.path("")).expect("a rename");
    let snapshot = lab.until(|s| s.sources.values().all(|s| *s == SourceState::Current)).await;
    assert_eq!(services(&snapshot), "a:80");
    assert!(snapshot.problems.is_empty());
    lab.write("a.yaml", &service("a", 81));
    lab.until_services("a:81", &["a"]).await;
}

#[tokio::test]
async fn a_directory_that_is_not_there_yet_is_unread() {
    let mut lab = Lab::starting(Timing::DEFAULT, |_| {});
    let snapshot = lab.until(|snapshot| !snapshot.problems.is_empty()).await;
    assert!(!snapshot.is_complete());
    fs::create_dir(lab.path("")).expect("a directory");
    lab.write("a.yaml", &service("a", 80));
    let snapshot = lab.until(|s| s.is_complete() && !s.services.is_empty()).await;
    assert!(snapshot.problems.is_empty());
}

#[tokio::test]
async fn a_mounted_config_map_changes_at_once() {
    let mut lab = Lab::with(&[]).await;
    for (version, port) in [("..1", 80), ("..2", 81)] {
        fs::create_dir(lab.path(version)).expect("a directory");
        lab.write(&format!("{version}/a.yaml"), &service("a", port));
    }
    symlink("..1", lab.path("..data")).expect("a link");
    symlink("..data/a.yaml", lab.path("a.yaml")).expect("a link");
    lab.until_services("a:80", &[]).await;
    symlink("..2", lab.path("..data_tmp")).expect("a link");
    fs::rename(lab.path("..data_tmp"), lab.path("..data")).expect("a rename");
    fs::remove_dir_all(lab.path("..1")).expect("removed");
    lab.until_services("a:81", &["a"]).await;
}

#[tokio::test]
async fn the_periodic_scan_finds_what_no_event_told() {
    let timing = Timing { rescan: Duration::from_millis(20), ..Timing::DEFAULT };
    let mut lab = Lab::starting(timing, |root| {
        fs::create_dir(root).expect("a directory");
        fs::write(root.join("../far.yaml"), service("a", 80)).expect("a file");
        symlink("../far.yaml", root.join("a.yaml")).expect("a link");
    });
    lab.until_services("a:80", &[]).await;
    fs::write(lab.outside("far.yaml"), service("a", 81)).expect("a file");
    lab.until_services("a:81", &["a"]).await;
}

#[tokio::test]
async fn a_bad_file_is_told_with_its_line_and_mended() {
    let mut lab = Lab::with(&[("a.yaml", &service("a", 80)), ("b.yaml", &service("b", 81))]).await;
    lab.write("a.yaml", "apiVersion: v1\nkind: Service\n  metadata: x\n");
    let snapshot = lab.until(|snapshot| !snapshot.problems.is_empty()).await;
    assert_eq!(services(&snapshot), "a:80 b:81");
    let problem = snapshot.problems.first().expect("one");
    assert_eq!((problem.location.file.as_ref(), problem.location.line), (&lab.path("a.yaml"), 3));
    lab.write("a.yaml", &service("a", 82));
    let snapshot = lab.until(|snapshot| snapshot.problems.is_empty()).await;
    assert_eq!(services(&snapshot), "a:82 b:81");
}

#[tokio::test]
async fn an_unreadable_subdirectory_is_doubt() {
    let mut lab = Lab::with(&[]).await;
    fs::create_dir(lab.path("sub")).expect("a directory");
    lab.write("sub/a.yaml", &service("a", 80));
    lab.until_services("a:80", &[]).await;
    // A link to itself cannot be followed by anybody, not even by root.
    fs::rename(lab.path("sub/a.yaml"), lab.outside("a.yaml")).expect("a rename");
    symlink("a.yaml", lab.path("sub/a.yaml")).expect("a link");
    let is_doubt = |state: &SourceState| matches!(state, SourceState::Doubtful { .. });
    let snapshot = lab.until(|s| s.sources.values().any(is_doubt)).await;
    assert_eq!(services(&snapshot), "a:80");
    fs::rename(lab.outside("a.yaml"), lab.path("sub/a.yaml")).expect("a rename");
    let snapshot = lab.until(|s| !s.sources.values().any(is_doubt)).await;
    assert_eq!(services(&snapshot), "a:80");
}

#[tokio::test]
async fn a_thousand_changes_end_in_the_last_one() {
    let mut lab = Lab::with(&[]).await;
    for port in 1..=1_000 {
        lab.write(&format!("{}.yaml", port % 7), &service(&format!("s{}", port % 7), port));
    }
    lab.until_services("s0:994 s1:995 s2:996 s3:997 s4:998 s5:999 s6:1000", &[]).await;
}

/// What one source is in doubt about, if anything.
fn doubt(snapshot: &Snapshot) -> Option<&str> {
    match snapshot.sources.values().next() {
        Some(SourceState::Doubtful { reason }) => Some(reason),
        Some(SourceState::Current | SourceState::Unread) | None => None,
    }
}

fn is_current(snapshot: &Snapshot) -> bool {
    snapshot.sources.values().all(|state| *state == SourceState::Current)
}

impl Lab {
    /// Gives the order, and returns the answer of the only source.
    async fn confirm(&self) -> Confirmed {
        let answer = timeout(BOUND, self.confirm.confirm()).await.expect("an answer");
        let [confirmed] = answer.try_into().expect("one source");
        confirmed
    }
}

#[tokio::test]
async fn a_vanished_directory_is_confirmed_gone_and_may_come_back() {
    let mut lab = Lab::with(&[("a.yaml", &service("a", 80)), ("b.yaml", &service("b", 81))]).await;
    assert_eq!(lab.confirm().await.doubt, None);
    lab.until_services("a:80 b:81", &["a", "b"]).await;
    fs::rename(lab.path(""), lab.outside("elsewhere")).expect("a rename");
    lab.until(|snapshot| doubt(snapshot).is_some()).await;
    let confirmed = lab.confirm().await;
    assert!(confirmed.doubt.is_some_and(|why| why.contains("cannot be read")));
    assert_eq!((confirmed.services, confirmed.gone), (0, vec![key("a"), key("b")]));
    let snapshot = lab.until(|snapshot| is_current(snapshot) && snapshot.services.is_empty()).await;
    assert!(snapshot.is_gone(&key("a")));
    let problem = snapshot.problems.first().map(|problem| problem.message.clone());
    assert!(problem.is_some_and(|told| told.ends_with("is gone, as it was confirmed")));
    fs::rename(lab.outside("elsewhere"), lab.path("")).expect("a rename");
    let snapshot = lab.until(|snapshot| services(snapshot) == "a:80 b:81").await;
    assert!(is_current(&snapshot) && snapshot.problems.is_empty() && snapshot.gone.is_empty());
    // Believing it once says nothing about the next time.
    fs::rename(lab.path(""), lab.outside("elsewhere")).expect("a rename");
    let snapshot = lab.until(|snapshot| doubt(snapshot).is_some()).await;
    assert_eq!(services(&snapshot), "a:80 b:81");
}

#[tokio::test]
async fn another_directory_and_an_empty_one_is_confirmed() {
    let mut lab = Lab::with(&[("a.yaml", &service("a", 80))]).await;
    fs::rename(lab.path(""), lab.outside("elsewhere")).expect("a rename");
    fs::create_dir(lab.path("")).expect("a directory");
    lab.until(|s| doubt(s).is_some_and(|why| why.contains("another directory"))).await;
    assert_eq!(lab.confirm().await.gone, [key("a")]);
    let snapshot = lab.until(|snapshot| snapshot.services.is_empty()).await;
    assert!(is_current(&snapshot) && snapshot.problems.is_empty());
    lab.write("b.yaml", &service("b", 81));
    lab.until_services("b:81", &[]).await;
}

#[tokio::test]
async fn a_directory_that_was_never_there_is_confirmed_empty() {
    let mut lab = Lab::starting(Timing::DEFAULT, |_| {});
    lab.until(|snapshot| !snapshot.problems.is_empty()).await;
    let confirmed = lab.confirm().await;
    assert_eq!((confirmed.doubt.is_some(), confirmed.services), (true, 0));
    let snapshot = lab.until(Snapshot::is_complete).await;
    assert!(is_current(&snapshot) && snapshot.is_gone(&key("a")));
}

#[tokio::test]
async fn an_empty_directory_at_the_start_is_doubt_until_it_is_filled() {
    let mut lab = Lab::with(&[]).await;
    let snapshot = lab.until(|snapshot| doubt(snapshot).is_some()).await;
    assert!(doubt(&snapshot).is_some_and(|why| why.contains("holds no manifests")));
    assert!(snapshot.problems.is_empty() && !snapshot.is_gone(&key("a")));
    lab.write("a.yaml", &service("a", 80));
    let snapshot = lab.until(|snapshot| services(snapshot) == "a:80").await;
    assert!(!is_current(&snapshot), "perhaps others follow");
    lab.until(is_current).await;
    // From now on an empty directory is an order.
    fs::remove_file(lab.path("a.yaml")).expect("removed");
    let snapshot = lab.until(|snapshot| snapshot.services.is_empty()).await;
    assert!(is_current(&snapshot) && snapshot.is_gone(&key("a")));
}

#[tokio::test]
async fn an_empty_directory_at_the_start_is_confirmed() {
    let mut lab = Lab::with(&[]).await;
    let confirmed = lab.confirm().await;
    assert!(confirmed.doubt.is_some_and(|why| why.contains("holds no manifests")));
    assert!(lab.until(is_current).await.is_gone(&key("a")));
    assert_eq!(lab.confirm().await.doubt, None);
}

#[tokio::test]
async fn what_went_by_an_order_is_gone_while_another_file_is_in_doubt() {
    let files = [("a.yaml", &*service("a", 80)), ("b.yaml", &service("b", 81)), ("x.yaml", "a: [")];
    let mut lab = Lab::with(&files).await;
    let snapshot = lab.until(|s| services(s) == "a:80 b:81").await;
    assert!(doubt(&snapshot).is_some_and(|why| why.contains("x.yaml")));
    fs::remove_file(lab.path("a.yaml")).expect("removed");
    lab.until_services("b:81", &["b"]).await;
    lab.write("b.yaml", &service("c", 82));
    let snapshot = lab.until(|snapshot| services(snapshot) == "c:82").await;
    assert!(doubt(&snapshot).is_some());
    assert!(snapshot.is_gone(&key("a")) && snapshot.is_gone(&key("b")));
    assert!(!snapshot.is_gone(&key("d")), "it may be in the file that nobody can read");
    lab.write("a.yaml", &service("a", 83));
    let snapshot = lab.until(|snapshot| services(snapshot) == "a:83 c:82").await;
    assert!(!snapshot.is_gone(&key("a")), "it is back");
    lab.confirm().await;
    let snapshot = lab.until(is_current).await;
    assert!(snapshot.is_gone(&key("d")));
    assert_eq!(services(&snapshot), "a:83 c:82");
    assert_eq!(snapshot.problems.len(), 1, "the file is still wrong");
}

#[tokio::test]
async fn it_ends_when_it_is_told() {
    let root = tempfile::tempdir().expect("a directory");
    let kind = SourceKind::Directory(root.path().to_path_buf());
    let sources = [Source { name: SourceName::new("local"), kind, metallb: None, report: true }];
    let (stop, stopped) = oneshot::channel::<()>();
    let Watch { mut snapshots, confirm, .. } = spawn(&sources, Daemon::Router, async {
        // Told or dropped, both mean the end.
        let _ = stopped.await;
    });
    timeout(BOUND, snapshots.wait_for(|s| s.is_complete())).await.expect("read").expect("running");
    stop.send(()).expect("running");
    let ended = async { while snapshots.changed().await.is_ok() {} };
    timeout(BOUND, ended).await.expect("ended");
    assert_eq!(confirm.confirm().await, []);
}
