//! A node's UDP port: every datagram comes back.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use roadstead_lab::Host;

/// How often it looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// At work until dropped.
#[derive(Debug)]
pub(crate) struct Echo {
    wanted: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Listens on every address of a host.
    pub(crate) fn start(host: &Host, port: u16) -> Result<Self> {
        let wanted = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&wanted);
        let thread = host.namespace().enter(|| {
            let socket = UdpSocket::bind(("::", port)).context("cannot listen on a UDP port")?;
            socket.set_read_timeout(Some(LOOK))?;
            Ok(thread::spawn(move || echo(&socket, &still)))
        })?;
        Ok(Self { wanted, thread: Some(thread) })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn echo(socket: &UdpSocket, wanted: &AtomicBool) {
    let mut buffer = [0; 64];
    while wanted.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            drop(socket.send_to(buffer.get(..length).unwrap_or_default(), from));
        }
    }
}
