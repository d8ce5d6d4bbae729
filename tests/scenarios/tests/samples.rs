//! The samples of `etc/`.
