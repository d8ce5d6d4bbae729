//! `[paths]`.

use std::path::{Path, PathBuf};

use roadstead_model::config::Paths;

use crate::{
    defaults, parse,
    section::{Placed, Section},
};

/// Longest path of a Unix socket: `sun_path` less the final zero (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// Reads the section.
pub(crate) fn read(mut section: Section<'_>) -> Paths {
    let state = section.parsed("state", parse::absolute_path);
    let runtime = section.parsed("runtime", runtime_path);
    let bpffs = section.parsed("bpffs", parse::absolute_path);
    section.finish();
    let or = |written: Option<Placed<PathBuf>>, default| written.map_or(default, |path| path.value);
    let by_default = default();
    Paths {
        state: or(state, by_default.state),
        runtime: or(runtime, by_default.runtime),
        bpffs: or(bpffs, by_default.bpffs),
    }
}

/// What is meant where nothing is written.
pub(crate) fn default() -> Paths {
    Paths {
        state: defaults::STATE.into(),
        runtime: defaults::RUNTIME.into(),
        bpffs: defaults::BPFFS.into(),
    }
}

/// A path that leaves room for the name of a socket.
fn runtime_path(text: &str) -> Result<PathBuf, String> {
    let path = parse::absolute_path(text)?;
    let socket = path.join(Path::new("speaker/local.sock"));
    let length = socket.as_os_str().len();
    if length <= SOCKET_PATH_MAX {
        return Ok(path);
    }
    Err(format!(
        "\"{}\" is too long: the socket's path below it would have {length} bytes, \
         the kernel allows {SOCKET_PATH_MAX}",
        path.display()
    ))
}
