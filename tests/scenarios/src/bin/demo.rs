//! `cargo xtask demo`: the product in two minutes. Exits 0 only if everything it shows held.
#![forbid(unsafe_code)]

use std::{process::ExitCode, thread};

use anyhow::Result;
use clap::Parser;
use roadstead_lab::{artifacts, netns};
use roadstead_scenarios::demo::{self, Demo, KEPT, Show, kubernetes};

#[derive(Parser)]
#[command(name = "demo", about = "A small network in namespaces, and the job being done")]
struct Arguments {
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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.remove {
        remove_kept();
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything held.
fn run(arguments: &Arguments) -> Result<bool> {
    let mut topology = if arguments.kubernetes { kubernetes::topology() } else { demo::topology() };
    if arguments.keep {
        topology = topology.named(&artifacts::claim(KEPT)?);
    }
    if arguments.kubernetes {
        present(kubernetes::Demo::build(&topology)?, arguments.keep)
    } else {
        present(Demo::build(&topology)?, arguments.keep)
    }
}

fn present(mut demo: impl Show, keep: bool) -> Result<bool> {
    clean_up_on_interrupt(demo.prefix().to_owned())?;
    let held = demo.play();
    if keep {
        demo.leave_running();
    }
    Ok(held)
}

/// Every demo that was kept, by whoever.
fn remove_kept() {
    let kept = artifacts::names(KEPT);
    kept.iter().for_each(|prefix| remove(prefix));
    println!("{} removed; nothing of the demo is left", kept.len());
}

fn remove(prefix: &str) {
    netns::remove_all(&format!("{prefix}-"));
    artifacts::remove_prefix(prefix);
}

/// Ctrl-C skips the drops: remove the network by its name instead.
fn clean_up_on_interrupt(prefix: String) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            println!(
                "\ninterrupted: the network is removed; what fails from here on fails for that"
            );
            remove(&prefix);
            std::process::exit(130);
        }
    });
    Ok(())
}
