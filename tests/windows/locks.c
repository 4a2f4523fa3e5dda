/* SPDX-License-Identifier: MIT
 * A C program, as old ones are, that does with mutexes, events and semaphores what it is told, one step a line of words
 * between tabs: see locks.cs. It answers "=value", or "!" and the number of the error; of a wait that finds a mutex
 * abandoned "!128". */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

static HANDLE handles[256]; /* by the first letter of the variable */

static int failed(DWORD error)
{
    printf("!%lu\n", error);
    return 0;
}

static int said(long long value)
{
    printf("=%lld\n", value);
    return 0;
}

static int kept(const char *variable, HANDLE handle)
{
    DWORD error = GetLastError();
    handles[(unsigned char)*variable] = handle;
    return handle ? said(error != ERROR_ALREADY_EXISTS) : failed(error);
}

static int waited(DWORD result, int any)
{
    if (result == WAIT_TIMEOUT)
        return said(any ? 258 : 0);
    if (result >= WAIT_ABANDONED_0 && result < WAIT_ABANDONED_0 + MAXIMUM_WAIT_OBJECTS)
        return failed(WAIT_ABANDONED);
    return result == WAIT_FAILED ? failed(GetLastError()) : said(any ? (long long)(result - WAIT_OBJECT_0) : 1);
}

static int count(HANDLE mutex, const wchar_t *map, int rounds)
{
    HANDLE section = OpenFileMappingW(FILE_MAP_ALL_ACCESS, FALSE, map);
    volatile int32_t *number = section ? MapViewOfFile(section, FILE_MAP_ALL_ACCESS, 0, 0, 0) : NULL;
    if (!number)
        return failed(GetLastError());
    for (int i = 0; i < rounds; i++) {
        if (WaitForSingleObject(mutex, INFINITE) != WAIT_OBJECT_0)
            return failed(GetLastError());
        *number = *number + 1;
        ReleaseMutex(mutex);
    }
    UnmapViewOfFile((const void *)number);
    CloseHandle(section);
    return said(0);
}

static int done(char **word)
{
    wchar_t name[4096];
    const char *what = word[0], *v = word[1];
    HANDLE handle = handles[(unsigned char)*v];
    LONG before;
    MultiByteToWideChar(CP_UTF8, 0, word[2] ? word[2] : "", -1, name, 4096);
    SetLastError(0);
    if (!strcmp(what, "mutex"))
        return kept(v, CreateMutexW(NULL, atoi(word[3]), name));
    if (!strcmp(what, "event"))
        return kept(v, CreateEventW(NULL, atoi(word[4]), atoi(word[3]), name));
    if (!strcmp(what, "semaphore"))
        return kept(v, CreateSemaphoreW(NULL, atoi(word[3]), atoi(word[4]), name));
    if (!strcmp(what, "open_mutex"))
        return kept(v, OpenMutexW(MUTEX_ALL_ACCESS, FALSE, name));
    if (!strcmp(what, "open_event"))
        return kept(v, OpenEventW(EVENT_ALL_ACCESS, FALSE, name));
    if (!strcmp(what, "open_semaphore"))
        return kept(v, OpenSemaphoreW(SEMAPHORE_ALL_ACCESS, FALSE, name));
    if (!strcmp(what, "wait"))
        return waited(WaitForSingleObject(handle, (DWORD)atoi(word[2])), 0);
    if (!strcmp(what, "wait_any") || !strcmp(what, "wait_all")) {
        HANDLE several[MAXIMUM_WAIT_OBJECTS];
        DWORD n = 0;
        for (const char *each = v; *each; each++)
            if (*each != ',')
                several[n++] = handles[(unsigned char)*each];
        int any = !strcmp(what, "wait_any");
        return waited(WaitForMultipleObjects(n, several, !any, (DWORD)atoi(word[2])), any);
    }
    if (!strcmp(what, "release"))
        return ReleaseMutex(handle) ? said(0) : failed(GetLastError());
    if (!strcmp(what, "set"))
        return SetEvent(handle) ? said(0) : failed(GetLastError());
    if (!strcmp(what, "reset"))
        return ResetEvent(handle) ? said(0) : failed(GetLastError());
    if (!strcmp(what, "give"))
        return ReleaseSemaphore(handle, atoi(word[2]), &before) ? said(before) : failed(GetLastError());
    if (!strcmp(what, "close"))
        return CloseHandle(handle) ? said(0) : failed(GetLastError());
    if (!strcmp(what, "count"))
        return count(handle, name, atoi(word[3]));
    return failed(ERROR_INVALID_FUNCTION);
}

int wmain(void)
{
    static char line[16384];
    setvbuf(stdout, NULL, _IONBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        char *word[8] = {NULL}, *next = line;
        line[strcspn(line, "\r\n")] = 0;
        for (int i = 0; i < 7 && next; i++) {
            word[i] = next;
            next = strchr(next, '\t');
            if (next)
                *next++ = 0;
        }
        done(word);
    }
    return 0;
}
