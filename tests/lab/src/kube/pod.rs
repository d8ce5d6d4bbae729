//! A pod: a namespace behind a veth pair of its node, with one process that answers.
//!
//! As the `ptp` CNI plugin lays it: the node routes the pod's address to the pair, and every
//! packet from or to the pod is forwarded by the node, where kube-proxy's rules are.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use anyhow::Result;
use ipnet::IpNet;

use crate::{
    host::{Host, Leg, Mac},
    process::{Process, Program, built},
    topology::{Lab, bare_host},
};

/// The port on which every pod answers, TCP and UDP.
pub const PORT: u16 = 8080;
const READY: Duration = Duration::from_secs(10);

/// A running pod, for the kernel: what the API knows of it, a test says. Dropped, the process
/// ends and the namespace is removed, with its link.
#[derive(Debug)]
pub struct Pod {
    // Before the host: the namespace goes when nothing runs inside.
    process: Process,
    host: Host,
    name: String,
    addresses: [IpAddr; 2],
}

/// The networks of the pods of one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodNetworks {
    /// The number of the node, from 1.
    pub(crate) node: u8,
}

impl PodNetworks {
    /// Of all nodes, as kube-proxy's `--cluster-cidr` wants it.
    pub(crate) const ALL: &str = "198.18.0.0/16,2001:db8:f::/48";

    pub(crate) fn networks(self) -> Result<[IpNet; 2]> {
        let [v4, v6] = self.addresses(0);
        Ok([IpNet::new(v4, 24)?, IpNet::new(v6, 64)?])
    }

    /// Where pods find their node.
    fn gateways(self) -> [IpAddr; 2] {
        self.addresses(1)
    }

    fn addresses(self, last: u8) -> [IpAddr; 2] {
        let node = u16::from(self.node);
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0xf, node, 0, 0, 0, last.into());
        [Ipv4Addr::new(198, 18, self.node, last).into(), v6.into()]
    }
}

impl Pod {
    /// Starts the process behind the `index`-th pair of a node, from 0.
    pub(crate) fn start(
        lab: &Lab,
        node: &Host,
        networks: PodNetworks,
        index: u8,
        name: &str,
    ) -> Result<Self> {
        let addresses = networks.addresses(index.saturating_add(10));
        let leg = Leg {
            interface: "eth0".to_owned(),
            addresses: addresses.into_iter().map(IpNet::from).collect(),
            mac: Mac([0x02, 0x52, 0x53, 1, networks.node, index]),
            segment: format!("pod{index}"),
        };
        let gateways = networks.gateways();
        let host = bare_host(lab.prefix(), name, vec![leg], gateways.to_vec())?;
        node.feed(&["ip", "-batch", "-"], &node_side(&host, gateways)?)?;
        host.feed(&["ip", "-batch", "-"], &pod_side(&host, gateways)?)?;
        let process = answering(lab, &host, addresses)?;
        Ok(Self { process, host, name: name.to_owned(), addresses })
    }

    /// Its namespace: the pod as a client.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> [IpAddr; 2] {
        self.addresses
    }

    /// The process dies without a word; the namespace stays and refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

/// The process; it answers with the pod's name.
fn answering(lab: &Lab, host: &Host, addresses: [IpAddr; 2]) -> Result<Process> {
    let program = Program::new(host.name(), built("lab-node")?, &lab.logs())
        .args([format!("--name={}", host.name()), format!("--ports={PORT}-{PORT}")])
        .args(addresses.map(|address| format!("--address={address}")));
    let mut process = program.start(host.namespace())?;
    process.wait_for_text("ready", READY)?;
    Ok(process)
}

/// The pair and the routes to the pod.
fn node_side(pod: &Host, gateways: [IpAddr; 2]) -> Result<String> {
    let leg = pod.leg("eth0")?;
    let (pair, inside, mac) = (&leg.segment, pod.namespace().name(), leg.mac);
    let mut batch = format!(
        "link add name {pair} type veth peer name eth0 address {mac} netns {inside}\n\
         link set {pair} up\n"
    );
    for gateway in gateways.map(IpNet::from) {
        writeln!(batch, "addr add {gateway} dev {pair}{}", nodad(gateway))?;
    }
    for address in &leg.addresses {
        writeln!(batch, "route add {address} dev {pair}")?;
    }
    Ok(batch)
}

/// Addresses, and the way out: the gateway first, for it is in no network of the pod's.
fn pod_side(pod: &Host, gateways: [IpAddr; 2]) -> Result<String> {
    let mut batch = String::from("link set lo up\nlink set eth0 up\n");
    for address in &pod.leg("eth0")?.addresses {
        writeln!(batch, "addr add {address} dev eth0{}", nodad(*address))?;
    }
    for gateway in gateways {
        writeln!(batch, "route add {gateway} dev eth0\nroute add default via {gateway} dev eth0")?;
    }
    Ok(batch)
}

fn nodad(network: IpNet) -> &'static str {
    if network.addr().is_ipv6() { " nodad" } else { "" }
}
