//! A cache changes nothing but the time.

use proptest::prelude::*;

use super::*;
use crate::manifests::parse_file;

fn source() -> SourceName {
    SourceName::new("local")
}

fn path() -> &'static Path {
    Path::new("/m/a.yaml")
}

fn service(name: &str, port: u32) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  type: LoadBalancer\n  ports:\n  - port: {port}\n    nodePort: 30000\n"
    )
}

/// Documents of every kind, good and bad.
fn document() -> impl Strategy<Value = String> {
    prop_oneof![
        ("[ab]", 80..83_u32).prop_map(|(name, port)| service(&name, port)),
        "[ab]".prop_map(|name| service(&name, 0)),
        Just("# a comment\n\n".to_owned()),
        Just(String::new()),
        Just("kind: Service\n".to_owned()),
        Just("apiVersion: apps/v1\nkind: Deployment\n".to_owned()),
        Just("apiVersion: v1\nkind: Namespace\nmetadata: {name: n, nam: x}\n".to_owned()),
        Just("a: [\n".to_owned()),
        Just("a: &x 1\nb: *x\n".to_owned()),
    ]
}

fn file() -> impl Strategy<Value = String> {
    prop::collection::vec(document(), 0..6).prop_map(|documents| documents.join("---\n"))
}

proptest! {
    #[test]
    fn a_cached_file_says_what_a_new_one_says(files in prop::collection::vec(file(), 1..6)) {
        let mut cache = Cache::default();
        for text in files {
            let cached = cache.parse(&source(), path(), &text);
            prop_assert_eq!(cached, parse_file(&source(), path(), &text));
        }
    }
}

#[test]
fn a_document_that_moved_has_its_new_lines_and_its_old_object() {
    let mut cache = Cache::default();
    let before = cache.parse(&source(), path(), &(service("a", 80) + "---\n" + &service("b", 0)));
    let moved = format!("# new\n# lines\n{}---\n{}", service("a", 80), service("b", 0));
    let after = cache.parse(&source(), path(), &moved);
    let lines = |parsed: &Parsed| -> Vec<usize> {
        let items = parsed.items.iter().map(|item| item.location.line);
        items.chain(parsed.problems.iter().map(|problem| problem.location.line)).collect()
    };
    assert_eq!(lines(&before), [1, 11, 18]);
    assert_eq!(lines(&after), [3, 13, 20]);
}

#[test]
fn only_what_changed_is_interpreted_and_only_what_is_there_is_kept() {
    let mut cache = Cache::default();
    let files = [["a", "b"], ["a", "c"]]
        .map(|names| names.map(|name| format!("---\n{}", service(name, 80))).concat());
    cache.parse(&source(), path(), &files[0]);
    let before: Vec<_> = cache.parts.values().cloned().collect();
    cache.parse(&source(), path(), &files[1]);
    let kept = cache.parts.values().filter(|part| before.iter().any(|b| Arc::ptr_eq(b, part)));
    assert_eq!((kept.count(), cache.parts.len()), (1, 2));
}

#[test]
fn a_broken_document_is_told_with_its_line_in_the_file() {
    let mut cache = Cache::default();
    let text = service("a", 80) + "---\nx: 1\n y: 2\n";
    let parsed = cache.parse(&source(), path(), &text);
    assert_eq!(parsed.reading, Reading::Broken);
    assert_eq!(parsed.problems.first().map(|problem| problem.location.line), Some(12));
}
