//! The files of a directory put together: last good objects, doubt, duplicates. No I/O, no clock.
//!
//! # What a file's silence means
//! An object that a file no longer names is gone, if the whole file could be read. It stays as it
//! was if the file cannot be read or parsed, or if one of its objects cannot be named (the missing
//! object may be that one). An object that is named and refused stays as it last was, wherever it
//! stood then. A file with nothing but blanks keeps its objects for [`EMPTY_GRACE`].
//!
//! # Doubt and its end
//! Doubt is about a part of the directory (vanished, unreadable, another one and empty), about the
//! whole (it held no manifests at the start), or about a file (unreadable since the start, so that
//! nobody knows what it held). It ends by itself when that can be read, or by an operator's order
//! ([`Directory::confirm`]): what cannot be read then is gone, and stays gone until it can be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use roadstead_model::{Location, Problem, SourceName, snapshot::SourceState};

use super::{
    parse::{self, MAX_OBJECTS},
    parsed::{Foreign, Parsed, Reading},
};
use crate::{
    gone::Gone,
    objects::{
        Content, Item, Object, ObjectId,
        assemble::{self, Assembled},
    },
    view::SourceView,
};

/// How long a file that was emptied keeps its objects: some programs truncate a file, think, and
/// write it.
pub const EMPTY_GRACE: Duration = Duration::from_secs(5);

/// What is known of the directory's files, and of the objects that they last held.
#[derive(Debug)]
pub struct Directory {
    source: SourceName,
    /// Whether MetalLB's objects are read.
    metallb: bool,
    files: BTreeMap<PathBuf, File>,
    /// How many objects the files hold.
    objects: usize,
    /// The parts of the directory that are in doubt, and why.
    doubts: BTreeMap<PathBuf, String>,
    /// Those of them that an operator's order made knowledge; each until it is over.
    confirmed: BTreeSet<PathBuf>,
    /// The directory and why it says nothing about what it does not hold.
    vacant: Option<(PathBuf, String)>,
    /// Services that went by an order.
    gone: Gone,
    /// Told with every view: what watching lacks.
    hindrance: Option<Problem>,
    /// Whether the directory was ever read whole.
    read: bool,
    /// Every object that the last view was made of: the last good ones.
    last: BTreeMap<ObjectId, Object>,
    view: Arc<SourceView>,
}

#[derive(Debug, Default)]
struct File {
    items: Vec<Item>,
    foreign: Vec<Foreign>,
    problems: Vec<Problem>,
    /// When the objects of an emptied file are believed to be gone.
    emptied: Option<Instant>,
    /// Could not be read since the start: what it held before is not known.
    unknown: bool,
}

impl Directory {
    /// A directory of which nothing is known.
    pub fn new(source: SourceName) -> Self {
        Self {
            source,
            metallb: false,
            files: BTreeMap::new(),
            objects: 0,
            doubts: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            vacant: None,
            gone: Gone::default(),
            hindrance: None,
            read: false,
            last: BTreeMap::new(),
            view: Arc::new(SourceView::unread()),
        }
    }

    /// One whose files MetalLB's objects are read from.
    pub fn with_metallb(self, reads: bool) -> Self {
        Self { metallb: reads, ..self }
    }

    /// The source's name.
    pub fn source(&self) -> &SourceName {
        &self.source
    }

    /// A file was read.
    pub fn handle_parsed(&mut self, path: &Path, parsed: Parsed, now: Instant) {
        let parsed = self.within_budget(path, parsed);
        let first_sight = !self.files.contains_key(path);
        let file = self.files.entry(path.to_path_buf()).or_default();
        let incomplete = matches!(parsed.reading, Reading::Broken | Reading::Nameless);
        file.unknown = incomplete && (file.unknown || first_sight && !self.read);
        let others = self.objects.saturating_sub(file.items.len());
        file.take(path, parsed, now);
        self.objects = others.saturating_add(file.items.len());
        file.share(&self.last);
    }

    /// A file that would make more objects than the directory may hold is not used.
    fn within_budget(&self, path: &Path, parsed: Parsed) -> Parsed {
        let own = self.files.get(path).map_or(0, |file| file.items.len());
        let others = self.objects.saturating_sub(own);
        if others.saturating_add(parsed.items.len()) <= MAX_OBJECTS {
            return parsed;
        }
        let why =
            format!("the other files hold {others} objects; at most {MAX_OBJECTS} are, in all");
        parse::broken(&Arc::new(path.to_path_buf()), 0, &why)
    }

    /// A file is there and cannot be read.
    pub fn handle_unreadable(&mut self, path: &Path, why: &str, now: Instant) {
        let parsed = parse::broken(&Arc::new(path.to_path_buf()), 0, why);
        self.handle_parsed(path, parsed, now);
    }

    /// A file was deleted, which is an order: its objects go.
    pub fn handle_removed(&mut self, path: &Path) {
        let held = self.files.remove(path).map_or(0, |file| file.items.len());
        self.objects = self.objects.saturating_sub(held);
    }

    /// The directory cannot be read: everything stays as it is.
    pub fn handle_vanished(&mut self, root: &Path, why: String) {
        self.set_doubts(BTreeMap::from([(root.to_path_buf(), why)]));
    }

    /// The directory was read, all but some parts of it that are in doubt.
    pub fn handle_scanned(&mut self, doubts: BTreeMap<PathBuf, String>) {
        self.set_doubts(doubts);
        self.read = true;
    }

    fn set_doubts(&mut self, doubts: BTreeMap<PathBuf, String>) {
        self.confirmed.retain(|path| doubts.contains_key(path));
        self.doubts = doubts;
    }

    /// Whether the directory, as a whole, says nothing about what it does not hold, and why.
    pub fn set_vacant(&mut self, root: &Path, why: Option<String>) {
        self.vacant = why.map(|why| (root.to_path_buf(), why));
    }

    /// An operator's order: what could be read is the truth, and what could not be is gone. `gone`
    /// are the files that are not there.
    pub fn confirm(&mut self, gone: &[PathBuf]) {
        for path in gone {
            self.handle_removed(path);
        }
        for (path, file) in &mut self.files {
            file.unknown = false;
            if file.emptied.is_some() {
                self.objects = self.objects.saturating_sub(file.items.len());
                file.believe_empty(path);
            }
        }
        self.confirmed = self.doubts.keys().cloned().collect();
        self.vacant = None;
        self.read = true;
    }

    /// What watching lacks, if anything; told as a warning with every view.
    pub fn set_hindrance(&mut self, path: &Path, why: Option<String>) {
        self.hindrance = why.map(|why| Problem::warning(Location::new(path, 0), why));
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.files.values().filter_map(|file| file.emptied).min()
    }

    /// Believes the files that stayed empty.
    pub fn handle_timeout(&mut self, now: Instant) {
        for (path, file) in &mut self.files {
            if file.emptied.is_some_and(|deadline| deadline <= now) {
                self.objects = self.objects.saturating_sub(file.items.len());
                file.believe_empty(path);
            }
        }
    }

    /// The files that are known.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.keys()
    }

    /// What the source says now. The same `Arc` as before where nothing changed.
    pub fn view(&mut self) -> Arc<SourceView> {
        let items = self.files.values().flat_map(|file| &file.items);
        let Assembled { mut view, last, metallb, problems } =
            assemble::assemble(&self.source, items, &self.last, &self.view);
        view.state = self.state();
        view.problems = self.problems(problems);
        let is_sure = self.metallb && view.state == SourceState::Current;
        view.take_metallb(metallb.filter(|_| is_sure), &self.view);
        // Services never leave a view but by an order: doubt keeps them.
        view.gone = self.gone.note(&self.view, &view);
        self.last = last;
        if *self.view != view {
            self.view = Arc::new(view);
        }
        Arc::clone(&self.view)
    }

    fn state(&self) -> SourceState {
        if !self.read {
            return SourceState::Unread;
        }
        let doubted = self.doubts.iter().find(|(path, _)| !self.confirmed.contains(*path));
        let vacant = self.vacant.as_ref().map(|(path, why)| (path, why));
        if let Some((path, why)) = doubted.or(vacant) {
            return SourceState::Doubtful { reason: format!("{}: {why}", path.display()) };
        }
        let unknown = self.files.iter().find(|(_, file)| file.unknown);
        let emptied = self.files.iter().find(|(_, file)| file.emptied.is_some());
        let (path, why) = match (unknown, emptied) {
            (Some((path, _)), _) => (
                path,
                "not readable since the start, so that nobody knows which objects it held before; repair or delete it, or `roadstead confirm` that they are gone",
            ),
            (None, Some((path, _))) => (path, "emptied a moment ago"),
            (None, None) => return SourceState::Current,
        };
        SourceState::Doubtful { reason: format!("{}: {why}", path.display()) }
    }

    fn problems(&self, across: Vec<Problem>) -> Vec<Problem> {
        let of_files = self.files.values().flat_map(|file| file.problems.iter().cloned());
        let doubt = |(path, why): (&PathBuf, &String)| {
            let location = Location::new(path.clone(), 0);
            if self.confirmed.contains(path) {
                let what = format!("{why}; what it last held is gone, as it was confirmed");
                return Problem::warning(location, what);
            }
            let stays = if self.read { "; what it last held stays" } else { "" };
            Problem::error(location, format!("{why}{stays}"))
        };
        let of_directory = self.doubts.iter().map(doubt).chain(self.hindrance.clone());
        let mut problems: Vec<_> =
            of_directory.chain(across).chain(self.foreign()).chain(of_files).collect();
        problems.sort();
        problems.dedup();
        if problems.len() > MAX_PROBLEMS {
            let more = problems.len().saturating_sub(MAX_PROBLEMS);
            problems.truncate(MAX_PROBLEMS);
            let place = Location::new(PathBuf::from(self.source.as_str()), 0);
            problems.push(Problem::notice(place, format!("{more} more problems are not shown")));
        }
        problems
    }

    /// One notice per foreign kind, at the first of its objects.
    fn foreign(&self) -> Vec<Problem> {
        let mut kinds: BTreeMap<&str, (Location, usize)> = BTreeMap::new();
        for foreign in self.files.values().flat_map(|file| &file.foreign) {
            let first = || (foreign.location.clone(), 0);
            let (_, count) = kinds.entry(foreign.kind.as_str()).or_insert_with(first);
            *count = count.saturating_add(foreign.count);
        }
        let notice = |(kind, (location, count)): (&str, (Location, usize))| {
            let objects = counted(count);
            let what = if kind.contains("(metallb.io/") && self.metallb {
                format!("{kind}: passed over ({objects}); it says nothing of addresses")
            } else if kind.contains("(metallb.io/") {
                format!(
                    "{kind}: passed over ({objects}); `metallb = true` of the source reads them"
                )
            } else {
                format!(
                    "{kind}: passed over ({objects}); Service, Node, Namespace and EndpointSlice are read"
                )
            };
            Problem::notice(location, what)
        };
        kinds.into_iter().map(notice).collect()
    }
}

fn counted(objects: usize) -> String {
    if objects == 1 { "1 object".to_owned() } else { format!("{objects} objects") }
}

/// Most problems told of one directory.
const MAX_PROBLEMS: usize = 1_000;

impl File {
    /// Takes over what was read, keeping what is in doubt.
    fn take(&mut self, path: &Path, parsed: Parsed, now: Instant) {
        match parsed.reading {
            Reading::Whole => self.items = parsed.items,
            Reading::Nameless => self.merge(parsed.items),
            Reading::Broken => {}
            Reading::Blank => return self.take_blank(path, now),
        }
        if parsed.reading != Reading::Broken {
            self.foreign = parsed.foreign;
        }
        self.problems = parsed.problems;
        self.emptied = None;
    }

    fn take_blank(&mut self, path: &Path, now: Instant) {
        self.foreign.clear();
        self.problems.clear();
        if self.items.is_empty() {
            return;
        }
        let count = counted(self.items.len());
        let seconds = EMPTY_GRACE.as_secs();
        self.emptied = self.emptied.or(now.checked_add(EMPTY_GRACE));
        let what = format!("the file was emptied; what it held ({count}) stays for {seconds} s");
        self.problems.push(Problem::warning(Location::new(path, 0), what));
    }

    fn believe_empty(&mut self, path: &Path) {
        let count = counted(self.items.len());
        let what = format!("the file is empty, and what it held ({count}) is gone");
        self.items.clear();
        self.emptied = None;
        self.problems = vec![Problem::notice(Location::new(path, 0), what)];
    }

    /// New items first; then the old ones that are not among them.
    fn merge(&mut self, items: Vec<Item>) {
        let old = std::mem::replace(&mut self.items, items);
        let named: BTreeSet<_> = self.items.iter().map(|item| item.id.clone()).collect();
        self.items.extend(old.into_iter().filter(|item| !named.contains(&item.id)));
    }

    /// Uses the objects of the last view again where they are equal.
    fn share(&mut self, last: &BTreeMap<ObjectId, Object>) {
        for item in &mut self.items {
            if let Content::Good(object) = &mut item.content
                && let Some(same) = last.get(&item.id).filter(|same| *same == object)
            {
                *object = same.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests;
