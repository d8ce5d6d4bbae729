//! Manifests: any text is objects and problems that each name their line.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use roadstead_model::SourceName;
use roadstead_watch::manifests::parse_file;

fuzz_target!(|text: &str| {
    for file in ["a.yaml", "a.json"] {
        let parsed = parse_file(&SourceName::new("local"), Path::new(file), text);
        // A lone carriage return ends a line of YAML too (YAML 1.2.2 §5.4).
        let lines = text.matches(['\n', '\r']).count() + 1;
        let problems = &parsed.problems;
        assert!(problems.iter().all(|problem| problem.location.line <= lines), "{problems:?}");
    }
});
