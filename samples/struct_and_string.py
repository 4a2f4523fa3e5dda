# SPDX-License-Identifier: MIT
"""What the writer and the reader have in common: a structure, a string behind its length, and where they lie.

From "Memory mapped files in .NET 4" (2009): the class HelperStuff and the structure SomeData."""

import ctypes
from datetime import date, timedelta

from memorymapped import MemoryMappedViewAccessor

MAP_NAME = "TestMemoryMappedFile"
CAPACITY = 1024 * 1024
TICKS_PER_DAY = 24 * 60 * 60 * 10_000_000  # .NET counts in units of 100 ns, from the first day of the year 1


class SomeData(ctypes.Structure):
    _fields_ = (("current_date", ctypes.c_int64),)


def write_data(view: MemoryMappedViewAccessor, position: int) -> None:
    today = date.today()
    data = SomeData((today.toordinal() - 1) * TICKS_PER_DAY)
    text = today.strftime("%A, %d %B %Y").encode("utf-16-le")  # .NET's Encoding.Unicode
    view.write(position, data)
    position += ctypes.sizeof(SomeData)
    view.write_int32(position, len(text))
    view.write_array(position + 4, text)


def read_data(view: MemoryMappedViewAccessor, position: int) -> None:
    data = view.read(position, SomeData)
    position += ctypes.sizeof(SomeData)
    text = bytearray(view.read_int32(position))
    view.read_array(position + 4, text)
    print(date.min + timedelta(days=data.current_date // TICKS_PER_DAY))
    print(text.decode("utf-16-le"))
