# SPDX-License-Identifier: MIT
"""`mmf dump` shows what the plain definition below shows, byte for byte, and no hole costs any time."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import MMF, Tool, finished
from support.here import WINDOWS

from memorymapped.cli import dump
from memorymapped.cli.shapes import NAMES, plain, shape_of
from memorymapped.cli.words import value_in_words

SEED = int(os.environ.get("MEMORYMAPPED_TEST_SEED", "0")) or random.randrange(1, 1 << 32)
STRUCTURE = "{0 int16 a;4 float32[2] b;12 utf8[3] c}16"
TYPES = [None, *NAMES, "int16be", "float64be", "utf8[5]", "utf16[3]", "bytes[7]", "int32[3]", STRUCTURE]


def expected(data: bytes, begin: int, end: int, type_: str | None, columns: int | None, option: str) -> str:
    """What a dump is: row by row, value by value."""
    shape = None if type_ is None else shape_of(type_)
    rows: list[tuple[str, str]] = []
    width = max(8, len(f"{end:x}"))
    size = 16 if shape is None else (columns or max(1, 16 // shape.size)) * shape.size
    whole = end if shape is None else end - (end - begin) % shape.size
    for at in range(begin, whole, size):
        row = data[at : min(at + size, whole)]
        if shape is None:
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
            text = f"{row[:8].hex(' '):23}  {row[8:].hex(' '):23}  |{text}|"
            objects: list[Any] = [{"offset": at, "hex": row.hex()}]
        else:
            values = [plain(shape.read(row, i)) for i in range(0, len(row), shape.size)]
            text = "  ".join(f"{value_in_words(value):>12}" for value in values)
            objects = [{"offset": at + i * shape.size, "value": value} for i, value in enumerate(values)]
        rows += [("", json.dumps(each)) for each in objects] if option == "--json" else [(f"{at:0{width}x}", text)]
    return "".join(f"{line}\n" for line in folded(rows, option)) + (
        f"{end - whole} bytes at the end are no whole {type_:.40}\n" if end > whole and option != "--json" else ""
    )


def folded(rows: list[tuple[str, str]], option: str) -> Iterator[str]:
    """Of rows that show the same, the first; and the last row of all."""
    if option == "--json":
        yield from (text for _, text in rows)
        return
    for number, (at, text) in enumerate(rows):
        again = [text == rows[number - back][1] for back in (1, 2) if number >= back] + [False, False]
        if not again[0] or option == "--all":
            yield f"{at}  {text}"
        else:
            if not again[1]:
                yield "*"
            if number == len(rows) - 1:
                yield f"{at}  {text}"


def some_bytes(chance: random.Random) -> bytes:
    """With rows that repeat, short and long, aligned or not."""
    data = b""
    while len(data) < 3000:
        piece = chance.randbytes(chance.choice([1, 5, 16, 32, 100]))
        data += chance.choice([piece, bytes(len(piece)), b"~" * len(piece), piece[:16] * chance.randrange(1, 40)])
    return data


@pytest.mark.parametrize("type_", TYPES)
def test_a_dump_is_what_it_is_by_definition(
    mmf: Tool, tmp_path: Path, type_: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(f"{SEED} {type_}")
    file = tmp_path / "file"
    for _ in range(8):
        data = some_bytes(chance)
        file.write_bytes(data)
        monkeypatch.setattr(dump, "PIECE", chance.choice([64, 256, 1 << 16]))
        begin = chance.choice([0, chance.randrange(200)])
        end = chance.choice([len(data), chance.randrange(begin + 1, len(data))])
        columns = chance.choice([None, 1, 3, 8])
        option = chance.choice(["", "", "--all", "--json"])
        words = [*(["--as", type_] if type_ else []), *(["--columns", columns] if columns else []), option]
        said = mmf("dump", file, "-s", begin, "-n", end - begin, *filter(None, words))
        assert said == (0, expected(data, begin, end, type_, columns, option), ""), f"seed {SEED}: {words}"


@pytest.mark.parametrize("type_", [None, "int32", STRUCTURE])
def test_holes_are_rows_of_zeros(mmf: Tool, tmp_path: Path, type_: str | None) -> None:
    file, size = tmp_path / "sparse", 200_003
    with open(file, "wb") as sparse:
        for at, data in (8192, b"begin"), (65_536, bytes(5000)), (135_168, b"x" * 16), (size - 1, b"z"):
            sparse.seek(at)
            sparse.write(data)
    data = file.read_bytes()
    assert WINDOWS or file.stat().st_blocks * 512 < size
    for begin, end in (0, size), (3, size - 70_001), (9000, 9005), (8197, 140_000), (200_000, size):
        for option in "", "--all", "--json":
            words = [*(["--as", type_] if type_ else []), *([option] if option else [])]
            said = mmf("dump", file, "-s", begin, "-n", end - begin, *words)
            assert said == (0, expected(data, begin, end, type_, None, option), "")


def test_a_hole_takes_no_time(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with open(file, "wb") as sparse:
        sparse.write(b"first")
        sparse.truncate(1 << 40)
    for more in [], ["--as", "double"]:
        lines = finished(*MMF, "dump", file, *more).stdout.splitlines()  # row by row it would take days
        assert [line.split()[0] for line in lines] == ["00000000000", "00000000010", "*", "0fffffffff0"]
