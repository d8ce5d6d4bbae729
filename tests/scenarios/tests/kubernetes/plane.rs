//! The control plane that the other scenarios stand on, tried on itself: objects in, objects out,
//! and nobody gets further than TLS, his token and RBAC let him.

use anyhow::{Context, Result, ensure};
use roadstead_lab::{
    eventually,
    kube::{Cluster, Identity, Plane, authority::Authority, https::Get, objects},
};
use roadstead_scenarios::world::beside_others;

use super::on_common;

const SOON: std::time::Duration = std::time::Duration::from_secs(30);

#[test]
fn what_kubectl_writes_is_read_back_with_its_defaults() -> Result<()> {
    on_common(|common| {
        let kubectl = common.cluster.kubectl()?;
        kubectl.apply(&objects::service("read-back", "LoadBalancer", 80, 8080).to_string())?;
        let service = kubectl.get(&["service", "read-back"])?;
        let port = service["spec"]["ports"][0]["nodePort"].as_u64().context("a nodePort")?;
        ensure!((30_000..=32_767).contains(&port), "the API gave nodePort {port}");
        let families = &service["spec"]["ipFamilies"];
        ensure!(*families == serde_json::json!(["IPv4", "IPv6"]), "families {families}");
        kubectl.delete(&["service/read-back"])
    })
}

#[test]
fn the_controllers_make_endpoint_slices_of_ready_pods() -> Result<()> {
    on_common(|common| {
        let kubectl = common.cluster.kubectl()?;
        kubectl.apply(&objects::service("sliced", "ClusterIP", 80, 8080).to_string())?;
        for (name, address, ready) in
            [("well", "198.18.1.240", true), ("sick", "198.18.1.241", false)]
        {
            let pod = objects::pod(name, "node1", &[("app", "sliced")], &[address.parse()?], ready);
            kubectl.apply_with_status(&pod)?;
        }
        eventually("both pods in the slice, one of them ready", SOON, || {
            let slices =
                kubectl.get(&["endpointslices", "-l", "kubernetes.io/service-name=sliced"])?;
            let endpoints = slices["items"].as_array().into_iter().flatten();
            let mut told: Vec<String> = endpoints
                .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default())
                .map(|end| format!("{} {}", end["addresses"][0], end["conditions"]["ready"]))
                .collect();
            told.sort();
            let wanted = ["\"198.18.1.240\" true", "\"198.18.1.241\" false"];
            ensure!(told == wanted, "the slices say {told:?}");
            Ok(())
        })?;
        kubectl.delete(&["service/sliced", "pod/well", "pod/sick"])
    })
}

#[test]
fn a_wrong_token_is_refused_and_none_sees_nothing() -> Result<()> {
    on_common(|common| {
        let (plane, edge) = (common.cluster.plane(), common.lab.edge()?);
        let services = "/api/v1/services";
        let status = |token| Ok::<_, anyhow::Error>(plane.ask(edge, services, token)?.status);
        let admin = Identity::Admin.token();
        ensure!(status(Some(&admin))? == 200, "the right token is refused");
        ensure!(status(Some("token-of-nobody"))? == 401, "a wrong token is believed");
        ensure!(status(None)? == 403, "nobody may list Services");
        let refused = plane.kubectl_with("token-of-nobody")?.run(&["get", "services"]);
        let text = refused.err().context("kubectl is content with a wrong token")?.to_string();
        ensure!(text.contains("must be logged in"), "kubectl says: {text}");
        Ok(())
    })
}

#[test]
fn another_authority_is_not_trusted() -> Result<()> {
    on_common(|common| {
        let plane = common.cluster.plane();
        let stranger = Authority::new("stranger")?;
        let to = plane.address()?;
        let get = Get { to, path: "/readyz", token: None, trust: Some(stranger.der()) };
        let error = get.ask(common.lab.edge()?).err().context("a stranger's word is enough")?;
        ensure!(format!("{error:#}").contains("no TLS with"), "it says: {error:#}");
        Ok(())
    })
}

/// What is written stays when the API server is killed: etcd has it. And nothing runs on or stays
/// on disk when the plane and the lab are gone.
#[test]
fn the_api_server_comes_back_with_its_objects_and_leaves_nothing_in_the_end() -> Result<()> {
    let _turn = beside_others();
    let lab = Cluster::topology(0).build("kubernetes-api-killed")?;
    let mut plane = Plane::start(&lab)?;
    let kubectl = plane.kubectl()?;
    kubectl.apply(&objects::node("kept", &["203.0.113.77".parse()?], &[]).to_string())?;
    plane.kill_api()?;
    ensure!(kubectl.run(&["get", "nodes"]).is_err(), "the API answers after its death");
    plane.start_api()?;
    let kept = kubectl.run(&["get", "node", "kept", "-o", "name"])?;
    ensure!(kept.trim() == "node/kept", "it has {kept}");
    let (dir, pids) = (plane.dir().to_owned(), plane.pids()?);
    ensure!(pids.len() == 3, "etcd, the API and the controllers run as {pids:?}");
    drop(plane);
    drop(lab);
    let running = pids.iter().find(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists());
    ensure!(running.is_none(), "process {running:?} runs on");
    ensure!(!dir.exists(), "{} is left", dir.display());
    Ok(())
}
