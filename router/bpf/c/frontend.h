/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* Which frontend takes a packet.
 *
 * The look-up by address and port is a good part of what an established packet costs, so what it
 * found is remembered. A hint is an index into `identities`, believed only while that element has
 * the same address and port and no frontend has been written or deleted since. */

#include "hash.h"
#include "maps.h"

#define NO_FRONTEND 0xffffffff

static __always_inline __u64 *frontend_hint_of(const struct frontend_key *key)
{
    __u64 hash = hash_mix(hash_address(0, &key->address), (__u64)key->port << 8 | key->protocol);
    return &state.hints[hash % HINTS];
}

static __always_inline bool frontend_key_equal(const struct frontend_key *a,
                                               const struct frontend_key *b)
{
    return address_equal(&a->address, &b->address) && a->port == b->port &&
           a->protocol == b->protocol;
}

/* The id of the frontend, or NO_FRONTEND: nothing is remembered. */
static __always_inline __u32 frontend_remembered(const struct frontend_key *key, __u32 generation)
{
    __u64 hint = *frontend_hint_of(key);
    if (hint >> 32 != generation)
        return NO_FRONTEND;
    __u32 id = (__u32)hint - 1; /* of an empty hint: no element has this index */
    struct frontend_key *identity = bpf_map_lookup_elem(&identities, &id);
    return identity && frontend_key_equal(identity, key) ? id : NO_FRONTEND;
}

/* `generation` was read before the frontend was looked up, so that a change in between makes the
 * hint stale. Of two frontends with one place the first has it: they would only displace each
 * other.
 */
static __always_inline void frontend_remember(const struct frontend_key *key, __u32 id,
                                              __u32 generation)
{
    __u64 *place = frontend_hint_of(key);
    if (!(__u32)*place || *place >> 32 != generation)
        *place = (__u64)generation << 32 | (id + 1);
}
