//! Which files are to be read, which are gone, what is in doubt. Pure: scans, hints and `now` in,
//! a plan out.
//!
//! # Half-saved files never count
//! A file that inotify saw written to and not yet closed waits for the close. A file whose stamp
//! changed without any word from inotify (a network file system, a directory that was not watched
//! yet) is read once two scans a moment apart find it the same. A file that is gone is believed to
//! be gone after a moment, since editors delete and create where they could rename.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::scan::{FileId, Scan, Stamp};

/// The spans of time that watching a directory knows.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// After an event, how long the next one is waited for before the directory is read.
    pub settle: Duration,
    /// The longest that events can put off reading.
    pub settle_most: Duration,
    /// How long a file must be missing before it counts as deleted.
    pub delete_grace: Duration,
    /// How long a file must stay as it is, where nothing else tells that it is complete.
    pub stable: Duration,
    /// How long another directory in the place of a known one must stay as it is to be believed.
    pub refill: Duration,
    /// How soon a directory in doubt is looked at again.
    pub retry: Duration,
    /// How soon a directory that cannot be watched is looked at again.
    pub poll: Duration,
    /// How often a watched directory is read for events that were missed.
    pub rescan: Duration,
    /// How long a writer that went silent without closing is waited for.
    pub writer_patience: Duration,
}

impl Timing {
    /// What daemons use: a change is seen in 2 to 5 ms, a deletion in 22 to 25 ms.
    pub const DEFAULT: Self = Self {
        settle: Duration::from_millis(2),
        settle_most: Duration::from_millis(20),
        delete_grace: Duration::from_millis(20),
        stable: Duration::from_millis(50),
        refill: Duration::from_secs(1),
        retry: Duration::from_millis(250),
        poll: Duration::from_secs(1),
        rescan: Duration::from_secs(30),
        writer_patience: Duration::from_secs(30),
    };
}

/// What events said since the last plan, and what they still say.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// Files that somebody writes to, since the last sign of it.
    pub(super) writing: HashMap<PathBuf, Instant>,
    /// Files that were closed after writing, or moved to where they are: complete.
    pub(super) complete: HashSet<PathBuf>,
    /// Directories whose events are not known whole: not watched, or only just.
    pub(super) unheard: HashSet<PathBuf>,
    /// The kernel threw events away.
    pub(super) lost: bool,
    /// How many events were heard so far.
    pub(super) heard: u64,
}

/// What is to be done after a scan.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Read these.
    pub(super) read: Vec<(PathBuf, Stamp)>,
    /// These were deleted.
    pub(super) removed: Vec<PathBuf>,
    /// The part of the directory that is in doubt, and why.
    pub(super) doubt: Option<(PathBuf, String)>,
    /// Why the directory as a whole says nothing yet about what it does not hold.
    pub(super) vacant: Option<String>,
    /// Scan again no later than this.
    pub(super) wake: Option<Instant>,
}

/// What was seen of each file.
#[derive(Debug)]
pub(super) struct Tracker {
    root: PathBuf,
    timing: Timing,
    /// The files that are known: their stamps when they were read, none where they could not be.
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
    /// Files that changed without a word, and since when they look as they do.
    unsettled: HashMap<PathBuf, (Stamp, Instant)>,
    /// Files that are missing, and when that is believed.
    missing: BTreeMap<PathBuf, Instant>,
    /// Directories as they were when all was believed.
    directories: BTreeMap<PathBuf, FileId>,
    /// How many files another directory in the place of a known one has, and since when.
    refilled: Option<(usize, Instant)>,
    /// Whether the directory held no manifests at the start: perhaps it is not mounted yet.
    vacant: bool,
    started: bool,
}

impl Tracker {
    pub(super) fn new(root: PathBuf, timing: Timing) -> Self {
        Self {
            root,
            timing,
            stamps: BTreeMap::new(),
            unsettled: HashMap::new(),
            missing: BTreeMap::new(),
            directories: BTreeMap::new(),
            refilled: None,
            vacant: false,
            started: false,
        }
    }

    /// What to do about a scan. `hints` lose what is used up.
    pub(super) fn plan(&mut self, scan: &Scan, hints: &mut Hints, now: Instant) -> Plan {
        let mut plan = Plan::default();
        self.expire_writers(hints, now);
        plan.doubt = self.doubt(scan, now);
        plan.vacant = self.vacancy(scan, now);
        for (path, stamp) in &scan.files {
            self.missing.remove(path);
            if self.is_due(path, stamp, hints, now) {
                plan.read.push((path.clone(), *stamp));
            }
        }
        self.unsettled.retain(|path, _| scan.files.contains_key(path));
        plan.removed = self.removed(scan, plan.doubt.as_ref(), now);
        plan.wake = self.wake();
        if plan.doubt.is_none() {
            self.directories.clone_from(&scan.directories);
        }
        self.started = true;
        hints.complete.clear();
        hints.lost = false;
        plan
    }

    /// An operator's order: what a scan shows is the truth, and without a scan there is nothing.
    /// Returns the files that are gone.
    pub(super) fn confirm(&mut self, scan: Option<&Scan>) -> Vec<PathBuf> {
        let is_there = |path: &PathBuf| {
            scan.is_some_and(|s| s.files.contains_key(path) || s.is_too_much(path))
        };
        let gone = self.stamps.keys().filter(|path| !is_there(path)).cloned().collect();
        self.stamps.retain(|path, _| is_there(path));
        self.missing.clear();
        self.directories = scan.map(|scan| scan.directories.clone()).unwrap_or_default();
        self.refilled = None;
        self.vacant = false;
        self.started = true;
        gone
    }

    /// A file was read while it looked like `stamp`.
    pub(super) fn note_read(&mut self, path: &Path, stamp: Stamp) {
        self.unsettled.remove(path);
        self.stamps.insert(path.to_path_buf(), Some(stamp));
    }

    /// A file is known and could not be read; it is tried again with every scan.
    pub(super) fn note_unreadable(&mut self, path: &Path) {
        self.unsettled.remove(path);
        self.stamps.insert(path.to_path_buf(), None);
    }

    fn expire_writers(&self, hints: &mut Hints, now: Instant) {
        if hints.lost {
            hints.writing.clear();
        }
        let patience = self.timing.writer_patience;
        hints.writing.retain(|_, since| now.saturating_duration_since(*since) < patience);
    }

    fn is_due(&mut self, path: &Path, stamp: &Stamp, hints: &Hints, now: Instant) -> bool {
        let known = self.stamps.get(path).copied().flatten();
        if known == Some(*stamp) {
            self.unsettled.remove(path);
            return false;
        }
        if hints.writing.contains_key(path) {
            return false;
        }
        if !self.started || hints.complete.contains(path) {
            return true;
        }
        let replaced = known.is_none_or(|known| known.file != stamp.file);
        let heard = !hints.lost && path.parent().is_some_and(|dir| !hints.unheard.contains(dir));
        let told = replaced && heard && !self.unsettled.contains_key(path);
        told || self.is_stable(path, stamp, now)
    }

    /// Whether a file looks the same for long enough.
    fn is_stable(&mut self, path: &Path, stamp: &Stamp, now: Instant) -> bool {
        let entry = self.unsettled.entry(path.to_path_buf()).or_insert((*stamp, now));
        if entry.0 != *stamp {
            *entry = (*stamp, now);
        }
        let stable = now.saturating_duration_since(entry.1) >= self.timing.stable;
        if stable {
            self.unsettled.remove(path);
        }
        stable
    }

    fn removed(
        &mut self,
        scan: &Scan,
        doubt: Option<&(PathBuf, String)>,
        now: Instant,
    ) -> Vec<PathBuf> {
        let held = |path: &Path| {
            scan.may_hold(path) || doubt.is_some_and(|(below, _)| path.starts_with(below))
        };
        for path in self.stamps.keys() {
            if !scan.files.contains_key(path) && !held(path) {
                let believed = now.checked_add(self.timing.delete_grace).unwrap_or(now);
                self.missing.entry(path.clone()).or_insert(believed);
            }
        }
        self.missing.retain(|path, _| !held(path));
        let believed = |at: Instant| at <= now && !self.may_have_moved(at, now);
        let gone: Vec<_> = self
            .missing
            .iter()
            .filter(|(_, at)| believed(**at))
            .map(|(path, _)| path.clone())
            .collect();
        for path in &gone {
            self.missing.remove(path);
            self.stamps.remove(path);
        }
        gone
    }

    /// Whether the objects of a missing file may be in one that was not read yet, because a
    /// directory was renamed: objects that only move are never gone for a moment. Not for long,
    /// since somebody may write to another file without an end.
    fn may_have_moved(&self, missing: Instant, now: Instant) -> bool {
        !self.unsettled.is_empty() && now.saturating_duration_since(missing) < self.timing.refill
    }

    fn wake(&self) -> Option<Instant> {
        let after = |since: Instant, span| since.checked_add(span);
        let settled =
            self.unsettled.values().filter_map(|(_, at)| after(*at, self.timing.stable)).min();
        let missing = self.missing.values().min().map(|at| settled.map_or(*at, |s| s.max(*at)));
        let refilled = self.refilled.and_then(|(_, at)| after(at, self.timing.refill));
        settled.into_iter().chain(missing).chain(refilled).min()
    }

    /// A directory without a manifest at the start may be a mount that did not come up: it says
    /// nothing until there are manifests, and nobody has added one for a moment.
    fn vacancy(&mut self, scan: &Scan, now: Instant) -> Option<String> {
        let count = scan.files.len();
        self.vacant |= !self.started && count == 0 && scan.excess.is_empty();
        if !self.vacant {
            return None;
        }
        if count == 0 {
            self.refilled = None;
            let why = "holds no manifests; a file, or `roadstead confirm`, makes that knowledge";
            return Some(why.to_owned());
        }
        self.vacant = !self.is_filled(count, now);
        let why = "held no manifests at the start, and is being filled";
        self.vacant.then(|| why.to_owned())
    }

    /// Whether as many files as now have been there for long enough.
    fn is_filled(&mut self, count: usize, now: Instant) -> bool {
        let same = self.refilled.filter(|(before, _)| *before == count);
        let (_, since) = *self.refilled.insert(same.unwrap_or((count, now)));
        let filled = now.saturating_duration_since(since) >= self.timing.refill;
        if filled {
            self.refilled = None;
        }
        filled
    }

    /// A directory that lost files and is not the one it was (unmounted, mounted over, made anew)
    /// says nothing about them while it is empty, and while somebody is filling it again.
    fn doubt(&mut self, scan: &Scan, now: Instant) -> Option<(PathBuf, String)> {
        let Some((path, count)) = self.replaced(scan) else {
            if !self.vacant {
                self.refilled = None;
            }
            return None;
        };
        if count == 0 {
            self.refilled = None;
            let why =
                "another directory than before, and empty: unmounted, mounted over or made anew";
            return Some((path, why.to_owned()));
        }
        if self.is_filled(count, now) {
            return None;
        }
        let why = "another directory than before, with fewer files: perhaps it is being filled";
        Some((path, why.to_owned()))
    }

    /// A directory that is another one and lacks files that are known, and how many files it has.
    /// Below the root only another device counts: a subdirectory is easily deleted and made again
    /// on purpose.
    fn replaced(&self, scan: &Scan) -> Option<(PathBuf, usize)> {
        let is_other = |path: &PathBuf, before: &FileId| {
            scan.directories.get(path).is_some_and(|now| {
                now.device != before.device || *path == self.root && now != before
            })
        };
        let lacks = |path: &PathBuf| {
            let mut known = self.stamps.keys().filter(|file| file.starts_with(path));
            known.any(|file| !scan.files.contains_key(file))
        };
        let mut others = self.directories.iter().filter(|(path, before)| is_other(path, before));
        let (path, _) = others.find(|(path, _)| lacks(path))?;
        let count = scan.files.keys().filter(|file| file.starts_with(path)).count();
        Some((path.clone(), count))
    }
}

#[cfg(test)]
mod tests;
