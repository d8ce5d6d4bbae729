//! The program packet by packet, in the kernel: a frame in, the verdict, the frame and what was
//! counted out, every checksum of what comes out verified. Needs root.

mod agreement;
mod arp;
mod extensions;
mod flow;
mod forged;
mod fragments;
mod frame;
mod icmp;
mod live;
mod malformed;
mod model;
mod mtu;
mod nat;
mod ndp;
mod policy;
mod refuse;
mod rig;
mod scarcity;
mod seen;
mod sums;
mod table;
mod world;
