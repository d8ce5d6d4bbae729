//! Errors in words.

use std::error::Error;

/// An error with its causes, as one line.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause: &&dyn Error| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_told() {
        let cause = std::io::Error::other(std::fmt::Error);
        assert_eq!(chain(&cause), "an error occurred when formatting an argument");
        let whole =
            crate::local::ClientError::Unreachable { socket: "/run/s".into(), source: cause };
        let told = "no daemon answers on /run/s: is it running?: an error occurred when formatting \
                    an argument";
        assert_eq!(chain(&whole), told);
    }
}
