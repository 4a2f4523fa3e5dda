# SPDX-License-Identifier: MIT
"""Mutexes that are opened and closed, however often and however many at once, leave nothing: no descriptor, no mapping,
no memory, no file.

Each case runs in a process of its own, which does some rounds to warm up and then compares itself before and after the
others. Its mutexes lie in memory, in a folder of the case: a hundred thousand files on a disk, in the folder of all
mutexes that other tests lock, would take minutes."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import Peer, peers
from root import ROOT

Make = Callable[..., Peer]

WARM = 300
SOME = 1_000
MANY = {
    "made": 100_000,
    "opened": 100_000,
    "unnamed": 100_000,
    "opened_twice": 20_000,
    "owned_at_close": 20_000,
    "refused": 20_000,
}
BLOCKS = 60  # objects of Python that may come and go by themselves
BYTES = 512 << 10  # of the process, which the allocators may take more, whatever the number of rounds

ROUNDS = """
import gc, os, sys
from memorymapped import Mutex, InvalidNameError
from memorymapped.system.linux import mutex_places
mutex_places.TEMPORARY = {folder!r}

def state():
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1])
    mappings = sum("shm/" in line for line in open("/proc/self/maps"))
    return len(os.listdir("/proc/self/fd")), mappings, sys.getallocatedblocks(), pages * os.sysconf("SC_PAGESIZE")

def made(name):
    mutex = Mutex(name=name)
    with mutex:
        pass
    mutex.close()

def owned_at_close(name):
    mutex = Mutex(True, name)
    mutex.wait_one()
    mutex.close()

def opened_twice(name):
    first, second = Mutex(name=name), Mutex.open_existing(name)
    with first:
        second.wait_one(0)
        second.release_mutex()
    first.close()
    second.close()

def unnamed(name):
    mutex = Mutex(True)
    mutex.release_mutex()

def refused(name):
    assert Mutex.try_open_existing(name) is None
    try:
        Mutex(name=name + "/")
    except InvalidNameError:
        pass

def opened(name):
    mutex = Mutex.open_existing(name)
    assert not mutex.created_new
    with mutex:
        pass
    mutex.close()

def difference(what, name, warm, rounds):
    for _ in range(warm):
        what(name)
    before = state()
    for _ in range(rounds):
        what(name)
    after = state()
    return tuple(b - a for a, b in zip(before, after))
"""


@pytest.fixture
def peer(run: Callable[..., subprocess.Popen[str]]) -> Iterator[Make]:
    with peers(run) as make:
        yield make


@pytest.fixture
def folder(tag: str) -> Iterator[Path]:
    """A folder in memory."""
    path = ROOT / tag
    path.mkdir(mode=0o700)
    yield path
    shutil.rmtree(path)


def check(make: Make, way: str, folder: Path, rounds: int) -> None:
    here, other = make(), make()
    for each in (here, other):
        each(f"{ROUNDS.replace('{folder!r}', repr(str(folder)))}")
    if way == "opened":  # somebody else has it all the time
        other("m = Mutex(name='x')")
    descriptors, mappings, blocks, size = here.ask(f"difference({way}, 'x', {WARM}, {rounds})")
    assert descriptors == 0
    assert mappings == 0
    assert blocks <= BLOCKS
    assert size <= BYTES
    files = [path.name for path in folder.rglob("*") if path.is_file()]
    assert files == ["x"] * (way == "opened")
    other.end()


@pytest.mark.parametrize("way", MANY)
def test_opening_and_closing_leaves_nothing(way: str, folder: Path, peer: Make) -> None:
    check(peer, way, folder, SOME)


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", MANY)
def test_a_hundred_thousand_times_opening_and_closing_leave_nothing(
    way: str, folder: Path, peer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peers.LIMIT", 250.0)
    check(peer, way, folder, MANY[way])


def test_a_thousand_named_objects_are_open_at_once(tag: str, peer: Make) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2_000:
        pytest.skip("this system allows no process a thousand descriptors more than it has")
    here, other = peer(), peer()
    for each in (here, other):
        each("""
import resource
from memorymapped.sync.events import EventWaitHandle, EventResetMode
from memorymapped.sync.semaphores import Semaphore
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
def thousand(tag):
    mutexes = [Mutex(name=f"{tag}-{i}") for i in range(400)]
    events = [EventWaitHandle(False, EventResetMode.MANUAL_RESET, f"{tag}-e{i}") for i in range(300)]
    semaphores = [Semaphore(0, 1, f"{tag}-s{i}") for i in range(300)]
    return mutexes, events, semaphores
""")
        each(f"mutexes, events, semaphores = thousand({tag!r})")
    here("for m in mutexes: assert m.wait_one(0)")
    here("for e in events: e.set()\nfor s in semaphores: s.release()")
    assert other.ask("sum(m.wait_one(0) for m in mutexes)") == 0
    assert other.ask("sum(h.wait_one(0) for h in events + semaphores)") == 600
    here("for m in reversed(mutexes): m.release_mutex()")
    assert other.ask("sum(m.wait_one(0) for m in mutexes)") == 400
    other("for m in mutexes: m.release_mutex()")
    for each in (here, other):
        each("for h in mutexes + events + semaphores: h.close()")
        assert tag not in each.ask("open('/proc/self/maps').read()")
