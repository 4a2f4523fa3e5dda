# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The system's own mutexes, events and semaphores, which have names: all programs that know a name share them.

`KernelEvent` and `KernelSemaphore` are what is in futex.pyx, on a handle instead of words in memory; those without a name
are words. To wait for a handle is to take what it gives, so nothing is ever slept on without being taken.

`KernelMutex` is a RobustMutex (recursion, tasks, statistics) that the system excludes by. Beside it lies a **record**, a
section of a name made of the mutex's, in the format of robust.h: who of our processes owns it, and whether it was given
back as abandoned, which the system has no call for. Other programs know nothing of the record. So what it says of an
owner is right only if the owner was one of ours, and the system's word counts first:

- Abandoned is what the system says, or the record. A program of others that takes it in between is not told of the latter.
- Nobody in the record, and the system says that its owner ended: that was a stranger.

The mutex is opened before the record and closed behind it: no record outlives its mutex. Events and semaphores have one,
too, from the first wait on: how many threads wait.

A thread that sleeps is woken by what it waits for, by Ctrl-C on the main thread, and by its `nudge`, an event of its own,
where something that it may be waiting for is closed. The handle of what is closed stays open until the last thread that
waits by it has gone.
"""
from memorymapped.errors import DamagedObjectError
from memorymapped._native.win32 import PAGE_READWRITE, create_section

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EACCES, EBADMSG
from libc.stddef cimport wchar_t
from libc.stdint cimport int32_t, uint32_t, uint64_t, uintptr_t
from memorymapped._native.futex cimport Event, Semaphore, Waitable, mmf_now, mmf_word_add, mmf_word_load
from memorymapped._native.memory cimport Mapping, new_mapping
from memorymapped._native.robust cimport (
    ABANDONED, BUSY, MMF_LOCK_SIZE, MMF_STRANGER, TAKEN, UNTIL_OWNED, mmf_lock, mmf_note_ours, put_off, this_process,
    this_thread)
from memorymapped._native.win32 cimport HANDLE, handle_of, refuse

cdef extern from "pages.h" nogil:
    int MMF_MAP_READ, MMF_MAP_WRITE, MMF_MAP_SHARED
    size_t mmf_page_size()

cdef extern from "robust.h" nogil:
    ctypedef struct mmf_inside:
        uint32_t word
        uint32_t count
        uint32_t spins  # of a record: how many wait
    mmf_inside *MMF_INSIDE(mmf_lock *lock)
    uint32_t MMF_NOBODY
    uint64_t mmf_holder()
    int mmf_claim_zeros(mmf_lock *lock)
    void mmf_record(mmf_lock *lock, uint32_t process, int abandoned)
    void mmf_note_death(mmf_lock *lock, bint killed)
    int mmf_was_abandoned(const mmf_lock *lock)

cdef extern from "<windows.h>" nogil:
    int CloseHandle(HANDLE handle)
    HANDLE CreateEventW(void *security, int manual, int state, const wchar_t *name)
    HANDLE CreateEventExW(void *security, const wchar_t *name, uint32_t flags, uint32_t access)
    HANDLE OpenEventW(uint32_t access, int inherit, const wchar_t *name)
    HANDLE CreateSemaphoreExW(void *security, int32_t initial, int32_t maximum, const wchar_t *name, uint32_t flags,
                              uint32_t access)
    HANDLE OpenSemaphoreW(uint32_t access, int inherit, const wchar_t *name)
    HANDLE CreateMutexExW(void *security, const wchar_t *name, uint32_t flags, uint32_t access)
    HANDLE OpenMutexW(uint32_t access, int inherit, const wchar_t *name)
    HANDLE OpenFileMappingW(uint32_t access, int inherit, const wchar_t *name)
    HANDLE OpenWaitableTimerW(uint32_t access, int inherit, const wchar_t *name)
    int SetEvent(HANDLE event)
    int ResetEvent(HANDLE event)
    int ReleaseSemaphore(HANDLE semaphore, int32_t count, int32_t *before)
    int ReleaseMutex(HANDLE mutex)
    uint32_t WaitForSingleObject(HANDLE handle, uint32_t milliseconds)
    uint32_t WaitForMultipleObjects(uint32_t count, const HANDLE *handles, int all, uint32_t milliseconds)
    uint32_t GetLastError()
    void SetLastError(uint32_t error)
    uint32_t ERROR_ALREADY_EXISTS, ERROR_ACCESS_DENIED, ERROR_INVALID_HANDLE, ERROR_TOO_MANY_POSTS
    uint32_t CREATE_EVENT_INITIAL_SET, CREATE_EVENT_MANUAL_RESET, CREATE_MUTEX_INITIAL_OWNER
    uint32_t EVENT_MODIFY_STATE, SEMAPHORE_MODIFY_STATE, MUTEX_MODIFY_STATE, SYNCHRONIZE
    uint32_t WAIT_OBJECT_0, WAIT_ABANDONED_0, WAIT_TIMEOUT, WAIT_FAILED, INFINITE

cdef extern from "kernel.h" nogil:
    uint32_t mmf_ask_event(HANDLE event, int *manual, int *state)
    uint32_t mmf_ask_semaphore(HANDLE semaphore, int *count, int *maximum)
    uint32_t mmf_ask_mutex(HANDLE mutex, int *is_owned, int *was_abandoned, uint32_t *process, uint32_t *thread)

cdef extern from "sleeping.h" nogil:
    uint32_t mmf_milliseconds(double seconds)

cdef extern from *:
    """
    static void mmf_set_holder(void *lock, uint64_t holder) { __atomic_store_n((uint64_t *)lock, holder, __ATOMIC_RELAXED); }
    """
    void mmf_set_holder(mmf_lock *lock, uint64_t holder) nogil

cdef extern from "Python.h":
    wchar_t *PyUnicode_AsWideCharString(object text, Py_ssize_t *size) except NULL
    void PyMem_Free(void *memory)
    int _PyOS_IsMainThread() nogil
    void *_PyOS_SigintEvent()

cdef double LOOK_AGAIN = 0.25  # seconds: the main thread looks for signals that nothing wakes it for

cdef enum:
    QUERY_STATE = 1  # EVENT_QUERY_STATE and the like


# ------------------------------------------------------------------------------------------------------- handles


cdef class Kernel:
    """A handle of a mutex, an event or a semaphore, and its record: a section."""

    cdef Mapping open_record(self):
        """Maps the record by the first of its names that can be had. It is closed before the handle."""
        cdef Mapping record
        section = None
        if self.record is None:
            for name in (*self.names, None):
                try:
                    section, _ = create_section(name, -1, PAGE_READWRITE, mmf_page_size(), False)
                    break
                except OSError:
                    if name is None:
                        raise
            try:
                record = new_mapping(section, 0, MMF_LOCK_SIZE, MMF_MAP_READ | MMF_MAP_WRITE, MMF_MAP_SHARED,
                                     mmf_page_size())
            except BaseException:
                CloseHandle(handle_of(section))
                raise
            if self.record is None:
                self.record = record
                self.section = handle_of(section)
            else:
                CloseHandle(handle_of(section))  # another thread was quicker
        return self.record

    cdef uint32_t *counted(self) except NULL:
        """How many threads of our processes wait for it. At the first call others may come in between."""
        if self.counter == NULL:
            self.open_record()
            self.counter = <uint32_t *>self.record.base
        return self.counter

    cdef void enter(self) noexcept:
        """One waiter more, behind `counted`. The handle stays open, whatever is closed meanwhile."""
        self.hold()
        mmf_word_add(self.counter, 1)

    cdef void leave(self) noexcept:
        mmf_word_add(self.counter, <uint32_t>-1)
        self.drop()

    cdef void hold(self) noexcept:
        self.users += 1

    cdef void drop(self) noexcept:
        self.users -= 1
        if self.ended and self.users == 0:
            self.end_now()

    cdef void end_now(self) noexcept:
        cdef HANDLE handle = self.handle, section = self.section
        self.handle = self.section = NULL
        if section != NULL:
            CloseHandle(section)
        if handle != NULL:
            CloseHandle(handle)

    def end(self):
        """Closes the handle, if no thread waits by it: otherwise the last of them does. A second call does nothing."""
        self.ended = True
        if self.users == 0:
            self.end_now()
        else:
            nudge_all()

    @property
    def closed(self):
        return self.ended

    def __dealloc__(self):
        self.end_now()


cdef Kernel new_kernel(HANDLE handle, uint32_t error, name, names):
    """That of a name. `handle` NULL: it was refused, because of `error`."""
    if handle == NULL:
        refuse(error, name)
    cdef Kernel self = Kernel.__new__(Kernel)
    self.handle = handle
    self.names = names
    return self


cdef bint tells(Kernel kernel, uint32_t error, name) except -1:
    """Whether an object has told its state when it was asked: `error` says why not."""
    kernel.is_silent = error == ERROR_ACCESS_DENIED
    if error and not kernel.is_silent:
        refuse(error, name)
    return not error


def open_event(name not None, names, bint create, bint manual, bint state, /):
    """`names`: of its record. (Kernel, whether this call has made it, whether it is reset by hand: `manual`, if it may not be
    asked). OSError with `winerror`."""
    cdef wchar_t *text = PyUnicode_AsWideCharString(name, NULL)
    cdef uint32_t flags = (CREATE_EVENT_MANUAL_RESET if manual else 0) | (CREATE_EVENT_INITIAL_SET if state else 0)
    cdef uint32_t access, use = EVENT_MODIFY_STATE | SYNCHRONIZE, error = 0
    cdef HANDLE handle = NULL
    cdef int is_manual, is_set
    for access in (use | QUERY_STATE, use):
        SetLastError(0)
        handle = CreateEventExW(NULL, text, flags, access) if create else OpenEventW(access, False, text)
        error = GetLastError()
        if error != ERROR_ACCESS_DENIED:
            break
    PyMem_Free(text)
    kernel = new_kernel(handle, error, name, names)
    if tells(kernel, mmf_ask_event(handle, &is_manual, &is_set), name):
        manual = is_manual
    return kernel, bool(create and error != ERROR_ALREADY_EXISTS), bool(manual)


def open_semaphore(name not None, names, bint create, int32_t maximum, int32_t count, /):
    """`names`: of its record. (Kernel, whether this call has made it, its highest count: `maximum`, if it may not be asked).
    OSError with `winerror`."""
    cdef wchar_t *text = PyUnicode_AsWideCharString(name, NULL)
    cdef uint32_t access, use = SEMAPHORE_MODIFY_STATE | SYNCHRONIZE, error = 0
    cdef HANDLE handle = NULL
    cdef int now, most
    for access in (use | QUERY_STATE, use):
        SetLastError(0)
        handle = (CreateSemaphoreExW(NULL, count, maximum, text, 0, access) if create
                  else OpenSemaphoreW(access, False, text))
        error = GetLastError()
        if error != ERROR_ACCESS_DENIED:
            break
    PyMem_Free(text)
    kernel = new_kernel(handle, error, name, names)
    if tells(kernel, mmf_ask_semaphore(handle, &now, &most), name):
        maximum = most
    return kernel, bool(create and error != ERROR_ALREADY_EXISTS), maximum


def kind_of(name not None, /):
    """What the system has under a name: "mutex", "event", "semaphore", "map", "timer", or None."""
    cdef wchar_t *text = PyUnicode_AsWideCharString(name, NULL)
    cdef HANDLE handle
    cdef int i
    found = None
    for i in range(5):
        handle = (OpenMutexW(SYNCHRONIZE, False, text) if i == 0 else OpenEventW(SYNCHRONIZE, False, text) if i == 1
                  else OpenSemaphoreW(SYNCHRONIZE, False, text) if i == 2 else OpenFileMappingW(QUERY_STATE, False, text)
                  if i == 3 else OpenWaitableTimerW(SYNCHRONIZE, False, text))
        if handle != NULL or GetLastError() == ERROR_ACCESS_DENIED:
            found = ("mutex", "event", "semaphore", "map", "timer")[i]
        if handle != NULL:
            CloseHandle(handle)
        if found is not None:
            break
    PyMem_Free(text)
    return found


# -------------------------------------------------------------------------------------------------------- waits


cdef set waiting = set()  # all Wait of this process
cdef list spare = []      # their nudges, used again: numbers of handles


cdef int nudge_all() except -1:
    """Has all threads that sleep look again."""
    cdef Wait wait
    for wait in waiting:
        SetEvent(wait.nudge)
    return 0


cdef class Wait:
    """A wait for several handles under way."""

    cdef int begin(self, double limit) except -1:
        self.deadline = mmf_now() + limit if limit >= 0 else -1.0
        self.main = _PyOS_IsMainThread()
        if spare:
            self.nudge = <HANDLE><uintptr_t>spare.pop()
        else:
            self.nudge = CreateEventW(NULL, False, False, NULL)
            if self.nudge == NULL:
                refuse(GetLastError(), None)
        waiting.add(self)
        return 0

    cdef void end(self) noexcept:
        if self.nudge != NULL:
            waiting.discard(self)
            ResetEvent(self.nudge)
            spare.append(<uintptr_t>self.nudge)
            self.nudge = NULL

    cdef void add(self, HANDLE handle, int number) noexcept:
        self.handles[self.count] = handle
        self.numbers[self.count] = number
        self.count += 1

    cdef double left(self) noexcept:
        """Seconds to the end of the time; negative: it never ends."""
        return max(self.deadline - mmf_now(), 0.0) if self.deadline >= 0 else -1.0

    cdef int once(self, double most) except -1:
        """Sleeps until one of the handles gives something, which is taken: its number. LOOK if it is time to look at
        everything: after `most` seconds (negative: never), a signal, or a nudge. OVER if there is no time left."""
        cdef double time = self.left()
        cdef uint32_t count = self.count, all, said
        if time == 0:
            return OVER
        if most >= 0 and (time < 0 or most < time):
            time = most
        self.handles[count] = self.nudge
        all = count + 1
        if self.main:
            self.handles[all] = _PyOS_SigintEvent()
            ResetEvent(self.handles[all])
            all += 1
            if time < 0 or time > LOOK_AGAIN:
                time = LOOK_AGAIN
        with nogil:
            said = WaitForMultipleObjects(all, self.handles, False, INFINITE if time < 0 else mmf_milliseconds(time))
        if said == WAIT_FAILED:
            refuse(GetLastError(), None)
        if WAIT_ABANDONED_0 <= said < WAIT_ABANDONED_0 + count:
            self.abandoned = True
            return self.numbers[said - WAIT_ABANDONED_0]
        if WAIT_OBJECT_0 <= said < WAIT_OBJECT_0 + count:
            self.abandoned = False
            return self.numbers[said - WAIT_OBJECT_0]
        return LOOK

    cdef int all_at_once(self) except -1:
        """Sleeps until all of the handles give something at the same time, which is taken: 0, or the number of one that is
        `abandoned`. LOOK, OVER."""
        cdef double time = self.left()
        cdef uint32_t said
        # Nothing else can be waited for besides, so it looks for what would nudge it.
        if time < 0 or time > 0.05:
            time = 0.05
        with nogil:
            said = WaitForMultipleObjects(self.count, self.handles, True, mmf_milliseconds(time))
        if said == WAIT_FAILED:
            refuse(GetLastError(), None)
        if said == WAIT_TIMEOUT:
            return OVER if self.left() == 0 else LOOK
        self.abandoned = said >= WAIT_ABANDONED_0
        return said - WAIT_ABANDONED_0 if self.abandoned else 0


cdef int wait_for_one(Waitable self, Kernel kernel, double limit) except -1:
    """Takes what a Waitable's handle gives: 1; 0 after `limit` seconds."""
    cdef Wait wait
    cdef int said
    if self.take():
        return 1
    if limit == 0:
        return 0
    wait = Wait.__new__(Wait)
    kernel.counted()
    wait.add(handle_in(self, kernel), 0)
    kernel.enter()
    try:
        wait.begin(limit)
        while True:
            said = wait.once(-1.0)
            try:
                PyErr_CheckSignals()
                if self.word == NULL:
                    self.raise_closed()
            except BaseException:
                if said == 0:
                    self.undo(&kernel.word, &kernel.waiters)
                raise
            if said != LOOK:
                return said == 0
    finally:
        wait.end()
        kernel.leave()


# -------------------------------------------------------------------------------------------- events and semaphores


cdef int attach(Waitable self, uint32_t parameter, backing) except -1:
    """Makes it the Kernel's of `backing`, a NamedSignal."""
    cdef Kernel kernel = backing.kernel
    if self.word != NULL:
        raise RuntimeError(f"{self!r} has been made already")
    self.word = &kernel.word
    self.waiters = &kernel.waiters
    self.parameter = parameter
    self._backing = backing
    return 0


cdef HANDLE handle_in(Waitable self, Kernel kernel) except NULL:
    """Its handle. ClosedError."""
    if self.word == NULL:
        self.raise_closed()
    return kernel.handle


cdef int check_told(Waitable self, Kernel kernel) except -1:
    """PermissionError for one that may not be asked for its state."""
    if kernel.is_silent:
        right = "EVENT_QUERY_STATE" if isinstance(self, Event) else "SEMAPHORE_QUERY_STATE"
        raise PermissionError(EACCES, f"the rules of {self._backing.name!r} let this user wait for it and signal it, but not "
                              f"ask for its state or its kind: {right} ({QUERY_STATE}) is missing")
    return 0


cdef int take_now(Waitable self, Kernel kernel) except -1:
    return WaitForSingleObject(handle_in(self, kernel), 0) == WAIT_OBJECT_0


cdef Kernel kernel_of(Waitable waitable):
    if isinstance(waitable, KernelEvent):
        return (<KernelEvent>waitable).kernel
    if isinstance(waitable, KernelSemaphore):
        return (<KernelSemaphore>waitable).kernel
    return None


cdef class KernelWords:
    """What Words is, of a handle: kept open, so that what was taken can be given back."""

    def __cinit__(self, Waitable waitable not None, Kernel kernel not None):
        self.waitable = waitable
        self.kernel = kernel
        kernel.hold()

    def __dealloc__(self):
        if self.kernel is not None:
            self.kernel.drop()

    def give_back(self):
        self.waitable.undo(&self.kernel.word, &self.kernel.waiters)

    @property
    def by_hand(self):
        return isinstance(self.waitable, KernelEvent) and self.waitable.parameter != 0


cdef class KernelEvent(Event):
    """The compiled half of EventWaitHandle. `parameter`: not 0 for manual reset."""

    def _map(self, fd, uint32_t parameter, uint32_t value, backing):
        if backing is None:
            Event._map(self, -1, parameter, value, None)
            return
        attach(self, parameter, backing)
        self.kernel = backing.kernel

    def _unmap(self):
        if self.kernel is None:
            Event._unmap(self)
            return
        self.word = self.waiters = NULL
        self.kernel.end()

    def _look(self):
        if self.kernel is None:
            return Event._look(self)
        state = self.ready()
        check_told(self, self.kernel)
        return state, mmf_word_load(self.kernel.counted())

    @property
    def _parameter(self):
        if self.kernel is not None:
            check_told(self, self.kernel)
        return self.parameter

    def _words(self):
        if self.kernel is None:
            return Event._words(self)
        handle_in(self, self.kernel)
        return KernelWords(self, self.kernel)

    cdef bint sleeps(self):
        return self.kernel is None

    cdef uint32_t idle(self):
        return 0 if self.kernel is not None else Event.idle(self)

    cdef int ready(self) except -1:
        cdef int manual, state
        cdef uint32_t error
        if self.kernel is None:
            return Event.ready(self)
        error = mmf_ask_event(handle_in(self, self.kernel), &manual, &state)
        if self.kernel.is_silent:
            return 1  # perhaps: who takes it is told
        if error:
            refuse(error, None)
        return state

    cdef int take(self) except -1:
        if self.kernel is None:
            return Event.take(self)
        return take_now(self, self.kernel)

    cdef int take_since(self, uint32_t value) except -1:
        return Event.take_since(self, value) if self.kernel is None else self.take()

    cdef int put_back(self) except -1:
        if self.kernel is None:
            return Event.put_back(self)
        handle_in(self, self.kernel)
        self.undo(self.word, self.waiters)
        return 0

    cdef void undo(self, uint32_t *word, uint32_t *waiters) noexcept:
        if self.kernel is None:
            Event.undo(self, word, waiters)
        elif not self.parameter:
            SetEvent(self.kernel.handle)

    cdef int take_within(self, double limit) except -1:
        if self.kernel is None:
            return Event.take_within(self, limit)
        return wait_for_one(self, self.kernel, limit)

    cdef int signal(self) except -1:
        if self.kernel is None:
            return Event.signal(self)
        if not SetEvent(handle_in(self, self.kernel)):
            refuse(GetLastError(), None)
        return 0

    def is_set(self):
        """Whether it is signalled at this moment. Takes nothing. ClosedError; PermissionError if its rules do not let this
        user ask."""
        state = self.ready() != 0
        if self.kernel is not None:
            check_told(self, self.kernel)
        return state

    def reset(self):
        """Takes the signal away: who begins to wait from now on, waits. True, as in .NET.

        ClosedError."""
        if self.kernel is None:
            return Event.reset(self)
        if not ResetEvent(handle_in(self, self.kernel)):
            refuse(GetLastError(), None)
        return True


cdef class KernelSemaphore(Semaphore):
    """The compiled half of Semaphore. `parameter`: the highest count."""

    def _map(self, fd, uint32_t parameter, uint32_t value, backing):
        if backing is None:
            Semaphore._map(self, -1, parameter, value, None)
            return
        attach(self, parameter, backing)
        self.kernel = backing.kernel

    def _unmap(self):
        if self.kernel is None:
            Semaphore._unmap(self)
            return
        self.word = self.waiters = NULL
        self.kernel.end()

    def _look(self):
        if self.kernel is None:
            return Semaphore._look(self)
        state = self.ready()
        check_told(self, self.kernel)
        return state, mmf_word_load(self.kernel.counted())

    @property
    def _parameter(self):
        if self.kernel is not None:
            check_told(self, self.kernel)
        return self.parameter

    def _words(self):
        if self.kernel is None:
            return Semaphore._words(self)
        handle_in(self, self.kernel)
        return KernelWords(self, self.kernel)

    cdef bint sleeps(self):
        return self.kernel is None

    cdef int ready(self) except -1:
        cdef int count, maximum
        cdef uint32_t error
        if self.kernel is None:
            return Semaphore.ready(self)
        error = mmf_ask_semaphore(handle_in(self, self.kernel), &count, &maximum)
        if self.kernel.is_silent:
            return 1  # perhaps: who takes it is told
        if error:
            refuse(error, None)
        return count

    cdef int take(self) except -1:
        if self.kernel is None:
            return Semaphore.take(self)
        return take_now(self, self.kernel)

    cdef int put_back(self) except -1:
        if self.kernel is None:
            return Semaphore.put_back(self)
        handle_in(self, self.kernel)
        self.undo(self.word, self.waiters)
        return 0

    cdef void undo(self, uint32_t *word, uint32_t *waiters) noexcept:
        if self.kernel is None:
            Semaphore.undo(self, word, waiters)
        else:
            ReleaseSemaphore(self.kernel.handle, 1, NULL)

    cdef int take_within(self, double limit) except -1:
        if self.kernel is None:
            return Semaphore.take_within(self, limit)
        return wait_for_one(self, self.kernel, limit)

    cdef long long add(self, long count) except -1:
        cdef int32_t before = 0
        if self.kernel is None:
            return Semaphore.add(self, count)
        if not ReleaseSemaphore(handle_in(self, self.kernel), count, &before):
            if GetLastError() != ERROR_TOO_MANY_POSTS:
                refuse(GetLastError(), None)
            return <long long>1 << 31  # more than any maximum
        return before


# ------------------------------------------------------------------------------------------------------- mutexes


@cython.no_gc_clear  # its end needs what it refers to
cdef class KernelMutex(RobustMutex):
    """A mutex of the system, as this process has it open."""

    cdef int obtain(self, double timeout) except -1:
        cdef uint32_t said = WaitForSingleObject(self.kernel.handle, 0)
        cdef Wait wait
        cdef int number
        if said == WAIT_OBJECT_0 or said == WAIT_ABANDONED_0:
            return self.got(said == WAIT_ABANDONED_0)
        if said == WAIT_FAILED:
            refuse(GetLastError(), None)
        if timeout == 0:
            return BUSY
        self.waits += 1
        wait = Wait.__new__(Wait)
        wait.add(self.kernel.handle, 0)
        self.kernel.enter()
        try:
            wait.begin(timeout)
            while True:
                number = wait.once(-1.0)
                if number == 0:
                    if self.kernel.ended:
                        self.is_kept = True
                        self.kernel.hold()
                    return self.got(wait.abandoned)
                if number == OVER:
                    return BUSY
                try:
                    PyErr_CheckSignals()
                except BaseException as error:
                    if timeout != UNTIL_OWNED:
                        raise
                    put_off.append(error)
                if self.owner == this_thread() and self.count > 0:
                    return self.take(timeout)  # a signal handler has taken it for this thread
        finally:
            wait.end()
            self.kernel.leave()

    cdef int got(self, bint killed) except -1:
        """The system has given it to this thread, and says whether its owner ended."""
        cdef mmf_lock *lock = self.lock
        cdef int rc = TAKEN
        if killed or mmf_was_abandoned(lock):
            if killed and not self.says_owned():
                lock.died = MMF_STRANGER
            else:
                mmf_note_death(lock, killed)
            self.previous = lock.process
            self.abandonments += 1
            rc = ABANDONED
        else:
            lock.died = 0
        mmf_note_ours(lock, this_process() if self.stepper == this_thread() else 0)
        mmf_record(lock, this_process(), 0)
        mmf_set_holder(lock, mmf_holder())
        MMF_INSIDE(lock).count = 1
        self.owned_through(lock)
        return rc

    cdef bint says_owned(self):
        """Whether its record has an owner."""
        return self.lock.process != 0 and self.lock.process != MMF_NOBODY

    cdef int unlock_once(self) except -1:
        """Of the system's recursion, which is not used."""
        ReleaseMutex(self.kernel.handle)
        return 0

    cdef int give(self, bint abandoned) except -1:
        if self.owner != this_thread() or self.count == 0:
            self.refuse_stranger()
        if self.count > 1:
            self.count -= 1
            return 0
        self.let_go(abandoned)
        if self.on_free is not None:
            self.on_free()
        return 0

    cdef int let_go(self, bint abandoned) except -1:
        mmf_record(self.lock, MMF_NOBODY, abandoned)
        MMF_INSIDE(self.lock).count = 0
        mmf_set_holder(self.lock, 0)
        self.owned_no_more()
        cdef int done = ReleaseMutex(self.kernel.handle)
        if self.is_kept:
            self.is_kept = False
            self.kernel.drop()
        if not done:
            raise DamagedObjectError(EBADMSG, f"{self.called()} was released by other means than this library's while this "
                                     "thread owned it")
        return 0

    cdef int look(self) except -1:
        return 0

    @property
    def state(self):
        """(process id of the owner or None, thread id of the owner, 0 if that is not known, None if there is none,
        whether a thread of our processes waits). OSError."""
        cdef int is_owned, was_abandoned
        cdef uint32_t process, thread
        cdef uint32_t error = mmf_ask_mutex(self.kernel.handle, &is_owned, &was_abandoned, &process, &thread)
        if error:
            refuse(error, None)
        if not is_owned:
            return None, None, mmf_word_load(self.kernel.counter) > 0
        if process == 0 and self.lock.process != MMF_NOBODY:  # as far as our processes know
            process, thread = self.lock.process, MMF_INSIDE(self.lock).word & 0x7FFFFFFF
        return process or None, thread, mmf_word_load(self.kernel.counter) > 0

    def __dealloc__(self):
        # The system tells the next if this thread ends while it owns it. Dropped by the owner, it is given back.
        if self.owner == this_thread() and self.count > 0 and self.kernel is not None:
            mmf_record(self.lock, MMF_NOBODY, 1)
            mmf_set_holder(self.lock, 0)
            ReleaseMutex(self.kernel.handle)
        self.owner = 0


cdef KernelMutex new_mutex(Kernel kernel):
    cdef KernelMutex self = KernelMutex.__new__(KernelMutex)
    self.kernel = kernel
    self.mapping = kernel.open_record()
    self.region = self.mapping.region
    self.lock = <mmf_lock *>self.mapping.base
    kernel.counter = &MMF_INSIDE(self.lock).spins
    mmf_claim_zeros(self.lock)
    return self


cdef dict open_mutexes = {}  # by what is the same for all names of one


@cython.no_gc_clear  # its end needs what it refers to
cdef class OpenMutex:
    """A named mutex as this process has it open. What the last handle leaves while another thread of ours
    owns it stays until that thread has released it, or has ended and somebody looks: the kernel would end the mutex with
    its last handle."""
    cdef object key
    cdef RobustMutex core
    cdef Kernel kernel
    cdef int handles

    def released(self):
        """The thread that owned it without a handle has released it."""
        if self.handles == 0 and self.core is not None:
            self.finish()

    cdef int give_back(self) except -1:
        cdef RobustMutex core = self.core
        self.handles -= 1
        if self.handles or core is None:
            return 0
        try:
            if core.is_ours():
                core.count = 1
                core.give(True)
        except OSError:
            pass  # damaged: its memory stays as it is
        if core.is_owned_by_us() and core.damage is None:
            core.on_free = self.released
            return 0
        return self.finish()

    cdef int finish(self) except -1:
        cdef RobustMutex core = self.core
        self.core = None
        if open_mutexes.get(self.key) is self:
            del open_mutexes[self.key]
        core.on_free = None
        self.kernel.end()
        return 0


cdef int sweep() except -1:
    """Ends what was kept for threads of ours that have ended."""
    cdef OpenMutex entry
    cdef int got
    for entry in list(open_mutexes.values()):
        if entry.handles == 0 and entry.core is not None:
            got = entry.core.take(0)
            if got != BUSY:
                entry.core.give(got == ABANDONED)  # calls `released`
    return 0


def open_mutex(name, kernel_name not None, key not None, record_names, number, bint create, bint initially_owned, /):
    """(the Lease of a handle, whether this call has made the mutex). `key` is the same for all names of one mutex, and
    `number` made of it. OSError with `winerror`."""
    cdef wchar_t *text
    cdef HANDLE handle
    cdef uint32_t error, access = MUTEX_MODIFY_STATE | SYNCHRONIZE
    cdef bint created = False
    cdef Lease lease = Lease.__new__(Lease)  # first: garbage may be collected by that, the mutex's last lease say
    cdef OpenMutex entry
    cdef Kernel kernel
    cdef KernelMutex core
    sweep()
    entry = open_mutexes.get(key)
    if entry is None:
        text = PyUnicode_AsWideCharString(kernel_name, NULL)
        SetLastError(0)
        handle = (CreateMutexExW(NULL, text, CREATE_MUTEX_INITIAL_OWNER if initially_owned else 0, access) if create
                  else OpenMutexW(access, False, text))
        error = GetLastError()
        PyMem_Free(text)
        kernel = new_kernel(handle, error, kernel_name, record_names)
        created = create and error != ERROR_ALREADY_EXISTS
        core = new_mutex(kernel)
        entry = open_mutexes.setdefault(key, new_entry(key, core, kernel))
        if entry.core is not core:  # another thread was quicker, while the record was made
            kernel.end()
            core = entry.core
        if created and initially_owned:
            core.got(False)
    entry.core.on_free = None
    entry.handles += 1
    lease.name = name
    lease.number = number
    lease.entry = entry
    return lease, created


cdef OpenMutex new_entry(key, RobustMutex core, Kernel kernel):
    cdef OpenMutex entry = OpenMutex.__new__(OpenMutex)
    entry.key = key
    entry.core = core
    entry.kernel = kernel
    return entry


@cython.no_gc_clear  # its end needs what it refers to
cdef class Lease:
    """A handle's share of an OpenMutex. It ends with `close`, or when it is dropped."""
    cdef readonly object name
    cdef object number
    cdef OpenMutex entry
    cdef bint closed

    def close(self):
        """Gives it back; a second call does nothing."""
        if not self.closed:
            self.closed = True
            self.entry.give_back()

    def __dealloc__(self):
        if self.entry is not None and not self.closed:
            self.closed = True
            self.entry.give_back()

    @property
    def core(self):
        return self.entry.core

    @property
    def name_alive(self):
        """Whether the name still leads to it: as long as there is a handle."""
        return not self.closed

    @property
    def handles(self):
        """How many handles of this process there are."""
        return self.entry.handles

    @property
    def place(self):
        """What tells it from others that are open."""
        return (0, self.number)

    @property
    def generation(self):
        """Nothing tells it from a later one of its name."""
        return (0, self.number, 0)
