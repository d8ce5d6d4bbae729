//! State on disk: JSON files replaced whole, so that a crash leaves the old one or the new one.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use tempfile::NamedTempFile;

/// Why a state file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is there but does not say what it should.
    #[error("{} is damaged; restore it from a copy, or move it away to start afresh", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The file cannot be written (disk full, read-only). On a full disk the next one may get through,
    /// where what it replaces makes room for it.
    #[error("cannot write {}; the last good one stays", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is replaced, but the disk has not confirmed it.
    #[error(
        "{} is replaced, but its directory cannot be synced: a power failure may bring back the one \
         before it",
        path.display()
    )]
    Sync {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Reads a state file; `None` where there is none.
///
/// # Errors
/// When it cannot be read or is damaged.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    let Some(text) = read_bytes(path)? else { return Ok(None) };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| StateError::Damaged { path: path.to_path_buf(), source })
}

/// As [`read`], for a file whose owner has a format of its own.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::Read { path: path.to_path_buf(), source }),
    }
}

/// Replaces a state file: written beside it, synced, renamed over it, the directory synced.
///
/// # Errors
/// [`StateError::Write`]: the old file is still there, whole. [`StateError::Sync`]: the new one is
/// there, and not yet safe.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), StateError> {
    let mut text = serde_json::to_vec(value)
        .map_err(|error| StateError::Write { path: path.to_path_buf(), source: error.into() })?;
    text.push(b'\n');
    write_bytes(path, &text)
}

/// As [`write()`], for a file whose owner has a format of its own.
///
/// # Errors
/// As [`write()`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let failed = |source| StateError::Write { path: path.to_path_buf(), source };
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    let unsafe_yet = |source| StateError::Sync { path: path.to_path_buf(), source };
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(unsafe_yet)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.json");
        assert!(read::<BTreeMap<String, u32>>(&path).unwrap().is_none());
        let value = BTreeMap::from([("a".to_owned(), 1)]);
        write(&path, &value).unwrap();
        assert_eq!(read(&path).unwrap(), Some(value));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_truncated_file_is_named_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.json");
        fs::write(&path, "{\"a\":").unwrap();
        let error = read::<BTreeMap<String, u32>>(&path).unwrap_err();
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":");
    }

    #[test]
    fn a_directory_that_is_gone_leaves_an_error_that_names_the_file() {
        let error = write(Path::new("/nonexistent/ledger.json"), &1).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/ledger.json"));
    }
}
