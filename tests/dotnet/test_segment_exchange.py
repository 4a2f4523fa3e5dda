# SPDX-License-Identifier: MIT
"""Segment files with the article's class MmFile, in C# on the real .NET runtime, on the other side."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotnet_runtime import Dotnet, environment
from programs import PYTHON, finished, line_with, sample, started

from memorymapped import SegmentFile

pytestmark = pytest.mark.dotnet

RESULT = "1 done: Prüfen\n2 done: write the report €\n"


@pytest.fixture
def command(dotnet: Dotnet, tmp_path: Path) -> dict[str, list[str]]:
    """Of the four programs. The id of the file comes behind those of the destinations."""
    return {
        "source in C#": dotnet.command("segments.cs", "source", tmp_path),
        "destination in C#": dotnet.command("segments.cs", "destination", tmp_path),
        "source": [*sample("segment_source"), "--folder", str(tmp_path), "--"],
        "destination": [*sample("segment_destination"), "--folder", str(tmp_path)],
    }


@pytest.mark.parametrize("source", ["source in C#", "source"])
@pytest.mark.parametrize("destination", ["destination in C#", "destination"])
def test_tasks_are_handed_over_and_answered(source: str, destination: str, command: dict[str, list[str]]) -> None:
    done = finished(*command[source], *command[destination], env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, RESULT, "")


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[tuple[SegmentFile, str]]:
    """One that both sides have open, and its id."""
    file_id = str(uuid.uuid4())
    with SegmentFile.create_from_file(
        folder / f"MmFile-{file_id}", capacity=2 << 20, lock_name=f"Global\\MmFile-mutex-{file_id}"
    ) as segments:
        yield segments, file_id


def test_both_append_at_the_same_time(dotnet: Dotnet, tmp_path: Path) -> None:
    with shared(tmp_path) as (segments, file_id):
        with started(
            *dotnet.command("segments.cs", "append", tmp_path, file_id, 300, "C#"), env=environment()
        ) as process:
            assert segments.wait_for(0, 20)  # it has begun
            for i in range(300):
                segments.append(f"Python {i}")
            assert segments.wait_for(599, 20)
            assert process.wait(20) == 0
        both = segments[:]
        assert [text for text in both if text.startswith("C#")] == [f"C# {i}" for i in range(300)]
        assert [text for text in both if text.startswith("Py")] == [f"Python {i}" for i in range(300)]
        assert len(both) == 600
        assert segments.check().whole
        assert dotnet.run("segments.cs", "read", tmp_path, file_id).splitlines() == both


def test_a_killed_csharp_writer_is_rolled_back(dotnet: Dotnet, tmp_path: Path) -> None:
    with shared(tmp_path) as (segments, file_id):
        segments.append("before")
        with started(*dotnet.command("segments.cs", "begin", tmp_path, file_id), env=environment()) as process:
            line_with(process, "begun")
            process.kill()
            process.wait(20)
        assert segments.append("after") == 1
        assert segments[:] == ["before", "after"]
        assert segments.check().behind == 0
        dotnet.run("segments.cs", "append", tmp_path, file_id, 1, "C#")
        assert segments[:] == ["before", "after", "C# 0"]
        assert dotnet.run("segments.cs", "read", tmp_path, file_id).splitlines() == segments[:]


def test_a_killed_python_writer_leaves_csharp_nothing(dotnet: Dotnet, tmp_path: Path) -> None:
    """It is killed again and again while both append."""
    code = (
        "import sys; from memorymapped import SegmentFile\n"
        "s = SegmentFile.create_from_file(sys.argv[1], lock_name=sys.argv[2])\n"
        "s.append('Python ' * 50); print('it writes', flush=True)\n"
        "while s.free > 1 << 20: s.append('Python ' * 50)\n"
    )
    with shared(tmp_path) as (segments, file_id):
        with started(
            *dotnet.command("segments.cs", "append", tmp_path, file_id, 5000, "C#"), env=environment()
        ) as process:
            kills = 0
            while process.poll() is None and kills < 12:
                kills += 1
                with started(*PYTHON, "-c", code, segments.path, segments.lock_name) as victim:
                    line_with(victim, "it writes")
                    victim.kill()
                    victim.wait(20)
            assert process.wait(40) == 0, process.stderr.read() if process.stderr else ""
        print(f"{kills} kills, {len(segments)} segments")
        segments.append("the last")
        texts = segments[:]
        assert set(texts) <= {"Python " * 50, "the last", *(f"C# {i}" for i in range(5000))}
        assert [text for text in texts if text.startswith("C#")] == [f"C# {i}" for i in range(5000)]
        assert segments.check().whole
