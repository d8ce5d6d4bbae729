//! `roadstead confirm`: doubt about a source becomes knowledge by an order.
//!
//! Input: the directory of manifests moved away, or empty when the daemons start; then the order.
//! Output: what is held stays, and `status` says that it is in doubt; after the order it is
//! withdrawn, and the answer says so.
//! On the wire: answered until the order, no ARP answer after it (S3).

use std::{fs, net::SocketAddr};

use anyhow::{Result, ensure};
use roadstead_lab::{
    edge::{DaemonName, ServiceYaml},
    eventually, presets,
};
use roadstead_scenarios::{
    World, ask, scenario,
    world::{SOON, one_pool},
};

fn web() -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000)
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
fn confirm(world: &World, to: SocketAddr) -> Result<()> {
    let (code, text) = said(world, "confirm")?;
    ensure!(code == Some(0), "confirm ended with {code:?}: {text}");
    for daemon in ["speaker: source", "router: source"] {
        ensure!(text.contains(daemon), "{text}");
    }
    ensure!(text.contains("was in doubt") && text.contains("0 Services"), "{text}");
    eventually("no ARP answer", SOON, || {
        let mac = ask::who_has(world.near()?, to.ip())?;
        ensure!(mac.is_none(), "{mac:?} answers");
        Ok(())
    })?;
    ask::unanswered(world.client()?, to)?;
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
            let to = world.serve_at("web", &web(), 80)?;
            let dir = world.edge.manifests.dir().clone();
            let aside = dir.with_extension("aside");
            fs::rename(&dir, &aside)?;
            wait_for_doubt(world, &dir.display().to_string())?;
            ask::tcp(world.client()?, to)?;
            confirm(world, to)?;
            // Back again: an order stands for as long as there is nothing to read.
            fs::rename(&aside, &dir)?;
            let again = world.edge.wait_announced("default/web", SOON)?;
            ask::tcp(world.client()?, SocketAddr::new(again[0], 80)).map(drop)
        },
    )
}

#[test]
fn a_directory_that_is_empty_at_the_start_releases_nothing_until_it_is_confirmed() -> Result<()> {
    scenario(
        || World::routed("confirm-start"),
        |world| {
            let to = world.serve_at("web", &web(), 80)?;
            let dir = world.edge.manifests.dir().clone();
            for daemon in DaemonName::ALL {
                world.edge.stop_daemon(daemon);
            }
            fs::rename(&dir, dir.with_extension("aside"))?;
            fs::create_dir(&dir)?;
            world.start_daemons()?;
            wait_for_doubt(world, "holds no manifests")?;
            ask::tcp(world.client()?, to)?;
            confirm(world, to)
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
            let to = world.serve_at("web", &web(), 80)?;
            ask::tcp(world.client()?, to)?;
            eventually("nothing is in doubt any more", SOON, || {
                let (code, text) = said(world, "status")?;
                ensure!(code == Some(0) && !text.contains("in doubt"), "{code:?}: {text}");
                Ok(())
            })
        },
    )
}
