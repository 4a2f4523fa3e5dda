/* SPDX-License-Identifier: MIT
 *
 * The bytes of a segment file, and what its writers and readers share beside them.
 *
 * The file, from offset 0, with no header and no gaps:
 *
 *     int32 length (little endian), that many bytes; int32 length, ...
 *
 * It ends at a length of 0, or where fewer than 4 bytes are left. A length is not aligned. A negative one, or one that
 * reaches beyond the file, is damage.
 *
 * The control object is a map of its own, and a help only: who finds none, or garbage, looks at the file under the lock.
 *
 *     0      u64 end         behind the last segment that one of ours is known to have committed
 *     8      u32 change      counts changes; who waits sleeps on it
 *     12     u32 waiters     how many sleep, at most
 *     16     u64 writing     0; or 1 + the offset of the append under way
 *     24     u64 size        of that append's data
 *     32     u32 known       1 if `end` was ever stored
 *     36     u32 sums        checksums are kept: 1 in a map with a name, 2 in a file beside this one
 *     40     u64 lock        BLAKE2b of the name of the mutex that its users take, of 8 bytes
 *     48     1024 bytes      that name, in UTF-8, padded with zeros; zeros: they take none
 *     1072   zeros
 *     4096   end
 */
#ifndef MEMORYMAPPED_SEGMENTS_H
#define MEMORYMAPPED_SEGMENTS_H

#include <Python.h>

#include "copy.h"
#include "pages.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "lengths are little endian"
#endif

#define MMF_CONTROL_SIZE 4096

typedef struct {
    uint64_t end;
    uint32_t change;
    uint32_t waiters;
    uint64_t writing;
    uint64_t size;
    uint32_t known;
    uint32_t sums;
    uint64_t lock;
    uint8_t unused[4048];
} mmf_control;

_Static_assert(sizeof(mmf_control) == MMF_CONTROL_SIZE, "the control object has a layout of its own");

/* What a walk, or a step under the lock, came to. */
enum { MMF_DONE, MMF_DAMAGED, MMF_NO_MEMORY, MMF_FULL, MMF_ORDER, MMF_FAULTED, MMF_STALE, MMF_CLOSED, MMF_DISK, MMF_SUMS, MMF_BUSY };

/* ---- lengths. One store, or load, of four bytes at any address: whole unless it straddles two cache lines (on aarch64: 16
 * bytes; before ARMv8.4 it is promised of aligned ones only). So what lies behind `end` is looked at for zero alone without
 * the lock; and where there is none, what was found counts if nobody was writing before and after. */

typedef struct __attribute__((packed)) {
    volatile int32_t value;
} mmf_length;

static inline int32_t mmf_length_at(const char *at) { return ((const mmf_length *)at)->value; }

/* Everything that was stored before is there for whoever sees the length. */
static inline void mmf_commit(char *at, int32_t length)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
    ((mmf_length *)at)->value = length;
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

/* Nothing follows a segment that ends here, `left` bytes before the end of the file. */
static inline void mmf_end_here(char *at, int64_t left)
{
    if (left >= 4)
        ((mmf_length *)at)->value = 0;
    else
        memset(at, 0, left);
}

/* Walks from `*at` on, to `until` (negative: to the end), and notes where each segment ends: `room` of them at most.
 * MMF_DONE: it stands at the end, at or beyond `until`, or there is no room. MMF_DAMAGED: it stands at a length that
 * cannot be. Each length is read once, and looked at before it is used. */
static inline int mmf_walk(const char *data, int64_t size, int64_t *at, int64_t until, int64_t *ends, size_t room,
                           size_t *found)
{
    int64_t position = *at;
    size_t count = 0;
    int status = MMF_DONE;
    while (count < room && position <= size - 4 && (until < 0 || position < until)) {
        int32_t length = mmf_length_at(data + position);
        if (length == 0)
            break;
        if (length < 0 || length > size - 4 - position) {
            status = MMF_DAMAGED;
            break;
        }
        position += 4 + (int64_t)length;
        ends[count++] = position;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    *at = position;
    *found = count;
    return status;
}

/* ---- the control object */

static inline uint64_t mmf_end_load(const mmf_control *control)
{
    return __atomic_load_n(&control->end, __ATOMIC_ACQUIRE);
}

static inline void mmf_end_store(mmf_control *control, uint64_t end)
{
    __atomic_store_n(&control->end, end, __ATOMIC_RELEASE);
    control->known = 1;
}

static inline int mmf_is_known(const mmf_control *control) { return control->known == 1; }

static inline uint64_t mmf_writing_load(const mmf_control *control)
{
    return __atomic_load_n(&control->writing, __ATOMIC_ACQUIRE);
}

static inline void mmf_writing_begin(mmf_control *control, uint64_t at, uint64_t size)
{
    __atomic_store_n(&control->size, size, __ATOMIC_RELAXED);
    __atomic_store_n(&control->writing, at + 1, __ATOMIC_RELEASE);
    /* Before the first store to the file, for whoever looks when this process is dead: then all its instructions up to
     * one of them have been done, and what the compiler makes of their order is all that counts. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void mmf_writing_end(mmf_control *control)
{
    __atomic_store_n(&control->writing, 0, __ATOMIC_RELEASE);
}

/* ---- the tail: what lies behind the end */

static inline int mmf_is_zero(const char *at, size_t size)
{
    return size == 0 || (*at == 0 && memcmp(at, at + 1, size - 1) == 0);
}

/* Zeroes what is not zero from the end to `size`, page by page, so that no page is touched in vain. */
static inline void mmf_clean_tail(const mmf_region *region, int fd, char *data, int64_t size, int64_t end)
{
    int64_t at = end, to;
    while (at < size && mmf_data_extent(region, fd, size, &at, &to)) {
        while (at < to) {
            int64_t next = (at | 4095) + 1;
            if (next > to)
                next = to;
            if (!mmf_is_zero(data + at, next - at))
                memset(data + at, 0, next - at);
            at = next;
        }
    }
}

/* The offset behind the last byte that is not zero; `end` if there is none behind that. */
static inline int64_t mmf_last_used(const mmf_region *region, int fd, const char *data, int64_t size, int64_t end)
{
    int64_t at = end, to, last = end;
    while (at < size && mmf_data_extent(region, fd, size, &at, &to)) {
        while (at < to) {
            int64_t next = (at | 4095) + 1;
            if (next > to)
                next = to;
            if (!mmf_is_zero(data + at, next - at))
                for (last = next; data[last - 1] == 0; last--)
                    ;
            at = next;
        }
    }
    return last;
}

/* A copy that was cut short on memory that was zero leaves characters of NUL. Text that has none is whole. */
static inline int mmf_has_nul(const char *text, int64_t size, int64_t unit)
{
    if (size % unit)
        return 1;
    for (int64_t at = 0; at < size; at += unit)
        if (mmf_is_zero(text + at, unit))
            return 1;
    return 0;
}

/* ---- text */

/* The little-endian UTF-16 of a str. NULL, without an exception: the codec has to do it. */
static inline PyObject *mmf_utf16(PyObject *text)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    int kind = PyUnicode_KIND(text);
    if (length > INT32_MAX || (kind != PyUnicode_1BYTE_KIND && kind != PyUnicode_2BYTE_KIND))
        return NULL;
    PyObject *made = PyBytes_FromStringAndSize(NULL, 2 * length);
    if (made == NULL) {
        PyErr_Clear();
        return NULL;
    }
    uint16_t *to = (uint16_t *)PyBytes_AS_STRING(made);
    if (kind == PyUnicode_1BYTE_KIND) {
        const uint8_t *from = PyUnicode_DATA(text);
        for (Py_ssize_t i = 0; i < length; i++)
            to[i] = from[i];
        return made;
    }
    const uint16_t *from = PyUnicode_DATA(text);
    unsigned surrogates = 0;
    for (Py_ssize_t i = 0; i < length; i++) {
        to[i] = from[i];
        surrogates |= (from[i] & 0xF800) == 0xD800;
    }
    if (surrogates)
        Py_CLEAR(made);
    return made;
}

#endif
