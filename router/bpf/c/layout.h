/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* What the maps hold: the contract between these programs and the Rust side (src/layout.rs, which a
 * test compares with this file's BTF). A change here is a new schema: raise SCHEMA in src/pins.rs.
 *
 * Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. `__be*` is network order,
 * everything else host order. Times are seconds of now_seconds() unless they say otherwise. Every
 * key is written whole, pads zero: hash maps compare bytes. */

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "reasons.h"

#define MAC_LENGTH      6
#define TABLE_SLOTS     16381 /* used of */
#define TABLE_ELEMENT   16384
#define BACKENDS        4096 /* most that a table can name */
#define NO_BACKEND      0xffff
#define NO_TABLE        0xffffffff
#define NO_RANGES       0xffffffff
#define LEGS            32
#define SNAT_ADDRESSES  64 /* most that are looked for */
#define ADDRESS_CLASSES 16384

union address {
    __u8 bytes[16];
    __be32 words[4];
    __u64 halves[2];
};
_Static_assert(sizeof(union address) == 16, "address");

/* --- what is served ------------------------------------------------------------------------- */

enum vip_kind { VIP_VIRTUAL = 1, VIP_HOST = 2 };

struct vip {
    __u32 kind; /* enum vip_kind */
    __u32 legs; /* bit n: visible on the leg with slot n */
};
_Static_assert(sizeof(struct vip) == 8, "vip");

struct frontend_key {
    union address address;
    __be16 port;
    __u8 protocol;
    __u8 pad[5];
};
_Static_assert(sizeof(struct frontend_key) == 24, "frontend_key");

enum frontend_flags { FRONTEND_LOG = 1 };

struct frontend {
    __u32 id;
    __u32 table;            /* index into table_refs, or NO_TABLE */
    __u32 ranges;           /* set of source ranges, or NO_RANGES */
    __u32 affinity_seconds; /* 0 = none */
    __be16 node_port;
    __u16 flags; /* enum frontend_flags */
};
_Static_assert(sizeof(struct frontend) == 20, "frontend");

/* BACKEND_NONE must be zero: the state of an array element never written. */
enum backend_mode { BACKEND_NONE, BACKEND_ACTIVE, BACKEND_DOUBTFUL, BACKEND_GONE };
enum backend_flags { BACKEND_RESOLVED = 1, BACKEND_GATEWAY = 2 };

struct backend {
    union address address;
    union address gateway; /* where BACKEND_GATEWAY */
    __u32 ifindex;
    __u8 destination_mac[MAC_LENGTH]; /* where BACKEND_RESOLVED */
    __u8 source_mac[MAC_LENGTH];
    __u16 mtu;
    __u16 snat_first;
    __u16 snat_count;
    __u8 mode;  /* enum backend_mode */
    __u8 flags; /* enum backend_flags */
};
_Static_assert(sizeof(struct backend) == 56, "backend");

struct snat {
    union address address;
    __u16 low;
    __u16 high;
    __u8 shared;  /* the host's own sockets may use the address too */
    __u8 present; /* zero: an element never written */
    __u16 pad;
};
_Static_assert(sizeof(struct snat) == 24, "snat");

struct maglev_table {
    __u16 slots[TABLE_ELEMENT];   /* a backend or NO_BACKEND */
    __u64 members[BACKENDS / 64]; /* bit n: backend n has a slot */
};

struct range_key {
    __u32 prefix_length; /* 32 for the set, then the bits of the address (IPv4: 96 more) */
    __u32 set;
    union address address;
};
_Static_assert(sizeof(struct range_key) == 24, "range_key");

/* --- flows ---------------------------------------------------------------------------------- */

struct flow_key {
    union address client;
    __u32 frontend;
    __be16 client_port;
    __u8 protocol;
    __u8 pad;
};
_Static_assert(sizeof(struct flow_key) == 24, "flow_key");

/* The state of a flow lives in its forward entry; `flow.state` holds these, and in its upper half
 * the generation of the source ranges that let it pass. Changed by atomic or/and only. */
enum flow_state {
    FLOW_ANSWERED = 1,           /* the node has answered: SYN-ACK, or any UDP */
    FLOW_ESTABLISHED = 2,        /* TCP: the handshake is proved; UDP: more than one exchange */
    FLOW_CLIENT_FIN = 4,         /* the client has closed its side, by numbers that fit */
    FLOW_NODE_FIN = 8,           /* the node has closed its side */
    FLOW_NODE_CLOSED_FIRST = 16, /* so the node keeps TIME_WAIT: the port is held */
    FLOW_RESET = 32,             /* a side has reset it; anything that follows revives it */
    FLOW_RESET_IDLE = 64,        /* the same while it was idle: maybe forged, so told apart */
};
#define FLOW_CLOSED           (FLOW_CLIENT_FIN | FLOW_NODE_FIN)
#define FLOW_RESETS           (FLOW_RESET | FLOW_RESET_IDLE)
#define FLOW_GENERATION_SHIFT 16
#define FLOW_GENERATION       0xffff0000

struct flow {
    __u16 backend;
    __u16 snat;
    __be16 snat_port;
    __be16 node_port;
    __u32 last_seen; /* by the client */
    __u32 state;     /* enum flow_state, generation */
};
_Static_assert(sizeof(struct flow) == 16, "flow");

struct reply_key {
    union address node;
    __be16 node_port;
    __be16 snat_port;
    __u16 snat;
    __u8 protocol;
    __u8 pad;
};
_Static_assert(sizeof(struct reply_key) == 24, "reply_key");

/* What the reply path remembers, so that it touches the forward entry only when something new
 * happens. */
enum reply_flags {
    REPLY_ANSWERED = 1,    /* FLOW_ANSWERED is noted in the forward entry */
    REPLY_CLOSED = 2,      /* the flow is over: the port may be re-used if none is free */
    REPLY_ESTABLISHED = 4, /* FLOW_ESTABLISHED is noted in the forward entry */
    REPLY_TAKEN = 8,       /* the port is about to change hands */
};
#define REPLY_FLAGS          0xff
#define REPLY_FRONTEND_SHIFT 8

struct reply {
    union address client;
    __be16 client_port;
    __u8 client_mac[MAC_LENGTH]; /* the source of the client's latest packet */
    __u32 frontend_flags; /* the frontend; below it enum reply_flags, changed by atomic or/and */
    __u32 last_seen;      /* from the node */
    /* TCP: before the handshake is complete what the client has to acknowledge, afterwards what the
     * node acknowledged last. */
    __u32 number;
    __u16 backend;
    __u8 leg; /* slot of the leg that the client's latest packet came by */
    __u8 pad;
};
_Static_assert(sizeof(struct reply) == 40, "reply");

struct affinity_key {
    union address client;
    __u32 frontend;
    __u32 pad;
};
struct affinity {
    __u32 last_seen;
    __u16 backend;
    __u16 pad;
};
_Static_assert(sizeof(struct affinity_key) == 24, "affinity_key");
_Static_assert(sizeof(struct affinity) == 8, "affinity");

struct fragment_key {
    union address source;
    union address destination;
    __u32 id;
    __u8 protocol; /* IPv6: 0 */
    __u8 pad[3];
};
struct fragment {
    __be16 source_port;
    __be16 destination_port;
    __u32 last_seen;
    __u8 protocol; /* of the transport header, which a later fragment of IPv6 need not name */
    __u8 pad[3];
};
_Static_assert(sizeof(struct fragment_key) == 40, "fragment_key");
_Static_assert(sizeof(struct fragment) == 12, "fragment");

/* Where a socket of the host itself believes to be connected. */
struct host_key {
    __u64 cookie;
    union address node;
    __be16 node_port;
    __u8 pad[6];
};
struct host_peer {
    union address vip;
    __be16 port;
    __u8 pad[6];
};
_Static_assert(sizeof(struct host_key) == 32, "host_key");
_Static_assert(sizeof(struct host_peer) == 24, "host_peer");

/* --- answers -------------------------------------------------------------------------------- */

struct answer_key {
    union address address;
    __u32 ifindex;
    __u32 pad;
};
#define ANSWER_LEASED 1 /* as `expires`: when the lease in the settings does */
struct answer {
    __u64 expires; /* CLOCK_BOOTTIME in nanoseconds; 0 = never */
    __u8 mac[MAC_LENGTH];
    __u8 pad[2];
};
_Static_assert(sizeof(struct answer_key) == 24, "answer_key");
_Static_assert(sizeof(struct answer) == 16, "answer");

/* --- what is counted and told --------------------------------------------------------------- */

struct frontend_counters {
    __u64 flows;   /* new flows */
    __u64 refused; /* clients refused */
};
struct backend_counters {
    __u64 flows;      /* new flows */
    __u64 answered;   /* of them answered by the node */
    __u64 resets;     /* SYNs answered by a reset */
    __u64 unanswered; /* SYNs sent again without an answer */
};

enum event_kind {
    EVENT_NEW_FLOW = 1,
    EVENT_REFUSED = 2,        /* the node answered a SYN with a reset */
    EVENT_UNANSWERED = 3,     /* a SYN was sent again before the node answered */
    EVENT_SNAT_EXHAUSTED = 4, /* no port free */
};

struct event {
    __u64 time; /* CLOCK_BOOTTIME in nanoseconds */
    union address client;
    __u32 kind; /* enum event_kind */
    __u32 frontend;
    __be16 client_port;
    __be16 node_port;
    __be16 snat_port;
    __u16 snat;
    __u16 backend;
    __u8 protocol;
    __u8 pad[5];
};
_Static_assert(sizeof(struct event) == 48, "event");

enum sweep_kind {
    SWEEP_EXPIRED = 1, /* the flows named by their forward keys that are expired */
    SWEEP_ORPHANS = 2, /* the reverse entries named that no forward entry leads to */
};

#define SWEEP_BATCH 4096 /* keys at most in one run */

/* Context of the sweep program. */
struct sweep {
    __u32 count;   /* in: keys in sweep_keys */
    __u32 deleted; /* out */
    __u32 now;     /* out: now_seconds() */
    __u32 kind;    /* in: enum sweep_kind */
};
_Static_assert(sizeof(struct sweep) == 16, "sweep");

/* Context of the clock program: both clocks at one moment. */
struct clock {
    __u64 jiffies;
    __u64 monotonic; /* nanoseconds */
};
_Static_assert(sizeof(struct clock) == 16, "clock");

/* --- settings and state --------------------------------------------------------------------- */

struct leg {
    __u32 ifindex; /* 0: the slot is free */
    __u16 mtu;
    __u8 mac[MAC_LENGTH]; /* mended by the program from the frames that reach it */
};
_Static_assert(sizeof(struct leg) == 12, "leg");

/* Seconds. */
struct timeouts {
    __u32 tcp_half_open;
    __u32 tcp_established;
    __u32 tcp_closing;    /* the node has closed its side, or an idle connection was reset */
    __u32 tcp_closed;     /* both have, or a reset */
    __u32 tcp_held;       /* the node closed first and keeps TIME_WAIT */
    __u32 udp_unanswered; /* or answered once: one exchange */
    __u32 udp_answered;   /* and carried on with */
    __u32 fragment;
};

enum address_class { CLASS_VIP = 1, CLASS_SNAT = 2 };

/* Written by user space through a mapping. */
struct settings {
    __u64 seed; /* of the choice of backends: the same on every edge host */
    __u32 hz;   /* of jiffies */
    __u32 ranges_generation;
    __u32 snat_count;       /* SNAT addresses are snats[0..snat_count) */
    __u32 half_open_budget; /* entries used of half_open */
    struct timeouts timeouts;
    struct leg legs[LEGS];
    /* Bits of enum address_class by a hash of the address: a packet to an address whose class is
     * zero is not ours, which costs no look-up. */
    __u8 classes[ADDRESS_CLASSES];
    __u64 netns_cookie;         /* of the namespace whose own connections are served; 0: none */
    __u32 frontends_generation; /* counts every change of `frontends`, after it */
    __u32 pad;
    __u64 lease; /* until when leased answers are given: CLOCK_BOOTTIME in nanoseconds */
};

/* Rate limits of the answers that the program gives. */
enum limit { LIMIT_REFUSAL, LIMIT_PATH, LIMIT_HOPS, LIMIT_RESET, LIMIT_ECHO };
#define LIMITS 8 /* a power of two: the verifier sees that an index is in bounds */

#define HINTS 8192

/* Written by the program. */
struct state {
    __u32 half_open_next; /* slot of half_open for the next SYN */
    __u32 pad;
    __u64 limits[LIMITS]; /* see limit.h */
    __u64 hints[HINTS];   /* see frontend.h: a generation and, below it, an id plus one */
};
