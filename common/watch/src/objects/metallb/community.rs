//! `Community`: names of BGP communities.

use std::sync::Arc;

use roadstead_model::metallb::Community;

use super::values::{bounded, required};
use crate::objects::{
    fields::{Field, Fields, Report},
    words::shown,
};

/// `spec.communities`: names and values; no name twice.
pub(super) fn read(spec: &Fields<'_, '_>, report: &mut Report<'_>) -> Vec<(Arc<str>, Community)> {
    let mut aliases: Vec<(Arc<str>, Community)> = Vec::new();
    for field in bounded(spec, "communities", report) {
        let Some(entry) = field.map(report) else { continue };
        let Some((name, value)) = alias(&entry, report) else { continue };
        if aliases.iter().any(|(known, _)| *known == name) {
            field.wrong(report, &format!("the name `{}` is there twice", shown(&name)));
        } else {
            aliases.push((name, value));
        }
    }
    aliases
}

fn alias(entry: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<(Arc<str>, Community)> {
    let name = required(entry, "name", report)?.text(report)?;
    let field = required(entry, "value", report)?;
    let text = field.text(report)?;
    Some((name.into(), value(&field, text, report)?))
}

/// `64512:100` (RFC 1997) or `large:64512:1:100` (RFC 8092).
pub(super) fn value(
    field: &Field<'_, '_>,
    text: &str,
    report: &mut Report<'_>,
) -> Option<Community> {
    let value = parse(text);
    if value.is_none() {
        let text = shown(text);
        let what = format!(
            "`{text}` is no community; 64512:100, of numbers up to 65535, or large:64512:1:100 would be"
        );
        field.wrong(report, &what);
    }
    value
}

fn parse(text: &str) -> Option<Community> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        ["large", a, b, c] => Some(Community::Large(decimal(a)?, decimal(b)?, decimal(c)?)),
        [a, b] => Some(Community::Standard(decimal(a)?, decimal(b)?)),
        _ => None,
    }
}

/// Digits alone: a sign is none.
fn decimal<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_are_standard_or_large() {
        assert_eq!(parse("64512:100"), Some(Community::Standard(64512, 100)));
        assert_eq!(parse("large:64512:1:100"), Some(Community::Large(64512, 1, 100)));
        let most = "large:4294967295:4294967295:4294967295";
        assert_eq!(parse(most).unwrap().to_string(), most);
        for text in
            ["", "1", "65536:1", "1:65536", "1:2:3", "large:1:2", "+1:2", "1: 2", "a:b", ":"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
