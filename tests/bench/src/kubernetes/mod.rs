//! `--kubernetes`: the daemons outside of a real cluster.

mod ask;
mod audit;
mod burst;
mod cold;
mod created;
mod world;

use anyhow::Result;
use roadstead_lab::edge::DaemonName;

use crate::{
    Effort,
    report::{Goal, Section, Table},
    scale::memory,
    stats::quantile,
};

use audit::Requests;
use burst::Burst;
use cold::Start;
use created::Created;
use world::World;

/// How large the cluster is.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Services and Nodes while single Services are created, and how many are.
    some: (u16, u16),
    times: usize,
    /// Services of a burst.
    burst: u16,
    /// Services and Nodes of a cold start, and of the figures of memory.
    many: (u16, u16),
}

impl Scale {
    const FULL: Self = Self { some: (1_000, 100), times: 100, burst: 1_000, many: (5_000, 500) };
    const QUICK: Self = Self { some: (200, 100), times: 15, burst: 200, many: (1_000, 500) };
}

/// Requests to the API server that a new Service may cost: its finalizer, its status with addresses
/// and conditions, an Event for each thing that happens to it.
const REQUESTS: f64 = 8.0;

/// Everything, in one cluster that grows.
pub(crate) fn measure(effort: Effort) -> Result<Vec<Section>> {
    let scale = effort.pick(Scale::FULL, Scale::QUICK);
    let mut world = World::build(scale.many.1)?;
    let measured = measure_in(&mut world, scale);
    if measured.is_err() {
        println!("{}", world.explain_failure());
    }
    measured
}

fn measure_in(world: &mut World, scale: Scale) -> Result<Vec<Section>> {
    step("nodes and Services");
    world.grow_nodes(scale.some.1)?;
    world.grow_services(scale.some.0)?;
    step("the daemons start");
    world.start_daemons()?;
    world.wait_served()?;
    world.settle()?;
    let mark = world.audit.mark()?;
    step("Services are created one by one");
    let created = created::measure(world, scale.times)?;
    world.settle()?;
    step("a burst");
    let burst = burst::measure(world, scale.burst)?;
    world.settle()?;
    let later = world.audit.since(mark)?;
    step("more nodes, more Services");
    world.grow_nodes(scale.many.1)?;
    world.grow_services(scale.many.0)?;
    world.wait_served()?;
    world.settle()?;
    step("cold starts");
    let first = cold::measure(world, true)?;
    world.settle()?;
    let memory = memory_of(world, scale)?;
    let reboot = cold::measure(world, false)?;
    let starts = [("empty disk", first), ("after a reboot", reboot)];
    Ok(vec![
        section_created(scale, &created),
        section_burst(scale, &burst, &later),
        section_starts(scale, &starts, memory),
    ])
}

/// Where it is: it takes minutes.
fn step(what: &str) {
    eprintln!("  {what}");
}

fn section_created(scale: Scale, created: &Created) -> Section {
    let caption = "From the request that creates it; milliseconds.";
    let mut table = Table::new(caption, &["", "times", "p50", "p99", "longest"]);
    let rows = [
        ("the NodePort answers at the first kube-proxy", &created.first_node),
        ("… at both", &created.last_node),
        ("the VIP answers", &created.vip),
        ("the VIP, beyond the first kube-proxy", &created.beyond),
    ];
    for (name, values) in rows {
        let cells = [0.5, 0.99, 1.0].map(|share| format!("{:.0}", quantile(values, share)));
        table.row([name.to_owned(), values.len().to_string()].into_iter().chain(cells));
    }
    let beyond = |share| quantile(&created.beyond, share);
    Section {
        title: format!(
            "A Service created in a cluster, {} Services, {} Nodes",
            scale.some.0, scale.some.1
        ),
        method:
            "Real etcd, kube-apiserver, kube-controller-manager (not held to its 20 requests a \
                 second) and two kube-proxies (nftables), each with the addresses of half of the \
                 Nodes; a pod behind each. A client tries again and again, 20 ms a time, the VIP \
                 that the Service will get, with ARP; another host its NodePort at both \
                 kube-proxies. A try that is answered counts when it is."
                .to_owned(),
        tables: vec![table],
        goals: vec![
            Goal::at_most(
                "Service created → answered, beyond kube-proxy, p50",
                300.0,
                beyond(0.5),
                " ms",
            ),
            Goal::at_most(
                "Service created → answered, beyond kube-proxy, p99",
                1_000.0,
                beyond(0.99),
                " ms",
            ),
        ],
    }
}

fn section_burst(scale: Scale, burst: &Burst, later: &Requests) -> Section {
    let mut table = Table::new("Seconds from the first request.", &["", "seconds"]);
    let rows = [
        ("the last was created", burst.created),
        ("each has answered through its VIP", burst.served),
        ("the kernel answers ARP for each", burst.announced),
    ];
    for (name, seconds) in rows {
        table.row([name.to_owned(), format!("{seconds:.2}")]);
    }
    let per_service = number(burst.requests.total()) / f64::from(scale.burst);
    Section {
        title: format!("{} Services created at once", scale.burst),
        method: "In the same cluster, over 16 connections. The client knows the neighbour of each \
                 VIP beforehand and tries each twice a second. Requests are those of the audit log, \
                 of each daemon's own account; a watch that begins with a list is a list."
            .to_owned(),
        tables: vec![table, requests("Requests of the daemons meanwhile.", &burst.requests)],
        goals: vec![
            Goal::at_most(format!("{} Services at once, all served", scale.burst), 15.0, burst.served, " s"),
            Goal::at_most("API requests for each of them", REQUESTS, per_service, ""),
            Goal::at_most("Lists after the first, while watches hold", 0.0, number(later.lists()), ""),
        ],
    }
}

fn section_starts(
    scale: Scale,
    starts: &[(&str, Start); 2],
    memory: (Table, Vec<Goal>),
) -> Section {
    let head = ["", "all assigned and programmed", "all probed", "all announced"];
    let mut table = Table::new("Seconds from the start of both daemons.", &head);
    let (memory, mut goals) = memory;
    let mut tables = Vec::new();
    for (name, start) in starts {
        let seconds = [start.synced, start.probed, start.announced];
        let cells = seconds.map(|seconds| format!("{seconds:.2}"));
        table.row([(*name).to_owned()].into_iter().chain(cells));
        let what = format!(
            "{} Services, {} Nodes synced from a cold start, {name}",
            scale.many.0, scale.many.1
        );
        goals.push(Goal::at_most(what, 5.0, start.synced, " s"));
        tables.push(requests(&format!("Requests of a start, {name}."), &start.requests));
    }
    tables.insert(0, table);
    tables.push(memory);
    Section {
        title: format!(
            "A cold start with {} Services and {} Nodes in the cluster",
            scale.many.0, scale.many.1
        ),
        method:
            "The programs not loaded. Until the router says that the maps hold every Service at \
                 the address that the speaker has assigned, that a probe of each has passed (200 \
                 probes a second), and that the kernel answers ARP for each."
                .to_owned(),
        tables,
        goals,
    }
}

fn requests(caption: &str, requests: &Requests) -> Table {
    let mut table = Table::new(caption, &["", "speaker", "router"]);
    for (what, speaker, router) in requests.rows() {
        table.row([what.to_owned(), speaker.to_string(), router.to_string()]);
    }
    table
}

/// Resident memory of both daemons, from a cold start on.
fn memory_of(world: &World, scale: Scale) -> Result<(Table, Vec<Goal>)> {
    let caption = format!("Resident memory at {} Services, MiB.", scale.many.0);
    let mut table = Table::new(caption, &["", "now", "most"]);
    let mut goals = Vec::new();
    for daemon in DaemonName::ALL {
        let [now, most] = memory::resident(world.edge.daemon(daemon)?.pid()?)?;
        let name = daemon.as_str();
        table.row([name.to_owned(), format!("{now:.1}"), format!("{most:.1}")]);
        let what = format!("Memory of the {name} at {} Services", scale.many.0);
        goals.push(Goal::at_most(what, 96.0, most, " MiB"));
    }
    Ok((table, goals))
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}
