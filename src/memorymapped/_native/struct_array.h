/* SPDX-License-Identifier: MIT
 *
 * A list of structures in shared memory: protocol and layout.
 *
 * Layout, version 1 (numbers in the machine's byte order; all that is not named is zero). An element has S bytes, and
 * they lie D bytes apart (.NET's stride: S, rounded up to a multiple of 4 if it is more than 2). There is place for M
 * of them, for ever; memory may have been taken for the first of them only.
 *
 *     0       element 0; element i is at i * D
 *     C       the control block; C is M * D rounded up to a multiple of 64
 *     C+0     u64 magic: "mmfarray" when it is made, "mmfmakes" while it is being made
 *     C+8     u32 version: 1 (the magic and this are at the same place in every version)
 *     C+12    u32 flags: 1, others than this library write elements in their places
 *     C+16    u64 S
 *     C+24    u64 D
 *     C+32    u64 M
 *     C+40    u64 the first 8 bytes of the SHA-256 of the layout's text
 *     C+48    u32 bytes of the layout's text
 *     C+64    u64 length: so many elements are there
 *     C+72    u64 step: see below
 *     C+80    u64 index: of the element that is being replaced
 *     C+88    u64 changes: their number
 *     C+96    u64 capacity: so many have memory; never fewer than `length`
 *     C+104   u64 begun: the number of the change that is being made, or was last
 *     C+128   u32 waiters: how many sleep until there is a change (the low 32 bits of `changes` are the futex's word)
 *     C+192   S bytes: what the element that is being replaced becomes
 *     L       the layout's text, UTF-8; L is C + 192 + S rounded up to a multiple of 64
 *     E       u64 C, u64 magic: so that the control block is found from the end; E is the end of the text, rounded up
 *             to a multiple of 8
 *     E+16    the end
 *
 * Only the owner of the lock writes, but for `waiters`. `step` says what he is at, by its lowest two bits, and never
 * has the same value again:
 *
 *     0  nothing is under way that a reader of an element that is there could notice
 *     1  the element `index` is being replaced: its value is C+192 and no longer its own bytes
 *     2  elements are being removed from the end
 *
 * Append   the elements, behind the end, where nobody looks. A fence. `length`: the commit. One aligned store, before
 *          which none of them is there and after which all are. *Killed before: the next one writes over them.*
 * Replace  the value to C+192, and `index`, where nobody looks. A fence. `step` to 1: the commit. The element; a fence;
 *          `step` on to 0. *Killed before the commit: the old value. After it: everybody takes C+192 for the element,
 *          and the next owner copies it (Settle).*
 * Remove   `step` to 2; a fence; `length`: the commit; a fence; `step` on to 0. *Killed in the midst: `step` is 2 until
 *          the next owner goes on to 0. Whether the elements are there is what `length` says.*
 * Each     sets `begun` to `changes` + 1 before its commit, and `changes` to that at its end; then a fence, and it
 *          wakes who sleeps. *Killed before: Settle does both; and everybody looks again after half a second.*
 * Settle   the first step of an owner, if the one before died, or `step` is not at 0, or `begun` is above `changes`
 *          (somebody else may have been told of the death): at 1, copy the element again, fence; `step` on to 0;
 *          `changes`. *Killed in it: the next one does it again.*
 * Grow     memory is taken without the lock (whoever takes it twice has it once), then `capacity` is raised under it.
 *          *Killed before: the memory is there for the next one to grow. Nothing else moves: the place is there from
 *          the beginning, in the file and in everybody's mapping, so no reader can meet a growth.*
 *
 * A reader needs no lock. It reads `step`, then `length`, copies an element that is there (C+192 if that one is being
 * replaced), fence, and `step` again. The same: what was copied is the element's value at a moment in between. Why:
 * bytes that are copied change only by a replacement of that element, or by an append at its place after it was
 * removed.
 * - A replacement begins (its stores to the element are behind a fence behind `step` = 1) and so is seen in `step`, or
 *   it had begun before the first look: then the copy was made from C+192, which is written again only behind a fence
 *   behind the `step` on to 0.
 * - The element was there by `length`, read behind `step`. To be written by an append it must be removed in between,
 *   which ends with another `step` before the append begins; a removal that had begun before the first look and goes on
 *   (2) changes no bytes.
 * So appends, and replacements that wait for each other, disturb readers of other elements only by the few instructions
 * between two looks. After 64 turns in vain a reader takes the lock.
 *
 * The fences are what other processors, and the compiler, are held to.
 *
 * All these numbers may be changed by others at any time. Each is loaded once, compared (mmf_array_look), and what was
 * loaded is what is used.
 */
#ifndef MEMORYMAPPED_STRUCT_ARRAY_H
#define MEMORYMAPPED_STRUCT_ARRAY_H

#include "copy.h"
#include "futex.h"
#include "stores.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MMF_ARRAY_MADE 0x7961727261666D6Dull   /* "mmfarray" */
#define MMF_ARRAY_MAKING 0x73656B616D666D6Dull /* "mmfmakes" */

enum {
    MMF_ARRAY_VERSION = 1,
    MMF_ARRAY_FOREIGN = 1,  /* the flag */
    MMF_ARRAY_CONTROL = 192, /* bytes of the control block, up to the value of a replacement */
    MMF_ARRAY_TURNS = 64,   /* of a reader, before it takes the lock */
    MMF_REPLACING = 1,
    MMF_REMOVING = 2,
};

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t flags;
    uint64_t size;
    uint64_t stride;
    uint64_t most;
    uint64_t layout;
    uint32_t text;
    uint32_t nothing[3];
    uint64_t length;
    uint64_t step;
    uint64_t index;
    uint64_t changes;
    uint64_t capacity;
    uint64_t begun;
    uint64_t more[2];
    uint32_t waiters;
    uint32_t rest[15];
} mmf_array_control;

_Static_assert(sizeof(mmf_array_control) == MMF_ARRAY_CONTROL && offsetof(mmf_array_control, length) == 64 &&
                   offsetof(mmf_array_control, capacity) == 96 && offsetof(mmf_array_control, waiters) == 128,
               "the layout of version 1");

/* Where everything is. Nothing of it is read from the shared memory again, once it has been found to fit. */
typedef struct {
    char *base;
    mmf_array_control *control;
    char *slot;
    size_t size;   /* S */
    size_t stride; /* D */
    uint64_t most; /* M */
} mmf_array;

/* The numbers of a moment, as far as they have been compared: length <= capacity <= most. */
typedef struct {
    uint64_t step, length, capacity;
} mmf_moment;

static inline size_t mmf_array_stride(size_t size) { return size <= 2 ? size : mmf_round_up(size, 4); }

/* C, L and the end. */
static inline size_t mmf_array_control_position(size_t stride, uint64_t most)
{
    return mmf_round_up(most * stride, 64);
}

static inline size_t mmf_array_text_position(size_t size, size_t stride, uint64_t most)
{
    return mmf_array_control_position(stride, most) + MMF_ARRAY_CONTROL + mmf_round_up(size, 64);
}

static inline size_t mmf_array_total(size_t size, size_t stride, uint64_t most, size_t text)
{
    return mmf_round_up(mmf_array_text_position(size, stride, most) + text, 8) + 16;
}

static inline void mmf_array_place(mmf_array *a, char *base, size_t size, size_t stride, uint64_t most)
{
    char *control = base + mmf_array_control_position(stride, most);
    a->base = base;
    a->control = (mmf_array_control *)control;
    a->slot = control + MMF_ARRAY_CONTROL;
    a->size = size;
    a->stride = stride;
    a->most = most;
}

static inline char *mmf_element(const mmf_array *a, uint64_t index) { return a->base + index * a->stride; }

/* The low half of `changes`, by which waiters sleep. */
static inline uint32_t *mmf_array_word(const mmf_array *a)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (uint32_t *)&a->control->changes + 1;
#else
    return (uint32_t *)&a->control->changes;
#endif
}

static inline uint64_t mmf_idle_step(uint64_t step) { return (step | 3) + 1; }

/* What becomes of a step. */
enum { MMF_DONE, MMF_FULL, MMF_ABSENT, MMF_CHANGED, MMF_DAMAGED, MMF_FAULTED, MMF_CLOSED, MMF_IN_VAIN };

/* What there is now. `step` before the others, and `length` before `capacity`, which only grows. */
static inline int mmf_array_look(const mmf_array *a, mmf_moment *now)
{
    const mmf_array_control *control = a->control;
    now->step = mmf_load(&control->step);
    now->length = mmf_load(&control->length);
    now->capacity = mmf_load(&control->capacity);
    return now->length <= now->capacity && now->capacity <= a->most && mmf_load(&control->magic) == MMF_ARRAY_MADE &&
                   mmf_load(&control->most) == a->most
               ? MMF_DONE
               : MMF_DAMAGED;
}

/* ---- writing: by the owner of the lock, after mmf_array_settle */

/* Before the commit of each change. Its number. */
static inline uint64_t mmf_array_begin(mmf_array *a)
{
    uint64_t number = mmf_load(&a->control->changes) + 1;
    mmf_store(&a->control->begun, number);
    return number;
}

static inline uint64_t mmf_array_end(mmf_array *a, uint64_t number)
{
    mmf_store(&a->control->changes, number);
    mmf_then();
    uint32_t waiters = __atomic_load_n(&a->control->waiters, __ATOMIC_RELAXED);
    if (waiters != 0)
        mmf_futex_wake_all(mmf_array_word(a), waiters);
    return number;
}

/* `count` elements, one after the other, behind the end. The caller has seen that there is room. */
static inline uint64_t mmf_array_append(mmf_array *a, const mmf_moment *now, const char *source, uint64_t count)
{
    char *end = mmf_element(a, now->length);
    uint64_t number;
    if (count == 1)
        memcpy(end, source, a->size);
    else if (a->size == a->stride)
        mmf_copy(end, source, count * a->size);
    else
        mmf_copy_strided(end, (Py_ssize_t)a->stride, source, (Py_ssize_t)a->size, a->size, count);
    number = mmf_array_begin(a);
    mmf_then_write();
    mmf_store(&a->control->length, now->length + count); /* The commit. Killed before it: none, after it: all */
    return mmf_array_end(a, number);
}

static inline uint64_t mmf_array_replace(mmf_array *a, const mmf_moment *now, uint64_t index, const char *source)
{
    uint64_t number = mmf_array_begin(a);
    memcpy(a->slot, source, a->size);
    mmf_store(&a->control->index, index);
    mmf_then_write();
    mmf_store(&a->control->step, now->step + MMF_REPLACING); /* The commit. Killed before: the old value, after: this */
    mmf_then_write();
    memcpy(mmf_element(a, index), a->slot, a->size); /* Killed: mmf_array_settle does it again */
    mmf_then_write();
    mmf_store(&a->control->step, mmf_idle_step(now->step));
    mmf_then_write();
    return mmf_array_end(a, number);
}

static inline uint64_t mmf_array_cut(mmf_array *a, const mmf_moment *now, uint64_t length)
{
    uint64_t number = mmf_array_begin(a);
    mmf_store(&a->control->step, now->step + MMF_REMOVING);
    mmf_then_write();
    mmf_store(&a->control->length, length); /* The commit */
    mmf_then_write();
    mmf_store(&a->control->step, mmf_idle_step(now->step));
    mmf_then_write();
    return mmf_array_end(a, number);
}

/* Whether somebody has begun a change and not ended it: the owner of the lock, or one who has died. */
static inline int mmf_array_unfinished(const mmf_array *a, const mmf_moment *now)
{
    uint64_t begun = mmf_load(&a->control->begun); /* first: the other is raised to it */
    return (now->step & 3) != 0 || begun > mmf_load(&a->control->changes);
}

enum { MMF_WHOLE, MMF_REPAIRED, MMF_HOPELESS };

/* The first step of each owner. `abandoned`: the owner before has died. MMF_HOPELESS: there are numbers that none of
 * ours has written. */
static inline int mmf_array_settle(mmf_array *a, int abandoned, mmf_moment *now)
{
    mmf_array_control *control = a->control;
    if (mmf_array_look(a, now) != MMF_DONE)
        return MMF_HOPELESS;
    if (!abandoned && !mmf_array_unfinished(a, now))
        return MMF_WHOLE;
    if ((now->step & 3) == MMF_REPLACING) {
        uint64_t index = mmf_load(&control->index);
        if (index >= now->length)
            return MMF_HOPELESS;
        memcpy(mmf_element(a, index), a->slot, a->size);
        mmf_then_write();
    }
    if (now->step & 3) {
        now->step = mmf_idle_step(now->step);
        mmf_store(&control->step, now->step);
        mmf_then_write();
    }
    mmf_array_end(a, mmf_array_begin(a));
    return MMF_REPAIRED;
}

/* ---- reading: by anybody */

/* Whether what was copied since is of one moment. */
static inline int mmf_array_still(const mmf_array *a, const mmf_moment *then)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return mmf_load(&a->control->step) == then->step;
}

/* Copies elements that were there, every `by`-th from `first` on, to where they lie one after the other. */
static inline void mmf_array_copy(const mmf_array *a, const mmf_moment *now, uint64_t first, uint64_t count,
                                  ptrdiff_t by, char *to)
{
    /* Of what is not there nothing is replaced, whatever the number says. */
    uint64_t replaced = (now->step & 3) == MMF_REPLACING ? mmf_load(&a->control->index) : UINT64_MAX;
    ptrdiff_t away;
    if (count == 1) {
        memcpy(to, replaced == first ? a->slot : mmf_element(a, first), a->size);
        return;
    }
    if (count == 0)
        return;
    if (by == 1 && a->size == a->stride)
        mmf_copy(to, mmf_element(a, first), count * a->size);
    else
        mmf_copy_strided(to, (Py_ssize_t)a->size, mmf_element(a, first), by * (ptrdiff_t)a->stride, a->size, count);
    if (replaced < now->length) {
        away = (ptrdiff_t)replaced - (ptrdiff_t)first;
        if (away % by == 0 && (uint64_t)(away / by) < count)
            memcpy(to + away / by * (ptrdiff_t)a->size, a->slot, a->size);
    }
}

/* Copies the element `index`, from the end if that is negative. `now` is what there was. MMF_IN_VAIN: it could not be
 * had without the lock. */
static inline int mmf_array_read(const mmf_array *a, int64_t index, char *to, mmf_moment *now, uint64_t *retries)
{
    for (int turn = 0; turn < MMF_ARRAY_TURNS; turn++) {
        uint64_t at;
        if (mmf_array_look(a, now) != MMF_DONE)
            return MMF_DAMAGED;
        at = index < 0 ? now->length + (uint64_t)index : (uint64_t)index;
        if (at >= now->length) /* too far from the end has become a very large number */
            return MMF_ABSENT;
        mmf_array_copy(a, now, at, 1, 1, to);
        if (mmf_array_still(a, now))
            return MMF_DONE;
        ++*retries;
    }
    return MMF_IN_VAIN;
}

/* ---- what is done under the lock, whoever it is done for */

enum { MMF_APPEND, MMF_REPLACE, MMF_POP, MMF_KEEP, MMF_RAISE, MMF_LOOK };

typedef struct {
    int what;
    int64_t index;      /* of REPLACE, LOOK; from the end if it is negative */
    uint64_t count;     /* of APPEND; the length of KEEP; the capacity of RAISE */
    char *own;          /* the bytes of elements, of this process */
    const char *before; /* what must stand there before a REPLACE, or NULL */
    uint64_t changes;   /* made: its number, or 0 */
} mmf_array_step;

/* `now` is what mmf_array_settle has found. */
static inline int mmf_array_do(mmf_array *a, const mmf_moment *now, mmf_array_step *s)
{
    uint64_t at = s->index < 0 ? now->length + (uint64_t)s->index : (uint64_t)s->index;
    switch (s->what) {
    case MMF_APPEND:
        if (s->count > now->capacity - now->length)
            return MMF_FULL;
        if (s->count)
            s->changes = mmf_array_append(a, now, s->own, s->count);
        return MMF_DONE;
    case MMF_REPLACE:
        if (at >= now->length)
            return MMF_ABSENT;
        if (s->before && memcmp(mmf_element(a, at), s->before, a->size))
            return MMF_CHANGED;
        s->changes = mmf_array_replace(a, now, at, s->own);
        return MMF_DONE;
    case MMF_POP:
        if (now->length == 0)
            return MMF_ABSENT;
        memcpy(s->own, mmf_element(a, now->length - 1), a->size);
        s->changes = mmf_array_cut(a, now, now->length - 1);
        return MMF_DONE;
    case MMF_KEEP:
        if (s->count > now->length)
            return MMF_ABSENT;
        if (s->count < now->length)
            s->changes = mmf_array_cut(a, now, s->count);
        return MMF_DONE;
    case MMF_RAISE:
        if (s->count > now->capacity && s->count <= a->most)
            mmf_store(&a->control->capacity, s->count);
        return MMF_DONE;
    default:
        if (at >= now->length)
            return MMF_ABSENT;
        s->index = (int64_t)at;
        memcpy(s->own, mmf_element(a, at), a->size);
        return MMF_DONE;
    }
}

/* ---- making: by the owner of the lock */

/* Makes the control block of a map that is zero. Killed: the magic says so; it is made again. */
static inline void mmf_array_make(mmf_array *a, int foreign, uint64_t layout, const char *text, uint32_t length)
{
    char *control = (char *)a->control;
    size_t end = mmf_array_total(a->size, a->stride, a->most, length) - 16;
    uint64_t tail[2] = {(uint64_t)(control - a->base), MMF_ARRAY_MADE};
    mmf_array_control made = {.version = MMF_ARRAY_VERSION, .flags = foreign ? MMF_ARRAY_FOREIGN : 0, .size = a->size,
                              .stride = a->stride, .most = a->most, .layout = layout, .text = length};
    mmf_store(&a->control->magic, MMF_ARRAY_MAKING);
    mmf_then();
    memcpy(control + 8, (char *)&made + 8, sizeof made - 8);
    memcpy(a->base + mmf_array_text_position(a->size, a->stride, a->most), text, length);
    memcpy(a->base + end, tail, 16);
    mmf_store(&a->control->magic, MMF_ARRAY_MADE);
}

#endif
