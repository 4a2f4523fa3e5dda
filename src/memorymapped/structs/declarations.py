# SPDX-License-Identifier: MIT
"""Layouts as declarations for programs in C, so that the other side is generated and not typed by hand."""

from __future__ import annotations

from .._native.structs import Field
from .._typing import TYPE_CHECKING
from .arrangement import arranged_in_c
from .kinds import (
    BytesKind,
    DateTimeKind,
    DecimalKind,
    EnumKind,
    Float16Kind,
    GuidKind,
    Nested,
    Number,
    TextKind,
    TimeSpanKind,
)
from .names import Names, checked, dimensions, identifier

if TYPE_CHECKING:
    from enum import Enum

    from .kinds import Kind
    from .layout import Layout

__all__ = ["c"]

_NUMBERS = {"bool": "bool", "float32": "float", "float64": "double", "char16": "uint16_t"}

# Words of C and C++, and what the headers define that a declaration includes.
_WORDS = """\
alignas alignof and and_eq asm assert auto bitand bitor bool break case catch char char16_t char32_t char8_t class
co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default
delete do double dynamic_cast else enum explicit export extern false final float for friend goto if inline int
int8_t int16_t int32_t int64_t linux long mutable namespace new noexcept not not_eq nullptr NULL offsetof operator
or or_eq override private protected public register reinterpret_cast requires restrict return short signed sizeof
static static_assert static_cast struct switch template this thread_local throw true try typedef typeid typename
typeof uint8_t uint16_t uint32_t uint64_t union unix unsigned using virtual void volatile wchar_t while xor xor_eq
"""

_GUID = """\
/* .NET's Guid */
typedef struct mmf_guid {
    uint32_t data1;
    uint16_t data2;
    uint16_t data3;
    uint8_t data4[8];
} mmf_guid;
"""
_DECIMAL = """\
/* .NET's decimal in memory: high:middle:low / 10^(flags >> 16 & 255), negative if flags >> 31 */
typedef struct mmf_decimal {
    alignas(8) uint32_t flags;
    uint32_t high;
    uint32_t low;
    uint32_t middle;
} mmf_decimal;
"""


def c(*layouts: Layout) -> str:
    """A declaration of these layouts in C11, which is one in C++11 too, for a little-endian machine. What they consist
    of comes first, and once. Assertions say that the compiler has come to the same sizes and offsets. Names that mean
    something else in C get an underscore."""
    text = _Text()
    for layout in checked(layouts):
        text.structure(layout)
    return text.whole()


class _Text:
    def __init__(self) -> None:
        self._parts: list[str] = []
        self._names = Names([*_WORDS.split(), "mmf_guid", "mmf_decimal"])
        self._known: dict[object, str] = {}
        self._enums: set[type[Enum]] = set()
        self._includes = {"assert.h", "stddef.h", "stdint.h"}

    def whole(self) -> str:
        return "\n".join(["".join(f"#include <{name}>\n" for name in sorted(self._includes)), *self._parts])

    def structure(self, layout: Layout) -> str:
        """Declares a structure, unless that was done; its name."""
        if layout in self._known:
            return self._known[layout]
        types = {field.name: self._type(field.kind) for field in layout.fields}
        name = self._known[layout] = self._names.take(layout.name)
        members = Names(self._names)  # constants may be macros; and in C++ a member must not be named as its type
        names = {field.name: members.take(field.name) for field in layout.fields}

        def spelled(field: Field) -> str:
            said = _note(field.kind)
            kind, lengths = dimensions(field.kind)
            if isinstance(kind, TextKind):
                lengths.append(kind.capacity)
            elif isinstance(kind, BytesKind):
                lengths.append(kind.size)
            sizes = "".join(f"[{length}]" for length in lengths)
            return f"{types[field.name]} {names[field.name]}{sizes}; /* {field.offset}{': ' + said if said else ''} */"

        plan = arranged_in_c(layout)
        lines = [f"/* {layout.size} bytes, aligned to {layout.alignment} */"]
        if plan is None:
            lines += [
                f"typedef union {name} {{ /* its fields overlap */",
                f"    uint8_t {members.take('raw')}[{layout.size}];",
            ]
            for i, field in enumerate(layout.fields):
                padding = f"uint8_t {members.take(f'padding{i}')}[{field.offset}]; " if field.offset else ""
                lines.append(f"    struct {{ {padding}{spelled(field)} }};")
        else:
            lines.append(f"typedef struct {name} {{")
            for i, member in enumerate(plan.members):
                if isinstance(member, int):
                    lines.append(f"    uint8_t {members.take(f'padding{i}')}[{member}];")
                else:
                    lines.append("    " + spelled(member))
        lines.append(f"}} {name};")
        pack = 1 if plan is None else plan.pack
        if pack:
            lines = [f"#pragma pack(push, {pack})", *lines, "#pragma pack(pop)"]
        lines.append(f'static_assert(sizeof({name}) == {layout.size}, "{name}");')
        for field in layout.fields:
            member_name = names[field.name]
            lines.append(f'static_assert(offsetof({name}, {member_name}) == {field.offset}, "{name}.{member_name}");')
        self._parts.append("\n".join(lines) + "\n")
        return name

    def _type(self, kind: Kind) -> str:
        kind, _ = dimensions(kind)
        if isinstance(kind, Nested):
            return self.structure(kind.layout)
        if isinstance(kind, GuidKind):
            return self._once("mmf_guid", _GUID)
        if isinstance(kind, DecimalKind):
            self._includes.add("stdalign.h")
            return self._once("mmf_decimal", _DECIMAL)
        if isinstance(kind, EnumKind):
            self._constants(kind.enum)
        if isinstance(kind, Number):
            if kind.name == "bool":
                self._includes.add("stdbool.h")
            return _NUMBERS.get(kind.name, kind.name + "_t")
        if isinstance(kind, TextKind):
            return "char" if kind.unit == 1 else "uint16_t"
        return "uint16_t" if isinstance(kind, Float16Kind) else "uint8_t"

    def _once(self, name: str, text: str) -> str:
        if name not in self._known:
            self._known[name] = name
            self._parts.append(text)
        return name

    def _constants(self, enum: type[Enum]) -> None:
        """The members of an enumeration. C's own are ints, and so larger ones are macros."""
        if enum in self._enums:
            return
        self._enums.add(enum)
        prefix = identifier(enum.__name__)
        members = [(self._names.take(f"{prefix}_{name}"), member.value) for name, member in enum.__members__.items()]
        if all(-(2**31) < value < 2**31 for _, value in members):
            rows = [f"    {name} = {int(value)},\n" for name, value in members]
            text = f"enum {{ /* {prefix} */\n{''.join(rows)}}};\n" if rows else ""
        else:
            text = "".join(f"#define {name} {_integer(value)}\n" for name, value in members)
        self._parts += [text] if text else []


def _integer(value: int) -> str:
    if value >= 0:
        return f"{'U' if value >= 2**63 else ''}INT64_C({value})"
    return f"INT64_C({value})" if value > -(2**63) else "INT64_MIN"


def _note(kind: Kind) -> str:
    """What the type in the declaration does not say."""
    kind, _ = dimensions(kind)
    said = ""
    if isinstance(kind, TextKind):
        said = f"UTF-{8 * kind.unit}, filled up with zeros"
    elif isinstance(kind, EnumKind):
        said = identifier(kind.enum.__name__)
    elif isinstance(kind, DateTimeKind):
        said = "DateTime: ticks of 100 ns since the year 1, its kind in the highest two bits"
    elif isinstance(kind, TimeSpanKind):
        said = "TimeSpan: ticks of 100 ns"
    elif isinstance(kind, Float16Kind):
        said = "a float of 16 bits"
    elif kind.text.startswith("char16"):
        said = "a UTF-16 unit"
    return ", ".join(filter(None, [said, "big-endian" if kind.order == ">" else ""]))
