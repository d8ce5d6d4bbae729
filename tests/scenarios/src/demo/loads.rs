//! Several loads at once, while something happens.

use std::path::Path;

use anyhow::Result;
use roadstead_lab::{Host, Load, load::Running};

/// Loads that run, each with what it is called.
#[derive(Debug)]
pub(super) struct Loads(Vec<(&'static str, Running)>);

/// What they add up to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) sent: u64,
    pub(super) lost: u64,
}

impl Loads {
    /// Starts them one after the other; each has had its first answer then.
    pub(super) fn start<const N: usize>(
        client: &Host,
        logs: &Path,
        loads: [(&'static str, Load); N],
    ) -> Result<Self> {
        let started = loads.map(|(name, load)| Ok((name, load.start(client, logs)?)));
        started.into_iter().collect::<Result<_>>().map(Self)
    }

    /// Ends them and prints what each counted; an error unless every request was answered.
    pub(super) fn finish(self) -> Result<Counted> {
        let mut counted = Counted { sent: 0, lost: 0 };
        for (name, load) in self.0 {
            let report = load.finish()?;
            println!(
                "    {name:<17} {:>5} sent, {} lost, {} reset, {} moved; longest gap {} ms",
                report.sent, report.lost, report.reset, report.moved, report.longest_gap_ms
            );
            report.all_answered()?;
            counted.sent += report.sent;
            counted.lost += report.failed();
        }
        Ok(counted)
    }
}
