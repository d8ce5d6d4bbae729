//! A loaded dataplane in namespaces of its own, and the smallest service behind it.

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use roadstead_model::{Protocol, local::VipKind};
use roadstead_router_bpf::{Dataplane, Loaded, Options, Pins, TestRun, load};
use roadstead_router_core::maps::{
    Backend, BackendMode, Capacity, Frontend, FrontendKey, Mac, Maps as _, NextHop, Op, Snat,
    TABLE_SLOTS, Table, VipEntry,
};
use tempfile::TempDir;

/// Small enough to fill.
pub(crate) const CAPACITY: Capacity = Capacity {
    flows: 4_096,
    vips: 64,
    frontends: 64,
    backends: 16,
    tables: 4,
    snats: 4,
    ranges: 64,
};

/// MAC of every client.
pub(crate) const CLIENT_MAC: Mac = [2, 0, 0, 0, 1, 1];
/// MACs of the nodes.
pub(crate) const NODE_MACS: [Mac; 2] = [[2, 0, 0, 0, 2, 1], [2, 0, 0, 0, 2, 2]];
/// What a tc program answers with.
pub(crate) const DROP: i32 = 2;
/// As above.
pub(crate) const REDIRECT: i32 = 7;

/// The addresses of one family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) client: IpAddr,
    pub(crate) vip: IpAddr,
    pub(crate) nodes: [IpAddr; 2],
    pub(crate) snat: IpAddr,
}

/// Both families.
pub(crate) fn families() -> [Addresses; 2] {
    let at = |text: &str| text.parse().expect("an address");
    [
        Addresses {
            client: at("198.51.100.7"),
            vip: at("192.0.2.10"),
            nodes: [at("203.0.113.1"), at("203.0.113.2")],
            snat: at("203.0.113.100"),
        },
        Addresses {
            client: at("2001:db8:7::7"),
            vip: at("2001:db8:1::10"),
            nodes: [at("2001:db8:2::1"), at("2001:db8:2::2")],
            snat: at("2001:db8:2::100"),
        },
    ]
}

/// The service's port and its NodePort.
pub(crate) const PORT: u16 = 80;
/// As above.
pub(crate) const NODE_PORT: u16 = 30_080;

/// One loaded dataplane.
pub(crate) struct Rig {
    pub(crate) dataplane: Dataplane,
    pub(crate) pins: Pins,
    pub(crate) lan: (u32, Mac),
    pub(crate) rack: (u32, Mac),
    _directory: TempDir,
}

/// A bpf filesystem that nobody else sees.
pub(crate) fn private_filesystem() -> (TempDir, Pins) {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces: run as root");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("a private tree");
    let directory = TempDir::new().expect("a directory");
    mount(Some("bpf"), directory.path(), Some("bpf"), MsFlags::empty(), none).expect("bpffs");
    let pins = Pins::new(directory.path().join("roadstead"));
    (directory, pins)
}

/// Loads with a small capacity.
pub(crate) fn load_small(pins: &Pins) -> Loaded {
    load(pins, &CAPACITY, &Options::default()).expect("load")
}

impl Rig {
    /// A dataplane with two legs and empty maps.
    pub(crate) fn empty() -> Self {
        Self::sized(&CAPACITY, &Options::default())
    }

    fn sized(capacity: &Capacity, options: &Options) -> Self {
        let (directory, pins) = private_filesystem();
        load(&pins, capacity, options).expect("load");
        let mut dataplane = Dataplane::open(&pins).expect("open");
        let (lan, rack) = (make_leg("lan"), make_leg("rack"));
        apply(&mut dataplane, &[Op::PutLeg(lan.0, 0), Op::PutLeg(rack.0, 1)]);
        Self { dataplane, pins, lan, rack, _directory: directory }
    }

    /// The same with a TCP and a UDP service of each family on two nodes.
    pub(crate) fn serving() -> Self {
        Self::empty().with_services()
    }

    /// The same with room for so many flows, all of which may be half-open.
    pub(crate) fn serving_flows(flows: u32) -> Self {
        let options = Options { half_open_budget: Some(flows), ..Options::default() };
        Self::sized(&Capacity { flows, ..CAPACITY }, &options).with_services()
    }

    fn with_services(mut self) -> Self {
        for (family, addresses) in (0..).zip(families()) {
            self.serve(family, &addresses);
        }
        self
    }

    fn serve(&mut self, family: u16, addresses: &Addresses) {
        let mut ops = vec![Op::PutSnat(family, snat(addresses))];
        for (index, node) in (0..).zip(addresses.nodes) {
            ops.push(Op::PutBackend(family * 2 + index, self.backend(family, node, index)));
        }
        ops.push(Op::PutTable(family, spread(&[family * 2, family * 2 + 1])));
        ops.push(Op::PutVip(addresses.vip, VipEntry { kind: VipKind::Virtual, legs: u32::MAX }));
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let key = FrontendKey { address: addresses.vip, protocol, port: PORT };
            let id = frontend_id(family, protocol);
            ops.push(Op::PutIdentity(id, key));
            ops.push(Op::PutFrontend(key, frontend(id, family)));
        }
        apply(&mut self.dataplane, &ops);
    }

    /// A node with resolved MACs, on the rack.
    pub(crate) fn backend(&self, family: u16, address: IpAddr, index: u16) -> Backend {
        Backend {
            address,
            ifindex: self.rack.0,
            macs: Some(NextHop { destination: NODE_MACS[usize::from(index)], source: self.rack.1 }),
            gateway: None,
            mtu: 1_500,
            snat: (family, 1),
            state: BackendMode::Active,
        }
    }

    /// One frame by a leg.
    pub(crate) fn run(&self, frame: &[u8], ifindex: u32) -> TestRun {
        self.dataplane.test_run(frame, ifindex, 0, 1).expect("test run")
    }

    /// Packets counted for a reason.
    pub(crate) fn dropped(&self, label: &str) -> u64 {
        let drops = self.dataplane.drops().expect("drops");
        drops.into_iter().find(|(name, _)| *name == label).expect("such a reason").1
    }
}

/// Index of the frontend of a family and protocol.
pub(crate) fn frontend_id(family: u16, protocol: Protocol) -> u32 {
    u32::from(family) * 2 + u32::from(protocol == Protocol::Udp)
}

/// A frontend without anything special.
pub(crate) fn frontend(id: u32, table: u16) -> Frontend {
    Frontend {
        id,
        node_port: NODE_PORT,
        table: Some(table),
        affinity_seconds: 0,
        ranges: None,
        log: false,
    }
}

/// An address of our own with all ports from 1024.
pub(crate) fn snat(addresses: &Addresses) -> Snat {
    Snat { address: addresses.snat, low: 1_024, high: 65_535, shared: false }
}

/// A table with the backends in turn.
pub(crate) fn spread(backends: &[u16]) -> Table {
    backends.iter().copied().cycle().take(TABLE_SLOTS).collect()
}

/// Carries out changes.
pub(crate) fn apply(dataplane: &mut Dataplane, ops: &[Op]) {
    for op in ops {
        dataplane.apply(op).unwrap_or_else(|error| panic!("{op:?}: {error}"));
    }
}

/// Where a client's packets come from and go to.
pub(crate) fn flow(addresses: &Addresses, client_port: u16) -> (SocketAddr, SocketAddr) {
    (SocketAddr::new(addresses.client, client_port), SocketAddr::new(addresses.vip, PORT))
}

/// A veth pair: index and MAC of our end.
pub(crate) fn make_leg(name: &str) -> (u32, Mac) {
    ip(&format!("link add {name} type veth peer name {name}-peer"));
    ip(&format!("link set {name} up"));
    ip(&format!("link set {name}-peer up"));
    let described = ip(&format!("-o link show {name}"));
    let index = described.split(':').next().expect("an index").parse().expect("a number");
    let mac = described.split("link/ether ").nth(1).expect("a MAC");
    let mut bytes = mac.split([':', ' ']).map(|byte| u8::from_str_radix(byte, 16).expect("hex"));
    (index, std::array::from_fn(|_| bytes.next().expect("six bytes")))
}

/// Runs `ip` in this thread's namespace.
pub(crate) fn ip(command: &str) -> String {
    let output = Command::new("ip").args(command.split(' ')).output().expect("iproute2");
    assert!(output.status.success(), "ip {command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
