//! A cluster's API server as a source: the same view as from a directory of manifests.
//!
//! ```text
//!            ┌─ clients: kubeconfig and what it names ─ client ┐
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
//! # The floors, the lowest first; none knows one above it
//!
//! | | |
//! |---|---|
//! | `timing`, `kept` | how long things take, and what outlives the daemon |
//! | `api` | speaking to an API server: credentials, answers within bounds, failures, waits |
//! | `read` | what it has: text → objects → what is believed of the cluster, one reflector for each kind |
//! | `write` | what the speaker decided, on the Services: one desk for each cluster |
//! | `owner` | the task that has a cluster's state and starts all others |
//!
//! Beside `owner` stand [`setup`], what an operator has done once for all of this (`roadstead
//! kubeconfig`), and [`lease`], by which hosts find out that they serve one cluster.
//!
//! # What is asked for
//! Services of type LoadBalancer, Nodes, Namespaces, EndpointSlices that belong to a Service and
//! are not headless. One list at the start (streamed where the server does that, else by pages),
//! then a watch with bookmarks that is renewed before it runs out. A list again only where the
//! server says that it must be (410), or has lost history. What nobody reads of an object is not
//! even parsed, and what is parsed is dropped as soon as the object is made.
//!
//! # Memory (S7)
//! An event has at most `MAX_EVENT` bytes, a page `MAX_PAGE` (`api/response`), an object `MAX_VALUES`
//! values (`read/json`); of each kind at most so many objects are kept as `resource` says. Channels are bounded,
//! and a reflector whose owner is busy reads no further from its connection.

mod api;
mod kept;
pub mod lease;
mod owner;
mod read;
pub mod setup;
mod timing;
pub(crate) mod write;

use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

pub use api::access::{AccessError, check};
pub(crate) use kept::Kept;
pub(crate) use owner::Target;
pub(crate) use timing::Timing;
pub use write::Reporting;

use crate::{confirm::Confirmed, view::Views};
use owner::{Order, Owner};

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
