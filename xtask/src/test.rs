//! `cargo xtask test`

use std::env;

use anyhow::{Result, ensure};

use crate::{kube, run::Cargo};

/// What the `test result:` lines add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Totals {
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …`
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        let rest = rest.split_once(". ").map_or(rest, |(_, counts)| counts);
        for part in rest.split("; ") {
            let Some((count, what)) = part.split_once(' ') else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

/// Builds every binary (the scenarios run them), then runs every test.
pub(crate) fn all(rest: &[String]) -> Result<()> {
    let in_ci = env::var_os("CI").is_some();
    let lacking = kube::provide()?;
    if let Some(why) = &lacking {
        ensure!(!in_ci, "{} cannot run: {why}; CI is set: there they must", kube::TESTS);
    }
    Cargo::new(["build", "--workspace", "--bins"]).run()?;
    let mut totals = Totals::default();
    let mut args = rest.to_vec();
    if let Some(why) = &lacking {
        totals.ignored += leave_out_kubernetes(why, &mut args)?;
    }
    let tests = Cargo::new(["test", "--workspace", "--no-fail-fast"]).args(args);
    let fine = tests.env("RUST_LIB_BACKTRACE", "0").watch(|line| totals.add(line))?;
    let Totals { passed, failed, ignored } = totals;
    let skipped_in_ci = ignored > 0 && in_ci;
    let word = if fine && !skipped_in_ci { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; {ignored} ignored; in all");
    ensure!(fine, "tests failed");
    ensure!(!skipped_in_ci, "{ignored} tests were skipped, and CI is set: there they must run");
    ensure!(passed > 0, "no test ran");
    Ok(())
}

/// Has `cargo test` skip what needs Kubernetes; says which tests and why, returns how many.
fn leave_out_kubernetes(why: &str, args: &mut Vec<String>) -> Result<u64> {
    let list = ["test", "--package", "roadstead-scenarios", "--", "--list", kube::TESTS];
    let text = Cargo::new(list).output()?;
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    println!("not run, for {why}:");
    names.iter().for_each(|name| println!("  {name}"));
    if !args.iter().any(|arg| arg == "--") {
        args.push("--".to_owned());
    }
    args.extend(["--skip".to_owned(), kube::TESTS.to_owned()]);
    Ok(u64::try_from(names.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_and_other_lines_do_not_count() {
        let mut totals = Totals::default();
        totals.add("test a_test ... ok");
        totals.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        totals.add("test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured");
        assert_eq!(totals, Totals { passed: 5, failed: 4, ignored: 1 });
    }
}
