# SPDX-License-Identifier: MIT
"""A class with members of variable length in shared memory: text, a list of records, in each a list of numbers.

A reader of "Programming Memory-Mapped Files with the .NET Framework" asked for it: `class Data { int recordCount;
string description; Record[] aryRecords; }`. What several processes see has no references in it, so each member has room
for the longest that it may be, and says how much of that is used:

    python samples/variable_members.py first              # makes it, with two records; waits for Enter
    python samples/variable_members.py add pears 3 5 8    # meanwhile, in another terminal
    python samples/variable_members.py show
    python samples/variable_members.py csharp             # the same structures for a C# program

With `--file PATH --lock NAME` it lies in a file, which a C# program on Linux maps under a mutex of that name.
"""

import argparse
import sys
from contextlib import suppress
from typing import Annotated, Literal

from memorymapped import Array, SharedMemory, Struct, Utf16, int32


class Record(Struct):
    description: Annotated[str, Utf16(32)]
    count: int32
    x: Array[int32, Literal[16]]

    @property
    def numbers(self) -> list[int]:
        return list(self.x[: self.count])


class Data(Struct):
    record_count: int32
    description: Annotated[str, Utf16(64)]
    records: Array[Record, Literal[8]]


def record(description: str, numbers: list[int]) -> Record:
    return Record(description, len(numbers), numbers + [0] * (16 - len(numbers)))


def add(shared: SharedMemory[Data], new: Record) -> None:
    with shared.edit() as data:  # all of it, or nothing
        data.records[data.record_count] = new
        data.record_count += 1


def show(data: Data) -> None:
    print(f"{data.description}: {data.record_count} records")
    for each in data.records[: data.record_count]:
        print(f"  {each.description}: {each.numbers}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("role", choices=["first", "add", "show", "csharp"])
parser.add_argument("description", nargs="?")
parser.add_argument("numbers", nargs="*", type=int)
parser.add_argument("--file")
parser.add_argument("--lock")
arguments = parser.parse_args()
if arguments.role == "csharp":
    print(Data.layout.csharp())
    sys.exit()
with (
    SharedMemory.create_from_file(Data, arguments.file, lock_name=arguments.lock)
    if arguments.file
    else SharedMemory(Data, "VariableMembers", lock_name=arguments.lock)
) as shared:
    if arguments.role == "first":
        shared.data = Data.zero().replace(description="fruit")
        add(shared, record("apples", [1, 2]))
        add(shared, record("äpfel 🍏", []))
        with suppress(KeyboardInterrupt):
            print("made; press Enter to end", flush=True)
            sys.stdin.readline()
    elif arguments.role == "add":
        try:
            add(shared, record(arguments.description, arguments.numbers))
        except ValueError as error:  # 17 numbers, a ninth record, a long description
            sys.exit(f"not added: {error}")
    show(shared.data)
