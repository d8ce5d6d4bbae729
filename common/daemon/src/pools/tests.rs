//! What is taken of MetalLB's objects, what stays, and what a restart finds.

use std::path::PathBuf;

use roadstead_model::{metallb::AddressPool, selector::Labels};

use super::*;

const TWO: &str = "[[source]]\nname = \"away\"\ndirectory = \"/a\"\nmetallb = true\n\
                   [[source]]\nname = \"home\"\ndirectory = \"/h\"\nmetallb = true\n";
const FILE_POOL: &str = "[[pool]]\nname = \"file\"\naddresses = [\"192.0.2.0/28\"]\n";

struct World {
    directory: tempfile::TempDir,
    config: Arc<Config>,
    snapshot: Snapshot,
    held: Vec<std::net::IpAddr>,
}

impl World {
    fn new(text: &str) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            config: config(text),
            snapshot: Snapshot::default(),
            held: Vec::new(),
        }
    }

    fn book(&self) -> PoolBook {
        PoolBook::load(self.directory.path(), Arc::clone(&self.config))
    }

    fn says(&mut self, source: &str, addresses: &[&str]) {
        let objects = MetalLb { pools: vec![pool(addresses)], ..MetalLb::default() };
        self.snapshot.metallb.insert(SourceName::new(source), Arc::new(objects));
    }

    fn follow(&self, book: &mut PoolBook) {
        let lies_in = |pools: &[Pool], address: &std::net::IpAddr| {
            pools.iter().any(|pool| pool.addresses.iter().any(|range| range.contains(*address)))
        };
        book.follow(&self.config, &self.snapshot, |_, pools| {
            let orphans = self.held.iter().filter(|address| !lies_in(pools, address));
            orphans.map(|address| format!("default/web ({address})")).collect()
        });
    }
}

fn config(text: &str) -> Arc<Config> {
    let files = vec![(PathBuf::from("roadstead.toml"), text.to_owned())];
    Arc::new(roadstead_config::load_from(files, std::iter::empty()).unwrap().config)
}

fn pool(addresses: &[&str]) -> AddressPool {
    AddressPool {
        name: "lan".into(),
        labels: Labels::new(),
        addresses: addresses.iter().map(|range| range.parse().unwrap()).collect(),
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
    }
}

fn names(book: &PoolBook) -> Vec<String> {
    let shown = |pool: &Pool| format!("{} {}", pool.name, pool.addresses[0]);
    book.pools().iter().map(shown).collect()
}

fn told(book: &PoolBook) -> Vec<String> {
    book.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn pools_of_the_configuration_and_of_every_source_are_used_together_and_over_a_restart() {
    let mut world = World::new(&format!("{TWO}{FILE_POOL}"));
    let mut book = world.book();
    assert_eq!(book.unknown().count(), 2);
    world.says("away", &["198.51.100.0/28"]);
    world.says("home", &["203.0.113.0/28"]);
    world.follow(&mut book);
    let all = [
        "file 192.0.2.0-192.0.2.15",
        "away/lan 198.51.100.0-198.51.100.15",
        "home/lan 203.0.113.0-203.0.113.15",
    ];
    assert_eq!((names(&book), book.unknown().count()), (all.map(String::from).to_vec(), 0));
    world.snapshot = Snapshot::default();
    let mut again = world.book();
    world.follow(&mut again);
    assert_eq!(names(&again), all, "with no source read");
    let seen = in_use(world.directory.path(), &world.config);
    assert_eq!(seen, again.pools().to_vec(), "by who only looks");
}

#[test]
fn what_overlaps_is_refused_and_the_last_good_stays_until_it_does_not() {
    let mut world = World::new(&format!("{TWO}{FILE_POOL}"));
    let mut book = world.book();
    world.says("home", &["203.0.113.0/28"]);
    world.follow(&mut book);
    world.says("home", &["192.0.2.8/32"]);
    world.follow(&mut book);
    assert_eq!(names(&book)[1], "home/lan 203.0.113.0-203.0.113.15");
    assert_eq!(
        told(&book),
        ["source home: MetalLB's configuration is not taken, the last good one stays: pool \
          `home/lan`: 192.0.2.8 overlaps 192.0.2.0-192.0.2.15 of pool `file`; an address belongs to \
          one pool"]
    );
    world.says("home", &["203.0.113.0/28"]);
    world.follow(&mut book);
    assert_eq!(told(&book), Vec::<String>::new());
}

/// Two clusters that say the same: who said it first has it, whatever their names; and who waits
/// gets it when it is given up, without saying anything anew.
#[test]
fn of_two_sources_the_first_to_say_it_stays() {
    let mut world = World::new(TWO);
    let mut book = world.book();
    world.says("home", &["203.0.113.0/28"]);
    world.follow(&mut book);
    world.says("away", &["203.0.113.0/24"]);
    world.follow(&mut book);
    assert_eq!(names(&book), ["home/lan 203.0.113.0-203.0.113.15"]);
    assert!(told(&book)[0].starts_with("source away: MetalLB's configuration is not taken: pool"));
    world.says("home", &["198.51.100.0/28"]);
    world.follow(&mut book);
    assert_eq!(
        names(&book),
        ["away/lan 203.0.113.0-203.0.113.255", "home/lan 198.51.100.0-198.51.100.15"]
    );
    assert_eq!(told(&book), Vec::<String>::new());
}

#[test]
fn a_pool_that_is_used_is_not_taken_away() {
    let mut world = World::new(TWO);
    let mut book = world.book();
    world.says("home", &["203.0.113.0/28"]);
    world.follow(&mut book);
    world.held = vec!["203.0.113.9".parse().unwrap()];
    world.says("home", &["203.0.113.0/29"]);
    world.follow(&mut book);
    assert_eq!(names(&book), ["home/lan 203.0.113.0-203.0.113.15"]);
    let why = "it would take the address of default/web (203.0.113.9); move or delete these";
    assert!(told(&book)[0].contains(why), "{:?}", told(&book));
    assert_eq!(names(&world.book()), ["home/lan 203.0.113.0-203.0.113.15"], "also over a restart");
    world.held.clear();
    world.follow(&mut book);
    assert_eq!(names(&book), ["home/lan 203.0.113.0-203.0.113.7"]);
}

#[test]
fn addresses_that_are_the_routers_own_are_no_pool() {
    let own = format!("{TWO}[router]\nsnat_addresses = [\"203.0.113.5\"]\n");
    let mut world = World::new(&own);
    let mut book = world.book();
    world.says("home", &["203.0.113.0/28"]);
    world.follow(&mut book);
    assert!(told(&book)[0].contains("`home/lan` holds one of `router.snat_addresses`"));
    assert!(book.pools().is_empty());
}

#[test]
fn another_configuration_is_held_against_what_is_kept() {
    let mut world = World::new(TWO);
    let mut book = world.book();
    world.says("home", &["192.0.2.0/28"]);
    world.follow(&mut book);
    let clashing = config(&format!("{TWO}{FILE_POOL}"));
    assert!(book.with(&clashing).unwrap_err().contains("overlaps"));
    let instead = config(FILE_POOL);
    assert_eq!(book.with(&instead).unwrap().len(), 1, "no longer read from the source");
    world.config = instead;
    world.follow(&mut book);
    assert_eq!(names(&book), ["file 192.0.2.0-192.0.2.15"]);
    assert_eq!(book.unknown().count(), 0);
}

#[test]
fn a_damaged_book_is_set_aside_and_nothing_is_known() {
    let mut world = World::new(TWO);
    let mut book = world.book();
    world.says("home", &["203.0.113.0/28"]);
    world.follow(&mut book);
    fs::write(world.directory.path().join(FILE), "{").unwrap();
    let book = world.book();
    assert_eq!((book.pools().len(), book.unknown().count()), (0, 2));
    assert!(world.directory.path().join("metallb.damaged.json").exists());
}
