//! The composition of the speaker: construct, bind, then run.
//!
//! ```text
//! netlink follower ─ tables ──┐
//! watch ─ snapshots ──────────┤
//! resolver ─ names ───────────┤
//! router's socket ─ heard ────┼─▶ Speaker (the one writer) ─ assignments, status ─▶ local socket
//! local socket ─ orders ──────┤        │        ▲
//! signals ────────────────────┘        ▼        │
//!                              l2 orders      l2 seen
//!                                   announcer (packet sockets)
//! ```
//!
//! All of it runs on one thread in one `select!`: whoever ends it (SIGTERM, a task that fails)
//! ends all, and nothing needs to be undone: state is on disk before it is spoken of, and what is
//! announced stays announced by the kernel program ("back soon").

use std::{collections::BTreeSet, path::Path, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use prometheus_client::registry::Registry;
use roadstead_daemon::{
    http, local,
    lock::DirectoryLock,
    notify,
    publish::{published, run_number},
    ready::{Blocker, Readiness},
    signals::{Signals, Told},
    words::chain,
};
use roadstead_model::{
    Snapshot,
    config::{Config, Daemon},
    local::{Assignments, Done, Lease, Refusal},
    report::Cleaned,
};
use roadstead_netlink::{Netlink, Tables};
use roadstead_watch::{Confirm, Reader, Reporting, Requests, Watch};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use crate::{
    api::{self, Api, Order, What},
    control::{Control, Seen},
    drain::Drain,
    group::{self, Own, Setup, View},
    journal::Journal,
    l2,
    leaving::Leaving,
    legs::Surroundings,
    metrics::Metrics,
    names,
    programmed::{self, Heard},
    report,
    reports::Reporter,
    stations::Stations,
    store::Store,
    strangers::Strangers,
};

/// What the announcer has seen and the control has not looked at yet. When full the announcer
/// waits, and sees the rest from its sockets' buffers; a step takes all that wait at once.
const SEEN: usize = 1024;
/// What is known to be clean of us and the control has not looked at yet. When full the writers wait.
const CLEANED: usize = 256;
/// Pause before a state file that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Runs the speaker until it is told to stop.
pub(crate) async fn run(file: &Path) -> Result<()> {
    let config = Arc::new(roadstead_config::load_and_warn(file)?);
    let group = config.group.as_ref().map(Setup::read).transpose()?;
    let state = config.paths.state_of("speaker");
    let _lock = DirectoryLock::take(&state)?;
    let signals = Signals::install().context("cannot install signal handlers")?;
    let readiness = Readiness::new();
    let (netlink, follower) = Netlink::open()?;
    let run = run_number();
    let (assignments_out, assignments) = published(Assignments { run, ..Assignments::default() });
    let (status_out, status) = published(report::nothing_yet());
    let (reports_out, reports) = watch::channel(Arc::default());
    let reporter = Reporter::load(&state, reports_out);
    let store = Store::new(&state);
    let control = Control::new(config.clone(), store, reporter, assignments_out, status_out)?;

    let group = group.map(|setup| group::Task::new(setup, &state, control.edition()));
    let first_view = group.as_ref().map(group::Task::first_view).unwrap_or_default();
    let (view_in, view) = watch::channel(first_view);
    let (own_in, own) = watch::channel(Own::default());
    let lease =
        group.as_ref().map_or_else(|| watch::channel(Lease::default()).1, group::Task::lease);
    let (orders_in, orders) = mpsc::channel(api::ORDERS);
    let (seen_in, seen) = mpsc::channel(SEEN);
    let (heard_in, heard) = watch::channel(Heard::default());
    let (l2_orders, l2_orders_out) = watch::channel(Arc::default());
    let (names_wanted, names_asked) = watch::channel(names::Wanted::default());
    let (names_known, names) = watch::channel(Arc::default());
    let mut registry = Registry::with_prefix("roadstead");
    let metrics = Metrics::register(&mut registry);
    let api = Arc::new(Api { assignments, lease, status: status.clone(), orders: orders_in });
    let scrape = match config.speaker.metrics {
        Some(address) => Some(http::Metrics::bind(address, registry, readiness.clone()).await?),
        None => None,
    };
    // Last of what can fail: it takes the place of the socket that is there.
    let server = local::Server::bind(&config.paths.socket_of("speaker"))?;
    let (cleaned_in, cleaned) = mpsc::channel(CLEANED);
    let reporting = Reporting { reports, cleaned: cleaned_in, requests: Requests::default() };
    let sources = Sources::watch(&config, reporting.clone());
    let speaker = Speaker {
        file: file.to_path_buf(),
        drain: Drain::new(&config.paths),
        leaving: Leaving::default(),
        starting: Some(readiness.block("the sources")),
        tables: netlink.tables(),
        control,
        group: view,
        own: own_in,
        strangers: Strangers::watch(&config, &state),
        sources,
        reporting,
        cleaned,
        journal: Journal::default(),
        heard,
        orders,
        seen,
        l2: l2_orders,
        signals,
        metrics: metrics.clone(),
        retry: None,
        cooled: None,
        names_wanted,
        names,
    };
    let client = local::Client::new(config.paths.socket_of("router"));
    let serve = server.serve(move |call| api.clone().answer(call));
    tokio::select! {
        result = speaker.run() => result,
        () = follower.run() => Err(anyhow!("the rtnetlink socket closed")),
        () = programmed::follow(client, run, heard_in) => Ok(()),
        result = l2::run(l2_orders_out, seen_in, metrics.l2) => result,
        result = group::run(group, own, view_in) => result,
        () = names::follow(names_asked, names_known, names::resolve) => Ok(()),
        () = serve => Ok(()),
        () = http::serve(scrape) => Ok(()),
        () = announce_readiness(readiness) => Ok(()),
        () = notify::watchdog() => Ok(()),
    }
}

async fn announce_readiness(readiness: Readiness) {
    readiness.ready().await;
    tracing::info!("ready");
    notify::ready();
    std::future::pending::<()>().await;
}

/// The watch on the sources; dropping it ends it.
struct Sources {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    confirm: Confirm,
    _stop: oneshot::Sender<()>,
}

impl Sources {
    fn watch(config: &Config, reporting: Reporting) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            // Dropping the sender is the signal; nothing is ever sent.
            let _ = stopped.await;
        };
        let reader = Reader::of(Daemon::Speaker, &config.paths);
        let Watch { snapshots, confirm, .. } =
            roadstead_watch::spawn_reporting(&config.sources, reader, reporting, stopped);
        Self { snapshots, confirm, _stop: stop }
    }
}

/// Answers an order.
fn tell(whom: oneshot::Sender<Result<Done, Refusal>>, answer: Result<Done, Refusal>) {
    match &answer {
        Ok(done) => tracing::info!("{}", done.message),
        Err(refusal) => tracing::warn!("an order is refused: {}", refusal.error),
    }
    // Whoever asked may have gone away; the order is carried out all the same.
    let _ = whom.send(answer);
}

/// Feeds the control and carries its orders.
struct Speaker {
    file: PathBuf,
    drain: Drain,
    leaving: Leaving,
    /// Dropped when every source has been read once.
    starting: Option<Blocker>,
    control: Control,
    /// What the other hosts of the group do.
    group: watch::Receiver<View>,
    /// What they are told of this one.
    own: watch::Sender<Own>,
    /// Hosts that serve the same cluster and are in no group with this one.
    strangers: Strangers,
    sources: Sources,
    reporting: Reporting,
    /// Services that nothing of ours is on any more.
    cleaned: mpsc::Receiver<Cleaned>,
    journal: Journal,
    tables: watch::Receiver<Arc<Tables>>,
    heard: watch::Receiver<Heard>,
    orders: mpsc::Receiver<Order>,
    seen: mpsc::Receiver<Seen>,
    l2: watch::Sender<Arc<l2::Orders>>,
    signals: Signals,
    metrics: Metrics,
    retry: Option<Instant>,
    /// When an address has cooled down.
    cooled: Option<Instant>,
    /// Host names that Services ask for.
    names_wanted: watch::Sender<names::Wanted>,
    /// What they resolve to.
    names: watch::Receiver<Arc<names::Names>>,
}

impl Speaker {
    async fn run(mut self) -> Result<()> {
        self.control.drained = self.drain.is_ordered();
        loop {
            self.step();
            let silent = self.control.is_silent() || !self.control.drained;
            self.leaving.answer(silent, Instant::now());
            let due = [self.retry, self.cooled, self.leaving.until(), self.strangers.until()];
            let wake = due.into_iter().flatten().min();
            let wake = wake.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                told = self.signals.next() => match told {
                    Told::Stop => {
                        tracing::info!("stopping; what is announced stays");
                        notify::stopping();
                        return Ok(());
                    }
                    Told::Reload => self.reload(),
                },
                changed = self.sources.snapshots.changed() => {
                    changed.context("the sources are no longer watched")?;
                }
                _ = self.tables.changed() => {}
                _ = self.heard.changed() => {}
                _ = self.group.changed() => {}
                () = self.strangers.changed() => {}
                _ = self.names.changed() => {}
                Some(order) = self.orders.recv() => self.carry_out(order),
                Some(cleaned) = self.cleaned.recv() => self.control.note_cleaned(&cleaned),
                Some(seen) = self.seen.recv() => self.control.see(seen),
                () = sleep_until(wake) => {}
            }
            while let Ok(seen) = self.seen.try_recv() {
                self.control.see(seen);
            }
            while let Ok(cleaned) = self.cleaned.try_recv() {
                self.control.note_cleaned(&cleaned);
            }
        }
    }

    /// Takes in everything that is known now, decides, and passes the orders on. Before the host's
    /// own tables have been read nothing is decided: the allocator would not know its addresses. Nor
    /// before the group has said who decides.
    fn step(&mut self) {
        let tables = self.tables.borrow_and_update().clone();
        let view = self.strangers.beside(self.group.borrow_and_update().clone());
        if view.role == group::Role::Starting {
            return self.control.listen(view.status);
        }
        if !tables.is_read() {
            return;
        }
        self.control.attend(&view);
        let named = self.control.config.speaker.interfaces.clone();
        let mut surroundings = Surroundings::of(&tables, named.as_deref());
        surroundings.host.names = (**self.names.borrow_and_update()).clone();
        self.control.surroundings = Arc::new(surroundings);
        self.control.stations = Stations::of(&tables);
        self.control.snapshot = self.sources.snapshots.borrow_and_update().clone();
        self.want_names();
        self.journal.follow(&self.control.snapshot);
        self.control.heard = self.heard.borrow_and_update().clone();
        self.drain.catch_up();
        if self.control.snapshot.is_complete() {
            self.starting = None;
        }
        if self.control.awaits_pools() {
            return;
        }
        let orders = self.control.step();
        let retry = orders.retry || self.drain.is_behind();
        self.retry = retry.then(|| Instant::now() + RETRY);
        let now = self.control.clock.now();
        let until = |at: u64| Duration::from_secs(at.saturating_sub(now).max(1));
        self.cooled = orders.next.and_then(|at| Instant::now().checked_add(until(at)));
        let own = self.control.own();
        self.own.send_if_modified(|before| before.becomes(own));
        self.metrics.note(&self.control);
        self.metrics.note_requests(&self.reporting.requests);
        let l2 = Arc::new(self.for_the_announcer(orders.wanted));
        self.l2.send_if_modified(|old| {
            let changed = *old != l2;
            *old = l2;
            changed
        });
    }

    fn want_names(&self) {
        let wanted = names::wanted(&self.control.snapshot);
        self.names_wanted.send_if_modified(|old| {
            let differs = *old != wanted;
            *old = wanted;
            differs
        });
    }

    fn for_the_announcer(&self, wanted: Vec<roadstead_speaker_core::gate::Wanted>) -> l2::Orders {
        let heard = &self.control.heard;
        // Without a router nobody passes the lease on, and the kernel program falls silent.
        let lapses = self.control.config.group.is_some() && !heard.connected;
        let programmed = heard.programmed.as_deref().filter(|_| !lapses);
        let answering = programmed.into_iter().flat_map(|programmed| &programmed.answering);
        let kernel_answers: BTreeSet<_> =
            answering.flat_map(|a| a.legs.iter().map(|leg| (a.address, leg.clone()))).collect();
        l2::Orders {
            legs: self.control.surroundings.legs.clone(),
            wanted,
            kernel_answers,
            settings: self.control.config.speaker.l2.clone().into(),
        }
    }

    fn carry_out(&mut self, order: Order) {
        let result = match order.what {
            What::Drain { until_reboot } => {
                let words = self.drain.order(until_reboot).in_words();
                self.control.drained = true;
                return self.leaving.wait(order.answer, words, Instant::now());
            }
            What::Undrain { until_reboot } => {
                let words = if self.control.drained {
                    "this host announces again"
                } else {
                    "this host was not drained"
                };
                self.drain.take_back(until_reboot).map(|()| words.to_owned())
            }
            What::Confirm => return self.confirm(order.answer),
            What::Release(ref name) => {
                let done = self.give_up(name);
                return tell(order.answer, done);
            }
        };
        self.control.drained = self.drain.is_ordered();
        let answer = match result {
            Ok(_) if matches!(order.what, What::Undrain { .. }) && self.control.drained => {
                Ok(Done {
                    message: "an operator's drain stays; `roadstead undrain self` ends it".into(),
                })
            }
            Ok(message) => Ok(Done { message }),
            Err(error) => Err(Refusal { error: chain(&error) }),
        };
        tell(order.answer, answer);
    }

    /// Answered when the ledger is on disk, or with that it is not.
    fn give_up(&mut self, reservation: &str) -> Result<Done, Refusal> {
        let released = self.control.give_up(reservation);
        let message = released.map_err(|error| Refusal { error })?;
        self.step();
        let behind = self.retry.is_some();
        let but = if behind { "; the disk refuses, a restart would keep it again" } else { "" };
        Ok(Done { message: message + but })
    }

    /// The sources answer in their own time; what follows comes with their next snapshot.
    fn confirm(&self, answer: oneshot::Sender<Result<Done, Refusal>>) {
        let confirm = self.sources.confirm.clone();
        tokio::spawn(async move {
            let message = roadstead_watch::in_words(&confirm.confirm().await);
            tracing::info!(outcome = message, "an operator confirmed the sources");
            // Whoever asked may have gone away; the order is carried out all the same.
            let _ = answer.send(Ok(Done { message }));
        });
    }

    /// A configuration is taken whole or not at all.
    fn reload(&mut self) {
        self.control.stale_config = roadstead_daemon::reload(|| self.reloaded()).err();
    }

    fn reloaded(&mut self) -> Result<()> {
        let config = roadstead_config::load_and_warn(&self.file)?;
        let old = &self.control.config;
        if config.paths != old.paths || config.speaker.metrics != old.speaker.metrics {
            return Err(anyhow!("[paths] and speaker.metrics change with a restart only"));
        }
        if config.group != old.group {
            return Err(anyhow!("[group] changes with a restart only: host by host"));
        }
        let orphans = self.control.orphans(&config).map_err(|why| anyhow!(why))?;
        if !orphans.is_empty() {
            return Err(anyhow!(
                "it would take the address of {}; move or delete these Services first",
                orphans.join(", ")
            ));
        }
        let tables = self.tables.borrow().clone();
        if tables.is_read() {
            let there = tables.links.values().map(|link| &link.name);
            roadstead_daemon::interfaces_exist(&config, old, there)?;
        }
        let sources_changed = config.sources != old.sources;
        self.control.config = Arc::new(config);
        if sources_changed {
            let state = self.control.config.paths.state_of("speaker");
            self.strangers = Strangers::watch(&self.control.config, &state);
            self.sources = Sources::watch(&self.control.config, self.reporting.clone());
        }
        Ok(())
    }
}
