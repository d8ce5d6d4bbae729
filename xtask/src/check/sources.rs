//! Rules on single files: their length, `unsafe`, clocks in pure code, what must not be named.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use super::{extension, shown};

/// Lines of a source file.
const LONGEST: usize = 600;
/// Lines of a file of tests.
const LONGEST_TEST: usize = 1200;

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &["router/bpf/", "common/sys/"];
/// Where nothing may ask the time, the disk or the network.
const PURE: &[&str] = &["common/model/", "speaker/wire/", "speaker/core/", "router/core/"];
/// What pure code must not call.
const IMPURE: &[&str] = &[
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "SystemTime::now",
    "std::fs",
    "std::process",
    "thread::",
    "TcpStream",
    "UdpSocket",
];

/// Every breach.
pub(crate) fn findings(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| ["rs", "c", "h"].contains(&extension(file))) {
        let name = shown(file);
        if name.ends_with("vmlinux.h") {
            continue;
        }
        let text = fs::read_to_string(file).with_context(|| name.clone())?;
        found.extend(length(&name, &text));
        if extension(file) == "rs" {
            found.extend(unsafety(&name, &text));
            found.extend(purity(&name, &text));
        }
    }
    Ok(found)
}

fn is_test(name: &str) -> bool {
    name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("/tests.rs")
}

fn length(name: &str, text: &str) -> Option<String> {
    let most = if is_test(name) { LONGEST_TEST } else { LONGEST };
    let lines = text.lines().count();
    (lines > most).then(|| format!("{name}: {lines} lines, at most {most}: one subject a file"))
}

/// The two crates aside, every root forbids `unsafe`, so that no lint level can let it in.
fn unsafety(name: &str, text: &str) -> Option<String> {
    let is_root = name.ends_with("src/lib.rs") || name.ends_with("src/main.rs");
    let free = UNSAFE.iter().any(|place| name.starts_with(place));
    (is_root && !free && !text.contains("#![forbid(unsafe_code)]"))
        .then(|| format!("{name}: `#![forbid(unsafe_code)]` is missing"))
}

/// The part before the tests of a file in a pure package. Its examples are programs, which may measure.
fn purity(name: &str, text: &str) -> Vec<String> {
    let is_library = !is_test(name) && !name.contains("/examples/");
    if !PURE.iter().any(|place| name.starts_with(place)) || !is_library {
        return Vec::new();
    }
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let found = lines.flat_map(|(number, line)| {
        let stray = IMPURE.iter().filter(move |word| line.contains(**word));
        stray.map(move |word| format!("{name}:{}: pure code must not use {word}", number + 1))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_by_the_kind_of_file() {
        let text = "\n".repeat(700);
        assert!(length("router/src/main.rs", &text).is_some());
        assert!(length("router/src/plan/tests.rs", &text).is_none());
    }

    #[test]
    fn a_clock_in_a_core_is_found_and_one_in_its_tests_is_not() {
        let code = "fn now() { Instant::now(); }\n";
        assert_eq!(purity("speaker/core/src/l2.rs", code).len(), 1);
        assert_eq!(purity("speaker/core/src/l2.rs", &format!("#[cfg(test)]\n{code}")).len(), 0);
        assert_eq!(purity("speaker/src/l2.rs", code).len(), 0);
        assert_eq!(purity("speaker/core/examples/allocate.rs", code).len(), 0);
    }

    #[test]
    fn a_root_must_forbid_unsafe_code() {
        assert!(unsafety("cli/src/main.rs", "fn main() {}").is_some());
        assert!(unsafety("common/sys/src/lib.rs", "").is_none());
        assert!(unsafety("cli/src/main.rs", "#![forbid(unsafe_code)]").is_none());
    }
}
