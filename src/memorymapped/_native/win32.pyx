# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
"""Sections of Windows, which maps are made of, and their handles. Errors are OSError with `winerror`.

A handle is an int here. It has 32 bits that mean something, so the high ones of an upper half are another's (guard.h)."""

from libc.stddef cimport size_t, wchar_t
from libc.stdint cimport int32_t, int64_t, intptr_t, uint32_t
from libc.string cimport memset

cdef extern from "<windows.h>" nogil:
    ctypedef void *HANDLE
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
    int CloseHandle(HANDLE handle)
    int DuplicateHandle(HANDLE process, HANDLE source, HANDLE target, HANDLE *new, uint32_t access, int inherit,
                        uint32_t options)
    HANDLE GetCurrentProcess()
    uint32_t GetLastError()
    void SetLastError(uint32_t error)
    uint32_t DUPLICATE_SAME_ACCESS, ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS
    uint32_t _PAGE_READONLY "PAGE_READONLY"
    uint32_t _PAGE_READWRITE "PAGE_READWRITE"
    uint32_t _PAGE_WRITECOPY "PAGE_WRITECOPY"
    uint32_t _PAGE_EXECUTE_READ "PAGE_EXECUTE_READ"
    uint32_t _PAGE_EXECUTE_READWRITE "PAGE_EXECUTE_READWRITE"
    uint32_t _SEC_RESERVE "SEC_RESERVE"
    uint32_t _FILE_MAP_COPY "FILE_MAP_COPY"
    uint32_t _FILE_MAP_READ "FILE_MAP_READ"
    uint32_t _FILE_MAP_WRITE "FILE_MAP_WRITE"
    uint32_t _FILE_MAP_EXECUTE "FILE_MAP_EXECUTE"

cdef extern from *:
    """
    #include <windows.h>
    /* SectionBasicInformation. Exact for a section of a file; a function of the kernel's that has no import here. */
    static int mmf_section_size(HANDLE section, long long *size)
    {
        struct { void *base; ULONG attributes; LARGE_INTEGER size; } found;
        typedef LONG (WINAPI *query)(HANDLE, int, void *, size_t, size_t *);
        query ask = (query)(void *)GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "NtQuerySection");
        if (!ask || ask(section, 0, &found, sizeof found, NULL) < 0)
            return 0;
        *size = found.size.QuadPart;
        return 1;
    }
    """
    int mmf_section_size(HANDLE section, long long *size) nogil

cdef extern from "Python.h":
    wchar_t *PyUnicode_AsWideCharString(object text, Py_ssize_t *size) except NULL
    void PyMem_Free(void *memory)
    object PyErr_SetExcFromWindowsErrWithFilenameObject(object kind, int error, object name)

PAGE_READONLY, PAGE_READWRITE, PAGE_WRITECOPY = _PAGE_READONLY, _PAGE_READWRITE, _PAGE_WRITECOPY
PAGE_EXECUTE_READ, PAGE_EXECUTE_READWRITE = _PAGE_EXECUTE_READ, _PAGE_EXECUTE_READWRITE
SEC_RESERVE = _SEC_RESERVE
FILE_MAP_COPY, FILE_MAP_READ, FILE_MAP_WRITE = _FILE_MAP_COPY, _FILE_MAP_READ, _FILE_MAP_WRITE
FILE_MAP_EXECUTE = _FILE_MAP_EXECUTE


cdef enum:
    QUERY = 1  # SECTION_QUERY


cdef int refuse(uint32_t error, object name) except -1:
    PyErr_SetExcFromWindowsErrWithFilenameObject(OSError, error, name)
    return -1


cdef HANDLE handle_of(int64_t number) noexcept nogil:
    return <HANDLE><intptr_t>number


cdef int32_t number_of(HANDLE handle) noexcept nogil:
    return <int32_t><intptr_t>handle


def create_section(name, int64_t file, uint32_t protection, int64_t size, bint inheritable, /):
    """CreateFileMapping: (handle, whether one of this name existed, which this then is a handle of). `name` None: unnamed;
    `file` -1: memory; `size` 0: that of the file. OSError."""
    cdef SECURITY_ATTRIBUTES security
    cdef wchar_t *text = NULL
    cdef HANDLE handle
    cdef uint32_t error
    memset(&security, 0, sizeof(security))
    security.nLength = sizeof(security)
    security.bInheritHandle = inheritable
    if name is not None:
        text = PyUnicode_AsWideCharString(name, NULL)
    with nogil:
        SetLastError(0)
        handle = CreateFileMappingW(handle_of(file), &security, protection, <uint32_t>(size >> 32), <uint32_t>size, text)
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
    if mmf_section_size(handle_of(section), &exact):
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
