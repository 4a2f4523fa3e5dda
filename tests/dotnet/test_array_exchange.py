# SPDX-License-Identifier: MIT
"""A list of structures, and a C# program on the real .NET runtime that reads its elements, and writes them in place."""

from __future__ import annotations

from pathlib import Path

import pytest
from dotnet_runtime import Dotnet, environment
from programs import started

from memorymapped import Struct, StructArray, int16, int64, uint8

pytestmark = pytest.mark.dotnet


class Pair(Struct):
    first: int64
    small: int16
    second: int64
    end: uint8


def test_it_reads_what_was_appended(dotnet: Dotnet, tag: str, tmp_path: Path) -> None:
    file, lock = tmp_path / "pairs", f"Local\\{tag}"
    with StructArray.create_from_file(Pair, file, capacity=10, max_capacity=50, lock_name=lock) as pairs:
        pairs.extend([Pair(i, -i, 2**60 + i, i % 256) for i in range(300, 320)])
        pairs[3] = Pair(-1, -2, -3, 4)
        pairs.pop()
        expected = [f"{each.first} {each.small} {each.second} {each.end}" for each in pairs]
        assert dotnet.run("struct_array.cs", file, lock, "Show").split("\n") == ["19", *expected, ""]


def test_both_change_elements_at_the_same_time(dotnet: Dotnet, tag: str, tmp_path: Path) -> None:
    file, lock, rounds, count = tmp_path / "pairs", f"Local\\{tag}", 3000, 5
    options = {"capacity": 10, "lock_name": lock, "foreign": True}
    with StructArray.create_from_file(Pair, file, **options) as pairs:  # type: ignore[arg-type]
        pairs.extend([Pair(0, 0, 0, 0)] * count)
        raising = dotnet.command("struct_array.cs", file, lock, "Raise", rounds)
        with started(*raising, env=environment()) as one, started(*raising, env=environment()) as other:
            for i in range(rounds):
                with pairs.edit(i % count) as draft:
                    assert draft.first == draft.second
                    draft.first += 1
                    draft.second += 1
            while one.poll() is None or other.poll() is None:
                assert all(each.first == each.second for each in pairs[:])
                each = pairs[2]
                assert each.first == each.second
            assert one.returncode == other.returncode == 0
        assert [each.first for each in pairs] == [each.second for each in pairs] == [3 * rounds // count] * count
