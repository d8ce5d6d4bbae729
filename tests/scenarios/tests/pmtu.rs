//! Path MTU discovery over routers, and ICMP errors on their way through the NAT.
//!
//! Input: a small link behind a router on the nodes' side or on the client's; UDP to a port that no
//! process has; UDP with a small TTL. Output: large downloads and uploads arrive whole.
//! On the wire: the errors of nodes and routers reach the client about its own packet: from the VIP
//! where the node speaks (RFC 5508 section 4.2), from the router itself where a router does.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use roadstead_lab::{Capture, Host, edge::ServiceYaml, eventually, presets, uninterrupted};
use roadstead_scenarios::{
    World, ask, scenario,
    world::{SOON, one_pool},
};

/// Least MTU of IPv6 (RFC 8200 section 5).
const SMALL: u16 = 1280;
/// Those of the presets' clients and those behind the gateway.
const CLIENTS: [&str; 2] = ["198.51.100.0/25", "2001:db8:2::/112"];
const NODES: [&str; 2] = ["198.18.0.0/25", "2001:db8:4::1:0/112"];
const DOWNLOAD: usize = 10 << 20;
const UPLOAD: usize = 1 << 20;

/// Two nodes behind `gate`, which is on the back segment.
fn behind_a_gateway(test: &str) -> Result<World> {
    let mut plan = presets::routed(0);
    plan.host("gate")
        .leg("back", ["203.0.113.3/24", "2001:db8:3::3/64"])
        .leg("deep", ["198.18.0.1/24", "2001:db8:4::1/64"])
        .forwarding();
    for n in 1..=2 {
        let addresses = [format!("198.18.0.{}/24", 100 + n), format!("2001:db8:4::1:{n}/64")];
        let _ = plan
            .host(&format!("node{n}"))
            .leg("deep", addresses)
            .gateways(&["198.18.0.1", "2001:db8:4::1"]);
    }
    let mut world = World::prepare(&plan, test, &one_pool())?;
    let edge = world.lab.edge()?;
    edge.ip("route add 198.18.0.0/24 via 203.0.113.3")?;
    edge.ip("route add 2001:db8:4::/64 via 2001:db8:3::3")?;
    world.start_daemons()?;
    Ok(world)
}

/// Makes a router's way to `prefixes` small. The link's own MTU would do so too, and have veth drop
/// what comes from the other side.
fn small_way(router: &Host, prefixes: [&str; 2], bytes: u16) -> Result<()> {
    prefixes.iter().try_for_each(|to| {
        router.ip(&format!("route add {to} dev eth1 mtu lock {bytes}")).map(drop)
    })
}

/// Without segmentation offload a sender's packets are what the wire sees.
fn no_offloads(host: &Host) -> Result<()> {
    ["tso", "gso", "gro"].iter().try_for_each(|feature| host.offload("eth0", feature, false))
}

fn transfers(world: &World) -> Result<()> {
    let client = world.client()?;
    for vip in world.serve_web()? {
        let to = SocketAddr::new(vip, 80);
        let body = ask::get(client, to, &format!("/pattern/{DOWNLOAD}"))?;
        ensure!(body == roadstead_lab::pattern::bytes(DOWNLOAD), "{} bytes", body.len());
        ask::bulk(client, to, UPLOAD)?;
    }
    Ok(())
}

#[test]
fn a_small_link_behind_the_nodes_gateway() -> Result<()> {
    scenario(
        || behind_a_gateway("pmtu-gateway"),
        |world| {
            // The edge host cannot know: only the gateway's own errors tell.
            small_way(world.lab.host("gate")?, NODES, SMALL)?;
            no_offloads(world.client()?)?;
            transfers(world)
        },
    )
}

#[test]
fn a_small_link_before_the_client() -> Result<()> {
    scenario(
        || World::routed("pmtu-client"),
        |world| {
            small_way(world.lab.router()?, CLIENTS, SMALL)?;
            world.nodes.iter().try_for_each(|node| no_offloads(node.host()))?;
            transfers(world)
        },
    )
}

#[test]
fn small_links_on_both_sides_and_every_offload_in_use() -> Result<()> {
    scenario(
        || behind_a_gateway("pmtu-both"),
        |world| {
            small_way(world.lab.host("gate")?, NODES, SMALL)?;
            small_way(world.lab.router()?, CLIENTS, SMALL + 100)?;
            transfers(world)
        },
    )
}

/// One datagram to `to` with a TTL or hop limit.
fn datagram(host: &Host, to: SocketAddr, ttl: u8) -> Result<UdpSocket> {
    host.namespace().enter(|| {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        match to {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4Ttl, &ttl.into())?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6Ttl, &ttl.into())?,
        }
        socket.send_to(b"how far?", to)?;
        Ok(socket)
    })
}

/// Waits for an ICMP error from `source` that says `what` about a datagram to `vip`.
fn error_from(capture: &Capture, source: IpAddr, what: &str, vip: IpAddr) -> Result<()> {
    let quoted = vip.to_string();
    eventually(&format!("{what} from {source}"), SOON, || {
        let frames = capture.frames(&format!("src host {source}"))?;
        let found =
            frames.iter().any(|frame| frame.text.contains(what) && frame.text.contains(&quoted));
        ensure!(found, "there is {frames:?}");
        let broken = frames.iter().find(|frame| frame.text.contains("bad "));
        ensure!(broken.is_none(), "a wrong checksum: {broken:?}");
        Ok(())
    })
}

/// Far, edge, gate, node: who answers a datagram that lives for so many hops.
fn hops(v6: bool, vip: IpAddr) -> Result<[(u8, IpAddr); 3]> {
    let (router, gate) =
        if v6 { ("2001:db8:2::1", "2001:db8:3::3") } else { ("198.51.100.1", "203.0.113.3") };
    Ok([(1, router.parse()?), (2, vip), (3, gate.parse()?)])
}

#[test]
fn errors_about_datagrams_come_from_who_made_them() -> Result<()> {
    scenario(
        || behind_a_gateway("pmtu-errors"),
        |world| {
            let client = world.client()?;
            // Or a capture shows checksums that are still to be completed.
            client.offload("eth0", "tx", false)?;
            world.nodes.iter().try_for_each(|node| node.host().offload("eth0", "tx", false))?;
            // NodePort 31500 has no process: the port probes fail, the service is announced by
            // its TCP port.
            let web = ServiceYaml::new("web").tcp(80, 30000).udp(53, 30001).udp(54, 31500).dual();
            for vip in world.serve("web", &web)? {
                let exceeded =
                    if vip.is_ipv4() { "time exceeded in-transit" } else { "time exceeded" };
                let closed = if vip.is_ipv4() { "port 54 unreachable" } else { "unreachable port" };
                let capture = world.capture(client, "eth0", "icmp or icmp6")?;
                // The client's kernel believes only an error about its own packet.
                ask::udp_refused(client, SocketAddr::new(vip, 54))?;
                error_from(&capture, vip, closed, vip)?;
                for (ttl, source) in hops(vip.is_ipv6(), vip)? {
                    let _kept = datagram(client, SocketAddr::new(vip, 53), ttl)?;
                    error_from(&capture, source, exceeded, vip)?;
                }
                let socket = datagram(client, SocketAddr::new(vip, 53), 4)?;
                socket.set_read_timeout(Some(Duration::from_secs(2)))?;
                uninterrupted(|| socket.recv(&mut [0; 64]))?;
            }
            Ok(())
        },
    )
}
