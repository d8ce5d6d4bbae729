//! What operators ask of the router: its status, drains, a confirmation.

use std::sync::Arc;

use roadstead_daemon::words::chain;
use roadstead_model::local::{Done, Refusal};
use tokio::sync::oneshot;

use super::Control;
use crate::{
    api::{DrainKind, DrainOrder, Order},
    dataplane::Dataplane,
    drain::since_boot,
};

impl<D: Dataplane> Control<D> {
    pub(super) fn carry_out(&mut self, order: Order) {
        // A caller that has gone away needs no answer.
        match order {
            Order::Status(answer) => self.asked.push((self.now(), answer)),
            Order::Drain(order, answer) => drop(answer.send(self.drain(&order))),
            Order::Confirm(answer) => self.confirm(answer),
        }
    }

    /// Answers those who ask for the status, unless a plan is due that none has preceded since they
    /// asked: what they are told is what the kernel does, not what it will do.
    pub(super) fn tell(&mut self) {
        let behind = self.dirty
            || self.snapshot.has_changed().unwrap_or(false)
            || self.sources.heard.has_changed().unwrap_or(false);
        let begun = self.begun;
        let due = self.asked.extract_if(.., |(asked, _)| !behind || *asked < begun);
        let due: Vec<_> = due.map(|(_, asker)| asker).collect();
        if due.is_empty() {
            return;
        }
        let status = Arc::new(self.status());
        for asker in due {
            // One that has gone away needs no answer.
            drop(asker.send(Arc::clone(&status)));
        }
    }

    /// The sources answer in their own time; what follows comes with their next snapshot.
    fn confirm(&self, answer: oneshot::Sender<Result<Done, Refusal>>) {
        let confirm = self.confirm.clone();
        tokio::spawn(async move {
            let message = roadstead_watch::in_words(&confirm.confirm().await);
            tracing::info!(outcome = message, "an operator confirmed the sources");
            drop(answer.send(Ok(Done { message })));
        });
    }

    fn drain(&mut self, order: &DrainOrder) -> Result<Done, Refusal> {
        let refuse = |error: &dyn std::error::Error| Refusal { error: chain(error) };
        let snapshot = self.snapshot.borrow().clone();
        let node = self.drains.named(&order.node, &snapshot).map_err(|error| refuse(&error))?;
        let deadline = self.config.router.drain_deadline;
        let message = match order.kind {
            DrainKind::Drain { until_reboot } => {
                let ordered = self.drains.order(node.clone(), until_reboot, since_boot());
                ordered.map_err(|error| refuse(&error))?;
                self.reconciler.drains.order(node.clone(), self.now() + deadline);
                let seconds = deadline.as_secs();
                format!(
                    "node {node} gets no new connections; established ones stay for {seconds} s"
                )
            }
            DrainKind::Undrain => {
                let stood = self.drains.take_back(&node).map_err(|error| refuse(&error))?;
                self.reconciler.drains.undo(&node);
                match stood {
                    true => format!("node {node} gets new connections again"),
                    false => format!("node {node} was not drained"),
                }
            }
        };
        tracing::info!("{message}");
        self.changed();
        Ok(Done { message })
    }
}
