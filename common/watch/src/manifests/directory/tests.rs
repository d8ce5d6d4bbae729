//! What stays and what goes: tables for each rule, and a model for all of them together.

use roadstead_model::{ServiceKey, object::SourceRanges, problem::Severity};

use super::*;
use crate::manifests::parse_file;

mod model;
mod ports;

/// A directory and a clock that tests move.
struct Dir {
    directory: Directory,
    now: Instant,
    /// What was written last to each file.
    texts: BTreeMap<PathBuf, String>,
}

impl Dir {
    fn new() -> Self {
        let directory = Directory::new(SourceName::new("local"));
        Self { directory, now: Instant::now(), texts: BTreeMap::new() }
    }

    /// A directory that was read whole while it held these files.
    fn with(files: &[(&str, &str)]) -> Self {
        let mut dir = Self::new();
        for (name, text) in files {
            dir.write(name, text);
        }
        dir.directory.handle_scanned(BTreeMap::new());
        dir.directory.view();
        dir
    }

    fn write(&mut self, name: &str, text: &str) {
        let path = path(name);
        let parsed = parse_file(self.directory.source(), &path, text);
        self.directory.handle_parsed(&path, parsed, self.now);
        self.texts.insert(path, text.to_owned());
    }

    /// The files that are there now, read by somebody who saw nothing before.
    fn restarted(&self) -> Self {
        let there: BTreeSet<_> = self.directory.paths().collect();
        let mut anew = Self::new();
        for (path, text) in self.texts.iter().filter(|(path, _)| there.contains(path)) {
            anew.write(&path.display().to_string(), text);
        }
        anew.directory.handle_scanned(BTreeMap::new());
        anew
    }

    fn view(&mut self) -> Arc<SourceView> {
        self.directory.view()
    }

    /// Names and ports of the Services, `a:80 b:81`.
    fn services(&mut self) -> String {
        let view = self.view();
        let port = |s: &roadstead_model::object::Service| s.ports.first().map_or(0, |p| p.port);
        let shown: Vec<_> =
            view.services.values().map(|s| format!("{}:{}", s.key.name, port(s))).collect();
        shown.join(" ")
    }

    /// The errors, as they are printed.
    fn errors(&mut self) -> Vec<String> {
        let view = self.view();
        let errors = view.problems.iter().filter(|problem| problem.severity == Severity::Error);
        errors.map(ToString::to_string).collect()
    }
}

fn path(name: &str) -> PathBuf {
    Path::new("/m").join(name)
}

/// A Service of one port; its node port is 30000 more than the port.
fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: LoadBalancer, ports: [{{port: {port}, nodePort: {}}}]}}\n---\n",
        30_000 + port
    )
}

/// The same with a port that is none: refused, its name known.
fn refused(name: &str) -> String {
    service(name, 80).replace("port: 80,", "port: 0,")
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new(&SourceName::new("local"), "default", name)
}

const NAMELESS: &str = "apiVersion: v1\nkind: Servise\nmetadata: {name: a}\n---\n";
const SYNTAX: &str = "a: [\n";

#[test]
fn a_file_that_turns_bad_keeps_its_last_good_objects() {
    let mut dir = Dir::with(&[
        ("a.yaml", &(service("a", 80) + &service("b", 81))),
        ("z.yaml", &service("z", 90)),
    ]);
    dir.write("a.yaml", SYNTAX);
    assert_eq!(dir.services(), "a:80 b:81 z:90");
    assert_eq!(dir.errors().len(), 1);
    // Other files go on.
    dir.write("z.yaml", &service("z", 91));
    assert_eq!(dir.services(), "a:80 b:81 z:91");
    dir.write("a.yaml", &service("a", 82));
    assert_eq!(dir.services(), "a:82 z:91");
    assert_eq!(dir.errors(), Vec::<String>::new());
    assert_eq!(dir.view().state, SourceState::Current);
}

#[test]
fn a_refused_object_keeps_its_last_good_version_and_says_so() {
    let mut dir = Dir::with(&[("a.yaml", &(service("a", 80) + &service("b", 81)))]);
    dir.write("a.yaml", &(refused("a") + &service("b", 82)));
    assert_eq!(dir.services(), "a:80 b:82");
    let view = dir.view();
    let warnings = view.services.get(&key("a")).map(|a| a.warnings.clone()).unwrap_or_default();
    assert_eq!(
        warnings,
        [
            "the newest version is refused, the last good one is used: Service default/a: spec.ports[0].port: 0 is not a port; 1 to 65535 is"
        ]
    );
    assert!(view.refused.is_empty());
    dir.write("a.yaml", &service("b", 82));
    assert_eq!(dir.services(), "b:82");
}

#[test]
fn a_refused_object_that_moves_to_another_file_keeps_its_last_good_version() {
    let mut dir = Dir::with(&[("a.yaml", &service("a", 80))]);
    dir.directory.handle_removed(&path("a.yaml"));
    dir.write("b.yaml", &refused("a"));
    assert_eq!(dir.services(), "a:80");
}

#[test]
fn an_object_refused_at_first_sight_is_named_and_not_used() {
    let mut dir = Dir::with(&[("a.yaml", &refused("a"))]);
    assert_eq!(dir.services(), "");
    let view = dir.view();
    assert_eq!(view.refused.keys().collect::<Vec<_>>(), [&key("a")]);
    assert_eq!(view.state, SourceState::Current);
}

#[test]
fn bad_source_ranges_keep_the_old_ones() {
    let with = |ranges: &str| {
        service("a", 80)
            .replace("spec: {", &format!("spec: {{loadBalancerSourceRanges: [{ranges}], "))
    };
    let mut dir = Dir::with(&[("a.yaml", &with("192.0.2.0/24"))]);
    for bad in ["192.0.2.0/33", "all", "192.0.2.0/24, ''", "null"] {
        dir.write("a.yaml", &with(bad));
        let view = dir.view();
        let ranges = view.services.get(&key("a")).map(|service| service.source_ranges.clone());
        let wanted = SourceRanges::Only(vec!["192.0.2.0/24".parse().expect("a range")]);
        assert_eq!(ranges, Some(wanted), "{bad}");
        assert_eq!(dir.errors().len(), 1, "{bad}");
    }
}

#[test]
fn an_object_that_cannot_be_named_may_be_any_that_is_missing() {
    let mut dir = Dir::with(&[("a.yaml", &(service("a", 80) + &service("b", 81)))]);
    dir.write("a.yaml", &(NAMELESS.to_owned() + &service("b", 82)));
    assert_eq!(dir.services(), "a:80 b:82");
    dir.write("a.yaml", &service("b", 82));
    assert_eq!(dir.services(), "b:82");
}

#[test]
fn a_service_that_is_no_load_balancer_any_more_goes() {
    let mut dir = Dir::with(&[("a.yaml", &service("a", 80))]);
    dir.write("a.yaml", &service("a", 80).replace("LoadBalancer", "NodePort"));
    assert_eq!(dir.services(), "");
    assert_eq!(dir.errors(), Vec::<String>::new());
}

#[test]
fn a_deleted_file_is_an_order() {
    let mut dir = Dir::with(&[("a.yaml", &service("a", 80)), ("b.yaml", &service("b", 81))]);
    dir.directory.handle_removed(&path("a.yaml"));
    assert_eq!(dir.services(), "b:81");
    assert_eq!(dir.view().state, SourceState::Current);
}

#[test]
fn a_vanished_directory_is_doubt_until_it_is_back() {
    let mut dir = Dir::with(&[("a.yaml", &service("a", 80))]);
    dir.directory.handle_vanished(Path::new("/m"), "gone".to_owned());
    assert_eq!(dir.services(), "a:80");
    assert_eq!(dir.view().state, SourceState::Doubtful { reason: "/m: gone".to_owned() });
    assert_eq!(dir.errors(), ["/m: gone; what it last held stays"]);
    dir.directory.handle_scanned(BTreeMap::new());
    assert_eq!(dir.view().state, SourceState::Current);
    assert_eq!(dir.errors(), Vec::<String>::new());
}

#[test]
fn a_directory_that_was_never_there_is_unread() {
    let mut dir = Dir::new();
    dir.directory.handle_vanished(Path::new("/m"), "no such directory".to_owned());
    assert_eq!(dir.view().state, SourceState::Unread);
    assert_eq!(dir.errors(), ["/m: no such directory"]);
}

#[test]
fn what_could_not_be_read_since_the_start_is_doubt() {
    for bad in [SYNTAX, NAMELESS] {
        let mut dir = Dir::with(&[("a.yaml", bad), ("b.yaml", &service("b", 81))]);
        assert!(matches!(dir.view().state, SourceState::Doubtful { .. }), "{bad}");
        assert_eq!(dir.services(), "b:81");
        // Still not readable, in another way.
        dir.write("a.yaml", SYNTAX);
        assert!(matches!(dir.view().state, SourceState::Doubtful { .. }), "{bad}");
        dir.write("a.yaml", &service("a", 80));
        assert_eq!(dir.view().state, SourceState::Current, "{bad}");
        // Once it was good, its last good objects are known.
        dir.write("a.yaml", bad);
        assert_eq!(dir.view().state, SourceState::Current, "{bad}");
    }
    let mut dir = Dir::with(&[]);
    dir.write("new.yaml", SYNTAX);
    assert_eq!(dir.view().state, SourceState::Current, "a new file took nothing away");
}

#[test]
fn an_emptied_file_keeps_its_objects_for_a_while() {
    let mut dir = Dir::with(&[("a.yaml", &service("a", 80))]);
    dir.write("a.yaml", "");
    assert_eq!(dir.services(), "a:80");
    assert!(matches!(dir.view().state, SourceState::Doubtful { .. }));
    let deadline = dir.directory.poll_timeout().expect("a deadline");
    assert_eq!(deadline, dir.now + EMPTY_GRACE);
    // Blanks a moment later do not prolong it.
    dir.now += EMPTY_GRACE / 2;
    dir.write("a.yaml", " \n\n");
    assert_eq!(dir.directory.poll_timeout(), Some(deadline));
    dir.directory.handle_timeout(deadline - Duration::from_millis(1));
    assert_eq!(dir.services(), "a:80");
    dir.directory.handle_timeout(deadline);
    assert_eq!(dir.services(), "");
    let view = dir.view();
    assert_eq!(view.state, SourceState::Current);
    let told: Vec<_> = view.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["/m/a.yaml: the file is empty, and what it held (1 object) is gone"]);
    assert_eq!(dir.directory.poll_timeout(), None);
}

#[test]
fn an_emptied_file_that_is_written_again_lost_nothing() {
    let mut dir = Dir::with(&[("a.yaml", &service("a", 80))]);
    let before = dir.view();
    dir.write("a.yaml", "");
    dir.write("a.yaml", &service("a", 80));
    assert_eq!(*dir.view(), *before);
    assert_eq!(dir.directory.poll_timeout(), None);
}

#[test]
fn a_file_of_comments_says_that_its_objects_are_gone() {
    let mut dir = Dir::with(&[("a.yaml", &service("a", 80))]);
    dir.write("a.yaml", "# nothing here any more\n");
    assert_eq!(dir.services(), "");
}

#[test]
fn the_same_object_twice_the_first_stays() {
    let mut dir = Dir::with(&[
        ("b.yaml", &service("a", 81)),
        ("a.yaml", &(service("x", 70) + &service("a", 80))),
    ]);
    assert_eq!(dir.services(), "a:80 x:70");
    assert_eq!(
        dir.errors(),
        [
            "/m/b.yaml:1: Service default/a: already in /m/a.yaml:6, which stays; one of them is to go"
        ]
    );
    dir.write("a.yaml", &(service("x", 70) + &service("x", 71)));
    assert_eq!(dir.services(), "a:81 x:70");
    assert_eq!(
        dir.errors(),
        [
            "/m/a.yaml:6: Service default/x: already in /m/a.yaml:1, which stays; one of them is to go"
        ]
    );
}

#[test]
fn what_did_not_change_is_the_same_allocation() {
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\nendpoints: [{addresses: [198.51.100.1]}]\n---\n";
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nstatus: {addresses: [{type: InternalIP, address: 192.0.2.5}]}\n---\n";
    let text = service("a", 80) + slice + node;
    let mut dir = Dir::with(&[("a.yaml", &(text.clone() + &service("b", 81)))]);
    let before = dir.view();
    assert!(Arc::ptr_eq(&before, &dir.view()));
    // Moved down by a line and beside a change.
    dir.write("a.yaml", &("# moved\n".to_owned() + &text + &service("b", 82)));
    let after = dir.view();
    let same = |name: &str| match (before.services.get(&key(name)), after.services.get(&key(name)))
    {
        (Some(before), Some(after)) => Arc::ptr_eq(before, after),
        _ => false,
    };
    assert!(same("a") && !same("b"));
    assert!(before.nodes.values().zip(after.nodes.values()).all(|(a, b)| Arc::ptr_eq(a, b)));
    assert!(
        before.endpoints.values().zip(after.endpoints.values()).all(|(a, b)| Arc::ptr_eq(a, b))
    );
    assert_eq!((after.nodes.len(), after.endpoints.len()), (1, 1));
    // A version that is refused again and again is one warning, made once.
    dir.write("a.yaml", &refused("b"));
    let first = dir.view();
    dir.write("a.yaml", &("\n".to_owned() + &refused("b")));
    let second = dir.view();
    let b = |view: &SourceView| view.services.get(&key("b")).cloned().expect("b");
    assert!(Arc::ptr_eq(&b(&first), &b(&second)));
}

#[test]
fn slices_of_a_service_are_merged_and_an_empty_one_is_knowledge() {
    let slice = |name: &str, endpoints: &str| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, labels: {{kubernetes.io/service-name: a}}}}\naddressType: IPv4\nendpoints: [{endpoints}]\n---\n"
        )
    };
    let mut dir = Dir::with(&[
        ("a.yaml", &slice("s1", "{addresses: [198.51.100.2]}")),
        (
            "b.yaml",
            &slice(
                "s2",
                "{addresses: [198.51.100.1]}, {addresses: [198.51.100.2], conditions: {ready: false}}",
            ),
        ),
    ]);
    let endpoints = |dir: &mut Dir| {
        let view = dir.view();
        let of = |e: &Arc<roadstead_model::object::Endpoints>| {
            e.endpoints.iter().map(|e| (e.address.to_string(), e.ready)).collect::<Vec<_>>()
        };
        view.endpoints.get(&key("a")).map(of)
    };
    let both = vec![("198.51.100.1".to_owned(), true), ("198.51.100.2".to_owned(), true)];
    assert_eq!(endpoints(&mut dir), Some(both));
    dir.write("a.yaml", &slice("s1", ""));
    dir.write("b.yaml", &slice("s2", ""));
    assert_eq!(endpoints(&mut dir), Some(Vec::new()));
    dir.directory.handle_removed(&path("a.yaml"));
    dir.directory.handle_removed(&path("b.yaml"));
    assert_eq!(endpoints(&mut dir), None);
}

#[test]
fn a_foreign_kind_is_named_once() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n---\n";
    let mut dir = Dir::with(&[("b.yaml", &pod.repeat(2)), ("a.yaml", &(service("a", 80) + pod))]);
    let told: Vec<_> = dir.view().problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "/m/a.yaml:6: Pod (v1): passed over (3 objects); Service, Node, Namespace and EndpointSlice are read"
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_keeps_its_objects() {
    let mut dir = Dir::with(&[("a.yaml", &service("a", 80))]);
    let now = dir.now;
    dir.directory.handle_unreadable(&path("a.yaml"), "larger than 8 MiB; split it", now);
    assert_eq!(dir.services(), "a:80");
    assert_eq!(dir.errors(), ["/m/a.yaml: the file is not used: larger than 8 MiB; split it"]);
}

#[test]
fn problems_are_bounded() {
    let mut dir = Dir::new();
    for index in 0..30 {
        dir.write(&format!("{index}.yaml"), &refused("a").repeat(60));
    }
    assert_eq!(dir.view().problems.len(), MAX_PROBLEMS + 1);
}

#[test]
fn objects_are_bounded_over_all_files() {
    let namespaces = |count: usize| {
        let item = |index: usize| Item {
            id: ObjectId::Namespace(format!("n{index}").into()),
            location: Location::new("/m/a.yaml", index),
            content: Content::Good(Object::Namespace(Arc::default())),
        };
        Parsed { items: (0..count).map(item).collect(), ..Parsed::default() }
    };
    let mut dir = Dir::with(&[]);
    let now = dir.now;
    dir.directory.handle_parsed(&path("a.yaml"), namespaces(MAX_OBJECTS), now);
    dir.write("c.yaml", &service("c", 80));
    assert_eq!(dir.view().namespaces.len(), MAX_OBJECTS);
    assert_eq!(dir.services(), "");
    assert_eq!(
        dir.errors(),
        [
            "/m/c.yaml: the file is not used: the other files hold 20000 objects; at most 20000 are, in all"
        ]
    );
    // A file is not counted against itself.
    dir.directory.handle_parsed(&path("a.yaml"), namespaces(MAX_OBJECTS - 1), now);
    dir.write("c.yaml", &service("c", 80));
    assert_eq!(dir.services(), "c:80");
}
