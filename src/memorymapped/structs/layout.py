# SPDX-License-Identifier: MIT
"""How the fields of a structure lie in memory."""

from __future__ import annotations

from .._native.structs import Field, StructLayout
from .._typing import TYPE_CHECKING
from ..errors import OutOfRangeError
from .kinds import Kind, spelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

__all__ = ["Layout", "laid_out"]


class Layout(StructLayout):
    """The layout of a structure: `size` and `alignment` in bytes, `fields` (each with `name`, `offset`, `size`,
    `kind`) of the class `struct`. `print(Point.layout)` shows it with the padding, `.c()` and `.csharp()` are
    declarations for the other side.

    `text` is its canonical form, which two processes compare by its `hash` (8 bytes of SHA-256): offsets, types and
    names of the fields, and the size."""

    __slots__ = ("__dict__",)

    name: str
    text: str
    format: str
    pack: int

    def __init__(self, struct: type, size: int, alignment: int, fields: list[Field], pack: int) -> None:
        super().__init__(struct, size, alignment, fields)
        self.name = struct.__name__
        self.pack = pack
        inner = ";".join(f"{field.offset} {field.kind.text} {field.name}" for field in fields)
        self.text = f"{{{inner}}}{size}"
        self.format = _format(self)

    @property
    def hash(self) -> bytes:
        """The first 8 bytes of the SHA-256 of `text`."""
        from hashlib import sha256

        return sha256(self.text.encode()).digest()[:8]

    @property
    def padding(self) -> list[tuple[int, int]]:
        """Where bytes belong to no field: pairs of offset and size."""
        return list(_gaps(self.fields, self.size))

    @property
    def dtype(self) -> Any:
        """NumPy's dtype of the same layout. ImportError without NumPy."""
        from .exports import dtype_of

        return self._once("dtype", dtype_of)

    @property
    def ctype(self) -> Any:
        """A ctypes structure of the same layout."""
        from .exports import ctype_of

        return self._once("ctype", ctype_of)

    def _once(self, what: str, make: Any) -> Any:
        known = self.__dict__.get(what)
        return self.__dict__.setdefault(what, make(self)) if known is None else known  # one for all threads

    def c(self, *more: Layout) -> str:
        """A declaration in C (C11, and C++), with those of nested structures before it, and assertions of each offset.
        `more`: layouts to be declared with it, so that what they share is declared once."""
        from .declarations import c

        return c(self, *more)

    def csharp(self, *more: Layout, namespace: str | None = None) -> str:
        """A declaration in C# 7 (to be compiled with /unsafe), with those of nested structures before it. `more`: as in
        `c`."""
        from .csharp import csharp

        return csharp(self, *more, namespace=namespace)

    def __str__(self) -> str:
        rows: list[tuple[Any, Any, str, str]] = [(f.offset, f.size, repr(f.kind), f.name) for f in self.fields]
        rows += [(offset, size, "", "(padding)") for offset, size in self.padding]
        rows = [("offset", "size", "type", "name"), *sorted(rows, key=lambda row: row[0])]
        width = max(len(row[2]) for row in rows)
        lines = [f"{offset:>8} {size:>6}  {kind:<{width}}  {name}".rstrip() for offset, size, kind, name in rows]
        return f"{self.name}: {self.size} bytes, aligned to {self.alignment}\n" + "\n".join(lines)

    def __repr__(self) -> str:
        return f"<layout of {self.name}: {self.text}>"


def laid_out(struct: type, kinds: Iterable[tuple[str, Kind, int | None]], pack: int, size: int, align: int) -> Layout:
    """Lays fields out as C and C# do: each at the next multiple of its alignment, which `pack` limits, or where it
    says."""
    fields: list[Field] = []
    end = last = 0
    alignment = 1
    for name, kind, offset in kinds:
        aligned = min(kind.alignment, pack) if pack else kind.alignment
        if offset is None:
            offset = -(-last // aligned) * aligned
        fields.append(kind.field(name, offset))
        alignment = max(alignment, aligned)
        last = offset + kind.size
        end = max(end, last)
        if end >= 2**31:
            raise OutOfRangeError(f"{struct.__name__}.{name} ends at {end}: a structure has less than 2**31 bytes")
    alignment = max(alignment, align)
    whole = -(-end // alignment) * alignment
    if size and size < end:
        raise ValueError(f"{struct.__name__} has {end} bytes, and so does not fit in size={size}")
    return Layout(struct, size or whole, alignment, fields, pack)


def _gaps(fields: Iterable[Field], size: int) -> Iterator[tuple[int, int]]:
    at = 0
    for field in sorted(fields, key=lambda field: field.offset):
        if field.offset > at:
            yield at, field.offset - at
        at = max(at, field.offset + field.size)
    if at < size:
        yield at, size - at


def _format(layout: Layout) -> str:
    """Of a buffer of such structures, in the language of PEP 3118; plain bytes where fields overlap or are out of
    order, which that cannot say."""
    parts, at = "", 0
    for field in layout.fields:
        if field.offset < at:
            return "B"
        parts += f"{field.offset - at}x" if field.offset > at else ""
        parts += f"{spelled(field.kind.member)}:{field.name}:"
        at = field.offset + field.size
    return "T{" + parts + (f"{layout.size - at}x" if layout.size > at else "") + "}"
