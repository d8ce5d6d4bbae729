//! `check`: one look, no watching.

use std::fs;

use super::*;

fn problems(path: &Path) -> Vec<String> {
    let view = check(&SourceName::new("local"), path, None).expect("readable");
    view.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_directory_and_a_single_file_are_checked_alike() {
    let root = tempfile::tempdir().expect("a directory");
    let file = root.path().join("a.yaml");
    fs::write(&file, "apiVersion: v1\nkind: Namespace\nmetadata:\n  nam: a\n").expect("a file");
    let name = file.display();
    let wanted = [
        format!("{name}:3: Namespace: metadata.name is missing"),
        format!("{name}:4: Namespace: metadata.nam: no such field; did you mean name?"),
    ];
    assert_eq!(problems(root.path()), wanted);
    assert_eq!(problems(&file), wanted);
}

#[test]
fn the_fixture_of_kubectl_has_no_problems() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    assert_eq!(problems(&fixtures), Vec::<String>::new());
    let view = check(&SourceName::new("local"), &fixtures, None).expect("readable");
    assert_eq!((view.services.len(), view.nodes.len(), view.endpoints.len()), (1, 1, 1));
}

#[test]
fn a_missing_path_is_an_error() {
    assert!(check(&SourceName::new("local"), Path::new("/nowhere/at/all"), None).is_err());
}

/// The event of a file that appears after the scan and before the plan is heard within the pass:
/// it must not be the last that is done about it.
#[test]
fn a_file_that_appears_between_scan_and_plan_is_read_with_the_next_pass() {
    let root = tempfile::tempdir().expect("a directory");
    let source = SourceName::new("local");
    let mut worker = Worker::new(source, root.path().to_owned(), None, Timing::DEFAULT);
    worker.pass();
    worker.hear();
    let heard = worker.hints.heard;
    let scan = worker.scan().expect("a scan");
    let text = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: late\n";
    fs::write(root.path().join(".late.new"), text).expect("a file");
    fs::rename(root.path().join(".late.new"), root.path().join("late.yaml")).expect("a rename");
    let wake = worker.follow(&scan, heard).expect("due again");
    assert!(wake <= Instant::now() + Timing::DEFAULT.settle, "not with the next full scan");
    assert_eq!(worker.pass().view.namespaces.len(), 1);
}
