/* SPDX-License-Identifier: MIT
 *
 * How a thread is told apart: by a number that no other thread of this process ever has (the system uses its own again).
 * The half of Windows, where no process is ever forked.
 *
 * The numbers are this header's own variables, so one module alone includes it (robust.pyx); the others ask that one.
 */
#ifndef MEMORYMAPPED_THREADS_H
#define MEMORYMAPPED_THREADS_H

#include "robust.h"

#include <process.h>
#include <stdint.h>

static uint64_t mmf_threads;
static uint32_t mmf_process;
static __thread uint64_t mmf_own_thread;
static __thread int mmf_own_locks; /* that it holds now */

static inline uint64_t mmf_thread(void)
{
    if (__builtin_expect(mmf_own_thread == 0, 0))
        mmf_own_thread = __atomic_add_fetch(&mmf_threads, 1, __ATOMIC_RELAXED);
    return mmf_own_thread;
}

static inline void mmf_count_lock(int more) { mmf_own_locks += more; }

static int mmf_start(void)
{
    mmf_process = (uint32_t)_getpid();
    return 0;
}

/* Whose turn it is to handle signals. (Python's own; needs no GIL.) */
int _PyOS_IsMainThread(void);
static inline int mmf_is_main_thread(void) { return _PyOS_IsMainThread(); }

/* Does the word name this thread? */
static inline int mmf_names_us(const mmf_lock *lock) { return mmf_mutex_is_ours(&lock->mutex); }

/* Will one unlock set it free? */
static inline int mmf_is_ours_once(const mmf_lock *lock) { return lock->mutex.count == 1 && mmf_names_us(lock); }

#endif
