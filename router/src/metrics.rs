//! What the router counts. What the kernel counts is read with each sweep.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use roadstead_model::local::{BackendState, Programmed, Serving};
use roadstead_router_core::health::Failure;

use crate::sweep::Pass;

/// Counters and gauges of the control task.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    plan_seconds: Histogram,
    operations: Counter,
    apply_failures: Counter,
    drift: Counter,
    probes: Family<ProbeLabels, Counter>,
    signals: Counter,
    services: Family<ServingLabels, Gauge>,
    subjects: Family<StateLabels, Gauge>,
    generation: Gauge,
    drops: Family<ReasonLabels, Counter>,
    flows: Gauge,
    flows_capacity: Gauge,
    flows_removed: Counter,
    config_stale: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServingLabels {
    serving: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// Upper bounds of a plan's duration in seconds.
const PLAN_BUCKETS: [f64; 8] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5];

impl Metrics {
    /// Registers everything.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            plan_seconds: Histogram::new(PLAN_BUCKETS),
            operations: Counter::default(),
            apply_failures: Counter::default(),
            drift: Counter::default(),
            probes: Family::default(),
            signals: Counter::default(),
            services: Family::default(),
            subjects: Family::default(),
            generation: Gauge::default(),
            drops: Family::default(),
            flows: Gauge::default(),
            flows_capacity: Gauge::default(),
            flows_removed: Counter::default(),
            config_stale: Gauge::default(),
        };
        metrics.register_own(registry);
        metrics.register_kernel(registry);
        metrics
    }

    fn register_own(&self, registry: &mut Registry) {
        registry.register(
            "router_plan_seconds",
            "Time to plan and to apply the difference",
            self.plan_seconds.clone(),
        );
        registry.register(
            "router_map_operations",
            "Entries written to or deleted from the maps",
            self.operations.clone(),
        );
        registry.register(
            "router_apply_failures",
            "Plans that could not be applied whole",
            self.apply_failures.clone(),
        );
        registry.register(
            "router_drift_entries",
            "Entries that were found changed by somebody else, and mended",
            self.drift.clone(),
        );
        registry.register("router_probes", "Health probes by result", self.probes.clone());
        registry.register(
            "router_passive_signals",
            "Signals of the dataplane that a backend refuses or does not answer",
            self.signals.clone(),
        );
        registry.register("router_services", "Services by verdict", self.services.clone());
        registry.register(
            "router_health_subjects",
            "What is probed, by state",
            self.subjects.clone(),
        );
        registry.register(
            "router_applied_generation",
            "Generation of the assignments that the maps reflect",
            self.generation.clone(),
        );
        registry.register(
            "config_stale",
            "1 while the file is refused and the last good configuration is used",
            self.config_stale.clone(),
        );
    }

    fn register_kernel(&self, registry: &mut Registry) {
        registry.register("router_drops", "Packets dropped, by reason", self.drops.clone());
        registry.register("router_flows", "Flows in the table", self.flows.clone());
        registry.register(
            "router_flows_capacity",
            "Flows that fit into the table",
            self.flows_capacity.clone(),
        );
        registry.register(
            "router_flows_removed",
            "Flows removed because their time was over",
            self.flows_removed.clone(),
        );
    }

    /// A pass over the flow table is over.
    pub(crate) fn swept(&self, pass: &Pass, capacity: u32) {
        for (reason, count) in &pass.drops {
            // The kernel counts; here is only shown what it says.
            self.drops.get_or_create(&ReasonLabels { reason }).inner().store(*count, Relaxed);
        }
        self.flows.set(i64::try_from(pass.flows).unwrap_or(i64::MAX));
        self.flows_capacity.set(i64::from(capacity));
        self.flows_removed.inc_by(pass.removed);
    }

    /// The configuration was read again, or refused.
    pub(crate) fn configured(&self, accepted: bool) {
        self.config_stale.set(i64::from(!accepted));
    }

    /// A plan was applied, in whole or in part.
    pub(crate) fn stepped(&self, took: Duration, operations: usize, failed: bool) {
        self.plan_seconds.observe(took.as_secs_f64());
        self.operations.inc_by(operations as u64);
        self.apply_failures.inc_by(u64::from(failed));
    }

    /// Entries that somebody else had changed.
    pub(crate) fn drifted(&self, entries: usize) {
        self.drift.inc_by(entries as u64);
    }

    /// A probe came back.
    pub(crate) fn probed(&self, result: Result<(), Failure>) {
        let result = match result {
            Ok(()) => "passed",
            Err(Failure::Refused) => "refused",
            Err(Failure::TimedOut) => "timed_out",
            Err(Failure::Unreachable) => "unreachable",
            Err(Failure::Status(_)) => "status",
            Err(Failure::Garbled) => "garbled",
            Err(Failure::Check(_)) => "unfit",
        };
        self.probes.get_or_create(&ProbeLabels { result }).inc();
    }

    /// A passive signal was heard.
    pub(crate) fn signalled(&self) {
        self.signals.inc();
    }

    /// What is programmed now, and what is probed.
    pub(crate) fn publish(
        &self,
        programmed: &Programmed,
        subjects: &BTreeMap<BackendState, usize>,
    ) {
        let verdicts = [
            (Serving::Pending, "pending"),
            (Serving::Ready, "ready"),
            (Serving::Degraded, "degraded"),
            (Serving::Unserved, "unserved"),
        ];
        for (verdict, serving) in verdicts {
            let count = programmed.services.iter().filter(|s| s.serving == verdict).count();
            self.services.get_or_create(&ServingLabels { serving }).set(gauge(count));
        }
        let states = [
            (BackendState::Healthy, "healthy"),
            (BackendState::Unhealthy, "unhealthy"),
            (BackendState::Draining, "draining"),
            (BackendState::SlowStart, "slow-start"),
            (BackendState::Unknown, "unknown"),
        ];
        for (wanted, state) in states {
            let count = subjects.get(&wanted).copied().unwrap_or(0);
            self.subjects.get_or_create(&StateLabels { state }).set(gauge(count));
        }
        self.generation.set(i64::try_from(programmed.applied).unwrap_or(i64::MAX));
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use roadstead_model::{ServiceKey, SourceName, local::ServiceServing};

    use super::*;

    /// The lines of what `happens` leaves.
    fn told(happens: impl FnOnce(&Metrics)) -> Vec<String> {
        let mut registry = Registry::with_prefix("roadstead");
        let metrics = Metrics::register(&mut registry);
        happens(&metrics);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn assert_told(lines: &[String], samples: &[(&str, u64)]) {
        for (name, value) in samples {
            let line = format!("roadstead_{name} {value}");
            assert!(lines.contains(&line), "no {line} in\n{}", lines.join("\n"));
        }
    }

    fn serving(name: &str, serving: Serving) -> ServiceServing {
        ServiceServing {
            service: ServiceKey::new(&SourceName::new("local"), "default", name),
            serving,
            message: String::new(),
            withheld: Vec::new(),
        }
    }

    #[test]
    fn services_and_subjects_are_counted_by_state_with_the_generation() {
        let services = vec![
            serving("a", Serving::Ready),
            serving("b", Serving::Ready),
            serving("c", Serving::Degraded),
            serving("d", Serving::Unserved),
        ];
        let programmed = Programmed { applied: 7, services, ..Programmed::default() };
        let subjects = BTreeMap::from([
            (BackendState::Healthy, 5),
            (BackendState::Unhealthy, 4),
            (BackendState::SlowStart, 2),
        ]);
        let lines = told(|metrics| metrics.publish(&programmed, &subjects));
        let samples = [
            ("router_services{serving=\"ready\"}", 2),
            ("router_services{serving=\"degraded\"}", 1),
            ("router_services{serving=\"unserved\"}", 1),
            ("router_services{serving=\"pending\"}", 0),
            ("router_health_subjects{state=\"healthy\"}", 5),
            ("router_health_subjects{state=\"unhealthy\"}", 4),
            ("router_health_subjects{state=\"slow-start\"}", 2),
            ("router_health_subjects{state=\"draining\"}", 0),
            ("router_applied_generation", 7),
        ];
        assert_told(&lines, &samples);
    }

    #[test]
    fn what_happens_is_counted_under_its_name() {
        let lines = told(|metrics| {
            metrics.stepped(Duration::from_millis(3), 12, false);
            metrics.stepped(Duration::from_millis(3), 1, true);
            metrics.drifted(4);
            metrics.probed(Ok(()));
            metrics.probed(Err(Failure::Refused));
            metrics.probed(Err(Failure::Refused));
            metrics.signalled();
            metrics.configured(false);
        });
        let samples = [
            ("router_plan_seconds_count", 2),
            ("router_map_operations_total", 13),
            ("router_apply_failures_total", 1),
            ("router_drift_entries_total", 4),
            ("router_probes_total{result=\"passed\"}", 1),
            ("router_probes_total{result=\"refused\"}", 2),
            ("router_passive_signals_total", 1),
            ("config_stale", 1),
        ];
        assert_told(&lines, &samples);
        let lines = told(|metrics| {
            metrics.configured(false);
            metrics.configured(true);
        });
        assert_told(&lines, &[("config_stale", 0)]);
    }

    #[test]
    fn the_kernels_counters_are_shown_as_they_are_and_what_a_sweep_removed_adds_up() {
        let pass = Pass { flows: 40, removed: 3, drops: vec![("ttl", 9)], ..Pass::default() };
        let lines = told(|metrics| {
            metrics.swept(&pass, 100);
            metrics.swept(&pass, 100);
        });
        let samples = [
            ("router_drops_total{reason=\"ttl\"}", 9),
            ("router_flows", 40),
            ("router_flows_capacity", 100),
            ("router_flows_removed_total", 6),
        ];
        assert_told(&lines, &samples);
    }
}
