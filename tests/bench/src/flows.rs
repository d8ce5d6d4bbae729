//! The flow table at a million flows: what a sweep takes. Flows are made by test runs of the program,
//! in a namespace and on pins of their own.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use roadstead_lab::{Edge, Topology};
use roadstead_model::{Protocol, local::VipKind};
use roadstead_router_bpf::{Dataplane, Options, Pins, Sweeper, Timeouts, load};
use roadstead_router_core::maps::{
    Backend, BackendId, BackendMode, Capacity, Frontend, FrontendKey, Maps as _, NextHop, Op, Snat,
    TABLE_SLOTS, VipEntry,
};

use crate::{
    Effort,
    report::{Section, Table},
    stats::{median, milliseconds},
};

const LOOPBACK: u32 = 1;
const PORT: u16 = 53;
/// Ports of one (SNAT address, node) pair are 64 Ki: a million flows want sixteen pairs and some.
const BACKENDS: BackendId = 32;
/// Source ports of one client.
const PORTS: std::ops::RangeInclusive<u16> = 10_001..=60_000;
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

/// Fills the table and sweeps it.
pub(crate) fn measure(effort: Effort) -> Result<Section> {
    let clients = effort.pick(20, 4);
    let mut plan = Topology::new();
    let _ = plan.host("edge").leg("front", ["192.0.2.2/24"]);
    let _ = plan.host("client").leg("front", ["192.0.2.3/24"]);
    let lab = plan.build("bench-flows")?;
    let edge = Edge::prepare(&lab, "")?;
    let bpffs = edge.bpffs();
    let (flows, table) = lab.edge()?.namespace().enter(|| sweeps(&bpffs, clients, effort))?;
    Ok(Section {
        title: "A million flows".to_owned(),
        method: format!(
            "{flows} UDP flows, made by test runs of the program; the router's sweeper on them, which \
             runs on a thread of its own every few seconds."
        ),
        tables: vec![table],
        goals: Vec::new(),
    })
}

fn sweeps(bpffs: &Path, clients: u8, effort: Effort) -> Result<(u64, Table)> {
    let dataplane = serving(&Pins::new(bpffs.join("flows")))?;
    let began = Instant::now();
    let made = fill(&dataplane, clients)?;
    let each = began.elapsed().as_secs_f64() * 1e9 / f64::from(made);
    let mut table = Table::new("", &["", "ms", "ns per flow"]);
    let mut row = |what: &str, millis: f64, flows: u64| {
        let flows = f64::from(u32::try_from(flows).unwrap_or(u32::MAX));
        table.row([
            what.to_owned(),
            format!("{millis:.0}"),
            format!("{:.0}", millis * 1e6 / flows),
        ]);
    };
    let mut sweeper = Sweeper::default();
    let mut times = Vec::new();
    let mut flows = 0;
    for _ in 0..effort.pick(8, 3) {
        let began = Instant::now();
        flows = sweeper.complete(&dataplane)?.flows;
        times.push(milliseconds(began.elapsed()));
    }
    ensure!(flows > u64::from(made) * 9 / 10, "of {made} flows {flows} are left");
    row("a sweep that finds nothing", median(&times), flows);
    dataplane.set_timeouts(Timeouts { udp_unanswered: 0, udp_answered: 0, ..dataplane.timeouts() });
    let began = Instant::now();
    let mut deleted = 0;
    while deleted < flows {
        deleted += sweeper.complete(&dataplane)?.deleted;
        ensure!(
            began.elapsed().as_secs() < 60,
            "{deleted} of {flows} flows deleted after a minute"
        );
    }
    row("sweeps that delete every flow", milliseconds(began.elapsed()), deleted);
    row(
        "(making a flow, with the system call of its test run)",
        each * f64::from(made) / 1e6,
        flows,
    );
    Ok((flows, table))
}

/// One datagram for each flow.
fn fill(dataplane: &Dataplane, clients: u8) -> Result<u32> {
    let mut made = 0;
    for client in 1..=clients {
        for port in PORTS {
            let frame = frame(Ipv4Addr::new(198, 51, 100, client), port);
            dataplane.test_run(&frame, LOOPBACK, 0, 1).context("cannot run the program")?;
            made += 1;
        }
    }
    Ok(made)
}

fn serving(pins: &Pins) -> Result<Dataplane> {
    let capacity = Capacity {
        flows: 1 << 20,
        vips: 1_024,
        frontends: 1_024,
        backends: 256,
        tables: 64,
        snats: 4,
        ranges: 1_024,
    };
    // A datagram without an answer is half of a flow: all of them may be.
    let options = Options { half_open_budget: Some(1 << 20), ..Options::default() };
    load(pins, &capacity, &options)?;
    let mut dataplane = Dataplane::open(pins)?;
    for op in service() {
        dataplane.apply(&op)?;
    }
    // They live as long as the measurement takes.
    dataplane.set_timeouts(Timeouts { udp_unanswered: 3_600, ..dataplane.timeouts() });
    Ok(dataplane)
}

fn service() -> Vec<Op> {
    let key = FrontendKey { address: VIP.into(), protocol: Protocol::Udp, port: PORT };
    let frontend = Frontend {
        id: 1,
        node_port: 30_053,
        table: Some(0),
        affinity_seconds: 0,
        ranges: None,
        log: false,
    };
    let snat =
        Snat { address: IpAddr::from([203, 0, 113, 2]), low: 1_024, high: 65_535, shared: false };
    let slots: Vec<BackendId> = (0..BACKENDS).cycle().take(TABLE_SLOTS).collect();
    let mut ops = vec![Op::PutLeg(LOOPBACK, 0), Op::PutSnat(0, snat)];
    ops.extend((0..BACKENDS).zip(101_u8..).map(|(id, last)| Op::PutBackend(id, backend(last))));
    ops.extend([
        Op::PutTable(0, slots.into()),
        Op::PutIdentity(1, key),
        Op::PutVip(VIP.into(), VipEntry { kind: VipKind::Virtual, legs: u32::MAX }),
        Op::PutFrontend(key, frontend),
    ]);
    ops
}

fn backend(last: u8) -> Backend {
    Backend {
        address: IpAddr::from([203, 0, 113, last]),
        ifindex: LOOPBACK,
        macs: Some(NextHop { destination: [0; 6], source: [0; 6] }),
        gateway: None,
        mtu: 1_500,
        snat: (0, 1),
        state: BackendMode::Active,
    }
}

/// A datagram without payload to the VIP; its checksums are a nonsense that is not zero, for the
/// program changes them by what changes, and never verifies.
fn frame(client: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x45, 0, 0, 28, 0, 1, 0x40, 0, 64, Protocol::Udp.number(), 0x12, 0x34]);
    frame.extend(client.octets());
    frame.extend(VIP.octets());
    frame.extend(port.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend([0, 8, 0x12, 0x34]);
    frame
}
