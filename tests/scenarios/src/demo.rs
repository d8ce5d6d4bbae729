//! The demo: the steps in their order, what each prints, and the summary. Here over a directory of
//! manifests; [`kubernetes`] has the one over a cluster.

mod changes;
pub mod kubernetes;
mod loads;
mod show;
mod steps;
mod table;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Result;
use roadstead_lab::{Topology, presets};

use crate::World;
use show::Step;

pub use show::Show;

/// What the names of demos begin with that `--keep` leaves: [`roadstead_lab::artifacts::claim`].
pub const KEPT: &str = "rs-demo";

/// The pools.
const POOLS: &str = include_str!("../../demo/roadstead.toml");

/// Two clients, a router, an edge host with two legs, three nodes.
pub fn topology() -> Topology {
    presets::routed(3)
}

const PICTURE: &str = "
     client ---- router ----+---- edge ----+---- node1     client  behind a router
  198.51.100.10             |   speaker    +---- node2     near    on the segment of the VIPs
                   near ----+   router     +---- node3     nodes   NodePorts 30000-30031
                192.0.2.3     192.0.2.2     203.0.113.101-103
";

/// In the order of the show.
const STEPS: &[(&str, Step<Demo>)] = &[
    ("addresses are assigned and announced", steps::announced),
    ("the edge host alone answers ARP and NDP", steps::resolution),
    ("requests are spread over the nodes", steps::spread_v4),
    ("IPv6 alike", steps::spread_v6),
    ("a UDP service", steps::datagrams),
    ("two Services share the only address of a pool", steps::sharing),
    ("a Service added, and deleted", changes::add_and_delete),
    ("both daemons killed with -9 under load", changes::kills),
    ("a node dies, and comes back", changes::node_death),
];

/// The network and what has been shown so far.
#[derive(Debug)]
pub struct Demo {
    world: World,
    began: Instant,
}

impl Demo {
    /// Builds the network; the daemons do not run yet.
    pub fn build(topology: &Topology) -> Result<Self> {
        let began = Instant::now();
        println!("Roadstead: what a load balancer outside the cluster does\n{PICTURE}");
        let world = World::bare(topology, "demo", POOLS)?;
        let hosts = world.lab.hosts().count();
        println!("  {hosts} network namespaces built in {} ms", world.lab.built_in().as_millis());
        Ok(Self { world, began })
    }

    /// Puts a file of the demo's directory into the directory that the daemons watch.
    fn put(&self, file: &str) -> Result<()> {
        let text = std::fs::read_to_string(demo_dir().join(file))?;
        let name = Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        println!("  + {file}");
        self.world.edge.manifests.write(&name, &text)
    }
}

impl Show for Demo {
    fn prefix(&self) -> &str {
        self.world.lab.prefix()
    }

    fn play(&mut self) -> bool {
        let began = self.began;
        show::play(self, STEPS, began, |demo| demo.world.explain_failure())
    }

    fn leave_running(self) {
        let web = self.vip("web", true).map_or_else(|_| "VIP".to_owned(), |vip| vip.to_string());
        let World { edge, nodes, lab } = self.world;
        let kept = lab.prefix();
        let config = edge.config();
        let program = roadstead_lab::process::built("roadstead").unwrap_or_default();
        println!("\nEverything is left running. To look inside:\n{}", lab.how_to_look_inside());
        println!(
            "  ask as the client:    nsenter --net=/run/netns/{kept}-client curl http://{web}/"
        );
        println!(
            "  status:               {} status --config {}",
            program.display(),
            config.display()
        );
        println!("  and alike:            check, explain default/web, flows, drain node node1");
        println!("  change something in:  {}", edge.manifests.dir().display());
        println!(
            "  configuration:        {}; kill -HUP the daemons to reload it",
            config.display()
        );
        println!(
            "  nobody starts them again but you:\n    nsenter --net=/run/netns/{kept}-edge {}-speaker --config {} &",
            program.display(),
            config.display()
        );
        println!("  logs:                 {}", lab.logs().display());
        println!("  remove it all:        cargo xtask demo --remove");
        std::mem::forget((edge, nodes));
        lab.leave_running();
    }
}

/// The repository's directory of the demo's manifests.
fn demo_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo")
}
