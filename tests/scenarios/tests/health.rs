//! Which nodes get connections.
//!
//! Input: nodes that die, report themselves unhealthy, are excluded or come back. Output: new
//! connections go to healthy nodes; established ones on other nodes go on (S4); with no node left
//! the address stays announced (S3: doubt holds).
//! On the wire: probes to kube-proxy's health port and to NodePorts, from the edge host.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use roadstead_lab::{Load, Report, edge::ServiceYaml, eventually};
use roadstead_scenarios::{World, ask, scenario, world::SOON};

fn web() -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000)
}

fn load(world: &World, to: SocketAddr) -> Result<Report> {
    Load::connect(to).rate(300).count(90).run(world.client()?, &world.lab.logs())
}

/// Waits until every backend of `web` on a node has this state.
fn wait_state(world: &World, node: &str, state: &str) -> Result<()> {
    world.edge.wait_service("default/web", &format!("{node} {state}"), 2 * SOON, |found| {
        let all = found.ports.iter().flat_map(|port| &port.backends);
        let mut of_node = all.filter(|backend| backend.node == node).peekable();
        (of_node.peek().is_some() && of_node.all(|backend| backend.state == state)).then_some(())
    })
}

#[test]
fn traffic_moves_off_a_dead_node_and_returns() -> Result<()> {
    scenario(
        || World::routed("health-dead"),
        |world| {
            let to = world.serve_at("web", &web(), 80)?;
            world.nodes[1].die()?;
            wait_state(world, "node2", "unhealthy")?;
            let report = load(world, to)?;
            report.all_answered()?;
            report.spread_over(&["node1", "node3"])?;
            world.nodes[1].revive()?;
            wait_state(world, "node2", "healthy")?;
            let report = load(world, to)?;
            report.all_answered()?;
            report.spread_over(&["node1", "node2", "node3"])
        },
    )
}

#[test]
fn connections_on_other_nodes_do_not_notice() -> Result<()> {
    scenario(
        || World::routed("health-others"),
        |world| {
            let to = world.serve_at("web", &web(), 80)?;
            world.nodes[1].report_healthy(false)?;
            wait_state(world, "node2", "unhealthy")?;
            let running =
                Load::keep_alive(to, 40).rate(200).start(world.client()?, &world.lab.logs())?;
            world.nodes[1].report_healthy(true)?;
            wait_state(world, "node2", "healthy")?;
            world.nodes[1].die()?;
            wait_state(world, "node2", "unhealthy")?;
            running.finish()?.all_answered()
        },
    )
}

#[test]
fn a_node_whose_kube_proxy_says_no_gets_nothing_new_and_keeps_what_it_has() -> Result<()> {
    scenario(
        || World::routed("health-kube-proxy"),
        |world| {
            let to = world.serve_at("web", &web(), 80)?;
            let running =
                Load::keep_alive(to, 40).rate(200).start(world.client()?, &world.lab.logs())?;
            world.nodes[0].report_healthy(false)?;
            wait_state(world, "node1", "unhealthy")?;
            let report = load(world, to)?;
            report.all_answered()?;
            report.spread_over(&["node2", "node3"])?;
            let kept = running.finish()?;
            kept.all_answered()?;
            kept.spread_over(&["node1", "node2", "node3"])
        },
    )
}

#[test]
fn an_excluded_node_and_a_deleted_one_get_nothing() -> Result<()> {
    scenario(
        || World::routed("health-excluded"),
        |world| {
            let to = world.serve_at("web", &web(), 80)?;
            let yaml = std::fs::read_to_string(world.edge.manifests.dir().join("node1.yaml"))?;
            let label = "name: node1\n  labels: {node.kubernetes.io/exclude-from-external-load-balancers: \"\"}";
            world.edge.manifests.write("node1", &yaml.replacen("name: node1", label, 1))?;
            eventually("node1 gets nothing", SOON, || {
                load(world, to)?.spread_over(&["node2", "node3"])
            })?;
            world.edge.manifests.delete("node2")?;
            eventually("node2 gets nothing", SOON, || load(world, to)?.spread_over(&["node3"]))
        },
    )
}

#[test]
fn with_every_node_dead_the_address_stays_announced() -> Result<()> {
    scenario(
        || World::routed("health-none"),
        |world| {
            let to = world.serve_at("web", &web(), 80)?;
            for node in &mut world.nodes {
                node.stop_serving()?;
            }
            world.edge.wait_service(
                "default/web",
                "every backend unhealthy",
                2 * SOON,
                |found| {
                    let mut backends = found.ports.iter().flat_map(|port| &port.backends);
                    backends.all(|backend| backend.state == "unhealthy").then_some(())
                },
            )?;
            roadstead_lab::throughout("it is announced", Duration::from_secs(1), || {
                let mac = ask::who_has(world.near()?, to.ip())?;
                ensure!(mac.is_some(), "nobody answers for {to}");
                Ok(())
            })?;
            for node in &mut world.nodes {
                node.revive()?;
            }
            wait_state(world, "node1", "healthy")?;
            load(world, to)?.all_answered()
        },
    )
}

#[test]
fn ready_endpoints_gone_is_knowledge_and_withdraws() -> Result<()> {
    scenario(
        || World::routed("health-endpoints"),
        |world| {
            let slice = |ready| {
                roadstead_lab::edge::endpoint_slice_yaml(
                    "web",
                    &[("198.18.0.1".parse()?, "node1", ready)],
                )
            };
            world.edge.manifests.write("slice", &slice(true)?)?;
            let to = world.serve_at("web", &web(), 80)?;
            load(world, to)?.spread_over(&["node1", "node2", "node3"])?;
            world.edge.manifests.write("slice", &slice(false)?)?;
            eventually("nobody answers ARP", SOON, || {
                let mac = ask::who_has(world.near()?, to.ip())?;
                ensure!(mac.is_none(), "{mac:?} answers");
                Ok(())
            })?;
            world.edge.manifests.write("slice", &slice(true)?)?;
            let again = world.edge.wait_announced("default/web", SOON)?;
            ensure!(again == [to.ip()], "the address changed to {again:?}");
            load(world, to)?.all_answered()
        },
    )
}
