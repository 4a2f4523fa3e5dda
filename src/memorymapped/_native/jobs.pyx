# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
"""Processes of Windows, and the jobs that hold what they start. Errors are OSError with `winerror`; a handle is an int."""
from libc.stddef cimport wchar_t
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset
from memorymapped._native.win32 cimport HANDLE, handle_of, number_of, refuse

cdef extern from "<windows.h>" nogil:
    ctypedef struct BASIC_LIMITS "JOBOBJECT_BASIC_LIMIT_INFORMATION":
        uint32_t LimitFlags
    ctypedef struct LIMITS "JOBOBJECT_EXTENDED_LIMIT_INFORMATION":
        BASIC_LIMITS BasicLimitInformation
    HANDLE OpenProcess(uint32_t access, int inherit, uint32_t process)
    int TerminateProcess(HANDLE process, uint32_t code)
    HANDLE CreateJobObjectW(void *security, const wchar_t *name)
    int SetInformationJobObject(HANDLE job, int what, void *information, uint32_t size)
    int AssignProcessToJobObject(HANDLE job, HANDLE process)
    int TerminateJobObject(HANDLE job, uint32_t code)
    HANDLE CreateEventW(void *security, int manual, int state, const wchar_t *name)
    int SetEvent(HANDLE event)
    uint32_t WaitForMultipleObjects(uint32_t count, const HANDLE *handles, int all, uint32_t milliseconds)
    int GenerateConsoleCtrlEvent(uint32_t event, uint32_t group)
    HANDLE GetCurrentProcess()
    int CloseHandle(HANDLE handle)
    uint32_t GetLastError()
    uint32_t SYNCHRONIZE, PROCESS_TERMINATE, PROCESS_SET_QUOTA, PROCESS_SUSPEND_RESUME
    uint32_t PROCESS_QUERY_LIMITED_INFORMATION, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    uint32_t JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK, INFINITE, WAIT_FAILED, CTRL_BREAK_EVENT
    int JobObjectExtendedLimitInformation

cdef extern from "kernel.h":
    pass

cdef extern from *:
    """
    /* NtResumeProcess: 0, or the number of the error. subprocess keeps no handle of a thread to resume. */
    static unsigned mmf_resume(HANDLE process)
    {
        typedef LONG (WINAPI *resumption)(HANDLE);
        return mmf_error_of(((resumption)mmf_of_kernel("NtResumeProcess"))(process));
    }
    """
    uint32_t mmf_resume(HANDLE process) nogil

cdef extern from "Python.h":
    wchar_t *PyUnicode_AsWideCharString(object text, Py_ssize_t *size) except NULL
    void PyMem_Free(void *memory)

ENDED = 0xC000013A
"""The exit code of who was ended: that of Ctrl-C and Ctrl-Break (STATUS_CONTROL_C_EXIT)."""


def open_process(uint32_t process, /):
    """A handle of a process, by which its end can be waited for. OSError: there is none, or it may not be asked."""
    cdef HANDLE handle = OpenProcess(SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION, False, process)
    if handle == NULL:
        refuse(GetLastError(), None)
    return number_of(handle)


cdef int limited(HANDLE job, bint tied, bint family) noexcept:
    """Gives a job the limits of `hold`. Whether it could be done."""
    cdef LIMITS limits
    memset(&limits, 0, sizeof(limits))
    if tied:
        limits.BasicLimitInformation.LimitFlags |= JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    if not family:
        limits.BasicLimitInformation.LimitFlags |= JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK
    return SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof(limits))


def hold(uint32_t process, bint tied, bint family, /):
    """A handle of a new job with a process that was created suspended, which runs then. `family`: all that it starts is
    in the job too. `tied`: all that is in it ends when the last handle of the job is closed, as it is by our end.
    OSError: the process is ended then."""
    cdef HANDLE handle, job
    cdef uint32_t error = 0
    handle = OpenProcess(PROCESS_TERMINATE | PROCESS_SET_QUOTA | PROCESS_SUSPEND_RESUME, False, process)
    if handle == NULL:
        refuse(GetLastError(), None)
    job = CreateJobObjectW(NULL, NULL)
    if job == NULL or not limited(job, tied, family) or not AssignProcessToJobObject(job, handle):
        error = GetLastError()
    if not error:
        error = mmf_resume(handle)
    if error:
        TerminateProcess(handle, ENDED)
        if job != NULL:
            CloseHandle(job)
    CloseHandle(handle)
    if error:
        refuse(error, None)
    return number_of(job)


def enter_job():
    """A handle of a new job in which this process is from now on, for good. OSError."""
    cdef HANDLE job = CreateJobObjectW(NULL, NULL)
    cdef uint32_t error
    if job == NULL or not AssignProcessToJobObject(job, GetCurrentProcess()):
        error = GetLastError()
        if job != NULL:
            CloseHandle(job)
        refuse(error, None)
    return number_of(job)


def limit_job(int64_t job, bint tied, bint family, /):
    """Gives a job the limits of `hold`. OSError."""
    if not limited(handle_of(job), tied, family):
        refuse(GetLastError(), None)


def end_job(int64_t job, /):
    """Ends all processes of a job. OSError."""
    if not TerminateJobObject(handle_of(job), ENDED):
        refuse(GetLastError(), None)


def open_event(name, /):
    """A handle of an event that stays set: of this name, made if it is not there, or of none (None). OSError."""
    cdef wchar_t *text = NULL if name is None else PyUnicode_AsWideCharString(name, NULL)
    cdef HANDLE handle = CreateEventW(NULL, True, False, text)
    cdef uint32_t error = GetLastError()
    if text != NULL:
        PyMem_Free(text)
    if handle == NULL:
        refuse(error, None)
    return number_of(handle)


def set_event(int64_t event, /):
    """SetEvent. OSError."""
    if not SetEvent(handle_of(event)):
        refuse(GetLastError(), None)


def send_break(uint32_t group, /):
    """Ctrl-Break for a process group at our console. Whether there is one."""
    return bool(GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, group))


def wait_for_first(int64_t one, int64_t other, /):
    """Waits, however long, until one of two can be had: 0 or 1. Nothing but these ends it. OSError."""
    cdef HANDLE handles[2]
    cdef uint32_t said, error
    handles[0], handles[1] = handle_of(one), handle_of(other)
    with nogil:
        said = WaitForMultipleObjects(2, handles, False, INFINITE)
        error = GetLastError()
    if said > 1:
        refuse(error, None)
    return said


def has_come(int64_t handle, /):
    """Whether the process of a handle has ended, or its event is set. OSError."""
    cdef HANDLE it = handle_of(handle)
    cdef uint32_t said = WaitForMultipleObjects(1, &it, False, 0)
    if said == WAIT_FAILED:
        refuse(GetLastError(), None)
    return said == 0
