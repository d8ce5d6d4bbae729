//! The drain of this host: an operator's order stays until `undrain`; the shutdown unit's order
//! lives in the runtime directory, which a boot empties.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use roadstead_daemon::state::{self, StateError};
use roadstead_model::config::Paths;
use serde::{Deserialize, Serialize};

/// The file's content: that it is there is the order.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Order {}

/// Both orders.
#[derive(Debug)]
pub(crate) struct Drain {
    operator: PathBuf,
    until_reboot: PathBuf,
}

impl Drain {
    /// The orders as they are on disk.
    pub(crate) fn new(paths: &Paths) -> Self {
        Self {
            operator: paths.state_of("speaker").join("drained.json"),
            until_reboot: paths.runtime.join("speaker").join("drained.json"),
        }
    }

    /// Whether either order stands. A file that cannot be looked at is no order.
    pub(crate) fn is_ordered(&self) -> bool {
        [&self.operator, &self.until_reboot].iter().any(|path| path.exists())
    }

    /// Records an order; it survives this process.
    pub(crate) fn order(&self, until_reboot: bool) -> Result<(), StateError> {
        state::write(self.path(until_reboot), &Order::default())
    }

    /// Takes an order back; an operator takes back both.
    pub(crate) fn take_back(&self, until_reboot: bool) -> Result<(), StateError> {
        if !until_reboot {
            remove(&self.operator)?;
        }
        remove(&self.until_reboot)
    }

    fn path(&self, until_reboot: bool) -> &Path {
        if until_reboot { &self.until_reboot } else { &self.operator }
    }
}

fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(StateError::Write { path: path.to_path_buf(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shutdown_order_is_taken_back_without_touching_the_operators() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths {
            state: directory.path().join("state"),
            runtime: directory.path().join("run"),
            bpffs: directory.path().join("bpf"),
        };
        fs::create_dir_all(paths.state_of("speaker")).unwrap();
        fs::create_dir_all(paths.runtime.join("speaker")).unwrap();
        let drain = Drain::new(&paths);
        assert!(!drain.is_ordered());
        drain.order(false).unwrap();
        drain.order(true).unwrap();
        drain.take_back(true).unwrap();
        assert!(drain.is_ordered(), "the operator's order stays over a boot");
        drain.take_back(false).unwrap();
        assert!(!drain.is_ordered());
    }
}
