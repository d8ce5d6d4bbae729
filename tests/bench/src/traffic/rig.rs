//! One network per peer, all standing at the same time: nobody sets anything up between two
//! measurements.
//!
//! ```text
//! routed    client ── edge ── node        bridged    client ──┬── edge
//!                                                             └── node
//! ```

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use roadstead_lab::{
    Host, Lab, Topology, eventually,
    process::{Process, Program},
};

use super::{
    echo::Echo,
    load,
    peer::{self, Peer, Running},
};

/// The VIPs, IPv4 and IPv6.
pub(crate) const VIPS: [&str; 2] = ["192.0.2.10", "2001:db8:1::10"];
pub(crate) const WEB_PORT: u16 = 80;
pub(crate) const BULK_PORT: u16 = 5_201;
pub(crate) const UDP_PORT: u16 = 53;
pub(crate) const NODE_UDP_PORT: u16 = 30_053;
pub(crate) const NODE_WEB_PORT: u16 = 30_080;
pub(crate) const NODE_BULK_PORT: u16 = 30_201;
/// For measurements of new flows: each round has ports of its own, so that none is used twice.
pub(crate) const NEW_PORT: u16 = 8_000;
pub(crate) const NODE_NEW_PORT: u16 = 31_000;
pub(crate) const NEW_ROUNDS: u16 = 3;
/// The client's addresses; the first is the one used where one is enough.
pub(crate) const CLIENTS: [&str; 4] = ["192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"];
/// Programs run as this user and the next ones have the addresses of [`CLIENTS`] as their source.
pub(crate) const FIRST_USER: u32 = 61_000;

const READY: Duration = Duration::from_secs(10);

/// Where the edge host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Between client and node.
    Routed,
    /// Beside them, with one leg.
    Bridged,
}

/// Which IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) fn vip(self) -> Result<IpAddr> {
        let [v4, v6] = VIPS;
        Ok(match self {
            Self::V4 => v4.parse()?,
            Self::V6 => v6.parse()?,
        })
    }

    pub(crate) fn address_of(self, host: &Host) -> Result<IpAddr> {
        Ok(match self {
            Self::V4 => host.v4()?.into(),
            Self::V6 => host.v6()?.into(),
        })
    }
}

/// A network with one peer at work.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) peer: Peer,
    // What runs ends before the network goes.
    _running: Running,
    _node: Vec<Process>,
    _echo: Echo,
    pub(crate) lab: Lab,
}

impl Rig {
    /// Builds it and waits until a request is answered over both families.
    pub(crate) fn build(shape: Shape, peer: Peer) -> Result<Self> {
        let lab = topology(shape).build("bench")?;
        for host in ["node1", "edge"] {
            // A server that closes first would run out of ports (random SNAT ports meet PAWS).
            lab.host(host)?.sysctl("net/ipv4/tcp_max_tw_buckets", "0")?;
        }
        let node = serve(&lab)?;
        let echo = Echo::start(lab.node(1)?, NODE_UDP_PORT)?;
        let running = peer::start(peer, &lab)?;
        fix_neighbours(&lab)?;
        several_sources(&lab, shape)?;
        let rig = Self { peer, _running: running, _node: node, _echo: echo, lab };
        for family in Family::ALL {
            let served = rig.wait_served(family);
            served.with_context(|| {
                format!("{peer:?} over {family}: {}", rig.lab.explain_failure())
            })?;
        }
        Ok(rig)
    }

    /// Switches transmit checksum offload off on every leg.
    pub(crate) fn sum_before_sending(&self) -> Result<()> {
        for host in [self.lab.client()?, self.lab.edge()?, self.lab.node(1)?] {
            for leg in host.legs() {
                host.offload(&leg.interface, "tx", false)?;
            }
        }
        Ok(())
    }

    pub(crate) fn client(&self) -> Result<&Host> {
        self.lab.client()
    }

    /// Where requests go.
    pub(crate) fn web(&self, family: Family) -> Result<SocketAddr> {
        self.at(family, WEB_PORT, NODE_WEB_PORT)
    }

    /// Where datagrams go.
    pub(crate) fn udp(&self, family: Family) -> Result<SocketAddr> {
        self.at(family, UDP_PORT, NODE_UDP_PORT)
    }

    /// Where the new flows of a round go.
    pub(crate) fn new_flows(&self, family: Family, round: u16) -> Result<SocketAddr> {
        self.at(family, NEW_PORT + round, NODE_NEW_PORT + round)
    }

    /// Where bulk goes.
    pub(crate) fn bulk(&self) -> Result<SocketAddr> {
        self.at(Family::V4, BULK_PORT, NODE_BULK_PORT)
    }

    fn at(&self, family: Family, port: u16, node_port: u16) -> Result<SocketAddr> {
        Ok(match self.peer {
            Peer::Direct => SocketAddr::new(family.address_of(self.lab.node(1)?)?, node_port),
            _ => SocketAddr::new(family.vip()?, port),
        })
    }

    fn wait_served(&self, family: Family) -> Result<()> {
        let to = self.web(family)?;
        eventually("the first answer", READY, || {
            let answer = self.client()?.namespace().enter(|| load::one_request(to))?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "it was {answer}");
            Ok(())
        })
    }
}

fn topology(shape: Shape) -> Topology {
    let mut plan = Topology::new();
    let node = |plan: &mut Topology, segment, v4, v6| {
        let _ = plan.host("node1").leg(segment, [v4, v6]).gateways(match shape {
            Shape::Routed => &["203.0.113.2", "2001:db8:3::2"],
            Shape::Bridged => &[],
        });
    };
    let clients = CLIENTS.map(|address| format!("{address}/24"));
    let client =
        plan.host("client").leg("front", clients.into_iter().chain(["2001:db8:1::3/64".into()]));
    if shape == Shape::Routed {
        let _ = client.gateways(&["192.0.2.2", "2001:db8:1::2"]);
    }
    let edge = plan.host("edge").leg("front", ["192.0.2.2/24", "2001:db8:1::2/64"]);
    match shape {
        Shape::Routed => {
            let _ = edge.leg("back", ["203.0.113.2/24", "2001:db8:3::2/64"]);
            node(&mut plan, "back", "203.0.113.101/24", "2001:db8:3::101/64");
        }
        Shape::Bridged => node(&mut plan, "front", "192.0.2.101/24", "2001:db8:1::101/64"),
    }
    plan
}

/// nginx with an answer of 96 bytes, kube-proxy's health port, and iperf3.
fn serve(lab: &Lab) -> Result<Vec<Process>> {
    let node = lab.node(1)?;
    let body = "x".repeat(95);
    let ports =
        [NODE_WEB_PORT, 10_256].into_iter().chain(NODE_NEW_PORT..NODE_NEW_PORT + NEW_ROUNDS);
    let listen: String =
        ports.map(|port| format!("listen {port}; listen [::]:{port};\n")).collect();
    let blocks = format!(
        "http {{ access_log off; keepalive_requests 100000000;\n\
         server {{ {listen}\
         return 200 \"{body}\\n\"; }} }}\n"
    );
    let web = peer::nginx(lab, node, "nginx", "", &blocks)?;
    let bulk = Program::new("iperf3", "iperf3", &lab.logs())
        .args(["-s", "-p"])
        .arg(NODE_BULK_PORT.to_string());
    Ok(vec![web, bulk.start(node.namespace())?])
}

/// Neighbours are known for good: no run meets an ARP request.
fn fix_neighbours(lab: &Lab) -> Result<()> {
    let hosts = [lab.client()?, lab.edge()?, lab.node(1)?];
    for host in hosts {
        for leg in host.legs() {
            let others = hosts.into_iter().filter(|other| other.name() != host.name());
            let legs = others.flat_map(Host::legs).filter(|other| other.segment == leg.segment);
            for other in legs {
                for address in &other.addresses {
                    let (address, dev) = (address.addr(), &leg.interface);
                    host.ip(&format!(
                        "neigh replace {address} lladdr {} dev {dev} nud permanent",
                        other.mac
                    ))?;
                }
            }
        }
    }
    let mac = lab.edge()?.leg("eth0")?.mac;
    for vip in VIPS {
        lab.client()?.ip(&format!("neigh replace {vip} lladdr {mac} dev eth0 nud permanent"))?;
    }
    Ok(())
}

/// A routing table for each further source address, by the user that asks.
fn several_sources(lab: &Lab, shape: Shape) -> Result<()> {
    let client = lab.client()?;
    for (user, address) in (FIRST_USER..).zip(CLIENTS) {
        client.ip(&format!("rule add uidrange {user}-{user} lookup {user}"))?;
        client.ip(&format!("route add 192.0.2.0/24 dev eth0 src {address} table {user}"))?;
        if shape == Shape::Routed {
            let back = format!("route add 203.0.113.0/24 via 192.0.2.2 src {address} table {user}");
            client.ip(&back)?;
        }
    }
    Ok(())
}
