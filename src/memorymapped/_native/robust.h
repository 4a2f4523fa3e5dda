/* SPDX-License-Identifier: MIT
 *
 * A robust mutex in shared memory, in the format of .NET's named mutex on Linux.
 *
 * Layout, from `data` on (8-aligned; M = sizeof(pthread_mutex_t): 40 on x86-64, 48 on aarch64 with glibc):
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

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    pthread_mutex_t mutex;
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
#define MMF_KIND 0x91u /* glibc: recursive 1 | robust 16 | process-shared 128 */
#define MMF_NOBODY 0xFFFFFFFFu
#define MMF_MOST 2000 /* the kernel walks 2048 entries of a dead thread's list, and would leave the others locked */

/* Where glibc keeps what is looked at besides calling its functions; mmf_lock_works asks whether it does. */
typedef struct {
    uint32_t word; /* thread id of the owner | died 0x40000000 | waiters 0x80000000 */
    uint32_t count;
    uint32_t owner;
    uint32_t users;
    uint32_t kind;
    uint32_t spins;
    void *before, *after; /* neighbours in the thread's list */
} mmf_glibc_mutex;

#define MMF_INSIDE(lock) ((mmf_glibc_mutex *)&(lock)->mutex)

/* ---- the mutex */

static inline int mmf_lock_init(mmf_lock *lock)
{
    pthread_mutexattr_t attributes;
    int rc = pthread_mutexattr_init(&attributes);
    if (rc)
        return rc;
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    memset(lock, 0, sizeof *lock);
    rc = pthread_mutex_init(&lock->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return rc;
}

/* Is this a C library whose mutexes look as .NET's (which uses glibc's)? Zeros and the kind word are then a free one. */
static inline int mmf_lock_works(void)
{
    mmf_lock made, meant;
    if (mmf_lock_init(&made))
        return 0;
    memset(&meant, 0, sizeof meant);
    MMF_INSIDE(&meant)->kind = MMF_KIND;
    return memcmp(&made.mutex, &meant.mutex, sizeof made.mutex) == 0;
}

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

static inline int mmf_is_kind(const mmf_lock *lock)
{
    return __atomic_load_n(&MMF_INSIDE((mmf_lock *)lock)->kind, __ATOMIC_RELAXED) == MMF_KIND;
}

/* Zeroed memory becomes a free mutex by one store, whoever is first. 1: by this call; 0: it was one; -1: it is none. */
static inline int mmf_claim_zeros(mmf_lock *lock)
{
    uint32_t kind = 0;
    return __atomic_compare_exchange_n(&MMF_INSIDE(lock)->kind, &kind, MMF_KIND, 0, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST) ? 1 : kind == MMF_KIND ? 0 : -1;
}

static inline int mmf_trylock(mmf_lock *lock) { return pthread_mutex_trylock(&lock->mutex); }

static inline int mmf_unlock(mmf_lock *lock) { return pthread_mutex_unlock(&lock->mutex); }

static inline int mmf_consistent(mmf_lock *lock) { return pthread_mutex_consistent(&lock->mutex); }

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
            int rc = pthread_mutex_trylock(&lock->mutex);
            if (rc != EBUSY)
                return rc;
        }
        mmf_breathe();
    }
    return EBUSY;
}

/* Waits `seconds` at most. The C library's own function, so that its waiters and .NET's stay in one queue. */
static inline int mmf_lock_wait(mmf_lock *lock, double seconds)
{
    struct timespec until;
    clockid_t clock = CLOCK_MONOTONIC;
#if !__GLIBC_PREREQ(2, 30)
    clock = CLOCK_REALTIME;
#endif
    clock_gettime(clock, &until);
    until.tv_sec += (time_t)seconds;
    until.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
#if __GLIBC_PREREQ(2, 30)
    return pthread_mutex_clocklock(&lock->mutex, clock, &until);
#else
    return pthread_mutex_timedlock(&lock->mutex, &until);
#endif
}

/* ---- before the unlock: it writes through the list pointers, which lie in shared memory */

static inline int mmf_peek(const void *address, void *to, size_t size)
{
    struct iovec own = {to, size}, there = {(void *)address, size};
    return process_vm_readv(getpid(), &own, 1, &there, 1, 0) == (ssize_t)size ? 0 : -1;
}

/* Is the mutex in this thread's own list, and are its neighbours what its pointers say? Reads no address that could be
 * wrong but through the kernel. Called only if the pointers are not those seen after the lock: other robust mutexes
 * were locked or unlocked meanwhile, or somebody has written into the memory. */
static inline int mmf_in_list(const mmf_lock *lock)
{
    const mmf_glibc_mutex *own = (const mmf_glibc_mutex *)&lock->mutex;
    const uintptr_t wanted = (uintptr_t)&own->after; /* the list leads through the `after` members */
    uintptr_t head = 0, at, before, link[2];
    size_t size = 0;
    if (syscall(SYS_get_robust_list, 0, &head, &size) != 0 || mmf_peek((void *)head, &at, sizeof at))
        return 0;
    before = head;
    for (int turn = 0; turn < 2 * MMF_MOST; turn++) {
        at &= ~(uintptr_t)1;
        if (at == head || mmf_peek((void *)(at - sizeof(void *)), link, sizeof link))
            return 0;
        if (at == wanted) {
            uintptr_t behind = link[1] & ~(uintptr_t)1, back;
            if ((link[0] & ~(uintptr_t)1) != before)
                return 0;
            if (behind == head)
                return 1;
            return mmf_peek((void *)(behind - sizeof(void *)), &back, sizeof back) == 0 && (back & ~(uintptr_t)1) == at;
        }
        before = at;
        at = link[1];
    }
    return 0;
}

/* Is there a thread of this number, in any process that we can see? */
static inline int mmf_thread_exists(uint32_t thread)
{
    return thread != 0 && (syscall(SYS_tkill, (long)thread, 0) == 0 || errno == EPERM);
}

#endif
