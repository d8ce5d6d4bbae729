//! Composition: what is constructed, bound and run, in this order, and how it ends.
//!
//! Everything runs on one thread in one `select!`, but for sweeps and state files, which have
//! threads of their own. Whoever ends it (SIGTERM, a task that fails) ends all, and nothing needs to
//! be undone: the programs stay pinned and go on forwarding ("back soon"), and the next start reads
//! back what the maps hold.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, anyhow};
use prometheus_client::registry::Registry;
use roadstead_daemon::{
    http, local,
    lock::DirectoryLock,
    notify,
    pools::PoolBook,
    publish::{published, run_number},
    ready::Readiness,
    signals::{Signals, Told},
};
use roadstead_model::{
    config::Config,
    local::{Assignments, Programmed},
};
use roadstead_netlink::{Netlink, Tables};
use roadstead_router_bpf::Error;
use roadstead_router_core::plan::orphans;
use tokio::sync::{Mutex, mpsc, watch};

use crate::{
    api::{self, Api},
    assignments::{self, Heard},
    control::{Control, EVENTS, Sinks, Sources},
    dataplane::Dataplane,
    host::{self, Wanted},
    kernel::{self, Kernel},
    lease,
    memory::Memory,
    metrics::Metrics,
    reconcile::Retired,
    sweep,
};

/// Sweeps that wait for the control task: the sweeper waits while one is there.
const SWEPT: usize = 1;

/// Runs until SIGTERM.
pub(crate) async fn run(file: &Path) -> Result<()> {
    let config = Arc::new(roadstead_config::load_and_warn(file)?);
    let state = config.paths.state_of("router");
    let _lock = DirectoryLock::take(&state)?;
    let signals = Signals::install().context("cannot install signal handlers")?;
    let kernel = open(&config)?;
    let (sweep, flows, events) = (kernel.sweep(), kernel.list_flows(), kernel.events()?);
    let set_lease = kernel.set_lease();
    let (netlink, follower) = Netlink::open()?;
    let memory = Memory::read(&Memory::path(&state));

    let (config_in, config_out) = watch::channel(Arc::clone(&config));
    let (stale_in, stale_config) = watch::channel(None);
    let (heard_in, heard) = watch::channel(Heard::remembered(memory.as_ref()));
    let (wanted, wanted_out) = watch::channel(Wanted::default());
    let (host_in, host) = watch::channel(None);
    let (events_in, events_out) = mpsc::channel(EVENTS);
    let (retired, retired_out) = watch::channel(Retired::default());
    let (swept_in, swept) = mpsc::channel(SWEPT);
    let (orders_in, orders) = mpsc::channel(api::ORDERS);
    let first = Programmed { run: run_number(), ..Programmed::default() };
    let (programmed, programmed_out) = published(first);
    let readiness = Readiness::new();
    let mut registry = Registry::with_prefix("roadstead");
    let metrics = Metrics::register(&mut registry);

    let api = Arc::new(Api {
        programmed: programmed_out,
        orders: orders_in,
        flows,
        listing: Mutex::default(),
    });
    let scrape = match config.router.metrics {
        Some(address) => Some(http::Metrics::bind(address, registry, readiness.clone()).await?),
        None => None,
    };
    // Last of what can fail: it takes the place of the socket that is there.
    let server = local::Server::bind(&config.paths.socket_of("router"))?;
    let reloading = Reloading {
        config: config_in,
        stale: stale_in,
        heard: heard.clone(),
        tables: netlink.tables(),
        metrics,
    };
    let leased = heard.clone();
    let control = Control::new(
        kernel,
        Sources {
            config: config_out,
            stale_config,
            heard,
            host,
            events: events_out,
            swept,
            orders,
        },
        Sinks { programmed, retired, wanted, metrics: reloading.metrics.clone(), readiness },
        memory.unwrap_or_default(),
    )?;
    let speaker = local::Client::new(config.paths.socket_of("speaker"));
    let lessor = speaker.clone();
    // What is loaded forwards already. The first plan, which `/readyz` waits for, may itself wait for a
    // speaker that comes later, and systemd would take that for a failed start.
    notify::ready();
    tokio::select! {
        () = until_stopped(file, signals, reloading) => Ok(()),
        () = control.run() => Ok(()),
        () = follower.run() => Err(anyhow!("the rtnetlink socket closed")),
        () = host::follow(netlink, wanted_out, host_in) => Ok(()),
        () = assignments::follow(speaker, heard_in) => Ok(()),
        never = lease::follow(lessor, leased, set_lease) => match never {},
        () = sweep::run(sweep, retired_out, swept_in) => Ok(()),
        result = kernel::follow(events, events_in) => result,
        () = server.serve(move |call| Arc::clone(&api).answer(call)) => Ok(()),
        () = http::serve(scrape) => Ok(()),
        () = notify::watchdog() => Ok(()),
    }
}

/// Loads and pins the programs, and attaches them to the legs that are there.
pub(crate) async fn load(file: &Path, replace: bool) -> Result<()> {
    let config = roadstead_config::load_and_warn(file)?;
    let loaded = kernel::load(&config, replace)?;
    let (flows, kept) = (loaded.capacity.flows, loaded.kept_maps);
    tracing::info!(flows, kept, replaced = loaded.replaced.len(), "the dataplane is loaded");
    let (netlink, follower) = Netlink::open()?;
    let mut tables = netlink.tables();
    let legs = tokio::select! {
        () = follower.run() => return Err(anyhow!("the rtnetlink socket closed")),
        read = tables.wait_for(|tables| tables.is_read()) => {
            host::legs(&*read?, config.router.interfaces.as_deref())
        }
    };
    let mut kernel = Kernel::open(&config)?;
    for (ifindex, outcome) in kernel.attach(&legs) {
        let leg = legs.get(&ifindex).map(|leg| leg.name.to_string()).unwrap_or_default();
        outcome.map_err(|error| anyhow!("{leg}: {error}"))?;
        tracing::info!(leg, "the program is attached");
    }
    Ok(())
}

/// Opens what is loaded; root loads it where nothing is.
fn open(config: &Config) -> Result<Kernel> {
    match Kernel::open(config) {
        Err(Error::NotLoaded { .. }) if nix::unistd::geteuid().is_root() => {
            kernel::load(config, false)?;
            Ok(Kernel::open(config)?)
        }
        opened => Ok(opened?),
    }
}

/// What a reload follows from and whom it tells.
struct Reloading {
    config: watch::Sender<Arc<Config>>,
    /// Why the last one was refused.
    stale: watch::Sender<Option<String>>,
    heard: watch::Receiver<Heard>,
    tables: watch::Receiver<Arc<Tables>>,
    metrics: Metrics,
}

/// Reloads at SIGHUP, resolves at SIGTERM.
async fn until_stopped(file: &Path, mut signals: Signals, reloading: Reloading) {
    loop {
        match signals.next().await {
            Told::Stop => {
                tracing::info!("stopping; the programs stay and go on forwarding");
                notify::stopping();
                return;
            }
            Told::Reload => reloading.reload(file),
        }
    }
}

impl Reloading {
    fn reload(&self, file: &Path) {
        let assignments = self.heard.borrow().assignments.clone();
        let taken = roadstead_daemon::reload(|| {
            let new = roadstead_config::load_and_warn(file)?;
            let old = self.config.borrow();
            let book = PoolBook::load(&old.paths.state_of("router"), Arc::clone(&old));
            acceptable(&new, &old, &book, assignments.as_deref())?;
            let tables = self.tables.borrow();
            if tables.is_read() {
                let there = tables.links.values().map(|link| &link.name);
                roadstead_daemon::interfaces_exist(&new, &old, there)?;
            }
            anyhow::Ok(new)
        });
        self.metrics.configured(taken.is_ok());
        self.stale.send_replace(taken.as_ref().err().cloned());
        if let Ok(new) = taken {
            self.config.send_replace(Arc::new(new));
        }
    }
}

/// A configuration is taken whole or not at all.
fn acceptable(
    new: &Config,
    old: &Config,
    book: &PoolBook,
    assignments: Option<&Assignments>,
) -> Result<()> {
    if new.paths != old.paths || new.router.metrics != old.router.metrics {
        return Err(anyhow!("[paths] and router.metrics change with a restart only"));
    }
    if new.router.flows != old.router.flows {
        return Err(anyhow!("router.flows changes with a reboot only: the table holds its flows"));
    }
    let pools = book.with(new).map_err(|why| anyhow!(why))?;
    let orphans = assignments.map(|assignments| orphans(assignments, book.pools(), &pools));
    let orphans: Vec<String> = orphans
        .into_iter()
        .flatten()
        .map(|(service, address)| format!("{service} ({address})"))
        .collect();
    if !orphans.is_empty() {
        return Err(anyhow!(
            "it would take the address of {}; move or delete these Services first",
            orphans.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{control, reconcile};

    /// As the speaker does, which may be down.
    #[test]
    fn a_reload_that_would_take_a_served_address_is_refused_by_name() {
        let old = control::tests::config(Path::new("/nowhere"));
        let with = |pools| Config { pools, ..old.clone() };
        let acceptable = |new: &Config, old: &Config, assignments: Option<&Assignments>| {
            let book = PoolBook::load(Path::new("/nowhere"), Arc::new(old.clone()));
            acceptable(new, old, &book, assignments)
        };
        let assignments = reconcile::tests::world().assignments;
        let moved = with(vec![reconcile::tests::pool("203.0.113.0/24")]);
        let refused = acceptable(&moved, &old, Some(&assignments)).unwrap_err().to_string();
        assert!(refused.contains("default/web (192.0.2.10)"), "{refused}");
        let mut reserving = old.clone();
        reserving.pools[0].reserved = vec!["192.0.2.10".parse().unwrap()];
        assert!(acceptable(&reserving, &old, Some(&assignments)).is_err());
        let wider = with(vec![reconcile::tests::pool("192.0.0.0/16")]);
        acceptable(&wider, &old, Some(&assignments)).unwrap();
        acceptable(&old, &moved, Some(&assignments)).unwrap();
        acceptable(&moved, &with(Vec::new()), Some(&assignments)).unwrap();
        let mut leaving = (*assignments).clone();
        leaving.services[0].withdrawing = true;
        acceptable(&moved, &old, Some(&leaving)).unwrap();
        acceptable(&moved, &old, None).unwrap();
    }

    #[test]
    fn a_reload_that_names_an_interface_anew_finds_it_here() {
        let old = control::tests::config(Path::new("/nowhere"));
        let there = ["eth0".into(), "lo".into()];
        let of_router = |names: &[&str]| {
            let mut config = old.clone();
            config.router.interfaces = Some(names.iter().map(|name| (*name).into()).collect());
            config
        };
        let slip = of_router(&["eth0", "ens99"]);
        let refused = roadstead_daemon::interfaces_exist(&slip, &old, &there).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "interface `ens99` is not on this host, which has `eth0`, `lo`; correct the name, or \
             reload when it is there"
        );
        roadstead_daemon::interfaces_exist(&of_router(&["eth0"]), &old, &there).unwrap();
        let vanished = of_router(&["ens99"]);
        roadstead_daemon::interfaces_exist(&vanished, &slip, &there).unwrap();
        let mut of_pool = old.clone();
        of_pool.pools[0].interfaces = Some(vec!["ens99".into()]);
        assert!(roadstead_daemon::interfaces_exist(&of_pool, &old, &there).is_err());
        let mut of_speaker = old.clone();
        of_speaker.speaker.interfaces = Some(vec!["ens99".into()]);
        assert!(roadstead_daemon::interfaces_exist(&of_speaker, &old, &there).is_err());
    }
}
