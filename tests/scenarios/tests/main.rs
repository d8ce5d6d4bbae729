//! Behaviour by behaviour over the built daemons: a file for each. Runs as root.
#![forbid(unsafe_code)]

mod add_delete;
mod affinity;
mod arp;
mod bad_input;
mod confirm;
mod drain;
mod etp_local;
mod fragments;
mod gateways;
mod hairpin;
mod health;
mod host_address;
mod ledger;
mod legs;
mod mtu;
mod nat;
mod ndp;
mod offload;
mod pmtu;
mod refusals;
mod restart;
mod samples;
mod sharing;
mod source_ranges;
mod speaker_alone;
mod udp;
mod units;
mod untouched;
