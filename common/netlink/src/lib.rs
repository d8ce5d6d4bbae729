//! The host's links, addresses, gateways and neighbours over rtnetlink: the only user of it.
//!
//! [`Netlink::open`] binds the socket; [`Follower::run`] keeps a [`Tables`] current for ever. It is
//! level-triggered: an event only says which table to read again, a lost event (the kernel's
//! overrun) or half a minute says all of them. Readers hold immutable snapshots.

#![forbid(unsafe_code)]

mod follow;
mod read;
mod tables;

use std::{io, net::IpAddr, sync::Arc};

use futures_util::TryStreamExt;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteMetric};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection};
use tokio::sync::watch;

pub use follow::Follower;
pub use tables::{Address, Link, Neighbour, Route, Tables};

use crate::read::address_of;

/// Asks the kernel, and hears of its changes.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: Handle,
    tables: watch::Receiver<Arc<Tables>>,
}

/// The kernel gives no answer to a question.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket cannot be opened.
    #[error("cannot open an rtnetlink socket")]
    Open(#[source] io::Error),
    /// There is no route to an address.
    #[error("no route to {0}")]
    NoRoute(IpAddr),
    /// The kernel refuses.
    #[error("cannot read the {what}")]
    Read {
        /// Which table.
        what: &'static str,
        /// What the kernel said.
        source: rtnetlink::Error,
    },
}

impl Netlink {
    /// Opens a socket that hears of every change; nothing is read before the follower runs.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn open() -> Result<(Self, Follower), NetlinkError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Neigh,
        ];
        let (connection, handle, events) =
            new_multicast_connection(&groups).map_err(NetlinkError::Open)?;
        let (sender, tables) = watch::channel(Arc::default());
        let follower = Follower::new(connection, handle.clone(), events, sender);
        Ok((Self { handle, tables }, follower))
    }

    /// The tables as they are and as they change. The first value is empty
    /// ([`Tables::is_read`] is false) until the follower has read them once.
    pub fn tables(&self) -> watch::Receiver<Arc<Tables>> {
        self.tables.clone()
    }

    /// The route that the kernel takes to an address, by its rules and tables.
    ///
    /// # Errors
    /// When there is none, or the kernel refuses.
    pub async fn route_to(&self, address: IpAddr) -> Result<Route, NetlinkError> {
        let length = if address.is_ipv4() { 32 } else { 128 };
        let question = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(address, length)
            .map_err(|_| NetlinkError::NoRoute(address))?
            .build();
        let answer = self.handle.route().get(question).execute().try_next().await;
        // ENETUNREACH, EHOSTUNREACH and the like are answers: no route.
        let message = answer.ok().flatten().ok_or(NetlinkError::NoRoute(address))?;
        route(&message).ok_or(NetlinkError::NoRoute(address))
    }
}

fn route(message: &RouteMessage) -> Option<Route> {
    let mut ifindex = None;
    let mut route = Route { ifindex: 0, gateway: None, source: None, mtu: None };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(gateway) => route.gateway = address_of(gateway),
            RouteAttribute::PrefSource(source) => route.source = address_of(source),
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Some(Route { ifindex: ifindex?, ..route })
}
