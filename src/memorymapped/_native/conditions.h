/* SPDX-License-Identifier: MIT
 *
 * A condition in shared memory. Its words are changed by owners of its lock only, and read by anybody; what they mean,
 * and who can die where, is at the head of conditions.pyx. Zeros are a free one.
 */
#ifndef MEMORYMAPPED_CONDITIONS_H
#define MEMORYMAPPED_CONDITIONS_H

#include "futex.h"
#include "places.h"

typedef struct {
    uint32_t sequence;  /* slept on; each notification raises it */
    uint32_t group;     /* the number of the group that newcomers join */
    uint32_t newcomers; /* how many are in it */
    uint32_t kind;      /* places.h */
    uint32_t permits;   /* of the group before: how many of them may go */
    uint32_t rest;      /* and how many may not */
    uint32_t going;     /* of all groups before that one, who all may go: how many have not gone yet */
    uint32_t kept;      /* the first group that was not given up */
} mmf_condition;

#define MMF_CONDITION_SIZE ((int)sizeof(mmf_condition))
_Static_assert(sizeof(mmf_condition) == 32, "eight words");

static inline uint32_t mmf_seen(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }

static inline void mmf_set(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

static inline uint32_t mmf_least(uint32_t one, uint32_t other) { return one < other ? one : other; }

/* A count that a death has left too low stays at 0. */
static inline void mmf_one_less(uint32_t *word)
{
    uint32_t now = mmf_seen(word);
    if (now != 0)
        mmf_set(word, now - 1);
}

/* ---- sleeping: each group apart, so that a call meets who may go */

static inline int mmf_condition_sleep(mmf_condition *at, uint32_t sequence, uint32_t group, double seconds)
{
    return mmf_group_wait(&at->sequence, sequence, group, seconds);
}

/* How many there were. */
static inline uint32_t mmf_condition_wake(mmf_condition *at, uint32_t group, uint32_t most)
{
    return most == 0 ? 0 : mmf_group_wake(&at->sequence, group, most);
}

/* ---- looks, by anybody */

static inline int mmf_given_up(const mmf_condition *at, uint32_t group)
{
    return (int32_t)(group - mmf_seen(&at->kept)) < 0;
}

/* Has a member of `group` something to do, for which it needs the lock? */
static inline int mmf_may_go(const mmf_condition *at, uint32_t group)
{
    uint32_t age = mmf_seen(&at->group) - group;
    return mmf_given_up(at, group) || age > 1 || (age == 1 && mmf_seen(&at->permits) != 0);
}

/* What was granted to others, and has not been taken. If that is for long, they may be dead. */
static inline uint32_t mmf_unclaimed(const mmf_condition *at, uint32_t group)
{
    uint32_t going = mmf_seen(&at->going);
    return mmf_seen(&at->group) == group ? going + mmf_seen(&at->permits) : going;
}

static inline uint32_t mmf_waiters(const mmf_condition *at)
{
    return mmf_seen(&at->newcomers) + mmf_seen(&at->permits) + mmf_seen(&at->rest) + mmf_seen(&at->going);
}

/* ---- steps, by who owns the lock; each store is one that may be the last */

static inline uint32_t mmf_join(mmf_condition *at)
{
    mmf_set(&at->newcomers, mmf_seen(&at->newcomers) + 1);
    return mmf_seen(&at->group);
}

/* 1: goes. Who was given up joins anew. */
static inline int mmf_go(mmf_condition *at, uint32_t *group)
{
    uint32_t age = mmf_seen(&at->group) - *group;
    if (mmf_given_up(at, *group)) {
        *group = mmf_join(at);
        return 0;
    }
    if (age > 1)
        mmf_one_less(&at->going);
    else if (age == 1 && mmf_seen(&at->permits) != 0)
        mmf_one_less(&at->permits);
    else
        return 0;
    return 1;
}

/* Leaves without a notification; one that could have been its own is another's. */
static inline void mmf_leave(mmf_condition *at, uint32_t group)
{
    uint32_t age = mmf_seen(&at->group) - group;
    if (mmf_given_up(at, group))
        return;
    if (age == 0)
        mmf_one_less(&at->newcomers);
    else if (age > 1)
        mmf_one_less(&at->going);
    else if (mmf_seen(&at->rest) != 0) {
        mmf_one_less(&at->rest);
        if (mmf_seen(&at->permits) != 0)
            mmf_condition_wake(at, group, 1);
    } else
        mmf_one_less(&at->permits);
}

static inline uint32_t mmf_grant(mmf_condition *at, uint32_t count)
{
    uint32_t granted = mmf_least(count, mmf_seen(&at->rest));
    mmf_set(&at->permits, mmf_seen(&at->permits) + granted);
    mmf_set(&at->rest, mmf_seen(&at->rest) - granted);
    return granted;
}

/* The newcomers are the group with the permits now; it has none yet. */
static inline void mmf_next_group(mmf_condition *at)
{
    uint32_t group = mmf_seen(&at->group) + 1;
    if (group - mmf_seen(&at->kept) > 1u << 30) /* numbers wrap around: "before" is within half of their range */
        mmf_set(&at->kept, group - (1u << 29));
    mmf_set(&at->group, group);
    mmf_set(&at->permits, 0);
    mmf_set(&at->rest, mmf_seen(&at->newcomers));
    mmf_set(&at->newcomers, 0);
}

static inline void mmf_notify(mmf_condition *at, uint32_t count)
{
    uint32_t first = mmf_grant(at, count), second = 0, group = mmf_seen(&at->group), woken;
    if (first < count && mmf_seen(&at->newcomers) != 0) { /* the older ones all may go: it is the newcomers' turn */
        mmf_set(&at->going, mmf_seen(&at->going) + mmf_seen(&at->permits));
        mmf_next_group(at);
        second = mmf_grant(at, count - first);
    }
    if (first + second == 0)
        return;
    mmf_word_add(&at->sequence, 1);
    woken = mmf_condition_wake(at, group - 1, first) + mmf_condition_wake(at, group, second);
    if (woken < first + second) /* some do not sleep: they come by themselves, or are dead, and others shall see that */
        mmf_condition_wake(at, mmf_seen(&at->group), first + second - woken);
}

/* What was granted to others is granted to those of this group, because nobody comes for it. */
static inline void mmf_take_over(mmf_condition *at, uint32_t group)
{
    uint32_t left = mmf_unclaimed(at, group), granted;
    mmf_set(&at->kept, group);
    if (mmf_seen(&at->group) == group)
        mmf_next_group(at);
    granted = mmf_grant(at, left);
    mmf_set(&at->going, 0);
    mmf_condition_wake(at, group, granted == 0 ? 0 : granted - 1); /* one is who has called this */
}

#endif
