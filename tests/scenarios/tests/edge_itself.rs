//! A process of the edge host as the client of a VIP.
//!
//! Input: connections and datagrams from the edge host itself, with one leg and with two. Output:
//! an answer of a node in the name of the VIP, or a refusal; never a wait for nothing.
//! On the wire: nothing leaves for the VIP, it is on this host.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use roadstead_lab::uninterrupted;
use roadstead_scenarios::{World, ask, scenario};

fn settled_at_once(world: &World) -> Result<()> {
    let edge = world.lab.edge()?;
    for vip in world.serve_web()? {
        let capture = world.capture(edge, "eth0", &format!("dst host {vip} and (tcp or udp)"))?;
        ask::tcp(edge, SocketAddr::new(vip, 80))?;
        ask::refused(edge, SocketAddr::new(vip, 81))?;
        let peer = edge.namespace().enter(|| {
            let any = if vip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(Duration::from_secs(3)))?;
            socket.send_to(b"hello", (vip, 53))?;
            let (_, peer) =
                uninterrupted(|| socket.recv_from(&mut [0; 64])).context("no answer")?;
            Ok(peer)
        })?;
        ensure!(peer == SocketAddr::new(vip, 53), "{vip} was asked, {peer} answers");
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
