# SPDX-License-Identifier: MIT
"""Every call of dotnet_cases.py gives what it gives in the real .NET: the value, or the exception of the same meaning,
and the same file behind it.

Where memorymapped means to differ, CHOICES says so, and why."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from dotnet_cases import GROUPS
from dotnet_runtime import Dotnet
from dotnet_steps import Ours, Step, kind_in_dotnet
from privileges import WITHOUT, given_up

# Everything is done in the set-up of the first test, which a busy machine makes long.
pytestmark = [pytest.mark.dotnet, pytest.mark.timeout(180)]


class Listed(NamedTuple):
    """A difference that is known. All but the reason are regular expressions for the whole text; a step is its words,
    separated by spaces. `ends`: from there on the two sides do different things, which are not compared."""

    group: str
    case: str
    step: str
    theirs: str
    ours: str
    reason: str
    ends: bool = False


NAMES = "names exist here, with the rules of Windows; .NET has none on Unix"
LATER = "as .NET 6 and later; this is 3.1"
WINDOWS = (
    "a file that is not open for what the map does is refused at once, as on Windows; on Unix .NET refuses the view"
)
NOT_READ = "an executable map that cannot be written is refused as a read-only one, where .NET forgot it"
STRICT = "text that the encoding cannot say, and bytes that are no text, raise; .NET puts a substitute"
ONE = "a character is Python's, a code point; .NET's is a UTF-16 unit"

CHOICES = (
    # create_from_file by path
    Listed(
        "from_path", ".*ReadExecute, capacity (50|100|5000)", "from_path .*", "!NotSupported", "!Argument", NOT_READ
    ),
    Listed(
        "from_path",
        "(empty|100 bytes), Create, .* capacity 0",
        "state f",
        "=0 .*",
        "=(0|100) .*",
        "CREATE with capacity 0 is refused before the file is emptied",
    ),
    Listed("from_path_oddities", ".*name 'n'.*", "from_path .*", "!PlatformNotSupported", "=", NAMES, ends=True),
    Listed(
        "from_path_oddities",
        "permissions 444, .*, mode [34], .*, access 3",
        "from_path .*",
        "!UnauthorizedAccess",
        "=|!Argument",
        "copy on write needs no right to write the file, as in .NET Framework",
        ends=True,
    ),
    Listed("from_path_oddities", "device .*", "from_path .*", "!IO", "=", LATER, ends=True),
    # by an open file
    Listed(
        "from_stream", ".*stream (Write|Read), .*", "from_stream .*", "=", "!UnauthorizedAccess", WINDOWS, ends=True
    ),
    Listed("from_stream", ".*stream Read, .*", "from_stream .*", "!NotSupported", "!UnauthorizedAccess", WINDOWS),
    Listed("from_stream", ".*ReadExecute, capacity .*", "from_stream .*", "!NotSupported", "!Argument", NOT_READ),
    Listed("from_stream", ".*ReadExecute, capacity .*", "from_stream .*", "=", "!Argument", NOT_READ, ends=True),
    Listed("from_stream", "0 bytes, .*", "from_stream .*", "!Argument", "!ArgumentOutOfRange", LATER),
    Listed("from_stream", ".*access 1, inherit.*", "from_stream .*", "!Argument", "!ArgumentOutOfRange", LATER),
    Listed("from_stream", "closed .*", "from_stream .*", "!ObjectDisposed", "!Argument(OutOfRange)?", LATER),
    Listed("from_stream", ".*name 'n'.*", "from_stream .*", "!PlatformNotSupported", "=", NAMES, ends=True),
    Listed("from_stream_of_a_device", ".*", "from_stream .*", "!(IO|Argument)", "=", LATER, ends=True),
    # memory
    Listed("create_new", "name 'n'.*", "create_new .*", "!PlatformNotSupported", "=", NAMES, ends=True),
    Listed(
        "create_new_too_large",
        ".*",
        "create_new .*",
        "!IO",
        "=",
        "a map whose pages are allocated late may be larger than memory: views of parts of it can be made",
        ends=True,
    ),
    Listed("create_or_open", "name 'n'.*", "create_or_open .*", "!PlatformNotSupported", "=|!Argument", NAMES),
    Listed(
        "open_existing",
        "name 'n'.*",
        "open_existing .*",
        "!PlatformNotSupported",
        "!FileNotFound|!UnauthorizedAccess",
        NAMES,
    ),
    # views
    Listed("records", ".*Boolean.*", "get .*", "=..", "=01", "Python's True has one form; .NET's bool keeps its byte"),
    Listed(
        "stream_transfers",
        ".*",
        "s_write(_byte)? .*",
        "!IO",
        "!NotSupported",
        "beyond every position: io.UnsupportedOperation as for any write beyond the end; it is an OSError too",
    ),
    Listed("stream_positions|after_dispose", ".*", "set_length .*", "!NotSupported", "!ArgumentOutOfRange", LATER),
    # BinaryWriter, BinaryReader
    Listed("binary", "chars in .*", "b_read r chars 4", "=.*", "=.*|!Argument", ONE, ends=True),
    Listed("binary", "read .* f09f9880", "b_read .*", "!Argument|=fffd", "=.*|!EndOfStream", ONE, ends=True),
    Listed(
        "binary",
        "7bit in .*, [01] bytes",
        "b_read .*",
        "!EndOfStream",
        "=0",
        "a number that does not fit is not begun; .NET has written its first byte",
        ends=True,
    ),
    Listed("binary", "read 7bit of .*", "b_read .*", "=-?[01]", "!Argument", LATER),
    Listed("binary", "read string of length .*", "b_read .*", "=", "!Argument", LATER),
    Listed(
        "binary",
        "read string of length .*|read decimal .*",
        "b_read .*",
        "!IO",
        "!Argument",
        "damaged bytes are a ValueError; .NET has FormatException for some of them and IOException for others",
    ),
    Listed(
        "binary", r"read (string|char|-?\d chars) .*", "b_read .*", "=.*", "!Argument|!EndOfStream", STRICT, ends=True
    ),
    Listed("binary", "read char (c328|eda080)", "b_read .*", "!Argument", "!EndOfStream", STRICT, ends=True),
    Listed("binary", "write (string|chars) .*|latin-1 .*", "b_write .*", "=", "!Argument", STRICT, ends=True),
)


class Difference(NamedTuple):
    """A step that .NET and memorymapped answer differently, and the line of the tables that knows it."""

    group: str
    case: str
    step: str
    theirs: str
    ours: str
    listed: Listed | None

    def __str__(self) -> str:
        return f"{self.group}: {self.case}: {self.step}\n    .NET {self.theirs[1:]}\n    ours {self.ours[1:]}"


def find(difference: tuple[str, str, str, str, str]) -> Listed | None:
    """The line of the tables that a difference is of."""
    for listed in CHOICES:
        if all(re.fullmatch(known, seen) for known, seen in zip(listed[:5], difference, strict=True)):
            return listed
    return None


def said(step: Step) -> str:
    return " ".join(map(str, step))


@pytest.fixture(scope="module")
def differences(dotnet: Dotnet, tmp_path_factory: pytest.TempPathFactory) -> list[Difference]:
    """All differences. .NET does all steps in one process."""
    folder = tmp_path_factory.mktemp("rules")
    theirs, ours = folder / "theirs", folder / "ours"
    theirs.mkdir()
    ours.mkdir()
    todo = [(group, case) for group, cases in GROUPS.items() for case in cases()]
    script = folder / "steps"
    script.write_text("".join("\t".join(map(str, step)) + "\n" for _, case in todo for step in case.steps))
    answers = dotnet.run("peer.cs", script, before=WITHOUT, cwd=theirs).splitlines()
    assert len(answers) == sum(len(case.steps) for _, case in todo)

    found: list[Difference] = []
    following = iter(answers)
    with contextlib.chdir(ours), given_up():
        us = Ours()
        for group, case in todo:
            compared = True
            for step in case.steps:
                answer = kind_in_dotnet(next(following))
                mine = us.ask(*step)
                if compared and answer != mine:
                    what = (group, case.name, said(step), answer, mine)
                    found.append(Difference(*what, find(what)))
                    compared = not (found[-1].listed is not None and found[-1].listed.ends)
    assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in theirs.iterdir())
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_same_as_dotnet(group: str, differences: list[Difference]) -> None:
    """Nothing differs but what the tables list."""
    unknown = [difference for difference in differences if difference.group == group and difference.listed is None]
    assert not unknown, f"{len(unknown)} differences:\n" + "\n".join(map(str, unknown[:20]))


def test_every_choice_is_seen(differences: list[Difference]) -> None:
    """The table of choices says nothing that is not so."""
    seen = {difference.listed for difference in differences}
    assert [choice for choice in CHOICES if choice not in seen] == []


def test_the_comparison_compares(dotnet: Dotnet, tmp_path: Path) -> None:
    """.NET's answers are read as they are meant, exceptions and values and what could not be tried."""
    script = tmp_path / "steps"
    script.write_text("create_new\tm\t-\t0\t0\t0\t0\naccessor\tv\tm\t0\t0\t0\ncreate_new\tn\t-\t100\t0\t0\t0\n"
                      "accessor\tv\tn\t0\t0\t0\naccessor_is\tv\nread\tv\tint32\t97\n")  # fmt: skip
    answers = [kind_in_dotnet(answer) for answer in dotnet.run("peer.cs", script).splitlines()]
    assert answers == ["!ArgumentOutOfRange", "?", "=", "=", "=100 0 True True", "!Argument"]
