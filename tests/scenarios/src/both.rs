//! One port of a dual-stack Service, asked at both of its addresses: what holds for IPv4 holds for
//! IPv6.

use std::{
    net::{IpAddr, SocketAddr},
    panic::resume_unwind,
    thread,
};

use anyhow::{Result, anyhow, ensure};
use roadstead_lab::{Host, Load, Report, load::Running};

use crate::{World, ask};

/// A port at two addresses, the IPv4 one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Both([SocketAddr; 2]);

impl Both {
    /// Wants one address of each family.
    pub fn new(mut addresses: Vec<IpAddr>, port: u16) -> Result<Self> {
        addresses.sort_by_key(IpAddr::is_ipv6);
        match addresses.as_slice() {
            [v4, v6] if v4.is_ipv4() && v6.is_ipv6() => {
                Ok(Self([*v4, *v6].map(|a| (a, port).into())))
            }
            _ => Err(anyhow!("wanted one address per family: {addresses:?}")),
        }
    }

    /// The addresses.
    pub fn addresses(self) -> [IpAddr; 2] {
        self.0.map(|at| at.ip())
    }

    /// Another port at the same addresses.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self(self.addresses().map(|address| (address, port).into()))
    }

    /// Each answers one request.
    pub fn answer(self, host: &Host) -> Result<()> {
        self.into_iter().try_for_each(|to| ask::tcp(host, to).map(drop))
    }

    /// Each refuses at once.
    pub fn refuse(self, host: &Host) -> Result<()> {
        self.into_iter().try_for_each(|to| ask::refused(host, to))
    }

    /// Neither answers anything.
    pub fn stay_silent(self, host: &Host) -> Result<()> {
        self.at_once(|to| ask::unanswered(host, to))
    }

    /// Nobody on the segment of `host` answers ARP for the one or NDP for the other.
    pub fn resolve_to_nobody(self, host: &Host) -> Result<()> {
        self.at_once(|to| {
            let mac = ask::who_has(host, to.ip())?;
            ensure!(mac.is_none(), "{mac:?} answers for {}", to.ip());
            Ok(())
        })
    }

    /// As [`World::spread_over`].
    pub fn spread_over(self, world: &World, nodes: &[&str]) -> Result<()> {
        self.at_once(|to| world.spread_over(to, nodes))
    }

    /// Questions that take their time are asked side by side.
    fn at_once(self, question: impl Fn(SocketAddr) -> Result<()> + Sync) -> Result<()> {
        let question = &question;
        thread::scope(|scope| {
            let asked = self.0.map(|to| scope.spawn(move || question(to)));
            let outcomes = asked.map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic)));
            outcomes.into_iter().collect()
        })
    }

    /// The far client asks each of them until [`Loads::finish`].
    pub fn load(self, world: &World, load: impl Fn(SocketAddr) -> Load) -> Result<Loads> {
        let start = |to| load(to).start(world.client()?, &world.lab.logs());
        let [v4, v6] = self.0;
        Ok(Loads([start(v4)?, start(v6)?]))
    }
}

impl IntoIterator for Both {
    type Item = SocketAddr;
    type IntoIter = std::array::IntoIter<SocketAddr, 2>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A load at each of the two addresses.
#[derive(Debug)]
pub struct Loads([Running; 2]);

impl Loads {
    /// Stops both, reports in the order of the addresses.
    pub fn finish(self) -> Result<[Report; 2]> {
        let [v4, v6] = self.0;
        Ok([v4.finish()?, v6.finish()?])
    }

    /// Stops both; an error unless every request was answered and no connection changed its node.
    pub fn all_answered(self) -> Result<()> {
        self.finish()?.iter().try_for_each(Report::all_answered)
    }
}
