/* SPDX-License-Identifier: MIT
 *
 * The memory of structures' values, below the reference counts that Cython keeps.
 *
 * A snapshot has its bytes behind its own object, in one allocation, and many of them live for a moment only: so each
 * layout keeps the memory of some that are gone. What is a part of another value, or lies in a view, has no bytes of its
 * own.
 */
#ifndef MEMORYMAPPED_STRUCTS_H
#define MEMORYMAPPED_STRUCTS_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

/* As Cython lays out its class Value, without a table of methods; `seal` compares the sizes. The layout is borrowed from
 * the class, which has it as `__layout__` for as long as it lives. */
typedef struct {
    PyObject_HEAD
    char *data;
    PyObject *owner;
    Py_ssize_t position;
    PyObject *layout;
    char bytes[];
} mmf_value;

/* Memory of values without bytes of their own that are gone. (Kept by the interpreter's lock.) */
#define MMF_SPARE_HEADS 32
static void *mmf_spare_heads[MMF_SPARE_HEADS];
static int mmf_spare_head_count;

static inline void *mmf_head_memory(void) { return mmf_spare_head_count ? mmf_spare_heads[--mmf_spare_head_count] : NULL; }

static inline void mmf_head_end(void *memory)
{
    if (mmf_spare_head_count < MMF_SPARE_HEADS)
        mmf_spare_heads[mmf_spare_head_count++] = memory;
    else
        PyObject_Free(memory);
}

/* A new value of a heap type, with room for `size` bytes behind it (uninitialised), from `memory` if there is some. */
static inline PyObject *mmf_value_new(PyTypeObject *type, PyObject *layout, Py_ssize_t size, void *memory)
{
    mmf_value *value = memory ? memory : PyObject_Malloc(sizeof(mmf_value) + (size_t)size);
    if (!value)
        return PyErr_NoMemory();
    (void)PyObject_Init((PyObject *)value, type);
    value->data = value->bytes;
    value->owner = Py_NewRef(Py_None);
    value->position = -1;
    value->layout = layout;
    return (PyObject *)value;
}

/* Makes a heap type, just made, one whose instances have room for `size` bytes, and end by `end`. Its instances are not
 * the garbage collector's: they refer to no object that could refer to them but their class. (CPython has every class of
 * Python code take part. Safe here: there is no instance yet, and these are the fields by which it decides.) */
static inline void mmf_value_seal(PyTypeObject *type, Py_ssize_t size, destructor end, getattrofunc get)
{
    type->tp_basicsize = (Py_ssize_t)sizeof(mmf_value) + size;
    type->tp_flags &= ~Py_TPFLAGS_HAVE_GC;
    type->tp_traverse = NULL;
    type->tp_clear = NULL;
    type->tp_free = PyObject_Free;
    type->tp_dealloc = end;
    if (type->tp_getattro == PyObject_GenericGetAttr)
        type->tp_getattro = get;
}

/* memcpy, for what is mostly short. */
static inline void mmf_copy_short(char *to, const char *from, size_t size)
{
    if (size < 8 || size > 64) {
        memcpy(to, from, size);
        return;
    }
    uint64_t last;
    memcpy(&last, from + size - 8, 8);
    for (size_t at = 0; at < size - 8; at += 8) {
        uint64_t word;
        memcpy(&word, from + at, 8);
        memcpy(to + at, &word, 8);
    }
    memcpy(to + size - 8, &last, 8);
}

static inline int mmf_value_sealed(PyTypeObject *type, destructor end) { return type->tp_dealloc == end; }

/* A field by the address of its name: those are interned, as are those in code. `kind`: of a plain number, else -1. */
typedef struct {
    PyObject *name; /* NULL: a free place */
    PyObject *field;
    Py_ssize_t offset;
    int kind;
} mmf_entry;

/* The place of a name, or the free one where it would be. At least half of the places are free, so a search ends. */
static inline mmf_entry *mmf_entry_of(mmf_entry *entries, size_t places, const PyObject *name)
{
    size_t at = ((uintptr_t)name >> 4) & (places - 1);
    while (entries[at].name && entries[at].name != name)
        at = (at + 1) & (places - 1);
    return &entries[at];
}

#endif
