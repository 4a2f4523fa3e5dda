# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
"""What there is by name on Windows, and what it says, for who only looks: nothing is taken, and no handle is kept. Errors
are OSError with `winerror`."""
from libc.stddef cimport size_t, wchar_t
from libc.stdint cimport int64_t, uint32_t, uint64_t
from memorymapped._native.win32 cimport HANDLE, handle_of, number_of, refuse

cdef extern from "<windows.h>" nogil:
    int CloseHandle(HANDLE handle)
    uint32_t GetLastError()
    HANDLE OpenEventW(uint32_t access, int inherit, const wchar_t *name)
    HANDLE OpenSemaphoreW(uint32_t access, int inherit, const wchar_t *name)
    HANDLE OpenMutexW(uint32_t access, int inherit, const wchar_t *name)
    HANDLE OpenFileMappingW(uint32_t access, int inherit, const wchar_t *name)
    uint32_t FILE_MAP_READ, GENERIC_READ, FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_SHARE_DELETE, OPEN_EXISTING
    uint32_t FILE_ATTRIBUTE_NORMAL
    HANDLE INVALID_HANDLE_VALUE
    HANDLE CreateFileW(const wchar_t *path, uint32_t access, uint32_t share, void *security, uint32_t how, uint32_t flags,
                       HANDLE like)

cdef extern from "kernel.h" nogil:
    uint32_t mmf_ask_event(HANDLE event, int *manual, int *state)
    uint32_t mmf_ask_semaphore(HANDLE semaphore, int *count, int *maximum)
    uint32_t mmf_ask_mutex(HANDLE mutex, int *is_owned, int *was_abandoned, uint32_t *process, uint32_t *thread)

cdef extern from *:
    """
    #include <winternl.h>
    #include <psapi.h>
    #include <stdlib.h>

    /* -- a folder of names */

    typedef struct { UNICODE_STRING name, type; } mmf_entry; /* OBJECT_DIRECTORY_INFORMATION */

    static unsigned mmf_open_folder(wchar_t *path, HANDLE *folder)
    {
        typedef LONG (WINAPI *opening)(HANDLE *, ULONG, OBJECT_ATTRIBUTES *);
        UNICODE_STRING name = {(USHORT)(wcslen(path) * 2), (USHORT)(wcslen(path) * 2), path};
        OBJECT_ATTRIBUTES what = {.Length = sizeof what, .ObjectName = &name, .Attributes = OBJ_CASE_INSENSITIVE};
        return mmf_error_of(((opening)mmf_of_kernel("NtOpenDirectoryObject"))(folder, 1 /* DIRECTORY_QUERY */, &what));
    }
    /* The entry of this number, which becomes that of the next. ERROR_NO_MORE_ITEMS. */
    static unsigned mmf_next_entry(HANDLE folder, ULONG *number, mmf_entry *entry, unsigned size)
    {
        typedef LONG (WINAPI *query)(HANDLE, void *, ULONG, BOOLEAN, BOOLEAN, ULONG *, ULONG *);
        ULONG length;
        LONG status = ((query)mmf_of_kernel("NtQueryDirectoryObject"))(folder, entry, size, 1, 0, number, &length);
        return status == (LONG)0x8000001A ? ERROR_NO_MORE_ITEMS : mmf_error_of(status);
    }

    /* -- a section */

    enum { MMF_GRAIN = 65536 };
    /* A view from `at` on: where that byte is. NULL: GetLastError. */
    static char *mmf_look(HANDLE section, uint64_t at, size_t size, void **base)
    {
        uint64_t begin = at / MMF_GRAIN * MMF_GRAIN;
        *base = MapViewOfFile(section, FILE_MAP_READ, (DWORD)(begin >> 32), (DWORD)begin, (size_t)(at - begin) + size);
        return *base ? (char *)*base + (at - begin) : NULL;
    }
    /* Copies, with zeros for pages that are reserved and were never committed: to look commits none. Where a page cannot
     * be read, the system says so (ReadProcessMemory), and nothing is raised. 0, or the number of the error. */
    static unsigned mmf_read_section(HANDLE section, uint64_t at, char *into, size_t size)
    {
        unsigned error = 0;
        void *base;
        char *from = mmf_look(section, at, size, &base);
        if (!from)
            return GetLastError();
        while (size && !error) {
            MEMORY_BASIC_INFORMATION found;
            size_t part = size, done;
            if (VirtualQuery(from, &found, sizeof found)) {
                size_t rest = (size_t)((char *)found.BaseAddress + found.RegionSize - from);
                part = rest < size ? rest : size;
            }
            if (found.State != MEM_COMMIT)
                memset(into, 0, part);
            else if (!ReadProcessMemory(GetCurrentProcess(), from, into, part, &done))
                error = GetLastError();
            from += part, into += part, size -= part;
        }
        UnmapViewOfFile(base);
        return error;
    }
    /* From where to where the next committed pages lie. */
    static unsigned mmf_committed(HANDLE section, uint64_t *begin, uint64_t *end)
    {
        void *base;
        uint64_t at = *begin, last = *end;
        char *from = mmf_look(section, at, (size_t)(last - at), &base);
        MEMORY_BASIC_INFORMATION found;
        if (!from)
            return GetLastError();
        *begin = *end = last;
        while (at < last && VirtualQuery(from, &found, sizeof found)) {
            uint64_t part = (uint64_t)((char *)found.BaseAddress + found.RegionSize - from);
            if (found.State == MEM_COMMIT) {
                *begin = at;
                *end = at + part < last ? at + part : last;
                break;
            }
            from += part, at += part;
        }
        UnmapViewOfFile(base);
        return 0;
    }
    /* The path of the file that a section is of, by its volume; its length, 0: it cannot be had. */
    static unsigned mmf_file_of(HANDLE section, wchar_t *path, unsigned room)
    {
        void *view = MapViewOfFile(section, FILE_MAP_READ, 0, 0, 1);
        unsigned length = view ? GetMappedFileNameW(GetCurrentProcess(), view, path, room) : 0;
        if (view)
            UnmapViewOfFile(view);
        return length;
    }

    /* -- bytes of files and pipes */

    static unsigned mmf_read_file(HANDLE file, uint64_t at, void *into, unsigned size, unsigned *done)
    {
        OVERLAPPED where = {.Offset = (DWORD)at, .OffsetHigh = (DWORD)(at >> 32)};
        DWORD count = 0;
        unsigned error = ReadFile(file, into, size, &count, &where) ? 0 : GetLastError();
        *done = count;
        return error == ERROR_HANDLE_EOF ? 0 : error;
    }
    static unsigned mmf_write_file(HANDLE file, uint64_t at, const void *from, unsigned size, unsigned *done)
    {
        OVERLAPPED where = {.Offset = (DWORD)at, .OffsetHigh = (DWORD)(at >> 32)};
        DWORD count = 0;
        unsigned error = WriteFile(file, from, size, &count, &where) ? 0 : GetLastError();
        *done = count;
        return error;
    }
    /* FilePipeLocalInformation: whether nobody has the other end any more. */
    static int mmf_is_forsaken(HANDLE pipe)
    {
        struct { ULONG type, configuration, most, instances, in, read, out, write, state, end; } told = {0};
        IO_STATUS_BLOCK block;
        typedef LONG (WINAPI *query)(HANDLE, IO_STATUS_BLOCK *, void *, ULONG, int);
        LONG status = ((query)mmf_of_kernel("NtQueryInformationFile"))(pipe, &block, &told, sizeof told, 24);
        return status >= 0 ? told.state != 3 /* FILE_PIPE_CONNECTED_STATE */ : status == (LONG)0xC000014B;
    }
    static unsigned mmf_waiting(HANDLE pipe, unsigned *count)
    {
        DWORD there = 0;
        unsigned error = PeekNamedPipe(pipe, NULL, 0, NULL, &there, NULL) ? 0 : GetLastError();
        *count = there;
        return error;
    }
    """
    ctypedef struct Text "UNICODE_STRING":
        unsigned short Length
        wchar_t *Buffer
    ctypedef struct Entry "mmf_entry":
        Text name
        Text type
    uint32_t ERROR_NO_MORE_ITEMS
    uint32_t mmf_open_folder(wchar_t *path, HANDLE *folder) nogil
    uint32_t mmf_next_entry(HANDLE folder, uint32_t *number, Entry *entry, uint32_t size) nogil
    uint32_t mmf_read_section(HANDLE section, uint64_t at, char *into, size_t size) nogil
    uint32_t mmf_committed(HANDLE section, uint64_t *begin, uint64_t *end) nogil
    uint32_t mmf_file_of(HANDLE section, wchar_t *path, uint32_t room) nogil
    uint32_t mmf_read_file(HANDLE file, uint64_t at, void *into, uint32_t size, uint32_t *done) nogil
    uint32_t mmf_write_file(HANDLE file, uint64_t at, const void *source, uint32_t size, uint32_t *done) nogil
    int mmf_is_forsaken(HANDLE pipe) nogil
    uint32_t mmf_waiting(HANDLE pipe, uint32_t *count) nogil
    uint32_t QueryDosDeviceW(const wchar_t *device, wchar_t *path, uint32_t room) nogil

cdef extern from "Python.h":
    wchar_t *PyUnicode_AsWideCharString(object text, Py_ssize_t *size) except NULL
    void PyMem_Free(void *memory)
    object PyUnicode_FromWideChar(const wchar_t *text, Py_ssize_t size)

cdef enum:
    QUERY = 1  # MUTANT_QUERY_STATE, EVENT_QUERY_STATE, SEMAPHORE_QUERY_STATE


cdef HANDLE opened(str kind, name, uint32_t access) except NULL:
    cdef wchar_t *text = PyUnicode_AsWideCharString(name, NULL)
    cdef HANDLE handle
    cdef uint32_t error
    if kind == "Section":
        handle = OpenFileMappingW(access, False, text)
    elif kind == "Mutant":
        handle = OpenMutexW(access, False, text)
    elif kind == "Event":
        handle = OpenEventW(access, False, text)
    else:
        handle = OpenSemaphoreW(access, False, text)
    error = GetLastError()
    PyMem_Free(text)
    if handle == NULL:
        refuse(error, name)
    return handle


def names_in(folder, /):
    """(name, kind: "Section", "Mutant" and so on) of each object in a folder of the kernel's. OSError."""
    cdef wchar_t *path = PyUnicode_AsWideCharString(folder, NULL)
    cdef HANDLE handle = NULL
    cdef uint32_t error = mmf_open_folder(path, &handle)
    cdef uint32_t number = 0
    cdef Entry *entry
    PyMem_Free(path)
    if error:
        refuse(error, folder)
    room = bytearray(0x20100)
    entry = <Entry *><char *>room
    found = []
    try:
        while True:
            error = mmf_next_entry(handle, &number, entry, 0x20100)
            if error == ERROR_NO_MORE_ITEMS:
                return found
            if error:
                refuse(error, folder)
            found.append((PyUnicode_FromWideChar(entry.name.Buffer, entry.name.Length // 2),
                          PyUnicode_FromWideChar(entry.type.Buffer, entry.type.Length // 2)))
    finally:
        CloseHandle(handle)


def ask(kind, name, /):
    """What an object says, which is not taken by that: of an "Event" (is it reset by hand, is it set), of a "Semaphore"
    (count, maximum), of a "Mutant" (is it owned, was it abandoned, process of its owner or 0). OSError."""
    cdef HANDLE handle = opened(kind, name, QUERY)
    cdef uint32_t error, process = 0, thread
    cdef int one, other
    if kind == "Mutant":
        error = mmf_ask_mutex(handle, &one, &other, &process, &thread)
    elif kind == "Event":
        error = mmf_ask_event(handle, &one, &other)
    else:
        error = mmf_ask_semaphore(handle, &one, &other)
    CloseHandle(handle)
    if error:
        refuse(error, name)
    if kind == "Mutant":
        return bool(one), bool(other), process
    return (bool(one), bool(other)) if kind == "Event" else (one, other)


def read_section(name, uint64_t at, unsigned char[::1] into, /):
    """Reads the bytes of a section that are wanted, all of which it must have. OSError."""
    cdef HANDLE handle
    cdef uint32_t error
    cdef char *start
    cdef size_t size = into.shape[0]
    if not size:
        return
    handle = opened("Section", name, FILE_MAP_READ)
    start = <char *>&into[0]
    with nogil:
        error = mmf_read_section(handle, at, start, size)
        CloseHandle(handle)
    if error:
        refuse(error, name)


def committed_range(name, uint64_t begin, uint64_t end, /):
    """From where to where the next committed pages of these bytes lie: `(end, end)` if there are none. OSError."""
    cdef HANDLE handle = opened("Section", name, FILE_MAP_READ)
    cdef uint32_t error
    with nogil:
        error = mmf_committed(handle, &begin, &end)
        CloseHandle(handle)
    if error:
        refuse(error, name)
    return begin, end


def file_of_section(name, /):
    """The path of the file that a section is of; None if it cannot be had."""
    cdef HANDLE handle
    cdef wchar_t path[0x8000]
    cdef wchar_t volume[0x400]
    cdef wchar_t drive[3]
    cdef uint32_t length
    try:
        handle = opened("Section", name, FILE_MAP_READ)
    except OSError:
        return None
    with nogil:
        length = mmf_file_of(handle, path, 0x8000)
        CloseHandle(handle)
    found = PyUnicode_FromWideChar(path, length)
    drive[1], drive[2] = ord(":"), 0
    for letter in range(ord("A"), ord("Z") + 1):
        drive[0] = letter
        length = QueryDosDeviceW(drive, volume, 0x400)
        if length:
            device = PyUnicode_FromWideChar(volume, length).partition("\0")[0]
            if found.startswith(device + "\\"):
                return f"{chr(letter)}:{found[len(device):]}"
    return found.removeprefix("\\??\\") or None


def open_to_look(path, /):
    """A handle of a file for reading, which others may write, rename and remove meanwhile. OSError."""
    cdef wchar_t *text = PyUnicode_AsWideCharString(path, NULL)
    cdef HANDLE handle
    cdef uint32_t error
    with nogil:
        handle = CreateFileW(text, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                             FILE_ATTRIBUTE_NORMAL, NULL)
        error = GetLastError()
    PyMem_Free(text)
    if handle == INVALID_HANDLE_VALUE:
        refuse(error, path)
    return number_of(handle)


def read_file(int64_t file, uint64_t at, unsigned char[::1] into, /):
    """Reads what there is at a place, up to so many bytes: how many it were. OSError."""
    cdef uint32_t done = 0
    cdef uint32_t error
    cdef uint32_t size = <uint32_t>min(into.shape[0], 1 << 30)
    cdef void *start
    if not size:
        return 0
    start = &into[0]
    with nogil:
        error = mmf_read_file(handle_of(file), at, start, size, &done)
    if error:
        refuse(error, None)
    return done


def write_file(int64_t file, uint64_t at, const unsigned char[::1] source, /):
    """Writes at a place: how many bytes. OSError."""
    cdef uint32_t done = 0
    cdef uint32_t error
    cdef uint32_t size = <uint32_t>min(source.shape[0], 1 << 30)
    cdef const void *start
    if not size:
        return 0
    start = &source[0]
    with nogil:
        error = mmf_write_file(handle_of(file), at, start, size, &done)
    if error:
        refuse(error, None)
    return done


def is_forsaken(int64_t pipe, /):
    """Whether nobody has the other end of a pipe any more. What is no pipe never is."""
    return bool(mmf_is_forsaken(handle_of(pipe)))


def is_readable(int64_t pipe, /):
    """Whether there is something to read from a pipe, or its end."""
    cdef uint32_t count
    return mmf_waiting(handle_of(pipe), &count) != 0 or count > 0
