# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Structures: bytes with named fields, in memory of their own or in a view.

A `Value` is one of three:

- a **snapshot** has its bytes in its own object and never changes. What is read from a map is one; its fields are
  decoded when they are asked for;
- a **draft** is the same, but its fields can be assigned;
- a **reference** says where in a view its bytes are. Each access goes there: after the view is closed it raises
  ClosedError.

A nested structure, and an array, is taken from its outer one without a copy: it points to the same bytes, which it
keeps alive. Whether they may be changed is asked of the outermost one (`root`), each time.

Every access keeps the order of memory.pyx: convert, look at the view, touch memory, ask for the guard's mark. All bytes
that a field has lie within its structure, and a reference is only made where its whole structure lies within its view,
whose size never changes: so an access has no bounds to check, but whether the view is open.
"""
from sys import intern

from memorymapped.errors import OutOfRangeError, ValueOutOfRangeError, shown

cimport cython
from cpython.buffer cimport (
    PyBUF_ANY_CONTIGUOUS, PyBUF_C_CONTIGUOUS, PyBUF_F_CONTIGUOUS, PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE, PyBUF_STRIDES,
    PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject, PyTypeObject
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack
from libc.stddef cimport size_t
from libc.string cimport memcmp, memcpy, memset
from memorymapped._native.memory cimport *

cdef extern from "Python.h":
    ctypedef void (*destructor)(PyObject *)
    ctypedef object (*getattrofunc)(object, object)
    ctypedef struct TypeObject "PyTypeObject":
        Py_ssize_t tp_basicsize
        unsigned long tp_flags
        void (*tp_free)(void *)
    object PyObject_GenericGetAttr(object self, object name)
    PyObject *_PyType_Lookup(PyTypeObject *cls, object name)
    void PyObject_Free(void *)
    void DECREF "Py_DECREF"(PyObject *)

cdef extern from "structs.h":
    ctypedef struct mmf_value:
        char *data
        PyObject *owner
        Py_ssize_t position
        PyObject *layout
        char *bytes
    void mmf_value_seal(PyTypeObject *type, Py_ssize_t size, destructor end, getattrofunc get)
    bint mmf_value_sealed(PyTypeObject *type, destructor end)
    void mmf_copy_short(char *to, const char *source, size_t size)
    mmf_entry *mmf_entry_of(mmf_entry *entries, size_t places, const PyObject *name)
    void *mmf_head_memory()
    void mmf_head_end(void *memory)
    object mmf_value_new(PyTypeObject *type, PyObject *layout, Py_ssize_t size, void *memory)

cdef enum:
    SPARES = 16
    SPARED = 512  # bytes: the largest whose memory is kept
    HEAD = sizeof(mmf_value)
    CONTIGUOUS = (PyBUF_C_CONTIGUOUS | PyBUF_F_CONTIGUOUS | PyBUF_ANY_CONTIGUOUS) & ~PyBUF_STRIDES

# What a field consists of.
cdef enum:
    NUMBER     # a number of the machine
    CONVERTED  # a number that stands for something
    CODED      # bytes that a function makes a value of
    NESTED
    ARRAY

cdef str LAYOUT = "__layout__"

cdef enum:
    SEQUENCE = 1 << 5  # Py_TPFLAGS_SEQUENCE: `match` takes it for one


# ---------------------------------------------------------------------------------------------------------- layouts


cdef class StructLayout:
    """The size, the alignment (bytes) and the fields of a structure: the compiled half of `Layout`."""

    def __init__(self, struct, Py_ssize_t size, Py_ssize_t alignment, fields):
        if self.entries != NULL:
            raise TypeError("a layout never changes")
        self.struct = struct
        self.size = size
        self.alignment = alignment
        self.fields = tuple(fields)
        self.template = bytes(size)
        self.by_name = {}
        self.places = 4
        while self.places < 2 * <size_t>len(self.fields):
            self.places *= 2
        self.entries = <mmf_entry *>PyMem_Calloc(self.places, sizeof(mmf_entry))
        if self.entries == NULL:
            raise MemoryError()
        for place, field in enumerate(self.fields):
            own(self, field)
            (<Field>field).place = place

    def set_default(self, Field field not None, value):
        """What a field has that is not given when a value is made. Before the class is sealed."""
        if field.of != <void *>self or self.sealed:
            raise TypeError(f"{field!r} has its default for good")
        cdef bytes template = bytes(bytearray(self.template))  # its own: a bytes object of the same size may be shared
        encode_to(field, value, PyBytes_AS_STRING(template) + field.offset)
        self.template = template

    def __dealloc__(self):
        PyMem_Free(self.entries)
        while self.spares:
            self.spares -= 1
            PyObject_Free(self.spare[self.spares])


cdef int own(StructLayout self, Field field) except -1:
    if field.offset < 0 or field.size <= 0 or field.offset > self.size - field.size:
        raise ValueError(f"the field {field.name!r} of {field.size} bytes at {field.offset} lies outside of {self.size} "
                         "bytes")
    field.of = <void *>self
    self.by_name[field.name] = field
    cdef mmf_entry *entry = mmf_entry_of(self.entries, self.places, <PyObject *>field.name)
    entry.name = <PyObject *>field.name
    entry.field = <PyObject *>field
    entry.offset = field.offset
    entry.kind = field.number if field.category == NUMBER and not field.swapped else -1
    return 0


cdef struct Known:
    PyObject *type
    PyObject *layout

# The layouts of classes that were asked for, by the class's address. No reference is held: an entry is good while its
# class lives, and `seal` replaces that of a class that has gone and left its address to another.
cdef enum:
    KNOWN = 64
cdef Known known[KNOWN]


cdef inline Known *known_at(PyObject *cls) noexcept:
    return &known[(<size_t>cls >> 5) % KNOWN]


cdef StructLayout layout_of(object cls):
    """The layout of a structure's class; None for anything else."""
    cdef Known *entry
    cdef PyObject *found
    if not isinstance(cls, type) or not mmf_value_sealed(<PyTypeObject *>cls, end_value):
        return None
    entry = known_at(<PyObject *>cls)
    if entry.type == <PyObject *>cls:
        return <StructLayout>entry.layout
    found = _PyType_Lookup(<PyTypeObject *>cls, LAYOUT)
    if found == NULL:  # somebody has deleted it
        return None
    entry.type = <PyObject *>cls
    entry.layout = found
    return <StructLayout?><object>found


def seal(cls):
    """Makes a class that was just declared, and has its `__layout__`, one whose values have room for their bytes."""
    cdef StructLayout layout = cls.__layout__
    cdef Known *entry = known_at(<PyObject *>cls)
    if not issubclass(cls, Value) or layout is None or (<TypeObject *><PyObject *>Value).tp_basicsize != HEAD:
        raise TypeError(f"{cls!r} is no class of structures")
    # Another base may have brought a dictionary, weak references or slots: there is no room for them.
    if cls.__dictoffset__ or cls.__weakrefoffset__ or cls.__basicsize__ != cls.__base__.__basicsize__:
        raise TypeError(f"values of {cls.__name__} have nothing but their fields: its other bases need `__slots__ = ()`")
    layout.sealed = True
    mmf_value_seal(<PyTypeObject *>cls, layout.size, end_value, get_attribute)
    entry.type = <PyObject *>cls
    entry.layout = <PyObject *>layout


cdef inline bint is_value(object value) noexcept:
    return mmf_value_sealed((<PyObject *>value).ob_type, end_value)


cdef object get_attribute(object self, object name):
    # An attribute of a value: its fields without the detour through the class.
    cdef Value value = <Value>self
    cdef mmf_entry *entry = mmf_entry_of((<StructLayout>value.layout).entries, (<StructLayout>value.layout).places,
                                         <PyObject *>name)
    if entry.name == NULL:
        return PyObject_GenericGetAttr(self, name)
    if entry.kind >= 0 and value.data != NULL:
        return mmf_unpack(entry.kind, value.data + entry.offset)
    return load(<Field>entry.field, value, entry.offset)


cdef void end_value(PyObject *object) noexcept:
    # Safe: only classes that `seal` has seen have this, and their values have this layout. Nothing here runs Python
    # code, except for what the owner's end may run, and nobody else has this object by then.
    cdef mmf_value *value = <mmf_value *>object
    cdef PyObject *owner = value.owner
    cdef PyObject *cls = <PyObject *>object.ob_type
    cdef StructLayout layout
    if value.layout == NULL:  # it was never made; its class may not be sealed yet
        (<TypeObject *>cls).tp_free(object)
        DECREF(owner)
        DECREF(cls)
        return
    layout = <StructLayout>value.layout
    if value.data != value.bytes:
        mmf_head_end(object)
    elif layout.spares < SPARES and layout.size <= SPARED:
        layout.spare[layout.spares] = object
        layout.spares += 1
    else:
        PyObject_Free(object)
    DECREF(owner)
    DECREF(cls)


cdef Value new_value(StructLayout layout, object cls):
    """A snapshot, whose bytes are not set yet."""
    cdef void *memory = NULL
    if layout.spares:
        layout.spares -= 1
        memory = layout.spare[layout.spares]
    return <Value>mmf_value_new(<PyTypeObject *>cls, <PyObject *>layout, layout.size, memory)


cdef Value part(StructLayout layout, object cls, Place outer, Py_ssize_t offset):
    """The structure that lies `offset` bytes from the start of another, or of an array."""
    cdef Value value = <Value>mmf_value_new(<PyTypeObject *>cls, <PyObject *>layout, 0, mmf_head_memory())
    settle(value, outer, offset)
    return value


cdef inline int settle(Place inner, Place outer, Py_ssize_t offset) except -1:
    if outer.data != NULL:
        inner.data = outer.data + offset
        inner.owner = root(outer)
        inner.position = SNAPSHOT
    else:
        inner.data = NULL
        inner.owner = outer.owner
        inner.position = outer.position + offset
    return 0


cdef inline Place root(Place place):
    """Of bytes of our own: who has them."""
    return place if place.owner is None else <Place>place.owner


cdef inline bint lend(Place place) noexcept:
    """Before a buffer of it is given: whether that may be written."""
    cdef Place whole = root(place)
    if whole.position > DRAFT:
        return False
    whole.position = LENT
    return True


@cython.no_gc
cdef class Place:
    """Bytes somewhere. A base."""


@cython.no_gc
@cython.final
cdef class Block(Place):
    """Memory of our own, for an array: a bytes object that nobody else has."""
    cdef bytes memory

    def __cinit__(self, bytes memory not None):
        self.memory = memory
        self.data = PyBytes_AS_STRING(memory)
        self.position = DRAFT


cdef Value snapshot_at(View view, Py_ssize_t position, object cls, StructLayout layout):
    cdef Value value
    if position < 0 or position > view.readable - layout.size:
        view.refuse(position, layout.size, False)
    value = new_value(layout, cls)
    if layout.size <= 256 * 1024:
        mmf_copy_short(value.data, view.data + position, layout.size)
        if mmf_marked(view.region):
            view.check_fault(position, layout.size)
    else:
        view.fill(position, value.data, layout.size)
    return value


cdef int copy_value(Value value, char *to) except -1:
    """The bytes of a value, wherever they are, to memory of our own."""
    cdef View view
    cdef Py_ssize_t size = (<StructLayout>value.layout).size
    if value.data != NULL:
        transfer(to, value.data, size, False)
        return 0
    view = <View>value.owner
    if view.readable < 0:
        view.refuse(value.position, size, False)
    view.copy_out(value.position, to, size)
    return 0


cdef int write_value(View view, Py_ssize_t position, Value value) except -1:
    cdef Py_ssize_t size = (<StructLayout>value.layout).size
    cdef bytes raw = None
    cdef char *source = value.data
    if source == NULL:
        raw = PyBytes_FromStringAndSize(NULL, size)
        source = PyBytes_AS_STRING(raw)
        copy_value(value, source)
    if position < 0 or position > view.writable - size:
        view.refuse(position, size, True)
    view.copy_in(position, source, size)
    return 0


cdef void freeze(Value value) noexcept:
    """A draft is a snapshot from here on, and so is what was taken from it; unless somebody has a buffer of it, by
    which it may change still."""
    if value.data != NULL and value.owner is None and value.position == DRAFT:
        value.position = SNAPSHOT


# ----------------------------------------------------------------------------------------------------------- fields


@cython.final
cdef class Field:
    """A field of a structure: `offset` and `size` in bytes, its `kind`. A descriptor: assigned and read as an attribute
    of the structure's values."""
    def __init__(self, str name not None, Py_ssize_t offset, Py_ssize_t size, kind, str format not None, *, int number=-1,
                 bint swapped=False, decode=None, encode=None, key=None, StructLayout nested=None, nested_class=None,
                 Field element=None, Py_ssize_t count=0):
        if self.name is not None:
            raise TypeError("a field never changes")
        self.name = intern(name)
        self.offset = offset
        self.size = size
        self.kind = kind
        self.format = format
        self.number = number
        self.swapped = swapped
        self.decode = decode
        self.encode = encode
        self.key = key
        self.nested = nested
        self.nested_class = nested_class
        self.element = element
        self.count = count
        if nested is not None:
            self.category = NESTED
        elif element is not None:
            self.category = ARRAY
            self.stride = element.size
        elif number < 0:
            self.category = CODED
        else:
            self.category = NUMBER if decode is None else CONVERTED
        if (self.category <= CONVERTED and not (MMF_BOOL <= number <= MMF_CHAR and size in (1, 2, 4, 8))) \
                or (nested is not None and (nested.size != size or layout_of(nested_class) is not nested)) \
                or (element is not None and (count <= 0 or element.size * count != size)):
            raise ValueError(f"the field {name!r} of {size} bytes is none")  # accesses rely on it

    def __repr__(self):
        return f"<field {self.name!r}: {self.kind} at {self.offset}, {self.size} bytes>"

    def __get__(self, instance, owner):
        if instance is None:
            return self
        if not is_value(instance) or (<Value>instance).layout != self.of:
            refuse_owner(self, instance)
        return load(self, <Value>instance, self.offset)

    def __set__(self, instance, value):
        if not is_value(instance) or (<Value>instance).layout != self.of:
            refuse_owner(self, instance)
        store(self, <Value>instance, self.offset, value, True)

    def __delete__(self, instance):
        raise AttributeError(f"the field {self.name!r} cannot be deleted: a structure has all its fields")


cdef int refuse_owner(Field self, object instance) except -1:
    raise TypeError(f"the field {self.name!r} is not one of a {type(instance).__name__}")


cdef inline void turn(char *bytes, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    cdef char last
    for i in range(size // 2):
        last = bytes[size - 1 - i]
        bytes[size - 1 - i] = bytes[i]
        bytes[i] = last


cdef inline object unpacked(Field self, const char *at):
    """The number at an address."""
    cdef char turned[8]
    if not self.swapped:
        return mmf_unpack(self.number, at)
    memcpy(turned, at, self.size)
    turn(turned, self.size)
    return mmf_unpack(self.number, turned)


cdef object truth(Field self, object value):
    """A bool of NumPy, or 0 or 1: what else is true or false is seldom meant."""
    if type(value).__name__ in ("bool", "bool_") and type(value).__module__ == "numpy":
        return bool(value)
    if type(value) is int and 0 <= value <= 1:
        return value
    raise TypeError(f"{self.name or 'an element'} is {self.kind.described}, not {shown(value)}")


cdef object encoded(Field self, object value):
    try:
        return self.encode(value)
    except (ValueError, TypeError) as error:
        if self.name:
            error.add_note(f"in the field {self.name!r}, which is {self.kind.described}")
        raise


cdef int pack(Field self, object value, char *packed) except -1:
    """The bytes of a number."""
    if self.category == CONVERTED:
        value = encoded(self, value)
    elif self.number == MMF_BOOL and value is not True and value is not False:
        value = truth(self, value)
    try:
        if mmf_pack(self.number, value, packed):
            raise ValueOutOfRangeError(f"{shown(value)} does not fit in {self.name or 'an element'}, which is "
                                       f"{self.kind.described}")
    except TypeError as error:
        raise TypeError(f"{self.name or 'an element'} is {self.kind.described}: {error}") from None
    if self.swapped:
        turn(packed, self.size)
    return 0


cdef object decoded(Field self, object raw):
    try:
        return self.decode(raw)
    except ValueError as error:
        if self.name:
            error.add_note(f"in the field {self.name!r}, which is {self.kind}")
        raise


cdef inline object load(Field self, Place place, Py_ssize_t start):
    """The value of a field whose bytes begin `start` bytes behind the place's."""
    cdef object value
    cdef View view
    if self.category == NUMBER and place.data != NULL:
        return unpacked(self, place.data + start)
    if self.category > CODED:
        if self.category == NESTED:
            return part(self.nested, self.nested_class, place, start)
        return new_array(self.element, place, start, self.count, self.stride)
    if place.data != NULL:
        if self.category == CODED:
            return decoded(self, PyBytes_FromStringAndSize(place.data + start, self.size))
        value = unpacked(self, place.data + start)
    else:
        # Safe: the whole structure lies in the view (see the module's head), which is open.
        view = <View>place.owner
        start += place.position
        if view.readable < 0:
            view.refuse(start, self.size, False)
        if self.category == CODED:
            return decoded(self, view.new_bytes(start, self.size))
        value = unpacked(self, view.data + start)
        if mmf_marked(view.region):
            view.check_fault(start, self.size)
    return value if self.category == NUMBER else decoded(self, value)


cdef int store(Field self, Place place, Py_ssize_t start, object value, bint attribute) except -1:
    """Sets a field. First its bytes are made, by Python code in part, then they are copied in one go."""
    cdef char packed[8]
    cdef char *source = packed
    cdef bytes raw = None
    cdef View view
    if self.category <= CONVERTED:
        pack(self, value, packed)
    else:
        raw = PyBytes_FromStringAndSize(NULL, self.size)
        source = PyBytes_AS_STRING(raw)
        encode_to(self, value, source)
    if place.data != NULL:
        if root(place).position > DRAFT:
            refuse_change(place, self.name, attribute)
        if raw is None:
            mmf_put(place.data + start, packed, self.size)
        else:
            transfer(place.data + start, source, self.size, False)
        return 0
    # Safe: as in `load`.
    view = <View>place.owner
    start += place.position
    if view.writable < 0:
        view.refuse(start, self.size, True)
    if raw is None:
        mmf_put(view.data + start, packed, self.size)
        if mmf_marked(view.region):
            view.check_fault(start, self.size)
    else:
        view.copy_in(start, source, self.size)
    return 0


cdef int refuse_change(Place place, str name, bint attribute) except -1:
    if attribute:
        raise AttributeError(f"{name!r} cannot be assigned: a snapshot never changes. replace({name}=...) makes another, "
                             "draft() gives one that can be assigned, as do view.ref(...) and edit()")
    raise TypeError("an array of a snapshot never changes: view.ref(...) and edit() give one that does")


cdef bint is_record(object value, StructLayout layout) except -1:
    """Whether it is a record of NumPy of the same layout."""
    dtype = getattr(value, "dtype", None)
    return (getattr(dtype, "names", None) is not None and getattr(value, "shape", None) == ()
            and type(dtype).__module__.startswith("numpy") and dtype == layout.dtype)


cdef int encode_to(Field self, object value, char *to) except -1:
    """The bytes of a field's value, all `size` of them, to memory of our own. Runs Python code."""
    cdef char packed[8]
    cdef bytes raw
    cdef Py_ssize_t i
    if self.category <= CONVERTED:
        pack(self, value, packed)
        memcpy(to, packed, self.size)
    elif self.category == CODED:
        raw = encoded(self, value)
        if len(raw) != self.size:
            raise ValueError(f"{self.name!r} has {self.size} bytes, not {len(raw)}")
        memcpy(to, PyBytes_AS_STRING(raw), self.size)
    elif self.category == NESTED:
        if is_value(value) and (<Value>value).layout == <void *>self.nested:
            copy_value(<Value>value, to)
            return 0
        if not is_record(value, self.nested):
            raise TypeError(f"{self.name or 'an element'} is a {self.nested.struct.__name__}, not {shown(value)}")
        raw = value.tobytes()
        memcpy(to, PyBytes_AS_STRING(raw), min(len(raw), self.size))
    else:
        if isinstance(value, (str, dict, set)) or not hasattr(value, "__iter__"):
            raise TypeError(f"{self.name or 'an element'} is {self.kind.described}, not {shown(value)}")
        items = tuple(value)  # nobody else can change that
        if len(items) != self.count:
            raise ValueError(f"{self.name or 'an element'} has {self.count} elements, not {len(items)}")
        for i in range(self.count):
            encode_to(self.element, items[i], to + i * self.stride)
    return 0


cdef str NAN = "not a number"  # all of them are one: what was read from memory is found again


cdef object key_of(Field self, Place place, Py_ssize_t start):
    """What a field is compared by: never an error, whatever the bytes are."""
    cdef Py_ssize_t i
    cdef bytes raw
    if self.category == NUMBER:
        value = load(self, place, start)
        return value if value == value else NAN
    if self.category == NESTED:
        return keys_of(self.nested, place, start)
    if self.category == ARRAY:
        return tuple([key_of(self.element, place, start + i * self.stride) for i in range(self.count)])
    raw = bytes_of(place, start, self.size)
    return raw if self.key is None else self.key(raw)


cdef tuple keys_of(StructLayout layout, Place place, Py_ssize_t start):
    return tuple([key_of(<Field>field, place, start + (<Field>field).offset) for field in layout.fields])


cdef bytes bytes_of(Place place, Py_ssize_t start, Py_ssize_t size):
    cdef View view
    if place.data != NULL:
        return PyBytes_FromStringAndSize(place.data + start, size)
    view = <View>place.owner
    if view.readable < 0:
        view.refuse(place.position + start, size, False)
    return view.new_bytes(place.position + start, size)


cdef object as_numpy(Place place, object dtype):
    # NumPy asks for it where a buffer cannot be had, and is told why. It would take the elements one by one otherwise.
    import numpy

    array = numpy.asarray(memoryview(place))
    return array if dtype is None else array.astype(dtype, copy=False)


# ----------------------------------------------------------------------------------------------------------- values


@cython.no_gc
cdef class Value(Place):
    """The compiled half of `Struct`."""

    def __cinit__(self, *values, **named):
        cdef StructLayout layout = layout_of(type(self))
        cdef Field field
        cdef Py_ssize_t i
        if layout is None:
            raise TypeError("a structure is declared as a class with fields: class Point(Struct): x: int32")
        # Safe: `seal` has seen to it that there is room for the bytes behind the object.
        self.data = <char *><PyObject *>self + HEAD
        self.position = SNAPSHOT
        self.layout = <void *>layout
        memcpy(self.data, PyBytes_AS_STRING(layout.template), layout.size)
        if len(values) > len(layout.fields):
            raise TypeError(f"{type(self).__name__} has {len(layout.fields)} fields, and was given {len(values)} values")
        for i in range(len(values)):
            field = <Field>layout.fields[i]
            encode_to(field, values[i], self.data + field.offset)
        for name, value in named.items():
            field = layout.by_name.get(name)
            if field is None:
                raise TypeError(f"{type(self).__name__} has no field {name!r}: it has "
                                + ", ".join([repr((<Field>each).name) for each in layout.fields]))
            if field.place < len(values):
                raise TypeError(f"{type(self).__name__} was given {name!r} twice")
            encode_to(field, value, self.data + field.offset)

    @property
    def _mode(self):
        """0: a snapshot; 1: a draft; 2: a reference."""
        return 2 if self.data == NULL else root(self).position <= DRAFT

    @property
    def _where(self):
        """The view and the position in it, of a reference; None for others."""
        return None if self.data != NULL else (self.owner, self.position)

    def __array__(self, dtype=None, copy=None):
        return as_numpy(self, dtype)

    def _copy(self, bint draft):
        """Another with the same bytes, of its own."""
        cdef Value copy = new_value(<StructLayout>self.layout, type(self))
        copy_value(self, copy.data)
        if draft:
            copy.position = DRAFT
        return copy

    def _keys(self):
        """What it is compared by: a value for each field."""
        return keys_of(<StructLayout>self.layout, self, 0)

    def _is_same(self, Value other not None):
        """Whether the bytes are the same, which means that the values are; if not they may be equal all the same."""
        if self.data == NULL or other.data == NULL or self.layout != other.layout:
            return False
        return memcmp(self.data, other.data, (<StructLayout>self.layout).size) == 0

    def _replaced(self, dict changes):
        cdef Field field
        cdef Value copy = self._copy(False)
        for name, value in changes.items():
            field = (<StructLayout>self.layout).by_name.get(name)
            if field is None:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            encode_to(field, value, copy.data + field.offset)
        return copy

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        cdef View view
        if self.data != NULL:
            PyBuffer_FillInfo(buffer, self, self.data, (<StructLayout>self.layout).size, not lend(self), flags)
            return
        # The exporter is the mapping: it keeps the pages, while the view may be closed.
        view = <View>self.owner
        if view.readable < 0:
            view.refuse(self.position, (<StructLayout>self.layout).size, False)
        PyBuffer_FillInfo(buffer, view.mapping, view.data + self.position, (<StructLayout>self.layout).size, view.writable < 0, flags)


def from_bytes(cls, data):
    """A snapshot of the bytes of `data`, which must be as many as `cls` has."""
    cdef StructLayout layout = layout_of(cls)
    cdef Py_buffer buffer
    cdef Value value
    if layout is None:
        refuse_type(cls)
    if is_value(data) and (<Value>data).layout == <void *>layout:
        value = new_value(layout, cls)
        copy_value(<Value>data, value.data)
        return value
    take_buffer(data, &buffer, PyBUF_SIMPLE)
    try:
        if buffer.len != layout.size:
            raise ValueError(f"{cls.__name__} has {layout.size} bytes, not {buffer.len}")
        value = new_value(layout, cls)
        memcpy(value.data, buffer.buf, layout.size)
    finally:
        PyBuffer_Release(&buffer)
    return value


cdef View checked_view(object view, Py_ssize_t at, Py_ssize_t size):
    cdef View known = view
    if known.data == NULL or at < 0 or at > known.size - size:
        known.refuse(at, size, known.writes)
    return known


cdef int refuse_type(object cls) except -1:
    raise TypeError(f"{shown(cls)} is no structure: it is declared as a class with fields, class Point(Struct): x: int32")


cdef Value reference(View view, object cls, Py_ssize_t at):
    cdef StructLayout layout = layout_of(cls)
    cdef Value value
    if layout is None:
        refuse_type(cls)
    checked_view(view, at, layout.size)
    value = <Value>mmf_value_new(<PyTypeObject *>cls, <PyObject *>layout, 0, mmf_head_memory())
    value.data = NULL
    value.owner = view
    value.position = at
    return value


# ----------------------------------------------------------------------------------------------------------- arrays


cdef Array new_array(Field element, Place place, Py_ssize_t start, Py_ssize_t count, Py_ssize_t stride):
    cdef Array array = Array.__new__(Array)
    array.element = element
    array.length = count
    array.stride = stride
    settle(array, place, start)
    return array


cdef Array references(View view, object cls, Py_ssize_t at, Py_ssize_t many, bint to_the_end):
    """`many` structures (or as many as there are) from `at` in a view on, in .NET's stride."""
    cdef StructLayout layout = layout_of(cls)
    cdef Py_ssize_t size, stride
    if layout is None:
        refuse_type(cls)
    size = layout.size
    stride = size if size <= 2 else (size + 3) & ~<Py_ssize_t>3
    checked_view(view, at, 0)
    if to_the_end:
        many = (view.size - at) // stride
    elif many < 0:
        raise OutOfRangeError(f"count must not be negative, got {many}")
    elif many > (view.size - at) // stride:
        raise ValueError(f"{many} elements of {stride} bytes at position {at} do not fit in {view!r}, which has "
                         f"{view.size} bytes")
    cdef Array array = Array.__new__(Array)
    array.element = element_of(cls)
    array.length = many
    array.stride = stride
    array.data = NULL
    array.owner = view
    array.position = at
    return array


cdef Field element_of(object cls):
    return <Field>cls.__element__


def own_array(cls, values):
    """An array in memory of its own: of that many zeros, or of values. Its elements can be assigned."""
    cdef StructLayout layout = layout_of(cls)
    cdef Field element
    cdef Py_ssize_t i, count
    cdef bytes memory
    cdef list items = None
    if layout is None:
        refuse_type(cls)
    element = element_of(cls)
    if isinstance(values, bool):
        raise TypeError("an array is made of a number of structures, or of structures, not of a bool")
    if hasattr(values, "__index__") and not hasattr(values, "__len__"):
        count = mmf_position(values)
        if count < 0:
            raise OutOfRangeError(f"an array has no {count} elements")
    else:
        items = list(values)
        count = len(items)
    if count > (<Py_ssize_t>1 << 62) // layout.size:
        raise MemoryError(f"{count} elements of {layout.size} bytes")
    memory = PyBytes_FromStringAndSize(NULL, count * layout.size or 1)
    memset(PyBytes_AS_STRING(memory), 0, count * layout.size or 1)
    for i in range(0 if items is None else count):
        encode_to(element, items[i], PyBytes_AS_STRING(memory) + i * layout.size)
    return new_array(element, Block(memory), 0, count, layout.size)


cdef char nothing[1]
cdef Field NO_ELEMENT = Field("", 0, 1, None, "B", number=MMF_UINT8)


@cython.no_gc
cdef class Exported:
    """The exporter of an array's buffer: it keeps the bytes, and what describes them."""
    cdef object kept
    cdef bytes format
    cdef Py_ssize_t shape[10]
    cdef Py_ssize_t strides[10]

    def __releasebuffer__(self, Py_buffer *buffer):
        """The reference that the buffer held is all there is to release."""


@cython.no_gc
@cython.final
cdef class Array(Place):
    """A sequence of values of one type, `stride` bytes apart: a field of a structure, or structures in a view. Index,
    slice (another array, of the same bytes), iterate, compare; assign, if what it belongs to can be assigned.
    `memoryview` and `numpy.asarray` see its bytes without a copy.

    In a declaration: `samples: Array[int32, Literal[8]]`."""
    def __cinit__(self, *args):
        self.element = NO_ELEMENT
        self.data = nothing
        self.position = SNAPSHOT

    def __init__(self, *args):
        raise TypeError("an array is a field of a structure, or made by view.refs(...) or T.array(...)")

    @classmethod
    def __class_getitem__(cls, item):
        from types import GenericAlias

        return GenericAlias(cls, item)

    @property
    def itemsize(self):
        """Bytes of an element."""
        return self.element.size

    def __len__(self):
        return self.length

    cdef Py_ssize_t index_of(self, object index) except -1:
        cdef Py_ssize_t at = mmf_position(index)
        if at < 0:
            at += self.length
        if at < 0 or at >= self.length:
            raise OutOfRangeError(f"index {shown(index)} is out of range: the array has {self.length} elements")
        return at

    def __getitem__(self, index):
        cdef Py_ssize_t start, stop, step, count
        cdef Array array
        if isinstance(index, slice):
            PySlice_Unpack(index, &start, &stop, &step)
            count = PySlice_AdjustIndices(self.length, &start, &stop, step)
            return new_array(self.element, self, start * self.stride if count else 0, count, self.stride * step)
        return load(self.element, self, self.index_of(index) * self.stride)

    def __setitem__(self, index, value):
        cdef Py_ssize_t i
        cdef Array part
        cdef list items
        if not isinstance(index, slice):
            store(self.element, self, self.index_of(index) * self.stride, value, False)
            return
        part = self[index]
        items = [part.raw(each) for each in value]
        if len(items) != part.length:
            raise ValueError(f"a slice of {part.length} elements takes as many, not {len(items)}")
        for i in range(part.length):
            part.put(i, items[i])

    cdef bytes raw(self, object value):
        """The bytes of an element."""
        cdef bytes raw = PyBytes_FromStringAndSize(NULL, self.element.size)
        encode_to(self.element, value, PyBytes_AS_STRING(raw))
        return raw

    cdef int put(self, Py_ssize_t i, bytes raw) except -1:
        cdef View view
        cdef Py_ssize_t at = i * self.stride
        cdef Py_ssize_t size = self.element.size
        if self.data != NULL:
            if root(self).position > DRAFT:
                refuse_change(self, self.element.name, False)
            memcpy(self.data + at, PyBytes_AS_STRING(raw), size)
            return 0
        view = <View>self.owner
        if view.writable < 0:
            view.refuse(self.position + at, size, True)
        view.copy_in(self.position + at, PyBytes_AS_STRING(raw), size)
        return 0

    def __delitem__(self, index):
        raise TypeError("an element cannot be deleted: an array has all its elements")

    def __iter__(self):
        cdef Py_ssize_t i
        for i in range(self.length):
            yield load(self.element, self, i * self.stride)

    def __contains__(self, value):
        return any(each == value for each in self)

    def index(self, value):
        """The first index of a value. ValueError if it is not there."""
        for i, each in enumerate(self):
            if each == value:
                return i
        raise ValueError(f"{shown(value)} is not in the array")

    def count(self, value):
        """How often a value is there."""
        return sum(each == value for each in self)

    def _check(self):
        """Raises the MemoryFaultError of pages that were lost. Who copies by the buffer reads zeros there."""
        cdef View view
        cdef Py_ssize_t last
        if self.data != NULL or self.length == 0:
            return
        view = <View>self.owner
        last = (self.length - 1) * self.stride
        if view.data != NULL and mmf_marked(view.region):
            view.check_fault(self.position + min(last, 0), abs(last) + self.element.size)

    def __array__(self, dtype=None, copy=None):
        return as_numpy(self, dtype)

    def __reduce__(self):
        raise TypeError(f"{self!r} is a place in memory of this process: pickle its tolist() or tobytes()")

    def tolist(self):
        """The elements as a list; inner arrays are lists as well, structures are snapshots."""
        if self.element.category == ARRAY:
            return [(<Array>each).tolist() for each in self]
        if self.element.category == NESTED:
            return [(<Value>each)._copy(False) for each in self]
        return list(self)

    def tobytes(self):
        """The bytes of the elements, without what may lie between them."""
        cdef Py_ssize_t i
        if self.stride == self.element.size:
            return bytes_of(self, 0, self.length * self.stride)
        return b"".join([bytes_of(self, i * self.stride, self.element.size) for i in range(self.length)])

    def __eq__(self, other):
        if not isinstance(other, (Array, list, tuple)):
            return NotImplemented
        if len(self) != len(other):
            return False
        for mine, theirs in zip(self, other):
            if mine != theirs:
                return False
        return True

    def __hash__(self):
        cdef Py_ssize_t i
        if self.data == NULL or root(self).position <= DRAFT:
            raise TypeError("an array that may change has no hash")
        return hash(tuple([key_of(self.element, self, i * self.stride) for i in range(self.length)]))

    def __repr__(self):
        cdef Py_ssize_t i
        cdef list shown_first = []
        if self.data == NULL and (<View>self.owner).data == NULL:
            return f"<Array of {self.length} in {self.owner!r}>"
        for i in range(min(self.length, 16)):
            try:
                value = load(self.element, self, i * self.stride)
                shown_first.append(value._text() if isinstance(value, Value) else repr(value))
            except (ValueError, OSError) as error:  # bytes that mean nothing; memory that is gone
                shown_first.append(f"<{error}>")
        return f"Array([{', '.join(shown_first)}{', ...' if self.length > 16 else ''}])"

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        cdef Exported exported
        cdef View view
        cdef Field element = self.element
        cdef Py_ssize_t dimensions = 1, i, unit, size = self.length
        cdef bint readonly
        cdef char *memory
        if self.data != NULL:
            memory = self.data
            readonly = not lend(self)
            kept = root(self)
        else:
            view = <View>self.owner
            if view.readable < 0:
                view.refuse(self.position, element.size, False)
            memory = view.data + self.position
            readonly = view.writable < 0
            kept = view.mapping
        if flags & PyBUF_WRITABLE and readonly:
            raise BufferError("the array cannot be written")
        exported = Exported()
        exported.kept = kept
        exported.shape[0] = self.length
        exported.strides[0] = self.stride
        while element.category == ARRAY and dimensions < 8:
            exported.shape[dimensions] = element.count
            exported.strides[dimensions] = element.stride
            size *= element.count
            dimensions += 1
            element = element.element
        if self.stride != self.element.size and self.length > 1:
            if (flags & PyBUF_STRIDES) != PyBUF_STRIDES or flags & CONTIGUOUS:
                raise BufferError("the elements lie apart: take a buffer with strides")
        elif dimensions > 1 and (flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS:
            raise BufferError("the elements lie in C's order")
        if element.category == ARRAY:
            raise BufferError("arrays of so many arrays have no buffer")
        unit = element.size
        if element.category in (CODED, NESTED) and element.format.endswith(("B", "H")):  # bytes, or UTF-16 units
            unit = 1 if element.format == "B" else 2
            exported.shape[dimensions] = element.size // unit
            exported.strides[dimensions] = unit
            dimensions += 1
        if element.category <= CONVERTED and not element.swapped:
            exported.format = element.format.lstrip("<>").encode()  # the machine's own, which memoryview knows
        else:
            exported.format = element.format.encode()
        buffer.obj = exported
        buffer.buf = memory
        buffer.itemsize = unit
        buffer.len = size * element.size
        buffer.readonly = readonly
        buffer.format = PyBytes_AS_STRING(exported.format) if flags & PyBUF_FORMAT else NULL
        buffer.ndim = <int>dimensions
        buffer.shape = exported.shape if flags & PyBUF_ND else NULL
        buffer.strides = exported.strides if (flags & PyBUF_STRIDES) == PyBUF_STRIDES else NULL
        buffer.suboffsets = NULL
        buffer.internal = NULL
        if flags & PyBUF_ND == 0:
            buffer.ndim = 1


(<TypeObject *><PyObject *>Array).tp_flags |= SEQUENCE
