//! A cluster of two nodes and an edge host whose daemons watch it, by the rights that
//! `roadstead kubeconfig` gives them.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use roadstead_lab::{
    Edge, Lab, Load,
    edge::DaemonName,
    eventually,
    kube::{Admission, Cluster, Faults, Pod, objects},
    load::Running,
};
use roadstead_scenarios::{
    Both, ask,
    world::{beside_others, one_pool},
};

use super::explained;

/// For what a cluster does by itself.
pub(super) const SOON: Duration = Duration::from_secs(30);

/// For what waits for a daemon that was refused again and again: its longest wait is 30 s.
const BACKED_OFF: Duration = Duration::from_secs(90);

/// A cluster and the daemons that watch it.
pub(super) struct Watched {
    // In the order of their end.
    pub(super) edge: Edge,
    pub(super) pods: Vec<Pod>,
    faults: Option<Faults>,
    pub(super) cluster: Cluster,
    pub(super) lab: Lab,
}

/// Runs a test with the daemons asking the API server itself.
pub(super) fn watched(test: &str, body: impl FnOnce(&mut Watched) -> Result<()>) -> Result<()> {
    run(test, false, body)
}

/// Runs a test with something in between that does what the test wants.
pub(super) fn faulty(test: &str, body: impl FnOnce(&mut Watched) -> Result<()>) -> Result<()> {
    run(test, true, body)
}

fn run(test: &str, is_faulty: bool, body: impl FnOnce(&mut Watched) -> Result<()>) -> Result<()> {
    let _turn = beside_others();
    let mut watched = Watched::start(test, is_faulty)?;
    let outcome = body(&mut watched);
    if outcome.is_err() {
        watched.edge.dump();
    }
    explained(&watched.lab, outcome)
}

impl Watched {
    fn start(test: &str, is_faulty: bool) -> Result<Self> {
        let lab = Cluster::topology(2).build(test)?;
        let cluster = explained(&lab, Cluster::start(&lab, 2))?;
        let edge = Edge::prepare(&lab, &one_pool())?;
        let faults = is_faulty.then(|| Faults::start(cluster.plane())).transpose()?;
        let mut watched = Self { edge, pods: Vec::new(), faults, cluster, lab };
        watched.configure()?;
        for daemon in DaemonName::ALL {
            watched.edge.start_daemon(daemon)?;
        }
        let outcome = watched.wait_ready();
        if outcome.is_err() {
            watched.edge.dump();
        }
        explained(&watched.lab, outcome)?;
        Ok(watched)
    }

    fn configure(&self) -> Result<()> {
        let dir = self.edge.state();
        let mut admission = Admission::new("home", &dir);
        if let Some(faults) = &self.faults {
            admission = admission.through(faults.server());
        }
        let admitted = admission.run(self.cluster.plane())?;
        self.edge.configure(&(admitted.toml() + &one_pool()))
    }

    /// What stands between the daemons and the API server.
    pub(super) fn faults(&self) -> Result<&Faults> {
        self.faults.as_ref().context("nothing stands in between")
    }

    pub(super) fn wait_ready(&self) -> Result<()> {
        eventually("the daemons are ready", SOON, || {
            let status = self.edge.status()?;
            let ready = status.daemons.iter().filter(|daemon| daemon.ready);
            ensure!(ready.count() == DaemonName::ALL.len(), "{:?}", status.daemons);
            Ok(())
        })
    }

    /// A Service with a pod on each node, once it is announced and answers.
    pub(super) fn serve(&mut self, name: &str) -> Result<Both> {
        self.expose(name)?;
        self.served(name)
    }

    /// A Service with a pod on each node, as far as the API knows.
    pub(super) fn expose(&mut self, name: &str) -> Result<()> {
        let service = objects::service(name, "LoadBalancer", 80, 8080);
        self.cluster.kubectl()?.apply(&service.to_string())?;
        for node in [1, 2] {
            let pod = format!("{name}-{node}");
            let pod = self.cluster.run_pod(&self.lab, node, &pod, &[("app", name)])?;
            self.pods.push(pod);
        }
        Ok(())
    }

    /// Where a Service is announced and answers.
    pub(super) fn served(&self, name: &str) -> Result<Both> {
        let announced = self.edge.wait_announced(&format!("default/{name}"), BACKED_OFF)?;
        let at = Both::new(announced, 80)?;
        self.answers(&at)?;
        Ok(at)
    }

    /// Every question of the far client is answered by a pod, sooner or later.
    pub(super) fn answers(&self, at: &Both) -> Result<()> {
        for address in at.addresses() {
            let to = SocketAddr::new(address, 80);
            let answer =
                eventually(&format!("{to} answers"), SOON, || ask::tcp(self.lab.client()?, to))?;
            ensure!(self.pods.iter().any(|pod| pod.name() == answer.node), "{answer:?}");
        }
        Ok(())
    }

    /// Long connections and new ones to each of the addresses, from now on.
    pub(super) fn load(&self, at: Both) -> Result<Vec<Running>> {
        load(&self.lab, at)
    }

    /// The edge answers ARP and NDP for each of the addresses.
    pub(super) fn is_announced(&self, at: Both) -> Result<()> {
        let mac = self.edge.host().leg("eth0")?.mac.to_string();
        for address in at.addresses() {
            let heard = ask::who_has(self.lab.near()?, address)?;
            ensure!(
                heard.as_deref() == Some(mac.as_str()),
                "{heard:?} answers for {address}, not {mac}"
            );
        }
        Ok(())
    }

    /// `status` says that the cluster is in doubt, and why.
    pub(super) fn wait_for_doubt(&self, why: &str) -> Result<()> {
        eventually(&format!("doubt: {why}"), SOON, || {
            let (code, text) = self.said("status")?;
            // Of one kind there, of the others below: each waits for its own next attempt.
            ensure!(text.contains("Source home is in doubt") && text.contains(why), "{text}");
            ensure!(code == Some(1), "status ended with {code:?}: {text}");
            Ok(())
        })
    }

    /// The cluster is not in doubt.
    pub(super) fn wait_for_certainty(&self) -> Result<()> {
        eventually("no doubt", BACKED_OFF, || {
            let (_, text) = self.said("status")?;
            ensure!(!text.contains("Source home is in doubt"), "{text}");
            Ok(())
        })
    }

    /// Exit status and output of a verb.
    pub(super) fn said(&self, verb: &str) -> Result<(Option<i32>, String)> {
        let output = self.edge.cli(&[verb])?;
        let all = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(all)?))
    }
}

/// The far client of a lab asks each of the addresses, on long connections and on new ones.
pub(super) fn load(lab: &Lab, at: Both) -> Result<Vec<Running>> {
    let loads = |to| [Load::connect(to).rate(100), Load::keep_alive(to, 8).rate(100)];
    let client = lab.client()?;
    at.into_iter().flat_map(loads).map(|load| load.start(client, &lab.logs())).collect()
}

/// Stops loads; an error unless every request was answered and no connection changed its node.
pub(super) fn all_answered(loads: Vec<Running>) -> Result<()> {
    loads.into_iter().try_for_each(|load| load.finish()?.all_answered())
}
