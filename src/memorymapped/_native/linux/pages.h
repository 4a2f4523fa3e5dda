/* SPDX-License-Identifier: MIT
 *
 * What memory.pyx asks the kernel about pages: Linux's half. The other is windows/pages.h, of the same names; meson.build
 * says which folder is searched.
 */
#ifndef MEMORYMAPPED_PAGES_H
#define MEMORYMAPPED_PAGES_H

#include <Python.h> /* first: it asks the C library for memrchr and memmem */

#include "guard.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* How a mapping is made. */
enum {
    MMF_MAP_READ = PROT_READ,
    MMF_MAP_WRITE = PROT_WRITE,
    MMF_MAP_EXECUTE = PROT_EXEC,
    MMF_MAP_SHARED = MAP_SHARED,
    MMF_MAP_PRIVATE = MAP_PRIVATE,
    MMF_MAP_NORESERVE = MAP_NORESERVE,
    MMF_MAP_OWN = MAP_ANONYMOUS, /* memory of nobody else's, but of forked children */
};

/* Of the system: what is flushed, advised, and counted. */
static inline size_t mmf_page_size(void) { return (size_t)getpagesize(); }

/* The system's own number of the error of the call before, where it has other numbers than errno; else 0. */
static inline unsigned mmf_system_error(void) { return 0; }

/* Writes whole pages of a mapping through to its file, and waits. `rereads`: what others wrote to the file by other ways
 * is seen afterwards. 0, or -1 with errno. */
static inline int mmf_flush(const mmf_region *region, char *start, size_t length, int rereads)
{
    (void)region;
    return msync(start, length, rereads ? MS_SYNC | MS_INVALIDATE : MS_SYNC);
}

/* The advice has a number of madvise(2). 0, or -1 with errno. */
static inline int mmf_advise(char *start, size_t length, int advice) { return madvise(start, length, advice); }

/* For each page 1 if it is in memory, else 0, in the lowest bit. 0, or -1 with errno. */
static inline int mmf_resident(char *start, size_t length, unsigned char *pages) { return mincore(start, length, pages); }

/* Asks for huge pages. It is an advice: that it fails changes nothing. */
static inline void mmf_huge_pages(char *start, size_t length) { (void)madvise(start, length, MADV_HUGEPAGE); }

/* Has the kernel make pages that are written soon, in one call. An advice as well: without it each costs a fault. */
static inline void mmf_populate(char *start, size_t length) { (void)madvise(start, length, 23 /* POPULATE_WRITE */); }

/* ---- what is mapped, of which `fd` is the map's descriptor and `region` a mapping from its beginning */

/* The extent of the file with data in it, from `*from` on (holes read as zeros, and reading them takes memory). 0: there
 * is none. */
static inline int mmf_data_extent(const mmf_region *region, int fd, int64_t size, int64_t *from, int64_t *to)
{
    (void)region;
    off_t first = lseek(fd, (off_t)*from, SEEK_DATA);
    if (first < 0) {
        if (errno == ENXIO)
            return 0;
        *to = size; /* the file system does not tell */
        return 1;
    }
    off_t last = lseek(fd, first, SEEK_HOLE);
    *from = first;
    *to = last < 0 || last > size ? size : last;
    return first < size;
}

/* The size of what ends with one of these words: of everything it is known exactly here. */
static inline size_t mmf_size_to_mark(const mmf_region *region, size_t size, uint64_t mark, uint64_t other)
{
    (void)region, (void)mark, (void)other;
    return size;
}

/* Whether it has so many bytes, as far as that is known. */
static inline int mmf_has_size(const mmf_region *region, size_t size, size_t wanted)
{
    (void)region;
    return size == wanted;
}

/* Its size now; -1: nobody knows. */
static inline int64_t mmf_file_size(const mmf_region *region, int fd)
{
    struct stat status;
    (void)region;
    return fstat(fd, &status) ? -1 : (int64_t)status.st_size;
}

#endif
