//! Label selectors as kubectl writes them: `tier=front,env in (a,b),!legacy`.

use std::{collections::BTreeSet, sync::Arc};

use config::{Map, Value, ValueKind};
use roadstead_model::selector::{Condition, Labels, Requirement, Selector};

use crate::{layer::place_of, section::Section};

/// Longest name, and longest value, of a label (Kubernetes: labels and selectors).
const LABEL_MAX: usize = 63;
/// Longest prefix of a label's key.
const PREFIX_MAX: usize = 253;

/// A selector, or a list of them of which one must match; a table says which labels are equal.
pub(crate) fn read(section: &mut Section<'_>, key: &'static str) -> Vec<Selector> {
    let Some(entry) = section.take(key) else { return Vec::new() };
    match entry.value {
        ValueKind::Table(table) => equal(section, key, table).into_iter().collect(),
        ValueKind::String(text) => {
            let parsed = section.note(key, parse(&text), entry.place);
            parsed.map(|parsed| parsed.value).into_iter().collect()
        }
        ValueKind::Array(items) => {
            items.into_iter().filter_map(|item| one_of(section, key, item)).collect()
        }
        other => {
            let wanted = "a selector: write \"tier=front\" or { tier = \"front\" }";
            section.wrong_kind(key, &entry.place, &other, wanted);
            Vec::new()
        }
    }
}

/// `{ tier = "front" }`; none where a value is wrong, which is told.
fn equal(section: &Section<'_>, key: &str, table: Map<String, Value>) -> Option<Selector> {
    let mut match_labels = Labels::new();
    for (label, value) in table {
        let place = place_of(&value).unwrap_or_else(|| section.place.clone());
        let ValueKind::String(text) = value.kind else {
            section.wrong_kind(key, &place, &value.kind, "a table of strings");
            return None;
        };
        let checked = label_key(&label).and_then(|key| Ok((key, label_value(&text)?)));
        let (label, text) = section.note(key, checked, place)?.value;
        match_labels.insert(label, text);
    }
    Some(Selector { match_labels, ..Selector::default() })
}

fn one_of(section: &Section<'_>, key: &str, item: Value) -> Option<Selector> {
    let place = place_of(&item).unwrap_or_else(|| section.place.clone());
    match item.kind {
        ValueKind::String(text) => Some(section.note(key, parse(&text), place)?.value),
        other => {
            section.wrong_kind(key, &place, &other, "a list of selectors as \"tier=front\"");
            None
        }
    }
}

/// Reads the form of kubectl.
fn parse(text: &str) -> Result<Selector, String> {
    let mut selector = Selector::default();
    for part in parts(text) {
        let requirement = requirement(part.trim())
            .map_err(|why| format!("\"{}\": {why}", text.escape_debug()))?;
        selector.match_expressions.push(requirement);
    }
    Ok(selector)
}

/// Parts by commas, those within parentheses left alone.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let separator = |c: char| {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.split(separator).collect()
}

fn requirement(part: &str) -> Result<Requirement, String> {
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement { key: label_key(key.trim())?, condition: Condition::DoesNotExist });
    }
    if let Some((key, value)) = part.split_once("!=") {
        let condition = Condition::NotIn(BTreeSet::from([label_value(value.trim())?]));
        return Ok(Requirement { key: label_key(key.trim())?, condition });
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        let condition = Condition::In(BTreeSet::from([label_value(value.trim())?]));
        return Ok(Requirement { key: label_key(key.trim())?, condition });
    }
    match part.split_once('(') {
        Some((before, values)) => listed(before.trim(), values),
        None => Ok(Requirement { key: label_key(part)?, condition: Condition::Exists }),
    }
}

/// `key in (a,b)` and `key notin (a,b)`, split at the parenthesis.
fn listed(before: &str, values: &str) -> Result<Requirement, String> {
    let wrong = || "write `key in (a, b)` or `key notin (a, b)`".to_owned();
    let values = values.trim_end().strip_suffix(')').ok_or_else(wrong)?;
    let values: Result<BTreeSet<Arc<str>>, String> =
        values.split(',').map(|value| label_value(value.trim())).collect();
    let (key, operator) = before.split_once(char::is_whitespace).ok_or_else(wrong)?;
    let condition = match operator.trim() {
        "in" => Condition::In(values?),
        "notin" => Condition::NotIn(values?),
        _ => return Err(wrong()),
    };
    Ok(Requirement { key: label_key(key)?, condition })
}

/// `name` or `prefix/name` (Kubernetes: labels and selectors).
fn label_key(text: &str) -> Result<Arc<str>, String> {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(p, n)| (Some(p), n));
    let is_prefix = |prefix: &str| {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-.".contains(&c);
        (1..=PREFIX_MAX).contains(&prefix.len()) && prefix.bytes().all(inner)
    };
    if !name.is_empty() && is_word(name) && prefix.is_none_or(is_prefix) {
        return Ok(text.into());
    }
    Err(format!(
        "`{}` is no key of a label: write one as tier or example.com/tier",
        text.escape_debug()
    ))
}

fn label_value(text: &str) -> Result<Arc<str>, String> {
    if is_word(text) {
        return Ok(text.into());
    }
    Err(format!(
        "`{}` is no value of a label: at most 63 letters, digits, - _ and .",
        text.escape_debug()
    ))
}

/// At most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at either end; or nothing.
fn is_word(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.len() <= LABEL_MAX
        && text.bytes().all(inner)
        && (text.is_empty() || text.starts_with(ends) && text.ends_with(ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_kubectl_reads_them() {
        for (text, shown) in [
            ("tier=front", "tier in (front)"),
            ("tier==front, env!=prod", "tier in (front),env notin (prod)"),
            ("app in (web, api),tier notin (back)", "app in (api,web),tier notin (back)"),
            ("example.com/team, !legacy", "example.com/team,!legacy"),
            ("empty=", "empty in ()"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_says_what_would_be() {
        for (text, words) in [
            ("", "`` is no key of a label"),
            ("a,,b", "`` is no key of a label"),
            ("tier = front end", "`front end` is no value"),
            ("tier near (a)", "write `key in (a, b)`"),
            ("tier in (a", "write `key in (a, b)`"),
            ("in (a)", "write `key in (a, b)`"),
            ("-a=b", "`-a` is no key"),
            ("Ex.com/a=b", "`Ex.com/a` is no key"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
