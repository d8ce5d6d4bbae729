//! Live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`), as root, in the network namespace of the caller:
//!
//! ```text
//! live send INTERFACE COUNT FLOWS FIRST_PORT FRAME   the frame COUNT times, as if it had come by the
//!                                                    interface, with FLOWS source ports in turn;
//!                                                    prints nanoseconds per frame
//! live redirect FROM TO                              has all that comes by FROM leave by TO
//! live discard INTERFACE                             has all that comes by it dropped
//! ```
//!
//! FRAME is hexadecimal. All of it runs on one core, with everything that the frames cause there. The
//! first frames are not measured. The last two say `attached` and go on until they are ended.

use std::{env, error::Error, os::fd::AsFd as _};

use libbpf_rs::{
    MapCore as _, MapFlags, Object, ObjectBuilder, OpenObject, ProgramInput, ProgramMut,
};
use nix::{
    net::if_::if_nametoindex,
    sched::{CpuSet, sched_setaffinity},
    unistd::{Pid, pause},
};
use roadstead_router_bpf::attach_program;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// `LONGEST` of c/generate.bpf.c.
const LONGEST: usize = 88;
/// Where the source port is, without options or extension headers: (EtherType, offset).
const PORTS: [([u8; 2], usize); 2] = [([0x08, 0x00], 34), ([0x86, 0xdd], 54)];
/// `BPF_F_TEST_XDP_LIVE_FRAMES` (include/uapi/linux/bpf.h).
const LIVE_FRAMES: u32 = 1 << 1;
/// Frames before the clock starts: a multiple of `BATCH` of c/generate.bpf.c.
const WARM_UP: u32 = 2_048;

/// `wanted` of c/generate.bpf.c.
#[derive(Default)]
struct Wanted {
    frame: Vec<u8>,
    flows: u32,
    leave_by: u32,
    first_port: u16,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["send", interface, count, flows, first_port, frame] => {
            let wanted = Wanted {
                frame: from_hex(frame)?,
                flows: flows.parse()?,
                first_port: first_port.parse()?,
                ..Wanted::default()
            };
            send(interface, count.parse()?, &wanted)
        }
        ["redirect", from, to] => stay("redirect", from, if_nametoindex(*to)?),
        ["discard", interface] => stay("discard", interface, 0),
        _ => Err("usage: live send|redirect|discard …: see the head of examples/live.rs".into()),
    }
}

fn send(interface: &str, count: u32, wanted: &Wanted) -> Result<()> {
    let ifindex = if_nametoindex(interface)?;
    stay_on_one_core()?;
    let mut object = loaded(wanted)?;
    let link = program(&mut object, "pass")?.attach_xdp(i32::try_from(ifindex)?)?;
    let mut context = context(wanted.frame.len(), ifindex)?;
    let input = ProgramInput {
        data_in: Some(&wanted.frame),
        context_in: Some(&mut context),
        flags: LIVE_FRAMES,
        repeat: count,
        ..ProgramInput::default()
    };
    program(&mut object, "generate")?.test_run(input)?;
    println!("{:.1}", measured(&object)?);
    link.detach()?;
    Ok(())
}

/// Nanoseconds per frame: `measured` of c/generate.bpf.c.
fn measured(object: &Object) -> Result<f64> {
    let map = object.maps().find(|map| map.name().to_string_lossy().ends_with(".bss"));
    let map = map.ok_or("the program has no variables")?;
    let bytes = map.lookup(&[0; 4], MapFlags::ANY)?.ok_or("its variables have no value")?;
    let [first, last] = [bytes.get(..8), bytes.get(8..16)].map(|time| {
        Ok::<_, Box<dyn Error>>(u64::from_ne_bytes(time.ok_or("no times")?.try_into()?))
    });
    let frames = u32::from_ne_bytes(bytes.get(16..20).ok_or("no count")?.try_into()?);
    if frames == 0 {
        return Err(format!("more than {WARM_UP} frames are wanted").into());
    }
    let span = std::time::Duration::from_nanos(last?.saturating_sub(first?));
    Ok(span.as_secs_f64() * 1e9 / f64::from(frames))
}

/// Attached as long as we live.
fn stay(name: &str, interface: &str, leave_by: u32) -> Result<()> {
    let mut object = loaded(&Wanted { leave_by, ..Wanted::default() })?;
    let program = program(&mut object, name)?;
    let _link = attach_program(program.as_fd(), if_nametoindex(interface)?)?;
    println!("attached");
    pause();
    Ok(())
}

fn loaded(wanted: &Wanted) -> Result<Object> {
    let mut object: OpenObject =
        ObjectBuilder::default().open_file(concat!(env!("OUT_DIR"), "/generate.bpf.o"))?;
    let mut maps = object.maps_mut();
    let mut constants = maps
        .find(|map| map.name().to_string_lossy().ends_with(".rodata"))
        .ok_or("no constants in the program")?;
    let bytes = constants.initial_value_mut().ok_or("the constants have no value")?;
    let value = wanted.bytes()?;
    bytes.get_mut(..value.len()).ok_or("the constants are shorter")?.copy_from_slice(&value);
    drop(maps);
    Ok(object.load()?)
}

fn program<'o>(object: &'o mut Object, name: &str) -> Result<ProgramMut<'o>> {
    let found = object.progs_mut().find(|program| program.name() == name);
    found.ok_or_else(|| format!("no program {name}").into())
}

impl Wanted {
    fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = self.frame.clone();
        if bytes.len() > LONGEST {
            return Err(format!("a frame has at most {LONGEST} octets").into());
        }
        bytes.resize(LONGEST, 0);
        bytes.extend(self.flows.to_ne_bytes());
        bytes.extend(WARM_UP.to_ne_bytes());
        bytes.extend(self.leave_by.to_ne_bytes());
        bytes.extend(self.first_port.to_ne_bytes());
        bytes.extend(u16::try_from(self.port_offset()? / 2)?.to_ne_bytes());
        Ok(bytes)
    }

    fn port_offset(&self) -> Result<usize> {
        let Some(of) = self.frame.get(12..14) else { return Ok(0) };
        let found = PORTS.iter().find(|(ethertype, _)| ethertype == of);
        Ok(found.ok_or("the frame is neither IPv4 nor IPv6")?.1)
    }
}

/// `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
fn context(length: usize, ifindex: u32) -> Result<Vec<u8>> {
    let fields = [0, u32::try_from(length)?, 0, ifindex, 0, 0];
    Ok(fields.into_iter().flat_map(u32::to_ne_bytes).collect())
}

fn stay_on_one_core() -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(0)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digits = |at: usize| text.get(at..at + 2).ok_or("an odd number of digits");
    (0..text.len()).step_by(2).map(|at| Ok(u8::from_str_radix(digits(at)?, 16)?)).collect()
}
