/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* The frame's bytes by helper calls: for the packets that are answered instead of forwarded, which
 * are few. These work wherever the bytes lie and keep a checksum that the hardware gave
 * (CHECKSUM_COMPLETE) right. */

#include "csum.h"
#include "kernel.h"
#include "parse.h"

#define SUM_STEP  64
#define SUM_STEPS 20 /* 1,280 bytes: the smallest MTU of IPv6, and longer than any we answer */

/* Whether the transport checksum of this packet is still to be completed by whoever sends it: its
 * field holds the sum of the pseudo-header. */
static __always_inline bool checksum_left(struct __sk_buff *skb)
{
    if (!kernel_shows_skb())
        return false;
    struct sk_buff *kernel_skb = bpf_cast_to_kern_ctx(skb);
    return BPF_CORE_READ_BITFIELD(kernel_skb, ip_summed) == SUMMED_PARTIAL;
}

/* The sum of `length` bytes from an even distance `offset`, or a negative number where they are
 * not all there. */
__noinline __s64 sum_bytes(struct __sk_buff *skb, __u32 offset, __u32 length)
{
    __be32 step[SUM_STEP / 4];
    __s64 sum = 0;
    for (int i = 0; i < SUM_STEPS; i++) {
        if (length < SUM_STEP)
            break;
        if (bpf_skb_load_bytes(skb, offset, step, SUM_STEP))
            return -1;
        sum += (__u32)bpf_csum_diff(NULL, 0, step, SUM_STEP, 0);
        offset += SUM_STEP;
        length -= SUM_STEP;
    }
    barrier_var(length); /* both bounds below for one register: the verifier wants 1..63 */
    if (length == 0)
        return sum;
    if (length >= SUM_STEP)
        return -1;
    /* The verifier forgets the two lines above: this tells it the same again. */
    length--;
    barrier_var(length);
    length = (length & (SUM_STEP - 1)) + 1;
    __builtin_memset(step, 0, sizeof(step));
    if (bpf_skb_load_bytes(skb, offset, step, length))
        return -1;
    return sum + (__u32)bpf_csum_diff(NULL, 0, step, SUM_STEP, 0);
}

/* The sum of the pseudo-header (RFC 793 section 3.1, RFC 8200 section 8.1): IPv4 addresses add the
 * same constant twice in their IPv6 clothes, which is nought. */
static __always_inline sum_t sum_pseudo(const union address *source,
                                        const union address *destination, __u32 length,
                                        __u8 protocol)
{
    return sum_address(source) + sum_address(destination) + bpf_htonl(length) + bpf_htonl(protocol);
}

/* Writes to the frame beyond its Ethernet header. */
static __always_inline bool write_bytes(struct __sk_buff *skb, __u32 offset, const void *bytes,
                                        __u32 length)
{
    return bpf_skb_store_bytes(skb, offset, bytes, length, BPF_F_RECOMPUTE_CSUM) == 0;
}

/* Writes the Ethernet addresses, which no checksum covers. */
static __always_inline bool write_macs(struct __sk_buff *skb, const __u8 *destination,
                                       const __u8 *source)
{
    __u8 macs[2 * MAC_LENGTH];
    __builtin_memcpy(macs, destination, MAC_LENGTH);
    __builtin_memcpy(macs + MAC_LENGTH, source, MAC_LENGTH);
    return bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0) == 0;
}
