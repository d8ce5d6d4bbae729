//! `roadstead drain` and `undrain`.
//!
//! Input: orders for a node and for the host itself. Output: a drained node gets no new flows and
//! keeps its established ones (S4); a drained host announces nothing, also after a restart.
//! On the wire: no ARP or NDP answer from a drained host.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    Load,
    edge::{DaemonName, ServiceYaml},
    eventually,
};
use roadstead_scenarios::{World, scenario, world::SOON};

const ALL: [&str; 3] = ["node1", "node2", "node3"];
const OTHERS: [&str; 2] = ["node2", "node3"];

fn web() -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000).dual()
}

#[test]
fn a_drained_node_gets_nothing_new_and_keeps_what_it_has() -> Result<()> {
    scenario(
        || World::routed("drain-node"),
        |world| {
            let web = world.serve_both("web", &web(), 80)?;
            world.wait_healthy("default/web")?;
            let running = web.load(world, |to| Load::keep_alive(to, 40).rate(200))?;
            world.edge.cli_ok(&["drain", "node", "node1"])?;
            eventually("nothing new for node1", SOON, || web.spread_over(world, &OTHERS))?;
            world.edge.restart(DaemonName::Router, Signal::SIGTERM)?;
            web.spread_over(world, &OTHERS)?;
            for kept in running.finish()? {
                kept.all_answered()?;
                kept.spread_over(&ALL)?;
            }
            world.edge.cli_ok(&["undrain", "node", "node1"])?;
            eventually("node1 again", SOON, || web.spread_over(world, &ALL))
        },
    )
}

#[test]
fn a_drained_host_is_silent_until_it_is_undrained() -> Result<()> {
    scenario(
        || World::routed("drain-self"),
        |world| {
            let near = world.near()?;
            let web = world.serve_both("web", &web(), 80)?;
            world.edge.cli_ok(&["drain", "self"])?;
            web.resolve_to_nobody(near)?; // answered when it is so: a shutdown goes on from here
            world.edge.restart(DaemonName::Speaker, Signal::SIGKILL)?;
            web.resolve_to_nobody(near)?;
            world.edge.cli_ok(&["undrain", "self"])?;
            let again = world.both_of("web", 80)?;
            ensure!(again == web, "the addresses changed to {again:?}");
            again.answer(world.client()?)
        },
    )
}

/// A shutdown stops the daemons when it is answered, so that the answer must be true.
#[test]
fn a_drain_that_the_kernel_was_not_told_of_says_so() -> Result<()> {
    scenario(
        || World::routed("drain-slow"),
        |world| {
            let near = world.near()?;
            let web = world.serve_both("web", &web(), 80)?;
            let router = world.edge.daemon(DaemonName::Router)?;
            router.signal_if_running(Signal::SIGSTOP)?;
            let told = world.edge.cli_ok(&["drain", "self"])?;
            ensure!(told.contains("not all of it is silent yet"), "{told}");
            router.signal_if_running(Signal::SIGCONT)?;
            let told = world.edge.cli_ok(&["drain", "self"])?;
            ensure!(!told.contains("not all"), "{told}");
            web.resolve_to_nobody(near)
        },
    )
}
