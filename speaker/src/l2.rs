//! The announcer's sockets and timers.
//!
//! ```text
//!  Speaker ── Orders (watch: only the newest counts) ──▶ l2::run ── frames ──▶ packet socket per leg
//!          ◀── Seen (bounded; when full the announcer waits) ──┘  ◀── frames ──┘
//! ```
//!
//! [`run`] is one future that owns the sockets and the [`Announcer`]; it runs within the speaker's
//! one `select!` and ends with it. Dropping it loses nothing: the announcer remembers nothing that
//! the next run would need, and the kernel program goes on answering. It decides nothing: the
//! protocol is the announcer's, and what is wanted comes with the orders.
//!
//! A leg whose socket cannot be opened, or fails, is no leg for the announcer until it can be
//! opened again; a leg that vanishes and returns has a new index and gets a new socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use roadstead_model::config;
use roadstead_speaker_core::{
    gate::{self, Leg},
    l2::{Announcer, Answering, Counters, Event, Phase, Settings, Wanted, WantedByLeg, Wire},
};
use roadstead_wire::Frame;
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

use crate::{
    control::Seen,
    legs::LegFacts,
    metrics,
    sparing::{Line, Sparing},
};

mod ports;

use ports::{Heard, Ports};

/// Everything that the announcer is told, whole: it finds out itself what changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Legs to have a socket on.
    pub(crate) legs: Vec<LegFacts>,
    /// Addresses; one that is absent is withdrawn.
    pub(crate) wanted: Vec<gate::Wanted>,
    /// Where the kernel program answers, so that we need not.
    pub(crate) kernel_answers: BTreeSet<(IpAddr, Leg)>,
    /// `[speaker.l2]`; `None` before the first orders.
    pub(crate) settings: Option<config::L2>,
}

/// Pause before a leg whose socket could not be opened is tried again.
const REOPEN: Duration = Duration::from_secs(1);
/// Longer than any frame of address resolution.
const FRAME: usize = 2048;

/// Announces what `orders` says and tells what it saw, until whoever gives the orders is gone.
///
/// # Errors
/// None: what goes wrong on a leg is logged and tried again.
pub(crate) async fn run(
    mut orders: watch::Receiver<Arc<Orders>>,
    seen: mpsc::Sender<Seen>,
    metrics: metrics::L2,
) -> Result<()> {
    let mut task = Task::new(metrics);
    let mut buffer = [0; FRAME];
    loop {
        task.transmit();
        if task.report(&seen).await.is_err() {
            return Ok(());
        }
        let deadline = task.deadline();
        tokio::select! {
            changed = orders.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let orders = orders.borrow_and_update().clone();
                task.obey(orders);
            }
            heard = poll_fn(|context| task.ports.poll(context, &mut buffer)) => {
                task.take(heard, &buffer);
            }
            () = sleep_until(deadline.into()) => task.tick(),
        }
    }
}

/// The announcer with its sockets.
struct Task {
    announcer: Announcer,
    ports: Ports,
    orders: Arc<Orders>,
    /// When a leg without a socket is tried again.
    reopen: Option<Instant>,
    seed: u64,
    told: Counters,
    sparing: Sparing,
    metrics: metrics::L2,
}

impl Task {
    fn new(metrics: metrics::L2) -> Self {
        // The keys of the standard library's hasher differ from process to process.
        let seed = RandomState::new().hash_one("roadstead");
        let settings =
            Settings { probe: config::Probe::Fast, refresh: Duration::from_secs(40), seed };
        Self {
            announcer: Announcer::new(settings),
            ports: Ports::default(),
            orders: Arc::default(),
            reopen: None,
            seed,
            told: Counters::default(),
            sparing: Sparing::default(),
            metrics,
        }
    }

    /// Brings sockets and announcer in line with new orders.
    fn obey(&mut self, orders: Arc<Orders>) {
        self.orders = orders;
        self.ports.hush();
        let Some(settings) = &self.orders.settings else { return };
        let (probe, refresh) = (settings.probe, settings.refresh);
        self.announcer.set_settings(Settings { probe, refresh, seed: self.seed });
        self.arrange_legs();
        self.announcer.set_wanted(wanted(&self.orders), Instant::now());
        self.ports.set_groups(&self.announcer);
    }

    /// Only legs with a socket are legs for the announcer. One whose index changed is first taken
    /// away: what is wanted there is probed anew on what may be another segment.
    fn arrange_legs(&mut self) {
        let kept = self.ports.keep(&self.orders.legs);
        self.announcer.set_legs(kept, Instant::now());
        let (open, complete) = self.ports.open(&self.orders.legs);
        self.announcer.set_legs(open, Instant::now());
        self.ports.set_groups(&self.announcer);
        self.reopen = (!complete).then(|| Instant::now() + REOPEN);
    }

    fn deadline(&self) -> Instant {
        let idle = Instant::now() + Duration::from_secs(3600);
        [self.announcer.next_deadline(), self.reopen].into_iter().flatten().min().unwrap_or(idle)
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.reopen.is_some_and(|due| due <= now) {
            self.arrange_legs();
        }
        self.announcer.handle_timeout(now);
    }

    fn take(&mut self, heard: Heard, buffer: &[u8]) {
        match heard {
            Heard::Frame(leg, length) => {
                let octets = buffer.get(..length).unwrap_or(buffer);
                // What is malformed is silently discarded (RFC 4861 §7.1, RFC 826).
                if let Ok(frame) = Frame::parse(octets) {
                    self.announcer.handle_frame(&leg, &frame, Instant::now());
                }
            }
            Heard::Room => {}
            Heard::Lost => self.arrange_legs(),
        }
    }

    fn transmit(&mut self) {
        self.ports.transmit(&mut self.announcer);
        let counters = self.announcer.counters();
        self.metrics.add(&counters, &self.told);
        self.told = counters;
    }

    /// Tells what changed; frames went out before.
    async fn report(
        &mut self,
        seen: &mpsc::Sender<Seen>,
    ) -> Result<(), mpsc::error::SendError<Seen>> {
        while let Some((address, leg, wire)) = self.announcer.poll_change() {
            tracing::debug!(%address, %leg, ?wire, "the standing of an address changed");
            seen.send(Seen::Wire(address, leg, wire)).await?;
        }
        while let Some(event) = self.announcer.poll_event() {
            self.tell(&event);
            if let Some(told) = told(event) {
                seen.send(told).await?;
            }
        }
        Ok(())
    }

    /// For the log. Conflicts are sparingly told: their number is up to whoever claims.
    fn tell(&mut self, event: &Event) {
        match event {
            Event::Conflict { .. } => match self.sparing.line(Instant::now()) {
                Line::Tell => log_conflict(event),
                Line::TellOfMore => {
                    tracing::warn!("more conflicts, which are counted and not told one by one");
                }
                Line::Spare => {}
            },
            Event::Settled { address, leg } => {
                log(address, leg, "the address is no longer claimed by another station");
            }
            Event::Announced { address, leg } => log(address, leg, "announcing"),
            Event::Silent { address, leg } => log(address, leg, "silent"),
            Event::Probed { .. } => {}
        }
    }
}

fn log(address: &IpAddr, leg: &Leg, what: &str) {
    tracing::info!(%address, %leg, "{what}");
}

/// What the control hears of an event beyond the change of standing.
fn told(event: Event) -> Option<Seen> {
    match event {
        Event::Conflict { address, mac, phase: Phase::InUse, .. } => {
            Some(Seen::Contested(address, mac))
        }
        Event::Settled { address, leg } => Some(Seen::Wire(address, leg, Some(Wire::Announced))),
        Event::Conflict { .. }
        | Event::Announced { .. }
        | Event::Silent { .. }
        | Event::Probed { .. } => None,
    }
}

fn log_conflict(event: &Event) {
    let Event::Conflict { address, leg, mac, phase, claim } = event else { return };
    match phase {
        Phase::BeforeUse => {
            tracing::warn!(%address, %leg, %mac, ?claim, "another station has the address: it is not announced");
        }
        Phase::InUse => {
            tracing::warn!(%address, %leg, %mac, ?claim, "another station claims an address that is announced: it is defended");
        }
    }
}

/// The gate's wishes in the announcer's form.
fn wanted(orders: &Orders) -> WantedByLeg {
    let mut by_leg = WantedByLeg::new();
    for wanted in &orders.wanted {
        for leg in &wanted.legs {
            let kernel = orders.kernel_answers.contains(&(wanted.address, leg.clone()));
            let answering = if kernel { Answering::Kernel } else { Answering::UserSpace };
            let of_leg: &mut BTreeMap<_, _> = by_leg.entry(leg.clone()).or_default();
            of_leg.insert(wanted.address, Wanted { hold: wanted.hold, answering });
        }
    }
    by_leg
}

#[cfg(test)]
mod tests;
