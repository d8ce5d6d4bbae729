//! Two edge hosts that were never told of each other, and serve one cluster.
//!
//! Input: two hosts without `[group]`, each with a kubeconfig of the same cluster, the second started
//! while the first serves. Output: the second assigns and writes nothing and says whom it leaves it to,
//! also while the API server is away. On the wire: the second claims no address.

use anyhow::{Result, ensure};
use roadstead_lab::{
    Capture, Edge,
    edge::DaemonName,
    eventually,
    kube::{Admission, Cluster, objects},
};
use roadstead_scenarios::{
    group::{EDGES, add_second},
    world::{beside_others, one_pool},
};

use super::{explained, watched::SOON};

/// An edge host that watches the cluster by the rights that `roadstead kubeconfig` gives, ready.
fn start(lab: &roadstead_lab::Lab, cluster: &Cluster, name: &str) -> Result<Edge> {
    let mut edge = Edge::prepare_on(lab, lab.host(name)?, &one_pool())?;
    let dir = edge.state();
    let admitted = Admission::new("home", &dir).run(cluster.plane())?;
    edge.configure(&(admitted.toml() + &one_pool()))?;
    DaemonName::ALL.iter().try_for_each(|daemon| edge.start_daemon(*daemon))?;
    eventually("the daemons are ready", SOON, || {
        let status = edge.status()?;
        let ready = status.daemons.iter().filter(|daemon| daemon.ready);
        ensure!(ready.count() == DaemonName::ALL.len(), "{:?}", status.daemons);
        Ok(())
    })?;
    Ok(edge)
}

#[test]
fn a_second_host_that_was_never_told_of_the_first_stays_passive() -> Result<()> {
    let _turn = beside_others();
    let mut topology = Cluster::topology(2);
    add_second(&mut topology);
    let lab = topology.build("strangers")?;
    let mut cluster = explained(&lab, Cluster::start(&lab, 2))?;
    let outcome = stays_passive(&lab, &mut cluster);
    explained(&lab, outcome)
}

fn stays_passive(lab: &roadstead_lab::Lab, cluster: &mut Cluster) -> Result<()> {
    let first = start(lab, cluster, EDGES[0])?;
    let service = objects::service("web", "LoadBalancer", 80, 8080);
    cluster.kubectl()?.apply(&service.to_string())?;
    let _pods = [
        cluster.run_pod(lab, 1, "web-1", &[("app", "web")])?,
        cluster.run_pod(lab, 2, "web-2", &[("app", "web")])?,
    ];
    let addresses = first.wait_announced("default/web", SOON)?;
    let near = lab.near()?.clone();
    let capture = Capture::start(&near, "eth0", "arp", &lab.logs())?;
    let second = start(lab, cluster, EDGES[1])?;
    let told = |edge: &Edge| -> Result<()> {
        let text = edge.cli(&["status"])?.stdout;
        let text = String::from_utf8_lossy(&text).into_owned();
        ensure!(text.contains("holds the Lease roadstead-writer"), "{text}");
        let status = edge.status()?;
        let mut all = status.services.iter();
        ensure!(all.all(|service| service.announced.is_empty()), "{:?}", status.services);
        Ok(())
    };
    eventually("the second says whom it leaves it to", SOON, || told(&second))?;
    // An API server that is away changes no host's mind.
    cluster.plane_mut().kill_api()?;
    second.restart(DaemonName::Router, nix::sys::signal::Signal::SIGKILL)?;
    told(&second)?;
    cluster.plane_mut().start_api()?;
    told(&second)?;
    ensure!(first.wait_announced("default/web", SOON)? == addresses);
    let mac = lab.host(EDGES[1])?.leg("eth0")?.mac.to_string();
    let claims = capture.frames(&format!("arp and ether src {mac} and arp[14:4] != 0xc0000204"))?;
    let pool = claims.iter().filter(|frame| frame.text.contains("192.0.2.1"));
    let claimed: Vec<_> = pool.filter(|frame| frame.text.contains("is-at")).collect();
    ensure!(claimed.is_empty(), "the second claimed {claimed:?}");
    Ok(())
}
