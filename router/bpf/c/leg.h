/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* The interfaces that the program is attached to. */

#include "count.h"
#include "kernel.h"
#include "parse.h"

#define NO_LEG 0xff

/* The slot of the leg that a packet came by, or NO_LEG. */
static __always_inline __u32 leg_slot(__u32 ifindex)
{
    for (__u32 slot = 0; slot < LEGS; slot++) {
        if (settings.legs[slot].ifindex == ifindex)
            return slot;
    }
    return NO_LEG;
}

/* Whether a VIP with these bits (struct vip) is visible on the leg; counted where it is not. */
__noinline int leg_sees(__u32 ifindex, __u32 legs)
{
    __u32 slot = leg_slot(ifindex);
    if (slot != NO_LEG && legs >> slot & 1)
        return true;
    count(slot == NO_LEG ? DROP_LEG_UNKNOWN : DROP_NOT_VISIBLE);
    return false;
}

static __always_inline bool leg_has_mac(const struct leg *leg, const __u8 *mac)
{
    __u8 difference = 0;
    for (int i = 0; i < MAC_LENGTH; i++)
        difference |= leg->mac[i] ^ mac[i];
    return !difference;
}

/* A frame that reached us names our own MAC: the way back to its sender. */
static __always_inline void leg_learn(__u32 slot, const struct ethhdr *ethernet)
{
    struct leg *leg = &settings.legs[slot % LEGS];
    if (!leg_has_mac(leg, ethernet->h_dest))
        __builtin_memcpy(leg->mac, ethernet->h_dest, MAC_LENGTH);
}
