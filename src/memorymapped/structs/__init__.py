# SPDX-License-Identifier: MIT
"""Structures in memory: declared once, read and written by field, of the same layout in C, C#, NumPy and ctypes."""

from collections.abc import Sequence

from .layout import Layout
from .markers import (
    Array,
    ByteOrder,
    FixedBytes,
    Length,
    Offset,
    Utf8,
    Utf16,
    char16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .struct import Struct

Sequence.register(Array)

__all__ = [
    "Array",
    "ByteOrder",
    "FixedBytes",
    "Layout",
    "Length",
    "Offset",
    "Struct",
    "Utf8",
    "Utf16",
    "char16",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]
