//! The steps that change something and watch what becomes of the traffic.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{Load, edge::DaemonName, eventually};

use super::{
    Demo,
    loads::{Counted, Loads},
    table,
};
use crate::{ask, world::SOON};

/// How often each daemon is killed.
const KILLS: u32 = 5;

/// A manifest appears, then disappears, while a client asks.
pub(super) fn add_and_delete(demo: &mut Demo) -> Result<String> {
    let client = demo.world.client()?;
    let written = Instant::now();
    demo.put("later/late.yaml")?;
    let addresses = demo.world.edge.wait_announced("default/late", SOON)?;
    let to = SocketAddr::new(addresses[0], 80);
    let answered = ask::time_until_answered(client, to, written, SOON)?;
    println!("    late {to} answered {} ms after its file appeared", answered.as_millis());
    let deleted = Instant::now();
    demo.world.edge.manifests.delete("late")?;
    println!("  - later/late.yaml");
    let silent = ask::time_until_silent(client, to, deleted, SOON)?;
    println!("    late {to} was silent {} ms after its file went", silent.as_millis());
    let near = demo.world.near()?;
    eventually("nobody answers ARP for it", SOON, || {
        let mac = ask::who_has(near, to.ip())?;
        ensure!(mac.is_none(), "{mac:?} still answers for {}", to.ip());
        Ok(())
    })?;
    let (answered, silent) = (answered.as_millis(), silent.as_millis());
    Ok(format!("answered after {answered} ms, silent after {silent} ms"))
}

/// kill -9 for both daemons, again and again, while connections are made and kept.
pub(super) fn kills(demo: &mut Demo) -> Result<String> {
    let world = &demo.world;
    let (client, logs) = (world.client()?, world.lab.logs());
    let (v4, v6) = (demo.vip("web", true)?, demo.vip("web", false)?);
    let dns = demo.vip("dns", true)?;
    let loads = Loads::start(
        client,
        &logs,
        [
            ("new connections", Load::connect(SocketAddr::new(v4, 80)).rate(200)),
            ("long connections", Load::keep_alive(SocketAddr::new(v6, 80), 20).rate(200)),
            ("datagrams", Load::udp(SocketAddr::new(dns, 53), 16).rate(200)),
        ],
    )?;
    for round in 1..=KILLS {
        for daemon in DaemonName::ALL {
            world.edge.restart(daemon, Signal::SIGKILL)?;
        }
        println!("    {round}. kill -9 of speaker and router; both run again");
    }
    let Counted { sent, lost } = loads.finish()?;
    Ok(format!("{} kills, {sent} requests, {lost} lost", 2 * KILLS))
}

/// The power of node2 fails under load, and comes back.
pub(super) fn node_death(demo: &mut Demo) -> Result<String> {
    let to = SocketAddr::new(demo.vip("web", true)?, 80);
    let (client, logs) = (demo.world.client()?.clone(), demo.world.lab.logs());
    let meanwhile = Load::connect(to).rate(100).timeout(Duration::from_secs(1));
    let meanwhile = meanwhile.start(&client, &logs)?;
    demo.world.nodes[1].die()?;
    let died = Instant::now();
    println!("    node2 is dead: its processes killed, its link down");
    let moved = wait_for_state(demo, "unhealthy", died)?.as_millis();
    let report = meanwhile.finish()?;
    println!(
        "    out of service after {moved} ms; of {} new connections meanwhile {} met the dead node",
        report.sent,
        report.failed()
    );
    count(demo, to, "without node2", &["node1", "node3"])?;
    demo.world.nodes[1].revive()?;
    let revived = Instant::now();
    println!("    node2 is back");
    let back = wait_for_state(demo, "healthy", revived)?.as_millis();
    println!("    in full service again after {back} ms (its share climbs for 10 s of them)");
    count(demo, to, "with node2", &["node1", "node2", "node3"])?;
    Ok(format!("traffic moved off after {moved} ms, none lost after that; back after {back} ms"))
}

/// Waits until status shows node2 in this state for every port of `web`; how long since `since`.
fn wait_for_state(demo: &Demo, state: &str, since: Instant) -> Result<Duration> {
    let what = format!("node2 is {state}");
    demo.world.edge.wait_service("default/web", &what, 2 * SOON, |found| {
        let backends = found.ports.iter().flat_map(|port| &port.backends);
        let mut of_node2 = backends.filter(|backend| backend.node == "node2").peekable();
        (of_node2.peek().is_some() && of_node2.all(|backend| backend.state == state)).then_some(())
    })?;
    Ok(since.elapsed())
}

fn count(demo: &Demo, to: SocketAddr, name: &str, nodes: &[&str]) -> Result<()> {
    let load = Load::connect(to).rate(300).count(300);
    let report = load.run(demo.world.client()?, &demo.world.lab.logs())?;
    println!("{}", table::counts("new connections", &[(name.to_owned(), report.by_node.clone())]));
    report.all_answered()?;
    report.spread_over(nodes)
}
