/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* Internet checksums by RFC 1624: never recomputed, only changed by what changed. */

#include "layout.h"

/* A sum of 16-bit words in one's complement, not folded: room for 2^32 additions. */
typedef __u64 sum_t;

static __always_inline sum_t sum_address(const union address *address)
{
    return (sum_t)address->words[0] + address->words[1] + address->words[2] + address->words[3];
}

/* new - old, in one's complement. */
static __always_inline sum_t sum_change_address(const union address *old, const union address *new)
{
    sum_t removed = (sum_t)(__u32)~old->words[0] + (__u32)~old->words[1] + (__u32)~old->words[2] +
                    (__u32)~old->words[3];
    return removed + sum_address(new);
}

static __always_inline sum_t sum_change16(__be16 old, __be16 new)
{
    return (sum_t)(__u16)~old + new;
}

static __always_inline __u16 sum_fold(sum_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

/* The checksum field after a change of the data it covers. */
static __always_inline __u16 checksum_change(__u16 checksum, sum_t change)
{
    return ~sum_fold((__u16)~checksum + change);
}

/* The field of a packet whose checksum the hardware completes: the sum of the pseudo-header, not
 * complemented. */
static __always_inline __u16 partial_change(__u16 field, sum_t change)
{
    return sum_fold(field + change);
}
