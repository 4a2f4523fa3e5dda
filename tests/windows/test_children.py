# SPDX-License-Identifier: MIT
"""Processes that are started and watched: what has ended, and what ends with whom."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from programs import LIMIT, PYTHON, line_with, started, until
from support.here import KILL, KILLED
from support.leftovers import unique
from support.sessions import ended, no_children

from memorymapped import AutoResetEvent
from memorymapped.system.children import Output, Watched, how_ended, signal_of, start_alone
from memorymapped.system.ties import start_tied
from memorymapped.tasks import processes
from memorymapped.tasks.commands import LONGEST_OUTPUT, Tail, run_command

GONE = -1073741510  # STATUS_CONTROL_C_EXIT, as .NET says it
SLEEPS = "import time; time.sleep(1000)"
HAS_CHILD = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEPS!r}])
print(child.pid, flush=True)
"""
TOLD = f'{HAS_CHILD}\nimport os; print(os.getpid(), "is it", flush=True); time.sleep(1000)'
RUNS = """
import asyncio, sys
from memorymapped.tasks.commands import Tail, run_command
class Told(Tail):
    def add(self, piece):
        sys.stdout.buffer.write(piece)
        sys.stdout.flush()
asyncio.run(run_command([sys.executable, "-c", sys.argv[1]], Told()))
"""


@pytest.fixture(autouse=True)
def nobody_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    with no_children():
        yield


def ran(code: str, timeout: float | None = None) -> tuple[int | None, str]:
    """How a command has ended, and what it has printed."""
    tail = Tail()
    told: list[int] = []
    command = [*PYTHON, "-c", code]
    ending = asyncio.run(run_command(command, tail, timeout=timeout, told=lambda: told.append(1)))
    assert bool(told) == bool(tail.text)
    return ending, tail.text.replace("\r\n", "\n")


def test_a_command_has_its_output_and_exit_code() -> None:
    code = "import sys; print('a €'.encode(), flush=True); print('why', file=sys.stderr, flush=True); sys.exit(5)"
    assert ran(code) == (5, "b'a \\xe2\\x82\\xac'\nwhy\n")
    assert ran("import os; os._exit(-1073741819)")[0] == -1073741819
    assert how_ended(-1073741819) == "ended with exit code 0xc0000005"


def test_of_much_output_the_end_is_kept() -> None:
    _, output = ran("import sys; sys.stdout.write('0123456789' * 100_000); print('the end')")
    assert output.endswith("6789the end\n")
    assert LONGEST_OUTPUT - 2 < len(output) <= LONGEST_OUTPUT


def test_what_a_command_leaves_is_ended() -> None:
    code, output = ran(f"{HAS_CHILD}\nimport os; os._exit(0)")
    assert code == 0
    assert ended(int(output))


def test_a_command_that_takes_too_long_is_ended_with_its_children() -> None:
    begin = time.monotonic()
    code, output = ran(f"{HAS_CHILD}\ntime.sleep(1000)", timeout=1.0)
    assert code is None
    assert 1 <= time.monotonic() - begin < 15
    assert ended(int(output))


def test_who_is_killed_takes_its_command_along() -> None:
    with started(*PYTHON, "-c", RUNS, TOLD) as process:
        pids = [int(line.split()[0]) for line in line_with(process, "is it").splitlines()]
        process.send_signal(KILL)
        assert process.wait(LIMIT) == KILLED
        assert all(map(ended, pids))


def test_a_tied_child_ends_with_us_and_its_own_does_not() -> None:
    code = f"""
import sys
from memorymapped.system.ties import start_tied
start_tied([sys.executable, "-c", {TOLD!r}]).wait()
"""
    with started(*PYTHON, "-c", code) as process:
        own, tied = (int(line.split()[0]) for line in line_with(process, "is it").splitlines())
        process.send_signal(KILL)
        process.wait(LIMIT)
        assert ended(tied)
        watched = subprocess.run(["taskkill", "/f", "/pid", str(own)], capture_output=True, check=False)
        assert watched.returncode == 0, "it went on"
        assert ended(own)


STARTS = ["ties.start_tied", "children.start_group", "children.start_alone"]
IN_THE_MIDST = f"""
import os, subprocess, sys, time
from memorymapped._native import jobs
from memorymapped.system import children, ties
def held(process, *how):
    print(process, "is it", flush=True)
    if sys.argv[2] == "Ctrl-C":
        raise KeyboardInterrupt
    os.kill(os.getpid(), 9)
jobs.hold = held
quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
eval(sys.argv[1])([sys.executable, "-c", {SLEEPS!r}], **quiet)
"""


@pytest.mark.parametrize("how", ["killed", "Ctrl-C"])
@pytest.mark.parametrize("start", STARTS)
def test_who_ends_in_the_midst_of_a_start_leaves_nothing(start: str, how: str) -> None:
    with started(*PYTHON, "-c", IN_THE_MIDST, start, how) as process:
        child = int(line_with(process, "is it").split()[0])
        process.wait(LIMIT)
        assert ended(child)


@pytest.mark.parametrize("start", ["start_alone", "subprocess.Popen"])
def test_who_is_not_tied_goes_on_without_us(start: str) -> None:
    """The job of this process ends those who are being born, no others. Who is not ours is not in it."""
    name = unique()
    child = f"""
import memorymapped as m
with m.EventWaitHandle.open_existing({name!r}) as go, m.EventWaitHandle.open_existing({name + " on"!r}) as on:
    on.set()
    go.wait_one({LIMIT})
    on.set()
"""
    code = f"""
import subprocess, sys
from memorymapped.system.children import start_alone
from memorymapped.system.ties import start_tied
start_tied([sys.executable, "-c", ""]).wait()
child = {start}([sys.executable, "-c", {child!r}], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(child.pid, "is it", flush=True)
try:
    start_tied(["no such program"])
except FileNotFoundError:
    sys.stdin.read()
"""
    with AutoResetEvent(name=name) as go, AutoResetEvent(name=f"{name} on") as on, started(*PYTHON, "-c", code) as us:
        pid = int(line_with(us, "is it").split()[0])
        assert on.wait_one(LIMIT), "it is there"
        assert us.stdin is not None
        us.stdin.close()
        us.wait(LIMIT)
        go.set()
        assert on.wait_one(LIMIT), "it went on"
        assert ended(pid)


ASKED = """
import asyncio
from memorymapped.system.endings import heard_in_loop
async def main():
    asked = asyncio.Event()
    def hear(signum):
        print(f"asked {signum}", flush=True)
        asked.set()
    with heard_in_loop(hear):
        print("begins", flush=True)
        await asked.wait()
asyncio.run(main())
raise SystemExit(7)
"""


@pytest.mark.parametrize("when", ["at work", "at once"])
def test_who_hears_of_it_is_asked_to_end(when: str) -> None:
    said: list[bytes] = []

    async def main() -> int | None:
        pipe = Output()
        child = start_alone([*PYTHON, "-c", ASKED], stdin=subprocess.DEVNULL, stdout=pipe.descriptor)
        with child:
            async with pipe.heard(said.append):
                while when == "at work" and not said:
                    await asyncio.sleep(0.01)
                child.ask_to_end()
                async with asyncio.timeout(LIMIT):
                    await child.until_ended()
                child.reap()
        pipe.close()
        return child.code

    assert asyncio.run(main()) == 7
    assert b"".join(said).split() == [b"begins", b"asked", b"15"]


def test_who_does_not_hear_is_ended() -> None:
    async def main() -> int | None:
        with start_alone([*PYTHON, "-c", SLEEPS]) as child:
            await processes.end(child)
            return child.code

    code = asyncio.run(main())
    assert code == GONE
    assert (signal_of(code), how_ended(code)) == (15, "was ended")


def test_what_cannot_be_started_is_told() -> None:
    with pytest.raises(FileNotFoundError):
        start_alone(["no such program"])
    with pytest.raises(FileNotFoundError):
        start_tied(["no such program"])


def test_another_process_is_watched_to_its_end() -> None:
    """In a process that began later: else it could have got the number of one that has ended."""
    code = """
import asyncio, sys
from memorymapped.system.children import Watched
watched = Watched(int(sys.argv[1]))
print("watches", flush=True)
asyncio.run(watched.until_ended())
watched.close()
print("over", flush=True)
"""
    with started(*PYTHON, "-c", SLEEPS) as first, started(*PYTHON, "-c", code, first.pid) as second:
        line_with(second, "watches")
        first.kill()
        line_with(second, "over")
        assert second.wait(LIMIT) == 0
        with pytest.raises(ProcessLookupError, match="has ended"):
            Watched(first.pid)


def test_who_began_later_is_not_who_is_meant() -> None:
    with (
        started(*PYTHON, "-c", SLEEPS) as younger,
        pytest.raises(ProcessLookupError, match=f"process {younger.pid} has ended"),
    ):
        Watched(younger.pid)
    Watched(os.getpid()).close()


def test_threads_end_with_the_waits() -> None:
    async def main() -> None:
        watched = Watched(os.getpid())
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await watched.until_ended()
        watched.close()

    before = threading.active_count()
    asyncio.run(main())
    until(lambda: threading.active_count() <= before, "the threads have ended")
