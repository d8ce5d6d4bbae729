/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* Hashes. Not keyed against an attacker except by the seed: what they decide (a slot of a table, a
 * port to try first) does no harm when guessed. */

#include "layout.h"

#define HASH_MULTIPLIER 0x9e3779b97f4a7c15

static __always_inline __u64 hash_mix(__u64 hash, __u64 value)
{
    hash = (hash ^ value) * HASH_MULTIPLIER;
    return hash ^ hash >> 32;
}

static __always_inline __u64 hash_address(__u64 hash, const union address *address)
{
    return hash_mix(hash_mix(hash, address->halves[0]), address->halves[1]);
}

/* The index into settings.classes; src/settings.rs computes the same. The last round spreads an
 * address's last byte, which is the highest of a half, over the bits that are the index. */
static __always_inline __u32 hash_class(const union address *address)
{
    return hash_mix(hash_address(0, address), 0) % ADDRESS_CLASSES;
}
