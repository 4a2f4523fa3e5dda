# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
"""Security descriptors of Windows: who owns an object, and its list of who may do what with it.

A SID is its text here (S-1-5-...). A descriptor is (owner, group, entries): SIDs or None, and a list of (type, flags, mask,
SID), or None where there is no list, which allows everything to everybody. Errors are OSError with `winerror`."""

from libc.stddef cimport size_t, wchar_t
from libc.stdint cimport int64_t, uint8_t, uint32_t
from memorymapped._native.win32 cimport HANDLE, handle_of, refuse

cdef extern from "<windows.h>" nogil:
    int ERROR_INSUFFICIENT_BUFFER, TokenUser, TokenPrimaryGroup, TOKEN_QUERY
    int OpenProcessToken(HANDLE process, uint32_t access, HANDLE *token)
    int GetTokenInformation(HANDLE token, int what, void *told, uint32_t size, uint32_t *needed)
    int CloseHandle(HANDLE handle)
    HANDLE GetCurrentProcess()
    uint32_t GetLastError()
    void *LocalFree(void *memory)
    int LookupAccountNameW(const wchar_t *system, const wchar_t *name, void *sid, uint32_t *size, wchar_t *domain,
                           uint32_t *domain_size, int *kind)
    int LookupAccountSidW(const wchar_t *system, void *sid, wchar_t *name, uint32_t *size, wchar_t *domain,
                          uint32_t *domain_size, int *kind)

cdef extern from *:
    """
    #include <windows.h>
    #include <aclapi.h>
    #include <sddl.h>
    /* The parts of an entry, of all kinds that have a mask and a SID at the same places. */
    static int mmf_entry(ACL *list, unsigned i, unsigned *type, unsigned *flags, unsigned *mask, void **sid)
    {
        ACCESS_ALLOWED_ACE *entry;
        if (!GetAce(list, i, (void **)&entry) || entry->Header.AceType > SYSTEM_AUDIT_ACE_TYPE)
            return 0;
        *type = entry->Header.AceType;
        *flags = entry->Header.AceFlags;
        *mask = entry->Mask;
        *sid = &entry->SidStart;
        return 1;
    }
    static unsigned mmf_entries(const ACL *list) { return list->AceCount; }
    /* Owner and list of a descriptor in one block. */
    static int mmf_parts(void *descriptor, void **owner, void **group, ACL **list)
    {
        BOOL is_default, there;
        if (!GetSecurityDescriptorOwner(descriptor, owner, &is_default) ||
            !GetSecurityDescriptorGroup(descriptor, group, &is_default) ||
            !GetSecurityDescriptorDacl(descriptor, &there, list, &is_default))
            return 0;
        if (!there)
            *list = NULL;
        return 1;
    }
    static unsigned mmf_read(HANDLE handle, int kind, void **descriptor)
    {
        return GetSecurityInfo(handle, (SE_OBJECT_TYPE)kind, OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION |
                               DACL_SECURITY_INFORMATION, NULL, NULL, NULL, NULL, descriptor);
    }
    static unsigned mmf_write(HANDLE handle, int kind, void *owner, void *group, ACL *list)
    {
        SECURITY_INFORMATION what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
        what |= (owner ? OWNER_SECURITY_INFORMATION : 0) | (group ? GROUP_SECURITY_INFORMATION : 0);
        return SetSecurityInfo(handle, (SE_OBJECT_TYPE)kind, what, owner, group, list, NULL);
    }
    """
    ctypedef struct ACL:
        pass
    bint mmf_entry(ACL *list, unsigned int i, unsigned int *type, unsigned int *flags, unsigned int *mask, void **sid)
    unsigned int mmf_entries(const ACL *list)
    bint mmf_parts(void *descriptor, void **owner, void **group, ACL **list)
    unsigned int mmf_read(HANDLE handle, int kind, void **descriptor) nogil
    unsigned int mmf_write(HANDLE handle, int kind, void *owner, void *group, ACL *list) nogil
    bint ConvertSidToStringSidW(void *sid, wchar_t **text)
    bint ConvertStringSidToSidW(const wchar_t *text, void **sid)
    bint ConvertStringSecurityDescriptorToSecurityDescriptorW(const wchar_t *text, uint32_t revision, void **descriptor,
                                                              uint32_t *size)

cdef extern from "Python.h":
    wchar_t *PyUnicode_AsWideCharString(object text, Py_ssize_t *size) except NULL
    void PyMem_Free(void *memory)
    object PyUnicode_FromWideChar(const wchar_t *text, Py_ssize_t size)

OF_FILE, OF_KERNEL = 1, 6  # SE_FILE_OBJECT, SE_KERNEL_OBJECT
ALLOWED, DENIED = 0, 1
USER = 1  # SidTypeUser


cdef object text_of(void *sid):
    cdef wchar_t *text
    if sid == NULL:
        return None
    if not ConvertSidToStringSidW(sid, &text):
        refuse(GetLastError(), None)
    said = PyUnicode_FromWideChar(text, -1)
    LocalFree(text)
    return said


cdef object told(void *descriptor):
    """(owner, group, entries) of a descriptor in one block."""
    cdef void *owner = NULL
    cdef void *group = NULL
    cdef void *sid
    cdef ACL *entries = NULL
    cdef unsigned int i, kind, flags, mask
    if not mmf_parts(descriptor, &owner, &group, &entries):
        refuse(GetLastError(), None)
    if entries == NULL:
        return text_of(owner), text_of(group), None
    found = []
    for i in range(mmf_entries(entries)):
        if mmf_entry(entries, i, &kind, &flags, &mask, &sid):
            found.append((kind, flags, mask, text_of(sid)))
    return text_of(owner), text_of(group), found


cdef void *descriptor_of(sddl) except NULL:
    cdef wchar_t *text = PyUnicode_AsWideCharString(sddl, NULL)
    cdef void *descriptor = NULL
    cdef bint done = ConvertStringSecurityDescriptorToSecurityDescriptorW(text, 1, &descriptor, NULL)
    PyMem_Free(text)
    if not done:
        raise ValueError(f"{sddl!r} is no security descriptor in SDDL")
    return descriptor


def parse(sddl, /):
    """What a descriptor says that is written in SDDL. ValueError."""
    cdef void *descriptor = descriptor_of(sddl)
    try:
        return told(descriptor)
    finally:
        LocalFree(descriptor)


def read(int64_t handle, int kind, /):
    """The descriptor of an object (`kind`: OF_FILE or OF_KERNEL), whose handle allows READ_CONTROL. OSError."""
    cdef void *descriptor = NULL
    cdef uint32_t error
    with nogil:
        error = mmf_read(handle_of(handle), kind, &descriptor)
    if error:
        refuse(error, None)
    try:
        return told(descriptor)
    finally:
        LocalFree(descriptor)


def write(int64_t handle, int kind, sddl, /):
    """Gives an object the list of a descriptor, and its owner and group if it has them; the handle allows WRITE_DAC, and
    WRITE_OWNER for those. OSError, ValueError."""
    cdef void *descriptor = descriptor_of(sddl)
    cdef void *owner = NULL
    cdef void *group = NULL
    cdef ACL *entries = NULL
    cdef uint32_t error
    try:
        if not mmf_parts(descriptor, &owner, &group, &entries):
            refuse(GetLastError(), None)
        with nogil:
            error = mmf_write(handle_of(handle), kind, owner, group, entries)
        if error:
            refuse(error, None)
    finally:
        LocalFree(descriptor)


def sid_of(account, /):
    """The SID of an account's name, such as `alice`, `BUILTIN\\Users`, or of the text of a SID. None if there is none."""
    cdef wchar_t *text = PyUnicode_AsWideCharString(account, NULL)
    cdef wchar_t domain[300]
    cdef uint8_t sid[68]  # SECURITY_MAX_SID_SIZE
    cdef void *given = NULL
    cdef uint32_t size = sizeof(sid), domain_size = 300
    cdef int kind
    try:
        if account.upper().startswith("S-1-") and ConvertStringSidToSidW(text, &given):
            said = text_of(given)
            LocalFree(given)
            return said
        if LookupAccountNameW(NULL, text, sid, &size, domain, &domain_size, &kind):
            return text_of(sid)
    finally:
        PyMem_Free(text)
    return None


def account_of(sid, /):
    """(name, whether it is a user's) of a SID: None if no account has it."""
    cdef wchar_t *text = PyUnicode_AsWideCharString(sid, NULL)
    cdef wchar_t name[300]
    cdef wchar_t domain[300]
    cdef void *given = NULL
    cdef uint32_t size = 300, domain_size = 300
    cdef int kind
    cdef bint known = ConvertStringSidToSidW(text, &given)
    PyMem_Free(text)
    if not known:
        return None
    known = LookupAccountSidW(NULL, given, name, &size, domain, &domain_size, &kind)
    LocalFree(given)
    if not known:
        return None
    return PyUnicode_FromWideChar(name, size), kind == USER


def own_sids():
    """(user, primary group) of this process. OSError."""
    cdef HANDLE token
    cdef uint8_t block[1024]  # a TOKEN_USER or TOKEN_PRIMARY_GROUP, which begin with the address of the SID, and it
    cdef uint32_t size
    if not OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token):
        refuse(GetLastError(), None)
    try:
        found = []
        for what in (TokenUser, TokenPrimaryGroup):
            if not GetTokenInformation(token, what, block, sizeof(block), &size):
                refuse(GetLastError(), None)
            found.append(text_of((<void **>block)[0]))
        return tuple(found)
    finally:
        CloseHandle(token)
