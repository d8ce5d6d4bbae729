/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* A source address and port towards a node. The reverse entry is the reservation: whoever creates
 * it owns the port. The client's own port comes first (a node in TIME_WAIT then sees the same
 * client again, and PAWS lets it in), then ports spread by hash, then the next address. */

#include "flow.h"
#include "hash.h"

#define SNAT_TRIES           32 /* ports per address */
#define SNAT_ADDRESSES_TRIED 4
#define CURRENT_NETNS        -1

enum snat_result { SNAT_TAKEN, SNAT_OWNED, SNAT_FULL };

struct snat_search {
    struct reply_key key;
    struct reply reply;
    struct reply_key closed; /* the longest closed of the keys in the way */
    __u32 closed_since;
    bool closed_found;
    struct bpf_sock_tuple tuple;
    struct frontend_key service;
};

/* Too large for the stack of a deep chain of calls; one packet at a time is on a processor. */
MAP(BPF_MAP_TYPE_PERCPU_ARRAY, snat_searches, __u32, struct snat_search, 1);

static __always_inline bool snat_tcp_socket(struct __sk_buff *skb, struct bpf_sock_tuple *tuple,
                                            __u32 length)
{
    struct bpf_sock *socket = bpf_skc_lookup_tcp(skb, tuple, length, CURRENT_NETNS, 0);
    if (!socket)
        return false;
    bpf_sk_release(socket);
    return true;
}

static __always_inline bool snat_udp_socket(struct __sk_buff *skb, struct bpf_sock_tuple *tuple,
                                            __u32 length)
{
    struct bpf_sock *socket = bpf_sk_lookup_udp(skb, tuple, length, CURRENT_NETNS, 0);
    if (!socket)
        return false;
    bpf_sk_release(socket);
    return true;
}

/* Whether a socket of the host would get a packet from the node to this address and port. */
static __always_inline bool snat_host_socket(struct __sk_buff *skb, struct snat_search *search,
                                             const struct snat *snat)
{
    const struct reply_key *key = &search->key;
    struct bpf_sock_tuple *tuple = &search->tuple;
    __u32 length = sizeof(tuple->ipv6);
    if (key->node.halves[0] == 0 && key->node.words[2] == bpf_htonl(0xffff)) {
        length = sizeof(tuple->ipv4);
        tuple->ipv4.saddr = key->node.words[3];
        tuple->ipv4.daddr = snat->address.words[3];
        tuple->ipv4.sport = key->node_port;
        tuple->ipv4.dport = key->snat_port;
    } else {
        __builtin_memcpy(tuple->ipv6.saddr, &key->node, sizeof(key->node));
        __builtin_memcpy(tuple->ipv6.daddr, &snat->address, sizeof(snat->address));
        tuple->ipv6.sport = key->node_port;
        tuple->ipv6.dport = key->snat_port;
    }
    return key->protocol == IPPROTO_TCP ? snat_tcp_socket(skb, tuple, length)
                                        : snat_udp_socket(skb, tuple, length);
}

/* Whether a Service claims this port on this address, which is the host's own. */
static __always_inline bool snat_service_port(struct snat_search *search, const struct snat *snat)
{
    search->service.address = snat->address;
    search->service.port = search->key.snat_port;
    search->service.protocol = search->key.protocol;
    return bpf_map_lookup_elem(&frontends, &search->service);
}

static __always_inline void snat_note_closed(struct snat_search *search)
{
    struct reply *reply = bpf_map_lookup_elem(&replies, &search->key);
    if (!reply || !(reply->flags & REPLY_CLOSED))
        return;
    if (search->closed_found && (__s32)(reply->last_seen - search->closed_since) >= 0)
        return;
    search->closed = search->key;
    search->closed_since = reply->last_seen;
    search->closed_found = true;
}

/* Tries to own search->key. Returns enum snat_result. */
__noinline int snat_try(struct __sk_buff *skb, const struct snat *snat, struct snat_search *search)
{
    if (!snat || !search)
        return SNAT_TAKEN;
    if (snat->shared && (snat_service_port(search, snat) || snat_host_socket(skb, search, snat)))
        return SNAT_TAKEN;
    long error = bpf_map_update_elem(&replies, &search->key, &search->reply, BPF_NOEXIST);
    if (!error)
        return SNAT_OWNED;
    if (error != -17 /* EEXIST */)
        return SNAT_FULL;
    snat_note_closed(search);
    return SNAT_TAKEN;
}

static __always_inline bool snat_in_range(const struct snat *snat, __be16 port)
{
    __u16 host = bpf_ntohs(port);
    return host >= snat->low && host <= snat->high;
}

/* Try n of the ports of an address: an odd stride through the range meets no port twice soon. */
static __always_inline __be16 snat_port(const struct snat *snat, __u64 hash, __u32 n)
{
    __u32 range = (__u32)snat->high - snat->low + 1;
    __u32 stride = (hash >> 40) | 1;
    return bpf_htons(snat->low + ((__u32)hash + n * stride) % range);
}

/* Returns enum snat_result. */
__noinline int snat_search_address(struct __sk_buff *skb, struct snat_search *search, __u32 id,
                                   __u64 hash)
{
    if (!search)
        return SNAT_TAKEN;
    struct snat *snat = bpf_map_lookup_elem(&snats, &id);
    if (!snat || !snat->present || snat->low > snat->high)
        return SNAT_TAKEN;
    search->key.snat = id;
    search->key.snat_port = search->reply.client_port;
    if (snat_in_range(snat, search->key.snat_port)) {
        int result = snat_try(skb, snat, search);
        if (result != SNAT_TAKEN)
            return result;
    }
    for (__u32 n = 0; n < SNAT_TRIES; n++) {
        search->key.snat_port = snat_port(snat, hash, n);
        int result = snat_try(skb, snat, search);
        if (result != SNAT_TAKEN)
            return result;
    }
    return SNAT_TAKEN;
}

/* Every port tried was taken: the one that has been closed for longest changes hands. */
static __always_inline int snat_take_over(struct snat_search *search)
{
    if (!search->closed_found)
        return SNAT_TAKEN;
    struct reply *reply = bpf_map_lookup_elem(&replies, &search->closed);
    if (!reply || !(__sync_fetch_and_and(&reply->flags, ~(__u32)REPLY_CLOSED) & REPLY_CLOSED))
        return SNAT_TAKEN; /* somebody else was first */
    struct flow_key flow;
    flow_key_of_reply(&flow, reply, search->closed.protocol);
    bpf_map_delete_elem(&flows, &flow);
    search->key = search->closed;
    if (bpf_map_update_elem(&replies, &search->key, &search->reply, BPF_EXIST))
        return SNAT_TAKEN;
    return SNAT_OWNED;
}

/* Reserves a port; search->key and search->reply come filled but for the SNAT address and port.
 * Returns enum snat_result. */
__noinline int snat_reserve(struct __sk_buff *skb, struct snat_search *search,
                            const struct backend *backend)
{
    if (!search || !backend)
        return SNAT_TAKEN;
    __u32 number = backend->snat_count;
    if (!number)
        return SNAT_TAKEN;
    __u64 hash = hash_address(settings.seed, &search->reply.client);
    __u32 first = (__u32)(hash >> 20);
    hash = hash_mix(hash, search->reply.client_port);
    for (__u32 i = 0; i < SNAT_ADDRESSES_TRIED && i < number; i++) {
        int result =
            snat_search_address(skb, search, backend->snat_first + (first + i) % number, hash);
        if (result != SNAT_TAKEN)
            return result;
    }
    return snat_take_over(search);
}
