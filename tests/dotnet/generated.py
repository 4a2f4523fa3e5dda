# SPDX-License-Identifier: MIT
"""C# programs that use declarations which were printed: they read values, show each part, and write them again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from memorymapped import Struct
from memorymapped.structs import kinds
from memorymapped.structs.layout import Layout

AT = {"int", "class"}  # of support.struct_types.NAMES: names that get an @


def program(structs: list[type[Struct]], with_parts: list[bool]) -> str:
    """A program FILE that has values of these types from offset 0 on. For each it prints the size, the offsets of the
    fields, and the parts; writes the value again into the second third of the file, and into the last one, where
    `with_parts` says so, one that it has put together from the parts."""
    first, *more = (struct.layout for struct in structs)
    lines = [first.csharp(*more, namespace="Declared"), "namespace Declared", "{", "static unsafe class Program", "{"]
    position = 0
    third = sum(struct.layout.size for struct in structs)
    for i, (struct, parts) in enumerate(zip(structs, with_parts, strict=True)):
        name = struct.__name__
        lines += [f"static void Show{i}(System.IO.MemoryMappedFiles.MemoryMappedViewAccessor view)", "{"]
        lines += [f"{name} x, y = default({name});", f"view.Read<{name}>({position}, out x);"]
        marshal = f"System.Runtime.InteropServices.Marshal.SizeOf<{name}>()"
        lines.append(f'System.Console.WriteLine("{{0}} {{1}}", sizeof({name}), {marshal});')
        for field in struct.layout.fields:
            stored = _stored(struct.layout, field.name)
            address = f"(byte*){'' if _is_buffer(field.kind) else '&'}x.{stored}"
            marshal = f'System.Runtime.InteropServices.Marshal.OffsetOf<{name}>("{stored.removeprefix("@")}")'
            lines.append(f'System.Console.WriteLine("{{0}} {{1}}", {address} - (byte*)&x, {marshal});')
        lines += _shows("x", struct.layout, itertools.count())
        lines.append(f"view.Write<{name}>({third + position}, ref x);")
        for field in struct.layout.fields if parts else ():
            lines += _copies(field.kind, _at(field.name))
        lines += [f"view.Write<{name}>({2 * third + position}, ref y);", "}"]
        position += struct.layout.size
    lines += ["static void Main(string[] arguments)", "{"]
    lines.append("using (var map = System.IO.MemoryMappedFiles.MemoryMappedFile.CreateFromFile(arguments[0]))")
    lines.append("using (var view = map.CreateViewAccessor())")
    lines += ["{", *(f"Show{i}(view);" for i in range(len(structs))), "}", "}", "}", "}"]
    return "\n".join(lines) + "\n"


def _at(name: str) -> str:
    return f"@{name}" if name in AT else name


def _lengths(kind: kinds.Kind) -> tuple[kinds.Kind, list[int]]:
    lengths = []
    while isinstance(kind, kinds.ArrayKind):
        lengths.append(kind.count)
        kind = kind.element
    return kind, lengths


def _is_converted(kind: kinds.Kind) -> bool:
    """Whether a property says what is stored."""
    return kind.order == ">" or isinstance(kind, (kinds.DateTimeKind, kinds.TimeSpanKind))


def _is_buffer(kind: kinds.Kind) -> bool:
    """Whether it is stored in a fixed buffer of C#."""
    element, lengths = _lengths(kind)
    if isinstance(element, kinds.TextKind):
        return not lengths
    if isinstance(element, kinds.BytesKind):
        return True
    plain = isinstance(element, (kinds.Number, kinds.Float16Kind)) and not isinstance(element, kinds.EnumKind)
    return bool(lengths) and plain and not _is_converted(element) and element.text != "bool"


def _stored(layout: Layout, name: str) -> str:
    kind = next(field.kind for field in layout.fields if field.name == name)
    if isinstance(kind, (kinds.ArrayKind, kinds.BytesKind, kinds.Nested)):
        return _at(name)
    if not isinstance(kind, kinds.TextKind) and not _is_converted(kind):
        return _at(name)
    raw = f"raw_{name}"
    return raw + "_" * any(field.name == raw for field in layout.fields)


def _shows(value: str, layout: Layout, numbers: Iterator[int]) -> Iterator[str]:
    """Statements that print the parts of a structure in a local variable, in the order of `leaves`."""
    for field in layout.fields:
        element, lengths = _lengths(field.kind)
        member = f"{value}.{_at(field.name)}"
        for indexes in itertools.product(*map(range, lengths)):
            flat = 0
            for index, length in zip(indexes, lengths, strict=True):
                flat = flat * length + index
            if isinstance(element, kinds.BytesKind):
                yield f"System.Console.WriteLine(Shown.Of({member} + {flat * element.size}, {element.size}));"
                continue
            item = member
            if lengths:
                item += f"[{flat}]" if _is_buffer(field.kind) else f"[{', '.join(map(str, indexes))}]"
            if isinstance(element, kinds.Nested):
                local = f"v{next(numbers)}"
                yield f"var {local} = {item};"  # what an indexer returns is not at a fixed address
                yield from _shows(local, element.layout, numbers)
            else:
                show = f"System.Console.WriteLine(Shown.Of({item}));"
                yield f"try {{ {show} }} catch (System.ArgumentException) {{ System.Console.WriteLine('!'); }}"


def _copies(kind: kinds.Kind, name: str) -> Iterator[str]:
    """Statements that assign a field of `y` as it is in `x`, by its elements."""
    element, lengths = _lengths(kind)
    if _is_buffer(kind) and not isinstance(element, kinds.TextKind):
        count = kind.size // (1 if isinstance(element, kinds.BytesKind) else element.size)
        yield f"for (int n = 0; n < {count}; n++) y.{name}[n] = x.{name}[n];"
        return
    for indexes in itertools.product(*map(range, lengths)):
        index = f"[{', '.join(map(str, indexes))}]" if indexes else ""
        yield f"y.{name}{index} = x.{name}{index};"
