/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* loadBalancerSourceRanges. Checked when a flow begins, and again with its next packet whenever any
 * range has changed since: a client that is no longer allowed is cut off at once. */

#include "flow.h"

static __always_inline bool range_allows(const struct frontend *frontend,
                                         const union address *client)
{
    if (frontend->ranges == NO_RANGES)
        return true;
    struct range_key key = {.prefix_length = 32 + 128, .set = frontend->ranges, .address = *client};
    return bpf_map_lookup_elem(&ranges, &key);
}

static __always_inline __u32 range_generation(void)
{
    return settings.ranges_generation << FLOW_GENERATION_SHIFT;
}

/* Whether the flow was checked against the ranges as they are now; of a frontend without ranges
 * too, so that its flows need not look at it. */
static __always_inline bool range_checked(const struct flow *flow)
{
    return ((flow->state ^ range_generation()) & FLOW_GENERATION) == 0;
}

static __always_inline bool range_check_again(const struct frontend *frontend, struct flow *flow,
                                              const union address *client)
{
    __u32 generation = range_generation();
    if (!range_allows(frontend, client))
        return false;
    __sync_fetch_and_and(&flow->state, ~(__u32)FLOW_GENERATION);
    __sync_fetch_and_or(&flow->state, generation);
    return true;
}
