//! The speaker's metrics.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use roadstead_model::reason::ConditionStatus;
use roadstead_speaker_core::l2::Counters;
use roadstead_watch::{Asked, Requests};

use crate::control::Control;

/// Labels of `roadstead_services`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceState {
    state: String,
}

/// Labels of `roadstead_pool_addresses_used`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pool {
    pool: String,
}

/// Labels of `roadstead_api_requests`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    source: String,
    verb: String,
    code: String,
}

/// Everything the speaker counts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    services: Family<ServiceState, Gauge>,
    pool_used: Family<Pool, Gauge>,
    requests: Family<Request, Counter>,
    problems: Gauge,
    stale_config: Gauge,
    router_connected: Gauge,
    drained: Gauge,
    /// The announcer's own.
    pub(crate) l2: L2,
}

/// What the announcer counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct L2 {
    /// ARP requests and neighbour solicitations for an address of ours.
    pub(crate) requests: Counter,
    /// Answers sent from user space.
    pub(crate) answers: Counter,
    /// Gratuitous ARP packets and unsolicited neighbour advertisements sent.
    pub(crate) gratuitous: Counter,
    /// Answers not sent because the limit of a leg was reached.
    pub(crate) answers_limited: Counter,
    /// Probes sent.
    pub(crate) probes: Counter,
    /// Times another host claimed an address of ours.
    pub(crate) conflicts: Counter,
    /// Claims answered by a defence.
    pub(crate) defences: Counter,
    /// Frames of our own that came back.
    pub(crate) own_frames: Counter,
    /// Frames not sent because a leg took none for long.
    pub(crate) overflows: Counter,
}

impl Metrics {
    /// Creates and registers them all.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            services: Family::default(),
            pool_used: Family::default(),
            requests: Family::default(),
            problems: Gauge::default(),
            stale_config: Gauge::default(),
            router_connected: Gauge::default(),
            drained: Gauge::default(),
            l2: L2::default(),
        };
        registry.register(
            "services",
            "Services of ours by state: announced, allocated, refused",
            metrics.services.clone(),
        );
        registry.register(
            "pool_addresses_used",
            "Addresses of a pool that are held",
            metrics.pool_used.clone(),
        );
        registry.register(
            "api_requests",
            "Requests to the API servers of clusters; code 0: nobody answered",
            metrics.requests.clone(),
        );
        registry.register(
            "source_problems",
            "Problems of the manifests right now",
            metrics.problems.clone(),
        );
        registry.register(
            "config_stale",
            "1 while the configuration on disk is refused and an older one is in use",
            metrics.stale_config.clone(),
        );
        registry.register(
            "router_connected",
            "1 while roadstead-router answers on its local socket",
            metrics.router_connected.clone(),
        );
        registry.register("drained", "1 while this host is drained", metrics.drained.clone());
        metrics.l2.register(registry);
        metrics
    }

    /// Takes the gauges from what the control has decided.
    pub(crate) fn note(&self, control: &Control) {
        let status = control.status();
        let (mut announced, mut allocated, mut refused) = (0, 0, 0);
        for service in &status.services {
            let holds = |kind: &str| {
                let mut conditions = service.conditions.iter();
                conditions.any(|c| c.kind == kind && c.status == ConditionStatus::True)
            };
            match (holds("Announced"), service.addresses.is_empty()) {
                (true, _) => announced += 1,
                (false, false) => allocated += 1,
                (false, true) => refused += 1,
            }
        }
        for (state, count) in
            [("announced", announced), ("allocated", allocated), ("refused", refused)]
        {
            self.services.get_or_create(&ServiceState { state: state.into() }).set(count);
        }
        for pool in &status.pools {
            let used = i64::try_from(pool.used).unwrap_or(i64::MAX);
            self.pool_used.get_or_create(&Pool { pool: pool.name.to_string() }).set(used);
        }
        self.problems.set(i64::try_from(status.problems.len()).unwrap_or(i64::MAX));
        self.stale_config.set(i64::from(control.stale_config.is_some()));
        self.router_connected.set(i64::from(control.heard.connected));
        self.drained.set(i64::from(control.drained));
    }
}

impl Metrics {
    /// Takes the counts of requests as they are now.
    pub(crate) fn note_requests(&self, requests: &Requests) {
        for (Asked { source, verb, code }, count) in requests.all() {
            let (source, verb, code) = (source.to_string(), verb.to_owned(), code.to_string());
            let counter = self.requests.get_or_create_owned(&Request { source, verb, code });
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }
}

impl L2 {
    /// Adds what the announcer has counted since it was told last.
    pub(crate) fn add(&self, now: &Counters, told: &Counters) {
        let Counters {
            requests,
            answers,
            answers_limited,
            probes,
            announcements,
            conflicts,
            defences,
            own_frames,
            overflows,
        } = *now;
        self.requests.inc_by(requests - told.requests);
        self.answers.inc_by(answers - told.answers);
        self.answers_limited.inc_by(answers_limited - told.answers_limited);
        self.probes.inc_by(probes - told.probes);
        self.gratuitous.inc_by(announcements - told.announcements);
        self.conflicts.inc_by(conflicts - told.conflicts);
        self.defences.inc_by(defences - told.defences);
        self.own_frames.inc_by(own_frames - told.own_frames);
        self.overflows.inc_by(overflows - told.overflows);
    }

    fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("l2");
        registry.register(
            "requests",
            "ARP requests and neighbour solicitations for an address of ours",
            self.requests.clone(),
        );
        registry.register("answers", "Answers sent from user space", self.answers.clone());
        registry.register(
            "gratuitous",
            "Gratuitous ARP packets and unsolicited neighbour advertisements sent",
            self.gratuitous.clone(),
        );
        registry.register(
            "answers_limited",
            "Answers from user space not sent because the limit of a leg was reached",
            self.answers_limited.clone(),
        );
        registry.register("probes", "Probes sent", self.probes.clone());
        registry.register(
            "conflicts",
            "Times another host claimed an address of ours",
            self.conflicts.clone(),
        );
        registry.register(
            "defences",
            "Claims of another host that were answered by a defence",
            self.defences.clone(),
        );
        registry.register(
            "own_frames",
            "Frames of our own that came back: a loop, or a port that mirrors",
            self.own_frames.clone(),
        );
        registry.register(
            "overflows",
            "Frames not sent because a leg took none for long",
            self.overflows.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn everything_that_the_announcer_counts_is_told_once_under_its_name() {
        let mut registry = Registry::with_prefix("roadstead");
        let l2 = L2::default();
        l2.register(&mut registry);
        let first = Counters {
            requests: 1,
            answers: 2,
            answers_limited: 3,
            probes: 4,
            announcements: 5,
            conflicts: 6,
            defences: 7,
            own_frames: 8,
            overflows: 9,
        };
        l2.add(&first, &Counters::default());
        l2.add(&Counters { overflows: 10, ..first }, &first);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let told = [
            ("requests", 1),
            ("answers", 2),
            ("answers_limited", 3),
            ("probes", 4),
            ("gratuitous", 5),
            ("conflicts", 6),
            ("defences", 7),
            ("own_frames", 8),
            ("overflows", 10),
        ];
        for (name, count) in told {
            let line = format!("roadstead_l2_{name}_total {count}\n");
            assert!(text.contains(&line), "no {line}in\n{text}");
        }
    }
}
