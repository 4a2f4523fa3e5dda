# SPDX-License-Identifier: MIT
"""The sample with members of variable length, and a C# program whose structures it has declared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dotnet_runtime import HERE, Dotnet, environment
from programs import enter, finished, line_with, sample, started
from support.leftovers import only_one

pytestmark = pytest.mark.dotnet

LOCK = "Global\\variable_members"


@pytest.fixture
def program(dotnet: Dotnet, tmp_path: Path) -> str:
    """The C# program, with the structures that the sample prints."""
    parts = [finished(*sample("variable_members"), "csharp").stdout, (HERE / "variable_members.cs").read_text()]
    using = sorted({line for part in parts for line in re.findall(r"^using .*;$", part, re.MULTILINE)})
    bodies = [re.sub(r"^using .*;$", "", part, flags=re.MULTILINE) for part in parts]
    source = tmp_path / "variable_members.cs"
    source.write_text("\n".join([*using, *bodies]))
    return str(source)


def test_both_sides_read_and_add_records(dotnet: Dotnet, program: str, tmp_path: Path) -> None:
    file = tmp_path / "data"
    options = ["--file", str(file), "--lock", LOCK]
    with only_one("variable_members"), started(*sample("variable_members"), "first", *options) as first:
        line_with(first, "press Enter")
        theirs = finished(*dotnet.command(program, file, LOCK, "кирши 🍒", 7, -7), env=environment())
        assert (theirs.returncode, theirs.stderr) == (0, "")
        assert theirs.stdout == "fruit: 2 records\n  apples: [1, 2]\n  äpfel 🍏: []\n"
        ours = finished(*sample("variable_members"), "add", "pears", "3", *options)
        expected = theirs.stdout.replace("2 records", "4 records") + "  кирши 🍒: [7, -7]\n  pears: [3]\n"
        assert (ours.returncode, ours.stdout) == (0, expected)
        assert enter(first) == expected
