# SPDX-License-Identifier: MIT
"""The articles' programs with a mutex, one side in C# on the real .NET runtime and the other one our sample."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dotnet_runtime import Dotnet, environment
from programs import Process, enter, finished, line_with, sample, started
from support.leftovers import only_one

pytestmark = pytest.mark.dotnet

PROVIDED = "0123456789:;<=>?@ABCDEFGHIJKLMNO\n"
SQUARES = "".join(f"{i * i}\n" for i in range(500))

Command = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    """The names in the programs are the same in every run on this machine."""
    with only_one("MMF_IPC", "shared_memory_mutex"):
        yield


@pytest.fixture
def commands(dotnet: Dotnet) -> dict[str, Command]:
    return {
        "provider in C#": lambda file: dotnet.command("provider.cs", file),
        "consumer in C#": lambda file: dotnet.command("consumer.cs", file),
        "writer in C#": lambda file: dotnet.command("shared_memory.cs", "writer", file),
        "reader in C#": lambda file: dotnet.command("shared_memory.cs", "reader", file),
        "provider": lambda file: [*sample("provider"), "--file", str(file)],
        "consumer": lambda file: [*sample("consumer"), "--file", str(file)],
        "writer": lambda file: [*sample("shared_memory_writer_reader"), "writer", "--file", str(file)],
        "reader": lambda file: [*sample("shared_memory_writer_reader"), "reader", "--file", str(file)],
    }


@contextlib.contextmanager
def waiting(command: list[str]) -> Iterator[Process]:
    """A program that has written and waits for Enter. It ends well."""
    with started(*command, env=environment()) as process:
        line_with(process, "press Enter")
        yield process
        enter(process)


def reads(command: list[str], expected: str) -> None:
    done = finished(*command, env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("provider in C#", "consumer", PROVIDED),
        ("provider", "consumer in C#", PROVIDED),
        ("provider in C#", "consumer in C#", PROVIDED),
        ("writer in C#", "reader", SQUARES),
        ("writer", "reader in C#", SQUARES),
        ("writer in C#", "reader in C#", SQUARES),
    ],
)
def test_what_one_writes_the_other_reads(
    first: str, second: str, expected: str, commands: dict[str, Command], tmp_path: Path
) -> None:
    file = tmp_path / "shared"
    with waiting(commands[first](file)):
        reads(commands[second](file), expected)
        reads(commands[second](file), expected)  # the first one has left the mutex as it should be
    # In two terminals, which are two sessions.
    with started(*commands[first](file), env=environment(), start_new_session=True) as process:
        line_with(process, "press Enter")
        reads(commands[second](file), expected)
        enter(process)


def test_two_readers_in_two_languages(commands: dict[str, Command], tmp_path: Path) -> None:
    file = tmp_path / "shared"
    with waiting(commands["writer"](file)):
        with started(*commands["reader in C#"](file), env=environment()) as theirs:
            reads(commands["reader"](file), SQUARES)
            said, errors = theirs.communicate(timeout=30)
        assert (said, errors) == (SQUARES, "")
