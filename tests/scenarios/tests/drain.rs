//! `roadstead drain` and `undrain`.
//!
//! Input: orders for a node and for the host itself. Output: a drained node gets no new flows and
//! keeps its established ones (S4); a drained host announces nothing, also after a restart.
//! On the wire: no ARP answer from a drained host.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    Load,
    edge::{DaemonName, ServiceYaml},
    eventually,
};
use roadstead_scenarios::{World, ask, scenario, world::SOON};

fn web() -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000)
}

fn spread(world: &World, to: SocketAddr, nodes: &[&str]) -> Result<()> {
    let report = Load::connect(to).rate(300).count(90).run(world.client()?, &world.lab.logs())?;
    report.all_answered()?;
    report.spread_over(nodes)
}

#[test]
fn a_drained_node_gets_nothing_new_and_keeps_what_it_has() -> Result<()> {
    scenario(
        || World::routed("drain-node"),
        |world| {
            let to = world.serve_at("web", &web(), 80)?;
            let running =
                Load::keep_alive(to, 40).rate(200).start(world.client()?, &world.lab.logs())?;
            world.edge.cli_ok(&["drain", "node", "node1"])?;
            eventually("nothing new for node1", SOON, || spread(world, to, &["node2", "node3"]))?;
            world.edge.restart(DaemonName::Router, Signal::SIGTERM)?;
            spread(world, to, &["node2", "node3"])?;
            let kept = running.finish()?;
            kept.all_answered()?;
            kept.spread_over(&["node1", "node2", "node3"])?;
            world.edge.cli_ok(&["undrain", "node", "node1"])?;
            eventually("node1 again", SOON, || spread(world, to, &["node1", "node2", "node3"]))
        },
    )
}

#[test]
fn a_drained_host_is_silent_until_it_is_undrained() -> Result<()> {
    scenario(
        || World::routed("drain-self"),
        |world| {
            let to = world.serve_at("web", &web(), 80)?;
            let near = world.near()?;
            let silent = || {
                let mac = ask::who_has(near, to.ip())?;
                ensure!(mac.is_none(), "{mac:?} answers for {to}");
                Ok(())
            };
            world.edge.cli_ok(&["drain", "self"])?;
            eventually("silence", SOON, silent)?;
            world.edge.restart(DaemonName::Speaker, Signal::SIGKILL)?;
            silent()?;
            world.edge.cli_ok(&["undrain", "self"])?;
            let again = world.edge.wait_announced("default/web", SOON)?;
            ensure!(again == [to.ip()], "the address changed to {again:?}");
            ask::tcp(world.client()?, to).map(drop)
        },
    )
}
