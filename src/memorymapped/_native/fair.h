/* SPDX-License-Identifier: MIT
 *
 * A fair robust mutex in shared memory: the steps under its gate. Who takes them when, and who can die where, is at the
 * head of fair.pyx.
 */
#ifndef MEMORYMAPPED_FAIR_H
#define MEMORYMAPPED_FAIR_H

#include "robust.h"

enum { MMF_FREE, MMF_WAITING, MMF_OWNED, MMF_LEFT, MMF_RELEASED };

typedef struct {
    mmf_mutex lock;
    uint32_t state;
    uint32_t before; /* the number of the node that is waited for */
    uint32_t ticket; /* counts the comers; nothing depends on it */
    uint32_t process;
    char padding[64 - sizeof(mmf_mutex) - 16];
} mmf_fair_node;

#define MMF_FAIR_NODES 254
#define MMF_FAIR_SIZE 16384
#define MMF_FAIR_MAGIC 0x3152494146464D4Dull /* "MMFFAIR1" */

typedef struct {
    uint64_t magic;
    uint32_t nodes;
    uint32_t mutex_size;
    uint32_t tail; /* the number of the node of who came last; 0: free */
    uint32_t ticket;
    char padding[40];
    mmf_fair_node gate; /* its lock only */
    mmf_fair_node node[MMF_FAIR_NODES]; /* numbered from 1 */
} mmf_fair;

_Static_assert(sizeof(mmf_fair_node) == 64, "a node has 64 bytes");
_Static_assert(sizeof(mmf_fair) == MMF_FAIR_SIZE, "four pages of 4 KiB");

static inline mmf_fair_node *mmf_fair_at(mmf_fair *fair, uint32_t number) { return &fair->node[number - 1]; }

static inline int mmf_fair_valid(uint32_t number) { return number - 1 < MMF_FAIR_NODES; }

/* Only the mutex of a node is used through this. */
static inline mmf_lock *mmf_fair_lock(mmf_fair_node *node) { return (mmf_lock *)node; }

static inline uint32_t mmf_fair_get(uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

/* Release order: what was stored before is there when this is seen, by whoever finds us dead. */
static inline void mmf_fair_set(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

static inline void mmf_fair_blank(mmf_fair *fair)
{
    fair->magic = MMF_FAIR_MAGIC;
    fair->nodes = MMF_FAIR_NODES;
    fair->mutex_size = sizeof(mmf_mutex);
    mmf_claim_zeros(mmf_fair_lock(&fair->gate));
    for (uint32_t i = 1; i <= MMF_FAIR_NODES; i++)
        mmf_claim_zeros(mmf_fair_lock(mmf_fair_at(fair, i)));
}

/* Zeros become a free one, also if somebody who did that has died, or is at it: each step is one that may be done twice.
 * The magic is the last; who sees it sees all. 0: there is something else. */
static inline int mmf_fair_begin(mmf_fair *fair)
{
    if (__atomic_load_n(&fair->magic, __ATOMIC_ACQUIRE) == MMF_FAIR_MAGIC)
        return 1;
    if (fair->magic != 0 || mmf_claim_zeros(mmf_fair_lock(&fair->gate)) < 0)
        return 0;
    for (uint32_t i = 1; i <= MMF_FAIR_NODES; i++)
        if (mmf_claim_zeros(mmf_fair_lock(mmf_fair_at(fair, i))) < 0)
            return 0;
    fair->nodes = MMF_FAIR_NODES;
    fair->mutex_size = sizeof(mmf_mutex);
    __atomic_store_n(&fair->magic, MMF_FAIR_MAGIC, __ATOMIC_RELEASE);
    return 1;
}

static inline int mmf_fair_is_sound(mmf_fair *fair)
{
    if (fair->magic != MMF_FAIR_MAGIC || fair->nodes != MMF_FAIR_NODES || fair->mutex_size != sizeof(mmf_mutex)
        || fair->tail > MMF_FAIR_NODES || !mmf_is_kind(mmf_fair_lock(&fair->gate)))
        return 0;
    for (uint32_t i = 1; i <= MMF_FAIR_NODES; i++) {
        mmf_fair_node *node = mmf_fair_at(fair, i);
        if (node->state > MMF_RELEASED || node->before > MMF_FAIR_NODES || !mmf_is_kind(mmf_fair_lock(node)))
            return 0;
    }
    return 1;
}

/* A try that takes a dead thread's mutex as well. 1: locked. */
static inline int mmf_fair_try(mmf_lock *lock)
{
    int rc = mmf_trylock(lock);
    if (rc == EOWNERDEAD)
        rc = mmf_consistent(lock);
    return rc == 0;
}

/* Does a thread that lives have it? */
static inline int mmf_fair_is_live(mmf_fair_node *node) { return mmf_is_live(mmf_fair_lock(node)); }

/* ---- under the gate */

/* A free node whose mutex this thread has locked; 0: there is none. */
static inline uint32_t mmf_fair_find(mmf_fair *fair, uint32_t hint)
{
    for (uint32_t turn = 0; turn < MMF_FAIR_NODES; turn++) {
        uint32_t number = (hint + turn) % MMF_FAIR_NODES + 1;
        mmf_fair_node *node = mmf_fair_at(fair, number);
        if (mmf_fair_get(&node->state) == MMF_FREE && mmf_is_kind(mmf_fair_lock(node))
            && mmf_fair_try(mmf_fair_lock(node)))
            return number;
    }
    return 0;
}

/* Frees what the dead left: nodes that nobody comes to from the tail on, and whose mutex is free or a dead thread's. */
static inline void mmf_fair_sweep(mmf_fair *fair)
{
    uint8_t reached[MMF_FAIR_NODES + 1] = {0};
    uint32_t number = fair->tail;
    while (mmf_fair_valid(number) && !reached[number]) {
        mmf_fair_node *node = mmf_fair_at(fair, number);
        uint32_t state = mmf_fair_get(&node->state);
        reached[number] = 1;
        if (state == MMF_OWNED || state == MMF_RELEASED)
            break; /* the head of the queue: what it had waited for is done */
        number = node->before;
    }
    for (number = 1; number <= MMF_FAIR_NODES; number++) {
        mmf_fair_node *node = mmf_fair_at(fair, number);
        if (!reached[number] && mmf_fair_get(&node->state) != MMF_FREE && mmf_is_kind(mmf_fair_lock(node))
            && mmf_fair_try(mmf_fair_lock(node))) {
            mmf_fair_set(&node->state, MMF_FREE);
            mmf_mutex_unlock(&node->lock);
        }
    }
}

/* Steps 1 and 2 of Acquire. The number of this thread's node, in the queue; 0: there is no node. */
static inline uint32_t mmf_fair_enter(mmf_fair *fair, uint32_t hint, uint32_t process)
{
    uint32_t tail = fair->tail;
    uint32_t number = mmf_fair_find(fair, hint);
    if (__builtin_expect(number == 0, 0)) {
        mmf_fair_sweep(fair);
        number = mmf_fair_find(fair, hint);
        if (number == 0)
            return 0;
    }
    mmf_fair_node *node = mmf_fair_at(fair, number);
    node->before = tail;
    node->ticket = ++fair->ticket;
    node->process = process;
    mmf_fair_set(&node->state, tail ? MMF_WAITING : MMF_OWNED);
    mmf_fair_set(&fair->tail, number);
    return number;
}

/* The end of step 3 of Acquire, with the mutex of the node before. 0: waits on; 1: owns; 2: owns, and the owner before
 * has died; -1: damaged. */
static inline int mmf_fair_advance(mmf_fair *fair, uint32_t number)
{
    mmf_fair_node *node = mmf_fair_at(fair, number);
    mmf_fair_node *before = mmf_fair_at(fair, node->before);
    uint32_t state = mmf_fair_get(&before->state), farther = before->before;
    int result = 0;
    if (state == MMF_RELEASED || state == MMF_OWNED) {
        result = state == MMF_RELEASED ? 1 : 2;
        mmf_fair_set(&node->state, MMF_OWNED);
    } else if ((state == MMF_WAITING || state == MMF_LEFT) && mmf_fair_valid(farther))
        mmf_fair_set(&node->before, farther);
    else
        return -1;
    mmf_fair_set(&before->state, MMF_FREE);
    mmf_mutex_unlock(&before->lock);
    return result;
}

/* Goes past a node before that has left, and whose thread has not unlocked it. 1: done. */
static inline int mmf_fair_skip(mmf_fair *fair, uint32_t number)
{
    mmf_fair_node *node = mmf_fair_at(fair, number);
    mmf_fair_node *before = mmf_fair_at(fair, node->before);
    if (mmf_fair_get(&before->state) != MMF_LEFT || !mmf_fair_valid(before->before))
        return 0;
    mmf_fair_set(&node->before, before->before);
    return 1;
}

/* ---- with the gate, or without it if somebody else has it */

/* Step 4: leaves the queue. */
static inline void mmf_fair_cancel(mmf_fair *fair, uint32_t number, int gated)
{
    mmf_fair_node *node = mmf_fair_at(fair, number);
    if (gated && fair->tail == number) {
        mmf_fair_set(&fair->tail, node->before);
        mmf_fair_set(&node->state, MMF_FREE);
    } else
        mmf_fair_set(&node->state, MMF_LEFT);
    mmf_mutex_unlock(&node->lock);
}

/* Step 5, the owner's. `abandoned`: the next one is told, as if this thread had died. */
static inline void mmf_fair_leave(mmf_fair *fair, uint32_t number, int abandoned, int gated)
{
    mmf_fair_node *node = mmf_fair_at(fair, number);
    if (!abandoned) {
        mmf_fair_set(&node->state, MMF_RELEASED);
        if (gated && fair->tail == number) {
            mmf_fair_set(&fair->tail, 0);
            mmf_fair_set(&node->state, MMF_FREE);
        }
    }
    mmf_mutex_unlock(&node->lock);
}

#endif
