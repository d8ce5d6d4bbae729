//! The four exit statuses.

use std::process::ExitCode;

/// How a verb ended; the order is the order of precedence where several apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// 0: all is well.
    Fine,
    /// 1: a problem was found.
    Problem,
    /// 2: wrong usage.
    Usage,
    /// 3: a daemon did not answer.
    Silent,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Problem => 1,
            Exit::Usage => 2,
            Exit::Silent => 3,
        })
    }
}
