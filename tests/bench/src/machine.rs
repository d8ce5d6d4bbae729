//! What was measured, and on what.

use std::{fs, process::Command, thread};

use anyhow::{Context, Result};

/// Kernel, processor, memory and the commit, as a paragraph.
pub(crate) fn describe() -> Result<String> {
    let kernel =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's release")?;
    let cores = thread::available_parallelism()?;
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| {
        let kibibytes: f64 = text.split(' ').next()?.parse().ok()?;
        Some(format!("{:.0} GiB", kibibytes / 1_048_576.0))
    });
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "Linux {}, {cores} cores of {}, {} of memory; commit {}; load average at the start {}.",
        kernel.trim(),
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unnamed processor".to_owned()),
        memory.unwrap_or_else(|| "an unknown amount".to_owned()),
        commit(),
        load.split(' ').next().unwrap_or_default(),
    ))
}

/// The value of the first `NAME: VALUE` of a file.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

/// The commit, and whether the tree differs from it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(root()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    if changed.is_some_and(|changes| !changes.is_empty()) {
        format!("{commit} with changes")
    } else {
        commit
    }
}

/// The repository.
pub(crate) fn root() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../..")
}
