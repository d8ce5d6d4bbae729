//! What the API server says of failures.

use std::time::Duration;

use serde::Deserialize;

/// `metav1.Status`, as far as it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::kubernetes) struct Status {
    /// The HTTP status that it stands for.
    pub(in crate::kubernetes) code: u16,
    /// For people.
    pub(in crate::kubernetes) message: String,
    details: Option<Details>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
}

impl Status {
    /// How long the server asks to be left alone.
    pub(in crate::kubernetes) fn retry_after(&self) -> Option<Duration> {
        self.details.as_ref()?.retry_after_seconds.map(Duration::from_secs)
    }
}

/// What an answer that is no success says of itself.
pub(in crate::kubernetes) fn read(bytes: &[u8]) -> Status {
    serde_json::from_slice(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }
    }
}
