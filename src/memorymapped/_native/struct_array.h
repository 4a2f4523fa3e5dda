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
 *     C+96    u64 capacity: so many have memory
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
 * Each     then adds 1 to `changes`, a fence, and wakes who sleeps. *Killed before: Settle does both; and everybody
 *          looks again after half a second.*
 * Settle   the first step of an owner, if the one before died or `step` is not at 0: at 1, copy the element again,
 *          fence; `step` on to 0; `changes`. *Killed in it: the next one does it again.*
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
    uint64_t more[3];
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

typedef struct {
    uint64_t step, length;
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
enum { MMF_DONE, MMF_FULL, MMF_ABSENT, MMF_DAMAGED, MMF_FAULTED, MMF_CLOSED, MMF_IN_VAIN };

/* ---- writing: by the owner of the lock, after mmf_array_settle */

static inline uint64_t mmf_array_changed(mmf_array *a)
{
    uint64_t changes = mmf_load(&a->control->changes) + 1;
    mmf_store(&a->control->changes, changes);
    mmf_then();
    if (__atomic_load_n(&a->control->waiters, __ATOMIC_RELAXED) != 0)
        mmf_futex_wake(mmf_array_word(a), INT_MAX);
    return changes;
}

/* `count` elements, `step` bytes apart, behind the end. The caller has seen that there is room. */
static inline uint64_t mmf_array_append(mmf_array *a, const char *source, size_t step, uint64_t count)
{
    uint64_t length = mmf_load(&a->control->length);
    if (count == 1)
        memcpy(mmf_element(a, length), source, a->size);
    else if (step == a->stride)
        mmf_copy(mmf_element(a, length), source, (count - 1) * step + a->size);
    else
        mmf_copy_strided(mmf_element(a, length), (Py_ssize_t)a->stride, source, (Py_ssize_t)step, a->size, count);
    mmf_then();
    mmf_store(&a->control->length, length + count); /* The commit. Killed before it: none, after it: all */
    return mmf_array_changed(a);
}

static inline uint64_t mmf_array_replace(mmf_array *a, uint64_t index, const char *source)
{
    uint64_t step = mmf_load(&a->control->step);
    memcpy(a->slot, source, a->size);
    mmf_store(&a->control->index, index);
    mmf_then();
    mmf_store(&a->control->step, step + MMF_REPLACING); /* The commit. Killed before: the old value, after: this */
    mmf_then();
    memcpy(mmf_element(a, index), a->slot, a->size); /* Killed: mmf_array_settle does it again */
    mmf_then();
    mmf_store(&a->control->step, mmf_idle_step(step));
    mmf_then();
    return mmf_array_changed(a);
}

static inline uint64_t mmf_array_cut(mmf_array *a, uint64_t length)
{
    uint64_t step = mmf_load(&a->control->step);
    mmf_store(&a->control->step, step + MMF_REMOVING);
    mmf_then();
    mmf_store(&a->control->length, length); /* The commit */
    mmf_then();
    mmf_store(&a->control->step, mmf_idle_step(step));
    mmf_then();
    return mmf_array_changed(a);
}

enum { MMF_WHOLE, MMF_REPAIRED, MMF_HOPELESS };

/* The first step of each owner. `abandoned`: the owner before has died. MMF_HOPELESS: there are numbers that none of
 * ours has written. */
static inline int mmf_array_settle(mmf_array *a, int abandoned)
{
    mmf_array_control *control = a->control;
    uint64_t step = mmf_load(&control->step), index;
    if (mmf_load(&control->length) > a->most || mmf_load(&control->capacity) > a->most)
        return MMF_HOPELESS;
    if (!abandoned && (step & 3) == 0)
        return MMF_WHOLE;
    if ((step & 3) == MMF_REPLACING) {
        index = mmf_load(&control->index);
        if (index >= a->most)
            return MMF_HOPELESS;
        memcpy(mmf_element(a, index), a->slot, a->size);
        mmf_then();
    }
    if (step & 3) {
        mmf_store(&control->step, mmf_idle_step(step));
        mmf_then();
    }
    mmf_array_changed(a);
    return MMF_REPAIRED;
}

/* ---- reading: by anybody */

static inline mmf_moment mmf_array_now(const mmf_array *a)
{
    mmf_moment now;
    now.step = mmf_load(&a->control->step);
    now.length = mmf_load(&a->control->length);
    return now;
}

/* Whether what was copied since is of one moment. */
static inline int mmf_array_still(const mmf_array *a, const mmf_moment *then)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return mmf_load(&a->control->step) == then->step;
}

/* Copies elements that were there, to where they lie `step` bytes apart. */
static inline void mmf_array_copy(const mmf_array *a, const mmf_moment *now, uint64_t first, uint64_t count, char *to,
                                  size_t step)
{
    uint64_t replaced = (now->step & 3) == MMF_REPLACING ? mmf_load(&a->control->index) - first : UINT64_MAX;
    if (count == 1) {
        memcpy(to, replaced == 0 ? a->slot : mmf_element(a, first), a->size);
        return;
    }
    if (count == 0)
        return;
    if (step == a->stride)
        mmf_copy(to, mmf_element(a, first), (count - 1) * step + a->size);
    else
        mmf_copy_strided(to, (Py_ssize_t)step, mmf_element(a, first), (Py_ssize_t)a->stride, a->size, count);
    if (replaced < count)
        memcpy(to + replaced * step, a->slot, a->size);
}

/* Copies the element `index`, from the end if that is negative. `length` is what there was. MMF_IN_VAIN: it could not
 * be had without the lock. */
static inline int mmf_array_read(const mmf_array *a, int64_t index, char *to, uint64_t *length, uint64_t *retries)
{
    for (int turn = 0; turn < MMF_ARRAY_TURNS; turn++) {
        mmf_moment now = mmf_array_now(a);
        uint64_t at = index < 0 ? now.length + (uint64_t)index : (uint64_t)index;
        *length = now.length;
        if (now.length > a->most)
            return MMF_DAMAGED;
        if (at >= now.length) /* too far from the end has become a very large number */
            return MMF_ABSENT;
        mmf_array_copy(a, &now, at, 1, to, a->size);
        if (mmf_array_still(a, &now))
            return MMF_DONE;
        ++*retries;
    }
    return MMF_IN_VAIN;
}

/* ---- what is done under the lock, whoever it is done for */

enum { MMF_APPEND, MMF_REPLACE, MMF_POP, MMF_KEEP, MMF_RAISE, MMF_LOOK };

typedef struct {
    int what;
    int64_t index;    /* of REPLACE, LOOK; from the end if it is negative */
    uint64_t count;   /* of APPEND; the length of KEEP; the capacity of RAISE */
    size_t apart;     /* bytes between elements of `own` */
    char *own;        /* the bytes of elements, of this process */
    uint64_t length;  /* found */
    uint64_t changes; /* made: its number, or 0 */
} mmf_array_step;

/* After mmf_array_settle. */
static inline int mmf_array_do(mmf_array *a, mmf_array_step *s)
{
    mmf_moment now = mmf_array_now(a);
    uint64_t capacity = mmf_load(&a->control->capacity), at;
    s->length = now.length;
    at = s->index < 0 ? now.length + (uint64_t)s->index : (uint64_t)s->index;
    switch (s->what) {
    case MMF_APPEND:
        if (now.length > capacity || s->count > capacity - now.length)
            return MMF_FULL;
        if (s->count)
            s->changes = mmf_array_append(a, s->own, s->apart, s->count);
        return MMF_DONE;
    case MMF_REPLACE:
        if (at >= now.length)
            return MMF_ABSENT;
        s->changes = mmf_array_replace(a, at, s->own);
        return MMF_DONE;
    case MMF_POP:
        if (now.length == 0)
            return MMF_ABSENT;
        memcpy(s->own, mmf_element(a, now.length - 1), a->size);
        s->changes = mmf_array_cut(a, now.length - 1);
        return MMF_DONE;
    case MMF_KEEP:
        if (s->count > now.length)
            return MMF_ABSENT;
        if (s->count < now.length)
            s->changes = mmf_array_cut(a, s->count);
        return MMF_DONE;
    case MMF_RAISE:
        if (s->count > capacity && s->count <= a->most)
            mmf_store(&a->control->capacity, s->count);
        return MMF_DONE;
    default:
        if (at >= now.length)
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
