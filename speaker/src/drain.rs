//! The drain of this host: an operator's order stays until `undrain`; the shutdown unit's order
//! lives in the runtime directory, which a boot empties.
//!
//! Silence needs no disk: an operator's order that the disk refuses is in force all the same. It is
//! kept in the runtime directory, or in memory where that refuses too, until the disk takes it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use roadstead_daemon::{
    state::{self, StateError},
    words::chain,
};
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
    /// An operator's order that the disk has refused.
    meanwhile: PathBuf,
    /// An operator's order that the runtime directory has refused too.
    unsaved: bool,
    /// The shutdown unit's order, where the runtime directory has refused it.
    unsaved_until_reboot: bool,
}

/// How long an order stands that was given.
#[derive(Debug)]
pub(crate) enum Kept {
    /// As long as was wanted.
    AsOrdered,
    /// Until a reboot: the disk has refused it.
    UntilReboot(StateError),
    /// Until this process ends: nothing has taken it.
    InMemory(StateError),
}

impl Drain {
    /// The orders as they are on disk.
    pub(crate) fn new(paths: &Paths) -> Self {
        Self {
            operator: paths.state_of("speaker").join("drained.json"),
            until_reboot: paths.runtime.join("speaker").join("drained.json"),
            meanwhile: paths.runtime.join("speaker").join("drained-unsaved.json"),
            unsaved: false,
            unsaved_until_reboot: false,
        }
    }

    /// Whether an order stands. A file that cannot be looked at is no order.
    pub(crate) fn is_ordered(&self) -> bool {
        let unsaved = self.is_behind() || self.unsaved_until_reboot;
        unsaved || self.operator.exists() || self.until_reboot.exists()
    }

    /// Whether an operator's order stands that the disk does not hold.
    pub(crate) fn is_behind(&self) -> bool {
        self.unsaved || self.meanwhile.exists()
    }

    /// Puts an order in force, and says how long it stands.
    pub(crate) fn order(&mut self, until_reboot: bool) -> Kept {
        let place = if until_reboot { &self.until_reboot } else { &self.operator };
        let Err(error) = write(place) else { return Kept::AsOrdered };
        if until_reboot {
            self.unsaved_until_reboot = true;
            return Kept::InMemory(error);
        }
        self.unsaved = write(&self.meanwhile).is_err();
        if self.unsaved { Kept::InMemory(error) } else { Kept::UntilReboot(error) }
    }

    /// Tries again to have an operator's order on the disk.
    pub(crate) fn catch_up(&mut self) {
        if self.is_behind() && write(&self.operator).is_ok() {
            self.unsaved = false;
            // One that stays behind is written to the disk once more, until it is taken back.
            let _ = remove(&self.meanwhile);
        }
    }

    /// Takes an order back; an operator takes back all.
    pub(crate) fn take_back(&mut self, until_reboot: bool) -> Result<(), StateError> {
        if !until_reboot {
            remove(&self.operator)?;
            remove(&self.meanwhile)?;
            self.unsaved = false;
        }
        remove(&self.until_reboot)?;
        self.unsaved_until_reboot = false;
        Ok(())
    }
}

impl Kept {
    /// What the operator is told.
    pub(crate) fn in_words(&self) -> String {
        let withdrawn = "every announcement of this host is withdrawn";
        let but = |error, end| {
            let why = chain(error);
            format!("{withdrawn}, but the order does not outlive {end} before it is written: {why}")
        };
        match self {
            Self::AsOrdered => withdrawn.into(),
            Self::UntilReboot(error) => but(error, "a reboot"),
            Self::InMemory(error) => but(error, "a restart of roadstead-speaker"),
        }
    }
}

fn write(path: &Path) -> Result<(), StateError> {
    state::write(path, &Order::default())
}

/// A read-only file system refuses to remove even what is not there.
fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(source) if path.exists() => Err(StateError::Write { path: path.to_path_buf(), source }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(directory: &Path) -> Paths {
        let paths = Paths {
            state: directory.join("state"),
            runtime: directory.join("run"),
            bpffs: directory.join("bpf"),
        };
        fs::create_dir_all(paths.state_of("speaker")).unwrap();
        fs::create_dir_all(paths.runtime.join("speaker")).unwrap();
        paths
    }

    #[test]
    fn the_shutdown_order_is_taken_back_without_touching_the_operators() {
        let directory = tempfile::tempdir().unwrap();
        let mut drain = Drain::new(&paths(directory.path()));
        assert!(!drain.is_ordered());
        assert!(matches!(drain.order(false), Kept::AsOrdered));
        assert!(matches!(drain.order(true), Kept::AsOrdered));
        drain.take_back(true).unwrap();
        assert!(drain.is_ordered(), "the operator's order stays over a boot");
        drain.take_back(false).unwrap();
        assert!(!drain.is_ordered());
    }

    #[test]
    fn an_order_that_the_disk_refuses_stands_until_a_reboot_and_then_on_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        fs::remove_dir(paths.state_of("speaker")).unwrap();
        let kept = Drain::new(&paths).order(false).in_words();
        assert!(kept.contains("a reboot") && kept.contains("drained.json"), "{kept}");
        let mut again = Drain::new(&paths);
        assert!(again.is_ordered(), "a restart forgot it");
        again.take_back(true).unwrap();
        assert!(again.is_ordered(), "the shutdown unit took back what an operator ordered");
        fs::create_dir(paths.state_of("speaker")).unwrap();
        again.catch_up();
        assert!(!again.is_behind() && again.operator.exists());
        again.take_back(false).unwrap();
        assert!(!Drain::new(&paths).is_ordered());
    }

    #[test]
    fn an_order_that_nothing_takes_stands_as_long_as_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        fs::remove_dir_all(&paths.state).unwrap();
        fs::remove_dir_all(&paths.runtime).unwrap();
        for until_reboot in [false, true] {
            let mut drain = Drain::new(&paths);
            let kept = drain.order(until_reboot).in_words();
            assert!(kept.contains("a restart of roadstead-speaker"), "{kept}");
            assert!(drain.is_ordered());
            drain.take_back(until_reboot).unwrap();
            assert!(!drain.is_ordered());
        }
    }
}
