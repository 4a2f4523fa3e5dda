/* SPDX-License-Identifier: MIT
 *
 * How a thread is told apart: by a number that no other thread of this process ever has (thread ids are used again, and
 * a fork copies them); and what a fork must renew.
 *
 * The numbers are this header's own variables, so one module alone includes it (robust.pyx); the others ask that one.
 */
#ifndef MEMORYMAPPED_THREADS_H
#define MEMORYMAPPED_THREADS_H

#include "of_thread.h"
#include "robust.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t mmf_threads;
static uint32_t mmf_process;
static MMF_OF_THREAD uint64_t mmf_own_thread;
static MMF_OF_THREAD int mmf_own_locks; /* that it holds now */
static MMF_OF_THREAD uint32_t mmf_own_id; /* the kernel's number of it */

static inline uint64_t mmf_thread(void)
{
    if (__builtin_expect(mmf_own_thread == 0, 0))
        mmf_own_thread = __atomic_add_fetch(&mmf_threads, 1, __ATOMIC_RELAXED);
    return mmf_own_thread;
}

static inline uint32_t mmf_id(void)
{
    if (__builtin_expect(mmf_own_id == 0, 0))
        mmf_own_id = (uint32_t)syscall(SYS_gettid);
    return mmf_own_id;
}

static void mmf_forked(void)
{
    mmf_mutexes_forked();
    mmf_own_id = 0;
    mmf_process = (uint32_t)getpid();
    mmf_own_thread = 0; /* what the parent's thread owns is not the child's */
    mmf_own_locks = 0;
}

static inline void mmf_count_lock(int more) { mmf_own_locks += more; }

static int mmf_start(void)
{
    mmf_process = (uint32_t)getpid();
    return pthread_atfork(mmf_mutexes_fork, NULL, mmf_forked);
}

/* Whose turn it is to handle signals: Python's main thread is the process's first one. */
static inline int mmf_is_main_thread(void) { return syscall(SYS_gettid) == getpid(); }

/* Does the word name this thread? The C library would only count then, whether this thread has locked it or not. */
static inline int mmf_names_us(const mmf_lock *lock)
{
    return (__atomic_load_n(&MMF_INSIDE((mmf_lock *)lock)->word, __ATOMIC_RELAXED) & 0x3FFFFFFFu) == mmf_id();
}

/* Will one unlock set it free? */
static inline int mmf_is_ours_once(const mmf_lock *lock)
{
    const mmf_inside *inside = MMF_INSIDE((mmf_lock *)lock);
    return mmf_names_us(lock) && MMF_OWNER(inside) == mmf_id() && inside->count == MMF_ONCE;
}

#endif
