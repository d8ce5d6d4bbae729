//! The control as a member of a group: what it takes from the writer, and what it gives as one.

use std::sync::Arc;

use roadstead_model::{group::GroupStatus, local::SpeakerStatus};
use roadstead_speaker_core::group::{Version, message::Assigned};

use super::Control;
use crate::{
    conflicts::Conflicts,
    group::{Own, Role, View},
};

/// What a control knows of its group.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    /// What this host does.
    pub(crate) role: Role,
    /// For people.
    pub(crate) status: Option<GroupStatus>,
    /// What was last taken from a writer.
    adopted: Option<Arc<Assigned>>,
    /// What the others were last told.
    told: Option<(Version, Arc<[u8]>)>,
}

impl Control {
    /// Generation of the ledger that a restart would find.
    pub(crate) fn edition(&self) -> u64 {
        self.store.held().generation()
    }

    /// Nothing is decided yet: people are told what is waited for.
    pub(crate) fn listen(&mut self, group: Option<GroupStatus>) {
        let told = self.status.current();
        if told.group != group {
            self.status.publish(SpeakerStatus { group, ..(*told).clone() });
        }
    }

    /// Why this host may not change what is assigned; `None`: it may.
    pub(crate) fn who_else_writes(&self) -> Option<String> {
        let writer = self.membership.status.as_ref().and_then(|group| group.writer.as_deref());
        let writer = writer.unwrap_or("no host yet");
        (!self.membership.role.writes())
            .then(|| format!("{writer} writes for the group of this host: order it there"))
    }

    /// Takes in what the group says. The next step acts on it.
    pub(crate) fn attend(&mut self, view: &View) {
        if let Some(assigned) = &view.assigned {
            self.adopt(assigned);
        }
        let followed = self.membership.role.elsewhere().is_some();
        if followed && view.role.writes() {
            let last = self.membership.adopted.take();
            self.gate.take_over(last.iter().flat_map(|last| &last.announced).copied());
        }
        if view.role.elsewhere().is_some() {
            // Whoever was seen to answer was the writer, most likely.
            self.conflicts = Conflicts::default();
        }
        self.membership.role = view.role.clone();
        self.membership.status.clone_from(&view.status);
    }

    fn adopt(&mut self, assigned: &Arc<Assigned>) {
        if self.membership.adopted.as_ref().is_some_and(|last| Arc::ptr_eq(last, assigned)) {
            return;
        }
        self.allocator.adopt(&assigned.ledger);
        self.membership.adopted = Some(assigned.clone());
    }

    /// What the others are told: a ledger that the disk has not taken is not spoken of.
    pub(crate) fn own(&mut self) -> Own {
        let leaves = self.drained && self.is_silent();
        match self.membership.role {
            Role::Writer { term } => {
                let version = Version { term, edition: self.edition() };
                let assigned = self.assigned(version);
                Own { leaves, version: Some(version), assigned }
            }
            Role::Alone | Role::Starting | Role::Follower(_) => {
                Own { leaves, version: self.followed(), assigned: Arc::default() }
            }
        }
    }

    /// How new what the disk has of the writer is.
    fn followed(&self) -> Option<Version> {
        let kept = self.membership.adopted.as_ref().filter(|_| !self.store.is_behind());
        kept.map(|assigned| assigned.version)
    }

    /// The message for the others, made anew where something changed.
    fn assigned(&mut self, version: Version) -> Arc<[u8]> {
        if let Some((_, message)) = self.membership.told.as_ref().filter(|(of, _)| *of == version) {
            return message.clone();
        }
        let current = self.assignments.current();
        let announced = current.vips.iter().filter(|vip| !vip.answer_on.is_empty());
        let announced = announced.map(|vip| vip.address).collect();
        let message: Arc<[u8]> = Assigned::encode(version, self.store.held(), announced).into();
        self.membership.told = Some((version, message.clone()));
        message
    }
}
