/* SPDX-License-Identifier: MIT
 *
 * Words in shared memory that processes wait for, and the futex calls on them.
 *
 * A pair of words: `word`, which says whether there is something to be had, and `waiters`, how many sleep or are about to. Who signals
 * changes `word`, then asks `waiters`; who waits changes `waiters`, then asks `word` (the kernel does, once more, before
 * it lets the caller sleep). Both sides are sequentially consistent, so one of them sees the other: a signal without
 * waiters makes no system call, and none is missed. A waiter that is killed leaves `waiters` too high: calls in vain.
 *
 * None of these calls is private to the process (FUTEX_PRIVATE_FLAG).
 */
#ifndef MEMORYMAPPED_FUTEX_H
#define MEMORYMAPPED_FUTEX_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* Linux 5.16; the same number on every machine */
#endif
#define MMF_WAITV_MOST 128

/* linux/futex.h has this from Linux 5.16 on only. */
struct mmf_waitv {
    uint64_t value;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};

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
 * meanwhile. */
static inline void mmf_word_switch(uint32_t *word, uint32_t on)
{
    uint32_t now = mmf_word_load(word);
    while ((now & 1) != on)
        if (__atomic_compare_exchange_n(word, &now, now + 1, 1, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return;
}

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

static inline void mmf_futex_wake(uint32_t *word, int most)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, most, NULL, NULL, 0);
}

static inline struct timespec mmf_timespec(double seconds)
{
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    return time;
}

/* Sleeps while the word is `value`, at most `seconds` of the monotonic clock. 0 (woken), EAGAIN (it is another value),
 * ETIMEDOUT, EINTR, EFAULT. */
static inline int mmf_futex_wait(uint32_t *word, uint32_t value, double seconds)
{
    struct timespec limit = mmf_timespec(seconds);
    return syscall(SYS_futex, word, FUTEX_WAIT, value, &limit, NULL, 0) == -1 ? errno : 0;
}

/* The same for several words, while each has its value. ENOSYS or EPERM: the kernel, or a sandbox, has no such call. */
static inline int mmf_futex_waitv(uint32_t *const *words, const uint32_t *values, int count, double seconds)
{
    struct mmf_waitv waits[MMF_WAITV_MOST];
    struct timespec now, limit = mmf_timespec(seconds);
    for (int i = 0; i < count; i++)
        waits[i] = (struct mmf_waitv){.value = values[i], .address = (uintptr_t)words[i], .flags = 2 /* 32 bits */};
    clock_gettime(CLOCK_MONOTONIC, &now);
    limit.tv_sec += now.tv_sec;
    limit.tv_nsec += now.tv_nsec;
    if (limit.tv_nsec >= 1000000000) {
        limit.tv_nsec -= 1000000000;
        limit.tv_sec++;
    }
    return syscall(SYS_futex_waitv, waits, count, 0, &limit, CLOCK_MONOTONIC) == -1 ? errno : 0;
}

static inline int mmf_sleep(double seconds)
{
    struct timespec limit = mmf_timespec(seconds);
    return nanosleep(&limit, NULL) ? errno : 0;
}

static inline double mmf_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#endif
