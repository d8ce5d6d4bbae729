// SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only

/* Connections of the edge host itself to a VIP. Their packets never pass the ingress of a leg, so
 * their sockets are sent to a node when they connect, and go on believing that they talk to the
 * VIP. What nobody serves is refused at once: never a connection that hangs. */

#include "maps.h"
#include "kernel.h"
#include "count.h"
#include "select.h"

#include <linux/in.h>
#include <bpf/bpf_endian.h>

#define SOCKET_REFUSED 0
#define SOCKET_GOES_ON 1
#define ECONNREFUSED   111

MAP(BPF_MAP_TYPE_LRU_HASH, host_peers, struct host_key, struct host_peer, 16384);

struct destination {
    union address address;
    __be16 port;
};

static __always_inline void destination_v4(struct destination *to, struct bpf_sock_addr *context)
{
    to->address.halves[0] = 0;
    to->address.words[2] = bpf_htonl(0xffff);
    to->address.words[3] = context->user_ip4;
    to->port = context->user_port;
}

static __always_inline void destination_v6(struct destination *to, struct bpf_sock_addr *context)
{
    to->address.words[0] = context->user_ip6[0];
    to->address.words[1] = context->user_ip6[1];
    to->address.words[2] = context->user_ip6[2];
    to->address.words[3] = context->user_ip6[3];
    to->port = context->user_port;
}

static __always_inline void destination_write_v4(const struct destination *to,
                                                 struct bpf_sock_addr *context)
{
    context->user_ip4 = to->address.words[3];
    context->user_port = to->port;
}

static __always_inline void destination_write_v6(const struct destination *to,
                                                 struct bpf_sock_addr *context)
{
    context->user_ip6[0] = to->address.words[0];
    context->user_ip6[1] = to->address.words[1];
    context->user_ip6[2] = to->address.words[2];
    context->user_ip6[3] = to->address.words[3];
    context->user_port = to->port;
}

/* Other namespaces of the machine have networks of their own. */
static __always_inline bool host_concerned(struct bpf_sock_addr *context)
{
    return settings.netns_cookie && bpf_get_netns_cookie(context) == settings.netns_cookie &&
           (context->protocol == IPPROTO_TCP || context->protocol == IPPROTO_UDP);
}

static __always_inline int host_refused(__u32 reason)
{
    count(reason);
    bpf_set_retval(-ECONNREFUSED);
    return SOCKET_REFUSED;
}

/* A port of a VIP that is no frontend: nobody's, unless the address is the host's own. */
static __always_inline int host_unserved(const struct destination *to)
{
    struct vip *vip = bpf_map_lookup_elem(&vips, &to->address);
    return vip && vip->kind == VIP_VIRTUAL ? host_refused(DROP_CLOSED_PORT) : SOCKET_GOES_ON;
}

static __always_inline struct frontend *host_frontend(struct bpf_sock_addr *context,
                                                      const struct destination *to)
{
    struct frontend_key key = {
        .address = to->address, .port = to->port, .protocol = context->protocol};
    return bpf_map_lookup_elem(&frontends, &key);
}

/* The socket stands for the client; with affinity, all of the host is one. */
static __always_inline struct backend *host_backend(struct bpf_sock_addr *context,
                                                    const struct frontend *frontend)
{
    struct flow_key key = {.frontend = frontend->id, .protocol = context->protocol};
    if (!frontend->affinity_seconds)
        key.client.halves[1] = bpf_get_socket_cookie(context);
    __u32 id = select_backend(&key, frontend, now_seconds());
    return id == NO_BACKEND ? NULL : bpf_map_lookup_elem(&backends, &id);
}

static __always_inline void host_remember(struct bpf_sock_addr *context,
                                          const struct destination *vip,
                                          const struct destination *node)
{
    struct host_key key = {
        .cookie = bpf_get_socket_cookie(context), .node = node->address, .node_port = node->port};
    struct host_peer peer = {.vip = vip->address, .port = vip->port};
    bpf_map_update_elem(&host_peers, &key, &peer, BPF_ANY);
}

/* Where the socket goes instead. SOCKET_GOES_ON with `to` changed or not, or SOCKET_REFUSED. */
static __always_inline int host_translate(struct bpf_sock_addr *context, struct destination *to)
{
    struct frontend *frontend = host_frontend(context, to);
    if (!frontend)
        return host_unserved(to);
    struct backend *backend = host_backend(context, frontend);
    if (!backend)
        return host_refused(DROP_NO_BACKEND);
    struct destination node = {.address = backend->address, .port = frontend->node_port};
    host_remember(context, to, &node);
    *to = node;
    return SOCKET_GOES_ON;
}

/* The VIP in place of the node, where the socket asks who its peer is. */
static __always_inline void host_restore(struct bpf_sock_addr *context, struct destination *from)
{
    struct host_key key = {
        .cookie = bpf_get_socket_cookie(context), .node = from->address, .node_port = from->port};
    struct host_peer *peer = bpf_map_lookup_elem(&host_peers, &key);
    if (!peer)
        return;
    from->address = peer->vip;
    from->port = peer->port;
}

static __always_inline int host_out_v4(struct bpf_sock_addr *context)
{
    struct destination to;
    if (!host_concerned(context))
        return SOCKET_GOES_ON;
    destination_v4(&to, context);
    int verdict = host_translate(context, &to);
    destination_write_v4(&to, context);
    return verdict;
}

static __always_inline int host_out_v6(struct bpf_sock_addr *context)
{
    struct destination to;
    if (!host_concerned(context))
        return SOCKET_GOES_ON;
    destination_v6(&to, context);
    int verdict = host_translate(context, &to);
    destination_write_v6(&to, context);
    return verdict;
}

static __always_inline int host_in_v4(struct bpf_sock_addr *context)
{
    struct destination from;
    if (!host_concerned(context))
        return SOCKET_GOES_ON;
    destination_v4(&from, context);
    host_restore(context, &from);
    destination_write_v4(&from, context);
    return SOCKET_GOES_ON;
}

static __always_inline int host_in_v6(struct bpf_sock_addr *context)
{
    struct destination from;
    if (!host_concerned(context))
        return SOCKET_GOES_ON;
    destination_v6(&from, context);
    host_restore(context, &from);
    destination_write_v6(&from, context);
    return SOCKET_GOES_ON;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *context)
{
    return host_out_v4(context);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *context)
{
    return host_out_v6(context);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *context)
{
    return host_out_v4(context);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *context)
{
    return host_out_v6(context);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *context)
{
    return host_in_v4(context);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *context)
{
    return host_in_v6(context);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *context)
{
    return host_in_v4(context);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *context)
{
    return host_in_v6(context);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
