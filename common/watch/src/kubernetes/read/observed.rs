//! What is on a Service of what we write, and whose it is: read beside the object itself, of the same
//! text, so that `managedFields` is never kept.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use roadstead_model::{
    Protocol,
    reason::{Condition, ConditionStatus},
    report::{FINALIZER, Ingress, IpMode, PortStatus},
};
use serde::{Deserialize, de::IgnoredAny};

use super::version::Version;

/// The field manager of everything that is written.
pub(in crate::kubernetes) const MANAGER: &str = "roadstead";
/// Before the types of our conditions, and the errors of ports.
pub(in crate::kubernetes) const PREFIX: &str = "roadstead.io/";
/// Longest message of a condition of ours in characters; the API takes 32,768 bytes.
pub(in crate::kubernetes) const MAX_MESSAGE: usize = 1_000;
/// Entries of `status.loadBalancer.ingress` above which they are nobody's that we know (S7).
const MAX_INGRESS: usize = 64;
/// Conditions of ours that are kept of one object, and the longest text of one in characters (S7).
const MAX_CONDITIONS: usize = 12;
const MAX_TEXT: usize = MAX_MESSAGE + 1;
/// Managers that are named.
const MAX_OWNERS: usize = 4;
/// Longest name of a manager that is told (the API takes 128 bytes).
const MAX_NAME: usize = 128;

/// A Service as the API server last showed it, reduced to what may be ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kubernetes) struct Observed {
    /// `metadata.uid`.
    pub(in crate::kubernetes) uid: Arc<str>,
    /// `metadata.resourceVersion`.
    pub(in crate::kubernetes) version: Option<Version>,
    /// What of it concerns us.
    pub(in crate::kubernetes) marks: Marks,
}

/// What is on an object that we may have written; equal where nothing of it has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::kubernetes) struct Marks {
    /// `metadata.deletionTimestamp` is there.
    pub(in crate::kubernetes) is_going: bool,
    /// The finalizer is there, by our word (and perhaps by another's too).
    pub(in crate::kubernetes) is_guarded: bool,
    /// `status.loadBalancer.ingress`.
    pub(in crate::kubernetes) shown: Shown,
    /// Conditions with our prefix.
    pub(in crate::kubernetes) conditions: Vec<Told>,
    /// Whether any field is ours.
    pub(in crate::kubernetes) is_marked: bool,
}

/// A condition with our prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kubernetes) struct Told {
    /// Without the prefix.
    pub(in crate::kubernetes) condition: Condition,
    /// `lastTransitionTime`.
    pub(in crate::kubernetes) since: String,
    /// Whether we have written it, so that we can take it off.
    pub(in crate::kubernetes) is_ours: bool,
}

/// `status.loadBalancer.ingress` with its owners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::kubernetes) struct Shown {
    /// The addresses.
    pub(in crate::kubernetes) addresses: Vec<IpAddr>,
    /// There are entries without one, or more than are looked at.
    pub(in crate::kubernetes) has_others: bool,
    /// The entries, where all of them have a form that we write.
    pub(in crate::kubernetes) exact: Option<Vec<Ingress>>,
    /// Whether there is any entry.
    pub(in crate::kubernetes) is_empty: bool,
    /// Whether it is as we applied it.
    pub(in crate::kubernetes) is_ours: bool,
    /// Other managers who have written it as it is.
    pub(in crate::kubernetes) others: Vec<Arc<str>>,
}

impl Observed {
    /// Reads what a Service shows; none where the text is no Service with a uid.
    pub(in crate::kubernetes) fn read(text: &str) -> Option<Self> {
        let raw: Raw<'_> = serde_json::from_str(text).ok()?;
        let fields: Vec<_> = raw.metadata.managed_fields.iter().flatten().collect();
        let ours = |entry: &&&Managed| entry.is_ours();
        let has_finalizer = raw.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER);
        let guards = |entry: &&Managed| entry.fields().guards();
        let marks = Marks {
            is_going: raw.metadata.deletion_timestamp.is_some(),
            is_guarded: has_finalizer && fields.iter().filter(ours).any(guards),
            shown: shown(&raw.status.load_balancer.ingress.unwrap_or_default(), &fields),
            conditions: conditions(raw.status.conditions.unwrap_or_default(), &fields),
            is_marked: fields.iter().any(|entry| entry.is_ours()),
        };
        let version = Version::new(&raw.metadata.resource_version);
        (!raw.metadata.uid.is_empty()).then(|| Self {
            uid: raw.metadata.uid.into(),
            version,
            marks,
        })
    }

    /// Whether anything on it is ours.
    pub(in crate::kubernetes) fn is_marked(&self) -> bool {
        self.marks.is_marked
    }

    /// Whether the finalizer is on it by our word: nobody takes it off but we.
    pub(in crate::kubernetes) fn is_guarded(&self) -> bool {
        self.marks.is_guarded
    }
}

impl Marks {
    /// A condition of ours by its bare type.
    pub(in crate::kubernetes) fn condition(&self, kind: &str) -> Option<&Condition> {
        self.told(kind).map(|told| &told.condition)
    }

    /// A condition of ours with what belongs to it.
    pub(in crate::kubernetes) fn told(&self, kind: &str) -> Option<&Told> {
        self.conditions.iter().find(|told| told.condition.kind == kind)
    }
}

fn shown(entries: &[RawIngress], fields: &[&Managed]) -> Shown {
    let owners = fields.iter().filter(|entry| entry.fields().shows());
    let (ours, others): (Vec<_>, Vec<_>) = owners.partition(|entry| entry.is_ours());
    let name = |entry: &&Managed| entry.manager.chars().take(MAX_NAME).collect::<String>().into();
    let exact = || entries.iter().map(RawIngress::exact).collect::<Option<Vec<_>>>();
    let address = |entry: &RawIngress| entry.ip.as_ref()?.parse().ok();
    let addresses: Vec<_> = entries.iter().take(MAX_INGRESS).filter_map(address).collect();
    Shown {
        has_others: addresses.len() != entries.len(),
        addresses,
        exact: (entries.len() <= MAX_INGRESS).then(exact).flatten(),
        is_empty: entries.is_empty(),
        is_ours: !ours.is_empty(),
        others: others.into_iter().take(MAX_OWNERS).map(name).collect(),
    }
}

fn conditions(raw: Vec<RawCondition>, fields: &[&Managed]) -> Vec<Told> {
    let own: Vec<_> = fields.iter().filter(|entry| entry.is_ours()).map(|e| e.fields()).collect();
    let told = raw.into_iter().filter_map(|raw| {
        let kind = raw.kind.strip_prefix(PREFIX).map(cut)?;
        let status = match raw.status.as_str() {
            "True" => ConditionStatus::True,
            "False" => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        };
        let is_ours = own.iter().any(|fields| fields.tells(&raw.kind));
        let condition = Condition::new(&kind, status, &cut(&raw.reason), cut(&raw.message));
        Some(Told { condition, since: cut(&raw.last_transition_time), is_ours })
    });
    let (mut ours, others): (Vec<_>, Vec<_>) = told.partition(|told| told.is_ours);
    ours.extend(others);
    ours.truncate(MAX_CONDITIONS);
    ours
}

/// What is longer than anything we write is told from it all the same.
fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[derive(Deserialize)]
struct Raw<'t> {
    #[serde(borrow)]
    metadata: Metadata<'t>,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'t> {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    resource_version: String,
    deletion_timestamp: Option<IgnoredAny>,
    finalizers: Option<Vec<String>>,
    #[serde(borrow)]
    managed_fields: Option<Vec<Managed<'t>>>,
}

/// An entry of `metadata.managedFields`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Managed<'t> {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    operation: String,
    #[serde(borrow, rename = "fieldsV1")]
    fields: Option<&'t serde_json::value::RawValue>,
}

/// The part of `fieldsV1` that is looked at.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(rename = "f:metadata")]
    metadata: MetadataFields,
    #[serde(rename = "f:status")]
    status: StatusFields,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MetadataFields {
    #[serde(rename = "f:finalizers")]
    finalizers: BTreeMap<String, IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusFields {
    #[serde(rename = "f:loadBalancer")]
    load_balancer: LoadBalancerFields,
    #[serde(rename = "f:conditions")]
    conditions: BTreeMap<String, IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LoadBalancerFields {
    #[serde(rename = "f:ingress")]
    ingress: Option<IgnoredAny>,
}

impl Managed<'_> {
    /// By server-side apply under our name; whoever updates under it is another.
    fn is_ours(&self) -> bool {
        self.manager == MANAGER && self.operation == "Apply"
    }

    /// One that cannot be understood has no field that we know.
    fn fields(&self) -> Fields {
        let fields = self.fields.and_then(|raw| serde_json::from_str(raw.get()).ok());
        fields.unwrap_or_default()
    }
}

impl Fields {
    fn guards(&self) -> bool {
        self.metadata.finalizers.contains_key(&format!("v:\"{FINALIZER}\""))
    }

    fn tells(&self, kind: &str) -> bool {
        self.status.conditions.contains_key(&format!("k:{{\"type\":\"{kind}\"}}"))
    }

    fn shows(&self) -> bool {
        self.status.load_balancer.ingress.is_some()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    load_balancer: LoadBalancer,
    conditions: Option<Vec<RawCondition>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Option<Vec<RawIngress>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawIngress {
    ip: Option<String>,
    hostname: Option<String>,
    ip_mode: Option<IpMode>,
    ports: Option<Vec<RawPort>>,
}

#[derive(Deserialize)]
struct RawPort {
    port: u16,
    protocol: Protocol,
    error: Option<Arc<str>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
    last_transition_time: String,
}

impl RawIngress {
    /// None where it has a form that we do not write.
    fn exact(&self) -> Option<Ingress> {
        if self.hostname.as_ref().is_some_and(|name| !name.is_empty()) {
            return None;
        }
        let port = |port: &RawPort| {
            let error = match &port.error {
                Some(error) => Some(error.strip_prefix(PREFIX)?.into()),
                None => None,
            };
            Some(PortStatus { port: port.port, protocol: port.protocol, error })
        };
        let ports = self.ports.iter().flatten().map(port).collect::<Option<_>>()?;
        Some(Ingress { address: self.ip.as_ref()?.parse().ok()?, ip_mode: self.ip_mode?, ports })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn service(fields: serde_json::Value, status: serde_json::Value) -> String {
        json!({"metadata": {"uid": "u", "resourceVersion": "7", "finalizers": [FINALIZER],
            "managedFields": fields}, "spec": {}, "status": status})
        .to_string()
    }

    fn owner(manager: &str, operation: &str, fields: serde_json::Value) -> serde_json::Value {
        json!({"manager": manager, "operation": operation, "fieldsV1": fields})
    }

    #[test]
    fn what_is_ours_is_told_from_what_is_anothers() {
        let guard = json!({"f:metadata": {"f:finalizers": {format!("v:\"{FINALIZER}\""): {}}}});
        let show = json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}});
        let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.10", "ipMode": "VIP"}]}});
        for (guardian, writer, operation, is_guarded, is_ours) in [
            ("roadstead", "roadstead", "Apply", true, true),
            ("roadstead", "roadstead", "Update", true, false),
            ("roadstead", "k3s", "Update", true, false),
            ("cloud", "cloud", "Apply", false, false),
        ] {
            let fields =
                [owner(guardian, "Apply", guard.clone()), owner(writer, operation, show.clone())];
            let read = Observed::read(&service(json!(fields), status.clone())).expect("a Service");
            assert_eq!(read.is_guarded(), is_guarded, "{guardian}");
            assert_eq!(read.marks.shown.is_ours, is_ours, "{writer} {operation}");
            assert_eq!(read.marks.shown.others.is_empty(), is_ours);
            assert_eq!(read.marks.is_marked, guardian == "roadstead");
            assert_eq!(read.marks.shown.addresses, ["192.0.2.10".parse::<IpAddr>().expect("one")]);
        }
    }

    #[test]
    fn entries_that_we_would_not_write_are_not_taken_for_ours() {
        let read = |ingress| {
            let status = json!({"loadBalancer": {"ingress": ingress}});
            Observed::read(&service(json!([]), status)).expect("a Service").marks.shown
        };
        let plain = json!([{"ip": "192.0.2.10", "ipMode": "Proxy",
            "ports": [{"port": 80, "protocol": "TCP", "error": "roadstead.io/PortConflict"}]}]);
        let shown = read(plain);
        let exact = shown.exact.expect("exact");
        assert_eq!(exact[0].ports[0].error.as_deref(), Some("PortConflict"));
        assert_eq!(
            read(json!([])),
            Shown { exact: Some(vec![]), is_empty: true, ..Shown::default() }
        );
        for other in [
            json!([{"hostname": "lb.example.com"}]),
            json!([{"ip": "192.0.2.10"}]),
            json!([{"ip": "banana", "ipMode": "VIP"}]),
            json!([{"ip": "192.0.2.10", "ipMode": "VIP", "hostname": "x"}]),
            json!([{"ip": "192.0.2.10", "ipMode": "VIP", "ports": [{"port": 1, "protocol": "TCP", "error": "x.io/Y"}]}]),
            json!(vec![json!({"ip": "192.0.2.10", "ipMode": "VIP"}); MAX_INGRESS + 1]),
        ] {
            let shown = read(other.clone());
            assert_eq!((shown.exact, shown.is_empty), (None, false), "{other}");
        }
    }

    #[test]
    fn conditions_of_others_are_left_out() {
        let status = json!({"conditions": [
            {"type": "roadstead.io/Allocated", "status": "True", "reason": "Allocated", "message": "m",
             "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "example.com/Good", "status": "True"}]});
        let read = Observed::read(&service(json!(null), status)).expect("a Service");
        assert_eq!(read.marks.conditions.len(), 1);
        let told = read.marks.told("Allocated").expect("it");
        assert_eq!((told.condition.message.as_str(), told.is_ours), ("m", false));
        assert_eq!(told.since, "2026-01-01T00:00:00Z");
    }

    #[test]
    fn no_uid_is_no_service() {
        for wrong in ["", "{}", "[]", r#"{"metadata": {}}"#, r#"{"metadata": {"uid": 5}}"#] {
            assert_eq!(Observed::read(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = Observed::read(&text);
        }
    }
}
