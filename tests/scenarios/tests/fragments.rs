//! Datagrams in fragments.
//!
//! Input: datagrams of 3,000 bytes both ways; fragments built by hand, in order and with a later one
//! before the first. Output: what comes in order is answered whole; a fragment before its first one
//! is dropped and counted. On the wire: fragments stay fragments, nothing is put together on the way.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use roadstead_lab::{Host, presets, uninterrupted};
use roadstead_scenarios::{
    World, ask, counters,
    frames::{Wire, ethernet, udp_fragments},
    scenario,
    world::one_pool,
};

const LENGTH: usize = 3000;
const PART: usize = 1400;

#[test]
fn three_thousand_bytes_come_back_whole_from_everywhere() -> Result<()> {
    for (test, plan) in
        [("fragments-routed", presets::routed(3)), ("fragments-segment", presets::segment(3))]
    {
        let build = || World::build(&plan, test, &one_pool());
        scenario(build, |world| {
            for vip in world.serve_web()? {
                let to = SocketAddr::new(vip, 53);
                for host in [world.client()?, world.near()?] {
                    // Several sockets: several nodes.
                    (0..6).try_for_each(|n| {
                        ask::udp_echo(host, to, &vec![b'a' + n; LENGTH]).map(drop)
                    })?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// A socket of `near` and the means to send its datagrams in fragments of one's own making.
struct Fragmenter<'a> {
    world: &'a World,
    socket: UdpSocket,
    wire: Wire,
    to: SocketAddr,
}

impl<'a> Fragmenter<'a> {
    fn open(world: &'a World, vip: IpAddr) -> Result<Self> {
        let near = world.near()?;
        let own: IpAddr = if vip.is_ipv4() { near.v4()?.into() } else { near.v6()?.into() };
        let socket = near.namespace().enter(|| Ok(UdpSocket::bind((own, 0))?))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self { world, socket, wire: Wire::open(near, "eth0")?, to: SocketAddr::new(vip, 53) })
    }

    fn fragments(&self, payload: &[u8], id: u16) -> Result<Vec<Vec<u8>>> {
        let (edge, near): (&Host, &Host) = (self.world.lab.edge()?, self.world.near()?);
        let (to, from) = (edge.leg("eth0")?.mac, near.leg("eth0")?.mac);
        let parts = udp_fragments(self.socket.local_addr()?, self.to, payload, id, PART)?;
        Ok(parts.iter().map(|part| ethernet(to, from, part)).collect())
    }

    fn answer(&self) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 65_535];
        let length = uninterrupted(|| self.socket.recv(&mut buffer)).context("no answer")?;
        buffer.truncate(length);
        Ok(buffer)
    }
}

#[test]
fn a_later_fragment_before_its_first_is_dropped_and_counted() -> Result<()> {
    scenario(
        || World::routed("fragments-order"),
        |world| {
            for vip in world.serve_web()? {
                let fragmenter = Fragmenter::open(world, vip)?;
                let before = counters::drops(world, "fragment-unknown")?;
                let mut parts = fragmenter.fragments(&[b'x'; LENGTH], 701)?;
                parts.rotate_left(1);
                parts.iter().try_for_each(|part| fragmenter.wire.send(part))?;
                // Two of three come before the first one, so the datagram cannot be whole anywhere.
                let dropped = counters::wait_drops(world, "fragment-unknown", before, 2)?;
                ensure!(dropped == 2, "{dropped} fragments were dropped");
                let payload = [b'y'; LENGTH];
                let parts = fragmenter.fragments(&payload, 702)?;
                parts.iter().try_for_each(|part| fragmenter.wire.send(part))?;
                let answer = fragmenter.answer()?;
                let echoed = answer.split(|byte| *byte == b' ').nth(1);
                let echoed = echoed.ok_or_else(|| anyhow!("an odd answer"))?;
                ensure!(echoed == payload, "the answer belongs to another datagram");
            }
            Ok(())
        },
    )
}
