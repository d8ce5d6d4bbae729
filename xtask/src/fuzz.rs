//! `cargo xtask fuzz`: libFuzzer with coverage on the stable toolchain.
//!
//! cargo-fuzz wants nightly for its sanitizers. The decoders are safe Rust, where a panic or an
//! overflow is what a bug looks like: coverage alone is enough, and it builds everywhere.

use std::{env::consts::ARCH, fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::run::{self, Cargo, root};

/// What libFuzzer needs from the compiler: edge counters, a table of program counters and traced
/// comparisons. `--cfg fuzzing` is the convention of the crates.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Ccodegen-units=1";

/// The longest input, in bytes: manifests and configurations are the largest.
const LONGEST: u32 = 65_536;

/// Runs every target, or those named, for `seconds` each.
pub(crate) fn all(only: &[String], seconds: u32) -> Result<()> {
    let dir = root().join("fuzz");
    let manifest = dir.join("Cargo.toml").display().to_string();
    ensure!(dir.join("Cargo.toml").exists(), "{manifest} is missing");
    let known = targets(&manifest)?;
    if let Some(unknown) = only.iter().find(|name| !known.contains(name)) {
        bail!("no fuzz target `{unknown}`; there are: {}", known.join(", "));
    }
    let chosen: Vec<String> =
        known.into_iter().filter(|name| only.is_empty() || only.contains(name)).collect();
    let target = root().join("target/fuzz");
    let triple = format!("{ARCH}-unknown-linux-gnu");
    Cargo::new(["build", "--release", "--manifest-path", &manifest, "--target", &triple])
        .args(chosen.iter().map(|name| format!("--bin={name}")))
        .env("RUSTFLAGS", COVERAGE)
        .env("CARGO_TARGET_DIR", target.display().to_string())
        .run()?;
    let built = target.join(triple).join("release");
    chosen.iter().try_for_each(|name| one(&dir, &built.join(name), name, seconds))
}

/// Runs one target; its corpus grows in `fuzz/corpus`, a crash is kept in `fuzz/artifacts`.
fn one(dir: &Path, binary: &Path, name: &str, seconds: u32) -> Result<()> {
    let (corpus, artifacts) = (dir.join("corpus").join(name), dir.join("artifacts").join(name));
    fs::create_dir_all(&corpus).context("cannot make the corpus")?;
    fs::create_dir_all(&artifacts).context("cannot make the directory for crashes")?;
    let seeds = dir.join("seeds").join(name);
    println!("fuzz {name} for {seconds} s");
    let mut args = vec![
        corpus.display().to_string(),
        format!("-max_total_time={seconds}"),
        format!("-max_len={LONGEST}"),
        format!("-artifact_prefix={}/", artifacts.display()),
        "-timeout=10".to_owned(),
        "-rss_limit_mb=1024".to_owned(),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
    ];
    if seeds.exists() {
        args.insert(1, seeds.display().to_string());
    }
    run::program(binary, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The binaries of the fuzz package.
fn targets(manifest: &str) -> Result<Vec<String>> {
    let args = ["metadata", "--no-deps", "--format-version=1", "--manifest-path", manifest];
    let text = Cargo::new(args).output()?;
    let metadata: Value = serde_json::from_str(&text)?;
    let targets = metadata["packages"][0]["targets"].as_array().context("no targets")?;
    let bins = targets.iter().filter(|target| target["kind"][0] == "bin");
    let mut names: Vec<String> =
        bins.filter_map(|target| target["name"].as_str().map(str::to_owned)).collect();
    names.sort_unstable();
    Ok(names)
}
