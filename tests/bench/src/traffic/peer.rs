//! Who carries the packets: ours, and what people would use otherwise.

use std::{
    fmt::{self, Write as _},
    fs,
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use roadstead_lab::{
    Edge, Host, Lab,
    edge::{DaemonName, ServiceYaml},
    process::{Process, Program},
};

use super::rig::{
    BULK_PORT, Family, NEW_PORT, NEW_ROUNDS, NODE_BULK_PORT, NODE_NEW_PORT, NODE_UDP_PORT,
    NODE_WEB_PORT, Shape, UDP_PORT, VIPS, WEB_PORT,
};

/// One way from the client to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// No balancer: plain forwarding, or nothing at all where client and node share a segment.
    Direct,
    /// nftables: DNAT and masquerade.
    Nftables,
    /// HAProxy, mode tcp.
    Haproxy,
    /// nginx, stream.
    Nginx,
    /// Both daemons as they are installed.
    Ours,
}

impl Peer {
    pub(crate) const ALL: [Self; 5] =
        [Self::Direct, Self::Nftables, Self::Haproxy, Self::Nginx, Self::Ours];

    pub(crate) fn name(self, shape: Shape) -> &'static str {
        match (self, shape) {
            (Self::Direct, Shape::Routed) => "plain forwarding",
            (Self::Direct, Shape::Bridged) => "direct, no edge host",
            (Self::Nftables, _) => "nftables DNAT + masquerade",
            (Self::Haproxy, _) => "HAProxy, mode tcp",
            (Self::Nginx, _) => "nginx stream",
            (Self::Ours, _) => "**roadstead**",
        }
    }
}

/// Where Debian's libnginx-mod-stream puts it.
const STREAM_MODULE: &str = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n";

/// What runs on the edge host; ended when dropped.
#[derive(Debug)]
pub(crate) enum Running {
    /// The kernel alone.
    Kernel,
    /// A proxy.
    Proxy { _process: Process },
    /// Ours.
    Daemons { _edge: Box<Edge> },
}

/// Sets a peer up on the edge host of a lab.
pub(crate) fn start(peer: Peer, lab: &Lab) -> Result<Running> {
    let edge = lab.edge()?;
    match peer {
        Peer::Direct => forward(edge)?,
        Peer::Nftables => {
            forward(edge)?;
            own_vips(edge)?;
            edge.feed(&["nft", "-f", "-"], &nftables(lab.node(1)?)?)?;
        }
        Peer::Haproxy => return haproxy(lab),
        Peer::Nginx => return nginx_stream(lab),
        Peer::Ours => return daemons(lab),
    }
    Ok(Running::Kernel)
}

fn forward(edge: &Host) -> Result<()> {
    edge.sysctl("net/ipv4/ip_forward", "1")?;
    edge.sysctl("net/ipv6/conf/all/forwarding", "1")
}

/// The peers have the VIPs as addresses of the host.
fn own_vips(edge: &Host) -> Result<()> {
    let [v4, v6] = VIPS;
    edge.ip(&format!("addr add {v4}/32 dev eth0"))?;
    edge.ip(&format!("addr add {v6}/128 dev eth0 nodad")).map(drop)
}

/// One thing that is served.
#[derive(Clone, Copy, Debug)]
struct Served {
    udp: bool,
    vip: SocketAddr,
    node: SocketAddr,
}

/// Everything that is served over TCP, and what is over UDP.
fn services(node: &Host, udp: bool) -> Result<Vec<Served>> {
    let new = (NEW_PORT..NEW_PORT + NEW_ROUNDS).zip(NODE_NEW_PORT..);
    let tcp = [(WEB_PORT, NODE_WEB_PORT), (BULK_PORT, NODE_BULK_PORT)].into_iter().chain(new);
    let ports: Vec<(u16, u16)> = if udp { vec![(UDP_PORT, NODE_UDP_PORT)] } else { tcp.collect() };
    let mut all = Vec::new();
    for family in Family::ALL {
        let (vip, node) = (family.vip()?, family.address_of(node)?);
        all.extend(ports.iter().map(|(port, node_port)| Served {
            udp,
            vip: SocketAddr::new(vip, *port),
            node: SocketAddr::new(node, *node_port),
        }));
    }
    Ok(all)
}

fn nftables(node: &Host) -> Result<String> {
    let (mut dnat, mut masquerade) = (String::new(), String::new());
    for Served { udp, vip, node } in [services(node, false)?, services(node, true)?].concat() {
        let family = if node.is_ipv4() { "ip" } else { "ip6" };
        let ports = if udp { "udp dport" } else { "tcp dport" };
        let at = |to: SocketAddr| format!("{family} daddr {} {ports} {}", to.ip(), to.port());
        writeln!(dnat, "{} dnat {family} to {node}", at(vip))?;
        writeln!(masquerade, "{} masquerade", at(node))?;
    }
    Ok(format!(
        "table inet bench {{\n\
         chain in {{ type nat hook prerouting priority dstnat;\n{dnat}}}\n\
         chain out {{ type nat hook postrouting priority srcnat;\n{masquerade}}}\n}}\n"
    ))
}

fn haproxy(lab: &Lab) -> Result<Running> {
    let edge = lab.edge()?;
    own_vips(edge)?;
    let mut text = String::from(
        "global\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
         timeout client 60s\n  timeout server 60s\n",
    );
    for (number, Served { vip, node, .. }) in (1..).zip(services(lab.node(1)?, false)?) {
        // HAProxy wants no brackets around an address.
        let at = |to: SocketAddr| format!("{}:{}", to.ip(), to.port());
        writeln!(text, "listen s{number}\n  bind {}\n  server node {}", at(vip), at(node))?;
    }
    let file = write(lab, "haproxy.cfg", &text)?;
    let program = Program::new("haproxy", "haproxy", &lab.logs()).args(["-db", "-f", &file]);
    Ok(Running::Proxy { _process: program.start(edge.namespace())? })
}

fn nginx_stream(lab: &Lab) -> Result<Running> {
    own_vips(lab.edge()?)?;
    let mut servers = String::new();
    for Served { vip, node, .. } in services(lab.node(1)?, false)? {
        writeln!(servers, "server {{ listen {vip}; proxy_pass {node}; }}")?;
    }
    let stream = format!("stream {{\n{servers}}}\n");
    let process = nginx(lab, lab.edge()?, "nginx-stream", STREAM_MODULE, &stream)?;
    Ok(Running::Proxy { _process: process })
}

/// nginx with two workers and this in its configuration, on a host.
pub(crate) fn nginx(
    lab: &Lab,
    host: &Host,
    name: &str,
    before: &str,
    blocks: &str,
) -> Result<Process> {
    let text = format!(
        "{before}user root;\nworker_processes 2;\npid {dir}/{name}.pid;\nerror_log stderr;\nevents {{ worker_connections 10000; }}\n{blocks}",
        dir = lab.dir().display()
    );
    let file = write(lab, &format!("{name}.conf"), &text)?;
    let program = Program::new(name, "nginx", &lab.logs()).args([
        "-p",
        "/usr/share/nginx/",
        "-g",
        "daemon off;",
        "-c",
        &file,
    ]);
    program.start(host.namespace())
}

fn write(lab: &Lab, name: &str, text: &str) -> Result<String> {
    let path: &Path = &lab.dir().join(name);
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.display().to_string())
}

fn daemons(lab: &Lab) -> Result<Running> {
    let [v4, v6] = VIPS;
    let pool = format!(
        "[[pool]]\nname = \"bench\"\naddresses = [\"{v4}/32\", \"{v6}/128\"]\n\n\
         [router]\nsnat_ports = \"1024-65535\"\n"
    );
    let mut edge = Edge::prepare(lab, &pool)?;
    edge.log_sparsely();
    let node = lab.node(1)?;
    edge.manifests.node(node)?;
    let mut web = ServiceYaml::new("web").udp(UDP_PORT, NODE_UDP_PORT).dual();
    for served in services(node, false)?.into_iter().filter(|served| served.vip.is_ipv4()) {
        web = web.tcp(served.vip.port(), served.node.port());
    }
    edge.manifests.service(&web)?;
    DaemonName::ALL.iter().try_for_each(|daemon| edge.start_daemon(*daemon))?;
    edge.wait_announced("default/web", Duration::from_secs(20))?;
    Ok(Running::Daemons { _edge: Box::new(edge) })
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
