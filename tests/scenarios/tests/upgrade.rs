//! An upgrade: programs exchanged while traffic flows.
//!
//! Input: new connections, long connections, a long download; the daemons stopped and started from
//! other files; `roadstead-router load` again. Output: nothing lost, nothing moved, nothing cut.
//! On the wire: no gap.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    thread,
};

use anyhow::{Result, anyhow, ensure};
use roadstead_lab::{
    Load, Supervisor,
    edge::DaemonName,
    load::Running,
    pattern,
    process::{Program, built},
};
use roadstead_scenarios::{World, ask, scenario_alone};

const DOWNLOAD: usize = 48 << 20;

fn loads(world: &World, vips: [IpAddr; 2]) -> Result<Vec<Running>> {
    let (client, logs) = (world.client()?, world.lab.logs());
    let mut running = Vec::new();
    for vip in vips {
        let (web, dns) = (SocketAddr::new(vip, 80), SocketAddr::new(vip, 53));
        running.push(Load::connect(web).rate(150).start(client, &logs)?);
        running.push(Load::keep_alive(web, 10).rate(150).start(client, &logs)?);
        running.push(Load::udp(dns, 8).rate(150).start(client, &logs)?);
    }
    Ok(running)
}

/// Does `work` while everything flows; nothing may notice.
fn unnoticed(world: &mut World, work: impl FnOnce(&mut World) -> Result<()>) -> Result<()> {
    let vips = world.serve_web()?;
    let running = loads(world, vips)?;
    let client = world.client()?.clone();
    let download = thread::spawn(move || {
        ask::get(&client, SocketAddr::new(vips[1], 80), &format!("/pattern/{DOWNLOAD}"))
    });
    work(world)?;
    let body = download.join().map_err(|_| anyhow!("the download panicked"))??;
    ensure!(body == pattern::bytes(DOWNLOAD), "{} bytes came down", body.len());
    running.into_iter().try_for_each(|load| load.finish()?.all_answered())
}

/// Runs `roadstead-router load`.
fn load_again(world: &World) -> Result<()> {
    let router = built("roadstead-router")?.display().to_string();
    let config = world.edge.config().display().to_string();
    world.lab.edge()?.run(&[&router, "load", "--config", &config]).map(drop)
}

#[test]
fn the_program_is_replaced_under_load() -> Result<()> {
    scenario_alone(
        || World::patient("upgrade-load"),
        |world| {
            unnoticed(world, |world| {
                (0..5).try_for_each(|_| load_again(world))?;
                world.edge.wait_ready(DaemonName::Router)
            })
        },
    )
}

#[test]
fn both_daemons_are_exchanged_for_other_binaries_under_load() -> Result<()> {
    scenario_alone(
        || World::patient("upgrade-binaries"),
        |world| {
            let mut exchanged: Vec<Supervisor> = Vec::new();
            unnoticed(world, |world| {
                for daemon in DaemonName::ALL {
                    let name = format!("roadstead-{}", daemon.as_str());
                    let new = world.lab.dir().join(format!("{name}-new"));
                    fs::copy(built(&name)?, &new)?;
                    let program = Program::new(&format!("{name}-new"), new, &world.lab.logs())
                        .arg(format!("--config={}", world.edge.config().display()));
                    world.edge.stop_daemon(daemon);
                    let namespace = world.lab.edge()?.namespace().clone();
                    exchanged.push(Supervisor::start(program, namespace)?);
                    world.edge.wait_ready(daemon)?;
                }
                load_again(world)
            })?;
            ensure!(exchanged.iter().all(|new| new.starts() == 1), "a new binary ended");
            Ok(())
        },
    )
}
