# SPDX-License-Identifier: MIT
"""A signal handler may raise anywhere: a SharedMemory is left closed or open, its lock free, and no value is half
there."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from campaigns import campaign
from root import descriptors, objects
from support.commit_deaths import SIZE, check, value
from support.interrupting import At, Interrupt, random_signals
from support.leftovers import files_of
from support.tasks import in_thread

from memorymapped import SharedMemory
from memorymapped.system.linux import objects as named

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # raised in a finalizer


@pytest.fixture(autouse=True)
def drops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(named, "CLOSE_LIMIT", 0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # what was made, and met the exception before its user
        yield


OPERATIONS: dict[str, Callable[[Path, str], SharedMemory[bytes]]] = {
    "create": lambda _, tag: SharedMemory(SIZE, f"{tag}-new"),
    "open": lambda _, tag: SharedMemory(SIZE, tag),
    "file": lambda path, tag: SharedMemory.create_from_file(SIZE, path, lock_name=f"{tag}-file"),
}


@pytest.mark.parametrize("operation", ["create", *campaign("open", "file")])
def test_an_exception_at_any_line_leaves_nothing_open(operation: str, tag: str, tmp_path: Path) -> None:
    with SharedMemory(SIZE, tag) as keep:
        before, opened, locks = objects(), descriptors(), files_of(tag)
        for n in range(1, 3000):
            made = None
            at = At(n)
            try:
                with at:
                    made = OPERATIONS[operation](tmp_path / "file", tag)
            except Interrupt:
                pass
            if made is not None:
                made.close()
            made = None
            assert objects() == before, f"left after an exception at step {n}"
            assert files_of(tag) == locks
            keep.data = value(n)
            if not at.reached:
                break
        assert n > 50
        assert check(in_thread(lambda: keep.data)) == n
        more = {os.readlink(f"/proc/self/fd/{fd}") for fd in set(descriptors()) - set(opened)}
        # As of os.open itself, the one of the user's file may be lost.
        assert {path for path in more if not path.startswith(str(tmp_path)) and not os.path.isdir(path)} == set()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_close_that_an_exception_broke_off_can_be_repeated(operation: str, tag: str, tmp_path: Path) -> None:
    with SharedMemory(SIZE, tag):
        before, locks = objects(), files_of(tag)
        for n in range(1, 500):
            made = OPERATIONS[operation](tmp_path / "file", tag)
            at = At(n)
            try:
                with at:
                    made.close()
            except Interrupt:
                made.close()
            assert made.closed
            assert objects() == before, f"left after an exception at step {n}"
            assert files_of(tag) == locks
            if not at.reached:
                break
        assert n > 3


@pytest.mark.parametrize(
    ("contended", "signals"), [(False, 30), (True, 20), pytest.param(True, 100, marks=pytest.mark.campaign)]
)
def test_signals_at_random_moments(contended: bool, signals: int, tag: str) -> None:
    with SharedMemory(SIZE, tag) as shared, SharedMemory(SIZE, tag) as other:
        stop = threading.Event()

        def busy() -> None:
            number = 1_000_000
            while not stop.is_set():
                with other.edit() as draft:
                    check(bytes(draft))
                    number += 1
                    draft[:] = value(number)

        thread = threading.Thread(target=busy)
        if contended:
            thread.start()
        values = [value(number) for number in range(50)] * 40  # it takes longer than until the signal

        def assign() -> None:
            for each in values:
                shared.data = each

        def edit() -> None:
            for each in values:
                with shared.edit() as draft:
                    check(bytes(draft))
                    draft[:100] = each[:100]
                    draft[100:] = each[100:]

        def live() -> None:
            for each in values:
                with shared.lock:
                    shared.live[:] = each

        def read() -> None:
            for _ in values:
                check(shared.data)

        def wait() -> None:
            for _ in values:
                shared.wait_for_change(1e-5)

        try:
            for function in (assign, edit, live, read, wait):
                with random_signals() as call:
                    for _ in range(signals):
                        call(function)
                        assert not shared.lock.owned, function
                        check(in_thread(lambda: shared.data))
                assert call.met > signals // 10, function
        finally:
            stop.set()
            if contended:
                thread.join(20)
        shared.data = value(3)
        assert check(other.data) == 3
        waiting: Any = shared._view.read_uint32(-(-SIZE // 64) * 64 + 128)
        assert waiting == 0, "who waited is counted no more"
