//! `cargo xtask soak`: ends both daemons again and again under load; nothing may be lost.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use nix::sys::signal::Signal;
use roadstead_lab::edge::DaemonName;
use roadstead_scenarios::{World, restarts};

#[derive(Parser)]
#[command(name = "soak", about = "Ends both daemons again and again under load")]
struct Arguments {
    /// How often each daemon is ended, by each signal
    #[arg(long, default_value_t = 100)]
    times: u32,
}

fn main() -> ExitCode {
    match run(Arguments::parse().times) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was lost.
fn run(times: u32) -> Result<bool> {
    let world = World::routed("soak")?;
    let web = world.serve_web()?;
    let mut clean = true;
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        for daemon in DaemonName::ALL {
            let outcome = restarts::under_load(&world, web, &[daemon], signal, times)?;
            println!(
                "{signal} {times} times to the {}: {} requests, {} lost, {} moved, {} retransmitted",
                daemon.as_str(),
                outcome.sent(),
                outcome.lost(),
                outcome.moved(),
                outcome.retransmitted
            );
            clean &= outcome.lost() == 0 && outcome.moved() == 0;
        }
    }
    if !clean {
        println!("{}", world.explain_failure());
    }
    Ok(clean)
}
