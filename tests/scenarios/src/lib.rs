//! What the scenarios, the demo and the soak have in common: a network with an edge host, its
//! nodes and a client on each side, and the questions that a user would ask of it.
#![forbid(unsafe_code)]

pub mod ask;
pub mod both;
pub mod counters;
pub mod demo;
pub mod frames;
pub mod group;
pub mod installed;
pub mod local;
pub mod restarts;
pub mod roll_call;
pub mod world;

pub use both::Both;
pub use world::{World, scenario, scenario_alone};
