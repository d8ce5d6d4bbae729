//! What can go wrong with the programs themselves. Maps have
//! [`roadstead_router_core::maps::MapError`].

use std::{io, path::PathBuf};

/// The programs could not be loaded, opened or attached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no bpf filesystem, or it cannot be written.
    #[error(
        "cannot use {path} for pins: it is to lie on a bpf filesystem that this user may write"
    )]
    Pins {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Nothing is pinned: `load` has not run.
    #[error("nothing is loaded at {path}: run `roadstead-router load` as root first")]
    NotLoaded {
        /// The first pin that is missing.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A pin is there and may not be opened.
    #[error("cannot open {path}: it belongs to another user, or another program pinned it")]
    Open {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another version of the maps is in use.
    #[error(
        "{path} holds maps of another version, whose flows cannot be taken over: that version goes on \
         serving; `roadstead-router load --replace` takes its place, which ends its connections"
    )]
    Schema {
        /// Its directory.
        path: PathBuf,
    },
    /// The kernel refused a program.
    #[error("the kernel refused {what}: {advice}")]
    Load {
        /// A program or the object.
        what: String,
        /// What may help.
        advice: &'static str,
        /// What libbpf said.
        source: libbpf_rs::Error,
    },
    /// A capacity that the maps cannot have.
    #[error("capacity of {map}: {value} is out of range, {low} to {high} is possible")]
    Capacity {
        /// Which map.
        map: &'static str,
        /// What was asked for.
        value: u32,
        /// The least.
        low: u32,
        /// The most.
        high: u32,
    },
    /// The program could not be attached to a leg.
    #[error("cannot attach to interface {ifindex}: {advice}")]
    Attach {
        /// Index of the interface.
        ifindex: u32,
        /// What may help.
        advice: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else the kernel refused.
    #[error("cannot {act}")]
    Kernel {
        /// What was tried.
        act: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn kernel(act: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Kernel { act, source }
    }
}
