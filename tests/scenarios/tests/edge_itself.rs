//! A process of the edge host as the client of a VIP.
//!
//! Input: connections and datagrams from the edge host itself, with one leg and with two. Output:
//! an answer of a node, or a refusal at once; never a wait for nothing.
//! On the wire: nothing leaves for the VIP, it is on this host.

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use roadstead_scenarios::{World, ask, scenario};

/// What a person takes for "at once".
const AT_ONCE: Duration = Duration::from_millis(500);

fn settled_at_once(world: &World) -> Result<()> {
    let edge = world.lab.edge()?;
    for vip in world.serve_web()? {
        let capture = world.capture(edge, "eth0", &format!("dst host {vip} and (tcp or udp)"))?;
        for port in [80, 81] {
            let began = Instant::now();
            let outcome = ask::tcp(edge, SocketAddr::new(vip, port));
            let took = began.elapsed();
            ensure!(took < AT_ONCE, "{vip} port {port}: {outcome:?} after {took:?}");
            ensure!(outcome.is_ok() == (port == 80), "{vip} port {port}: {outcome:?}");
        }
        let began = Instant::now();
        let outcome = edge.namespace().enter(|| {
            let socket = UdpSocket::bind(if vip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
            socket.set_read_timeout(Some(Duration::from_secs(3)))?;
            socket.connect((vip, 53))?;
            socket.send(b"hello")?;
            Ok(socket.recv(&mut [0; 64])?)
        });
        let took = began.elapsed();
        ensure!(outcome.is_ok() && took < AT_ONCE, "{vip} port 53: {outcome:?} after {took:?}");
        let frames = capture.frames("")?;
        ensure!(frames.is_empty(), "packets to the VIP left the host: {frames:?}");
    }
    Ok(())
}

#[test]
fn with_two_legs_it_is_served_or_refused_at_once() -> Result<()> {
    scenario(|| World::routed("edge-itself-routed"), |world| settled_at_once(world))
}

#[test]
fn with_one_leg_it_is_served_or_refused_at_once() -> Result<()> {
    scenario(|| World::segment("edge-itself-segment"), |world| settled_at_once(world))
}
