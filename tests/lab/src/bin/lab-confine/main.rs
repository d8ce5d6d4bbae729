//! Runs a command as an installed machine would: below the lab's own `/etc`, `/run`, `/usr` and
//! `/var/lib`, and under the user, the capabilities, the system call filters and the view of the file
//! system that a unit file states (systemd.exec(5)). Without a unit: as root, for the operator.
//!
//! It becomes the command, so that its process id is the command's. What it does not do of a unit:
//! resource limits, `PrivateDevices=`, `IPAddressDeny=`, `LockPersonality=`, `RestrictSUIDSGID=`,
//! and the bounding set's leftovers of `Protect…=`, which an explicit `CapabilityBoundingSet=` covers.
#![forbid(unsafe_code)]

mod files;
mod filters;
mod identity;

use std::{
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Error, Result, anyhow};
use clap::Parser;
use roadstead_lab::unit::Unit;

use crate::{filters::Filters, identity::Identity};

#[derive(Parser)]
#[command(about = "Runs a command in an installed tree, confined as a unit file says")]
struct Arguments {
    /// The tree whose etc, run, usr and var/lib stand in the place of the machine's
    #[arg(long)]
    tree: PathBuf,
    /// The unit file; none = as root, without confinement
    #[arg(long)]
    unit: Option<PathBuf>,
    /// The command
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    let Err(error) = run(&Arguments::parse());
    eprintln!("lab-confine: {error:#}");
    ExitCode::from(126)
}

fn run(arguments: &Arguments) -> Result<std::convert::Infallible> {
    let unit = arguments.unit.as_deref().map(Unit::read).transpose()?;
    let groups = unit.as_ref().map(Filters::of).transpose()?;
    files::move_into(&arguments.tree)?;
    if let Some(unit) = &unit {
        let identity = Identity::of(unit)?;
        files::restrict(unit)?;
        identity.assume()?;
    }
    if let Some(filters) = groups {
        filters.install()?;
    }
    let (program, args) =
        arguments.command.split_first().ok_or_else(|| anyhow!("there is no command"))?;
    let error = Command::new(program).args(args).exec();
    Err(Error::new(error)).with_context(|| format!("cannot run {program}"))
}
