//! `resourceVersion`: where a list or an event stands in the history of the API server.

use std::sync::Arc;

/// A `resourceVersion`. Opaque, but for the comparison of two numbers, which the API promises
/// (KEP-5504); a server whose versions are none is never said to have gone back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kubernetes) struct Version {
    text: Arc<str>,
    number: Option<u64>,
}

impl Version {
    /// A version as it was written; none where nothing is.
    pub(in crate::kubernetes) fn new(text: &str) -> Option<Self> {
        let number = text.parse().ok();
        (!text.is_empty()).then(|| Self { text: text.into(), number })
    }

    /// As it was written.
    pub(in crate::kubernetes) fn as_str(&self) -> &str {
        &self.text
    }

    /// As a number, where it is one.
    pub(in crate::kubernetes) fn number(&self) -> Option<u64> {
        self.number
    }

    /// Whether it is known to lie before another.
    pub(in crate::kubernetes) fn is_before(&self, other: &Self) -> bool {
        match (self.number, other.number) {
            (Some(own), Some(other)) => own < other,
            (Some(_), None) | (None, Some(_)) | (None, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_compared() {
        let version = |text| Version::new(text).expect("a version");
        assert!(version("99").is_before(&version("100")));
        assert!(!version("100").is_before(&version("100")));
        assert!(!version("abc").is_before(&version("100")));
        assert!(!version("1").is_before(&version("xyz")));
        assert_eq!(Version::new(""), None);
    }
}
