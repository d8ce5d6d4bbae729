//! The steps that look and count.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use roadstead_lab::{Load, edge::DaemonName};

use super::{Demo, table};
use crate::{ask, world::SOON};

/// Every Service of the demo's manifests.
const SERVICES: [&str; 4] = ["web", "dns", "mail", "chat"];
/// Requests of each client in a table.
const REQUESTS: u64 = 300;
/// Requests per second while counting.
const RATE: u32 = 300;

impl Demo {
    /// The address of a Service in one family.
    pub(super) fn vip(&self, service: &str, v4: bool) -> Result<IpAddr> {
        let status = self.world.edge.status()?;
        let found = status.service(&format!("default/{service}"))?;
        let address = found.addresses.iter().find(|address| address.is_ipv4() == v4);
        address.copied().ok_or_else(|| anyhow!("{service} has no such address: {found:?}"))
    }

    /// The name of the edge host's leg that has this MAC address.
    fn is_edge(&self, mac: &str) -> Result<bool> {
        Ok(self.world.lab.edge()?.leg("eth0")?.mac.to_string() == mac)
    }

    /// Both clients ask; the answers by node as a table. Every node must have its share.
    fn spread(&self, service: &str, to: SocketAddr) -> Result<String> {
        let mut rows = Vec::new();
        for host in [self.world.client()?, self.world.near()?] {
            let load = Load::connect(to).rate(RATE).count(REQUESTS);
            let report = load.run(host, &self.world.lab.logs())?;
            report.all_answered()?;
            report.spread_over(&["node1", "node2", "node3"])?;
            rows.push((format!("{} -> {service} {to}", host.name()), report.by_node));
        }
        println!("{}", table::counts("new connections", &rows));
        Ok(format!("{} requests, none lost, over 3 nodes", 2 * REQUESTS))
    }
}

/// Starts the daemons, puts the manifests, waits for the announcements.
pub(super) fn announced(demo: &mut Demo) -> Result<String> {
    for daemon in DaemonName::ALL {
        println!("  start roadstead-{} on the edge host", daemon.as_str());
        demo.world.edge.start_daemon(daemon)?;
    }
    for daemon in DaemonName::ALL {
        demo.world.edge.wait_ready(daemon)?;
    }
    let began = Instant::now();
    for file in ["nodes", "web", "dns", "mail-and-chat"] {
        demo.put(&format!("manifests/{file}.yaml"))?;
    }
    for service in SERVICES {
        demo.world.edge.wait_announced(&format!("default/{service}"), SOON)?;
    }
    let took = began.elapsed();
    let status = demo.world.edge.status()?;
    for found in &status.services {
        let addresses: Vec<String> = found.addresses.iter().map(IpAddr::to_string).collect();
        println!("    {:<6} {}", found.name, addresses.join(", "));
    }
    Ok(format!("{} Services within {} ms", SERVICES.len(), took.as_millis()))
}

/// Asks the segment who has each address, and a free address of the pool.
pub(super) fn resolution(demo: &mut Demo) -> Result<String> {
    let near = demo.world.near()?;
    let vips = [demo.vip("web", true)?, demo.vip("web", false)?, demo.vip("mail", true)?];
    for vip in vips {
        let mac = ask::who_has(near, vip)?.with_context(|| format!("nobody answers for {vip}"))?;
        println!("    who has {vip}?  {mac}");
        ensure!(demo.is_edge(&mac)?, "{vip} is answered by {mac}, which is not the edge host");
    }
    for free in ["192.0.2.50", "2001:db8:1::1ff"] {
        let answer = ask::who_has(near, free.parse()?)?;
        println!("    who has {free}?  {}", answer.as_deref().unwrap_or("(silence)"));
        ensure!(answer.is_none(), "somebody answers for {free}, which no Service holds");
    }
    Ok(format!("{} VIPs answered, free addresses silent", vips.len()))
}

/// Connections to the IPv4 address of `web`.
pub(super) fn spread_v4(demo: &mut Demo) -> Result<String> {
    demo.spread("web", SocketAddr::new(demo.vip("web", true)?, 80))
}

/// Connections to the IPv6 address of `web`.
pub(super) fn spread_v6(demo: &mut Demo) -> Result<String> {
    demo.spread("web", SocketAddr::new(demo.vip("web", false)?, 80))
}

/// Datagrams to both addresses of `dns`.
pub(super) fn datagrams(demo: &mut Demo) -> Result<String> {
    let mut rows = Vec::new();
    for v4 in [true, false] {
        let to = SocketAddr::new(demo.vip("dns", v4)?, 53);
        let load = Load::udp(to, 0).rate(RATE).count(REQUESTS).timeout(Duration::from_secs(1));
        let report = load.run(demo.world.client()?, &demo.world.lab.logs())?;
        report.all_answered()?;
        rows.push((format!("client -> dns {to}"), report.by_node));
    }
    println!("{}", table::counts("datagrams", &rows));
    Ok(format!("{} datagrams over both families, none lost", 2 * REQUESTS))
}

/// `mail` and `chat` on one address.
pub(super) fn sharing(demo: &mut Demo) -> Result<String> {
    let (mail, chat) = (demo.vip("mail", true)?, demo.vip("chat", true)?);
    ensure!(mail == chat, "mail has {mail}, chat has {chat}");
    let client = demo.world.client()?;
    for (service, port) in [("mail", 25), ("chat", 5222)] {
        let answer = ask::tcp(client, SocketAddr::new(mail, port))?;
        println!("    {service:<4} {mail}:{port}  answered by {}", answer.node);
    }
    ask::refused(client, SocketAddr::new(mail, 80))?;
    println!("    port 80 of {mail}, which neither has, is refused at once");
    Ok(format!("mail and chat answer on {mail}"))
}
