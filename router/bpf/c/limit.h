/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* How many answers the program gives a second: enough for every honest client, not enough to make
 * the host a reflector (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f)).
 *
 * Packets too big have a limit of their own: neither a flood of closed ports nor one of expiring
 * packets must stop path MTU discovery. One number a limit: the time at which the bucket is full
 * again. Processors that race for it may let one more through. */

#include "maps.h"

#define LIMIT_BURST 1000000000ull /* nanoseconds: a second's worth at once */

static __always_inline bool limit_allows(enum limit limit, __u64 per_second)
{
    __u64 now = bpf_ktime_get_ns();
    __u64 *place = &state.limits[limit % LIMITS];
    __u64 full = *place;
    if (full < now)
        full = now;
    if (full - now >= LIMIT_BURST)
        return false;
    *place = full + LIMIT_BURST / per_second;
    return true;
}
