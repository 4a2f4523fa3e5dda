# SPDX-License-Identifier: MIT
"""A signal handler may raise anywhere: a StructArray is left closed or open, its lock free, and no element is half
there."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from root import descriptors, objects
from support.array_deaths import Item, check, item
from support.interrupting import At, Interrupt, random_signals
from support.leftovers import files_of
from support.tasks import in_thread

from memorymapped import StructArray
from memorymapped.system.linux import objects as named

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # raised in a finalizer


@pytest.fixture(autouse=True)
def drops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(named, "CLOSE_LIMIT", 0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # what was made, and met the exception before its user
        yield


OPERATIONS: dict[str, Callable[[Path, str], StructArray[Any]]] = {
    "create": lambda _, tag: StructArray(Item, f"{tag}-new", 5, max_capacity=100),
    "open": lambda _, tag: StructArray(Item, tag, 5),
    "file": lambda path, tag: StructArray.create_from_file(Item, path, capacity=5, lock_name=f"{tag}-file"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_exception_at_any_line_leaves_nothing_open(operation: str, tag: str, tmp_path: Path) -> None:
    with StructArray(Item, tag, 3000) as keep:
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
            assert keep.append(item(n)) == n - 1
            if not at.reached:
                break
        assert n > 50
        assert check(in_thread(lambda: keep[-1])) == n
        more = {os.readlink(f"/proc/self/fd/{fd}") for fd in set(descriptors()) - set(opened)}
        # As of os.open itself, the one of the user's file may be lost.
        assert {path for path in more if not path.startswith(str(tmp_path)) and not os.path.isdir(path)} == set()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_close_that_an_exception_broke_off_can_be_repeated(operation: str, tag: str, tmp_path: Path) -> None:
    with StructArray(Item, tag, 5):
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


def test_an_exception_at_any_line_of_growing(tag: str) -> None:
    with StructArray(Item, tag, 1, max_capacity=3000) as items:
        for n in range(1, 500):
            length = len(items)
            items.extend([item(0)] * (items.capacity - length))
            length = len(items)
            at = At(n)
            try:
                with at:
                    items.append(item(n))
            except Interrupt:
                pass
            assert not items.lock.owned
            assert len(items) in (length, length + 1)
            items.truncate(min(len(items), 5))
            items._view.write_uint64(items._control_position + 96, 5)
            if not at.reached:
                break
        assert n > 5


@pytest.mark.parametrize(
    ("contended", "signals"), [(False, 30), (True, 20), pytest.param(True, 100, marks=pytest.mark.campaign)]
)
def test_signals_at_random_moments(contended: bool, signals: int, tag: str) -> None:
    with StructArray(Item, tag, 5, max_capacity=100) as items, StructArray.open_existing(Item, tag) as other:
        stop = threading.Event()
        new = [item(number) for number in range(50)]
        items.extend(new[:5])

        def busy() -> None:
            while not stop.is_set():
                for each in new:
                    with other.edit(0) as draft:
                        check(draft)
                        draft.number, draft.body, draft.check = each.number, each.body, each.check

        thread = threading.Thread(target=busy)
        if contended:
            thread.start()
        elements = new * 40  # it takes longer than until the signal

        def change() -> None:
            for each in elements:
                items.append(each)
                items[-2] = each
                items.pop()
                if len(items) > 40:
                    items.truncate(5)

        def extend() -> None:
            for each in elements:
                items.extend([each, each])
                items.truncate(5)

        def edit() -> None:
            for each in elements:
                with items.edit(-1) as draft:
                    check(draft)
                    draft.number, draft.body, draft.check = each.number, each.body, each.check

        def read() -> None:
            for _ in elements:
                check(items[-1])
                list(map(check, items[:]))

        def wait() -> None:
            for _ in elements:
                items.wait_for_change(1e-5)
                items.wait_for_length(99, 1e-5)

        try:
            for function in (change, extend, edit, read, wait):
                with random_signals() as call:
                    for _ in range(signals):
                        call(function)
                        assert not items.lock.owned, function
                        in_thread(lambda: [check(each) for each in items])
                        items.truncate(5)
                assert call.met > signals // 10, function
        finally:
            stop.set()
            if contended:
                thread.join(20)
        assert other.append(item(3)) == 5
        assert items._view.read_uint32(items._control_position + 128) == 0, "who waited is counted no more"
