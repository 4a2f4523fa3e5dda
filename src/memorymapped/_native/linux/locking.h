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

#define MMF_MOST 2000 /* the kernel walks 2048 entries of a dead thread's list, and would leave the others locked */

/* Where the C library keeps what is looked at besides calling its functions; mmf_lock_works asks whether it does.
 *
 * A lock of the one library is none for the other, which would break it unnoticed. Both see whose it is by the word at 16,
 * `kind`: glibc keeps its kind there, and musl nothing, so that with musl it is ours. Zeros are claimed by it. */
#ifdef __GLIBC__
#define MMF_KIND 0x91u /* recursive 1 | robust 16 | process-shared 128 */
#define MMF_ONCE 1u
typedef struct {
    uint32_t word; /* thread id of the owner | died 0x40000000 | waiters 0x80000000 */
    uint32_t count; /* MMF_ONCE: locked once */
    uint32_t owner;
    uint32_t users; /* places.h */
    uint32_t kind;
    uint32_t spins;
    void *before, *after; /* neighbours in the thread's list */
} __attribute__((may_alias)) mmf_inside;
#define MMF_FIRST(inside) (&(inside)->word)
#define MMF_TYPE(inside) (&(inside)->kind) /* where the library's functions look */
#define MMF_OWNER(inside) ((inside)->owner)
#else /* musl */
#define MMF_KIND 0x85u /* recursive 1 | robust 4 | process-shared 128 */
#define MMF_ONCE 0u
typedef struct {
    uint32_t type;
    uint32_t word; /* as above: the kernel's */
    uint32_t waiters;
    uint32_t users; /* places.h; musl has nothing here, */
    uint32_t kind; /* nor here */
    uint32_t count;
    void *before, *after;
} __attribute__((may_alias)) mmf_inside;
#define MMF_FIRST(inside) (&(inside)->type)
#define MMF_TYPE(inside) (&(inside)->type)
#define MMF_OWNER(inside) ((inside)->word & 0x3FFFFFFFu)
#endif

_Static_assert(sizeof(mmf_inside) <= sizeof(mmf_mutex), "all of it lies in the mutex");

static inline int mmf_mutex_make(mmf_mutex *mutex)
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

/* Zeros become a free mutex. Only before anybody else can see them. */
static inline int mmf_mutex_init(mmf_mutex *mutex)
{
    int rc = mmf_mutex_make(mutex);
    ((mmf_inside *)mutex)->kind = MMF_KIND;
    return rc;
}

/* Has the C library mutexes of this layout? A free one is zeros and the library's word then, a locked one has its owner, how
 * often it is locked, and its neighbours where they are looked for. */
static inline int mmf_lock_works(void)
{
    mmf_mutex made, meant;
    mmf_inside *inside = (mmf_inside *)&made;
    int works;
    memset(&made, 0, sizeof made);
    memset(&meant, 0, sizeof meant);
    *MMF_TYPE((mmf_inside *)&meant) = MMF_KIND;
    if (mmf_mutex_make(&made) || memcmp(&made, &meant, sizeof made) || pthread_mutex_trylock(&made))
        return 0;
    works = inside->word == (uint32_t)syscall(SYS_gettid) && MMF_OWNER(inside) == inside->word && inside->count == MMF_ONCE
        && inside->before && inside->after;
    return pthread_mutex_unlock(&made) == 0 && works && inside->word == 0;
}

/* Is it one of this library's? With musl one that a C program made has no `kind`; but if that were not looked at, one of
 * glibc's would pass whose owner is thread number 0x85. */
static inline int mmf_mutex_is_kind(const mmf_mutex *mutex)
{
    mmf_inside *inside = (mmf_inside *)mutex;
    return __atomic_load_n(MMF_TYPE(inside), __ATOMIC_RELAXED) == MMF_KIND
        && (MMF_TYPE(inside) == &inside->kind || (__atomic_load_n(&inside->kind, __ATOMIC_RELAXED) | MMF_KIND) == MMF_KIND);
}

/* Zeros become a free mutex, whoever is first: 1: by this call; 0: it was one; -1: it is none, and nothing was changed.
 *
 * Of several claimers one stores `kind`, also if they have different libraries: those of the other one find it, and get
 * -1. With musl `type` follows, by whoever finds it missing, as who stored `kind` may have died. No `kind`, but something
 * at 0: a mutex of musl that a C program made, or none. (Read in this order, as glibc's owner comes there after the kind.)
 * A C program asks nobody: what it makes of zeros just now is seen if it comes first, and never if it comes second. */
static inline int mmf_mutex_claim(mmf_mutex *mutex)
{
    mmf_inside *inside = (mmf_inside *)mutex;
    uint32_t first = __atomic_load_n(MMF_FIRST(inside), __ATOMIC_SEQ_CST), kind = 0, type = 0;
    int made;
    if (first && !__atomic_load_n(&inside->kind, __ATOMIC_SEQ_CST))
        return -1;
    made = __atomic_compare_exchange_n(&inside->kind, &kind, MMF_KIND, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    if (!made && kind != MMF_KIND)
        return -1;
    if (MMF_TYPE(inside) == &inside->kind)
        return made;
    return __atomic_compare_exchange_n(MMF_TYPE(inside), &type, MMF_KIND, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ? 1
        : type == MMF_KIND ? 0 : -1;
}

static inline int mmf_mutex_try(mmf_mutex *mutex) { return pthread_mutex_trylock(mutex); }

static inline int mmf_mutex_unlock(mmf_mutex *mutex) { return pthread_mutex_unlock(mutex); }

/* After EOWNERDEAD. */
static inline int mmf_mutex_consistent(mmf_mutex *mutex) { return pthread_mutex_consistent(mutex); }

/* The kernel marks those of the dead, in the place of their number. (With musl the mark stays beside the number of who takes
 * it until that says it is consistent.) */
static inline int mmf_mutex_is_dead(const mmf_mutex *mutex)
{
    return (__atomic_load_n(&((const mmf_inside *)mutex)->word, __ATOMIC_RELAXED) & 0x7FFFFFFFu) == 0x40000000u;
}

static inline int mmf_mutex_is_live(const mmf_mutex *mutex)
{
    return (__atomic_load_n(&((const mmf_inside *)mutex)->word, __ATOMIC_RELAXED) & 0x3FFFFFFFu) != 0;
}

/* From glibc 2.30 on, not in musl. What was built with an older one has it all the same, if it is there when it runs. */
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
    const mmf_inside *own = (const mmf_inside *)mutex;
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

#ifdef __GLIBC__
static inline void mmf_mutexes_fork(void) {}
static inline void mmf_mutexes_forked(void) {}
#else
static void *mmf_forking; /* C library's handlers of forks run one fork at a time */

/* In a forked child musl's thread still has the parent's list, and its next lock would write into the parent's mutexes, which
 * lie in shared memory. So it becomes an empty one, as glibc's does: a list whose head leads to itself. The kernel does not
 * know it in the child yet, which is asked before. */
static inline void mmf_mutexes_fork(void)
{
    size_t size = 0;
    mmf_forking = NULL;
    syscall(SYS_get_robust_list, 0, &mmf_forking, &size);
}

/* Safe: the head is this thread's own memory, which the fork has copied to the same address. */
static inline void mmf_mutexes_forked(void)
{
    if (mmf_forking)
        *(void **)mmf_forking = mmf_forking;
}
#endif

/* Is there a thread of this number, in any process that we can see? */
static inline int mmf_thread_exists(uint32_t thread)
{
    return thread != 0 && (syscall(SYS_tkill, (long)thread, 0) == 0 || errno == EPERM);
}

#endif
