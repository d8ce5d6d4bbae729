//! Two clusters at once, each with its own API server, nodes and rights: what happens to one is its
//! own matter (S6).
//!
//! Input: two sources; the same Service in both; one API server killed.
//! Output: each gets addresses of its own; the other's changes are followed at once, and `status`
//! names the one in doubt.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    Edge, Lab,
    edge::DaemonName,
    eventually,
    kube::{
        Admission, Cluster, KubeNode, Plane, Pod, objects,
        plane::{SECOND, add_second},
    },
};
use roadstead_scenarios::{
    Both, ask,
    world::{beside_others, one_pool},
};

use super::{
    explained,
    watched::{SOON, all_answered, load},
};

/// One of the two, with a node of its own.
struct Own {
    name: &'static str,
    // Before the plane: its kube-proxy asks there.
    node: KubeNode,
    plane: Plane,
}

impl Own {
    fn start(lab: &Lab, name: &'static str, host: &str, number: u8) -> Result<Self> {
        let mut plane = Plane::start_on(lab, host)?;
        let mut node = KubeNode::start(lab, &plane, number)?;
        node.wait_until_ready()?;
        plane.wait_for_controllers()?;
        Ok(Self { name, node, plane })
    }

    /// A Service with one pod, once it is announced.
    fn serve(&self, lab: &Lab, edge: &Edge, name: &str) -> Result<(Both, Pod)> {
        let service = objects::service(name, "LoadBalancer", 80, 8080);
        self.plane.kubectl()?.apply(&service.to_string())?;
        let pod = format!("{}-{name}", self.name);
        let pod = self.node.run_pod(lab, &self.plane, &pod, &[("app", name)])?;
        let addresses = eventually(&format!("{}: {name} is announced", self.name), SOON, || {
            let status = edge.status()?;
            let mut services = status.services.iter();
            let found = services.find(|it| it.cluster == self.name && it.name == name);
            let found = found.context("it is not known")?;
            let announced = |address| found.announced.iter().any(|it| it.address == address);
            ensure!(!found.addresses.is_empty(), "it has no address");
            ensure!(found.addresses.iter().all(|address| announced(*address)), "{found:?}");
            Ok(found.addresses.clone())
        })?;
        let at = Both::new(addresses, 80)?;
        for to in at.addresses().map(|address| SocketAddr::new(address, 80)) {
            let answer =
                eventually(&format!("{to} answers"), SOON, || ask::tcp(lab.client()?, to))?;
            ensure!(answer.node == pod.name(), "{answer:?} instead of {}", pod.name());
        }
        Ok((at, pod))
    }
}

fn configure(edge: &Edge, clusters: [&Own; 2]) -> Result<()> {
    let mut toml = String::new();
    for own in clusters {
        toml += &Admission::new(own.name, &edge.state()).run(&own.plane)?.toml();
    }
    edge.configure(&(toml + &one_pool()))
}

#[test]
fn what_happens_to_one_cluster_touches_no_other() -> Result<()> {
    let _turn = beside_others();
    let mut topology = Cluster::topology(2);
    add_second(&mut topology);
    let lab = topology.build("two-clusters")?;
    let outcome = two(&lab);
    explained(&lab, outcome)
}

fn two(lab: &Lab) -> Result<()> {
    let mut home = Own::start(lab, "home", roadstead_lab::kube::plane::HOST, 1)?;
    let away = Own::start(lab, "away", SECOND, 2)?;
    let mut edge = Edge::prepare(lab, &one_pool())?;
    configure(&edge, [&home, &away])?;
    DaemonName::ALL.iter().try_for_each(|daemon| edge.start_daemon(*daemon))?;
    DaemonName::ALL.iter().try_for_each(|daemon| edge.wait_ready(*daemon))?;
    let outcome = isolated(lab, &edge, &mut home, &away);
    if outcome.is_err() {
        edge.dump();
    }
    outcome
}

fn isolated(lab: &Lab, edge: &Edge, home: &mut Own, away: &Own) -> Result<()> {
    let (at_home, _home_pod) = home.serve(lab, edge, "web")?;
    let (at_away, _away_pod) = away.serve(lab, edge, "web")?;
    let shared = at_home.addresses().iter().any(|own| at_away.addresses().contains(own));
    ensure!(!shared, "two clusters hold one address: {at_home:?} {at_away:?}");
    let mut loads = load(lab, at_home)?;
    loads.extend(load(lab, at_away)?);
    home.plane.kill_api()?;
    in_doubt(edge, "home")?;
    let (_, _late_pod) = away.serve(lab, edge, "late")?;
    for daemon in DaemonName::ALL {
        edge.daemon(daemon)?.restart(Signal::SIGKILL, SOON)?;
    }
    let (_, _later_pod) = away.serve(lab, edge, "later")?;
    home.plane.start_api()?;
    // It would wait for up to a minute before it asks again; what it wrote into the kernel stays.
    home.node.kill_proxy()?;
    home.node.start_proxy()?;
    home.node.wait_until_ready()?;
    let (_, _last_pod) = home.serve(lab, edge, "last")?;
    all_answered(loads)
}

/// `status` says so of this source, and of no other.
fn in_doubt(edge: &Edge, name: &str) -> Result<()> {
    eventually(&format!("doubt about {name} alone"), SOON, || {
        let output = edge.cli(&["status"])?;
        let text = String::from_utf8([output.stdout, output.stderr].concat())?;
        let is_doubt = |line: &&str| line.contains("in doubt") && !line.contains("Source local");
        let doubts: Vec<&str> = text.lines().filter(is_doubt).collect();
        let is_its = |line: &&str| line.contains(&format!("Source {name} is in doubt"));
        ensure!(!doubts.is_empty() && doubts.iter().all(is_its), "{text}");
        Ok(())
    })
}
