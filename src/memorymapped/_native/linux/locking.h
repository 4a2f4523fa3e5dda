/* SPDX-License-Identifier: MIT
 *
 * The robust mutexes of which locks in shared memory are made (robust.h): Linux's half, those of the C library, of which
 * the kernel tells when their owner dies. The other is windows/locking.h, of the same names.
 *
 * A call says 0, EBUSY, ETIMEDOUT, EOWNERDEAD (it is had, and its owner died), ENOTRECOVERABLE, or another error.
 */
#ifndef MEMORYMAPPED_LOCKING_H
#define MEMORYMAPPED_LOCKING_H

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

typedef pthread_mutex_t mmf_mutex;

#define MMF_KIND 0x91u /* glibc: recursive 1 | robust 16 | process-shared 128 */
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

/* Zeros become a free mutex. */
static inline int mmf_mutex_init(mmf_mutex *mutex)
{
    pthread_mutexattr_t attributes;
    int rc = pthread_mutexattr_init(&attributes);
    if (rc)
        return rc;
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    rc = pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return rc;
}

/* Is this a C library whose mutexes look as .NET's (which uses glibc's)? Zeros and the kind word are then a free one. */
static inline int mmf_lock_works(void)
{
    mmf_mutex made, meant;
    memset(&made, 0, sizeof made);
    if (mmf_mutex_init(&made))
        return 0;
    memset(&meant, 0, sizeof meant);
    ((mmf_glibc_mutex *)&meant)->kind = MMF_KIND;
    return memcmp(&made, &meant, sizeof made) == 0;
}

static inline int mmf_mutex_try(mmf_mutex *mutex) { return pthread_mutex_trylock(mutex); }

static inline int mmf_mutex_unlock(mmf_mutex *mutex) { return pthread_mutex_unlock(mutex); }

/* After EOWNERDEAD. */
static inline int mmf_mutex_consistent(mmf_mutex *mutex) { return pthread_mutex_consistent(mutex); }

/* The kernel marks those of the dead. */
static inline int mmf_mutex_is_dead(const mmf_mutex *mutex)
{
    return (__atomic_load_n(&((const mmf_glibc_mutex *)mutex)->word, __ATOMIC_RELAXED) & 0x40000000u) != 0;
}

static inline int mmf_mutex_is_live(const mmf_mutex *mutex)
{
    uint32_t word = __atomic_load_n(&((const mmf_glibc_mutex *)mutex)->word, __ATOMIC_RELAXED);
    return (word & 0x3FFFFFFF) != 0 && !(word & 0x40000000);
}

/* From glibc 2.30 on. What was built with an older one has it all the same, if it is there when it runs. */
int pthread_mutex_clocklock(pthread_mutex_t *, clockid_t, const struct timespec *) __attribute__((weak));

/* Waits `seconds` at most. The C library's own function, so that its waiters and .NET's stay in one queue. */
static inline int mmf_mutex_wait(mmf_mutex *mutex, double seconds)
{
    struct timespec until;
    clockid_t clock = pthread_mutex_clocklock ? CLOCK_MONOTONIC : CLOCK_REALTIME;
    clock_gettime(clock, &until);
    until.tv_sec += (time_t)seconds;
    until.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    if (clock == CLOCK_MONOTONIC)
        return pthread_mutex_clocklock(mutex, clock, &until);
    return pthread_mutex_timedlock(mutex, &until);
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
static inline int mmf_mutex_in_list(const mmf_mutex *mutex)
{
    const mmf_glibc_mutex *own = (const mmf_glibc_mutex *)mutex;
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
