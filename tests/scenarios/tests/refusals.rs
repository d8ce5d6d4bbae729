//! What is not served.
//!
//! Input: closed ports of a VIP, ping, addresses that no Service holds. Output and effect on the
//! wire: closed ports are refused as a host would (TCP reset, port unreachable), ping is answered,
//! an unknown address is left to the host.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use roadstead_lab::Host;
use roadstead_scenarios::{World, ask, scenario};

fn clients(world: &World) -> Result<[&Host; 2]> {
    Ok([world.client()?, world.near()?])
}

#[test]
fn closed_ports_are_refused_as_a_host_would() -> Result<()> {
    scenario(
        || World::routed("refusals-closed"),
        |world| {
            for vip in world.serve_web()? {
                for host in clients(world)? {
                    ask::refused(host, SocketAddr::new(vip, 81))?;
                    ask::refused(host, SocketAddr::new(vip, 53))?;
                    ask::udp_refused(host, SocketAddr::new(vip, 80))?;
                }
            }
            Ok(())
        },
    )
}

#[test]
fn a_vip_answers_ping() -> Result<()> {
    scenario(
        || World::routed("refusals-ping"),
        |world| {
            for vip in world.serve_web()? {
                clients(world)?.into_iter().try_for_each(|host| ask::ping(host, vip))?;
            }
            Ok(())
        },
    )
}

#[test]
fn the_hosts_own_addresses_are_left_alone() -> Result<()> {
    scenario(
        || World::routed("refusals-own"),
        |world| {
            world.serve_web()?;
            for own in ["192.0.2.2", "2001:db8:1::2"] {
                let own: IpAddr = own.parse()?;
                for host in clients(world)? {
                    ask::ping(host, own)?;
                    ask::refused(host, SocketAddr::new(own, 80))?;
                }
            }
            Ok(())
        },
    )
}
