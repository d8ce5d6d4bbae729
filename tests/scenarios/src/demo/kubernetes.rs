//! The demo over a cluster: a real control plane, kube-proxies on the nodes, kubectl as its user
//! has it.

mod changes;
mod exposing;

use std::{net::IpAddr, time::Instant};

use anyhow::{Result, anyhow};
use roadstead_lab::{
    Edge, Lab, Topology,
    edge::DaemonName,
    eventually,
    kube::{Cluster, Kubectl, Kubelet, rights::Admission},
};

use super::show::{self, Show, Step};
use crate::world::SOON;

/// Nodes, each with a kube-proxy of its own.
const NODES: u8 = 2;
/// What the source is called.
const SOURCE: &str = "home";
/// The pool.
const POOLS: &str = include_str!("../../../demo/kubernetes.toml");

/// MetalLB's definitions of its objects.
const METALLB: &str = include_str!("../../../kube/metallb.yaml");

const PICTURE: &str = "
     client ---- router ----+---- edge ----+---- node1   kube-proxy and pods
  198.51.100.10             |   speaker    +---- node2   kube-proxy and pods
                   near ----+   router     +---- plane   etcd, kube-apiserver,
                192.0.2.3     192.0.2.2                  kube-controller-manager
";

/// In the order of the show.
const STEPS: &[(&str, Step<Demo>)] = &[
    ("the daemons have the rights they need, and no others", exposing::rights),
    ("kubectl expose: an address, and it answers", exposing::expose),
    ("kubectl tells what happened", exposing::told),
    ("requests are spread over the pods", exposing::spread),
    ("IPv6 added to the Service", exposing::both_families),
    ("MetalLB's objects, as they are", exposing::metallb),
    ("a rolling update under load", changes::rolling_update),
    ("the API server dies, both daemons are killed meanwhile", changes::outage),
    ("kubectl delete service: silent, then gone", changes::delete),
];

/// Two clients, a router, an edge host, nodes, the host of the control plane.
pub fn topology() -> Topology {
    Cluster::topology(NODES)
}

/// The network, the cluster and what has been shown so far.
#[derive(Debug)]
pub struct Demo {
    // In the order of their end.
    edge: Edge,
    kubelet: Kubelet,
    kubectl: Kubectl,
    cluster: Cluster,
    lab: Lab,
    began: Instant,
}

impl Demo {
    /// Builds the network and the cluster, starts the daemons and waits until they are ready.
    pub fn build(topology: &Topology) -> Result<Self> {
        let began = Instant::now();
        println!("Roadstead: the load balancer of a cluster that it stands outside of\n{PICTURE}");
        let lab = topology.build("demo-kubernetes")?;
        let built = Self::in_lab(lab, began)?;
        Ok(built)
    }

    fn in_lab(lab: Lab, began: Instant) -> Result<Self> {
        println!("  start etcd, kube-apiserver, kube-controller-manager, {NODES} kube-proxies");
        let cluster = Cluster::start(&lab, NODES).inspect_err(|_| {
            println!("{}", lab.explain_failure());
        })?;
        println!("  all of it is ready after {:.1} s", began.elapsed().as_secs_f32());
        let edge = Edge::prepare(&lab, POOLS)?;
        let (kubelet, kubectl) = (Kubelet::new(&cluster)?, cluster.kubectl()?);
        let mut demo = Self { edge, kubelet, kubectl, cluster, lab, began };
        demo.start_daemons()?;
        Ok(demo)
    }

    fn start_daemons(&mut self) -> Result<()> {
        println!("  MetalLB's definitions, without MetalLB");
        self.kubectl.apply(METALLB)?;
        self.kubectl.run(&["create", "namespace", "metallb-system"])?;
        println!("  roadstead kubeconfig: roles, and a kubeconfig with a token for each daemon");
        let admitted = Admission::new(SOURCE, &self.edge.state().with_file_name("kubeconfigs"))
            .run(self.cluster.plane())?;
        let source = admitted.toml();
        self.edge.configure(&format!("{}\nmetallb = true\n\n{POOLS}", source.trim_end()))?;
        for daemon in DaemonName::ALL {
            println!("  start roadstead-{} on the edge host", daemon.as_str());
            self.edge.start_daemon(daemon)?;
        }
        DaemonName::ALL.iter().try_for_each(|daemon| self.edge.wait_ready(*daemon))
    }

    /// Runs kubectl as its user sees it: the line, then what it says.
    fn kubectl(&self, line: &str) -> Result<String> {
        println!("  $ kubectl {line}");
        let said = self.kubectl.run(&line.split_whitespace().collect::<Vec<_>>())?;
        said.lines().for_each(|line| println!("    {line}"));
        Ok(said)
    }

    /// The address of `web` in one family.
    fn vip(&self, v4: bool) -> Result<IpAddr> {
        let status = self.edge.status()?;
        let found = status.service("default/web")?;
        let address = found.addresses.iter().find(|address| address.is_ipv4() == v4);
        address.copied().ok_or_else(|| anyhow!("web has no such address: {found:?}"))
    }

    /// Plays the kubelet until as many pods of `web` run as are wanted, each of the last template.
    fn roll_out(&mut self) -> Result<()> {
        eventually("web is rolled out", 4 * SOON, || {
            self.kubelet.sync(&self.lab, &self.cluster)?;
            exposing::is_rolled_out(&self.cluster.plane().api()?)
        })
    }
}

impl Show for Demo {
    fn prefix(&self) -> &str {
        self.lab.prefix()
    }

    fn play(&mut self) -> bool {
        let began = self.began;
        show::play(self, STEPS, began, |demo| {
            demo.edge.dump();
            demo.lab.explain_failure()
        })
    }

    fn leave_running(self) {
        let Self { edge, kubelet, kubectl, cluster, lab, .. } = self;
        let enter = format!("nsenter --net=/run/netns/{}-", lab.prefix());
        println!("\nEverything is left running. To look inside:\n{}", lab.how_to_look_inside());
        println!("  kubectl:              {enter}plane {}", kubectl.command_line());
        println!("  configuration:        {}", edge.config().display());
        println!("  logs:                 {}", lab.logs().display());
        println!(
            "  nobody plays the kubelet any more: pods that are there answer, new ones do not"
        );
        println!("  remove it all:        cargo xtask demo --remove");
        std::mem::forget((edge, kubelet, cluster));
        lab.leave_running();
    }
}
