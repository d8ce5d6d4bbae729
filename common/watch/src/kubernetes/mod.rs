//! A cluster's API server as a source: the same view as from a directory of manifests.
//!
//! ```text
//!            ┌─ access: kubeconfig and what it names ─ client ─┐
//! thread ────┤                                                 ▼
//!            ├─ reflector (Service) ──┐
//!            ├─ reflector (Node) ─────┤ news (bounded)
//!            ├─ reflector (Namespace) ┼──────▶ owner: state ─▶ views
//!            └─ reflector (Endpoint…) ┘          ▲
//!                                                └─ orders to confirm
//! ```
//!
//! A thread of its own with a runtime of its own for each cluster: thousands of objects that are
//! read must never hold up the runtime that answers ARP, and what one cluster does, or fails to do,
//! is its own matter (S6). Dropping [`Watching`] ends it all; what is written to the disk (`kept`) is
//! replaced whole, so that ending at any moment is safe.
//!
//! From the inside out: `json` makes trees of text, `convert` objects of trees (by the rules that
//! manifests follow too), `decode` reads pages and events; `response` and `request` carry them;
//! `reflector` follows one kind; `state` (pure) decides what is believed; `owner` sends views.
//! `access` renews the token that it speaks with (`token`), and `setup` is what an operator has done
//! once for all of this: `roadstead kubeconfig`.
//!
//! # What is asked for
//! Services of type LoadBalancer, Nodes, Namespaces, EndpointSlices that belong to a Service and
//! are not headless. One list at the start (streamed where the server does that, else by pages),
//! then a watch with bookmarks that is renewed before it runs out. A list again only where the
//! server says that it must be (410), or has lost history. What nobody reads of an object is not
//! even parsed, and what is parsed is dropped as soon as the object is made.
//!
//! # Memory (S7)
//! An event has at most [`MAX_EVENT`] bytes, a page [`MAX_PAGE`], an object `json::MAX_VALUES`
//! values; of each kind at most so many objects are kept as `resource` says. Channels are bounded,
//! and a reflector whose owner is busy reads no further from its connection.

mod access;
mod backoff;
mod convert;
mod decode;
mod json;
mod kept;
pub mod lease;
mod owner;
mod reflector;
mod renewal;
mod request;
mod resource;
mod response;
pub mod setup;
mod state;
mod token;
mod version;
pub(crate) mod writer;

use std::{io, path::PathBuf, sync::Arc, thread, time::Duration};

use roadstead_model::{SourceName, config::Daemon};
use tokio::sync::{mpsc, oneshot};

pub use access::{AccessError, check};
pub(crate) use kept::Kept;
pub use writer::Reporting;

use crate::{confirm::Confirmed, manifests::thread::Views, requests::Requests};
use owner::Owner;

/// Largest event of a watch in bytes. etcd takes objects of 1.5 MiB, which are up to twice that in
/// JSON.
const MAX_EVENT: usize = 4 << 20;
/// Largest page of a list in bytes; where one is larger, fewer objects are asked for at once.
const MAX_PAGE: usize = 16 << 20;

/// The spans of time that watching a cluster knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// How long changes are gathered before a view is made of them.
    pub(crate) settle: Duration,
    /// How long the beginning of an answer is waited for.
    pub(crate) answer: Duration,
    /// How long a watch may be silent: the API sends a bookmark each minute.
    pub(crate) idle: Duration,
    /// How long a watch is asked to last, in whole seconds; up to a fifth is added by chance.
    pub(crate) watch: Duration,
    /// How long a watch must last to prove that all is well.
    pub(crate) healthy: Duration,
    /// The mean wait after a first failure.
    pub(crate) retry: Duration,
    /// The longest wait after failures.
    pub(crate) retry_most: Duration,
    /// The longest wait that the API server may ask for (`Retry-After`).
    pub(crate) asked_most: Duration,
    /// How often credentials on the disk are looked at.
    pub(crate) credentials: Duration,
    /// How long to wait after a token was renewed, or could not be.
    pub(crate) renewal: Duration,
    /// How long to wait before a kind is asked for again that the server did not know.
    pub(crate) absent: Duration,
    /// The mean wait before a kind is listed again whose list is not believed: the server may have
    /// come to itself without a word.
    pub(crate) doubt: Duration,
    /// How often it is written down how far history was followed.
    pub(crate) notes: Duration,
}

impl Timing {
    /// What daemons use. A watch with its addition stays below the 295 s that kube allows.
    pub(crate) const DEFAULT: Self = Self {
        settle: Duration::from_millis(5),
        answer: Duration::from_secs(15),
        idle: Duration::from_secs(90),
        watch: Duration::from_secs(240),
        healthy: Duration::from_secs(10),
        retry: Duration::from_millis(200),
        retry_most: Duration::from_secs(30),
        asked_most: Duration::from_secs(300),
        credentials: Duration::from_secs(5),
        renewal: Duration::from_secs(60),
        absent: Duration::from_secs(60),
        doubt: Duration::from_secs(60),
        notes: Duration::from_secs(10),
    };
}

/// A cluster as one daemon watches it.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) source: SourceName,
    /// How it is reached.
    pub(crate) kubeconfig: PathBuf,
    /// Who watches: each daemon asks for what it needs only.
    pub(crate) daemon: Daemon,
    /// The namespace whose MetalLB objects are read, if any.
    pub(crate) metallb: Option<Arc<str>>,
    /// Where things are kept that outlive the daemon.
    pub(crate) kept: Option<Kept>,
    /// What is to be written to it, where anything is.
    pub(crate) reporting: Option<Reporting>,
    /// Where its requests are counted.
    pub(crate) requests: Requests,
}

/// An order to confirm, with the place for its answer.
type Order = oneshot::Sender<Confirmed>;

/// Orders that wait; there is one at a time.
const ORDERS: usize = 4;

/// A cluster that is watched. Dropping it ends the watch.
#[derive(Debug)]
pub(crate) struct Watching {
    orders: mpsc::Sender<Order>,
}

impl Watching {
    /// Orders to take what the API last said as the truth. The answer is there once the view that
    /// follows from it was sent; none comes from a watch that has ended.
    pub(crate) fn confirm(&self) -> oneshot::Receiver<Confirmed> {
        let (answer, answered) = oneshot::channel();
        // An order that does not fit, or comes to a watch that has ended, drops the answer, which
        // tells as much.
        let _ = self.orders.try_send(answer);
        answered
    }
}

/// Starts to watch a cluster: a view is sent whenever it changed, the first one once every kind was
/// listed. That the API server cannot be reached is no error.
///
/// # Errors
/// When the system gives no thread or no runtime.
pub(crate) fn start(target: Target, timing: Timing, views: Views) -> io::Result<Watching> {
    let (orders, waiting) = mpsc::channel(ORDERS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watch = move || {
        let owner = Owner::new(target, timing, views, waiting);
        runtime.block_on(owner.run());
        // Name look-ups that hang must not hold up the end.
        runtime.shutdown_background();
    };
    thread::Builder::new().name("cluster".to_owned()).spawn(watch)?;
    Ok(Watching { orders })
}

#[cfg(test)]
mod tests;
