//! Server-side apply on Services, as far as it is needed: what an API server does with a patch of
//! `/status`, on an object in JSON. Finalizers are a set, conditions a map by type, the ingress is one
//! value; each of them has its owners, and what nobody owns any more is gone (KEP-555).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A refusal: HTTP status and message, in the words of apimachinery.
pub(in crate::kubernetes) type Refusal = (u16, String);

/// One thing that can be owned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Leaf {
    Finalizer(String),
    Ingress,
    Condition(String),
}

/// Applies a patch to an object; the object has changed or stayed as it was when this returns.
pub(in crate::kubernetes) fn apply(
    object: &mut Value,
    manager: &str,
    body: &Value,
    force: bool,
) -> Result<(), Refusal> {
    let uid = &body["metadata"]["uid"];
    if !uid.is_null() && *uid != object["metadata"]["uid"] {
        let what = format!("metadata.uid: Invalid value: {uid}: field is immutable");
        return Err((422, what));
    }
    let wanted = leaves(body);
    let before = leaves(object);
    let going = object["metadata"]["deletionTimestamp"].is_string();
    let is_new = |leaf: &Leaf| matches!(leaf, Leaf::Finalizer(_)) && !before.contains_key(leaf);
    if going && wanted.keys().any(is_new) {
        return Err((422, "metadata.finalizers: Forbidden: no new finalizers".to_owned()));
    }
    let mut owners = owners(object);
    for (leaf, value) in &wanted {
        let differs = before.get(leaf) != Some(value);
        let others = owners
            .iter_mut()
            .filter(|((name, how), _)| (name.as_str(), how.as_str()) != (manager, "Apply"));
        for ((name, _), fields) in others.filter(|(_, fields)| differs && fields.contains(leaf)) {
            if !force {
                return Err((
                    409,
                    format!("Apply failed with 1 conflict: conflict with \"{name}\""),
                ));
            }
            fields.retain(|field| field != leaf);
        }
    }
    let own = (manager.to_owned(), "Apply".to_owned());
    let had = owners.insert(own, wanted.keys().cloned().collect()).unwrap_or_default();
    let mut now = before;
    let is_owned = |leaf: &Leaf| owners.values().any(|fields| fields.contains(leaf));
    now.retain(|leaf, _| !had.contains(leaf) || is_owned(leaf));
    now.extend(wanted);
    write(object, &now, &owners);
    Ok(())
}

/// Another writes one value, as an update does: it is his then, and no other's.
pub(in crate::kubernetes) fn forge(object: &mut Value, manager: &str, ingress: Value) {
    let (mut now, mut owners) = (leaves(object), owners(object));
    owners.values_mut().for_each(|fields| fields.retain(|field| *field != Leaf::Ingress));
    now.remove(&Leaf::Ingress);
    if ingress.as_array().is_some_and(|entries| !entries.is_empty()) {
        now.insert(Leaf::Ingress, ingress);
        let his = (manager.to_owned(), "Update".to_owned());
        owners.entry(his).or_default().push(Leaf::Ingress);
    }
    write(object, &now, &owners);
}

/// Whether nothing holds an object that is to go.
pub(in crate::kubernetes) fn is_gone(object: &Value) -> bool {
    let holds = object["metadata"]["finalizers"].as_array().is_some_and(|it| !it.is_empty());
    object["metadata"]["deletionTimestamp"].is_string() && !holds
}

fn leaves(object: &Value) -> BTreeMap<Leaf, Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut leaves = BTreeMap::new();
    for name in list(&object["metadata"]["finalizers"]) {
        leaves.insert(Leaf::Finalizer(name.as_str().expect("text").to_owned()), Value::Null);
    }
    let ingress = &object["status"]["loadBalancer"]["ingress"];
    if ingress.is_array() {
        leaves.insert(Leaf::Ingress, ingress.clone());
    }
    for condition in list(&object["status"]["conditions"]) {
        let kind = condition["type"].as_str().expect("text").to_owned();
        leaves.insert(Leaf::Condition(kind), condition);
    }
    leaves
}

type Owners = BTreeMap<(String, String), Vec<Leaf>>;

fn owners(object: &Value) -> Owners {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries
        .iter()
        .map(|entry| {
            ((text(&entry["manager"]), text(&entry["operation"])), fields(&entry["fieldsV1"]))
        })
        .collect()
}

fn fields(tree: &Value) -> Vec<Leaf> {
    let names = |value: &Value| value.as_object().cloned().unwrap_or_default().into_iter();
    let finalizers = names(&tree["f:metadata"]["f:finalizers"]).filter_map(|(name, _)| {
        Some(Leaf::Finalizer(name.strip_prefix("v:\"")?.strip_suffix('"')?.to_owned()))
    });
    let conditions = names(&tree["f:status"]["f:conditions"]).filter_map(|(name, _)| {
        let kind = name.strip_prefix("k:{\"type\":\"")?.strip_suffix("\"}")?;
        Some(Leaf::Condition(kind.to_owned()))
    });
    let ingress = &tree["f:status"]["f:loadBalancer"]["f:ingress"];
    let ingress = ingress.is_object().then_some(Leaf::Ingress);
    finalizers.chain(conditions).chain(ingress).collect()
}

fn write(object: &mut Value, leaves: &BTreeMap<Leaf, Value>, owners: &Owners) {
    let mut finalizers = Vec::new();
    let mut conditions = Vec::new();
    let mut status = json!({"loadBalancer": {}});
    for (leaf, value) in leaves {
        match leaf {
            Leaf::Finalizer(name) => finalizers.push(json!(name)),
            Leaf::Ingress => status["loadBalancer"]["ingress"] = value.clone(),
            Leaf::Condition(_) => conditions.push(value.clone()),
        }
    }
    status["conditions"] = json!(conditions);
    object["status"] = status;
    object["metadata"]["finalizers"] = json!(finalizers);
    let entries = owners.iter().filter(|(_, fields)| !fields.is_empty());
    let entries = entries.map(|((manager, operation), fields)| {
        json!({"manager": manager, "operation": operation, "subresource": "status",
            "fieldsType": "FieldsV1", "fieldsV1": tree(fields)})
    });
    object["metadata"]["managedFields"] = entries.collect();
}

fn tree(fields: &[Leaf]) -> Value {
    let (mut finalizers, mut conditions, mut ingress) = (Map::new(), Map::new(), Map::new());
    for field in fields {
        match field {
            Leaf::Finalizer(name) => drop(finalizers.insert(format!("v:\"{name}\""), json!({}))),
            Leaf::Condition(kind) => {
                drop(conditions.insert(format!("k:{{\"type\":\"{kind}\"}}"), json!({".": {}})));
            }
            Leaf::Ingress => drop(ingress.insert("f:ingress".to_owned(), json!({}))),
        }
    }
    json!({"f:metadata": {"f:finalizers": finalizers},
        "f:status": {"f:conditions": conditions, "f:loadBalancer": ingress}})
}
