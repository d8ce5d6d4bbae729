//! One pass over a directory: scan, read what changed, put together. Blocking; knows no runtime.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use roadstead_model::{SourceName, snapshot::SourceState};

use super::{
    cache::Cache,
    directory::Directory,
    inotify::Watches,
    parsed::Parsed,
    scan::{self, ReadError, Scan, Stamp},
    tracker::{Hints, Plan, Timing, Tracker},
};
use crate::{confirm::Confirmed, view::SourceView};

/// How often one pass scans again because new directories appeared meanwhile.
const MAX_SCANS: usize = 8;

/// Everything that watching one directory needs between passes.
#[derive(Debug)]
pub(super) struct Worker {
    root: PathBuf,
    timing: Timing,
    watches: Watches,
    hints: Hints,
    tracker: Tracker,
    directory: Directory,
    metallb: Option<Arc<str>>,
    /// What the documents of each file said.
    caches: HashMap<PathBuf, Cache>,
}

/// What a pass came to.
#[derive(Debug)]
pub(super) struct Pass {
    /// What the source says now.
    pub(super) view: Arc<SourceView>,
    /// The next pass is due then, events or none.
    pub(super) wake: Instant,
}

/// What became of a file that was to be read.
enum Outcome {
    Parsed(Stamp, Parsed),
    Unreadable(String),
}

impl Worker {
    /// `metallb` is the namespace whose MetalLB objects are read, if any.
    pub(super) fn new(
        source: SourceName,
        root: PathBuf,
        metallb: Option<Arc<str>>,
        timing: Timing,
    ) -> Self {
        Self {
            watches: Watches::new(),
            hints: Hints::default(),
            tracker: Tracker::new(root.clone(), timing),
            directory: Directory::new(source).with_metallb(metallb.is_some()),
            metallb,
            caches: HashMap::new(),
            root,
            timing,
        }
    }

    /// See [`Watches::descriptor`].
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watches.descriptor()
    }

    /// Takes note of the events there are, so that the descriptor is readable for new ones only.
    pub(super) fn hear(&mut self) {
        self.watches.drain(&mut self.hints, Instant::now());
    }

    /// Brings the view up to date with the directory.
    pub(super) fn pass(&mut self) -> Pass {
        self.hear();
        let heard = self.hints.heard;
        let wake = match self.scan() {
            Ok(scan) => self.follow(&scan, heard),
            Err(error) => {
                let why = format!("the directory cannot be read ({error})");
                self.directory.handle_vanished(&self.root, why);
                Instant::now().checked_add(self.timing.retry)
            }
        };
        let now = Instant::now();
        self.directory.handle_timeout(now);
        self.directory.set_hindrance(&self.root, self.watches.hindrance());
        let view = self.directory.view();
        Pass { view, wake: self.wake(wake, now) }
    }

    /// An operator's order: whatever is in doubt is taken as it is now.
    pub(super) fn confirm(&mut self) -> (Pass, Confirmed) {
        let before = self.pass().view;
        if before.state != SourceState::Current {
            let scan = self.scan();
            let gone = self.tracker.confirm(scan.as_ref().ok());
            self.directory.confirm(&gone);
        }
        let pass = self.pass();
        let confirmed = Confirmed::of(self.directory.source(), &before, &pass.view);
        (pass, confirmed)
    }

    /// A scan that began with every directory watched.
    fn scan(&mut self) -> io::Result<Scan> {
        let mut scan = scan::scan(&self.root)?;
        for _ in 0..MAX_SCANS {
            if !self.watches.sync(&scan.directories, &mut self.hints) {
                break;
            }
            scan = scan::scan(&self.root)?;
        }
        Ok(scan)
    }

    /// Does what a scan asks for. Returns when the next is due: soon where events were heard since
    /// before it, `heard` of them, for what they told may have come too late for the scan.
    fn follow(&mut self, scan: &Scan, heard: u64) -> Option<Instant> {
        let now = Instant::now();
        self.watches.drain(&mut self.hints, now);
        let plan = self.tracker.plan(scan, &mut self.hints, now);
        self.directory.set_vacant(&self.root, plan.vacant.clone());
        self.watches.settle(&mut self.hints);
        let read = self.read(&plan);
        // Whatever was written to while it was read is not taken.
        self.watches.drain(&mut self.hints, Instant::now());
        let incomplete = self.take(read);
        for path in &plan.removed {
            self.directory.handle_removed(path);
        }
        self.take_excess(&scan.excess);
        let mut doubts = scan.doubts(&self.root);
        doubts.extend(plan.doubt);
        self.directory.handle_scanned(doubts);
        let retry = incomplete.then(|| now.checked_add(self.timing.stable)).flatten();
        let news = self.hints.heard != heard;
        let again = news.then(|| Instant::now().checked_add(self.timing.settle)).flatten();
        plan.wake.into_iter().chain(retry).chain(again).min()
    }

    fn read(&mut self, plan: &Plan) -> Vec<(PathBuf, Option<Outcome>)> {
        let read = |(path, stamp): &(PathBuf, Stamp)| (path.clone(), self.read_file(path, *stamp));
        let outcomes = plan.read.iter().map(read).collect();
        for path in &plan.removed {
            self.caches.remove(path);
        }
        outcomes
    }

    /// `None` where a later scan tells more.
    fn read_file(&mut self, path: &Path, stamp: Stamp) -> Option<Outcome> {
        match scan::read(path, &stamp) {
            Ok(text) => {
                let new = || Cache::new(self.metallb.clone());
                let cache = self.caches.entry(path.to_path_buf()).or_insert_with(new);
                let parsed = cache.parse(self.directory.source(), path, &text);
                Some(Outcome::Parsed(stamp, parsed))
            }
            Err(ReadError::Changing) => None,
            Err(error) => Some(Outcome::Unreadable(error.to_string())),
        }
    }

    /// Takes what was read. True where a file must be read again.
    fn take(&mut self, read: Vec<(PathBuf, Option<Outcome>)>) -> bool {
        let mut incomplete = false;
        for (path, outcome) in read {
            let written = self.hints.writing.contains_key(&path);
            match outcome.filter(|_| !written) {
                Some(Outcome::Parsed(stamp, parsed)) => {
                    self.tracker.note_read(&path, stamp);
                    self.directory.handle_parsed(&path, parsed, Instant::now());
                }
                Some(Outcome::Unreadable(why)) => {
                    self.tracker.note_unreadable(&path);
                    self.directory.handle_unreadable(&path, &why, Instant::now());
                }
                None => incomplete = true,
            }
        }
        incomplete
    }

    fn take_excess(&mut self, excess: &BTreeMap<PathBuf, String>) {
        for (path, why) in excess {
            self.tracker.note_unreadable(path);
            self.directory.handle_unreadable(path, why, Instant::now());
        }
    }

    fn wake(&self, soon: Option<Instant>, now: Instant) -> Instant {
        let listens = self.watches.hindrance().is_none();
        let usual = if listens { self.timing.rescan } else { self.timing.poll };
        let usual = now.checked_add(usual);
        let due = soon.into_iter().chain(usual).chain(self.directory.poll_timeout()).min();
        due.unwrap_or(now)
    }
}

/// Reads a directory or a single file once, for `roadstead check`: the view with every problem.
/// `metallb` is the namespace whose MetalLB objects are read, if any.
///
/// # Errors
/// When the path cannot be read at all.
pub fn check(
    source: &SourceName,
    path: &Path,
    metallb: Option<Arc<str>>,
) -> io::Result<SourceView> {
    check_all(source, &[path], metallb)
}

/// The same for several, taken together as if they were one directory.
///
/// # Errors
/// When one of the paths cannot be read at all.
pub fn check_all(
    source: &SourceName,
    paths: &[impl AsRef<Path>],
    metallb: Option<Arc<str>>,
) -> io::Result<SourceView> {
    let mut directory = Directory::new(source.clone()).with_metallb(metallb.is_some());
    let mut doubts = BTreeMap::new();
    for path in paths {
        doubts.extend(read_once(&mut directory, path.as_ref(), metallb.as_ref())?);
    }
    directory.handle_scanned(doubts);
    Ok(SourceView::clone(&directory.view()))
}

/// Reads what is under a path into a directory; what of it is in doubt.
fn read_once(
    directory: &mut Directory,
    path: &Path,
    metallb: Option<&Arc<str>>,
) -> io::Result<BTreeMap<PathBuf, String>> {
    let source = directory.source().clone();
    let metadata = std::fs::metadata(path)?;
    let scan = if metadata.is_dir() { scan::scan(path)? } else { scan::only(path, &metadata) };
    for (path, stamp) in &scan.files {
        match scan::read(path, stamp) {
            Ok(text) => {
                let parsed = Cache::new(metallb.cloned()).parse(&source, path, &text);
                directory.handle_parsed(path, parsed, Instant::now());
            }
            Err(error) => directory.handle_unreadable(path, &error.to_string(), Instant::now()),
        }
    }
    for (path, why) in &scan.excess {
        directory.handle_unreadable(path, why, Instant::now());
    }
    Ok(scan.doubts(path))
}

#[cfg(test)]
mod tests;
