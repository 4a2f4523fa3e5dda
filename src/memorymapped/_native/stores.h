/* SPDX-License-Identifier: MIT
 *
 * The loads and stores by which a writer that may die, and readers that take no lock, agree.
 */
#ifndef MEMORYMAPPED_STORES_H
#define MEMORYMAPPED_STORES_H

#include <stddef.h>
#include <stdint.h>

static inline size_t mmf_round_up(size_t number, size_t to) { return (number + to - 1) & ~(to - 1); }

static inline uint64_t mmf_load(const uint64_t *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }

static inline void mmf_store(uint64_t *at, uint64_t number) { __atomic_store_n(at, number, __ATOMIC_RELEASE); }

/* Nothing that is written below is seen, by another processor or after a kill, before what is written above. */
static inline void mmf_then(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* The same, where nothing is read below that others write. Where stores are seen in their order it costs nothing. */
static inline void mmf_then_write(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }

#endif
