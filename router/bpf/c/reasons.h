/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* Why a packet went no further, or was answered instead of forwarded: one list for C and Rust
 * (build.rs reads the lines that begin with REASON). Order is the index in the `drops` map: add at
 * the end. */
/* clang-format off */
#define REASONS                                                                                    \
    REASON(MALFORMED, "malformed", "a packet to a VIP is truncated or contradicts itself")         \
    REASON(EXTENSION_HEADERS, "extension-headers", "more IPv6 extension headers than are followed")\
    REASON(SOURCE_RANGE, "source-range", "the client is outside loadBalancerSourceRanges")         \
    REASON(NOT_VISIBLE, "not-visible", "the VIP is not visible on the leg the packet came by")     \
    REASON(NO_BACKEND, "no-backend", "the service has no backend")                                 \
    REASON(BACKEND_GONE, "backend-gone", "the backend of an established flow is gone")             \
    REASON(NO_FLOW, "no-flow", "a TCP segment that opens nothing belongs to no known connection")  \
    REASON(FLOWS_FULL, "flows-full", "the flow table is full")                                     \
    REASON(SNAT_EXHAUSTED, "snat-exhausted", "no SNAT port is free towards the backend")           \
    REASON(HALF_OPEN_RECLAIMED, "half-open-reclaimed", "the oldest half-open flow made room")      \
    REASON(NO_SNAT, "no-snat", "no SNAT address is configured towards the backend")                \
    REASON(TTL, "ttl", "the TTL or hop limit ran out")                                             \
    REASON(TOO_BIG, "too-big", "larger than the next link takes")                                  \
    REASON(CLOSED_PORT, "closed-port", "nothing listens on that port of the VIP")                  \
    REASON(PROTOCOL, "protocol", "a protocol that is not served on a VIP")                         \
    REASON(FRAGMENT_UNKNOWN, "fragment-unknown", "a fragment came before its first one")           \
    REASON(ICMP_UNKNOWN, "icmp-unknown", "an ICMP error about no known flow")                      \
    REASON(ICMP_LIMITED, "icmp-limited", "answers held back by the rate limit")                    \
    REASON(WRITE, "write", "the kernel refused a change of the packet")                            \
    REASON(SPOOFED, "spoofed", "a source address that cannot answer")                              \
    REASON(LEG_UNKNOWN, "leg-unknown", "the packet came by an interface that is no leg")           \
    REASON(FRAGMENTED_ICMP, "fragmented-icmp", "ICMP to a VIP in fragments")                       \
    REASON(ECHO_LIMITED, "echo-limited", "pings unanswered by the rate limit")                     \
    REASON(EXCHANGE_RECLAIMED, "exchange-reclaimed", "the longest idle UDP flow gave its port")    \
    REASON(PATH_MTU, "path-mtu", "a client tells of a path MTU that no link may have")
/* clang-format on */

#define REASON(name, label, text) DROP_##name,
enum drop_reason { REASONS DROP_REASONS };
#undef REASON
