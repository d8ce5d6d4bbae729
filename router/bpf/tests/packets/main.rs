//! The program packet by packet, in the kernel: a frame in, the verdict, the frame and what was
//! counted out, every checksum of what comes out verified. Needs root.

mod arp;
mod frame;
mod ndp;
mod rig;
mod seen;
