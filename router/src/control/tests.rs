use std::{collections::BTreeMap, net::IpAddr};

use prometheus_client::registry::Registry;
use roadstead_daemon::publish::{Published, published};
use roadstead_model::{
    SourceName,
    config::{self, Paths, Source, SourceKind},
    local::{Assignments, Done, Refusal, RouterStatus, Serving},
    reason::ConditionStatus,
};
use roadstead_router_core::{
    host::Leg,
    maps::{Capacity, Installed, Maps, Op},
};

use super::*;
use crate::{
    api::{DrainKind, DrainOrder, ORDERS},
    reconcile::tests as reconcile,
};

/// Maps in memory that tell the test what they hold.
#[derive(Clone, Debug)]
struct Shown {
    memory: reconcile::Memory,
    shown: watch::Sender<Installed>,
}

impl Maps for Shown {
    fn capacity(&self) -> Capacity {
        self.memory.capacity()
    }

    fn read(&self) -> Result<Installed, MapError> {
        self.memory.read()
    }

    fn apply(&mut self, op: &Op) -> Result<(), MapError> {
        self.memory.apply(op)?;
        self.shown.send_replace(self.memory.installed.clone());
        Ok(())
    }
}

impl Dataplane for Shown {
    fn attach(&mut self, legs: &BTreeMap<u32, Leg>) -> BTreeMap<u32, Result<(), String>> {
        legs.keys().map(|ifindex| (*ifindex, Ok(()))).collect()
    }

    fn drops(&self) -> Vec<(String, u64)> {
        vec![("closed_port".to_owned(), 3)]
    }
}

/// A control task in a directory of its own, with both ends of everything.
struct Bench {
    directory: tempfile::TempDir,
    config: watch::Sender<Arc<Config>>,
    stale_config: watch::Sender<Option<String>>,
    heard: watch::Sender<Heard>,
    host: watch::Sender<Option<Arc<Host>>>,
    orders: mpsc::Sender<Order>,
    programmed: Published<Programmed>,
    readiness: Readiness,
    wanted: watch::Receiver<Wanted>,
    maps: watch::Receiver<Installed>,
    _events: mpsc::Sender<Event>,
    _swept: mpsc::Sender<Swept>,
    _retired: watch::Receiver<Retired>,
}

mod pools;

const NODE: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 198.51.100.1}]}
"#;

fn service(node_port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: default}}\n\
         spec: {{type: LoadBalancer, ports: [{{port: 80, nodePort: {node_port}}}]}}\n"
    )
}

pub(crate) fn config(directory: &std::path::Path) -> Config {
    let world = reconcile::world();
    Config {
        sources: vec![Source {
            name: SourceName::new("local"),
            kind: SourceKind::Directory(directory.join("manifests")),
            metallb: None,
            report: true,
        }],
        pools: world.pools.to_vec(),
        reservations: Vec::new(),
        group: None,
        paths: Paths {
            state: directory.join("state"),
            runtime: directory.join("run"),
            bpffs: directory.join("bpf"),
        },
        speaker: config::Speaker {
            interfaces: None,
            class_only: false,
            require_ready: true,
            ip_mode: roadstead_model::report::IpMode::Proxy,
            l2: config::L2 {
                probe: config::Probe::Off,
                refresh: Duration::from_secs(30),
                probe_ahead: 0,
            },
            metrics: None,
        },
        router: (*world.router).clone(),
    }
}

impl Bench {
    /// Starts with what `memory` and the directory hold.
    fn start(directory: tempfile::TempDir, memory: Memory, installed: Installed) -> Self {
        Self::on(directory, memory, reconcile::Memory { installed, patience: None })
    }

    /// The same over these maps.
    fn on(directory: tempfile::TempDir, memory: Memory, maps: reconcile::Memory) -> Self {
        let config = Arc::new(config(directory.path()));
        std::fs::create_dir_all(config.paths.state_of("router")).unwrap();
        std::fs::create_dir_all(config.paths.runtime.join("router")).unwrap();
        std::fs::create_dir_all(directory.path().join("manifests")).unwrap();
        let (config_in, config) = watch::channel(config);
        let (stale_in, stale_config) = watch::channel(None);
        let known = Heard::remembered((memory != Memory::default()).then_some(&memory));
        let (heard_in, heard) = watch::channel(known);
        let (host_in, host) = watch::channel(None);
        let (events_in, events) = mpsc::channel(EVENTS);
        let (swept_in, swept) = mpsc::channel(1);
        let (orders_in, orders) = mpsc::channel(ORDERS);
        let (programmed, programmed_out) = published(Programmed::default());
        let (retired, retired_out) = watch::channel(Retired::default());
        let (wanted, wanted_out) = watch::channel(Wanted::default());
        let (shown, shown_out) = watch::channel(maps.installed.clone());
        let readiness = Readiness::new();
        let metrics = Metrics::register(&mut Registry::default());
        let control = Control::new(
            Shown { memory: maps, shown },
            Sources { config, stale_config, heard, host, events, swept, orders },
            Sinks { programmed, retired, wanted, metrics, readiness: readiness.clone() },
            memory,
        );
        tokio::spawn(control.unwrap().run());
        Self {
            directory,
            config: config_in,
            stale_config: stale_in,
            heard: heard_in,
            host: host_in,
            orders: orders_in,
            programmed: programmed_out,
            readiness,
            wanted: wanted_out,
            maps: shown_out,
            _events: events_in,
            _swept: swept_in,
            _retired: retired_out,
        }
    }

    fn fresh() -> Self {
        Self::start(tempfile::tempdir().unwrap(), Memory::default(), Installed::default())
    }

    fn write(&self, name: &str, text: &str) {
        let draft = self.directory.path().join(name);
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, self.directory.path().join("manifests").join(name)).unwrap();
    }

    fn assign(&self) {
        let assignments = Some(reconcile::world().assignments);
        self.heard.send_replace(Heard { assignments, connected: true, remembered: false });
    }

    fn settle_host(&self) {
        self.host.send_replace(Some(reconcile::world().host));
    }

    /// One Service on one node, programmed.
    async fn serving() -> Self {
        let mut bench = Self::fresh();
        bench.write("node.yaml", NODE);
        bench.write("web.yaml", &service(30_080));
        bench.assign();
        bench.settle_host();
        bench.node_port(30_080).await;
        bench
    }

    /// Waits until the maps are as wanted.
    async fn maps(&mut self, wanted: impl FnMut(&Installed) -> bool) -> Installed {
        within(self.maps.wait_for(wanted)).await.unwrap().clone()
    }

    async fn node_port(&mut self, node_port: u16) {
        self.maps(|maps| {
            maps.frontends.values().any(|f| f.node_port == node_port && f.table.is_some())
        })
        .await;
    }

    async fn status(&self) -> RouterStatus {
        let (answer, answered) = oneshot::channel();
        self.orders.send(Order::Status(answer)).await.unwrap();
        Arc::unwrap_or_clone(within(answered).await.unwrap())
    }

    async fn drain(&self, node: &str, kind: DrainKind) -> Result<Done, Refusal> {
        let (answer, answered) = oneshot::channel();
        let order = DrainOrder { node: node.to_owned(), kind };
        self.orders.send(Order::Drain(order, answer)).await.unwrap();
        within(answered).await.unwrap()
    }
}

/// Far longer than anything here takes: a test that hangs fails.
async fn within<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it never came")
}

#[tokio::test]
async fn a_manifest_becomes_maps_and_its_change_follows() {
    let mut bench = Bench::serving().await;
    within(bench.readiness.ready()).await;
    let mut programmed = bench.programmed.clone();
    while bench.programmed.current().applied != 7 {
        within(programmed.changed()).await.unwrap();
    }
    assert_eq!(bench.programmed.current().services[0].serving, Serving::Pending);
    bench.write("web.yaml", &service(30_099));
    bench.node_port(30_099).await;
    let nodes = [IpAddr::from([198, 51, 100, 1])].into();
    within(bench.wanted.wait_for(|wanted| wanted.nodes == nodes)).await.unwrap();
}

#[tokio::test]
async fn nothing_is_touched_before_everything_is_known() {
    let mut first = Bench::serving().await;
    let installed = first.maps(|maps| !maps.answers.is_empty()).await;
    // The directory is empty and the speaker silent: what is installed stays.
    let memory = Memory {
        assignments: Assignments::clone(&reconcile::world().assignments),
        ready: BTreeSet::new(),
    };
    let bench = Bench::start(first.directory, memory, installed.clone());
    bench.settle_host();
    within(bench.readiness.ready()).await;
    assert_eq!(*bench.maps.borrow(), installed);
    let status = bench.status().await;
    assert_eq!(status.daemon.conditions[0].kind, "SpeakerConnected");
}

/// S3: a Service that has been ready is held in doubt by the next run too.
#[tokio::test]
async fn who_was_ready_is_degraded_and_not_new_after_a_restart() {
    for (ready, serving) in [(true, Serving::Degraded), (false, Serving::Pending)] {
        let world = reconcile::world();
        let keys = world.assignments.services.iter().map(|assignment| &assignment.service);
        let ready = keys.filter(|_| ready).cloned().collect();
        let memory = Memory { assignments: Assignments::clone(&world.assignments), ready };
        let bench = Bench::start(tempfile::tempdir().unwrap(), memory, Installed::default());
        bench.write("node.yaml", NODE);
        bench.write("web.yaml", &service(30_080));
        bench.settle_host();
        let mut programmed = bench.programmed.clone();
        let said =
            |programmed: &Programmed| programmed.services.first().map(|service| service.serving);
        while said(&bench.programmed.current()) != Some(serving) {
            within(programmed.changed()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_assignments_are_kept_over_a_restart() {
    let bench = Bench::serving().await;
    let path = Memory::path(&bench.directory.path().join("state/router"));
    let kept = async {
        while Memory::read(&path).is_none_or(|memory| memory.assignments.generation != 7) {
            tokio::task::yield_now().await;
        }
    };
    within(kept).await;
}

#[tokio::test]
async fn a_drained_node_takes_no_new_flows_until_it_is_undrained() {
    let mut bench = Bench::serving().await;
    let done = bench.drain("n1", DrainKind::Drain { until_reboot: false }).await.unwrap();
    assert!(done.message.contains("local/n1"), "{}", done.message);
    bench.maps(|maps| maps.frontends.values().all(|frontend| frontend.table.is_none())).await;
    let status = bench.status().await;
    assert_eq!(status.nodes[0].reason, "drained by an operator");
    bench.drain("local/n1", DrainKind::Undrain).await.unwrap();
    bench.node_port(30_080).await;
    let refused = bench.drain("n9", DrainKind::Undrain).await.unwrap_err();
    assert!(refused.error.contains("`n9`"));
}

#[tokio::test]
async fn a_reload_takes_effect_and_a_lost_speaker_is_told() {
    let mut bench = Bench::serving().await;
    let mut config = config(bench.directory.path());
    config.router.nodes_allowed = vec!["203.0.113.0/24".parse().unwrap()];
    bench.config.send_replace(Arc::new(config));
    bench.maps(|maps| maps.frontends.values().all(|frontend| frontend.table.is_none())).await;
    bench.heard.send_modify(|heard| heard.connected = false);
    let status = bench.status().await;
    assert_eq!(status.daemon.conditions[0].reason, "NoAnswer");
    assert_eq!(status.nodes[0].reason, "198.51.100.1 is outside router.nodes_allowed");
    assert_eq!(status.drops, [("closed_port".to_owned(), 3)]);
    assert_eq!((&*status.legs[0].name, status.legs[0].attached), ("eth0", true));
}

#[tokio::test]
async fn an_interface_that_is_named_and_missing_is_told() {
    let bench = Bench::serving().await;
    let mut config = config(bench.directory.path());
    config.router.interfaces = Some(vec!["eth0".into(), "ens99".into()]);
    bench.config.send_replace(Arc::new(config));
    let told = complaint(&bench, "LegMissing", true).await;
    assert!(told.starts_with("no packet is taken on ens99: "), "{told}");
}

/// The last plan stays in the maps, and reaches no packet.
#[tokio::test]
async fn a_router_without_a_leg_says_that_nothing_is_programmed() {
    let bench = Bench::serving().await;
    let mut host = (*reconcile::world().host).clone();
    host.legs.clear();
    bench.host.send_replace(Some(Arc::new(host)));
    complaint(&bench, "NoLegs", true).await;
    let status = bench.status().await;
    let conditions = &status.services[0].conditions;
    let programmed: Vec<_> = conditions.iter().filter(|c| c.kind == "Programmed").collect();
    assert_eq!(programmed.len(), 1, "{conditions:?}");
    assert_eq!(programmed[0].status, ConditionStatus::False);
    assert_eq!(programmed[0].reason, "NoLegs");
    assert!(programmed[0].message.contains("router.interfaces"));
}

#[tokio::test]
async fn a_refused_reload_is_told_until_one_is_taken() {
    let bench = Bench::serving().await;
    bench.stale_config.send_replace(Some("it would take 192.0.2.10".to_owned()));
    let told = |status: &RouterStatus| {
        let conditions = status.daemon.conditions.iter();
        conditions.filter(|condition| condition.reason == "ReloadRefused").count()
    };
    assert_eq!(told(&bench.status().await), 1);
    bench.stale_config.send_replace(None);
    assert_eq!(told(&bench.status().await), 0);
}

/// Waits until the router says of itself whether something is wrong; what it says.
async fn complaint(bench: &Bench, reason: &str, wanted: bool) -> String {
    within(async {
        loop {
            let conditions = bench.status().await.daemon.conditions;
            let found = conditions.into_iter().find(|condition| condition.reason == reason);
            if found.is_some() == wanted {
                return found.map(|condition| condition.message).unwrap_or_default();
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_disk_that_refuses_the_assignments_is_told_until_it_takes_them() {
    let bench = Bench::serving().await;
    let state = bench.directory.path().join("state");
    let away = bench.directory.path().join("away");
    std::fs::rename(&state, &away).unwrap();
    let next = |generation| {
        let assignments = Assignments::clone(&reconcile::world().assignments);
        let assignments = Some(Arc::new(Assignments { generation, ..assignments }));
        bench.heard.send_replace(Heard { assignments, connected: true, remembered: false });
    };
    next(8);
    let told = complaint(&bench, "DiskRefuses", true).await;
    assert!(told.contains("assignments.json"), "{told}");
    std::fs::rename(&away, &state).unwrap();
    next(9);
    complaint(&bench, "DiskRefuses", false).await;
}

#[tokio::test]
async fn a_kernel_that_refuses_is_told_with_what_it_refused() {
    let maps = reconcile::Memory { patience: Some(3), ..reconcile::Memory::default() };
    let bench = Bench::on(tempfile::tempdir().unwrap(), Memory::default(), maps);
    bench.write("node.yaml", NODE);
    bench.write("web.yaml", &service(30_080));
    bench.assign();
    bench.settle_host();
    let told = complaint(&bench, "KernelRefused", true).await;
    assert!(told.contains("tables"), "{told}");
}

/// S1, at a start with pools that do not have what is assigned.
#[tokio::test]
async fn what_is_in_no_pool_is_taken_out_of_the_maps_and_told() {
    let mut bench = Bench::serving().await;
    let mut config = config(bench.directory.path());
    config.pools.clear();
    bench.config.send_replace(Arc::new(config));
    bench.maps(|maps| maps.vips.is_empty() && maps.answers.is_empty()).await;
    let status = bench.status().await;
    let conditions = &status.daemon.conditions;
    let told = conditions.iter().any(|c| c.message.starts_with("192.0.2.10 is assigned, but no"));
    assert!(told, "{conditions:?}");
}

#[tokio::test]
async fn status_waits_for_the_plan_of_what_it_tells() {
    let mut bench = Bench::serving().await;
    bench.drain("n1", DrainKind::Drain { until_reboot: false }).await.unwrap();
    bench.maps(|maps| maps.frontends.values().all(|frontend| frontend.table.is_none())).await;
    // So soon after a plan, the next one waits.
    let (undrain, status) = tokio::join!(bench.drain("n1", DrainKind::Undrain), bench.status());
    undrain.unwrap();
    assert_ne!(status.nodes[0].reason, "drained by an operator");
    let served = bench.maps.borrow().frontends.values().all(|frontend| frontend.table.is_some());
    assert!(served, "told before it is so");
}
