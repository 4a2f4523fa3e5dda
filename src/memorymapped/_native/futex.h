/* SPDX-License-Identifier: MIT
 *
 * Words in shared memory that processes wait for. The sleep itself is each system's own: sleeping.h.
 *
 * A pair of words: `word`, which says whether there is something to be had, and `waiters`, how many sleep or are about to.
 * Who signals changes `word`, then asks `waiters`; who waits changes `waiters`, then asks `word` (once more, where it
 * sleeps). Both sides are sequentially consistent, so one of them sees the other: a signal without waiters makes no
 * system call, and none is missed. A waiter that is killed leaves `waiters` too high: calls in vain.
 */
#ifndef MEMORYMAPPED_FUTEX_H
#define MEMORYMAPPED_FUTEX_H

#include "clock.h"
#include "sleeping.h"

#include <limits.h>
#include <stdint.h>

static inline uint32_t mmf_word_load(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }

static inline void mmf_word_store(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_SEQ_CST); }

static inline void mmf_word_add(uint32_t *word, uint32_t value) { __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST); }

/* Takes the signal: 1, and the word is 0 now; 0 if there was none. A look that finds nothing does not write. */
static inline int mmf_word_clear(uint32_t *word)
{
    uint32_t now = mmf_word_load(word);
    while (now != 0)
        if (__atomic_compare_exchange_n(word, &now, 0, 1, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return 1;
    return 0;
}

/* A word that counts changes: odd is on, even is off. Who saw it off and sees another value knows that it was on
 * meanwhile.
 *
 * Where it is on already it is stored once more. Who switches it off to look then for what was written before it was
 * switched on reads that store, and so finds it; after a look alone the processor may still hold back what was written,
 * and whoever waits would have missed both. */
static inline void mmf_word_switch(uint32_t *word, uint32_t on)
{
    uint32_t now = mmf_word_load(word);
    while (on || (now & 1))
        if (__atomic_compare_exchange_n(word, &now, on ? now | 1 : now + 1, 1, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return;
}

/* Takes a signal away that nobody waits for. It reads what it overwrites, so that what is looked at then is as new: after a
 * store alone aarch64 may have looked before. */
static inline void mmf_word_take_away(uint32_t *word) { (void)__atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST); }

/* Takes one: 1; 0 if there is none. */
static inline int mmf_word_decrement(uint32_t *word)
{
    uint32_t now = mmf_word_load(word);
    while (now != 0)
        if (__atomic_compare_exchange_n(word, &now, now - 1, 1, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return 1;
    return 0;
}

/* Adds, if it stays at or below `most`. 1 if it did; `before` is what there was, in any case. */
static inline int mmf_word_increase(uint32_t *word, uint32_t count, uint32_t most, uint32_t *before)
{
    uint32_t now = mmf_word_load(word);
    do {
        *before = now;
        if (now > most || count > most - now)
            return 0;
    } while (!__atomic_compare_exchange_n(word, &now, now + count, 1, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return 1;
}

#endif
