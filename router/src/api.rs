//! The router's local socket: what is programmed, and orders (see `roadstead_model::local`).

use std::sync::Arc;

use roadstead_daemon::{
    local::{Answer, Call},
    publish::Published,
};
use roadstead_model::{
    FlowFilter,
    local::{
        Done, DrainRequest, DrainTarget, FLOWS_LIMIT, FLOWS_MOST, Flows, Programmed, Refusal,
        RouterStatus,
    },
};
use tokio::sync::{Mutex, mpsc, oneshot};

/// Orders and questions waiting for the control task. People send them, so a few are enough; when
/// full, the caller waits for its turn.
pub(crate) const ORDERS: usize = 8;

/// An order or a question for the control task.
#[derive(Debug)]
pub(crate) enum Order {
    /// Describe everything.
    Status(oneshot::Sender<Arc<RouterStatus>>),
    /// Send no new flows to a node, or again.
    Drain(DrainOrder, oneshot::Sender<Result<Done, Refusal>>),
    /// Believe the sources that are in doubt.
    Confirm(oneshot::Sender<Result<Done, Refusal>>),
}

/// A node by the name that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DrainOrder {
    /// `NAME` or `SOURCE/NAME`.
    pub(crate) node: String,
    /// Start or end.
    pub(crate) kind: DrainKind,
}

/// What is to be done with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainKind {
    /// Drain it.
    Drain {
        /// Forget it at the next boot.
        until_reboot: bool,
    },
    /// End its drain.
    Undrain,
}

/// Lists flows of the kernel's table: a long look, so it runs on a thread of its own.
pub(crate) type ListFlows = dyn Fn(&FlowFilter, usize) -> Result<Flows, String> + Send + Sync;

/// What the socket's calls are answered from.
pub(crate) struct Api {
    /// Published by the control task.
    pub(crate) programmed: Published<Programmed>,
    /// To the control task.
    pub(crate) orders: mpsc::Sender<Order>,
    /// Reads the flow table.
    pub(crate) flows: Arc<ListFlows>,
    pub(crate) listing: Mutex<()>,
}

impl Api {
    /// Answers one call.
    pub(crate) async fn answer(self: Arc<Self>, call: Call) -> Answer {
        match (call.method.as_str(), call.path.as_str()) {
            ("GET", "/v1/programmed") => {
                Answer::json(self.programmed.after(call.after()).await.as_ref())
            }
            ("GET", "/v1/status") => self.status().await,
            ("GET", "/v1/flows") => self.flows(&call).await,
            ("POST", "/v1/drain") => {
                self.drain(&call, |until_reboot| DrainKind::Drain { until_reboot }).await
            }
            ("POST", "/v1/undrain") => self.drain(&call, |_| DrainKind::Undrain).await,
            ("POST", "/v1/confirm") => match call.check_privilege() {
                Ok(()) => self.order(Order::Confirm).await,
                Err(refusal) => refusal,
            },
            _ => Answer::unknown(&call),
        }
    }

    async fn status(&self) -> Answer {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(Order::Status(answer)).await.is_err() {
            return stopping();
        }
        answered.await.map_or_else(|_| stopping(), |status| Answer::json(status.as_ref()))
    }

    async fn flows(&self, call: &Call) -> Answer {
        let filter = percent_decoded(call.parameter("filter").unwrap_or_default());
        let filter = match filter.parse::<FlowFilter>() {
            Ok(filter) => filter,
            Err(error) => return Answer::bad_request(error.to_string()),
        };
        let limit = match call.parameter("limit").map(str::parse) {
            None => FLOWS_LIMIT,
            Some(Ok(limit)) if limit <= FLOWS_MOST => limit,
            Some(_) => {
                let error = format!("limit is a number of flows, {FLOWS_MOST} at most");
                return Answer::bad_request(error);
            }
        };
        // One list at a time: each takes a look at the whole table, and memory for what it finds.
        let _turn = self.listing.lock().await;
        let list = Arc::clone(&self.flows);
        match tokio::task::spawn_blocking(move || list(&filter, limit)).await {
            Ok(Ok(flows)) => Answer::json(&flows),
            Ok(Err(error)) => Answer::unavailable(error),
            Err(_) => stopping(),
        }
    }

    async fn drain(&self, call: &Call, kind: impl Fn(bool) -> DrainKind) -> Answer {
        let (node, kind) = match call.order::<DrainRequest>() {
            Ok(DrainRequest { target: DrainTarget::Node(node), until_reboot }) => {
                (node, kind(until_reboot))
            }
            Ok(DrainRequest { target: DrainTarget::Host, .. }) => {
                return Answer::bad_request("this host is the speaker's business; ask its socket");
            }
            Err(refusal) => return refusal,
        };
        self.order(|answer| Order::Drain(DrainOrder { node, kind }, answer)).await
    }

    async fn order(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<Done, Refusal>>) -> Order,
    ) -> Answer {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(order(answer)).await.is_err() {
            return stopping();
        }
        match answered.await {
            Ok(Ok(done)) => Answer::json(&done),
            Ok(Err(refusal)) => Answer::bad_request(refusal.error),
            Err(_) => stopping(),
        }
    }
}

fn stopping() -> Answer {
    Answer::unavailable("the router is stopping")
}

/// Decodes `%XX` (RFC 3986 §2.1); what is no such triple stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let decoded = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match decoded {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use roadstead_daemon::{
        local::{Client, ClientError, Server},
        publish::published,
    };

    use super::*;

    #[test]
    fn what_is_escaped_is_read_and_what_is_not_stays() {
        assert_eq!(percent_decoded("vip%3D%5B2001%3adb8::1%5D"), "vip=[2001:db8::1]");
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%4"), "%zz%4");
    }

    /// A served socket whose control task takes every drain.
    async fn served(directory: &std::path::Path) -> (Client, tokio::task::JoinHandle<()>) {
        let (orders, mut waiting) = mpsc::channel(ORDERS);
        let (publisher, programmed) = published(Programmed::default());
        let flows: Arc<ListFlows> = Arc::new(|filter, limit| Err(format!("{filter} {limit}")));
        let api = Arc::new(Api { programmed, orders, flows, listing: Mutex::default() });
        let socket = directory.join("local.sock");
        let server = Server::bind(&socket).unwrap();
        let task = tokio::spawn(async move {
            let serving = server.serve(move |call| Arc::clone(&api).answer(call));
            let control = async {
                while let Some(order) = waiting.recv().await {
                    let (message, answer) = match order {
                        Order::Drain(order, answer) => (format!("{order:?}"), answer),
                        Order::Confirm(answer) => ("confirmed".to_owned(), answer),
                        Order::Status(_) => continue,
                    };
                    let _ = answer.send(Ok(Done { message }));
                }
            };
            tokio::join!(serving, control);
            drop(publisher);
        });
        (Client::new(socket), task)
    }

    #[tokio::test]
    async fn orders_reach_the_control_task_and_nonsense_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let (client, task) = served(directory.path()).await;
        let order = |target| DrainRequest { target, until_reboot: false };
        let node = order(DrainTarget::Node("n1".into()));
        let done: Done = client.post("/v1/undrain", &node).await.unwrap();
        assert!(done.message.contains("n1") && done.message.contains("Undrain"));
        let done: Done = client.post("/v1/confirm", &()).await.unwrap();
        assert_eq!(done.message, "confirmed");
        let host = client.post::<_, Done>("/v1/drain", &order(DrainTarget::Host)).await;
        assert!(matches!(host, Err(ClientError::Refused(why)) if why.contains("speaker")));
        let flows = client.get::<Flows>("/v1/flows?filter=vip%3D192.0.2.10&limit=5").await;
        assert!(matches!(flows, Err(ClientError::Refused(why)) if why == "vip=192.0.2.10 5"));
        for limit in ["100001", "18446744073709551616", "many"] {
            let flows = client.get::<Flows>(&format!("/v1/flows?limit={limit}")).await;
            assert!(
                matches!(flows, Err(ClientError::Refused(why)) if why.contains("100000 at most"))
            );
        }
        let flows = client.get::<Flows>("/v1/flows?filter=banana").await;
        assert!(matches!(flows, Err(ClientError::Refused(why)) if why.contains("banana")));
        task.abort();
    }
}
