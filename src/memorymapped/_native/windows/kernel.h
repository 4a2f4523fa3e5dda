/* SPDX-License-Identifier: MIT
 *
 * The kernel's own functions (ntdll), which have no import here, and what they say of objects: nothing is taken by that.
 * Errors are 0, or a number of the system's as GetLastError has them.
 */
#ifndef MEMORYMAPPED_KERNEL_H
#define MEMORYMAPPED_KERNEL_H

#include <stdint.h>
#include <windows.h>

static inline void *mmf_of_kernel(const char *name)
{
    return (void *)GetProcAddress(GetModuleHandleW(L"ntdll.dll"), name);
}

static inline unsigned mmf_error_of(LONG status)
{
    typedef ULONG(WINAPI * translation)(LONG);
    return status >= 0 ? 0 : ((translation)mmf_of_kernel("RtlNtStatusToDosError"))(status);
}

/* One of the functions that ask an object: NtQueryEvent and the like. */
static inline unsigned mmf_asked(const char *function, HANDLE handle, int what, void *told, unsigned size)
{
    typedef LONG(WINAPI * query)(HANDLE, int, void *, ULONG, ULONG *);
    return mmf_error_of(((query)mmf_of_kernel(function))(handle, what, told, size, NULL));
}

static inline unsigned mmf_ask_event(HANDLE event, int *manual, int *state)
{
    struct {
        int type;
        LONG state;
    } told;
    unsigned error = mmf_asked("NtQueryEvent", event, 0, &told, sizeof told);
    *manual = told.type == 0;
    *state = told.state != 0;
    return error;
}

static inline unsigned mmf_ask_semaphore(HANDLE semaphore, int *count, int *maximum)
{
    struct {
        ULONG count;
        LONG maximum;
    } told;
    unsigned error = mmf_asked("NtQuerySemaphore", semaphore, 0, &told, sizeof told);
    *count = (int)told.count;
    *maximum = (int)told.maximum;
    return error;
}

/* Whether a thread owns a mutex, and which, if the system tells (0: it does not; Wine never); whether its last owner ended
 * with it. */
static inline unsigned mmf_ask_mutex(HANDLE mutex, int *is_owned, int *was_abandoned, unsigned *process, unsigned *thread)
{
    struct {
        LONG count;
        BOOLEAN ours, abandoned;
    } told;
    struct {
        HANDLE process, thread;
    } owner = {NULL, NULL};
    unsigned error = mmf_asked("NtQueryMutant", mutex, 0, &told, sizeof told);
    *is_owned = !error && told.count <= 0;
    *was_abandoned = !error && told.abandoned;
    if (*is_owned && mmf_asked("NtQueryMutant", mutex, 1, &owner, sizeof owner))
        owner.process = owner.thread = NULL;
    *process = (unsigned)(uintptr_t)owner.process;
    *thread = (unsigned)(uintptr_t)owner.thread;
    return error;
}

/* Size (exact for a section of a file) and SEC_ attributes. 0: they are not told. */
static inline int mmf_ask_section(HANDLE section, long long *size, unsigned *attributes)
{
    struct {
        void *base;
        ULONG attributes;
        LARGE_INTEGER size;
    } told;
    typedef LONG(WINAPI * query)(HANDLE, int, void *, SIZE_T, SIZE_T *);
    query ask = (query)mmf_of_kernel("NtQuerySection");
    if (!ask || ask(section, 0, &told, sizeof told, NULL) < 0)
        return 0;
    *size = told.size.QuadPart;
    *attributes = told.attributes;
    return 1;
}

#endif
