//! The maps' keys and values as `c/layout.h` has them; `layout/tests.rs` compares the two.
//!
//! Addresses are 16 bytes in network order, IPv4 as `::ffff:a.b.c.d`; [`Port`]s are in network
//! order, everything else in the machine's.
#![expect(unsafe_code, reason = "plain values are read from and written as bytes")]

use std::net::{IpAddr, Ipv6Addr};

use roadstead_router_core::maps::Mac;

#[cfg(test)]
mod tests;

/// A value that is no more than its bytes.
///
/// # Safety
/// The type is `repr(C)` or an integer, has no padding between or behind its fields, and every bit
/// pattern is a value.
pub(crate) unsafe trait Plain: Copy {
    /// The bytes.
    fn bytes(&self) -> &[u8] {
        // SAFETY: the implementer has no padding, so every byte is initialised.
        unsafe { std::slice::from_raw_parts((&raw const *self).cast(), size_of::<Self>()) }
    }

    /// A value from bytes; `None` where there are fewer than it has.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..size_of::<Self>())?;
        // SAFETY: the bytes are there, every pattern is a value, and the read is unaligned.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

// SAFETY: an integer.
unsafe impl Plain for u8 {}
// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: an integer.
unsafe impl Plain for u64 {}

/// Declares structs that are [`Plain`]: the compiler checks that their fields fill them.
macro_rules! plain {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        $vis struct $name { $($(#[$field_meta])* pub(crate) $field: $type,)* }

        const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$type>())*, "padding");
        // SAFETY: `repr(C)`, made of plain fields, and no larger than they are together.
        unsafe impl Plain for $name {}

        #[cfg(test)]
        impl $name {
            /// Where each field is.
            pub(crate) const FIELDS: &[(&str, usize)] =
                &[$((stringify!($field), std::mem::offset_of!($name, $field)),)*];
        }
    )*};
}

/// An address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C, align(8))]
pub(crate) struct Address(pub(crate) [u8; 16]);

// SAFETY: sixteen bytes, aligned to eight, no padding.
unsafe impl Plain for Address {}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        })
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Ipv6Addr::from(address.0).to_canonical()
    }
}

/// A port in network order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub(crate) struct Port(u16);

impl Port {
    pub(crate) const ZERO: Self = Self(0);
}

impl From<u16> for Port {
    fn from(port: u16) -> Self {
        Self(port.to_be())
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> Self {
        Self::from_be(port.0)
    }
}

/// Slots of a table's element; [`roadstead_router_core::maps::TABLE_SLOTS`] of them are used.
pub(crate) const TABLE_ELEMENT: usize = 16_384;
/// Most backends that a table can name.
pub(crate) const BACKENDS: usize = 4_096;
/// Legs.
pub(crate) const LEGS: usize = 32;
/// Most SNAT addresses.
pub(crate) const SNAT_ADDRESSES: u32 = 64;
/// Classes of addresses in [`Settings`].
pub(crate) const ADDRESS_CLASSES: usize = 16_384;
/// A frontend without a table.
pub(crate) const NO_TABLE: u32 = u32::MAX;
/// A frontend without source ranges.
pub(crate) const NO_RANGES: u32 = u32::MAX;

/// `enum vip_kind`.
pub(crate) mod vip_kind {
    pub(crate) const VIRTUAL: u32 = 1;
    pub(crate) const HOST: u32 = 2;
}

/// `enum frontend_flags`.
pub(crate) const FRONTEND_LOG: u16 = 1;

/// `enum backend_mode`.
pub(crate) mod mode {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const ACTIVE: u8 = 1;
    pub(crate) const DOUBTFUL: u8 = 2;
    pub(crate) const GONE: u8 = 3;
}

/// `enum backend_flags`.
pub(crate) mod backend_flag {
    pub(crate) const RESOLVED: u8 = 1;
    pub(crate) const GATEWAY: u8 = 2;
}

/// `enum flow_state`.
pub(crate) mod flow_state {
    pub(crate) const ESTABLISHED: u32 = 2;
    pub(crate) const CLIENT_FIN: u32 = 4;
    pub(crate) const NODE_FIN: u32 = 8;
    pub(crate) const NODE_CLOSED_FIRST: u32 = 16;
    pub(crate) const RESET: u32 = 32;
    pub(crate) const RESET_IDLE: u32 = 64;
}

/// `enum event_kind`.
pub(crate) mod event_kind {
    pub(crate) const NEW_FLOW: u32 = 1;
    pub(crate) const REFUSED: u32 = 2;
    pub(crate) const UNANSWERED: u32 = 3;
    pub(crate) const SNAT_EXHAUSTED: u32 = 4;
}

/// `enum address_class`.
pub(crate) mod class {
    pub(crate) const VIP: u8 = 1;
    pub(crate) const SNAT: u8 = 2;
}

plain! {
    /// `struct vip`.
    pub(crate) struct Vip {
        kind: u32,
        legs: u32,
    }

    /// `struct frontend_key`; all zero: no identity.
    pub(crate) struct FrontendKey {
        address: Address,
        port: Port,
        protocol: u8,
        pad: [u8; 5],
    }

    /// `struct frontend`.
    pub(crate) struct Frontend {
        id: u32,
        table: u32,
        ranges: u32,
        affinity_seconds: u32,
        node_port: Port,
        flags: u16,
    }

    /// `struct backend`.
    pub(crate) struct Backend {
        address: Address,
        gateway: Address,
        ifindex: u32,
        destination_mac: Mac,
        source_mac: Mac,
        mtu: u16,
        snat_first: u16,
        snat_count: u16,
        mode: u8,
        flags: u8,
    }

    /// `struct snat`.
    pub(crate) struct Snat {
        address: Address,
        low: u16,
        high: u16,
        shared: u8,
        present: u8,
        pad: u16,
    }

    /// `struct maglev_table`.
    pub(crate) struct MaglevTable {
        slots: [u16; TABLE_ELEMENT],
        members: [u64; BACKENDS / 64],
    }

    /// `struct range_key`.
    pub(crate) struct RangeKey {
        prefix_length: u32,
        set: u32,
        address: Address,
    }

    /// `struct flow_key`.
    pub(crate) struct FlowKey {
        client: Address,
        frontend: u32,
        client_port: Port,
        protocol: u8,
        pad: u8,
    }

    /// `struct flow`.
    pub(crate) struct Flow {
        backend: u16,
        snat: u16,
        snat_port: Port,
        node_port: Port,
        last_seen: u32,
        state: u32,
    }

    /// `struct reply_key`.
    pub(crate) struct ReplyKey {
        node: Address,
        node_port: Port,
        snat_port: Port,
        snat: u16,
        protocol: u8,
        pad: u8,
    }

    /// `struct reply`.
    pub(crate) struct Reply {
        client: Address,
        client_port: Port,
        client_mac: Mac,
        frontend_flags: u32,
        last_seen: u32,
        number: u32,
        backend: u16,
        leg: u8,
        pad: u8,
    }

    /// `struct answer_key`.
    pub(crate) struct AnswerKey {
        address: Address,
        ifindex: u32,
        pad: u32,
    }

    /// `struct answer`.
    pub(crate) struct Answer {
        expires: u64,
        mac: Mac,
        pad: [u8; 2],
    }

    /// `struct frontend_counters`.
    pub(crate) struct FrontendCounters {
        flows: u64,
        refused: u64,
    }

    /// `struct backend_counters`.
    pub(crate) struct BackendCounters {
        flows: u64,
        answered: u64,
        resets: u64,
        unanswered: u64,
    }

    /// `struct event`.
    pub(crate) struct Event {
        time: u64,
        client: Address,
        kind: u32,
        frontend: u32,
        client_port: Port,
        node_port: Port,
        snat_port: Port,
        snat: u16,
        backend: u16,
        protocol: u8,
        pad: [u8; 5],
    }

    /// `struct leg`.
    pub(crate) struct Leg {
        ifindex: u32,
        mtu: u16,
        mac: Mac,
    }

    /// `struct sweep`.
    pub(crate) struct Sweep {
        count: u32,
        deleted: u32,
        now: u32,
        kind: u32,
    }

    /// `struct clock`.
    pub(crate) struct Clock {
        jiffies: u64,
        monotonic: u64,
    }
}

/// `enum sweep_kind`.
pub(crate) mod sweep_kind {
    pub(crate) const EXPIRED: u32 = 1;
    pub(crate) const ORPHANS: u32 = 2;
}

/// Keys at most in one run of the sweep program.
pub(crate) const SWEEP_BATCH: usize = 4_096;

/// `struct settings`. Shared with the kernel: only ever read and written field by field, volatile.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) hz: u32,
    pub(crate) ranges_generation: u32,
    pub(crate) snat_count: u32,
    pub(crate) half_open_budget: u32,
    pub(crate) timeouts: Timeouts,
    pub(crate) legs: [Leg; LEGS],
    pub(crate) classes: [u8; ADDRESS_CLASSES],
    pub(crate) netns_cookie: u64,
    pub(crate) frontends_generation: u32,
    pub(crate) pad: u32,
    pub(crate) lease: u64,
}

/// How long flows live without a packet, in seconds: RFC 5382 for TCP, RFC 4787 for UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Timeouts {
    /// TCP before the handshake is complete.
    pub tcp_half_open: u32,
    /// TCP established (RFC 5382 REQ-5: at least 2 h 4 min).
    pub tcp_established: u32,
    /// TCP of which the node has closed its side, or that was reset while idle (RFC 5382 REQ-5: at
    /// least 4 min).
    pub tcp_closing: u32,
    /// TCP of which both sides have closed, or that was reset.
    pub tcp_closed: u32,
    /// The same where the node closed first and keeps TIME_WAIT.
    pub tcp_held: u32,
    /// UDP: one question, answered once at most (RFC 4787 REQ-5 a).
    pub udp_unanswered: u32,
    /// UDP that either side has carried on with after an answer (RFC 4787 REQ-5: at least 2 min).
    pub udp_answered: u32,
    /// Ports of a first fragment.
    pub fragment: u32,
}
