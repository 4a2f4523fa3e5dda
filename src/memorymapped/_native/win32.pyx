# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
"""Sections and files of Windows, which maps are made of, and their handles. Errors are OSError with `winerror`.

A handle is an int here. It has 32 bits that mean something, so the high ones of an upper half are another's (guard.h)."""
from os import urandom

from libc.stddef cimport size_t, wchar_t
from libc.stdlib cimport free, malloc
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "<windows.h>" nogil:
    ctypedef struct SECURITY_ATTRIBUTES:
        uint32_t nLength
        void *lpSecurityDescriptor
        int bInheritHandle
    ctypedef struct MEMORY_BASIC_INFORMATION:
        void *AllocationBase
        size_t RegionSize
    HANDLE CreateFileMappingW(HANDLE file, SECURITY_ATTRIBUTES *security, uint32_t protection, uint32_t high, uint32_t low,
                              const wchar_t *name)
    HANDLE OpenFileMappingW(uint32_t access, int inherit, const wchar_t *name)
    void *MapViewOfFile(HANDLE section, uint32_t access, uint32_t high, uint32_t low, size_t length)
    int UnmapViewOfFile(const void *address)
    size_t VirtualQuery(const void *address, MEMORY_BASIC_INFORMATION *found, size_t size)
    HANDLE CreateFileW(const wchar_t *path, uint32_t access, uint32_t share, SECURITY_ATTRIBUTES *security, uint32_t how,
                       uint32_t flags, HANDLE like)
    uint32_t GetFileType(HANDLE file)
    uint32_t GetFinalPathNameByHandleW(HANDLE file, wchar_t *path, uint32_t size, uint32_t how)
    int GetDiskFreeSpaceExW(const wchar_t *folder, uint64_t *free, uint64_t *size, uint64_t *all_free)
    ctypedef struct MEMORYSTATUSEX:
        uint32_t dwLength
        unsigned long long ullAvailPageFile
    int GlobalMemoryStatusEx(MEMORYSTATUSEX *status)
    void *LocalFree(void *memory)
    int CloseHandle(HANDLE handle)
    int DuplicateHandle(HANDLE process, HANDLE source, HANDLE target, HANDLE *new, uint32_t access, int inherit,
                        uint32_t options)
    HANDLE GetCurrentProcess()
    uint32_t GetLastError()
    void SetLastError(uint32_t error)
    uint32_t DUPLICATE_SAME_ACCESS, ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, FILE_TYPE_DISK, FILE_SHARE_READ
    uint32_t FILE_SHARE_WRITE, FILE_ATTRIBUTE_NORMAL, OPEN_EXISTING, CREATE_NEW
    HANDLE INVALID_HANDLE_VALUE
    uint32_t _PAGE_READONLY "PAGE_READONLY"
    uint32_t _PAGE_READWRITE "PAGE_READWRITE"
    uint32_t _PAGE_WRITECOPY "PAGE_WRITECOPY"
    uint32_t _PAGE_EXECUTE_READ "PAGE_EXECUTE_READ"
    uint32_t _PAGE_EXECUTE_READWRITE "PAGE_EXECUTE_READWRITE"
    uint32_t _SEC_RESERVE "SEC_RESERVE"
    uint32_t _FILE_MAP_COPY "FILE_MAP_COPY"
    uint32_t _FILE_MAP_READ "FILE_MAP_READ"
    uint32_t _FILE_MAP_WRITE "FILE_MAP_WRITE"
    uint32_t _GENERIC_READ "GENERIC_READ"
    uint32_t _GENERIC_WRITE "GENERIC_WRITE"
    uint32_t _GENERIC_EXECUTE "GENERIC_EXECUTE"
    uint32_t _READ_CONTROL "READ_CONTROL"
    uint32_t _WRITE_DAC "WRITE_DAC"
    uint32_t _WRITE_OWNER "WRITE_OWNER"

cdef extern from *:
    """
    #include <windows.h>
    #include <sddl.h>
    """
    int ConvertStringSecurityDescriptorToSecurityDescriptorW(const wchar_t *text, uint32_t revision, void **descriptor,
                                                             uint32_t *size) nogil

cdef extern from "kernel.h" nogil:
    uint32_t mmf_asked(const char *function, HANDLE handle, int what, void *told, uint32_t size)
    int mmf_ask_section(HANDLE section, long long *size, unsigned int *attributes)

cdef extern from *:
    """
    static unsigned long long mmf_boot_time(void)
    {
        struct { LARGE_INTEGER boot, now, zone; ULONG id, nothing; ULONGLONG bias, sleep; } told = {{{0}}};
        typedef LONG (WINAPI *query)(int, void *, ULONG, ULONG *);
        query ask = (query)mmf_of_kernel("NtQuerySystemInformation");
        if (!ask || ask(3 /* SystemTimeOfDayInformation */, &told, sizeof told, NULL) < 0)
            return 0;
        /* Who sets the clock moves the time of the boot with it: the bias is what all those have been. */
        return told.boot.QuadPart - told.bias;
    }
    /* Its length; 0 if the system does not tell. */
    static unsigned mmf_command_line(HANDLE process, void *room, unsigned size, wchar_t **text)
    {
        typedef LONG (WINAPI *query)(HANDLE, int, void *, ULONG, ULONG *);
        struct { USHORT bytes, most; wchar_t *text; } *told = room;
        query ask = (query)mmf_of_kernel("NtQueryInformationProcess");
        if (!ask || ask(process, 60 /* ProcessCommandLineInformation */, room, size, NULL) < 0)
            return 0;
        *text = told->text;
        return told->bytes / sizeof(wchar_t);
    }
    #define mmf_process_times(handle, a, b, c, d) GetProcessTimes(handle, (FILETIME *)a, (FILETIME *)b, (FILETIME *)c, (FILETIME *)d)
    """
    uint64_t mmf_boot_time()
    uint32_t mmf_command_line(HANDLE process, void *room, uint32_t size, wchar_t **text)
    int GetProcessTimes "mmf_process_times"(HANDLE process, uint64_t *began, uint64_t *ended, uint64_t *kernel, uint64_t *user)

cdef extern from "<windows.h>" nogil:
    uint32_t PROCESS_QUERY_LIMITED_INFORMATION, STILL_ACTIVE
    HANDLE OpenProcess(uint32_t access, int inherit, uint32_t process)
    int GetExitCodeProcess(HANDLE process, uint32_t *code)
    int QueryFullProcessImageNameW(HANDLE process, uint32_t flags, wchar_t *path, uint32_t *size)

cdef extern from "views.h" nogil:
    ctypedef struct mmf_identity:
        uint64_t device
        uint64_t inode
    void mmf_identify(HANDLE section, mmf_identity *identity)
    int mmf_identify_file(HANDLE file, mmf_identity *identity)
    int mmf_identify_path(const wchar_t *path, mmf_identity *identity)

cdef extern from "Python.h":
    wchar_t *PyUnicode_AsWideCharString(object text, Py_ssize_t *size) except NULL
    void PyMem_Free(void *memory)
    object PyUnicode_FromWideChar(const wchar_t *text, Py_ssize_t size)
    bytes PyBytes_FromStringAndSize(const char *bytes, Py_ssize_t size)
    char *PyBytes_AS_STRING(bytes object)

PAGE_READONLY, PAGE_READWRITE, PAGE_WRITECOPY = _PAGE_READONLY, _PAGE_READWRITE, _PAGE_WRITECOPY
PAGE_EXECUTE_READ, PAGE_EXECUTE_READWRITE = _PAGE_EXECUTE_READ, _PAGE_EXECUTE_READWRITE
SEC_RESERVE = _SEC_RESERVE
FILE_MAP_COPY, FILE_MAP_READ, FILE_MAP_WRITE = _FILE_MAP_COPY, _FILE_MAP_READ, _FILE_MAP_WRITE
GENERIC_READ, GENERIC_WRITE, GENERIC_EXECUTE = _GENERIC_READ, _GENERIC_WRITE, _GENERIC_EXECUTE
READ_CONTROL, WRITE_DAC, WRITE_OWNER = _READ_CONTROL, _WRITE_DAC, _WRITE_OWNER


HIDDEN = "memorymapped-unnamed-"
"""How the names begin that nobody knows."""


cdef enum:
    QUERY = 1  # SECTION_QUERY
    OF_FILE = 0x800000  # SEC_FILE
    BASIC = 0  # of NtQueryObject
    NAME = 1
    TYPE = 2

cdef struct Text:  # UNICODE_STRING
    unsigned short length
    unsigned short room
    wchar_t *text


cdef class Security:
    """SECURITY_ATTRIBUTES: whether children inherit the handle, and the descriptor of what is made, as SDDL says it (None:
    that of the process). ValueError if that is no SDDL."""

    cdef SECURITY_ATTRIBUTES attributes

    def __cinit__(self, bint inheritable, sddl):
        cdef wchar_t *text
        cdef int done
        self.attributes.nLength = sizeof(self.attributes)
        self.attributes.bInheritHandle = inheritable
        if sddl is not None:
            text = PyUnicode_AsWideCharString(sddl, NULL)
            done = ConvertStringSecurityDescriptorToSecurityDescriptorW(text, 1, &self.attributes.lpSecurityDescriptor, NULL)
            PyMem_Free(text)
            if not done:
                raise ValueError(f"{sddl!r} is no security descriptor in SDDL")

    def __dealloc__(self):
        if self.attributes.lpSecurityDescriptor != NULL:
            LocalFree(self.attributes.lpSecurityDescriptor)


def create_section(name, int64_t file, uint32_t protection, int64_t size, bint inheritable, sddl=None, /):
    """CreateFileMapping: (handle, whether one of this name existed, which this then is a handle of). `name` None: unnamed;
    `file` -1: memory; `size` 0: that of the file; `sddl`: whom a new one allows what. OSError, ValueError.

    Memory without a name gets one that nobody knows, by which all who have a handle find its channels (sleeping.h); and
    nobody else may open it by that, though the kernel shows it."""
    cdef bint is_hidden = name is None and file == -1
    cdef Security security = Security(inheritable, "D:P" if is_hidden and sddl is None else sddl)
    cdef wchar_t *text = NULL
    cdef HANDLE handle
    cdef uint32_t error
    cdef object known = name
    if is_hidden:
        known = "Local\\" + HIDDEN + urandom(16).hex()
    if known is not None:
        text = PyUnicode_AsWideCharString(known, NULL)
    with nogil:
        SetLastError(0)
        handle = CreateFileMappingW(handle_of(file), &security.attributes, protection, <uint32_t>(size >> 32),
                                    <uint32_t>size, text)
        error = GetLastError()
    if text != NULL:
        PyMem_Free(text)
    if handle == NULL:
        refuse(error, name)
    return number_of(handle), error == ERROR_ALREADY_EXISTS


def open_section(name, uint32_t access, bint inheritable, /):
    """OpenFileMapping with these rights (FILE_MAP_READ and the like), and if it can be had the one to ask for the size: a
    handle. OSError."""
    cdef wchar_t *text = PyUnicode_AsWideCharString(name, NULL)
    cdef HANDLE handle
    cdef uint32_t error
    with nogil:
        handle = OpenFileMappingW(access | QUERY, inheritable, text)
        if handle == NULL and GetLastError() == ERROR_ACCESS_DENIED:
            handle = OpenFileMappingW(access, inheritable, text)
        error = GetLastError()
    PyMem_Free(text)
    if handle == NULL:
        refuse(error, name)
    return number_of(handle)


def section_size(int64_t section, uint32_t access, /):
    """The bytes of a section: exactly those of a file, whole pages of memory. `access`: one that the handle allows, if it
    does not allow to ask. Then it is whole pages too. OSError."""
    cdef MEMORY_BASIC_INFORMATION found
    cdef size_t size = 0
    cdef uint32_t error
    cdef char *base
    cdef long long exact
    cdef unsigned int attributes
    if mmf_ask_section(handle_of(section), &exact, &attributes):
        return exact
    with nogil:
        base = <char *>MapViewOfFile(handle_of(section), access, 0, 0, 0)
        error = GetLastError()
        if base != NULL:
            # A reserved section of which some pages are committed has several regions.
            while VirtualQuery(base + size, &found, sizeof(found)) and found.AllocationBase == base:
                size += found.RegionSize
            UnmapViewOfFile(base)
    if base == NULL:
        refuse(error, None)
    return size


def is_of_file(int64_t section, /):
    """Whether a section is of a file; also if that cannot be asked for."""
    cdef long long size
    cdef unsigned int attributes
    return not mmf_ask_section(handle_of(section), &size, &attributes) or bool(attributes & OF_FILE)


def create_file(path, uint32_t access, bint new, bint inheritable, sddl=None, /):
    """CreateFile: a handle with this access to a file that this call makes (`new`) or that is there. Others may read and
    write it meanwhile. OSError, ValueError."""
    cdef Security security = Security(inheritable, sddl)
    cdef wchar_t *text = PyUnicode_AsWideCharString(path, NULL)
    cdef HANDLE handle
    cdef uint32_t error
    with nogil:
        handle = CreateFileW(text, access, FILE_SHARE_READ | FILE_SHARE_WRITE, &security.attributes,
                             CREATE_NEW if new else OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL)
        error = GetLastError()
    PyMem_Free(text)
    if handle == INVALID_HANDLE_VALUE:
        refuse(error, path)
    return number_of(handle)


cdef int told(int64_t handle, int what, void *answer, uint32_t size) except -1:
    cdef uint32_t error = mmf_asked("NtQueryObject", handle_of(handle), what, answer, size)
    if error:
        refuse(error, None)
    return 0


def kind_of(int64_t handle, /):
    """What a handle is of: "Section", "File", "Mutant" and so on. OSError."""
    cdef char answer[1024]
    told(handle, TYPE, answer, sizeof(answer))
    return PyUnicode_FromWideChar((<Text *>answer).text, (<Text *>answer).length // 2)


def rights_of(int64_t handle, /):
    """The rights that a handle was given. OSError."""
    cdef uint32_t answer[14]  # PUBLIC_OBJECT_BASIC_INFORMATION
    told(handle, BASIC, answer, sizeof(answer))
    return answer[1]


def name_of(int64_t handle, /):
    """The full name that the kernel has for a handle's object; "" if it has none. OSError."""
    room = bytearray(0x10100)
    cdef char *answer = room
    told(handle, NAME, answer, 0x10100)
    return PyUnicode_FromWideChar((<Text *>answer).text, (<Text *>answer).length // 2)


def is_disk_file(int64_t handle, /):
    """Whether the handle of a file is of one on a disk: no pipe, no console."""
    return GetFileType(handle_of(handle)) == FILE_TYPE_DISK


def path_of(int64_t file, /):
    """The path of the file of a handle; None if it has none any more, or never had."""
    cdef wchar_t path[0x8000]
    cdef uint32_t size = GetFinalPathNameByHandleW(handle_of(file), path, 0x8000, 0)
    return PyUnicode_FromWideChar(path, size) if 0 < size < 0x8000 else None


def read_section(int64_t section, size_t position, size_t size, /):
    """Bytes of a section, which must be there. OSError."""
    cdef const char *base = map_all(section, _FILE_MAP_READ)
    try:
        return PyBytes_FromStringAndSize(base + position, size)
    finally:
        UnmapViewOfFile(base)


def write_section(int64_t section, size_t position, bytes data, /):
    """Writes bytes to a section, where there must be room. OSError."""
    cdef char *base = map_all(section, _FILE_MAP_WRITE)
    memcpy(base + position, PyBytes_AS_STRING(data), len(data))
    UnmapViewOfFile(base)


cdef char *map_all(int64_t section, uint32_t access) except NULL:
    cdef char *base = <char *>MapViewOfFile(handle_of(section), access, 0, 0, 0)
    if base == NULL:
        refuse(GetLastError(), None)
    return base


def available():
    """How many bytes of memory the system can still give."""
    cdef MEMORYSTATUSEX status
    status.dwLength = sizeof(status)
    return status.ullAvailPageFile if GlobalMemoryStatusEx(&status) else 0


def free_space(folder, /):
    """How many bytes this user can still have on the disk of a folder; None if the system does not tell."""
    cdef wchar_t *text = PyUnicode_AsWideCharString(folder, NULL)
    cdef uint64_t found = 0
    cdef int done
    with nogil:
        done = GetDiskFreeSpaceExW(text, &found, NULL, NULL)
    PyMem_Free(text)
    return found if done else None


def identity(int64_t section, /):
    """(device, inode) of what a section is of, the same in all processes: a file's; or 0 and a number made of its name,
    which is 0 if it has none."""
    cdef mmf_identity found
    with nogil:
        mmf_identify(handle_of(section), &found)
    return found.device, found.inode


def identity_of_file(int64_t file, /):
    """(device, inode) of an open file. OSError."""
    cdef mmf_identity found
    cdef int done
    cdef uint32_t error
    with nogil:
        done = mmf_identify_file(handle_of(file), &found)
        error = GetLastError()
    if not done:
        refuse(error, None)
    return found.device, found.inode


def identity_of_path(path, /):
    """(device, inode) of what a path leads to, a folder too. OSError."""
    cdef wchar_t *text = PyUnicode_AsWideCharString(path, NULL)
    cdef mmf_identity found
    cdef int done
    cdef uint32_t error
    with nogil:
        done = mmf_identify_path(text, &found)
        error = GetLastError()
    PyMem_Free(text)
    if not done:
        refuse(error, path)
    return found.device, found.inode


def close_handle(int64_t handle, /):
    """CloseHandle. OSError."""
    cdef int done
    cdef uint32_t error
    with nogil:
        done = CloseHandle(handle_of(handle))
        error = GetLastError()
    if not done:
        refuse(error, None)


def duplicate_handle(int64_t handle, bint inheritable, /):
    """Another handle of this process with the same rights. OSError."""
    cdef HANDLE new = NULL
    if not DuplicateHandle(GetCurrentProcess(), handle_of(handle), GetCurrentProcess(), &new, 0, inheritable,
                           DUPLICATE_SAME_ACCESS):
        refuse(GetLastError(), None)
    return number_of(new)


def process_told(uint32_t process, /):
    """(its command line, or the path of its program, when the process began, in 100 ns since 1601) of a process that runs;
    None if there is none, or the system does not tell."""
    cdef HANDLE handle = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, False, process)
    cdef uint64_t times[4]
    cdef uint32_t code, size = 0x10100  # more than the longest there can be
    cdef wchar_t *text
    cdef void *room
    if handle == NULL:
        return None
    room = malloc(size)
    try:
        if (room == NULL or not GetExitCodeProcess(handle, &code) or code != STILL_ACTIVE
                or not GetProcessTimes(handle, &times[0], &times[1], &times[2], &times[3])):
            return None
        size = mmf_command_line(handle, room, size, &text)
        if size == 0:
            text, size = <wchar_t *>room, 0x8000
            if not QueryFullProcessImageNameW(handle, 0, text, &size):
                return None
        return PyUnicode_FromWideChar(text, size), times[0]
    finally:
        free(room)
        CloseHandle(handle)


cdef extern from "sleeping.h":
    void mmf_interrupt_by(void *event)

cdef extern from "Python.h":
    int _PyOS_IsMainThread()
    void *_PyOS_SigintEvent()

if _PyOS_IsMainThread():  # else Ctrl-C is seen at the next look
    mmf_interrupt_by(_PyOS_SigintEvent())


def boot_time():
    """When the machine was started, in 100 ns since 1601; 0 if the system does not tell."""
    return mmf_boot_time()
