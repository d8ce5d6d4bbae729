//! Health checks that a Service names by annotation.
//!
//! Input: Services with `roadstead.io/health-check`, nodes whose ports accept connections and answer
//! that they do not serve. Output: such a node gets no new connections of that Service, and gets them
//! again when its answer is good; the node itself stays healthy.
//! On the wire: requests over HTTP, HTTPS and gRPC from the edge host to NodePorts, for ever.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    Load,
    edge::{Port, ServiceYaml},
    process::{Process, Program, built},
};
use roadstead_scenarios::{
    World, scenario,
    world::{SOON, one_pool},
};

const HTTPS: u16 = 30_040;
const GRPC: u16 = 30_041;
const READY: Duration = Duration::from_secs(10);

/// Nodes are asked at NodePorts: kube-proxy's health port shares its answer with `/healthz`.
fn world(test: &str) -> Result<World> {
    let toml = format!("{}probe = \"node-port\"\n", one_pool());
    World::build(&roadstead_lab::presets::routed(3), test, &toml)
}

fn checked(name: &str, node_port: u16, check: &str) -> ServiceYaml {
    ServiceYaml::new(name).tcp(80, node_port).dual().annotate("roadstead.io/health-check", check)
}

/// Waits until both addresses of `node`, and of no other, are in this state for a Service.
fn wait_alone(world: &World, service: &str, node: &str, state: &str) -> Result<()> {
    let alone = |port: &Port| {
        let mut backends = port.backends.iter();
        port.backends.len() == 6 && backends.all(|b| (b.node == node) == (b.state == state))
    };
    let what = format!("{node} alone is {state}");
    let found =
        world.edge.wait_service(&format!("default/{service}"), &what, 2 * SOON, |found| {
            found.ports.iter().all(alone).then(|| found.clone())
        })?;
    let mut backends = found.ports.iter().flat_map(|port| &port.backends);
    ensure!(backends.all(|b| (b.weight == 0) == (b.node == node)), "weights: {found:?}");
    Ok(())
}

#[test]
fn a_node_that_answers_http_with_an_error_leaves_and_returns() -> Result<()> {
    scenario(
        || world("check-http"),
        |world| {
            let web = checked("web", 30_000, "http")
                .annotate("roadstead.io/health-check-path", "/healthz")
                .annotate("roadstead.io/health-check-port", "tcp-80");
            let vips = world.serve("web", &web)?;
            world.wait_healthy("default/web")?;
            let spread = |nodes: &[&str]| {
                vips.iter().try_for_each(|vip| {
                    let load = Load::connect(SocketAddr::new(*vip, 80)).rate(300).count(90);
                    let report = load.run(world.client()?, &world.lab.logs())?;
                    report.all_answered()?;
                    report.spread_over(nodes)
                })
            };
            world.nodes[1].report_healthy(false)?;
            wait_alone(world, "web", "node2", "unhealthy")?;
            spread(&["node1", "node3"])?;
            world.nodes[1].report_healthy(true)?;
            world.wait_healthy("default/web")?;
            spread(&["node1", "node2", "node3"])
        },
    )
}

fn start_checked(world: &World) -> Result<Vec<Process>> {
    let start = |node: &roadstead_lab::Node| {
        let host = node.host();
        let name = format!("checked-{}", host.name());
        let program = Program::new(&name, built("lab-checked")?, &world.lab.logs())
            .arg(format!("--https={HTTPS}"))
            .arg(format!("--grpc={GRPC}"));
        let mut process = program.start(host.namespace())?;
        process.wait_for_text("ready", READY)?;
        Ok(process)
    };
    world.nodes.iter().map(start).collect()
}

#[test]
fn nodes_that_do_not_serve_by_https_and_grpc_leave_and_return() -> Result<()> {
    scenario(
        || world("check-https-grpc"),
        |world| {
            let nodes = start_checked(world)?;
            world.serve("calls", &checked("calls", GRPC, "grpc"))?;
            world.serve("pages", &checked("pages", HTTPS, "https"))?;
            for service in ["calls", "pages"] {
                world.wait_healthy(&format!("default/{service}"))?;
            }
            nodes[1].signal(Signal::SIGUSR1)?;
            for service in ["calls", "pages"] {
                wait_alone(world, service, "node2", "unhealthy")?;
            }
            nodes[1].signal(Signal::SIGUSR2)?;
            for service in ["calls", "pages"] {
                world.wait_healthy(&format!("default/{service}"))?;
            }
            Ok(())
        },
    )
}
