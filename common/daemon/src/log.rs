//! Logging to stderr: human on a terminal, journal fields under systemd, JSON elsewhere.

use std::{env, io, io::IsTerminal};

use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt,
};

/// Installs the process's subscriber. `ROADSTEAD_LOG` takes `tracing` filters (default `info`).
///
/// Called once, first thing in `main`; a second call changes nothing.
pub fn init() {
    let filter =
        EnvFilter::try_from_env("ROADSTEAD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // The second call in one process fails, and the first subscriber stays: that is what is wanted.
    let _ = tracing_subscriber::registry().with(writer().with_filter(filter)).try_init();
}

fn writer() -> Box<dyn Layer<Registry> + Send + Sync> {
    if io::stderr().is_terminal() {
        return tracing_subscriber::fmt::layer().with_target(false).with_writer(io::stderr).boxed();
    }
    // systemd sets JOURNAL_STREAM where stderr is connected to the journal.
    if env::var_os("JOURNAL_STREAM").is_some()
        && let Ok(journal) = tracing_journald::layer()
    {
        return journal.boxed();
    }
    tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed()
}
