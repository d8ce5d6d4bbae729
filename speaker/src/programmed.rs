//! What the router says is programmed: a long poll of its local socket, for ever.

use std::sync::Arc;

use roadstead_daemon::local::{self, Client};
use roadstead_model::local::Programmed;
use tokio::sync::watch;

/// The last that the router said, and whether it answers now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// `None` until the router has answered once since this speaker started.
    pub(crate) programmed: Option<Arc<Programmed>>,
    /// Whether the last call was answered.
    pub(crate) connected: bool,
}

/// Keeps `heard` current for this `run` of the speaker. Owned by `app`; cancelling is safe at any
/// point: the next call asks anew.
pub(crate) async fn follow(client: Client, run: u64, heard: watch::Sender<Heard>) {
    let hear = |said| match said {
        Ok(programmed) => connected(&heard, of_this_run(programmed, run)),
        Err(error) => lost(&heard, &error),
    };
    local::follow(client, "/v1/programmed", hear).await;
}

/// What the router has applied of another run's assignments is nothing of ours, whatever its number.
fn of_this_run(programmed: Programmed, run: u64) -> Programmed {
    let ours = [0, run].contains(&programmed.applied_run);
    Programmed { applied: if ours { programmed.applied } else { 0 }, ..programmed }
}

fn connected(heard: &watch::Sender<Heard>, programmed: Programmed) {
    heard.send_if_modified(|heard| {
        if !heard.connected {
            tracing::info!("the router answers");
        }
        let same = heard.connected && heard.programmed.as_deref() == Some(&programmed);
        *heard = Heard { programmed: Some(Arc::new(programmed)), connected: true };
        !same
    });
}

fn lost(heard: &watch::Sender<Heard>, error: &dyn std::error::Error) {
    heard.send_if_modified(|heard| {
        let was = heard.connected;
        if was {
            tracing::warn!(error = %error, "the router does not answer; announcements stay");
        }
        heard.connected = false;
        was
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_applied_of_another_run_is_nothing_of_ours() {
        let said = |applied_run| Programmed { applied: 7, applied_run, ..Programmed::default() };
        assert_eq!(of_this_run(said(3), 3).applied, 7);
        assert_eq!(of_this_run(said(4), 3).applied, 0);
        // A router that does not know of runs yet: its number is all there is.
        assert_eq!(of_this_run(said(0), 3).applied, 7);
    }
}
