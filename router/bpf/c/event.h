/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* What user space is told: passive signals of health, and new flows where a frontend wants a log. A
 * full ring buffer loses events, never packets. */

#include "kernel.h"
#include "parse.h"

__noinline int event_send(const struct flow_key *key, const struct flow *flow, __u32 kind)
{
    if (!key || !flow)
        return 0;
    struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
    if (!event)
        return 0;
    __builtin_memset(event, 0, sizeof(*event));
    event->time = bpf_ktime_get_boot_ns();
    event->client = key->client;
    event->kind = kind;
    event->frontend = key->frontend;
    event->client_port = key->client_port;
    event->node_port = flow->node_port;
    event->snat_port = flow->snat_port;
    event->snat = flow->snat;
    event->backend = flow->backend;
    event->protocol = key->protocol;
    bpf_ringbuf_submit(event, 0);
    return 0;
}

static __always_inline struct backend_counters *backend_counts_of(__u32 id)
{
    return bpf_map_lookup_elem(&backend_counts, &id);
}

static __always_inline struct frontend_counters *frontend_counts_of(__u32 id)
{
    return bpf_map_lookup_elem(&frontend_counts, &id);
}
