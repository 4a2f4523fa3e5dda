# SPDX-License-Identifier: MIT
"""Declarations that a layout prints mean the same to .NET for Windows and to a compiler for C there."""

from __future__ import annotations

import subprocess

import pytest
from windows.declared import STRUCTS, source
from windows.foreign import FOLDER, PEERS

PROGRAMS = {
    "cs": [str(FOLDER / "dotnet" / "dotnet.exe"), str(PEERS / "declared.dll")],
    "c": [str(PEERS / "declared.exe")],
}


@pytest.mark.parametrize("language", PROGRAMS)
def test_everything_is_where_the_layout_says(language: str) -> None:
    written = (PEERS / f"declared.{language}").read_text(encoding="utf-8")
    assert written == source(language), "tools/windows-peers has compiled what was printed before"
    done = subprocess.run(PROGRAMS[language], stdin=subprocess.DEVNULL, capture_output=True, timeout=50, check=True)
    expected = [number for each in STRUCTS for number in (each.layout.size, *(f.offset for f in each.layout.fields))]
    assert list(map(int, done.stdout.split())) == expected
