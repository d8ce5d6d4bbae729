/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* The few things of the kernel that no uapi header has. */

#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "maps.h"

/* include/linux/skbuff.h */
enum { SUMMED_NONE, SUMMED_UNNECESSARY, SUMMED_COMPLETE, SUMMED_PARTIAL };

struct sk_buff {
    __u8 ip_summed : 2;
} __attribute__((preserve_access_index));

/* Since Linux 6.2; absent before, where the checksum helpers of the kernel do the work. */
extern void *bpf_cast_to_kern_ctx(void *context) __ksym __weak;

/* Set before loading where an older kernel's ways are to be taken on a newer one. */
const volatile bool older_kernel SEC(".rodata.kernel") = false;

static __always_inline bool kernel_shows_skb(void)
{
    return !older_kernel && bpf_ksym_exists(bpf_cast_to_kern_ctx);
}

/* A clock that costs no call. It stands still while the machine sleeps, as its flows do. */
static __always_inline __u32 now_seconds(void)
{
    __u32 hz = settings.hz;
    return bpf_jiffies64() / (hz ? hz : 250);
}
