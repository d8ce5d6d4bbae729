//! The lock that keeps a second copy of a daemon out of a directory.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

/// Held for the life of the process; the kernel lets go of it with the process, however it ends.
///
/// It lies on the directory itself (`flock(2)`, which wants no more than a descriptor to read from):
/// no file needs to be made, so that a disk that is full or read-only keeps nobody from starting, and
/// there is none that could be deleted.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: Flock<File>,
}

/// Why a directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The directory cannot be made or opened.
    #[error("cannot use the directory {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another process holds it.
    #[error(
        "another copy is running: {} is locked; stop it first, or give this one its own [paths]",
        path.display()
    )]
    Held {
        /// The directory.
        path: PathBuf,
    },
}

impl DirectoryLock {
    /// Creates `directory` where it is missing (mode 0750) and locks it.
    ///
    /// # Errors
    /// When the directory cannot be used or another process holds the lock.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.to_path_buf();
        let unusable = |source| LockError::Directory { path: path.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o750).create(directory).map_err(unusable)?;
        let file = File::open(directory).map_err(unusable)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { _file: file }),
            Err((_, Errno::EWOULDBLOCK)) => Err(LockError::Held { path }),
            Err((_, errno)) => Err(unusable(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_copy_is_told_where_the_first_one_sits() {
        let directory = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(directory.path()).unwrap();
        let error = DirectoryLock::take(directory.path()).unwrap_err();
        assert!(error.to_string().contains(&directory.path().display().to_string()));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "a lock needs no room");
        drop(first);
        DirectoryLock::take(directory.path()).unwrap();
    }
}
