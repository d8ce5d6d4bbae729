//! What the daemons and the maps take: memory, and processor time.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result};
use nix::unistd::Pid;

/// Resident memory of a process now and at its most, in MiB.
pub(crate) fn resident(process: Pid) -> Result<[f64; 2]> {
    let file = format!("/proc/{process}/status");
    let text = fs::read_to_string(&file).context(file)?;
    let of = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|rest| rest.split_whitespace().next());
        let kibibytes: f64 = kibibytes.with_context(|| format!("no {name}"))?.parse()?;
        Ok(kibibytes / 1_024.0)
    };
    Ok([of("VmRSS:")?, of("VmHWM:")?])
}

/// Unit of `/proc/PID/stat` (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a process since its start.
pub(crate) fn work(process: Pid) -> Result<Duration> {
    let file = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&file).context(file)?;
    // utime and stime (proc(5)): the 12th and 13th after the name, which is in brackets.
    let after = text.rsplit_once(") ").map_or(text.as_str(), |(_, rest)| rest);
    let times = after.split(' ').skip(11).take(2).map(str::parse::<u32>);
    Ok(TICK * times.sum::<Result<u32, _>>().context("no times of a process")?)
}

/// A map as `/proc/PID/fdinfo` tells of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Map {
    /// Entries that fit.
    pub(crate) entries: u64,
    /// MiB that the kernel took for it when it was made.
    pub(crate) mebibytes: f64,
}

/// Every BPF map that a process has open, by its id.
pub(crate) fn maps(process: Pid) -> Result<Vec<Map>> {
    let dir = format!("/proc/{process}/fdinfo");
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(&dir).context(dir)?.flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u32>().ok()
        };
        if let (Some(id), Some(entries), Some(bytes)) =
            (field("map_id:"), field("max_entries:"), memlock(&text))
        {
            maps.insert(id, Map { entries: entries.into(), mebibytes: bytes / 1_048_576.0 });
        }
    }
    Ok(maps.into_values().collect())
}

fn memlock(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("memlock:"))?.trim().parse().ok()
}
