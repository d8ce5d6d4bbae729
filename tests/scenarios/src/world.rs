//! One network with running daemons, torn down in the right order; kept for a look after a failure.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use roadstead_lab::{
    Capture, Edge, Host, Lab, Load, Node, Topology,
    edge::{DaemonName, Port, ServiceYaml},
    presets::{self, POOL_V4, POOL_V6},
};

use crate::Both;

/// Within what a new Service is announced, on a loaded machine.
pub const SOON: Duration = Duration::from_secs(15);

/// A healthCheckNodePort: every node has one local endpoint but [`LONELY_NODE`].
pub const HEALTH_CHECK_PORT: u16 = 31990;
/// The node without a local endpoint.
pub const LONELY_NODE: &str = "node3";

/// The configuration of most scenarios: one pool, and probes fast enough for a test.
pub fn one_pool() -> String {
    format!(
        "[[pool]]\nname = \"lan\"\naddresses = [\"{POOL_V4}\", \"{POOL_V6}\"]\n\n\
         [router.health]\ninterval = \"300ms\"\ntimeout = \"250ms\"\nslow_start = \"0s\"\n"
    )
}

/// A network, the daemons on its edge host, its nodes.
#[derive(Debug)]
pub struct World {
    // In the order of their end: the daemons, the nodes, the network.
    /// The edge host.
    pub edge: Edge,
    /// The nodes, `node1` first.
    pub nodes: Vec<Node>,
    /// The network.
    pub lab: Lab,
}

impl World {
    /// The routed network with three nodes and [`one_pool`].
    pub fn routed(test: &str) -> Result<Self> {
        Self::build(&presets::routed(3), test, &one_pool())
    }

    /// The same with probes that bear with a node whose program stands still for two seconds, as it
    /// does on a busy machine: for scenarios that count every datagram. One that is taken for dead
    /// loses its UDP flows to others, and what it answers late has no way back.
    pub fn patient(test: &str) -> Result<Self> {
        let hurried = one_pool();
        let patient = hurried.replace("300ms", "1s").replace("250ms", "1s");
        Self::build(&presets::routed(3), test, &patient)
    }

    /// The one-leg network with three nodes and [`one_pool`].
    pub fn segment(test: &str) -> Result<Self> {
        Self::build(&presets::segment(3), test, &one_pool())
    }

    /// Any network: nodes are the hosts named `node…`. Daemons run when this returns.
    pub fn build(topology: &Topology, test: &str, toml: &str) -> Result<Self> {
        let mut world = Self::prepare(topology, test, toml)?;
        if let Err(error) = world.start_daemons() {
            println!("{}", world.explain_failure());
            return Err(error);
        }
        Ok(world)
    }

    /// The network with its nodes and their manifests; the daemons do not run yet.
    pub fn prepare(topology: &Topology, test: &str, toml: &str) -> Result<Self> {
        let world = Self::bare(topology, test, toml)?;
        for node in &world.nodes {
            world.edge.manifests.node(node.host())?;
        }
        Ok(world)
    }

    /// The network with its nodes and an empty directory of manifests.
    pub fn bare(topology: &Topology, test: &str, toml: &str) -> Result<Self> {
        let lab = topology.build(test)?;
        let edge = Edge::prepare(&lab, toml)?;
        let hosts = lab.hosts().filter(|host| host.name().starts_with("node"));
        let start = |host: &Host| {
            let count = u8::from(host.name() != LONELY_NODE);
            let local = format!("--local-endpoints={HEALTH_CHECK_PORT}={count}");
            Node::start(host, &lab.logs(), &[&local])
        };
        let nodes = hosts.map(start).collect::<Result<_>>()?;
        Ok(Self { edge, nodes, lab })
    }

    /// Starts the daemons and waits until both are ready.
    pub fn start_daemons(&mut self) -> Result<()> {
        for daemon in DaemonName::ALL {
            self.edge.start_daemon(daemon)?;
        }
        DaemonName::ALL.iter().try_for_each(|daemon| self.edge.wait_ready(*daemon))
    }

    /// Writes a Service and waits until it is announced; returns its addresses.
    pub fn serve(&self, name: &str, service: &ServiceYaml) -> Result<Vec<IpAddr>> {
        self.edge.manifests.write(name, &service.yaml()?)?;
        self.edge.wait_announced(&format!("default/{name}"), SOON)
    }

    /// The first address of a Service that is served as `service` says, with a port.
    pub fn serve_at(&self, name: &str, service: &ServiceYaml, port: u16) -> Result<SocketAddr> {
        let addresses = self.serve(name, service)?;
        let first = addresses.first().ok_or_else(|| anyhow!("{name} has no address"))?;
        Ok(SocketAddr::new(*first, port))
    }

    /// A port of a dual-stack Service that is served as `service` says, at both addresses.
    pub fn serve_both(&self, name: &str, service: &ServiceYaml, port: u16) -> Result<Both> {
        Both::new(self.serve(name, service)?, port)
    }

    /// A port of a dual-stack Service at both addresses, once they are announced.
    pub fn both_of(&self, name: &str, port: u16) -> Result<Both> {
        Both::new(self.edge.wait_announced(&format!("default/{name}"), SOON)?, port)
    }

    /// One Service `web` with TCP port 80 and UDP port 53 over both families: IPv4, then IPv6.
    pub fn serve_web(&self) -> Result<[IpAddr; 2]> {
        let web = ServiceYaml::new("web").tcp(80, 30000).udp(53, 30001).dual();
        let both = self.serve_both("web", &web, 80)?;
        self.wait_healthy("default/web")?;
        Ok(both.addresses())
    }

    /// Waits until every node serves every port of a Service at each of its addresses: they are
    /// announced once one node passes a probe over one family.
    pub fn wait_healthy(&self, service: &str) -> Result<()> {
        self.edge.wait_service(service, "healthy on every node", SOON, |found| {
            let wanted = self.nodes.len() * found.addresses.len();
            let healthy = |port: &Port| port.nodes_in("healthy").len() == wanted;
            (!found.ports.is_empty() && found.ports.iter().all(healthy)).then_some(())
        })
    }

    /// New connections of the far client reach each of `nodes` and no other.
    pub fn spread_over(&self, to: SocketAddr, nodes: &[&str]) -> Result<()> {
        let report = Load::connect(to).rate(300).count(90).run(self.client()?, &self.lab.logs())?;
        report.all_answered()?;
        report.spread_over(nodes)
    }

    /// The client behind the router.
    pub fn client(&self) -> Result<&Host> {
        self.lab.client()
    }

    /// The client on the segment where VIPs are announced.
    pub fn near(&self) -> Result<&Host> {
        self.lab.near()
    }

    /// Starts a capture whose file is kept after a failure.
    pub fn capture(&self, host: &Host, interface: &str, filter: &str) -> Result<Capture> {
        Capture::start(host, interface, filter, &self.lab.logs())
    }

    /// After a failure: everything that helps to find out why, and where it is.
    pub fn explain_failure(&self) -> String {
        self.edge.dump();
        self.lab.explain_failure()
    }

    /// With `LAB_HOLD=1`: stops before the network is removed, until Enter is pressed.
    fn hold(&self) {
        if std::env::var_os("LAB_HOLD").is_some() {
            println!("{}press Enter to go on", self.lab.how_to_look_inside());
            drop(io::stdout().flush());
            drop(io::stdin().read_line(&mut String::new()));
        }
    }
}

/// Scenarios run side by side, as many as the test runner starts; one that counts what a busy
/// machine loses runs alone.
static TURN: RwLock<()> = RwLock::new(());

/// Runs one scenario in a world of its own. A failure, by error or by panic, keeps the logs.
pub fn scenario(
    build: impl FnOnce() -> Result<World>,
    body: impl FnOnce(&mut World) -> Result<()>,
) -> Result<()> {
    let _turn = beside_others();
    play(build, body)
}

/// Held by what is no [`World`] but runs beside scenarios, and not beside [`scenario_alone`].
pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held by what is no [`World`] and wants the machine for itself, as [`scenario_alone`] does.
pub fn beside_nobody() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(PoisonError::into_inner)
}

/// As [`scenario`], while no other scenario of this program runs.
pub fn scenario_alone(
    build: impl FnOnce() -> Result<World>,
    body: impl FnOnce(&mut World) -> Result<()>,
) -> Result<()> {
    let _turn = beside_nobody();
    play(build, body)
}

fn play(
    build: impl FnOnce() -> Result<World>,
    body: impl FnOnce(&mut World) -> Result<()>,
) -> Result<()> {
    let mut world = build()?;
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut world)));
    if !matches!(outcome, Ok(Ok(()))) {
        println!("{}", world.explain_failure());
        world.hold();
    }
    match outcome {
        Ok(result) => result.with_context(|| format!("scenario {}", world.lab.test())),
        Err(panic) => {
            drop(world);
            resume_unwind(panic)
        }
    }
}
