//! A group of edge hosts: what the configuration says of it, and what a host tells of it.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// `[group]`: the hosts that know of each other. The same on every host, but for `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which of the members this host is; `None` = the one with the host's name.
    pub name: Option<Arc<str>>,
    /// Where this host listens for the others; `None` = at its own address.
    pub listen: Option<SocketAddr>,
    /// The file with the key that all members share.
    pub key_file: PathBuf,
    /// How often each host is heard of by each other.
    pub heartbeat: Duration,
    /// So many heartbeats missed in a row, and a host counts as dead.
    pub misses: u32,
    /// Every host, this one too, the one that writes first where all are alive first.
    pub members: Vec<Member>,
}

/// One host of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Unique.
    pub name: Arc<str>,
    /// Where the others reach it, and from where they hear of it.
    pub address: SocketAddr,
}

impl Group {
    /// The port that is meant where none is written.
    pub const PORT: u16 = 9640;

    /// How long a host may be silent before it counts as dead.
    pub fn detection(&self) -> Duration {
        self.heartbeat.saturating_mul(self.misses)
    }

    /// The member of a name, counted in the order of rank.
    pub fn rank(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| *member.name == *name)
    }

    /// The member with an address, whatever its port.
    pub fn at(&self, address: IpAddr) -> Option<&Member> {
        self.members.iter().find(|member| member.address.ip() == address)
    }
}

/// What a host tells of its group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// This host.
    pub name: Arc<str>,
    /// What it does in the group.
    pub role: GroupRole,
    /// Who writes assignments and announces, as far as this host knows.
    pub writer: Option<Arc<str>>,
    /// Counts the hosts that have written, one after the other.
    pub term: u64,
    /// Every member, in the order of rank.
    pub members: Vec<MemberStatus>,
}

/// What a host does in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupRole {
    /// It has just started, and listens for the others before it decides anything.
    Waiting,
    /// It assigns addresses and announces them.
    Writer,
    /// It serves what the writer has assigned, and announces nothing on the segment.
    Follower,
    /// It was never told of another host that writes for the same cluster, and stays silent.
    Passive,
}

/// One member as this host sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it is heard; this host is.
    pub alive: bool,
    /// Why it is not heard; empty where it is.
    pub reason: String,
}
