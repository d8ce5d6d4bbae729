//! Tests of the whole: texts in, configuration or problems out.

mod errors;
mod group;
mod layers;
mod limits;
mod properties;
mod samples;

use std::path::{Path, PathBuf};

use roadstead_model::Problem;

use crate::{Loaded, load_from};

/// One file `roadstead.toml`, no environment.
fn load_text(text: &str) -> Result<Loaded, Vec<Problem>> {
    load_from(vec![(PathBuf::from("roadstead.toml"), text.to_owned())], std::iter::empty())
}

fn shown(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// The samples that the package installs.
fn samples_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../etc")
}

/// Every sample configuration with its text.
fn samples() -> Vec<(PathBuf, String)> {
    let entries = samples_directory().read_dir().expect("etc is there");
    let files = entries.map(|entry| entry.expect("readable").path());
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    let text = |file: &PathBuf| std::fs::read_to_string(file).expect("readable");
    files.iter().map(|file| (file.clone(), text(file))).collect()
}
