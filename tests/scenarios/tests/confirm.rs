//! `roadstead confirm`: doubt about a source becomes knowledge by an order.
//!
//! Input: the directory of manifests moved away, or empty when the daemons start; then the order.
//! Output: what is held stays, and `status` says that it is in doubt; after the order it is
//! withdrawn, and the answer says so.
//! On the wire: answered until the order, no ARP or NDP answer after it (S3).

use std::fs;

use anyhow::{Result, ensure};
use roadstead_lab::{
    edge::{DaemonName, ServiceYaml},
    eventually, presets,
};
use roadstead_scenarios::{
    Both, World, scenario,
    world::{SOON, one_pool},
};

fn web() -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000).dual()
}

/// Exit status and output of a verb.
fn said(world: &World, verb: &str) -> Result<(Option<i32>, String)> {
    let output = world.edge.cli(&[verb])?;
    let all = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8(all)?))
}

fn wait_for_doubt(world: &World, why: &str) -> Result<()> {
    eventually("status says that the source is in doubt", SOON, || {
        let (code, text) = said(world, "status")?;
        ensure!(text.contains("in doubt") && text.contains(why), "{text}");
        ensure!(code == Some(1), "status ended with {code:?}: {text}");
        Ok(())
    })
}

/// Gives the order and waits for the silence that follows.
fn confirm(world: &World, web: Both) -> Result<()> {
    let (code, text) = said(world, "confirm")?;
    ensure!(code == Some(0), "confirm ended with {code:?}: {text}");
    for daemon in ["speaker: source", "router: source"] {
        ensure!(text.contains(daemon), "{text}");
    }
    ensure!(text.contains("was in doubt") && text.contains("0 Services"), "{text}");
    eventually("silence", SOON, || web.resolve_to_nobody(world.near()?))?;
    web.stay_silent(world.client()?)?;
    let status = world.edge.status()?;
    ensure!(status.services.is_empty(), "{:?}", status.services);
    let (code, text) = said(world, "confirm")?;
    ensure!(code == Some(0) && text.contains("no source was in doubt"), "{code:?}: {text}");
    Ok(())
}

#[test]
fn a_directory_moved_away_is_held_until_it_is_confirmed() -> Result<()> {
    scenario(
        || World::routed("confirm-moved"),
        |world| {
            let web = world.serve_both("web", &web(), 80)?;
            let dir = world.edge.manifests.dir().clone();
            let aside = dir.with_extension("aside");
            fs::rename(&dir, &aside)?;
            wait_for_doubt(world, &dir.display().to_string())?;
            web.answer(world.client()?)?;
            confirm(world, web)?;
            // Back again: an order stands for as long as there is nothing to read.
            fs::rename(&aside, &dir)?;
            world.both_of("web", 80)?.answer(world.client()?)
        },
    )
}

#[test]
fn a_directory_that_is_empty_at_the_start_releases_nothing_until_it_is_confirmed() -> Result<()> {
    scenario(
        || World::routed("confirm-start"),
        |world| {
            let web = world.serve_both("web", &web(), 80)?;
            let dir = world.edge.manifests.dir().clone();
            for daemon in DaemonName::ALL {
                world.edge.stop_daemon(daemon);
            }
            fs::rename(&dir, dir.with_extension("aside"))?;
            fs::create_dir(&dir)?;
            world.start_daemons()?;
            wait_for_doubt(world, "holds no manifests")?;
            web.answer(world.client()?)?;
            confirm(world, web)
        },
    )
}

#[test]
fn a_fresh_install_is_not_broken() -> Result<()> {
    scenario(
        || {
            let mut world = World::bare(&presets::routed(1), "confirm-fresh", &one_pool())?;
            world.start_daemons()?;
            Ok(world)
        },
        |world| {
            eventually("status is fine and tells of the empty directory", SOON, || {
                let (code, text) = said(world, "status")?;
                ensure!(code == Some(0) && text.contains("holds no manifests"), "{code:?}: {text}");
                Ok(())
            })?;
            let (code, text) = said(world, "check")?;
            ensure!(code == Some(0), "check ended with {code:?}: {text}");
            world.edge.manifests.node(world.nodes[0].host())?;
            let web = world.serve_both("web", &web(), 80)?;
            web.answer(world.client()?)?;
            eventually("nothing is in doubt any more", SOON, || {
                let (code, text) = said(world, "status")?;
                ensure!(code == Some(0) && !text.contains("in doubt"), "{code:?}: {text}");
                Ok(())
            })
        },
    )
}
