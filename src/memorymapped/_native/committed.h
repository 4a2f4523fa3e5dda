/* SPDX-License-Identifier: MIT
 *
 * A value of S bytes in shared memory that is replaced as a whole: protocol and layout.
 *
 * Layout, version 1 (numbers in the machine's byte order; all that is not named is zero):
 *
 *     0       the value, S bytes, where programs that know nothing of the rest read and write it, under the lock
 *     C       the control block; C is S rounded up to a multiple of 64
 *     C+0     u64 magic: "mmfvalue" when it is made, "mmfmakes" while it is being made
 *     C+8     u32 version: 1 (the magic and this are at the same place in every version)
 *     C+12    u32 number of slots: 4
 *     C+16    u64 S
 *     C+24    u64 the first 8 bytes of the SHA-256 of the layout's text
 *     C+32    u32 flags: 1, others than this library write the value too
 *     C+36    u32 bytes of the layout's text
 *     C+40    of a file: 16 bytes, the boot of the machine in which it was opened last, and which file it is
 *     C+56    of a file: u32 how many have it open
 *     C+64    u64 seq: the number of the last commit; its value is in slot seq % 4
 *     C+72    u64 mirror: the number of the commit that stands at 0; not seq: that is being copied; 0: it is rolled back
 *     C+80    of a file: u64 kept: the number of a commit that is on the disk: its slot is not written
 *     C+88    of a file: u64 keeping: the number of one that is being written to the disk: nor is its; 0: none is
 *     C+128   u32 waiters: how many sleep until seq changes (its low 32 bits are the futex's word)
 *     C+192   slots 0 to 3, K bytes each:
 *             0       the value
 *             R       u64 the number of the commit; R is S rounded up to a multiple of 8
 *             R+8     u32 CRC32C of the value and the number
 *             K       is R+16 rounded up to a multiple of 64
 *     L       the layout's text, UTF-8; L is C + 192 + 4 K
 *     E       u64 C, u64 magic, of which this is the first that is written and the last that changes: so that who
 *             expects another layout finds this one; E is the end of the text, rounded up
 *             to a multiple of 8
 *     E+16    the end
 *
 * Numbers of commits begin with 1 and never repeat; the next one is the first whose slot may be written (mmf_next).
 * Only the owner of the lock writes, but for `waiters`. Killed after any instruction it leaves one of these states, and
 * the next owner, whoever that is, makes them whole (mmf_settle):
 *
 *     slot[seq % 4]   the value, always: what is written goes to another slot first
 *     0 .. S          that value; or half of it and half of the one before, mirror != seq; or what another program has
 *                     written there: whole if it has released the lock, and perhaps not if it died with the lock
 *
 * The fences are what other processors, and the compiler, are held to.
 */
#ifndef MEMORYMAPPED_COMMITTED_H
#define MEMORYMAPPED_COMMITTED_H

#include "crc32c.h"
#include "futex.h"
#include "stores.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MMF_SHARED_MADE 0x65756C6176666D6Dull  /* "mmfvalue" */
#define MMF_SHARED_MAKING 0x73656B616D666D6Dull /* "mmfmakes" */

enum {
    MMF_SHARED_VERSION = 1,
    MMF_SLOTS = 4,
    MMF_FOREIGN = 1, /* the flag */
    MMF_AT_SEQ = 64,
    MMF_AT_MIRROR = 72,
    MMF_AT_KEPT = 80,
    MMF_AT_KEEPING = 88,
    MMF_AT_WAITERS = 128,
    MMF_AT_SLOTS = 192,
    MMF_TURNS = 64, /* of a reader, before it takes the lock */
};

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t slots;
    uint64_t size;
    uint64_t layout;
    uint32_t flags;
    uint32_t text;
    unsigned char boot[16];
    uint32_t users;
    uint32_t nothing;
} mmf_control;

/* Where everything is. From the size that this process expects: nothing of it is read from the shared memory. */
typedef struct {
    char *base;
    mmf_control *control;
    uint64_t *seq;
    uint64_t *mirror;
    uint64_t *kept;
    uint64_t *keeping;
    uint32_t *waiters;
    char *slots;
    size_t size;  /* S */
    size_t step;  /* K */
    int foreign;
} mmf_shared;

static inline size_t mmf_slot_step(size_t size) { return mmf_round_up(mmf_round_up(size, 8) + 16, 64); }

/* L, in a map of values of this size. */
static inline size_t mmf_text_position(size_t size)
{
    return mmf_round_up(size, 64) + MMF_AT_SLOTS + MMF_SLOTS * mmf_slot_step(size);
}

/* How many bytes all of it takes. */
static inline size_t mmf_shared_total(size_t size, size_t text)
{
    return mmf_round_up(mmf_text_position(size) + text, 8) + 16;
}

static inline void mmf_shared_place(mmf_shared *v, char *base, size_t size)
{
    char *control = base + mmf_round_up(size, 64);
    v->base = base;
    v->control = (mmf_control *)control;
    v->seq = (uint64_t *)(control + MMF_AT_SEQ);
    v->mirror = (uint64_t *)(control + MMF_AT_MIRROR);
    v->kept = (uint64_t *)(control + MMF_AT_KEPT);
    v->keeping = (uint64_t *)(control + MMF_AT_KEEPING);
    v->waiters = (uint32_t *)(control + MMF_AT_WAITERS);
    v->slots = control + MMF_AT_SLOTS;
    v->size = size;
    v->step = mmf_slot_step(size);
    v->foreign = 0;
}

static inline char *mmf_slot(const mmf_shared *v, uint64_t number) { return v->slots + number % MMF_SLOTS * v->step; }

static inline void mmf_sign(const mmf_shared *v, char *slot, uint64_t number)
{
    char *end = slot + mmf_round_up(v->size, 8);
    uint32_t crc = mmf_crc32c(mmf_crc32c(0, slot, v->size), (char *)&number, 8);
    memcpy(end, &number, 8);
    memcpy(end + 8, &crc, 4);
}

/* The number of the commit in a slot, if that is whole; 0 otherwise. */
static inline uint64_t mmf_signed_number(const mmf_shared *v, int slot)
{
    const char *bytes = v->slots + (size_t)slot * v->step, *end = bytes + mmf_round_up(v->size, 8);
    uint64_t number;
    uint32_t crc;
    memcpy(&number, end, 8);
    memcpy(&crc, end + 8, 4);
    if (number % MMF_SLOTS != (uint64_t)slot || crc != mmf_crc32c(mmf_crc32c(0, bytes, v->size), (char *)&number, 8))
        return 0;
    return number;
}

/* The low half of seq, by which waiters sleep. */
static inline uint32_t *mmf_shared_word(const mmf_shared *v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (uint32_t *)v->seq + 1;
#else
    return (uint32_t *)v->seq;
#endif
}

/* Behind a fence that is behind the store of seq. */
static inline void mmf_shared_wake(const mmf_shared *v)
{
    uint32_t waiters = __atomic_load_n(v->waiters, __ATOMIC_RELAXED);
    if (waiters != 0)
        mmf_futex_wake_all(mmf_shared_word(v), waiters);
}

/* ---- writing: by the owner of the lock, after mmf_settle */

/* The number of the next commit: its slot is neither that of the value nor one that the disk is to keep. */
static inline uint64_t mmf_next(const mmf_shared *v, uint64_t seq)
{
    uint64_t kept = mmf_load(v->kept), keeping = mmf_load(v->keeping), number = seq + 1;
    while ((kept != 0 && (number - kept) % MMF_SLOTS == 0) || (keeping != 0 && (number - keeping) % MMF_SLOTS == 0))
        number++; /* twice at most */
    return number;
}

/* That of commit `number` is on the disk now, whatever is written later. */
static inline void mmf_keep(mmf_shared *v, uint64_t number)
{
    mmf_store(v->kept, number);
    mmf_store(v->keeping, 0);
}

/* Makes `value` the value; NULL: what stands at 0. Returns the number of the commit. */
static inline uint64_t mmf_commit(mmf_shared *v, const char *value)
{
    uint64_t number = mmf_next(v, mmf_load(v->seq));
    char *slot = mmf_slot(v, number);
    memcpy(slot, value ? value : v->base, v->size); /* never the slot of seq. Killed: the old value stands */
    mmf_sign(v, slot, number);
    mmf_store(v->seq, number); /* The commit: one aligned store. Killed before it: the old value, after it: the new one */
    mmf_then();
    if (value)
        memcpy(v->base, slot, v->size); /* Killed: half of it; mirror != seq; mmf_settle copies it again */
    mmf_store(v->mirror, number);
    mmf_shared_wake(v); /* Killed before: who sleeps looks again by itself; mmf_settle wakes too, if mirror != seq */
    return number;
}

/* Every byte at 0 is that of the value or that of the one before, which stood there (`mirror`): a copy of ours has not
 * come to its end. */
static inline int mmf_is_half_copied(const mmf_shared *v, uint64_t number, uint64_t mirror)
{
    const char *now = mmf_slot(v, number), *before = mmf_slot(v, mirror);
    for (size_t i = 0; i < v->size; i++)
        if (v->base[i] != now[i] && v->base[i] != before[i])
            return 0;
    return 1;
}

enum { MMF_WAS_WHOLE, MMF_ADOPTED, MMF_ROLLED_BACK };

/* The first step of each owner: makes the bytes at 0 and the value one. `abandoned`: the owner before has died. */
static inline int mmf_settle(mmf_shared *v, int abandoned)
{
    uint64_t number = mmf_load(v->seq), mirror = mmf_load(v->mirror);
    const char *slot = mmf_slot(v, number);
    int differs = (v->foreign || abandoned || mirror != number) && memcmp(v->base, slot, v->size) != 0;
    if (!differs && mirror == number)
        return MMF_WAS_WHOLE;
    if (differs && v->foreign && !abandoned && mirror != 0 && (mirror == number || !mmf_is_half_copied(v, number, mirror))) {
        /* Another program was here under the lock, and has released it: its value counts. (mirror != seq: one of ours had
         * died before, and that program was told of it. If it did not write, the half copy is ours to end; also if ours
         * had died below, mirror == 0, where what stands at 0 was nobody's value.) */
        mmf_commit(v, NULL);
        return MMF_ADOPTED;
    }
    mmf_store(v->mirror, 0); /* Killed from here on: the next one does it again */
    mmf_then();
    if (differs)
        memcpy(v->base, slot, v->size);
    mmf_store(v->mirror, number);
    mmf_then();
    mmf_shared_wake(v);
    return differs ? MMF_ROLLED_BACK : MMF_WAS_WHOLE;
}

/* ---- reading: by anybody */

enum {
    MMF_NEEDS_LOCK,   /* it could not be had without */
    MMF_READ,
    MMF_READ_IN_COPY, /* one of ours is copying to 0; or has died, and who was told of it has perhaps written since */
};

/* Has the slot of commit `seq` perhaps been written again? It is when the fourth number behind it begins, which in memory
 * is when three others have been since. In a file that number may be the next one, as up to two are left out (mmf_next);
 * how many are kept now says nothing of that: a flush may have ended, and begun, since the commit that is under way has
 * begun, or has died. So one other commit is enough, where any slot was ever kept: never both are 0 again then. In this
 * order: who keeps stores `kept` first. */
static inline int mmf_was_overtaken(const mmf_shared *v, uint64_t seq)
{
    uint64_t fewer = mmf_load(v->keeping) != 0 || mmf_load(v->kept) != 0 ? 2 : 0;
    return mmf_load(v->seq) - seq > MMF_SLOTS - 2 - fewer;
}

/* Copies the value, and says its number. */
static inline int mmf_read(const mmf_shared *v, char *to, uint64_t *number, uint64_t *retries)
{
    int others = 0;
    for (int turn = 0; turn < MMF_TURNS; turn++) {
        uint64_t mirror = mmf_load(v->mirror), seq = mmf_load(v->seq);
        memcpy(to, mmf_slot(v, seq), v->size);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (mmf_was_overtaken(v, seq)) {
            ++*retries;
            continue;
        }
        *number = seq;
        if (!v->foreign || memcmp(to, v->base, v->size) == 0)
            return MMF_READ;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (mmf_load(v->seq) != seq || mmf_load(v->mirror) != mirror)
            return MMF_READ; /* one of ours was copying: what was read is committed */
        if (mirror != seq)
            return MMF_READ_IN_COPY;
        if (others++) /* another program has written at 0, or is about to: the lock knows */
            return MMF_NEEDS_LOCK;
    }
    return MMF_NEEDS_LOCK;
}

/* Whether another program may have written at 0 since commit `number`: the lock knows. */
static inline int mmf_seems_foreign(const mmf_shared *v, uint64_t number)
{
    if (!v->foreign || memcmp(v->base, mmf_slot(v, number), v->size) == 0)
        return 0;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return mmf_load(v->seq) == number;
}

/* ---- making, and what is found on a disk: by the owner of the lock */

enum { MMF_MADE = 1, MMF_HALF };

/* By the end of a map of `whole` bytes: is there a control block, made or half made, and where? */
static inline int mmf_made_at(const char *base, size_t whole, size_t *at)
{
    uint64_t tail[2], magic;
    if (whole < MMF_AT_SLOTS + 16)
        return 0;
    memcpy(tail, base + ((whole - 16) & ~(size_t)7), 16);
    if ((tail[1] != MMF_SHARED_MADE && tail[1] != MMF_SHARED_MAKING) || tail[0] == 0 || tail[0] & 63
        || tail[0] > whole - MMF_AT_SLOTS)
        return 0;
    *at = tail[0];
    magic = mmf_load((uint64_t *)(base + tail[0]));
    if (magic == MMF_SHARED_MADE)
        return MMF_MADE;
    return magic == MMF_SHARED_MAKING || tail[1] == MMF_SHARED_MAKING ? MMF_HALF : 0;
}

static inline int mmf_is_zero(const char *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Is there room for a control block that nobody has begun to make? Killed before his first mark one leaves the place that
 * it was for. */
static inline int mmf_is_fresh(const mmf_shared *v, size_t total)
{
    const char *control = (const char *)v->control, *end = v->base + total - 16;
    return mmf_is_zero(control, (size_t)(end - control)) && mmf_is_zero(end + 8, 8);
}

/* Makes the control block, with what stands at 0 as the first value. Killed: the magic says so; it is made again. */
static inline void mmf_shared_make(mmf_shared *v, uint64_t layout, const char *text, uint32_t length)
{
    char *control = (char *)v->control;
    size_t end = mmf_shared_total(v->size, length) - 16;
    uint64_t tail[2] = {(uint64_t)(control - v->base), MMF_SHARED_MADE};
    mmf_control header = {.version = MMF_SHARED_VERSION, .slots = MMF_SLOTS, .size = v->size, .layout = layout,
                          .flags = v->foreign ? MMF_FOREIGN : 0, .text = length};
    memcpy(v->base + end, &tail[0], 8);
    mmf_then();
    mmf_store((uint64_t *)(v->base + end) + 1, MMF_SHARED_MAKING); /* first, for who expects another layout */
    mmf_then();
    mmf_store(&v->control->magic, MMF_SHARED_MAKING);
    mmf_then();
    memcpy(control + 8, (char *)&header + 8, sizeof header - 8);
    memset(control + sizeof header, 0, (size_t)(v->base + end - control) - sizeof header);
    memcpy(mmf_slot(v, 1), v->base, v->size);
    mmf_sign(v, mmf_slot(v, 1), 1);
    mmf_store(v->seq, 1);
    mmf_store(v->mirror, 1);
    memcpy(v->base + mmf_text_position(v->size), text, length);
    mmf_store(&v->control->magic, MMF_SHARED_MADE);
    mmf_then();
    mmf_store((uint64_t *)(v->base + end) + 1, MMF_SHARED_MADE); /* killed before it: the one at C counts */
}

/* One user of a file less, unless that is the last one. Needs no lock. */
static inline int mmf_leave(mmf_shared *v)
{
    uint32_t users = __atomic_load_n(&v->control->users, __ATOMIC_RELAXED);
    while (users > 1)
        if (__atomic_compare_exchange_n(&v->control->users, &users, users - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            return 1;
    return 0;
}

/* After the machine went down what is on the disk is of different moments. Makes the newest value that is whole the
 * value, by a commit of its own; `anyway`: also if that of seq is whole, and of the commit before. 0: none is whole. */
static inline int mmf_shared_recover(mmf_shared *v, int anyway)
{
    uint64_t seq = mmf_load(v->seq), newest = 0, number;
    if (mmf_signed_number(v, (int)(seq % MMF_SLOTS)) == seq && seq != 0) {
        if (!anyway)
            return 1;
        newest = seq;
    }
    for (int i = 0; i < MMF_SLOTS; i++) {
        number = mmf_signed_number(v, i);
        if (number > newest && !(newest == seq && number == mmf_next(v, seq))) /* that was not committed */
            newest = number;
    }
    if (newest == 0)
        return 0;
    if (newest != seq) {
        number = (newest > seq ? newest : seq) + 1;
        if (number % MMF_SLOTS == newest % MMF_SLOTS)
            number++; /* killed in here: the one that is whole stays so */
        memcpy(mmf_slot(v, number), mmf_slot(v, newest), v->size);
        mmf_sign(v, mmf_slot(v, number), number);
        mmf_store(v->seq, number);
        mmf_then();
    }
    return 1;
}

#endif
