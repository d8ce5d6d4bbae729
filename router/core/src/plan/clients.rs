//! Which clients the source ranges of a Service let in to one of its addresses.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use roadstead_model::Family;

/// The ranges for clients of an address, who are of its family. The program knows an IPv4 client by its
/// v4-mapped address, which a short IPv6 prefix (`::/0`) would contain. Where none is left nobody is
/// allowed: the one range is of a source that cannot be answered.
pub(super) fn of_family(nets: &[IpNet], vip: IpAddr) -> BTreeSet<IpNet> {
    let family = Family::of(vip);
    let own: BTreeSet<IpNet> =
        nets.iter().filter(|net| Family::of(net.addr()) == family).map(IpNet::trunc).collect();
    if !own.is_empty() {
        return own;
    }
    let nobody: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    BTreeSet::from([nobody.into()])
}
