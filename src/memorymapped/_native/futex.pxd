# SPDX-License-Identifier: MIT
from libc.stdint cimport uint32_t
from memorymapped._native.memory cimport Mapping, mmf_region


cdef extern from "futex.h" nogil:
    enum:
        MMF_WAITV_MOST
    uint32_t mmf_word_load(const uint32_t *word)
    void mmf_word_store(uint32_t *word, uint32_t value)
    void mmf_word_add(uint32_t *word, uint32_t value)
    bint mmf_word_clear(uint32_t *word)
    void mmf_word_switch(uint32_t *word, uint32_t on)
    void mmf_word_take_away(uint32_t *word)
    bint mmf_word_decrement(uint32_t *word)
    bint mmf_word_increase(uint32_t *word, uint32_t count, uint32_t most, uint32_t *before)
    void mmf_futex_wake(uint32_t *word, int most)
    void mmf_futex_wake_all(uint32_t *word, uint32_t counted)
    int mmf_futex_wait(uint32_t *word, uint32_t value, double seconds)
    int mmf_futex_waitv(uint32_t *const *words, const uint32_t *values, int count, double seconds)
    int mmf_sleep(double seconds)
    double mmf_now()


# The base of what is waited for by sleeping on a word.
cdef class Waitable:
    cdef Mapping mapping         # None: closed
    cdef mmf_region *region
    cdef uint32_t *word          # NULL: closed
    cdef uint32_t *waiters
    cdef uint32_t parameter      # what its kind needs to know
    cdef int asleep              # threads of this process that may be sleeping on the word by this object
    cdef readonly object _backing  # what a named one holds; None for an unnamed one
    cdef object __weakref__

    cdef int place(self, Mapping mapping, char *word, char *waiters) except -1
    cdef int raise_closed(self) except -1
    cdef int check_fault(self) except -1
    cdef bint sleeps(self)
    cdef uint32_t idle(self)
    cdef int ready(self) except -1
    cdef int take(self) except -1
    cdef int take_since(self, uint32_t value) except -1
    cdef int put_back(self) except -1
    cdef void undo(self, uint32_t *word, uint32_t *waiters) noexcept
    cdef int take_within(self, double limit) except -1


cdef class Event(Waitable):
    cdef int signal(self) except -1


cdef class Semaphore(Waitable):
    cdef long long add(self, long count) except -1
    cdef int raise_full(self, object count) except -1


# A word that others change.
cdef class Word(Waitable):
    pass


cdef Word word_of(Mapping mapping, uint32_t *word, uint32_t *waiters)


cdef double limit_of(object timeout) except? -2.0


# A wait under way: the words it sleeps on, in whose `waiters` it is counted, and its time.
cdef class Sleep:
    cdef uint32_t *words[MMF_WAITV_MOST]
    cdef uint32_t values[MMF_WAITV_MOST]  # on which it sleeps
    cdef uint32_t *counters[MMF_WAITV_MOST]
    cdef int count
    cdef int taken              # which of them was taken in the end; -1: none
    cdef list owners            # a Waitable and its mapping for each word
    cdef double deadline        # negative: never
    cdef double pause           # to the next look; 0: nothing has to be polled

    cdef int begin(self, double limit) except -1
    cdef int poll(self) except -1
    cdef int add(self, Waitable waitable) except -1
    cdef int end(self) except -1
    cdef int once(self) except -1
    cdef int look_for_fault(self) except -1
