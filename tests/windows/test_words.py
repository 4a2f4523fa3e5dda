# SPDX-License-Identifier: MIT
"""What lies in maps, where the objects of Windows come in: who shares a word, and whose death is noticed how."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import memorymapped as m
from memorymapped import MemoryMappedFile as Map

MAKES = """
import contextlib, sys, memorymapped as m
def make(view, ends):
    turn, made = m.AtomicInt32(view), ""
    for place in range(400):
        kind = (m.MappedLock, m.MappedReaderWriterLock, m.MappedEvent, m.MappedSemaphore)[place % 4]
        turn.fetch_add()
        while turn.load() < 2 * (place + 1):
            assert not ends()
        with contextlib.closing(kind(view, 4096 + place * 2048)) as thing:
            made += "01"[thing.created_new]
    return made
if __name__ == "__main__":
    with m.MemoryMappedFile.open_existing(sys.argv[1]) as map_, map_.create_view_accessor() as view:
        print(make(view, bool))
"""

ANSWERS = """
import sys, memorymapped as m
with m.MemoryMappedFile.open_existing(sys.argv[1]) as map_, map_.create_view_accessor() as view:
    ask, answer = m.MappedEvent(view, 0), m.MappedEvent(view, 16)
    print("ready", flush=True)
    for _ in range(20):
        ask.wait_one(30)
        answer.set()
"""


@pytest.mark.parametrize("of", ["memory", "file"])
def test_who_has_a_map_by_another_way_is_woken(of: str, tmp_path: Path) -> None:
    """Not only found by the look that comes after a quarter of a second."""
    name = f"memorymapped-tests-{os.getpid()}"
    path = tmp_path / "words"
    made = Map.create_new(name, 4096) if of == "memory" else Map.create_from_file(path, m.FileMode.CREATE, name, 4096)
    with made, made.create_view_accessor() as view:
        ask, answer = m.MappedEvent(view, 0), m.MappedEvent(view, 16)
        code = [sys.executable, "-W", "error", "-c", ANSWERS, name]
        with subprocess.Popen(code, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as other:
            assert other.stdout is not None
            assert other.stdout.readline().strip() == b"ready"
            took = []
            for _ in range(20):
                began = time.perf_counter()
                ask.set()
                assert answer.wait_one(30)
                took.append(time.perf_counter() - began)
            assert other.wait(30) == 0
        assert sorted(took)[10] < 0.1


def test_one_of_two_processes_that_come_at_once_has_made_what_lies_in_a_map() -> None:
    name = f"memorymapped-tests-{os.getpid()}"
    with Map.create_new(name, 1 << 20) as map_, map_.create_view_accessor() as view:
        code = [sys.executable, "-W", "error", "-c", MAKES, name]
        with subprocess.Popen(code, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as other:
            assert other.stdout is not None
            here: dict[str, Any] = {}
            exec(MAKES, here)
            ours = here["make"](view, lambda: other.poll() is not None)
            theirs = other.stdout.readline().strip()
            assert other.wait(30) == 0
    assert {a + b for a, b in zip(ours, theirs, strict=True)} <= {"01", "10"}
    assert len(ours) == 400


def test_ctrl_c_ends_a_wait_for_a_word_at_once() -> None:
    """Not only at the look that comes after a quarter of a second."""
    code = """
import memorymapped as m, signal, threading, time
took = []
with m.MemoryMappedFile.create_new(None, 4096) as map_, map_.create_view_accessor() as view:
    event = m.MappedEvent(view)
    def interrupt():
        while event.statistics().waiters == 0:
            time.sleep(0.001)
        time.sleep(0.03)  # it sleeps, most likely
        global began
        began = time.perf_counter()
        signal.raise_signal(signal.SIGINT)
    for _ in range(9):
        threading.Thread(target=interrupt).start()
        try:
            event.wait_one(60)
        except KeyboardInterrupt:
            took.append(time.perf_counter() - began)
    print(len(took), sorted(took)[4] < 0.1, event.statistics().waiters)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (["9", "True", "0"], "")


def test_a_thread_that_ends_with_a_lock_is_told_of() -> None:
    with Map.create_new(None, 4096) as map_, map_.create_view_accessor() as view:
        lock = m.MappedLock(view)
        ends = threading.Event()
        thread = threading.Thread(target=lambda: (lock.acquire(), ends.wait(30)))
        thread.start()
        while lock.wait_one(0):
            lock.release()
        threading.Timer(0.2, ends.set).start()
        with pytest.raises(m.AbandonedMutexError):
            lock.wait_one(20)
        lock.release()
        thread.join()
        assert lock.wait_one(0)
        lock.release()


def test_unnamed_memory_has_no_name_that_is_seen() -> None:
    with Map.create_new(None, 4096) as map_:
        assert map_.name is None
        assert not map_.name_alive
