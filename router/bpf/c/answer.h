/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* ARP and neighbour solicitations for the VIPs in `answers`. */

#include "count.h"
#include "parse.h"

/* An ARP frame. Returns a tc action. */
static __noinline int answer_arp(struct __sk_buff *skb)
{
    (void)skb;
    return TC_ACT_UNSPEC;
}

/* An ICMPv6 packet, maybe a neighbour solicitation for one of our VIPs, with any destination.
 * Returns TC_ACT_UNSPEC where it is none. */
static __noinline int answer_solicitation(struct packet *packet)
{
    (void)packet;
    return TC_ACT_UNSPEC;
}
