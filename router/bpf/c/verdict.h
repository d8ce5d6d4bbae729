/* SPDX-License-Identifier: (Apache-2.0 OR MIT) OR GPL-2.0-only */
#pragma once

/* What is to become of a packet: a tc action, or an answer that ingress() sends at its end. */

#include "count.h"
#include "parse.h"

enum verdict {
    /* TC_ACT_UNSPEC, TC_ACT_SHOT and TC_ACT_REDIRECT as they are, and */
    GOES_ON = 100,        /* nothing hinders it so far */
    ANEW,                 /* its flow is no more: as if there had been none */
    ANSWER_REFUSED,       /* refuse(), packet->note is the reason */
    ANSWER_TIME_EXCEEDED, /* the hop limit ran out */
    ANSWER_TOO_BIG,       /* packet->note is what the next link takes */
};

static __always_inline int answer_with(struct packet *packet, enum verdict answer, __u32 note)
{
    packet->note = note;
    return answer;
}
