# SPDX-License-Identifier: MIT
"""The article's class for shared memory, in C# on the real .NET runtime, and ours: over one file and one mutex."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dotnet_runtime import Dotnet, environment
from programs import Process, enter, line_with, sample, started
from support.client import MyData, count_together

from memorymapped import SharedMemory

pytestmark = pytest.mark.dotnet


Command = Callable[[Path, str], list[str]]


@pytest.fixture
def clients(dotnet: Dotnet) -> dict[str, Command]:
    return {
        "C#": lambda file, lock: dotnet.command("shared_memory_client.cs", file, lock),
        "Python": lambda file, lock: [*sample("shared_memory_client"), "--file", str(file), "--lock", lock],
    }


@pytest.fixture(params=["Global", "Local"])
def lock(request: pytest.FixtureRequest, tag: str) -> str:
    return f"{request.param}\\{tag}"


@contextlib.contextmanager
def running(command: list[str], expected: str) -> Iterator[Process]:
    """A client that has said what it has read, has written, and waits for Enter. It ends well."""
    with started(*command, env=environment()) as process:
        assert line_with(process, "press Enter") == f"{expected}\npress Enter to end\n"
        yield process
        enter(process)


@pytest.mark.parametrize(("first", "second"), [("C#", "Python"), ("Python", "C#"), ("C#", "C#"), ("Python", "Python")])
def test_the_second_reads_what_the_first_has_written(
    first: str, second: str, lock: str, clients: dict[str, Command], tmp_path: Path
) -> None:
    file = tmp_path / "shared"
    with running(clients[first](file, lock), "0, 0, 0"), running(clients[second](file, lock), "1, 2, 3"):
        with SharedMemory.create_from_file(MyData, file, lock_name=lock) as shared:
            assert shared.has_control == (first == "Python"), "who comes first makes the file, in his size"
            assert (shared.data.my_int, shared.data.my_pt.x, shared.data.my_pt.y) == (1, 2, 3)
            with shared.edit() as draft:
                draft.my_pt.y = 4
        with running(clients["C#"](file, lock), "1, 2, 4"), running(clients["Python"](file, lock), "1, 2, 3"):
            pass
    with running(clients[second](file, lock), "1, 2, 3"):
        pass


@pytest.mark.parametrize("control", [True, False])
def test_both_change_it_at_the_same_time(
    control: bool, dotnet: Dotnet, clients: dict[str, Command], tag: str, tmp_path: Path
) -> None:
    file, lock, rounds = tmp_path / "shared", f"Local\\{tag}", 3000
    if not control:
        file.write_bytes(bytes(32))
    with SharedMemory.create_from_file(MyData, file, lock_name=lock) as shared:
        assert shared.has_control == control
        counting = dotnet.command("shared_memory_client.cs", file, lock, rounds)
        count_together(shared, counting, rounds, environment())
        assert not control or shared.statistics().adoptions > 0


def test_a_wait_notices_what_csharp_writes(clients: dict[str, Command], tag: str, tmp_path: Path) -> None:
    file, lock = tmp_path / "shared", f"Local\\{tag}"
    with (
        SharedMemory.create_from_file(MyData, file, lock_name=lock) as shared,
        running(clients["C#"](file, lock), "0, 0, 0"),
    ):
        assert shared.wait_for_change(20)
        assert shared.data.my_int == 1
