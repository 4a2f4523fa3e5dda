/* SPDX-License-Identifier: MIT
 *
 * The fault guard on Windows. guard.h has what it promises, linux/guard.c the protocol; this is what differs.
 *
 * A file cannot be shortened while it is mapped (error 1224), so the usual reason is none here. What is left is a page
 * that cannot be read: the disk failed, the share is gone. The kernel then raises EXCEPTION_IN_PAGE_ERROR in the thread
 * that touched it, and our vectored handler, which sees it before all others', takes the steps of linux/guard.c:
 *
 *   Fault    3  find the region, pins + 1, look again whether it is still one.
 *            4  mark, from the start of the view on: there is no way to take a part of a view away.
 *            5  the first one unmaps the view and puts zero pages of its own there; whoever comes meanwhile waits. The
 *               access is repeated.
 *            6  pins - 1.
 *
 * The zeros of a view for which there is not memory enough are reserved only, and each page is made when it is touched.
 *
 * Between the two calls of 5 nothing is there. Another thread that touches the view then gets an access violation: in a
 * region that is marked it waits as well, and repeats. A thread that asks for memory may be given that very place: then
 * the pages cannot be replaced, and the exception goes on to whoever comes next, usually to the end of the process.
 *
 * An access violation anywhere else is none of ours: a write to a view that may only be read stays an error.
 */
#include "pages.h"
#include "views.h"

#include <psapi.h>

#include <errno.h>
#include <stdlib.h>

#define CHUNK 256

enum { MAPPED, BEING_REPLACED, REPLACED, LOST };

struct chunk {
    struct chunk *next;
    mmf_view view[CHUNK];
};

static SRWLOCK registry = SRWLOCK_INIT;
static struct chunk *chunks; /* published by a release store, never freed */
static mmf_region *free_regions;
static size_t watched;
static unsigned long faults;
static PVOID armed;

/* ------------------------------------------------------------------------------------------ the handler */

/* What an access needs, by the number that an exception has for it. */
static int needed(ULONG_PTR access) { return access == 1 ? MMF_MAP_WRITE : access == 8 ? MMF_MAP_EXECUTE : MMF_MAP_READ; }

static int replace(mmf_view *v, uintptr_t start, uintptr_t address, int in_page, int need)
{
    static const DWORD protections[8] = {
        PAGE_NOACCESS, PAGE_READONLY, PAGE_READWRITE, PAGE_READWRITE,
        PAGE_EXECUTE, PAGE_EXECUTE_READ, PAGE_EXECUTE_READWRITE, PAGE_EXECUTE_READWRITE,
    };
    DWORD protection = protections[v->region.prot & 7];
    if (in_page && InterlockedCompareExchange(&v->state, BEING_REPLACED, MAPPED) == MAPPED) {
        __atomic_store_n(&v->region.mark, start, __ATOMIC_SEQ_CST);
        /* Safe: the view is ours, and cannot be unmapped by its owner while we hold a pin. */
        int done = UnmapViewOfFile((void *)start) &&
                   VirtualAlloc((void *)start, v->region.end - start, MEM_RESERVE, protection) == (void *)start;
        if (done) /* system calls that are given this memory do not come here: all of it, if that can be had */
            VirtualAlloc((void *)start, v->region.end - start, MEM_COMMIT, protection);
        __atomic_add_fetch(&faults, 1, __ATOMIC_RELAXED);
        InterlockedExchange(&v->state, done ? REPLACED : LOST);
        return done;
    }
    while (v->state == BEING_REPLACED)
        Sleep(0);
    /* Replaced while this thread was on its way here, if the pages allow what it did; else it may not do that. */
    return v->state == REPLACED && (v->region.prot & need) == need &&
           VirtualAlloc((void *)address, 1, MEM_COMMIT, protection); /* a page that is there stays as it is */
}

/* Whether the access is to be repeated. */
static int handle(uintptr_t address, int in_page, int need)
{
    for (struct chunk *c = __atomic_load_n(&chunks, __ATOMIC_ACQUIRE); c; c = c->next) {
        for (int i = 0; i < CHUNK; i++) {
            mmf_region *region = &c->view[i].region;
            uintptr_t start = __atomic_load_n(&region->start, __ATOMIC_ACQUIRE);
            if (start == 0 || address < start || address >= region->end)
                continue;
            __atomic_add_fetch(&region->pins, 1, __ATOMIC_SEQ_CST);
            int found = __atomic_load_n(&region->start, __ATOMIC_SEQ_CST) == start && address < region->end;
            int done = found && replace(&c->view[i], start, address, in_page, need);
            __atomic_sub_fetch(&region->pins, 1, __ATOMIC_SEQ_CST);
            if (found)
                return done;
        }
    }
    return 0;
}

static LONG CALLBACK on_exception(EXCEPTION_POINTERS *pointers)
{
    const EXCEPTION_RECORD *record = pointers->ExceptionRecord;
    int in_page = record->ExceptionCode == (DWORD)EXCEPTION_IN_PAGE_ERROR;
    if ((!in_page && record->ExceptionCode != (DWORD)EXCEPTION_ACCESS_VIOLATION) || record->NumberParameters < 2)
        return EXCEPTION_CONTINUE_SEARCH;
    DWORD error = GetLastError();
    int repeat = handle((uintptr_t)record->ExceptionInformation[1], in_page, needed(record->ExceptionInformation[0]));
    SetLastError(error);
    return repeat ? EXCEPTION_CONTINUE_EXECUTION : EXCEPTION_CONTINUE_SEARCH;
}

/* ---------------------------------------------------------------------------------- arming, the registry */

static int said(DWORD error)
{
    switch (error) {
    case ERROR_ACCESS_DENIED: return EACCES;
    case ERROR_INVALID_HANDLE: return EBADF;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_COMMITMENT_LIMIT: return ENOMEM;
    case ERROR_DISK_FULL: return ENOSPC;
    case ERROR_INVALID_PARAMETER:
    case ERROR_INVALID_ADDRESS:
    case ERROR_MAPPED_ALIGNMENT: return EINVAL;
    default: return EIO;
    }
}

static int failed(void)
{
    errno = said(GetLastError());
    return -1;
}

static int out_of_memory(void)
{
    SetLastError(ERROR_NOT_ENOUGH_MEMORY);
    return failed();
}

int mmf_arm(void)
{
    AcquireSRWLockExclusive(&registry);
    if (!armed)
        armed = AddVectoredExceptionHandler(1, on_exception);
    ReleaseSRWLockExclusive(&registry);
    return armed ? 0 : out_of_memory();
}

mmf_view *mmf_view_at(uintptr_t address)
{
    for (struct chunk *c = __atomic_load_n(&chunks, __ATOMIC_ACQUIRE); c; c = c->next)
        for (int i = 0; i < CHUNK; i++) {
            uintptr_t start = __atomic_load_n(&c->view[i].region.start, __ATOMIC_ACQUIRE);
            if (start && address >= start && address < c->view[i].region.end)
                return &c->view[i];
        }
    return NULL;
}

static mmf_region *take_region(void)
{
    mmf_region *region = NULL;
    AcquireSRWLockExclusive(&registry);
    if (!free_regions) {
        struct chunk *c = calloc(1, sizeof *c);
        if (c) {
            for (int i = CHUNK - 1; i >= 0; i--) {
                c->view[i].region.next_free = free_regions;
                free_regions = &c->view[i].region;
            }
            c->next = chunks;
            __atomic_store_n(&chunks, c, __ATOMIC_RELEASE);
        }
    }
    if (free_regions) {
        region = free_regions;
        free_regions = region->next_free;
        watched++;
    }
    ReleaseSRWLockExclusive(&registry);
    if (!region)
        out_of_memory();
    return region;
}

static void give_region(mmf_region *region)
{
    AcquireSRWLockExclusive(&registry);
    region->next_free = free_regions;
    free_regions = region;
    watched--;
    ReleaseSRWLockExclusive(&registry);
}

unsigned mmf_system_error(void) { return GetLastError(); }

size_t mmf_page_size(void)
{
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwPageSize;
}

/* The pages of a reserved section (SEC_RESERVE) are committed where a view is made of them, as .NET does. */
static int commit(char *address, size_t length, int prot, int flags)
{
    MEMORY_BASIC_INFORMATION found;
    DWORD protection = flags & MMF_MAP_PRIVATE ? PAGE_WRITECOPY : prot & MMF_MAP_WRITE ? PAGE_READWRITE : PAGE_READONLY;
    if (prot & MMF_MAP_EXECUTE)
        protection = prot & MMF_MAP_WRITE ? PAGE_EXECUTE_READWRITE : PAGE_EXECUTE_READ;
    if (!VirtualQuery(address, &found, sizeof found))
        return 0;
    return (found.State == MEM_COMMIT && found.RegionSize >= length) ||
           VirtualAlloc(address, length, MEM_COMMIT, protection) != NULL;
}

static void *map(HANDLE section, int64_t offset, size_t length, int prot, int flags)
{
    DWORD access = flags & MMF_MAP_PRIVATE ? FILE_MAP_COPY : prot & MMF_MAP_WRITE ? FILE_MAP_WRITE : FILE_MAP_READ;
    if (prot & MMF_MAP_EXECUTE)
        access |= FILE_MAP_EXECUTE | (flags & MMF_MAP_PRIVATE ? 0 : FILE_MAP_READ);
    return MapViewOfFile(section, access, (DWORD)(offset >> 32), (DWORD)offset, length);
}

static HANDLE handle_in(int32_t half) { return (HANDLE)(intptr_t)half; }

mmf_region *mmf_map(size_t length, int prot, int flags, mmf_object object, int64_t offset, size_t page)
{
    static size_t of_system;
    HANDLE own = GetCurrentProcess(), section = handle_in((int32_t)object), file = NULL;
    void *address = NULL;
    if (!of_system)
        of_system = mmf_page_size();
    if (length > SIZE_MAX - page) {
        out_of_memory();
        return NULL;
    }
    if (mmf_arm() != 0)
        return NULL;
    mmf_region *region = take_region();
    if (!region)
        return NULL;
    if (object == -1) {
        section = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, (DWORD)(length >> 32), (DWORD)length, NULL);
        if (section)
            address = map(section, 0, length, prot, flags);
    } else if (object >> 32 == 0) {
        address = map(section, offset, length, prot, flags);
        if (address && !commit(address, length, prot, flags)) {
            DWORD error = GetLastError();
            UnmapViewOfFile(address);
            SetLastError(error);
            address = NULL;
        }
    } else if (DuplicateHandle(own, handle_in((int32_t)(object >> 32)), own, &file, 0, FALSE, DUPLICATE_SAME_ACCESS)) {
        address = map(section, offset, length, prot, flags);
    }
    DWORD error = GetLastError();
    if (object == -1 && section)
        CloseHandle(section); /* the view keeps it */
    if (!address) {
        if (file)
            CloseHandle(file);
        give_region(region);
        SetLastError(error);
        failed();
        return NULL;
    }
    mmf_view *v = (mmf_view *)region;
    v->file = file;
    v->state = MAPPED;
    v->length = length;
    v->offset = offset;
    v->is_own = object == -1 || (flags & MMF_MAP_PRIVATE);
    v->name = v->is_own || file ? 0 : mmf_name_of(section);
    v->channels = 0;
    region->end = (uintptr_t)address + ((length + of_system - 1) & ~(of_system - 1));
    region->page = of_system; /* only where views begin is it `page` */
    region->prot = prot;
    region->mark = 0;
    __atomic_store_n(&region->start, (uintptr_t)address, __ATOMIC_RELEASE);
    return region;
}

void mmf_unmap(mmf_region *region)
{
    mmf_view *v = (mmf_view *)region;
    uintptr_t start = region->start;
    mmf_close_channels(v);
    __atomic_store_n(&region->start, 0, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&region->pins, __ATOMIC_SEQ_CST) != 0)
        Sleep(0);
    if (v->state == REPLACED)
        VirtualFree((void *)start, 0, MEM_RELEASE);
    else if (v->state == MAPPED)
        UnmapViewOfFile((void *)start);
    if (v->file)
        CloseHandle(v->file);
    give_region(region);
}

void mmf_guard_status(mmf_guard_state *state)
{
    AcquireSRWLockShared(&registry);
    state->armed = armed != NULL;
    state->regions = watched;
    state->displaced = 0;
    state->faults = __atomic_load_n(&faults, __ATOMIC_RELAXED);
    ReleaseSRWLockShared(&registry);
}

/* --------------------------------------------------------------------------------------------- pages.h */

int mmf_flush(const mmf_region *region, char *start, size_t length, int rereads)
{
    HANDLE own = ((const mmf_view *)region)->file, file;
    int done;
    (void)rereads;
    if (__atomic_load_n(&region->mark, __ATOMIC_SEQ_CST))
        return 0; /* the pages are nobody's but ours now: who flushes asks for the mark */
    for (int turn = 0; !FlushViewOfFile(start, length); turn++) {
        if (GetLastError() != ERROR_LOCK_VIOLATION || turn == 100) /* the system's own writer is at it */
            return failed();
        Sleep(10);
    }
    if (own && FlushFileBuffers(own))
        return 0;
    if (own && GetLastError() != ERROR_ACCESS_DENIED)
        return failed();
    /* Without a handle that may write the file: one of its own. Memory has none, and not everybody gets one. */
    if ((file = mmf_open_mapped(start, GENERIC_WRITE)) == INVALID_HANDLE_VALUE)
        return 0;
    done = FlushFileBuffers(file) ? 0 : failed();
    CloseHandle(file);
    return done;
}

int mmf_advise(char *start, size_t length, int advice)
{
    enum { NORMAL, RANDOM, SEQUENTIAL, WILL_NEED, DONT_NEED };
    WIN32_MEMORY_RANGE_ENTRY range = {start, length};
    switch (advice) {
    case NORMAL:
    case RANDOM:
    case SEQUENTIAL: return 0;
    case WILL_NEED: return PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0) ? 0 : failed();
    case DONT_NEED: return VirtualUnlock(start, length) || GetLastError() == ERROR_NOT_LOCKED ? 0 : failed();
    default: SetLastError(ERROR_INVALID_PARAMETER); return failed();
    }
}

int mmf_resident(char *start, size_t length, unsigned char *pages)
{
    enum { AT_ONCE = 512 };
    PSAPI_WORKING_SET_EX_INFORMATION asked[AT_ONCE];
    size_t page = mmf_page_size(), count = (length + page - 1) / page;
    for (size_t done = 0; done < count;) {
        size_t some = count - done < AT_ONCE ? count - done : AT_ONCE;
        for (size_t i = 0; i < some; i++)
            asked[i].VirtualAddress = start + (done + i) * page;
        if (!K32QueryWorkingSetEx(GetCurrentProcess(), asked, (DWORD)(some * sizeof *asked)))
            return failed();
        for (size_t i = 0; i < some; i++)
            pages[done + i] = asked[i].VirtualAttributes.Valid;
        done += some;
    }
    return 0;
}

int mmf_data_extent(const mmf_region *region, int fd, int64_t size, int64_t *from, int64_t *to)
{
    const char *start = (const char *)region->start;
    (void)fd;
    for (int64_t at = *from, next; at < size; at = next) {
        next = (at | 4095) + 1 < size ? (at | 4095) + 1 : size;
        if (start[at] || memcmp(start + at, start + at + 1, (size_t)(next - at) - 1)) {
            *from = at;
            *to = size;
            return 1;
        }
    }
    return 0;
}

size_t mmf_size_to_mark(const mmf_region *region, size_t size, uint64_t mark, uint64_t other)
{
    const mmf_view *v = (const mmf_view *)region;
    const char *start = (const char *)region->start;
    if (v->file || size % 4096)
        return size;
    for (size_t at = size, first = size < 4096 ? 0 : size - 4096; at > first; at -= 8) {
        uint64_t word = *(const volatile uint64_t *)(start + at - 8);
        if (word && (word == mark || word == other))
            return at;
    }
    return size;
}

int mmf_has_size(const mmf_region *region, size_t size, size_t wanted)
{
    return size == wanted || (!((const mmf_view *)region)->file && size == ((wanted + 4095) & ~(size_t)4095));
}

int64_t mmf_file_size(const mmf_region *region, int fd)
{
    const mmf_view *v = (const mmf_view *)region;
    LARGE_INTEGER size;
    (void)fd;
    if (!v->file)
        return (int64_t)v->length;
    return GetFileSizeEx(v->file, &size) ? size.QuadPart : -1;
}
