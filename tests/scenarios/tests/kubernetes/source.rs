//! A real API server as the only source of Services and Nodes.
//!
//! Input: objects by kubectl. Output: what a client gets at the address that they lead to, with the
//! API server there, away, and back; with the daemons killed meanwhile.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    Edge, Lab,
    edge::DaemonName,
    eventually,
    kube::{Admission, Cluster, Pod, objects},
};
use roadstead_scenarios::{
    Both, ask,
    world::{beside_others, one_pool},
};

use super::explained;

const SOON: Duration = Duration::from_secs(30);

/// A cluster and the daemons that watch it.
struct Watched {
    // In the order of their end.
    edge: Edge,
    pods: Vec<Pod>,
    cluster: Cluster,
    lab: Lab,
}

impl Watched {
    fn start(test: &str) -> Result<Self> {
        let lab = Cluster::topology(2).build(test)?;
        let cluster = explained(&lab, Cluster::start(&lab, 2))?;
        let edge = Edge::prepare(&lab, &one_pool())?;
        let mut watched = Self { edge, pods: Vec::new(), cluster, lab };
        watched.configure()?;
        for daemon in DaemonName::ALL {
            watched.edge.start_daemon(daemon)?;
        }
        DaemonName::ALL.iter().try_for_each(|daemon| watched.edge.wait_ready(*daemon))?;
        Ok(watched)
    }

    /// The daemons with the rights that they are given by `roadstead kubeconfig`, and no other.
    fn configure(&self) -> Result<()> {
        let admitted = Admission::new("home", &self.edge.state()).run(self.cluster.plane())?;
        self.edge.configure(&(admitted.toml() + &one_pool()))
    }

    /// A Service with a pod on each node, once it is announced.
    fn serve(&mut self, name: &str) -> Result<Both> {
        let service = objects::service(name, "LoadBalancer", 80, 8080);
        self.cluster.kubectl()?.apply(&service.to_string())?;
        for node in [1, 2] {
            let pod = format!("{name}-{node}");
            let pod = self.cluster.run_pod(&self.lab, node, &pod, &[("app", name)])?;
            self.pods.push(pod);
        }
        Both::new(self.edge.wait_announced(&format!("default/{name}"), SOON)?, 80)
    }

    /// Every question of the far client is answered by a pod.
    fn answers(&self, at: &Both) -> Result<()> {
        for address in at.addresses() {
            let to = SocketAddr::new(address, 80);
            let answer =
                eventually(&format!("{to} answers"), SOON, || ask::tcp(self.lab.client()?, to))?;
            ensure!(self.pods.iter().any(|pod| pod.name() == answer.node), "{answer:?}");
        }
        Ok(())
    }
}

fn watched(test: &str, body: impl FnOnce(&mut Watched) -> Result<()>) -> Result<()> {
    let _turn = beside_others();
    let mut watched = Watched::start(test)?;
    let outcome = body(&mut watched);
    if outcome.is_err() {
        watched.edge.dump();
    }
    explained(&watched.lab, outcome)
}

#[test]
fn what_kubectl_says_is_served_and_what_it_deletes_falls_silent() -> Result<()> {
    watched("cluster-source", |world| {
        let web = world.serve("web")?;
        world.answers(&web)?;
        let pods: Vec<String> =
            world.pods.iter().map(|pod| format!("pod/{}", pod.name())).collect();
        world.cluster.kubectl()?.delete(&["service/web"])?;
        let near = world.lab.near()?;
        eventually("silence", SOON, || web.resolve_to_nobody(near))?;
        let gone: Vec<&str> = pods.iter().map(String::as_str).collect();
        world.cluster.kubectl()?.delete(&gone)
    })
}

/// S3 and S8: with the API server gone nothing changes, also for daemons that start meanwhile; and
/// when it is back, what happened is followed.
#[test]
fn an_api_server_that_is_away_changes_nothing() -> Result<()> {
    watched("cluster-away", |world| {
        let web = world.serve("web")?;
        world.answers(&web)?;
        world.cluster.plane_mut().kill_api()?;
        for daemon in DaemonName::ALL {
            world.edge.daemon(daemon)?.restart(Signal::SIGKILL, SOON)?;
        }
        world.answers(&web)?;
        world.cluster.plane_mut().start_api()?;
        DaemonName::ALL.iter().try_for_each(|daemon| world.edge.wait_ready(*daemon))?;
        let again = Both::new(world.edge.wait_announced("default/web", SOON)?, 80)?;
        ensure!(again == web, "the addresses changed to {again:?}");
        let late = world.serve("late")?;
        world.answers(&late)?;
        world.answers(&web)
    })
}
