//! The speaker without a router: a plain announcer.
//!
//! Input: `require_ready = false` and no router at all. Output: addresses are assigned and
//! announced. On the wire: the speaker itself answers ARP and NDP, and nobody else does.

use anyhow::{Result, ensure};
use roadstead_lab::{
    edge::{DaemonName, ServiceYaml},
    eventually, presets,
};
use roadstead_scenarios::{
    World, ask, scenario,
    world::{SOON, one_pool},
};

#[test]
fn it_answers_for_what_it_announces() -> Result<()> {
    let toml = format!("{}\n[speaker]\nrequire_ready = false\n", one_pool());
    scenario(
        || World::prepare(&presets::routed(1), "speaker-alone", &toml),
        |world| {
            world.edge.start_daemon(DaemonName::Speaker)?;
            world.edge.wait_ready(DaemonName::Speaker)?;
            let web = ServiceYaml::new("web").tcp(80, 30000).dual();
            let vips = world.serve("web", &web)?;
            ensure!(vips.len() == 2, "{vips:?}");
            let edge = world.lab.edge()?.leg("eth0")?.mac.to_string();
            for vip in &vips {
                let mac = ask::who_has(world.near()?, *vip)?;
                ensure!(mac.as_ref() == Some(&edge), "{vip}: {mac:?}");
            }
            world.edge.manifests.delete("web")?;
            for vip in vips {
                eventually("silence", SOON, || {
                    let mac = ask::who_has(world.near()?, vip)?;
                    ensure!(mac.is_none(), "{mac:?} answers for {vip}");
                    Ok(())
                })?;
            }
            Ok(())
        },
    )
}
