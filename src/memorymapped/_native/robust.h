/* SPDX-License-Identifier: MIT
 *
 * A robust mutex in shared memory, in the format of .NET's named mutex on Linux.
 *
 * Layout, from `data` on (8-aligned; M = sizeof(pthread_mutex_t): 40; 48 on aarch64 with glibc):
 *
 *     0      pthread_mutex_t: recursive, robust, process-shared
 *     M      u32 process id of the owner, FFFFFFFF: none
 *     M+4    u32 .NET 11: managed thread id of the owner
 *     M+8    u64 .NET up to 10: thread id of the owner; .NET 11: u8 abandoned, its low byte ("A")
 *     M+16   u8  .NET up to 10: abandoned ("B")
 *     M+17   u8  ours, .NET leaves it alone: who died, while that waits for its repair: 0 nobody, 1 one of us, in a step
 *            of this library, or nobody knows, 2 a stranger
 *     M+20   u32 ours: the process id again, of an owner who is in a step of this library; 0: none
 *     M+24   end
 *
 * The pthread mutex alone excludes. The record is written only by who owns it:
 *
 *     taken      process id, FFFFFFFF, 00 FF FF FF FF FF FF FF, 00
 *     released   FFFFFFFF,   FFFFFFFF, 00 FF FF FF FF FF FF FF, 00      then unlocked
 *     abandoned  as released, but A = B = 1                             then unlocked (by a thread that lives)
 *
 * and found abandoned if the kernel says that the owner died, or A == 1, or A == FF and B == 1: right whether the last
 * owner was one of us, .NET up to 10 (leaves FF in A and keeps B right) or .NET 11 (keeps A right and leaves B alone).
 *
 * Killed after the lock and before the unlock, wherever that is: the kernel marks the word, the next one is told. So
 * no step between them needs an order.
 */
#ifndef MEMORYMAPPED_ROBUST_H
#define MEMORYMAPPED_ROBUST_H

#include "clock.h"
#include "locking.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    mmf_mutex mutex; /* locking.h */
    uint32_t process;
    uint32_t thread11;
    uint8_t thread[8];
    uint8_t abandoned;
    uint8_t died;
    uint8_t padding[2];
    uint32_t ours;
} mmf_lock;

#define MMF_LOCK_SIZE ((int)sizeof(mmf_lock))
enum { MMF_ONE_OF_US = 1, MMF_STRANGER = 2 };
#define MMF_NOBODY 0xFFFFFFFFu
#define MMF_INSIDE(lock) ((mmf_inside *)&(lock)->mutex)

static inline void mmf_record(mmf_lock *lock, uint32_t process, uint8_t abandoned)
{
    static const uint8_t nobody[8] = {0, 255, 255, 255, 255, 255, 255, 255};
    lock->process = process;
    lock->thread11 = MMF_NOBODY;
    memcpy(lock->thread, nobody, sizeof nobody);
    lock->thread[0] = abandoned;
    lock->abandoned = abandoned;
    if (process == MMF_NOBODY) {
        lock->ours = 0;
        if (!abandoned)
            lock->died = 0;
    }
}

/* Before `mmf_record`, of a mutex that was found abandoned (`killed`: the kernel says so). A stranger's death stays what is
 * told until somebody has repaired, also if one of us dies meanwhile. Who had not recorded himself has done nothing. */
static inline void mmf_note_death(mmf_lock *lock, int killed)
{
    int strange = killed && lock->process != MMF_NOBODY && lock->process != lock->ours;
    if (strange || lock->died != MMF_STRANGER)
        lock->died = strange ? MMF_STRANGER : MMF_ONE_OF_US;
}

/* `process`: 0 for one who is in no step of this library. Before the process is recorded, or a death here would be a
 * stranger's. */
static inline void mmf_note_ours(mmf_lock *lock, uint32_t process)
{
    __atomic_store_n(&lock->ours, process, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline int mmf_was_abandoned(const mmf_lock *lock)
{
    return lock->thread[0] == 1 || (lock->thread[0] == 0xFF && lock->abandoned == 1);
}

static inline int mmf_is_kind(const mmf_lock *lock) { return mmf_mutex_is_kind(&lock->mutex); }

/* Zeroed memory becomes a free mutex, whoever is first. 1: by this call; 0: it was one; -1: it is none. */
static inline int mmf_claim_zeros(mmf_lock *lock) { return mmf_mutex_claim(&lock->mutex); }

/* Is it one of the other C library (linux/locking.h)? For who was refused, to say why: glibc's has its kind at 16, musl's
 * of ours too, one that a C program made with musl only at 0. */
#define MMF_GLIBC 0x91u
#define MMF_MUSL 0x85u
static inline int mmf_is_foreign(const mmf_lock *lock)
{
    mmf_inside *inside = MMF_INSIDE((mmf_lock *)lock);
    uint32_t first = *MMF_FIRST(inside), kind = inside->kind;
    return MMF_KIND == MMF_MUSL ? kind == MMF_GLIBC : kind == MMF_MUSL || (kind == 0 && first == MMF_MUSL);
}

/* ---- the mutex */

static inline int mmf_lock_init(mmf_lock *lock)
{
    memset(lock, 0, sizeof *lock);
    return mmf_mutex_init(&lock->mutex);
}

static inline int mmf_trylock(mmf_lock *lock) { return mmf_mutex_try(&lock->mutex); }

static inline int mmf_unlock(mmf_lock *lock) { return mmf_mutex_unlock(&lock->mutex); }

static inline int mmf_consistent(mmf_lock *lock) { return mmf_mutex_consistent(&lock->mutex); }

/* Waits `seconds` at most. */
static inline int mmf_lock_wait(mmf_lock *lock, double seconds) { return mmf_mutex_wait(&lock->mutex, seconds); }

/* Does a thread that lives have it? */
static inline int mmf_is_live(const mmf_lock *lock) { return mmf_mutex_is_live(&lock->mutex); }

/* Has its owner died, and nobody has taken it since? */
static inline int mmf_is_dead(const mmf_lock *lock) { return mmf_mutex_is_dead(&lock->mutex); }

/* Before the unlock: is it this thread's, and nothing written over what the unlock goes by? Called only if the neighbours
 * are not those seen after the lock. */
static inline int mmf_in_list(const mmf_lock *lock) { return mmf_mutex_in_list(&lock->mutex); }

static inline void mmf_breathe(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* A short spin, for an owner at work on another processor: sleeping and being woken takes a hundred times as long. */
static inline int mmf_lock_spin(mmf_lock *lock, int turns)
{
    for (int i = 0; i < turns; i++) {
        uint32_t word = __atomic_load_n(&MMF_INSIDE(lock)->word, __ATOMIC_RELAXED);
        if (word == 0 || word & 0x40000000u) {
            int rc = mmf_trylock(lock);
            if (rc != EBUSY)
                return rc;
        }
        mmf_breathe();
    }
    return EBUSY;
}

#endif
