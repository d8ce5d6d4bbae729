//! MetalLB's configuration as it is: looked at before it is taken over, taken over with every address
//! in its place, and kept through wrong edits and outages.
//!
//! Input: MetalLB's objects by kubectl, a Service whose status MetalLB has written; later edits that
//! are wrong. Output: what `roadstead migrate metallb` and `roadstead status` say.
//! On the wire: the Service answers at the address that its status had, and goes on to; while another
//! still answers for it, it is waited for.

use std::{fs, net::IpAddr, path::Path};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    edge::DaemonName,
    eventually,
    kube::{Admission, Admitted},
    presets::{POOL_V4, POOL_V6},
};
use roadstead_scenarios::Both;
use serde_json::{Value, json};

use super::watched::{SOON, Watched, watched};

/// What MetalLB had given the Service: neither is the first address of its pool.
const GIVEN: [&str; 2] = ["192.0.2.33", "2001:db8:1::133"];
const PROBES: &str =
    "[router.health]\ninterval = \"300ms\"\ntimeout = \"250ms\"\nslow_start = \"0s\"\n";

fn object(kind: &str, name: &str, spec: &Value) -> String {
    json!({"apiVersion": "metallb.io/v1beta1", "kind": kind, "spec": spec,
        "metadata": {"name": name, "namespace": "metallb-system"}})
    .to_string()
}

fn pool(addresses: &[&str]) -> String {
    object("IPAddressPool", "lan", &json!({"addresses": addresses}))
}

/// MetalLB's definitions and what a homelab has of them.
fn install(world: &Watched) -> Result<()> {
    let kubectl = world.cluster.kubectl()?;
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kube/metallb.yaml");
    kubectl.apply(&fs::read_to_string(definitions)?)?;
    for kind in ["ipaddresspools", "l2advertisements", "bgppeers"] {
        kubectl.wait_for(&format!("crd/{kind}.metallb.io"), "condition=Established")?;
    }
    kubectl.run(&["create", "namespace", "metallb-system"])?;
    kubectl.apply(&pool(&[POOL_V4, POOL_V6]))?;
    kubectl.apply(&object("L2Advertisement", "all", &json!({})))
}

/// Writes the configuration and has both daemons take it.
fn configure(world: &Watched, admitted: &Admitted, source: &str, rest: &str) -> Result<()> {
    let toml = format!("{}\n{source}\n{rest}\n{PROBES}", admitted.toml().trim_end());
    world.edge.configure(&toml)?;
    DaemonName::ALL.iter().try_for_each(|daemon| world.edge.reload(*daemon))
}

/// As MetalLB's controller writes it.
fn give(world: &Watched, name: &str, addresses: &[&str]) -> Result<()> {
    let ingress: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    let status = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
    let service = format!("service/{name}");
    let patch = ["patch", &service, "--subresource=status", "--type=merge", "-p", &status];
    world.cluster.kubectl()?.run(&patch).map(drop)
}

/// What `migrate` says, and that no address would change.
fn would_keep_all(world: &Watched, admitted: &Admitted) -> Result<String> {
    let kubeconfig = admitted.speaker.display().to_string();
    world.edge.cli_ok(&["migrate", "metallb", "--kubeconfig", &kubeconfig])
}

fn wait_told(world: &Watched, words: &str) -> Result<()> {
    eventually(words, SOON, || {
        let (_, text) = world.said("status")?;
        ensure!(text.contains(words), "{text}");
        Ok(())
    })
}

fn wait_untold(world: &Watched, words: &str) -> Result<()> {
    eventually(&format!("no more: {words}"), SOON, || {
        let (_, text) = world.said("status")?;
        ensure!(!text.contains(words), "{text}");
        Ok(())
    })
}

/// The addresses and the finalizers that a Service has in the API.
fn shown(world: &Watched, name: &str) -> Result<(Vec<String>, Vec<String>)> {
    let service = world.cluster.kubectl()?.get(&[&format!("service/{name}")])?;
    let texts = |list: &Value, key: Option<&str>| {
        let items = list.as_array().into_iter().flatten();
        let text = |it: &Value| key.map_or(it, |key| &it[key]).as_str().map(str::to_owned);
        items.filter_map(text).collect::<Vec<_>>()
    };
    let ingress = texts(&service["status"]["loadBalancer"]["ingress"], Some("ip"));
    Ok((ingress, texts(&service["metadata"]["finalizers"], None)))
}

/// Where the Service was is where it is.
fn keeps(world: &Watched, web: Both) -> Result<()> {
    let now = Both::new(world.edge.wait_announced("default/web", SOON)?, 80)?;
    ensure!(now == web, "the addresses changed from {web:?} to {now:?}");
    world.answers(&web)
}

/// The documented way: look on, ask, switch, and nothing has moved.
fn taken_over(world: &mut Watched) -> Result<(Admitted, Both)> {
    let dir = world.edge.state();
    let admitted = Admission::new("home", &dir).run(world.cluster.plane())?;
    install(world)?;
    configure(world, &admitted, "", "[speaker]\nclass_only = true\n")?;
    world.expose("web")?;
    give(world, "web", &GIVEN)?;
    let said = would_keep_all(world, &admitted)?;
    ensure!(said.contains("same     IPAddressPool lan"), "{said}");
    ensure!(said.contains("same     Service default/web: 192.0.2.33, 2001:db8:1::133"), "{said}");
    // MetalLB's speaker answers on for a while.
    let near = world.lab.near()?;
    near.ip(&format!("addr add {}/32 dev lo", GIVEN[0]))?;
    configure(world, &admitted, "metallb = true", "")?;
    world.edge.wait_reason("default/web", "ConflictOnWire", SOON)?;
    near.ip(&format!("addr del {}/32 dev lo", GIVEN[0]))?;
    let web = world.served("web")?;
    for address in GIVEN.map(str::parse::<IpAddr>) {
        let address = address.context("an address")?;
        ensure!(web.addresses().contains(&address), "{web:?} lacks {address}");
    }
    Ok((admitted, web))
}

#[test]
fn a_cluster_of_metallbs_is_taken_over_and_keeps_every_address() -> Result<()> {
    watched("metallb", |world| {
        let (_admitted, web) = taken_over(world)?;
        wait_told(world, "home/lan")?;

        // A wrong edit, also beside a good one, changes nothing; what is good goes on being served.
        let kubectl = world.cluster.kubectl()?;
        kubectl.apply(&pool(&[POOL_V4, POOL_V6, "banana"]))?;
        wait_told(world, "IPAddressPool metallb-system/lan: spec.addresses[2]: `banana`")?;
        keeps(world, web)?;
        let late = world.serve("late")?;

        // A pool that is used is not taken away.
        world.cluster.kubectl()?.run(&["delete", "ipaddresspool/lan", "-n", "metallb-system"])?;
        wait_told(world, "it would take the address of home/default/")?;
        keeps(world, web)?;
        world.answers(&late)?;

        // S8: neither the API server nor the definitions are needed for what was good.
        world.cluster.plane_mut().kill_api()?;
        for daemon in DaemonName::ALL {
            world.edge.daemon(daemon)?.restart(Signal::SIGKILL, SOON)?;
        }
        world.answers(&web)?;
        world.is_announced(web)?;
        world.answers(&late)?;
        world.cluster.plane_mut().start_api()?;
        world.wait_ready()?;
        keeps(world, web)?;

        world.cluster.kubectl()?.apply(&pool(&[POOL_V4, POOL_V6]))?;
        wait_untold(world, "it would take the address of")?;
        let _later = world.serve("later")?;
        keeps(world, web)
    })
}

/// The documented way back: silent, the addresses left in the status for MetalLB, and nothing of ours
/// left on the Service.
#[test]
fn the_way_back_leaves_the_addresses_in_the_status_and_nothing_of_ours() -> Result<()> {
    watched("metallb-back", |world| {
        let (admitted, web) = taken_over(world)?;
        eventually("our finalizer", SOON, || {
            let (_, finalizers) = shown(world, "web")?;
            ensure!(!finalizers.is_empty(), "none");
            Ok(())
        })?;
        world.edge.cli_ok(&["drain", "self"])?;
        web.resolve_to_nobody(world.lab.near()?)?;
        DaemonName::ALL.iter().for_each(|daemon| world.edge.stop_daemon(*daemon));
        let (ingress, _) = shown(world, "web")?;
        ensure!(ingress == GIVEN, "the status has {ingress:?}");

        // MetalLB is back, and writes what it finds.
        give(world, "web", &GIVEN)?;
        let toml =
            format!("{}\n\n[speaker]\nclass_only = true\n{PROBES}", admitted.toml().trim_end());
        world.edge.configure(&toml)?;
        world.edge.start_daemon(DaemonName::Router)?;
        world.edge.start_daemon(DaemonName::Speaker)?;
        eventually("nothing of ours, and MetalLB's addresses", SOON, || {
            let (ingress, finalizers) = shown(world, "web")?;
            ensure!(finalizers.is_empty(), "{finalizers:?}");
            ensure!(ingress == GIVEN, "the status has {ingress:?}");
            Ok(())
        })
    })
}
