/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* Every packet that goes no further has a counted reason. */

#include <linux/pkt_cls.h>
#include "maps.h"

static __always_inline void count(__u32 reason)
{
    __u64 *value = bpf_map_lookup_elem(&drops, &reason);
    if (value)
        (*value)++;
}

static __always_inline int drop(__u32 reason)
{
    count(reason);
    return TC_ACT_SHOT;
}
