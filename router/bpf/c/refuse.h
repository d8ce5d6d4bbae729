/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* Answers of a host that does not serve: a closed port, a foreign connection. */

#include "icmp_error.h"

#define RESETS_PER_SECOND 10000

/* RFC 9293 section 3.10.7.1: the reset to a segment of no connection. */
static __always_inline void reset_numbers(const struct packet *packet, const struct tcphdr *segment,
                                          struct tcphdr *reset)
{
    reset->rst = 1;
    if (segment->ack) {
        reset->seq = segment->ack_seq;
        return;
    }
    __u32 headers = packet->l4 - L3_OFFSET + segment->doff * 4;
    __u32 data = packet->length > headers ? packet->length - headers : 0;
    reset->ack = 1;
    reset->ack_seq = bpf_htonl(bpf_ntohl(segment->seq) + data + segment->syn + segment->fin);
}

static __always_inline void reset_checksum(struct __sk_buff *skb, const struct packet *packet,
                                           struct tcphdr *reset)
{
    sum_t sum = sum_pseudo(&packet->source, &packet->destination, sizeof(*reset), IPPROTO_TCP);
    if (checksum_left(skb)) {
        reset->check = sum_fold(sum);
        return;
    }
    sum += (__u32)bpf_csum_diff(NULL, 0, (void *)reset, sizeof(*reset), 0);
    reset->check = ~sum_fold(sum);
}

/* Turns a segment into the reset that answers it. Returns a tc action. */
__noinline int refuse_reset(struct __sk_buff *skb, struct packet *packet)
{
    struct tcphdr segment;
    if (!packet || packet->fragment != FRAGMENT_NONE || !turn_allowed(packet) ||
        bpf_skb_load_bytes(skb, packet->l4, &segment, sizeof(segment)) || segment.rst)
        return TC_ACT_SHOT;
    if (!limit_allows(LIMIT_RESET, RESETS_PER_SECOND))
        return drop(DROP_ICMP_LIMITED);
    struct tcphdr reset = {
        .source = segment.dest, .dest = segment.source, .doff = sizeof(reset) / 4};
    reset_numbers(packet, &segment, &reset);
    reset_checksum(skb, packet, &reset);
    if (bpf_skb_change_tail(skb, packet->l4 + sizeof(reset), 0) || !turn_strip(skb, packet) ||
        !turn_headers(skb, packet, IPPROTO_TCP, sizeof(reset), 0) ||
        !write_bytes(skb, L3_OFFSET + ip_header_length(packet), &reset, sizeof(reset)))
        return drop(DROP_WRITE);
    return bpf_redirect(skb->ifindex, 0);
}

/* Counts `reason` and answers the sender from the address it asked for: a reset to TCP (never to a
 * reset), port unreachable to UDP; anything else is dropped. Returns a tc action. */
static __always_inline int refuse(struct __sk_buff *skb, struct packet *packet, __u32 reason)
{
    count(reason);
    if (packet->protocol == IPPROTO_TCP)
        return refuse_reset(skb, packet);
    if (packet->protocol == IPPROTO_UDP)
        return icmp_port_unreachable(skb, packet);
    return TC_ACT_SHOT;
}
