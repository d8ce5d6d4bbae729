//! Steps one after the other, each under its title, then the summary.

use std::time::Instant;

use anyhow::Result;

/// A demonstration that can be seen, and kept.
pub trait Show {
    /// How the namespaces' names start.
    fn prefix(&self) -> &str;

    /// Shows every step, then the summary. Returns whether everything held.
    fn play(&mut self) -> bool;

    /// Keeps the network and what runs in it; prints how to look inside and how to remove it.
    fn leave_running(self);
}

/// What one step found: a line for the summary.
pub(super) type Step<T> = fn(&mut T) -> Result<String>;

/// Shows every step of `on`, then the summary. Returns whether everything held; where it did not,
/// `explain` says where to look.
pub(super) fn play<T>(
    on: &mut T,
    steps: &[(&str, Step<T>)],
    began: Instant,
    explain: impl FnOnce(&T) -> String,
) -> bool {
    let mut lines = Vec::new();
    let mut held = true;
    for (number, (title, step)) in steps.iter().enumerate() {
        println!("\n{}. {title}", number + 1);
        let outcome = step(on);
        held &= outcome.is_ok();
        lines.push(match outcome {
            Ok(line) => format!("  ok      {title}: {line}"),
            Err(error) => {
                println!("  FAILED: {error:#}");
                format!("  FAILED  {title}: {error}")
            }
        });
    }
    println!("\nSummary, after {:.0} s", began.elapsed().as_secs_f32());
    lines.iter().for_each(|line| println!("{line}"));
    if !held {
        println!("{}", explain(on));
    }
    println!("\n{}", if held { "everything held" } else { "not everything held" });
    held
}
