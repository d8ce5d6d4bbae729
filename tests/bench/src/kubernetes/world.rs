//! A control plane, two kube-proxies that stand for hundreds of nodes, thousands of Services.
//!
//! ```text
//! client ── front ── edge ── back ─┬─ plane   etcd, kube-apiserver, kube-controller-manager
//!           198.18.128.0/17        ├─ node1   kube-proxy: every other node's address
//!                                  └─ node2   kube-proxy: the rest
//! ```
//!
//! kube-proxy takes 150 MB, so that each of the two has the addresses of half of the Nodes
//! (`--nodeport-addresses`): every NodePort of every Node is answered by a real kube-proxy, and by
//! the one pod of its namespace or of the other's.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use roadstead_lab::{
    Edge, Host, Lab, Topology,
    edge::DaemonName,
    eventually,
    kube::{
        Api, Cluster, Flags, Pod,
        api::{Answered, Request},
        objects, plane,
        rights::Admission,
    },
};
use serde_json::json;

use super::audit::Audit;
use crate::scale::{memory, socket};

/// Where VIPs come from, in their order.
const POOL: &str = "[[pool]]\nname = \"bench\"\naddresses = [\"198.18.128.1-198.18.191.254\"]\n";
/// The label of the pods of every Service.
const APP: &str = "bench";
/// Real kube-proxies.
const PROXIES: u8 = 2;
/// The first NodePort, and the last that there may be.
const NODE_PORTS: (u16, u16) = (20_000, 29_999);
/// Within what everything is served and announced: tens of thousands of requests at 200 a second, and
/// all of it on two cores.
pub(crate) const SERVED: Duration = Duration::from_secs(600);
/// For how long the machine is watched to see whether it rests.
const LOOK: Duration = Duration::from_secs(1);

/// A cluster and the daemons outside of it.
#[derive(Debug)]
pub(crate) struct World {
    // In the order of their end.
    pub(crate) edge: Edge,
    _pods: Vec<Pod>,
    pub(crate) cluster: Cluster,
    api: Api,
    pub(crate) audit: Audit,
    lab: Lab,
    /// Services that were created.
    pub(crate) services: u16,
    /// Nodes, those with a kube-proxy among them.
    nodes: u16,
}

impl World {
    /// The cluster with its two nodes and no Service, room for `most` Nodes; the daemons do not run.
    pub(crate) fn build(most: u16) -> Result<Self> {
        let lab = topology().build("bench-kubernetes")?;
        for number in 1..=PROXIES {
            take_addresses(lab.node(number)?, number, most)?;
        }
        let audit = Audit::prepare(lab.dir())?;
        let cluster = Cluster::start_with(&lab, PROXIES, flags(&audit))
            .inspect_err(|_| println!("{}", lab.explain_failure()))?;
        let run = |node: u8| cluster.run_pod(&lab, node, &format!("{APP}-{node}"), &[("app", APP)]);
        let pods = (1..=PROXIES).map(run).collect::<Result<_>>()?;
        let mut edge = Edge::prepare(&lab, POOL)?;
        edge.log_sparsely();
        let files = edge.state().with_file_name("kubeconfigs");
        let admitted = Admission::new("bench", &files).run(cluster.plane())?;
        edge.configure(&(admitted.toml() + POOL))?;
        let (api, nodes) = (cluster.plane().api()?, u16::from(PROXIES));
        Ok(Self { edge, _pods: pods, cluster, api, audit, lab, services: 0, nodes })
    }

    /// Adds Nodes until there are so many.
    pub(crate) fn grow_nodes(&mut self, count: u16) -> Result<()> {
        let node = |number| {
            let object = objects::node(&format!("node-{number}"), &[node_address(number)], &[]);
            Request::create("/api/v1/nodes", object)
        };
        self.api.send_all((self.nodes..count).map(node).collect())?;
        self.nodes = count;
        Ok(())
    }

    /// Creates Services until there are so many, and waits until every kube-proxy has the last.
    pub(crate) fn grow_services(&mut self, count: u16) -> Result<()> {
        self.create(count)?;
        eventually("an EndpointSlice for each Service", SERVED, || {
            let list = self.api.get("/apis/discovery.k8s.io/v1/endpointslices?limit=1")?;
            let left = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
            ensure!(left >= u64::from(count), "{left} so far");
            Ok(())
        })?;
        let last = count.saturating_sub(1);
        for to in self.node_ports(last)? {
            eventually("the last NodePort", SERVED, || self.answers(to))?;
        }
        Ok(())
    }

    /// Creates Services until there are so many, many at once. Returns when the first was asked for.
    pub(crate) fn create(&mut self, count: u16) -> Result<Instant> {
        let began = Instant::now();
        self.api.send_all((self.services..count).map(service).collect())?;
        self.services = count;
        Ok(began)
    }

    /// Creates one more Service.
    pub(crate) fn create_one(&mut self) -> Result<Answered> {
        let answered = self.api.send(service(self.services))?;
        self.services += 1;
        Ok(answered)
    }

    /// A question from beside the nodes.
    fn answers(&self, to: SocketAddr) -> Result<()> {
        let asked = self.asker().namespace().enter(|| super::ask::request(to));
        asked.with_context(|| to.to_string())
    }

    /// The host that asks at NodePorts.
    pub(crate) fn asker(&self) -> &Host {
        self.cluster.plane().host()
    }

    /// The client.
    pub(crate) fn client(&self) -> Result<&Host> {
        self.lab.client()
    }

    /// Where a Service is asked through the daemons, the Services counted from 0 as they come.
    pub(crate) fn vip(&self, service: u16) -> SocketAddr {
        let [high, low] = (service + 1).to_be_bytes();
        SocketAddr::new(Ipv4Addr::new(198, 18, 128 + high, low).into(), 80)
    }

    /// Where a Service is asked at each real kube-proxy.
    pub(crate) fn node_ports(&self, service: u16) -> Result<Vec<SocketAddr>> {
        let port = node_port(service);
        let node = |number| Ok(SocketAddr::new(self.lab.node(number)?.v4()?.into(), port));
        (1..=PROXIES).map(node).collect()
    }

    /// Starts both daemons.
    pub(crate) fn start_daemons(&mut self) -> Result<()> {
        DaemonName::ALL.iter().try_for_each(|daemon| self.edge.start_daemon(*daemon))
    }

    /// Both daemons end, and the kernel forgets; `disk`: the disk too.
    pub(crate) fn forget(&mut self, disk: bool) -> Result<()> {
        DaemonName::ALL.iter().for_each(|daemon| self.edge.stop_daemon(*daemon));
        let mut gone = vec![self.edge.bpffs().join("router")];
        if disk {
            gone.extend(DaemonName::ALL.map(|daemon| self.edge.state().join(daemon.as_str())));
        }
        for dir in gone.iter().filter(|dir| dir.exists()) {
            fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
        Ok(())
    }

    /// Waits until the router reports each Service announced; when each stage was reached.
    pub(crate) fn wait_served(&self) -> Result<socket::Stages> {
        let socket = self.edge.runtime().join("router/local.sock");
        socket::follow(&socket, usize::from(self.services), Instant::now() + SERVED)
    }

    /// Keeps logs and status; says where.
    pub(crate) fn explain_failure(&self) -> String {
        self.edge.dump();
        self.lab.explain_failure()
    }

    /// Waits until the whole machine rests: less than a third of a core is used by the daemons and
    /// by the control plane.
    pub(crate) fn settle(&self) -> Result<()> {
        eventually("the cluster and the daemons rest", SERVED, || {
            let before = self.work()?;
            thread::sleep(LOOK);
            let busy = self.work()?.saturating_sub(before);
            ensure!(busy < LOOK / 3, "they worked for {busy:?} of {LOOK:?}");
            Ok(())
        })
    }

    fn work(&self) -> Result<Duration> {
        let mut pids = self.cluster.plane().pids()?;
        for daemon in DaemonName::ALL {
            pids.push(self.edge.daemon(daemon)?.pid()?);
        }
        pids.into_iter().map(memory::work).sum()
    }

    /// The client knows where these Services' addresses are: what is measured is when they are
    /// served, and a thousand neighbours at once are more than the kernel's table has room for.
    pub(crate) fn fix_neighbours(&self, services: std::ops::Range<u16>) -> Result<()> {
        let mac = self.lab.edge()?.leg("eth0")?.mac;
        let mut batch = String::new();
        for vip in services.map(|service| self.vip(service).ip()) {
            writeln!(batch, "neigh replace {vip} lladdr {mac} dev eth0 nud permanent")?;
        }
        self.lab.client()?.feed(&["ip", "-batch", "-"], &batch).map(drop)
    }
}

/// Every other address of the Nodes that have no namespace of their own.
fn take_addresses(host: &Host, number: u8, most: u16) -> Result<()> {
    let mut batch = String::new();
    for node in (0..most).filter(|node| node % u16::from(PROXIES) == u16::from(number - 1)) {
        writeln!(batch, "addr add {}/18 dev eth0", node_address(node))?;
    }
    host.feed(&["ip", "-batch", "-"], &batch).map(drop)
}

/// 198.18.64.1 and following.
fn node_address(node: u16) -> IpAddr {
    let [high, low] = (node + 1).to_be_bytes();
    Ipv4Addr::new(198, 18, 64 + high, low).into()
}

fn node_port(service: u16) -> u16 {
    NODE_PORTS.0 + service
}

fn service(number: u16) -> Request {
    let object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": format!("service-{number}"), "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": APP},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": node_port(number)}],
        },
    });
    Request::create("/api/v1/namespaces/default/services", object)
}

/// The controllers may ask as much as they like: by default they take 20 requests a second, so that
/// the EndpointSlices of a thousand Services take a minute.
fn flags(audit: &Audit) -> Flags {
    let (first, last) = NODE_PORTS;
    let mut api = vec![format!("--service-node-port-range={first}-{last}")];
    api.extend(audit.flags());
    let controllers = ["--kube-api-qps=2000", "--kube-api-burst=2000"];
    let proxy = "--nodeport-addresses=203.0.113.0/24,198.18.64.0/18";
    Flags { api, controllers: controllers.map(str::to_owned).into(), proxy: vec![proxy.to_owned()] }
}

fn topology() -> Topology {
    let mut plan = Topology::new();
    let _ = plan.host("client").leg("front", ["198.18.255.3/17"]);
    let back = ["203.0.113.2/24", "198.18.127.254/18", "2001:db8:3::2/64"];
    let _ = plan.host("edge").leg("front", ["198.18.255.2/17"]).leg("back", back);
    for number in 1..=PROXIES {
        let v4 = format!("203.0.113.{}/24", 100 + number);
        let v6 = format!("2001:db8:3::1:{number}/64");
        let _ = plan.host(&format!("node{number}")).leg("back", [v4, v6]);
    }
    plane::add_to(&mut plan);
    plan
}
