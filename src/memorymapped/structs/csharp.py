# SPDX-License-Identifier: MIT
"""Layouts as declarations for C#.

What counts is the layout in managed memory, which `Read<T>`, `Write<T>` and `unsafe` code have, on every .NET.
Sequential structures are declared where all that is in them lies the same everywhere, and in all others each field
says its offset: a decimal is aligned to 4 bytes up to .NET Core 3.1 and to 8 since .NET 5, and the runtime lays out as
it likes what has a DateTime in it. So ticks are stored as integers; properties convert."""

from __future__ import annotations

from enum import Flag
from itertools import pairwise

from .._typing import TYPE_CHECKING
from .arrangement import arranged
from .kinds import (
    ArrayKind,
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
from .names import Names, checked, dimensions

if TYPE_CHECKING:
    from .kinds import Kind
    from .layout import Layout

__all__ = ["csharp"]

_NUMBERS = {
    "bool": "bool",
    "int8": "sbyte",
    "uint8": "byte",
    "int16": "short",
    "uint16": "ushort",
    "int32": "int",
    "uint32": "uint",
    "int64": "long",
    "uint64": "ulong",
    "float32": "float",
    "float64": "double",
    "char16": "char",
}

_KEYWORDS = """\
abstract as async await base bool break byte case catch char checked class const continue decimal default delegate
do double dynamic else enum event explicit extern false field file finally fixed float for foreach goto if implicit
in int interface internal is lock long namespace new nint notnull nuint null object operator out override params
partial private protected public readonly record ref required return sbyte scoped sealed short sizeof stackalloc
static string struct switch this throw true try typeof uint ulong unchecked unmanaged unsafe ushort using var
virtual void volatile where while yield
"""

# Types that declarations use.
_TYPES = {
    *("System", "DateTime", "TimeSpan", "Guid", "ArgumentException", "IndexOutOfRangeException", "Flags"),
    *("StructLayout", "LayoutKind", "CharSet", "FieldOffset", "MarshalAs", "UnmanagedType"),
}

_SWAP = "global::System.Buffers.Binary.BinaryPrimitives.ReverseEndianness"


def csharp(*layouts: Layout, namespace: str | None = None) -> str:
    """A declaration of these layouts in C# 7 (compile it with /unsafe), for a little-endian machine. What they consist
    of comes first, and once. Names that are words of C# get an @."""
    text = _Text()
    for layout in checked(layouts):
        text.structure(layout)
    return text.whole(namespace)


class _Scalar:
    """How one value is stored, in `storage`; and, where that is not what it means, the `type` of a property, with the
    statements that make it of the stored one, `{0}`, and the other way round of `value`."""

    __slots__ = ("get", "put", "storage", "type")

    def __init__(self, storage: str, type: str = "", get: str = "", put: str = "") -> None:
        self.storage = storage
        self.type = type
        self.get = get
        self.put = put


class _Text:
    def __init__(self) -> None:
        self._parts: list[list[str]] = []
        self._names = Names(_TYPES)
        self._known: dict[object, str] = {}

    def whole(self, namespace: str | None) -> str:
        lines = ["using System;", "using System.Runtime.InteropServices;"]
        indent = ""
        if namespace is not None:
            if not all(part.isidentifier() for part in namespace.split(".")):
                raise ValueError(f"a namespace is names with dots between them, not {namespace!r}")
            lines += ["", f"namespace {'.'.join(map(_at, namespace.split('.')))}", "{"]
            indent = "    "
        for i, part in enumerate(self._parts):
            lines += ([""] if i or not indent else []) + [(indent + line).rstrip() for line in part]
        return "\n".join([*lines, *(["}"] if indent else [])]) + "\n"

    def structure(self, layout: Layout) -> str:
        """Declares a structure, unless that was done; its name."""
        if layout in self._known:
            return self._known[layout]
        for field in layout.fields:
            self._prepare(field.kind)
        name = self._names.take(layout.name)
        self._known[layout] = _at(name)
        members = Names([name, "UnmanagedType"])  # a member must not be named as its structure
        names = {field.name: members.take(field.name) for field in layout.fields}
        sequential = _is_sequential(layout)
        options = ["LayoutKind.Sequential" if sequential else "LayoutKind.Explicit"]
        if sequential:
            options += [f"Pack = {layout.pack}"] * (0 < layout.pack < 8)
        else:
            options += ["Pack = 1", f"Size = {layout.size}"]
        options += ["CharSet = CharSet.Unicode"] * any(self._storage(field.kind) == "char" for field in layout.fields)
        body: list[str] = []
        for field in layout.fields:
            where = "" if sequential else f"[FieldOffset({field.offset})] "
            lines = self._field(field.kind, names[field.name], members, where)
            said = ": ".join(filter(None, [str(field.offset) if sequential else "", _note(field.kind)]))
            lines[0] += f" // {said}" if said else ""
            body += lines
        unsafe = "unsafe " if any("fixed " in line or "*" in line for line in body) else ""
        self._parts.append(
            [
                f"// {layout.size} bytes, aligned to {layout.alignment}",
                f"[StructLayout({', '.join(options)})]",
                *_block(f"public {unsafe}struct {_at(name)}", body),
            ]
        )
        return self._known[layout]

    def _prepare(self, kind: Kind) -> None:
        """Declares what a field consists of."""
        kind, _ = dimensions(kind)
        if isinstance(kind, Nested):
            self.structure(kind.layout)
        elif isinstance(kind, EnumKind) and (kind.enum, kind.name) not in self._known:
            name = kind.enum.__name__
            if any(kind.enum in key for key in self._known if isinstance(key, tuple)):  # in other bytes
                name += f"_{kind.name}"
            name = self._names.take(name)
            members = Names(["value__"])
            self._known[kind.enum, kind.name] = _at(name)
            rows = [
                f"{_at(members.take(member))} = {int(value.value)}," for member, value in kind.enum.__members__.items()
            ]
            flags = ["[Flags]"] * issubclass(kind.enum, Flag)
            self._parts.append([*flags, *_block(f"public enum {_at(name)} : {_NUMBERS[kind.name]}", rows)])

    def _storage(self, kind: Kind) -> str:
        kind, _ = dimensions(kind)
        if isinstance(kind, TextKind):
            return "byte" if kind.unit == 1 else "ushort" if kind.order == ">" else "char"
        return "byte" if isinstance(kind, BytesKind) else self._scalar(kind).storage

    def _scalar(self, kind: Kind) -> _Scalar:
        swap = _SWAP if kind.order == ">" else ""
        if isinstance(kind, Nested):
            return _Scalar(self._known[kind.layout])
        if isinstance(kind, (GuidKind, DecimalKind)):
            name = "Guid" if isinstance(kind, GuidKind) else "decimal"
            return _Scalar(name, name, *_turned(name)) if swap else _Scalar(name)
        if isinstance(kind, DateTimeKind):
            return _bits("ulong", "DateTime", swap)
        if isinstance(kind, TimeSpanKind):
            return _bits("long", "TimeSpan", swap)
        if isinstance(kind, Float16Kind):
            return _same("ushort", swap)
        assert isinstance(kind, Number)
        plain = _NUMBERS[kind.name]
        if isinstance(kind, EnumKind):
            name = self._known[kind.enum, kind.name]
            if not swap:
                return _Scalar(name)
            return _Scalar(plain, name, f"return ({name}){swap}({{0}});", f"{{0}} = {swap}(({plain})value);")
        if not swap or kind.name.startswith(("int", "uint")):
            return _same(plain, swap)
        return _bits({"float32": "uint", "float64": "ulong", "char16": "ushort"}[kind.name], plain, swap)

    def _field(self, kind: Kind, name: str, members: Names, where: str) -> list[str]:
        """The lines of a field. The first one declares what is stored."""
        element, lengths = dimensions(kind)
        if isinstance(element, BytesKind):
            return [f"{where}public fixed byte {_at(name)}[{kind.size}];"]
        if isinstance(element, TextKind):
            unit = self._storage(element)
            if lengths:
                return self._items(element, lengths, name, members, where)
            raw = members.take(f"raw_{name}")
            fixed = f"fixed ({unit}* at = this.{raw})"
            return [
                f"{where}public fixed {unit} {raw}[{element.capacity}];",
                *_property(
                    f"public string {_at(name)}",
                    _block(fixed, _get_text(element)),
                    _block(fixed, _put_text(element, name)),
                ),
            ]
        scalar = self._scalar(element)
        if lengths:
            if _has_buffers(element):
                return [f"{where}public fixed {scalar.storage} {_at(name)}[{kind.size // element.size}];"]
            return self._items(element, lengths, name, members, where)
        if not scalar.type:
            one_byte = "MarshalAs(UnmanagedType.U1)"
            if scalar.storage == "bool":  # Marshal would take four
                where = f"{where[:-2]}, {one_byte}] " if where else f"[{one_byte}] "
            return [f"{where}public {scalar.storage} {_at(name)};"]
        raw = members.take(f"raw_{name}")
        return [
            f"{where}public {scalar.storage} {raw};",
            *_property(
                f"public {scalar.type} {_at(name)}",
                [scalar.get.format(f"this.{raw}")],
                [scalar.put.format(f"this.{raw}")],
            ),
        ]

    def _items(self, element: Kind, lengths: list[int], name: str, members: Names, where: str) -> list[str]:
        """An array of what C# has no buffers of: a structure of so many bytes, with an indexer."""
        type_ = members.take(f"{name}_items")
        while type_ in self._names:  # it would hide that one
            type_ = members.take(type_)
        total = element.size
        for length in lengths:
            total *= length
        indexes = [f"i{i}" for i in range(len(lengths))] if len(lengths) > 3 else list("ijk"[: len(lengths)])
        outside = " || ".join(f"(uint){i} >= {length}" for i, length in zip(indexes, lengths, strict=True))
        flat = indexes[0]
        for i, length in zip(indexes[1:], lengths[1:], strict=True):
            flat = f"({flat} * {length} + {i})"  # of all, one behind the other
        check = f"if ({outside}) throw new IndexOutOfRangeException();"
        this = f"this[{', '.join(f'int {i}' for i in indexes)}]"
        fixed = "fixed (byte* at = this.raw)"
        if isinstance(element, TextKind):
            unit = self._storage(element)
            fixed = "fixed (byte* start = this.raw)"
            at = f"{unit}* at = ({unit}*)start + {flat} * {element.capacity};"
            indexer = _property(
                f"public string {this}",
                [check, *_block(fixed, [at, *_get_text(element)])],
                [check, *_block(fixed, [at, *_put_text(element, name)])],
            )
        else:
            scalar = self._scalar(element)
            item = f"(({scalar.storage}*)at)[{flat}]"
            if scalar.type:
                indexer = _property(
                    f"public {scalar.type} {this}",
                    [check, *_block(fixed, [scalar.get.format(item)])],
                    [check, *_block(fixed, [scalar.put.format(item)])],
                )
            else:
                get = _block("get", [check, f"{fixed} return ref {item};"])
                indexer = _block(f"public ref {scalar.storage} {this}", get)
        return [
            f"{where}public {type_} {_at(name)};",
            f"[StructLayout(LayoutKind.Sequential, Pack = 1, Size = {total})]",
            *_block(f"public unsafe struct {type_}", [f"public fixed byte raw[{total}];", *indexer]),
        ]


def _block(head: str, lines: list[str]) -> list[str]:
    return [head, "{", *("    " + line for line in lines), "}"]


def _property(head: str, get: list[str], put: list[str]) -> list[str]:
    if len(get) == len(put) == 1:
        return _block(head, [f"get {{ {get[0]} }}", f"set {{ {put[0]} }}"])
    return _block(head, [*_block("get", get), *_block("set", put)])


def _at(name: str) -> str:
    return f"@{name}" if name in _KEYWORDS.split() else name


def _bits(storage: str, type: str, swap: str) -> _Scalar:
    """A value of another type with the same bits."""
    turned, back = (f"{swap}({{0}})", f"{swap}(*({storage}*)&value)") if swap else ("{0}", f"*({storage}*)&value")
    return _Scalar(storage, type, f"{storage} raw = {turned}; return *({type}*)&raw;", f"{{0}} = {back};")


def _same(plain: str, swap: str) -> _Scalar:
    """A number that is itself, but for its byte order."""
    return _Scalar(plain, plain, f"return {swap}({{0}});", f"{{0}} = {swap}(value);") if swap else _Scalar(plain)


def _turned(name: str) -> tuple[str, str]:
    """Statements that turn the parts of a Guid or a decimal."""
    if name == "decimal":
        turn = f"uint* part = (uint*)&turned; for (int n = 0; n < 4; n++) part[n] = {_SWAP}(part[n]);"
    else:
        turn = (
            f"*(uint*)&turned = {_SWAP}(*(uint*)&turned); ushort* part = (ushort*)&turned; "
            f"part[2] = {_SWAP}(part[2]); part[3] = {_SWAP}(part[3]);"
        )
    return f"{name} turned = {{0}}; {turn} return turned;", f"{name} turned = value; {turn} {{0}} = turned;"


def _get_text(kind: TextKind) -> list[str]:
    """Statements that return the text of the units that `at` points to."""
    lines = ["int length = 0;", f"while (length < {kind.capacity} && at[length] != 0) length++;"]
    if kind.unit == 1:  # as in Python, bytes that are no UTF-8 are an error
        return [*lines, "return new global::System.Text.UTF8Encoding(false, true).GetString(at, length);"]
    if kind.order == "<":
        return [*lines, "return new string(at, 0, length);"]
    turn = f"for (int n = 0; n < length; n++) text[n] = (char){_SWAP}(at[n]);"
    return [*lines, "char[] text = new char[length];", turn, "return new string(text);"]


def _put_text(kind: TextKind, name: str) -> list[str]:
    """Statements that put the text `value` where `at` points to."""
    room = kind.capacity - kind.terminated
    units = f"{room} {'bytes of UTF-8' if kind.unit == 1 else 'UTF-16 units'}"
    text, zero, unit = "string text = value;", "'\\0'", "text[n]"
    if kind.unit == 1:
        text, zero = "byte[] text = new global::System.Text.UTF8Encoding(false, true).GetBytes(value);", "(byte)0"
    elif kind.order == ">":
        zero, unit = "(ushort)0", f"{_SWAP}((ushort)text[n])"
    return [
        text,
        f"if (text.Length > {room} || value.IndexOf('\\0') >= 0)",
        f'    throw new ArgumentException("{name} is text of at most {units}, without a zero in it");',
        f"for (int n = 0; n < {kind.capacity}; n++) at[n] = n < text.Length ? {unit} : {zero};",
    ]


def _note(kind: Kind) -> str:
    """What the type in the declaration does not say."""
    kind, lengths = dimensions(kind)
    said = []
    if lengths and isinstance(kind, BytesKind):
        lengths.append(kind.size)
    if len(lengths) > 1:
        said.append("".join(f"[{length}]" for length in lengths))
    if isinstance(kind, TextKind):
        said.append(f"UTF-{8 * kind.unit}")
    if isinstance(kind, Float16Kind):
        said.append("a float of 16 bits (Half in .NET 5)")
    if kind.order == ">":
        said.append("big-endian")
    return ", ".join(said)


def _alignment(kind: Kind) -> int:
    while isinstance(kind, ArrayKind):
        kind = kind.element
    if not isinstance(kind, Nested):
        return kind.alignment
    return max(min(_alignment(field.kind), kind.layout.pack or 8) for field in kind.layout.fields)


def _is_sequential(layout: Layout) -> bool:
    """Whether every .NET comes to a layout by itself: its fields are plain numbers, buffers of them, and structures of
    that kind, in this order."""
    if any(not _is_plain(field.kind) for field in layout.fields):
        return False
    if any(before.offset > field.offset for before, field in pairwise(layout.fields)):
        return False
    plan = arranged(layout, _alignment)
    return plan is not None and plan.pack == layout.pack and plan.members == list(layout.fields)


def _is_plain(kind: Kind) -> bool:
    element, lengths = dimensions(kind)
    if isinstance(element, Nested):
        return not lengths and _is_sequential(element.layout)
    if isinstance(element, TextKind):
        return not lengths
    if isinstance(element, GuidKind):
        return not lengths
    if isinstance(element, DecimalKind):
        return False
    # An array of what is no plain number is a structure of bytes, aligned to none.
    return not lengths or isinstance(element, BytesKind) or _has_buffers(element)


def _has_buffers(kind: Kind) -> bool:
    """Whether C# has buffers of it, that are the same for Marshal: in those of bool it takes four bytes for one."""
    if isinstance(kind, Float16Kind):
        return kind.order != ">"
    return type(kind) is Number and kind.order != ">" and kind.name != "bool"
