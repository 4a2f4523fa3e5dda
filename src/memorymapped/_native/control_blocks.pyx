# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What the compiled halves of SharedMemory and StructArray have in common: a map with a control block, by which those
who share it know what is whole; a lock, which who writes owns; and edits, which own it for the time of a `with`."""
from memorymapped.errors import ClosedError, DamagedObjectError, LayoutMismatchError

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EBADMSG
from memorymapped._native.futex cimport (
    mmf_futex_wait, mmf_futex_wake_all, mmf_now, mmf_sleep, mmf_word_add, mmf_word_load, word_of)
from memorymapped._native.memory cimport mmf_marked
from memorymapped._native.robust cimport this_process, this_thread
from memorymapped._native.structs cimport layout_of

cdef enum:
    SHOWN_TEXT = 20_000  # bytes of another's layout that a message shows


cdef class ControlBlock:
    """A map that is described by a control block in it. What is derived from this finds or makes that."""

    cdef uint32_t *word(self) noexcept:
        """On which threads sleep until there is a change; NULL: there is none."""
        return NULL

    cdef uint32_t *waiters(self) noexcept:
        """Their number, beside the word."""
        return NULL

    cdef double pause(self) noexcept:
        """Seconds after which who waits looks by himself."""
        return 0.5  # a writer may die between his commit and his call

    cdef bint arrived(self, tuple what) except -1:
        """Whether there is what is waited for."""
        raise NotImplementedError

    cdef void forget(self) noexcept:
        """Closed: where everything was is known no more."""

    # ---- the beginning

    cdef int check_view(self, View view) except -1:
        """Whether `view` is one of a whole map, and the first."""
        if self.view is not None:
            raise RuntimeError(f"{self!r} has been made already")
        if view.data == NULL or not view.reads or not view.writes or view.own_pages or view.offset != 0 or view.shift:
            raise ValueError("a view of the whole map, for reading and writing, is needed")
        if view.size == 0:  # it has no memory to ask for faults
            raise ValueError(f"{view!r}: the file is empty: somebody has emptied it meanwhile")
        return 0

    cdef void take_view(self, View view, MutexHandle lock, object type):
        self.type = type
        self.layout = layout_of(type)
        self.lock = lock
        self.view = view
        self.region = view.region
        self.mapping = view.mapping

    def _named(self):
        return repr(self)

    def _refuse(self, str why):
        """Raises the DamagedObjectError of a control block."""
        raise DamagedObjectError(EBADMSG, f"the control block of {self._named()} is damaged: {why}")

    cdef int refuse_version(self, uint32_t found, uint32_t known) except -1:
        if found < known:
            self._refuse(f"there is no version {found} of the format")
        raise NotImplementedError(f"{self._named()} was made in version {found} of its format, by a newer "
                                  f"memorymapped: this one knows version {known}")

    cdef int refuse_layout(self, uint64_t size, const char *theirs, size_t length, uint64_t asked, str text) except -1:
        """Of values of `size` bytes, whose layout is described there, beside those that are asked for."""
        cdef str other = theirs[:min(length, <size_t>SHOWN_TEXT)].decode("utf-8", "replace")
        self.check_marks()
        from memorymapped.shared.layouts import beside

        raise LayoutMismatchError(f"{self._named()} was made with another layout, of {size} bytes, than the {asked} "
                                  f"bytes that are asked for:\n{beside('the map', other, 'asked for', text)}")

    # ---- the end

    def _detach(self):
        """Closed, from here on. Threads that wait by it get a ClosedError."""
        cdef Mapping mapping = self.mapping
        cdef uint32_t *word = self.word()
        cdef uint32_t *waiters = self.waiters()
        cdef int turn
        self.forget()
        self.region = NULL
        self.mapping = None
        self.view = None
        for turn in range(20):
            if word == NULL or not self.asleep:
                break
            # Safe: `mapping` keeps the word.
            with nogil:
                mmf_futex_wake_all(word, mmf_word_load(waiters))
                mmf_sleep(0.00005)

    @property
    def closed(self):
        """True after close()."""
        return self.view is None

    cdef int raise_closed(self) except -1:
        raise ClosedError(f"{self!r} is closed")

    # ---- waiting

    cdef bint wait(self, tuple what, double limit) except -1:
        """Until it has arrived, `limit` seconds at most (negative: for ever)."""
        cdef double deadline = mmf_now() + limit
        cdef double time
        cdef uint32_t *word
        cdef uint32_t *waiters
        cdef uint32_t value = 0
        cdef Mapping mapping
        if self.arrived(what):
            return True
        if limit == 0:
            return False
        mapping = self.mapping
        word = self.word()
        waiters = self.waiters()
        if mapping is None:
            self.raise_closed()
        if word != NULL:
            mmf_word_add(waiters, 1)
        self.asleep += 1
        try:
            while True:
                if word != NULL:
                    value = mmf_word_load(word)
                if self.arrived(what):
                    return True
                time = self.pause()
                if limit >= 0:
                    time = min(time, deadline - mmf_now())
                    if time <= 0:
                        return False
                # Safe: `mapping` keeps the word, whoever closes this.
                with nogil:
                    if word != NULL:
                        mmf_futex_wait(word, value, time)
                    else:
                        mmf_sleep(time)
                PyErr_CheckSignals()
        finally:
            self.asleep -= 1
            if word != NULL:
                mmf_word_add(waiters, <uint32_t>-1)

    # For tasks: see aio.arrival.

    def _arrived(self, *what):
        return self.arrived(what)

    def _word(self):
        cdef uint32_t *word = self.word()
        if self.view is None:
            self.raise_closed()
        return None if word == NULL else word_of(self.mapping, word, self.waiters())

    def _pause(self):
        return self.pause()

    # ---- faults

    cdef int raise_fault(self) except -1:
        """After the guard's mark was found. What is there and what keeps it whole are one: any lost page is a fault."""
        cdef View view = self.view
        if view is None:
            self.raise_closed()
        view.raise_fault(0, view.size)
        return 0

    cdef int check_marks(self) except -1:
        """After memory was read."""
        if self.view is None:
            self.raise_closed()
        if mmf_marked(self.region):
            self.raise_fault()
        return 0


# ---------------------------------------------------------------------------------------------------------- edits


cdef int check_other_end(const Turn *turn, RobustMutex core, object of, bint closed, bint failed) except -1:
    # `check_end`, where this thread does not own the lock.
    if core is None:
        raise RuntimeError("this edit is not entered")
    if not closed and turn.thread == this_thread():
        refuse_released(of)
    if not closed and (not failed or turn.process == this_process()):
        raise RuntimeError(f"{of!r}: an edit is ended by the thread that has begun it")
    if not failed:  # closed within: that has given the lock back
        raise ClosedError(f"{of!r} is closed")
    return 0


cdef int refuse_released(object of) except -1:
    raise RuntimeError(f"{of!r}: the lock was released within an edit, so that others could write what it would undo: "
                       "the draft is discarded")
