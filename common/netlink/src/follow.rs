//! Keeps [`Tables`] current.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{Handle, proto::Connection, sys::SocketAddr};
use tokio::{sync::watch, time::sleep};

use crate::{NetlinkError, read, tables::Tables};

/// Events of one change come together (a link, its addresses, its routes): they are read once.
const SETTLE: Duration = Duration::from_millis(5);
/// However many events were lost, everything is read again after this time.
const RESYNC: Duration = Duration::from_secs(30);
/// Pause after a read that the kernel refused.
const PAUSE: Duration = Duration::from_millis(500);

type Event = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr);
type Events = Pin<Box<dyn Stream<Item = Event> + Send>>;

/// Owns the socket. Whoever runs it may drop it at any time; a new one starts from nothing.
pub struct Follower {
    connection: Connection<RouteNetlinkMessage>,
    handle: Handle,
    events: Events,
    tables: watch::Sender<Arc<Tables>>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").finish_non_exhaustive()
    }
}

/// Which tables are to be read again.
#[derive(Clone, Copy, Debug, Default)]
struct Dirty {
    links: bool,
    addresses: bool,
    routes: bool,
    neighbours: bool,
}

impl Dirty {
    const ALL: Self = Self { links: true, addresses: true, routes: true, neighbours: true };

    fn note(&mut self, event: &NetlinkMessage<RouteNetlinkMessage>) {
        use RouteNetlinkMessage as M;
        match &event.payload {
            NetlinkPayload::InnerMessage(message) => match message {
                // Taking a link down silently takes addresses, routes and neighbours with it.
                M::NewLink(_) | M::DelLink(_) => *self = Self::ALL,
                M::NewAddress(_) | M::DelAddress(_) => {
                    self.addresses = true;
                    self.routes = true;
                }
                M::NewRoute(_) | M::DelRoute(_) => self.routes = true,
                M::NewNeighbour(_) | M::DelNeighbour(_) => self.neighbours = true,
                _ => {}
            },
            // The kernel's queue overran, or spoke nonsense: what was missed is not known.
            _ => *self = Self::ALL,
        }
    }

    fn any(self) -> bool {
        self.links || self.addresses || self.routes || self.neighbours
    }
}

impl Follower {
    pub(crate) fn new(
        connection: Connection<RouteNetlinkMessage>,
        handle: Handle,
        events: impl Stream<Item = Event> + Send + 'static,
        tables: watch::Sender<Arc<Tables>>,
    ) -> Self {
        Self { connection, handle, events: Box::pin(events), tables }
    }

    /// Reads and follows, for ever.
    pub async fn run(self) {
        let Self { connection, handle, events, tables } = self;
        tokio::select! {
            // Drives the socket for this future and for every `Netlink` alike.
            () = connection => tracing::error!("the rtnetlink socket closed"),
            () = keep_current(handle, events, tables) => {}
        }
    }
}

async fn keep_current(handle: Handle, mut events: Events, tables: watch::Sender<Arc<Tables>>) {
    let mut dirty = Dirty::ALL;
    loop {
        if dirty.any() {
            match reread(&handle, dirty, &tables).await {
                Ok(()) => dirty = Dirty::default(),
                Err(error) => {
                    tracing::warn!(%error, "the host's tables could not be read");
                    sleep(PAUSE).await;
                }
            }
        }
        tokio::select! {
            event = events.next() => match event {
                Some((message, _)) => dirty.note(&message),
                None => return,
            },
            () = sleep(RESYNC) => dirty = Dirty::ALL,
        }
        sleep(SETTLE).await;
        while let Some(Some((message, _))) = events.next().now_or_never() {
            dirty.note(&message);
        }
    }
}

async fn reread(
    handle: &Handle,
    dirty: Dirty,
    published: &watch::Sender<Arc<Tables>>,
) -> Result<(), NetlinkError> {
    let mut tables = Tables::clone(&published.borrow());
    if dirty.links {
        read::links(handle, &mut tables).await?;
    }
    if dirty.addresses {
        read::addresses(handle, &mut tables).await?;
    }
    if dirty.routes {
        read::gateways(handle, &mut tables).await?;
    }
    if dirty.neighbours {
        read::neighbours(handle, &mut tables).await?;
    }
    published.send_if_modified(|old| {
        let changed = **old != tables;
        if changed {
            *old = Arc::new(tables);
        }
        changed
    });
    Ok(())
}
