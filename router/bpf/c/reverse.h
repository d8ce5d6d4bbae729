/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* From a node back to the client. */

#include "egress.h"
#include "rewrite.h"
#include "udp.h"
#include "verdict.h"

#define NO_SNAT 0xffff

/* The index of the SNAT address that a packet is sent to, or NO_SNAT. */
static __always_inline __u32 snat_of(const union address *address)
{
    for (__u32 id = 0; id < SNAT_ADDRESSES; id++) {
        if (id >= settings.snat_count)
            break;
        struct snat *snat = bpf_map_lookup_elem(&snats, &id);
        if (snat && snat->present && address_equal(&snat->address, address))
            return id;
    }
    return NO_SNAT;
}

static __always_inline void reverse_noted_tcp(const struct packet *packet, struct reply *reply)
{
    struct tcphdr *tcp = packet_l4(packet, sizeof(*tcp));
    if (!tcp)
        return;
    __u32 acknowledged = bpf_ntohl(tcp->ack_seq);
    if (tcp_node_news(reply->frontend_flags, packet->tcp_flags))
        tcp_from_node(reply, packet->tcp_flags, packet->now, bpf_ntohl(tcp->seq), acknowledged);
    else
        reply->number = acknowledged;
}

static __always_inline void reverse_noted(const struct packet *packet, struct reply *reply)
{
    bool later = reply->last_seen != packet->now;
    bool reset = packet->protocol == IPPROTO_TCP && packet->tcp_flags & TCP_RST;
    if (later && !reset) /* tcp_from_node() judges a reset first */
        reply->last_seen = packet->now;
    if (packet->fragment == FRAGMENT_LATER)
        return;
    if (packet->protocol == IPPROTO_TCP)
        reverse_noted_tcp(packet, reply);
    else if (udp_node_news(reply->frontend_flags, later))
        udp_from_node(reply);
}

static __always_inline int reverse(struct packet *packet, const struct reply *reply)
{
    __u32 id = reply_frontend(reply);
    struct frontend_key *frontend = bpf_map_lookup_elem(&identities, &id);
    if (!frontend || !frontend->protocol)
        return drop(DROP_NO_FLOW);
    __u32 mtu = settings.legs[reply->leg % LEGS].mtu;
    if (packet->hop_limit <= 1)
        return ANSWER_TIME_EXCEEDED;
    if (!egress_fits(packet, mtu))
        return answer_with(packet, ANSWER_TOO_BIG, mtu);
    struct endpoints to = {
        .source = &frontend->address,
        .destination = &reply->client,
        .source_port = frontend->port,
        .destination_port = reply->client_port,
    };
    if (!rewrite(packet, &to))
        return drop(DROP_WRITE);
    return egress_to_client(packet, reply);
}

/* TC_ACT_UNSPEC where the packet belongs to no flow. */
static __always_inline int from_node(struct packet *packet, __u32 snat)
{
    struct reply_key key = {
        .node = packet->source,
        .node_port = packet->source_port,
        .snat_port = packet->destination_port,
        .snat = snat,
        .protocol = packet->protocol,
    };
    struct reply *reply = bpf_map_lookup_elem(&replies, &key);
    if (!reply)
        return TC_ACT_UNSPEC;
    packet_frame(packet, packet->skb);
    reverse_noted(packet, reply);
    return reverse(packet, reply);
}
