//! Real directories.

use std::os::unix::fs::symlink;

use super::*;

fn names(scan: &Scan, root: &Path) -> Vec<String> {
    let short = |path: &PathBuf| path.strip_prefix(root).expect("below").display().to_string();
    scan.files.keys().map(short).collect()
}

fn write(root: &Path, name: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, name).expect("a file");
}

#[test]
fn manifests_are_found_below_and_leavings_of_editors_are_not() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    for name in [
        "a.yaml",
        "b.yml",
        "c.json",
        "d.YAML",
        "sub/deep/e.yaml",
        "f.yaml~",
        "#g.yaml#",
        "#g.yaml",
        "4913",
        ".h.yaml",
        ".i.yaml.swp",
        "j.yaml.tmp",
        ".git/k.yaml",
        "README.md",
        "l.yaml.bak",
        ".yaml",
        "m.tmp",
    ] {
        write(root, name);
    }
    fs::create_dir(root.join("n.yaml")).expect("a directory with a file's name");
    let scan = scan(root).expect("readable");
    assert_eq!(names(&scan, root), ["a.yaml", "b.yml", "c.json", "sub/deep/e.yaml"]);
    assert_eq!(scan.directories.len(), 4);
    assert!(scan.unreadable.is_empty() && scan.excess.is_empty());
}

#[test]
fn a_mounted_config_map_is_followed_through_its_links() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    write(root, "..2026_11_20/web.yaml");
    symlink("..2026_11_20", root.join("..data")).expect("a link");
    symlink("..data/web.yaml", root.join("web.yaml")).expect("a link");
    let before = scan(root).expect("readable");
    assert_eq!(names(&before, root), ["web.yaml"]);
    write(root, "..2026_11_21/web.yaml");
    symlink("..2026_11_21", root.join("..data_tmp")).expect("a link");
    fs::rename(root.join("..data_tmp"), root.join("..data")).expect("a rename");
    let after = scan(root).expect("readable");
    assert_ne!(before.files, after.files);
    assert_eq!(names(&after, root), ["web.yaml"]);
}

#[test]
fn links_make_no_loops_and_nothing_is_read_twice() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    write(root, "sub/a.yaml");
    symlink(root, root.join("sub/up")).expect("a link");
    symlink("sub", root.join("twin")).expect("a link");
    symlink("sub/a.yaml", root.join("b.yaml")).expect("a link");
    symlink("self.yaml", root.join("self.yaml")).expect("a link");
    let scan = scan(root).expect("readable");
    assert_eq!(names(&scan, root), ["b.yaml"]);
    assert_eq!(scan.directories.len(), 2);
    assert_eq!(scan.unreadable.keys().collect::<Vec<_>>(), [&root.join("self.yaml")]);
}

#[test]
fn a_link_that_leads_nowhere_is_doubt() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    symlink("missing", root.join("a.yaml")).expect("a link");
    symlink("missing", root.join("b.txt")).expect("a link");
    let scan = scan(root).expect("readable");
    assert_eq!(
        scan.unreadable.into_iter().collect::<Vec<_>>(),
        [(root.join("a.yaml"), "the link leads nowhere".to_owned())]
    );
}

#[test]
fn what_is_no_file_is_never_opened() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    nix::unistd::mkfifo(&root.join("pipe.yaml"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    assert!(scan(root).expect("readable").files.is_empty());
}

#[test]
fn a_missing_directory_and_a_file_in_its_place_are_errors() {
    let root = tempfile::tempdir().expect("a directory");
    assert!(scan(&root.path().join("missing")).is_err());
    write(root.path(), "file");
    assert!(scan(&root.path().join("file")).is_err());
}

#[test]
fn too_deep_is_told() {
    let root = tempfile::tempdir().expect("a directory");
    let deep = "d/".repeat(MAX_DEPTH + 1) + "a.yaml";
    write(root.path(), &deep);
    let scan = scan(root.path()).expect("readable");
    assert!(scan.files.is_empty());
    assert_eq!(scan.unreadable.len(), 1);
}

#[test]
fn too_much_is_left_out_from_the_end() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    let sparse = |name: &str, bytes: u64| {
        let file = fs::File::create(root.join(name)).expect("a file");
        file.set_len(bytes).expect("a length");
    };
    sparse("0.yaml", MAX_FILE_BYTES + 1);
    for name in ["1.yaml", "2.yaml", "3.yaml", "4.yaml", "5.yaml"] {
        sparse(name, MAX_FILE_BYTES);
    }
    let scan = scan(root).expect("readable");
    assert_eq!(names(&scan, root), ["0.yaml", "1.yaml", "2.yaml", "3.yaml", "4.yaml"]);
    assert_eq!(scan.excess.keys().collect::<Vec<_>>(), [&root.join("5.yaml")]);
    let (path, stamp) = scan.files.first_key_value().expect("a file");
    assert!(matches!(read(path, stamp), Err(ReadError::TooLarge)));
}

/// Files above the most are counted, and nothing of them is kept but the first name (S7).
#[test]
fn very_many_files_and_links_to_nowhere_are_counted_and_not_kept() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    for n in 0..MAX_FILES - 1 {
        fs::write(root.join(format!("b{n:05}.yaml")), "").expect("a file");
    }
    symlink("missing", root.join("a.yaml")).expect("a link");
    assert_eq!(scan(root).expect("readable").overflow, None);
    for n in 0..20 {
        symlink("missing", root.join(format!("c{n:05}.yaml"))).expect("a link");
        fs::write(root.join(format!("d{n:05}.yaml")), "").expect("a file");
    }
    let scan = scan(root).expect("readable");
    assert_eq!(scan.files.len(), MAX_FILES - 1);
    assert_eq!((scan.unreadable.len(), scan.excess.len()), (1, 0));
    let overflow = scan.overflow.clone().expect("too many");
    assert_eq!((overflow.first, overflow.count), (root.join("c00000.yaml"), 40));
    assert!(scan.may_hold(&root.join("d00003.yaml")) && !scan.may_hold(&root.join("b.yaml")));
    let doubts = scan.doubts(root);
    assert_eq!(doubts.keys().collect::<Vec<_>>(), [root, &root.join("a.yaml")]);
}

#[test]
fn the_first_names_of_a_directory_are_looked_at() {
    let mut names = Names::default();
    let name = |n: usize| OsString::from(format!("{n:06}.yaml"));
    for n in (0..MAX_NAMES + 3).rev() {
        names.add(name(n));
    }
    assert_eq!(names.first.len(), MAX_NAMES);
    assert_eq!(names.first.last(), Some(&name(MAX_NAMES - 1)));
    assert_eq!((names.next, names.manifests_left_out), (Some(name(MAX_NAMES)), 3));
}

#[test]
fn a_file_is_read_as_it_was_seen_or_not_at_all() {
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    write(root, "a.yaml");
    let seen = scan(root).expect("readable");
    let (path, stamp) = seen.files.first_key_value().expect("a file");
    assert_eq!(read(path, stamp).expect("readable"), "a.yaml");
    fs::write(path, "other text").expect("a file");
    assert!(matches!(read(path, stamp), Err(ReadError::Changing)));
    fs::remove_file(path).expect("removed");
    assert!(matches!(read(path, stamp), Err(ReadError::Changing)));
    fs::write(path, [0xff, 0xfe]).expect("a file");
    let seen = scan(root).expect("readable");
    let stamp = seen.files.get(path).expect("a file");
    assert!(matches!(read(path, stamp), Err(ReadError::NotText)));
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("web.yaml");
    write(root.path(), "web.yaml");
    let stamp = scan(root.path()).expect("readable").files[&path];
    fs::remove_file(&path).expect("removed");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let (done, outcome) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(read(&path, &stamp)));
    let outcome = outcome.recv_timeout(std::time::Duration::from_secs(10)).expect("no waiting");
    assert!(matches!(outcome, Err(ReadError::Changing)), "{outcome:?}");
}

#[test]
fn a_tree_of_very_many_directories_is_not_walked_to_its_end() {
    let root = tempfile::tempdir().unwrap();
    for n in 0..MAX_DIRECTORIES + 10 {
        fs::create_dir(root.path().join(format!("d{n:05}"))).unwrap();
    }
    let scan = scan(root.path()).unwrap();
    assert_eq!(scan.directories.len(), MAX_DIRECTORIES);
    assert_eq!(scan.unreadable.len(), 1, "told once: {:?}", scan.unreadable);
}
