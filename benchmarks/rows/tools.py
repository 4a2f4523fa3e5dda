# SPDX-License-Identifier: MIT
"""Rows 11a to 11c: the command `mmf`, each time a process of its own, beside what it may take.

The first peer of each case is a limit and no measurement: it always takes the same."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from ..bench import Bench, row
from ..loops import call
from ..model import Case, Goal, Loop
from ..workspace import MIB

MMF = [sys.executable, "-m", "memorymapped"]
NOTHING = [sys.executable, "-c", "pass"]
_NO_CLICK = "click or rich is not installed (the extra `cli` brings them)"


def _limit(seconds: float) -> Loop:
    return Loop(lambda turns: turns * seconds * 1e9)


def _run(command: list[str], **environment: str) -> Loop:
    """The command, from its start to its end."""
    env: dict[str, Any] = {**os.environ, **environment}
    source = "done = run(command, env=env, stdout=DEVNULL)\nassert done.returncode == 0"
    return call(source, run=subprocess.run, command=command, env=env, DEVNULL=subprocess.DEVNULL)


def _add_ours(case: Case, name: str, loop: Loop) -> None:
    if importlib.util.find_spec("click") is None or importlib.util.find_spec("rich") is None:
        case.leave_out(name, _NO_CLICK)
    else:
        case.ours(name, loop, Goal(1.0))


@row("11a")
def help_(bench: Bench) -> Iterator[Case]:
    case = Case("11a", "start, explain itself, end")
    case.peer("the limit: 60 ms", _limit(0.06))
    case.peer("python -c pass", _run(NOTHING))
    _add_ours(case, "mmf --help", _run([*MMF, "--help"]))
    yield case


_HOLDER = """
import sys
from memorymapped import MemoryMappedFile
held = [MemoryMappedFile.create_new(f"map-{n}", 4096) for n in range(int(sys.argv[1]))]
print(flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def _named(count: int, root: str) -> Iterator[None]:
    """Another process holds so many maps, in a root of their own."""
    command = [sys.executable, "-c", _HOLDER, str(count)]
    pipe, env = subprocess.PIPE, {**os.environ, "MEMORYMAPPED_ROOT": root}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "\n", "the maps could not be made"
        yield
        holder.stdin.close()


@row("11b")
def list_(bench: Bench) -> Iterator[Case]:
    count = 100 if bench.quick else 1000
    root = bench.workspace.memory / "names"
    root.mkdir()
    with _named(count, str(root)):
        case = Case("11b", f"list {count:,} named maps that another process holds")
        case.peer("the limit: 300 ms", _limit(0.3))
        _add_ours(case, "mmf ls", _run([*MMF, "ls"], MEMORYMAPPED_ROOT=str(root)))
        yield case


SECONDS = 4.0  # of watching


def _processor_time(path: str, seconds: float) -> Loop:
    """What watching takes of a processor, its start and its end included."""
    command = [*MMF, "watch", path, "--duration", str(seconds)]

    def run(turns: int) -> float:
        before = os.times()
        for _ in range(turns):
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        used = after.children_user - before.children_user + after.children_system - before.children_system
        return used * 1e9

    return Loop(run)


@row("11c")
def watch(bench: Bench) -> Iterator[Case]:
    seconds = 1.0 if bench.quick else SECONDS
    size = bench.size(1024 * MIB, 64 * MIB)
    with bench.workspace.file(size) as path:
        case = Case("11c", f"processor time of {seconds:g} s of watching {size // MIB:,} MiB")
        case.peer("the limit: 5 % of a processor", _limit(0.05 * seconds))
        _add_ours(case, "mmf watch", _processor_time(path, seconds))
        yield case


ROWS = (help_, list_, watch)
