/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* ICMP and ICMPv6: errors about flows translated both ways, echo, and the errors that we send. */

#include "count.h"
#include "parse.h"

/* To a VIP: echo answered, errors about a reply of ours translated and sent on to the node. */
static __noinline int icmp_to_vip(struct packet *packet, const struct vip *vip)
{
    (void)packet;
    (void)vip;
    return TC_ACT_UNSPEC;
}

/* To SNAT address `snat`: errors about a flow translated and sent on to the client, anything else
 * is the host's. */
static __noinline int icmp_to_snat(struct packet *packet, __u32 snat)
{
    (void)packet;
    (void)snat;
    return TC_ACT_UNSPEC;
}

/* Answers `packet`, not yet changed, with time exceeded. */
static __noinline int icmp_time_exceeded(struct packet *packet)
{
    (void)packet;
    return drop(DROP_TTL);
}

/* Answers `packet`, not yet changed, with fragmentation needed or packet too big. `mtu` is what the
 * next link takes, in bytes of IP. */
static __noinline int icmp_too_big(struct packet *packet, __u32 mtu)
{
    (void)packet;
    (void)mtu;
    return drop(DROP_TOO_BIG);
}
