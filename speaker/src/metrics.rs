//! The speaker's metrics.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use roadstead_model::reason::ConditionStatus;

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

/// Everything the speaker counts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    services: Family<ServiceState, Gauge>,
    pool_used: Family<Pool, Gauge>,
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
    /// Probes sent.
    pub(crate) probes: Counter,
    /// Times another host claimed an address of ours.
    pub(crate) conflicts: Counter,
}

impl Metrics {
    /// Creates and registers them all.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            services: Family::default(),
            pool_used: Family::default(),
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

impl L2 {
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
        registry.register("probes", "Probes sent", self.probes.clone());
        registry.register(
            "conflicts",
            "Times another host claimed an address of ours",
            self.conflicts.clone(),
        );
    }
}
