//! The Lease by which hosts that were never told of each other find out that they serve one cluster:
//! `roadstead-writer` in `roadstead-system` of the first cluster, made by `roadstead kubeconfig`.
//!
//! Whoever writes to a cluster holds it, and renews it every few seconds. A host that finds it held by
//! another stays passive. It is never the only source of liveness: an API server that is away changes
//! nothing for anybody (what was seen last stands), and only a Lease that an API server shows unrenewed
//! for [`STALE`] is taken over. Where there is no Lease, or no right to it, nothing is known and nothing
//! changes.

use std::{
    hash::RandomState,
    io,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use http::{Method, Request};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use kube::client::Body;
use roadstead_model::{
    SourceName,
    config::{Daemon, Source, SourceKind},
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

use super::{
    api::{
        access::{self, Access},
        failure::Failure,
        response::{send, whole},
    },
    kept::Kept,
};
use crate::Reader;

const PATH: &str =
    "/apis/coordination.k8s.io/v1/namespaces/roadstead-system/leases/roadstead-writer";
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often its holder renews it.
const RENEW: Duration = Duration::from_secs(5);
/// How long it must stay unrenewed before another takes it.
pub const STALE: Duration = Duration::from_secs(60);
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest Lease in bytes.
const MOST: usize = 64 * 1024;

/// What is known of the Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LeaseView {
    /// It was not looked at yet.
    #[default]
    Unread,
    /// It cannot be read, or is not there.
    Unknown,
    /// Nobody else holds it.
    Ours,
    /// Another host holds it, and has renewed it lately.
    Held {
        /// As it calls itself.
        by: Arc<str>,
    },
}

/// Follows the Lease of the first cluster among `sources` as the host `identity`, and holds it while
/// `wanted`; `None` where there is no cluster. Ends when nobody looks any more.
///
/// # Errors
/// When the system gives no thread or no runtime.
pub fn follow(
    sources: &[Source],
    reader: &Reader,
    identity: Arc<str>,
    wanted: watch::Receiver<bool>,
) -> io::Result<Option<watch::Receiver<LeaseView>>> {
    let cluster = sources.iter().find_map(|source| match &source.kind {
        SourceKind::Cluster(kubeconfig) => Some((source, kubeconfig.of(Daemon::Speaker)?)),
        SourceKind::Directory(_) => None,
    });
    let Some((source, kubeconfig)) = cluster else { return Ok(None) };
    let kept = reader.state.as_ref().map(|state| Kept::new(state, &source.name));
    let (view, seen) = watch::channel(LeaseView::default());
    let keeper = Keeper {
        source: source.name.clone(),
        kubeconfig: kubeconfig.to_path_buf(),
        kept,
        book: Book::new(identity),
        wanted,
        view,
        told: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("lease".to_owned()).spawn(move || {
        runtime.block_on(keeper.run());
        // Name look-ups that hang must not hold up the end.
        runtime.shutdown_background();
    })?;
    Ok(Some(seen))
}

/// Looks and renews.
struct Keeper {
    source: SourceName,
    kubeconfig: PathBuf,
    kept: Option<Kept>,
    book: Book,
    wanted: watch::Receiver<bool>,
    view: watch::Sender<LeaseView>,
    /// What went wrong last, for the log.
    told: Option<String>,
}

impl Keeper {
    async fn run(mut self) {
        let hasher = RandomState::new();
        let (mut access, mut used) = (None::<Access>, None);
        while !self.view.is_closed() {
            let kept = self.kept.as_ref();
            match access::fresh(&self.kubeconfig, kept, &hasher, used).await {
                Ok(Some((now, fingerprint))) => (access, used) = (Some(now), Some(fingerprint)),
                Ok(None) => {}
                Err(error) => self.unknown(&error.to_string()),
            }
            if let Some(access) = &access {
                self.look(access).await;
            }
            sleep(LOOK).await;
        }
    }

    /// Looks at it, and once more where somebody else was quicker to take it.
    async fn look(&mut self, access: &Access) {
        let _ = self.looked(access).await || self.looked(access).await;
    }

    /// One look, and a renewal where one is due; false where another wrote meanwhile. It is this host's
    /// only once the server has said so: two that begin at once must not both take it for theirs.
    async fn looked(&mut self, access: &Access) -> bool {
        let object = match ask(access, Method::GET, None).await {
            Ok(object) => object,
            Err(failure) => {
                self.unknown(&failure.to_string());
                return true;
            }
        };
        self.told = None;
        let wanted = *self.wanted.borrow();
        let (view, put) = self.book.judge(&object, wanted, Instant::now());
        if put {
            let renewed = self.book.renewed(object, Timestamp::now());
            match ask(access, Method::PUT, Some(renewed)).await {
                Ok(_) => self.book.put(Instant::now()),
                Err(Failure::Refused { code: 409, .. }) => return false,
                Err(failure) => self.tell(&failure.to_string()),
            }
        }
        self.view.send_if_modified(|before| {
            let changed = *before != view;
            *before = view;
            changed
        });
        true
    }

    /// What was seen before stands: an API server that is away says nothing about any host.
    fn unknown(&mut self, why: &str) {
        self.tell(why);
        self.view.send_if_modified(|before| {
            let first = *before == LeaseView::Unread;
            if first {
                *before = LeaseView::Unknown;
            }
            first
        });
    }

    fn tell(&mut self, why: &str) {
        if self.told.as_deref() != Some(why) {
            let source = &self.source;
            tracing::info!(%source, why, "the Lease roadstead-writer cannot be used: other hosts of this cluster are not noticed");
        }
        self.told = Some(why.to_owned());
    }
}

async fn ask(access: &Access, method: Method, body: Option<Value>) -> Result<Value, Failure> {
    let broken = |error: &dyn std::error::Error| Failure::Broken(error.to_string());
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(PATH)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .map_err(|error| broken(&error))?;
    let answer = send(access, request, PATIENCE).await?;
    let text = whole(answer, MOST, PATIENCE).await?;
    let object: Value = serde_json::from_slice(&text).map_err(|error| broken(&error))?;
    match object["spec"].is_object() || object["spec"].is_null() {
        true if object.is_object() => Ok(object),
        _ => Err(Failure::Broken("no Lease".to_owned())),
    }
}

/// What is concluded from looks at the Lease.
struct Book {
    identity: Arc<str>,
    /// Holder and time of renewal as they were seen last, and since when: clocks of two hosts are not
    /// compared.
    seen: Option<(Arc<str>, Arc<str>, Instant)>,
    /// When this host renewed it.
    renewed: Option<Instant>,
}

impl Book {
    fn new(identity: Arc<str>) -> Self {
        Self { identity, seen: None, renewed: None }
    }

    /// What an object says, and whether it is to be written anew.
    fn judge(&mut self, object: &Value, wanted: bool, now: Instant) -> (LeaseView, bool) {
        let text = |key: &str| object["spec"][key].as_str().unwrap_or_default();
        let (holder, renewed) = (text("holderIdentity"), text("renewTime"));
        if holder.is_empty() {
            return (LeaseView::Ours, wanted);
        }
        if *holder == *self.identity {
            let due = self.renewed.is_none_or(|at| now.saturating_duration_since(at) >= RENEW);
            return (LeaseView::Ours, wanted && due);
        }
        let since = match &self.seen {
            Some((by, at, since)) if **by == *holder && **at == *renewed => *since,
            _ => now,
        };
        self.seen = Some((holder.into(), renewed.into(), since));
        if now.saturating_duration_since(since) >= STALE {
            return (LeaseView::Ours, wanted);
        }
        (LeaseView::Held { by: holder.into() }, false)
    }

    /// The object with this host as its holder.
    fn renewed(&self, mut object: Value, now: Timestamp) -> Value {
        let spec = &object["spec"];
        let is_new = spec["holderIdentity"].as_str() != Some(&self.identity);
        let transitions = spec["leaseTransitions"].as_i64().unwrap_or_default();
        let acquired = if is_new { json!(MicroTime(now)) } else { spec["acquireTime"].clone() };
        object["spec"] = json!({
            "holderIdentity": &*self.identity,
            "leaseDurationSeconds": STALE.as_secs(),
            "acquireTime": acquired,
            "renewTime": MicroTime(now),
            "leaseTransitions": transitions.saturating_add(i64::from(is_new)),
        });
        object
    }

    fn put(&mut self, now: Instant) {
        self.renewed = Some(now);
        self.seen = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, renewed: &str) -> Value {
        json!({ "metadata": { "resourceVersion": "7" },
                "spec": { "holderIdentity": holder, "renewTime": renewed, "leaseTransitions": 3 } })
    }

    fn held(by: &str) -> LeaseView {
        LeaseView::Held { by: by.into() }
    }

    #[test]
    fn one_that_nobody_holds_is_taken_by_who_wants_it() {
        let mut book = Book::new("edge1".into());
        let now = Instant::now();
        for empty in [json!({}), json!({ "spec": {} }), lease("", "")] {
            assert_eq!(book.judge(&empty, true, now), (LeaseView::Ours, true));
            assert_eq!(book.judge(&empty, false, now), (LeaseView::Ours, false));
        }
        let written =
            book.renewed(json!({ "metadata": { "resourceVersion": "7" } }), Timestamp::UNIX_EPOCH);
        assert_eq!(written["spec"]["holderIdentity"], "edge1");
        assert_eq!(written["spec"]["renewTime"], "1970-01-01T00:00:00.000000Z");
        assert_eq!(written["metadata"]["resourceVersion"], "7", "another's change is noticed");
    }

    #[test]
    fn the_holder_renews_it_in_its_time() {
        let mut book = Book::new("edge1".into());
        let now = Instant::now();
        let ours = lease("edge1", "a");
        assert_eq!(book.judge(&ours, true, now), (LeaseView::Ours, true), "after a restart");
        book.put(now);
        assert_eq!(book.judge(&ours, true, now + RENEW / 2), (LeaseView::Ours, false));
        assert_eq!(book.judge(&ours, true, now + RENEW), (LeaseView::Ours, true));
        assert_eq!(book.renewed(ours, Timestamp::UNIX_EPOCH)["spec"]["leaseTransitions"], 3);
    }

    /// By this host's own watch, and only while it sees it unrenewed.
    #[test]
    fn anothers_is_left_alone_until_it_was_seen_unrenewed_for_long() {
        let mut book = Book::new("edge1".into());
        let now = Instant::now();
        assert_eq!(book.judge(&lease("edge2", "a"), true, now), (held("edge2"), false));
        let later = now + STALE - Duration::from_secs(1);
        assert_eq!(book.judge(&lease("edge2", "b"), true, later), (held("edge2"), false));
        let stale = later + STALE;
        assert_eq!(book.judge(&lease("edge2", "b"), true, stale - LOOK), (held("edge2"), false));
        assert_eq!(book.judge(&lease("edge2", "b"), false, stale), (LeaseView::Ours, false));
        assert_eq!(book.judge(&lease("edge2", "b"), true, stale), (LeaseView::Ours, true));
        let taken = book.renewed(lease("edge2", "b"), Timestamp::UNIX_EPOCH);
        assert_eq!(taken["spec"]["leaseTransitions"], 4);
    }
}
