//! The announcer's sockets and timers.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use anyhow::Result;
use roadstead_model::config;
use roadstead_speaker_core::gate::{Leg, Wanted};
use tokio::sync::{mpsc, watch};

use crate::{control::Seen, legs::LegFacts, metrics};

/// Everything that the announcer is told, whole: it finds out itself what changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Legs to have a socket on.
    pub(crate) legs: Vec<LegFacts>,
    /// Addresses; one that is absent is withdrawn.
    pub(crate) wanted: Vec<Wanted>,
    /// Where the kernel program answers, so that we need not.
    pub(crate) kernel_answers: BTreeSet<(IpAddr, Leg)>,
    /// `[speaker.l2]`; `None` before the first orders.
    pub(crate) settings: Option<config::L2>,
}

/// Announces what `orders` says and tells what it saw, until it is dropped.
pub(crate) async fn run(
    orders: watch::Receiver<Arc<Orders>>,
    seen: mpsc::Sender<Seen>,
    metrics: metrics::L2,
) -> Result<()> {
    let _ = (orders, seen, metrics);
    std::future::pending().await
}
