# SPDX-License-Identifier: MIT
"""Value types: what `read(position, type)` and `write(position, value, type)` understand.

A value type says how many bytes a value has and turns bytes into a value and back. These are taken, without any being
imported here:

- a `struct` format (a str or a `struct.Struct`): one value is itself, several are a tuple. Native sizes and alignment
  unless the format says otherwise, as in the struct module; one number may be spelled as in NumPy ("i4", "<f8");
- a ctypes structure, union or array (an instance that owns its bytes), or simple type (its Python value, as ctypes
  itself returns the fields of a structure), with no pointer in it: an address means nothing in another process;
- a NumPy dtype or scalar type: a NumPy scalar, for structured types a record that owns its bytes;
- a Struct: a snapshot.

`decimal.Decimal` is refused here: .NET's generic form writes other bytes than its `Write(decimal)`; the methods
`read_decimal` and `write_decimal` are the ones to use.
"""

from __future__ import annotations

import contextlib
import math
import struct
import sys
from operator import index

from ._native.structs import Value
from ._typing import TYPE_CHECKING
from .errors import ValueOutOfRangeError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = [
    "ValueType",
    "check_elements",
    "is_structure",
    "refuse_references",
    "refuse_references_of_numpy",
    "struct_format",
    "value_type",
    "value_type_of",
]


class ValueType:
    """Size in bytes, the format of a single number (None for anything else), and the two conversions. `element`: what a
    value consists of, all of one kind, in NumPy's spelling ("<i4"); None for different ones."""

    __slots__ = ("decode", "element", "encode", "format", "size")

    def __init__(
        self,
        size: int,
        format_: str | None,
        decode: Callable[[bytes], Any],
        encode: Callable[[Any], bytes],
        element: str | None,
    ) -> None:
        self.size = size
        self.format = format_
        self.decode = decode
        self.encode = encode
        self.element = element


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


def loaded_numpy() -> Any:
    """NumPy, if somebody has imported it: otherwise None, and nothing is NumPy's. So too while another thread is at it,
    when it is among the modules and has nothing yet."""
    numpy = sys.modules.get("numpy")
    return None if getattr(getattr(numpy, "__spec__", None), "_initializing", False) else numpy


def value_type_of(value: Any) -> ValueType:
    """The value type that a value has by itself: a ctypes instance or a NumPy scalar."""
    kind = type(value)
    if _is_ctypes(kind):
        return value_type(kind)
    numpy = loaded_numpy()
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        if isinstance(value, numpy.ndarray) and value.ndim:
            raise TypeError("an array has many values: write it with write_array")
        return value_type(value.dtype)
    raise TypeError(
        f"a {kind.__name__} does not say how it is stored: give the type, as in write(position, value, '<i')"
    )


def struct_format(type_: str) -> str:
    """struct's format for a number as NumPy spells it ("i4", "<f8"), which is none of struct's; others as they are."""
    order, code = ("=", type_) if type_[:1] not in "<>=|" else (type_[:1].replace("|", "="), type_[1:])
    return order + _SPELLED[code] if code in _SPELLED else type_


_SPELLED = {
    "b1": "?", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip


def _find(type_: Any) -> ValueType:
    if isinstance(type_, str):
        try:
            return _of_struct(struct.Struct(struct_format(type_)))
        except struct.error as error:
            raise struct.error(
                f"{type_!r:.100} is no format of the struct module ({error}), nor a number as NumPy spells it, such as "
                "'i4' or '<f8'. Other types of NumPy are given as numpy.dtype(...)"
            ) from error
    if isinstance(type_, struct.Struct):
        return _of_struct(type_)
    if isinstance(type_, type) and _is_ctypes(type_):
        return _of_ctypes(type_)
    if is_structure(type_):
        return _of_structure(type_)
    numpy = loaded_numpy()
    if numpy is not None and (
        isinstance(type_, numpy.dtype) or (isinstance(type_, type) and issubclass(type_, numpy.generic))
    ):
        return _of_numpy(numpy, numpy.dtype(type_))
    if getattr(type_, "__name__", "") == "Decimal":
        raise TypeError("decimals are read and written by read_decimal and write_decimal, in .NET's layout")
    raise TypeError(f"{type_!r} is no value type: a Struct, a struct format, a ctypes type, or a NumPy dtype")


# ------------------------------------------------------------------------------- blocks that are copied as they are


def element_of(format_: str, size: int) -> str | None:
    """An element of `size` bytes in NumPy's spelling, from its format as struct and PEP 3118 have it."""
    order, code = ("<", format_) if format_[:1] not in "@=<>!" else (format_[0], format_[1:])
    kind = _KINDS.get(code.lstrip("0123456789"))
    if kind is None or (code == "B" and size != 1):  # that is how ctypes calls a union
        return None
    if size == 1 or kind in "SV":
        order = "|"
    return f"{'>' if order in '>!' else order if order == '|' else '<'}{kind}{size}"


_KINDS = (
    dict.fromkeys("bhilqn", "i")
    | dict.fromkeys("BHILQN", "u")
    | dict.fromkeys("efdg", "f")
    | dict.fromkeys(("Zf", "Zd", "Zg"), "c")
    | dict.fromkeys("sc", "S")
    | dict.fromkeys("uw", "U")
    | {"?": "b", "x": "V"}
)


def check_elements(buffer: Any, kind: ValueType) -> None:
    """TypeError if `buffer` says what its elements are, and a value of `kind` consists of others: they are copied, not
    converted. Plain bytes suit every kind."""
    numpy = loaded_numpy()
    if numpy is not None and isinstance(buffer, numpy.ndarray):
        size = buffer.dtype.itemsize
        theirs = buffer.dtype.str if buffer.dtype.names is None else None
    else:
        block = memoryview(buffer)
        size, theirs = block.itemsize, element_of(block.format, block.itemsize)
    ours = kind.element
    if theirs == "|u1" or (theirs or ours or "")[:2] in ("|S", "|V") or (ours or "")[:2] in ("|S", "|V"):
        return
    if theirs != ours or (ours is None and kind.size % size):
        theirs, ours = theirs or f"of {size} bytes", ours or f"{kind.size} bytes"
        raise TypeError(
            f"elements {theirs!r} do not agree with a type of {ours!r}. They are copied, not converted: convert them "
            "first, or give plain bytes, as memoryview(...).cast('B') does"
        )


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
    numpy = loaded_numpy()
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
    order = codec.format[: -len(code)] if code else ""
    number = _values_in(code)
    texts = list(_texts(code))
    # struct itself refuses a float that a standard "f" has no room for, and makes a native one infinite.
    narrow = "f" in code and codec.format[0] not in "=<>!"

    def encode(*values: Any) -> bytes:
        for place, room in texts:  # struct cuts them silently
            if place < len(values) and isinstance(values[place], (bytes, bytearray)) and len(values[place]) > room:
                raise _does_not_fit(values[place], codec.format)
        try:
            raw = pack(*values)
        except OverflowError as error:
            raise _does_not_fit(values[0] if len(values) == 1 else values, codec.format) from error
        except struct.error as error:
            for unfit in _unfit(order, code, values) if len(values) == number else ():
                raise _does_not_fit(unfit, codec.format) from error
            raise
        if narrow:
            for value, kept in zip(values, unpack(raw), strict=True):
                if isinstance(kept, float) and math.isinf(kept) and float(value) != kept:
                    raise _does_not_fit(value, codec.format)
        return raw

    kinds = {letter for letter, _ in _items(code)}
    element = None
    if len(kinds) == 1 and kinds != {"p"}:
        (letter,) = kinds
        element = element_of(order + letter, codec.size if letter in "sx" else struct.calcsize(order + letter))
    if number == 1:
        return ValueType(
            codec.size,
            codec.format if len(code) == 1 else None,
            lambda raw: unpack(raw)[0],
            lambda value: encode(value),
            element,
        )
    return ValueType(codec.size, None, unpack, lambda values: encode(*values), element)


def _items(code: str) -> Iterator[tuple[str, int]]:
    """The letters of a format, each with the number before it."""
    repeat = ""
    for character in code:
        if character.isdigit():
            repeat += character
        elif not character.isspace():
            yield character, int(repeat or 1)
            repeat = ""


def _values_in(code: str) -> int:
    """How many values a format has (without unpacking that many: "1000000000s" is one)."""
    return sum(1 if letter in "sp" else count for letter, count in _items(code) if letter != "x")


def _texts(code: str) -> Iterator[tuple[int, int]]:
    """Which values of a format are text, and how many bytes each has room for."""
    place = 0
    for letter, count in _items(code):
        if letter == "s":
            yield place, count
        elif letter == "p":  # behind its length in one byte
            yield place, min(max(count - 1, 0), 255)
        if letter != "x":
            place += 1 if letter in "sp" else count


def _unfit(order: str, code: str, values: tuple[Any, ...]) -> Iterator[Any]:
    """Those of `values` that are numbers as the format wants them, but too large: struct tells them from other mistakes
    by its message only."""
    letters = (letter for letter, count in _items(code) if letter != "x" for _ in range(1 if letter in "sp" else count))
    for letter, value in zip(letters, values, strict=False):
        if letter in "sp?c" or isinstance(value, (str, bytes, bytearray)):
            continue
        try:
            float(value) if letter in "efd" else index(value)
        except OverflowError:
            yield value
        except (TypeError, ValueError):
            continue
        try:
            struct.pack(order + letter, value)
        except (struct.error, OverflowError):
            yield value


def _does_not_fit(value: Any, kind: Any) -> ValueOutOfRangeError:
    return ValueOutOfRangeError(f"{shown(value)} does not fit in {kind}")


def is_structure(type_: Any) -> bool:
    """Whether it is a Struct with fields."""
    return isinstance(type_, type) and issubclass(type_, Value) and hasattr(type_, "__layout__")


def _of_structure(kind: Any) -> ValueType:
    def encode(value: Any) -> bytes:
        if not isinstance(value, Value) or getattr(type(value), "__layout__", None) is not kind.__layout__:
            raise TypeError(f"a {kind.__name__} is needed, not {shown(value)}")
        return bytes(kind.from_bytes(value))  # which asks whether all of them are there

    return ValueType(kind.layout.size, None, kind.from_bytes, encode, None)


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

    block = memoryview((kind * 0)())
    element = element_of(block.format, block.itemsize)

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
            element,
        )

    def encode(value: Any) -> bytes:
        if not isinstance(value, kind):
            raise TypeError(f"a {kind.__name__} is needed, not {type(value).__name__}")
        return raw_bytes(value)

    return ValueType(size, None, kind.from_buffer_copy, encode, element)


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
    return ValueType(dtype.itemsize, format_, decode, encode, dtype.str)


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

    return ValueType(dtype.itemsize, None, lambda raw: numpy.frombuffer(raw, dtype, 1)[0].copy(), encode, None)


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
        item.element,
    )
