//! Which nodes get connections.
//!
//! Input: nodes that die, report themselves unhealthy, are excluded or come back. Output: new
//! connections go to healthy nodes; established ones on other nodes go on (S4); with no node left
//! the address stays announced (S3: doubt holds).
//! On the wire: probes to kube-proxy's health port and to NodePorts, from the edge host.

use std::time::Duration;

use anyhow::{Result, ensure};
use roadstead_lab::{
    Load,
    edge::{ServiceYaml, endpoint_slice_yaml},
    eventually, throughout,
};
use roadstead_scenarios::{Both, World, ask, both::Loads, scenario, world::SOON};

const ALL: [&str; 3] = ["node1", "node2", "node3"];

/// `web`, served by every node at both of its addresses.
fn serve(world: &World) -> Result<Both> {
    let web = ServiceYaml::new("web").tcp(80, 30000).dual();
    let web = world.serve_both("web", &web, 80)?;
    world.wait_healthy("default/web")?;
    Ok(web)
}

/// Forty connections to each address that go on asking.
fn keep_asking(world: &World, web: Both) -> Result<Loads> {
    web.load(world, |to| Load::keep_alive(to, 40).rate(200))
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
            let web = serve(world)?;
            world.nodes[1].die()?;
            wait_state(world, "node2", "unhealthy")?;
            web.spread_over(world, &["node1", "node3"])?;
            world.nodes[1].revive()?;
            wait_state(world, "node2", "healthy")?;
            web.spread_over(world, &ALL)
        },
    )
}

#[test]
fn connections_on_other_nodes_do_not_notice() -> Result<()> {
    scenario(
        || World::routed("health-others"),
        |world| {
            let web = serve(world)?;
            world.nodes[1].report_healthy(false)?;
            wait_state(world, "node2", "unhealthy")?;
            let running = keep_asking(world, web)?;
            world.nodes[1].report_healthy(true)?;
            wait_state(world, "node2", "healthy")?;
            world.nodes[1].die()?;
            wait_state(world, "node2", "unhealthy")?;
            running.all_answered()
        },
    )
}

#[test]
fn a_node_whose_kube_proxy_says_no_gets_nothing_new_and_keeps_what_it_has() -> Result<()> {
    scenario(
        || World::routed("health-kube-proxy"),
        |world| {
            let web = serve(world)?;
            let running = keep_asking(world, web)?;
            world.nodes[0].report_healthy(false)?;
            wait_state(world, "node1", "unhealthy")?;
            web.spread_over(world, &["node2", "node3"])?;
            for kept in running.finish()? {
                kept.all_answered()?;
                kept.spread_over(&ALL)?;
            }
            Ok(())
        },
    )
}

#[test]
fn an_excluded_node_and_a_deleted_one_get_nothing() -> Result<()> {
    scenario(
        || World::routed("health-excluded"),
        |world| {
            let web = serve(world)?;
            let yaml = std::fs::read_to_string(world.edge.manifests.dir().join("node1.yaml"))?;
            let label = "name: node1\n  labels: {node.kubernetes.io/exclude-from-external-load-balancers: \"\"}";
            world.edge.manifests.write("node1", &yaml.replacen("name: node1", label, 1))?;
            eventually("node1 gets nothing", SOON, || web.spread_over(world, &["node2", "node3"]))?;
            world.edge.manifests.delete("node2")?;
            eventually("node2 gets nothing", SOON, || web.spread_over(world, &["node3"]))
        },
    )
}

#[test]
fn with_every_node_dead_the_address_stays_announced() -> Result<()> {
    scenario(
        || World::routed("health-none"),
        |world| {
            let web = serve(world)?;
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
            throughout("both are announced", Duration::from_secs(1), || {
                for vip in web.addresses() {
                    let mac = ask::who_has(world.near()?, vip)?;
                    ensure!(mac.is_some(), "nobody answers for {vip}");
                }
                Ok(())
            })?;
            for node in &mut world.nodes {
                node.revive()?;
            }
            world.wait_healthy("default/web")?;
            web.spread_over(world, &ALL)
        },
    )
}

/// The slices of `web`, one per family: a pod on node1.
fn slices(ready: bool) -> Result<String> {
    let of = |address: &str| endpoint_slice_yaml("web", &[(address.parse()?, "node1", ready)]);
    Ok([of("198.18.0.1")?, of("2001:db8:4::1")?].join("\n---\n"))
}

#[test]
fn ready_endpoints_gone_is_knowledge_and_withdraws() -> Result<()> {
    scenario(
        || World::routed("health-endpoints"),
        |world| {
            world.edge.manifests.write("slices", &slices(true)?)?;
            let web = serve(world)?;
            web.spread_over(world, &ALL)?;
            world.edge.manifests.write("slices", &slices(false)?)?;
            eventually("silence", SOON, || web.resolve_to_nobody(world.near()?))?;
            world.edge.manifests.write("slices", &slices(true)?)?;
            let again = world.both_of("web", 80)?;
            ensure!(again == web, "the addresses changed to {again:?}");
            again.answer(world.client()?)
        },
    )
}
