//! The steps that create something and look at it.

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use roadstead_lab::{
    Load, eventually,
    kube::{Api, Identity},
};
use serde_json::Value;

use super::{super::table, Demo};
use crate::{ask, world::SOON};

/// What somebody who runs MetalLB has.
const MANIFEST: &str = include_str!("../../../../demo/metallb.yaml");

/// Requests of each client in a table.
const REQUESTS: u64 = 300;
/// Requests per second while counting.
const RATE: u32 = 300;
/// Pods of the Deployment.
const REPLICAS: usize = 4;

/// What each daemon may do: the answers of the API server itself.
const QUESTIONS: [(&str, Identity, bool); 5] = [
    ("patch services --subresource=status", Identity::Speaker, true),
    ("patch services --subresource=status", Identity::Router, false),
    ("update services", Identity::Speaker, false),
    ("get secrets", Identity::Speaker, false),
    ("list nodes", Identity::Router, true),
];

/// Asks RBAC.
pub(super) fn rights(demo: &mut Demo) -> Result<String> {
    for (what, who, wanted) in QUESTIONS {
        let line = format!("auth can-i {what} -A --as={}", who.user());
        let name = if who == Identity::Speaker { "speaker" } else { "router" };
        let output = demo.kubectl.output(&line.split_whitespace().collect::<Vec<_>>())?;
        let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        println!("    may the {name:<7} {what:<36} {answer}");
        ensure!((answer == "yes") == wanted, "the {name} may {what}: {answer}");
    }
    Ok("as etc/kubernetes says".to_owned())
}

/// A Deployment is exposed: how long until the address answers.
pub(super) fn expose(demo: &mut Demo) -> Result<String> {
    demo.kubectl(&format!("create deployment web --image=example.org/web --replicas={REPLICAS}"))?;
    demo.roll_out()?;
    demo.kubectl("get pods -o wide")?;
    demo.kubectl("expose deployment web --type=LoadBalancer --port=80 --target-port=8080")?;
    let created = Instant::now();
    let service = demo.kubectl.get(&["service", "web"])?;
    let (vip, node_port) = thread::scope(|scope| {
        let node_port = scope.spawn(|| at_node_port(demo, &service, created));
        (at_vip(demo, created), node_port.join())
    });
    let (to, vip) = vip?;
    let node_port = node_port.map_err(|_| anyhow!("the thread at the NodePort panicked"))??;
    let (vip, node_port) = (vip.as_millis(), node_port.as_millis());
    println!("    the NodePort answered after {node_port} ms: kube-proxy's part");
    println!("    {to} answered after {vip} ms");
    Ok(format!("answered {vip} ms after kubectl, the NodePort {node_port} ms"))
}

/// The address, and when it first answered the client behind the router.
fn at_vip(demo: &Demo, since: Instant) -> Result<(SocketAddr, Duration)> {
    let addresses = demo.edge.wait_announced("default/web", SOON)?;
    let to = SocketAddr::new(*addresses.first().context("no address")?, 80);
    Ok((to, ask::time_until_answered(demo.lab.client()?, to, since, SOON)?))
}

/// When the NodePort of the first node first answered.
fn at_node_port(demo: &Demo, service: &Value, since: Instant) -> Result<Duration> {
    let port = service["spec"]["ports"][0]["nodePort"].as_u64().context("a nodePort")?;
    let node = IpAddr::from(demo.cluster.node(1)?.host().v4()?);
    let to = SocketAddr::new(node, u16::try_from(port)?);
    ask::time_until_answered(demo.cluster.plane().host(), to, since, SOON)
}

/// `kubectl get` and `kubectl describe`: the address in the status, the Events.
pub(super) fn told(demo: &mut Demo) -> Result<String> {
    let vip = demo.vip(true)?;
    eventually("the address is in the Service's status", SOON, || {
        let service = demo.kubectl.get(&["service", "web"])?;
        let ingress = &service["status"]["loadBalancer"]["ingress"];
        ensure!(ingress[0]["ip"] == vip.to_string(), "the status says {ingress}");
        Ok(())
    })?;
    eventually("the last Event is there", SOON, || {
        let description = demo.kubectl.run(&["describe", "service", "web"])?;
        ensure!(description.contains(&format!("{vip} is announced")), "{description}");
        Ok(())
    })?;
    demo.kubectl("get service web")?;
    demo.kubectl("describe service web")?;
    Ok(format!("{vip} in the status, and Events"))
}

/// Both clients ask; the answers by pod as a table. Every pod must have its share.
pub(super) fn spread(demo: &mut Demo) -> Result<String> {
    spread_at(demo, SocketAddr::new(demo.vip(true)?, 80))
}

/// The Service asks for both families: it keeps its address and gets another.
pub(super) fn both_families(demo: &mut Demo) -> Result<String> {
    let before = demo.vip(true)?;
    let patch = r#"{"spec":{"ipFamilyPolicy":"RequireDualStack"}}"#;
    demo.kubectl(&format!("patch service web --type=merge -p {patch}"))?;
    let asked = Instant::now();
    let vip = eventually("an IPv6 address", SOON, || demo.vip(false))?;
    let to = SocketAddr::new(vip, 80);
    let took = ask::time_until_answered(demo.lab.client()?, to, asked, SOON)?.as_millis();
    println!("    {to} answered after {took} ms");
    ensure!(demo.vip(true)? == before, "the IPv4 address has changed");
    spread_at(demo, to)?;
    Ok(format!("answered after {took} ms, the IPv4 address is the same"))
}

/// A pool, its announcement and a Service, in the manifest that its user has.
pub(super) fn metallb(demo: &mut Demo) -> Result<String> {
    println!("  $ kubectl apply -f tests/demo/metallb.yaml");
    let applied = Instant::now();
    demo.kubectl.apply(MANIFEST)?;
    let addresses = demo.edge.wait_announced("default/shop", SOON)?;
    let to = SocketAddr::new(*addresses.first().context("no address")?, 80);
    let took = ask::time_until_answered(demo.lab.client()?, to, applied, SOON)?.as_millis();
    println!("    {to} answered {took} ms after kubectl was called");
    demo.kubectl("get ipaddresspools,l2advertisements -n metallb-system")?;
    demo.kubectl("get service shop")?;
    let of_the_pool = (70..=79).map(|last| IpAddr::from([192, 0, 2, last]));
    ensure!(of_the_pool.into_iter().any(|ip| ip == to.ip()), "{to} is none of its pool");
    spread_at(demo, to)?;
    Ok(format!("{} from its IPAddressPool answered after {took} ms", to.ip()))
}

fn spread_at(demo: &Demo, to: SocketAddr) -> Result<String> {
    let pods = demo.kubelet.pods();
    let mut rows = Vec::new();
    for host in [demo.lab.client()?, demo.lab.near()?] {
        let load = Load::connect(to).rate(RATE).count(REQUESTS);
        let report = load.run(host, &demo.lab.logs())?;
        report.all_answered()?;
        report.spread_over(&pods)?;
        rows.push((format!("{} -> {to}", host.name()), report.by_node));
    }
    println!("{}", table::counts("new connections", &rows));
    Ok(format!("{} requests, none lost, over {} pods", 2 * REQUESTS, pods.len()))
}

/// Whether every pod of the Deployment is of its last template and ready, and no other is left.
pub(super) fn is_rolled_out(api: &Api) -> Result<()> {
    let web = api.get("/apis/apps/v1/namespaces/default/deployments/web")?;
    let (spec, status) = (&web["spec"], &web["status"]);
    let wanted = &spec["replicas"];
    let is_seen = status["observedGeneration"] == web["metadata"]["generation"];
    let counts = ["replicas", "updatedReplicas", "availableReplicas"];
    let is_there = counts.iter().all(|count| status[count] == *wanted);
    ensure!(is_seen && is_there, "its status: {status}");
    let pods = api.get("/api/v1/namespaces/default/pods")?;
    let count = pods["items"].as_array().context("a list of pods")?.len();
    ensure!(*wanted == count, "there are {count} pods, wanted are {wanted}");
    Ok(())
}
