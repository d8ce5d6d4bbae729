/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* ICMP and ICMPv6 errors of our own making (RFC 792, RFC 1812, RFC 4443), back to the sender.
 *
 * The packet stays where it is and becomes the quotation: the new headers go before it. So a
 * transport checksum that the hardware has still to complete stays in its place too, and what it
 * will add up to is known beforehand: the complement of the sum of the pseudo-header (the kernel's
 * networking/checksum-offloads.rst calls this local checksum offload). */

#include <linux/icmpv6.h>
#include "count.h"
#include "limit.h"
#include "turn.h"

/* RFC 792; <linux/icmp.h> needs the C library. */
enum icmp_type {
    ICMP_ECHOREPLY = 0,
    ICMP_DEST_UNREACH = 3,
    ICMP_ECHO = 8,
    ICMP_TIME_EXCEEDED = 11,
    ICMP_PARAMETERPROB = 12,
};
enum icmp_code { ICMP_EXC_TTL = 0, ICMP_PORT_UNREACH = 3, ICMP_FRAG_NEEDED = 4 };

#define ERRORS_PER_SECOND 1000
#define ERROR_CLASS       0xc0 /* RFC 1812 section 4.3.2.5: internetwork control */
/* RFC 1812 section 4.3.2.3: 576 bytes with all headers. RFC 4443 section 3: 1,280. */
#define QUOTE_MAX_V4 (576 - sizeof(struct iphdr) - sizeof(struct icmp_error))
#define QUOTE_MAX_V6 (1280 - sizeof(struct ipv6hdr) - sizeof(struct icmp_error))

struct icmp_error {
    __u8 type;
    __u8 code;
    __u16 checksum;
    __be32 rest;
};
_Static_assert(sizeof(struct icmp_error) == 8, "icmp_error");

/* The sum of a quoted packet's bytes, as they will be on the wire; `quote` is its offset.
 * Negative where it cannot be read. */
static __always_inline __s64 quote_sum(struct __sk_buff *skb, const struct packet *packet,
                                       __u32 quote, __u32 length)
{
    if (!checksum_left(skb))
        return sum_bytes(skb, quote, length);
    __u32 l4 = quote + packet->l4 - L3_OFFSET;
    __u32 field = packet->protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check)
                                                  : offsetof(struct udphdr, check);
    __u16 pseudo;
    if (bpf_skb_load_bytes(skb, l4 + field, &pseudo, sizeof(pseudo)))
        return -1;
    __s64 headers = sum_bytes(skb, quote, l4 - quote);
    return headers < 0 ? headers : headers + (__u16)~pseudo;
}

/* How much of the packet is quoted. */
static __always_inline __u32 quote_length(const struct packet *packet)
{
    __u32 most = packet->v6 ? QUOTE_MAX_V6 : QUOTE_MAX_V4;
    return packet->length < most ? packet->length : most;
}

/* Cuts the frame to the quotation and makes room for the headers before it. */
static __always_inline bool quote_packet(struct __sk_buff *skb, const struct packet *packet,
                                         __u32 length)
{
    __u32 headers = ip_header_length(packet) + sizeof(struct icmp_error);
    return bpf_skb_change_tail(skb, L3_OFFSET + length, 0) == 0 &&
           bpf_skb_adjust_room(skb, headers, BPF_ADJ_ROOM_MAC, 0) == 0;
}

/* Writes the headers before the quotation. */
static __always_inline bool error_headers(struct __sk_buff *skb, const struct packet *packet,
                                          struct icmp_error *error, __u32 quoted)
{
    __u32 l4 = L3_OFFSET + ip_header_length(packet);
    __u32 length = sizeof(*error) + quoted;
    __s64 sum = quote_sum(skb, packet, l4 + sizeof(*error), quoted);
    if (sum < 0)
        return false;
    if (packet->v6)
        sum += sum_pseudo(&packet->destination, &packet->source, length, IPPROTO_ICMPV6);
    sum += (__u32)bpf_csum_diff(NULL, 0, (void *)error, sizeof(*error), 0);
    error->checksum = ~sum_fold(sum);
    __u8 protocol = packet->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    return turn_headers(skb, packet, protocol, length, packet->v6 ? 0 : ERROR_CLASS) &&
           write_bytes(skb, l4, error, sizeof(*error));
}

/* Turns the packet into an error about itself: type, code and the four bytes after the checksum.
 * Its source is the address that the packet was sent to. Returns a tc action. */
__noinline int icmp_error_send(struct __sk_buff *skb, struct packet *packet, __u32 type_code,
                               __u32 rest, enum limit limit)
{
    if (!packet)
        return TC_ACT_SHOT;
    __u32 quoted = quote_length(packet);
    /* RFC 1122 section 3.2.2: never about a later fragment, never to a group. */
    if (packet->fragment == FRAGMENT_LATER || !turn_allowed(packet) ||
        L3_OFFSET + quoted > skb->len)
        return TC_ACT_SHOT;
    if (!limit_allows(limit, ERRORS_PER_SECOND))
        return drop(DROP_ICMP_LIMITED);
    struct icmp_error error = {.type = type_code >> 8, .code = type_code, .rest = rest};
    if (!quote_packet(skb, packet, quoted) || !error_headers(skb, packet, &error, quoted))
        return drop(DROP_WRITE);
    return bpf_redirect(skb->ifindex, 0);
}

#define ICMP_KIND(type, code) ((type) << 8 | (code))

/* Answers `packet`, not yet changed, with time exceeded. */
static __always_inline int icmp_time_exceeded(struct __sk_buff *skb, struct packet *packet)
{
    __u16 v4 = ICMP_KIND(ICMP_TIME_EXCEEDED, ICMP_EXC_TTL);
    __u16 v6 = ICMP_KIND(ICMPV6_TIME_EXCEED, ICMPV6_EXC_HOPLIMIT);
    count(DROP_TTL);
    return icmp_error_send(skb, packet, packet->v6 ? v6 : v4, 0, LIMIT_HOPS);
}

/* Answers `packet`, not yet changed, with fragmentation needed or packet too big. `mtu` is what the
 * next link takes, in bytes of IP. Also sent for IPv4 without DF: we cannot fragment, and a sender
 * that hears of it does (RFC 1191 asks routers for no more than the truth about the link). */
static __always_inline int icmp_too_big(struct __sk_buff *skb, struct packet *packet, __u32 mtu)
{
    __u16 v4 = ICMP_KIND(ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED);
    __u16 v6 = ICMP_KIND(ICMPV6_PKT_TOOBIG, 0);
    count(DROP_TOO_BIG);
    return icmp_error_send(skb, packet, packet->v6 ? v6 : v4, bpf_htonl(mtu), LIMIT_PATH);
}

static __always_inline int icmp_port_unreachable(struct __sk_buff *skb, struct packet *packet)
{
    __u16 v4 = ICMP_KIND(ICMP_DEST_UNREACH, ICMP_PORT_UNREACH);
    __u16 v6 = ICMP_KIND(ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH);
    return icmp_error_send(skb, packet, packet->v6 ? v6 : v4, 0, LIMIT_REFUSAL);
}
