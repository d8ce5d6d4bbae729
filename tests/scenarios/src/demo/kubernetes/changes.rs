//! The steps that change something under load.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{Load, edge::DaemonName, eventually};

use super::{
    super::loads::{Counted, Loads},
    Demo,
};
use crate::{ask, world::SOON};

/// Requests while the API server is dead, at 200 a second.
const MEANWHILE: u64 = 1_000;

/// Every pod is replaced, each with two seconds to go, while clients connect.
pub(super) fn rolling_update(demo: &mut Demo) -> Result<String> {
    let before: Vec<String> = demo.kubelet.pods().into_iter().map(str::to_owned).collect();
    let loads = loads(demo, false)?;
    demo.kubectl("rollout restart deployment web")?;
    let began = Instant::now();
    demo.roll_out()?;
    let took = began.elapsed().as_secs_f32();
    let kept =
        demo.kubelet.pods().iter().filter(|pod| before.iter().any(|old| old == *pod)).count();
    ensure!(kept == 0, "{kept} of the old pods run on");
    println!("    {} pods replaced in {took:.1} s", before.len());
    let Counted { sent, lost } = loads.finish()?;
    Ok(format!("{} pods replaced, {sent} requests, {lost} lost", before.len()))
}

/// Nothing that serves needs the API server, nor a daemon that was there before.
pub(super) fn outage(demo: &mut Demo) -> Result<String> {
    let (v4, before) = (SocketAddr::new(demo.vip(true)?, 80), demo.edge.status()?);
    let loads = loads(demo, true)?;
    demo.cluster.plane_mut().kill_api()?;
    let dead = Instant::now();
    println!("    kill -9 of kube-apiserver; {}", unavailable(demo)?);
    for daemon in DaemonName::ALL {
        demo.edge.daemon(daemon)?.restart(Signal::SIGKILL, SOON)?;
    }
    println!("    kill -9 of speaker and router; both run again, with nobody to ask");
    let meanwhile = Load::connect(v4).rate(200).count(MEANWHILE);
    meanwhile.run(demo.lab.near()?, &demo.lab.logs())?.all_answered()?;
    demo.cluster.plane_mut().start_api()?;
    let away = dead.elapsed().as_secs_f32();
    println!("    kube-apiserver is back after {away:.1} s");
    DaemonName::ALL.iter().try_for_each(|daemon| demo.edge.wait_ready(*daemon))?;
    let Counted { sent, lost } = loads.finish()?;
    let after = demo.edge.wait_announced("default/web", SOON)?;
    let held = &before.service("default/web")?.addresses;
    ensure!(after == *held, "web had {held:?} and has {after:?}");
    let sent = sent + MEANWHILE;
    Ok(format!("{away:.1} s without an API server, {sent} requests, {lost} lost"))
}

/// The first line of what kubectl says without a server.
fn unavailable(demo: &Demo) -> Result<String> {
    let output = demo.kubectl.output(&["get", "services"])?;
    ensure!(!output.status.success(), "the API server answers after its death");
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(said.lines().last().unwrap_or_default().to_owned())
}

/// S5 as its user sees it: the object is there until the address is silent.
pub(super) fn delete(demo: &mut Demo) -> Result<String> {
    let to = SocketAddr::new(demo.vip(true)?, 80);
    let client = demo.lab.client()?;
    let deleted = Instant::now();
    demo.kubectl("delete service web --wait=false")?;
    let (silent, gone) = thread::scope(|scope| {
        let gone = scope.spawn(|| time_until_gone(demo, deleted));
        (ask::time_until_silent(client, to, deleted, SOON), gone.join())
    });
    let silent = silent?;
    let gone = gone.map_err(|_| anyhow!("the thread that looks panicked"))??;
    println!("    {to} was silent {} ms after kubectl was called", silent.as_millis());
    println!("    the object was gone {} ms after kubectl was called", gone.as_millis());
    ensure!(silent <= gone, "the object went before the address was silent");
    let near = demo.lab.near()?;
    let mac = ask::who_has(near, to.ip())?;
    ensure!(mac.is_none(), "{mac:?} still answers for {}", to.ip());
    Ok(format!("silent after {} ms, gone after {} ms", silent.as_millis(), gone.as_millis()))
}

/// When the API no longer has the Service: its finalizer is off.
fn time_until_gone(demo: &Demo, since: Instant) -> Result<Duration> {
    let api = demo.cluster.plane().api()?;
    eventually("the Service is gone", SOON, || {
        let list = api.get("/api/v1/namespaces/default/services")?;
        let left = list["items"].as_array().into_iter().flatten();
        let is_left = left.into_iter().any(|service| service["metadata"]["name"] == "web");
        ensure!(!is_left, "it is still there");
        Ok(since.elapsed())
    })
}

/// New connections to both addresses; and long ones where no pod goes.
fn loads(demo: &Demo, long: bool) -> Result<Loads> {
    let (client, logs) = (demo.lab.client()?, demo.lab.logs());
    let [v4, v6] = [demo.vip(true)?, demo.vip(false)?].map(|vip| SocketAddr::new(vip, 80));
    let new = ("new connections", Load::connect(v4).rate(200));
    let other = if long {
        ("long connections", Load::keep_alive(v6, 20).rate(200))
    } else {
        ("new, over IPv6", Load::connect(v6).rate(100))
    };
    Loads::start(client, &logs, [new, other])
}
