/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* The maps. The sizes that matter are set by the loader before they are created. */

#include "layout.h"

#define MAP(map_type, map_name, key_type, value_type, entries)                                     \
    struct {                                                                                       \
        __uint(type, map_type);                                                                    \
        __uint(max_entries, entries);                                                              \
        __type(key, key_type);                                                                     \
        __type(value, value_type);                                                                 \
    } map_name SEC(".maps")

MAP(BPF_MAP_TYPE_HASH, vips, union address, struct vip, 1024);
MAP(BPF_MAP_TYPE_HASH, frontends, struct frontend_key, struct frontend, 4096);
MAP(BPF_MAP_TYPE_ARRAY, identities, __u32, struct frontend_key, 4096);
MAP(BPF_MAP_TYPE_ARRAY, backends, __u32, struct backend, 1024);
MAP(BPF_MAP_TYPE_ARRAY, snats, __u32, struct snat, SNAT_ADDRESSES);
/* table_refs holds the element of `tables` plus one, or zero: one write swaps a table. */
MAP(BPF_MAP_TYPE_ARRAY, table_refs, __u32, __u32, 64);
MAP(BPF_MAP_TYPE_ARRAY, tables, __u32, struct maglev_table, 80);
MAP(BPF_MAP_TYPE_HASH, flows, struct flow_key, struct flow, 65536);
MAP(BPF_MAP_TYPE_HASH, replies, struct reply_key, struct reply, 65536);
MAP(BPF_MAP_TYPE_ARRAY, half_open, __u32, struct flow_key, 16384);
MAP(BPF_MAP_TYPE_ARRAY, sweep_keys, __u32, struct flow_key, SWEEP_BATCH);
MAP(BPF_MAP_TYPE_LRU_HASH, affinities, struct affinity_key, struct affinity, 16384);
MAP(BPF_MAP_TYPE_LRU_HASH, fragments, struct fragment_key, struct fragment, 8192);
MAP(BPF_MAP_TYPE_HASH, answers, struct answer_key, struct answer, 4096);
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, drops, __u32, __u64, DROP_REASONS);
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, frontend_counts, __u32, struct frontend_counters, 4096);
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, backend_counts, __u32, struct backend_counters, 1024);

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC); /* the kernel has no other kind */
    __uint(max_entries, 16384);
    __type(key, struct range_key);
    __type(value, __u8);
} ranges SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 256 * 1024);
} events SEC(".maps");

/* Nothing but a pointer brings the type into the BTF, where the Rust side's test looks for it. */
struct event *event_type SEC(".data.types");

/* Seconds by RFC 5382 (TCP), RFC 4787 (UDP) and RFC 791 (reassembly); tests shorten them. */
struct settings settings SEC(".data.settings") = {
    .hz = 250,
    .timeouts =
        {
            .tcp_half_open = 30,
            .tcp_established = 7440,
            .tcp_closing = 240,
            .tcp_closed = 10,
            .tcp_held = 60,
            .udp_unanswered = 30,
            .udp_answered = 180,
            .fragment = 30,
        },
};
struct state state SEC(".data.state") = {};
