//! What is wrong with an input, where, and what would be right.

use std::{fmt, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

/// A place in a file; `line` counts from 1, 0 where no line is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// The file.
    pub file: Arc<PathBuf>,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: usize,
}

impl Location {
    /// The place `file:line`.
    pub fn new(file: impl Into<PathBuf>, line: usize) -> Self {
        Self { file: Arc::new(file.into()), line }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}", self.file.display())
        } else {
            write!(f, "{}:{}", self.file.display(), self.line)
        }
    }
}

/// Whether a problem stops the input from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Told, and passed over: a foreign kind, a deprecated key.
    Notice,
    /// Told; the input is used without the part that is wrong.
    Warning,
    /// The input is not used; the last good one stays.
    Error,
}

/// One thing wrong with a file or an object, printed as `file:line: message`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// Where.
    pub location: Location,
    /// How bad.
    pub severity: Severity,
    /// What is wrong and what would be right, in one sentence.
    pub message: String,
}

impl Problem {
    /// A problem that makes the input unusable.
    pub fn error(location: Location, message: impl Into<String>) -> Self {
        Self { location, severity: Severity::Error, message: message.into() }
    }

    /// A problem that costs only the part that is wrong.
    pub fn warning(location: Location, message: impl Into<String>) -> Self {
        Self { location, severity: Severity::Warning, message: message.into() }
    }

    /// Something worth telling that costs nothing.
    pub fn notice(location: Location, message: impl Into<String>) -> Self {
        Self { location, severity: Severity::Notice, message: message.into() }
    }

    /// For lists in which errors stand beside others: `file:line: warning: message`; an error has no
    /// word of its own.
    pub fn labelled(&self) -> String {
        let Self { location, severity, message } = self;
        match severity {
            Severity::Error => format!("{location}: {message}"),
            Severity::Warning => format!("{location}: warning: {message}"),
            Severity::Notice => format!("{location}: notice: {message}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.message)
    }
}
