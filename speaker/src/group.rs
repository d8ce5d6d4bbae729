//! The other hosts of the group: who writes, and what the writer has assigned.
//!
//! ```text
//!  Speaker ── Own (what it has on disk; whether it may write) ──▶ group::run ◀──▶ a link to each host
//!          ◀── View (role, the writer's assignments, status) ───┘
//! ```
//!
//! [`Task::run`] is one future within the speaker's one `select!`, on the thread that decides and
//! announces: a speaker that hangs is not heard of, and another takes over. It decides nothing itself;
//! the [`Election`](roadstead_speaker_core::group::Election) does. Cancelling it closes the links; what
//! must outlive it is on disk.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context, Result, anyhow};
use nix::unistd::gethostname;
use roadstead_link::Key;
use roadstead_model::{
    config,
    group::{GroupRole, GroupStatus},
};
use roadstead_speaker_core::{
    gate::Elsewhere,
    group::{Rank, Version, message::Assigned},
};
use tokio::sync::watch;

mod links;
mod memory;
mod task;

pub(crate) use task::Task;

/// What this host tells the group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    /// Whether it may write: it is not drained, or not silent yet.
    pub(crate) leaves: bool,
    /// How new the assignments on its disk are; `None`: as before.
    pub(crate) version: Option<Version>,
    /// The message with them; empty on a host that does not write.
    pub(crate) assigned: Arc<[u8]>,
}

impl Own {
    /// Takes another value; says whether it is one.
    pub(crate) fn becomes(&mut self, now: Self) -> bool {
        let same = (self.leaves, self.version) == (now.leaves, now.version)
            && (Arc::ptr_eq(&self.assigned, &now.assigned) || self.assigned == now.assigned);
        *self = now;
        !same
    }
}

/// What this host knows of the group.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// What it does.
    pub(crate) role: Role,
    /// The writer's assignments, on a host that hears it.
    pub(crate) assigned: Option<Arc<Assigned>>,
    /// For people; `None` where there is no group.
    pub(crate) status: Option<GroupStatus>,
}

/// What this host does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// There is no group.
    #[default]
    Alone,
    /// It listens before it decides anything.
    Starting,
    /// It assigns and announces.
    Writer {
        /// Its term.
        term: u64,
    },
    /// Another does.
    Follower(Elsewhere),
}

impl Role {
    /// Whether this host assigns addresses, announces them, and tells the cluster so.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Alone | Self::Writer { .. })
    }

    /// Who announces instead of this host.
    pub(crate) fn elsewhere(&self) -> Option<&Elsewhere> {
        match self {
            Self::Follower(elsewhere) => Some(elsewhere),
            Self::Alone | Self::Starting | Self::Writer { .. } => None,
        }
    }

    /// As `status` tells it.
    pub(crate) fn told(&self) -> Option<GroupRole> {
        match self {
            Self::Alone => None,
            Self::Starting => Some(GroupRole::Waiting),
            Self::Writer { .. } => Some(GroupRole::Writer),
            Self::Follower(Elsewhere::Stranger(_)) => Some(GroupRole::Passive),
            Self::Follower(Elsewhere::Writer(_) | Elsewhere::NoWriter) => Some(GroupRole::Follower),
        }
    }
}

/// The group as it was configured, with what is on this host.
#[derive(Debug)]
pub(crate) struct Setup {
    config: config::Group,
    me: Rank,
    key: Key,
}

impl Setup {
    /// Finds this host among the members, and reads the key.
    pub(crate) fn read(config: &config::Group) -> Result<Self> {
        let name = match &config.name {
            Some(name) => name.to_string(),
            None => hostname()?,
        };
        let me = config.rank(&name).ok_or_else(|| not_a_member(config, &name))?;
        let key = Key::read(&config.key_file)?;
        Ok(Self { config: config.clone(), me, key })
    }

    fn name_of(&self, rank: Rank) -> Option<Arc<str>> {
        self.config.members.get(rank).map(|member| member.name.clone())
    }

    /// The other member that has an address.
    fn rank_at(&self, address: IpAddr) -> Option<Rank> {
        let member = self.config.at(address.to_canonical())?;
        self.config.rank(&member.name).filter(|rank| *rank != self.me)
    }

    fn name(&self) -> Arc<str> {
        self.name_of(self.me).unwrap_or_default()
    }

    fn address(&self) -> Option<IpAddr> {
        self.config.members.get(self.me).map(|member| member.address.ip())
    }
}

/// The host's name.
pub(crate) fn hostname() -> Result<String> {
    let name = gethostname().context("the kernel does not tell the host's name; set group.name")?;
    name.into_string().ok().context("the host's name is no text; set group.name")
}

fn not_a_member(config: &config::Group, name: &str) -> anyhow::Error {
    let members: Vec<&str> = config.members.iter().map(|member| &*member.name).collect();
    anyhow!(
        "no [[group.member]] is called as this host, `{name}`: name it so, or set group.name to one of {}",
        members.join(", ")
    )
}

/// Runs the group where there is one; never ends by itself.
pub(crate) async fn run(
    task: Option<Task>,
    own: watch::Receiver<Own>,
    view: watch::Sender<View>,
) -> Result<()> {
    match task {
        Some(task) => task.run(own, view).await,
        None => std::future::pending().await,
    }
}
