//! Running the program on a packet without a wire (`BPF_PROG_TEST_RUN`): tests and benchmarks.

use std::{io, os::fd::AsFd as _, time::Duration};

use crate::{Dataplane, sys};

/// Offsets into `struct __sk_buff` (include/uapi/linux/bpf.h) of what a run may set.
const CONTEXT_SIZE: usize = 192;
const CONTEXT_IFINDEX: usize = 40;
const CONTEXT_GSO_SIZE: usize = 176;
/// Room for what the program may add to a packet.
const HEADROOM: usize = 256;

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// The tc action: -1 (not ours), 2 (dropped), 7 (sent on).
    pub verdict: i32,
    /// The packet afterwards.
    pub packet: Vec<u8>,
    /// Time of one run, the mean of all.
    pub duration: Duration,
}

impl Dataplane {
    /// Runs the ingress program `repeat` times on a frame as if it had come by an interface.
    /// `gso_size` is not 0 for a super-packet. The same buffer is used each time: a program that
    /// changes the packet sees its own changes the next time.
    ///
    /// # Errors
    /// When the kernel refuses the frame.
    pub fn test_run(
        &self,
        frame: &[u8],
        ifindex: u32,
        gso_size: u32,
        repeat: u32,
    ) -> io::Result<TestRun> {
        let mut context = [0; CONTEXT_SIZE];
        put(&mut context, CONTEXT_IFINDEX, ifindex);
        put(&mut context, CONTEXT_GSO_SIZE, gso_size);
        let mut packet = vec![0; frame.len().saturating_add(HEADROOM)];
        let ran =
            sys::test_run(self.ingress.as_fd(), Some((frame, &mut packet)), &mut context, repeat)?;
        packet.truncate(ran.data);
        Ok(TestRun {
            verdict: ran.value.cast_signed(),
            packet,
            duration: Duration::from_nanos(ran.nanoseconds.into()),
        })
    }
}

fn put(context: &mut [u8], offset: usize, value: u32) {
    if let Some(field) = context.get_mut(offset..offset.saturating_add(4)) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
}
