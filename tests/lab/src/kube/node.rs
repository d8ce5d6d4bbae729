//! A node: its Node object, kube-proxy in its namespace, and its pods.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{
    host::Host,
    kube::{
        assets::component,
        https::{Get, Reply},
        identity::Identity,
        objects::{self, Labels},
        plane::Plane,
        pod::{Pod, PodNetworks},
    },
    process::{Process, Program},
    topology::Lab,
    wait::eventually,
};

/// kube-proxy's health port.
const HEALTH: u16 = 10256;
const READY: Duration = Duration::from_secs(60);

/// How kube-proxy tells the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    /// By nftables, the mode of the future.
    Nftables,
    /// By iptables, the default of Kubernetes; wants the package of that name.
    Iptables,
}

impl ProxyMode {
    /// The value of `--proxy-mode`.
    fn flag(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        }
    }
}

/// A node with a real kube-proxy. Dropped, kube-proxy is killed; what it wrote
/// into the kernel goes with the namespace.
#[derive(Debug)]
pub struct KubeNode {
    host: Host,
    networks: PodNetworks,
    pods: AtomicU8,
    program: Program,
    proxy: Option<Process>,
}

impl KubeNode {
    /// The `number`-th node of a lab, from 1: writes its Node object and starts kube-proxy in
    /// nftables mode, which comes up meanwhile: [`Self::wait_until_ready`].
    pub fn start(lab: &Lab, plane: &Plane, number: u8) -> Result<Self> {
        let mut node = Self::prepare(lab, plane, number, ProxyMode::Nftables)?;
        node.register(plane)?;
        node.start_proxy()?;
        Ok(node)
    }

    /// The same before it has joined its cluster: no Node object ([`Self::register`]), and no
    /// kube-proxy ([`Self::start_proxy`]).
    pub fn prepare(lab: &Lab, plane: &Plane, number: u8, mode: ProxyMode) -> Result<Self> {
        let host = lab.node(number)?.clone();
        let networks = PodNetworks { node: number };
        let forwarding = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
        forwarding.iter().try_for_each(|path| host.sysctl(path, "1"))?;
        let program = proxy(lab, plane, &host, mode)?;
        let (pods, proxy) = (AtomicU8::new(0), None);
        Ok(Self { host, networks, pods, program, proxy })
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its name, that of its Node object too.
    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// Writes the Node object, Ready and with the host's addresses.
    pub fn register(&self, plane: &Plane) -> Result<()> {
        let addresses: Vec<IpAddr> = self.host.addresses().collect();
        let node = objects::node(self.name(), &addresses, &self.networks.networks()?);
        plane.kubectl()?.apply_with_status(&node)
    }

    /// Routes to the pods of another node.
    pub fn reach_pods_of(&self, other: &Self) -> Result<()> {
        let [v4, v6] = other.networks.networks()?;
        let (via4, via6) = (other.host.v4()?, other.host.v6()?);
        self.host.ip(&format!("route replace {v4} via {via4}"))?;
        self.host.ip(&format!("route replace {v6} via {via6}")).map(drop)
    }

    /// Starts a pod that answers on [`super::pod::PORT`] with its name, and makes it known to the
    /// API as running and ready. The name is the lab's: no two nodes may use it at once.
    pub fn run_pod(&self, lab: &Lab, plane: &Plane, name: &str, labels: Labels) -> Result<Pod> {
        let pod = self.start_pod(lab, name)?;
        let known = objects::pod(name, self.name(), labels, &pod.addresses(), true);
        plane.kubectl()?.apply_with_status(&known)?;
        Ok(pod)
    }

    /// Starts a pod of which the API is told by somebody else.
    pub fn start_pod(&self, lab: &Lab, name: &str) -> Result<Pod> {
        let index = self.pods.fetch_add(1, Ordering::Relaxed);
        ensure!(index < 200, "{} has had 200 pods", self.name());
        Pod::start(lab, &self.host, self.networks, index, name)
    }

    /// Starts kube-proxy after [`Self::kill_proxy`].
    pub fn start_proxy(&mut self) -> Result<()> {
        self.proxy = Some(self.program.start(self.host.namespace())?);
        Ok(())
    }

    /// Leaves its cluster: the Node object is deleted, kube-proxy ends, and its rules are taken out.
    pub fn leave(&mut self, plane: &Plane) -> Result<()> {
        plane.kubectl()?.run(&["delete", "node", self.name(), "--ignore-not-found"])?;
        self.kill_proxy()?;
        self.host.run(&["nft", "flush", "ruleset"]).map(drop)
    }

    /// kube-proxy dies without a word; its rules stay in the kernel.
    pub fn kill_proxy(&mut self) -> Result<()> {
        self.proxy.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// What kube-proxy says about itself on its health port.
    pub fn healthz(&self) -> Result<Reply> {
        let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), HEALTH);
        Get { to, path: "/healthz", token: None, trust: None }.ask(&self.host)
    }

    /// Waits until kube-proxy has written its first rules.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let what = format!("kube-proxy of {}", self.name());
        eventually(&what, READY, || {
            let proxy = self.proxy.as_mut().ok_or_else(|| anyhow!("it was not started"))?;
            if let Some(status) = proxy.exited()? {
                return Ok(Err(anyhow!("{status}; it said: {}", proxy.stderr())));
            }
            match self.healthz()? {
                Reply { status: 200, .. } => Ok(Ok(())),
                Reply { status, body } => bail!("{status}: {body}"),
            }
        })?
        .context(what)
    }
}

/// kube-proxy of a node, with the conntrack's limits of the machine left alone.
fn proxy(lab: &Lab, plane: &Plane, host: &Host, mode: ProxyMode) -> Result<Program> {
    let kubeconfig = lab.dir().join(format!("{}.kubeconfig", host.name()));
    plane.kubeconfig(&Identity::Proxy.token())?.write(&kubeconfig)?;
    let name = format!("kube-proxy-{}", host.name());
    Ok(Program::new(&name, component("kube-proxy")?, &lab.logs())
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--hostname-override={}", host.name()))
        .arg(format!("--cluster-cidr={}", PodNetworks::ALL))
        .args([&format!("--proxy-mode={}", mode.flag()), "--conntrack-max-per-core=0"])
        .args(["--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0"])
        .args(plane.flags().proxy.clone()))
}

impl Drop for KubeNode {
    fn drop(&mut self) {
        drop(self.kill_proxy());
    }
}
