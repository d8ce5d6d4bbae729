/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* The ports of fragments: remembered from the first, given to the later ones. */

#include "maps.h"
#include "parse.h"

static __always_inline void fragment_key_of(struct fragment_key *key, const struct packet *packet)
{
    __builtin_memset(key, 0, sizeof(*key));
    key->source = packet->source;
    key->destination = packet->destination;
    key->id = packet->fragment_id;
    /* RFC 791 has the protocol in the identity of a datagram, RFC 8200 has not. */
    key->protocol = packet->v6 ? 0 : packet->protocol;
}

static __always_inline bool fragment_remember(const struct fragment_key *key,
                                              const struct packet *packet)
{
    struct fragment fragment = {.source_port = packet->source_port,
                                .destination_port = packet->destination_port,
                                .last_seen = packet->now,
                                .protocol = packet->protocol};
    bpf_map_update_elem(&fragments, key, &fragment, BPF_ANY);
    return true;
}

/* Called for packets to our addresses where packet->fragment is not FRAGMENT_NONE. Remembers the
 * ports of a first fragment, fills in those of a later one. False: they are not known. */
static __noinline int fragment_ports(struct packet *packet)
{
    struct fragment_key key;
    fragment_key_of(&key, packet);
    if (packet->fragment == FRAGMENT_FIRST)
        return fragment_remember(&key, packet);
    struct fragment *fragment = bpf_map_lookup_elem(&fragments, &key);
    if (!fragment || packet->now - fragment->last_seen > settings.timeouts.fragment)
        return false;
    packet->source_port = fragment->source_port;
    packet->destination_port = fragment->destination_port;
    packet->protocol = fragment->protocol;
    return true;
}
