//! Each step of `explain` held back for real.
//!
//! Input: one Service after another, of both families, that lacks one thing: a pool, a free
//! address, a leg, the program on a leg, a ready endpoint, a healthy node; or that is drained, or
//! closed to a client. Output: that step and no other, and nothing once it is mended.
//! On the wire: what each situation needs (another machine's address).

use std::fs;

use anyhow::{Context, Result, ensure};
use nix::{
    mount::{MsFlags, mount},
    net::if_::if_nametoindex,
};
use roadstead_lab::{
    edge::{DaemonName, ServiceYaml, endpoint_slice_yaml},
    eventually,
    presets::{self, POOL_V4, POOL_V6},
};
use roadstead_scenarios::{
    World, scenario,
    world::{HEALTH_CHECK_PORT, SOON, one_pool},
};
use serde_json::json;

use super::{wait_fine, wait_held};

/// A Service of both families with a NodePort of its own.
fn dual(name: &str, node_port: u16) -> ServiceYaml {
    ServiceYaml::new(name).tcp(80, node_port).dual()
}

/// Waits until what `explain` prints has these words.
fn wait_words(world: &World, service: &str, words: &[&str]) -> Result<()> {
    eventually(&format!("{words:?} is told"), SOON, || {
        let text = String::from_utf8(world.edge.cli(&["explain", service])?.stdout)?;
        let missing = words.iter().find(|word| !text.contains(**word));
        ensure!(missing.is_none(), "no {missing:?} in {text}");
        Ok(())
    })
}

#[test]
fn no_pool_and_none_with_a_free_address() -> Result<()> {
    const ONE: &str =
        "[[pool]]\nname = \"lan\"\naddresses = [\"192.0.2.10\", \"2001:db8:1::100/128\"]";
    scenario(
        || World::build(&presets::routed(1), "explain-pool", &health()),
        |world| {
            world.edge.manifests.service(&dual("web", 30000))?;
            wait_held(world, &["default/web"], "pool")?;
            wait_words(world, "default/web", &["add a [[pool]]"])?;
            world.edge.configure(&format!("{ONE}\n{}", health()))?;
            DaemonName::ALL.iter().try_for_each(|daemon| world.edge.reload(*daemon))?;
            wait_fine(world, &["default/web"])?;
            for second in [ServiceYaml::new("second").tcp(80, 30001), v6("second")] {
                world.edge.manifests.service(&second)?;
                wait_held(world, &["default/second"], "pool")?;
                wait_words(world, "default/second", &["add addresses to the pool"])?;
            }
            world.edge.manifests.delete("web")?;
            wait_fine(world, &["default/second"])
        },
    )
}

fn v6(name: &str) -> ServiceYaml {
    ServiceYaml::new(name).tcp(80, 30001).v6()
}

/// [`one_pool`] without the pool.
fn health() -> String {
    let all = one_pool();
    all.find("[router.health]").map_or_else(String::new, |at| all[at..].to_owned())
}

#[test]
fn what_an_object_lacks() -> Result<()> {
    scenario(
        || World::routed("explain-lacks"),
        |world| {
            let sctp = ServiceYaml::new("sctp").port("SCTP", 3868, 30003).dual();
            world.edge.manifests.service(&sctp)?;
            wait_held(world, &["default/sctp"], "object")?;
            let yaml = dual("portless", 30004).yaml()?;
            let lines: Vec<&str> = yaml.lines().filter(|line| !line.contains("nodePort")).collect();
            world.edge.manifests.write("portless", &lines.join("\n"))?;
            wait_held(world, &["default/portless"], "object")?;
            wait_words(world, "default/portless", &["write a nodePort into each port"])?;
            world.edge.manifests.service(&dual("portless", 30004))?;
            wait_fine(world, &["default/portless"])?;
            let vips = world.edge.wait_announced("default/portless", SOON)?;
            for vip in vips {
                let taken = format!("{vip}");
                let thief = if vip.is_ipv4() {
                    ServiceYaml::new("thief").tcp(80, 30005)
                } else {
                    ServiceYaml::new("thief").tcp(80, 30005).v6()
                };
                world.edge.manifests.service(&thief.addresses(&taken))?;
                wait_held(world, &["default/thief"], "address")?;
                world.edge.manifests.delete("thief")?;
            }
            Ok(())
        },
    )
}

#[test]
fn an_address_that_another_machine_has_in_each_family() -> Result<()> {
    scenario(
        || World::routed("explain-conflicts"),
        |world| {
            let near = world.near()?;
            for (name, service, address, length) in [
                ("four", ServiceYaml::new("four").tcp(80, 30000), "192.0.2.20", "24"),
                ("six", ServiceYaml::new("six").tcp(80, 30001).v6(), "2001:db8:1::120", "64 nodad"),
            ] {
                near.ip(&format!("addr add {address}/{length} dev eth0"))?;
                world.edge.manifests.service(&service.addresses(address))?;
                let target = format!("default/{name}");
                wait_held(world, &[&target], "conflict")?;
                let mac = near.leg("eth0")?.mac.to_string();
                wait_words(world, &target, &[address, &mac])?;
            }
            Ok(())
        },
    )
}

#[test]
fn a_leg_that_is_none_and_a_leg_without_the_program() -> Result<()> {
    let pools = format!(
        "[[pool]]\nname = \"lan\"\naddresses = [\"{POOL_V4}\", \"{POOL_V6}\"]\n\
         [[pool]]\nname = \"nowhere\"\naddresses = [\"192.0.2.60\", \"2001:db8:1::200/128\"]\n\
         auto_assign = false\ninterfaces = [\"eth7\"]\n"
    );
    scenario(
        || World::build(&presets::routed(2), "explain-legs", &format!("{pools}{}", health())),
        |world| {
            world.serve("web", &dual("web", 30000))?;
            world.edge.manifests.service(&dual("lost", 30001).pool("nowhere"))?;
            wait_held(world, &["default/lost"], "announced")?;
            wait_words(world, "default/lost", &["fits no leg"])?;
            wait_fine(world, &["default/web"])?;
            without_the_program(world, "eth1")?;
            // Any change of the host makes the router look at its legs.
            world.lab.edge()?.ip("addr add 203.0.113.77/24 dev eth1")?;
            wait_held(world, &["default/web"], "programmed")?;
            wait_words(world, "default/web", &["the program is not on leg eth1"])?;
            read_only(world, false)?;
            wait_fine(world, &["default/web"])
        },
    )
}

#[test]
fn a_leg_that_the_router_is_told_to_leave_alone() -> Result<()> {
    let toml = format!("[router]\ninterfaces = [\"eth1\"]\n{}", one_pool());
    scenario(
        || World::build(&presets::routed(1), "explain-no-leg", &toml),
        |world| {
            world.edge.manifests.service(&dual("web", 30000))?;
            wait_held(world, &["default/web"], "programmed")?;
            wait_words(world, "default/web", &["the program is not on leg eth0"])
        },
    )
}

/// Detaches the program from a leg by hand. The bpf filesystem is read-only from then on, so that
/// the router cannot put it back.
fn without_the_program(world: &World, interface: &str) -> Result<()> {
    let index = world.lab.edge()?.namespace().enter(|| Ok(if_nametoindex(interface)?))?;
    let pin = find(&world.edge.bpffs(), "links")?.join(index.to_string());
    fs::remove_file(&pin).with_context(|| pin.display().to_string())?;
    read_only(world, true)
}

fn find(below: &std::path::Path, name: &str) -> Result<std::path::PathBuf> {
    for entry in fs::read_dir(below)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.ends_with(name) {
                return Ok(path);
            }
            if let Ok(found) = find(&path, name) {
                return Ok(found);
            }
        }
    }
    anyhow::bail!("no {name} below {}", below.display())
}

fn read_only(world: &World, read_only: bool) -> Result<()> {
    let only = if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | only;
    let bpffs = world.edge.bpffs();
    mount(None::<&str>, &bpffs, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("cannot remount {}", bpffs.display()))
}

#[test]
fn nothing_to_serve_with_nothing_that_is_healthy_and_drains() -> Result<()> {
    scenario(
        || World::routed("explain-serving"),
        |world| {
            let local = dual("local", 30001)
                .set("externalTrafficPolicy", json!("Local"))
                .set("healthCheckNodePort", json!(HEALTH_CHECK_PORT));
            world.edge.manifests.service(&local)?;
            world.edge.manifests.service(&dual("web", 30000))?;
            wait_fine(world, &["default/web"])?;
            for (node, ready, held) in [
                ("node1", false, Some("endpoints")),
                ("elsewhere", true, Some("endpoints")),
                ("node1", true, None),
            ] {
                world.edge.manifests.write("slices", &slices("local", node, ready)?)?;
                match held {
                    Some(step) => wait_held(world, &["default/local"], step)?,
                    None => wait_fine(world, &["default/local"])?,
                }
            }
            for what in [&["node", "node1"], &["node", "node2"], &["node", "node3"]] {
                world.edge.cli_ok(&[&["drain"], &what[..]].concat())?;
            }
            wait_held(world, &["default/web"], "backends")?;
            for what in [&["node", "node1"], &["node", "node2"], &["node", "node3"]] {
                world.edge.cli_ok(&[&["undrain"], &what[..]].concat())?;
            }
            wait_fine(world, &["default/web"])?;
            world.edge.cli_ok(&["drain", "self"])?;
            wait_held(world, &["default/web"], "announced")?;
            wait_words(world, "default/web", &["roadstead undrain self"])?;
            world.edge.cli_ok(&["undrain", "self"])?;
            wait_fine(world, &["default/web"])
        },
    )
}

/// Slices of both families with one pod.
fn slices(service: &str, node: &str, ready: bool) -> Result<String> {
    let slice = |pod: &str| endpoint_slice_yaml(service, &[(pod.parse()?, node, ready)]);
    Ok(format!("{}\n---\n{}", slice("198.18.1.1")?, slice("2001:db8:4:1::1")?))
}

#[test]
fn nodes_that_never_served_and_a_client_outside_the_ranges() -> Result<()> {
    scenario(
        || World::routed("explain-never"),
        |world| {
            for node in &mut world.nodes {
                node.stop_serving()?;
            }
            let ranges = json!(["198.51.100.0/24", "2001:db8:2::/64"]);
            let web = dual("web", 30000).set("loadBalancerSourceRanges", ranges);
            world.edge.manifests.service(&web)?;
            wait_held(world, &["default/web"], "backends")?;
            for node in &mut world.nodes {
                node.revive()?;
            }
            for (client, inside) in [
                ("198.51.100.10", true),
                ("192.0.2.3", false),
                ("2001:db8:2::10", true),
                ("2001:db8:1::3", false),
            ] {
                let line = ["default/web", "--from", client];
                if inside {
                    wait_fine(world, &line)?;
                } else {
                    wait_held(world, &line, "source ranges")?;
                }
            }
            Ok(())
        },
    )
}
