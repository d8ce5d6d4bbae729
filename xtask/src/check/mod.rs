//! `cargo xtask check`: everything that can be said without running the product.

mod layout;
mod links;
mod proofs;
mod sources;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::run::{self, Cargo, root, which};

type Check = fn() -> Result<()>;

/// The cheap ones first.
const CHECKS: &[(&str, Check)] = &[
    ("format", format),
    ("our own rules", own_rules),
    ("format of the C", clang_format),
    ("licences and sources of dependencies", deny),
    ("lints", clippy),
];

/// Runs every check, also after one has failed.
pub(crate) fn all() -> Result<()> {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if let Err(error) = check() {
            println!("{name}: {error:#}");
            failed.push(*name);
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    println!("check: fine");
    Ok(())
}

fn format() -> Result<()> {
    Cargo::new(["fmt", "--all", "--check"]).run()
}

fn clippy() -> Result<()> {
    Cargo::new(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()
}

/// The layout, the rules on single files, the links, the proofs that documents name.
fn own_rules() -> Result<()> {
    let files = files_below(&root())?;
    let mut findings = layout::findings()?;
    findings.extend(sources::findings(&files)?);
    findings.extend(links::findings(&files)?);
    findings.extend(proofs::findings(&files)?);
    findings.iter().for_each(|finding| println!("{finding}"));
    ensure!(findings.is_empty(), "{} findings", findings.len());
    Ok(())
}

/// The C of the dataplane is formatted.
fn clang_format() -> Result<()> {
    let files = files_below(&root())?;
    let c = files.iter().filter(|file| extension(file) == "c" || extension(file) == "h");
    let ours = c.filter(|file| file.file_name().is_some_and(|name| name != "vmlinux.h"));
    let names: Vec<String> = ours.map(|file| file.display().to_string()).collect();
    if names.is_empty() {
        return Ok(());
    }
    println!("$ clang-format --dry-run --Werror ({} files)", names.len());
    let mut args = vec!["--dry-run", "--Werror"];
    args.extend(names.iter().map(String::as_str));
    let status = Command::new("clang-format").args(&args).status().context("clang-format")?;
    ensure!(status.success(), "clang-format ended with {status}");
    Ok(())
}

/// Licences, sources and bans: what needs nothing but the lock file. Advisories change without us, and
/// are asked for before a release: `cargo deny check advisories`.
fn deny() -> Result<()> {
    let tool = match cargo_deny() {
        Ok(tool) => tool,
        Err(error) => {
            println!("cargo-deny cannot be installed: {error:#}; licences are not checked");
            return Ok(());
        }
    };
    let manifest = root().join("Cargo.toml").display().to_string();
    run::program(&tool, &["--manifest-path", &manifest, "check", "licenses", "bans", "sources"])
}

/// cargo-deny where somebody installed it; else below `target`, built without optimisation, which
/// takes a third of the time.
fn cargo_deny() -> Result<PathBuf> {
    if let Some(installed) = which("cargo-deny") {
        return Ok(installed);
    }
    let tools = root().join("target/tools");
    let binary = tools.join("bin/cargo-deny");
    if !binary.exists() {
        let place = tools.display().to_string();
        Cargo::new(["install", "--locked", "--debug", "--root", &place, "cargo-deny@0.20.2"])
            .run()?;
    }
    Ok(binary)
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
