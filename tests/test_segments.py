# SPDX-License-Identifier: MIT
"""SegmentFile: its bytes, what it refuses, growth, waiting, other processes. Deaths are in test_segments_crash.py,
damage in test_segments_damage.py."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import pickle
import signal
import struct
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from peers import Peer, peers
from root import ROOT
from support.here import WINDOWS, identity, resource
from support.tasks import in_thread
from support.tasks import run as run_tasks

from memorymapped import (
    ClosedError,
    FileMode,
    InvalidNameError,
    MemoryFaultError,
    MemoryMappedFile,
    Mutex,
    NameInUseError,
    OutOfRangeError,
    SegmentFile,
)
from memorymapped import MemoryMappedFileAccess as Access
from memorymapped._native.segments import crc32c

Open = Callable[..., SegmentFile]
Pair = tuple[SegmentFile, Open]
CAPACITY = 64 * 1024


def article(*segments: bytes) -> bytes:
    """What the article's program writes."""
    return b"".join(struct.pack("<i", len(each)) + each for each in segments)


@pytest.fixture
def opened() -> Iterator[Open]:
    """Calls a factory of SegmentFile by its name; everything is closed at the end."""
    with contextlib.ExitStack() as stack:

        def open_(factory: str, *arguments: Any, **options: Any) -> SegmentFile:
            made: SegmentFile = stack.enter_context(getattr(SegmentFile, factory)(*arguments, **options))
            return made

        yield open_


@pytest.fixture
def peer(run: Callable[..., Any]) -> Iterator[Peer]:
    with peers(run) as make:
        yield make()


@pytest.fixture(params=["named", "file"])
def pair(request: pytest.FixtureRequest, opened: Open, tmp_path: Path) -> Pair:
    """A new one, and how to open it once more."""
    if request.param == "named":
        first = opened("create_new", CAPACITY)
        return first, lambda **options: opened("open_existing", first.file_id, **options)
    path = tmp_path / "segments"
    return opened("create_from_file", path, capacity=CAPACITY), lambda **options: opened(
        "create_from_file", path, FileMode.OPEN, **options
    )


@contextlib.contextmanager
def owned(name: str | None) -> Iterator[None]:
    """As another program has the mutex."""
    with contextlib.closing(Mutex(name=name)) as mutex, mutex:
        yield


def contents(segments: SegmentFile) -> bytes:
    if segments.path is not None:
        return Path(segments.path).read_bytes()
    assert segments.name is not None
    with MemoryMappedFile.open_existing(segments.name) as map_, map_.create_view_accessor() as view:
        return view.read_bytes(0, view.capacity)


# ------------------------------------------------------------------------------------------------------ the format


@pytest.mark.parametrize(
    ("encoding", "text", "data"),
    [
        ("utf-16", "aé€𝄞\0", "aé€𝄞\0".encode("utf-16-le")),
        ("utf-16", "plain", b"p\0l\0a\0i\0n\0"),
        ("UTF-8", "aé€𝄞\0", "aé€𝄞\0".encode()),
        ("utf-16-be", "ab", b"\0a\0b"),
        ("latin-1", "é", b"\xe9"),
        ("utf-32", "a", b"a\0\0\0"),
    ],
)
def test_text_is_as_the_article_has_it(encoding: str, text: str, data: bytes, opened: Open) -> None:
    segments = opened("create_new", CAPACITY, encoding=encoding)
    assert segments.append(text) == 0
    assert segments.append(b"\1\2") == 1
    assert contents(segments)[: segments.used + 4] == article(data, b"\1\2") + bytes(4)
    assert segments.read(0) == text
    assert segments.read_bytes(0) == data
    assert segments.encoding == encoding


def test_what_a_foreign_program_wrote_is_read(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(article("eins".encode("utf-16-le"), "zwei".encode("utf-16-le")) + bytes(100))
    segments = opened("create_from_file", path)
    assert list(segments) == ["eins", "zwei"]
    assert segments.append("drei") == 2
    assert path.read_bytes() == article(*(t.encode("utf-16-le") for t in ("eins", "zwei", "drei"))) + bytes(88)


def test_bytes_of_any_kind_are_appended(opened: Open) -> None:
    from array import array

    segments = opened("create_new", CAPACITY, encoding=None)
    segments.append(b"abc")
    segments.append(bytearray(b"defg"))
    segments.append(memoryview(b"hijk")[1:])
    segments.append(array("i", [1, 2]))
    segments.append(segments.view(0))
    assert segments[:] == [b"abc", b"defg", b"ijk", struct.pack("ii", 1, 2), b"abc"]


def test_sequences(opened: Open) -> None:
    segments = opened("create_new", CAPACITY)
    words = [f"text {i}" for i in range(50)]
    assert [segments.append(word) for word in words] == list(range(50))
    assert len(segments) == 50
    assert list(segments) == words
    assert list(reversed(segments)) == words[::-1]
    assert [segments[i] for i in range(-50, 0)] == words
    for part in (slice(None), slice(3, 7), slice(-5, None), slice(None, None, -7), slice(60, 70), slice(5, 1)):
        assert segments[part] == words[part]
    assert "text 49" in segments
    assert segments.used == sum(4 + 2 * len(word) for word in words)
    assert segments.free == CAPACITY - segments.used


def test_iteration_gives_what_is_there_when_it_begins(opened: Open) -> None:
    segments = opened("create_new", CAPACITY)
    segments.append("a")
    seen = []
    for text in segments:
        seen.append(text)
        segments.append("more")
    assert seen == ["a"]


def test_large_segments(opened: Open) -> None:
    segments = opened("create_new", 9 << 20, encoding=None)
    block = os.urandom(4 << 20)
    assert segments.append(block) == 0
    assert segments.append(b"small") == 1
    assert segments[0] == block
    assert segments[1] == b"small"


@pytest.mark.parametrize("left", [0, 1, 3, 4, 5])
def test_a_file_that_is_filled_to_its_end(left: int, opened: Open) -> None:
    """Fewer than four bytes at the end, or none: where there is no length there is no segment."""
    segments = opened("create_new", 4096, encoding=None)
    segments.append(b"x" * (4092 - left))
    assert len(segments) == 1
    with pytest.raises(OSError, match="is full") as caught:
        segments.append(b"ab")
    assert caught.value.errno == errno.ENOSPC
    if left == 5:
        assert segments.append(b"y") == 1
    assert len(opened("open_existing", segments.file_id, encoding=None)) == 1 + (left == 5)
    assert segments.check().whole


# ------------------------------------------------------------------------------------------------- what is refused


def test_what_cannot_be_appended(opened: Open) -> None:
    segments = opened("create_new", CAPACITY)
    raw = opened("create_new", CAPACITY, encoding=None)
    with pytest.raises(ValueError, match="empty segment"):
        segments.append("")
    with pytest.raises(ValueError, match="empty segment"):
        raw.append(b"")
    for encoding in ("utf-16", "utf-8"):
        with pytest.raises(UnicodeEncodeError, match="surrogates"):
            opened("create_new", CAPACITY, encoding=encoding).append("a\ud800b")
    for wrong in (1, None, ["a"], [b"a"]):
        with pytest.raises(TypeError):
            segments.append(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no encoding"):
        raw.append("text")
    assert (len(segments), len(raw)) == (0, 0)
    assert not any(contents(segments))


def test_a_full_file_says_what_there_is(opened: Open) -> None:
    segments = opened("create_new", 4096)
    segments.append("abc")
    with pytest.raises(
        OSError, match=r"10 of its 4096 bytes are used, and a segment of 6000 needs 6014: .*grow"
    ) as caught:
        segments.append("x" * 3000)
    assert caught.value.errno == errno.ENOSPC
    assert segments[:] == ["abc"]


def test_segments_are_written_in_order_and_once(opened: Open) -> None:
    segments = opened("create_new", CAPACITY)
    segments.write(0, "a")
    segments.write(1, "b")
    with pytest.raises(OutOfRangeError, match="written already"):
        segments.write(0, "c")
    with pytest.raises(OutOfRangeError, match=r"yet: the next is 2"):
        segments.write(3, "c")
    with pytest.raises(OutOfRangeError, match="negative"):
        segments.write(-1, "c")
    assert segments[:] == ["a", "b"]


def test_numbers_that_there_are_not(opened: Open) -> None:
    segments = opened("create_new", CAPACITY)
    segments.append("a")
    for wrong in (1, -1, 2**80, -(2**80)):
        for read in (segments.read, segments.read_bytes, segments.view):
            with pytest.raises(IndexError):
                read(wrong)
    for wrong in (1, -2, 2**80, -(2**80)):
        with pytest.raises(IndexError, match="no segment"):
            segments[wrong]
    for text in ("0", 0.0, None):
        with pytest.raises(TypeError):
            segments.read(text)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            segments[text]  # type: ignore[index]
    with pytest.raises(OutOfRangeError):
        segments.wait_for(-1, 0)
    with pytest.raises(OutOfRangeError):
        next(segments.follow(-1))


def test_arguments_of_the_factories(opened: Open, tmp_path: Path) -> None:
    for wrong, error in [
        ({"encoding": "no such"}, LookupError),
        ({"encoding": "base64"}, LookupError),
        ({"encoding": 3}, TypeError),
        ({"lock_name": ""}, ValueError),
        ({"lock_name": "x", "synchronized": False}, ValueError),
        ({"max_capacity": 0}, ValueError),
    ]:
        with pytest.raises(error):
            SegmentFile.create_new(CAPACITY, **wrong)  # type: ignore[arg-type]
    with pytest.raises(OutOfRangeError):
        SegmentFile.create_new(0)
    with pytest.raises(FileNotFoundError):
        SegmentFile.open_existing("nobody has it")
    with pytest.raises(ValueError, match="capacity"):
        SegmentFile.create_from_file(tmp_path / "new")
    with pytest.raises(FileNotFoundError):
        SegmentFile.create_from_file(tmp_path / "missing", FileMode.OPEN, 100)
    with pytest.raises(ValueError, match="READ or READ_WRITE"):
        SegmentFile.create_from_file(tmp_path / "new", capacity=100, access=Access.COPY_ON_WRITE)
    with pytest.raises(TypeError, match="create_new"):
        SegmentFile()
    one = opened("create_new", CAPACITY, "taken")
    with pytest.raises(NameInUseError):
        SegmentFile.create_new(CAPACITY, "taken")
    assert opened("create_or_open", "taken", 10).capacity == CAPACITY
    assert one.file_id == one.name == "taken"


def test_bytes_that_are_no_text(opened: Open) -> None:
    segments = opened("create_new", CAPACITY)
    segments.append(b"\0\xd8x")
    with pytest.raises(UnicodeDecodeError) as caught:
        segments.read(0)
    assert any("read_bytes(0)" in note for note in caught.value.__notes__)
    assert segments.read_bytes(0) == b"\0\xd8x"


def test_after_close(opened: Open) -> None:
    segments = opened("create_new", CAPACITY)
    segments.append("a")
    view = segments.view(0)
    segments.close()
    segments.close()
    segments.dispose()
    assert segments.closed
    for use in (
        lambda: segments.read(0),
        lambda: segments.append("a"),
        lambda: segments.view(0),
        lambda: len(segments),
        lambda: segments[0],
        lambda: segments.wait_for(0, 0),
        lambda: segments.used,
        lambda: segments.capacity,
        lambda: segments.grow(10 * CAPACITY),
        segments.check,
        lambda: list(segments.recover()),
        segments.__enter__,
        lambda: pickle.dumps(segments),
    ):
        with pytest.raises(ClosedError):
            use()  # type: ignore[operator]
    assert "closed" in repr(segments)
    assert bytes(view) == b"a\0"


def test_reading_only(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with SegmentFile.create_from_file(path, capacity=1000) as writer:
        writer.append("a")
    path.chmod(0o444)
    before = path.read_bytes()
    segments = opened("create_from_file", path, FileMode.OPEN, access=Access.READ)
    assert segments[:] == ["a"]
    with pytest.raises(PermissionError, match="reading only"):
        segments.append("b")
    with pytest.raises(PermissionError):
        segments.grow(2000)
    assert segments.check().whole
    assert path.read_bytes() == before
    named = opened("create_new", 1000)
    reader = opened("open_existing", named.file_id, access=Access.READ)
    named.append("x")
    assert reader[-1] == "x"
    with pytest.raises(PermissionError):
        reader.append("y")


# ------------------------------------------------------------------------------------------------------ several


def test_a_new_one_has_a_name_that_nobody_has(opened: Open) -> None:
    one, two = opened("create_new", 100), opened("create_new", 100)
    assert uuid.UUID(one.file_id) != uuid.UUID(two.file_id)
    assert one.lock_name != two.lock_name


def test_two_objects_of_one_file(pair: Pair) -> None:
    first, again = pair
    first.append("a")
    second = again()
    assert second[:] == ["a"]
    assert second.append("b") == 1
    assert first.append("c") == 2
    assert first[:] == second[:] == ["a", "b", "c"]
    assert first.lock_name == second.lock_name
    assert first.lock_name is not None
    assert first.lock_name.startswith("Global\\" if WINDOWS and first.name is None else "User\\")


def test_a_name_and_its_path_go_the_same_way(opened: Open) -> None:
    named = opened("create_new", CAPACITY)
    by_path = opened("create_from_file", named.path, FileMode.OPEN)
    assert by_path.lock_name == named.lock_name
    named.append("a")
    assert by_path.append("b") == 1
    assert named.wait_for(1, 0)
    assert named[1] == "b"


def test_another_process_by_the_name_on_its_command_line(opened: Open, run: Callable[..., Any]) -> None:
    segments = opened("create_new", CAPACITY)
    segments.append("a task")
    child = run(
        """
import sys
from memorymapped import SegmentFile
with SegmentFile.open_existing(sys.argv[1]) as segments:
    print(segments.read(0))
    segments.write(1, "done: " + segments.read(0))
""",
        segments.file_id,
    )
    assert segments.wait_for(1, 20)
    assert segments.read(1) == "done: a task"
    assert child.wait(20) == 0
    assert child.stdout.read() == "a task\n"


def test_a_mutex_of_a_given_name_excludes(tag: str, opened: Open) -> None:
    name = f"Local\\{tag}"
    segments = opened("create_new", CAPACITY, lock_name=name)
    assert segments.lock_name == name
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with owned(name):
            held.set()
            let_go.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    done = threading.Event()

    def write() -> None:
        segments.append("a")
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert not done.wait(0.05)
    let_go.set()
    assert done.wait(20)
    writer.join()
    holder.join()


def test_unsynchronized(opened: Open) -> None:
    writer = opened("create_new", CAPACITY, synchronized=False)
    assert writer.lock_name is None
    reader = opened("open_existing", writer.file_id, synchronized=False)
    for i in range(100):
        writer.append(f"{i}")
        assert reader[-1] == f"{i}"
    device, inode, _ = writer._map.generation
    with owned(f"User\\segments-{device:x}-{inode:x}"):
        assert in_thread(lambda: writer.append("nobody waits")) == 100
        assert in_thread(lambda: reader.read(100)) == "nobody waits"


def test_threads_share_one_object(opened: Open) -> None:
    segments = opened("create_new", 4 << 20, encoding=None)
    big = 300 * 1024  # copied while other threads run

    def work(number: int) -> None:
        for i in range(200):
            at = segments.append(struct.pack("<ii", number, i))
            assert struct.unpack("<ii", segments.read_bytes(at)) == (number, i)
        if number == 0:
            for _ in range(5):
                at = segments.append(b"\7" * big)
                assert segments.read_bytes(at) == b"\7" * big

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(segments) == 805
    small = [struct.unpack("<ii", each) for each in segments if len(each) == 8]
    for number in range(4):
        assert [i for who, i in small if who == number] == list(range(200))
    assert opened("open_existing", segments.file_id, encoding=None)[:] == segments[:]


def test_a_forked_child_goes_on(opened: Open) -> None:
    segments = opened("create_new", CAPACITY)
    segments.append("parent")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert segments[:] == ["parent"]
            segments.append("child")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert segments[:] == ["parent", "child"]
    segments.append("parent again")


def test_pickled_by_name_and_by_path(pair: Pair) -> None:
    first, again = pair
    first.append("a")
    second = again(encoding="utf-8", grow=True, max_capacity=10**6)
    with pickle.loads(pickle.dumps(second)) as copy:
        assert copy.read_bytes(0) == b"a\0"
        assert (copy.encoding, copy.lock_name) == ("utf-8", first.lock_name)
        copy.append("b")
    assert first.read_bytes(1) == b"b"


def test_another_file_in_its_place_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with SegmentFile.create_from_file(path, capacity=100) as segments:
        pickled = pickle.dumps(segments)
    path.rename(tmp_path / "old")
    path.write_bytes(bytes(100))
    with pytest.raises(FileNotFoundError, match="another one"):
        pickle.loads(pickled)


def test_the_global_scope_has_a_mutex_for_all_users(tag: str, opened: Open) -> None:
    segments = opened("create_new", CAPACITY, f"Global\\{tag}")
    assert segments.lock_name is not None
    assert segments.lock_name.startswith("Global\\")
    segments.append("a")


def test_a_global_one_and_the_file_behind_it_are_one(tag: str, opened: Open) -> None:
    one = opened("create_new", CAPACITY, f"Global\\{tag}")
    other = opened("create_from_file", one.path)
    assert other.lock_name == one.lock_name
    assert other._names.controls == one._names.controls


@pytest.mark.parametrize("other", [{}, {"lock_name": "Global\\another"}, {"synchronized": False}])
def test_all_who_use_it_need_one_lock(other: dict[str, Any], tag: str, opened: Open, tmp_path: Path) -> None:
    """Or they write over one another."""
    name = f"Global\\{tag}"
    one = opened("create_from_file", tmp_path / "file", capacity=1000, lock_name=name)
    for _ in range(2):
        with pytest.raises(ValueError, match=f"mutex '.*{tag}', and is to be opened with"):
            SegmentFile.create_from_file(tmp_path / "file", **other)
    opened("create_from_file", tmp_path / "file", lock_name=name).append("a")
    assert one[0] == "a"
    unsynchronized = opened("create_new", 1000, synchronized=False)
    with pytest.raises(ValueError, match=r"is in use with synchronized=False, and .* the mutex"):
        SegmentFile.open_existing(unsynchronized.file_id)


def test_a_view_that_another_thread_has_made_longer_meanwhile_stays(opened: Open, tmp_path: Path) -> None:
    segments = opened("create_from_file", tmp_path / "file", capacity=5000, encoding=None)
    short = segments._map.create_view_accessor(0, 0)
    segments.grow(10_000)
    segments.append(bytes(6000))
    assert segments._attach(short, segments._map.fileno()) is short
    short.close()
    assert segments.append(b"a" * 2000) == 1
    assert segments[1] == b"a" * 2000


@pytest.mark.parametrize("checksums", [False, True])
def test_check_beside_a_writer(checksums: bool, opened: Open) -> None:
    """What is appended while it looks is no damage, and does not lie behind the end."""

    class Beside(SegmentFile):
        __slots__ = ()

        def _walk_again(self) -> tuple[int, int, str | None]:
            found = super()._walk_again()
            for text in ("a", "b", "c"):
                other.append(text)
            return found

    with Beside.create_new(1000, checksums=checksums) as segments:
        other = opened("open_existing", segments.file_id)
        for turn in range(3):
            report = segments.check()
            assert (report.whole, report.behind, report.segments) == (True, 0, 3 * turn + 3)


def test_a_task_that_follows_leaves_others_their_turn(opened: Open) -> None:
    """Also while there is always one more."""
    segments = opened("create_new", 1 << 20, encoding=None)
    for _ in range(60_000):
        segments.append(b"some bytes")

    async def main() -> int:
        turns = 0

        async def tick() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        ticking = asyncio.create_task(tick())
        count = 0
        async for _ in segments.follow_async(0, 0):
            count += 1
        assert count == 60_000
        ticking.cancel()
        return turns

    assert asyncio.run(main()) > 3


def test_it_is_an_object_like_others(opened: Open) -> None:
    segments = opened("create_new", CAPACITY, "shown")
    assert repr(segments) == f"<SegmentFile 'shown', {CAPACITY} bytes>"
    assert weakref.ref(segments)() is segments
    dropped = SegmentFile.create_new(100)
    name = dropped.file_id
    with pytest.warns(ResourceWarning, match="unclosed <SegmentFile"):
        del dropped
    with pytest.raises(FileNotFoundError):
        SegmentFile.open_existing(name)


def test_nothing_is_left_of_a_call_that_is_refused(opened: Open, tmp_path: Path) -> None:
    sums = tmp_path / "file.sums"
    sums.write_bytes(b"something else" * 100)
    with pytest.raises(OSError, match="has none: remove it"):
        SegmentFile.create_from_file(tmp_path / "file", capacity=100, checksums=True)
    assert sorted(path.name for path in ROOT.rglob("*.map")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.sums"]
    if not WINDOWS:  # where it is a name
        with pytest.raises(InvalidNameError):
            SegmentFile.create_from_file(tmp_path / "new", capacity=100, lock_name="Global\\" + "x" * 3000)
        assert not (tmp_path / "new").exists()
    users = opened("create_from_file", tmp_path / "users", capacity=100)
    with pytest.raises(ValueError, match="in use with"):
        SegmentFile.create_from_file(tmp_path / "users", lock_name="Global\\another")
    assert users.append("a") == 0
    assert (tmp_path / "users").exists()


def test_no_more_descriptors(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used, refused = max(map(int, os.listdir("/proc/self/fd"))) + 1, 0
    between = []  # those that are free: the limit is one of their numbers
    while (fd := os.open(os.devnull, os.O_RDONLY)) < used:
        between.append(fd)
    os.close(fd)
    for more in range(20):
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + more, hard))
        try:
            SegmentFile.create_from_file(tmp_path / "file", capacity=100, checksums=True).close()
            break
        except OSError as error:
            refusal = error
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert refusal.errno == errno.EMFILE
        assert str(tmp_path / "file") in "".join([str(refusal), *getattr(refusal, "__notes__", [])])
        # Nothing, or an empty file, which another may have opened meanwhile: the next one makes it.
        assert {each.name for each in tmp_path.iterdir()} <= {"file"}
        assert all(not any(each.read_bytes()) for each in tmp_path.iterdir())
        refused += 1
    for fd in between:
        os.close(fd)
    assert refused > 2


def test_two_who_open_a_new_file_at_once(tmp_path: Path) -> None:
    """With different locks: one of them is told. With and without checksums: both keep them."""
    switch = sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-6)
        open_new_files_at_once(tmp_path)
    finally:
        sys.setswitchinterval(switch)


def open_new_files_at_once(folder: Path) -> None:
    for turn in range(10 if WINDOWS else 100):
        path, start = folder / f"file{turn}", threading.Barrier(3)

        def make(options: dict[str, Any], path: Path = path, start: threading.Barrier = start) -> SegmentFile | str:
            start.wait(20)
            try:
                return SegmentFile.create_from_file(path, capacity=1000, **options)
            except ValueError as error:
                return str(error)

        with ThreadPoolExecutor(3) as executor, contextlib.ExitStack() as stack:
            made = list(
                executor.map(make, [{"lock_name": "Local\\a", "checksums": True}, {}, {"lock_name": "Local\\a"}])
            )
            files = [stack.enter_context(each) for each in made if isinstance(each, SegmentFile)]
            assert len({each.lock_name for each in files}) == 1
            assert all("in use with" in each for each in made if isinstance(each, str))
            for each in files:
                each.append("x")
            assert len(files[0]) == len(files) == len(path.read_bytes().rstrip(b"\0")) // 5
            if files[0].lock_name == "Local\\a":
                assert files[0].check().without_checksum == 0


def test_a_new_file_that_a_refused_call_removes_is_made_again(opened: Open, tmp_path: Path) -> None:
    """By who has opened it before it was removed."""
    path = tmp_path / "file"
    is_open, may_go_on = threading.Event(), threading.Event()

    real = MemoryMappedFile._from_path

    def late(*arguments: Any, **options: Any) -> MemoryMappedFile:
        map_ = real(*arguments, **options)
        if not is_open.is_set():
            is_open.set()
            assert may_go_on.wait(20)
        return map_

    path.write_bytes(bytes(100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryMappedFile, "_from_path", late)
        with ThreadPoolExecutor(1) as executor:
            later = executor.submit(SegmentFile.create_from_file, path, capacity=100)
            assert is_open.wait(20)
            path.unlink()
            may_go_on.set()
            with later.result(20) as segments:
                segments.append("a")
                assert path.read_bytes().startswith(b"\2\0\0\0a\0")


def test_numbers_of_any_size_are_told(opened: Open) -> None:
    segments = opened("create_new", CAPACITY)
    for call in (segments.read, segments.view, lambda number: segments.write(number, "x")):
        with pytest.raises(OutOfRangeError, match=r"segment 2\*\*63 - 1 or above"):
            call(2**70)
        with pytest.raises(OutOfRangeError, match=r"negative, got -2\*\*63 or below"):
            call(-(2**70))


def test_a_close_while_the_lock_is_waited_for_is_told_of_the_file(opened: Open) -> None:
    segments = opened("create_new", CAPACITY)
    assert segments._mutex is not None
    core = segments._mutex._opened()
    with ThreadPoolExecutor(1) as executor:
        with owned(segments.lock_name):
            waiting = executor.submit(segments.append, "a")
            until = time.monotonic() + 20
            while not core.state[2]:  # nobody waits yet
                assert time.monotonic() < until
                time.sleep(0.001)
            segments.close()
        with pytest.raises(ClosedError, match=r"SegmentFile .*: the segment file is closed"):
            waiting.result(20)


# -------------------------------------------------------------------------------------------------------- files


def test_a_file_is_closed_opened_and_goes_on(tmp_path: Path, peer: Peer) -> None:
    path = tmp_path / "file"
    with SegmentFile.create_from_file(path, capacity=1000) as segments:
        segments.append("first")
        assert segments.file_id == segments.path == str(path)
        assert segments.name is None
    peer(f"s = SegmentFile.create_from_file({str(path)!r}); s.append('second'); s.close()")
    with SegmentFile.create_from_file(path, FileMode.OPEN) as segments:
        assert segments.append("third") == 2
        assert segments[:] == ["first", "second", "third"]
        assert segments.capacity == 1000


def test_a_file_in_use_is_not_emptied(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for turn in range(2):
        with SegmentFile.create_from_file(path, FileMode.CREATE, capacity=100) as segments:
            assert len(segments) == 0
            segments.append(f"{turn}")
            for other in ({}, {"lock_name": "Global\\another"}):
                with pytest.raises(FileExistsError, match="would empty a segment file that somebody has open"):
                    SegmentFile.create_from_file(path, FileMode.CREATE, capacity=100, **other)
            assert segments[:] == [f"{turn}"]


def test_a_file_that_is_opened_with_more_capacity(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with SegmentFile.create_from_file(path, capacity=10) as segments:
        segments.append("abc")
        assert segments.free == 0
    with SegmentFile.create_from_file(path, capacity=100) as segments:
        assert segments.append("def") == 1
        assert segments[:] == ["abc", "def"]


@pytest.mark.parametrize("default", [True, False])
def test_durable(default: bool, tmp_path: Path) -> None:
    with SegmentFile.create_from_file(tmp_path / "file", capacity=1 << 20, durable=default) as segments:
        for i in range(20):
            assert segments.append(f"{i}" * 3000, durable=not default) == i
    with SegmentFile.create_from_file(tmp_path / "file") as segments:
        assert segments[:] == [f"{i}" * 3000 for i in range(20)]
    with SegmentFile.create_new(1000) as memory:
        memory.append("nothing to do", durable=True)


def test_a_truncated_file(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "file"
    segments = opened("create_from_file", path, capacity=64 * 1024, encoding=None)
    segments.append(b"a" * 100)
    segments.append(b"b" * 20_000)
    os.truncate(path, 4096)
    assert segments.read(0) == b"a" * 100
    with pytest.raises(
        MemoryFaultError, match=r"truncated to 4096 bytes, and <SegmentFile .*: close it and open it again"
    ):
        segments.read(1)
    with pytest.raises(MemoryFaultError, match="close it and open it again"):
        segments.append(b"c")
    with pytest.raises(MemoryFaultError):
        segments.append(b"c")


# ------------------------------------------------------------------------------------------------------- growing


def test_it_grows_for_who_asks(pair: Pair, peer: Peer) -> None:
    first, _ = pair
    factory = "open_existing" if first.name else "create_from_file"
    peer(f"s = SegmentFile.{factory}({first.file_id!r})")
    view = None
    first.append("a")
    view = first.view(0)
    first.grow(8 * CAPACITY)
    assert first.capacity == 8 * CAPACITY
    first.append("b" * CAPACITY)
    assert peer.ask("(len(s), s[1][-1], s.capacity)") == (2, "b", 8 * CAPACITY)
    peer("s.append('c' * 1000)")
    assert first[2] == "c" * 1000
    assert bytes(view) == b"a\0"
    with pytest.raises(OutOfRangeError):
        first.grow(10)
    peer("s.close()")


@pytest.mark.parametrize("where", ["named", "file"])
def test_it_grows_by_itself(where: str, opened: Open, tmp_path: Path) -> None:
    if where == "named":
        segments, again = opened("create_new", 100, encoding=None, grow=True), "open_existing"
    else:
        segments = opened("create_from_file", tmp_path / "file", capacity=100, encoding=None, grow=True)
        again = "create_from_file"
    other = opened(again, segments.file_id, encoding=None, max_capacity=40_000)
    reader = opened(again, segments.file_id, encoding=None)
    for i in range(200):
        assert (segments if i % 2 else other).append(bytes([i]) * 100) == i
        assert reader[-1] == bytes([i]) * 100
    assert 200 * 104 <= segments.capacity <= 40_000
    with pytest.raises(OSError, match="grows to 40000 at most") as caught:
        other.append(bytes(30_000))
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="is full"):
        reader.append(bytes(30_000))
    assert segments.append(b"x" * 30_000) == 200
    assert reader[200] == b"x" * 30_000


# ------------------------------------------------------------------------------------------------------- without a copy


def test_views(opened: Open, tmp_path: Path) -> None:
    segments = opened("create_from_file", tmp_path / "file", capacity=CAPACITY, encoding=None, grow=True)
    segments.append(b"abc")
    view = segments.view(0)
    assert (view.readonly, view.format, len(view), bytes(view)) == (True, "B", 3, b"abc")
    assert view == segments.view(0)
    with pytest.raises(TypeError):
        view[0] = 1
    for i in range(100):
        segments.append(b"x" * 10_000)  # maps it anew
        assert segments.read(i + 1) == b"x" * 10_000
    segments.close()
    assert bytes(view) == b"abc"
    numpy = pytest.importorskip("numpy")
    assert numpy.asarray(view).tolist() == [97, 98, 99]


# -------------------------------------------------------------------------------------------------------- waiting


def test_waiting_for_a_segment_of_another_process(opened: Open, peer: Peer) -> None:
    segments = opened("create_new", CAPACITY)
    peer(f"s = SegmentFile.open_existing({segments.file_id!r})")
    assert not segments.wait_for(0, 0)
    assert not segments.wait_for(0, 0.01)
    for i in range(20):
        peer.tell("run", "s.append('a')")
        assert segments.wait_for(i, 20)
        assert len(segments) == i + 1
        assert peer.answer() is None
    assert segments.wait_for(3, 0)
    peer("s.close()")


def test_following(opened: Open, peer: Peer) -> None:
    segments = opened("create_new", CAPACITY)
    peer(f"s = SegmentFile.open_existing({segments.file_id!r})")
    peer.tell("run", "for i in range(100): s.append(f'{i}')")
    seen = []
    for text in segments.follow():
        seen.append(text)
        if text == "99":
            break
    assert seen == [f"{i}" for i in range(100)]
    assert peer.answer() is None
    assert list(segments.follow(98, 0)) == ["98", "99"]
    assert list(segments.follow(100, 0.01)) == []
    peer("s.close()")


def test_what_a_foreign_program_appends_is_noticed(opened: Open) -> None:
    """One that knows nothing of our control object."""
    segments = opened("create_new", CAPACITY)
    with MemoryMappedFile.open_existing(segments.file_id) as map_, map_.create_view_accessor() as view:

        def write() -> None:
            with owned(segments.lock_name):
                view.write_bytes(0, article(b"a\0"))

        writer = threading.Timer(0.02, write)
        writer.start()
        assert segments.wait_for(0, 20)
        writer.join()
        assert segments[0] == "a"
        view.write_bytes(6, article(b"b\0"))
        assert len(segments) == 2
        assert segments.append("c") == 2


def test_a_wait_ends_in_time_also_if_the_mutex_is_owned(opened: Open) -> None:
    """By a foreign program, which has begun to append."""
    segments = opened("create_new", CAPACITY)
    with MemoryMappedFile.open_existing(segments.file_id) as map_, map_.create_view_accessor() as view:
        with owned(segments.lock_name):
            view.write_int32(0, 4)
            began = time.monotonic()
            assert not in_thread(lambda: segments.wait_for(0, 0))
            assert not in_thread(lambda: segments.wait_for(0, 0.1))
            assert not in_thread(lambda: run_tasks(segments.wait_for_async(0, 0.1)))
            assert time.monotonic() - began < 2
            view.write_bytes(4, b"a\0b\0")
        assert segments.wait_for(0, 20)
        assert segments[0] == "ab"


def test_who_owns_the_mutex_for_long_keeps_no_reader_waiting(opened: Open, tmp_path: Path) -> None:
    """A foreign program, which has begun to append: what is published is there, without its segment."""
    path = tmp_path / "file"
    segments = opened("create_from_file", path, capacity=1000)
    segments.append("a")
    with MemoryMappedFile.create_from_file(path) as map_, map_.create_view_accessor() as view:
        with owned(segments.lock_name):
            view.write_int32(6, 4)

            def look() -> None:
                assert (len(segments), segments[-1], segments[:], list(segments)) == (1, "a", ["a"], ["a"])
                assert (segments[-1:], list(reversed(segments)), segments.used) == (["a"], ["a"], 6)
                with pytest.raises(OutOfRangeError):
                    segments[-2]
                for access in (Access.READ, Access.READ_WRITE):
                    with SegmentFile.create_from_file(path, FileMode.OPEN, access=access) as another:
                        assert another[0] == "a"

            in_thread(look)
            view.write_bytes(10, b"b\0c\0")
        assert segments[:] == ["a", "bc"]
        with owned(segments.lock_name):  # without a segment that has begun nobody looks whether it is owned
            began = time.monotonic()
            in_thread(lambda: [len(segments) for _ in range(1000)])
            assert time.monotonic() - began < 10


def test_close_ends_a_wait(opened: Open) -> None:
    segments = opened("create_new", CAPACITY)
    closer = threading.Timer(0.02, segments.close)
    closer.start()
    with pytest.raises(ClosedError):
        segments.wait_for(0, 20)
    closer.join()


@pytest.mark.parametrize("locked", [False, True])
def test_ctrl_c_ends_a_wait(locked: bool, opened: Open) -> None:
    """Waiting for a segment, or for the lock: which is not taken then."""
    segments = opened("create_new", CAPACITY)
    let_go = threading.Event()

    def hold() -> None:
        with owned(segments.lock_name):
            held.set()
            let_go.wait(20)

    held = threading.Event()
    holder = threading.Thread(target=hold)
    if locked:
        holder.start()
        held.wait(20)
    timer = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        segments.append("a") if locked else segments.wait_for(0)
    timer.join()
    let_go.set()
    if locked:
        holder.join()
    assert in_thread(lambda: segments.append("b")) == 0


def test_tasks_wait_and_follow(opened: Open, peer: Peer) -> None:
    segments = opened("create_new", CAPACITY)
    peer(f"s = SegmentFile.open_existing({segments.file_id!r})")

    async def main() -> None:
        assert not await segments.wait_for_async(0, 0)
        assert not await segments.wait_for_async(0, 0.01)
        waiting = [asyncio.create_task(segments.wait_for_async(i)) for i in (0, 50, 50, 99)]
        await asyncio.sleep(0)
        peer.tell("run", "for i in range(100): s.append(f'{i}')")
        seen = []
        async for text in segments.follow_async():
            seen.append(text)
            if text == "99":
                break
        assert seen == [f"{i}" for i in range(100)]
        assert await asyncio.gather(*waiting) == [True] * 4
        assert [text async for text in segments.follow_async(99, 0.01)] == ["99"]
        cancelled = asyncio.create_task(segments.wait_for_async(1000))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        closed = asyncio.create_task(segments.wait_for_async(1000))
        await asyncio.sleep(0.01)
        segments.close()
        with pytest.raises(ClosedError):
            await closed

    run_tasks(main())
    assert peer.answer() is None
    peer("s.close()")


# --------------------------------------------------------------------------------------------------- speed of waking


def test_a_waiter_is_woken_and_does_not_poll(opened: Open, peer: Peer) -> None:
    """The best of several: a look every 50 ms alone would take 25 ms on average."""
    segments = opened("create_new", CAPACITY)
    peer(f"import time; s = SegmentFile.open_existing({segments.file_id!r})")
    best = 1.0
    for i in range(10):
        peer.tell("ask", f"(s.wait_for({i}, 20), time.monotonic())[1]")
        time.sleep(0.013)  # wherever it is in its pause; not to synchronize
        began = time.monotonic()
        segments.append("a")
        best = min(best, peer.answer() - began)
    assert best < 0.01
    peer("s.close()")


# ---------------------------------------------------------------------------------------------------- frozen formats

FROZEN = Path(__file__).parent / "frozen"
TEXTS = ["first", "zweites, äöü €", "𝄞", "x" * 20]


@pytest.mark.parametrize(("name", "encoding"), [("segments-1-utf16", "utf-16"), ("segments-1-utf8", "utf-8")])
def test_files_of_version_1_open_for_ever(name: str, encoding: str, tmp_path: Path) -> None:
    """Written by the first version; never to be written anew."""
    frozen = (FROZEN / name).read_bytes()
    codec = "utf-16-le" if encoding == "utf-16" else "utf-8"
    assert frozen == article(*(text.encode(codec) for text in TEXTS), bytes(range(4))).ljust(256, b"\0")
    for each in FROZEN.glob(f"{name}*"):
        (tmp_path / each.name).write_bytes(each.read_bytes())
    with SegmentFile.create_from_file(tmp_path / name, FileMode.OPEN, encoding=encoding) as segments:
        assert segments[:4] == TEXTS
        assert segments.read_bytes(4) == bytes(range(4))
        report = segments.check()
        assert (report.whole, report.behind) == (True, 0)
        assert report.without_checksum == (0 if encoding == "utf-8" else None)
        assert segments.append("more") == 5
        assert segments.check().whole


def test_the_control_object_of_version_1(opened: Open, tmp_path: Path) -> None:
    """Programs of two versions may have one file open: what they share keeps its name and its layout."""
    path = tmp_path / "file"
    segments = opened("create_from_file", path, capacity=1000, checksums=True)
    segments.append("ab")
    device, inode = identity(path)
    place = f"{device:x}-{inode:x}"
    scope = "Global" if WINDOWS else "User"
    assert segments.lock_name == f"{scope}\\segments-{place}"
    with MemoryMappedFile.open_existing(f"User\\segments-1-{place}") as control, control.create_view_accessor() as view:
        assert view.capacity == 4096
        end, change, waiters, writing, _, *rest = struct.unpack("<QIIQQII", view.read_bytes(0, 40))
        assert (end, waiters, writing) == (8, 0, 0)
        assert rest == [1, 2]  # known, sums
        name = f"{scope}\\segments-{place}".encode()
        assert view.read_bytes(40, 8) == hashlib.blake2b(name, digest_size=8).digest()
        assert view.read_bytes(48, 4048).rstrip(b"\0") == name
        assert change > 0
    entry = struct.pack("<II", 4, crc32c(b"a\0b\0"))
    assert (tmp_path / "file.sums").read_bytes()[:24] == b"MMFSUMS\1" + segments._generation() + entry
