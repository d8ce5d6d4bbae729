//! A dead node leaves because connections meet it, not because its turn comes.
//!
//! Input: nodes that are probed once a minute; one of them falls silent or refuses, under load.
//! Output: the node is out long before its turn, and connections go to the others.
//! On the wire: probes of the node as soon as connections to it stay unanswered.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, ensure};
use roadstead_lab::Load;
use roadstead_scenarios::{
    World, scenario,
    world::{SOON, one_pool},
};

/// `fall` of the configuration.
const FALL: usize = 3;
const IMPATIENT: Duration = Duration::from_millis(300);

fn probed_once_a_minute(test: &str) -> Result<World> {
    let toml = one_pool().replace("interval = \"300ms\"", "interval = \"60s\"");
    ensure!(toml.contains("60s"), "the interval is written otherwise: {toml}");
    World::build(&roadstead_lab::presets::routed(3), test, &format!("{toml}fall = {FALL}\n"))
}

fn wait_unhealthy(world: &World, node: &str) -> Result<()> {
    world.edge.wait_service("default/web", &format!("{node} unhealthy"), 2 * SOON, |found| {
        let all = found.ports.iter().flat_map(|port| &port.backends);
        let mut of_node = all.filter(|backend| backend.node == node).peekable();
        (of_node.peek().is_some() && of_node.all(|b| b.state == "unhealthy")).then_some(())
    })
}

/// What clients do all the while `fail` happens to node2, in both families; then none is lost.
fn traffic_finds_out(
    world: &mut World,
    of: impl Fn(IpAddr) -> Load,
    fail: impl FnOnce(&mut World) -> Result<()>,
) -> Result<()> {
    let vips = world.serve_web()?;
    let (client, logs) = (world.client()?.clone(), world.lab.logs());
    let start = |vip: &IpAddr| of(*vip).rate(100).timeout(IMPATIENT).start(&client, &logs);
    let running = vips.iter().map(start).collect::<Result<Vec<_>>>()?;
    fail(world)?;
    wait_unhealthy(world, "node2")?;
    running.into_iter().try_for_each(|load| load.finish().map(drop))?;
    for vip in vips {
        let report = of(vip).rate(300).count(90).run(&client, &logs)?;
        report.all_answered()?;
        report.spread_over(&["node1", "node3"])?;
    }
    Ok(())
}

fn connections(vip: IpAddr) -> Load {
    Load::connect(SocketAddr::new(vip, 80))
}

/// Nobody sends these again: that nothing answers them is all there is to see.
fn datagrams(vip: IpAddr) -> Load {
    Load::udp(SocketAddr::new(vip, 53), 0)
}

#[test]
fn a_silent_node_is_found_out_by_the_connections_that_meet_it() -> Result<()> {
    scenario(
        || probed_once_a_minute("traffic-silent"),
        |world| {
            let node = world.lab.node(2)?.v4()?;
            let probes = format!("tcp[tcpflags] == tcp-syn and dst host {node} and dst port 10256");
            let capture = world.capture(world.lab.edge()?, "eth1", &probes)?;
            let before = capture.frames("")?.len();
            traffic_finds_out(world, connections, |world| world.nodes[1].die())?;
            let probes = capture.frames("")?.len() - before;
            ensure!(probes >= FALL, "condemned by {probes} probes");
            Ok(())
        },
    )
}

#[test]
fn a_node_that_refuses_is_found_out_by_the_connections_that_meet_it() -> Result<()> {
    scenario(
        || probed_once_a_minute("traffic-refusing"),
        |world| traffic_finds_out(world, connections, |world| world.nodes[1].stop_serving()),
    )
}

#[test]
fn a_silent_node_is_found_out_by_the_datagrams_that_meet_it() -> Result<()> {
    scenario(
        || probed_once_a_minute("traffic-datagrams"),
        |world| traffic_finds_out(world, datagrams, |world| world.nodes[1].die()),
    )
}
