/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* How long a datagram's way back is kept. A question with its answer is soon over; what either side
 * carries on with in a later second is more than that and lives for long. */

#include "tcp.h"

static __always_inline void udp_goes_on(struct flow *flow, struct reply *reply)
{
    __sync_fetch_and_or(&flow->state, FLOW_ESTABLISHED);
    __sync_fetch_and_or(&reply->frontend_flags, REPLY_ESTABLISHED);
}

/* Called with the client's first datagram of a second. */
static __always_inline void udp_from_client(const struct packet *packet, struct flow *flow,
                                            struct reply *reply)
{
    bool answered = (flow->state & (FLOW_ANSWERED | FLOW_ESTABLISHED)) == FLOW_ANSWERED;
    if (answered && flow->last_seen != packet->now)
        udp_goes_on(flow, reply);
}

/* `later` than the second of the node's datagram before. */
static __always_inline bool udp_node_news(__u32 reply_flags, bool later)
{
    return !(reply_flags & REPLY_ANSWERED) || (later && !(reply_flags & REPLY_ESTABLISHED));
}

__noinline int udp_from_node(struct reply *reply)
{
    if (!reply)
        return 0;
    struct flow_key key;
    flow_key_of_reply(&key, reply, IPPROTO_UDP);
    struct flow *flow = bpf_map_lookup_elem(&flows, &key);
    if (!flow)
        return 0;
    if (flow->state & FLOW_ANSWERED)
        udp_goes_on(flow, reply);
    else
        note_answered(flow, reply);
    return 0;
}
