//! The client of a cluster: made of the kubeconfig, made anew when that or its token changes.

use std::{future::Future, hash::RandomState, path::Path, sync::Arc};

use tokio::{sync::watch, time::sleep};

use super::{
    access::{self, Access},
    renewal::Renewal,
};
use crate::{
    kubernetes::{kept::Kept, timing::Timing},
    requests::Counter,
};

/// Provides a client, and a new one whenever what it was made of has changed; one that could not be
/// made anew stays. Renews its token where there is a place to keep it. Ends when nobody listens.
/// `tell` hears what is wrong, or that nothing is any more, and says whether anybody cares.
pub(in crate::kubernetes) async fn follow<T: Future<Output = bool>>(
    kubeconfig: Arc<Path>,
    kept: Option<Kept>,
    timing: Timing,
    requests: Counter,
    clients: watch::Sender<Option<Access>>,
    tell: impl Fn(Option<String>) -> T,
) {
    let hasher = RandomState::new();
    let mut renewal = kept.clone().map(|kept| Renewal::new(kept, timing));
    let mut used = None;
    let mut told = None;
    loop {
        let found = access::fresh(&kubeconfig, kept.as_ref(), &hasher, used).await;
        let mut wrong = found.as_ref().err().map(ToString::to_string);
        if let Ok(Some((access, fingerprint))) = found {
            used = Some(fingerprint);
            clients.send_replace(Some(Access { requests: Some(requests.clone()), ..access }));
        }
        let access = clients.borrow().clone();
        if let (Some(renewal), Some(access)) = (&mut renewal, access) {
            if renewal.renew(&access).await {
                continue;
            }
            wrong = wrong.or_else(|| renewal.trouble());
        }
        if wrong != told {
            if !tell(wrong.clone()).await {
                return;
            }
            told = wrong;
        }
        sleep(timing.credentials).await;
    }
}
