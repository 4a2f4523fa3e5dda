/* SPDX-License-Identifier: MIT
 * A C program, as old ones are, that does with maps what it is told, one step a line of words between tabs: see maps.cs.
 * It answers "=value", or "!" and the number of the error. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

static HANDLE map;
static char *view;

static int failed(void)
{
    printf("!%lu\n", GetLastError());
    return 0;
}

static int said(long long value)
{
    printf("=%lld\n", value);
    return 0;
}

static int done(char **word)
{
    wchar_t name[4096];
    if (!strcmp(word[0], "create") || !strcmp(word[0], "create_or_open") || !strcmp(word[0], "open")) {
        MultiByteToWideChar(CP_UTF8, 0, word[1], -1, name, 4096);
        if (!strcmp(word[0], "open")) {
            map = OpenFileMappingW((DWORD)atoi(word[2]), FALSE, name);
            return map ? said(0) : failed();
        }
        map = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, (DWORD)atoi(word[2]), name);
        if (map && GetLastError() == ERROR_ALREADY_EXISTS && !strcmp(word[0], "create")) {
            CloseHandle(map);
            SetLastError(ERROR_ALREADY_EXISTS);
            map = NULL;
        }
        return map ? said(0) : failed();
    }
    if (!strcmp(word[0], "view")) {
        MEMORY_BASIC_INFORMATION found;
        view = MapViewOfFile(map, (DWORD)atoi(word[3]), 0, (DWORD)atoi(word[1]), (SIZE_T)atoi(word[2]));
        return view && VirtualQuery(view, &found, sizeof found) ? said((long long)found.RegionSize) : failed();
    }
    if (!strcmp(word[0], "read"))
        return said(*(int32_t *)(view + atoi(word[1])));
    if (!strcmp(word[0], "write")) {
        *(int32_t *)(view + atoi(word[1])) = atoi(word[2]);
        return said(0);
    }
    if (!strcmp(word[0], "close")) {
        UnmapViewOfFile(view);
        return CloseHandle(map) ? said(0) : failed();
    }
    return failed();
}

int wmain(void)
{
    char line[8192], *word[4];
    while (fgets(line, sizeof line, stdin)) {
        int count = 0;
        for (char *at = strtok(line, "\t\r\n"); at && count < 4; at = strtok(NULL, "\t\r\n"))
            word[count++] = at;
        done(word);
        fflush(stdout);
    }
    return 0;
}
