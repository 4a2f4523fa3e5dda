# SPDX-License-Identifier: MIT
"""The array in the files of `tests/frozen`, and how they were made.

    python -m support.frozen_arrays FOLDER

makes them anew, for a new version of the format. Those of a version that was released stay as they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from memorymapped import FixedBytes, Struct, StructArray, Utf8, float64, int16, int32, int64

__all__ = ["Inner", "Quote", "quotes"]


class Inner(Struct):
    count: int16
    code: Annotated[bytes, FixedBytes(3)]


class Quote(Struct, pack=1):
    """41 bytes, and so 44 apart."""

    id: int64
    price: float64
    inner: Inner
    volume: int32
    symbol: Annotated[str, Utf8(15)]


def quotes(count: int) -> list[Quote]:
    return [Quote(i, i / 4, Inner(-i, b"ab"), i * 1000, f"sym {i}") for i in range(count)]


def main(folder: str) -> None:
    for name in ("struct_array_1.bin", "struct_array_1_replacing.bin"):
        path = Path(folder) / name
        path.unlink(missing_ok=True)
        with StructArray.create_from_file(Quote, path, capacity=10, max_capacity=12) as array:
            array.extend(quotes(7))
            array[2] = quotes(30)[29]
            array.pop()
            control = array._control_position
            if "replacing" in name:
                begin_to_replace(array._view, control, 3, quotes(40)[39])


def begin_to_replace(view: Any, control: int, index: int, value: Any) -> None:
    """Leaves what a writer leaves who dies when the replacement is committed, and the element is half copied."""
    raw = bytes(value)
    view.write_bytes(control + 192, raw)
    view.write_uint64(control + 80, index)
    view.write_uint64(control + 72, view.read_uint64(control + 72) + 1)
    stride = len(raw) if len(raw) <= 2 else -(-len(raw) // 4) * 4
    view.write_bytes(index * stride, raw[: len(raw) // 2])


if __name__ == "__main__":
    main(*sys.argv[1:])
