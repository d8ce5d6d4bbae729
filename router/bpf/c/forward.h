/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* From a client to a node. */

#include "egress.h"
#include "leg.h"
#include "range.h"
#include "reverse.h"
#include "rewrite.h"
#include "select.h"
#include "snat.h"
#include "udp.h"
#include "verdict.h"

static __always_inline int forward(struct __sk_buff *skb, struct packet *packet,
                                   const struct flow *flow)
{
    __u32 snat_id = flow->snat, backend_id = flow->backend;
    struct snat *snat = bpf_map_lookup_elem(&snats, &snat_id);
    struct backend *backend = bpf_map_lookup_elem(&backends, &backend_id);
    if (!snat || !snat->present || !backend)
        return drop(DROP_NO_SNAT);
    packet_frame(packet, skb);
    if (packet->hop_limit <= 1)
        return ANSWER_TIME_EXCEEDED;
    if (!egress_fits(packet, backend->mtu))
        return answer_with(packet, ANSWER_TOO_BIG, backend->mtu);
    struct endpoints to = {
        .source = &snat->address,
        .destination = &backend->address,
        .source_port = flow->snat_port,
        .destination_port = flow->node_port,
    };
    if (!rewrite(packet, &to))
        return drop(DROP_WRITE);
    return egress_to_node(packet, backend);
}

/* --- a flow that is there -------------------------------------------------------------------- */

static __always_inline bool flow_is_syn(const struct packet *packet)
{
    return packet->protocol == IPPROTO_TCP &&
           (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* True for almost every packet: nothing to note, nothing to decide. */
static __always_inline bool flow_quiet(const struct packet *packet, const struct flow *flow)
{
    __u32 id = flow->backend;
    struct backend *backend = bpf_map_lookup_elem(&backends, &id);
    return backend && backend->mode == BACKEND_ACTIVE && flow->last_seen == packet->now &&
           range_checked(flow) &&
           (packet->protocol == IPPROTO_UDP || !tcp_client_news(flow->state, packet->tcp_flags));
}

static __always_inline void flow_unanswered(const struct flow_key *key, const struct flow *flow)
{
    struct backend_counters *counters = backend_counts_of(flow->backend);
    if (counters)
        counters->unanswered++;
    event_send(key, flow, EVENT_UNANSWERED);
}

/* Whether the frontend still has the flow's NodePort: it may have been given another, or be another
 * Service's by now. */
static __always_inline bool flow_port_stands(const struct frontend *frontend,
                                             const struct flow *flow)
{
    return flow->node_port == frontend->node_port;
}

/* A SYN on a flow that is there: sent again, or the client's port used again. */
static __always_inline int flow_syn(const struct packet *packet, const struct frontend *frontend,
                                    const struct flow_key *key, struct flow *flow,
                                    const struct backend *backend)
{
    bool stands = flow_port_stands(frontend, flow);
    bool fits = stands && select_fits(frontend, backend, flow->backend);
    if (flow_over(flow->state)) {
        if (!fits)
            return ANEW;
        __sync_fetch_and_and(&flow->state, FLOW_GENERATION);
        return GOES_ON;
    }
    if (flow->state & FLOW_ESTABLISHED)
        return GOES_ON; /* the node answers with a challenge (RFC 5961) */
    if (!(flow->state & FLOW_ANSWERED) && packet->now != flow->last_seen)
        flow_unanswered(key, flow);
    return fits || (stands && backend->mode == BACKEND_ACTIVE) ? GOES_ON : ANEW;
}

/* An address that the host has lost is no source any more. */
static __always_inline bool flow_has_snat(const struct flow *flow)
{
    __u32 id = flow->snat;
    struct snat *snat = bpf_map_lookup_elem(&snats, &id);
    return snat && snat->present;
}

/* One of its ends is no more: begun anew where the packet can begin a flow, else refused. */
static __always_inline int flow_gone(struct packet *packet, const struct flow_key *key,
                                     const struct flow *flow, __u32 reason)
{
    flow_delete(key, flow);
    if (packet->protocol == IPPROTO_UDP || flow_is_syn(packet))
        return ANEW;
    return answer_with(packet, ANSWER_REFUSED, reason);
}

/* Whether the packet came by another leg than the flow's, and one that does not see the VIP: the
 * way back must not turn to it. Counted. */
static __always_inline bool flow_hidden(struct __sk_buff *skb, const struct packet *packet,
                                        const struct reply *reply)
{
    __u32 slot = leg_slot(skb->ifindex);
    if (slot == reply->leg || slot == NO_LEG)
        return false; /* nothing is learnt of a packet that came by no leg */
    struct vip *vip = bpf_map_lookup_elem(&vips, &packet->destination);
    return vip && !leg_sees(skb->ifindex, vip->legs);
}

/* The way back to the client is the way its latest packet came. */
static __always_inline void flow_way_back(struct __sk_buff *skb, struct reply *reply)
{
    struct ethhdr *ethernet = (void *)(long)skb->data;
    __u32 slot = leg_slot(skb->ifindex);
    if (slot == NO_LEG || (void *)(ethernet + 1) > (void *)(long)skb->data_end)
        return;
    leg_learn(slot, ethernet);
    reply->leg = slot;
    __builtin_memcpy(reply->client_mac, ethernet->h_source, MAC_LENGTH);
}

static __always_inline void flow_seen(struct __sk_buff *skb, const struct packet *packet,
                                      struct flow *flow, struct reply *reply)
{
    if (flow->last_seen == packet->now)
        return;
    flow->last_seen = packet->now;
    flow_way_back(skb, reply);
}

/* Whether a flow that is free to move has a better place: its time is over, its NodePort is not the
 * frontend's any more, or its node is in doubt and the table does without it. */
static __always_inline bool flow_moves(const struct packet *packet, const struct frontend *frontend,
                                       const struct flow *flow, const struct reply *reply,
                                       const struct backend *backend)
{
    if (packet->protocol != IPPROTO_UDP && !flow_is_syn(packet))
        return false;
    if (flow_expired(flow, reply, packet->protocol, packet->now))
        return true;
    if (packet->protocol != IPPROTO_UDP)
        return false;
    return !flow_port_stands(frontend, flow) ||
           (backend->mode != BACKEND_ACTIVE && !select_fits(frontend, backend, flow->backend));
}

static __always_inline int flow_attend_live(struct __sk_buff *skb, struct packet *packet,
                                            const struct frontend *frontend,
                                            const struct flow_key *key, struct flow *flow,
                                            const struct backend *backend)
{
    struct reply *reply = flow_reply(flow, key->protocol);
    if (reply && flow_hidden(skb, packet, reply))
        return TC_ACT_UNSPEC;
    if (!reply || flow_moves(packet, frontend, flow, reply, backend))
        return ANEW;
    if (flow_is_syn(packet)) {
        int verdict = flow_syn(packet, frontend, key, flow, backend);
        if (verdict != GOES_ON)
            return verdict;
    }
    if (packet->protocol == IPPROTO_TCP)
        tcp_from_client(skb, packet, flow, reply);
    else
        udp_from_client(packet, flow, reply);
    flow_seen(skb, packet, flow, reply); /* last: whether a reset found it idle has been judged */
    return GOES_ON;
}

/* The rest: state, time, doubt. GOES_ON, ANEW (the flow is then deleted) or a verdict. */
__noinline int flow_attend(struct __sk_buff *skb, struct packet *packet,
                           const struct frontend *frontend, const struct flow_key *key,
                           struct flow *flow)
{
    if (!packet || !frontend || !key || !flow)
        return TC_ACT_UNSPEC;
    __u32 id = flow->backend;
    struct backend *backend = bpf_map_lookup_elem(&backends, &id);
    if (!backend || backend->mode == BACKEND_GONE || backend->mode == BACKEND_NONE)
        return flow_gone(packet, key, flow, DROP_BACKEND_GONE);
    if (!flow_has_snat(flow))
        return flow_gone(packet, key, flow, DROP_NO_SNAT);
    if (!range_checked(flow) && !range_check_again(frontend, flow, &key->client))
        return drop(DROP_SOURCE_RANGE);
    int verdict = flow_attend_live(skb, packet, frontend, key, flow, backend);
    if (verdict == ANEW)
        flow_delete(key, flow);
    return verdict;
}

/* --- a new flow ------------------------------------------------------------------------------ */

/* A source that cannot be answered: 0/8, 127/8, multicast, and what IPv6 has of the kind. */
static __always_inline bool open_spoofed(const struct packet *packet)
{
    const union address *source = &packet->source;
    if (packet->v6)
        return source->bytes[0] == 0xff || source->halves[0] == 0;
    __u8 first = source->bytes[12];
    return first == 0 || first == 127 || first >= 224;
}

static __always_inline void open_refused(const struct frontend *frontend)
{
    struct frontend_counters *counters = frontend_counts_of(frontend->id);
    if (counters)
        counters->refused++;
}

/* A source that is ours. Of two VIPs that answer each other one datagram would go round for ever.
 */
static __always_inline bool open_from_ourselves(const struct packet *packet)
{
    __u8 classes = settings.classes[hash_class(&packet->source)];
    return (classes & CLASS_VIP && bpf_map_lookup_elem(&vips, &packet->source)) ||
           (classes & CLASS_SNAT && snat_of(&packet->source) != NO_SNAT);
}

/* Whether a flow may begin with this packet; else a tc action. */
static __always_inline int open_permitted(struct packet *packet, const struct frontend *frontend,
                                          __u32 slot)
{
    struct vip *vip = bpf_map_lookup_elem(&vips, &packet->destination);
    if (!vip)
        return TC_ACT_UNSPEC;
    if (slot == NO_LEG) {
        count(DROP_LEG_UNKNOWN);
        return TC_ACT_UNSPEC;
    }
    if (!(vip->legs >> slot & 1)) {
        count(DROP_NOT_VISIBLE);
        return TC_ACT_UNSPEC;
    }
    if (open_spoofed(packet) || open_from_ourselves(packet))
        return drop(DROP_SPOOFED);
    if (!range_allows(frontend, &packet->source)) {
        open_refused(frontend);
        return drop(DROP_SOURCE_RANGE);
    }
    if (packet->protocol == IPPROTO_TCP && !flow_is_syn(packet))
        return vip->kind == VIP_HOST ? TC_ACT_UNSPEC
                                     : answer_with(packet, ANSWER_REFUSED, DROP_NO_FLOW);
    if (packet->fragment == FRAGMENT_LATER)
        return drop(DROP_FRAGMENT_UNKNOWN);
    return GOES_ON;
}

static __always_inline void open_search(struct snat_search *search, struct __sk_buff *skb,
                                        const struct flow_key *key, const struct flow *flow,
                                        const struct backend *backend)
{
    __builtin_memset(search, 0, sizeof(*search));
    search->key.node = backend->address;
    search->key.node_port = flow->node_port;
    search->key.protocol = key->protocol;
    search->reply.client = key->client;
    search->reply.client_port = key->client_port;
    search->reply.frontend_flags = key->frontend << REPLY_FRONTEND_SHIFT;
    search->reply.last_seen = flow->last_seen;
    search->reply.backend = flow->backend;
    flow_way_back(skb, &search->reply);
}

static __always_inline void open_told(const struct frontend *frontend, const struct flow_key *key,
                                      const struct flow *flow)
{
    struct frontend_counters *of_frontend = frontend_counts_of(frontend->id);
    if (of_frontend)
        of_frontend->flows++;
    struct backend_counters *of_backend = backend_counts_of(flow->backend);
    if (of_backend)
        of_backend->flows++;
    if (frontend->flags & FRONTEND_LOG)
        event_send(key, flow, EVENT_NEW_FLOW);
}

/* No port was left: told to user space, and visibly refused to nobody (the client tries again). */
static __always_inline int open_no_port(const struct flow_key *key, const struct flow *flow)
{
    event_send(key, flow, EVENT_SNAT_EXHAUSTED);
    return drop(DROP_SNAT_EXHAUSTED);
}

/* Writes both entries. GOES_ON, or a tc action. */
__noinline int open_entries(struct __sk_buff *skb, const struct flow_key *key, struct flow *flow)
{
    if (!key || !flow)
        return TC_ACT_UNSPEC;
    __u32 id = flow->backend;
    struct backend *backend = bpf_map_lookup_elem(&backends, &id);
    if (!backend)
        return drop(DROP_NO_BACKEND);
    __u32 first = 0;
    struct snat_search *search = bpf_map_lookup_elem(&snat_searches, &first);
    if (!search)
        return drop(DROP_FLOWS_FULL);
    open_search(search, skb, key, flow, backend);
    int result = snat_reserve(skb, search, backend);
    if (result == SNAT_FULL) {
        half_open_make_room();
        result = snat_reserve(skb, search, backend);
    }
    if (result == SNAT_TAKEN)
        return open_no_port(key, flow);
    if (result == SNAT_FULL)
        return drop(DROP_FLOWS_FULL);

    flow->snat = search->key.snat;
    flow->snat_port = search->key.snat_port;
    if (!bpf_map_update_elem(&flows, key, flow, BPF_NOEXIST))
        return GOES_ON;
    struct flow *winner = bpf_map_lookup_elem(&flows, key);
    if (winner) {
        bpf_map_delete_elem(&replies, &search->key);
        *flow = *winner; /* the same client's packet on another processor was first */
        return GOES_ON;
    }
    half_open_make_room();
    if (!bpf_map_update_elem(&flows, key, flow, BPF_NOEXIST))
        return GOES_ON;
    bpf_map_delete_elem(&replies, &search->key);
    return drop(DROP_FLOWS_FULL);
}

/* Creates the entries of a new flow. GOES_ON, or a verdict. */
__noinline int open_flow(struct __sk_buff *skb, struct packet *packet,
                         const struct frontend *frontend, const struct flow_key *key)
{
    if (!packet || !frontend || !key)
        return TC_ACT_UNSPEC;
    int verdict = open_permitted(packet, frontend, leg_slot(skb->ifindex));
    if (verdict != GOES_ON)
        return verdict;
    __u32 id = select_backend(key, frontend, packet->now);
    if (id == NO_BACKEND) {
        open_refused(frontend);
        return answer_with(packet, ANSWER_REFUSED, DROP_NO_BACKEND);
    }
    struct flow flow = {
        .backend = id,
        .node_port = frontend->node_port,
        .last_seen = packet->now,
        .state = range_generation(),
    };
    verdict = open_entries(skb, key, &flow);
    if (verdict != GOES_ON)
        return verdict;
    half_open_enter(key);
    open_told(frontend, key, &flow);
    return GOES_ON;
}

/* --- both ------------------------------------------------------------------------------------ */

/* `flow` is what there is of it so far, or NULL. */
static __always_inline int from_client(struct __sk_buff *skb, struct packet *packet,
                                       const struct frontend *frontend, const struct flow_key *key,
                                       struct flow *flow)
{
    int verdict = ANEW;
    if (flow)
        verdict =
            flow_quiet(packet, flow) ? GOES_ON : flow_attend(skb, packet, frontend, key, flow);
    if (verdict == ANEW) {
        verdict = open_flow(skb, packet, frontend, key);
        flow = bpf_map_lookup_elem(&flows, key);
    }
    if (verdict != GOES_ON)
        return verdict;
    return flow ? forward(skb, packet, flow) : drop(DROP_NO_FLOW);
}
