/* SPDX-License-Identifier: MIT
 *
 * The protocol is at the head of sleeping.h.
 *
 * The channels of a process stand in a table, found by the address of the place. Who sleeps or wakes keeps the place
 * mapped; so a channel is closed, when its view is unmapped, only after all who use it have gone.
 */
#include "clock.h"
#include "sleeping.h"
#include "views.h"

#include <limits.h>
#include <stdlib.h>
#include <wchar.h>

enum { BUCKETS = 1024, TOKENS = 64, AT_ONCE = MAXIMUM_WAIT_OBJECTS - 1 };

typedef struct channel {
    struct channel *next;
    const void *place;
    mmf_view *view;
    HANDLE handle;
} channel;

static SRWLOCK table_lock = SRWLOCK_INIT;
static channel *table[BUCKETS];

static channel **bucket_of(const void *place) { return &table[((uintptr_t)place * 0x9E3779B97F4A7C15ull) >> 54]; }

static HANDLE find(const void *place)
{
    HANDLE handle = NULL;
    AcquireSRWLockShared(&table_lock);
    for (const channel *c = *bucket_of(place); c && !handle; c = c->next)
        if (c->place == place)
            handle = c->handle;
    ReleaseSRWLockShared(&table_lock);
    return handle;
}

static HANDLE make(const mmf_view *view, const void *place)
{
    mmf_identity of = {0, 0};
    wchar_t name[96];
    if (!view->is_own && !(view->file ? mmf_identify_file(view->file, &of)
                                      : mmf_identify_mapped((void *)view->region.start, &of)))
        of.inode = view->name;
    /* Semaphores need no privilege for the namespace of all sessions, other than maps. */
    swprintf(name, sizeof name / sizeof *name, L"Global\\memorymapped-%llx-%llx-%llx", of.device, of.inode,
             (unsigned long long)(view->offset + (int64_t)((uintptr_t)place - view->region.start)));
    return CreateSemaphoreW(NULL, 0, TOKENS, of.inode ? name : NULL);
}

void *mmf_channel(const void *place)
{
    HANDLE handle = find(place);
    if (handle)
        return handle;
    mmf_view *view = mmf_view_at((uintptr_t)place);
    channel *new = view ? malloc(sizeof *new) : NULL;
    if (!new)
        return NULL;
    *new = (channel){.place = place, .view = view, .handle = make(view, place)};
    if (!new->handle) {
        free(new);
        return NULL;
    }
    channel **bucket = bucket_of(place);
    AcquireSRWLockExclusive(&table_lock);
    for (const channel *c = *bucket; c && !handle; c = c->next)
        if (c->place == place)
            handle = c->handle; /* another thread was quicker */
    if (!handle) {
        handle = new->handle;
        new->next = *bucket;
        *bucket = new;
        view->channels++;
        new = NULL;
    }
    ReleaseSRWLockExclusive(&table_lock);
    if (new) {
        CloseHandle(new->handle);
        free(new);
    }
    return handle;
}

void mmf_close_channels(mmf_view *view)
{
    if (!view->channels)
        return;
    AcquireSRWLockExclusive(&table_lock);
    for (int i = 0; i < BUCKETS; i++)
        for (channel **at = &table[i], *c; (c = *at) != NULL;)
            if (c->view == view) {
                *at = c->next;
                CloseHandle(c->handle);
                free(c);
            } else
                at = &c->next;
    view->channels = 0;
    ReleaseSRWLockExclusive(&table_lock);
}

/* ------------------------------------------------------------------------------------------------- sleeping */

double mmf_now(void)
{
    static double unit;
    LARGE_INTEGER now;
    if (unit == 0) {
        LARGE_INTEGER frequency;
        QueryPerformanceFrequency(&frequency);
        unit = 1.0 / (double)frequency.QuadPart;
    }
    QueryPerformanceCounter(&now);
    return (double)now.QuadPart * unit;
}

int mmf_sleep(double seconds)
{
    Sleep((DWORD)(seconds * 1000 + 0.5)); /* 0: others' turn */
    return 0;
}

static HANDLE interrupt;
static DWORD interrupted; /* the thread that it is for */

void mmf_interrupt_by(void *event)
{
    interrupt = event;
    interrupted = GetCurrentThreadId();
}

DWORD mmf_wait_for(HANDLE *handles, DWORD count, DWORD most)
{
    if (interrupt && GetCurrentThreadId() == interrupted) {
        ResetEvent(interrupt);
        handles[count++] = interrupt;
    }
    return WaitForMultipleObjects(count, handles, FALSE, most);
}

static uint32_t load(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }

static int wait_at(const void *place, uint32_t *word, uint32_t value, double seconds)
{
    HANDLE handles[2] = {mmf_channel(place)};
    if (load(word) != value)
        return EAGAIN;
    if (!handles[0]) {
        mmf_sleep(seconds < 0.01 ? seconds : 0.01);
        return load(word) != value ? 0 : ETIMEDOUT;
    }
    return mmf_wait_for(handles, 1, mmf_milliseconds(seconds)) == WAIT_TIMEOUT ? ETIMEDOUT : 0;
}

/* Those who are asleep get theirs at once, so the limit is one of tokens that nobody has taken. */
static void wake_at(const void *place, uint32_t most)
{
    HANDLE handle = mmf_channel(place);
    while (handle && most > 0) {
        LONG some = most < TOKENS ? (LONG)most : TOKENS;
        if (!ReleaseSemaphore(handle, some, NULL)) {
            while (some-- > 0 && ReleaseSemaphore(handle, 1, NULL))
                ;
            return;
        }
        most -= (uint32_t)some;
    }
}

void mmf_futex_wake(uint32_t *word, int most) { wake_at(word, (uint32_t)most); }

int mmf_futex_wait(uint32_t *word, uint32_t value, double seconds) { return wait_at(word, word, value, seconds); }

int mmf_group_wait(uint32_t *word, uint32_t value, uint32_t group, double seconds)
{
    return wait_at((char *)word + (group & 31), word, value, seconds);
}

uint32_t mmf_group_wake(uint32_t *word, uint32_t group, uint32_t most)
{
    wake_at((char *)word + (group & 31), most);
    return most;
}

int mmf_futex_waitv(uint32_t *const *words, const uint32_t *values, int count, double seconds)
{
    HANDLE handles[AT_ONCE + 1];
    DWORD known = 0, said;
    int all = 1;
    for (int i = 0; i < count; i++) {
        HANDLE handle = known < AT_ONCE ? mmf_channel(words[i]) : NULL;
        DWORD same = 0;
        while (handle && same < known && handles[same] != handle)
            same++;
        if (!handle)
            all = 0;
        else if (same == known) /* the system refuses to wait for one twice */
            handles[known++] = handle;
    }
    for (int i = 0; i < count; i++)
        if (load(words[i]) != values[i])
            return EAGAIN;
    if (!all && seconds > 0.01)
        seconds = 0.01; /* there are words besides, on which it cannot sleep */
    if (known == 0)
        return mmf_sleep(seconds), ETIMEDOUT;
    said = mmf_wait_for(handles, known, mmf_milliseconds(seconds));
    return said == WAIT_TIMEOUT ? ETIMEDOUT : said == WAIT_FAILED ? EINVAL : 0;
}
