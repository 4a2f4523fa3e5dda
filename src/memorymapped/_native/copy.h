/* SPDX-License-Identifier: MIT
 *
 * Bulk copies. Up to what a last-level cache holds the C library's memcpy is the best there is. Above, it still writes
 * through the cache (its own threshold is three quarters of the cache that the processor claims to have, which in a
 * virtual machine may be that of the whole host), so that every line of the target is read before it is overwritten.
 * Streaming stores do not: 0.5 to 0.7 of its time.
 */
#ifndef MEMORYMAPPED_COPY_H
#define MEMORYMAPPED_COPY_H

#include <Python.h>

#include "pages.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

/* Half of a usual last-level cache, as source and target share it. Below, the copy would be found there afterwards. */
#define MMF_STREAM_FROM ((size_t)16 << 20)
#define MMF_HUGE_PAGE ((size_t)2 << 20)

static inline void mmf_copy(char *to, const char *from, size_t size)
{
#if defined(__x86_64__)
    if (size >= MMF_STREAM_FROM) {
        size_t head = -(uintptr_t)to & 63; /* streaming stores want an aligned target: whole lines at once */
        memcpy(to, from, head);
        to += head, from += head, size -= head;
        /* One line after the other: more pages at a time fight for the first cache's sets, and lose twice what they
         * gain where the source is not aligned as the target is. */
        for (; size >= 64; to += 64, from += 64, size -= 64) {
            const __m128i *f = (const __m128i *)from;
            __m128i *t = (__m128i *)to;
            /* The processor itself does not look beyond a page. A hint: it cannot fault. */
            _mm_prefetch((const char *)((uintptr_t)from + 4096), _MM_HINT_T0);
            __m128i a = _mm_loadu_si128(f), b = _mm_loadu_si128(f + 1);
            __m128i c = _mm_loadu_si128(f + 2), d = _mm_loadu_si128(f + 3);
            _mm_stream_si128(t, a), _mm_stream_si128(t + 1, b);
            _mm_stream_si128(t + 2, c), _mm_stream_si128(t + 3, d);
        }
        _mm_sfence(); /* streaming stores are weakly ordered: done before anybody is told */
    }
#endif
    memcpy(to, from, size);
}

/* Do the two blocks share a byte? A copy between them must then be made as if the source was copied first. */
static inline int mmf_overlap(const char *one, size_t size, const char *other, size_t other_size)
{
    return (uintptr_t)one < (uintptr_t)other + other_size && (uintptr_t)other < (uintptr_t)one + size;
}

/* Asks for huge pages under fresh memory that is about to be filled: one fault instead of 512. */
static inline void mmf_expect_large(char *memory, size_t size)
{
    if (size < 2 * MMF_HUGE_PAGE)
        return;
    uintptr_t within = mmf_page_size() - 1;
    uintptr_t start = ((uintptr_t)memory + within) & ~within;
    uintptr_t end = ((uintptr_t)memory + size) & ~within;
    if (end > start)
        mmf_huge_pages((char *)start, end - start);
}

/* `count` elements of `size` bytes, `from_step` and `to_step` bytes apart. */
#define MMF_STRIDED(n)                                                                                       \
    for (size_t i = 0; i < count; i++, to += to_step, from += from_step)                                     \
        memcpy(to, from, n);                                                                                 \
    return;

static inline void mmf_copy_strided(char *to, ptrdiff_t to_step, const char *from, ptrdiff_t from_step,
                                    size_t size, size_t count)
{
    switch (size) {
    case 1: MMF_STRIDED(1)
    case 2: MMF_STRIDED(2)
    case 4: MMF_STRIDED(4)
    case 8: MMF_STRIDED(8)
    default: MMF_STRIDED(size)
    }
}

/* `count` elements of a buffer with any strides, from element `first` on (the last index runs fastest), to a block
 * without gaps, or with `back` from it. */
static inline void mmf_copy_elements(const Py_buffer *buffer, Py_ssize_t first, size_t count, char *block, int back)
{
    const Py_ssize_t *shape = buffer->shape, *strides = buffer->strides;
    size_t size = (size_t)buffer->itemsize;
    int inner = buffer->ndim - 1;
    Py_ssize_t index[PyBUF_MAX_NDIM];
    char *at = (char *)buffer->buf;
    if (!count)
        return;
    for (int i = inner; i >= 0; first /= shape[i--]) {
        index[i] = first % shape[i];
        at += index[i] * strides[i];
    }
    for (;;) {
        size_t run = (size_t)(shape[inner] - index[inner]);
        if (run > count)
            run = count;
        if (back)
            mmf_copy_strided(at, strides[inner], block, (Py_ssize_t)size, size, run);
        else
            mmf_copy_strided(block, (Py_ssize_t)size, at, strides[inner], size, run);
        block += run * size;
        count -= run;
        if (!count)
            return;
        /* The row is at its end: on to the next, in the dimension that has one. */
        at -= index[inner] * strides[inner];
        index[inner] = 0;
        for (int i = inner - 1; i >= 0; i--) {
            at += strides[i];
            if (++index[i] < shape[i])
                break;
            at -= shape[i] * strides[i];
            index[i] = 0;
        }
    }
}

/* The last place in a block where `size` (at least 1) other bytes are, or NULL. */
static inline const char *mmf_find_last(const char *block, size_t length, const char *bytes, size_t size)
{
    for (size_t room = length < size ? 0 : length - size + 1; room;) {
        const char *found = memrchr(block, bytes[0], room);
        if (!found || !memcmp(found, bytes, size))
            return found;
        room = (size_t)(found - block);
    }
    return NULL;
}

/* The first of `offsets` that is not in 0..last, or -1. */
static inline ptrdiff_t mmf_outside(const int64_t *offsets, ptrdiff_t count, int64_t last)
{
    for (ptrdiff_t i = 0; i < count; i++)
        if (offsets[i] < 0 || offsets[i] > last)
            return i;
    return -1;
}

/* The elements at `offsets` to `to`, one after the other; and the way back. -1, or the first offset that is not
 * in 0..last, where it stops. An offset is read once and checked as it was read: another thread may write them. */
#define MMF_VECTORED(n, copy)                                                                                \
    for (ptrdiff_t i = 0; i < count; i++) {                                                                  \
        int64_t at = __atomic_load_n(&offsets[i], __ATOMIC_RELAXED);                                         \
        if (at < 0 || at > last)                                                                             \
            return i;                                                                                        \
        copy;                                                                                                \
    }                                                                                                        \
    return -1;

#define MMF_BY_SIZE(TO, FROM)                                                                                \
    switch (size) {                                                                                          \
    case 1: MMF_VECTORED(1, memcpy(TO(1), FROM(1), 1))                                                       \
    case 2: MMF_VECTORED(2, memcpy(TO(2), FROM(2), 2))                                                       \
    case 4: MMF_VECTORED(4, memcpy(TO(4), FROM(4), 4))                                                       \
    case 8: MMF_VECTORED(8, memcpy(TO(8), FROM(8), 8))                                                       \
    case 16: MMF_VECTORED(16, memcpy(TO(16), FROM(16), 16))                                                  \
    default: MMF_VECTORED(size, memcpy(TO(size), FROM(size), size))                                          \
    }
#define MMF_OWN(n) (own + i * (n))
#define MMF_THERE(n) (base + at)

static inline ptrdiff_t mmf_gather(char *own, const char *base, const int64_t *offsets, ptrdiff_t count,
                                   ptrdiff_t size, int64_t last)
{
    MMF_BY_SIZE(MMF_OWN, MMF_THERE)
}

static inline ptrdiff_t mmf_scatter(char *base, const char *own, const int64_t *offsets, ptrdiff_t count,
                                    ptrdiff_t size, int64_t last)
{
    MMF_BY_SIZE(MMF_THERE, MMF_OWN)
}

#endif
