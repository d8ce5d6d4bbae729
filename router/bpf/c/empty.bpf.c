// SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only

/* Nothing: what a test run itself costs, for examples/ns.rs. */

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int empty(struct __sk_buff *skb)
{
    (void)skb;
    return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
