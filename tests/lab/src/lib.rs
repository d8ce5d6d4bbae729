//! Small networks in namespaces, built in well under a second, for the scenarios and the demo.
//!
//! A [`Lab`] owns network namespaces with names of its own (`rs-PID-N-HOST`), the links between
//! them and a directory for logs and captures. Everything is removed when it is dropped; what a
//! killed run left behind is removed when the next lab is built. Nothing outside its own
//! namespaces is touched, but for one bpffs mount per [`Edge`] on a directory of the lab.
//!
//! | module | owns |
//! |---|---|
//! | [`netns`] | a namespace: made, entered, removed |
//! | [`topology`], [`presets`], [`host`] | hosts, segments, addresses, routes |
//! | [`process`], [`supervisor`] | programs in a namespace, their logs, restarts |
//! | [`edge`] | the two daemons with a configuration and a directory of manifests |
//! | [`installed`], [`unit`] | the daemons as the README installs them, under their units |
//! | [`node`], [`load`] | the NodePort responder and the load generator |
//! | [`kube`] | a control plane of Kubernetes, kube-proxies, pods |
//! | [`capture`], [`impair`] | what was on the wire; loss, cuts |
//! | [`pattern`] | bytes that tell what became of them |
//! | [`wire`] | delay, loss, reordering in user space |
//! | [`wait`] | the only place that polls, always with a bound |
//!
//! The library holds no knowledge of the product beyond its contract: flags, files, `status`.
#![forbid(unsafe_code)]

pub mod artifacts;
pub mod capture;
pub mod edge;
pub mod host;
pub mod http;
pub mod impair;
pub mod installed;
pub mod kube;
pub mod load;
pub mod netns;
pub mod node;
pub mod pattern;
pub mod presets;
pub mod process;
pub mod supervisor;
pub mod topology;
pub mod unit;
pub mod wait;
pub mod wire;

pub use capture::Capture;
pub use edge::Edge;
pub use host::Host;
pub use installed::Installed;
pub use load::{Load, Report};
pub use node::Node;
pub use process::Process;
pub use supervisor::Supervisor;
pub use topology::{Lab, Topology};
pub use wait::{eventually, throughout, uninterrupted};
