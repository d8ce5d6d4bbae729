//! Manifests: any text is objects and problems that each name their line; and MetalLB's objects
//! together are a configuration or are refused.
#![no_main]

use std::{collections::BTreeMap, path::Path, time::Instant};

use libfuzzer_sys::fuzz_target;
use roadstead_model::SourceName;
use roadstead_watch::manifests::{Directory, parse_file, parse_file_with_metallb};

fuzz_target!(|text: &str| {
    let source = SourceName::new("local");
    for file in ["a.yaml", "a.json"] {
        let path = Path::new(file);
        let parsed = parse_file(&source, path, text);
        // A lone carriage return ends a line of YAML too (YAML 1.2.2 §5.4).
        let lines = text.matches(['\n', '\r']).count() + 1;
        let problems = &parsed.problems;
        assert!(problems.iter().all(|problem| problem.location.line <= lines), "{problems:?}");

        let mut directory = Directory::new(source.clone()).with_metallb(true);
        let parsed = parse_file_with_metallb(&source, path, text, "metallb-system");
        directory.handle_parsed(path, parsed, Instant::now());
        directory.handle_scanned(BTreeMap::new());
        let view = directory.view();
        if let Some(metallb) = &view.metallb {
            let pools = metallb.pools_of(&source);
            assert!(roadstead_model::metallb::effective(&[], [(&source, &**metallb)]).is_ok());
            assert!(pools.iter().all(|pool| !pool.addresses.is_empty()));
        }
    }
});
