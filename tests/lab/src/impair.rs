//! Impairments by nftables' netdev hooks, removed on drop.
//!
//! The ingress hook of nftables comes after tc: a rule on a leg of the edge would act behind the
//! dataplane program. Impair the port of the switch, or the host at the other end.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Result, ensure};

use crate::host::Host;

/// The side of an interface on which a rule acts, as seen from its own host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the interface receives.
    In,
    /// What the interface sends.
    Out,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "ingress",
            Self::Out => "egress",
        })
    }
}

/// Rules in force until this is dropped.
#[derive(Debug)]
pub struct Impairment {
    host: Host,
    table: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Host {
    /// Puts a netdev rule on an interface, for instance `ether type arp drop` or
    /// `udp dport 53 numgen random mod 100 < 10 drop`.
    pub fn impair(&self, interface: &str, side: Direction, rule: &str) -> Result<Impairment> {
        let table = format!("lab{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let text = format!(
            "table netdev {table} {{\nchain c {{\n\
             type filter hook {side} device \"{interface}\" priority 0;\n{rule}\n}}\n}}\n"
        );
        self.feed(&["nft", "-f", "-"], &text)?;
        Ok(Impairment { host: self.clone(), table })
    }

    /// Loses every frame of an interface, without the carrier telling anybody.
    pub fn cut(&self, interface: &str) -> Result<[Impairment; 2]> {
        Ok([
            self.impair(interface, Direction::In, "drop")?,
            self.impair(interface, Direction::Out, "drop")?,
        ])
    }

    /// Loses `percent` of the frames that an interface receives, at random.
    pub fn lose(&self, interface: &str, percent: u8) -> Result<Impairment> {
        ensure!(percent <= 100, "{percent} % is more than all");
        let rule = format!("numgen random mod 100 < {percent} drop");
        self.impair(interface, Direction::In, &rule)
    }
}

impl Drop for Impairment {
    fn drop(&mut self) {
        drop(self.host.run(&["nft", "delete", "table", "netdev", &self.table]));
    }
}
