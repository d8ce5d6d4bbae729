//! What is heard of one cluster, for the one who owns its state.

use roadstead_model::problem::Severity;

use super::{convert::Change, version::Version};
use crate::objects::{ObjectId, kind::Kind};

/// A whole list of one kind.
#[derive(Debug)]
pub(in crate::kubernetes) struct Listing {
    /// Its objects.
    pub(in crate::kubernetes) changes: Vec<Change>,
    /// Its version.
    pub(in crate::kubernetes) version: Option<Version>,
    /// There are more than are kept; the rest was not read.
    pub(in crate::kubernetes) is_cut: bool,
}

/// What a reflector, or the one that reads the kubeconfig, has found.
#[derive(Debug)]
pub(in crate::kubernetes) enum News {
    /// A kind was listed.
    Listed(Kind, Listing),
    /// An object is new or was changed.
    Changed(Kind, Change),
    /// An object was deleted.
    Deleted(Kind, ObjectId, Option<Version>),
    /// Nothing happened up to this version.
    Reached(Kind, Version),
    /// The server does not know the kind.
    Absent(Kind),
    /// A kind is watched, with nothing missed.
    Watched(Kind),
    /// A kind cannot be watched, and why.
    Trouble(Kind, String),
    /// What is wrong with the kubeconfig, if anything.
    Access(Option<String>),
    /// What is wrong with what is written to the cluster.
    Writing(Vec<(Severity, String)>),
}
