/* SPDX-License-Identifier: MIT
 *
 * What lies at a place of a map. The word at 12 says it: set from 0, by one compare-and-swap, before anything else is
 * written there; so of several that make different kinds at one place, one does.
 *
 * In a mutex this word is glibc's count of users, which each lock raises by one and each unlock lowers. Nobody reads it
 * of a robust mutex. So the kind is in the upper half, and the lower half begins in the middle of its range: a death
 * between two of glibc's steps may leave it one too low. A mutex that a C program has made has no kind there.
 */
#ifndef MEMORYMAPPED_PLACES_H
#define MEMORYMAPPED_PLACES_H

#include <stdint.h>

enum { MMF_OTHER = -1, MMF_NOTHING = 0, MMF_LOCK = 1, MMF_READERS, MMF_EVENT, MMF_SEMAPHORE, MMF_CONDITION };

#define MMF_KIND_WORD(kind) (0x4D008000u | (uint32_t)(kind) << 16)

static inline int mmf_kind_in(uint32_t word)
{
    return word == 0 ? MMF_NOTHING : word >> 24 == 0x4D ? (int)(word >> 16 & 0xFF) : MMF_OTHER;
}

static inline int mmf_kind_at(const char *place)
{
    return mmf_kind_in(__atomic_load_n((const uint32_t *)(place + 12), __ATOMIC_SEQ_CST));
}

/* The same, for who has just read other bytes of the place: they may be those of somebody who has made it one since. Plain
 * loads that come before a load are not held before it by that one's order, so aarch64 needs the fence. */
static inline int mmf_kind_now(const char *place)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return mmf_kind_at(place);
}

/* Makes zeros a place of this kind. Returns what kind it is now. */
static inline int mmf_place_claim(char *place, int kind)
{
    uint32_t word = 0;
    return __atomic_compare_exchange_n((uint32_t *)(place + 12), &word, MMF_KIND_WORD(kind), 0, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST) ? kind : mmf_kind_in(word);
}

#endif
