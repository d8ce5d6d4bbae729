//! A node for the lab: answers on NodePorts with its own name, over HTTP and UDP, and on
//! kube-proxy's health port. Ends by signal.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    rc::Rc,
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use roadstead_lab::{
    http::{Answer, Reader},
    pattern,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream, UdpSocket},
    signal::unix::{SignalKind, signal},
    task::{LocalSet, spawn_local},
};

/// The largest body made on request.
const LARGEST: usize = 64 << 20;

#[derive(Parser)]
#[command(about = "Answers on NodePorts with its own name, until it gets a signal")]
struct Arguments {
    /// The name it answers with
    #[arg(long)]
    name: String,
    /// The NodePorts it serves, TCP and UDP: FIRST-LAST
    #[arg(long, default_value = "30000-30031")]
    ports: PortRange,
    /// Listens on these addresses only, and on no health port: a pod
    #[arg(long)]
    address: Vec<IpAddr>,
    /// kube-proxy's health port
    #[arg(long, default_value_t = 10256)]
    health: u16,
    /// A healthCheckNodePort with its number of local endpoints: PORT=COUNT
    #[arg(long, value_parser = local_endpoints)]
    local_endpoints: Vec<(u16, u32)>,
}

#[derive(Clone, Copy)]
struct PortRange {
    first: u16,
    last: u16,
}

impl FromStr for PortRange {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Ok(Self { first: first.parse()?, last: last.parse()? })
    }
}

fn local_endpoints(text: &str) -> Result<(u16, u32)> {
    let (port, count) =
        text.split_once('=').ok_or_else(|| anyhow!("`{text}` is not PORT=COUNT"))?;
    Ok((port.parse()?, count.parse()?))
}

/// What every connection may ask.
struct Node {
    name: String,
    healthy: AtomicBool,
    local: BTreeMap<u16, u32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    LocalSet::new().run_until(run(arguments)).await
}

async fn run(arguments: Arguments) -> Result<()> {
    let node = Rc::new(Node {
        name: arguments.name,
        healthy: AtomicBool::new(true),
        local: arguments.local_endpoints.iter().copied().collect(),
    });
    let ports = arguments.ports.first..=arguments.ports.last;
    if arguments.address.is_empty() {
        let any = Ipv6Addr::UNSPECIFIED.into();
        serve(any, ports, &node).await?;
        let checked = node.local.keys().copied();
        serve_over_tcp(any, checked.chain([arguments.health]), &node).await?;
    } else {
        for address in arguments.address {
            serve(address, ports.clone(), &node).await?;
        }
    }
    println!("ready");
    run_until_told(&node).await
}

/// SIGUSR1 makes kube-proxy's answer 503, SIGUSR2 makes it 200 again, SIGTERM ends.
async fn run_until_told(node: &Node) -> Result<()> {
    let mut sick = signal(SignalKind::user_defined1())?;
    let mut well = signal(SignalKind::user_defined2())?;
    let mut term = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            _ = sick.recv() => node.healthy.store(false, Ordering::Relaxed),
            _ = well.recv() => node.healthy.store(true, Ordering::Relaxed),
            _ = term.recv() => return Ok(()),
        }
    }
}

/// Serves the NodePorts of one address, TCP and UDP.
async fn serve(address: IpAddr, ports: RangeInclusive<u16>, node: &Rc<Node>) -> Result<()> {
    for port in ports.clone() {
        let socket = UdpSocket::bind((address, port)).await;
        let socket = socket.with_context(|| format!("cannot listen on UDP port {port}"))?;
        spawn_local(serve_udp(socket, Rc::clone(node)));
    }
    serve_over_tcp(address, ports, node).await
}

async fn serve_over_tcp(
    address: IpAddr,
    ports: impl Iterator<Item = u16>,
    node: &Rc<Node>,
) -> Result<()> {
    for port in ports {
        let listener = TcpListener::bind((address, port)).await;
        let listener = listener.with_context(|| format!("cannot listen on TCP port {port}"))?;
        spawn_local(serve_tcp(listener, Rc::clone(node)));
    }
    Ok(())
}

async fn serve_tcp(listener: TcpListener, node: Rc<Node>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let node = Rc::clone(&node);
        spawn_local(async move { drop(converse(stream, peer, &node).await) });
    }
}

/// Requests and answers on one connection until the client closes.
async fn converse(mut stream: TcpStream, peer: SocketAddr, node: &Node) -> Result<()> {
    stream.set_nodelay(true)?;
    let port = stream.local_addr()?.port();
    let mut reader = Reader::default();
    while let Some((head, body)) = reader.message(&mut stream).await? {
        let (status, text) = answer(node, head.path()?, port, peer, &body);
        let length = text.len();
        let head_out = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(&[head_out.as_bytes(), &text].concat()).await?;
        if head.close {
            break;
        }
    }
    Ok(())
}

fn answer(
    node: &Node,
    path: &str,
    port: u16,
    peer: SocketAddr,
    received: &[u8],
) -> (&'static str, Vec<u8>) {
    if let Some(count) = node.local.get(&port) {
        let status = if *count > 0 { "200 OK" } else { "503 Service Unavailable" };
        return (status, format!("{{\"localEndpoints\":{count}}}\n").into());
    }
    if path == "/healthz" {
        let healthy = node.healthy.load(Ordering::Relaxed);
        let status = if healthy { "200 OK" } else { "503 Service Unavailable" };
        return (status, format!("{{\"nodeEligible\":{healthy}}}\n").into());
    }
    let asked = |what| path.strip_prefix(what).and_then(|count| count.parse::<usize>().ok());
    if let Some(count) = asked("/bytes/") {
        return ("200 OK", vec![b'x'; count.min(LARGEST)]);
    }
    if let Some(count) = asked("/pattern/") {
        return ("200 OK", pattern::bytes(count.min(LARGEST)));
    }
    let client = peer_text(peer);
    let answer = Answer {
        node: node.name.clone(),
        client,
        port,
        path: path.to_owned(),
        received: received.len(),
        sum: pattern::sum(received),
    };
    ("200 OK", answer.to_text().into())
}

/// An IPv4 client on a dual-stack socket is shown as IPv4.
fn peer_text(peer: SocketAddr) -> String {
    SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string()
}

/// Every datagram comes back with the node's name before it.
async fn serve_udp(socket: UdpSocket, node: Rc<Node>) {
    let mut buffer = vec![0; 65535];
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let payload = buffer.get(..length).unwrap_or_default();
        let answer = [node.name.as_bytes(), b" ", payload].concat();
        drop(socket.send_to(&answer, peer).await);
    }
}
