//! The speaker's local socket: the only authority on assignments (see `roadstead_model::local`).

use std::sync::Arc;

use roadstead_daemon::{
    local::{Answer, Call},
    publish::Published,
};
use roadstead_model::local::{
    Assignments, Done, DrainRequest, DrainTarget, Lease, Refusal, ReleaseRequest, SpeakerStatus,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Orders waiting for the control task. People give them, so a few are enough; when full, the
/// caller waits for its turn.
pub(crate) const ORDERS: usize = 8;

/// An order from the socket, with the place for its answer.
#[derive(Debug)]
pub(crate) struct Order {
    /// What to do.
    pub(crate) what: What,
    /// Answered when it is done, and on disk.
    pub(crate) answer: oneshot::Sender<Result<Done, Refusal>>,
}

/// What may be ordered.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Withdraw every announcement.
    Drain {
        /// Forget it at the next boot.
        until_reboot: bool,
    },
    /// Take that back.
    Undrain {
        /// Only the order that a boot forgets.
        until_reboot: bool,
    },
    /// Believe the sources that are in doubt.
    Confirm,
    /// Give up what is kept under a reservation: `[SOURCE/]NAMESPACE/NAME`.
    Release(String),
}

/// What the socket's calls are answered from.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// Published by the control task.
    pub(crate) assignments: Published<Assignments>,
    /// Published by the control task.
    pub(crate) status: Published<SpeakerStatus>,
    /// Renewed by the group's task.
    pub(crate) lease: watch::Receiver<Lease>,
    /// To the control task.
    pub(crate) orders: mpsc::Sender<Order>,
}

impl Api {
    /// Answers one call.
    pub(crate) async fn answer(self: Arc<Self>, call: Call) -> Answer {
        match (call.method.as_str(), call.path.as_str()) {
            ("GET", "/v1/assignments") => {
                Answer::json(self.assignments.after(call.after()).await.as_ref())
            }
            ("GET", "/v1/lease") => Answer::json(&*self.lease.borrow()),
            ("GET", "/v1/status") => Answer::json(self.status.current().as_ref()),
            ("POST", "/v1/drain") => {
                self.drain(&call, |until_reboot| What::Drain { until_reboot }).await
            }
            ("POST", "/v1/undrain") => {
                self.drain(&call, |until_reboot| What::Undrain { until_reboot }).await
            }
            ("POST", "/v1/confirm") => match call.check_privilege() {
                Ok(()) => self.order(What::Confirm).await,
                Err(refusal) => refusal,
            },
            ("POST", "/v1/release") => match call.order::<ReleaseRequest>() {
                Ok(request) => self.order(What::Release(request.reservation)).await,
                Err(refusal) => refusal,
            },
            _ => Answer::unknown(&call),
        }
    }

    async fn drain(&self, call: &Call, what: impl Fn(bool) -> What) -> Answer {
        match call.order::<DrainRequest>() {
            Ok(DrainRequest { target: DrainTarget::Host, until_reboot }) => {
                self.order(what(until_reboot)).await
            }
            Ok(DrainRequest { target: DrainTarget::Node(name), .. }) => Answer::bad_request(
                format!("node `{name}` is the router's business; ask its socket"),
            ),
            Err(refusal) => refusal,
        }
    }

    async fn order(&self, what: What) -> Answer {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(Order { what, answer }).await.is_err() {
            return Answer::unavailable("the speaker is stopping");
        }
        match answered.await {
            Ok(Ok(done)) => Answer::json(&done),
            Ok(Err(refusal)) => Answer::bad_request(refusal.error),
            Err(_) => Answer::unavailable("the speaker is stopping"),
        }
    }
}
