# SPDX-License-Identifier: MIT
"""Layouts as NumPy and ctypes have them."""

from __future__ import annotations

import ctypes
from functools import cache

from .._typing import TYPE_CHECKING
from .arrangement import arranged
from .kinds import CODES, ArrayKind, BytesKind, DecimalKind, Float16Kind, GuidKind, Nested, Number, TextKind
from .names import dimensions

if TYPE_CHECKING:
    from typing import Any

    from .kinds import Kind
    from .layout import Layout

__all__ = ["ctype_of", "dtype_of"]


# ------------------------------------------------------------------------------------------------------------ NumPy


def dtype_of(layout: Layout) -> Any:
    """NumPy's dtype of a layout. Text in UTF-8 is `S`, in UTF-16 an array of its units; what NumPy has no type for is
    raw (`V`); a datetime is its ticks and kind, a timedelta its ticks, an enumeration its integer."""
    import numpy

    return numpy.dtype(
        {  # type: ignore[call-overload, unused-ignore]
            "names": [field.name for field in layout.fields],
            "formats": [_dtype(field.kind) for field in layout.fields],
            "offsets": [field.offset for field in layout.fields],
            "itemsize": layout.size,
        }
    )


def _dtype(kind: Kind) -> Any:
    element, lengths = dimensions(kind)
    if isinstance(element, TextKind) and element.unit == 2:
        return (f"{element.order}u2", (*lengths, element.capacity))
    if lengths:
        return (_dtype(element), tuple(lengths))  # all in one: NumPy does not do that to arrays of arrays
    if isinstance(kind, Nested):
        return kind.layout.dtype
    if isinstance(kind, Number):
        letter = CODES[kind.name][1]
        return (
            "?"
            if letter == "?"
            else f"{kind.order}{'f' if letter in 'fd' else 'u' if letter.isupper() else 'i'}{kind.size}"
        )
    if isinstance(kind, Float16Kind):
        return f"{kind.order}f2"
    return f"S{kind.size}" if isinstance(kind, TextKind) else f"V{kind.size}"


# ----------------------------------------------------------------------------------------------------------- ctypes

_NUMBERS: dict[str, Any] = {
    "bool": ctypes.c_bool,
    "int8": ctypes.c_int8,
    "uint8": ctypes.c_uint8,
    "int16": ctypes.c_int16,
    "uint16": ctypes.c_uint16,
    "int32": ctypes.c_int32,
    "uint32": ctypes.c_uint32,
    "int64": ctypes.c_int64,
    "uint64": ctypes.c_uint64,
    "float32": ctypes.c_float,
    "float64": ctypes.c_double,
    "char16": ctypes.c_uint16,
}


def ctype_of(layout: Layout) -> Any:
    """A ctypes structure of a layout. Members of padding come between the fields where ctypes would not come to the
    same offsets, and so its values are best made by name."""
    types = {field.name: _ctype(field.kind) for field in layout.fields}
    plan = arranged(layout, lambda kind: ctypes.alignment(_ctype(kind)))
    if plan is None:
        made = _overlapping(layout, types)
    else:
        made = _structure(
            layout.name,
            [
                (_padding(layout, i), ctypes.c_uint8 * member)
                if isinstance(member, int)
                else (member.name, types[member.name])
                for i, member in enumerate(plan.members)
            ],
            plan.pack,
        )
    offsets = {field.name: getattr(made, field.name).offset for field in layout.fields}
    if ctypes.sizeof(made) != layout.size or offsets != {field.name: field.offset for field in layout.fields}:
        raise AssertionError(f"ctypes lays {layout.name} out in {ctypes.sizeof(made)} bytes, at {offsets}:\n{layout}")
    return made


def _overlapping(layout: Layout, types: dict[str, Any]) -> Any:
    """A union of structures, each with the padding before one field, and that field."""
    members = [
        _structure(
            field.name,
            [(_padding(layout, 0), ctypes.c_uint8 * field.offset)] * bool(field.offset)
            + [(field.name, types[field.name])],
            1,
        )
        for field in layout.fields
    ]
    names = [_padding(layout, i) for i in range(1, len(members) + 3)]
    overlaid = type(
        f"{layout.name}_fields",
        (ctypes.Union,),
        {
            "_pack_": 1,
            "_layout_": "ms",
            "_anonymous_": names[2:],
            "_fields_": [(names[1], ctypes.c_uint8 * layout.size), *zip(names[2:], members, strict=True)],
        },
    )
    return _structure(layout.name, [(names[0], overlaid)], 1, [names[0]])


def _structure(name: str, fields: list[tuple[str, Any]], pack: int, anonymous: list[str] | None = None) -> Any:
    options: dict[str, Any] = {"_anonymous_": anonymous} if anonymous else {}
    if pack:
        options |= {"_pack_": pack, "_layout_": "ms"}  # without bit fields, all layouts are the same
    return type(name, (ctypes.Structure,), {**options, "_fields_": fields})


def _padding(layout: Layout, number: int) -> str:
    """A name that no field has."""
    name = f"_padding{number}"
    while any(field.name == name for field in layout.fields):
        name += "_"
    return name


def _ctype(kind: Kind) -> Any:
    if isinstance(kind, ArrayKind):
        return _ctype(kind.element) * kind.count
    if isinstance(kind, Nested):
        return kind.layout.ctype
    if isinstance(kind, Number):
        return _ordered(_NUMBERS[kind.name], kind.order)
    if isinstance(kind, Float16Kind):
        return _ordered(ctypes.c_uint16, kind.order)
    if isinstance(kind, TextKind):
        return (ctypes.c_char if kind.unit == 1 else _ordered(ctypes.c_uint16, kind.order)) * kind.capacity
    if isinstance(kind, DecimalKind):
        return _decimal(kind.order)
    if isinstance(kind, GuidKind):
        return _guid(kind.order)
    assert isinstance(kind, BytesKind)
    return ctypes.c_uint8 * kind.size


def _ordered(plain: Any, order: str) -> Any:
    return plain if order == "|" else plain.__ctype_be__ if order == ">" else plain.__ctype_le__


@cache
def _guid(order: str) -> Any:
    short = _ordered(ctypes.c_uint16, order)
    parts = [
        ("data1", _ordered(ctypes.c_uint32, order)),
        ("data2", short),
        ("data3", short),
        ("data4", ctypes.c_uint8 * 8),
    ]
    return _structure("Guid", parts, 0)


@cache
def _decimal(order: str) -> Any:
    word = _ordered(ctypes.c_uint32, order)
    parts = _structure("Parts", [(name, word) for name in ("flags", "high", "low", "middle")], 0)
    aligned = {"_anonymous_": ["_parts"], "_fields_": [("_parts", parts), ("_words", ctypes.c_uint64 * 2)]}
    return type("Decimal", (ctypes.Union,), aligned)
