# SPDX-License-Identifier: MIT
"""The programs of the articles: each pair once with the article's own in C# on .NET for Windows (or, as an old one, in
C) and Python's in the other part, and the other way round. Python's are the samples, unchanged.

What one system's objects are to the others, call by call, is in test_map_peers.py and test_lock_peers.py; what lies in
maps as classes (`SharedMemory`, segments) in test_typed_articles.py; two programs of Python in test_samples.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import date
from pathlib import Path

import pytest
from programs import PYTHON, Process, enter, finished, line_with, sample, started, until
from support.here import KILLED
from support.leftovers import unique
from windows.foreign import command

from memorymapped import Mutex

CSHARP, C = "articles.cs", "articles.c"
PROVIDED = "0123456789:;<=>?@ABCDEFGHIJKLMNO"
TODAY = f"{date.today():%Y-%m-%d\n%A, %d %B %Y}\n"

# The example for Windows of "Memory Mapping": samples/shared_memory_writer_reader.py is that for Linux, with a file.
BY_NAME = r"""
import sys
from contextlib import closing
from memorymapped import MemoryMappedFile, Mutex

if sys.argv[1] == "writer":
    with closing(Mutex(True, r"Global\shared_memory_mutex")) as mutex:
        with MemoryMappedFile.create_or_open("SharedMemory", 2000) as map, map.create_view_accessor() as view:
            for i in range(500):
                view.write_int32(i * 4, i * i)
            mutex.release_mutex()
            print("written; press Enter to end", flush=True)
            sys.stdin.readline()
else:
    with closing(Mutex.open_existing(r"Global\shared_memory_mutex")) as mutex, mutex:
        with MemoryMappedFile.open_existing("SharedMemory") as map, map.create_view_accessor() as view:
            for i in range(500):
                print(view.read_int32(i * 4))
"""

# samples/provider.py, which writes five bytes and waits.
DYING = r"""
import runpy, sys
from memorymapped import MemoryMappedViewAccessor as View
whole = View.write_array
def some(view, position, values):
    whole(view, position, values[:5])
    print("writing", flush=True)
    sys.stdin.read()
View.write_array = some
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def program(language: str, role: str, *arguments: object) -> list[str]:
    """What starts one part of an article in a language."""
    if language != "Python":
        return [*command(language), role, *map(str, arguments)]
    if role in ("writer", "reader"):
        return [*PYTHON, "-c", BY_NAME, role]
    if role == "dying_provider":
        return [*PYTHON, "-c", DYING, sample("provider")[-1], *map(str, arguments)]
    if role.startswith("custom_file"):
        return [*sample("custom_file"), role.removeprefix("custom_file_"), *map(str, arguments)]
    return [*sample(role), *map(str, arguments)]


def both_ways(*others: str) -> list[tuple[str, str]]:
    return [pair for other in others for pair in (("Python", other), (other, "Python"))]


@pytest.fixture
def first() -> Iterator[ExitStack]:
    """Ends the first program, which waits for Enter."""
    with ExitStack() as stack:
        yield stack


def said_by(language: str, role: str, *arguments: object, code: int = 0) -> str:
    """What a program says that ends by itself."""
    done = finished(*program(language, role, *arguments))
    assert (done.returncode, "" if code else done.stderr) == (code, ""), done
    return done.stdout + (done.stderr if code else "")


def waiting(first: ExitStack, language: str, role: str, *arguments: object, says: str = "press Enter") -> Process:
    process = first.enter_context(started(*program(language, role, *arguments)))
    line_with(process, says)
    return process


@pytest.mark.parametrize(("writes", "reads"), both_ways(CSHARP))
def test_a_structure_and_a_string(first: ExitStack, writes: str, reads: str) -> None:
    writer = waiting(first, writes, "struct_and_string_writer")
    assert said_by(reads, "struct_and_string_reader") == TODAY
    assert enter(writer) == TODAY


@pytest.mark.parametrize(("writes", "reads"), both_ways(CSHARP))
def test_a_file_under_a_name(first: ExitStack, tmp_path: Path, writes: str, reads: str) -> None:
    expected = "1048576 bytes: 1234 7 12.5 apples\n"
    writer = waiting(first, writes, "custom_file_writer", tmp_path / "data.bin")
    assert said_by(reads, "custom_file_reader") == expected
    enter(writer)
    assert said_by("Python", "custom_file_file", tmp_path / "data.bin") == expected


def test_memory_of_the_page_file(first: ExitStack) -> None:
    """Access rules, delayed pages and inheritance are Python's own: .NET Core has none of the first."""
    creator = waiting(first, "Python", "page_file")
    assert said_by(CSHARP, "page_file_reader") == "the reader reads 1234 3.5 pages\n"
    enter(creator)


@pytest.mark.parametrize(("provides", "consumes"), both_ways(CSHARP, C))
def test_provider_and_consumer_under_a_mutex(first: ExitStack, provides: str, consumes: str) -> None:
    name = unique()
    provider = waiting(first, provides, "provider", name)
    assert said_by(consumes, "consumer", name).split() == [PROVIDED]
    enter(provider)
    assert "start provider.py" in said_by("Python", "consumer", name, code=1), "all has ended with the provider"


@pytest.mark.parametrize(("provides", "consumes"), both_ways(CSHARP, C))
def test_a_consumer_hears_of_the_death_of_a_provider(first: ExitStack, provides: str, consumes: str) -> None:
    name = unique()
    provider = waiting(first, provides, "dying_provider", name, says="writing")
    with started(*program(consumes, "consumer", name)) as consumer:
        if consumes == "Python":
            with closing(Mutex.open_existing(r"Global\MMF_IPC")) as mutex:
                until(lambda: mutex.statistics().has_waiters, "the consumer waits")
        else:
            line_with(consumer, "waits")
        provider.kill()
        assert provider.wait(30) == KILLED
        said, errors = consumer.communicate(timeout=30)
    assert consumer.returncode == 1
    told = {"Python": "has died while it wrote", CSHARP: "AbandonedMutexException", C: "WAIT_ABANDONED"}
    assert told[consumes] in said + errors


@pytest.mark.parametrize("way", ["single_instance", "single_instance_by_map"])
@pytest.mark.parametrize(("one", "other"), both_ways(CSHARP, C))
def test_a_single_instance(first: ExitStack, way: str, one: str, other: str) -> None:
    running = waiting(first, one, way)
    for second in (other, one):
        if second == "Python" and way == "single_instance" and one != "Python":
            continue  # it would hand over its command line, which no other program takes: see below
        done = finished(*program(second, way))
        assert "running" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    running.kill()
    running.wait(30)
    enter(waiting(first, other, way))
    enter(waiting(first, one, way))


@pytest.mark.parametrize("language", [CSHARP, C])
def test_another_languages_instance_is_told_of(first: ExitStack, language: str) -> None:
    waiting(first, language, "single_instance")
    code = r"""
from memorymapped import AlreadyRunningError, SingleInstance
try:
    with SingleInstance(r"Global\NetMMFSingle"): pass
except AlreadyRunningError as error:
    print(error.holder.process, error)
"""
    done = finished(*PYTHON, "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("None")


@pytest.mark.parametrize(("writes", "reads"), both_ways(CSHARP, C))
def test_writer_and_reader_by_names(first: ExitStack, writes: str, reads: str) -> None:
    writer = waiting(first, writes, "writer")
    for _ in range(2):
        assert said_by(reads, "reader").split() == [str(i * i) for i in range(500)]
    enter(writer)
