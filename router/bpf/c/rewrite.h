/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* New addresses, ports and hop limit, with the checksums changed by just that.
 *
 * The transport checksum depends on what the kernel promised (ip_summed): PARTIAL means that the
 * field holds only the pseudo-header's sum and something later completes it; COMPLETE means that
 * the kernel carries a sum of the whole packet, which must follow the change. */

#include "csum.h"
#include "hash.h"
#include "kernel.h"
#include "parse.h"

struct endpoints {
    const union address *source;
    const union address *destination;
    __be16 source_port;
    __be16 destination_port;
};

static __always_inline sum_t rewrite_address_change(const struct packet *packet,
                                                    const struct endpoints *to)
{
    return sum_change_address(&packet->source, to->source) +
           sum_change_address(&packet->destination, to->destination);
}

/* Senders that look like one to their receiver may have chosen the same identification, and their
 * fragments would be put together (RFC 6864 section 5.3): who sent it is mixed in. */
static __always_inline sum_t rewrite_identification(const struct packet *packet, struct iphdr *ip)
{
    __be16 before = ip->id;
    ip->id = before ^ (__u16)(hash_address(settings.seed, &packet->source) >> 48);
    return sum_change16(before, ip->id);
}

static __always_inline bool rewrite_v4(struct packet *packet, const struct endpoints *to,
                                       sum_t change)
{
    struct iphdr *ip = packet->data + L3_OFFSET;
    if ((void *)(ip + 1) > packet->end)
        return false;
    ip->saddr = to->source->words[3];
    ip->daddr = to->destination->words[3];
    ip->ttl--;
    /* The hop limit is the upper half of a 16-bit word of the header, in network order. */
    change += sum_change16(bpf_htons(1 << 8), 0);
    if (packet->fragment != FRAGMENT_NONE)
        change += rewrite_identification(packet, ip);
    ip->check = checksum_change(ip->check, change);
    return true;
}

static __always_inline bool rewrite_v6(struct packet *packet, const struct endpoints *to)
{
    struct ipv6hdr *ip = packet->data + L3_OFFSET;
    if ((void *)(ip + 1) > packet->end)
        return false;
    __builtin_memcpy(&ip->saddr, to->source, sizeof(ip->saddr));
    __builtin_memcpy(&ip->daddr, to->destination, sizeof(ip->daddr));
    ip->hop_limit--;
    return true;
}

static __always_inline __u32 rewrite_summed(struct __sk_buff *skb)
{
    struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);
    return BPF_CORE_READ_BITFIELD(kernel, ip_summed);
}

/* Before Linux 6.2 the kernel's helpers look at ip_summed themselves, at 30 ns a call. */
static __always_inline void rewrite_by_helper(struct packet *packet, __u32 field, sum_t change,
                                              sum_t ports)
{
    __u64 flags = packet->protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
    __u32 offset = packet->l4 + field;
    bpf_l4_csum_replace(packet->skb, offset, 0, sum_fold(change), flags | BPF_F_PSEUDO_HDR);
    bpf_l4_csum_replace(packet->skb, offset, 0, sum_fold(ports), flags);
    packet_frame(packet, packet->skb);
}

/* What the sum of the whole packet gains by the change of its IP header. In IPv4 the header's own
 * checksum balances it. */
static __always_inline sum_t rewrite_header_gain(const struct packet *packet, sum_t change)
{
    return packet->v6 ? change + sum_change16(bpf_htons(1), 0) : 0;
}

/* Changes the checksum; what the sum of the transport header and payload gains is returned. */
static __always_inline sum_t rewrite_field(const struct packet *packet, __u16 *checksum,
                                           sum_t change, sum_t ports)
{
    if (packet->protocol == IPPROTO_UDP && !*checksum)
        return ports; /* RFC 768: the sender sent none */
    *checksum = checksum_change(*checksum, change + ports);
    if (packet->protocol == IPPROTO_UDP && !*checksum)
        *checksum = 0xffff;
    return (__u16)~sum_fold(change);
}

static __always_inline void rewrite_checksum(struct packet *packet, __u16 *checksum, __u32 field,
                                             sum_t change, sum_t ports)
{
    if (!kernel_shows_skb()) {
        rewrite_by_helper(packet, field, change, ports);
        return;
    }
    __u32 summed = rewrite_summed(packet->skb);
    if (summed == SUMMED_PARTIAL) {
        *checksum = partial_change(*checksum, change);
        return;
    }
    sum_t gain = rewrite_field(packet, checksum, change, ports);
    if (summed == SUMMED_COMPLETE)
        bpf_csum_update(packet->skb, sum_fold(gain + rewrite_header_gain(packet, change)));
}

static __always_inline bool rewrite_tcp(struct packet *packet, const struct endpoints *to,
                                        sum_t change, sum_t ports)
{
    struct tcphdr *tcp = packet_l4(packet, sizeof(*tcp));
    if (!tcp)
        return false;
    tcp->source = to->source_port;
    tcp->dest = to->destination_port;
    rewrite_checksum(packet, &tcp->check, offsetof(struct tcphdr, check), change, ports);
    return true;
}

static __always_inline bool rewrite_udp(struct packet *packet, const struct endpoints *to,
                                        sum_t change, sum_t ports)
{
    struct udphdr *udp = packet_l4(packet, sizeof(*udp));
    if (!udp)
        return false;
    udp->source = to->source_port;
    udp->dest = to->destination_port;
    rewrite_checksum(packet, &udp->check, offsetof(struct udphdr, check), change, ports);
    return true;
}

/* A later fragment: no transport header to change, only the kernel's sum of the packet. */
static __always_inline bool rewrite_later_fragment(struct packet *packet, sum_t change)
{
    if (kernel_shows_skb() && rewrite_summed(packet->skb) == SUMMED_COMPLETE)
        bpf_csum_update(packet->skb, sum_fold(rewrite_header_gain(packet, change)));
    return true;
}

/* False: the frame is shorter than its parse said, which cannot be. */
static __always_inline bool rewrite(struct packet *packet, const struct endpoints *to)
{
    sum_t change = rewrite_address_change(packet, to);
    if (packet->v6 ? !rewrite_v6(packet, to) : !rewrite_v4(packet, to, change))
        return false;
    if (packet->fragment == FRAGMENT_LATER)
        return rewrite_later_fragment(packet, change);
    sum_t ports = sum_change16(packet->source_port, to->source_port) +
                  sum_change16(packet->destination_port, to->destination_port);
    return packet->protocol == IPPROTO_TCP ? rewrite_tcp(packet, to, change, ports)
                                           : rewrite_udp(packet, to, change, ports);
}
