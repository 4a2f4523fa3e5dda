/* SPDX-License-Identifier: MIT
 *
 * The fault guard: a fault in mapped memory becomes a mark that can be asked, not the death of the process.
 * What it promises, its steps and the reasons are at the head of linux/guard.c; windows/guard.c says what is different
 * there.
 */
#ifndef MEMORYMAPPED_GUARD_H
#define MEMORYMAPPED_GUARD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What is mapped. Linux: a file descriptor. Windows: the handle of a section in the lower half and that of its file, which
 * a flush needs, or 0, in the upper one (handles have 32 bits that mean something). -1: memory of its own. */
#if defined(_WIN32)
typedef int64_t mmf_object;
#else
typedef int mmf_object;
#endif

/* One mapping that the guard watches. Regions are never freed, only reused, so that the signal handler may
 * walk them without a lock. `mark` is the lowest address that was replaced by zero pages, 0 if none was. */
typedef struct mmf_region {
    uintptr_t start; /* 0: this region is free */
    uintptr_t end;   /* rounded up to `page` */
    size_t page;     /* the mapping's own page size: 4 KiB, or that of hugetlbfs */
    int prot;
    unsigned pins; /* handlers at work inside */
    uintptr_t mark;
    struct mmf_region *next_free;
} mmf_region;

typedef struct {
    int armed;               /* our handler is the one the kernel calls first */
    size_t regions;          /* mappings watched now */
    unsigned long faults;    /* faults turned into marks since the process began */
    unsigned long displaced; /* times that another handler was found where ours had been */
} mmf_guard_state;

/* Maps and watches. NULL with errno set if that fails. `length` > 0; `page` a power of two. */
mmf_region *mmf_map(size_t length, int prot, int flags, mmf_object object, int64_t offset, size_t page);

/* Stops watching and unmaps. Only when no access, pin or buffer of the mapping is left. */
void mmf_unmap(mmf_region *region);

/* Puts our handler back on top if somebody installed another. 0, or -1 with errno. */
int mmf_arm(void);

void mmf_guard_status(mmf_guard_state *state);

/* To be asked after the access, never before it: the fault happens inside the access. The first fence keeps the
 * compiler from moving the access behind the question. The second is for the faults of other threads: without it a
 * processor that loads in any order (aarch64) could have asked for the mark before it read the zeros of a page that
 * another thread's fault has put there meanwhile. Where loads keep their order it is no instruction. (A store into such a
 * page is lost as one just before the truncation is: it needs none.) */
static inline int mmf_marked(const mmf_region *region)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __builtin_expect(__atomic_load_n(&region->mark, __ATOMIC_RELAXED) != 0, 0);
}

/* Were any of the bytes [address, address + size) replaced? */
static inline int mmf_replaced(const mmf_region *region, const char *address, size_t size)
{
    uintptr_t mark = __atomic_load_n(&region->mark, __ATOMIC_SEQ_CST);
    return mark != 0 && (uintptr_t)address + size > mark;
}

#endif
