/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* Out of the right leg to the right neighbour. */

#include "count.h"
#include "kernel.h"
#include "parse.h"

#define AF_INET  2
#define AF_INET6 10

/* The bytes of IP that the largest frame of this packet will have on the wire: a super-packet is
 * cut into segments of gso_size. */
static __always_inline __u32 egress_length(const struct packet *packet)
{
    __u32 length = packet->skb->len - L3_OFFSET;
    __u32 segment = packet->skb->gso_size;
    if (!segment)
        return length;
    __u32 header = sizeof(struct udphdr);
    if (packet->protocol == IPPROTO_TCP) {
        struct tcphdr *tcp = packet_l4(packet, sizeof(*tcp));
        header = tcp ? tcp->doff * 4 : sizeof(*tcp);
    }
    return packet->l4 - L3_OFFSET + header + segment;
}

static __always_inline bool egress_fits(const struct packet *packet, __u32 mtu)
{
    if (packet->skb->len - L3_OFFSET <= mtu)
        return true;
    return packet->skb->gso_size && egress_length(packet) <= mtu;
}

static __always_inline int egress_frame(struct packet *packet, __u32 ifindex,
                                        const __u8 *destination, const __u8 *source)
{
    struct ethhdr *ethernet = packet->data;
    if ((void *)(ethernet + 1) > packet->end)
        return drop(DROP_WRITE);
    __builtin_memcpy(ethernet->h_dest, destination, MAC_LENGTH);
    __builtin_memcpy(ethernet->h_source, source, MAC_LENGTH);
    return bpf_redirect(ifindex, 0);
}

/* The kernel's neighbour code finds the MAC: for the first packets towards a node. */
static __noinline int egress_neighbour(const struct backend *backend, bool v6)
{
    const union address *hop =
        backend->flags & BACKEND_GATEWAY ? &backend->gateway : &backend->address;
    struct bpf_redir_neigh neighbour = {.nh_family = v6 ? AF_INET6 : AF_INET};
    if (v6)
        __builtin_memcpy(neighbour.ipv6_nh, hop, sizeof(neighbour.ipv6_nh));
    else
        neighbour.ipv4_nh = hop->words[3];
    return bpf_redirect_neigh(backend->ifindex, &neighbour, sizeof(neighbour), 0);
}

static __always_inline int egress_to_node(struct packet *packet, const struct backend *backend)
{
    if (!(backend->flags & BACKEND_RESOLVED))
        return egress_neighbour(backend, packet->v6);
    return egress_frame(packet, backend->ifindex, backend->destination_mac, backend->source_mac);
}

static __always_inline int egress_to_client(struct packet *packet, const struct reply *reply)
{
    struct leg *leg = &settings.legs[reply->leg % LEGS];
    return egress_frame(packet, leg->ifindex, reply->client_mac, leg->mac);
}
