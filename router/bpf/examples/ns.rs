//! Nanoseconds per packet by `BPF_PROG_TEST_RUN`, as root: `cargo run --release -p
//! roadstead-router-bpf --example ns`.
//!
//! A test run uses one buffer again and again, so a program that translates a packet would not see
//! the same packet twice. Here VIP and node are the same, and once a flow is open its SNAT address
//! becomes the client's: translation then changes nothing but the hop limit, which lasts for 250 runs
//! and tells afterwards that each of them did all of it. New flows, each in a run of its own, begin
//! while the SNAT address is another: a client that has ours is refused. What is not sent on, or not
//! counted as a flow, is an error and no figure. Prints `name nanoseconds` per line, medians of many
//! batches.

use std::{error::Error, fs, net::IpAddr, path::Path, time::Instant};

use libbpf_rs::{ObjectBuilder, ProgramInput};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use roadstead_model::{Protocol, local::VipKind};
use roadstead_router_bpf::{Dataplane, Options, Pins, Sweeper, load};
use roadstead_router_core::maps::{
    Backend, BackendMode, Capacity, Frontend, FrontendKey, Maps as _, NextHop, Op, Snat,
    TABLE_SLOTS, VipEntry,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const BATCHES: usize = 2_000;
const REPEAT: u32 = 250;
const FLOWS: u32 = 1_000_000;
const NODES: u16 = 40;
const LOOPBACK: u32 = 1;
const PORT: u16 = 80;
const CLIENT_PORT: u16 = 40_000;
const FRONTEND: u32 = 1;
/// Source ports of the new flows.
const NEW: std::ops::Range<u16> = 10_000..30_000;
/// Hop limit of the frames: more than `REPEAT`.
const HOPS: u8 = 255;
/// Verdicts: TC_ACT_REDIRECT, TC_ACT_UNSPEC.
const SENT_ON: i32 = 7;
const NOT_OURS: i32 = -1;
const SYN: u8 = 2;
const ACK: u8 = 16;

fn main() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let directory = tempfile::TempDir::new()?;
    mount(Some("bpf"), directory.path(), Some("bpf"), MsFlags::empty(), none)?;
    let measured = measure(directory.path());
    nix::mount::umount(directory.path())?;
    measured
}

fn measure(filesystem: &Path) -> Result<()> {
    println!("empty {}", empty()?);
    Family::v6()?.million(&Pins::new(filesystem.join("million")))?;
    for family in [Family::v4()?, Family::v6()?] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let pins = Pins::new(filesystem.join(format!("{}{protocol}", family.name)));
            family.measure(&pins, protocol)?;
            fs::remove_dir_all(pins.root())?;
        }
    }
    Ok(())
}

/// The cost of a test run itself.
fn empty() -> Result<u64> {
    let object = concat!(env!("OUT_DIR"), "/empty.bpf.o");
    let object = ObjectBuilder::default().open_file(object)?.load()?;
    let program = object.progs_mut().next().ok_or("no program")?;
    let mut durations = Vec::new();
    for _ in 0..BATCHES {
        let frame = [0; 60];
        let input =
            ProgramInput { data_in: Some(&frame), repeat: REPEAT, ..ProgramInput::default() };
        durations.push(u64::try_from(program.test_run(input)?.duration.as_nanos())?);
    }
    Ok(median(durations))
}

struct Family {
    name: &'static str,
    client: IpAddr,
    snat: IpAddr,
    vip: IpAddr,
    other: IpAddr,
}

impl Family {
    fn v4() -> Result<Self> {
        Ok(Self {
            name: "v4",
            client: "198.51.100.7".parse()?,
            snat: "203.0.113.2".parse()?,
            vip: "192.0.2.10".parse()?,
            other: "203.0.113.9".parse()?,
        })
    }

    fn v6() -> Result<Self> {
        Ok(Self {
            name: "v6",
            client: "2001:db8:7::7".parse()?,
            snat: "2001:db8:2::2".parse()?,
            vip: "2001:db8:1::10".parse()?,
            other: "2001:db8:2::9".parse()?,
        })
    }

    fn measure(&self, pins: &Pins, protocol: Protocol) -> Result<()> {
        let mut dataplane = self.serving(pins, protocol, None)?;
        let name = |what| format!("{what} {} {protocol}", self.name);
        self.open(&dataplane, protocol)?;
        println!("{} {}", name("new"), self.new_flows(&dataplane, protocol)?);
        dataplane.apply(&Op::PutSnat(0, snat(self.client)))?;
        let (client, vip) = ((self.client, CLIENT_PORT), (self.vip, PORT));
        let sent_on = [("established", client, vip), ("reply", vip, client)];
        for (what, from, to) in sent_on {
            let cost = batches(&dataplane, &frame(protocol, from, to, ACK), SENT_ON)?;
            println!("{} {cost}", name(what));
        }
        let foreign = frame(protocol, client, (self.other, PORT), ACK);
        println!("{} {}", name("not-ours"), batches(&dataplane, &foreign, NOT_OURS)?);
        Ok(())
    }

    /// One flow, both ways.
    fn open(&self, dataplane: &Dataplane, protocol: Protocol) -> Result<()> {
        let (client, vip) = ((self.client, CLIENT_PORT), (self.vip, PORT));
        let first = first_flags(protocol);
        run(dataplane, &frame(protocol, client, vip, first), 1, SENT_ON)?;
        let answer = frame(protocol, vip, (self.snat, CLIENT_PORT), first | ACK);
        run(dataplane, &answer, 1, SENT_ON)?;
        run(dataplane, &frame(protocol, client, vip, ACK), 1, SENT_ON).map(drop)
    }

    fn new_flows(&self, dataplane: &Dataplane, protocol: Protocol) -> Result<u64> {
        let before = dataplane.frontend_counters(FRONTEND)?.flows;
        let mut durations = Vec::new();
        for port in NEW {
            let frame =
                frame(protocol, (self.client, port), (self.vip, PORT), first_flags(protocol));
            durations.push(run(dataplane, &frame, 1, SENT_ON)?);
        }
        let begun = dataplane.frontend_counters(FRONTEND)?.flows.saturating_sub(before);
        if begun != u64::try_from(durations.len())? {
            return Err(format!("of {} new flows {begun} were counted", durations.len()).into());
        }
        Ok(median(durations))
    }

    /// A full table: its memory, and how long a walk over it takes, with nothing and with all of it
    /// to delete.
    fn million(&self, pins: &Pins) -> Result<()> {
        println!("maps-bytes {}", self.serving(pins, Protocol::Udp, None)?.memory()?);
        fs::remove_dir_all(pins.root())?;
        // So that none of these flows, which nobody answers, is reclaimed.
        let mut dataplane = self.serving(pins, Protocol::Udp, Some(FLOWS))?;
        self.many_nodes(&mut dataplane)?;
        for client in 0..FLOWS / 50_000 {
            let address = IpAddr::from([0x2001, 0xdb8, 7, 0, 0, 0, 1, u16::try_from(client)?]);
            for port in 10_000..60_000 {
                let frame = frame(Protocol::Udp, (address, port), (self.vip, PORT), 0);
                run(&dataplane, &frame, 1, SENT_ON)?;
            }
        }
        let timed = |dataplane: &Dataplane| -> Result<(u64, u128)> {
            let begun = Instant::now();
            let swept = Sweeper::default().complete(dataplane)?;
            Ok((swept.flows.saturating_add(swept.deleted), begun.elapsed().as_millis()))
        };
        let (flows, walk) = timed(&dataplane)?;
        let mut timeouts = dataplane.timeouts();
        (timeouts.udp_unanswered, timeouts.udp_answered) = (0, 0);
        dataplane.set_timeouts(timeouts);
        let (_, delete) = timed(&dataplane)?;
        println!("flows {flows}\nwalk-ms {walk}\ndelete-ms {delete}");
        drop(dataplane);
        fs::remove_dir_all(pins.root())?;
        Ok(())
    }

    /// So many that each has ports enough.
    fn many_nodes(&self, dataplane: &mut Dataplane) -> Result<()> {
        for id in 0..NODES {
            let address = IpAddr::from([0x2001, 0xdb8, 2, 0, 0, 0, 0, id.saturating_add(1)]);
            let Some(Op::PutBackend(_, backend)) =
                self.service(Protocol::Udp).into_iter().find(|op| matches!(op, Op::PutBackend(..)))
            else {
                return Err("no backend".into());
            };
            dataplane.apply(&Op::PutBackend(id, Backend { address, ..backend }))?;
        }
        let slots: Vec<u16> = (0..NODES).cycle().take(TABLE_SLOTS).collect();
        Ok(dataplane.apply(&Op::PutTable(0, slots.into()))?)
    }

    fn serving(
        &self,
        pins: &Pins,
        protocol: Protocol,
        half_open_budget: Option<u32>,
    ) -> Result<Dataplane> {
        let capacity = Capacity {
            flows: FLOWS,
            vips: 1_024,
            frontends: 4_096,
            backends: 256,
            tables: 64,
            snats: 4,
            ranges: 1_024,
        };
        load(pins, &capacity, &Options { half_open_budget, ..Options::default() })?;
        let mut dataplane = Dataplane::open(pins)?;
        for op in self.service(protocol) {
            dataplane.apply(&op)?;
        }
        Ok(dataplane)
    }

    fn service(&self, protocol: Protocol) -> Vec<Op> {
        let key = FrontendKey { address: self.vip, protocol, port: PORT };
        let frontend = Frontend {
            id: FRONTEND,
            node_port: PORT,
            table: Some(0),
            affinity_seconds: 0,
            ranges: None,
            log: false,
        };
        let backend = Backend {
            address: self.vip,
            ifindex: LOOPBACK,
            macs: Some(NextHop { destination: [0; 6], source: [0; 6] }),
            gateway: None,
            mtu: 1_500,
            snat: (0, 1),
            state: BackendMode::Active,
        };
        vec![
            Op::PutLeg(LOOPBACK, 0),
            Op::PutSnat(0, snat(self.snat)),
            Op::PutBackend(0, backend),
            Op::PutTable(0, vec![0; TABLE_SLOTS].into()),
            Op::PutIdentity(FRONTEND, key),
            Op::PutVip(self.vip, VipEntry { kind: VipKind::Virtual, legs: u32::MAX }),
            Op::PutFrontend(key, frontend),
        ]
    }
}

/// As where it is the host's own: sockets and services of the host are looked for first.
fn snat(address: IpAddr) -> Snat {
    Snat { address, low: 1_024, high: 65_535, shared: true }
}

fn first_flags(protocol: Protocol) -> u8 {
    if protocol == Protocol::Tcp { SYN } else { 0 }
}

fn batches(dataplane: &Dataplane, frame: &[u8], verdict: i32) -> Result<u64> {
    let durations = (0..BATCHES).map(|_| run(dataplane, frame, REPEAT, verdict));
    Ok(median(durations.collect::<Result<_>>()?))
}

/// Nanoseconds of one run; an error where it did not go the way it was to go each time.
fn run(dataplane: &Dataplane, frame: &[u8], repeat: u32, verdict: i32) -> Result<u64> {
    let ran = dataplane.test_run(frame, LOOPBACK, 0, repeat)?;
    let sent_on = if verdict == SENT_ON { repeat } else { 0 };
    let wanted = u32::from(HOPS).checked_sub(sent_on);
    let left = hop_limit(&ran.packet).map(u32::from);
    if ran.verdict != verdict || left != wanted {
        let drops = dataplane.drops()?;
        let counted: Vec<_> = drops.into_iter().filter(|(_, count)| *count > 0).collect();
        return Err(format!(
            "verdict {} instead of {verdict}, hop limit {left:?} instead of {wanted:?} after {repeat} \
             runs; counted: {counted:?}",
            ran.verdict
        )
        .into());
    }
    Ok(u64::try_from(ran.duration.as_nanos())?)
}

fn hop_limit(frame: &[u8]) -> Option<u8> {
    let offset = if frame.get(12) == Some(&8) { 22 } else { 21 };
    frame.get(offset).copied()
}

fn median(mut of: Vec<u64>) -> u64 {
    of.sort_unstable();
    of.get(of.len() / 2).copied().unwrap_or(0)
}

/// A frame without payload. Checksums are left at a nonsense that is not zero: the program changes
/// them by what changes, and never verifies.
fn frame(protocol: Protocol, from: (IpAddr, u16), to: (IpAddr, u16), flags: u8) -> Vec<u8> {
    let mut l4 = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    if protocol == Protocol::Tcp {
        let sequence = u8::from(flags & SYN == 0);
        l4.extend([0, 0, 0, sequence, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0x12, 0x34, 0, 0]);
    } else {
        l4.extend([0, 8, 0x12, 0x34]);
    }
    let mut frame = vec![0; 12];
    match (from.0, to.0) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([8, 0, 0x45, 0, 0]);
            frame.push(20_u8.saturating_add(u8::try_from(l4.len()).unwrap_or(0)));
            frame.extend([0, 1, 0x40, 0, HOPS, protocol.number(), 0x12, 0x34]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0]);
            frame.push(u8::try_from(l4.len()).unwrap_or(0));
            frame.extend([protocol.number(), HOPS]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        _ => {}
    }
    frame.extend(l4);
    frame
}
