/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* What a segment changes in its connection's state. RFC 5382 asks only for the phases; what a
 * client says is taken at its word only where its numbers fit (RFC 5961: it may be somebody
 * else's), and a reset only while what follows does not contradict it. docs/decisions/0015 has the
 * rules. */

#include "event.h"
#include "flow.h"

/* How far a client may be ahead of what its node has acknowledged: what is under way between us and
 * the node at 10 Gbit/s within a millisecond. One guess in 4,096 fits. */
#define TCP_AHEAD (1u << 20)

/* Numbers of a client's segment. */
struct tcp_numbers {
    __u32 sequence;
    __u32 end; /* of its payload */
    __u32 acknowledged;
};

static __always_inline bool tcp_numbers(struct __sk_buff *skb, const struct packet *packet,
                                        struct tcp_numbers *numbers)
{
    struct frame frame = {(void *)(long)skb->data, (void *)(long)skb->data_end};
    struct tcphdr *tcp = frame_at(&frame, packet->l4, sizeof(*tcp));
    if (!tcp)
        return false;
    __u32 headers = packet->l4 - L3_OFFSET + tcp->doff * 4;
    __u32 payload = packet->length > headers ? packet->length - headers : 0;
    numbers->sequence = bpf_ntohl(tcp->seq);
    numbers->end = numbers->sequence + payload;
    numbers->acknowledged = bpf_ntohl(tcp->ack_seq);
    return true;
}

/* Whether the node may expect this number. */
static __always_inline bool tcp_fits(const struct reply *reply, __u32 number)
{
    return number - reply->number < TCP_AHEAD;
}

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

static __always_inline void tcp_mark(struct reply *reply, __u32 flags)
{
    __sync_fetch_and_or(&reply->frontend_flags, flags);
}

static __always_inline void tcp_unmark(struct reply *reply, __u32 flags)
{
    __sync_fetch_and_and(&reply->frontend_flags, ~flags);
}

/* The forward entry's state is settled; the reverse entry says whether its port may be taken. */
static __always_inline void tcp_settle(const struct flow *flow, struct reply *reply)
{
    __u32 marks = flow_over(flow->state) ? REPLY_CLOSED : 0;
    if (flow->state & FLOW_ESTABLISHED)
        marks |= REPLY_ESTABLISHED;
    __u32 stale = (REPLY_CLOSED | REPLY_ESTABLISHED) & ~marks;
    if (marks & ~reply->frontend_flags)
        tcp_mark(reply, marks);
    if (stale & reply->frontend_flags)
        tcp_unmark(reply, stale);
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

/* Only who has seen the node's SYN-ACK knows what to acknowledge. `next` is what the node expects
 * next, in the state that tcp_settle() then tells. */
static __always_inline void tcp_established(struct flow *flow, struct reply *reply, __u32 next)
{
    reply->number = next;
    tcp_set(flow, FLOW_ESTABLISHED);
}

static __always_inline void tcp_client_goes_on(const struct tcp_numbers *numbers, __u8 flags,
                                               struct flow *flow, struct reply *reply)
{
    tcp_revive(flow);
    __u32 phase = flow->state & (FLOW_ANSWERED | FLOW_ESTABLISHED);
    if (phase == FLOW_ANSWERED && flags & TCP_ACK && numbers->acknowledged == reply->number) {
        tcp_established(flow, reply, numbers->sequence);
        phase |= FLOW_ESTABLISHED;
    }
    if (flags & TCP_FIN && phase & FLOW_ESTABLISHED && tcp_fits(reply, numbers->end))
        tcp_set(flow, FLOW_CLIENT_FIN);
}

/* A reset of what nobody has proved yet needs no numbers: what follows revives it. */
static __always_inline bool tcp_reset_fits(const struct tcp_numbers *numbers,
                                           const struct flow *flow, const struct reply *reply)
{
    return !(flow->state & FLOW_ESTABLISHED) || tcp_fits(reply, numbers->sequence);
}

static __always_inline void tcp_from_client(struct __sk_buff *skb, const struct packet *packet,
                                            struct flow *flow, struct reply *reply)
{
    struct tcp_numbers numbers;
    if (packet->fragment == FRAGMENT_LATER || !tcp_numbers(skb, packet, &numbers))
        return;
    if (!(packet->tcp_flags & TCP_RST))
        tcp_client_goes_on(&numbers, packet->tcp_flags, flow, reply);
    else if (tcp_reset_fits(&numbers, flow, reply))
        tcp_set(flow, tcp_reset_state(flow, reply, packet->now));
    tcp_settle(flow, reply);
}

static __always_inline bool tcp_node_news(__u32 reply_flags, __u8 flags)
{
    return flags & (TCP_SYN | TCP_FIN | TCP_RST) ||
           (reply_flags & REPLY_FLAGS) != (REPLY_ANSWERED | REPLY_ESTABLISHED);
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
    tcp_mark(reply, REPLY_ANSWERED);
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

/* A node speaks of data or of the end only once the handshake is complete; a bare acknowledgement
 * before that challenges a segment that it did not like. */
static __always_inline void tcp_node_goes_on(struct flow *flow, struct reply *reply, __u8 flags,
                                             __u32 sequence, __u32 acknowledged)
{
    tcp_revive(flow);
    if (flags & TCP_SYN) {
        note_answered(flow, reply);
        if (!(flow->state & FLOW_ESTABLISHED))
            reply->number = sequence + 1;
    } else if (flow->state & FLOW_ESTABLISHED || flags & (TCP_FIN | TCP_PSH)) {
        note_answered(flow, reply);
        tcp_established(flow, reply, acknowledged);
    }
    if (flags & TCP_FIN)
        tcp_node_fin(flow);
}

__noinline int tcp_from_node(struct reply *reply, __u8 flags, __u32 now, __u32 sequence,
                             __u32 acknowledged)
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
        tcp_node_goes_on(flow, reply, flags, sequence, acknowledged);
    }
    tcp_settle(flow, reply);
    return 0;
}
