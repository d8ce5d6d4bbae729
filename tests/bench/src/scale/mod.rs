//! Many Services on a hundred nodes: changes, starts, memory. Nodes are addresses of one namespace.

mod change;
mod cold;
pub(crate) mod memory;
mod nodes;
mod prober;
pub(crate) mod socket;
mod tables;
mod world;

use anyhow::Result;
use roadstead_lab::edge::DaemonName;

use crate::{
    Effort,
    report::{Goal, Section, Table},
    stats::quantile,
};

use change::Changes;
use cold::Start;
use world::{Plan, World};

/// Services of the measurements of changes and of memory.
const SERVICES: u16 = 1_000;
/// Services of a cold start.
const MANY: u16 = 5_000;
/// Flows that are to fit in 256 MiB.
const FLOWS: u32 = 1_000_000;

/// Manifests change while everything is served; memory afterwards.
pub(crate) fn changes(effort: Effort) -> Result<Section> {
    let mut world = World::prepare(Plan {
        services: SERVICES,
        udp: true,
        flows: Some(FLOWS),
        budget: Some(1_000),
    })?;
    world.serve()?;
    world.settle()?;
    let changes = change::measure(&world, effort.pick(100, 20), effort.pick(20, 5))?;
    let mut section = Section {
        title: format!("A manifest changed, {SERVICES} Services"),
        method: format!(
            "A client, an edge host and {} nodes (addresses of one namespace); manifests in a \
             directory, a file for each object. New flows, each of a source port never used before \
             towards its address, tell when packets follow: from the rename of the file to the \
             moment at which the first datagram that followed was sent, known to 0.3 ms. A node's \
             flows are every hundredth, so that its last one is known to {:.0} ms.",
            world::NODES,
            quantile(&changes.resolution, 0.5)
        ),
        tables: vec![table_of(&changes)],
        goals: goals_of(&changes),
    };
    memory(&world, &mut section)?;
    Ok(section)
}

fn table_of(changes: &Changes) -> Table {
    let caption = format!(
        "A manifest changed → packets follow, {SERVICES} Services, 100 nodes; milliseconds."
    );
    let mut table = Table::new(caption, &["", "times", "p50", "p99", "longest"]);
    let rows = [
        ("the NodePort of a Service edited", &changes.edited),
        ("a Service created", &changes.created),
        ("a node deleted: its last new flow", &changes.gone),
    ];
    for (name, values) in rows {
        let cells = [0.5, 0.99, 1.0].map(|share| format!("{:.1}", quantile(values, share)));
        table.row([name.to_owned(), values.len().to_string()].into_iter().chain(cells));
    }
    table
}

fn goals_of(changes: &Changes) -> Vec<Goal> {
    let p99 = |values| quantile(values, 0.99);
    vec![
        Goal::at_most("A Service edited → packets follow, p99", 100.0, p99(&changes.edited), " ms"),
        Goal::at_most(
            "A Service created → packets follow, p99",
            100.0,
            p99(&changes.created),
            " ms",
        ),
        Goal::at_most("A node deleted → no new flow to it, p99", 100.0, p99(&changes.gone), " ms"),
        Goal::at_most(
            "Other nodes' new flows moved by one node's change",
            2.0,
            quantile(&changes.moved, 1.0),
            " %",
        ),
    ]
}

fn memory(world: &World, section: &mut Section) -> Result<()> {
    let caption = format!("Memory at {SERVICES} Services after the changes above, MiB.");
    let mut table = Table::new(caption, &["", "now", "most"]);
    for daemon in DaemonName::ALL {
        let process = world.edge.daemon(daemon)?.pid()?;
        let [now, most] = memory::resident(process)?;
        let name = daemon.as_str();
        table.row([format!("{name}, resident"), format!("{now:.1}"), format!("{most:.1}")]);
        section.goals.push(Goal::at_most(format!("Memory of the {name}"), 64.0, most, " MiB"));
    }
    let maps = memory::maps(world.edge.daemon(DaemonName::Router)?.pid()?)?;
    let all: f64 = maps.iter().map(|map| map.mebibytes).sum();
    let flows = maps.iter().filter(|map| map.entries >= u64::from(FLOWS));
    let flows: f64 = flows.map(|map| map.mebibytes).sum();
    table.row([format!("maps for {FLOWS} flows"), format!("{flows:.1}"), format!("{flows:.1}")]);
    table.row(["all maps".to_owned(), format!("{all:.1}"), format!("{all:.1}")]);
    section.tables.push(table);
    section.goals.push(Goal::at_most("All maps at 1 M flows", 256.0, all, " MiB"));
    Ok(())
}

/// Both daemons from nothing.
pub(crate) fn starts() -> Result<Section> {
    let mut world = World::prepare(Plan { services: MANY, udp: false, flows: None, budget: None })?;
    let first = cold::first(&mut world)?;
    let reboot = cold::after_reboot(&mut world)?;
    let mut table = Table::new("Seconds.", &["", "all programmed", "all probed", "all announced"]);
    let mut goals = Vec::new();
    for (name, start) in [("empty disk", first), ("after a reboot", reboot)] {
        let Start { programmed, ready, answering } = start;
        let cells = [programmed, ready, answering].map(|seconds| format!("{seconds:.2}"));
        table.row([name.to_owned()].into_iter().chain(cells));
        let what = format!("{MANY} Services programmed from a cold start, {name}");
        goals.push(Goal::at_most(what, 2.0, programmed, " s"));
    }
    Ok(Section {
        title: format!("A cold start, {MANY} Services"),
        method: "From the start of both daemons, the programs not loaded, until the router says that \
                 the maps hold every Service, that a probe of each has passed (200 probes a second), \
                 and that the kernel answers ARP for each."
            .to_owned(),
        tables: vec![table],
        goals,
    })
}
