//! What the daemons tell one another on their local sockets, as far as a scenario looks at it.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::IpAddr,
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context, Result};
use roadstead_lab::edge::DaemonName;
use serde_json::Value;

use crate::World;

/// What the speaker has assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignments {
    /// Its number.
    pub generation: u64,
    /// Services by name with their addresses, in the order of the message.
    pub services: Vec<(String, Vec<IpAddr>)>,
    /// Whether one of them only waits for its address to fall silent.
    pub withdrawing: bool,
    /// Addresses that the kernel program shall answer for.
    pub answered: BTreeSet<IpAddr>,
}

impl Assignments {
    /// Every address of every Service.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.services.iter().flat_map(|(_, addresses)| addresses.iter().copied())
    }
}

/// What the router has programmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programmed {
    /// The assignments' number.
    pub applied: u64,
    /// Addresses that the kernel program answers for.
    pub answering: BTreeSet<IpAddr>,
}

/// Asks the speaker.
pub fn assignments(world: &World) -> Result<Assignments> {
    let said = ask(world, DaemonName::Speaker, "/v1/assignments")?;
    let services = list(&said["services"]).map(service).collect::<Result<_>>()?;
    let withdrawing = list(&said["services"]).any(|s| s["withdrawing"] == Value::Bool(true));
    let answered = list(&said["vips"]).filter(|vip| list(&vip["answer_on"]).next().is_some());
    Ok(Assignments {
        generation: number(&said["generation"])?,
        services,
        withdrawing,
        answered: answered.map(|vip| address(&vip["address"])).collect::<Result<_>>()?,
    })
}

/// Asks the router.
pub fn programmed(world: &World) -> Result<Programmed> {
    let said = ask(world, DaemonName::Router, "/v1/programmed")?;
    let answering = list(&said["answering"]).map(|entry| address(&entry["address"]));
    Ok(Programmed {
        applied: number(&said["applied"])?,
        answering: answering.collect::<Result<_>>()?,
    })
}

fn ask(world: &World, daemon: DaemonName, path: &str) -> Result<Value> {
    let socket = world.edge.runtime().join(daemon.as_str()).join("local.sock");
    let mut stream = UnixStream::connect(&socket).context("no local socket")?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: local\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer on the local socket")?;
    serde_json::from_str(body).context("the answer on the local socket")
}

fn service(entry: &Value) -> Result<(String, Vec<IpAddr>)> {
    let key = entry["service"].as_str().context("a Service without a key")?;
    let name = key.rsplit('/').next().unwrap_or(key).to_owned();
    Ok((name, list(&entry["addresses"]).map(address).collect::<Result<_>>()?))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn number(value: &Value) -> Result<u64> {
    value.as_u64().with_context(|| format!("`{value}` is no number"))
}

fn address(value: &Value) -> Result<IpAddr> {
    Ok(value.as_str().with_context(|| format!("`{value}` is no address"))?.parse()?)
}
