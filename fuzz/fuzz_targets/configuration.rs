//! The configuration: any text is a configuration or problems that each name their line.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let file = PathBuf::from("roadstead.toml");
    let loaded = roadstead_config::load_from(vec![(file, text.to_owned())], std::iter::empty());
    if let Err(problems) = loaded {
        assert!(!problems.is_empty(), "refused without a word");
        let lines = text.lines().count() + 1;
        assert!(problems.iter().all(|problem| problem.location.line <= lines), "{problems:?}");
    }
});
