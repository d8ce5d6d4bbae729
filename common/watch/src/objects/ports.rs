//! `spec.ports` of a Service.

use std::{collections::BTreeMap, sync::Arc};

use roadstead_model::{Protocol, object::ServicePort};

use super::{
    fields::{Field, Fields, Report},
    metadata,
    words::shown,
};

/// Most ports of one Service.
const MAX_PORTS: usize = 1_000;
/// Where Kubernetes allocates node ports, unless `--service-node-port-range` says otherwise.
const USUAL_NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

const PROTOCOLS: [(&str, Protocol); 3] =
    [("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];

/// The ports that could be read, each with its line; what could not is told.
pub(crate) fn read(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Vec<(usize, ServicePort)> {
    let listed = spec.maps("ports", report);
    if listed.len() > MAX_PORTS {
        let count = listed.len();
        report.error(spec.line, format!("spec.ports: {count} ports; at most {MAX_PORTS} are"));
        return Vec::new();
    }
    let mut seen = Seen { several: listed.len() > 1, ..Seen::default() };
    let mut read = |entry: &Fields<'_, '_>| Some((entry.line, port(entry, &mut seen, report)?));
    listed.iter().filter_map(&mut read).collect()
}

/// What only a load balancer asks of its ports: that there are any, that they can be reached.
pub(crate) fn of_load_balancer(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Vec<ServicePort> {
    let ports = read(spec, report);
    if ports.is_empty() && !report.is_refused() {
        report.error(spec.line, "spec.ports is missing; a load balancer has at least one port");
    }
    for (line, port) in &ports {
        warn_unserved(*line, port, report);
    }
    ports.into_iter().map(|(_, port)| port).collect()
}

fn warn_unserved(line: usize, port: &ServicePort, report: &mut Report<'_>) {
    let name = format!("{} {}", port.protocol, port.port);
    if port.protocol == Protocol::Sctp {
        report.warning(line, format!("port {name} is not served: SCTP is not supported"));
    } else if port.node_port.is_none() && !report.is_refused() {
        let why = report.origin().no_node_port();
        report.warning(line, format!("port {name} {why}"));
    }
}

/// The node ports that these ports take.
pub(crate) fn held<'p>(ports: impl IntoIterator<Item = &'p ServicePort>) -> Vec<(Protocol, u16)> {
    ports.into_iter().filter_map(|port| Some((port.protocol, port.node_port?))).collect()
}

/// What the ports before this one have taken, for what must be unique among them.
#[derive(Default)]
struct Seen {
    several: bool,
    /// By what is seen, the field that says it: lines are not known here, only those of a document.
    names: BTreeMap<Arc<str>, String>,
    ports: BTreeMap<(Protocol, u16), String>,
    node_ports: BTreeMap<(Protocol, u16), String>,
}

fn port(entry: &Fields<'_, '_>, seen: &mut Seen, report: &mut Report<'_>) -> Option<ServicePort> {
    let protocol = match entry.field("protocol") {
        Some(field) => field.choice(report, &PROTOCOLS)?,
        None => Protocol::Tcp,
    };
    let name = name(entry, seen, report);
    target(entry, report);
    let node_port = node_port(entry, protocol, seen, report);
    let Some(field) = entry.field("port") else {
        report.error(
            entry.line,
            format!("{} is missing; 1 to 65535 is right", entry.path_of("port")),
        );
        return None;
    };
    let port = field.port(report)?;
    if let Some(first) = seen.ports.insert((protocol, port), field.path.clone()) {
        field.wrong(report, &format!("{protocol} {port} is there twice, first in {first}"));
    }
    Some(ServicePort { name, protocol, port, node_port })
}

fn name(entry: &Fields<'_, '_>, seen: &mut Seen, report: &mut Report<'_>) -> Arc<str> {
    let field = entry.field("name");
    let text = field.as_ref().and_then(|field| field.text(report)).unwrap_or_default();
    let name: Arc<str> = text.into();
    match field {
        Some(field) if !text.is_empty() => check_name(&field, &name, seen, report),
        Some(_) | None if seen.several => {
            let path = entry.path_of("name");
            report.error(
                entry.line,
                format!("{path} is missing; where there are several ports, each has a name"),
            );
        }
        Some(_) | None => {}
    }
    name
}

fn check_name(field: &Field<'_, '_>, name: &Arc<str>, seen: &mut Seen, report: &mut Report<'_>) {
    if !metadata::is_label(name) {
        let right = "at most 63 small letters, digits and `-`, no `-` at either end";
        field.wrong(report, &format!("`{}` is not a port's name; {right} would be", shown(name)));
    }
    if let Some(first) = seen.names.insert(Arc::clone(name), field.path.clone()) {
        field.wrong(report, &format!("`{}` is there twice, first in {first}", shown(name)));
    }
}

fn node_port(
    entry: &Fields<'_, '_>,
    protocol: Protocol,
    seen: &mut Seen,
    report: &mut Report<'_>,
) -> Option<u16> {
    let field = entry.field("nodePort")?;
    let port = field.port_or_zero(report)?;
    if let Some(first) = seen.node_ports.insert((protocol, port), field.path.clone()) {
        field.wrong(report, &format!("{protocol} {port} is there twice, first in {first}"));
    }
    if report.origin().is_proofread() && !USUAL_NODE_PORTS.contains(&port) {
        let path = &field.path;
        report.notice(field.line, format!("{path}: {port} is outside of the usual 30000-32767"));
    }
    Some(port)
}

/// `targetPort` is for the nodes; it is checked because a typo in it is found nowhere else here.
fn target(entry: &Fields<'_, '_>, report: &mut Report<'_>) {
    let Some(field) = entry.field("targetPort") else {
        return;
    };
    if !field.is_text() {
        field.port(report);
        return;
    }
    let name = field.text(report).unwrap_or_default();
    if !is_service_name(name) {
        let right = "a port from 1 to 65535, or a name of at most 15 small letters, digits and `-`, would be";
        field.wrong(report, &format!("`{}` is not a target; {right}", shown(name)));
    }
}

/// RFC 6335 section 5.1, in small letters as the API wants it.
fn is_service_name(name: &str) -> bool {
    name.len() <= 15
        && metadata::is_label(name)
        && !name.contains("--")
        && name.bytes().any(|c| c.is_ascii_lowercase())
}
