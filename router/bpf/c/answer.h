/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* Answers ARP requests (RFC 826, RFC 5227) and neighbour solicitations (RFC 4861, RFC 4862) for
 * the addresses that user space says this host answers for on this leg, so that none goes
 * unanswered while the daemons restart. Everything else passes untouched: conflicts, announcements
 * and the neighbours of the host itself are others' business, who see the frames before us. */

#include <linux/if_packet.h>
#include "bytes.h"
#include "count.h"

#define NDP_HOP_LIMIT      255
#define NDP_OPTIONS        8 /* most that are stepped over */
#define NDP_SOLICITATION   135
#define NDP_ADVERTISEMENT  136
#define NDP_SOURCE_OPTION  1
#define NDP_TARGET_OPTION  2
#define NDP_SOLICITED_FLAG 0x40
#define NDP_OVERRIDE_FLAG  0x20

struct arp {
    __be16 hardware;
    __be16 protocol;
    __u8 hardware_length;
    __u8 protocol_length;
    __be16 operation;
    __u8 sender_mac[MAC_LENGTH];
    __be32 sender;
    __u8 target_mac[MAC_LENGTH];
    __be32 target;
} __attribute__((packed));
_Static_assert(sizeof(struct arp) == 28, "arp");

struct solicitation {
    __u8 type;
    __u8 code;
    __be16 checksum;
    __be32 reserved;
    union address target;
};
_Static_assert(sizeof(struct solicitation) == 24, "solicitation");

struct advertisement {
    __u8 type;
    __u8 code;
    __u16 checksum;
    __u8 flags;
    __u8 reserved[3];
    union address target;
    __u8 option;
    __u8 option_length; /* in units of 8 bytes */
    __u8 mac[MAC_LENGTH];
};
_Static_assert(sizeof(struct advertisement) == 32, "advertisement");

static __always_inline bool mac_equal(const __u8 *a, const __u8 *b)
{
    return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3] && a[4] == b[4] &&
           a[5] == b[5];
}

/* Whether one station can have the address. */
static __always_inline bool mac_is_station(const __u8 *mac)
{
    return !(mac[0] & 1) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

/* The answer for an address on the leg of this frame, while its lease lasts. */
static __always_inline struct answer *answer_for(struct __sk_buff *skb,
                                                 const union address *address)
{
    struct answer_key key = {.address = *address, .ifindex = skb->ifindex};
    struct answer *answer = bpf_map_lookup_elem(&answers, &key);
    if (!answer || !answer->expires)
        return answer;
    __u64 expires = answer->expires == ANSWER_LEASED ? settings.lease : answer->expires;
    return expires > bpf_ktime_get_boot_ns() ? answer : NULL;
}

/* --- ARP ------------------------------------------------------------------------------------ */

/* RFC 826, "Packet Reception": Ethernet, IPv4, lengths that fit. */
static __always_inline bool arp_is_request(const struct arp *arp)
{
    return arp->hardware == bpf_htons(1) && arp->protocol == bpf_htons(ETH_P_IP) &&
           arp->hardware_length == MAC_LENGTH && arp->protocol_length == 4 &&
           arp->operation == bpf_htons(1);
}

/* A probe has no sender address (RFC 5227 section 2.1.1); an announcement has the target's, and is
 * a conflict for the speaker to judge, not a question. */
static __always_inline bool arp_sender_can_ask(const struct arp *arp)
{
    __u32 sender = bpf_ntohl(arp->sender);
    return mac_is_station(arp->sender_mac) && arp->sender != arp->target &&
           sender >> 28 < 0xe /* neither multicast nor broadcast */ && sender >> 24 != 127;
}

/* An ARP frame. Returns a tc action: TC_ACT_UNSPEC where it is no request for us. */
static __noinline int answer_arp(struct __sk_buff *skb)
{
    struct ethhdr *ethernet = (void *)(long)skb->data;
    struct arp *arp = (void *)(ethernet + 1);
    if (skb->pkt_type == PACKET_OTHERHOST || (void *)(arp + 1) > (void *)(long)skb->data_end)
        return TC_ACT_UNSPEC;
    if (!arp_is_request(arp) || !arp_sender_can_ask(arp))
        return TC_ACT_UNSPEC;

    union address target;
    address_from_v4(&target, arp->target);
    struct answer *answer = answer_for(skb, &target);
    if (!answer || mac_equal(arp->sender_mac, answer->mac) ||
        mac_equal(ethernet->h_source, answer->mac))
        return TC_ACT_UNSPEC;

    struct arp reply = *arp;
    reply.operation = bpf_htons(2);
    reply.sender = arp->target;
    reply.target = arp->sender;
    __builtin_memcpy(reply.sender_mac, answer->mac, MAC_LENGTH);
    __builtin_memcpy(reply.target_mac, arp->sender_mac, MAC_LENGTH);
    if (!write_macs(skb, reply.target_mac, answer->mac) ||
        !write_bytes(skb, L3_OFFSET, &reply, sizeof(reply)))
        return drop(DROP_WRITE);
    return bpf_redirect(skb->ifindex, 0);
}

/* --- NDP ------------------------------------------------------------------------------------ */

static __always_inline bool address_is_multicast(const union address *address)
{
    return address->bytes[0] == 0xff;
}

static __always_inline bool address_is_unspecified(const union address *address)
{
    return (address->halves[0] | address->halves[1]) == 0;
}

/* ff02::1:ffXX:XXXX with the target's last 24 bits (RFC 4291 section 2.7.1). */
static __always_inline bool address_is_group_of(const union address *group,
                                                const union address *target)
{
    return group->words[0] == bpf_htonl(0xff020000) && group->words[1] == 0 &&
           group->words[2] == bpf_htonl(1) &&
           group->words[3] == (target->words[3] | bpf_htonl(0xff000000));
}

/* RFC 4861 section 7.1.1, as far as the addresses go. */
static __always_inline bool solicitation_is_addressed(const struct packet *packet,
                                                      const union address *target)
{
    if (address_is_multicast(target) || address_is_multicast(&packet->source) ||
        address_equal(&packet->source, target))
        return false;
    if (address_is_unspecified(&packet->source))
        return address_is_group_of(&packet->destination, target);
    return true;
}

/* Steps over the options (RFC 4861 section 4.6): takes the asker's link-layer address where given,
 * and refuses what section 7.1.1 refuses. */
static __always_inline bool solicitation_options(struct __sk_buff *skb, __u32 offset, __u32 end,
                                                 bool detection, __u8 *asker)
{
    for (int i = 0; i < NDP_OPTIONS; i++) {
        __u8 option[8];
        if (offset == end)
            return true;
        if (offset + sizeof(option) > end ||
            bpf_skb_load_bytes(skb, offset, option, sizeof(option)))
            return false;
        offset += option[1] * sizeof(option);
        if (option[1] == 0 || offset > end)
            return false;
        if (option[0] != NDP_SOURCE_OPTION)
            continue;
        if (detection || option[1] != 1)
            return false;
        __builtin_memcpy(asker, option + 2, MAC_LENGTH);
    }
    return offset == end;
}

static __always_inline bool solicitation_checksum(const struct packet *packet,
                                                  struct __sk_buff *skb, __u32 length)
{
    if (checksum_left(skb))
        return true;
    __s64 sum = sum_bytes(skb, packet->l4, length);
    if (sum < 0)
        return false;
    return sum_fold(sum + sum_pseudo(&packet->source, &packet->destination, length,
                                     IPPROTO_ICMPV6)) == 0xffff;
}

/* Turns the frame into the advertisement (RFC 4861 section 7.2.4). Duplicate address detection is
 * answered to all nodes, unsolicited. */
static __noinline int advertise(struct __sk_buff *skb, const union address *asker,
                                const union address *target, const __u8 *mac)
{
    struct ipv6hdr ip = {.version = 6,
                         .payload_len = bpf_htons(sizeof(struct advertisement)),
                         .nexthdr = IPPROTO_ICMPV6,
                         .hop_limit = NDP_HOP_LIMIT};
    struct advertisement advertisement = {.type = NDP_ADVERTISEMENT,
                                          .flags = NDP_OVERRIDE_FLAG,
                                          .target = *target,
                                          .option = NDP_TARGET_OPTION,
                                          .option_length = 1};
    union address to = *asker;
    if (address_is_unspecified(asker)) {
        to.words[0] = bpf_htonl(0xff020000);
        to.words[3] = bpf_htonl(1);
    } else {
        advertisement.flags |= NDP_SOLICITED_FLAG;
    }
    __builtin_memcpy(&ip.saddr, target, sizeof(*target));
    __builtin_memcpy(&ip.daddr, &to, sizeof(to));
    __builtin_memcpy(advertisement.mac, mac, MAC_LENGTH);
    sum_t sum = sum_pseudo(target, &to, sizeof(advertisement), IPPROTO_ICMPV6);
    if (checksum_left(skb)) {
        advertisement.checksum = sum_fold(sum);
    } else {
        sum += (__u32)bpf_csum_diff(NULL, 0, (void *)&advertisement, sizeof(advertisement), 0);
        advertisement.checksum = ~sum_fold(sum);
    }
    __u32 l4 = L3_OFFSET + sizeof(ip);
    return bpf_skb_change_tail(skb, l4 + sizeof(advertisement), 0) == 0 &&
           write_bytes(skb, L3_OFFSET, &ip, sizeof(ip)) &&
           write_bytes(skb, l4, &advertisement, sizeof(advertisement));
}

/* An ICMPv6 packet with any destination. Returns a tc action: TC_ACT_UNSPEC where it is no
 * solicitation for us. */
static __noinline int answer_solicitation(struct packet *packet)
{
    struct __sk_buff *skb = packet->skb;
    struct solicitation *ask = packet_l4(packet, sizeof(*ask));
    __u32 length = packet->length - sizeof(struct ipv6hdr);
    __u32 end = L3_OFFSET + packet->length;
    /* RFC 4861 section 7.1.1: no router has touched it, and nothing stands between. */
    if (!ask || ask->type != NDP_SOLICITATION || ask->code != 0 ||
        packet->hop_limit != NDP_HOP_LIMIT || packet->l4 != L3_OFFSET + sizeof(struct ipv6hdr) ||
        packet->fragment != FRAGMENT_NONE || end > skb->len ||
        packet->length < sizeof(struct ipv6hdr) + sizeof(*ask) || skb->pkt_type == PACKET_OTHERHOST)
        return TC_ACT_UNSPEC;

    union address target = ask->target;
    struct answer *answer = answer_for(skb, &target);
    if (!answer || !solicitation_is_addressed(packet, &target))
        return TC_ACT_UNSPEC;

    __u8 asker[MAC_LENGTH];
    if (bpf_skb_load_bytes(skb, offsetof(struct ethhdr, h_source), asker, sizeof(asker)) ||
        mac_equal(asker, answer->mac))
        return TC_ACT_UNSPEC;
    bool detection = address_is_unspecified(&packet->source);
    if (!solicitation_options(skb, packet->l4 + sizeof(*ask), end, detection, asker) ||
        !solicitation_checksum(packet, skb, length) || !mac_is_station(asker) ||
        mac_equal(asker, answer->mac))
        return TC_ACT_UNSPEC;

    static const __u8 all_nodes[MAC_LENGTH] = {0x33, 0x33, 0, 0, 0, 1};
    if (!write_macs(skb, detection ? all_nodes : asker, answer->mac) ||
        !advertise(skb, &packet->source, &target, answer->mac))
        return drop(DROP_WRITE);
    return bpf_redirect(skb->ifindex, 0);
}
