/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* Which node gets a new flow: client affinity, then Maglev. */

#include "hash.h"
#include "kernel.h"

#define SELECT_TRIES 4 /* slots looked at where a table still names nodes that are gone */

static __always_inline struct maglev_table *select_table(const struct frontend *frontend)
{
    __u32 table = frontend->table;
    __u32 *reference = bpf_map_lookup_elem(&table_refs, &table);
    if (!reference || !*reference)
        return NULL;
    __u32 element = *reference - 1;
    return bpf_map_lookup_elem(&tables, &element);
}

static __always_inline struct backend *select_usable(__u32 id)
{
    struct backend *backend = bpf_map_lookup_elem(&backends, &id);
    if (!backend || (backend->mode != BACKEND_ACTIVE && backend->mode != BACKEND_DOUBTFUL))
        return NULL;
    return backend;
}

static __always_inline bool select_member(const struct maglev_table *table, __u32 id)
{
    return id < BACKENDS && table->members[id / 64] >> id % 64 & 1;
}

/* Whether a flow of this frontend that is still free to move would stay with its backend. */
static __always_inline bool select_fits(const struct frontend *frontend,
                                        const struct backend *backend, __u32 id)
{
    if (backend->mode == BACKEND_ACTIVE || backend->mode == BACKEND_DOUBTFUL) {
        struct maglev_table *table = select_table(frontend);
        return table && select_member(table, id);
    }
    return false;
}

static __always_inline __u64 select_hash(const struct flow_key *key,
                                         const struct frontend *frontend)
{
    __u32 id = frontend->id;
    struct frontend_key *vip = bpf_map_lookup_elem(&identities, &id);
    __u64 hash = hash_address(settings.seed, &key->client);
    if (!vip)
        return hash;
    hash = hash_address(hash, &vip->address);
    __u64 ports = vip->port;
    if (!frontend->affinity_seconds)
        ports |= (__u64)key->client_port << 16;
    return hash_mix(hash, ports << 8 | key->protocol);
}

static __always_inline __u32 select_slot(const struct maglev_table *table, __u64 hash)
{
    __u32 slot = (__u32)(hash >> 16) % TABLE_SLOTS;
    for (int i = 0; i < SELECT_TRIES; i++) {
        barrier_var(slot); /* the verifier does not see that the remainder is in bounds */
        __u32 id = table->slots[slot % TABLE_ELEMENT];
        if (select_usable(id))
            return id;
        slot = slot + 1 == TABLE_SLOTS ? 0 : slot + 1;
    }
    return NO_BACKEND;
}

/* The backend that this client had within the affinity's time, if it still serves. */
static __always_inline __u32 select_remembered(const struct affinity_key *key,
                                               const struct frontend *frontend,
                                               const struct maglev_table *table, __u32 now)
{
    struct affinity *affinity = bpf_map_lookup_elem(&affinities, key);
    if (!affinity || now - affinity->last_seen > frontend->affinity_seconds)
        return NO_BACKEND;
    __u32 id = affinity->backend;
    return select_member(table, id) && select_usable(id) ? id : NO_BACKEND;
}

static __always_inline __u32 select_by_affinity(const struct flow_key *flow,
                                                const struct frontend *frontend,
                                                const struct maglev_table *table, __u32 now)
{
    struct affinity_key key = {.client = flow->client, .frontend = frontend->id};
    __u32 id = select_remembered(&key, frontend, table, now);
    if (id == NO_BACKEND)
        id = select_slot(table, select_hash(flow, frontend));
    if (id == NO_BACKEND)
        return id;
    struct affinity affinity = {.last_seen = now, .backend = id};
    bpf_map_update_elem(&affinities, &key, &affinity, BPF_ANY);
    return id;
}

/* The index of the backend for a new flow, or NO_BACKEND. */
__noinline __u32 select_backend(const struct flow_key *key, const struct frontend *frontend,
                                __u32 now)
{
    if (!key || !frontend)
        return NO_BACKEND;
    struct maglev_table *table = select_table(frontend);
    if (!table)
        return NO_BACKEND;
    if (frontend->affinity_seconds)
        return select_by_affinity(key, frontend, table, now);
    return select_slot(table, select_hash(key, frontend));
}
