//! Logging to stderr: human on a terminal, journal fields under systemd, JSON elsewhere.

use std::{env, io, io::IsTerminal};

use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt,
};

const VARIABLE: &str = "ROADSTEAD_LOG";

const DEFAULT: &str = "info";

/// Installs the process's subscriber. `ROADSTEAD_LOG` takes `tracing` filters (default `info`).
///
/// Called once, first thing in `main`; a second call changes nothing.
pub fn init() {
    let asked = env::var(VARIABLE).ok().map(EnvFilter::try_new);
    let (filter, refused) = match asked {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT), Some(error)),
        None => (EnvFilter::new(DEFAULT), None),
    };
    // The second call in one process fails, and the first subscriber stays: that is what is wanted.
    let _ = tracing_subscriber::registry().with(writer().with_filter(filter)).try_init();
    if let Some(error) = refused {
        tracing::warn!(%error, "{VARIABLE} is no filter: write a level, such as debug; taken as {DEFAULT}");
    }
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
