//! Behaviour by behaviour over the built daemons: a file for each.
#![forbid(unsafe_code)]
