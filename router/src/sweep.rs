//! Removes flows whose time is over, and says which retired indices no flow refers to any more.

use std::{sync::Arc, time::Duration};

use roadstead_router_core::plan::Freed;
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::reconcile::Retired;

/// Least time between two passes.
const INTERVAL: Duration = Duration::from_secs(2);
/// A pass may take one part in so many of the time, however full the table is.
const SHARE: u32 = 10;

/// What a pass over the flow table found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Flows that are left.
    pub(crate) flows: u64,
    /// Flows that were removed.
    pub(crate) removed: u64,
    /// Of the indices asked after, those that no flow refers to.
    pub(crate) unreferenced: Freed,
    /// Packets dropped by reason, since the maps were created.
    pub(crate) drops: Vec<(&'static str, u64)>,
}

/// A pass, and the epoch of the indices that it was asked after.
#[derive(Clone, Debug)]
pub(crate) struct Swept {
    pub(crate) epoch: u64,
    pub(crate) pass: Pass,
}

/// One pass over the flow table: takes up to seconds, so it runs on a thread of its own.
pub(crate) type Sweep = dyn Fn(&Freed) -> Result<Pass, String> + Send + Sync;

/// Sweeps for ever. Owned by `app`; a pass that is cut off leaves every flow either there or gone.
pub(crate) async fn run(
    sweep: Arc<Sweep>,
    retired: watch::Receiver<Retired>,
    swept: mpsc::Sender<Swept>,
) {
    let mut pause = INTERVAL;
    loop {
        sleep(pause).await;
        let Retired { epoch, ids } = retired.borrow().clone();
        let sweep = Arc::clone(&sweep);
        let start = Instant::now();
        match spawn_blocking(move || sweep(&ids)).await {
            Ok(Ok(pass)) => {
                if swept.send(Swept { epoch, pass }).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the flow table could not be swept"),
            Err(error) => tracing::error!(%error, "a sweep ended early"),
        }
        pause = INTERVAL.max(start.elapsed() * SHARE);
    }
}
