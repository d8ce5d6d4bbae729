//! `roadstead`: what a person at the edge host asks and orders.
//!
//! Each verb is a module. A verb asks the daemons (or reads files), makes a value of the answer by a
//! pure function, and prints it. Exit status: 0 fine, 1 a problem was found, 2 wrong usage, 3 a
//! daemon did not answer.

#![forbid(unsafe_code)]

mod args;
mod check;
mod daemons;
mod exit;
mod explain;
#[cfg(test)]
mod fixtures;
mod flows;
mod group_key;
mod kubeconfig;
mod local_files;
mod migrate;
mod orders;
mod output;
mod render;
mod status;
#[cfg(test)]
mod tests;
mod version;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Arguments, MigrateFrom, Verb},
    daemons::Daemons,
    exit::Exit,
    output::Output,
};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = Output::of_process();
    let exit = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(&arguments, &mut out)),
        Err(error) => {
            out.complain(&format!("cannot start: {error}"));
            Exit::Problem
        }
    };
    out.flush();
    exit.into()
}

async fn run(arguments: &Arguments, out: &mut Output) -> Exit {
    let config = &arguments.config;
    match &arguments.verb {
        Verb::Check { paths } => check::run(config, paths, out),
        Verb::Status { format } => status::run(&daemons(arguments, out), *format, out).await,
        Verb::Explain { target, from, format } => {
            explain::run(&daemons(arguments, out), config, target, *from, *format, out).await
        }
        Verb::Flows { filter, limit, format } => {
            flows::run(&daemons(arguments, out), filter, *limit, *format, out).await
        }
        Verb::Drain { what } => orders::drain(&daemons(arguments, out), what, out).await,
        Verb::Undrain { what } => {
            orders::undrain(&daemons(arguments, out), what.as_ref(), out).await
        }
        Verb::Migrate { from: MigrateFrom::Metallb(from) } => {
            migrate::metallb(from, config, out).await
        }
        Verb::Kubeconfig(arguments) => kubeconfig::run(arguments, out).await,
        Verb::GroupKey => group_key::run(out),
        Verb::Release { reservation } => {
            orders::release(&daemons(arguments, out), reservation, out).await
        }
        Verb::Confirm => orders::confirm(&daemons(arguments, out), out).await,
        Verb::Version => version::run(&daemons(arguments, out), out).await,
    }
}

/// Where the daemons are, with a word where that is not sure.
fn daemons(arguments: &Arguments, out: &mut Output) -> Daemons {
    let daemons = Daemons::of(&arguments.config, arguments.runtime.as_deref());
    if let Some(doubt) = &daemons.doubt {
        out.complain(doubt);
    }
    daemons
}
