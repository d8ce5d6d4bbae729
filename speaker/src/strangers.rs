//! Hosts that this one was never told of, and that write for the same cluster: they hold its Lease, and
//! this host stays passive.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::Arc,
    time::Duration,
};

use roadstead_model::{
    config::{Config, Daemon},
    group::GroupRole,
};
use roadstead_speaker_core::gate::Elsewhere;
use roadstead_watch::{
    Reader,
    kubernetes::lease::{self, LeaseView},
};
use tokio::{sync::watch, time::Instant};

use crate::group::{Role, View};

/// How long a start waits for the first look at the Lease: an API server that is away holds nobody up
/// for longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of strangers.
pub(crate) struct Strangers {
    /// `None` where there is no cluster.
    lease: Option<watch::Receiver<LeaseView>>,
    /// Whether this host, or its group, wants to hold it.
    wanted: watch::Sender<bool>,
    until: Instant,
}

impl Strangers {
    /// Looks at the Lease of the first cluster. A host is known by a name that it made for itself and
    /// keeps in its state directory; a group by its members.
    pub(crate) fn watch(config: &Config, state: &Path) -> Self {
        let (wanted, wish) = watch::channel(false);
        let reader = Reader::of(Daemon::Speaker, &config.paths);
        let lease = lease::follow(&config.sources, &reader, identity(config, state), wish);
        let lease = lease.unwrap_or_else(|error| {
            tracing::warn!(%error, "the Lease of the cluster is not watched");
            None
        });
        Self { lease, wanted, until: Instant::now() + PATIENCE }
    }

    /// When something is to be decided although nothing happens.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.is_unread().then_some(self.until)
    }

    fn is_unread(&self) -> bool {
        let unread = |view: &watch::Receiver<LeaseView>| *view.borrow() == LeaseView::Unread;
        self.lease.as_ref().is_some_and(unread) && Instant::now() < self.until
    }

    /// Resolves when the Lease says something else. Cancelling is safe.
    pub(crate) async fn changed(&mut self) {
        let changed = match &mut self.lease {
            Some(lease) => lease.changed().await,
            None => std::future::pending().await,
        };
        if changed.is_err() {
            // Its thread is gone, with what it said last.
            std::future::pending::<()>().await;
        }
    }

    /// What this host does, beside strangers.
    pub(crate) fn beside(&self, mut view: View) -> View {
        let writes = view.role.writes();
        self.wanted.send_if_modified(|before| std::mem::replace(before, writes) != writes);
        let Some(lease) = self.lease.as_ref().filter(|_| writes) else { return view };
        view.role = match &*lease.borrow() {
            LeaseView::Unread if self.is_unread() => Role::Starting,
            LeaseView::Held { by } => Role::Follower(Elsewhere::Stranger(by.clone())),
            LeaseView::Unread | LeaseView::Unknown | LeaseView::Ours => return view,
        };
        if let Some(status) = &mut view.status {
            status.role = view.role.told().unwrap_or(GroupRole::Waiting);
        }
        view
    }
}

/// How this host, or its group, is called in the Lease.
fn identity(config: &Config, state: &Path) -> Arc<str> {
    match &config.group {
        Some(group) => {
            let names: Vec<&str> = group.members.iter().map(|member| &*member.name).collect();
            names.join("+").into()
        }
        None => own_name(state),
    }
}

/// The host's name with a number of its own: machines made from one image have one name.
fn own_name(state: &Path) -> Arc<str> {
    let file = state.join("identity");
    if let Ok(name) = fs::read_to_string(&file)
        && !name.trim().is_empty()
    {
        return name.trim().into();
    }
    let host = crate::group::hostname().unwrap_or_else(|_| "host".to_owned());
    let number = RandomState::new().hash_one(&host);
    let name = format!("{host}-{number:016x}");
    if let Err(error) = fs::write(&file, format!("{name}\n")) {
        tracing::warn!(%error, "this host's name in Leases is not kept: after a restart it is another");
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(lease: LeaseView) -> (Strangers, watch::Sender<LeaseView>, watch::Receiver<bool>) {
        let (wanted, wish) = watch::channel(false);
        let (view, seen) = watch::channel(lease);
        let until = Instant::now() + PATIENCE;
        (Strangers { lease: Some(seen), wanted, until }, view, wish)
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_for_the_first_look_and_not_for_ever() {
        let (strangers, view, wish) = beside(LeaseView::Unread);
        assert_eq!(strangers.beside(View::default()).role, Role::Starting);
        assert!(*wish.borrow(), "it is asked for");
        tokio::time::advance(PATIENCE).await;
        assert_eq!(strangers.beside(View::default()).role, Role::Alone);
        view.send_replace(LeaseView::Held { by: "edge9".into() });
        let elsewhere = Elsewhere::Stranger("edge9".into());
        assert_eq!(strangers.beside(View::default()).role, Role::Follower(elsewhere));
        view.send_replace(LeaseView::Ours);
        assert_eq!(strangers.beside(View::default()).role, Role::Alone);
    }

    #[tokio::test]
    async fn a_follower_leaves_the_lease_to_its_writer() {
        let (strangers, _view, wish) = beside(LeaseView::Held { by: "edge9".into() });
        let role = Role::Follower(Elsewhere::Writer("edge2".into()));
        let view = View { role: role.clone(), ..View::default() };
        assert_eq!(strangers.beside(view).role, role);
        assert!(!*wish.borrow());
    }

    #[test]
    fn a_host_keeps_the_name_that_it_made_for_itself() {
        let state = tempfile::tempdir().unwrap();
        let name = own_name(state.path());
        assert_eq!(own_name(state.path()), name);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(own_name(other.path()), name);
    }
}
