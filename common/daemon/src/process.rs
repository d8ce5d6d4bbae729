//! How a daemon's process begins and ends.

use std::{fmt::Display, future::Future, process::ExitCode};

use crate::log;

/// Runs a daemon on one thread to its end. An error is logged as the reason why `name` stops.
///
/// What runs on blocking threads is not waited for: it must be safe to stop at any moment.
pub fn run<E: Display>(name: &str, daemon: impl Future<Output = Result<(), E>>) -> ExitCode {
    log::init();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime could not be started");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(daemon);
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "{name} stops");
            ExitCode::FAILURE
        }
    }
}
