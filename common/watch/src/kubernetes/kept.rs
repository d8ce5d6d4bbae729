//! What outlives a daemon of what it knows about one cluster, in its state directory:
//! `clusters/NAME/token`, the token that was renewed last, and `clusters/NAME/reached.json`, how far
//! the history of each kind was followed.
//!
//! Each file is replaced whole. That of versions is written every few seconds at most: one that is
//! a little old notices a store that was restored from a backup all but as well.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use roadstead_model::SourceName;
use serde::{Deserialize, Serialize};

/// Only the daemon reads what opens a cluster.
const SECRET: u32 = 0o600;

/// How far the history of each kind was followed, by the kind's plural. Numbers only: versions that
/// are none are not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Reached(pub(super) BTreeMap<String, u64>);

/// The directory of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    directory: PathBuf,
}

impl Kept {
    /// Of a source, in the state directory of a daemon.
    pub(crate) fn new(state: &Path, source: &SourceName) -> Self {
        Self { directory: state.join("clusters").join(source.as_str()) }
    }

    /// The file of the token.
    pub(super) fn token(&self) -> PathBuf {
        self.directory.join("token")
    }

    /// Keeps a token.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep_token(&self, token: &str) -> io::Result<()> {
        self.replace(&self.token(), token.as_bytes())
    }

    /// How far history was followed; nothing where nothing was kept, or it cannot be read.
    pub(super) fn reached(&self) -> Reached {
        let file = self.versions();
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Reached::default(),
            Err(error) => return unusable(&file, &error),
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| unusable(&file, &error))
    }

    /// Keeps how far history was followed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep_reached(&self, reached: &Reached) -> io::Result<()> {
        let text = serde_json::to_vec(reached)?;
        self.replace(&self.versions(), &text)
    }

    fn versions(&self) -> PathBuf {
        self.directory.join("reached.json")
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let draft = path.with_extension("new");
        let mut file = private(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    }
}

/// A new file; a draft that a crash has left is another's no longer.
fn private(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(SECRET).open(path)
}

fn unusable(file: &Path, error: &dyn std::error::Error) -> Reached {
    let file = file.display();
    tracing::warn!(%file, %error, "what was kept of a cluster cannot be read; it begins anew");
    Reached::default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn kept() -> (tempfile::TempDir, Kept) {
        let directory = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(directory.path(), &SourceName::new("home"));
        (directory, kept)
    }

    #[test]
    fn versions_are_read_as_they_were_kept_and_nonsense_is_nothing() {
        let (_directory, kept) = kept();
        assert_eq!(kept.reached(), Reached::default());
        let reached = Reached([("Services".to_owned(), 7)].into());
        kept.keep_reached(&reached).expect("kept");
        assert_eq!(kept.reached(), reached);
        fs::write(kept.versions(), "{").expect("written");
        assert_eq!(kept.reached(), Reached::default());
    }

    #[test]
    fn a_token_is_for_its_owner_only_and_replaced_whole() {
        let (_directory, kept) = kept();
        kept.keep_token("one").expect("kept");
        fs::write(kept.token().with_extension("new"), "left by a crash").expect("written");
        kept.keep_token("two").expect("kept");
        assert_eq!(fs::read_to_string(kept.token()).expect("read"), "two");
        let mode = fs::metadata(kept.token()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, SECRET);
    }
}
