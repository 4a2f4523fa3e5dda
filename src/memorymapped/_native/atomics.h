/* SPDX-License-Identifier: MIT
 *
 * Integers of 4 and 8 bytes that processes share. All operations are sequentially consistent. Values travel in 64 bits,
 * of which a narrow integer uses the low half; arithmetic wraps around, as C has it for unsigned numbers.
 */
#ifndef MEMORYMAPPED_ATOMICS_H
#define MEMORYMAPPED_ATOMICS_H

#include <stdint.h>

enum { MMF_ADD, MMF_SUB, MMF_AND, MMF_OR, MMF_XOR };

static inline uint64_t mmf_atomic_load(const char *at, int width)
{
    return width == 4 ? __atomic_load_n((const uint32_t *)at, __ATOMIC_SEQ_CST)
                      : __atomic_load_n((const uint64_t *)at, __ATOMIC_SEQ_CST);
}

static inline void mmf_atomic_store(char *at, int width, uint64_t value)
{
    if (width == 4)
        __atomic_store_n((uint32_t *)at, (uint32_t)value, __ATOMIC_SEQ_CST);
    else
        __atomic_store_n((uint64_t *)at, value, __ATOMIC_SEQ_CST);
}

static inline uint64_t mmf_atomic_exchange(char *at, int width, uint64_t value)
{
    return width == 4 ? __atomic_exchange_n((uint32_t *)at, (uint32_t)value, __ATOMIC_SEQ_CST)
                      : __atomic_exchange_n((uint64_t *)at, value, __ATOMIC_SEQ_CST);
}

static inline int mmf_atomic_compare_exchange(char *at, int width, uint64_t expected, uint64_t desired)
{
    uint32_t narrow = (uint32_t)expected;
    return width == 4 ? __atomic_compare_exchange_n((uint32_t *)at, &narrow, (uint32_t)desired, 0, __ATOMIC_SEQ_CST,
                                                    __ATOMIC_SEQ_CST)
                      : __atomic_compare_exchange_n((uint64_t *)at, &expected, desired, 0, __ATOMIC_SEQ_CST,
                                                    __ATOMIC_SEQ_CST);
}

#define MMF_FETCH(operation)                                                                                 \
    return width == 4 ? operation((uint32_t *)at, (uint32_t)value, __ATOMIC_SEQ_CST)                         \
                      : operation((uint64_t *)at, value, __ATOMIC_SEQ_CST);

static inline uint64_t mmf_atomic_fetch(int what, char *at, int width, uint64_t value)
{
    switch (what) {
    case MMF_ADD: MMF_FETCH(__atomic_fetch_add)
    case MMF_SUB: MMF_FETCH(__atomic_fetch_sub)
    case MMF_AND: MMF_FETCH(__atomic_fetch_and)
    case MMF_OR: MMF_FETCH(__atomic_fetch_or)
    default: MMF_FETCH(__atomic_fetch_xor)
    }
}

/* The half of the number that the kernel compares: the low one, which changes with every step. */
static inline uint32_t *mmf_atomic_word(char *at, int width)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    if (width == 8)
        at += 4;
#else
    (void)width;
#endif
    return (uint32_t *)at;
}

#endif
