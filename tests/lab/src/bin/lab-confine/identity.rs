//! Who the command is and what it may: `User=`, `Group=`, `CapabilityBoundingSet=`,
//! `AmbientCapabilities=`.

use std::fs;

use anyhow::{Context, Result, anyhow, ensure};
use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use roadstead_lab::unit::Unit;

/// What a unit says of it, with the names of `/etc/passwd` and `/etc/group` resolved.
pub(crate) struct Identity {
    uid: Uid,
    gid: Gid,
    bounding: CapsHashSet,
    ambient: CapsHashSet,
}

impl Identity {
    /// Reads it; called where `/etc` is the tree's.
    pub(crate) fn of(unit: &Unit) -> Result<Self> {
        let named = |key| {
            unit.last("Service", key).ok_or_else(|| anyhow!("the unit has no {key}=: it is root"))
        };
        ensure!(unit.has("Service", "CapabilityBoundingSet"), "no CapabilityBoundingSet=");
        ensure!(unit.on("Service", "NoNewPrivileges"), "no NoNewPrivileges=");
        Ok(Self {
            uid: Uid::from_raw(number("/etc/passwd", named("User")?)?),
            gid: Gid::from_raw(number("/etc/group", named("Group")?)?),
            bounding: capabilities(unit, "CapabilityBoundingSet")?,
            ambient: capabilities(unit, "AmbientCapabilities")?,
        })
    }

    /// Becomes that. Only the ambient capabilities survive the exec that follows.
    pub(crate) fn assume(&self) -> Result<()> {
        for capability in caps::runtime::thread_all_supported().difference(&self.bounding) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
        nix::sys::prctl::set_keepcaps(true)?;
        setgroups(&[self.gid])?;
        setresgid(self.gid, self.gid, self.gid)?;
        setresuid(self.uid, self.uid, self.uid)?;
        for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Ambient] {
            caps::set(None, set, &self.ambient)
                .with_context(|| format!("cannot reduce the set {set:?}"))?;
        }
        nix::sys::prctl::set_no_new_privs().context("cannot give up new privileges")
    }
}

fn capabilities(unit: &Unit, key: &str) -> Result<CapsHashSet> {
    let words = unit.words("Service", key).into_iter();
    words
        .map(|word| {
            let parsed = word.parse::<Capability>();
            parsed.map_err(|_| anyhow!("{key}=: `{word}` is no capability"))
        })
        .collect()
}

/// The number in the third field of a line that begins with `name:` (passwd(5), group(5)).
fn number(file: &str, name: &str) -> Result<u32> {
    let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    let line = line.ok_or_else(|| anyhow!("{file} has no {name}"))?;
    let field = line.split(':').nth(2).ok_or_else(|| anyhow!("{file}: `{line}`"))?;
    field.parse().with_context(|| format!("{file}: `{line}`"))
}
