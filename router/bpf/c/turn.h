/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* A packet turned round: what its receiver would answer, from the address that it was sent to, to
 * the station that it came from. */

#include "bytes.h"

#define TURN_HOP_LIMIT 64

/* A sender that may be answered: one station, and not ourselves. */
static __always_inline bool turn_allowed(const struct packet *packet)
{
    const union address *source = &packet->source;
    if (address_equal(source, &packet->destination))
        return false;
    if (packet->v6)
        return source->bytes[0] != 0xff && source->halves[0] != 0;
    __u8 first = source->bytes[12];
    return first != 0 && first != 127 && first < 224;
}

static __always_inline __u32 ip_header_length(const struct packet *packet)
{
    return packet->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
}

/* Takes away options and extension headers. The transport header stays where a checksum that the
 * hardware has still to complete expects it: it is the beginning of the frame that moves. */
static __always_inline bool turn_strip(struct __sk_buff *skb, const struct packet *packet)
{
    __s32 beyond = packet->l4 - L3_OFFSET - ip_header_length(packet);
    return beyond == 0 || bpf_skb_adjust_room(skb, -beyond, BPF_ADJ_ROOM_MAC, 0) == 0;
}

static __always_inline bool turn_macs(struct __sk_buff *skb)
{
    __u8 macs[2 * MAC_LENGTH];
    return bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)) == 0 &&
           write_macs(skb, macs + MAC_LENGTH, macs);
}

static __always_inline bool turn_v4(struct __sk_buff *skb, const struct packet *packet,
                                    __u8 protocol, __u32 length, __u8 class)
{
    struct iphdr ip = {.version = 4,
                       .ihl = 5,
                       .tos = class,
                       .tot_len = bpf_htons(sizeof(ip) + length),
                       .frag_off = bpf_htons(0x4000),
                       .ttl = TURN_HOP_LIMIT,
                       .protocol = protocol,
                       .saddr = packet->destination.words[3],
                       .daddr = packet->source.words[3]};
    ip.check = ~sum_fold((__u32)bpf_csum_diff(NULL, 0, (void *)&ip, sizeof(ip), 0));
    return write_bytes(skb, L3_OFFSET, &ip, sizeof(ip));
}

static __always_inline bool turn_v6(struct __sk_buff *skb, const struct packet *packet,
                                    __u8 protocol, __u32 length, __u8 class)
{
    struct ipv6hdr ip = {.version = 6,
                         .priority = class >> 4,
                         .flow_lbl = {class << 4},
                         .payload_len = bpf_htons(length),
                         .nexthdr = protocol,
                         .hop_limit = TURN_HOP_LIMIT};
    __builtin_memcpy(&ip.saddr, &packet->destination, sizeof(ip.saddr));
    __builtin_memcpy(&ip.daddr, &packet->source, sizeof(ip.daddr));
    return write_bytes(skb, L3_OFFSET, &ip, sizeof(ip));
}

/* Writes a bare IP header from the packet's destination to its source over `length` bytes, and the
 * Ethernet addresses. */
static __always_inline bool turn_headers(struct __sk_buff *skb, const struct packet *packet,
                                         __u8 protocol, __u32 length, __u8 class)
{
    return (packet->v6 ? turn_v6(skb, packet, protocol, length, class)
                       : turn_v4(skb, packet, protocol, length, class)) &&
           turn_macs(skb);
}
