/* SPDX-License-Identifier: MIT
 *
 * How a thread sleeps on a word in shared memory (futex.h): Linux's half, the futex calls. The other is
 * windows/sleeping.h, of the same names.
 *
 * None of these calls is private to the process (FUTEX_PRIVATE_FLAG).
 */
#ifndef MEMORYMAPPED_SLEEPING_H
#define MEMORYMAPPED_SLEEPING_H

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

static inline void mmf_futex_wake(uint32_t *word, int most)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, most, NULL, NULL, 0);
}

/* Wakes all. `counted`: how many there may be. */
static inline void mmf_futex_wake_all(uint32_t *word, uint32_t counted)
{
    (void)counted;
    mmf_futex_wake(word, INT_MAX);
}

static inline struct timespec mmf_timespec(double seconds)
{
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    return time;
}

static inline struct timespec mmf_until(double seconds)
{
    struct timespec now, limit = mmf_timespec(seconds);
    clock_gettime(CLOCK_MONOTONIC, &now);
    limit.tv_sec += now.tv_sec;
    limit.tv_nsec += now.tv_nsec;
    if (limit.tv_nsec >= 1000000000) {
        limit.tv_nsec -= 1000000000;
        limit.tv_sec++;
    }
    return limit;
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
    struct timespec limit = mmf_until(seconds);
    for (int i = 0; i < count; i++)
        waits[i] = (struct mmf_waitv){.value = values[i], .address = (uintptr_t)words[i], .flags = 2 /* 32 bits */};
    return syscall(SYS_futex_waitv, waits, count, 0, &limit, CLOCK_MONOTONIC) == -1 ? errno : 0;
}

static inline int mmf_sleep(double seconds)
{
    struct timespec limit = mmf_timespec(seconds);
    return nanosleep(&limit, NULL) ? errno : 0;
}

/* ---- groups of sleepers on one word, told apart by a number modulo 32 */

static inline uint32_t mmf_bit(uint32_t group) { return 1u << (group & 31); }

static inline int mmf_group_wait(uint32_t *word, uint32_t value, uint32_t group, double seconds)
{
    struct timespec until = mmf_until(seconds);
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, &until, NULL, mmf_bit(group)) == -1 ? errno : 0;
}

/* How many there were; where nobody knows, `most`. */
static inline uint32_t mmf_group_wake(uint32_t *word, uint32_t group, uint32_t most)
{
    long woken = syscall(SYS_futex, word, FUTEX_WAKE_BITSET, most < INT_MAX ? most : INT_MAX, NULL, NULL, mmf_bit(group));
    return woken < 0 ? 0 : (uint32_t)woken;
}

#endif
