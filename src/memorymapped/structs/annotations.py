# SPDX-License-Identifier: MIT
"""From the annotations of a class to the kinds of its fields."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, ClassVar, ForwardRef, Literal, get_args, get_origin
from uuid import UUID

from .._native.structs import Array, Value
from ..errors import shown
from .kinds import ArrayKind, DateTimeKind, DecimalKind, EnumKind, GuidKind, Kind, Nested, Number, TimeSpanKind
from .markers import ByteOrder, Length, Offset, _positive
from .names import dimensions

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


def fields_of(cls: type, namespace: dict[str, Any], order: str, frame: Any) -> Iterator[tuple[str, Kind, int | None]]:
    """The name, the kind and the given offset (or None) of each field that a class declares. `namespace`: what its body
    has defined; `frame`: where it is declared, whose names annotations may use."""
    module = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
    reader = _Reader(cls, {**module, **frame.f_globals, **frame.f_locals, **namespace, cls.__name__: cls})
    for name, annotation in cls.__annotations__.items():
        where = f"{cls.__name__}.{name}"
        try:
            annotation = reader.evaluated(annotation)
            if ClassVar in (annotation, get_origin(annotation)):
                continue
            kind, offset = reader.kind_of(annotation, order)
        except NameError as error:
            raise NameError(
                f"{where} is annotated {annotation!r}: {error}. It must be known where the class is declared"
            ) from None
        except (TypeError, ValueError) as error:
            raise type(error)(f"{where}: {error}") from None
        except (AttributeError, SyntaxError) as error:
            raise TypeError(f"{where} is annotated {annotation!r}: {error}") from None
        yield name, kind, offset


class _Reader:
    """Reads annotations with the names that are known where they stand."""

    def __init__(self, cls: type, names: dict[str, Any]) -> None:
        self.cls = cls
        self.names = names

    def evaluated(self, annotation: Any) -> Any:
        if isinstance(annotation, ForwardRef):
            annotation = annotation.__forward_arg__
        while isinstance(annotation, str):
            annotation = eval(annotation, self.names)
        return annotation

    def unwrapped(self, annotation: Any) -> tuple[Any, list[Any]]:
        """What is annotated, without names for it, and all its markers."""
        markers: list[Any] = []
        while True:
            annotation = self.evaluated(annotation)
            if get_origin(annotation) is Annotated:
                annotation, *more = get_args(annotation)
                markers += more
            elif type(annotation).__name__ == "TypeAliasType":  # type Age = int32
                annotation = annotation.__value__
            elif hasattr(annotation, "__supertype__"):  # NewType
                annotation = annotation.__supertype__
            else:
                return annotation, markers

    def kind_of(self, annotation: Any, order: str, inner: bool = False) -> tuple[Kind, int | None]:
        """The kind and the given offset. `inner`: of an element of an array."""
        annotation, markers = self.unwrapped(annotation)
        is_array = Array in (annotation, get_origin(annotation))
        offset = turned = own = None
        counts: list[int] = []
        for marker in markers:
            if marker in (Offset, ByteOrder, Length) or (isinstance(marker, type) and marker in _OWN):
                raise TypeError(f"{marker.__name__} says nothing by itself")
            if isinstance(marker, Offset):
                if offset is not None or inner:
                    raise TypeError("a field has one Offset, and an element of an array has none")
                offset = marker.offset
            elif isinstance(marker, ByteOrder):
                if turned is not None:
                    raise TypeError("a field has one ByteOrder")
                turned = marker.order
            elif isinstance(marker, Length):
                if not is_array:
                    raise TypeError("only an Array has a Length")
                counts += marker.counts
            elif isinstance(marker, Kind) or get_origin(marker) is Annotated:  # Annotated[Color, uint8]
                if own is not None:
                    raise TypeError(f"a field is of one kind, not {own} and {marker}")
                own = marker if isinstance(marker, Kind) else self.kind_of(marker, order)[0]
        if is_array:
            kind = self.array(annotation, counts, turned or order, own)
        else:
            kind = self.plain(annotation, own).turned(turned or order)
        if turned is not None and isinstance(dimensions(kind)[0], Nested):
            raise TypeError("a structure has its own byte order")
        return kind, offset

    def plain(self, annotation: Any, own: Kind | None) -> Kind:
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            if own is not None and not isinstance(own, Number):
                raise TypeError(f"an enumeration lies in the bytes of an integer, not of {own}")
            return EnumKind(annotation, own.name if own is not None else "int32")
        if own is not None:
            expected = {"char16": str, "float32": float, "float64": float, "float16": float}.get(
                own.text, str if own.text.startswith("utf") else bytes if own.text.startswith("bytes") else int
            )
            if annotation is not expected:
                raise TypeError(f"{own} is for {expected.__name__}, and it is annotated as {shown(annotation)}")
            return own
        if annotation is self.cls:
            raise TypeError(f"a {annotation.__name__} cannot contain itself: it would have no end")
        if isinstance(annotation, type) and issubclass(annotation, Value):
            layout = getattr(annotation, "__layout__", None)
            if layout is None:
                raise TypeError(f"{annotation.__name__} declares no fields")
            return Nested(layout, annotation)
        if isinstance(annotation, Hashable) and annotation in _OWN:
            return _OWN[annotation]()
        advice = (
            "a field is a number (int32, float64, ...), bool, an Enum, Decimal, datetime, timedelta, UUID, text or "
            "bytes of a fixed size, a Struct, or an Array of those. References, such as pointers and other objects, "
            "mean nothing in another process"
        )
        advice = _ADVICE.get(get_origin(annotation) or annotation, advice)
        raise TypeError(f"{getattr(annotation, '__name__', None) or shown(annotation)} cannot be a field: {advice}")

    def array(self, annotation: Any, counts: list[int], order: str, own: Kind | None) -> Kind:
        arguments = get_args(annotation)
        if own is not None:
            raise TypeError(f"an array says by itself what it is of, not by {own}")
        if len(arguments) == 2:
            length, _ = self.unwrapped(arguments[1])
            lengths = get_args(length) if get_origin(length) is Literal else (length,)
            if len(lengths) != 1:
                raise TypeError("one length; an array of arrays has two: Array[Array[int32, Literal[3]], Literal[2]]")
            counts = [*counts, _positive(lengths[0], "the length of an array")]
        elif len(arguments) != 1:
            raise TypeError("an array says what it is of, and how many: Array[int32, Literal[8]]")
        if not counts:
            of = shown(arguments[0])
            raise TypeError(f"how many? Array[..., Literal[8]], or Annotated[Array[{of}], Length(n)]")
        kind, _ = self.kind_of(arguments[0], order, inner=True)
        for count in reversed(counts):
            kind = ArrayKind(kind, count)
            _positive(kind.size, "the size of an array in bytes")
        return kind
