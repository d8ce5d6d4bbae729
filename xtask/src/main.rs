//! `cargo xtask`: one door to everything that is done with this repository.
//!
//! It installs what a fresh Debian or Ubuntu lacks for the verb at hand, says so first, and needs
//! none of that itself.
#![forbid(unsafe_code)]

mod check;
mod fuzz;
mod install;
mod kube;
mod run;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::{
    install::Needs,
    run::{Cargo, built, require_root},
};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "One door: check, test, demo, bench, fuzz, soak")]
struct Arguments {
    /// Fail and name what is missing instead of installing it
    #[arg(long, global = true)]
    no_install: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Format, lints, the rules of the layout, licences, links
    Check,
    /// Builds every binary, then runs every test (as root: networks are made in namespaces)
    Test(TestArguments),
    /// The product in two minutes: a small network in namespaces and the job being done
    Demo(DemoArguments),
    /// Speed beside the peers that Debian packages
    Bench(PassOn),
    /// Runs every fuzz target for a time
    Fuzz(FuzzArguments),
    /// Restarts both daemons again and again under load
    Soak(PassOn),
}

#[derive(Args)]
struct TestArguments {
    /// Passed on to `cargo test`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

#[derive(Args)]
struct DemoArguments {
    /// Over a cluster: a real control plane, kube-proxies, kubectl
    #[arg(long)]
    kubernetes: bool,
    /// Leave everything running and print how to look inside
    #[arg(long, conflicts_with = "remove")]
    keep: bool,
    /// Remove what `--keep` left running
    #[arg(long)]
    remove: bool,
}

#[derive(Args)]
struct PassOn {
    /// Passed on to the program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

#[derive(Args)]
struct FuzzArguments {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only these targets
    targets: Vec<String>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let provide = |needs| install::provide(needs, arguments.no_install);
    match arguments.verb {
        Verb::Check => {
            provide(Needs::CHECK)?;
            check::all()
        }
        Verb::Test(test) => {
            require_root("test")?;
            provide(Needs::TEST)?;
            test::all(&test.rest)
        }
        Verb::Demo(demo) => {
            require_root("demo")?;
            provide(if demo.kubernetes { Needs::TEST } else { Needs::DEMO })?;
            show(&demo)
        }
        Verb::Bench(rest) => {
            require_root("bench")?;
            provide(Needs::BENCH)?;
            if rest.rest.iter().any(|arg| arg == "--kubernetes") {
                kube::require("bench --kubernetes")?;
            }
            // What measures single packets, in the one package that may load programs.
            let examples = ["--package", "roadstead-router-bpf", "--examples"];
            Cargo::new(["build", "--release"]).args(examples).run()?;
            release("bench", &rest.rest)
        }
        Verb::Fuzz(fuzz) => {
            provide(Needs::FUZZ)?;
            fuzz::all(&fuzz.targets, fuzz.seconds)
        }
        Verb::Soak(rest) => {
            require_root("soak")?;
            provide(Needs::TEST)?;
            release("soak", &rest.rest)
        }
    }
}

/// The demo wants the daemons as they are built for work, and only them.
fn show(demo: &DemoArguments) -> Result<()> {
    if !(demo.remove && built("debug", "demo").is_ok()) {
        Cargo::new(["build", "--workspace", "--bins", "--exclude", "xtask"]).run()?;
    }
    if demo.kubernetes && !demo.remove {
        kube::require("demo --kubernetes")?;
    }
    let options =
        [(demo.kubernetes, "--kubernetes"), (demo.keep, "--keep"), (demo.remove, "--remove")];
    let args: Vec<&str> = options.iter().filter(|(on, _)| *on).map(|(_, text)| *text).collect();
    run::program(&built("debug", "demo")?, &args)
}

/// Builds everything optimised and runs one program of tests/scenarios.
fn release(program: &str, args: &[String]) -> Result<()> {
    Cargo::new(["build", "--release", "--workspace", "--bins", "--exclude", "xtask"]).run()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run::program(&built("release", program)?, &args)
}
