# SPDX-License-Identifier: MIT
"""The articles' programs in C#, on .NET for Windows, and ours: they share a value, and hand segments over, by nothing
but the names of a map and of a mutex. Whoever is first.

The C# programs are those of tests/dotnet, where they have files on Linux."""

from __future__ import annotations

import contextlib
import locale
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest
from programs import PYTHON, Process, enter, line_with, sample, started
from support.client import MyData, Point, count_together
from support.leftovers import unique
from windows.foreign import command

from memorymapped import MemoryMappedFile as Map
from memorymapped import SegmentFile, SharedMemory

CLIENT, SEGMENTS = "../dotnet/shared_memory_client.cs", "../dotnet/segments.cs"
SHARED = "ShmemTest", "ShmemTest.lock"  # of the article, and of the sample
PAIRS = [("C#", "Python"), ("Python", "C#"), ("C#", "C#"), ("Python", "Python")]
LIMIT = 60.0
RESULT = ["1 done: Prüfen", "2 done: write the report €"]


# -------------------------------------------------------------------- Programming Memory-Mapped Files: Shared Memory


@contextlib.contextmanager
def running(which: str, expected: str) -> Iterator[Process]:
    """A client that has said what it has read, has written, and waits for Enter. It ends well."""
    with started(*([*command(CLIENT), *SHARED] if which == "C#" else sample("shared_memory_client"))) as process:
        assert line_with(process, "press Enter").splitlines() == [expected, "press Enter to end"]
        yield process
        enter(process)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_client_run_twice(first: str, second: str) -> None:
    """The second sees what the first has written."""
    with running(first, "0, 0, 0"), running(second, "1, 2, 3"):
        with SharedMemory(MyData, SHARED[0]) as shared:
            assert shared.has_control == (first == "Python"), "who comes first makes the map, in his size"
            assert shared.data == MyData(1, Point(2, 3))
            with shared.edit() as draft:
                draft.my_pt.y = 4
        with running("C#", "1, 2, 4"), running("Python", "1, 2, 3"):
            pass
    with running(second, "0, 0, 0"):
        pass


@pytest.mark.parametrize("control", [True, False])
def test_both_change_it_at_the_same_time(control: bool) -> None:
    name, rounds = unique(), 300
    counting = [*command(CLIENT), name, f"{name}.lock", str(rounds)]
    with contextlib.nullcontext() if control else Map.create_new(name, 32), SharedMemory(MyData, name) as shared:
        assert shared.has_control == control
        count_together(shared, counting, rounds)


def test_a_wait_notices_what_csharp_writes() -> None:
    with SharedMemory(MyData, SHARED[0]) as shared, running("C#", "0, 0, 0"):
        assert shared.wait_for_change(20)
        assert shared.data.my_int == 1


# ------------------------------------------------------------------- Inter-Process Communication: segments


def destination(which: str) -> list[str]:
    """The id of the file comes behind it."""
    return [*command(SEGMENTS), "destination", "-"] if which == "C#" else sample("segment_destination")


@pytest.mark.parametrize(("source", "answerer"), PAIRS)
def test_tasks_are_handed_over_and_answered(source: str, answerer: str) -> None:
    begin = [*command(SEGMENTS), "source", "-"] if source == "C#" else [*sample("segment_source"), "--"]
    done = subprocess.run(
        [*begin, *destination(answerer)], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    encoding = locale.getencoding() if source == "C#" else sys.stdout.encoding
    assert done.stdout.decode(encoding).splitlines() == RESULT


@contextlib.contextmanager
def shared_segments(capacity: int) -> Iterator[tuple[SegmentFile, str]]:
    """One that both sides have open, and its id."""
    file_id = str(uuid.uuid4())
    with SegmentFile.create_new(capacity, f"MmFile-{file_id}", lock_name=f"Global\\MmFile-mutex-{file_id}") as segments:
        yield segments, file_id


def test_both_append_at_the_same_time() -> None:
    with shared_segments(1 << 20) as (segments, file_id):
        with started(*command(SEGMENTS), "append", "-", file_id, 100, "C#") as process:
            assert segments.wait_for(0, 20)  # it has begun
            for i in range(100):
                segments.append(f"Python {i}")
            assert segments.wait_for(199, 40)
            assert process.wait(LIMIT) == 0
        both = segments[:]
        assert [text for text in both if text.startswith("C#")] == [f"C# {i}" for i in range(100)]
        assert [text for text in both if text.startswith("Py")] == [f"Python {i}" for i in range(100)]
        assert len(both) == 200
        assert segments.check().whole
        read = subprocess.run(
            [*command(SEGMENTS), "read", "-", file_id], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT
        )
        assert read.stdout.decode().splitlines() == both


def test_a_killed_csharp_writer_is_rolled_back() -> None:
    with shared_segments(100_000) as (segments, file_id):
        segments.append("before")
        with started(*command(SEGMENTS), "begin", "-", file_id) as process:
            line_with(process, "begun")
            process.kill()
            process.wait(LIMIT)
        assert segments.append("after") == 1
        assert segments[:] == ["before", "after"]
        assert segments.check().behind == 0


def test_a_killed_python_writer_leaves_csharp_nothing() -> None:
    """It is killed again and again while both append."""
    code = (
        "import sys; from memorymapped import SegmentFile\n"
        "s = SegmentFile.open_existing(sys.argv[1], lock_name=sys.argv[2])\n"
        "s.append('Python ' * 50); print('it writes', flush=True)\n"
        "while s.free > 1 << 19: s.append('Python ' * 50)\n"
    )
    with shared_segments(2 << 20) as (segments, file_id):
        with started(*command(SEGMENTS), "append", "-", file_id, 300, "C#") as process:
            kills = 0
            while kills < 5:
                kills += 1
                with started(*PYTHON, "-c", code, segments.name, segments.lock_name) as victim:
                    line_with(victim, "it writes")
                    victim.kill()
                    victim.wait(20)
            assert process.wait(LIMIT) == 0, process.stderr.read() if process.stderr else ""
        segments.append("the last")
        texts = segments[:]
        assert set(texts) <= {"Python " * 50, "the last", *(f"C# {i}" for i in range(300))}
        assert [text for text in texts if text.startswith("C#")] == [f"C# {i}" for i in range(300)]
        assert segments.check().whole
