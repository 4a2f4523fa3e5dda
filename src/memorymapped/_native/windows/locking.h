/* SPDX-License-Identifier: MIT
 *
 * The robust mutexes of which locks in shared memory are made (robust.h): the half of Windows. Its own mutexes are objects
 * of the kernel, not bytes that may lie in a map; so these are made of the bytes, and a free one looks as glibc's does
 * (linux/locking.h): zeros, but for the kind.
 *
 * The first 8 bytes are **the holder**: the thread's number, with MMF_SLEEPERS if somebody may sleep until it is free, and
 * the low half of the time at which that thread began. Numbers are used again, but not with the same time. 0: free.
 *
 * Lock      1  0 becomes this thread, by one compare-and-swap.
 *           2  It is another's, also after some turns. Does that thread live? (The system knows by its number; it began at that time.) No: the
 *              dead holder becomes this thread, by one compare-and-swap: EOWNERDEAD.
 *           3  It lives, and is waited for: set MMF_SLEEPERS, then sleep on the channel of these bytes (sleeping.h) *and*
 *              on the end of that thread, whichever comes first, and look again, after 250 ms in any case.
 * Unlock    1  The holder becomes 0, by an exchange.
 *           2  MMF_SLEEPERS was set: one token to the channel.
 *
 * Who has slept becomes the holder with MMF_SLEEPERS, as there may be others; so each unlock wakes another one until a
 * token is left over.
 *
 * Killed before or after each of these steps: there is one number, which says at each moment who has the mutex.
 * - Before the swap of Lock 1 or 2: nothing has happened. After it: the holder is dead, and the next one finds that.
 * - Asleep: MMF_SLEEPERS is a token too many. With a token: others look after 250 ms.
 * - Between Unlock 1 and 2: it is free, and those who sleep look after 250 ms.
 * Nobody takes a living holder for a dead one: the swap of Lock 2 expects the very number and time that were looked up,
 * and a thread that ended never lives again. A dead holder is taken for a living one only where the system may not tell
 * (error 5: a thread of another user has its number now), until that one ends.
 *
 * Nothing is kept but the bytes: a mutex on which nobody sleeps costs no handle, and needs nothing to be unlocked by who
 * unmaps it.
 */
#ifndef MEMORYMAPPED_LOCKING_H
#define MEMORYMAPPED_LOCKING_H

#include <errno.h>
#include <limits.h>
#include <stdint.h>

#ifndef EOWNERDEAD
#define EOWNERDEAD 133
#endif
#ifndef ENOTRECOVERABLE
#define ENOTRECOVERABLE 127
#endif

#define MMF_KIND 0x91u
#define MMF_ONCE 1u
#define MMF_MOST INT_MAX
#define MMF_SLEEPERS 0x80000000u

typedef struct {
    uint32_t word; /* number of the owner's thread | MMF_SLEEPERS */
    uint32_t began;
    uint32_t count; /* how often the owner has locked it */
    uint32_t users; /* places.h */
    uint32_t kind;
    uint32_t spins;
    void *before, *after; /* nothing here */
} mmf_mutex;
typedef mmf_mutex mmf_inside;
#define MMF_FIRST(inside) (&(inside)->word)

_Static_assert(sizeof(mmf_mutex) == 40, "as many bytes as glibc's");

static inline int mmf_lock_works(void) { return 1; }

/* Zeros become a free mutex. */
static inline int mmf_mutex_init(mmf_mutex *mutex)
{
    mutex->kind = MMF_KIND;
    return 0;
}

static inline int mmf_mutex_is_kind(const mmf_mutex *mutex)
{
    return __atomic_load_n(&mutex->kind, __ATOMIC_RELAXED) == MMF_KIND;
}

/* Zeros become a free mutex by one store, whoever is first. 1: by this call; 0: it was one; -1: it is none. */
static inline int mmf_mutex_claim(mmf_mutex *mutex)
{
    uint32_t kind = 0;
    return __atomic_compare_exchange_n(&mutex->kind, &kind, MMF_KIND, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ? 1
        : kind == MMF_KIND ? 0 : -1;
}

/* What this thread is as a holder. */
uint64_t mmf_holder(void);

/* The owner has it once more: 0. EBUSY; EOWNERDEAD. */
int mmf_mutex_try(mmf_mutex *mutex);

int mmf_mutex_unlock(mmf_mutex *mutex);

/* The same, `seconds` at most: also ETIMEDOUT. */
int mmf_mutex_wait(mmf_mutex *mutex, double seconds);

/* The holder is a thread that lives; that has ended. Neither: it is free. */
int mmf_mutex_is_live(const mmf_mutex *mutex);
int mmf_mutex_is_dead(const mmf_mutex *mutex);

/* After EOWNERDEAD: it was taken by that. */
static inline int mmf_mutex_consistent(mmf_mutex *mutex)
{
    (void)mutex;
    return 0;
}

static inline int mmf_mutex_is_ours(const mmf_mutex *mutex)
{
    return ((__atomic_load_n((const uint64_t *)mutex, __ATOMIC_RELAXED) ^ mmf_holder()) & ~(uint64_t)MMF_SLEEPERS) == 0;
}

/* An unlock goes by nothing that lies in the memory, but for whose it is. */
static inline int mmf_mutex_in_list(const mmf_mutex *mutex) { return mmf_mutex_is_ours(mutex); }

/* A wait has found that out by itself. */
static inline int mmf_thread_exists(uint32_t thread)
{
    (void)thread;
    return 1;
}

#endif
