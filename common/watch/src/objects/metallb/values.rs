//! The forms of values that several of MetalLB's kinds share.

use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc, time::Duration};

use roadstead_model::{
    metallb::Scope,
    selector::{Condition, Labels, Requirement, Selector},
};

use crate::objects::{
    fields::{Field, Fields, Report},
    words::shown,
};

/// Most elements of one list. A real one has a handful.
const MAX_LIST: usize = 1_000;

/// The field `name` as a list of texts, none twice.
pub(super) fn names(fields: &Fields<'_, '_>, name: &str, report: &mut Report<'_>) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for field in bounded(fields, name, report) {
        let Some(text) = field.text(report) else { continue };
        if names.iter().any(|known| **known == *text) {
            field.wrong(report, &format!("`{}` is there twice", shown(text)));
        } else {
            names.push(text.into());
        }
    }
    names
}

/// The field `name` as a list of `metav1.LabelSelector`, none twice.
pub(super) fn selectors(
    fields: &Fields<'_, '_>,
    name: &str,
    report: &mut Report<'_>,
) -> Vec<Selector> {
    let mut selectors: Vec<Selector> = Vec::new();
    for field in bounded(fields, name, report) {
        let Some(map) = field.map(report) else { continue };
        let selector = selector(&map, report);
        if selectors.contains(&selector) {
            field.wrong(report, &format!("`{selector}` is there twice"));
        } else {
            selectors.push(selector);
        }
    }
    selectors
}

/// `ipAddressPools` and `ipAddressPoolSelectors` of an advertisement.
pub(super) fn scope(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Scope {
    Scope {
        pools: names(spec, "ipAddressPools", report),
        selectors: selectors(spec, "ipAddressPoolSelectors", report),
    }
}

/// The elements of the list `name`, not more than are ever wanted.
pub(super) fn bounded<'n, 't>(
    fields: &Fields<'n, 't>,
    name: &str,
    report: &mut Report<'_>,
) -> Vec<Field<'n, 't>> {
    let list = fields.list(name, report);
    if list.len() > MAX_LIST {
        let what =
            format!("{}: {} elements; at most {MAX_LIST} are", fields.path_of(name), list.len());
        report.error(fields.line, what);
        return Vec::new();
    }
    list
}

fn selector(map: &Fields<'_, '_>, report: &mut Report<'_>) -> Selector {
    let mut match_labels = Labels::new();
    if let Some(labels) = map.map("matchLabels", report) {
        for entry in labels.entries() {
            if let Some(value) = labels.text(&entry.key, report) {
                match_labels.insert(entry.key.as_ref().into(), value.into());
            }
        }
    }
    let expressions = map.maps("matchExpressions", report);
    let read = |expression: Fields<'_, '_>| requirement(&expression, report);
    Selector { match_labels, match_expressions: expressions.into_iter().filter_map(read).collect() }
}

#[derive(Clone, Copy)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

const OPERATORS: [(&str, Operator); 4] = [
    ("In", Operator::In),
    ("NotIn", Operator::NotIn),
    ("Exists", Operator::Exists),
    ("DoesNotExist", Operator::DoesNotExist),
];

fn requirement(map: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<Requirement> {
    let key = required(map, "key", report)?.text(report)?;
    let operator = required(map, "operator", report)?.choice(report, &OPERATORS)?;
    let values: BTreeSet<_> = names(map, "values", report).into_iter().collect();
    let (condition, is_listed) = match operator {
        Operator::In => (Condition::In(values), true),
        Operator::NotIn => (Condition::NotIn(values), true),
        Operator::Exists => (Condition::Exists, false),
        Operator::DoesNotExist => (Condition::DoesNotExist, false),
    };
    let has_values = map.field("values").is_some_and(|field| !field.list(report).is_empty());
    if is_listed != has_values {
        let wanted = if is_listed { "at least one value" } else { "no value" };
        report.error(
            map.line,
            format!("{}: {wanted} is wanted by this operator", map.path_of("values")),
        );
        return None;
    }
    Some(Requirement { key: key.into(), condition })
}

/// The field `name`, which must be there.
pub(super) fn required<'n, 't>(
    fields: &Fields<'n, 't>,
    name: &str,
    report: &mut Report<'_>,
) -> Option<Field<'n, 't>> {
    let field = fields.field(name);
    if field.is_none() {
        report.error(fields.line, format!("{} is missing", fields.path_of(name)));
    }
    field
}

/// The field `name` as a whole number of `range`, where it is there.
pub(super) fn number<N: TryFrom<i64> + PartialOrd + std::fmt::Display>(
    fields: &Fields<'_, '_>,
    name: &str,
    range: RangeInclusive<N>,
    report: &mut Report<'_>,
) -> Option<N> {
    let field = fields.field(name)?;
    let written = field.integer(report)?;
    match N::try_from(written) {
        Ok(number) if range.contains(&number) => Some(number),
        _ => {
            let (low, high) = range.into_inner();
            field.wrong(report, &format!("{written} is outside {low} to {high}"));
            None
        }
    }
}

/// The boolean `name`, false where nothing is said.
pub(super) fn flag(fields: &Fields<'_, '_>, name: &str, report: &mut Report<'_>) -> bool {
    fields.boolean(name, report).unwrap_or(false)
}

/// The field `name` as a `metav1.Duration`: `90s`, `1m30s`, `1.5h`.
pub(super) fn duration(
    fields: &Fields<'_, '_>,
    name: &str,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let field = fields.field(name)?;
    let text = field.text(report)?;
    let duration = parse_duration(text);
    if duration.is_none() {
        field
            .wrong(report, &format!("`{}` is no duration; `90s` or `1m30s` would be", shown(text)));
    }
    duration
}

/// Units of Go's `time.ParseDuration` in nanoseconds; the longer ones first where one begins
/// another.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A duration as Go writes it, never negative.
fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let written = text.strip_prefix('+').unwrap_or(text);
    let mut rest = written;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(unit_at)?;
        let (unit, nanos) = UNITS.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        total = total.checked_add(scaled(number, nanos)?)?;
        rest = after.strip_prefix(unit)?;
    }
    let total = u64::try_from(total).ok().filter(|_| !written.is_empty())?;
    Some(Duration::from_nanos(total))
}

/// A decimal number of units; digits beyond a nanosecond are dropped.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()? };
    let mut nanos = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.chars() {
        place = place.checked_div(10)?;
        nanos = nanos.checked_add(place.checked_mul(u128::from(digit.to_digit(10)?))?)?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("3s", 3_000),
            ("0", 0),
            ("0s", 0),
            ("300ms", 300),
            ("+1h0m0s", 3_600_000),
            (".5s", 500),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "s", "90", "-3s", "1x", "1m30", ".s", "1.2.3s", "99999999999999999999h", "+"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
