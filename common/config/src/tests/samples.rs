//! Every sample that the package installs is used without a warning.

use super::{samples, shown};
use crate::load_from;

#[test]
fn every_sample_is_used_without_a_warning() {
    let samples = samples();
    assert!(samples.len() >= 5, "the samples were found");
    for (file, text) in samples {
        let loaded = load_from(vec![(file.clone(), text)], std::iter::empty());
        let loaded = loaded.unwrap_or_else(|problems| panic!("{:#?}", shown(&problems)));
        assert!(loaded.warnings.is_empty(), "{:#?}", shown(&loaded.warnings));
        assert!(!loaded.config.pools.is_empty(), "{} has a pool", file.display());
    }
}

/// A key that is shown commented out must be right for the day it is uncommented.
#[test]
fn every_commented_key_of_a_sample_is_used_too() {
    for (file, text) in samples() {
        let uncommented: Vec<String> = text.lines().map(uncomment).collect();
        let loaded = load_from(vec![(file.clone(), uncommented.join("\n"))], std::iter::empty());
        if let Err(problems) = loaded {
            panic!("{}: {:#?}", file.display(), shown(&problems));
        }
    }
}

/// `#key = value` and `#[section]` are keys; `# words` are words.
fn uncomment(line: &str) -> String {
    match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest.into(),
        _ => line.to_owned(),
    }
}
