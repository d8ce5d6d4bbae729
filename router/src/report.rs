//! What the router tells people.

use roadstead_model::{
    local::{DaemonStatus, LegStatus, RouterService, RouterStatus},
    reason::{Condition, ConditionStatus},
};
use roadstead_router_core::plan::Status;

use crate::{control::Control, dataplane::Dataplane};

const NO_LEG: &str = "no interface fits: name one that is up in router.interfaces";

impl<D: Dataplane> Control<D> {
    /// The answer to `GET /v1/status`.
    pub(crate) fn status(&self) -> RouterStatus {
        let now = self.now();
        let Status { mut services, lists, nodes } =
            self.world().map(|world| self.reconciler.status(&world, now)).unwrap_or_default();
        if self.has_no_leg() {
            services.iter_mut().for_each(reached_by_no_packet);
        }
        RouterStatus {
            daemon: DaemonStatus {
                name: "router".to_owned(),
                version: roadstead_daemon::VERSION.to_owned(),
                ready: self.sinks.readiness.is_ready(),
                generation: self.snapshot.borrow().generation,
                conditions: self.conditions(),
            },
            services,
            lists,
            nodes,
            legs: self.legs(),
            drops: self.reconciler.maps.drops(),
            flows: (self.flows, u64::from(self.reconciler.maps.capacity().flows)),
        }
    }

    fn has_no_leg(&self) -> bool {
        self.host.as_ref().is_some_and(|host| host.legs.is_empty())
    }

    /// Named interfaces that are no leg.
    fn missing_legs(&self) -> Option<String> {
        let (host, named) = (self.host.as_ref()?, self.config.router.interfaces.as_deref()?);
        let is_leg = |name: &str| host.legs.values().any(|leg| *leg.name == *name);
        let missing: Vec<&str> =
            named.iter().map(AsRef::as_ref).filter(|name| !is_leg(name)).collect();
        (!missing.is_empty()).then(|| missing.join(", "))
    }

    fn legs(&self) -> Vec<LegStatus> {
        let Some(host) = &self.host else { return Vec::new() };
        let legs = host.legs.iter().map(|(ifindex, leg)| LegStatus {
            name: leg.name.clone(),
            attached: leg.attached,
            reason: match self.attached.get(ifindex) {
                Some(Err(error)) => error.clone(),
                Some(Ok(())) | None => String::new(),
            },
        });
        legs.collect()
    }

    /// What is not well with the router itself.
    fn conditions(&self) -> Vec<Condition> {
        let bad = |kind: &str, reason: &str, message: String| {
            Condition::new(kind, ConditionStatus::False, reason, message)
        };
        let mut conditions = Vec::new();
        for problem in self.pools.problems() {
            conditions.push(bad("PoolsTaken", "Refused", problem.to_string()));
        }
        let heard = self.sources.heard.borrow();
        if !heard.connected {
            let message = match heard.assignments {
                Some(_) => "the speaker does not answer: its last assignments are served",
                None => "the speaker has not answered yet: nothing is assigned",
            };
            conditions.push(bad("SpeakerConnected", "NoAnswer", message.to_owned()));
        }
        if let Some(why) = &*self.sources.stale_config.borrow() {
            conditions.push(bad("ConfigurationCurrent", "ReloadRefused", why.clone()));
        }
        if let Some(failure) = &self.failure {
            conditions.push(bad("Applied", "KernelRefused", failure.clone()));
        }
        if let Some(failure) = &self.memory.failed {
            conditions.push(bad("StateWritten", "DiskRefuses", failure.clone()));
        }
        if self.has_no_leg() {
            conditions.push(bad("LegsAttached", "NoLegs", NO_LEG.to_owned()));
        } else if let Some(missing) = self.missing_legs() {
            let message = format!(
                "no packet is taken on {missing}: router.interfaces names it, and it is not there or not up"
            );
            conditions.push(bad("LegsAttached", "LegMissing", message));
        }
        let problems = self.reconciler.problems().iter();
        conditions.extend(problems.map(|problem| bad("Complete", "NotServed", problem.clone())));
        conditions
    }
}

/// Whatever the maps say, the program that reads them is on no leg.
fn reached_by_no_packet(service: &mut RouterService) {
    let kind = "Programmed";
    service.conditions.retain(|condition| condition.kind != kind);
    let no = ConditionStatus::False;
    service.conditions.push(Condition::new(kind, no, "NoLegs", NO_LEG));
}
