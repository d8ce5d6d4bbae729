//! A Service comes and goes while the daemons run.
//!
//! Input: a manifest written, edited, deleted. Output: the address answers, keeps answering, falls
//! silent; what is freed is given to the Service that waits.
//! On the wire: no ARP answer for an address after it was withdrawn (S5).

use std::{net::SocketAddr, time::Instant};

use anyhow::{Result, ensure};
use roadstead_lab::{Load, edge::ServiceYaml, eventually, presets};
use roadstead_scenarios::{World, ask, scenario, world::SOON};

fn web() -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000)
}

#[test]
fn it_answers_then_falls_silent() -> Result<()> {
    scenario(
        || World::routed("add-delete"),
        |world| {
            let written = Instant::now();
            let to = world.serve_at("web", &web(), 80)?;
            let answered = ask::time_until_answered(world.client()?, to, written, SOON)?;
            let deleted = Instant::now();
            world.edge.manifests.delete("web")?;
            let silent = ask::time_until_silent(world.client()?, to, deleted, SOON)?;
            println!("answered after {answered:?}, silent after {silent:?}");
            eventually("no ARP answer", SOON, || {
                let mac = ask::who_has(world.near()?, to.ip())?;
                ensure!(mac.is_none(), "{mac:?} answers");
                Ok(())
            })?;
            ask::unanswered(world.client()?, to)
        },
    )
}

#[test]
fn an_edit_of_one_service_costs_another_nothing() -> Result<()> {
    scenario(
        || World::routed("edit-unrelated"),
        |world| {
            let to = world.serve_at("web", &web(), 80)?;
            let running = Load::keep_alive(to, 10).start(world.client()?, &world.lab.logs())?;
            for port in 81..=85 {
                world.serve("other", &ServiceYaml::new("other").tcp(port, 30001))?;
            }
            world.edge.manifests.delete("other")?;
            running.finish()?.all_answered()?;
            let still = world.edge.wait_announced("default/web", SOON)?;
            ensure!(still == [to.ip()], "web moved to {still:?}");
            Ok(())
        },
    )
}

#[test]
fn a_port_is_added_and_taken_away() -> Result<()> {
    scenario(
        || World::routed("edit-ports"),
        |world| {
            let client = world.client()?;
            let to = world.serve_at("web", &web(), 80)?;
            let more = SocketAddr::new(to.ip(), 8080);
            ask::refused(client, more)?;
            world.edge.manifests.service(&web().tcp(8080, 30001))?;
            ask::time_until_answered(client, more, Instant::now(), SOON)?;
            ask::tcp(client, to)?;
            world.edge.manifests.service(&web())?;
            eventually("the port is refused again", SOON, || ask::refused(client, more))?;
            ask::tcp(client, to).map(drop)
        },
    )
}

#[test]
fn a_freed_address_goes_to_the_one_that_waits() -> Result<()> {
    let pool = "[[pool]]\nname = \"one\"\naddresses = [\"192.0.2.10\"]\n";
    scenario(
        || World::build(&presets::routed(1), "freed-address", pool),
        |world| {
            let first = world.serve("first", &ServiceYaml::new("first").tcp(80, 30000))?;
            world.edge.manifests.service(&ServiceYaml::new("second").tcp(80, 30001))?;
            world.edge.wait_reason("default/second", "PoolExhausted", SOON)?;
            world.edge.manifests.delete("first")?;
            let second = world.edge.wait_announced("default/second", SOON)?;
            ensure!(first == second, "{first:?} {second:?}");
            ask::tcp(world.client()?, SocketAddr::new(second[0], 80)).map(drop)
        },
    )
}
