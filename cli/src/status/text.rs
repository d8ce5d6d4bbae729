//! The status for people.

use std::collections::BTreeMap;

use roadstead_model::{local::BackendState, problem::Severity, snapshot::SourceState};

use super::{ServiceView, Status, group};
use crate::render::{Colour, Table, counted, painted, printable, state_word};

/// Problems shown; `roadstead check` prints all of them.
const PROBLEMS_SHOWN: usize = 10;

/// Everything, section by section; sections without content are left out.
pub(super) fn shown(status: &Status, terminal: bool) -> String {
    let sections = [
        services(status, terminal),
        group::shown(status.group.as_ref(), terminal),
        pools(status, terminal),
        reservations(status, terminal),
        nodes(status, terminal),
        router(status),
        problems(status),
        daemons(status, terminal),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

fn services(status: &Status, terminal: bool) -> String {
    if status.services.is_empty() && status.daemons.is_empty() {
        return String::new();
    }
    if status.services.is_empty() {
        return "No Services of type LoadBalancer.\n".to_owned();
    }
    let header = ["SERVICE", "ADDRESSES", "ANNOUNCED", "PORTS", "BACKENDS", "STATE"];
    let mut table = Table::new(terminal, &header);
    for service in &status.services {
        let (colour, state) = state(service);
        let cells = [
            name(service, status.sources.len() > 1),
            joined(service.addresses.iter()),
            announced(service),
            joined(service.ports.iter().map(|port| format!("{}/{}", port.port, port.protocol))),
            backends(service),
            state,
        ];
        table.row(colour, &cells);
    }
    table.shown()
}

/// The source is told only where there are several.
fn name(service: &ServiceView, several_sources: bool) -> String {
    let short = format!("{}/{}", service.namespace, service.name);
    if several_sources { format!("{}/{short}", service.cluster) } else { short }
}

fn joined(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

fn announced(service: &ServiceView) -> String {
    let mut legs: Vec<String> = service
        .announced
        .iter()
        .map(|announced| format!("{} on {}", announced.by, announced.interface))
        .collect();
    legs.sort();
    legs.dedup();
    joined(legs.iter())
}

/// `2/3 healthy`, over all ports, each node once.
fn backends(service: &ServiceView) -> String {
    let mut nodes: BTreeMap<_, BackendState> = BTreeMap::new();
    for backend in service.backends() {
        let worst = nodes.entry(backend.node).or_insert(backend.state);
        *worst = (*worst).max(backend.state);
    }
    if nodes.is_empty() {
        return "-".to_owned();
    }
    let mut counts: BTreeMap<BackendState, usize> = BTreeMap::new();
    for state in nodes.values() {
        *counts.entry(*state).or_default() += 1;
    }
    let counts = counts.iter().map(|(state, count)| format!("{count} {}", state_word(*state)));
    joined(counts)
}

fn state(service: &ServiceView) -> (Colour, String) {
    match service.trouble() {
        Some(trouble) => (Colour::Red, format!("{}: {}", trouble.reason, trouble.message)),
        None if service.condition("Allocated").is_none() => (Colour::Yellow, "unknown".to_owned()),
        None => match service.condition("Announced").map(|c| c.reason.as_str()) {
            Some("Degraded" | "Held") => (Colour::Yellow, "degraded".to_owned()),
            Some("FollowsWriter") => (Colour::Green, "ready, announced by another host".to_owned()),
            Some("HostAddress") => (Colour::Green, "serving on the host's address".to_owned()),
            _ => (Colour::Green, "serving".to_owned()),
        },
    }
}

fn pools(status: &Status, terminal: bool) -> String {
    if status.pools.is_empty() {
        return String::new();
    }
    let mut table = Table::new(terminal, &["POOL", "USED", "OF"]);
    for pool in &status.pools {
        let full = pool.total.parse::<u64>().is_ok_and(|total| total <= pool.used);
        let colour = if full { Colour::Yellow } else { Colour::Plain };
        table.row(colour, &[pool.name.to_string(), pool.used.to_string(), pool.total.clone()]);
    }
    table.shown()
}

/// What nobody holds: without this table nobody would know why a pool is full.
fn reservations(status: &Status, terminal: bool) -> String {
    if status.reservations.is_empty() {
        return String::new();
    }
    let mut table = Table::new(terminal, &["RESERVED", "FOR", "ADDRESSES", "BY"]);
    for kept in &status.reservations {
        let by = if kept.configured { "configuration" } else { "annotation" };
        let cells =
            [kept.name.to_string(), kept.r#for.clone(), joined(kept.addresses.iter()), by.into()];
        table.row(Colour::Plain, &cells);
    }
    table.shown()
}

fn nodes(status: &Status, terminal: bool) -> String {
    if status.nodes.is_empty() {
        return String::new();
    }
    let mut table = Table::new(terminal, &["NODE", "ADDRESSES", "STATE"]);
    for node in &status.nodes {
        let word = state_word(node.state);
        let state = if node.reason.is_empty() {
            word.to_owned()
        } else {
            format!("{word}: {}", node.reason)
        };
        table.row(
            Colour::of(node.state),
            &[node.name.to_string(), joined(node.addresses.iter()), state],
        );
    }
    table.shown()
}

fn router(status: &Status) -> String {
    let mut lines = String::new();
    if let Some(flows) = status.flows {
        lines.push_str(&format!("Flows: {} of {}\n", flows.used, flows.capacity));
    }
    for leg in status.legs.iter().filter(|leg| !leg.attached) {
        lines.push_str(&format!("Leg {}: the program is not attached: {}\n", leg.name, leg.reason));
    }
    let drops: Vec<String> = status
        .drops
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    if !drops.is_empty() {
        lines.push_str(&format!("Dropped packets: {}\n", drops.join(", ")));
    }
    lines
}

fn problems(status: &Status) -> String {
    let mut lines = String::new();
    for (source, state) in &status.sources {
        match state {
            SourceState::Current => {}
            SourceState::Unread => lines.push_str(&format!("Source {source} was not read yet.\n")),
            SourceState::Doubtful { reason } => lines
                .push_str(&format!("Source {source} is in doubt, what is held stays: {reason}\n")),
        }
    }
    let told = status.problems.iter().filter(|problem| problem.severity > Severity::Notice);
    let told: Vec<_> = told.collect();
    for problem in told.iter().take(PROBLEMS_SHOWN) {
        lines.push_str(&format!("{}\n", printable(&problem.labelled())));
    }
    let more = told.len().saturating_sub(PROBLEMS_SHOWN);
    if more > 0 {
        let problems = counted(more, "problem", "problems");
        lines.push_str(&format!("and {problems} more: see `roadstead check`\n"));
    }
    lines
}

fn daemons(status: &Status, terminal: bool) -> String {
    let mut lines = String::new();
    if status.drained {
        let text = "This host is drained: nothing is announced. `roadstead undrain` ends that.";
        lines.push_str(&painted(text, Colour::Yellow, terminal));
        lines.push('\n');
    }
    for daemon in &status.daemons {
        let (colour, ready) =
            if daemon.ready { (Colour::Green, "ready") } else { (Colour::Red, "not ready") };
        let ready = painted(ready, colour, terminal);
        lines.push_str(&format!("{} {}: {ready}\n", daemon.name, daemon.version));
        for condition in &daemon.conditions {
            lines.push_str(&format!("  {}: {}\n", condition.reason, condition.message));
        }
    }
    lines
}
