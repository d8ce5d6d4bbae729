// SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only

/* The path of a packet through the load balancer: full NAT between clients and nodes. One program
 * for the ingress of every leg; each concern has a header of its own. */

#include "maps.h"
#include "kernel.h"
#include "parse.h"
#include "csum.h"
#include "count.h"
#include "answer.h"
#include "fragment.h"
#include "icmp.h"
#include "refuse.h"

/* A frame that is no IP packet, or none that can be followed. */
static __always_inline int not_parsed(struct __sk_buff *skb)
{
    if (skb->protocol == bpf_htons(ETH_P_ARP))
        return answer_arp(skb);
    return TC_ACT_UNSPEC;
}

/* A packet to a VIP that no frontend takes. */
static __always_inline int unserved(struct packet *packet)
{
    struct vip *vip = bpf_map_lookup_elem(&vips, &packet->destination);
    if (!vip)
        return TC_ACT_UNSPEC;
    if (packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6)
        return icmp_to_vip(packet, vip);
    if (vip->kind == VIP_HOST)
        return TC_ACT_UNSPEC;
    return refuse(packet, DROP_CLOSED_PORT);
}

/* A packet from a node to one of our SNAT addresses. */
static __always_inline int from_node(struct packet *packet, __u32 snat)
{
    if (packet->hop_limit <= 1)
        return icmp_time_exceeded(packet);
    if (packet->length > 1500)
        return icmp_too_big(packet, 1500);
    return icmp_to_snat(packet, snat);
}

SEC("tc")
int ingress(struct __sk_buff *skb)
{
    struct packet packet;
    if (skb->vlan_present)
        return TC_ACT_UNSPEC;
    packet_frame(&packet, skb);
    if (parse_l3(&packet) != PARSED)
        return not_parsed(skb);
    if (parse_l4(&packet) != PARSED)
        return TC_ACT_UNSPEC;
    if (packet.protocol == IPPROTO_ICMPV6 && answer_solicitation(&packet) != TC_ACT_UNSPEC)
        return TC_ACT_SHOT;
    if (packet.fragment != FRAGMENT_NONE && !fragment_ports(&packet))
        return drop(DROP_FRAGMENT_UNKNOWN);
    if (settings.snat_count)
        return from_node(&packet, 0);
    return unserved(&packet);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
