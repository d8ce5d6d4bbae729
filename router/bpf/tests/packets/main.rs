//! The program packet by packet, in the kernel: a frame in, the verdict, the frame and what was
//! counted out, every checksum of what comes out verified. Needs root.

mod arp;
mod flow;
mod frame;
mod icmp;
mod mtu;
mod nat;
mod ndp;
mod refuse;
mod rig;
mod seen;
mod world;
