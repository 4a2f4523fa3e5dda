/* SPDX-License-Identifier: MIT
 *
 * The protocol is at the head of locking.h.
 */
#include "locking.h"
#include "clock.h"
#include "sleeping.h"

#include <windows.h>

enum { NOBODY, LIVES, DIED };
enum { SPINS = 200 };

static const double LOOK_AGAIN = 0.25; /* seconds */

static uint64_t began(HANDLE thread)
{
    FILETIME created, ended, kernel, user;
    return GetThreadTimes(thread, &created, &ended, &kernel, &user) ? (uint64_t)created.dwLowDateTime << 32 : 0;
}

uint64_t mmf_holder(void)
{
    static __thread uint64_t own;
    if (!own)
        own = began(GetCurrentThread()) | GetCurrentThreadId();
    return own;
}

static uint64_t *number_of(const mmf_mutex *mutex) { return (uint64_t *)mutex; }

static uint64_t load(const mmf_mutex *mutex) { return __atomic_load_n(number_of(mutex), __ATOMIC_SEQ_CST); }

static int swap(mmf_mutex *mutex, uint64_t from, uint64_t to)
{
    return __atomic_compare_exchange_n(number_of(mutex), &from, to, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* Whether the holder's thread lives. `end`, if not NULL: a handle to wait for its end, or NULL if that cannot be had. */
static int state_of(uint64_t holder, HANDLE *end)
{
    HANDLE thread;
    int state = LIVES;
    if (end)
        *end = NULL;
    if (!holder)
        return NOBODY;
    thread = OpenThread(SYNCHRONIZE | THREAD_QUERY_LIMITED_INFORMATION, FALSE, (DWORD)holder & ~MMF_SLEEPERS);
    if (!thread)
        return GetLastError() == ERROR_INVALID_PARAMETER ? DIED : LIVES;
    if (WaitForSingleObject(thread, 0) == WAIT_OBJECT_0 || began(thread) >> 32 != holder >> 32)
        state = DIED;
    if (end && state == LIVES)
        *end = thread;
    else
        CloseHandle(thread);
    return state;
}

int mmf_mutex_is_live(const mmf_mutex *mutex) { return state_of(load(mutex), NULL) == LIVES; }

int mmf_mutex_is_dead(const mmf_mutex *mutex) { return state_of(load(mutex), NULL) == DIED; }

static int taken(mmf_mutex *mutex, int rc)
{
    mutex->count = 1;
    return rc;
}

/* Takes it as soon as it is free, for some turns: 1. 0: the holder is `holder` still, or another one, who lives then. */
static int spin(mmf_mutex *mutex, uint64_t own, uint64_t *holder)
{
    uint64_t first = *holder;
    for (int turn = 0; turn < SPINS; turn++) {
        if (!*holder && swap(mutex, 0, own))
            return 1;
        YieldProcessor();
        *holder = load(mutex);
        if (*holder && (*holder ^ first) & ~(uint64_t)MMF_SLEEPERS)
            first = 0;
    }
    *holder = first;
    return 0;
}

int mmf_mutex_try(mmf_mutex *mutex)
{
    uint64_t own = mmf_holder(), holder = load(mutex);
    for (;;) {
        if (!holder && swap(mutex, 0, own))
            return taken(mutex, 0);
        if (mmf_mutex_is_ours(mutex)) {
            mutex->count++;
            return 0;
        }
        if (spin(mutex, own, &holder))
            return taken(mutex, 0);
        if (!holder || state_of(holder, NULL) == LIVES)
            return EBUSY;
        if (swap(mutex, holder, own | MMF_SLEEPERS) || /* some may sleep on a channel of its time */
            swap(mutex, holder | MMF_SLEEPERS, own | MMF_SLEEPERS))
            return taken(mutex, EOWNERDEAD);
        holder = load(mutex);
    }
}

int mmf_mutex_unlock(mmf_mutex *mutex)
{
    if (!mmf_mutex_is_ours(mutex))
        return EPERM;
    if (mutex->count > 1) {
        mutex->count--;
        return 0;
    }
    mutex->count = 0;
    if (__atomic_exchange_n(number_of(mutex), 0, __ATOMIC_SEQ_CST) & MMF_SLEEPERS)
        mmf_futex_wake(&mutex->word, 1);
    return 0;
}

/* Until the holder is another one, its thread has ended, or the time is over. */
static void sleep_beside(mmf_mutex *mutex, uint64_t holder, HANDLE end, double seconds)
{
    HANDLE handles[2] = {mmf_channel(mutex), end};
    DWORD milliseconds = mmf_milliseconds(seconds);
    if (load(mutex) != holder)
        return;
    if (!handles[0]) {
        handles[0] = end;
        end = NULL;
        if (milliseconds > 10)
            milliseconds = 10;
    }
    if (handles[0])
        WaitForMultipleObjects(end ? 2 : 1, handles, FALSE, milliseconds);
    else
        Sleep(milliseconds);
}

int mmf_mutex_wait(mmf_mutex *mutex, double seconds)
{
    uint64_t own = mmf_holder();
    double until = mmf_now() + seconds;
    for (;;) {
        uint64_t holder = load(mutex);
        HANDLE end;
        if (mmf_mutex_is_ours(mutex)) {
            mutex->count++;
            return 0;
        }
        if (spin(mutex, own | MMF_SLEEPERS, &holder))
            return taken(mutex, 0);
        holder = load(mutex);
        if (!holder)
            continue;
        if (state_of(holder, &end) == DIED) {
            if (swap(mutex, holder, own | MMF_SLEEPERS))
                return taken(mutex, EOWNERDEAD);
            continue;
        }
        double left = until - mmf_now();
        if (left > 0 && ((holder & MMF_SLEEPERS) || swap(mutex, holder, holder | MMF_SLEEPERS)))
            sleep_beside(mutex, holder | MMF_SLEEPERS, end, left < LOOK_AGAIN ? left : LOOK_AGAIN);
        if (end)
            CloseHandle(end);
        if (left <= 0)
            return ETIMEDOUT;
    }
}
