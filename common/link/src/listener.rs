//! Who may begin a handshake with this host, and how many do so at once.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

use crate::{
    Key,
    stream::{Link, LinkError, answer},
};

/// Handshakes at once; a connection beyond them is closed. Members make one each.
const HANDSHAKES: usize = 32;

/// Listens for the members of a group.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    key: Key,
    name: Arc<str>,
    /// Addresses that members have: nobody else gets as far as a handshake.
    members: Arc<[IpAddr]>,
}

/// Somebody who connected: a member, or why not.
#[derive(Debug)]
pub struct Met {
    /// From where.
    pub from: SocketAddr,
    /// What became of it.
    pub outcome: Result<Link, LinkError>,
}

impl Listener {
    /// Listens at `address` as the host `name`.
    ///
    /// # Errors
    /// When the address is taken or not this host's.
    pub async fn bind(
        address: SocketAddr,
        key: Key,
        name: Arc<str>,
        members: Arc<[IpAddr]>,
    ) -> io::Result<Self> {
        Ok(Self { tcp: TcpListener::bind(address).await?, key, name, members })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Tells `met` everybody who connects, for ever. Dropping the future closes the listener and every
    /// handshake that is under way.
    pub async fn serve(self, met: mpsc::Sender<Met>) {
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, from)) => self.meet(stream, from, &mut handshakes, &met).await,
                    Err(error) => {
                        // Out of file descriptors, mostly: waiting is all that can be done.
                        tracing::warn!(%error, "a connection of the group could not be accepted");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                },
                Some(_) = handshakes.join_next(), if !handshakes.is_empty() => {}
            }
        }
    }

    async fn meet(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        handshakes: &mut JoinSet<()>,
        met: &mpsc::Sender<Met>,
    ) {
        if !self.members.contains(&from.ip().to_canonical()) {
            // Whoever listens may be busy with members.
            let _ = met.try_send(Met { from, outcome: Err(LinkError::NotAMember) });
            return;
        }
        if handshakes.len() >= HANDSHAKES {
            return;
        }
        let (key, name, met) = (self.key.clone(), self.name.clone(), met.clone());
        handshakes.spawn(async move {
            let outcome = answer(stream, from, &key, &name).await;
            // Nobody listens any more: the link goes with it.
            let _ = met.send(Met { from, outcome }).await;
        });
    }
}
