//! What is in a directory: names and stamps, no contents.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ffi::{OsStr, OsString},
    fs::{self, Metadata},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use nix::libc::O_NONBLOCK;

/// Largest file that is read.
pub const MAX_FILE_BYTES: u64 = 8 << 20;
/// Most bytes of all files of a directory taken together.
pub const MAX_TOTAL_BYTES: u64 = 32 << 20;
/// Most files of a directory: manifests that are read, and paths that are named as not readable.
pub const MAX_FILES: usize = 10_000;
/// Most names of one directory that are looked at, the first in order: a directory of millions of
/// files must not fill the memory.
pub(super) const MAX_NAMES: usize = 50_000;
/// Most directories that are entered: a link to `/` must not have the whole machine walked.
pub(super) const MAX_DIRECTORIES: usize = 1_000;
/// Deepest subdirectory.
const MAX_DEPTH: usize = 16;

/// Tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Which file: device and inode.
    pub file: FileId,
    /// Bytes.
    pub size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// `st_dev`: changes when something is mounted or unmounted.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// What a directory holds.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Manifests: regular files with the right ending, by path.
    pub files: BTreeMap<PathBuf, Stamp>,
    /// The directory itself and all below it.
    pub directories: BTreeMap<PathBuf, FileId>,
    /// Directories and links that cannot be followed, with why. What was below them is in doubt.
    pub unreadable: BTreeMap<PathBuf, String>,
    /// Files that are not read because those before them take too many bytes, with why.
    pub excess: BTreeMap<PathBuf, String>,
    /// What there is beyond [`MAX_FILES`]: counted, and not kept by name.
    pub overflow: Option<Overflow>,
}

/// Manifests beyond the most that a directory may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// The first of them, in the order of paths.
    pub first: PathBuf,
    /// How many there are.
    pub count: usize,
}

impl Overflow {
    /// Whether a path is one of them, as far as that is known: every path from the first on.
    pub fn may_hold(&self, path: &Path) -> bool {
        path >= self.first.as_path()
    }

    /// For people.
    pub fn why(&self) -> String {
        let Self { first, count } = self;
        format!(
            "{count} files too many, from {} on: {MAX_FILES} are read; split the directory",
            first.display()
        )
    }
}

impl Scan {
    /// Whether a file may be there although it is not among [`Self::files`]: one of too much, or
    /// in a part that cannot be read.
    pub fn may_hold(&self, path: &Path) -> bool {
        self.is_too_much(path) || path.ancestors().any(|above| self.unreadable.contains_key(above))
    }

    /// Whether a file is not read because there is too much.
    pub fn is_too_much(&self, path: &Path) -> bool {
        self.excess.contains_key(path)
            || self.overflow.as_ref().is_some_and(|overflow| overflow.may_hold(path))
    }

    /// What is in doubt, with why; `root` stands for what is not kept by name.
    pub fn doubts(&self, root: &Path) -> BTreeMap<PathBuf, String> {
        let overflow = self.overflow.as_ref().map(|it| (root.to_path_buf(), it.why()));
        let unreadable = self.unreadable.iter().map(|(path, why)| (path.clone(), why.clone()));
        unreadable.chain(overflow).collect()
    }
}

/// Lists a directory and everything below it, symbolic links followed, each directory once.
///
/// # Errors
/// When the directory itself cannot be listed. What is wrong below it is part of the result.
pub fn scan(root: &Path) -> io::Result<Scan> {
    let mut walk = Walk {
        scan: Scan::default(),
        directories: HashSet::new(),
        files: HashSet::new(),
        full: false,
        entries: 0,
        bytes: 0,
    };
    let metadata = fs::metadata(root)?;
    if !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
    }
    walk.directory(root, &metadata, 0)?;
    Ok(walk.scan)
}

/// A single file, as a scan of nothing else.
pub(super) fn only(path: &Path, metadata: &Metadata) -> Scan {
    Scan { files: BTreeMap::from([(path.to_path_buf(), Stamp::of(metadata))]), ..Scan::default() }
}

/// Whether a file's name is one that is read. Dotfiles are not, nor are the files that editors
/// leave beside the one being edited (`x.yaml~`, `#x.yaml#`, `4913`, `x.yaml.swp`, `x.tmp`): none
/// of them ends like a manifest.
pub fn is_manifest(name: &OsStr) -> bool {
    const ENDINGS: [&[u8]; 3] = [b".yaml", b".yml", b".json"];
    let name = name.as_bytes();
    let hidden = name.starts_with(b".") || name.starts_with(b"#");
    !hidden && ENDINGS.iter().any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

/// Why a file's contents cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It changed while it was read, or went away: a later scan tells more.
    #[error("it changed while it was read")]
    Changing,
    /// It is larger than [`MAX_FILE_BYTES`].
    #[error("larger than {} MiB; split it", MAX_FILE_BYTES >> 20)]
    TooLarge,
    /// It is not UTF-8.
    #[error("not text (UTF-8)")]
    NotText,
    /// The system refuses.
    #[error("cannot be read: {0}")]
    Io(#[source] io::Error),
}

/// Reads a file of which `stamp` was seen.
///
/// # Errors
/// See [`ReadError`].
pub fn read(path: &Path, stamp: &Stamp) -> Result<String, ReadError> {
    if stamp.size > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge);
    }
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::Changing,
        _ => ReadError::Io(error),
    };
    // Never to wait: a FIFO may have taken the file's place, and some of /proc's files wait too.
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).custom_flags(O_NONBLOCK).open(path).map_err(gone)?;
    let mut bytes = Vec::with_capacity(usize::try_from(stamp.size).unwrap_or(0).saturating_add(1));
    (&file)
        .take(MAX_FILE_BYTES.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(ReadError::Io)?;
    let after = Stamp::of(&file.metadata().map_err(ReadError::Io)?);
    if after != *stamp {
        return Err(ReadError::Changing);
    }
    String::from_utf8(bytes).map_err(|_| ReadError::NotText)
}

impl Stamp {
    /// A stamp that no file system made.
    #[cfg(test)]
    pub(super) fn for_tests(file: FileId, size: u64) -> Self {
        Self { file, size, modified: (0, 0), changed: (0, 0) }
    }

    fn of(metadata: &Metadata) -> Self {
        Self {
            file: FileId::of(metadata),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

struct Walk {
    scan: Scan,
    /// Directories that were entered: a link back to one of them is no loop.
    directories: HashSet<FileId>,
    /// Files that were found: one file under two names is read once, under the first.
    files: HashSet<FileId>,
    /// Whether [`MAX_DIRECTORIES`] was reached.
    full: bool,
    /// Paths that were kept, against [`MAX_FILES`].
    entries: usize,
    /// Bytes of the files that were kept.
    bytes: u64,
}

impl Walk {
    fn directory(&mut self, path: &Path, metadata: &Metadata, depth: usize) -> io::Result<()> {
        if !self.directories.insert(FileId::of(metadata)) {
            return Ok(());
        }
        let names = Names::of(path)?;
        self.scan.directories.insert(path.to_path_buf(), FileId::of(metadata));
        for name in &names.first {
            self.entry(path.join(name), depth);
        }
        if let Some(next) = names.next {
            self.overflow(path.join(next), names.manifests_left_out);
        }
        Ok(())
    }

    fn entry(&mut self, path: PathBuf, depth: usize) {
        let Some(name) = path.file_name() else { return };
        let manifest = is_manifest(name);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => self.subdirectory(path, &metadata, depth),
            Ok(metadata) if metadata.is_file() && manifest => self.file(path, &metadata),
            Ok(_) => {}
            Err(error) if manifest => self.unreadable(path, &error),
            Err(_) => {}
        }
    }

    fn subdirectory(&mut self, path: PathBuf, metadata: &Metadata, depth: usize) {
        let below = depth.saturating_add(1);
        if below > MAX_DEPTH {
            let why = format!("more than {MAX_DEPTH} directories deep, not read");
            self.in_doubt(path, why);
        } else if self.directories.len() >= MAX_DIRECTORIES {
            self.too_many(path);
        } else if let Err(error) = self.directory(&path, metadata, below) {
            self.unreadable(path, &error);
        }
    }

    /// The first directory too many speaks for all of them.
    fn too_many(&mut self, path: PathBuf) {
        if !self.full {
            self.full = true;
            let why = format!("one of more than {MAX_DIRECTORIES} directories, not read");
            self.scan.unreadable.insert(path, why);
        }
    }

    /// Files come in the order of their paths, so that what is too much is taken from the end.
    fn file(&mut self, path: PathBuf, metadata: &Metadata) {
        let stamp = Stamp::of(metadata);
        if self.files.contains(&stamp.file) || !self.has_room(&path) {
            return;
        }
        self.files.insert(stamp.file);
        let too_large = stamp.size > MAX_FILE_BYTES;
        let grown = self.bytes.saturating_add(if too_large { 0 } else { stamp.size });
        if grown > MAX_TOTAL_BYTES {
            let why = format!("the files before it take {} MiB already", MAX_TOTAL_BYTES >> 20);
            self.scan.excess.insert(path, why);
        } else {
            self.bytes = grown;
            self.scan.files.insert(path, stamp);
        }
    }

    /// What vanished between the listing and the look at it is not there; a link that leads
    /// nowhere is.
    fn unreadable(&mut self, path: PathBuf, error: &io::Error) {
        let missing = error.kind() == io::ErrorKind::NotFound;
        if !missing {
            self.in_doubt(path, format!("cannot be read: {error}"));
        } else if fs::symlink_metadata(&path).is_ok() {
            self.in_doubt(path, "the link leads nowhere".to_owned());
        }
    }

    fn in_doubt(&mut self, path: PathBuf, why: String) {
        if self.has_room(&path) {
            self.scan.unreadable.insert(path, why);
        }
    }

    /// Whether one more path may be kept; if not, it is counted.
    fn has_room(&mut self, path: &Path) -> bool {
        let room = self.entries < MAX_FILES;
        if room {
            self.entries = self.entries.saturating_add(1);
        } else {
            self.overflow(path.to_path_buf(), 1);
        }
        room
    }

    fn overflow(&mut self, path: PathBuf, count: usize) {
        let overflow = self.scan.overflow.get_or_insert(Overflow { first: path, count: 0 });
        overflow.count = overflow.count.saturating_add(count);
    }
}

/// The names in one directory, in order.
#[derive(Default)]
struct Names {
    /// At most [`MAX_NAMES`], the first ones.
    first: BTreeSet<OsString>,
    /// The first that is not among them.
    next: Option<OsString>,
    /// How many of those that are not among them are manifests by name.
    manifests_left_out: usize,
}

impl Names {
    fn of(path: &Path) -> io::Result<Self> {
        let mut names = Self::default();
        for entry in fs::read_dir(path)? {
            let name = entry?.file_name();
            if !name.as_bytes().starts_with(b".") {
                names.add(name);
            }
        }
        Ok(names)
    }

    fn add(&mut self, name: OsString) {
        self.first.insert(name);
        if self.first.len() <= MAX_NAMES {
            return;
        }
        if let Some(last) = self.first.pop_last() {
            let is_one = usize::from(is_manifest(&last));
            self.manifests_left_out = self.manifests_left_out.saturating_add(is_one);
            if self.next.as_ref().is_none_or(|next| last < *next) {
                self.next = Some(last);
            }
        }
    }
}

#[cfg(test)]
mod tests;
