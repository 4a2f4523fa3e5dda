# SPDX-License-Identifier: MIT
"""From the annotations of a class to the kinds of its fields."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import GenericAlias
from typing import Annotated, Any, ClassVar, ForwardRef, Literal, get_args, get_origin
from uuid import UUID

from .._native.structs import Array
from ..errors import shown
from .kinds import ArrayKind, DateTimeKind, DecimalKind, EnumKind, GuidKind, Kind, Nested, Number, TimeSpanKind
from .layout import Layout
from .markers import ByteOrder, Length, Offset, _positive

__all__ = ["fields_of"]

_OWN: dict[type, Callable[[], Kind]] = {
    bool: lambda: Number("bool"),
    datetime: DateTimeKind,
    timedelta: TimeSpanKind,
    Decimal: DecimalKind,
    UUID: GuidKind,
}
_ADVICE = {
    int: "say how many bytes it has: int32, uint8, ...",
    float: "say how many bytes it has: float64 (C's and C#'s double) or float32 (their float)",
    str: "say how many it can hold, and how: Annotated[str, Utf8(32)] or Utf16(32); one UTF-16 unit is char16",
    bytes: "say how many: Annotated[bytes, FixedBytes(16)]",
    list: "an array has a fixed length: Array[int32, Literal[8]]",
    tuple: "an array has a fixed length: Array[int32, Literal[8]]",
}


def fields_of(cls: type, order: str, frame: Any) -> Iterator[tuple[str, Kind, int | None]]:
    """The name, the kind and the given offset (or None) of each field that a class declares. `frame`: where it is
    declared, whose names annotations may use."""
    module = sys.modules.get(cls.__module__)
    names = {**(vars(module) if module is not None else {}), **frame.f_globals, **frame.f_locals}
    names[cls.__name__] = cls
    for name, annotation in cls.__annotations__.items():
        where = f"{cls.__name__}.{name}"
        annotation = _evaluated(annotation, names, where)
        if ClassVar in (annotation, get_origin(annotation)):
            continue
        try:
            kind, offset = _kind_of(annotation, order, names, where)
        except TypeError as error:
            raise TypeError(f"{where}: {error}") from None
        yield name, kind, offset


def _evaluated(annotation: Any, names: dict[str, Any], where: str) -> Any:
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    while isinstance(annotation, str):
        try:
            annotation = eval(annotation, names)
        except NameError as error:
            raise NameError(
                f"{where} is annotated {annotation!r}: {error}. It must be known where the class is declared"
            ) from None
    return annotation


def _kind_of(annotation: Any, order: str, names: dict[str, Any], where: str) -> tuple[Kind, int | None]:
    annotation = _evaluated(annotation, names, where)
    offset: int | None = None
    markers: list[Any] = []
    if get_origin(annotation) is Annotated:
        annotation, *markers = get_args(annotation)
    annotation = _evaluated(annotation, names, where)
    own = None
    for marker in markers:
        if isinstance(marker, Offset):
            offset = marker.offset
        elif isinstance(marker, ByteOrder):
            order = marker.order
        elif isinstance(marker, Kind):
            own = marker
        elif get_origin(marker) is Annotated:  # Annotated[Color, uint8]
            own, _ = _kind_of(marker, order, names, where)
    kind = _plain(annotation, own, markers, order, names, where)
    return (kind if isinstance(kind, Nested) else kind.turned(order)), offset


def _plain(
    annotation: Any, own: Kind | None, markers: list[Any], order: str, names: dict[str, Any], where: str
) -> Kind:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        if own is not None and not isinstance(own, Number):
            raise TypeError(f"an enumeration lies in the bytes of an integer, not of {own}")
        return EnumKind(annotation, own.name if own is not None else "int32")
    if annotation is Array or get_origin(annotation) is Array:
        return _array(annotation, markers, order, names, where)
    if own is not None:
        expected = {"char16": str, "float32": float, "float64": float, "float16": float}.get(
            own.text, str if own.text.startswith("utf") else bytes if own.text.startswith("bytes") else int
        )
        if annotation is not expected:
            raise TypeError(f"{own} is for {expected.__name__}, and it is annotated as {shown(annotation)}")
        return own
    layout = getattr(annotation, "__layout__", None)
    if isinstance(layout, Layout) and isinstance(annotation, type):
        return Nested(layout)
    try:
        if annotation in _OWN:
            return _OWN[annotation]()
    except TypeError:
        pass
    advice = _ADVICE.get(get_origin(annotation) or annotation)
    if advice is None:
        advice = (
            "a field is a number (int32, float64, ...), bool, an Enum, Decimal, datetime, timedelta, UUID, text or "
            "bytes of a fixed size, a Struct, or an Array of those. References, such as pointers and other objects, "
            "mean nothing in another process"
        )
    raise TypeError(f"{getattr(annotation, '__name__', None) or shown(annotation)} cannot be a field: {advice}")


def _array(annotation: Any, markers: list[Any], order: str, names: dict[str, Any], where: str) -> Kind:
    arguments = get_args(annotation)
    counts: list[int] = []
    for marker in markers:
        if isinstance(marker, Length):
            counts += marker.counts
    if len(arguments) == 2:
        length = _evaluated(arguments[1], names, where)
        if get_origin(length) is Literal:
            (length,) = get_args(length)
        counts.append(_positive(length, "the length of an array"))
    elif len(arguments) != 1:
        raise TypeError("an array says what it is of, and how many: Array[int32, Literal[8]]")
    if not counts:
        raise TypeError(f"how many? Array[..., Literal[8]], or Annotated[{_shown_alias(annotation)}, Length(n)]")
    kind, _ = _kind_of(arguments[0], order, names, where)
    for count in reversed(counts):
        kind = ArrayKind(kind, count)
        _positive(kind.size, "the size of an array in bytes")
    return kind


def _shown_alias(annotation: GenericAlias) -> str:
    return f"Array[{shown(get_args(annotation)[0])}]"
