//! The samples of `etc/`, each as it stands.
//!
//! Input: a sample as `/etc/roadstead/roadstead.toml`, the manifests of `etc/manifests`, and a
//! network with the addresses that they name. Output: `roadstead check` finds nothing, and the
//! daemons, under their units, serve what the sample's comments promise. On the wire: the addresses
//! are answered for on the legs that the sample names.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result, anyhow, ensure};
use roadstead_lab::{
    Host, Installed, Node, Topology,
    edge::ServiceYaml,
    eventually,
    kube::{authority::Authority, kubeconfig::Kubeconfig},
    presets,
};
use roadstead_scenarios::{
    World, ask,
    installed::{LOAD, ROUTER, SPEAKER, announced, checkout, first_address},
    scenario,
    world::SOON,
};

fn sample(name: &str) -> Result<String> {
    let path = checkout().join("etc").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn install(world: &World, toml: &str) -> Result<Installed> {
    Installed::install(&world.lab, &checkout(), toml)
}

/// A LAN with the nodes of `etc/manifests/nodes.yaml`, an edge host and somebody who asks.
fn lan(edge: &[&str]) -> Topology {
    let mut plan = Topology::new();
    let _ = plan.host("edge").leg("lan", edge);
    let _ = plan.host("near").leg("lan", ["192.0.2.3/24", "2001:db8:1::f003/64"]);
    for n in ["n1", "n2"] {
        let last = format!("10{}", &n[1..]);
        let addresses = [format!("192.0.2.{last}/24"), format!("2001:db8:1:1::{last}/64")];
        let _ = plan.host(n).leg("lan", addresses);
    }
    plan
}

/// The nodes of the manifests, on the NodePorts that their Services name.
fn start_nodes(world: &World) -> Result<Vec<Node>> {
    let start =
        |name| Node::start(world.lab.host(name)?, &world.lab.logs(), &["--ports=30053-30081"]);
    ["n1", "n2"].into_iter().map(start).collect()
}

/// Puts the sample's manifests in place, changed by `change`, and starts everything.
fn start(it: &mut Installed, change: impl Fn(String) -> String) -> Result<()> {
    for name in ["nodes", "web"] {
        it.manifests.write(name, &change(sample(&format!("manifests/{name}.yaml"))?))?;
    }
    it.run_oneshot(LOAD, "ExecStart")?;
    it.start(SPEAKER)?;
    it.start(ROUTER)
}

fn answered_by_a_node(from: &Host, vip: IpAddr, port: u16) -> Result<()> {
    let to = SocketAddr::new(vip, port);
    let node = eventually("it is served", SOON, || ask::tcp(from, to))?.node;
    ensure!(["n1", "n2"].contains(&node.as_str()), "{to} was answered by {node}");
    Ok(())
}

fn is_at(from: &Host, vip: IpAddr, edge: &Host, interface: &str) -> Result<()> {
    let (mac, leg) = (ask::who_has(from, vip)?, edge.leg(interface)?);
    ensure!(mac == Some(leg.mac.to_string()), "{vip} is answered for by {mac:?}");
    Ok(())
}

/// What the sample of a cluster names, once for each daemon.
fn kubeconfig() -> Result<Kubeconfig> {
    let authority = Authority::new("home")?.pem();
    Ok(Kubeconfig { server: "https://192.0.2.9:6443".into(), authority, token: "t".into() })
}

#[test]
fn check_finds_nothing_in_any_sample() -> Result<()> {
    scenario(
        || World::bare(&presets::segment(1), "samples-check", ""),
        |world| {
            let it = install(world, "")?;
            for name in ["nodes", "web"] {
                it.manifests.write(name, &sample(&format!("manifests/{name}.yaml"))?)?;
            }
            for daemon in ["speaker", "router"] {
                let file = format!("/etc/roadstead/home.{daemon}.kubeconfig");
                kubeconfig()?.write(&it.path(&file))?;
            }
            let entries = fs::read_dir(checkout().join("etc"))?.flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            let samples: Vec<String> = names.filter(|name| name.ends_with(".toml")).collect();
            ensure!(samples.len() >= 5, "the samples were found: {samples:?}");
            for name in samples {
                fs::write(it.path("/etc/roadstead/roadstead.toml"), sample(&name)?)?;
                it.as_root(&["roadstead", "check"]).context(name)?;
            }
            Ok(())
        },
    )
}

/// The configuration that the README shows.
#[test]
fn check_finds_nothing_in_the_readme() -> Result<()> {
    let readme = fs::read_to_string(checkout().join("README.md"))?;
    let shown = readme.lines().skip_while(|line| line.trim() != "[[pool]]");
    let shown: Vec<&str> = shown.map_while(|line| line.strip_prefix("    ")).collect();
    ensure!(shown.len() == 3, "the README shows {shown:?}");
    scenario(
        || World::bare(&presets::segment(1), "readme-check", ""),
        |world| {
            let it = install(world, &shown.join("\n"))?;
            it.as_root(&["roadstead", "check"]).map(drop)
        },
    )
}

#[test]
fn the_smallest_one_serves() -> Result<()> {
    let edge = ["192.0.2.5/24", "2001:db8:1::f005/64", "2001:db8:1:1::5/64"];
    scenario(
        || World::bare(&lan(&edge), "sample-smallest", ""),
        |world| {
            let _nodes = start_nodes(world)?;
            let mut it = install(world, &sample("roadstead.toml")?)?;
            start(&mut it, |text| text)?;
            let (near, edge) = (world.near()?, world.lab.edge()?);
            let web = first_address(&it, "default/web")?;
            is_at(near, web, edge, "eth0")?;
            answered_by_a_node(near, web, 80)?;
            first_address(&it, "default/dns")?;
            for vip in ["192.0.2.20", "2001:db8:1::20"] {
                let vip: IpAddr = vip.parse()?;
                is_at(near, vip, edge, "eth0")?;
                let to = SocketAddr::new(vip, 53);
                eventually("it is served", SOON, || ask::udp(near, to))?;
            }
            Ok(())
        },
    )
}

#[test]
fn the_homelab_serves() -> Result<()> {
    let edge = ["192.0.2.5/24", "2001:db8:1::f005/64", "2001:db8:1:1::5/64"];
    scenario(
        || World::bare(&lan(&edge), "sample-homelab", ""),
        |world| {
            let _nodes = start_nodes(world)?;
            let mut it = install(world, &sample("homelab.toml")?)?;
            // Inside the pool that is handed out by request only.
            start(&mut it, |text| {
                text.replace(
                    "addresses: 192.0.2.20,2001:db8:1::20",
                    "addresses: 192.0.2.241,2001:db8:1::120",
                )
            })?;
            let (near, edge) = (world.near()?, world.lab.edge()?);
            let web = first_address(&it, "default/web")?;
            // 192.0.2.192 comes first.
            ensure!(web == "192.0.2.192".parse::<IpAddr>()?, "{web}");
            is_at(near, web, edge, "eth0")?;
            answered_by_a_node(near, web, 80)?;
            let dns = SocketAddr::new("192.0.2.241".parse()?, 53);
            eventually("it is served", SOON, || ask::udp(near, dns)).map(drop)
        },
    )
}

/// A branch office: the nodes' networks and the management address that the sample names.
fn branch() -> Topology {
    let mut plan = Topology::new();
    let edge = ["203.0.113.5/24", "2001:db8:20::5/64", "2001:db8:20:1::f005/64", "198.51.100.9/24"];
    let _ = plan.host("edge").leg("lan", edge);
    let near = ["203.0.113.200/24", "2001:db8:20:1::f003/64", "198.51.100.3/24"];
    // The IPv6-only pool lies in a network of its own, on the same link.
    let _ = plan.host("near").leg("lan", near).route("2001:db8:20:2::/112 dev eth0");
    for n in ["n1", "n2"] {
        let last = format!("1{}", &n[1..]);
        let addresses = [format!("203.0.113.{last}/24"), format!("2001:db8:20::{last}/64")];
        let _ = plan.host(n).leg("lan", addresses);
    }
    plan
}

#[test]
fn the_branch_office_serves_both_families() -> Result<()> {
    scenario(
        || World::bare(&branch(), "sample-dual-stack", ""),
        |world| {
            let _nodes = start_nodes(world)?;
            let mut it = install(world, &sample("edge-dual-stack.toml")?)?;
            for name in ["n1", "n2"] {
                it.manifests.node(world.lab.host(name)?)?;
            }
            it.manifests.service(&ServiceYaml::new("web").tcp(80, 30080).dual())?;
            it.run_oneshot(LOAD, "ExecStart")?;
            it.start(SPEAKER)?;
            it.start(ROUTER)?;
            let (near, edge) = (world.near()?, world.lab.edge()?);
            let addresses = announced(&it, "default/web")?;
            ensure!(addresses.len() == 2, "one of each family: {addresses:?}");
            for vip in addresses {
                is_at(near, vip, edge, "eth0")?;
                answered_by_a_node(near, vip, 80)?;
            }
            let management: IpAddr = "198.51.100.9".parse()?;
            for port in [9641, 9642] {
                let metrics = ask::get(near, SocketAddr::new(management, port), "/metrics")?;
                let text = String::from_utf8_lossy(&metrics);
                ensure!(text.contains("roadstead_"), "port {port} has no metrics: {text}");
            }
            Ok(())
        },
    )
}

#[test]
fn the_machine_with_one_address_serves_on_it() -> Result<()> {
    scenario(
        || World::bare(&lan(&["192.0.2.5/24"]), "sample-one-address", ""),
        |world| {
            let _nodes = start_nodes(world)?;
            let mut it = install(world, &sample("homelab-one-address.toml")?)?;
            start(&mut it, |text| text)?;
            let (near, own): (_, IpAddr) = (world.near()?, "192.0.2.5".parse()?);
            answered_by_a_node(near, own, 80)?;
            // The host keeps every other port, and answers for its address itself.
            ask::refused(near, SocketAddr::new(own, 22))?;
            is_at(near, own, world.lab.edge()?, "eth0")
        },
    )
}

/// `ens3` outside, `ens4` towards the nodes, as the sample says.
fn two_legs() -> Topology {
    let mut plan = Topology::new();
    let _ = plan
        .host("edge")
        .leg("outside", ["198.51.100.5/24"])
        .leg("inside", ["192.0.2.6/24", "192.0.2.7/24"]);
    let _ = plan.host("near").leg("outside", ["198.51.100.3/24"]);
    for n in ["n1", "n2"] {
        let _ = plan.host(n).leg("inside", [format!("192.0.2.10{}/24", &n[1..])]);
    }
    plan
}

fn rename(edge: &Host, names: &[(&str, &str)]) -> Result<()> {
    for (old, new) in names {
        edge.link(old, false)?;
        edge.ip(&format!("link set {old} name {new}"))?;
        edge.link(new, true)?;
    }
    Ok(())
}

#[test]
fn two_legs_serve_outside_and_inside() -> Result<()> {
    let ours = |text: String| {
        let text = text.replace(
            "  type: LoadBalancer\n",
            "  type: LoadBalancer\n  loadBalancerClass: roadstead.io/load-balancer\n",
        );
        text.replace("192.0.2.20,2001:db8:1::20", "198.51.100.20")
    };
    scenario(
        || World::bare(&two_legs(), "sample-two-legs", ""),
        |world| {
            let (near, edge, n1) = (world.near()?, world.lab.edge()?, world.lab.host("n1")?);
            rename(edge, &[("eth0", "ens3"), ("eth1", "ens4")])?;
            let _nodes = start_nodes(world)?;
            let mut it = install(world, &sample("on-prem-two-legs.toml")?)?;
            start(&mut it, ours)?;
            let web = first_address(&it, "default/web")?;
            is_at(near, web, edge, "eth0")?;
            answered_by_a_node(near, web, 80)?;

            let internal = ours(sample("manifests/web.yaml")?);
            let first = internal.split("\n---\n").next().ok_or_else(|| anyhow!("no Service"))?;
            let meta = "name: api\n  labels: { visibility: internal }\n";
            let labelled = first.replacen("name: web\n", meta, 1).replace("30080", "30081");
            it.manifests.write("api", &labelled)?;
            let api = first_address(&it, "default/api")?;
            near.ip("route add 192.0.2.0/24 dev eth0")?;
            ensure!(ask::who_has(near, api)?.is_none(), "{api} is visible outside");
            is_at(n1, api, edge, "eth1")?;
            answered_by_a_node(n1, api, 80)
        },
    )
}

/// The names of the metrics that `etc/alerts.rules.yml` asks for.
fn alerted_metrics() -> Result<BTreeSet<String>> {
    let rules = sample("alerts.rules.yml")?;
    let words = rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|word| word.starts_with("roadstead_")).map(str::to_owned);
    Ok(names.collect())
}

/// An alert on a metric that nobody has never fires.
#[test]
fn the_sample_alerts_ask_for_metrics_that_there_are() -> Result<()> {
    let alerted = alerted_metrics()?;
    ensure!(alerted.len() >= 8, "the rules name {alerted:?}");
    scenario(
        || World::routed("samples-alerts"),
        |world| {
            let [vip, _] = world.serve_web()?;
            // A first drop, so that there is something to count.
            ask::refused(world.client()?, SocketAddr::new(vip, 81))?;
            eventually("every metric of the alerts", 2 * SOON, || {
                let mut text = String::new();
                for port in [9641, 9642] {
                    let own = SocketAddr::from(([127, 0, 0, 1], port));
                    let body = ask::get(world.lab.edge()?, own, "/metrics")?;
                    text.push_str(&String::from_utf8_lossy(&body));
                    ensure!(ask::get(world.lab.edge()?, own, "/readyz")? == b"ok\n", "{port}");
                    ensure!(ask::get(world.lab.edge()?, own, "/healthz")? == b"ok\n", "{port}");
                }
                let told = |name: &&String| {
                    let sample = |line: &str| {
                        line.strip_prefix(name.as_str())
                            .is_some_and(|rest| rest.starts_with([' ', '{']))
                    };
                    text.lines().any(sample)
                };
                let missing: Vec<&String> = alerted.iter().filter(|name| !told(name)).collect();
                ensure!(missing.is_empty(), "nobody counts {missing:?}");
                Ok(())
            })
        },
    )
}
