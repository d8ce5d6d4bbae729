//! Which reservation an operator means.

use roadstead_model::{SourceName, local::ReservationStatus};
use roadstead_speaker_core::ipam::ReservationKey;

/// Reservations named in an answer before the rest is left out.
const NAMED: usize = 10;

/// The reservation that `[SOURCE/]NAMESPACE/NAME` means.
///
/// # Errors
/// It can mean none, or several; in words.
pub(crate) fn meant<'s>(
    text: &str,
    kept: &[ReservationStatus],
    sources: impl Iterator<Item = &'s SourceName>,
) -> Result<ReservationKey, String> {
    let configured = |status: &&ReservationStatus| status.configured && *status.name == *text;
    if let Some(status) = kept.iter().find(configured) {
        return Err(format!(
            "reservation `{}` stands in the configuration: take it out there and reload",
            status.name
        ));
    }
    if let Ok(key) = text.parse::<ReservationKey>() {
        return Ok(key);
    }
    let wrong = || format!("`{text}` is no reservation: write [SOURCE/]NAMESPACE/NAME");
    let (namespace, name) = text.split_once('/').ok_or_else(wrong)?;
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        return Err(wrong());
    }
    let key = |source: &SourceName| ReservationKey::new(source, namespace, name);
    let keys: Vec<_> = sources.map(key).collect();
    let is_kept = |key: &&ReservationKey| kept.iter().any(|status| is_of(status, key));
    let mut known = keys.iter().filter(is_kept);
    match (known.next(), known.next(), keys.as_slice()) {
        (Some(_), Some(_), _) => Err(format!(
            "several sources keep `{text}`: write SOURCE/{text}, as `roadstead status` names them"
        )),
        (Some(key), None, _) | (None, _, [key]) => Ok(key.clone()),
        (None, _, _) => Err(unknown(text, kept)),
    }
}

/// That there is none, with those that there are.
pub(crate) fn unknown(text: &str, kept: &[ReservationStatus]) -> String {
    let noted = kept.iter().filter(|status| !status.configured);
    let names: Vec<_> =
        noted.map(|status| format!("{}/{}", status.r#for, status.name)).take(NAMED).collect();
    match names.as_slice() {
        [] => format!("nothing is kept under `{text}`, nor under any other annotation"),
        names => format!("nothing is kept under `{text}`; there are {}", names.join(", ")),
    }
}

fn is_of(status: &ReservationStatus, key: &ReservationKey) -> bool {
    !status.configured
        && status.name == key.name
        && status.r#for == format!("{}/{}", key.source, key.namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(whose: &str, name: &str, configured: bool) -> ReservationStatus {
        let addresses = vec!["192.0.2.10".parse().unwrap()];
        ReservationStatus { name: name.into(), r#for: whose.into(), addresses, configured }
    }

    fn told(text: &str) -> Result<String, String> {
        let kept = [
            kept("a/default", "db", false),
            kept("b/default", "db", false),
            kept("b/prod", "db", false),
            kept("a/prod", "shop", true),
        ];
        let sources = ["a", "b"].map(SourceName::new);
        meant(text, &kept, sources.iter()).map(|key| key.to_string())
    }

    #[test]
    fn a_reservation_is_named_with_its_source_where_that_is_needed() {
        assert_eq!(told("prod/db"), Ok("b/prod/db".into()));
        assert_eq!(told("a/default/db"), Ok("a/default/db".into()));
        assert!(told("default/db").unwrap_err().contains("write SOURCE/default/db"));
    }

    #[test]
    fn what_is_none_is_told_with_those_that_there_are() {
        let unknown = told("prod/web").unwrap_err();
        assert!(unknown.contains("a/default/db, b/default/db, b/prod/db"), "{unknown}");
        assert!(told("shop").unwrap_err().contains("stands in the configuration"));
        for text in ["db", "/db", "prod/", "a/b/c/d"] {
            assert!(told(text).unwrap_err().contains("[SOURCE/]NAMESPACE/NAME"), "{text}");
        }
    }

    #[test]
    fn with_one_source_it_need_not_be_named() {
        let sources = [SourceName::new("local")];
        let key = meant("default/web", &[], sources.iter()).unwrap();
        assert_eq!(key.to_string(), "local/default/web");
        assert!(unknown("default/web", &[]).contains("nothing is kept"));
    }
}
