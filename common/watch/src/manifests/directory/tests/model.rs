//! Random histories of files against a model that keeps nothing but "the last good text of each".

use proptest::prelude::*;

use super::*;

const FILES: [&str; 3] = ["a.yaml", "b.yaml", "c.yaml"];
const NAMES: [&str; 4] = ["p", "q", "r", "s"];

/// What is done to a file. Each file has Services of its own (`p-a`, …), so that what one says
/// never depends on another.
#[derive(Clone, Debug)]
enum Step {
    /// Written with these Services: port, or refused.
    Write(usize, Vec<(usize, Option<u16>)>),
    Nameless(usize, Vec<(usize, Option<u16>)>),
    Syntax(usize),
    Delete(usize),
    Empty(usize),
    GracePassed,
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0..FILES.len();
    let services = || {
        let services = prop::collection::btree_map(
            0..NAMES.len(),
            prop::option::weighted(0.7, 1_u16..2_000),
            1..4,
        );
        services.prop_map(|map| map.into_iter().collect::<Vec<_>>())
    };
    prop_oneof![
        6 => (file.clone(), services()).prop_map(|(file, list)| Step::Write(file, list)),
        2 => (file.clone(), services()).prop_map(|(file, list)| Step::Nameless(file, list)),
        2 => file.clone().prop_map(Step::Syntax),
        2 => file.clone().prop_map(Step::Delete),
        1 => file.prop_map(Step::Empty),
        1 => Just(Step::GracePassed),
    ]
}

fn name(file: usize, name: usize) -> String {
    let letter = FILES.get(file).and_then(|file| file.chars().next()).expect("a file");
    format!("{}-{letter}", NAMES.get(name).expect("a name"))
}

/// Node ports are apart for every file and name, so that none is taken.
fn text(file: usize, services: &[(usize, Option<u16>)]) -> String {
    let one = |(which, port): &(usize, Option<u16>)| {
        let unique = u16::try_from(30_000 + file * 100 + which).expect("small");
        let port = port.unwrap_or(0);
        service(&name(file, *which), 80)
            .replace("port: 80,", &format!("port: {port},"))
            .replace("30080", &unique.to_string())
    };
    services.iter().map(one).collect()
}

/// Per file: the ports of the Services that are served.
#[derive(Default)]
struct Model {
    served: BTreeMap<(usize, usize), u16>,
    emptied: BTreeSet<usize>,
}

impl Model {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Write(file, services) => self.write(*file, services, false),
            Step::Nameless(file, services) => self.write(*file, services, true),
            Step::Syntax(file) => {
                self.emptied.remove(file);
            }
            Step::Delete(file) => {
                self.emptied.remove(file);
                self.served.retain(|(of, _), _| of != file);
            }
            Step::Empty(file) => {
                self.emptied.insert(*file);
            }
            Step::GracePassed => {
                self.served.retain(|(file, _), _| !self.emptied.contains(file));
                self.emptied.clear();
            }
        }
    }

    fn write(&mut self, file: usize, services: &[(usize, Option<u16>)], doubt: bool) {
        self.emptied.remove(&file);
        let named = |which: usize| services.iter().any(|(name, _)| *name == which);
        self.served.retain(|(of, which), _| *of != file || doubt || named(*which));
        for (which, port) in services {
            if let Some(port) = port {
                self.served.insert((file, *which), *port);
            }
        }
    }

    fn shown(&self) -> BTreeMap<String, u16> {
        self.served.iter().map(|((file, which), port)| (name(*file, *which), *port)).collect()
    }
}

fn apply(dir: &mut Dir, step: &Step) {
    let file = |index: usize| *FILES.get(index).expect("a file");
    match step {
        Step::Write(index, services) => dir.write(file(*index), &text(*index, services)),
        Step::Nameless(index, services) => {
            dir.write(file(*index), &(text(*index, services) + NAMELESS));
        }
        Step::Syntax(index) => dir.write(file(*index), SYNTAX),
        Step::Delete(index) => dir.directory.handle_removed(&path(file(*index))),
        Step::Empty(index) => dir.write(file(*index), "\n"),
        Step::GracePassed => {
            dir.now += EMPTY_GRACE;
            dir.directory.handle_timeout(dir.now);
        }
    }
}

fn served(dir: &mut Dir) -> BTreeMap<String, u16> {
    let view = dir.view();
    let port = |s: &Arc<roadstead_model::object::Service>| s.ports.first().map_or(0, |p| p.port);
    view.services.values().map(|s| (s.key.name.to_string(), port(s))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn last_good_objects_follow_the_model(steps in prop::collection::vec(step(), 1..25)) {
        let mut dir = Dir::with(&[]);
        let mut model = Model::default();
        for step in &steps {
            apply(&mut dir, step);
            model.apply(step);
            prop_assert_eq!(served(&mut dir), model.shown(), "after {:?}", step);
        }
    }

    #[test]
    fn the_order_in_which_files_are_read_does_not_matter(
        texts in prop::collection::vec(prop::collection::btree_map(0..NAMES.len(), prop::option::weighted(0.8, 1_u16..2_000), 0..4), 3),
        order in Just([0_usize, 1, 2]).prop_shuffle(),
    ) {
        let read = |order: &[usize]| {
            let mut dir = Dir::new();
            for index in order {
                let services: Vec<_> = texts[*index].clone().into_iter().collect();
                // All files hold the same names and node ports: duplicates must not matter either.
                dir.write(FILES[*index], &text(0, &services));
            }
            dir.directory.handle_scanned(BTreeMap::new());
            SourceView::clone(&dir.view())
        };
        prop_assert_eq!(read(&[0, 1, 2]), read(&order));
    }
}
