//! The loader and the maps against the running kernel. Needs root. Each test has a network
//! namespace, a mount namespace and a bpf filesystem of its own.

mod frames;
mod lifecycle;
mod maps;
mod rig;
mod state;
