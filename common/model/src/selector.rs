//! Label selectors: the meaning of `metav1.LabelSelector`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

/// The labels of an object.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// A label selector: all of it must match. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Selector {
    /// `key = "value"`, or `matchLabels`.
    pub match_labels: Labels,
    /// `matchExpressions`.
    #[serde(default)]
    pub match_expressions: Vec<Requirement>,
}

/// One of `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// The label's key.
    pub key: Arc<str>,
    /// What is required of it.
    pub condition: Condition,
}

/// What is required of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Condition {
    /// `In`: it is there with one of these values; never empty.
    In(BTreeSet<Arc<str>>),
    /// `NotIn`: it is not there, or with another value; never empty.
    NotIn(BTreeSet<Arc<str>>),
    /// `Exists`: it is there.
    Exists,
    /// `DoesNotExist`: it is not there.
    DoesNotExist,
}

impl Selector {
    /// Whether everything asked for holds of these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    /// Whether it holds of these labels.
    pub fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.condition {
            Condition::In(values) => value.is_some_and(|value| values.contains(value)),
            Condition::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Condition::Exists => value.is_some(),
            Condition::DoesNotExist => value.is_none(),
        }
    }
}

impl fmt::Display for Selector {
    /// As kubectl writes it: `tier=front,env in (a,b),!legacy`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let expressions = self.match_expressions.iter().map(ToString::to_string);
        let all: Vec<_> = labels.chain(expressions).collect();
        if all.is_empty() { f.write_str("everything") } else { f.write_str(&all.join(",")) }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |values: &BTreeSet<Arc<str>>| {
            values.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(",")
        };
        let key = &self.key;
        match &self.condition {
            Condition::In(values) => write!(f, "{key} in ({})", listed(values)),
            Condition::NotIn(values) => write!(f, "{key} notin ({})", listed(values)),
            Condition::Exists => write!(f, "{key}"),
            Condition::DoesNotExist => write!(f, "!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    fn requiring(condition: Condition) -> Selector {
        let requirement = Requirement { key: "tier".into(), condition };
        Selector { match_labels: labels(&[("app", "web")]), match_expressions: vec![requirement] }
    }

    #[test]
    fn every_operator_means_what_kubernetes_says() {
        let front = || BTreeSet::from(["front".into(), "edge".into()]);
        let table = [
            (Condition::In(front()), [true, false, false]),
            (Condition::NotIn(front()), [false, true, true]),
            (Condition::Exists, [true, true, false]),
            (Condition::DoesNotExist, [false, false, true]),
        ];
        for (condition, wanted) in table {
            let selector = requiring(condition);
            let matched = [Some("front"), Some("back"), None].map(|tier| {
                let tier = tier.map(|tier| ("tier", tier));
                let all: Vec<_> = [("app", "web")].into_iter().chain(tier).collect();
                selector.matches(&labels(&all))
            });
            assert_eq!(matched, wanted, "{selector}");
            assert!(!selector.matches(&labels(&[("app", "db"), ("tier", "front")])), "{selector}");
        }
        assert!(Selector::default().matches(&labels(&[])));
    }

    #[test]
    fn a_selector_is_written_as_kubectl_writes_it() {
        let both = BTreeSet::from(["a".into(), "b".into()]);
        assert_eq!(requiring(Condition::In(both)).to_string(), "app=web,tier in (a,b)");
        assert_eq!(requiring(Condition::DoesNotExist).to_string(), "app=web,!tier");
        assert_eq!(Selector::default().to_string(), "everything");
    }
}
