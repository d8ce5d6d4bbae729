//! The lab's directory while it runs, and what stays of it after a failure.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, umount2};

use crate::netns::is_stale;

/// One directory per lab, named like its namespaces. Short, for Unix sockets have 107 bytes.
const RUN_DIR: &str = "/run/roadstead-lab";
/// Most labs of one name that outlive their process.
const MOST_CLAIMED: u32 = 100;

/// The directory of one lab, removed on drop with every mount inside.
#[derive(Debug)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Makes `/run/roadstead-lab/PREFIX` with a `logs` inside.
    pub fn new(prefix: &str) -> Result<Self> {
        let path = Path::new(RUN_DIR).join(prefix);
        fs::create_dir_all(path.join("logs"))
            .with_context(|| format!("cannot make {} (run as root)", path.display()))?;
        Ok(Self(path))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where logs and captures go.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes directories of labs whose process no longer runs.
pub fn remove_stale() {
    let Ok(entries) = fs::read_dir(RUN_DIR) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(is_stale) {
            remove(&entry.path());
        }
    }
}

/// Takes the first of the names `STEM1`, `STEM2`, … that no lab has, by its directory: for a lab
/// that outlives its process.
pub fn claim(stem: &str) -> Result<String> {
    fs::create_dir_all(RUN_DIR).with_context(|| format!("cannot make {RUN_DIR} (run as root)"))?;
    for number in 1..MOST_CLAIMED {
        let name = format!("{stem}{number}");
        match fs::create_dir(Path::new(RUN_DIR).join(&name)) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {name}")),
        }
    }
    bail!("{MOST_CLAIMED} labs named {stem} run already")
}

/// The names of labs that begin like this.
pub fn names(stem: &str) -> Vec<String> {
    let entries = fs::read_dir(RUN_DIR).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(stem)).collect()
}

/// Removes the directory of one lab by its prefix.
pub fn remove_prefix(prefix: &str) {
    remove(&Path::new(RUN_DIR).join(prefix));
}

/// Unmounts everything below, then deletes.
fn remove(path: &Path) {
    for mount in mounts_below(path) {
        let _ = umount2(&mount, MntFlags::MNT_DETACH);
    }
    drop(fs::remove_dir_all(path));
}

fn mounts_below(path: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split_whitespace().nth(1));
    points.map(PathBuf::from).filter(|point| point.starts_with(path)).collect()
}

/// Copies the logs and captures of a failed test to `target/lab-artifacts/TEST`; returns where.
pub fn keep(test: &str, logs: &Path) -> Result<PathBuf> {
    let to = target_dir()?.join("lab-artifacts").join(test);
    drop(fs::remove_dir_all(&to));
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(logs)?.flatten() {
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(to)
}

/// Cargo marks its target directory by a CACHEDIR.TAG; a copied binary is in none.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    Ok(found.map_or_else(std::env::temp_dir, Path::to_owned))
}
