//! What the appliance leaves alone.
//!
//! Input: traffic to the host's own services, frames of a VLAN, addresses that are nobody's, a
//! firewall of the host, sockets of the host on ports that SNAT could use. Output: the host behaves
//! as without the appliance. On the wire: nothing of ours in answer to what is not ours.

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};
use roadstead_lab::{
    Host, Load,
    edge::ServiceYaml,
    eventually,
    process::{Process, Program, built},
};
use roadstead_scenarios::{
    World, ask, counters,
    frames::{Wire, cut_syn, ethernet, syn, tagged, udp},
    scenario,
    world::{SOON, one_pool},
};

/// A service of the host itself, on port 2222.
fn own_service(world: &World, host: &Host) -> Result<Process> {
    let program = Program::new("own-service", built("lab-node")?, &world.lab.logs()).args([
        "--name=edge-itself",
        "--ports=2222",
        "--health=2223",
    ]);
    let mut process = program.start(host.namespace())?;
    process.wait_for_text("ready", SOON)?;
    Ok(process)
}

#[test]
fn the_hosts_own_services_on_its_own_addresses() -> Result<()> {
    scenario(
        || World::routed("untouched-own"),
        |world| {
            world.serve_web()?;
            let edge = world.lab.edge()?;
            let _service = own_service(world, edge)?;
            for own in edge.addresses() {
                let front = ["192.0.2.2", "2001:db8:1::2"].contains(&own.to_string().as_str());
                let host = if front { world.client()? } else { world.lab.node(1)? };
                let to = SocketAddr::new(own, 2222);
                ensure!(ask::tcp(host, to)?.node == "edge-itself");
                ask::bulk(host, to, 1 << 20)?;
                ensure!(ask::udp(host, to)? == "edge-itself");
            }
            Ok(())
        },
    )
}

#[test]
fn the_host_as_a_client_of_a_node_keeps_its_connections() -> Result<()> {
    scenario(
        || World::routed("untouched-client"),
        |world| {
            let vips = world.serve_web()?;
            let (edge, client, logs) = (world.lab.edge()?, world.client()?, world.lab.logs());
            let node = world.lab.node(1)?;
            let own = Load::keep_alive(SocketAddr::new(node.v4()?.into(), 30000), 8);
            let own = own.rate(200).start(edge, &logs)?;
            for vip in vips {
                let to = SocketAddr::new(vip, 80);
                Load::connect(to).rate(300).count(150).run(client, &logs)?.all_answered()?;
            }
            own.finish()?.all_answered()
        },
    )
}

/// Binds every port of a range on the host's address towards the nodes, but the last `free`.
fn occupy(
    edge: &Host,
    own: IpAddr,
    (low, high): (u16, u16),
    free: u16,
) -> Result<Vec<(TcpListener, UdpSocket)>> {
    edge.namespace().enter(|| {
        let port = |port| Ok((TcpListener::bind((own, port))?, UdpSocket::bind((own, port))?));
        (low..=high - free).map(port).collect()
    })
}

#[test]
fn ports_that_sockets_of_the_host_have_are_not_used_as_sources() -> Result<()> {
    const PORTS: (u16, u16) = (40_000, 40_063);
    // So few are taken, with those that the six connections keep for a while, that the tries at one
    // address (SNAT_TRIES, each another port) cannot all be in vain.
    const FREE: u16 = 40;
    let toml = format!("[router]\nsnat_ports = \"{}-{}\"\n{}", PORTS.0, PORTS.1, one_pool());
    scenario(
        || World::build(&roadstead_lab::presets::routed(1), "untouched-ports", &toml),
        |world| {
            let (edge, client) = (world.lab.edge()?, world.client()?);
            for vip in world.serve_web()? {
                let own = if vip.is_ipv4() { "203.0.113.2" } else { "2001:db8:3::2" };
                let _sockets = occupy(edge, own.parse()?, PORTS, FREE)?;
                for _ in 0..6 {
                    let answer = ask::tcp(client, SocketAddr::new(vip, 80))?;
                    let seen: SocketAddr = answer.client.parse()?;
                    ensure!(
                        (PORTS.1 - FREE + 1..=PORTS.1).contains(&seen.port()),
                        "the node saw {seen}"
                    );
                }
            }
            Ok(())
        },
    )
}

#[test]
fn frames_of_a_vlan_are_passed_untouched() -> Result<()> {
    scenario(
        || World::routed("untouched-vlan"),
        |world| {
            let (edge, near) = (world.lab.edge()?, world.near()?);
            let (to, from) = (edge.leg("eth0")?.mac, near.leg("eth0")?.mac);
            let wire = Wire::open(near, "eth0")?;
            edge.feed(
                &["nft", "-f", "-"],
                "table netdev seen { chain c { type filter hook ingress device eth0 priority 0; \
                 vlan id 7 counter; }; }",
            )?;
            for vip in world.serve_web()? {
                let own: IpAddr = if vip.is_ipv4() { near.v4()?.into() } else { near.v6()?.into() };
                let capture = world.capture(near, "eth0", &format!("src host {vip}"))?;
                let source = SocketAddr::new(own, 5005);
                let packets = [
                    syn(source, SocketAddr::new(vip, 80)),
                    syn(source, SocketAddr::new(vip, 81)),
                    udp(source, SocketAddr::new(vip, 53), b"tagged"),
                ];
                for packet in &packets {
                    wire.send(&tagged(&ethernet(to, from, packet), 7))?;
                }
                // What is sent behind them on the same wire is answered after them.
                wire.send(&ethernet(to, from, &udp(source, SocketAddr::new(vip, 53), b"plain")))?;
                eventually("the answer to the plain datagram", SOON, || {
                    ensure!(!capture.frames("udp")?.is_empty());
                    Ok(())
                })?;
                let answers = capture.frames("udp or tcp")?;
                ensure!(answers.len() == 1, "tagged frames were answered: {answers:?}");
            }
            let seen = edge.run(&["nft", "list", "table", "netdev", "seen"])?;
            ensure!(seen.contains("packets 6 "), "the host's stack did not get all six: {seen}");
            Ok(())
        },
    )
}

#[test]
fn addresses_that_are_nobodys_are_left_to_the_host() -> Result<()> {
    scenario(
        || World::routed("untouched-unknown"),
        |world| {
            world.serve_web()?;
            let (edge, near) = (world.lab.edge()?, world.near()?);
            let before = edge.counter("Ip", "ForwDatagrams")?;
            for (unknown, via) in
                [("192.0.2.49", "192.0.2.2"), ("2001:db8:1::149", "2001:db8:1::2")]
            {
                let unknown: IpAddr = unknown.parse()?;
                ensure!(ask::who_has(near, unknown)?.is_none(), "{unknown} is answered for");
                near.ip(&format!("route add {unknown} via {via}"))?;
                ask::unanswered(near, SocketAddr::new(unknown, 80))?;
            }
            ensure!(edge.counter("Ip", "ForwDatagrams")? == before, "the host forwards");
            for (sysctl, wanted) in [
                ("net/ipv4/ip_forward", "0"),
                ("net/ipv4/conf/all/forwarding", "0"),
                ("net/ipv6/conf/all/forwarding", "0"),
                ("net/ipv4/conf/eth0/proxy_arp", "0"),
                ("net/ipv4/ip_nonlocal_bind", "0"),
                ("net/ipv4/conf/all/rp_filter", "0"),
            ] {
                let found = edge.read_sysctl(sysctl)?;
                ensure!(found == wanted, "{sysctl} is {found}");
            }
            Ok(())
        },
    )
}

const FIREWALL: &str = "
table inet host {
  chain input {
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
    icmp type { echo-request, time-exceeded, destination-unreachable } accept
    ip6 nexthdr icmpv6 accept
    tcp dport 2222 counter accept
    counter
  }
  chain forward { type filter hook forward priority 0; policy drop; counter; }
}
";

#[test]
fn a_firewall_of_the_host_is_left_as_it_is_and_the_vips_are_served_past_it() -> Result<()> {
    scenario(
        || World::routed("untouched-firewall"),
        |world| {
            let (edge, client) = (world.lab.edge()?, world.client()?);
            edge.feed(&["nft", "-f", "-"], FIREWALL)?;
            let text = |host: &Host| host.run(&["nft", "-s", "list", "ruleset"]);
            let before = text(edge)?;
            let _service = own_service(world, edge)?;
            for vip in world.serve_web()? {
                let load = Load::connect(SocketAddr::new(vip, 80)).rate(300).count(60);
                load.run(client, &world.lab.logs())?.all_answered()?;
                ask::udp(client, SocketAddr::new(vip, 53))?;
            }
            let own = SocketAddr::new("192.0.2.2".parse()?, 2222);
            ensure!(ask::tcp(client, own)?.node == "edge-itself");
            ask::unanswered(client, SocketAddr::new("192.0.2.2".parse()?, 2223))?;
            ensure!(text(edge)? == before, "the ruleset changed: {}", text(edge)?);
            let counted = edge.run(&["nft", "list", "chain", "inet", "host", "input"])?;
            let ours = counted.lines().find(|line| line.contains("2222")).unwrap_or_default();
            ensure!(ours.contains("packets 1 "), "one connection: {counted}");
            let forward = edge.run(&["nft", "list", "chain", "inet", "host", "forward"])?;
            ensure!(forward.contains("packets 0 "), "packets of VIPs were forwarded: {forward}");
            Ok(())
        },
    )
}

#[test]
fn a_malformed_packet_to_a_vip_is_dropped_and_one_to_the_host_is_the_hosts() -> Result<()> {
    scenario(
        || World::routed("untouched-malformed"),
        |world| {
            let (edge, near) = (world.lab.edge()?, world.near()?);
            let wire = Wire::open(near, "eth0")?;
            let (to, from) = (edge.leg("eth0")?.mac, near.leg("eth0")?.mac);
            let vips = world.serve_web()?;
            let before = counters::drops(world, "malformed")?;
            for own in [near.v4()?.into(), near.v6()?.into()] {
                let own: IpAddr = own;
                let targets =
                    if own.is_ipv4() { (vips[0], "192.0.2.2") } else { (vips[1], "2001:db8:1::2") };
                let host: IpAddr = targets.1.parse()?;
                for target in [targets.0, host] {
                    let cut = cut_syn(SocketAddr::new(own, 6006), SocketAddr::new(target, 80), 8);
                    wire.send(&ethernet(to, from, &cut))?;
                }
            }
            let dropped = counters::wait_drops(world, "malformed", before, 2)?;
            ensure!(dropped == 2, "{dropped} were dropped, the host's own two are its own matter");
            let stream = near.namespace().enter(|| {
                Ok(TcpStream::connect_timeout(
                    &SocketAddr::new(vips[0], 80),
                    Duration::from_secs(2),
                )?)
            })?;
            drop(stream);
            let other = ServiceYaml::new("other").tcp(80, 30002);
            ask::tcp(near, world.serve_at("other", &other, 80)?).map(drop)
        },
    )
}
