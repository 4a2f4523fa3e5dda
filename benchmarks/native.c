/* SPDX-License-Identifier: MIT
 *
 * What only C can show: loops without Python, and the same Python call with and without the fault guard.
 *
 * `Window` reads as the library's accessor does (its headers, the same steps in the same order), in two methods that
 * differ by one line: the question for the guard's mark after the access.
 */
#include <Python.h>
#include <linux/futex.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guard.h"
#include "scalar.h"

#define EXPORT __attribute__((visibility("default")))

typedef struct {
    PyObject_HEAD
    mmf_region *region;
    char *data;
    Py_ssize_t readable;
} Window;

static mmf_region watched;

static PyObject *outside(void)
{
    PyErr_SetString(PyExc_IndexError, "outside");
    return NULL;
}

#define READ(name, after)                                                                                    \
    static PyObject *name(Window *self, PyObject *position)                                                  \
    {                                                                                                        \
        Py_ssize_t at = mmf_position(position);                                                              \
        if (at == -1 && PyErr_Occurred())                                                                    \
            return NULL;                                                                                     \
        if (at < 0 || at > self->readable - 8)                                                               \
            return outside();                                                                                \
        PyObject *value = mmf_unpack(MMF_INT64, self->data + at);                                            \
        if (value == NULL)                                                                                   \
            return NULL;                                                                                     \
        after return value;                                                                                  \
    }

READ(unguarded, )
READ(guarded, if (mmf_marked(self->region)) {
    Py_DECREF(value);
    return outside();
})

static PyMethodDef window_methods[] = {
    {"unguarded", (PyCFunction)unguarded, METH_O, NULL},
    {"guarded", (PyCFunction)guarded, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *window_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t size = 1 << 16;
    Window *self = (Window *)type->tp_alloc(type, 0);
    (void)args, (void)kwargs;
    if (!self)
        return NULL;
    self->data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (self->data == MAP_FAILED) {
        self->data = NULL;
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    memset(self->data, 0x55, size);
    self->readable = size;
    self->region = &watched;
    return (PyObject *)self;
}

static void window_dealloc(Window *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->data)
        munmap(self->data, self->readable);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot window_slots[] = {
    {Py_tp_new, window_new}, {Py_tp_dealloc, window_dealloc}, {Py_tp_methods, window_methods}, {0, NULL}};
static PyType_Spec window_spec = {
    .name = "native.Window", .basicsize = sizeof(Window), .flags = Py_TPFLAGS_DEFAULT, .slots = window_slots};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "native", .m_size = -1};

PyMODINIT_FUNC PyInit_native(void)
{
    PyObject *module = PyModule_Create(&definition);
    PyObject *type = PyType_FromSpec(&window_spec);
    if (!module || !type || PyModule_AddObject(module, "Window", type) < 0)
        return NULL;
    return module;
}

/* ---- loops for ctypes; the empty assembly keeps the compiler from joining the accesses */

EXPORT int64_t loop_unguarded(const char *data, Py_ssize_t mask, Py_ssize_t count)
{
    int64_t sum = 0, value;
    for (Py_ssize_t i = 0; i < count; i++) {
        memcpy(&value, data + (i * 8 & mask), 8);
        sum += value;
        __asm__ volatile("" : "+r"(sum));
    }
    return sum;
}

EXPORT int64_t loop_guarded(const char *data, Py_ssize_t mask, Py_ssize_t count)
{
    int64_t sum = 0, value;
    for (Py_ssize_t i = 0; i < count; i++) {
        memcpy(&value, data + (i * 8 & mask), 8);
        if (mmf_marked(&watched))
            return -1;
        sum += value;
        __asm__ volatile("" : "+r"(sum));
    }
    return sum;
}

EXPORT int64_t sum_at(const char *data, const int64_t *offsets, Py_ssize_t count)
{
    int64_t sum = 0, value;
    for (Py_ssize_t i = 0; i < count; i++) {
        memcpy(&value, data + offsets[i], 8);
        sum += value;
    }
    return sum;
}

EXPORT void gather_at(int64_t *out, const char *data, const int64_t *offsets, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++)
        memcpy(&out[i], data + offsets[i], 8);
}

/* ---- two processes that hand over in turns, by futex(2) and nothing else (rows/locks.py) */

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* numbers: whose it is (the word to sleep on), who has come to wait, when it was handed over. */
EXPORT void hand_over(int64_t *numbers, int who, long times, long asleep, int64_t *taken)
{
    int32_t *word = (int32_t *)numbers;
    while (__atomic_load_n(&numbers[1], __ATOMIC_ACQUIRE) != who)
        ;
    for (long i = 0; i < times; i++) {
        while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != who)
            syscall(SYS_futex, word, FUTEX_WAIT, 1 - who, NULL, NULL, 0);
        int64_t begin = now();
        taken[i] = numbers[2] ? begin - numbers[2] : 0;
        __atomic_store_n(&numbers[1], 1 - who, __ATOMIC_RELEASE);
        while (now() < begin + asleep)
            ;
        numbers[2] = now();
        __atomic_store_n(word, 1 - who, __ATOMIC_RELEASE);
        syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
        while (__atomic_load_n(&numbers[1], __ATOMIC_ACQUIRE) != who)
            ;
    }
    __atomic_store_n(&numbers[1], 1 - who, __ATOMIC_RELEASE);
}
