//! The kernel's messages as rows of [`Tables`].

use std::net::IpAddr;

use futures_util::{TryStream, TryStreamExt};
use ipnet::IpNet;
use netlink_packet_route::{
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteMessage},
};
use rtnetlink::{Error, Handle, RouteMessageBuilder};

use crate::{
    NetlinkError,
    tables::{Address, Link, Neighbour, Tables},
};

/// IFA_F_TEMPORARY has the value of IFA_F_SECONDARY (linux/if_addr.h): which one is meant depends on
/// the family.
const TEMPORARY: AddressFlags = AddressFlags::Secondary;

/// Reads the interfaces.
pub(crate) async fn links(handle: &Handle, tables: &mut Tables) -> Result<(), NetlinkError> {
    let messages = all("links", handle.link().get().execute()).await?;
    tables.links = messages.iter().filter_map(link).map(|link| (link.index, link)).collect();
    Ok(())
}

/// Reads the addresses.
pub(crate) async fn addresses(handle: &Handle, tables: &mut Tables) -> Result<(), NetlinkError> {
    let messages = all("addresses", handle.address().get().execute()).await?;
    tables.addresses = messages.iter().filter_map(address).collect();
    Ok(())
}

/// Reads the next hops of both families.
pub(crate) async fn gateways(handle: &Handle, tables: &mut Tables) -> Result<(), NetlinkError> {
    let v4 = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<std::net::Ipv6Addr>::new().build();
    let mut gateways = std::collections::BTreeSet::new();
    for question in [v4, v6] {
        let messages = all("routes", handle.route().get(question).execute()).await?;
        gateways.extend(messages.iter().flat_map(next_hops));
    }
    tables.gateways = gateways;
    Ok(())
}

/// Reads the neighbours.
pub(crate) async fn neighbours(handle: &Handle, tables: &mut Tables) -> Result<(), NetlinkError> {
    let messages = all("neighbours", handle.neighbours().get().execute()).await?;
    tables.neighbours = messages.iter().filter_map(neighbour).collect();
    Ok(())
}

async fn all<S, T>(what: &'static str, stream: S) -> Result<Vec<T>, NetlinkError>
where
    S: TryStream<Ok = T, Error = Error>,
{
    stream.try_collect().await.map_err(|source| NetlinkError::Read { what, source })
}

fn link(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let (mut name, mut mac, mut mtu, mut enslaved) = (None, None, 0, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.as_str().into()),
            LinkAttribute::Address(bytes) if ethernet => mac = bytes.as_slice().try_into().ok(),
            LinkAttribute::Mtu(bytes) => mtu = *bytes,
            LinkAttribute::Controller(index) => enslaved = *index != 0,
            _ => {}
        }
    }
    Some(Link {
        index: message.header.index,
        name: name?,
        mac,
        mtu,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        enslaved,
    })
}

fn address(message: &AddressMessage) -> Option<Address> {
    let (mut address, mut local) = (None, None);
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL is ours (linux/if_addr.h).
    let address = local.or(address)?;
    let net = IpNet::new(address, message.header.prefix_len).ok()?;
    Some(Address { ifindex: message.header.index, net, usable: is_usable(address, flags) })
}

fn is_usable(address: IpAddr, flags: AddressFlags) -> bool {
    let unfit = AddressFlags::Deprecated | AddressFlags::Tentative | AddressFlags::Dadfailed;
    if flags.intersects(unfit) {
        return false;
    }
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => {
            !v6.is_unicast_link_local() && !v6.is_loopback() && !flags.contains(TEMPORARY)
        }
    }
}

fn next_hops(message: &RouteMessage) -> Vec<IpAddr> {
    let gateway = |attributes: &[RouteAttribute]| {
        attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(gateway) => address_of(gateway),
            _ => None,
        })
    };
    let of_path = message.attributes.iter().flat_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => {
            hops.iter().filter_map(|hop| gateway(&hop.attributes)).collect()
        }
        _ => Vec::new(),
    });
    gateway(&message.attributes).into_iter().chain(of_path).collect()
}

fn neighbour(message: &NeighbourMessage) -> Option<((u32, IpAddr), Neighbour)> {
    let confirmed = match message.header.state {
        NeighbourState::Reachable | NeighbourState::Permanent | NeighbourState::Noarp => true,
        NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe => false,
        NeighbourState::Incomplete
        | NeighbourState::Failed
        | NeighbourState::None
        | NeighbourState::Other(_)
        | _ => return None,
    };
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(*v6));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    Some(((message.header.ifindex, address?), Neighbour { mac: mac?, confirmed }))
}

/// The address in a route's attribute, where it is one.
pub(crate) fn address_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}
