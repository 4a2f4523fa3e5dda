# SPDX-License-Identifier: MIT
"""Value types: what `read(position, type)` and `write(position, value, type)` understand.

A value type says how many bytes a value has and turns bytes into a value and back. These are taken, without any being
imported here:

- a `struct` format (a str or a `struct.Struct`): one value is itself, several are a tuple. Native sizes and alignment
  unless the format says otherwise, as in the struct module;
- a ctypes structure, union or array (an instance that owns its bytes), or simple type (its Python value, as ctypes
  itself returns the fields of a structure), with no pointer in it: an address means nothing in another process;
- a NumPy dtype or scalar type: a NumPy scalar, for structured types a record that owns its bytes.

`decimal.Decimal` is refused here: .NET's generic form writes other bytes than its `Write(decimal)`; the methods
`read_decimal` and `write_decimal` are the ones to use.
"""

from __future__ import annotations

import contextlib
import math
import struct
import sys
from operator import index

from ._typing import TYPE_CHECKING
from .errors import ValueOutOfRangeError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["ValueType", "refuse_references", "refuse_references_of_numpy", "value_type", "value_type_of"]


class ValueType:
    """Size in bytes, the format of a single number (None for anything else), and the two conversions."""

    __slots__ = ("decode", "encode", "format", "size")

    def __init__(
        self, size: int, format_: str | None, decode: Callable[[bytes], Any], encode: Callable[[Any], bytes]
    ) -> None:
        self.size = size
        self.format = format_
        self.decode = decode
        self.encode = encode


_known: dict[Any, ValueType] = {}


def value_type(type_: Any) -> ValueType:
    """The value type that the user means. TypeError if it is none, struct.error for a bad format."""
    try:
        found = _known.get(type_)
    except TypeError:
        found = None  # cannot be hashed: no key, but perhaps a type description of NumPy
    if found is None:
        found = _find(type_)
        if len(_known) < 4096:
            with contextlib.suppress(TypeError):
                _known[type_] = found
    return found


def value_type_of(value: Any) -> ValueType:
    """The value type that a value has by itself: a ctypes instance or a NumPy scalar."""
    kind = type(value)
    if _is_ctypes(kind):
        return value_type(kind)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        if isinstance(value, numpy.ndarray) and value.ndim:
            raise TypeError("an array has many values: write it with write_array")
        return value_type(value.dtype)
    raise TypeError(
        f"a {kind.__name__} does not say how it is stored: give the type, as in write(position, value, '<i')"
    )


def _find(type_: Any) -> ValueType:
    if isinstance(type_, str):
        return _of_struct(struct.Struct(type_))
    if isinstance(type_, struct.Struct):
        return _of_struct(type_)
    if isinstance(type_, type) and _is_ctypes(type_):
        return _of_ctypes(type_)
    numpy = sys.modules.get("numpy")
    if numpy is not None and (
        isinstance(type_, numpy.dtype) or (isinstance(type_, type) and issubclass(type_, numpy.generic))
    ):
        return _of_numpy(numpy, numpy.dtype(type_))
    if getattr(type_, "__name__", "") == "Decimal":
        raise TypeError("decimals are read and written by read_decimal and write_decimal, in .NET's layout")
    raise TypeError(f"{type_!r} is no value type: a struct format, a ctypes type, or a NumPy dtype")


# ------------------------------------------------------------------------------- blocks that are copied as they are


def refuse_references(exporter: Any, format_: str) -> None:
    """TypeError if elements of `format_` (PEP 3118), of which a user's buffer says that it consists, are or hold
    addresses: objects of Python, pointers, functions."""
    owner = exporter
    while isinstance(owner, memoryview) and owner.format == format_:
        owner = owner.obj
    if _is_ctypes(type(owner)):  # ctypes itself calls a union, and a packed structure, plain bytes
        import ctypes

        references = _holds_a_pointer(ctypes, type(owner))
    else:
        import re

        letters = re.sub(":[^:]*:", " ", format_)  # without the names of fields
        references = re.search("[OP&Xz]|Z(?![fdgFDG])", letters) is not None
    if references:
        raise _refers(exporter, format_)


def refuse_references_of_numpy(exporter: Any) -> bool:
    """Whether this is an array of NumPy whose elements are plain, though NumPy has no format for them; TypeError if
    they hold references."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(exporter, (numpy.ndarray, numpy.generic)):
        return False
    if exporter.dtype.hasobject:
        raise _refers(exporter, exporter.dtype)
    return True


def _refers(exporter: Any, what: object) -> TypeError:
    return TypeError(
        f"elements {str(what)!r} of a {type(exporter).__name__} are or hold addresses: they mean nothing in another "
        "process, and bytes of a map are none"
    )


def _of_struct(codec: struct.Struct) -> ValueType:
    unpack, pack = codec.unpack, codec.pack
    if codec.size == 0:
        raise ValueError(f"the format {codec.format!r} has no bytes")
    code = codec.format.lstrip("@=<>!")
    # struct itself refuses a float that a standard "f" has no room for, and makes a native one infinite.
    narrow = "f" in code and codec.format[0] not in "=<>!"

    def encode(*values: Any) -> bytes:
        try:
            raw = pack(*values)
        except OverflowError as error:
            raise _does_not_fit(values[0] if len(values) == 1 else values, codec.format) from error
        if narrow:
            for value, kept in zip(values, unpack(raw), strict=True):
                if isinstance(kept, float) and math.isinf(kept) and float(value) != kept:
                    raise _does_not_fit(value, codec.format)
        return raw

    if _values_in(code) == 1:
        return ValueType(
            codec.size,
            codec.format if len(code) == 1 else None,
            lambda raw: unpack(raw)[0],
            lambda value: encode(value),
        )
    return ValueType(codec.size, None, unpack, lambda values: encode(*values))


def _values_in(code: str) -> int:
    """How many values a format has (without unpacking that many: "1000000000s" is one)."""
    count, repeat = 0, ""
    for character in code:
        if character.isdigit():
            repeat += character
        elif not character.isspace():
            if character in "sp":
                count += 1
            elif character != "x":
                count += int(repeat or 1)
            repeat = ""
    return count


def _does_not_fit(value: Any, kind: Any) -> ValueOutOfRangeError:
    return ValueOutOfRangeError(f"{shown(value)} does not fit in {kind}")


def _is_ctypes(kind: type) -> bool:
    ctypes = sys.modules.get("_ctypes")
    return ctypes is not None and issubclass(kind, (ctypes.Structure, ctypes.Union, ctypes.Array, ctypes._SimpleCData))


def _of_ctypes(kind: Any) -> ValueType:
    import ctypes

    size = ctypes.sizeof(kind)
    if size == 0:
        raise ValueError(f"{kind.__name__} has no bytes")
    if _holds_a_pointer(ctypes, kind):
        raise TypeError(f"{kind.__name__} is or holds a pointer: it means nothing in another process")

    def raw_bytes(value: Any) -> bytes:
        raw = memoryview(value).tobytes()
        if len(raw) != size:
            raise TypeError(
                f"this {type(value).__name__} has {len(raw)} bytes and a {kind.__name__} {size}: give its own type"
            )
        return raw

    if issubclass(kind, ctypes._SimpleCData):
        native = getattr(kind, "__ctype_le__", kind) is kind
        return ValueType(
            size,
            kind._type_ if native and kind._type_ in "?bBhHiIlLqQfd" else None,
            lambda raw: kind.from_buffer_copy(raw).value,
            lambda value: raw_bytes(value if isinstance(value, kind) else _checked_simple(kind, value)),
        )

    def encode(value: Any) -> bytes:
        if not isinstance(value, kind):
            raise TypeError(f"a {kind.__name__} is needed, not {type(value).__name__}")
        return raw_bytes(value)

    return ValueType(size, None, kind.from_buffer_copy, encode)


def _holds_a_pointer(ctypes: Any, kind: Any) -> bool:
    if issubclass(kind, ctypes._SimpleCData):
        return kind._type_ in "OPzZX"
    if issubclass(kind, ctypes.Array):
        return _holds_a_pointer(ctypes, kind._type_)
    if issubclass(kind, (ctypes.Structure, ctypes.Union)):
        return any(
            _holds_a_pointer(ctypes, field[1]) for base in kind.__mro__ for field in base.__dict__.get("_fields_", ())
        )
    return True  # POINTER(...), a function


def _checked_simple(kind: Any, value: Any) -> Any:
    """What ctypes makes of a value; it would cut an integer, and make a float infinite, silently."""
    try:
        made = kind(value)
    except OverflowError as error:
        raise _does_not_fit(value, kind.__name__) from error
    if kind._type_ in "bBhHiIlLqQ" and made.value != value:
        raise _does_not_fit(value, kind.__name__)
    if kind._type_ in "fd" and math.isinf(made.value) and float(value) != made.value:
        raise _does_not_fit(value, kind.__name__)
    return made


def _of_numpy(numpy: Any, dtype: Any) -> ValueType:
    if dtype.hasobject:
        raise TypeError(f"{dtype} holds Python objects, which mean nothing in another process")
    if dtype.itemsize == 0:
        raise ValueError(f"{dtype} has no bytes")
    if dtype.subdtype is not None:
        return _of_subarray(numpy, dtype)
    if dtype.names is not None:
        return _of_record(numpy, dtype)

    def decode(raw: bytes) -> Any:
        try:
            return numpy.frombuffer(raw, dtype, 1)[0]
        except SystemError as error:
            raise ValueError(f"the bytes are no text: {raw!r:.100}") from error

    def encode(value: Any) -> bytes:
        if dtype.kind in "biufc" and dtype.isnative and type(value) is dtype.type:
            return bytes(value.tobytes())
        return bytes(_checked_numpy(numpy, dtype, value).reshape(()).tobytes())

    format_ = dtype.char if dtype.isnative and dtype.char in "?bBhHiIlLqQfd" else None
    return ValueType(dtype.itemsize, format_, decode, encode)


def _checked_numpy(numpy: Any, dtype: Any, value: Any) -> Any:
    """What NumPy makes of a value. By itself it would cut integers of its own types, floats to integers and text, read
    numbers from text, and make a float infinite."""
    kind = dtype.kind
    if kind == "b":
        return numpy.array(bool(value))
    if kind in "iu":
        value = index(value)
    elif kind in "fc" and isinstance(value, (str, bytes)):
        raise TypeError(f"{dtype} needs a number, not {type(value).__name__}")
    elif kind in "SUV" and numpy.array(value, dtype=kind).itemsize > dtype.itemsize:
        raise _does_not_fit(value, dtype)
    try:
        with numpy.errstate(all="ignore"):
            made = numpy.array(value, dtype=dtype)
            if kind in "fc" and numpy.isinf(made).any():
                widest = numpy.array(value, dtype=numpy.longdouble if kind == "f" else numpy.clongdouble)
                if not numpy.isinf(widest).any():
                    raise _does_not_fit(value, dtype)
    except OverflowError as error:
        raise _does_not_fit(value, dtype) from error
    return made


def _of_record(numpy: Any, dtype: Any) -> ValueType:
    fields = [(value_type(dtype.fields[name][0]), dtype.fields[name][1]) for name in dtype.names]

    def encode(value: Any) -> bytes:
        if isinstance(value, (numpy.void, numpy.ndarray)) and value.shape == ():
            if value.dtype == dtype:
                return bytes(value.tobytes())
            value = value.item()
        if not isinstance(value, tuple) or len(value) != len(fields):
            raise TypeError(f"{dtype} needs a record or a tuple of {len(fields)} values, not {shown(value)}")
        raw = bytearray(dtype.itemsize)
        for (kind, offset), item in zip(fields, value, strict=True):
            raw[offset : offset + kind.size] = kind.encode(item)
        return bytes(raw)

    return ValueType(dtype.itemsize, None, lambda raw: numpy.frombuffer(raw, dtype, 1)[0].copy(), encode)


def _of_subarray(numpy: Any, dtype: Any) -> ValueType:
    base, shape = dtype.subdtype
    item = value_type(base)

    def flat(values: Any, shape: tuple[int, ...]) -> Iterator[Any]:
        if not shape:
            yield values
        elif len(values) != shape[0]:
            raise ValueError(f"{len(values)} values for {shape[0]} elements of {dtype}")
        else:
            for part in values:
                yield from flat(part, shape[1:])

    return ValueType(
        dtype.itemsize,
        None,
        lambda raw: numpy.frombuffer(raw, base).reshape(shape).copy(),
        lambda value: b"".join(map(item.encode, flat(value, shape))),
    )
