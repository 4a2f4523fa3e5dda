# SPDX-License-Identifier: MIT
"""MemoryMappedViewAccessor: reads and writes by position."""

from __future__ import annotations

import io
from operator import index

from . import decimals
from ._native import elements, structs
from ._native.accessor import Accessor
from ._native.elements import ElementView
from ._native.memory import adopt_methods
from ._typing import TYPE_CHECKING
from .errors import ClosedError, OutOfRangeError, shown
from .values import ValueType, check_elements, is_structure, loaded_numpy, struct_format, value_type, value_type_of
from .viewing import Viewing

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Iterator, Sequence
    from decimal import Decimal
    from typing import Any

    from typing_extensions import Buffer

    from .structs.struct import Struct

__all__ = ["MemoryMappedViewAccessor"]


@adopt_methods
class MemoryMappedViewAccessor(Viewing, Accessor):
    """A window into a map, read and written by position (bytes from its start). Made by
    `MemoryMappedFile.create_view_accessor`; .NET's class of that name.

    - `read_int32(position)`, `write_int32(position, value)` and the like, for boolean, byte, sbyte, char, int16 ...
      uint64, single, double, decimal. The machine's byte order (little endian), any alignment. The arguments of these
      fast calls (not of the decimal's) have no keywords.
    - `read(position, type)`, `write(position, value, type)` for structures; `read_array`, `write_array` for blocks.
    - `ref(type, position)`, `refs(type, position, count)`: structures in their place, field by field.
    - `view[3]`, `view[a:b]` (bytes), `memoryview(view)`, `numpy.asarray(view)`: the plain bytes.
    - `cast("i")`: a sequence of numbers; `gather`, `scatter`: many positions in one call.

    Errors, in this order: ClosedError; io.UnsupportedOperation (the view does not read, or write); OutOfRangeError (a
    position that is negative or behind the end); ValueError (too few bytes from there on). Nothing is written then.
    MemoryFaultError if the memory is gone (`faulted`, `check`)."""

    __slots__ = ()

    def __iter__(self) -> Iterator[int]:
        return iter(self.cast("B"))

    # -- decimals, value types

    def read_decimal(self, position: int) -> Decimal:
        """The 16-byte decimal at `position`, in the layout of .NET's ReadDecimal. ValueError if the bytes are none."""
        return decimals.decode(self.read_bytes(position, decimals.SIZE))

    def write_decimal(self, position: int, value: Decimal | int) -> None:
        """Writes a decimal in the layout of .NET's Write(decimal). ValueOutOfRangeError if it needs more than 96 bits
        or 28 places; nothing is rounded."""
        self.write_bytes(position, decimals.encode(value))

    def _read_as(self, position: int, type: Any) -> Any:
        kind = value_type(type)
        try:
            raw = self.read_bytes(position, kind.size)
        except (ClosedError, io.UnsupportedOperation):
            _refuse_negative(position)
            raise
        return kind.decode(raw)

    def _write_as(self, position: int, value: Any, type: Any) -> None:
        kind = value_type_of(value) if type is None else value_type(type)
        raw = kind.encode(value)
        try:
            self.write_bytes(position, raw)
        except (ClosedError, io.UnsupportedOperation):
            _refuse_negative(position)
            raise

    # -- arrays

    def read_array(self, position: int, array: Buffer, offset: int = 0, count: int | None = None) -> int:
        """Fills `array` (any writable buffer: bytearray, array.array, a NumPy or ctypes array, `T.array(n)` of a
        Struct, also one with gaps, whose elements are counted in the order of their indices) from its element `offset`
        on with `count` elements (None: up to its end) from `position` on. Returns how many were read: as many as there
        are, maybe 0; the rest of the array is untouched.

        Elements lie here as .NET lays them: `size` apart if that is 1 or 2, else rounded up to a multiple of 4."""
        return self.copy_elements(False, position, array, offset, count)

    def write_array(
        self, position: int, array: Buffer | Sequence[Struct], offset: int = 0, count: int | None = None
    ) -> int:
        """Writes `count` elements of `array` (None: up to its end) from its element `offset` on to `position`, laid out
        as for read_array. A list of structures is an array too. All or nothing: ValueError if they do not fit. Returns
        how many were written."""
        if isinstance(array, (list, tuple)):
            if not array:
                array = b""
            elif isinstance(array[0], structs.Value):
                array = structs.own_array(type(array[0]), array)
        written = self.copy_elements(True, position, array, offset, count)
        if isinstance(array, structs.Array):
            array._check()
        return written

    def cast(self, format: Any, position: int = 0, count: int | None = None) -> ElementView:
        """The bytes from `position` on as a sequence of numbers of `format` (one of struct's "?bBhHiIlLqQnNfd", "u" for
        UTF-16 units, "i4" or "<f8" as NumPy spells it, or a ctypes or NumPy type of such a number): index, slice,
        iterate, assign; no copy is made."""
        return elements.elements_of(self, _number(format), position, count)

    def gather(self, offsets: Any, type: Any, out: Any = None) -> Any:
        """The values of `type` at all `offsets` (bytes; any buffer of 64-bit integers, or an iterable of ints), in one
        call: into `out`, a writable buffer of that many values, or a new array. Bytes are copied as they are: TypeError
        if `out` has elements of another kind than `type` (a sign counts); plain bytes suit every type.

        The new array is NumPy's if the offsets (whose shape it has) or the type are, an array.array for a number, else
        bytes. Any alignment.
        OutOfRangeError if one of them is outside."""
        kind = value_type(type)
        offsets = _offsets(offsets)
        if out is None:
            result = _array_for(offsets, type, kind)
        else:
            result = out
            check_elements(result, kind)
        elements.gather(self, offsets, kind.size, result)
        return result

    def scatter(self, offsets: Any, values: Any, type: Any = None) -> None:
        """Writes `values` to all `offsets`, in one call: a buffer of values (of `type`, or of the buffer's own item
        size), or an iterable of values of `type`. If an offset is outside nothing is written. TypeError if a buffer has
        elements of another kind than `type` (a sign counts): they are not converted. Plain bytes suit every type."""
        offsets = _offsets(offsets)
        if type is None:
            size = values.dtype.itemsize if _is_array(values) else memoryview(values).itemsize
        else:
            kind = value_type(type)
            size = kind.size
            if _is_buffer(values):
                check_elements(values, kind)
            else:
                values = b"".join(map(kind.encode, values))
        elements.scatter(self, offsets, size, values)


def _refuse_negative(position: int) -> None:
    # The generic forms look at this first, in .NET; here it is looked at only when something else was wrong.
    if index(position) < 0:
        raise OutOfRangeError(f"position must not be negative, got {shown(position)}") from None


def _number(format_: Any) -> str:
    if isinstance(format_, str):
        return struct_format(format_)
    kind = value_type(format_)
    if kind.format is None:
        raise ValueError(
            f"{format_!r} is not one number of this machine: cast takes those only; read, gather and "
            "numpy.frombuffer(view) others too"
        )
    return kind.format


def _offsets(offsets: Any) -> Any:
    """A C-contiguous buffer of 64-bit integers."""
    if not _is_buffer(offsets):
        return _int64s(offsets)
    if _is_array(offsets) and offsets.dtype.kind not in "iu":
        raise TypeError(f"offsets are integers, not {offsets.dtype}")
    block = memoryview(offsets)
    if block.format in ("q", "l", "<q") and block.itemsize == 8 and block.c_contiguous:
        return offsets
    numpy = loaded_numpy()
    if numpy is not None and isinstance(offsets, numpy.ndarray):
        if offsets.dtype == numpy.uint64 and offsets.size and offsets.max() > numpy.iinfo(numpy.int64).max:
            raise OutOfRangeError("an offset is beyond 2**63 - 1")
        return numpy.ascontiguousarray(offsets, dtype=numpy.int64)
    return _int64s(block)


def _int64s(values: Iterable[int]) -> array[int]:
    from array import array

    try:
        return array("q", values)
    except OverflowError as error:
        raise OutOfRangeError("an offset is beyond 2**63 - 1 in one direction or the other") from error


def _array_for(offsets: Any, type_: Any, kind: ValueType) -> Any:
    count = memoryview(offsets).nbytes // 8
    if is_structure(type_):
        return type_.array(count)
    numpy = loaded_numpy()
    if numpy is not None:
        shape = offsets.shape if isinstance(offsets, numpy.ndarray) else count
        if isinstance(type_, numpy.dtype) or (isinstance(type_, type) and issubclass(type_, numpy.generic)):
            return numpy.empty(shape, dtype=type_)
        if isinstance(offsets, numpy.ndarray):
            return numpy.empty(shape, dtype=_numpy_type(numpy, kind))
    from array import array

    code = _array_code(kind)
    return bytearray(count * kind.size) if code is None else array(code, bytes(count * kind.size))


def _numpy_type(numpy: Any, kind: ValueType) -> Any:
    """NumPy's type for a value: plain bytes where its letters say something else than struct's do."""
    if kind.format is not None:
        order, code = kind.format[:-1].replace("!", ">").replace("@", ""), kind.format[-1]
        if order:
            code = {"l": "i", "L": "I"}.get(code, code)
        if code in "?bBhHiIlLqQnNefd":
            return numpy.dtype(order + code)
    return numpy.dtype(f"V{kind.size}")


def _array_code(kind: ValueType) -> str | None:
    if kind.format is None:
        return None
    prefix, code = kind.format[:-1], kind.format[-1]
    if prefix in ("=", "<"):
        code = {"l": "i", "L": "I"}.get(code, code)
    elif prefix not in ("", "@"):
        return None
    return code if code in "bBhHiIlLqQfd" else None


def _is_array(value: Any) -> bool:
    """Whether it is an array of NumPy: some of them have no format that memoryview knows."""
    numpy = loaded_numpy()
    return numpy is not None and isinstance(value, numpy.ndarray)


def _is_buffer(value: Any) -> bool:
    if _is_array(value):
        return True
    try:
        memoryview(value)
    except TypeError:
        return False
    return True
