# SPDX-License-Identifier: MIT
"""What exists and who holds it: right while others come and go, and nothing that is held is ever removed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import needs_root
from programs import LIMIT, until
from root import ROOT, objects
from support.here import BARE, WINDOWS

from memorymapped import EventResetMode, EventWaitHandle, FairMutex, MemoryMappedFile, Mutex, Semaphore
from memorymapped.system.survey import Found, remove, survey

SECONDS = float(os.environ.get("MEMORYMAPPED_TEST_SECONDS", "20"))
Run = Callable[..., "subprocess.Popen[str]"]


def found(name: str) -> Found:
    (each,) = [each for each in survey() if each.name == name]
    return each


def pids(each: Found) -> list[int]:
    return sorted(holder.pid for holder in each.holders or ())


def known(*processes: int) -> list[int]:
    """The processes that are told of as holders: on Windows none are."""
    return [] if WINDOWS else sorted(processes)


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(LIMIT)


HOLD = """
import sys
from memorymapped import *
held = eval(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
"""


def holding(run: Run, what: str) -> subprocess.Popen[str]:
    process = run(HOLD, what)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_map_has_its_size_memory_and_holders(run: Run) -> None:
    before = time.time()
    other = holding(run, "MemoryMappedFile.create_new('a map', 10_000)")
    with MemoryMappedFile.open_existing("a map"):
        each = found(f"{BARE}\\a map")
        assert (each.kind, each.size, each.state, each.owner, each.mode) == ("map", 10_000, "held", os.geteuid(), 0o600)
        assert each.memory == 12_288
        assert each.born is None or before - 1 < each.born < time.time() + 1
        assert pids(each) == sorted([os.getpid(), other.pid])
        assert next(holder.command for holder in each.holders if holder.pid == other.pid).startswith(sys.executable)
        killed(other)
        assert pids(found(f"{BARE}\\a map")) == [os.getpid()]
    assert [each for each in survey() if each.name == f"{BARE}\\a map"] == []


def test_what_the_dead_leave_is_stale_and_can_be_removed(run: Run) -> None:
    killed(holding(run, "MemoryMappedFile.create_new('left', 4096), EventWaitHandle(True, EventResetMode(0), 'left')"))
    left = [each for each in survey() if each.name == f"{BARE}\\left"]
    assert sorted((each.kind, each.state) for each in left) == [("event", "stale"), ("map", "stale")]
    assert [remove(each) for each in left] == [None, None]
    assert objects() == []
    assert [remove(each) for each in left] == ["it is gone", "it is gone"]


def test_what_became_alive_meanwhile_is_left(run: Run) -> None:
    killed(holding(run, "MemoryMappedFile.create_new('again', 4096)"))
    stale = found(f"{BARE}\\again")
    with MemoryMappedFile.create_new("again", 4096) as map_:
        assert remove(stale) == "it is gone"  # that generation
        assert remove(found(f"{BARE}\\again")) == "it is held"
        assert map_.name_alive


def test_a_file_map_tells_its_file(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(bytes(5000))
    with MemoryMappedFile.create_from_file(file, map_name="named"):
        each = found(f"{BARE}\\named")
    assert (each.kind, each.target, each.size, each.state) == ("file map", str(file), 5000, "held")


def test_scopes() -> None:
    with (
        MemoryMappedFile.create_new("Local\\here", 10),
        MemoryMappedFile.create_new("Global\\everywhere", 10),
        MemoryMappedFile.create_new("n" * 900, 10),
    ):
        names = [each.name for each in survey()]
    assert {"Local\\here", "Global\\everywhere", f"{BARE}\\" + "n" * 900} <= set(names)


def test_states_of_a_mutex(run: Run, tag: str) -> None:
    name = f"mutex {tag}"
    mutex = Mutex(False, name)
    assert (found(f"{BARE}\\{name}").state, pids(found(f"{BARE}\\{name}"))) == ("free", known(os.getpid()))
    mutex.wait_one()
    each = found(f"{BARE}\\{name}")
    assert (each.state, each.details["owner"]) == ("held", os.getpid())
    mutex.release_mutex()
    owner = holding(run, f"(m := Mutex(False, {name!r}), m.wait_one())")
    each = found(f"{BARE}\\{name}")
    assert (each.state, each.details["owner"], pids(each)) == ("held", owner.pid, known(os.getpid(), owner.pid))
    killed(owner)
    each = found(f"{BARE}\\{name}")
    assert (each.state, pids(each)) == ("abandoned", known(os.getpid()))
    with mutex.recovering(lambda mutex: None):
        pass
    mutex.close()


def test_a_mutex_that_tells_of_a_death_is_left(run: Run, tag: str) -> None:
    name = f"mutex {tag}"
    killed(holding(run, f"(m := Mutex(False, {name!r}), m.wait_one())"))
    each = found(f"{BARE}\\{name}")
    assert each.state == "stale"
    assert "died" in (remove(each) or "")
    assert remove(each, abandoned=True) is None
    assert f"{BARE}\\{name}" not in [each.name for each in survey()]


def test_states_of_the_others(run: Run) -> None:
    with (
        contextlib.closing(EventWaitHandle(True, EventResetMode.MANUAL_RESET, "e")),
        contextlib.closing(Semaphore(2, 5, "s")),
        contextlib.closing(FairMutex(name="f")) as fair,
    ):
        fair.wait_one()
        assert found(f"{BARE}\\e").details == {"set": True, "manual_reset": True, "waiters": 0}
        assert found(f"{BARE}\\s").details == {"count": 2, "maximum": 5, "waiters": 0}
        assert (found(f"{BARE}\\f").state, found(f"{BARE}\\f").details["owner"]) == ("held", os.getpid())
        fair.release_mutex()
        assert found(f"{BARE}\\f").state == "free"
        owner = holding(run, "(f := FairMutex(name='f'), f.wait_one())")
        assert found(f"{BARE}\\f").details["owner"] == owner.pid
        killed(owner)
        assert found(f"{BARE}\\f").state == "abandoned"


def test_a_waiter_is_counted(run: Run) -> None:
    with contextlib.closing(EventWaitHandle(False, EventResetMode.AUTO_RESET, "awaited")) as event:
        waiter = run("from memorymapped import *\nEventWaitHandle.open_existing('awaited').wait_one()")
        until(lambda: found(f"{BARE}\\awaited").details["waiters"] == 1, "it waits")
        event.set()
        assert waiter.wait(LIMIT) == 0


def test_what_somebody_makes_is_not_stale(run: Run) -> None:
    """A creator that is stopped in the midst of it."""
    code = """
import os, signal, sys
from memorymapped.system.linux import objects
from memorymapped import MemoryMappedFile, MemoryMappedFileSecurity
def stop(fd):
    print("inside", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
from memorymapped.system.linux.maps import acquire
from memorymapped.system.names import parse
acquire(parse("unfinished"), ".map", 2, os.O_RDWR, 4096, True, stop)
"""
    maker = run(code)
    assert maker.stdout is not None
    assert maker.stdout.readline() == "inside\n"
    each = found(f"{BARE}\\unfinished")
    assert each.state in ("unfinished", "held")
    assert remove(each) is not None
    maker.kill()
    maker.wait(LIMIT)
    assert found(f"{BARE}\\unfinished").state == "stale"
    assert remove(found(f"{BARE}\\unfinished")) is None


def test_foreign_files_are_shown_and_never_removed(run: Run) -> None:
    path = ROOT / "psm_of_another"
    path.write_bytes(bytes(5000))
    try:
        process = run(MAPPING, path)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (each,) = [each for each in survey(others=True) if each.path == str(path)]
        assert (each.kind, each.name, each.size, each.state, pids(each)) == (
            "foreign",
            None,
            5000,
            "held",
            [process.pid],
        )
        killed(process)
        (each,) = [each for each in survey(others=True) if each.path == str(path)]
        assert each.state == "stale"
        assert "another program" in (remove(each) or "")
        assert path.exists()
    finally:
        path.unlink()


MAPPING = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0)
print("ready", flush=True)
sys.stdin.read()
"""
STORM = """
import os, random, signal, sys
from contextlib import closing
from memorymapped import *
seed, tag = int(sys.argv[1]), sys.argv[2]
chance = random.Random(seed)
parent = os.getppid()
while os.getppid() == parent:
    name = f"storm {chance.randrange(30)} {tag}"
    try:
        with MemoryMappedFile.create_or_open(name, 4096) as map_, map_.create_view_accessor() as view:
            for _ in range(chance.randrange(20)):
                view.write_int32(0, seed)
                assert map_.name_alive, name
            event = closing(EventWaitHandle(False, EventResetMode(0), name + " event"))
            with Mutex(False, name) as mutex, event as event:
                if chance.randrange(8) == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                assert event.name_alive and mutex.name_alive and map_.name_alive, name
    except AbandonedMutexError:
        pass
    except Exception as error:
        print(repr(error), flush=True)
        raise
"""
STEADY = """
import sys
from memorymapped import *
names = sys.argv[1].split(",")
maps = [MemoryMappedFile.create_or_open(name, 4096) for name in names]
print("ready", flush=True)
sys.stdin.read()
assert all(map_.name_alive for map_ in maps)
print("alive", flush=True)
"""


@contextlib.contextmanager
def storm(processes: int, seed: int, tag: str) -> Iterator[Callable[[], None]]:
    """Processes that create, hold, close and die; the function replaces the dead."""
    running: list[subprocess.Popen[str]] = []
    numbers = iter(range(seed * 100_000, (seed + 1) * 100_000))

    def go_on() -> None:
        for process in [each for each in running if each.poll() is not None]:
            running.remove(process)
            said = process.communicate()[0]
            assert (process.returncode, said) == (-signal.SIGKILL, "")
        while len(running) < processes:
            command = [sys.executable, "-c", STORM, str(next(numbers)), tag]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))

    try:
        yield go_on
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.communicate()  # also closes the pipe


def in_a_storm(run: Run, tag: str, processes: int, limit: float) -> None:
    seed = random.randrange(1000)
    print(f"seed {seed}")
    names = [f"steady {i}" for i in range(20)]
    chance = random.Random(seed)
    holders: dict[str, set[int]] = {name: set() for name in names}
    steady = []
    for _ in range(max(4, processes // 5)):
        own = chance.sample(names, 6)
        process = run(STEADY, ",".join(own))
        steady.append(process)
        for name in own:
            holders[name].add(process.pid)
    for process in steady:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    end = time.monotonic() + limit
    looks = removed = 0
    with storm(processes, seed, tag) as go_on:
        while time.monotonic() < end:
            go_on()
            rows = survey()
            seen = {each.name: each for each in rows if each.name and "steady" in each.name}
            for name, expected in holders.items():
                if expected:
                    assert seen[f"{BARE}\\{name}"].state == "held"
                    assert set(pids(seen[f"{BARE}\\{name}"])) == expected
                else:
                    assert f"{BARE}\\{name}" not in seen
            assert len({(each.path, each.inode) for each in rows}) == len(rows)
            # At any age of what was seen: nothing that somebody holds is removed, the holders see to that.
            ours = [each for each in rows if each.kind != "mutex" or (each.name or "").endswith(tag)]
            removed += sum(remove(each, abandoned=True) is None for each in ours)
            looks += 1
    for process in steady:
        assert (process.communicate(timeout=LIMIT)[0], process.returncode) == ("alive\n", 0)
    for each in survey():
        if each.name and tag in each.name:
            assert (each.state, each.holders) == ("stale", [])
            assert remove(each, abandoned=True) is None
    assert looks
    print(f"{looks} looks, {removed} removed")


def test_a_row_is_right_in_a_storm(run: Run, tag: str) -> None:
    in_a_storm(run, tag, processes=10, limit=0.5)


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_a_row_is_right_among_a_hundred_processes(run: Run, tag: str) -> None:
    in_a_storm(run, tag, processes=100, limit=SECONDS)


@needs_root
def test_what_other_users_could_have_is_unknown(run: Run) -> None:
    """Of another program's file, whose holder may not be looked into."""
    path = ROOT / "psm_of_root"
    path.write_bytes(bytes(5000))
    looking = (
        "from memorymapped.system.survey import survey; import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)"
    )
    code = f"{looking}; print([(e.state, len(e.holders)) for e in survey(others=True) if e.path == {str(path)!r}])"
    try:
        for mode, state in (0o644, "unknown"), (0o600, "unknown"), (0o666, "unknown"):
            path.chmod(mode)
            looker = run(code)
            assert looker.communicate(timeout=LIMIT)[0] == f"[({state!r}, 0)]\n"
        (each,) = [each for each in survey(others=True) if each.path == str(path)]
        assert each.state == "stale", "root sees all"
        os.chown(path, 65534, -1)
        path.chmod(0o600)
        looker = run(code)
        assert looker.communicate(timeout=LIMIT)[0] == "[('stale', 0)]\n"
    finally:
        path.unlink()
