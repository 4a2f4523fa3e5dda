/* SPDX-License-Identifier: MIT
 *
 * Python numbers to machine values and back. A conversion may run Python code (`__index__`, `__float__`), which
 * may close the view: so it comes first, and only then is the view looked at.
 */
#ifndef MEMORYMAPPED_SCALAR_H
#define MEMORYMAPPED_SCALAR_H

#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* 1 and *out if it is an int that can be read in place. That is most of them, and the calls that do the same take as
 * long as the access. */
static inline int mmf_short(PyObject *object, int64_t *out)
{
    if (!PyLong_CheckExact(object))
        return 0;
#if PY_VERSION_HEX >= 0x030C0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)object))
        return 0;
    *out = PyUnstable_Long_CompactValue((PyLongObject *)object);
#else
    Py_ssize_t size = Py_SIZE(object), count = size < 0 ? -size : size;
    const digit *digits = ((PyLongObject *)object)->ob_digit; /* of PyLong_SHIFT bits: 30, or 15 */
    if (__builtin_expect(count <= 1, 1)) {
        *out = size * (int64_t)digits[0];
        return 1;
    }
    int64_t value = (int64_t)digits[1] << PyLong_SHIFT | digits[0];
    if (count > 2) {
        if (count > 3 || (uint64_t)digits[2] >> (63 - 2 * PyLong_SHIFT))
            return 0;
        value |= (int64_t)digits[2] << 2 * PyLong_SHIFT;
    }
    *out = size < 0 ? -value : value;
#endif
    return 1;
}

/* A position: any integer; what is beyond ssize_t is cut to its ends, which are outside of every view. */
static inline Py_ssize_t mmf_position(PyObject *object)
{
    int64_t value;
    if (sizeof value == sizeof(Py_ssize_t) && __builtin_expect(mmf_short(object, &value), 1))
        return (Py_ssize_t)value;
    return PyNumber_AsSsize_t(object, NULL);
}

/* A position that counts from somewhere, so that cutting it would give a wrong one. 0 and *out; 1 or -1: beyond
 * ssize_t in that direction; -2: not an integer (exception set). */
static inline int mmf_distance(PyObject *object, Py_ssize_t *out)
{
    int overflow = 0;
    PyObject *index = PyNumber_Index(object);
    if (!index)
        return -2;
    *out = (Py_ssize_t)PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    return overflow;
}

/* PySlice_Unpack, with the usual slice of two ints read in place. */
static inline int mmf_slice(PyObject *object, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t *step)
{
    PySliceObject *slice = (PySliceObject *)object;
    int64_t first, last;
    if (sizeof first == sizeof *start && slice->step == Py_None && mmf_short(slice->start, &first)
        && mmf_short(slice->stop, &last)) {
        *start = (Py_ssize_t)first, *stop = (Py_ssize_t)last, *step = 1;
        return 0;
    }
    return PySlice_Unpack(object, start, stop, step);
}

/* 0 and *out; 1: beyond 64 bits; -1: not an integer (exception set). */
static __attribute__((noinline, unused)) int mmf_long(PyObject *object, int64_t *out)
{
    int overflow = 0;
    if (PyLong_CheckExact(object)) {
        *out = PyLong_AsLongLongAndOverflow(object, &overflow);
        return overflow != 0;
    }
    PyObject *index = PyNumber_Index(object);
    if (!index)
        return -1;
    *out = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    return overflow != 0;
}

/* 0 and *out; 1: does not fit; -1: not an integer (exception set). */
static inline int mmf_signed(PyObject *object, int64_t low, int64_t high, int64_t *out)
{
    if (!mmf_short(object, out)) {
        int rc = mmf_long(object, out);
        if (rc)
            return rc;
    }
    return *out < low || *out > high;
}

static inline int mmf_unsigned(PyObject *object, uint64_t *out)
{
    PyObject *index = PyNumber_Index(object);
    if (!index)
        return -1;
    int overflow = 0;
    long long value = PyLong_AsLongLongAndOverflow(index, &overflow);
    if (overflow > 0) {
        *out = PyLong_AsUnsignedLongLong(index);
        if (*out == (uint64_t)-1 && PyErr_Occurred()) {
            PyErr_Clear();
            value = -1;
        } else {
            value = 0;
        }
    } else {
        *out = (uint64_t)value;
    }
    Py_DECREF(index);
    return overflow < 0 || value < 0;
}

/* Bit for bit, NaN with its payload and its signalling bit too, which the processor's conversion would set. */
static inline double mmf_double_from_bits(uint32_t bits)
{
    float single;
    double value;
    if ((bits & 0x7f800000u) == 0x7f800000u && (bits & 0x007fffffu)) {
        uint64_t wide = ((uint64_t)(bits & 0x80000000u) << 32) | 0x7ff0000000000000u
                        | ((uint64_t)(bits & 0x007fffffu) << 29);
        memcpy(&value, &wide, 8);
        return value;
    }
    memcpy(&single, &bits, 4);
    return single;
}

/* 0 and *bits; 1: a finite number beyond the largest float. */
static inline int mmf_single_bits(double value, uint32_t *bits)
{
    uint64_t wide;
    memcpy(&wide, &value, 8);
    if (isnan(value)) {
        *bits = (uint32_t)(wide >> 32 & 0x80000000u) | 0x7f800000u | (uint32_t)(wide >> 29 & 0x007fffffu);
        if (!(*bits & 0x007fffffu))
            *bits |= 0x00400000u; /* a payload of low bits only would become an infinity */
        return 0;
    }
    float single = (float)value;
    memcpy(bits, &single, 4);
    return isinf(single) && !isinf(value);
}

/* 0 and *out: one UTF-16 unit; 1: longer than one unit; -1: not a str of one character (exception set). */
static inline int mmf_char(PyObject *object, uint16_t *out)
{
    if (!PyUnicode_Check(object) || PyUnicode_GET_LENGTH(object) != 1) {
        PyErr_Format(PyExc_TypeError, "a char is a str of one character, not %R", object);
        return -1;
    }
    Py_UCS4 point = PyUnicode_READ_CHAR(object, 0);
    *out = (uint16_t)point;
    return point > 0xffff;
}

/* The element kinds. With a constant kind the compiler leaves one case of each switch. */
enum mmf_kind {
    MMF_BOOL, MMF_INT8, MMF_UINT8, MMF_INT16, MMF_UINT16, MMF_INT32, MMF_UINT32, MMF_INT64, MMF_UINT64,
    MMF_SINGLE, MMF_DOUBLE, MMF_CHAR
};

#define MMF_LOAD(type, box)                                                                                  \
    {                                                                                                        \
        type value;                                                                                          \
        memcpy(&value, from, sizeof value);                                                                  \
        return box;                                                                                          \
    }

/* A new reference, or NULL with an exception. Any alignment. Runs no Python code. */
static inline PyObject *mmf_unpack(int kind, const char *from)
{
    switch (kind) {
    case MMF_BOOL: MMF_LOAD(uint8_t, PyBool_FromLong(value))
    case MMF_INT8: MMF_LOAD(int8_t, PyLong_FromLong(value))
    case MMF_UINT8: MMF_LOAD(uint8_t, PyLong_FromLong(value))
    case MMF_INT16: MMF_LOAD(int16_t, PyLong_FromLong(value))
    case MMF_UINT16: MMF_LOAD(uint16_t, PyLong_FromLong(value))
    case MMF_INT32: MMF_LOAD(int32_t, PyLong_FromLong(value))
    case MMF_UINT32: MMF_LOAD(uint32_t, PyLong_FromLongLong(value))
    case MMF_INT64: MMF_LOAD(int64_t, PyLong_FromLongLong(value))
    case MMF_UINT64: MMF_LOAD(uint64_t, PyLong_FromUnsignedLongLong(value))
    case MMF_SINGLE: MMF_LOAD(uint32_t, PyFloat_FromDouble(mmf_double_from_bits(value)))
    case MMF_DOUBLE: MMF_LOAD(double, PyFloat_FromDouble(value))
    case MMF_CHAR: MMF_LOAD(uint16_t, PyUnicode_FromOrdinal(value))
    }
    PyErr_SetString(PyExc_SystemError, "unknown element kind");
    return NULL;
}

#define MMF_STORE(type)                                                                                      \
    {                                                                                                        \
        type narrow = (type)value;                                                                           \
        memcpy(to, &narrow, sizeof narrow);                                                                  \
        return rc;                                                                                           \
    }

/* The packed bytes to where they belong: one store. */
static inline void mmf_put(char *to, const char *packed, Py_ssize_t size)
{
    switch (size) {
    case 1: memcpy(to, packed, 1); return;
    case 2: memcpy(to, packed, 2); return;
    case 4: memcpy(to, packed, 4); return;
    default: memcpy(to, packed, 8);
    }
}

/* To the (up to eight) bytes at `to`. 0: done; 1: the value does not fit; -1: an exception is set. May run
 * Python code. */
static inline int mmf_pack(int kind, PyObject *object, char *to)
{
    int64_t value = 0;
    uint64_t wide = 0;
    double real;
    uint32_t bits = 0;
    uint16_t unit = 0;
    int rc;
    switch (kind) {
    case MMF_BOOL:
        rc = PyObject_IsTrue(object);
        *to = rc > 0;
        return rc < 0 ? -1 : 0;
    case MMF_INT8: rc = mmf_signed(object, INT8_MIN, INT8_MAX, &value); MMF_STORE(int8_t)
    case MMF_UINT8: rc = mmf_signed(object, 0, UINT8_MAX, &value); MMF_STORE(uint8_t)
    case MMF_INT16: rc = mmf_signed(object, INT16_MIN, INT16_MAX, &value); MMF_STORE(int16_t)
    case MMF_UINT16: rc = mmf_signed(object, 0, UINT16_MAX, &value); MMF_STORE(uint16_t)
    case MMF_INT32: rc = mmf_signed(object, INT32_MIN, INT32_MAX, &value); MMF_STORE(int32_t)
    case MMF_UINT32: rc = mmf_signed(object, 0, UINT32_MAX, &value); MMF_STORE(uint32_t)
    case MMF_INT64: rc = mmf_signed(object, INT64_MIN, INT64_MAX, &value); MMF_STORE(int64_t)
    case MMF_UINT64:
        rc = mmf_unsigned(object, &wide);
        memcpy(to, &wide, 8);
        return rc;
    case MMF_SINGLE:
    case MMF_DOUBLE:
        real = PyFloat_CheckExact(object) ? PyFloat_AS_DOUBLE(object) : PyFloat_AsDouble(object);
        if (real == -1.0 && PyErr_Occurred()) {
            if (!PyErr_ExceptionMatches(PyExc_OverflowError))
                return -1;
            PyErr_Clear(); /* an int beyond every double */
            return 1;
        }
        if (kind == MMF_DOUBLE) {
            memcpy(to, &real, 8);
            return 0;
        }
        rc = mmf_single_bits(real, &bits);
        memcpy(to, &bits, 4);
        return rc;
    case MMF_CHAR:
        rc = mmf_char(object, &unit);
        memcpy(to, &unit, 2);
        return rc;
    }
    PyErr_SetString(PyExc_SystemError, "unknown element kind");
    return -1;
}

#endif
