// SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only

/* For examples/live.rs: frames as a client would send them, made in the kernel and handed to the
 * stack as if they had come by an interface; and the least that a tc program can do with them. */

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define LONGEST 88
#define BATCH   64 /* frames that the kernel has made before it hands them to the stack */

/* Written before loading; examples/live.rs lays it out the same way. */
const volatile struct {
    __u16 words[LONGEST / 2]; /* the frame */
    __u32 flows;              /* source ports, one after the other */
    __u32 warm_up;            /* frames before the clock starts, a multiple of BATCH */
    __u32 leave_by;           /* interface of `redirect` */
    __u16 first_port;
    __u16 port_word; /* where the source port is among the words */
} wanted SEC(".rodata");

/* What was measured: from the first frame of one batch to the first frame of another. The system
 * call itself takes milliseconds before and after, in which the kernel waits for all processors. */
struct {
    __u64 first; /* nanoseconds */
    __u64 last;
    __u32 frames; /* in between */
    __u32 sent;
} measured;

static __always_inline void measure(__u32 sent)
{
    if (sent < wanted.warm_up || sent % BATCH)
        return;
    measured.last = bpf_ktime_get_ns();
    if (sent == wanted.warm_up)
        measured.first = measured.last;
    measured.frames = sent - wanted.warm_up;
}

/* The kernel uses a page again as whoever had it before left it: all of the frame is written. */
SEC("xdp")
int generate(struct xdp_md *xdp)
{
    void *end = (void *)(long)xdp->data_end;
    __u16 *word = (void *)(long)xdp->data;
    __u32 sent = measured.sent++;
    __u16 port = wanted.first_port + sent % (wanted.flows ?: 1);
    __u32 i;

    measure(sent);
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
