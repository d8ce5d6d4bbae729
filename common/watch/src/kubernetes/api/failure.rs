//! Why the API server does not do what it is asked for.

use std::{fmt, time::Duration};

use http::StatusCode;

/// Why a request, or a watch, ended.
#[derive(Debug)]
pub(in crate::kubernetes) enum Failure {
    /// Nobody answers, or no more.
    Unreachable(String),
    /// The server refuses.
    Refused {
        /// HTTP status, or that of an error event.
        code: u16,
        /// Its own words.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// What it says is cut off, or is not what the API would say.
    Broken(String),
    /// An answer larger than what is taken, in bytes.
    TooBig(usize),
    /// The server is at an earlier version than it was: its past is another one now.
    WentBack,
}

impl Failure {
    /// Whether only a list can tell what there is.
    pub(in crate::kubernetes) fn wants_list(&self) -> bool {
        match self {
            Self::Refused { code, .. } => *code == StatusCode::GONE.as_u16(),
            Self::WentBack => true,
            Self::Unreachable(_) | Self::Broken(_) | Self::TooBig(_) => false,
        }
    }

    /// Whether the server does not know the kind.
    pub(in crate::kubernetes) fn is_unknown(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == StatusCode::NOT_FOUND.as_u16())
    }

    /// Whether the server does not know the field that a list is to be selected by.
    pub(in crate::kubernetes) fn is_unselectable(&self) -> bool {
        match self {
            Self::Refused { code, message, .. } => {
                *code == StatusCode::BAD_REQUEST.as_u16() && message.contains("field label")
            }
            Self::Unreachable(_) | Self::Broken(_) | Self::TooBig(_) | Self::WentBack => false,
        }
    }

    /// Whether the credentials are not believed, which no patience mends.
    pub(in crate::kubernetes) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == StatusCode::UNAUTHORIZED.as_u16())
    }

    /// When the server wants to be asked again.
    pub(in crate::kubernetes) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "cannot be reached: {why}"),
            Self::Refused { code, message, .. } if message.is_empty() => {
                write!(f, "answers {code}")
            }
            Self::Refused { code, message, .. } => {
                write!(f, "answers {code}: {message}{}", advice(*code))
            }
            Self::Broken(why) => write!(f, "says what cannot be understood: {why}"),
            Self::TooBig(most) => write!(f, "says more than {most} bytes at once"),
            Self::WentBack => f.write_str("is at an earlier version than it was"),
        }
    }
}

/// What an operator can do about a refusal.
fn advice(code: u16) -> &'static str {
    match StatusCode::from_u16(code) {
        Ok(StatusCode::UNAUTHORIZED) => {
            "; the credentials of the kubeconfig are wrong or have run out: `roadstead kubeconfig` makes new ones"
        }
        Ok(StatusCode::FORBIDDEN) => "; `roadstead kubeconfig` gives the roles that are needed",
        _ => "",
    }
}
