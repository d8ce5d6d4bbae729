//! What a Service is to show, whether it does, and the patch that makes it.
//!
//! All of it goes by server-side apply to `/status`, whole each time: what an apply no longer names
//! and nobody else has written is taken off by the API server itself (KEP-555).

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use roadstead_model::{
    ServiceKey,
    reason::{Condition, ConditionStatus},
    report::{FINALIZER, Ingress, IpMode, PortStatus},
};
use serde_json::{Value, json};

use crate::kubernetes::read::observed::{MAX_MESSAGE, Marks, PREFIX, Told};

/// Everything of ours that an object is to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Applied {
    /// The finalizer.
    pub(super) is_guarded: bool,
    /// `status.loadBalancer.ingress`; empty: it is not ours to write.
    pub(super) ingress: Vec<Ingress>,
    /// Conditions, without prefix.
    pub(super) conditions: Vec<Condition>,
}

/// How much of [`Applied`] an object lacks: what is worse comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lack {
    /// The finalizer, for which an announcement waits.
    Guard,
    /// An address.
    Ingress,
    /// A condition, or something is on it that is not to be.
    Conditions,
}

impl Applied {
    /// Messages in the length that is written.
    pub(super) fn new(is_guarded: bool, ingress: &[Ingress], conditions: &[Condition]) -> Self {
        let cut = |condition: &Condition| Condition {
            message: condition.message.chars().take(MAX_MESSAGE).collect(),
            ..condition.clone()
        };
        let conditions = conditions.iter().map(cut).collect();
        Self { is_guarded, ingress: ingress.to_vec(), conditions }
    }

    /// What an object lacks of it; none where it shows all of it and nothing else of ours.
    pub(super) fn lack(&self, marks: &Marks) -> Option<Lack> {
        if self.is_guarded && !marks.is_guarded {
            return Some(Lack::Guard);
        }
        let shown = &marks.shown;
        let shows = match self.ingress.is_empty() {
            true => !shown.is_ours,
            false => shown.is_ours && shown.exact.as_ref() == Some(&self.ingress),
        };
        if !shows {
            return Some(Lack::Ingress);
        }
        let is_stale = |told: &Told| {
            told.is_ours && self.conditions.iter().all(|it| it.kind != told.condition.kind)
        };
        let tells = |it: &Condition| marks.condition(&it.kind) == Some(it);
        let is_all = self.conditions.iter().all(tells)
            && !marks.conditions.iter().any(is_stale)
            && self.is_guarded == marks.is_guarded;
        (!is_all).then_some(Lack::Conditions)
    }

    /// Conditions that an object does not tell with this status and reason.
    pub(super) fn news<'a>(&'a self, marks: &'a Marks) -> impl Iterator<Item = &'a Condition> {
        self.conditions.iter().filter(|wanted| {
            let told = marks.condition(&wanted.kind);
            told.is_none_or(|told| (told.status, &told.reason) != (wanted.status, &wanted.reason))
        })
    }

    /// The body of the apply; a condition keeps its time while its status is the same.
    pub(super) fn body(&self, key: &ServiceKey, uid: &str, marks: &Marks, now: Timestamp) -> Value {
        let mut body = empty(key, uid);
        if self.is_guarded {
            body["metadata"]["finalizers"] = json!([FINALIZER]);
        }
        if !self.ingress.is_empty() {
            let entries: Vec<_> = self.ingress.iter().map(entry).collect();
            body["status"]["loadBalancer"]["ingress"] = json!(entries);
        }
        if !self.conditions.is_empty() {
            let told: Vec<_> = self.conditions.iter().map(|it| condition(it, marks, now)).collect();
            body["status"]["conditions"] = json!(told);
        }
        body
    }
}

/// The body of an apply that takes everything of ours off; the uid is its precondition.
pub(super) fn empty(key: &ServiceKey, uid: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": *key.name, "namespace": *key.namespace, "uid": uid}})
}

fn entry(ingress: &Ingress) -> Value {
    let mode = match ingress.ip_mode {
        IpMode::Proxy => "Proxy",
        IpMode::Vip => "VIP",
    };
    let mut entry = json!({"ip": ingress.address, "ipMode": mode});
    if !ingress.ports.is_empty() {
        entry["ports"] = ingress.ports.iter().map(port).collect();
    }
    entry
}

fn port(status: &PortStatus) -> Value {
    let mut port = json!({"port": status.port, "protocol": status.protocol});
    if let Some(error) = &status.error {
        port["error"] = json!(format!("{PREFIX}{error}"));
    }
    port
}

fn condition(wanted: &Condition, marks: &Marks, now: Timestamp) -> Value {
    let told = marks.told(&wanted.kind).filter(|told| told.condition.status == wanted.status);
    let since = match told {
        Some(told) if told.since.parse::<Timestamp>().is_ok() => json!(told.since),
        Some(_) | None => json!(Time(now)),
    };
    let status = match wanted.status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    };
    json!({"type": format!("{PREFIX}{}", wanted.kind), "status": status, "reason": wanted.reason,
        "message": wanted.message, "lastTransitionTime": since})
}
