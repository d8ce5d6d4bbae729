//! No text makes the loader panic, and every problem has a place.

use std::path::PathBuf;

use proptest::prelude::*;
use roadstead_model::problem::Severity;

use super::samples;
use crate::load_from;

/// Loads texts and a variable; checks what holds for every input.
fn load_any(texts: Vec<String>, variable: (String, String)) {
    let lines: Vec<usize> = texts.iter().map(|text| text.lines().count()).collect();
    let files = texts.into_iter().enumerate();
    let files = files.map(|(index, text)| (PathBuf::from(format!("{index}.toml")), text)).collect();
    match load_from(files, std::iter::once(variable)) {
        Ok(loaded) => {
            assert!(loaded.warnings.iter().all(|told| told.severity < Severity::Error));
            assert!(!loaded.config.sources.is_empty());
            let ranges: Vec<_> = loaded.config.pools.iter().flat_map(|p| &p.addresses).collect();
            for (index, range) in ranges.iter().enumerate() {
                assert!(ranges.iter().skip(index + 1).all(|other| !range.overlaps(other)));
            }
        }
        Err(problems) => {
            assert!(problems.iter().any(|told| told.severity == Severity::Error));
            let most = lines.iter().max().copied().unwrap_or_default() + 1;
            assert!(problems.iter().all(|told| told.location.line <= most), "{problems:?}");
        }
    }
}

/// A good sample with a few of its bytes, lines or words changed.
fn mutated() -> impl Strategy<Value = String> {
    let samples: Vec<String> = samples().into_iter().map(|(_, text)| text).collect();
    let word = prop_oneof![
        Just("\"".to_owned()),
        Just("[[pool]]\n".to_owned()),
        Just("-1".to_owned()),
        Just("192.0.2.0/0".to_owned()),
        Just("99999999999999999999".to_owned()),
        "[\\[\\]{}=.,\"'#a-z0-9\n-]{0,6}",
        any::<String>(),
    ];
    let edit = (any::<prop::sample::Index>(), 0usize..12, word);
    (prop::sample::select(samples), prop::collection::vec(edit, 0..6)).prop_map(|(text, edits)| {
        let mut characters: Vec<char> = text.chars().collect();
        for (at, removed, word) in edits {
            let start = at.index(characters.len() + 1);
            let end = (start + removed).min(characters.len());
            characters.splice(start..end, word.chars());
        }
        characters.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn random_text_never_panics(text in any::<String>(), name in any::<String>()) {
        load_any(vec![text.clone()], (format!("ROADSTEAD_{name}"), text));
    }

    #[test]
    fn text_that_looks_like_toml_never_panics(
        text in "([\\[]{0,2}[a-z_.]{0,9}[\\]]{0,2}( = [-0-9a-z:/\"\\[\\]{}]{0,20})?\n){0,12}",
        key in "[A-Z0-9_]{0,20}",
        value in "[-0-9a-z:/\"\\[\\]{}, ]{0,20}",
    ) {
        load_any(vec![text], (format!("ROADSTEAD_{key}"), value));
    }

    #[test]
    fn mutated_samples_never_panic(a in mutated(), b in mutated(), value in any::<String>()) {
        load_any(vec![a, b], ("ROADSTEAD_ROUTER__HEALTH__PORT".to_owned(), value));
    }
}

#[test]
fn nesting_without_end_is_refused() {
    let deep = 200_000;
    let texts = [
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}", "{a=".repeat(deep)),
        format!("[{}a]", "a.".repeat(deep)),
        format!("{}a = 1", "a.".repeat(deep)),
    ];
    for text in texts {
        let file = (PathBuf::from("deep.toml"), text.clone());
        assert!(load_from(vec![file], std::iter::empty()).is_err());
        let name = format!("ROADSTEAD_{}", "A__".repeat(deep));
        assert!(load_from(Vec::new(), std::iter::once((name, text))).is_err());
    }
}
