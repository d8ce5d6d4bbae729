//! Two edge hosts of one group on the routed network, each with both daemons and the same manifests.

use std::{
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use roadstead_lab::{
    Capture, Edge, Host, Lab, Node, Topology,
    capture::Frame,
    edge::{DaemonName, ServiceYaml},
    eventually,
    impair::Impairment,
    presets,
};

use crate::{
    ask,
    world::{SOON, beside_others, one_pool},
};

/// The names of the hosts, which are the members' too; the first has the better rank.
pub const EDGES: [&str; 2] = ["edge", "edge2"];
/// Their addresses on the segment where VIPs are announced.
const ADDRESSES: [&str; 2] = ["192.0.2.2", "192.0.2.4"];
/// A key for tests: 32 bytes as hexadecimal digits.
pub const KEY: &str = "5f1b8d0c2a7e4963b5d8f1024c6e8a90b1d3f5079a2c4e6081a3c5e7f9021b3d";

/// Two hosts, their nodes, the network.
#[derive(Debug)]
pub struct Pair {
    // In the order of their end.
    /// `edge`, then `edge2`.
    pub edges: [Edge; 2],
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The network.
    pub lab: Lab,
}

/// The routed network with a second edge host.
pub fn topology(nodes: u8) -> Topology {
    let mut plan = presets::routed(nodes);
    add_second(&mut plan);
    plan
}

/// Adds a second edge host to the routed network.
pub fn add_second(plan: &mut Topology) {
    let _ = plan
        .host(EDGES[1])
        .leg("front", ["192.0.2.4/24", "2001:db8:1::4/64"])
        .leg("back", ["203.0.113.4/24", "2001:db8:3::4/64"])
        .gateways(&["192.0.2.1", "2001:db8:1::1"]);
}

/// `[group]` on one of the hosts, with the key in a file beside its configuration.
pub fn group_toml(edge: &Edge, name: &str) -> String {
    let key = edge.state().join("group.key").display().to_string();
    let members = EDGES.iter().zip(ADDRESSES).map(|(name, address)| {
        format!("[[group.member]]\nname = \"{name}\"\naddress = \"{address}\"\n")
    });
    let members: String = members.collect();
    // Long enough for a busy machine, on which a process may stand still for a second.
    format!("[group]\nname = \"{name}\"\nkey_file = \"{key}\"\nmisses = 15\n{members}\n")
}

/// Writes the key of a host.
pub fn write_key(edge: &Edge, key: &str, mode: u32) -> Result<()> {
    let file = edge.state().join("group.key");
    std::fs::write(&file, key)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))?;
    Ok(())
}

impl Pair {
    /// Builds all of it; the daemons do not run yet.
    pub fn prepare(test: &str) -> Result<Self> {
        let lab = topology(2).build(test)?;
        let prepare = |name: &str| {
            let edge = Edge::prepare_on(&lab, lab.host(name)?, &one_pool())?;
            write_key(&edge, KEY, 0o600)?;
            edge.configure(&(one_pool() + &group_toml(&edge, name)))?;
            Ok::<_, anyhow::Error>(edge)
        };
        let edges = [prepare(EDGES[0])?, prepare(EDGES[1])?];
        let hosts = lab.hosts().filter(|host| host.name().starts_with("node"));
        let nodes = hosts.map(|host| Node::start(host, &lab.logs(), &[])).collect::<Result<_>>()?;
        let pair = Self { edges, nodes, lab };
        for node in &pair.nodes {
            pair.edges.iter().try_for_each(|edge| edge.manifests.node(node.host()))?;
        }
        Ok(pair)
    }

    /// Builds and starts all of it, and waits until the daemons are ready.
    pub fn start(test: &str) -> Result<Self> {
        let mut pair = Self::prepare(test)?;
        if let Err(error) = (0..2).try_for_each(|index| pair.start_daemons(index)) {
            println!("{}", pair.explain_failure());
            return Err(error);
        }
        Ok(pair)
    }

    /// Starts the daemons of one host.
    pub fn start_daemons(&mut self, index: usize) -> Result<()> {
        let edge = &mut self.edges[index];
        DaemonName::ALL.iter().try_for_each(|daemon| edge.start_daemon(*daemon))?;
        DaemonName::ALL.iter().try_for_each(|daemon| edge.wait_ready(*daemon))
    }

    /// Writes a Service on both hosts and waits until one announces it; returns its addresses.
    pub fn serve(&self, service: &ServiceYaml, announced_by: usize) -> Result<Vec<IpAddr>> {
        self.edges.iter().try_for_each(|edge| edge.manifests.service(service))?;
        self.edges[announced_by].wait_announced(&format!("default/{}", service.name()), SOON)
    }

    /// Waits until a host follows another, and holds these addresses for a Service.
    pub fn wait_follows(&self, index: usize, service: &str, addresses: &[IpAddr]) -> Result<()> {
        let edge = &self.edges[index];
        edge.wait_service(service, "follows the writer with the same addresses", SOON, |found| {
            let follows = found.conditions.iter().any(|told| told.reason == "FollowsWriter");
            let silent = found.announced.is_empty();
            (follows && silent && found.addresses == addresses).then_some(())
        })
    }

    /// Waits until a host says that it has this role.
    pub fn wait_role(&self, index: usize, role: &str) -> Result<()> {
        eventually(&format!("{} is a {role}", EDGES[index]), SOON, || {
            let text = self.edges[index].cli(&["status", "-o", "json"])?.stdout;
            let status: serde_json::Value = serde_json::from_slice(&text)?;
            let said = &status["group"]["role"];
            ensure!(said == role, "it is {said}");
            Ok(())
        })
    }

    /// The MAC address of a host on the segment where VIPs are announced.
    pub fn mac(&self, index: usize) -> Result<String> {
        Ok(self.lab.host(EDGES[index])?.leg("eth0")?.mac.to_string())
    }

    /// That one host answers for an address, to a neighbour that asks.
    pub fn answered_by(&self, index: usize, address: IpAddr) -> Result<()> {
        let (wanted, answer) = (self.mac(index)?, ask::who_has(self.lab.near()?, address)?);
        ensure!(answer.as_deref() == Some(wanted.as_str()), "{address} is answered by {answer:?}");
        Ok(())
    }

    /// Loses every frame between a host and the segment, without its carrier telling it.
    pub fn cut(&self, index: usize) -> Result<[Impairment; 2]> {
        self.lab.switch()?.cut(&format!("{}-eth0", EDGES[index]))
    }

    /// The ARP frames of a capture that say that their sender has an IPv4 address.
    pub fn claims(&self, capture: &Capture, address: IpAddr) -> Result<Vec<Frame>> {
        let IpAddr::V4(address) = address else { bail!("{address} is not IPv4") };
        capture.frames(&format!("arp[14:4] = 0x{:08x}", address.to_bits()))
    }

    /// Everybody who claimed an address in the frames of a capture, since a moment of it.
    pub fn claimants(&self, capture: &Capture, address: IpAddr, since: f64) -> Result<Vec<String>> {
        let frames = self.claims(capture, address)?;
        let mut macs: Vec<String> =
            frames.into_iter().filter(|frame| frame.at >= since).map(|frame| frame.from).collect();
        macs.sort();
        macs.dedup();
        Ok(macs)
    }

    /// The client behind the router.
    pub fn client(&self) -> Result<&Host> {
        self.lab.client()
    }

    /// After a failure: everything that helps to find out why, and where it is.
    pub fn explain_failure(&self) -> String {
        self.edges.iter().for_each(Edge::dump);
        self.lab.explain_failure()
    }
}

/// Runs one scenario over two hosts. A failure, by error or by panic, keeps the logs.
pub fn pair_scenario(
    build: impl FnOnce() -> Result<Pair>,
    body: impl FnOnce(&mut Pair) -> Result<()>,
) -> Result<()> {
    let _turn = beside_others();
    let mut pair = build()?;
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut pair)));
    if !matches!(outcome, Ok(Ok(()))) {
        println!("{}", pair.explain_failure());
    }
    match outcome {
        Ok(result) => result.with_context(|| format!("scenario {}", pair.lab.test())),
        Err(panic) => {
            drop(pair);
            resume_unwind(panic)
        }
    }
}

/// The first address of a family.
pub fn v4_of(addresses: &[IpAddr]) -> Result<IpAddr> {
    addresses.iter().copied().find(IpAddr::is_ipv4).ok_or_else(|| anyhow!("no IPv4: {addresses:?}"))
}
