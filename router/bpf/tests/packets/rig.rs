//! The program in the kernel, in a network namespace of its own, fed packet by packet.

use std::{
    cell::Cell, collections::BTreeSet, mem, net::IpAddr, ops::Range, os::fd::AsFd as _,
    process::Command, sync::Mutex, thread,
};

use libbpf_rs::{
    Map, MapCore as _, MapFlags, Object, ObjectBuilder, ProgramInput, ProgramMut, TC_INGRESS,
    TcHookBuilder,
};
use nix::{
    sched::{CloneFlags, unshare},
    sys::signal::{SigSet, Signal},
    time::{ClockId, clock_gettime},
};
use roadstead_router_bpf::REASONS;

use crate::{
    frame::Mac,
    world::{self, Settings},
};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nat.bpf.o"));

/// Linux 6.18, include/uapi/linux/bpf.h.
const BPF_F_TEST_SKB_CHECKSUM_COMPLETE: u32 = 1 << 2;

/// The two interfaces with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// Towards clients.
    Lan,
    /// Towards nodes.
    Rack,
}

/// What the program decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not ours: the next program or the host's stack.
    Pass,
    /// Dropped.
    Drop,
    /// Sent out of a leg.
    Redirect,
}

/// What came of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) frame: Vec<u8>,
    /// Labels of the reasons that were counted.
    pub(crate) counted: Vec<&'static str>,
}

impl Outcome {
    /// Asserts that the packet is left to the host as it came.
    pub(crate) fn assert_untouched(&self, frame: &[u8], why: &str) {
        assert_eq!(self.verdict, Verdict::Pass, "{why}");
        assert_eq!(self.frame, frame, "{why}");
        assert!(self.counted.is_empty(), "{why}: {:?}", self.counted);
    }

    /// Asserts that the packet is dropped for one reason.
    pub(crate) fn assert_dropped(&self, reason: &str, why: &str) {
        assert_eq!((self.verdict, &self.counted[..]), (Verdict::Drop, &[reason][..]), "{why}");
    }
}

/// A loaded program whose maps are as they were when it was loaded.
struct Fresh {
    object: Object,
    settings: Vec<u8>,
}

/// Loading costs more than most tests: what one test has used, the next one gets, emptied.
static POOL: Mutex<Vec<Fresh>> = Mutex::new(Vec::new());

/// One loaded program with its maps.
pub(crate) struct Rig {
    /// Gone only while it is given back.
    fresh: Option<Fresh>,
    legs: [(u32, Mac); 2],
    /// Elements written, by map and key.
    written: BTreeSet<(&'static str, Vec<u8>)>,
    /// What had been counted before.
    before: Vec<u64>,
    /// Real packets may still come, so the maps are not given back.
    attached: Cell<bool>,
}

impl Fresh {
    fn load() -> Self {
        // A copy of its own is aligned as the ELF reader needs it.
        let object = OBJECT.to_vec();
        let object = ObjectBuilder::default().open_memory(&object).expect("open");
        let object = object.load().expect("load");
        let settings = {
            let map = object.maps().find(|map| map.name() == ".data.settings").expect("settings");
            map.lookup(&[0; 4], MapFlags::ANY).expect("lookup").expect("one element")
        };
        Self { object, settings }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.attached.get() || thread::panicking() {
            return;
        }
        self.empty();
        if let Some(fresh) = self.fresh.take() {
            POOL.lock().expect("no test holds it").push(fresh);
        }
    }
}

impl Rig {
    /// A fresh namespace with both legs, and the program with empty maps.
    ///
    /// # Panics
    /// Without root, and where the kernel refuses the program.
    pub(crate) fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of our own: run as root");
        // The verifier gives up (EAGAIN) when a signal arrives, and a child of another test that
        // ends while that test spawns the next one makes one arrive here.
        SigSet::from(Signal::SIGCHLD).thread_block().expect("a known signal");
        make_legs();
        let pooled = POOL.lock().expect("no test holds it").pop();
        let mut rig = Self {
            fresh: Some(pooled.unwrap_or_else(Fresh::load)),
            legs: [leg("lan"), leg("rack")],
            written: BTreeSet::new(),
            before: Vec::new(),
            attached: Cell::new(false),
        };
        rig.before = rig.drops();
        rig
    }

    /// The index of a leg.
    pub(crate) fn ifindex(&self, leg: Leg) -> u32 {
        self.legs[leg as usize].0
    }

    /// The MAC address of a leg.
    pub(crate) fn mac(&self, leg: Leg) -> Mac {
        self.legs[leg as usize].1
    }

    /// Nanoseconds since boot.
    pub(crate) fn boottime(&self) -> u64 {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("the clock");
        u64::try_from(now.tv_sec() * 1_000_000_000 + now.tv_nsec()).expect("after boot")
    }

    /// Answers for an address on a leg.
    pub(crate) fn answer(&mut self, address: IpAddr, leg: Leg, expires: Option<u64>) {
        let mut value = expires.unwrap_or(0).to_ne_bytes().to_vec();
        value.extend(self.mac(leg));
        value.extend([0; 2]);
        let key = self.answer_key(address, leg);
        self.update("answers", &key, &value);
    }

    /// Ends that.
    pub(crate) fn silence(&mut self, address: IpAddr, leg: Leg) {
        let key = self.answer_key(address, leg);
        self.delete("answers", &key);
    }

    /// Writes an element of a map.
    pub(crate) fn update(&mut self, map: &'static str, key: &[u8], value: &[u8]) {
        self.map(map).update(key, value, MapFlags::ANY).expect("update");
        self.written.insert((map, key.to_vec()));
    }

    /// Deletes an element of a map.
    pub(crate) fn delete(&mut self, map: &str, key: &[u8]) {
        self.map(map).delete(key).expect("delete");
    }

    /// Reads an element of a map.
    pub(crate) fn lookup(&self, map: &str, key: &[u8]) -> Option<Vec<u8>> {
        self.map(map).lookup(key, MapFlags::ANY).expect("lookup")
    }

    /// Makes every element of a map as old as if `seconds` had passed: `at` is where its value has the
    /// time it was last seen.
    pub(crate) fn age(&mut self, map: &'static str, at: Range<usize>, seconds: u32) {
        let keys: Vec<Vec<u8>> = self.map(map).keys().collect();
        assert!(!keys.is_empty(), "{map} is empty");
        for key in keys {
            let mut value = self.lookup(map, &key).expect("it was there");
            let seen = u32::from_ne_bytes(value[at.clone()].try_into().expect("4 bytes"));
            value[at.clone()].copy_from_slice(&seen.wrapping_sub(seconds).to_ne_bytes());
            self.update(map, &key, &value);
        }
    }

    /// Keys and values of a map.
    pub(crate) fn elements(&self, map: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let map = self.map(map);
        let value = |key: &Vec<u8>| map.lookup(key, MapFlags::ANY).expect("lookup");
        map.keys().filter_map(|key| value(&key).map(|value| (key, value))).collect()
    }

    /// Forgets every flow and fragment, and refills the rate limits.
    pub(crate) fn forget(&mut self) {
        for map in ["flows", "replies", "fragments"] {
            self.clear(map);
        }
        let entered = self.lookup(".data.state", &[0; 4]).expect("one element");
        let next = u32::from_ne_bytes(entered[..4].try_into().expect("4 bytes"));
        for slot in 0..next {
            self.update("half_open", &slot.to_ne_bytes(), &[0; 24]);
        }
        self.update(".data.state", &[0; 4], &vec![0; entered.len()]);
    }

    /// Leaves nothing of a rate limit: `limit` is one of `enum limit`.
    pub(crate) fn use_up_limit(&mut self, limit: usize) {
        let mut state = self.lookup(".data.state", &[0; 4]).expect("one element");
        let at = 8 + limit * 8;
        state[at..at + 8].copy_from_slice(&(u64::MAX / 2).to_ne_bytes());
        self.update(".data.state", &[0; 4], &state);
    }

    fn clear(&mut self, map: &str) {
        for (key, _) in self.elements(map) {
            self.delete(map, &key);
        }
    }

    /// Makes the maps what they were when the program was loaded.
    fn empty(&mut self) {
        self.forget();
        for map in ["vips", "frontends", "affinities", "ranges", "answers"] {
            self.clear(map);
        }
        let settings = self.fresh().settings.clone();
        self.update(".data.settings", &[0; 4], &settings);
        let arrays = ["identities", "backends", "snats", "table_refs", "tables", "sweep_keys"];
        for (map, key) in mem::take(&mut self.written) {
            if arrays.contains(&map) {
                let length = usize::try_from(self.map(map).value_size()).expect("a size");
                self.update(map, &key, &vec![0; length]);
            }
        }
    }

    /// Makes every flow as idle as if `seconds` had passed.
    pub(crate) fn idle(&mut self, seconds: u32) {
        self.age("flows", 8..12, seconds);
        self.age("replies", 28..32, seconds);
    }

    /// Runs the sweep over every flow; how many it deleted.
    pub(crate) fn sweep(&mut self) -> u32 {
        let keys: Vec<Vec<u8>> = self.map("flows").keys().collect();
        for (index, key) in (0_u32..).zip(&keys) {
            self.update("sweep_keys", &index.to_ne_bytes(), key);
        }
        let count = u32::try_from(keys.len()).expect("few");
        // `struct sweep`: count, deleted, now, kind; 1 is SWEEP_EXPIRED.
        let mut context: Vec<u8> = [count, 0, 0, 1].map(u32::to_ne_bytes).concat();
        let input = ProgramInput { context_in: Some(&mut context), ..ProgramInput::default() };
        self.named("sweep").test_run(input).expect("test run");
        u32::from_ne_bytes(context[4..8].try_into().expect("4 bytes"))
    }

    /// Elements in a map.
    pub(crate) fn count(&self, map: &str) -> usize {
        self.map(map).keys().count()
    }

    /// Changes the program's settings.
    pub(crate) fn settings(&mut self, change: impl FnOnce(&mut Settings<'_>)) {
        let key = 0_u32.to_ne_bytes();
        let mut bytes = self.lookup(".data.settings", &key).expect("one element");
        change(&mut Settings(&mut bytes));
        self.update(".data.settings", &key, &bytes);
    }

    fn answer_key(&self, address: IpAddr, leg: Leg) -> Vec<u8> {
        [&world::address(address)[..], &self.ifindex(leg).to_ne_bytes(), &[0; 4]].concat()
    }

    fn fresh(&self) -> &Fresh {
        self.fresh.as_ref().expect("given back only at the end")
    }

    fn map(&self, name: &str) -> Map<'_> {
        self.fresh()
            .object
            .maps()
            .find(|map| map.name().to_string_lossy().ends_with(name))
            .expect("such a map")
    }

    /// Sends a frame into a leg.
    pub(crate) fn send(&self, leg: Leg, frame: &[u8]) -> Outcome {
        self.send_super(leg, frame, 0)
    }

    /// Sends a super-packet that will be cut into segments of `gso_size` bytes of payload.
    pub(crate) fn send_super(&self, leg: Leg, frame: &[u8], gso_size: u32) -> Outcome {
        let before = self.drops();
        let (verdict, frame) = self.run(leg, frame, gso_size);
        let counted = self.counted_since(&before);
        Outcome { verdict, frame, counted }
    }

    pub(crate) fn run(&self, leg: Leg, frame: &[u8], gso_size: u32) -> (Verdict, Vec<u8>) {
        self.try_run(leg, frame, gso_size, 0).expect("test run")
    }

    /// Sends a frame of which the hardware has taken a sum (`CHECKSUM_COMPLETE`): the sum must be
    /// that of the frame that comes out. A kernel that cannot tell sends it without.
    pub(crate) fn send_summed(&self, leg: Leg, frame: &[u8]) -> (Verdict, Vec<u8>) {
        match self.try_run(leg, frame, 0, BPF_F_TEST_SKB_CHECKSUM_COMPLETE) {
            Err(error) if error.kind() == libbpf_rs::ErrorKind::InvalidInput => {
                self.run(leg, frame, 0)
            }
            result => result.expect("the sum is right"),
        }
    }

    fn try_run(
        &self,
        leg: Leg,
        frame: &[u8],
        gso_size: u32,
        flags: u32,
    ) -> libbpf_rs::Result<(Verdict, Vec<u8>)> {
        let mut context = context(self.ifindex(leg), gso_size);
        let mut out = vec![0; frame.len() + 256];
        let input = ProgramInput {
            context_in: Some(&mut context),
            data_in: Some(frame),
            data_out: Some(&mut out),
            flags,
            ..ProgramInput::default()
        };
        let output = self.named("ingress").test_run(input)?;
        let verdict = match output.return_value.cast_signed() {
            -1 | 0 => Verdict::Pass,
            2 => Verdict::Drop,
            7 => Verdict::Redirect,
            other => panic!("verdict {other}"),
        };
        Ok((verdict, output.data.expect("the frame").to_vec()))
    }
}

impl Rig {
    /// Attaches the program to a leg, for real packets.
    pub(crate) fn attach(&self, leg: Leg) {
        self.attached.set(true);
        let program = self.named("ingress");
        let mut builder = TcHookBuilder::new(program.as_fd());
        let ifindex = self.ifindex(leg).cast_signed();
        let mut hook = builder.ifindex(ifindex).handle(1).priority(1).hook(TC_INGRESS);
        hook.create().expect("clsact").attach().expect("attach");
    }

    /// The reasons counted so far.
    pub(crate) fn counted(&self) -> Vec<&'static str> {
        self.counted_since(&self.before)
    }

    fn counted_since(&self, before: &[u64]) -> Vec<&'static str> {
        let counts = self.drops().into_iter().zip(before).zip(REASONS);
        counts.filter(|((now, before), _)| now != *before).map(|(_, reason)| reason.label).collect()
    }

    fn named(&self, name: &str) -> ProgramMut<'_> {
        self.fresh().object.progs_mut().find(|program| program.name() == name).expect("the program")
    }

    /// Packets counted so far by reason.
    fn drops(&self) -> Vec<u64> {
        let drops = self.map("drops");
        (0..u32::try_from(REASONS.len()).expect("few"))
            .map(|reason| {
                let each = drops.lookup_percpu(&reason.to_ne_bytes(), MapFlags::ANY);
                let each = each.expect("lookup").expect("an array has every element");
                each.iter()
                    .map(|one| u64::from_ne_bytes(one[..8].try_into().expect("8 bytes")))
                    .sum()
            })
            .collect()
    }
}

/// `struct __sk_buff` (include/uapi/linux/bpf.h) with what a test may set.
fn context(ifindex: u32, gso_size: u32) -> [u8; 192] {
    let mut context = [0; 192];
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    context[176..180].copy_from_slice(&gso_size.to_ne_bytes());
    context
}

/// Two veth pairs.
fn make_legs() {
    for name in ["lan", "rack"] {
        ip(&format!("link add {name} up type veth peer name {name}-peer"));
    }
}

/// Index and MAC of an interface.
pub(crate) fn leg(name: &str) -> (u32, Mac) {
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
