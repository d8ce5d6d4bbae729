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

/// Keeps `heard` current. Owned by `app`; cancelling is safe at any point: the next call asks anew.
pub(crate) async fn follow(client: Client, heard: watch::Sender<Heard>) {
    let hear = |said| match said {
        Ok(programmed) => connected(&heard, programmed),
        Err(error) => lost(&heard, &error),
    };
    local::follow(client, "/v1/programmed", hear).await;
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
