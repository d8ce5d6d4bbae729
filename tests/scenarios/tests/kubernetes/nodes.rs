//! Kubernetes' nodes as they are: client → VIP → edge host → kube-proxy → pod, with both daemons fed
//! by the API server alone.
//!
//! One cluster of two nodes, with a third host that may become one, for all of these tests: those
//! that make Services of their own names run beside each other ([`on_nodes`]), those that do
//! something to a node have it to themselves ([`with_nodes`]).

mod affinity;
mod both_hops;
mod comes_and_goes;
mod dead;
mod drained;
mod excluded;
mod iptables;
mod local;
mod pod_clients;
mod policies;
mod rolling_update;
mod types;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use roadstead_lab::{
    Edge, Host, Lab, Load,
    edge::DaemonName,
    eventually,
    http::Answer,
    kube::{Admission, Cluster, Kubectl, Pod, Shared, pod},
    load::Running,
};
use roadstead_scenarios::{
    Both, ask,
    world::{beside_nobody, beside_others},
};
use serde_json::{Value, json};

use super::explained;

const SOON: Duration = Duration::from_secs(30);

/// Probes that bear with a kube-proxy on a busy machine: what is counted here is what is lost.
const CONFIG: &str = "[[pool]]\nname = \"lan\"\n\
    addresses = [\"192.0.2.10-192.0.2.50\", \"2001:db8:1::100/120\"]\n\n\
    [router.health]\ninterval = \"1s\"\ntimeout = \"1s\"\nslow_start = \"0s\"\n";

/// A cluster that the daemons of the edge host watch.
struct Nodes {
    // In the order of their end.
    edge: Edge,
    cluster: Cluster,
    lab: Lab,
}

static NODES: Shared<RwLock<Nodes>> = Shared::new();

fn joined() -> Result<Arc<RwLock<Nodes>>> {
    NODES.join(|| Ok(RwLock::new(Nodes::start()?)))
}

/// Runs a test beside others: it does nothing to nodes, and its Services have names of their own.
fn on_nodes(test: impl FnOnce(&Nodes) -> Result<()>) -> Result<()> {
    let _turn = beside_others();
    let nodes = joined()?;
    let nodes = nodes.read().unwrap_or_else(PoisonError::into_inner);
    nodes.explain(test(&nodes))
}

/// Runs a test that does something to nodes; they are as before when it is over.
fn with_nodes(test: impl FnOnce(&Nodes) -> Result<()>) -> Result<()> {
    let _turn = beside_others();
    let nodes = joined()?;
    let nodes = nodes.write().unwrap_or_else(PoisonError::into_inner);
    let outcome = nodes.explain(test(&nodes));
    nodes.as_before().context("the nodes are not as they were before")?;
    outcome
}

/// Runs a test while no other scenario runs: kube-proxy has its time in it.
fn on_nodes_alone(test: impl FnOnce(&Nodes) -> Result<()>) -> Result<()> {
    // Kept over the change of turns: the cluster is not made anew for it.
    let nodes = {
        let _turn = beside_others();
        joined()?
    };
    let _turn = beside_nobody();
    let nodes = nodes.read().unwrap_or_else(PoisonError::into_inner);
    nodes.explain(test(&nodes))
}

impl Nodes {
    fn start() -> Result<Self> {
        let lab = Cluster::topology(3).build("kubernetes-nodes")?;
        let cluster = explained(&lab, Cluster::start(&lab, 2))?;
        let edge = Edge::prepare(&lab, CONFIG)?;
        let mut nodes = Self { edge, cluster, lab };
        nodes.let_daemons_in()?;
        for daemon in DaemonName::ALL {
            nodes.edge.start_daemon(daemon)?;
        }
        let ready = DaemonName::ALL.iter().try_for_each(|daemon| nodes.edge.wait_ready(*daemon));
        nodes.explain(ready)?;
        Ok(nodes)
    }

    /// The daemons with the rights that users give them, and no other.
    fn let_daemons_in(&self) -> Result<()> {
        let admitted = Admission::new("home", &self.edge.state()).run(self.cluster.plane())?;
        self.edge.configure(&(admitted.toml() + CONFIG))
    }

    fn explain(&self, outcome: Result<()>) -> Result<()> {
        if outcome.is_err() {
            self.edge.dump();
        }
        explained(&self.lab, outcome)
    }

    /// Takes back what a test did to the nodes.
    fn as_before(&self) -> Result<()> {
        let kubectl = self.kubectl()?;
        kubectl.run(&["delete", "node", "node3", "--ignore-not-found"])?;
        self.lab.node(3)?.run(&["nft", "flush", "ruleset"])?;
        let plain = json!({
            "metadata": {"labels": {EXCLUDE: null}},
            "spec": {"unschedulable": null, "taints": null},
        });
        for node in ["node1", "node2"] {
            kubectl.run(&["patch", "node", node, "--type=merge", "-p", &plain.to_string()])?;
            self.say_ready(node, true)?;
        }
        Ok(())
    }

    fn kubectl(&self) -> Result<Kubectl> {
        self.cluster.kubectl()
    }

    /// What the kubelet says of itself.
    fn say_ready(&self, node: &str, ready: bool) -> Result<()> {
        let status = if ready { "True" } else { "False" };
        let condition = json!({"type": "Ready", "status": status, "reason": "Lab"});
        let patch = json!({"status": {"conditions": [condition]}}).to_string();
        let how = ["--subresource=status", "--type=merge", "-p", &patch];
        self.kubectl()?.run(&[&["patch", "node", node], &how[..]].concat()).map(drop)
    }

    fn client(&self) -> Result<&Host> {
        self.lab.client()
    }

    /// A ready pod on a node with the label `app`.
    fn pod(&self, node: u8, name: &str, app: &str) -> Result<Pod> {
        self.cluster.run_pod(&self.lab, node, name, &[("app", app)])
    }

    /// Begins the end of a pod: its preStop hook runs, and its process serves until it is killed.
    fn terminate(&self, pod: &str) -> Result<()> {
        let how = ["--wait=false", "--grace-period=30"];
        self.kubectl()?.run(&[&["delete", "pod", pod], &how[..]].concat()).map(drop)
    }

    /// The process ends, and the kubelet says so.
    fn end(&self, mut pod: Pod) -> Result<()> {
        pod.kill()?;
        self.kubectl()?.delete(&[&format!("pod/{}", pod.name())])
    }

    /// A dual-stack Service of one TCP port, 80, with a ready pod on each of these nodes.
    fn serve(&self, name: &str, on: &[u8]) -> Result<App<'_>> {
        self.serve_as(&service(name), on)
    }

    /// A Service as it is said, with a ready pod on each of these nodes.
    fn serve_as(&self, service: &Value, on: &[u8]) -> Result<App<'_>> {
        let name = service["metadata"]["name"].as_str().context("a name")?.to_owned();
        self.kubectl()?.apply(&service.to_string())?;
        let run = |(number, node): (usize, &u8)| {
            self.pod(*node, &format!("{name}-{}", number + 1), &name)
        };
        let pods = on.iter().enumerate().map(run).collect::<Result<Vec<_>>>()?;
        let at = Both::new(self.edge.wait_announced(&format!("default/{name}"), SOON)?, 80)?;
        Ok(App { nodes: self, name, pods, at })
    }
}

const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// A dual-stack Service with TCP port 80.
fn service(name: &str) -> Value {
    roadstead_lab::kube::objects::service(name, "LoadBalancer", 80, pod::PORT)
}

/// A Service with its pods.
struct App<'n> {
    nodes: &'n Nodes,
    name: String,
    pods: Vec<Pod>,
    at: Both,
}

impl App<'_> {
    /// `namespace/name`.
    fn key(&self) -> String {
        format!("default/{}", self.name)
    }

    /// Changes fields of the Service by a merge patch.
    fn patch(&self, fields: &Value) -> Result<()> {
        let patch = fields.to_string();
        let how = ["--type=merge", "-p", &patch];
        self.nodes.kubectl()?.run(&[&["patch", "service", &self.name], &how[..]].concat()).map(drop)
    }

    /// New connections to both addresses go to each of these nodes, and to no other.
    fn first_hops(&self, wanted: &[u8]) -> Result<()> {
        let wanted: BTreeSet<u8> = wanted.iter().copied().collect();
        let what = format!("{} is answered by way of {wanted:?}", self.name);
        eventually(&what, SOON, || {
            self.at.into_iter().try_for_each(|to| {
                let hops = hops(self.nodes.client()?, to)?;
                ensure!(hops == wanted, "{to} is answered by way of {hops:?}");
                Ok(())
            })
        })
    }

    /// New connections to both addresses are answered by each of these pods, and by no other.
    fn answered_by(&self, wanted: &[&str]) -> Result<()> {
        let wanted: BTreeSet<String> = wanted.iter().map(|pod| (*pod).to_owned()).collect();
        eventually(&format!("{} is answered by {wanted:?}", self.name), SOON, || {
            self.at.into_iter().try_for_each(|to| {
                let pods = pods(self.nodes.client()?, to)?;
                ensure!(pods == wanted, "{to} is answered by {pods:?}");
                Ok(())
            })
        })
    }

    /// Long connections of the far client to both addresses, which go on asking.
    fn keep_asking(&self) -> Result<Loaded> {
        self.load(|to| Load::keep_alive(to, 20).rate(100))
    }

    /// A load of the far client on both addresses.
    fn load(&self, load: impl Fn(SocketAddr) -> Load) -> Result<Loaded> {
        let logs = self.nodes.lab.logs();
        let start = |to| load(to).start(self.nodes.client()?, &logs);
        Ok(Loaded(self.at.into_iter().map(start).collect::<Result<_>>()?))
    }

    /// The Service and its pods are deleted.
    fn end(self) -> Result<()> {
        let pods = self.pods.iter().map(|pod| format!("pod/{}", pod.name()));
        let all: Vec<String> = pods.chain([format!("service/{}", self.name)]).collect();
        self.nodes.kubectl()?.delete(&all.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// Loads on the addresses of a Service.
struct Loaded(Vec<Running>);

impl Loaded {
    /// Stops them: every request was answered, and every connection stayed with its pod.
    fn all_answered(self) -> Result<()> {
        self.0.into_iter().try_for_each(|running| running.finish()?.all_answered())
    }
}

/// How many questions tell who answers: that one of two is missed by all of them happens once in a
/// million times.
const QUESTIONS: usize = 20;

fn answers(from: &Host, to: SocketAddr) -> impl Iterator<Item = Result<Answer>> {
    (0..QUESTIONS).map(move |_| ask::tcp(from, to))
}

/// The pods that answer new connections.
fn pods(from: &Host, to: SocketAddr) -> Result<BTreeSet<String>> {
    answers(from, to).map(|answer| Ok(answer?.node)).collect()
}

/// The nodes whose kube-proxy passes new connections on: it puts its node's address in place of the
/// client's, that of the node's leg or that of the pod's gateway.
fn hops(from: &Host, to: SocketAddr) -> Result<BTreeSet<u8>> {
    answers(from, to).map(|answer| first_hop(&answer?)).collect()
}

fn first_hop(answer: &Answer) -> Result<u8> {
    let client: SocketAddr = answer.client.parse()?;
    let node = match client.ip() {
        IpAddr::V4(v4) => match v4.octets() {
            [203, 0, 113, last] => last.checked_sub(100),
            [198, 18, node, _] => Some(node),
            _ => None,
        },
        IpAddr::V6(v6) => match v6.segments() {
            [0x2001, 0xdb8, 3, .., 1, node] | [0x2001, 0xdb8, 0xf, node, ..] => {
                u8::try_from(node).ok()
            }
            _ => None,
        },
    };
    let Some(node) = node else { bail!("{answer:?} came by no node") };
    Ok(node)
}
