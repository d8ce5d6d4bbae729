/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* From an Ethernet frame to one `struct packet`, for IPv4 and IPv6, TCP, UDP and ICMP alike.
 *
 * Parsing is done with a cursor that never passes `end`. Pointers into the frame die with any
 * helper that may move it: packet_frame() fetches them again, `l4` stays as an offset. */

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include "layout.h"

#define L3_OFFSET         ((__u32)sizeof(struct ethhdr))
#define EXTENSION_HEADERS 6
#define L4_OFFSET_MAX     511

enum tcp_flags { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_PSH = 8, TCP_ACK = 16 };

enum fragment_kind { FRAGMENT_NONE, FRAGMENT_FIRST, FRAGMENT_LATER };

enum parsed {
    PARSED,
    PARSED_SHORT,      /* a header ends beyond the bytes at hand */
    PARSED_FOREIGN,    /* neither IPv4 nor IPv6 */
    PARSED_MALFORMED,  /* contradicts itself */
    PARSED_EXTENSIONS, /* more IPv6 extension headers than are followed */
};

struct packet {
    struct __sk_buff *skb;
    void *data;
    void *end;
    union address source;
    union address destination;
    __be16 source_port; /* TCP and UDP, where not FRAGMENT_LATER; else 0 */
    __be16 destination_port;
    __u16 l4;          /* offset of the transport header from `data`, at most L4_OFFSET_MAX */
    __u16 length;      /* of the IP packet, by its own header; of a super-packet by skb->len */
    __u32 note;        /* a detail of the verdict */
    __u32 now;         /* now_seconds(), where the packet is for one of our addresses */
    __u32 fragment_id; /* where fragment != FRAGMENT_NONE */
    __u8 protocol;     /* of the transport header: IPPROTO_* */
    __u8 hop_limit;
    __u8 tcp_flags; /* enum tcp_flags */
    __u8 fragment;  /* enum fragment_kind */
    bool v6;
    bool dont_fragment; /* IPv4's bit; always true for IPv6 */
};

/* The pointers into the frame, after a helper that may have moved it. */
static __always_inline void packet_frame(struct packet *packet, struct __sk_buff *skb)
{
    packet->skb = skb;
    packet->data = (void *)(long)skb->data;
    packet->end = (void *)(long)skb->data_end;
}

/* A header of `length` bytes at the transport offset, or NULL where the frame ends before. */
static __always_inline void *packet_l4(const struct packet *packet, __u32 length)
{
    void *at = packet->data + (packet->l4 & L4_OFFSET_MAX);
    return at + length > packet->end ? NULL : at;
}

/* The bytes at hand while parsing. */
struct frame {
    void *data;
    void *end;
};

/* A header of `length` bytes at `offset`, or NULL where the bytes at hand end before. */
static __always_inline void *frame_at(const struct frame *frame, __u32 offset, __u32 length)
{
    void *at = frame->data + (offset & L4_OFFSET_MAX);
    return at + length > frame->end ? NULL : at;
}

static __always_inline void address_from_v4(union address *address, __be32 v4)
{
    address->halves[0] = 0;
    address->words[2] = bpf_htonl(0xffff);
    address->words[3] = v4;
}

static __always_inline bool address_equal(const union address *a, const union address *b)
{
    return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}

/* An IPv4 address in the clothes of IPv6 has no business on the wire, and would be taken for IPv4.
 */
static __always_inline bool address_mapped(const union address *address)
{
    return address->halves[0] == 0 && address->words[2] == bpf_htonl(0xffff);
}

static __always_inline void parse_v4_fields(struct packet *packet, const struct iphdr *ip)
{
    address_from_v4(&packet->source, ip->saddr);
    address_from_v4(&packet->destination, ip->daddr);
    packet->v6 = false;
    packet->hop_limit = ip->ttl;
    packet->protocol = ip->protocol;
    packet->length = bpf_ntohs(ip->tot_len);
    packet->fragment_id = ip->id;
}

static __always_inline enum parsed parse_v4(struct packet *packet, const struct frame *frame)
{
    struct iphdr *ip = frame_at(frame, L3_OFFSET, sizeof(*ip));
    if (!ip)
        return PARSED_SHORT;
    if (ip->version != 4)
        return PARSED_MALFORMED;
    parse_v4_fields(packet, ip);
    __u32 header = ip->ihl * 4;
    if (header < sizeof(*ip) || packet->length < header)
        return PARSED_MALFORMED;
    packet->l4 = L3_OFFSET + header;
    __u16 fragment = bpf_ntohs(ip->frag_off);
    packet->dont_fragment = fragment & 0x4000;
    packet->fragment = fragment & 0x1fff   ? FRAGMENT_LATER
                       : fragment & 0x2000 ? FRAGMENT_FIRST
                                           : FRAGMENT_NONE;
    return PARSED;
}

/* Whether a header leads on to another. The authentication header does not: what it protects
 * cannot be translated (RFC 3715 section 2.1). */
static __always_inline bool parse_is_extension(__u8 next)
{
    return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
           next == IPPROTO_FRAGMENT;
}

static __always_inline __u32 parse_extension_length(__u8 kind, const __u8 *header)
{
    return kind == IPPROTO_FRAGMENT ? 8 : (header[1] + 1) * 8;
}

static __always_inline void parse_fragment(struct packet *packet, const __u8 *header)
{
    __u16 fragment = header[2] << 8 | header[3];
    packet->fragment_id = *(__u32 *)(header + 4);
    if (fragment & 0xfff8)
        packet->fragment = FRAGMENT_LATER;
    else if (fragment & 1)
        packet->fragment = FRAGMENT_FIRST;
}

/* RFC 8200 section 4: the chain up to the transport header, or to the end of what a later fragment
 * has of it. */
static __always_inline enum parsed parse_extensions(struct packet *packet,
                                                    const struct frame *frame)
{
    __u32 offset = L3_OFFSET + sizeof(struct ipv6hdr);
    __u8 next = packet->protocol;
    for (int i = 0; i <= EXTENSION_HEADERS; i++) {
        if (offset > L4_OFFSET_MAX)
            return PARSED_EXTENSIONS;
        packet->protocol = next;
        packet->l4 = offset;
        if (!parse_is_extension(next) || packet->fragment == FRAGMENT_LATER)
            return PARSED;
        __u8 *header = frame_at(frame, offset, 8);
        if (!header)
            return PARSED_SHORT;
        if (next == IPPROTO_FRAGMENT)
            parse_fragment(packet, header);
        offset += parse_extension_length(next, header);
        next = header[0];
    }
    return PARSED_EXTENSIONS;
}

static __always_inline void parse_v6_fields(struct packet *packet, const struct ipv6hdr *ip)
{
    __builtin_memcpy(&packet->source, &ip->saddr, sizeof(packet->source));
    __builtin_memcpy(&packet->destination, &ip->daddr, sizeof(packet->destination));
    packet->v6 = true;
    packet->hop_limit = ip->hop_limit;
    packet->length = bpf_ntohs(ip->payload_len) + sizeof(*ip);
    packet->dont_fragment = true;
    packet->fragment = FRAGMENT_NONE;
    packet->fragment_id = 0;
    packet->protocol = ip->nexthdr;
    packet->l4 = L3_OFFSET + sizeof(*ip);
}

static __always_inline enum parsed parse_v6(struct packet *packet, const struct frame *frame)
{
    struct ipv6hdr *ip = frame_at(frame, L3_OFFSET, sizeof(*ip));
    if (!ip)
        return PARSED_SHORT;
    if (ip->version != 6)
        return PARSED_MALFORMED;

    parse_v6_fields(packet, ip);
    if (address_mapped(&packet->source) || address_mapped(&packet->destination))
        return PARSED_MALFORMED;
    return parse_is_extension(ip->nexthdr) ? parse_extensions(packet, frame) : PARSED;
}

/* Whether a transport header of `length` bytes is within the packet, by the packet's own word:
 * what follows it in the frame is padding. */
static __always_inline bool parse_holds(const struct packet *packet, __u32 length)
{
    return packet->l4 + length <= L3_OFFSET + packet->length;
}

static __always_inline enum parsed parse_tcp(struct packet *packet, const struct frame *frame)
{
    struct tcphdr *tcp = frame_at(frame, packet->l4, sizeof(*tcp));
    if (!tcp)
        return PARSED_SHORT;
    __u32 header = tcp->doff * 4;
    if (header < sizeof(*tcp) || !parse_holds(packet, header))
        return PARSED_MALFORMED;
    packet->source_port = tcp->source;
    packet->destination_port = tcp->dest;
    packet->tcp_flags = ((__u8 *)tcp)[13];
    return PARSED;
}

static __always_inline enum parsed parse_udp(struct packet *packet, const struct frame *frame)
{
    struct udphdr *udp = frame_at(frame, packet->l4, sizeof(*udp));
    if (!udp)
        return PARSED_SHORT;
    if (!parse_holds(packet, sizeof(*udp)))
        return PARSED_MALFORMED;
    packet->source_port = udp->source;
    packet->destination_port = udp->dest;
    return PARSED;
}

/* The transport header: ports and flags, where this packet carries them. */
static __always_inline enum parsed parse_l4(struct packet *packet, const struct frame *frame)
{
    packet->source_port = 0;
    packet->destination_port = 0;
    packet->tcp_flags = 0;
    if (packet->fragment == FRAGMENT_LATER)
        return PARSED;
    switch (packet->protocol) {
    case IPPROTO_TCP:
        return parse_tcp(packet, frame);
    case IPPROTO_UDP:
        return parse_udp(packet, frame);
    default:
        return PARSED;
    }
}

static __always_inline enum parsed parse_frame(struct packet *packet, const struct frame *frame)
{
    struct ethhdr *ethernet = frame_at(frame, 0, sizeof(*ethernet));
    if (!ethernet)
        return PARSED_SHORT;
    enum parsed parsed = PARSED_FOREIGN;
    if (ethernet->h_proto == bpf_htons(ETH_P_IP))
        parsed = parse_v4(packet, frame);
    else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6))
        parsed = parse_v6(packet, frame);
    return parsed == PARSED ? parse_l4(packet, frame) : parsed;
}

/* --- the common shapes -----------------------------------------------------------------------
 *
 * TCP or UDP, no options, no extension headers, no fragment, all at hand: parsed in place, because
 * the call of a global function costs as much as the parsing. */

static __always_inline bool parse_simple_v4(struct packet *packet, const struct frame *frame)
{
    struct iphdr *ip = frame_at(frame, L3_OFFSET, sizeof(*ip));
    if (!ip || *(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(0x3fff))
        return false;
    parse_v4_fields(packet, ip);
    packet->dont_fragment = ip->frag_off & bpf_htons(0x4000);
    packet->fragment = FRAGMENT_NONE;
    packet->l4 = L3_OFFSET + sizeof(*ip);
    return true;
}

static __always_inline bool parse_simple_v6(struct packet *packet, const struct frame *frame)
{
    struct ipv6hdr *ip = frame_at(frame, L3_OFFSET, sizeof(*ip));
    if (!ip || ip->version != 6)
        return false;
    parse_v6_fields(packet, ip);
    return !address_mapped(&packet->source) && !address_mapped(&packet->destination);
}

/* False: any other shape, left to parse(). */
static __always_inline bool parse_simple(struct packet *packet, const struct frame *frame)
{
    struct ethhdr *ethernet = frame_at(frame, 0, sizeof(*ethernet));
    if (!ethernet)
        return false;
    bool simple = false;
    if (ethernet->h_proto == bpf_htons(ETH_P_IP))
        simple = parse_simple_v4(packet, frame);
    else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6))
        simple = parse_simple_v6(packet, frame);
    if (!simple)
        return false;
    packet->tcp_flags = 0;
    if (packet->protocol == IPPROTO_TCP)
        return parse_tcp(packet, frame) == PARSED;
    return packet->protocol == IPPROTO_UDP && parse_udp(packet, frame) == PARSED;
}

/* --- every shape ----------------------------------------------------------------------------- */

#define PULLED 256 /* bytes that a chain of headers may take */

/* Returns enum parsed. Headers outside the bytes at hand are pulled in once. */
__noinline int parse(struct __sk_buff *skb, struct packet *packet)
{
    if (!packet)
        return PARSED_FOREIGN;
    struct frame frame = {(void *)(long)skb->data, (void *)(long)skb->data_end};
    __u32 at_hand = frame.end - frame.data;
    int parsed = parse_frame(packet, &frame);
    if (parsed != PARSED_SHORT || skb->len <= at_hand)
        return parsed;
    bpf_skb_pull_data(skb, skb->len < PULLED ? skb->len : PULLED);
    frame.data = (void *)(long)skb->data;
    frame.end = (void *)(long)skb->data_end;
    return parse_frame(packet, &frame);
}
