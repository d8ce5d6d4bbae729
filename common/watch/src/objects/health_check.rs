//! How a Service wants its NodePorts probed: `roadstead.io/health-check` and what belongs to it.
//!
//! A value that is wrong is a warning, not an error: the Service is served, and its ports are probed
//! by a TCP connection until the value is right.

use std::{net::IpAddr, sync::Arc};

use roadstead_model::{
    Protocol,
    object::{HealthCheck, HealthProtocol, ServicePort},
};

use super::{
    fields::{Annotations, Field, Report},
    metadata,
    words::shown,
};

const CHECK: &str = "roadstead.io/health-check";
const PATH: &str = "roadstead.io/health-check-path";
const HOST: &str = "roadstead.io/health-check-host";
const PORT: &str = "roadstead.io/health-check-port";
/// All of them.
pub(crate) const KEYS: [&str; 4] = [CHECK, PATH, HOST, PORT];

/// What `roadstead.io/health-check` may say; `None` is a TCP connection.
const PROTOCOLS: [(&str, Option<HealthProtocol>); 4] = [
    ("tcp", None),
    ("http", Some(HealthProtocol::Http)),
    ("https", Some(HealthProtocol::Https)),
    ("grpc", Some(HealthProtocol::Grpc)),
];
/// What is asked for where nothing is said.
const DEFAULT_PATH: &str = "/";
/// Longest path in bytes.
const MAX_PATH: usize = 1_024;
/// Longest name in bytes (RFC 1035 §2.3.4, without the root).
const MAX_HOST: usize = 253;

/// The check that is asked for; none where nothing is, or where a value is wrong.
pub(crate) fn read(
    annotations: Annotations<'_, '_, '_>,
    ports: &[ServicePort],
    report: &mut Report<'_>,
) -> Option<Arc<HealthCheck>> {
    let annotations = annotations?;
    let mut value = |key| {
        let field = annotations.field(key)?;
        field.text(report).map(|text| Value { key, field, text: text.trim() })
    };
    let (check, path, host, port) = (value(CHECK), value(PATH), value(HOST), value(PORT));
    let protocol = check.map_or(Ok(None), |check| protocol(&check));
    let protocol = told(protocol, report)?;
    let unused = match protocol {
        None => [path.as_ref(), host.as_ref(), port.as_ref()],
        Some(HealthProtocol::Grpc) => [path.as_ref(), None, None],
        Some(HealthProtocol::Http | HealthProtocol::Https) => [None; 3],
    };
    for value in unused.into_iter().flatten() {
        let message = match protocol {
            None => format!("has no effect without {CHECK}: http, https or grpc"),
            Some(_) => format!("has no effect with {CHECK}: grpc"),
        };
        report.warning(value.field.line, format!("annotation {}: {message}", value.key));
    }
    let protocol = protocol?;
    // Each is read, so that everything wrong is told at once.
    let path = told(path.map_or(Ok(DEFAULT_PATH.into()), |value| request_path(&value)), report);
    let host = told(host.map(|value| host_name(&value)).transpose(), report);
    let port = told(port.map(|value| own_port(&value, ports)).transpose(), report);
    Some(Arc::new(HealthCheck { protocol, path: path?, host: host?, port: port? }))
}

/// An annotation that is there.
struct Value<'n, 't> {
    key: &'static str,
    field: Field<'n, 't>,
    text: &'n str,
}

/// A value that is not followed, with its line.
struct Wrong {
    line: usize,
    message: String,
}

impl Value<'_, '_> {
    fn wrong(&self, right: &str) -> Wrong {
        let (key, text) = (self.key, shown(self.text));
        Wrong { line: self.field.line, message: format!("annotation {key}: `{text}` is {right}") }
    }
}

fn told<T>(read: Result<T, Wrong>, report: &mut Report<'_>) -> Option<T> {
    read.map_err(|Wrong { line, message }| {
        report.warning(line, format!("{message}; the ports are probed by TCP meanwhile"));
    })
    .ok()
}

fn protocol(value: &Value<'_, '_>) -> Result<Option<HealthProtocol>, Wrong> {
    let found = PROTOCOLS.iter().find(|(word, _)| *word == value.text);
    found
        .map(|(_, protocol)| *protocol)
        .ok_or_else(|| value.wrong("none of tcp, http, https and grpc"))
}

/// An absolute path as it stands in a request line (RFC 9112 §3.2.1): nothing in it ends the line.
fn request_path(value: &Value<'_, '_>) -> Result<Arc<str>, Wrong> {
    let right = value.text.starts_with('/')
        && value.text.len() <= MAX_PATH
        && value.text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    right
        .then(|| value.text.into())
        .ok_or_else(|| value.wrong("no path; `/healthz` or the like would be"))
}

fn host_name(value: &Value<'_, '_>) -> Result<Arc<str>, Wrong> {
    let text = value.text;
    let is_name = || text.len() <= MAX_HOST && text.split('.').all(metadata::is_label);
    let right = text.parse::<IpAddr>().is_ok() || is_name();
    right
        .then(|| text.into())
        .ok_or_else(|| value.wrong("neither a name in small letters nor an address"))
}

/// By its name or its number.
fn own_port(value: &Value<'_, '_>, ports: &[ServicePort]) -> Result<u16, Wrong> {
    let number = value.text.parse::<u16>().ok();
    let named = |port: &&ServicePort| match number {
        Some(number) => port.port == number,
        None => !port.name.is_empty() && *port.name == *value.text,
    };
    let mut tcp = ports.iter().filter(|port| port.protocol == Protocol::Tcp);
    let found = tcp.find(named).map(|port| port.port);
    found.ok_or_else(|| value.wrong("neither the name nor the number of a TCP port in spec.ports"))
}
