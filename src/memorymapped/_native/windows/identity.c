/* SPDX-License-Identifier: MIT
 *
 * What tells mapped objects apart (views.h).
 */
#include "kernel.h"
#include "views.h"

#include <psapi.h>
#include <winternl.h>

#include <stdlib.h>
#include <wchar.h>

/* FNV-1a. Two names of one number share channels: they wake each other in vain. */
static uint64_t hash(const void *bytes, size_t size)
{
    uint64_t number = 0xCBF29CE484222325ull;
    for (const unsigned char *at = bytes, *end = at + size; at < end; at++)
        number = (number ^ *at) * 0x100000001B3ull;
    return number | 1;
}

uint64_t mmf_name_of(HANDLE section)
{
    enum { NAME_INFORMATION = 1 };
    union {
        UNICODE_STRING name;
        char room[2048];
    } brief, *found = &brief;
    ULONG size = sizeof brief;
    uint64_t number = 0;
    NTSTATUS status = NtQueryObject(section, (OBJECT_INFORMATION_CLASS)NAME_INFORMATION, found, size, &size);
    if (status < 0 && size > sizeof brief && (found = malloc(size)) != NULL)
        status = NtQueryObject(section, (OBJECT_INFORMATION_CLASS)NAME_INFORMATION, found, size, &size);
    if (found && status >= 0 && found->name.Length)
        number = hash(found->name.Buffer, found->name.Length);
    if (found != &brief)
        free(found);
    return number;
}

int mmf_identify_file(HANDLE file, mmf_identity *identity)
{
    BY_HANDLE_FILE_INFORMATION found;
    if (!GetFileInformationByHandle(file, &found))
        return 0;
    identity->device = found.dwVolumeSerialNumber;
    identity->inode = (uint64_t)found.nFileIndexHigh << 32 | found.nFileIndexLow;
    return 1;
}

static HANDLE opened(const wchar_t *path, DWORD access)
{
    return CreateFileW(path, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                       FILE_FLAG_BACKUP_SEMANTICS, NULL);
}

/* And closes it. */
static int identify(HANDLE file, mmf_identity *identity)
{
    int done = file != INVALID_HANDLE_VALUE && mmf_identify_file(file, identity);
    DWORD error = GetLastError();
    if (file != INVALID_HANDLE_VALUE)
        CloseHandle(file);
    SetLastError(error);
    return done;
}

int mmf_identify_path(const wchar_t *path, mmf_identity *identity) { return identify(opened(path, 0), identity); }

void mmf_identify(HANDLE section, mmf_identity *identity)
{
    long long size;
    unsigned attributes;
    if (mmf_ask_section(section, &size, &attributes) && (attributes & SEC_FILE)) {
        void *view = MapViewOfFile(section, FILE_MAP_READ, 0, 0, 1);
        int done = view && mmf_identify_mapped(view, identity);
        if (view)
            UnmapViewOfFile(view);
        if (done)
            return;
    }
    *identity = (mmf_identity){0, mmf_name_of(section)};
}

HANDLE mmf_open_mapped(void *address, DWORD access)
{
    static const wchar_t root[] = L"\\\\?\\GLOBALROOT";
    enum { LONGEST = 32768, AHEAD = sizeof root / sizeof *root - 1 };
    wchar_t *path = malloc((AHEAD + LONGEST) * sizeof *path), *from = path;
    HANDLE file = INVALID_HANDLE_VALUE;
    if (path && K32GetMappedFileNameW(GetCurrentProcess(), address, path + AHEAD, LONGEST)) {
        if (wcsncmp(path + AHEAD, L"\\??\\", 4) == 0)
            (from = path + AHEAD)[1] = L'\\'; /* a path as programs have it, by the kernel's prefix */
        else
            wmemcpy(path, root, AHEAD);
        file = opened(from, access);
    }
    free(path);
    return file;
}

int mmf_identify_mapped(void *address, mmf_identity *identity) { return identify(mmf_open_mapped(address, 0), identity); }
