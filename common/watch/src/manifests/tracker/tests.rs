//! Which files are read and when, by scans and hints that tests make up.

use super::*;

const T: Timing = Timing::DEFAULT;

/// A tracker of `/m`, its clock, its hints, and what is in the directory.
struct Lab {
    tracker: Tracker,
    hints: Hints,
    scan: Scan,
    now: Instant,
}

impl Lab {
    /// A directory whose files were read at the start.
    fn with(files: &[&str]) -> Self {
        let mut lab = Self {
            tracker: Tracker::new("/m".into(), T),
            hints: Hints::default(),
            scan: Scan::default(),
            now: Instant::now(),
        };
        lab.scan.directories.insert("/m".into(), id(1, 1));
        for (index, file) in files.iter().enumerate() {
            lab.put(file, u64::try_from(index).expect("few") + 10, 100);
        }
        assert_eq!(lab.pass().len(), files.len(), "the first pass reads all");
        lab
    }

    fn put(&mut self, name: &str, inode: u64, size: u64) {
        self.scan.files.insert(path(name), Stamp::for_tests(id(1, inode), size));
    }

    fn remove(&mut self, name: &str) {
        self.scan.files.remove(&path(name));
    }

    fn plan(&mut self) -> Plan {
        self.tracker.plan(&self.scan, &mut self.hints, self.now)
    }

    /// The files that a plan reads, which counts as done.
    fn pass(&mut self) -> Vec<String> {
        let plan = self.plan();
        for (path, stamp) in &plan.read {
            self.tracker.note_read(path, *stamp);
        }
        plan.read.iter().map(|(path, _)| short(path)).collect()
    }

    fn removed(&mut self) -> Vec<String> {
        self.plan().removed.iter().map(|path| short(path)).collect()
    }
}

fn path(name: &str) -> PathBuf {
    Path::new("/m").join(name)
}

fn short(path: &Path) -> String {
    path.strip_prefix("/m").expect("below").display().to_string()
}

fn id(device: u64, inode: u64) -> FileId {
    FileId { device, inode }
}

const NONE: [String; 0] = [];

#[test]
fn nothing_changed_nothing_to_do() {
    let mut lab = Lab::with(&["a.yaml"]);
    assert_eq!(lab.plan(), Plan::default());
}

#[test]
fn a_file_that_is_written_to_waits_for_its_close() {
    let mut lab = Lab::with(&["a.yaml"]);
    lab.put("a.yaml", 10, 50);
    lab.hints.writing.insert(path("a.yaml"), lab.now);
    assert_eq!(lab.pass(), NONE);
    lab.now += T.writer_patience - Duration::from_millis(1);
    assert_eq!(lab.pass(), NONE);
    lab.hints.writing.clear();
    lab.hints.complete.insert(path("a.yaml"));
    assert_eq!(lab.pass(), ["a.yaml"]);
    assert_eq!(lab.pass(), NONE);
}

#[test]
fn a_writer_that_went_silent_is_not_waited_for_for_ever() {
    let mut lab = Lab::with(&["a.yaml"]);
    lab.put("a.yaml", 10, 50);
    lab.hints.writing.insert(path("a.yaml"), lab.now);
    lab.now += T.writer_patience;
    assert_eq!(lab.pass(), NONE, "first it must be stable");
    lab.now += T.stable;
    assert_eq!(lab.pass(), ["a.yaml"]);
}

#[test]
fn a_renamed_file_is_read_at_once() {
    let mut lab = Lab::with(&["a.yaml"]);
    lab.put("a.yaml", 77, 100);
    lab.put("b.yaml", 78, 100);
    assert_eq!(lab.pass(), ["a.yaml", "b.yaml"]);
}

#[test]
fn a_silent_change_is_read_once_it_is_stable() {
    let mut lab = Lab::with(&["a.yaml"]);
    lab.put("a.yaml", 10, 50);
    assert_eq!(lab.plan().wake, Some(lab.now + T.stable));
    lab.now += T.stable / 2;
    lab.put("a.yaml", 10, 60);
    assert_eq!(lab.pass(), NONE);
    lab.now += T.stable / 2;
    assert_eq!(lab.pass(), NONE, "it changed meanwhile");
    lab.now += T.stable / 2;
    assert_eq!(lab.pass(), ["a.yaml"]);
}

#[test]
fn files_of_a_directory_that_was_not_heard_must_be_stable() {
    let mut lab = Lab::with(&["a.yaml"]);
    lab.hints.unheard.insert(path("new"));
    lab.put("new/b.yaml", 20, 10);
    assert_eq!(lab.pass(), NONE);
    // Heard from now on, which says nothing about what was before.
    lab.hints.unheard.clear();
    assert_eq!(lab.pass(), NONE);
    lab.now += T.stable;
    assert_eq!(lab.pass(), ["new/b.yaml"]);
}

#[test]
fn after_lost_events_only_stable_files_are_read() {
    let mut lab = Lab::with(&["a.yaml", "b.yaml"]);
    lab.put("a.yaml", 77, 10);
    lab.put("b.yaml", 11, 10);
    lab.hints.writing.insert(path("b.yaml"), lab.now);
    lab.hints.lost = true;
    assert_eq!(lab.pass(), NONE);
    lab.now += T.stable;
    assert_eq!(lab.pass(), ["a.yaml", "b.yaml"]);
}

#[test]
fn a_deletion_is_believed_after_a_moment() {
    let mut lab = Lab::with(&["a.yaml"]);
    lab.remove("a.yaml");
    let plan = lab.plan();
    assert_eq!(
        (plan.removed.as_slice(), plan.wake),
        ([].as_slice(), Some(lab.now + T.delete_grace))
    );
    lab.now += T.delete_grace;
    assert_eq!(lab.removed(), ["a.yaml"]);
    assert_eq!(lab.removed(), NONE);
}

#[test]
fn delete_and_create_is_a_change() {
    let mut lab = Lab::with(&["a.yaml"]);
    lab.remove("a.yaml");
    lab.plan();
    lab.now += T.delete_grace / 2;
    lab.put("a.yaml", 55, 10);
    assert_eq!(lab.pass(), ["a.yaml"]);
    lab.now += T.delete_grace * 10;
    assert_eq!(lab.removed(), NONE);
}

#[test]
fn below_an_unreadable_directory_nothing_is_gone() {
    let mut lab = Lab::with(&["sub/a.yaml", "link.yaml"]);
    lab.scan.files.clear();
    lab.scan.unreadable.insert(path("sub"), "permission denied".to_owned());
    lab.scan.unreadable.insert(path("link.yaml"), "the link leads nowhere".to_owned());
    lab.plan();
    lab.now += T.delete_grace;
    assert_eq!(lab.removed(), NONE);
    lab.scan.unreadable.clear();
    lab.plan();
    lab.now += T.delete_grace;
    assert_eq!(lab.removed(), ["link.yaml", "sub/a.yaml"]);
}

#[test]
fn an_unmounted_directory_is_doubt_for_as_long_as_it_is_empty() {
    let mut lab = Lab::with(&["a.yaml"]);
    lab.remove("a.yaml");
    lab.scan.directories.insert("/m".into(), id(2, 1));
    for _ in 0..5 {
        let plan = lab.plan();
        assert!(plan.doubt.is_some() && plan.removed.is_empty());
        lab.now += Duration::from_secs(3600);
    }
    lab.scan.directories.insert("/m".into(), id(1, 1));
    lab.put("a.yaml", 10, 100);
    assert_eq!(lab.plan(), Plan::default());
}

#[test]
fn another_directory_is_believed_once_it_is_filled() {
    let mut lab = Lab::with(&["a.yaml", "b.yaml"]);
    lab.scan.directories.insert("/m".into(), id(1, 9));
    lab.scan.files.clear();
    lab.put("a.yaml", 20, 100);
    let plan = lab.plan();
    assert!(plan.doubt.is_some());
    assert_eq!(plan.wake, Some(lab.now + T.refill));
    assert_eq!(plan.read.len(), 1, "what is there is read");
    lab.now += T.refill / 2;
    lab.put("c.yaml", 21, 100);
    assert!(lab.plan().doubt.is_some());
    lab.now += T.refill - Duration::from_millis(1);
    assert!(lab.plan().doubt.is_some(), "it grew meanwhile");
    lab.now += T.refill;
    assert_eq!(lab.plan().doubt, None);
    lab.now += T.delete_grace;
    assert_eq!(lab.removed(), ["b.yaml"]);
}

#[test]
fn a_directory_swapped_whole_is_believed_at_once() {
    let mut lab = Lab::with(&["a.yaml"]);
    lab.scan.directories.insert("/m".into(), id(1, 9));
    lab.put("a.yaml", 20, 100);
    lab.put("b.yaml", 21, 100);
    assert_eq!(lab.plan().doubt, None);
}

#[test]
fn a_subdirectory_made_anew_is_an_order_but_one_unmounted_is_not() {
    let mut lab = Lab::with(&["sub/a.yaml"]);
    lab.scan.directories.insert(path("sub"), id(1, 2));
    lab.plan();
    lab.remove("sub/a.yaml");
    lab.scan.directories.insert(path("sub"), id(3, 2));
    assert_eq!(lab.plan().doubt.map(|(path, _)| path), Some(path("sub")));
    lab.scan.directories.insert(path("sub"), id(1, 5));
    assert_eq!(lab.plan().doubt, None);
    lab.now += T.delete_grace;
    assert_eq!(lab.removed(), ["sub/a.yaml"]);
}

#[test]
fn a_file_that_could_not_be_read_is_tried_again_and_can_be_deleted() {
    let mut lab = Lab::with(&["a.yaml"]);
    lab.tracker.note_unreadable(&path("a.yaml"));
    assert_eq!(lab.plan().read.len(), 1);
    assert_eq!(lab.plan().read.len(), 1);
    lab.remove("a.yaml");
    lab.plan();
    lab.now += T.delete_grace;
    assert_eq!(lab.removed(), ["a.yaml"]);
}

#[test]
fn what_may_have_moved_is_not_gone_yet() {
    let mut lab = Lab::with(&["old/a.yaml"]);
    lab.remove("old/a.yaml");
    lab.put("new/a.yaml", 10, 100);
    lab.hints.unheard.insert(path("new"));
    let plan = lab.plan();
    assert_eq!((plan.read.len(), plan.removed.len()), (0, 0));
    lab.now += T.delete_grace;
    let plan = lab.plan();
    assert_eq!((plan.read.len(), plan.removed.len()), (0, 0));
    assert_eq!(plan.wake, Some(lab.now + T.stable - T.delete_grace));
    lab.now += T.stable - T.delete_grace;
    let plan = lab.plan();
    assert_eq!((plan.read.len(), plan.removed.len()), (1, 1), "both at once");
}

#[test]
fn a_file_that_never_settles_does_not_keep_others_alive() {
    let mut lab = Lab::with(&["a.yaml", "log.yaml"]);
    lab.remove("a.yaml");
    let mut passes = 0;
    while lab.removed() == NONE {
        passes += 1;
        lab.put("log.yaml", 11, 1_000 + passes);
        lab.now += T.stable / 2;
        assert!(passes < 100);
    }
}
