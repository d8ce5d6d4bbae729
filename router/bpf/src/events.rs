//! What the program tells of single flows, from its ring buffer.
#![expect(unsafe_code, reason = "a descriptor is lent that libbpf owns")]

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    sync::{Arc, Mutex, PoisonError},
};

use libbpf_rs::{RingBuffer, RingBufferBuilder};
use roadstead_model::Protocol;
use roadstead_router_core::maps::{BackendId, FrontendId, SnatId};

use crate::{
    Dataplane, Error,
    layout::{self, Plain as _, event_kind},
    maps::protocol,
    typed::open_map,
};

/// Why the program tells of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is new, and its frontend wants a log.
    NewFlow,
    /// The node answered its SYN with a reset.
    Refused,
    /// Its SYN was sent again before the node answered.
    Unanswered,
    /// No SNAT port was left for it.
    SnatExhausted,
}

/// A moment in the life of one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// When: `CLOCK_BOOTTIME` in nanoseconds.
    pub time: u64,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Which client.
    pub client: (IpAddr, u16),
    /// Which frontend.
    pub frontend: FrontendId,
    /// Which backend.
    pub backend: BackendId,
    /// The NodePort.
    pub node_port: u16,
    /// Source towards the node; port 0 where there was none.
    pub snat: (SnatId, u16),
}

impl Event {
    fn read(bytes: &[u8]) -> Option<Self> {
        let event = layout::Event::from_bytes(bytes)?;
        let kind = match event.kind {
            event_kind::NEW_FLOW => EventKind::NewFlow,
            event_kind::REFUSED => EventKind::Refused,
            event_kind::UNANSWERED => EventKind::Unanswered,
            event_kind::SNAT_EXHAUSTED => EventKind::SnatExhausted,
            _ => return None,
        };
        Some(Self {
            kind,
            time: event.time,
            protocol: protocol(event.protocol),
            client: (event.client.into(), event.client_port.into()),
            frontend: event.frontend,
            backend: event.backend,
            node_port: event.node_port.into(),
            snat: (event.snat, event.snat_port.into()),
        })
    }
}

/// The reader of the ring buffer. One at a time: two would take events from each other.
#[derive(Debug)]
pub struct Events {
    ring: RingBuffer<'static>,
    read: Arc<Mutex<VecDeque<Event>>>,
}

impl Events {
    /// Hands over every event that is there.
    ///
    /// # Errors
    /// When the ring buffer cannot be read.
    pub fn drain(&mut self, mut each: impl FnMut(Event)) -> io::Result<()> {
        self.ring.consume().map_err(io::Error::other)?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.drain(..).for_each(&mut each);
        Ok(())
    }

    /// A descriptor that is readable while there are events.
    pub fn fd(&self) -> RawFd {
        self.ring.epoll_fd()
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.fd()
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring buffer keeps the descriptor open for as long as it lives.
        unsafe { BorrowedFd::borrow_raw(self.fd()) }
    }
}

impl Dataplane {
    /// Opens the ring buffer.
    ///
    /// # Errors
    /// When it cannot be mapped.
    pub fn events(&self) -> Result<Events, Error> {
        let map = open_map(&self.pins, "events")?;
        let read = Arc::new(Mutex::new(VecDeque::new()));
        let queue = Arc::clone(&read);
        let mut builder = RingBufferBuilder::new();
        let ring = builder
            .add(&map, move |bytes| {
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.extend(Event::read(bytes));
                0
            })
            .map(|_| ())
            .and_then(|()| builder.build())
            .map_err(|error| Error::Kernel {
                act: "open the ring buffer",
                source: io::Error::other(error),
            })?;
        Ok(Events { ring, read })
    }
}
