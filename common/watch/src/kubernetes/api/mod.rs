//! Speaking to an API server: what every floor above does through here.
//!
//! ```text
//! kubeconfig, files it names, kept token ─ access ─▶ Access ─┬─ clients: a new one when any changed
//!                                                            ├─ renewal: a new token at half its life
//! request ─────────────────────────────────────── response ◀─┘   (token: whose, when it is due)
//!                                                    └─▶ bytes within bounds, lines, or a failure
//! ```
//!
//! `failure` says why a request ended, with what the server itself says of it (`status`); `backoff`
//! how long to wait then. Nothing here knows what is asked for, nor what becomes of the answer.

pub(super) mod access;
pub(super) mod backoff;
pub(super) mod clients;
pub(super) mod failure;
mod renewal;
pub(super) mod response;
pub(super) mod status;
pub(super) mod token;
