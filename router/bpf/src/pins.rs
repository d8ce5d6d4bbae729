//! Where programs, maps and links are pinned, so that they outlive every process.
//!
//! ```text
//! BASE/v2/maps/NAME       maps
//! BASE/v2/programs/NAME   programs
//! BASE/v2/links/IFINDEX   the attachment to a leg
//! BASE/v2/links/NAME      the attachment of a program for the host's own connections
//! ```
//!
//! The `2` is the version of the maps' layout. Who may open the pins decides who may do what: the
//! directory belongs to the router's user alone.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use crate::Error;

/// The version of `c/layout.h`. Raised with every change that an older program or an older router
/// would misread.
pub const SCHEMA: u32 = 5;

/// The maps, by their names in C.
pub(crate) const MAPS: &[&str] = &[
    "vips",
    "frontends",
    "identities",
    "backends",
    "snats",
    "table_refs",
    "tables",
    "flows",
    "replies",
    "half_open",
    "sweep_keys",
    "affinities",
    "fragments",
    "answers",
    "drops",
    "frontend_counts",
    "backend_counts",
    "ranges",
    "events",
    "settings",
    "state",
];

/// Maps that only the programs for the host's own connections have.
pub(crate) const HOST_MAPS: &[&str] = &["host_peers"];

/// The programs, by their names in C.
pub(crate) const PROGRAMS: &[&str] = &["ingress", "sweep", "read_clock"];

/// The directory in which everything of this version is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    base: PathBuf,
}

impl Pins {
    /// Pins below a directory of a bpf filesystem, such as `/sys/fs/bpf/roadstead`.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into() }
    }

    /// The directory of this version.
    pub fn root(&self) -> PathBuf {
        self.base.join(format!("v{SCHEMA}"))
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.root().join("maps").join(name)
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.root().join("programs").join(name)
    }

    pub(crate) fn links(&self) -> PathBuf {
        self.root().join("links")
    }

    pub(crate) fn host_link(&self, program: &str) -> PathBuf {
        self.links().join(program)
    }

    pub(crate) fn link(&self, ifindex: u32) -> PathBuf {
        self.links().join(ifindex.to_string())
    }

    /// Directories of other versions.
    pub(crate) fn other_versions(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.base) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let ours = self.root();
        let mut others = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let versioned = name.is_some_and(|name| {
                name.strip_prefix('v').is_some_and(|version| version.parse::<u32>().is_ok())
            });
            if versioned && path != ours {
                others.push(path);
            }
        }
        Ok(others)
    }

    pub(crate) fn create(&self) -> Result<(), Error> {
        let refused = |source| Error::Pins { path: self.base.clone(), source };
        for directory in ["maps", "programs", "links"] {
            fs::create_dir_all(self.root().join(directory)).map_err(refused)?;
        }
        Ok(())
    }

    /// Hands everything to a user, and to that user only.
    pub(crate) fn give_to(&self, uid: u32, gid: u32) -> io::Result<()> {
        give_directory(&self.base, uid, gid)?;
        let root = self.root();
        give_directory(&root, uid, gid)?;
        for directory in fs::read_dir(&root)? {
            let directory = directory?.path();
            give_directory(&directory, uid, gid)?;
            for pin in fs::read_dir(&directory)? {
                chown(pin?.path(), Some(uid), Some(gid))?;
            }
        }
        Ok(())
    }

    /// Removes every pin of every version: programs are detached, flows end.
    ///
    /// # Errors
    /// When a pin may not be removed.
    pub fn remove(&self) -> io::Result<()> {
        let mut versions = self.other_versions()?;
        versions.push(self.root());
        for version in versions {
            match fs::remove_dir_all(&version) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn give_directory(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    chown(path, Some(uid), Some(gid))
}
