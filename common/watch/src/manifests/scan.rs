//! What is in a directory: names and stamps, no contents.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
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
/// Most files of a directory.
pub const MAX_FILES: usize = 10_000;
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
    /// Files that are not read because there is too much, with why.
    pub excess: BTreeMap<PathBuf, String>,
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
    };
    let metadata = fs::metadata(root)?;
    if !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
    }
    walk.directory(root, &metadata, 0)?;
    Ok(walk.bounded())
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
}

impl Walk {
    fn directory(&mut self, path: &Path, metadata: &Metadata, depth: usize) -> io::Result<()> {
        if !self.directories.insert(FileId::of(metadata)) {
            return Ok(());
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(path)? {
            paths.push(entry?.path());
        }
        paths.sort();
        self.scan.directories.insert(path.to_path_buf(), FileId::of(metadata));
        for path in paths {
            self.entry(path, depth);
        }
        Ok(())
    }

    fn entry(&mut self, path: PathBuf, depth: usize) {
        let Some(name) = path.file_name() else { return };
        if name.as_bytes().starts_with(b".") {
            return;
        }
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
            self.scan.unreadable.insert(path, why);
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

    fn file(&mut self, path: PathBuf, metadata: &Metadata) {
        let stamp = Stamp::of(metadata);
        if self.files.insert(stamp.file) {
            self.scan.files.insert(path, stamp);
        }
    }

    /// What vanished between the listing and the look at it is not there; a link that leads
    /// nowhere is.
    fn unreadable(&mut self, path: PathBuf, error: &io::Error) {
        let missing = error.kind() == io::ErrorKind::NotFound;
        if !missing {
            self.scan.unreadable.insert(path, format!("cannot be read: {error}"));
        } else if fs::symlink_metadata(&path).is_ok() {
            self.scan.unreadable.insert(path, "the link leads nowhere".to_owned());
        }
    }

    /// Takes out what is more than the budgets allow, from the end.
    fn bounded(mut self) -> Scan {
        let mut total = 0_u64;
        let mut count = 0_usize;
        let mut kept = BTreeMap::new();
        for (path, stamp) in std::mem::take(&mut self.scan.files) {
            let grown = total.saturating_add(stamp.size);
            if count >= MAX_FILES {
                let why = format!("one of more than {MAX_FILES} files");
                self.scan.excess.insert(path, why);
            } else if grown > MAX_TOTAL_BYTES && stamp.size <= MAX_FILE_BYTES {
                let why = format!("the files before it take {} MiB already", MAX_TOTAL_BYTES >> 20);
                self.scan.excess.insert(path, why);
            } else {
                total = if stamp.size <= MAX_FILE_BYTES { grown } else { total };
                count = count.saturating_add(1);
                kept.insert(path, stamp);
            }
        }
        self.scan.files = kept;
        self.scan
    }
}

#[cfg(test)]
mod tests;
