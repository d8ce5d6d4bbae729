//! Who carries the packets: ours, and what people would use otherwise.

use std::{
    fmt::{self, Write as _},
    fs,
    net::IpAddr,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use roadstead_lab::{
    Edge, Host, Lab,
    edge::{DaemonName, ServiceYaml},
    process::{Process, Program},
};

use super::rig::{BULK_PORT, Family, NODE_BULK_PORT, NODE_WEB_PORT, Shape, VIPS, WEB_PORT};

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

/// (VIP, its port, node, its port) for everything that is served.
fn services(node: &Host) -> Result<Vec<(IpAddr, u16, IpAddr, u16)>> {
    let mut all = Vec::new();
    for family in Family::ALL {
        let (vip, node) = (family.vip()?, family.address_of(node)?);
        all.push((vip, WEB_PORT, node, NODE_WEB_PORT));
        all.push((vip, BULK_PORT, node, NODE_BULK_PORT));
    }
    Ok(all)
}

fn nftables(node: &Host) -> Result<String> {
    let (mut dnat, mut masquerade) = (String::new(), String::new());
    for (vip, port, node, node_port) in services(node)? {
        let (family, to) = match node {
            IpAddr::V4(node) => ("ip", format!("{node}:{node_port}")),
            IpAddr::V6(node) => ("ip6", format!("[{node}]:{node_port}")),
        };
        writeln!(dnat, "{family} daddr {vip} tcp dport {port} dnat {family} to {to}")?;
        writeln!(masquerade, "{family} daddr {node} tcp dport {node_port} masquerade")?;
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
    for (vip, port, node, node_port) in services(lab.node(1)?)? {
        let name = format!("{}-{port}", if vip.is_ipv4() { "v4" } else { "v6" });
        writeln!(text, "listen {name}\n  bind {vip}:{port}\n  server node {node}:{node_port}")?;
    }
    let file = write(lab, "haproxy.cfg", &text)?;
    let program = Program::new("haproxy", "haproxy", &lab.logs()).args(["-db", "-f", &file]);
    Ok(Running::Proxy { _process: program.start(edge.namespace())? })
}

fn nginx_stream(lab: &Lab) -> Result<Running> {
    own_vips(lab.edge()?)?;
    let mut servers = String::new();
    for (vip, port, node, node_port) in services(lab.node(1)?)? {
        writeln!(
            servers,
            "server {{ listen {}; proxy_pass {}; }}",
            at(vip, port),
            at(node, node_port)
        )?;
    }
    let stream = format!("stream {{\n{servers}}}\n");
    let process = nginx(lab, lab.edge()?, "nginx-stream", STREAM_MODULE, &stream)?;
    Ok(Running::Proxy { _process: process })
}

fn at(address: IpAddr, port: u16) -> std::net::SocketAddr {
    std::net::SocketAddr::new(address, port)
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
    let pool = format!("[[pool]]\nname = \"bench\"\naddresses = [\"{v4}/32\", \"{v6}/128\"]\n");
    let mut edge = Edge::prepare(lab, &pool)?;
    edge.log_sparsely();
    edge.manifests.node(lab.node(1)?)?;
    let web =
        ServiceYaml::new("web").tcp(WEB_PORT, NODE_WEB_PORT).tcp(BULK_PORT, NODE_BULK_PORT).dual();
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
