/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* Taking away what is over. User space walks the tables in batches and names candidates in
 * sweep_keys; what is deleted is decided here and now, so that a packet in between saves its flow.
 */

#include "flow.h"

static __always_inline bool sweep_flow(const struct flow_key *key, const struct sweep *sweep)
{
    struct flow *flow = bpf_map_lookup_elem(&flows, key);
    if (!flow)
        return false;
    if (sweep->kind == SWEEP_EXPIRED &&
        !flow_expired(flow, flow_reply(flow, key->protocol), key->protocol, sweep->now))
        return false;
    return flow_delete(key, flow);
}

/* A reverse entry that its forward entry does not lead to. The two are created one after the other,
 * so a young one is left alone. */
static __always_inline bool sweep_orphan(const struct reply_key *key, const struct sweep *sweep)
{
    struct reply *reply = bpf_map_lookup_elem(&replies, key);
    if (!reply || (__s32)(sweep->now - reply->last_seen) < 2)
        return false;
    struct flow_key forward;
    flow_key_of_reply(&forward, reply, key->protocol);
    struct flow *flow = bpf_map_lookup_elem(&flows, &forward);
    if (flow && flow_leads_to(flow, key, reply))
        return false;
    return !bpf_map_delete_elem(&replies, key);
}

__noinline int sweep_one(__u32 index, struct sweep *sweep)
{
    struct flow_key *named = bpf_map_lookup_elem(&sweep_keys, &index);
    if (!named || !sweep)
        return 0;
    if (sweep->kind != SWEEP_ORPHANS)
        return sweep_flow(named, sweep);
    /* The two kinds of keys are of one size. */
    struct reply_key key;
    __builtin_memcpy(&key, named, sizeof(key));
    return sweep_orphan(&key, sweep);
}

SEC("syscall")
int read_clock(struct clock *context)
{
    context->monotonic = bpf_ktime_get_ns();
    context->jiffies = bpf_jiffies64();
    return 0;
}

SEC("syscall")
int sweep(struct sweep *context)
{
    struct sweep sweep = {.count = context->count, .kind = context->kind, .now = now_seconds()};
    for (__u32 i = 0; i < SWEEP_BATCH; i++) {
        if (i >= sweep.count)
            break;
        sweep.deleted += sweep_one(i, &sweep);
    }
    context->deleted = sweep.deleted;
    context->now = sweep.now;
    return 0;
}
