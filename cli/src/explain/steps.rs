//! The steps from object to wire. Each looks at its own evidence only; the first that does not pass
//! holds the Service back.

use std::collections::BTreeSet;

use roadstead_model::{
    ServiceKey, SourceName,
    local::{BackendState, BackendStatus},
    object::{LOAD_BALANCER_CLASS, Service, SourceRanges},
    problem::Severity,
    reason::{Condition, ConditionStatus},
    snapshot::SourceState,
};
use serde::Serialize;

use super::{
    Facts, Hearing,
    advice::{self, Stage},
    firewall,
    here::Here,
};
use crate::{local_files::Object, render::state_word, status::ServiceView};

/// Backends named in a message before the rest is counted.
const BACKENDS_NAMED: usize = 5;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    /// Its name; stable.
    #[serde(rename = "step")]
    pub(super) name: &'static str,
    /// Whether it is passed.
    pub(super) verdict: Verdict,
    /// What was found, in one sentence.
    pub(super) message: String,
    /// What to do, where it is not passed.
    pub(super) advice: String,
}

/// Whether a step is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Yes.
    Passed,
    /// No: this is what holds the Service back.
    Held,
    /// Not known, or not reached.
    Unknown,
}

/// One Service with all that is known of it.
pub(super) struct Case<'c> {
    /// Which.
    pub(super) key: &'c ServiceKey,
    /// What the daemons say of it.
    pub(super) view: Option<&'c ServiceView>,
    /// What the files say of it.
    pub(super) object: &'c Object,
    /// What was found out on this host itself.
    pub(super) here: &'c Here,
    /// Everything else.
    pub(super) facts: &'c Facts<'c>,
}

impl Case<'_> {
    /// All steps in order; for a Service that the daemons do not know, as far as they go.
    pub(super) fn steps(&self) -> Vec<Step> {
        match self.view {
            None => self.steps_of_unknown(),
            Some(view) => vec![
                self.object(view),
                self.class(),
                self.pool(view),
                self.address(view),
                self.wire(view),
                self.endpoints(view),
                firewall::step(&self.here.firewall, view),
                self.backends(view),
                self.programmed(view),
                self.announced(view),
                self.source_ranges(),
            ],
        }
    }

    fn steps_of_unknown(&self) -> Vec<Step> {
        if let Hearing::Silent(why) = &self.facts.speaker {
            return vec![unknown("object", format!("the speaker cannot be asked: {why}"))];
        }
        if let Some(step) = self.source_at_fault() {
            return vec![step];
        }
        match self.object {
            Object::Refused(why) => {
                let advice = "correct the manifest; `roadstead check` names file and line";
                vec![held("object", format!("the manifest is refused: {why}"), advice)]
            }
            Object::Service(service) => vec![
                passed("object", "the manifest is there".to_owned()),
                self.class_of_unknown(service),
            ],
            Object::Absent | Object::Unknown => vec![self.absent()],
        }
    }

    fn absent(&self) -> Step {
        let source = &self.key.source;
        let namesakes: Vec<String> = self
            .facts
            .status
            .services
            .iter()
            .filter(|view| view.name == self.key.name)
            .map(|view| view.key().to_string())
            .collect();
        let hint = match namesakes.as_slice() {
            [] => String::new(),
            names => format!("; there is {}", names.join(", ")),
        };
        let message = format!(
            "source `{source}` has no Service {}/{} of type LoadBalancer{hint}",
            self.key.namespace, self.key.name
        );
        let advice = if self.files_have_errors() {
            "correct what `roadstead check` names, or the name, or set spec.type: LoadBalancer"
        } else {
            "correct the name, or set spec.type: LoadBalancer"
        };
        held("object", message, advice)
    }

    fn files_have_errors(&self) -> bool {
        self.facts.status.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    fn source_at_fault(&self) -> Option<Step> {
        let (status, source) = (self.facts.status, &self.key.source);
        match status.sources.get(source) {
            Some(SourceState::Unread) => Some(held(
                "object",
                format!("source `{source}` was not read yet"),
                "see `roadstead status` for what keeps it from being read",
            )),
            Some(SourceState::Current | SourceState::Doubtful { .. }) => None,
            None => {
                let names: Vec<&str> = status.sources.keys().map(SourceName::as_str).collect();
                let message =
                    format!("there is no source `{source}`; there is {}", names.join(", "));
                Some(held("object", message, "name one of the sources"))
            }
        }
    }

    /// The object itself: whether it can be served at all, and whether it is the current one.
    fn object(&self, view: &ServiceView) -> Step {
        if let Some(step) = self.refused_at(view, Stage::Object, "object") {
            return step;
        }
        if let Object::Refused(why) = self.object {
            let message = format!("the manifest is refused, the last good one is served: {why}");
            let mut step = unknown("object", message);
            step.advice = "correct the manifest; `roadstead check` names file and line".to_owned();
            return step;
        }
        if *self.object == Object::Absent && self.files_have_errors() {
            let message = "the last good one is served: the manifests, as they are now, do not have \
                           it, and some are wrong";
            let mut step = unknown("object", message.to_owned());
            step.advice = "correct what `roadstead check` names".to_owned();
            return step;
        }
        if let Some(SourceState::Doubtful { reason }) =
            self.facts.status.sources.get(&self.key.source)
        {
            return unknown("object", format!("its source is in doubt: {reason}"));
        }
        match view.condition("PortsServed") {
            Some(ports) => passed("object", format!("it is read; {}", ports.message)),
            None => passed("object", "it is read".to_owned()),
        }
    }

    fn class(&self) -> Step {
        match self.object {
            Object::Service(service) => match &service.class {
                Some(class) => passed("class", format!("it names `{class}`")),
                None => passed("class", "it names none, and such Services are ours".to_owned()),
            },
            Object::Refused(_) | Object::Absent | Object::Unknown => {
                passed("class", "the speaker takes it as ours".to_owned())
            }
        }
    }

    /// The manifest is there, and the speaker does not list it.
    fn class_of_unknown(&self, service: &Service) -> Step {
        let class_only = self.facts.config.is_some_and(|config| config.speaker.class_only);
        match &service.class {
            Some(class) if **class != *LOAD_BALANCER_CLASS => held(
                "class",
                format!("its loadBalancerClass `{class}` is another's"),
                "set spec.loadBalancerClass: roadstead.io/load-balancer (on a new object: the \
                 field cannot be changed)",
            ),
            None if class_only => held(
                "class",
                "it names no loadBalancerClass, and speaker.class_only is true".to_owned(),
                "set spec.loadBalancerClass: roadstead.io/load-balancer, or class_only = false",
            ),
            Some(_) | None => held(
                "class",
                "it is ours, and the speaker does not list it yet".to_owned(),
                "ask again; if it stays so: systemctl status roadstead-speaker",
            ),
        }
    }

    /// The step of `Allocated` where it is refused at `stage`.
    fn refused_at(&self, view: &ServiceView, stage: Stage, name: &'static str) -> Option<Step> {
        let allocated = view.condition("Allocated")?;
        let refused = allocated.status != ConditionStatus::True;
        (refused && advice::stage(&allocated.reason) == stage)
            .then(|| by_condition(name, allocated))
    }

    fn pool(&self, view: &ServiceView) -> Step {
        if let Some(step) = self.refused_at(view, Stage::Pool, "pool") {
            return step;
        }
        let pools = self.facts.config.map(|config| config.pools.as_slice()).unwrap_or_default();
        let of_address = |address| {
            pools.iter().find(|pool| pool.addresses.iter().any(|range| range.contains(address)))
        };
        let mut names: Vec<&str> =
            view.addresses.iter().filter_map(|a| of_address(*a)).map(|pool| &*pool.name).collect();
        names.dedup();
        match names.as_slice() {
            [] if view.addresses.is_empty() => unknown("pool", "not reached".to_owned()),
            [] => passed("pool", "it has an address".to_owned()),
            names => passed("pool", names.join(", ")),
        }
    }

    fn address(&self, view: &ServiceView) -> Step {
        if let Some(step) = self.refused_at(view, Stage::Address, "address") {
            return step;
        }
        let addresses: Vec<String> = view.addresses.iter().map(ToString::to_string).collect();
        match (addresses.is_empty(), view.condition("Allocated")) {
            (true, _) => unknown("address", "none is assigned".to_owned()),
            (false, Some(allocated)) if allocated.reason != "Allocated" => {
                let lacks = &allocated.message;
                passed("address", format!("{}; but {lacks}", addresses.join(", ")))
            }
            (false, _) => passed("address", addresses.join(", ")),
        }
    }

    /// Whether another machine has the address.
    fn wire(&self, view: &ServiceView) -> Step {
        if let Some(step) = self.refused_at(view, Stage::Wire, "conflict") {
            return step;
        }
        match view.condition("Announced") {
            Some(condition) if ["ConflictOnWire", "Probing"].contains(&&*condition.reason) => {
                by_condition("conflict", condition)
            }
            Some(condition) if condition.status == ConditionStatus::True => {
                passed("conflict", "no other machine answers for it".to_owned())
            }
            Some(_) | None => unknown("conflict", "none was heard".to_owned()),
        }
    }

    /// What the router, or the speaker for it, says when nothing can serve.
    fn unserved<'v>(&self, view: &'v ServiceView) -> Option<&'v str> {
        let programmed = view.condition("Programmed").filter(|c| c.reason == "Unserved");
        let announced = view.condition("Announced").filter(|c| c.reason == "NothingServes");
        programmed.or(announced).map(|condition| condition.message.as_str())
    }

    fn endpoints(&self, view: &ServiceView) -> Step {
        match self.unserved(view) {
            Some(why) if is_about_endpoints(why) => held(
                "endpoints",
                why.to_owned(),
                "make a pod of the Service ready: kubectl get endpointslices -l \
                 kubernetes.io/service-name=NAME",
            ),
            Some(_) | None if view.condition("Programmed").is_none() => {
                unknown("endpoints", "not reached".to_owned())
            }
            Some(_) | None => passed("endpoints", "none is known to be missing".to_owned()),
        }
    }

    fn backends(&self, view: &ServiceView) -> Step {
        if let Some(why) = self.unserved(view).filter(|why| !is_about_endpoints(why)) {
            let advice = "see the nodes in `roadstead status`: each says why it is not used";
            return held("backends", why.to_owned(), advice);
        }
        if view.condition("Programmed").is_none() {
            return unknown("backends", "not reached".to_owned());
        }
        let backends: Vec<BackendStatus> = view.backends().collect();
        let serves = |backend: &&BackendStatus| {
            matches!(backend.state, BackendState::Healthy | BackendState::SlowStart)
        };
        let healthy = backends.iter().filter(serves).count();
        let message = format!("{healthy} of {} healthy{}", backends.len(), troubled(&backends));
        if healthy > 0 && view.is_unproven() {
            return self.unproven(&backends);
        }
        if healthy > 0 {
            return passed("backends", message);
        }
        held("backends", message, advice_for(&backends))
    }

    /// The nodes answer, and none at a NodePort of this Service.
    fn unproven(&self, backends: &[BackendStatus]) -> Step {
        let mut ports: Vec<u16> = backends.iter().map(|backend| backend.port).collect();
        ports.sort_unstable();
        ports.dedup();
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let message = format!(
            "the nodes answer, and no probe of NodePort {} has passed yet",
            ports.join(", ")
        );
        let checked = match self.object {
            Object::Service(service) => service.health_check.is_some(),
            Object::Refused(_) | Object::Absent | Object::Unknown => false,
        };
        let advice = if checked {
            "is a pod of the Service ready (kubectl get endpointslices), and does it pass what the \
             annotation roadstead.io/health-check asks?"
        } else {
            "is a pod of the Service ready (kubectl get endpointslices), and does kube-proxy have \
             this nodePort (kubectl get service -o wide)?"
        };
        held("backends", message, advice)
    }

    fn programmed(&self, view: &ServiceView) -> Step {
        const NAME: &str = "programmed";
        match (&self.facts.router, view.condition("Programmed")) {
            (Hearing::NotNeeded, _) => {
                passed(NAME, "no router runs here, and none is needed".to_owned())
            }
            (Hearing::Silent(why), _) => held(
                NAME,
                format!("the router cannot be asked: {why}"),
                advice::what_to_do("RouterSilent"),
            ),
            (Hearing::Answered, None) if view.addresses.is_empty() => {
                unknown(NAME, "not reached".to_owned())
            }
            (Hearing::Answered, None) => held(
                NAME,
                "the router has not taken the assignment yet".to_owned(),
                "ask again; if it stays so: journalctl -u roadstead-router",
            ),
            (Hearing::Answered, Some(programmed)) => self.in_the_kernel(view, programmed),
        }
    }

    fn in_the_kernel(&self, view: &ServiceView, programmed: &Condition) -> Step {
        const NAME: &str = "programmed";
        if let Some(step) = self.bare_leg(view) {
            return step;
        }
        match programmed.status {
            ConditionStatus::True => passed(NAME, "the kernel has it on every leg".to_owned()),
            ConditionStatus::False | ConditionStatus::Unknown => {
                held(NAME, programmed.message.clone(), "see the message and the steps before")
            }
        }
    }

    /// A leg without the program: towards clients or nodes, each packet by it goes to the host's own
    /// stack.
    fn bare_leg(&self, view: &ServiceView) -> Option<Step> {
        const NAME: &str = "programmed";
        let legs = &self.facts.status.legs;
        let is_used = |leg: &str| {
            view.announced.is_empty()
                || view.announced.iter().any(|announced| *announced.interface == *leg)
                || self.here.node_legs.contains(leg)
        };
        if let Some(leg) = legs.iter().find(|leg| !leg.attached && is_used(&leg.name)) {
            let why = if leg.reason.is_empty() { "it was not attached yet" } else { &leg.reason };
            let message = format!("the program is not on leg {}: {why}", leg.name);
            return Some(held(NAME, message, "journalctl -u roadstead-router; ip link show"));
        }
        // A router that has just started may not know its legs yet.
        let is_served =
            |interface: &str| legs.is_empty() || legs.iter().any(|leg| *leg.name == *interface);
        let unserved = view.announced.iter().find(|a| !is_served(&a.interface))?;
        let message = format!(
            "the program is not on leg {}, where {} is announced: it is no leg of the router",
            unserved.interface, unserved.address
        );
        let advice = "let `interfaces` of [router] have it, or those of [speaker] or the pool not";
        Some(held(NAME, message, advice))
    }

    fn announced(&self, view: &ServiceView) -> Step {
        let Some(condition) = view.condition("Announced") else {
            return match &self.facts.speaker {
                Hearing::Silent(why) => {
                    unknown("announced", format!("the speaker cannot be asked: {why}"))
                }
                Hearing::Answered | Hearing::NotNeeded => {
                    unknown("announced", "not reached".to_owned())
                }
            };
        };
        match condition.reason.as_str() {
            // In a group all is as it should be where another host announces.
            "FollowsWriter" => passed("announced", condition.message.clone()),
            _ => by_condition("announced", condition),
        }
    }

    fn source_ranges(&self) -> Step {
        const NAME: &str = "source ranges";
        let ranges = match self.object {
            Object::Service(service) => &service.source_ranges,
            Object::Refused(_) | Object::Absent | Object::Unknown => {
                return unknown(NAME, "the manifest cannot be read here".to_owned());
            }
        };
        match (ranges, self.facts.from) {
            (SourceRanges::Any, _) => passed(NAME, "every client may come".to_owned()),
            (SourceRanges::Only(nets), None) => {
                passed(NAME, format!("only clients of {}", listed(nets)))
            }
            (SourceRanges::Only(nets), Some(client))
                if nets.iter().any(|n| n.contains(&client)) =>
            {
                passed(NAME, format!("{client} may come: only clients of {} may", listed(nets)))
            }
            (SourceRanges::Only(nets), Some(client)) => held(
                NAME,
                format!("{client} is turned away: only clients of {} may come", listed(nets)),
                "add the client's network to spec.loadBalancerSourceRanges",
            ),
        }
    }
}

fn passed(name: &'static str, message: String) -> Step {
    Step { name, verdict: Verdict::Passed, message, advice: String::new() }
}

fn unknown(name: &'static str, message: String) -> Step {
    Step { name, verdict: Verdict::Unknown, message, advice: String::new() }
}

fn held(name: &'static str, message: String, advice: &str) -> Step {
    Step { name, verdict: Verdict::Held, message, advice: advice.to_owned() }
}

fn by_condition(name: &'static str, condition: &Condition) -> Step {
    let message = condition.message.clone();
    match condition.status {
        ConditionStatus::True => passed(name, message),
        ConditionStatus::False | ConditionStatus::Unknown => {
            held(name, message, advice::what_to_do(&condition.reason))
        }
    }
}

fn is_about_endpoints(why: &str) -> bool {
    why.to_lowercase().contains("endpoint")
}

/// `; n3 unhealthy: the node's probe: …` for the first few that do not serve.
fn troubled(backends: &[BackendStatus]) -> String {
    // A node has a backend for each port and family, mostly with the same trouble.
    let mut told = BTreeSet::new();
    let troubled: Vec<String> = backends
        .iter()
        .filter(|backend| backend.state != BackendState::Healthy)
        .map(|backend| {
            let word = state_word(backend.state);
            match &*backend.reason {
                "" => format!("; {} {word}", backend.node),
                reason => format!("; {} {word}: {reason}", backend.node),
            }
        })
        .filter(|text| told.insert(text.clone()))
        .collect();
    let named: String = troubled.iter().take(BACKENDS_NAMED).map(String::as_str).collect();
    match troubled.len().saturating_sub(BACKENDS_NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

fn advice_for(backends: &[BackendStatus]) -> &'static str {
    let all = |state| backends.iter().all(|backend| backend.state == state);
    if backends.is_empty() {
        "give its source the Nodes: kubectl get nodes -o yaml"
    } else if all(BackendState::Unknown) {
        "wait a moment: the first probes are on their way"
    } else if all(BackendState::Draining) {
        "roadstead undrain node NAME"
    } else {
        "from this host, try the node's address and port: does kube-proxy run there, and does a \
         firewall between let it through?"
    }
}

fn listed(nets: &[ipnet::IpNet]) -> String {
    nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
