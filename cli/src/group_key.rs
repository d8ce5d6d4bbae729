//! `roadstead group-key`: a new key for a group of edge hosts.

use roadstead_link::Key;

use crate::{exit::Exit, output::Output};

/// Prints a key as its file holds it.
pub(crate) fn run(out: &mut Output) -> Exit {
    match Key::generate() {
        Ok(key) => {
            out.print(&key.to_base64());
            Exit::Fine
        }
        Err(error) => {
            out.complain(&format!("the kernel gives no random bytes: {error}"));
            Exit::Problem
        }
    }
}
