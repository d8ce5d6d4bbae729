// SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only

/* For examples/live.rs: frames as a client would send them, made in the kernel and handed to the
 * stack as if they had come by an interface; and the
 * least that a tc program can do with them. */

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define LONGEST 88

/* Written before loading; examples/live.rs lays it out the same way. */
const volatile struct {
    __u16 words[LONGEST / 2]; /* the frame */
    __u32 flows;              /* source ports, one after the other */
    __u32 leave_by;           /* interface of `redirect` */
    __u16 first_port;
    __u16 port_word; /* where the source port is among the words */
} wanted SEC(".rodata");

__u32 sent;

/* The kernel uses a page again as whoever had it before left it: all of the frame is written. */
SEC("xdp")
int generate(struct xdp_md *xdp)
{
    void *end = (void *)(long)xdp->data_end;
    __u16 *word = (void *)(long)xdp->data;
    __u16 port = wanted.first_port + sent++ % (wanted.flows ?: 1);
    __u32 i;

    for (i = 0; i < LONGEST / 2; i++, word++) {
        if ((void *)(word + 1) > end)
            break;
        *word = i == wanted.port_word ? bpf_htons(port) : wanted.words[i];
    }
    return XDP_PASS;
}

/* An interface takes such frames only while it has an XDP program. */
SEC("xdp")
int pass(struct xdp_md *xdp)
{
    (void)xdp;
    return XDP_PASS;
}

SEC("tc")
int redirect(struct __sk_buff *skb)
{
    (void)skb;
    return bpf_redirect(wanted.leave_by, 0);
}

SEC("tc")
int discard(struct __sk_buff *skb)
{
    (void)skb;
    return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
