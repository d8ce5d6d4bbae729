//! Who gets which address, and when again.
//!
//! Input: Services that ask for several addresses, keep one by name, or wait for one that was
//! another's a moment ago. Output: `status` says what is held, kept and waited for; orders and time
//! change it without an edit. On the wire: each address of a Service answers.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    edge::{DaemonName, ServiceYaml},
    eventually, presets,
};
use roadstead_scenarios::{World, ask, scenario, world::SOON};

const ONE: &str = "[[pool]]\nname = \"one\"\naddresses = [\"192.0.2.10\"]\n";

fn web(name: &str, node_port: u16) -> ServiceYaml {
    ServiceYaml::new(name).tcp(80, node_port)
}

#[test]
fn several_addresses_of_each_family_all_answer() -> Result<()> {
    scenario(
        || World::routed("several-addresses"),
        |world| {
            let client = world.client()?;
            let web = web("web", 30000).dual();
            let two = web.clone().annotate("roadstead.io/address-count", "2");
            let addresses = world.serve("web", &two)?;
            ensure!(addresses.len() == 4, "two of each family: {addresses:?}");
            for address in &addresses {
                ask::tcp(client, SocketAddr::new(*address, 80))?;
            }
            let one = world.serve("web", &web)?;
            eventually("one of each family", SOON, || {
                let held = world.edge.status()?.service("default/web")?.addresses.clone();
                ensure!(held.len() == 2 && held.iter().all(|a| addresses.contains(a)), "{held:?}");
                Ok(())
            })?;
            let kept = one.iter().filter(|address| addresses.contains(address)).count();
            ensure!(kept == one.len(), "{one:?} are not of {addresses:?}");
            let named = web.addresses("192.0.2.17,192.0.2.19,2001:db8:1::107");
            world.edge.manifests.service(&named)?;
            for address in ["192.0.2.17", "192.0.2.19", "2001:db8:1::107"] {
                let to = SocketAddr::new(address.parse()?, 80);
                eventually("it answers", SOON, || ask::tcp(client, to).map(|_| ()))?;
            }
            Ok(())
        },
    )
}

#[test]
fn a_reservation_outlives_its_service_until_it_is_released() -> Result<()> {
    scenario(
        || World::build(&presets::routed(2), "reservation", ONE),
        |world| {
            let front =
                |name: &str, port| web(name, port).annotate("roadstead.io/reservation", "front");
            let address: IpAddr = "192.0.2.10".parse()?;
            ensure!(world.serve("blue", &front("blue", 30000))? == [address]);
            let busy = world.edge.cli(&["release", "default/front"])?;
            ensure!(busy.status.code() == Some(1), "what is in use is not released: {busy:?}");
            world.edge.manifests.delete("blue")?;
            eventually("it is kept", SOON, || {
                let shown = world.edge.cli(&["status"])?;
                let text = String::from_utf8_lossy(&shown.stdout).into_owned();
                ensure!(text.contains("RESERVED") && text.contains("front"), "{text}");
                Ok(())
            })?;
            world.edge.manifests.service(&web("other", 30001))?;
            world.edge.wait_reason("default/other", "PoolExhausted", SOON)?;
            world.edge.restart(DaemonName::Speaker, Signal::SIGKILL)?;
            ensure!(world.serve("green", &front("green", 30000))? == [address]);
            world.edge.manifests.delete("green")?;
            eventually("it is released", SOON, || {
                world.edge.cli_ok(&["release", "default/front"]).map(|_| ())
            })?;
            let given = world.edge.wait_announced("default/other", SOON)?;
            ensure!(given == [address], "{given:?}");
            Ok(())
        },
    )
}

#[test]
fn an_address_cools_down_for_others_and_not_for_whose_it_was() -> Result<()> {
    let cooling = |time: &str| format!("{ONE}cool_down = \"{time}\"\n");
    scenario(
        || World::build(&presets::routed(2), "cool-down", &cooling("1h")),
        |world| {
            let address: IpAddr = "192.0.2.10".parse()?;
            ensure!(world.serve("old", &web("old", 30000))? == [address]);
            world.edge.manifests.service(&web("next", 30001))?;
            world.edge.wait_reason("default/next", "PoolExhausted", SOON)?;
            world.edge.manifests.delete("old")?;
            world.edge.wait_reason("default/next", "PoolCoolingDown", SOON)?;
            ensure!(world.serve("old", &web("old", 30000))? == [address], "its own, at once");
            world.edge.manifests.delete("old")?;
            world.edge.wait_reason("default/next", "PoolCoolingDown", SOON)?;
            world.edge.configure(&cooling("2s"))?;
            world.edge.reload(DaemonName::Speaker)?;
            let given = world.edge.wait_announced("default/next", SOON)?;
            ensure!(given == [address], "without an edit: {given:?}");
            Ok(())
        },
    )
}
