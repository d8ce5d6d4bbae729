//! The kernel's word on who writes to which file: inotify on a directory and all below it.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    time::Instant,
};

use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask};

use super::{
    scan::{FileId, is_manifest},
    tracker::Hints,
};

/// Bytes read at a time: some 100 events with names of usual length.
const BUFFER: usize = 8192;

/// The watched directories. Without inotify (none left in the system) nothing is heard.
#[derive(Debug)]
pub(super) struct Watches {
    inotify: Result<Inotify, String>,
    paths: HashMap<WatchDescriptor, PathBuf>,
    watched: BTreeMap<PathBuf, (FileId, WatchDescriptor)>,
    /// Why some directory is not watched.
    lacking: Option<String>,
}

impl Watches {
    /// Asks the kernel for an inotify instance; a refusal is kept for [`Self::hindrance`].
    pub(super) fn new() -> Self {
        let inotify = Inotify::init().map_err(|error| format!("inotify is refused ({error})"));
        Self { inotify, paths: HashMap::new(), watched: BTreeMap::new(), lacking: None }
    }

    /// A descriptor that becomes readable when there are events.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().ok().map(Inotify::as_fd)
    }

    /// Why changes are not heard of at once, if they are not.
    pub(super) fn hindrance(&self) -> Option<String> {
        let why = self.inotify.as_ref().err().or(self.lacking.as_ref())?;
        Some(format!(
            "{why}: changes are seen late; raise fs.inotify.max_user_instances and max_user_watches"
        ))
    }

    /// Watches exactly these directories. True where a new watch was made, so that what happened
    /// before it was not heard. Such directories are marked in `hints`.
    pub(super) fn sync(
        &mut self,
        directories: &BTreeMap<PathBuf, FileId>,
        hints: &mut Hints,
    ) -> bool {
        self.forget(directories);
        self.lacking = None;
        let mut grown = false;
        for (path, id) in directories {
            if self.watched.get(path).is_some_and(|(known, _)| known == id) {
                continue;
            }
            hints.unheard.insert(path.clone());
            grown |= self.add(path, *id);
        }
        grown
    }

    /// After a scan that began with every watch in place, all directories are heard.
    pub(super) fn settle(&self, hints: &mut Hints) {
        hints.unheard.retain(|path| !self.watched.contains_key(path));
    }

    /// Reads all events there are into `hints`.
    pub(super) fn drain(&mut self, hints: &mut Hints, now: Instant) {
        let mut buffer = [0; BUFFER];
        while let Ok(inotify) = &mut self.inotify {
            let Ok(events) = inotify.read_events(&mut buffer) else {
                return;
            };
            let events: Vec<_> = events.map(|event| event.to_owned()).collect();
            for event in events {
                self.handle(&event, hints, now);
            }
        }
    }

    fn handle<S: AsRef<OsStr>>(&mut self, event: &Event<S>, hints: &mut Hints, now: Instant) {
        hints.heard = hints.heard.wrapping_add(1);
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            hints.lost = true;
        } else if event.mask.contains(EventMask::IGNORED) {
            self.ignored(&event.wd);
        } else if let (Some(directory), Some(name)) = (self.paths.get(&event.wd), &event.name)
            && is_manifest(name.as_ref())
        {
            note(directory.join(name.as_ref()), event.mask, hints, now);
        }
    }

    /// The kernel dropped a watch: the directory is gone, or unmounted.
    fn ignored(&mut self, wd: &WatchDescriptor) {
        if let Some(path) = self.paths.remove(wd) {
            self.watched.remove(&path);
        }
    }

    fn add(&mut self, path: &Path, id: FileId) -> bool {
        let mask = WatchMask::CREATE
            | WatchMask::MODIFY
            | WatchMask::CLOSE_WRITE
            | WatchMask::ATTRIB
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let Ok(inotify) = &mut self.inotify else {
            return false;
        };
        match inotify.watches().add(path, mask) {
            Ok(wd) => {
                self.paths.insert(wd.clone(), path.to_path_buf());
                self.watched.insert(path.to_path_buf(), (id, wd));
                true
            }
            Err(error) => {
                self.lacking = Some(format!("{}: no watch ({error})", path.display()));
                false
            }
        }
    }

    /// Ends the watches of directories that are gone or are others now.
    fn forget(&mut self, directories: &BTreeMap<PathBuf, FileId>) {
        let stale = |path: &PathBuf, id: FileId| directories.get(path) != Some(&id);
        let gone: Vec<_> = self
            .watched
            .iter()
            .filter(|(path, (id, _))| stale(path, *id))
            .map(|(path, (_, wd))| (path.clone(), wd.clone()))
            .collect();
        for (path, wd) in gone {
            self.watched.remove(&path);
            self.paths.remove(&wd);
            if let Ok(inotify) = &mut self.inotify {
                // The kernel may have dropped it already, which is as good.
                let _ = inotify.watches().remove(wd);
            }
        }
    }
}

fn note(path: PathBuf, mask: EventMask, hints: &mut Hints, now: Instant) {
    if mask.contains(EventMask::MODIFY) {
        hints.complete.remove(&path);
        hints.writing.insert(path, now);
    } else if mask.intersects(EventMask::CLOSE_WRITE | EventMask::MOVED_TO) {
        hints.writing.remove(&path);
        hints.complete.insert(path);
    } else if mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM) {
        hints.writing.remove(&path);
        hints.complete.remove(&path);
    }
}
