//! What an API server's answer to a write means. Pure.

use std::time::Duration;

use crate::kubernetes::{api::failure::Failure, read::observed::Observed};

/// An answer to a write.
#[derive(Debug)]
pub(super) enum Answer {
    /// Done; with the object as it is now.
    Taken(Option<Observed>),
    /// There is no such object, or another one has its name.
    Gone,
    /// Somebody else writes the same field, or wrote at the same moment.
    Conflict,
    /// It was not done.
    Failed {
        /// Why, for people.
        why: String,
        /// Whether every request would fare the same.
        is_common: bool,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
}

impl Answer {
    /// What a failure means. The words are those of apimachinery: of an apply with the uid of an
    /// object that is not there (409), or is another one (422), and of RBAC (403).
    pub(super) fn of(failure: &Failure) -> Self {
        let (code, message) = match failure {
            Failure::Refused { code, message, .. } => (code, message),
            // It answered, and to this one so: no other Service waits for that.
            Failure::TooBig(_) | Failure::Broken(_) => return Self::failed(failure, false),
            Failure::Unreachable(_) | Failure::WentBack => return Self::failed(failure, true),
        };
        match code {
            404 => Self::Gone,
            409 if message.contains("no existing object was found") => Self::Gone,
            409 => Self::Conflict,
            422 if message.contains("metadata.uid") => Self::Gone,
            401 | 429 | 502..=504 => Self::failed(failure, true),
            403 if message.contains("cannot patch resource") => Self::failed(failure, true),
            _ => Self::failed(failure, false),
        }
    }

    fn failed(failure: &Failure, is_common: bool) -> Self {
        let advice = match failure {
            Failure::Refused { code: 403, .. } if is_common => {
                "; or say `report = false` of the source, and nothing is written"
            }
            _ => "",
        };
        Self::Failed {
            why: format!("the status of Services is not written: the API server {failure}{advice}"),
            is_common,
            retry_after: failure.retry_after(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, message: &str) -> Answer {
        Answer::of(&Failure::Refused { code, message: message.to_owned(), retry_after: None })
    }

    #[test]
    fn an_object_that_is_not_there_or_another_is_gone_and_no_other_conflict_is() {
        assert!(matches!(of(404, r#"services "web" not found"#), Answer::Gone));
        let absent = "Operation cannot be fulfilled on services \"web\": uid mismatch: the provided object specified uid u, and no existing object was found";
        assert!(matches!(of(409, absent), Answer::Gone));
        let another =
            r#"Service "web" is invalid: metadata.uid: Invalid value: "u": field is immutable"#;
        assert!(matches!(of(422, another), Answer::Gone));
        let modified = r#"Operation cannot be fulfilled on services "web": the object has been modified; please apply your changes to the latest version"#;
        assert!(matches!(of(409, modified), Answer::Conflict));
        assert!(matches!(of(409, "Apply failed with 1 conflict"), Answer::Conflict));
        assert!(matches!(
            of(422, "status.loadBalancer: Invalid value"),
            Answer::Failed { is_common: false, .. }
        ));
    }

    #[test]
    fn a_missing_right_concerns_all_and_a_webhook_one() {
        let missing = r#"services "web" is forbidden: User "speaker" cannot patch resource "services/status" in API group """#;
        let Answer::Failed { why, is_common: true, .. } = of(403, missing) else { panic!() };
        assert!(why.contains("report = false"), "{why}");
        let webhook = r#"admission webhook "x" denied the request"#;
        assert!(matches!(of(403, webhook), Answer::Failed { is_common: false, .. }));
        assert!(matches!(of(500, "webhook"), Answer::Failed { is_common: false, .. }));
        for code in [401, 429, 503] {
            assert!(matches!(of(code, ""), Answer::Failed { is_common: true, .. }), "{code}");
        }
        let away = Failure::Unreachable("no route".to_owned());
        assert!(matches!(Answer::of(&away), Answer::Failed { is_common: true, .. }));
    }
}
