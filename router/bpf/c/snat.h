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

/* Seconds of silence on both sides after which UDP may lose its port to somebody who finds none: an
 * exchange that was answered, and a stream (QUIC and WireGuard keep theirs alive within 30). */
#define SNAT_EXCHANGE_IDLE 5
#define SNAT_STREAM_IDLE   30

enum snat_result { SNAT_TAKEN, SNAT_OWNED, SNAT_FULL };
/* Established TCP never yields. */
enum snat_claim { CLAIM_NONE, CLAIM_STREAM, CLAIM_EXCHANGE, CLAIM_HALF_OPEN, CLAIM_CLOSED };

struct snat_search {
    struct reply_key key;
    struct reply reply;
    struct reply_key held; /* the readiest of the keys in the way */
    __u32 held_since;      /* when its node was heard last */
    __u32 claim;           /* enum snat_claim */
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

/* How readily a key in the way gives its port to another client. */
static __always_inline enum snat_claim snat_claim(const struct reply *reply, __u8 protocol,
                                                  __u32 idle)
{
    __u32 flags = reply->frontend_flags;
    if (flags & REPLY_TAKEN || (__s32)idle < 0)
        return CLAIM_NONE;
    if (flags & REPLY_CLOSED)
        return CLAIM_CLOSED;
    if (!(flags & (protocol == IPPROTO_TCP ? REPLY_ESTABLISHED : REPLY_ANSWERED)))
        return CLAIM_HALF_OPEN;
    if (protocol == IPPROTO_TCP)
        return CLAIM_NONE;
    if (flags & REPLY_ESTABLISHED)
        return idle >= SNAT_STREAM_IDLE ? CLAIM_STREAM : CLAIM_NONE;
    return idle >= SNAT_EXCHANGE_IDLE ? CLAIM_EXCHANGE : CLAIM_NONE;
}

/* Of the keys in the way the readiest is remembered, of several the longest idle. */
static __always_inline void snat_note_held(struct snat_search *search)
{
    struct reply *reply = bpf_map_lookup_elem(&replies, &search->key);
    if (!reply)
        return;
    __u32 since = reply->last_seen;
    __u32 claim = snat_claim(reply, search->key.protocol, search->reply.last_seen - since);
    if (!claim || claim < search->claim)
        return;
    if (claim == search->claim && (__s32)(since - search->held_since) >= 0)
        return;
    search->held = search->key;
    search->held_since = since;
    search->claim = claim;
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
    snat_note_held(search);
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

/* Whether the forward entry, which knows the client's half too, bears the claim out. */
static __always_inline bool snat_yields(const struct snat_search *search, const struct flow *flow)
{
    __u32 idle = search->reply.last_seen - flow->last_seen;
    switch (search->claim) {
    case CLAIM_CLOSED:
        return flow_over(flow->state);
    case CLAIM_HALF_OPEN:
        return flow_over(flow->state) || flow_half_open(flow->state, search->held.protocol);
    case CLAIM_EXCHANGE:
        return !(flow->state & FLOW_ESTABLISHED) && (__s32)idle >= SNAT_EXCHANGE_IDLE;
    case CLAIM_STREAM:
        return (__s32)idle >= SNAT_STREAM_IDLE;
    default:
        return false;
    }
}

static __always_inline void snat_reclaimed(const struct snat_search *search)
{
    if (search->claim == CLAIM_HALF_OPEN)
        count(DROP_HALF_OPEN_RECLAIMED);
    else if (search->claim != CLAIM_CLOSED)
        count(DROP_EXCHANGE_RECLAIMED);
}

/* Ends the flow whose port is taken over. False: it has come to life meanwhile. A reverse entry
 * that no flow leads to belongs to nobody. */
static __always_inline bool snat_end_holder(const struct snat_search *search, struct reply *reply)
{
    struct flow_key key;
    flow_key_of_reply(&key, reply, search->held.protocol);
    struct flow *flow = bpf_map_lookup_elem(&flows, &key);
    if (!flow || !flow_leads_to(flow, &search->held, reply))
        return true;
    if (!snat_yields(search, flow))
        return false;
    bpf_map_delete_elem(&flows, &key);
    snat_reclaimed(search);
    return true;
}

/* Every port tried was taken: the one whose holder needs it least changes hands. */
static __always_inline int snat_take_over(struct snat_search *search)
{
    if (search->claim == CLAIM_NONE)
        return SNAT_TAKEN;
    struct reply *reply = bpf_map_lookup_elem(&replies, &search->held);
    if (!reply || __sync_fetch_and_or(&reply->frontend_flags, REPLY_TAKEN) & REPLY_TAKEN)
        return SNAT_TAKEN; /* somebody else was first */
    if (!snat_end_holder(search, reply)) {
        __sync_fetch_and_and(&reply->frontend_flags, ~(__u32)REPLY_TAKEN);
        return SNAT_TAKEN;
    }
    search->key = search->held;
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
