//! One object of the API → what is kept of it, by the rules that manifests follow too.

use std::{borrow::Cow, cmp::Reverse, path::PathBuf, sync::Arc};

use roadstead_model::{Location, Problem, SourceName, object::Service, problem::Severity};
use serde::Deserialize;

use super::{json, observed::Observed, version::Version};
use crate::objects::{
    Content, Item, Object, ObjectId,
    fields::{Fields, Report},
    kind::Kind,
    metadata,
    origin::Origin,
    tree::{Node, Value},
};

/// Most problems that are kept of one object; the worst, and the first of them.
const MAX_PROBLEMS: usize = 4;

/// What is kept of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kubernetes) struct Kept {
    /// The object, or why it is refused.
    pub(in crate::kubernetes) item: Item,
    /// What is wrong with it.
    pub(in crate::kubernetes) problems: Vec<Problem>,
}

/// An object as the API last said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kubernetes) struct Change {
    /// Which one.
    pub(in crate::kubernetes) id: ObjectId,
    /// What is kept of it; nothing of one that is being deleted, or is none of those asked for.
    pub(in crate::kubernetes) kept: Option<Kept>,
    /// `metadata.resourceVersion`.
    pub(in crate::kubernetes) version: Option<Version>,
    /// What is on it of what is written, where anything is written.
    pub(in crate::kubernetes) seen: Option<Arc<Observed>>,
}

/// What comes from the API and is no object of it.
#[derive(Debug, thiserror::Error)]
pub(in crate::kubernetes) enum NoObject {
    /// No JSON, or too much of it.
    #[error("not an object in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Nothing says which one it is.
    #[error("an object without a name")]
    Nameless,
}

/// Reads the objects of one cluster.
#[derive(Clone, Debug)]
pub(in crate::kubernetes) struct Converter {
    source: SourceName,
    place: Arc<PathBuf>,
    /// Whether Services are written to: then what is on them is seen, and they are guarded or not.
    is_written: bool,
    /// Whether the addresses in a Service's status are kept: whoever does not assign any needs no view
    /// each time that one is written there.
    keeps_status: bool,
}

impl Converter {
    pub(in crate::kubernetes) fn new(source: &SourceName) -> Self {
        Self {
            source: source.clone(),
            place: Arc::new(place_of(source)),
            is_written: false,
            keeps_status: true,
        }
    }

    /// The same for one who assigns, or does not.
    pub(in crate::kubernetes) fn keeping_status(self, keeps_status: bool) -> Self {
        Self { keeps_status, ..self }
    }

    /// The same for a cluster that is written to, or is not.
    pub(in crate::kubernetes) fn written(self, is_written: bool) -> Self {
        Self { is_written, ..self }
    }

    /// Reads an object of `kind`.
    ///
    /// # Errors
    /// When it is no JSON, or cannot be named.
    pub(in crate::kubernetes) fn change(&self, kind: Kind, text: &str) -> Result<Change, NoObject> {
        let node = match json::tree(text) {
            Ok(node) => node,
            Err(error) => return self.unread(kind, text, &error),
        };
        let Value::Map(entries) = &node.value else {
            return Err(NoObject::Nameless);
        };
        let fields = Fields::new(entries, 0);
        let id = identity(kind, &node).ok_or(NoObject::Nameless)?;
        let named = metadata::name_of(&fields, kind.as_str());
        let mut report = Report::new(&self.place, named, Origin::ApiServer);
        let (_, mut object) = kind.read(&self.source, &fields, &mut report);
        let seen = self.seen(kind, text);
        if let Some(Object::Service(service)) = &mut object {
            self.adapt(Arc::make_mut(service), seen.as_ref());
        }
        let refused = report.is_refused();
        let problems = report.into_problems();
        let content = match object {
            _ if !is_meant(kind, &node) => None,
            _ if refused => Some(Content::Refused { reason: first_error(&problems) }),
            object => object.map(Content::Good),
        };
        let location = Location { file: Arc::clone(&self.place), line: 0 };
        let kept = content.map(|content| Kept {
            item: Item { id: id.clone(), location, content },
            problems: worst(problems),
        });
        let version = text_at(&node, &["metadata", "resourceVersion"]).and_then(Version::new);
        let seen = seen.filter(|seen| seen.is_marked() || is_meant(kind, &node)).map(Arc::new);
        Ok(Change { id, kept, version, seen })
    }

    /// An object that has a name and is more than is read: refused, and no matter of any other (S6).
    fn unread(&self, kind: Kind, text: &str, why: &serde_json::Error) -> Result<Change, NoObject> {
        let Named { metadata, spec } = serde_json::from_str(text)?;
        let NamedMeta { name, namespace, resource_version } = metadata;
        let namespace = if namespace.is_empty() { "default" } else { &namespace };
        let id = identified(kind, namespace, &name).ok_or(NoObject::Nameless)?;
        let mut report = Report::new(
            &self.place,
            format!("{} {namespace}/{name}", kind.as_str()),
            Origin::ApiServer,
        );
        report.error(0, format!("cannot be read: {why}"));
        let problems = report.into_problems();
        let location = Location { file: Arc::clone(&self.place), line: 0 };
        let content = Content::Refused { reason: first_error(&problems) };
        let is_meant = kind != Kind::Service || spec.kind == "LoadBalancer";
        let kept = is_meant.then(|| Kept {
            item: Item { id: id.clone(), location, content },
            problems: worst(problems),
        });
        Ok(Change { id, kept, version: Version::new(&resource_version), seen: None })
    }

    fn adapt(&self, service: &mut Service, seen: Option<&Observed>) {
        if self.is_written {
            service.guarded = seen.is_some_and(Observed::is_guarded);
        }
        if !self.keeps_status {
            service.status_addresses.clear();
        }
    }

    fn seen(&self, kind: Kind, text: &str) -> Option<Observed> {
        (self.is_written && kind == Kind::Service).then(|| Observed::read(text)).flatten()
    }
}

/// What is read of an object that is too much to be read whole.
#[derive(Deserialize)]
struct Named<'t> {
    #[serde(borrow)]
    metadata: NamedMeta<'t>,
    #[serde(default)]
    spec: NamedSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedMeta<'t> {
    #[serde(borrow)]
    name: Cow<'t, str>,
    #[serde(borrow, default)]
    namespace: Cow<'t, str>,
    #[serde(borrow, default)]
    resource_version: Cow<'t, str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NamedSpec {
    #[serde(rename = "type")]
    kind: String,
}

/// Whether it is one that is asked for: servers before 1.30 cannot select Services by their type.
fn is_meant(kind: Kind, node: &Node<'_>) -> bool {
    kind != Kind::Service || text_at(node, &["spec", "type"]) == Some("LoadBalancer")
}

/// What stands where a file would: `cluster home`.
pub(in crate::kubernetes) fn place_of(source: &SourceName) -> PathBuf {
    format!("cluster {source}").into()
}

/// Which object it is, whatever else is wrong with it: the API server vouches for names.
fn identity(kind: Kind, node: &Node<'_>) -> Option<ObjectId> {
    let namespace = text_at(node, &["metadata", "namespace"]).unwrap_or("default");
    identified(kind, namespace, text_at(node, &["metadata", "name"])?)
}

fn identified(kind: Kind, namespace: &str, name: &str) -> Option<ObjectId> {
    let name: Arc<str> = Some(name).filter(|it| !it.is_empty())?.into();
    let namespace = || namespace.into();
    Some(match kind {
        Kind::Service => ObjectId::Service(namespace(), name),
        Kind::Node => ObjectId::Node(name),
        Kind::Namespace => ObjectId::Namespace(name),
        Kind::EndpointSlice => ObjectId::EndpointSlice(namespace(), name),
        Kind::MetalLb(kind) => ObjectId::MetalLb(kind, namespace(), name),
    })
}

fn text_at<'n>(node: &'n Node<'_>, path: &[&str]) -> Option<&'n str> {
    match (path, &node.value) {
        ([], Value::Text(text)) => Some(text),
        ([first, rest @ ..], Value::Map(entries)) => {
            text_at(&entries.iter().find(|entry| entry.key == *first)?.node, rest)
        }
        _ => None,
    }
}

fn first_error(problems: &[Problem]) -> Arc<str> {
    let error = problems.iter().find(|problem| problem.severity == Severity::Error);
    error.map_or("", |problem| problem.message.as_str()).into()
}

/// Notices are for those who write files.
fn worst(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.retain(|problem| problem.severity > Severity::Notice);
    problems.sort_by_key(|problem| Reverse(problem.severity));
    problems.truncate(MAX_PROBLEMS);
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Object;

    fn change(kind: Kind, text: &str) -> Result<Change, NoObject> {
        Converter::new(&SourceName::new("home")).change(kind, text)
    }

    fn service(spec: &str) -> Change {
        let text = format!(
            r#"{{"metadata": {{"name": "web", "namespace": "shop", "resourceVersion": "7"}}, "spec": {spec}}}"#
        );
        change(Kind::Service, &text).expect("an object")
    }

    #[test]
    fn a_service_is_read_as_from_a_file_and_what_only_a_file_is_told_is_not() {
        let read = service(
            r#"{"type": "LoadBalancer", "novel": {"a": 1}, "ports": [{"port": 80, "nodePort": 8080}]}"#,
        );
        assert_eq!(read.id, ObjectId::Service("shop".into(), "web".into()));
        assert_eq!(read.version, Version::new("7"));
        let kept = read.kept.expect("kept");
        assert!(matches!(kept.item.content, Content::Good(Object::Service(_))));
        assert_eq!(kept.problems, []);
    }

    #[test]
    fn an_object_of_too_many_values_is_refused_by_name_and_ends_nothing() {
        let many = "0,".repeat(json::MAX_VALUES);
        let spec = format!(r#"{{"type": "LoadBalancer", "novel": [{many}0]}}"#);
        let read = service(&spec);
        assert_eq!(read.id, ObjectId::Service("shop".into(), "web".into()));
        assert_eq!(read.version, Version::new("7"));
        let kept = read.kept.expect("kept");
        assert!(matches!(kept.item.content, Content::Refused { .. }));
        assert!(
            kept.problems[0].message.contains("more than 300000 values"),
            "{:?}",
            kept.problems
        );
        let other = service(&spec.replace("LoadBalancer", "ClusterIP"));
        assert!(other.kept.is_none(), "none of ours");
    }

    #[test]
    fn a_port_without_node_port_says_who_would_allocate_one() {
        let read = service(r#"{"type": "LoadBalancer", "ports": [{"port": 80}]}"#);
        let problems = read.kept.expect("kept").problems;
        let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "cluster home: Service shop/web: port TCP 80 has no nodePort, so that nothing can be sent to the nodes; `allocateLoadBalancerNodePorts: true` gives it one"
            ]
        );
    }

    #[test]
    fn what_is_wrong_names_cluster_and_object() {
        let read = service(r#"{"type": "LoadBalancer", "ports": [{"port": 0}]}"#);
        let kept = read.kept.expect("kept");
        assert!(matches!(kept.item.content, Content::Refused { .. }));
        let problem = kept.problems.first().expect("a problem").to_string();
        assert_eq!(
            problem,
            "cluster home: Service shop/web: spec.ports[0].port: 0 is not a port; 1 to 65535 is"
        );
    }

    #[test]
    fn whoever_does_not_assign_sees_no_change_in_a_status() {
        let text = |ip: &str| {
            format!(
                r#"{{"metadata": {{"name": "web"}}, "spec": {{"type": "LoadBalancer", "ports": [{{"port": 80, "nodePort": 30080}}]}},
                "status": {{"loadBalancer": {{"ingress": [{{"ip": "{ip}"}}]}}}}}}"#
            )
        };
        let read = |keeps, ip| {
            let converter = Converter::new(&SourceName::new("home")).keeping_status(keeps);
            converter.change(Kind::Service, &text(ip)).expect("an object").kept
        };
        assert_eq!(read(false, "192.0.2.10"), read(false, "192.0.2.11"));
        assert_ne!(read(true, "192.0.2.10"), read(true, "192.0.2.11"));
    }

    #[test]
    fn an_object_that_is_being_deleted_has_a_name_and_nothing_else() {
        let text = r#"{"metadata": {"name": "n1", "deletionTimestamp": "2026-01-01T00:00:00Z"}}"#;
        let read = change(Kind::Node, text).expect("an object");
        assert_eq!((read.id, read.kept), (ObjectId::Node("n1".into()), None));
    }

    #[test]
    fn a_service_of_another_type_is_not_kept() {
        for spec in [r#"{"type": "ClusterIP"}"#, r#"{"type": "NodePort", "ports": 7}"#, "{}"] {
            assert_eq!(service(spec).kept, None, "{spec}");
        }
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for wrong in
            ["", "[]", "{}", r#"{"metadata": {"name": 5}}"#, r#"{"metadata": {"name": ""}}"#]
        {
            assert!(change(Kind::Node, wrong).is_err(), "{wrong}");
        }
    }
}
