# SPDX-License-Identifier: MIT
"""What a typed map says of itself: the control block of a SharedMemory or a StructArray (docs/formats.md), read without
its lock, and checked: it may be anybody's bytes."""

from __future__ import annotations

import struct

from ..system.reading import end_of
from .ending import Failure
from .shapes import Shape, shape_of
from .targets import Bytes, Target
from .words import shown

__all__ = ["Typed", "described_shape", "own_shape", "typed"]

_TAIL = struct.Struct("<Q8s")
_VALUE = struct.Struct("<8sIIQQII")  # magic, version, slots, S, hash, flags, bytes of the text
_ARRAY = struct.Struct("<8sIIQQQQI")  # magic, version, flags, S, D, M, hash, bytes of the text
_U64 = struct.Struct("<Q")
_SLOTS = 4
_LONGEST = 1 << 20


class Typed:
    """A typed map: `kind` (`SharedMemory`, `StructArray`), the canonical `text` of its type, how many `values` there
    are from byte 0 on, how far they are apart, and its counters."""

    def __init__(self, kind: str, text: str, stride: int, values: int, counters: dict[str, object]) -> None:
        self.kind = kind
        self.text = text
        self.stride = stride
        self.values = values
        self.counters = counters

    @property
    def total(self) -> int:
        """How often it was changed, since it was made: exact."""
        total = self.counters.get("version", self.counters.get("changes"))
        return total if isinstance(total, int) else 0


def typed(data: Bytes, size: int) -> Typed | None:
    """What it says; None if it says nothing, or what cannot be."""
    size = end_of(data.source, size)
    if size < _TAIL.size:
        return None
    control, magic = _TAIL.unpack(data.read(size - _TAIL.size, _TAIL.size))
    if control + 192 > size:
        return None
    try:
        if magic == b"mmfvalue":
            return _value(data, control, size)
        if magic == b"mmfarray":
            return _array(data, control, size)
    except (UnicodeDecodeError, struct.error):
        return None
    return None


def _up(size: int, to: int) -> int:
    return -(-size // to) * to


def _text(data: Bytes, at: int, length: int, size: int) -> str | None:
    if length > _LONGEST or at + length > size:
        return None
    return data.read(at, length).decode()


def _value(data: Bytes, control: int, size: int) -> Typed | None:
    magic, version, slots, length, _, flags, letters = _VALUE.unpack(data.read(control, _VALUE.size))
    if (magic, version, slots) != (b"mmfvalue", 1, _SLOTS) or not 0 < length <= control:
        return None
    (users,) = struct.unpack("<I", data.read(control + 56, 4))
    seq, mirror = (_U64.unpack(data.read(control + at, 8))[0] for at in (64, 72))
    slot = _up(_up(length, 8) + 16, 64)
    text = _text(data, control + 192 + slots * slot, letters, size)
    if text is None:
        return None
    counters: dict[str, object] = {"version": seq, "foreign": bool(flags & 1)}
    if mirror != seq:
        counters["being_written"] = True
    if users:
        counters["users"] = users
    return Typed("SharedMemory", text, length, 1, counters)


def _array(data: Bytes, control: int, size: int) -> Typed | None:
    magic, version, flags, length, stride, most, _, letters = _ARRAY.unpack(data.read(control, _ARRAY.size))
    if (magic, version) != (b"mmfarray", 1) or not 0 < length <= stride or most * stride > control:
        return None
    count, _, _, changes, capacity = struct.unpack("<5Q", data.read(control + 64, 40))
    text = _text(data, control + 192 + _up(length, 64), letters, size)
    if text is None or count > most:
        return None
    counters: dict[str, object] = {
        "length": count,
        "capacity": capacity,
        "max_capacity": most,
        "changes": changes,
        "foreign": bool(flags & 1),
    }
    return Typed("StructArray", text, stride, count, counters)


def described_shape(found: Typed | None, given: str) -> Shape:
    """The type that a map says it holds. Failure if it says nothing."""
    if found is None:
        raise Failure(f"{shown(given)}: it does not say what it holds: give a TYPE")
    text = found.text.removeprefix("bytes ")
    return shape_of(found.text if text == found.text else f"bytes[{text}]")


def own_shape(target: Target) -> tuple[Shape, int]:
    """The type that a map says it holds, and how many bytes of it there are from 0 on. Failure if it says nothing, or
    if its values are not one behind the other."""
    with target.opened() as data:
        found = typed(data, target.size)
    shape = described_shape(found, target.given)
    assert found is not None
    if shape.size != found.stride:
        raise Failure(
            f"{shown(target.given)}: its values are {shape.size} bytes each and {found.stride} apart: give a TYPE"
        )
    return shape, found.values * found.stride
