//! `[paths]`.

use std::path::{Path, PathBuf};

use roadstead_model::config::Paths;

use crate::{defaults, parse, section::Section};

/// Longest path of a Unix socket: `sun_path` less the final zero (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// Reads the section.
pub(crate) fn read(mut section: Section<'_>) -> Paths {
    let state = path(&mut section, "state", defaults::STATE, parse::absolute_path);
    let runtime = path(&mut section, "runtime", defaults::RUNTIME, runtime_path);
    let bpffs = path(&mut section, "bpffs", defaults::BPFFS, parse::absolute_path);
    section.finish();
    Paths { state, runtime, bpffs }
}

fn path(
    section: &mut Section<'_>,
    key: &'static str,
    default: &str,
    parse: impl FnOnce(&str) -> Result<PathBuf, String>,
) -> PathBuf {
    section.parsed(key, parse).map_or_else(|| default.into(), |path| path.value)
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
