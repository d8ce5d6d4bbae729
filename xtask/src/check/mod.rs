//! `cargo xtask check`: everything that can be said without running the product.

mod layout;
mod links;
mod sources;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::run::{self, Cargo, root, which};

/// Runs every check; all findings of our own rules are told before the first error ends it.
pub(crate) fn all() -> Result<()> {
    Cargo::new(["fmt", "--all", "--check"]).run()?;
    let mut findings = layout::findings()?;
    let files = files_below(&root())?;
    findings.extend(sources::findings(&files)?);
    findings.extend(links::findings(&files)?);
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    clang_format(&files)?;
    deny()?;
    Cargo::new(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()?;
    println!("check: fine");
    Ok(())
}

/// The C of the dataplane is formatted.
fn clang_format(files: &[PathBuf]) -> Result<()> {
    let c = files.iter().filter(|file| extension(file) == "c" || extension(file) == "h");
    let ours = c.filter(|file| file.file_name().is_some_and(|name| name != "vmlinux.h"));
    let names: Vec<String> = ours.map(|file| file.display().to_string()).collect();
    if names.is_empty() {
        return Ok(());
    }
    println!("$ clang-format --dry-run --Werror ({} files)", names.len());
    let mut args = vec!["--dry-run", "--Werror"];
    args.extend(names.iter().map(String::as_str));
    run::program(Path::new("clang-format"), &args)
}

/// Licences, sources, bans and advisories, where cargo-deny is installed.
fn deny() -> Result<()> {
    if which("cargo-deny").is_none() {
        println!(
            "cargo-deny is not installed (`cargo install --locked cargo-deny`): licences and advisories are not checked"
        );
        return Ok(());
    }
    Cargo::new(["deny", "check"]).run()
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

/// Every file of the repository but what is built, hidden or fetched.
fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || ["target", "corpus", "artifacts"].contains(&&*name) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// A path as people read it: from the repository's root.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
