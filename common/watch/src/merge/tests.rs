//! Generations, and sources side by side.

use roadstead_model::{Location, Problem, snapshot::SourceState};

use super::*;
use crate::manifests::{Directory, parse_file};

fn name(name: &str) -> SourceName {
    SourceName::new(name)
}

/// The view of a source with one Service `default/web` and one Namespace.
fn view(source: &str) -> Arc<SourceView> {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: LoadBalancer, ports: [{port: 80, nodePort: 30080}]}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n";
    let mut directory = Directory::new(name(source));
    let path = std::path::Path::new("/m/a.yaml");
    let parsed = parse_file(&name(source), path, text);
    directory.handle_parsed(path, parsed, std::time::Instant::now());
    directory.handle_scanned(BTreeMap::new());
    directory.view()
}

#[test]
fn the_first_snapshot_knows_its_sources_and_nothing_of_them() {
    let merger = Merger::new([name("a"), name("b")]);
    let snapshot = merger.snapshot();
    assert_eq!(snapshot.generation, 0);
    assert_eq!(snapshot.sources.len(), 2);
    assert!(!snapshot.is_complete());
}

#[test]
fn two_sources_may_hold_the_same_names() {
    let mut merger = Merger::new([name("a"), name("b")]);
    assert!(merger.take(name("a"), view("a")));
    assert!(!merger.next().is_complete());
    assert!(merger.take(name("b"), view("b")));
    let snapshot = merger.next();
    assert_eq!(snapshot.generation, 2);
    assert!(snapshot.is_complete());
    assert_eq!(snapshot.services.len(), 2);
    assert_eq!(snapshot.namespaces.len(), 2);
}

#[test]
fn only_what_says_something_new_counts() {
    let mut merger = Merger::new([name("a")]);
    assert!(merger.take(name("a"), view("a")));
    assert!(!merger.take(name("a"), view("a")));
    let mut doubtful = SourceView::clone(&view("a"));
    doubtful.state = SourceState::Doubtful { reason: "gone".to_owned() };
    doubtful.problems.push(Problem::error(Location::new("/m", 0), "gone"));
    assert!(merger.take(name("a"), Arc::new(doubtful)));
    let snapshot = merger.next();
    assert_eq!(snapshot.problems.len(), 1);
    assert_eq!(snapshot.services.len(), 1);
}
