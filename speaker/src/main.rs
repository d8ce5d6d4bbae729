//! `roadstead-speaker`: allocates external addresses to Services and announces them on the LAN.

#![forbid(unsafe_code)]

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

mod api;
mod app;
mod clock;
mod conflicts;
mod control;
mod drain;
mod group;
mod journal;
mod l2;
mod leaving;
mod legs;
mod metrics;
mod names;
mod owed;
mod programmed;
mod release;
mod report;
mod reports;
mod sparing;
mod stations;
mod store;
mod strangers;

/// Allocates external addresses (VIPs) to Kubernetes Services of type LoadBalancer and announces
/// them by ARP and NDP.
///
/// SIGHUP reloads the configuration; a bad one is refused whole and the last good one stays.
/// SIGTERM means "back soon": addresses and announcements stay. To leave, order
/// `roadstead drain self` first.
#[derive(Debug, Parser)]
#[command(version = roadstead_daemon::VERSION)]
struct Args {
    /// The configuration; files in conf.d beside it are read after it.
    #[arg(long, value_name = "FILE", default_value = roadstead_config::MAIN_FILE)]
    config: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    roadstead_daemon::process::run("roadstead-speaker", app::run(&args.config))
}
