//! A Service comes and goes while the daemons run.
//!
//! Input: a manifest of a dual-stack Service written, edited, deleted. Output: both addresses
//! answer, keep answering, fall silent; what is freed is given to the Service that waits.
//! On the wire: no ARP or NDP answer for an address after it was withdrawn (S5).

use std::time::Instant;

use anyhow::{Result, ensure};
use roadstead_lab::{Load, edge::ServiceYaml, eventually, presets};
use roadstead_scenarios::{World, ask, scenario, world::SOON};

fn web() -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000).dual()
}

#[test]
fn it_answers_then_falls_silent() -> Result<()> {
    scenario(
        || World::routed("add-delete"),
        |world| {
            let (client, near) = (world.client()?, world.near()?);
            let written = Instant::now();
            let web = world.serve_both("web", &web(), 80)?;
            for to in web {
                let answered = ask::time_until_answered(client, to, written, SOON)?;
                println!("{to} answered after {answered:?}");
            }
            let deleted = Instant::now();
            world.edge.manifests.delete("web")?;
            for to in web {
                let silent = ask::time_until_silent(client, to, deleted, SOON)?;
                println!("{to} last answered {silent:?} after the deletion");
            }
            eventually("silence", SOON, || web.resolve_to_nobody(near))?;
            web.stay_silent(client)
        },
    )
}

#[test]
fn an_edit_of_one_service_costs_another_nothing() -> Result<()> {
    scenario(
        || World::routed("edit-unrelated"),
        |world| {
            let client = world.client()?;
            let web = world.serve_both("web", &web(), 80)?;
            let running = web.load(world, |to| Load::keep_alive(to, 10))?;
            let first = ServiceYaml::new("other").tcp(81, 30001).dual();
            let other = world.serve_both("other", &first, 81)?;
            for port in 82..=85 {
                let edited = ServiceYaml::new("other").tcp(port, 30001).dual();
                world.edge.manifests.service(&edited)?;
                for to in other.port(port) {
                    ask::time_until_answered(client, to, Instant::now(), SOON)?;
                }
            }
            world.edge.manifests.delete("other")?;
            for to in other.port(85) {
                ask::time_until_silent(client, to, Instant::now(), SOON)?;
            }
            running.all_answered()?;
            let still = world.both_of("web", 80)?;
            ensure!(still == web, "web moved to {still:?}");
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
            let first = world.serve_both("web", &web(), 80)?;
            let second = first.port(8080);
            second.refuse(client)?;
            world.edge.manifests.service(&web().tcp(8080, 30001))?;
            eventually("the second port answers", SOON, || second.answer(client))?;
            first.answer(client)?;
            world.edge.manifests.service(&web())?;
            eventually("the second port is refused again", SOON, || second.refuse(client))?;
            first.answer(client)
        },
    )
}

#[test]
fn a_freed_address_goes_to_the_one_that_waits() -> Result<()> {
    let pool = "[[pool]]\nname = \"one\"\naddresses = [\"192.0.2.10\", \"2001:db8:1::100\"]\n";
    scenario(
        || World::build(&presets::routed(1), "freed-address", pool),
        |world| {
            let first = ServiceYaml::new("first").tcp(80, 30000).dual();
            let first = world.serve_both("first", &first, 80)?;
            world.edge.manifests.service(&ServiceYaml::new("second").tcp(80, 30001).dual())?;
            world.edge.wait_reason("default/second", "PoolExhausted", SOON)?;
            world.edge.manifests.delete("first")?;
            let second = world.both_of("second", 80)?;
            ensure!(first == second, "{first:?} {second:?}");
            second.answer(world.client()?)
        },
    )
}
