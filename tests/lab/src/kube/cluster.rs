//! A control plane and its nodes in one lab.

use anyhow::{Result, anyhow};

use crate::{
    kube::{
        kubectl::Kubectl,
        node::{KubeNode, ProxyMode},
        objects::Labels,
        plane::{self, Plane},
        pod::Pod,
    },
    presets,
    topology::{Lab, Topology},
};

/// Further flags of the components; of two for the same thing the later one counts.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Of kube-apiserver.
    pub api: Vec<String>,
    /// Of kube-controller-manager.
    pub controllers: Vec<String>,
    /// Of every kube-proxy.
    pub proxy: Vec<String>,
}

/// A cluster of Kubernetes in a lab that it does not own: drop it before the lab.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<KubeNode>,
    plane: Plane,
}

impl Cluster {
    /// The routed network of [`presets`], with the host of a control plane.
    pub fn topology(nodes: u8) -> Topology {
        let mut topology = presets::routed(nodes);
        plane::add_to(&mut topology);
        topology
    }

    /// Starts the control plane and `nodes` nodes of a lab of [`Self::topology`], and waits until
    /// all of it works.
    pub fn start(lab: &Lab, nodes: u8) -> Result<Self> {
        Self::start_with(lab, nodes, Flags::default())
    }

    /// The same with further flags.
    pub fn start_with(lab: &Lab, nodes: u8, flags: Flags) -> Result<Self> {
        let mut plane = Plane::start_with(lab, flags)?;
        let started = (1..=nodes).map(|number| KubeNode::start(lab, &plane, number));
        let mut nodes = started.collect::<Result<Vec<_>>>()?;
        for node in &nodes {
            let others = nodes.iter().filter(|other| other.name() != node.name());
            others.into_iter().try_for_each(|other| node.reach_pods_of(other))?;
        }
        nodes.iter_mut().try_for_each(KubeNode::wait_until_ready)?;
        plane.wait_for_controllers()?;
        Ok(Self { nodes, plane })
    }

    /// The next node of the lab, prepared in this mode and the caller's: it and the others know the
    /// way to each other's pods, but it has no Node object ([`KubeNode::register`]) and no kube-proxy
    /// ([`KubeNode::start_proxy`]) yet.
    pub fn prepare_node(&self, lab: &Lab, mode: ProxyMode) -> Result<KubeNode> {
        let number = u8::try_from(self.nodes.len())? + 1;
        let node = KubeNode::prepare(lab, &self.plane, number, mode)?;
        for other in &self.nodes {
            node.reach_pods_of(other)?;
            other.reach_pods_of(&node)?;
        }
        Ok(node)
    }

    /// The control plane.
    pub fn plane(&self) -> &Plane {
        &self.plane
    }

    /// The control plane, to be ended and started again.
    pub fn plane_mut(&mut self) -> &mut Plane {
        &mut self.plane
    }

    /// The nodes.
    pub fn nodes(&self) -> &[KubeNode] {
        &self.nodes
    }

    /// kubectl as the test itself.
    pub fn kubectl(&self) -> Result<Kubectl> {
        self.plane.kubectl()
    }

    /// A node, counted from 1.
    pub fn node(&self, number: u8) -> Result<&KubeNode> {
        let index = usize::from(number).checked_sub(1);
        let node = index.and_then(|index| self.nodes.get(index));
        node.ok_or_else(|| anyhow!("the cluster has no node {number}"))
    }

    /// A node, to be ended and started again.
    pub fn node_mut(&mut self, number: u8) -> Result<&mut KubeNode> {
        let index = usize::from(number).checked_sub(1);
        let node = index.and_then(|index| self.nodes.get_mut(index));
        node.ok_or_else(|| anyhow!("the cluster has no node {number}"))
    }

    /// Runs a pod on a node: [`KubeNode::run_pod`].
    pub fn run_pod(&self, lab: &Lab, node: u8, name: &str, labels: Labels) -> Result<Pod> {
        self.node(node)?.run_pod(lab, &self.plane, name, labels)
    }
}
