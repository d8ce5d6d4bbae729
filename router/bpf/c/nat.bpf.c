// SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only

/* The path of a packet through the load balancer: full NAT between clients and nodes. One program
 * for the ingress of every leg; each concern has a header of its own. What is not ours goes on
 * untouched (TC_ACT_UNSPEC: the next program, then the host's stack). */

#include "maps.h"
#include "kernel.h"
#include "parse.h"
#include "answer.h"
#include "count.h"
#include "forward.h"
#include "fragment.h"
#include "frontend.h"
#include "icmp.h"
#include "refuse.h"
#include "reverse.h"
#include "sweep.h"

static __always_inline bool is_icmp(const struct packet *packet)
{
    return packet->protocol == (packet->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

static __always_inline bool has_ports(const struct packet *packet)
{
    return packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP;
}

/* A packet to a VIP that no frontend takes. */
static __always_inline int to_vip(struct __sk_buff *skb, struct packet *packet)
{
    struct vip *vip = bpf_map_lookup_elem(&vips, &packet->destination);
    if (!vip || !leg_sees(skb->ifindex, vip->legs))
        return TC_ACT_UNSPEC;
    if (is_icmp(packet))
        return icmp_to_vip(skb, packet, vip);
    if (vip->kind == VIP_HOST)
        return TC_ACT_UNSPEC;
    if (!has_ports(packet))
        return drop(DROP_PROTOCOL);
    return answer_with(packet, ANSWER_REFUSED, DROP_CLOSED_PORT);
}

/* A packet to one of our SNAT addresses, which may be the host's own and a VIP too. */
static __always_inline int to_snat(struct __sk_buff *skb, struct packet *packet)
{
    __u32 snat = snat_of(&packet->destination);
    if (snat == NO_SNAT)
        return TC_ACT_UNSPEC;
    if (is_icmp(packet))
        return icmp_from_node(skb, packet, snat);
    return has_ports(packet) ? from_node(packet, snat) : TC_ACT_UNSPEC;
}

/* GOES_ON where no frontend takes the packet. A frontend that was remembered is looked up only
 * where more than its id is needed. */
static __always_inline int to_frontend(struct __sk_buff *skb, struct packet *packet)
{
    struct frontend_key key = {
        .address = packet->destination,
        .port = packet->destination_port,
        .protocol = packet->protocol,
    };
    __u32 generation = settings.frontends_generation;
    struct flow_key flow_key;
    struct flow *flow = NULL;
    flow_key_of(&flow_key, packet, frontend_remembered(&key, generation));
    if (flow_key.frontend != NO_FRONTEND) {
        flow = bpf_map_lookup_elem(&flows, &flow_key);
        if (flow && flow_quiet(packet, flow))
            return forward(skb, packet, flow);
    }
    struct frontend *frontend = bpf_map_lookup_elem(&frontends, &key);
    if (!frontend)
        return GOES_ON;
    if (flow_key.frontend != frontend->id) {
        frontend_remember(&key, frontend->id, generation);
        flow_key.frontend = frontend->id;
        flow = bpf_map_lookup_elem(&flows, &flow_key);
    }
    return from_client(skb, packet, frontend, &flow_key, flow);
}

static __always_inline int to_service(struct __sk_buff *skb, struct packet *packet)
{
    int verdict = has_ports(packet) ? to_frontend(skb, packet) : GOES_ON;
    return verdict == GOES_ON ? to_vip(skb, packet) : verdict;
}

/* A later fragment whose first has not come: lost, unless the host itself may want it. */
static __noinline int to_us_unknown_fragment(struct packet *packet)
{
    struct vip *vip = bpf_map_lookup_elem(&vips, &packet->destination);
    return vip && vip->kind == VIP_VIRTUAL ? drop(DROP_FRAGMENT_UNKNOWN) : TC_ACT_UNSPEC;
}

/* A packet to an address that may be ours. */
static __always_inline int to_us(struct __sk_buff *skb, struct packet *packet, __u8 classes)
{
    packet->now = now_seconds();
    if (packet->fragment != FRAGMENT_NONE && !fragment_ports(packet))
        return to_us_unknown_fragment(packet);
    if (classes & CLASS_SNAT) {
        int verdict = to_snat(skb, packet);
        if (verdict != TC_ACT_UNSPEC)
            return verdict;
    }
    return classes & CLASS_VIP ? to_service(skb, packet) : TC_ACT_UNSPEC;
}

/* Sends the answer that a verdict asks for. */
static __always_inline int finish(struct __sk_buff *skb, struct packet *packet, int verdict)
{
    packet_frame(packet, skb);
    switch (verdict) {
    case ANSWER_REFUSED:
        return refuse(skb, packet, packet->note);
    case ANSWER_TIME_EXCEEDED:
        return icmp_time_exceeded(skb, packet);
    case ANSWER_TOO_BIG:
        return icmp_too_big(skb, packet, packet->note);
    default:
        return verdict;
    }
}

/* A packet that cannot be followed. The host's stack would drop it without a word where it is to a
 * VIP that only we have. */
__noinline int not_parsed(struct __sk_buff *skb, struct packet *packet, int parsed)
{
    if (!packet || skb->pkt_type != PACKET_HOST)
        return TC_ACT_UNSPEC;
    struct vip *vip = bpf_map_lookup_elem(&vips, &packet->destination);
    if (!vip || vip->kind != VIP_VIRTUAL)
        return TC_ACT_UNSPEC;
    return drop(parsed == PARSED_EXTENSIONS ? DROP_EXTENSION_HEADERS : DROP_MALFORMED);
}

SEC("tc")
int ingress(struct __sk_buff *skb)
{
    struct packet packet = {};
    if (skb->vlan_present || skb->pkt_type == PACKET_OTHERHOST)
        return TC_ACT_UNSPEC;
    if (skb->protocol == bpf_htons(ETH_P_ARP))
        return answer_arp(skb);
    struct frame frame = {(void *)(long)skb->data, (void *)(long)skb->data_end};
    if (!parse_simple(&packet, &frame)) {
        int parsed = parse(skb, &packet);
        if (parsed != PARSED)
            return not_parsed(skb, &packet, parsed);
    }
    packet_frame(&packet, skb);
    if (packet.data + L3_OFFSET > packet.end)
        return TC_ACT_UNSPEC; /* parsed, so it is longer: this tells the verifier */
    if (packet.v6 && is_icmp(&packet)) {
        int verdict = answer_solicitation(&packet);
        if (verdict != TC_ACT_UNSPEC)
            return verdict;
    }
    __u8 classes = settings.classes[hash_class(&packet.destination)];
    if (!classes || skb->pkt_type != PACKET_HOST)
        return TC_ACT_UNSPEC;
    return finish(skb, &packet, to_us(skb, &packet, classes));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
