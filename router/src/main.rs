//! `roadstead-router`: sends every connection to an external address to a healthy node.

#![forbid(unsafe_code)]

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

mod api;
mod app;
mod assignments;
mod control;
mod dataplane;
mod drain;
mod host;
mod kernel;
mod lease;
mod memory;
mod metrics;
mod probe;
mod reconcile;
mod report;
mod silence;
mod sweep;

/// Sends every connection to an external address (VIP) to a healthy node of the cluster, in the
/// kernel.
///
/// SIGHUP reloads the configuration; a bad one is refused whole and the last good one stays.
/// SIGTERM means "back soon": the programs stay pinned and go on forwarding.
#[derive(Debug, Parser)]
#[command(version = roadstead_daemon::VERSION)]
struct Args {
    /// The configuration; files in conf.d beside it are read after it.
    #[arg(long, value_name = "FILE", default_value = roadstead_config::MAIN_FILE, global = true)]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Command {
    /// Loads, attaches and pins the programs, then exits: the only part that needs capabilities. A
    /// router that runs as root does this by itself.
    Load {
        /// Maps of another version are removed first: every established connection ends
        #[arg(long)]
        replace: bool,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    roadstead_daemon::process::run("roadstead-router", async {
        match args.command {
            None => app::run(&args.config).await,
            Some(Command::Load { replace }) => app::load(&args.config, replace).await,
        }
    })
}
