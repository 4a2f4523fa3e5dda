# SPDX-License-Identifier: MIT
"""A signal handler may raise anywhere: a segment file is left closed or open, its lock free, and no segment is half
there."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from campaigns import campaign
from root import ROOT, descriptors, objects
from support.interrupting import At, Interrupt, random_signals
from support.tasks import in_thread

from memorymapped import Mutex, SegmentFile
from memorymapped.system.linux import objects as named

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # raised in a finalizer


@pytest.fixture(autouse=True)
def drops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(named, "CLOSE_LIMIT", 0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # what was made, and met the exception before its user
        yield


Operation = Callable[[Path, str], SegmentFile]

OPERATIONS: dict[str, Operation] = {
    "create": lambda _, __: SegmentFile.create_new(1000, "new", checksums=True),
    "open": lambda _, name: SegmentFile.open_existing(name),
    "file": lambda path, _: SegmentFile.create_from_file(path, capacity=1000, checksums=True),
}


@pytest.mark.parametrize("operation", ["create", *campaign("open", "file")])
def test_an_exception_at_any_line_leaves_nothing_open(operation: str, tmp_path: Path) -> None:
    with SegmentFile.create_new(100_000) as keep:
        keep.append("a")
        before, opened = objects(), descriptors()
        for n in range(1, 3000):
            made = None
            at = At(n)
            try:
                with at:
                    made = OPERATIONS[operation](tmp_path / "file", keep.file_id)
            except Interrupt:
                pass
            if made is not None:
                made.close()
            made = None
            assert objects() == before, f"left after an exception at step {n}"
            assert keep.append("b") == n
            if not at.reached:
                break
        assert n > 50
        assert in_thread(lambda: keep.append("c")) == n + 1
        more = {os.readlink(f"/proc/self/fd/{fd}") for fd in set(descriptors()) - set(opened)}
        # As of os.open itself, the one of the user's file may be lost.
        assert {path for path in more if not path.startswith(str(tmp_path)) and not os.path.isdir(path)} == set()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_close_that_an_exception_broke_off_can_be_repeated(operation: str, tmp_path: Path) -> None:
    with SegmentFile.create_new(1000) as keep:
        before = objects()
        for n in range(1, 500):
            made = OPERATIONS[operation](tmp_path / "file", keep.file_id)
            at = At(n)
            try:
                with at:
                    made.close()
            except Interrupt:
                made.close()
            assert made.closed
            assert objects() == before, f"left after an exception at step {n}"
            if not at.reached:
                break
        assert n > 3


def test_signals_at_random_moments_of_appends() -> None:
    with SegmentFile.create_new(1 << 20, encoding=None) as segments:
        number = 0

        def append() -> None:
            nonlocal number
            for _ in range(100):
                number += 1
                segments.append(number.to_bytes(4, "little") * 3)

        with random_signals() as call:
            for _ in range(300):
                call(append)
                assert in_thread_free(segments)
        print(f"{call.met} exceptions, {len(segments)} segments")
        assert call.met > 5
        numbers = [int.from_bytes(each[:4], "little") for each in segments]
        assert all(each == each[:4] * 3 for each in segments)
        assert numbers == sorted(set(numbers))
        assert number - call.met <= len(numbers) <= number
        assert segments.check().whole


def in_thread_free(segments: SegmentFile) -> bool:
    """Whether another thread gets the lock."""
    got = []

    def take() -> None:
        mutex = Mutex(name=segments.lock_name)
        got.append(mutex.wait_one(5))
        mutex.release_mutex()
        mutex.close()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(10)
    return got == [True]


def test_signals_at_random_moments_while_the_lock_is_wanted_by_others() -> None:
    """Then appends wait for it, and the handler runs within the wait."""
    with SegmentFile.create_new(100 << 20, encoding=None) as segments:
        stop = threading.Event()

        def busy() -> None:
            block = bytes(300_000)  # copied while the interpreter's lock is free
            with SegmentFile.open_existing(segments.file_id, encoding=None) as other:
                while not stop.is_set() and other.free > 10 << 20:
                    other.append(block)

        thread = threading.Thread(target=busy)
        thread.start()
        done = 0

        def append() -> None:
            nonlocal done
            for _ in range(20):
                segments.append(b"small", durable=True)
                done += 1

        try:
            with random_signals() as call:
                call.within = 2e-3
                for _ in range(100):
                    call(append)
        finally:
            stop.set()
            thread.join(30)
        small = sum(len(each) == 5 for each in segments)
        assert done <= small <= done + call.met
        assert in_thread_free(segments)
        assert segments.check().whole


def test_nothing_of_the_file_is_left_open(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = set(os.listdir("/proc/self/fd"))
    with SegmentFile.create_from_file(path, capacity=1000, checksums=True) as segments:
        segments.append("a")
        segments.grow(100_000)
        segments.append("b" * 10_000)
    folders = {fd for fd in os.listdir("/proc/self/fd") if is_folder(fd)}
    assert set(os.listdir("/proc/self/fd")) - before <= folders
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "file.sums"]
    assert not list(ROOT.rglob("segments-*"))


def is_folder(fd: str) -> bool:
    try:
        return os.path.isdir(os.readlink(f"/proc/self/fd/{fd}"))
    except OSError:  # the listing's own
        return True
