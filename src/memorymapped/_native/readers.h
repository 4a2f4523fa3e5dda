/* SPDX-License-Identifier: MIT
 *
 * A reader-writer lock of robust mutexes in shared memory; its steps, and who can die where, are at the head of
 * readers.pyx. Zeros are a free one, as soon as each mutex has got its kind.
 */
#ifndef MEMORYMAPPED_READERS_H
#define MEMORYMAPPED_READERS_H

#include "robust.h"

#define MMF_SLOTS 31
#define MMF_READERS_SIZE 2048

typedef struct {
    mmf_mutex lock;
    uint32_t writing; /* the gate's only: not 0 from when a writer has everything until it gives back */
    uint32_t process; /* the gate's: of that writer; a slot's: of who reads by it, 0 while a writer has it */
    char padding[64 - sizeof(mmf_mutex) - 8];
} mmf_slot;

typedef struct {
    mmf_slot gate;
    mmf_slot slot[MMF_SLOTS];
} mmf_readers;

_Static_assert(sizeof(mmf_readers) == MMF_READERS_SIZE, "a gate and 31 slots of 64 bytes");

static inline mmf_lock *mmf_gate_lock(mmf_readers *readers) { return (mmf_lock *)&readers->gate; }

static inline mmf_lock *mmf_slot_lock(mmf_readers *readers, int slot) { return (mmf_lock *)&readers->slot[slot]; }

/* Whether nobody has the gate, nor died with it. It keeps readers back from a writer that waits; what keeps them from one
 * that writes are the slots. */
static inline int mmf_gate_is_open(mmf_readers *readers)
{
    return __atomic_load_n(&MMF_INSIDE(mmf_gate_lock(readers))->word, __ATOMIC_ACQUIRE) == 0;
}

/* Locks a free slot, which it returns. -1: somebody has the gate; -2: all slots are taken; -3: a slot is damaged.
 * `gated`: this thread has the gate. */
static inline int mmf_reader_try(mmf_readers *readers, int preferred, int gated)
{
    if (!gated && !mmf_gate_is_open(readers))
        return -1;
    for (int turn = 0; turn < MMF_SLOTS; turn++) {
        int slot = (preferred + turn) % MMF_SLOTS;
        mmf_lock *lock = mmf_slot_lock(readers, slot);
        int rc = mmf_trylock(lock);
        if (rc == EOWNERDEAD)
            rc = mmf_consistent(lock);
        if (rc == EBUSY)
            continue;
        if (rc != 0 || !mmf_is_kind(lock) || MMF_INSIDE(lock)->count != MMF_ONCE)
            return -3;
        return slot;
    }
    return -2;
}

/* The word, then the data; the data, then the word: whoever finds this writer dead sees them in that order. */
static inline void mmf_write_begins(mmf_readers *readers, uint32_t process)
{
    readers->gate.process = process;
    __atomic_store_n(&readers->gate.writing, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void mmf_write_ends(mmf_readers *readers)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&readers->gate.writing, 0, __ATOMIC_SEQ_CST);
}

/* ---- what the memory says, for who only looks */

static inline uint32_t mmf_owner_of(mmf_lock *lock) /* the thread; 0: nobody who lives */
{
    return mmf_is_live(lock) ? __atomic_load_n(&MMF_INSIDE(lock)->word, __ATOMIC_RELAXED) & 0x3FFFFFFF : 0;
}

static inline int mmf_is_read(mmf_readers *readers, int slot)
{
    return __atomic_load_n(&readers->slot[slot].process, __ATOMIC_RELAXED) != 0
        && mmf_is_live(mmf_slot_lock(readers, slot));
}

/* The thread that has the gate and all slots, and not only waits for the last readers to go. */
static inline uint32_t mmf_writer_of(mmf_readers *readers)
{
    uint32_t gate = mmf_owner_of(mmf_gate_lock(readers));
    int last = MMF_SLOTS - 1;
    return gate != 0 && __atomic_load_n(&readers->gate.writing, __ATOMIC_RELAXED) != 0 && !mmf_is_read(readers, last)
        && mmf_owner_of(mmf_slot_lock(readers, last)) == gate ? gate : 0;
}

/* Does somebody sleep until it can read or write, or have the gate and wait for readers? */
static inline int mmf_is_waited_for(mmf_readers *readers)
{
    uint32_t words = MMF_INSIDE(mmf_gate_lock(readers))->word;
    for (int slot = 0; slot < MMF_SLOTS; slot++)
        words |= MMF_INSIDE(mmf_slot_lock(readers, slot))->word;
    return words >> 31 || (mmf_owner_of(mmf_gate_lock(readers)) != 0 && mmf_writer_of(readers) == 0);
}

static inline int mmf_was_writing(mmf_readers *readers)
{
    return __atomic_load_n(&readers->gate.writing, __ATOMIC_ACQUIRE) != 0;
}

#endif
