/* SPDX-License-Identifier: MIT
 * Programs as those that "Programming Memory-Mapped Files with the .NET Framework" asks about: old ones in C, which have
 * shared memory by the functions of the system. They do what those of articles.cs of the same names do. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

static int fail(void)
{
    printf("error %lu\n", GetLastError());
    return 1;
}

static void wait(const char *said)
{
    printf("%s; press Enter to end\n", said);
    getchar();
}

static char *created(const wchar_t *name, DWORD size, HANDLE *map)
{
    *map = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, size, name);
    return *map ? MapViewOfFile(*map, FILE_MAP_ALL_ACCESS, 0, 0, size) : NULL;
}

static char *opened(const wchar_t *name, DWORD size, HANDLE *map)
{
    *map = OpenFileMappingW(FILE_MAP_READ, FALSE, name);
    return *map ? MapViewOfFile(*map, FILE_MAP_READ, 0, 0, size) : NULL;
}

static int provider(const wchar_t *name, int dies)
{
    HANDLE map, mutex;
    char *view = created(name, 32, &map);
    if (!view || GetLastError() == ERROR_ALREADY_EXISTS || !(mutex = CreateMutexW(NULL, TRUE, L"Global\\MMF_IPC")))
        return fail();
    for (int i = 0; i < (dies ? 5 : 32); i++)
        view[i] = (char)('0' + i);
    if (dies)
        wait("writing"); /* and is killed meanwhile */
    ReleaseMutex(mutex);
    wait("written");
    return 0;
}

static int consumer(const wchar_t *name)
{
    HANDLE map, mutex = OpenMutexW(SYNCHRONIZE | MUTEX_MODIFY_STATE, FALSE, L"Global\\MMF_IPC");
    const char *view = opened(name, 32, &map);
    DWORD said;
    if (!mutex || !view)
        return fail();
    said = WaitForSingleObject(mutex, 0);
    if (said == WAIT_TIMEOUT) {
        puts("waits");
        said = WaitForSingleObject(mutex, INFINITE);
    }
    if (said == WAIT_ABANDONED) {
        puts("WAIT_ABANDONED");
        return 1;
    }
    printf("%.32s\n", view);
    ReleaseMutex(mutex);
    return 0;
}

static int single_instance(int by_map)
{
    HANDLE held = by_map ? CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, 1, L"NetMMFSingle")
                         : CreateMutexW(NULL, TRUE, L"Global\\NetMMFSingle");
    int is_first = held && GetLastError() != ERROR_ALREADY_EXISTS;
    if (!held)
        return fail();
    if (!by_map && !is_first)
        is_first = WaitForSingleObject(held, 0) != WAIT_TIMEOUT;
    if (is_first)
        wait("the only instance");
    else
        puts("Instance already running...");
    return 0;
}

static int writer(void)
{
    HANDLE map, mutex = CreateMutexW(NULL, TRUE, L"Global\\shared_memory_mutex");
    int32_t *view = (int32_t *)created(L"SharedMemory", 2000, &map);
    if (!mutex || !view)
        return fail();
    for (int i = 0; i < 500; i++)
        view[i] = i * i;
    ReleaseMutex(mutex);
    wait("written");
    return 0;
}

static int reader(void)
{
    HANDLE map, mutex = OpenMutexW(SYNCHRONIZE | MUTEX_MODIFY_STATE, FALSE, L"Global\\shared_memory_mutex");
    const int32_t *view;
    if (!mutex)
        return fail();
    WaitForSingleObject(mutex, INFINITE);
    if (!(view = (const int32_t *)opened(L"SharedMemory", 2000, &map)))
        return fail();
    for (int i = 0; i < 500; i++)
        printf("%d\n", view[i]);
    ReleaseMutex(mutex);
    return 0;
}

int wmain(int count, wchar_t **words)
{
    const wchar_t *what = count > 1 ? words[1] : L"", *name = count > 2 ? words[2] : L"";
    setvbuf(stdout, NULL, _IONBF, 0);
    if (!wcscmp(what, L"provider") || !wcscmp(what, L"dying_provider"))
        return provider(name, what[0] == 'd');
    if (!wcscmp(what, L"consumer"))
        return consumer(name);
    if (!wcscmp(what, L"single_instance") || !wcscmp(what, L"single_instance_by_map"))
        return single_instance(wcslen(what) > 15);
    if (!wcscmp(what, L"writer"))
        return writer();
    if (!wcscmp(what, L"reader"))
        return reader();
    return 2;
}
