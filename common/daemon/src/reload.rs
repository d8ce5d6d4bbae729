//! What the service manager and the log are told of a reload.

use crate::notify;

/// Takes a new configuration, whole or not at all.
///
/// # Errors
/// Why `take` refused, in words; the last good configuration stays.
pub fn reload<T, E: std::fmt::Display>(take: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    notify::reloading();
    // The alternate form of a report tells its causes as well.
    let taken = take().map_err(|error| format!("{error:#}"));
    match &taken {
        Ok(_) => tracing::info!("the configuration is reloaded"),
        Err(error) => {
            tracing::error!(%error, "the reload is refused; the last good configuration stays");
        }
    }
    notify::ready();
    taken
}
