//! The legs as they come and go, and the program on each.

use std::sync::Arc;

use roadstead_router_core::host::Host;

use super::{Control, LOOK, RETRY};
use crate::dataplane::Dataplane;

impl<D: Dataplane> Control<D> {
    pub(super) fn host_changed(&mut self) {
        self.attach();
        self.changed();
    }

    /// A leg whose program was taken off gets it again, or is told of.
    pub(super) fn look_at_legs(&mut self) {
        self.look = self.now() + LOOK;
        let before = self.attached.clone();
        self.attach();
        if self.attached != before {
            self.changed();
        }
    }

    /// Attaches the program to the legs as they are now.
    pub(super) fn attach(&mut self) {
        let Some(host) = self.sources.host.borrow_and_update().clone() else { return };
        let attached = self.reconciler.maps.attach(&host.legs);
        for (ifindex, outcome) in &attached {
            if let Err(error) = outcome
                && self.attached.get(ifindex) != Some(outcome)
            {
                let leg = host.legs.get(ifindex).map(|leg| leg.name.as_ref()).unwrap_or_default();
                tracing::error!(leg, %error, "the program is not attached");
            }
        }
        if attached.values().any(Result::is_err) {
            self.retry = Some(self.now() + RETRY);
        }
        let mut host = Host::clone(&host);
        for (ifindex, leg) in &mut host.legs {
            leg.attached = attached.get(ifindex).is_some_and(Result::is_ok);
        }
        self.attached = attached;
        self.host = Some(Arc::new(host));
    }
}
