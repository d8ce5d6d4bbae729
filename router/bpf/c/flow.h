/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* Flows: the forward and the reverse entry, how long they live, and how they go. Always created
 * reverse first and deleted forward first, so that a forward entry never lacks its reverse. */

#include "count.h"
#include "kernel.h"
#include "parse.h"

static __always_inline void flow_key_of(struct flow_key *key, const struct packet *packet,
                                        __u32 frontend)
{
    key->client = packet->source;
    key->frontend = frontend;
    key->client_port = packet->source_port;
    key->protocol = packet->protocol;
    key->pad = 0;
}

static __always_inline __u32 reply_frontend(const struct reply *reply)
{
    return reply->frontend_flags >> REPLY_FRONTEND_SHIFT;
}

static __always_inline void flow_key_of_reply(struct flow_key *key, const struct reply *reply,
                                              __u8 protocol)
{
    key->client = reply->client;
    key->frontend = reply_frontend(reply);
    key->client_port = reply->client_port;
    key->protocol = protocol;
    key->pad = 0;
}

/* False: the backend's place is empty, so the node's address is not known any more. */
static __always_inline bool reply_key_of_flow(struct reply_key *key, const struct flow *flow,
                                              __u8 protocol)
{
    __u32 id = flow->backend;
    struct backend *backend = bpf_map_lookup_elem(&backends, &id);
    if (!backend || backend->mode == BACKEND_NONE)
        return false;
    key->node = backend->address;
    key->node_port = flow->node_port;
    key->snat_port = flow->snat_port;
    key->snat = flow->snat;
    key->protocol = protocol;
    key->pad = 0;
    return true;
}

static __always_inline struct reply *flow_reply(const struct flow *flow, __u8 protocol)
{
    struct reply_key key;
    return reply_key_of_flow(&key, flow, protocol) ? bpf_map_lookup_elem(&replies, &key) : NULL;
}

/* Whether the forward entry belongs to this reverse entry. */
static __always_inline bool flow_leads_to(const struct flow *flow, const struct reply_key *key,
                                          const struct reply *reply)
{
    return flow->snat_port == key->snat_port && flow->snat == key->snat &&
           flow->node_port == key->node_port && flow->backend == reply->backend;
}

/* Neither answered by the node nor completed by the client: anybody can make it by one packet. */
static __always_inline bool flow_half_open(__u32 state, __u8 protocol)
{
    return !(state & (protocol == IPPROTO_TCP ? FLOW_ESTABLISHED : FLOW_ANSWERED));
}

static __always_inline bool flow_over(__u32 state)
{
    return (state & FLOW_CLOSED) == FLOW_CLOSED || state & FLOW_RESET;
}

/* Seconds without a packet after which a flow in this state is gone. What the client alone says
 * does not shorten it: a client that has closed its side may wait for the node as long as it likes.
 */
static __always_inline __u32 flow_limit(__u32 state, __u8 protocol)
{
    const struct timeouts *limits = &settings.timeouts;
    if (protocol == IPPROTO_UDP)
        return state & FLOW_ESTABLISHED ? limits->udp_answered : limits->udp_unanswered;
    if ((state & FLOW_CLOSED) == FLOW_CLOSED)
        return state & FLOW_NODE_CLOSED_FIRST ? limits->tcp_held : limits->tcp_closed;
    if (state & FLOW_RESET)
        return limits->tcp_closed;
    if (flow_half_open(state, protocol))
        return limits->tcp_half_open;
    if (state & (FLOW_NODE_FIN | FLOW_RESET_IDLE))
        return limits->tcp_closing;
    return limits->tcp_established;
}

static __always_inline __u32 flow_age(const struct flow *flow, const struct reply *reply, __u32 now)
{
    __u32 client = now - flow->last_seen;
    __u32 node = reply ? now - reply->last_seen : client;
    /* A packet on another processor may be a moment ahead of this one's clock. */
    if ((__s32)client < 0 || (__s32)node < 0)
        return 0;
    return client < node ? client : node;
}

static __always_inline bool flow_expired(const struct flow *flow, const struct reply *reply,
                                         __u8 protocol, __u32 now)
{
    return flow_age(flow, reply, now) >= flow_limit(flow->state, protocol);
}

/* 1 if it was there, and not deleted by somebody else first (who takes the reverse entry too). */
__noinline int flow_delete(const struct flow_key *key, const struct flow *flow)
{
    if (!key || !flow)
        return 0;
    struct reply_key reply;
    bool found = reply_key_of_flow(&reply, flow, key->protocol);
    if (bpf_map_delete_elem(&flows, key))
        return 0;
    if (found)
        bpf_map_delete_elem(&replies, &reply);
    return 1;
}

/* --- the budget for half-open flows ----------------------------------------------------------
 *
 * A ring of the latest new flows. Each new flow takes the place of the oldest; where that is still
 * half-open or over, it goes. So at most half_open_budget half-open flows exist, whatever comes. */

static __always_inline void half_open_reclaim(const struct flow_key *key)
{
    struct flow *flow = bpf_map_lookup_elem(&flows, key);
    if (!flow)
        return;
    bool over = flow_over(flow->state);
    bool half_open = !over && flow_half_open(flow->state, key->protocol);
    if (!half_open && !over)
        return;
    if (flow_delete(key, flow) && half_open)
        count(DROP_HALF_OPEN_RECLAIMED);
}

/* The place for the next new flow, its former holder reclaimed. */
static __always_inline struct flow_key *half_open_take(void)
{
    __u32 budget = settings.half_open_budget;
    __u32 slot = __sync_fetch_and_add(&state.half_open_next, 1);
    slot = budget ? slot % budget : 0;
    struct flow_key *place = bpf_map_lookup_elem(&half_open, &slot);
    if (place && place->protocol)
        half_open_reclaim(place);
    return place;
}

__noinline int half_open_enter(const struct flow_key *key)
{
    struct flow_key *place = half_open_take();
    if (place && key)
        *place = *key;
    return 0;
}

#define HALF_OPEN_ROOM 8 /* places looked at to make room in a full table */

/* The flow table is full: of the latest flows, the oldest that are half-open or over go. */
__noinline int half_open_make_room(void)
{
    for (int i = 0; i < HALF_OPEN_ROOM; i++) {
        struct flow_key *place = half_open_take();
        if (place)
            place->protocol = 0;
    }
    return 0;
}
