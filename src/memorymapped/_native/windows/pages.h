/* SPDX-License-Identifier: MIT
 *
 * What memory.pyx asks the kernel about pages: the half of Windows. The other is linux/pages.h, of the same names.
 */
#ifndef MEMORYMAPPED_PAGES_H
#define MEMORYMAPPED_PAGES_H

#include "guard.h"

#include <string.h>

/* How a mapping is made. */
enum {
    MMF_MAP_READ = 1,
    MMF_MAP_WRITE = 2,
    MMF_MAP_EXECUTE = 4,
    MMF_MAP_SHARED = 1,
    MMF_MAP_PRIVATE = 2,
    MMF_MAP_OWN = 0, /* memory of nobody else's: of no object */
    MMF_MAP_NORESERVE = 0, /* what is private counts against committed memory as it is mapped: there is no other way */
};

size_t mmf_page_size(void);

/* The system's own number of the error of the call before: GetLastError. */
unsigned mmf_system_error(void);

/* Writes whole pages of a mapping through to its file, and waits for the disk. `rereads` is nothing here: all ways to a
 * local file go through one cache. 0, or -1 with errno. */
int mmf_flush(const mmf_region *region, char *start, size_t length, int rereads);

/* The advice has a number of madvise(2). What this system has no words for is left out; huge pages (EINVAL) cannot be had
 * so. 0, or -1 with errno. */
int mmf_advise(char *start, size_t length, int advice);

/* For each page 1 if it is in the working set of this process, else 0. 0, or -1 with errno. */
int mmf_resident(char *start, size_t length, unsigned char *pages);

static inline void mmf_huge_pages(char *start, size_t length) { (void)start, (void)length; }

static inline void mmf_populate(char *start, size_t length) { (void)start, (void)length; }

/* ---- what is mapped, of which `region` is a mapping from its beginning (and `fd` no descriptor that could be asked) */

/* From `*from` on, what begins with a page that is not zeros. 0: there is none. */
int mmf_data_extent(const mmf_region *region, int fd, int64_t size, int64_t *from, int64_t *to);

/* Its size now; -1: nobody knows. */
int64_t mmf_file_size(const mmf_region *region, int fd);

/* The size of what ends with one of these words. Of memory that another has made only whole pages are known, in the last of
 * which it ends. `size`, if there is no such word. */
size_t mmf_size_to_mark(const mmf_region *region, size_t size, uint64_t mark, uint64_t other);

/* Whether it has so many bytes, as far as that is known. */
int mmf_has_size(const mmf_region *region, size_t size, size_t wanted);

/* The C library lacks these two. */
static inline void *memrchr(const void *block, int byte, size_t size)
{
    const unsigned char *at = (const unsigned char *)block + size;
    while (at != (const unsigned char *)block)
        if (*--at == (unsigned char)byte)
            return (void *)at;
    return NULL;
}

static inline void *memmem(const void *block, size_t length, const void *bytes, size_t size)
{
    const char *at = block, *end = at + length;
    if (!size)
        return (void *)at;
    while ((size_t)(end - at) >= size) {
        at = memchr(at, *(const char *)bytes, (size_t)(end - at) - size + 1);
        if (!at || !memcmp(at, bytes, size))
            return (void *)at;
        at++;
    }
    return NULL;
}

#endif
