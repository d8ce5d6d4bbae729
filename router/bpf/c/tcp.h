/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* What a segment changes in its connection's state. RFC 5382 asks only for the phases; a reset is
 * taken at its word only while what follows does not contradict it (RFC 5961: it may be forged). */

#include "event.h"
#include "flow.h"

/* Whether the client's segment changes anything: false for the bulk of a connection. */
static __always_inline bool tcp_client_news(__u32 state, __u8 flags)
{
    return flags & (TCP_SYN | TCP_FIN | TCP_RST) || !(state & FLOW_ESTABLISHED) ||
           state & FLOW_RESETS;
}

/* Asked before the reset itself counts as a sign of life. The first one stands: a second one finds
 * nothing idle any more. */
static __always_inline __u32 tcp_reset_state(const struct flow *flow, const struct reply *reply,
                                             __u32 now)
{
    if (flow->state & FLOW_RESETS)
        return 0;
    bool idle = flow_age(flow, reply, now) > settings.timeouts.tcp_closed;
    return idle ? FLOW_RESET_IDLE : FLOW_RESET;
}

/* The forward entry's state is settled; the reverse entry says whether its port may be taken. */
static __always_inline void tcp_settle(const struct flow *flow, struct reply *reply)
{
    if (flow_over(flow->state))
        __sync_fetch_and_or(&reply->flags, REPLY_CLOSED);
    else if (reply->flags & REPLY_CLOSED)
        __sync_fetch_and_and(&reply->flags, ~(__u32)REPLY_CLOSED);
}

static __always_inline void tcp_set(struct flow *flow, __u32 bits)
{
    __sync_fetch_and_or(&flow->state, bits);
}

static __always_inline void tcp_revive(struct flow *flow)
{
    if (flow->state & FLOW_RESETS)
        __sync_fetch_and_and(&flow->state, ~(__u32)FLOW_RESETS);
}

static __always_inline void tcp_from_client(const struct packet *packet, struct flow *flow,
                                            struct reply *reply)
{
    __u8 flags = packet->tcp_flags;
    if (flags & TCP_RST) {
        tcp_set(flow, tcp_reset_state(flow, reply, packet->now));
    } else {
        tcp_revive(flow);
        if (flow->state & FLOW_ANSWERED && flags & TCP_ACK)
            tcp_set(flow, FLOW_ESTABLISHED);
        if (flags & TCP_FIN)
            tcp_set(flow, FLOW_CLIENT_FIN);
    }
    tcp_settle(flow, reply);
}

static __always_inline bool tcp_node_news(__u32 reply_flags, __u8 flags)
{
    return flags & (TCP_SYN | TCP_FIN | TCP_RST) || reply_flags != REPLY_ANSWERED;
}

/* The node refused: a passive signal of its health. */
static __always_inline void tcp_refused(const struct flow_key *key, const struct flow *flow)
{
    struct backend_counters *counters = backend_counts_of(flow->backend);
    if (counters)
        counters->resets++;
    event_send(key, flow, EVENT_REFUSED);
}

static __always_inline void note_answered(struct flow *flow, struct reply *reply)
{
    __sync_fetch_and_or(&reply->flags, REPLY_ANSWERED);
    __u32 before = __sync_fetch_and_or(&flow->state, FLOW_ANSWERED);
    struct backend_counters *counters = backend_counts_of(flow->backend);
    if (counters && !(before & FLOW_ANSWERED))
        counters->answered++;
}

static __always_inline void tcp_node_fin(struct flow *flow)
{
    bool first = !(flow->state & FLOW_CLIENT_FIN);
    tcp_set(flow, first ? FLOW_NODE_FIN | FLOW_NODE_CLOSED_FIRST : FLOW_NODE_FIN);
}

__noinline int tcp_from_node(struct reply *reply, __u8 flags, __u32 now)
{
    if (!reply)
        return 0;
    struct flow_key key;
    flow_key_of_reply(&key, reply, IPPROTO_TCP);
    struct flow *flow = bpf_map_lookup_elem(&flows, &key);
    if (!flow)
        return 0;
    if (flags & TCP_RST) {
        if (!(flow->state & FLOW_ANSWERED))
            tcp_refused(&key, flow);
        tcp_set(flow, tcp_reset_state(flow, reply, now));
        reply->last_seen = now;
    } else {
        tcp_revive(flow);
        note_answered(flow, reply);
        if (flags & TCP_FIN)
            tcp_node_fin(flow);
    }
    tcp_settle(flow, reply);
    return 0;
}

/* The first datagram back. */
__noinline int udp_from_node(struct reply *reply)
{
    if (!reply)
        return 0;
    struct flow_key key;
    flow_key_of_reply(&key, reply, IPPROTO_UDP);
    struct flow *flow = bpf_map_lookup_elem(&flows, &key);
    if (flow)
        note_answered(flow, reply);
    return 0;
}
