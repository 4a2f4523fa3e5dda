# SPDX-License-Identifier: MIT
"""Processes that replace one value without pause, by `data` and by `edit`, and others that read it: to be killed.

A value says of which writer it is, and its how-many-th, and all of it depends on that."""

from __future__ import annotations

from typing import Annotated, Any

from support.crew import Table

from memorymapped import FixedBytes, SharedMemory, Struct, int32, int64

__all__ = ["COUNT", "READS", "STOP", "Value", "read", "whole", "write", "write_file"]

STOP, READS, COUNT = 0, 1, 2  # words of the table; COUNT + writer: up to which one has written


class Value(Struct):
    writer: int32
    number: int64
    body: Annotated[bytes, FixedBytes(2000)]


def value(writer: int, number: int) -> Value:
    return Value(writer, number, (b"%d %d " % (writer, number) * 400)[:2000])


def whole(found: Any) -> tuple[int, int]:
    """The writer and the number, which must be of one value."""
    writer, number = int(found.writer), int(found.number)
    if (writer, number) != (0, 0):
        assert found == value(writer, number), f"a mixture of {writer}, {number}"
    return writer, number


def write(table: Table, writer: int, name: str) -> None:
    with SharedMemory.open_existing(Value, name) as shared:
        while not table[STOP]:
            number = table[COUNT + writer] + 1
            new = value(writer, number)
            if number % 2:
                shared.data = new
            else:
                with shared.edit() as draft:
                    whole(draft)
                    draft.writer, draft.number, draft.body = new.writer, new.number, new.body
            table[COUNT + writer] = number


def read(table: Table, name: str) -> None:
    with SharedMemory.open_existing(Value, name) as shared:
        version = 0
        last: dict[int, int] = {}
        while not table[STOP]:
            writer, number = whole(shared.data)
            assert number >= last.get(writer, 0), f"{number} of writer {writer} after {last[writer]}"
            last[writer] = number
            now = shared.version
            assert now is not None
            assert now >= version
            version = now
            table[READS] += 1


def write_file(table: Table, path: str) -> None:
    with SharedMemory.create_from_file(Value, path) as shared:
        while True:
            number = table[COUNT + 1] + 1
            shared.data = value(1, number)
            table[COUNT + 1] = number
