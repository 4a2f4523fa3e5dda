# SPDX-License-Identifier: MIT
"""Opening a segment file beside others who open, make, empty or damage it: what is refused changes nothing, and nothing
is emptied or removed that somebody else has."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from peers import needs_root
from support.here import WINDOWS

from memorymapped import FileMode, MemoryMappedFile, SegmentFile
from memorymapped.shared import segments as module

if WINDOWS:
    from memorymapped.system.windows import turns as backing
else:
    from memorymapped.system.linux import backing

CAPACITY = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A segment file with one segment."""
    path = tmp_path / "file"
    with SegmentFile.create_from_file(path, FileMode.CREATE_NEW, CAPACITY) as segments:
        segments.append("precious")
    return path


def open_(path: Path, mode: FileMode = FileMode.OPEN, capacity: int = 0, **options: Any) -> SegmentFile:
    return SegmentFile.create_from_file(path, mode, capacity, **options)


def first(real: Callable[..., Any], before: Callable[[], object]) -> Callable[..., Any]:
    """A function that does something else first, when it is called for the first time."""
    calls = iter([before])

    def function(*arguments: Any, **options: Any) -> Any:
        for each in calls:
            each()
        return real(*arguments, **options)

    return function


# ------------------------------------------------------------------------------------------------- FileMode.CREATE


def foreign_sums(path: Path) -> None:
    path.with_name("file.sums").write_bytes(b"something else")


def a_name_elsewhere(path: Path) -> None:
    (path.parent / "folder").mkdir()
    os.link(path, path.parent / "folder" / "name")


@pytest.mark.parametrize(
    ("prepare", "options"),
    [
        pytest.param(lambda path: os.chown(path, 65534, 65534), {}, marks=needs_root, id="another user's"),
        pytest.param(foreign_sums, {"checksums": True}, id="foreign checksums"),
        pytest.param(a_name_elsewhere, {"checksums": True}, id="distant names"),
        pytest.param(lambda _: None, {"capacity": 0}, id="no capacity"),
        pytest.param(lambda _: None, {"capacity": 2**62}, id="no room"),
    ],
)
def test_a_refused_create_empties_nothing(
    prepare: Callable[[Path], None], options: dict[str, Any], path: Path, tmp_path: Path
) -> None:
    prepare(path)
    before = path.read_bytes(), sorted(tmp_path.iterdir())
    with pytest.raises((ValueError, OSError)):
        open_(path, FileMode.CREATE, **{"capacity": CAPACITY, **options})
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == before


def test_a_create_that_fails_leaves_no_checksums_that_it_has_made(path: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - of the file system: too large, or no room
        open_(path, FileMode.CREATE, 2**62, checksums=True)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("lock", [{}, {"synchronized": False}, {"lock_name": "Local\\own"}])
def test_a_file_that_another_user_has_open_is_not_emptied(lock: dict[str, Any], path: Path, tag: str) -> None:
    status = path.stat()
    with open_(path, lock_name=f"Global\\{tag}") as users:  # this user's part of it is taken away
        control = users._controls[0]
        os.pwrite(control.fileno(), bytes(module.LOCK_NAME + 8), module.LOCK)
        assert control.name == f"User\\segments-1-{status.st_dev:x}-{status.st_ino:x}"
        with pytest.raises(FileExistsError, match="somebody has open"):
            open_(path, FileMode.CREATE, CAPACITY, **lock)
        assert users[:] == ["precious"]
    with open_(path, FileMode.CREATE, CAPACITY, **lock) as anew:
        assert anew[:] == []


def test_who_opens_it_at_the_last_moment_is_not_emptied(path: Path) -> None:
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        other: list[SegmentFile] = []
        real = SegmentFile._open_controls
        patch.setattr(
            SegmentFile, "_open_controls", first(real, lambda: other.append(stack.enter_context(open_(path))))
        )
        with pytest.raises(FileExistsError, match="somebody has open"):
            open_(path, FileMode.CREATE, 100)
        assert other[0].append("more") == 1
        assert other[0][:] == ["precious", "more"]


def test_who_has_only_begun_to_open_it_sees_what_was_made(path: Path) -> None:
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        made: list[SegmentFile] = []

        def create() -> None:
            made.append(stack.enter_context(open_(path, FileMode.CREATE, 100)))
            made[0].append("new")

        patch.setattr(SegmentFile, "_open_controls", first(SegmentFile._open_controls, create))
        with open_(path) as other:
            assert (other[:], other.capacity) == (["new"], 100)
            other.append("from the other")
        assert made[0][:] == ["new", "from the other"]


def test_checksums_of_what_was_emptied_are_forgotten(path: Path) -> None:
    for capacity in (CAPACITY, 200, CAPACITY):
        with open_(path, FileMode.CREATE, capacity, checksums=True) as segments:
            assert (segments[:], segments.capacity) == ([], capacity)
            for text in ("a", "b"):
                segments.append(text)
            assert segments.check().whole
            assert segments.check().without_checksum == 0


# ------------------------------------------------------------------------------------------------- a file that is made


def test_a_failing_call_does_not_remove_what_another_uses(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        other: list[SegmentFile] = []

        def fail() -> None:
            other.append(stack.enter_context(open_(path, FileMode.OPEN_OR_CREATE, CAPACITY)))
            other[0].append("precious")
            raise OSError(errno.EMFILE, "Too many open files")

        patch.setattr(SegmentFile, "_open_controls", first(SegmentFile._open_controls, fail))
        with pytest.raises(OSError, match="Too many"):
            open_(path, FileMode.OPEN_OR_CREATE, CAPACITY)
        with open_(path) as again:
            assert again[:] == other[0][:] == ["precious"]


def test_a_file_that_somebody_is_making_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    is_made, was_seen = threading.Event(), threading.Event()

    def late() -> None:
        is_made.set()
        assert was_seen.wait(20)

    class Seeing(module._Fit):
        def may_wait(self, map_: MemoryMappedFile) -> bool:
            waits = super().may_wait(map_)
            if waits:
                was_seen.set()
            return waits

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as executor:
        patch.setattr(module, "_Fit", Seeing)
        patch.setattr(module, "LOOK", 20.0)
        patch.setattr(SegmentFile, "_open_controls", first(SegmentFile._open_controls, late))
        maker = executor.submit(open_, path, FileMode.CREATE_NEW, CAPACITY)
        try:
            assert is_made.wait(20)
            assert path.stat().st_size == 0
            with open_(path) as other, maker.result(20) as made:
                other.append("a")
                assert made[:] == ["a"]
        finally:
            was_seen.set()


def test_a_file_that_is_empty_and_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(ValueError, match="is empty"):
        open_(path)
    assert path.stat().st_size == 0
    with pytest.raises(ValueError, match="is empty"):
        open_(tmp_path / "new", FileMode.CREATE_NEW)
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_emptied_at_the_last_moment(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        real = module._Fit.fit

        def fit(*arguments: Any) -> None:
            real(*arguments)
            os.truncate(path, 0)

        patch.setattr(module._Fit, "fit", fit)
        with pytest.raises(ValueError, match="was emptied by somebody"):
            open_(path)


def test_with_grow_the_capacity_is_a_minimum(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for day in range(3):
        with open_(path, FileMode.OPEN_OR_CREATE, 100, grow=True) as segments:
            assert segments.append("x" * 200) == day
            grown = segments.capacity
    with open_(path, FileMode.OPEN_OR_CREATE, 2 * grown, max_capacity=4 * grown) as segments:
        assert segments.capacity == 2 * grown
    with pytest.raises(ValueError, match="never shortens"):
        open_(path, FileMode.OPEN_OR_CREATE, 100)


# ------------------------------------------------------------------------------------------------- forks and signals


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backing, "LIMIT", 1.0)


@contextlib.contextmanager
def alone(segments: SegmentFile) -> Iterator[None]:
    with segments._controls[-1]._backing.alone():
        yield


@pytest.mark.usefixtures("brief")
def test_a_child_that_was_forked_while_its_parent_was_alone_is_not(path: Path) -> None:
    """Its parent is killed, and it lives on."""
    with open_(path) as segments:
        ends, end = os.pipe()
        said, say = os.pipe()
        parent = os.fork()
        if parent == 0:
            with contextlib.suppress(BaseException), alone(segments):
                if os.fork() == 0:
                    os.close(end)
                    os.write(say, str(os.getpid()).encode())
                    os.read(ends, 1)
                    os._exit(0)
                os.read(ends, 1)
            os._exit(1)
        os.close(ends)
        os.close(say)
        child = os.pidfd_open(int(os.read(said, 20)))
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        try:
            open_(path).close()
        finally:
            os.close(end)
            is_gone, *_ = select.select([child], [], [], 20)  # before its files are looked for
            os.close(child)
            os.close(said)
        assert is_gone


@pytest.mark.usefixtures("brief")
def test_a_fork_while_it_is_alone_does_not_keep_it_so(path: Path) -> None:
    """What is mapped keeps the description of before."""
    with open_(path) as segments:
        with alone(segments):
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
        open_(path).close()


def test_a_signal_handler_in_the_midst_of_an_opening_is_told_at_once(path: Path) -> None:
    with open_(path) as segments, alone(segments):
        with pytest.raises(OSError, match="this thread is preparing it already") as refusal:
            open_(path)
        assert refusal.value.errno == errno.EDEADLK
    open_(path).close()


def test_checksums_that_become_longer_while_they_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another who appends: how long they are was looked at before."""
    path = tmp_path / "file"
    with SegmentFile.create_from_file(path, capacity=100_000, checksums=True) as segments:
        segments.append("x")

        def looked_too_early(sums: str) -> tuple[int, bool]:
            os.truncate(sums, 1 << 20)
            return 24, True

        monkeypatch.setattr("memorymapped.shared.segments._look_at_sums", looked_too_early)
        with SegmentFile.create_from_file(path, checksums=True) as other:
            assert other.read(0) == "x"
            assert other.check().whole
