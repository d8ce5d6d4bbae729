//! What would become of each object and each Service.

use std::net::IpAddr;

use serde::Serialize;

use crate::render::Colour;

/// One of MetalLB's objects.
#[derive(Debug, Serialize)]
pub(super) struct Object {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) verdict: Verdict,
    pub(super) notes: Vec<String>,
}

/// One Service.
#[derive(Debug, Serialize)]
pub(super) struct Service {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) verdict: Verdict,
    /// As its status has them.
    pub(super) before: Vec<IpAddr>,
    /// As the allocator gives them.
    pub(super) after: Vec<IpAddr>,
    pub(super) notes: Vec<String>,
}

impl Service {
    pub(super) fn in_words(&self) -> String {
        let listed = |addresses: &[IpAddr]| match addresses {
            [] => "none".to_owned(),
            some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        let (before, after) = (listed(&self.before), listed(&self.after));
        let moves = if self.before == self.after { before } else { format!("{before} -> {after}") };
        format!("Service {}/{}: {moves}", self.namespace, self.name)
    }
}

/// What would become of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Verdict {
    /// The same as now.
    Same,
    /// Something that is told, and no address.
    Differs,
    /// Checked and kept, for when it is served.
    Kept,
    /// It waits for an address now, and would get one.
    Gains,
    /// It waits for an address now, and would go on waiting.
    Waits,
    /// Left to whoever serves it.
    NotOurs,
    /// Its address would change, or be lost.
    Changes,
}

impl Verdict {
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Kept => "kept",
            Self::Gains => "gains",
            Self::Waits => "waits",
            Self::NotOurs => "not ours",
            Self::Changes => "CHANGES",
        }
    }

    pub(super) fn colour(self) -> Colour {
        match self {
            Self::Same | Self::Gains => Colour::Green,
            Self::Differs | Self::Kept | Self::Waits | Self::NotOurs => Colour::Yellow,
            Self::Changes => Colour::Red,
        }
    }
}
