//! The router's local socket: when everything is programmed, ready, announced.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use roadstead_model::local::{Programmed, Serving};

/// Between two looks: reading a megabyte all the time would take the time that is measured.
const PAUSE: Duration = Duration::from_millis(20);

/// When everything was where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stages {
    /// The kernel's maps hold every Service.
    pub(crate) programmed: Instant,
    /// A probe of each has passed.
    pub(crate) ready: Instant,
    /// The kernel answers ARP for each.
    pub(crate) answering: Instant,
}

/// Asks until everything is announced.
pub(crate) fn follow(socket: &Path, services: usize, deadline: Instant) -> Result<Stages> {
    let (mut programmed, mut ready) = (None, None);
    while Instant::now() < deadline {
        if let Ok(said) = ask(socket) {
            let now = Instant::now();
            let is_ready = said.services.iter().filter(|s| s.serving == Serving::Ready).count();
            if said.attached && said.services.len() >= services {
                programmed = programmed.or(Some(now));
            }
            if is_ready >= services {
                ready = ready.or(Some(now));
            }
            if let (Some(programmed), Some(ready)) = (programmed, ready)
                && said.answering.len() >= services
            {
                return Ok(Stages { programmed, ready, answering: now });
            }
        }
        thread::sleep(PAUSE);
    }
    bail!("programmed: {}, ready: {}, not all announced", programmed.is_some(), ready.is_some())
}

/// What the router has programmed.
pub(crate) fn ask(socket: &Path) -> Result<Programmed> {
    let mut stream = UnixStream::connect(socket)?;
    stream
        .write_all(b"GET /v1/programmed HTTP/1.1\r\nHost: router\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer of the router")?;
    serde_json::from_str(body).context("what the router said")
}
