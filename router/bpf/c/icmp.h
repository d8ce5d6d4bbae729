/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* ICMP and ICMPv6 to our addresses: echo answered, and errors about flows translated both ways
 * (RFC 5508 section 4), with the packet that they quote. An error never ends a flow. */

#include "egress.h"
#include "icmp_error.h"
#include "rewrite.h"
#include "tcp.h"
#include "verdict.h"

#define ECHOES_PER_SECOND 10000

enum icmp_purpose { ICMP_OTHER, ICMP_ERROR, ICMP_PING, ICMP_NEIGHBOUR };

/* What the error is about: the packet quoted in it. All offsets are from the frame's beginning. */
struct quoted {
    union address source;
    union address destination;
    __be16 source_port;
    __be16 destination_port;
    __u32 ip;
    __u32 l4;
    __u8 protocol;
    bool v6;
};

static __always_inline enum icmp_purpose icmp_purpose_v4(__u8 type)
{
    switch (type) {
    case ICMP_ECHO:
        return ICMP_PING;
    case ICMP_DEST_UNREACH:
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETERPROB:
        return ICMP_ERROR;
    default:
        return ICMP_OTHER;
    }
}

static __always_inline enum icmp_purpose icmp_purpose_v6(__u8 type)
{
    switch (type) {
    case ICMPV6_ECHO_REQUEST:
        return ICMP_PING;
    case ICMPV6_DEST_UNREACH:
    case ICMPV6_PKT_TOOBIG:
    case ICMPV6_TIME_EXCEED:
    case ICMPV6_PARAMPROB:
        return ICMP_ERROR;
    case 133 ... 137: /* RFC 4861 */
        return ICMP_NEIGHBOUR;
    default:
        return ICMP_OTHER;
    }
}

static __always_inline enum icmp_purpose icmp_purpose(struct __sk_buff *skb,
                                                      const struct packet *packet)
{
    struct icmp_error head;
    if (!parse_holds(packet, sizeof(head)) || L3_OFFSET + packet->length > skb->len ||
        bpf_skb_load_bytes(skb, packet->l4, &head, sizeof(head)))
        return ICMP_OTHER;
    return packet->v6 ? icmp_purpose_v6(head.type) : icmp_purpose_v4(head.type);
}

/* --- echo ------------------------------------------------------------------------------------ */

static __always_inline bool echo_message(struct __sk_buff *skb, const struct packet *packet)
{
    struct icmp_error head;
    __u32 l4 = L3_OFFSET + ip_header_length(packet);
    if (bpf_skb_load_bytes(skb, l4, &head, sizeof(head)))
        return false;
    __u8 type = packet->v6 ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY;
    sum_t change = sum_change16(bpf_htons(head.type << 8), bpf_htons(type << 8));
    head.type = type;
    if (!checksum_left(skb))
        head.checksum = checksum_change(head.checksum, change);
    return write_bytes(skb, l4, &head, sizeof(head));
}

/* Answers a ping (RFC 1122 section 3.2.2.6, RFC 4443 section 4.2). */
__noinline int icmp_echo(struct __sk_buff *skb, struct packet *packet)
{
    if (!packet || !turn_allowed(packet))
        return drop(DROP_SPOOFED);
    if (!limit_allows(LIMIT_ECHO, ECHOES_PER_SECOND))
        return drop(DROP_ECHO_LIMITED);
    __u32 length = packet->length - (packet->l4 - L3_OFFSET);
    if (!turn_strip(skb, packet) || !turn_headers(skb, packet, packet->protocol, length, 0) ||
        !echo_message(skb, packet))
        return drop(DROP_WRITE);
    return bpf_redirect(skb->ifindex, 0);
}

/* --- the quoted packet ----------------------------------------------------------------------- */

static __always_inline bool quoted_v4(struct __sk_buff *skb, struct quoted *quoted)
{
    struct iphdr ip;
    if (bpf_skb_load_bytes(skb, quoted->ip, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 ||
        ip.frag_off & bpf_htons(0x1fff))
        return false;
    address_from_v4(&quoted->source, ip.saddr);
    address_from_v4(&quoted->destination, ip.daddr);
    quoted->protocol = ip.protocol;
    quoted->l4 = quoted->ip + ip.ihl * 4;
    return true;
}

/* Steps over the extension headers of the quoted packet, where it is no later fragment. */
static __always_inline bool quoted_extensions(struct __sk_buff *skb, struct quoted *quoted)
{
    for (int i = 0; i < EXTENSION_HEADERS; i++) {
        __u8 header[8];
        if (!parse_is_extension(quoted->protocol))
            return true;
        if (bpf_skb_load_bytes(skb, quoted->l4, header, sizeof(header)))
            return false;
        if (quoted->protocol == IPPROTO_FRAGMENT && (header[2] | (header[3] & 0xf8)))
            return false;
        quoted->l4 += parse_extension_length(quoted->protocol, header);
        quoted->protocol = header[0];
    }
    return !parse_is_extension(quoted->protocol);
}

static __always_inline bool quoted_v6(struct __sk_buff *skb, struct quoted *quoted)
{
    struct ipv6hdr ip;
    if (bpf_skb_load_bytes(skb, quoted->ip, &ip, sizeof(ip)) || ip.version != 6)
        return false;
    __builtin_memcpy(&quoted->source, &ip.saddr, sizeof(quoted->source));
    __builtin_memcpy(&quoted->destination, &ip.daddr, sizeof(quoted->destination));
    quoted->protocol = ip.nexthdr;
    quoted->l4 = quoted->ip + sizeof(ip);
    return quoted_extensions(skb, quoted);
}

/* False where the error is about nothing of ours: not TCP or UDP, or not sent by the address that
 * is now told of it. */
static __always_inline bool quoted_read(struct __sk_buff *skb, const struct packet *packet,
                                        struct quoted *quoted)
{
    __be16 ports[2];
    quoted->v6 = packet->v6;
    quoted->ip = packet->l4 + sizeof(struct icmp_error);
    if (!(packet->v6 ? quoted_v6(skb, quoted) : quoted_v4(skb, quoted)))
        return false;
    if (quoted->protocol != IPPROTO_TCP && quoted->protocol != IPPROTO_UDP)
        return false;
    if (!address_equal(&quoted->source, &packet->destination) ||
        quoted->l4 + sizeof(ports) > L3_OFFSET + packet->length ||
        bpf_skb_load_bytes(skb, quoted->l4, ports, sizeof(ports)))
        return false;
    quoted->source_port = ports[0];
    quoted->destination_port = ports[1];
    return true;
}

/* --- translation ----------------------------------------------------------------------------- */

static __always_inline bool translate_addresses(struct __sk_buff *skb, __u32 ip, bool v6,
                                                const union address *source,
                                                const union address *destination)
{
    if (!v6) {
        __be32 both[2] = {source->words[3], destination->words[3]};
        return write_bytes(skb, ip + offsetof(struct iphdr, saddr), both, sizeof(both));
    }
    union address both[2] = {*source, *destination};
    return write_bytes(skb, ip + offsetof(struct ipv6hdr, saddr), both, sizeof(both));
}

/* Changes a 16-bit checksum in the frame; what that adds to a sum over it goes to `gain`. */
static __always_inline bool translate_field(struct __sk_buff *skb, __u32 offset, sum_t change,
                                            bool partial, bool zero_is_none, sum_t *gain)
{
    __u16 old, new;
    if (bpf_skb_load_bytes(skb, offset, &old, sizeof(old)))
        return false;
    if (zero_is_none && !old)
        return true;
    new = partial ? partial_change(old, change) : checksum_change(old, change);
    if (zero_is_none && !new)
        new = 0xffff;
    *gain += sum_change16(old, new);
    return write_bytes(skb, offset, &new, sizeof(new));
}

/* The quoted packet's transport header: ports, and the checksum where the quotation reaches that
 * far. Adds to `gain` what a sum over it gains. */
static __always_inline bool translate_transport(struct __sk_buff *skb, const struct quoted *quoted,
                                                const struct endpoints *to, __u32 end, sum_t change,
                                                sum_t *gain)
{
    __be16 ports[2] = {to->source_port, to->destination_port};
    sum_t of_ports = sum_change16(quoted->source_port, ports[0]) +
                     sum_change16(quoted->destination_port, ports[1]);
    if (!write_bytes(skb, quoted->l4, ports, sizeof(ports)))
        return false;
    bool udp = quoted->protocol == IPPROTO_UDP;
    __u32 field =
        quoted->l4 + (udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check));
    if (field + sizeof(__u16) > end) {
        *gain += of_ports;
        return true;
    }
    if (!checksum_left(skb)) {
        *gain += of_ports;
        return translate_field(skb, field, change + of_ports, false, udp, gain);
    }
    /* Left to the hardware is the quoted checksum (icmp_error.h): the sum over the transport part
     * will be the complement of the field, ports or not. */
    sum_t of_field = 0;
    if (!translate_field(skb, field, change, true, false, &of_field))
        return false;
    *gain += (__u16)~sum_fold(of_field);
    return true;
}

static __always_inline bool translate_quoted(struct __sk_buff *skb, const struct packet *packet,
                                             const struct quoted *quoted,
                                             const struct endpoints *to, sum_t *gain)
{
    sum_t change = sum_change_address(&quoted->source, to->source) +
                   sum_change_address(&quoted->destination, to->destination);
    *gain += change;
    if (!translate_addresses(skb, quoted->ip, quoted->v6, to->source, to->destination))
        return false;
    if (!quoted->v6 && !translate_field(skb, quoted->ip + offsetof(struct iphdr, check), change,
                                        false, false, gain))
        return false;
    return translate_transport(skb, quoted, to, L3_OFFSET + packet->length, change, gain);
}

/* The error's own IP header, a hop further. */
static __always_inline bool translate_outer(struct __sk_buff *skb, const struct packet *packet,
                                            const union address *source,
                                            const union address *destination, sum_t change)
{
    __u8 hop_limit = packet->hop_limit - 1;
    sum_t gain = 0;
    if (!translate_addresses(skb, L3_OFFSET, packet->v6, source, destination))
        return false;
    if (packet->v6)
        return write_bytes(skb, L3_OFFSET + offsetof(struct ipv6hdr, hop_limit), &hop_limit, 1);
    change += sum_change16(bpf_htons(1 << 8), 0);
    return write_bytes(skb, L3_OFFSET + offsetof(struct iphdr, ttl), &hop_limit, 1) &&
           translate_field(skb, L3_OFFSET + offsetof(struct iphdr, check), change, false, false,
                           &gain);
}

/* The whole message: the quoted packet to `to`, the error from `source` to `destination`. */
static __always_inline bool translate(struct __sk_buff *skb, const struct packet *packet,
                                      const struct quoted *quoted, const struct endpoints *to,
                                      const union address *source, const union address *destination)
{
    sum_t outer = sum_change_address(&packet->source, source) +
                  sum_change_address(&packet->destination, destination);
    sum_t gain = packet->v6 ? outer : 0, ignored = 0;
    return translate_quoted(skb, packet, quoted, to, &gain) &&
           translate_outer(skb, packet, source, destination, outer) &&
           translate_field(skb, packet->l4 + offsetof(struct icmp_error, checksum), gain, false,
                           false, &ignored);
}

/* --- from a node or a router before it ------------------------------------------------------- */

/* UDP has no other way to say that the port is closed: a passive signal of health. */
static __always_inline void error_noted(struct __sk_buff *skb, const struct packet *packet,
                                        const struct quoted *quoted, const struct reply *reply)
{
    struct icmp_error head;
    if (quoted->protocol != IPPROTO_UDP || bpf_skb_load_bytes(skb, packet->l4, &head, sizeof(head)))
        return;
    __u8 type = packet->v6 ? ICMPV6_DEST_UNREACH : ICMP_DEST_UNREACH;
    __u8 code = packet->v6 ? ICMPV6_PORT_UNREACH : ICMP_PORT_UNREACH;
    if (head.type != type || head.code != code)
        return;
    struct flow_key key;
    flow_key_of_reply(&key, reply, IPPROTO_UDP);
    struct flow *flow = bpf_map_lookup_elem(&flows, &key);
    if (flow)
        tcp_refused(&key, flow);
}

static __always_inline int error_to_client(struct __sk_buff *skb, const struct packet *packet,
                                           const struct quoted *quoted, const struct reply *reply)
{
    __u32 id = reply_frontend(reply);
    struct frontend_key *frontend = bpf_map_lookup_elem(&identities, &id);
    if (!frontend || !frontend->protocol)
        return drop(DROP_ICMP_UNKNOWN);
    struct endpoints to = {
        .source = &reply->client,
        .destination = &frontend->address,
        .source_port = reply->client_port,
        .destination_port = frontend->port,
    };
    /* RFC 5508 section 4.2: a router on the way keeps its address, the node gets its public one. */
    bool from_node = address_equal(&packet->source, &quoted->destination);
    const union address *source = from_node ? &frontend->address : &packet->source;
    struct leg *leg = &settings.legs[reply->leg % LEGS];
    if (!translate(skb, packet, quoted, &to, source, &reply->client) ||
        !write_macs(skb, reply->client_mac, leg->mac))
        return drop(DROP_WRITE);
    return bpf_redirect(leg->ifindex, 0);
}

/* To SNAT address `snat`. TC_ACT_UNSPEC where it is not about a flow of ours. */
__noinline int icmp_from_node(struct __sk_buff *skb, struct packet *packet, __u32 snat)
{
    struct quoted quoted = {};
    if (!packet || packet->fragment != FRAGMENT_NONE || icmp_purpose(skb, packet) != ICMP_ERROR ||
        !quoted_read(skb, packet, &quoted))
        return TC_ACT_UNSPEC;
    struct reply_key key = {
        .node = quoted.destination,
        .node_port = quoted.destination_port,
        .snat_port = quoted.source_port,
        .snat = snat,
        .protocol = quoted.protocol,
    };
    struct reply *reply = bpf_map_lookup_elem(&replies, &key);
    if (!reply)
        return TC_ACT_UNSPEC;
    if (packet->hop_limit <= 1)
        return drop(DROP_TTL);
    error_noted(skb, packet, &quoted, reply);
    return error_to_client(skb, packet, &quoted, reply);
}

/* --- from a client or a router before it ----------------------------------------------------- */

static __always_inline struct flow *error_flow(const struct quoted *quoted)
{
    struct frontend_key service = {
        .address = quoted->source,
        .port = quoted->source_port,
        .protocol = quoted->protocol,
    };
    struct frontend *frontend = bpf_map_lookup_elem(&frontends, &service);
    if (!frontend)
        return NULL;
    struct flow_key key = {
        .client = quoted->destination,
        .frontend = frontend->id,
        .client_port = quoted->destination_port,
        .protocol = quoted->protocol,
    };
    return bpf_map_lookup_elem(&flows, &key);
}

static __always_inline int error_to_node(struct __sk_buff *skb, const struct packet *packet,
                                         const struct quoted *quoted, const struct flow *flow)
{
    __u32 snat_id = flow->snat, backend_id = flow->backend;
    struct snat *snat = bpf_map_lookup_elem(&snats, &snat_id);
    struct backend *backend = bpf_map_lookup_elem(&backends, &backend_id);
    if (!snat || !backend || backend->mode == BACKEND_NONE)
        return drop(DROP_ICMP_UNKNOWN);
    struct endpoints to = {
        .source = &backend->address,
        .destination = &snat->address,
        .source_port = flow->node_port,
        .destination_port = flow->snat_port,
    };
    /* RFC 5508 section 4.2: a router on the client's side is unknown to the nodes, and its address
     * may be refused by them; the error comes from the address that they speak with. */
    if (!translate(skb, packet, quoted, &to, &snat->address, &backend->address))
        return drop(DROP_WRITE);
    if (!(backend->flags & BACKEND_RESOLVED))
        return egress_neighbour(backend, packet->v6);
    if (!write_macs(skb, backend->destination_mac, backend->source_mac))
        return drop(DROP_WRITE);
    return bpf_redirect(backend->ifindex, 0);
}

#define MTU_LEAST_V4    68   /* RFC 791 section 3.2 */
#define MTU_LEAST_V6    1280 /* RFC 8201 section 4: less is discarded */
#define MTU_TOLD_TCP_V4 576
#define MTU_TOLD_UDP_V4 1280

static __always_inline int path_mtu_bounded_v6(__be32 told)
{
    return bpf_ntohl(told) < MTU_LEAST_V6 ? drop(DROP_PATH_MTU) : GOES_ON;
}

/* RFC 1191 section 4: in the lower half of the four bytes after the checksum. */
static __always_inline int path_mtu_bounded_v4(struct __sk_buff *skb, const struct packet *packet,
                                               __be32 rest, __u8 protocol)
{
    __u32 told = bpf_ntohl(rest) & 0xffff;
    __u32 least = protocol == IPPROTO_TCP ? MTU_TOLD_TCP_V4 : MTU_TOLD_UDP_V4;
    if (told < MTU_LEAST_V4)
        return drop(DROP_PATH_MTU);
    if (told >= least)
        return GOES_ON;
    __be16 bounded = bpf_htons(least);
    __u32 field = packet->l4 + offsetof(struct icmp_error, rest) + sizeof(__be16);
    sum_t change = sum_change16(bpf_htons(told), bounded), ignored = 0;
    return write_bytes(skb, field, &bounded, sizeof(bounded)) &&
                   translate_field(skb, packet->l4 + offsetof(struct icmp_error, checksum), change,
                                   false, false, &ignored)
               ? GOES_ON
               : drop(DROP_WRITE);
}

/* The nodes know all clients by one address, so what one client's router tells of its path counts
 * for all of them, and of UDP it is never proved: bounded below by what hardly any path is smaller
 * than. GOES_ON, or a tc action. */
static __always_inline int path_mtu_bounded(struct __sk_buff *skb, const struct packet *packet,
                                            __u8 protocol)
{
    struct icmp_error head;
    if (bpf_skb_load_bytes(skb, packet->l4, &head, sizeof(head)))
        return drop(DROP_WRITE);
    if (packet->v6)
        return head.type == ICMPV6_PKT_TOOBIG ? path_mtu_bounded_v6(head.rest) : GOES_ON;
    bool too_big = head.type == ICMP_DEST_UNREACH && head.code == ICMP_FRAG_NEEDED;
    return too_big ? path_mtu_bounded_v4(skb, packet, head.rest, protocol) : GOES_ON;
}

__noinline int icmp_error_from_client(struct __sk_buff *skb, struct packet *packet)
{
    struct quoted quoted = {};
    if (!packet || !quoted_read(skb, packet, &quoted))
        return TC_ACT_UNSPEC;
    struct flow *flow = error_flow(&quoted);
    if (!flow)
        return TC_ACT_UNSPEC;
    if (packet->hop_limit <= 1)
        return drop(DROP_TTL);
    int verdict = path_mtu_bounded(skb, packet, quoted.protocol);
    return verdict == GOES_ON ? error_to_node(skb, packet, &quoted, flow) : verdict;
}

static __always_inline int icmp_unknown(bool virtual)
{
    return virtual ? drop(DROP_ICMP_UNKNOWN) : TC_ACT_UNSPEC;
}

/* To a VIP: echo answered, errors about a reply of ours translated and sent on to the node. What
 * comes to the host's own address and is none of these is the host's. */
static __always_inline int icmp_to_vip(struct __sk_buff *skb, struct packet *packet,
                                       const struct vip *vip)
{
    bool virtual = vip->kind == VIP_VIRTUAL;
    if (packet->fragment != FRAGMENT_NONE)
        return virtual ? drop(DROP_FRAGMENTED_ICMP) : TC_ACT_UNSPEC;
    switch (icmp_purpose(skb, packet)) {
    case ICMP_PING:
        return virtual ? icmp_echo(skb, packet) : TC_ACT_UNSPEC;
    case ICMP_ERROR: {
        int verdict = icmp_error_from_client(skb, packet);
        return verdict == TC_ACT_UNSPEC ? icmp_unknown(virtual) : verdict;
    }
    case ICMP_NEIGHBOUR:
        return TC_ACT_UNSPEC;
    default:
        return virtual ? drop(DROP_PROTOCOL) : TC_ACT_UNSPEC;
    }
}
