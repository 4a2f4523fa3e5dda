# SPDX-License-Identifier: MIT
"""SharedMemory in files; its format, which is frozen; and what becomes of damage."""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.actors import PRELUDE, Actor
from support.here import WINDOWS, identity
from support.values import MyData, Point, Wider

from memorymapped import (
    ClosedError,
    DamagedObjectError,
    FileMode,
    LayoutMismatchError,
    MemoryFaultError,
    MemoryMappedFile,
    SharedMemory,
)
from memorymapped._native.committed import crc32c
from memorymapped.shared import mapped_objects
from memorymapped.shared.layouts import beside

FROZEN = Path(__file__).parent / "frozen"

# Where everything is in a map of MyData, as docs/shared-memory.md has it.
C = 64
MAGIC, VERSION, SLOTS, SIZE, LAYOUT, FLAGS, TEXT, BOOT, USERS = (
    C,
    C + 8,
    C + 12,
    C + 16,
    C + 24,
    C + 32,
    C + 36,
    C + 40,
    C + 56,
)
SEQ, MIRROR, KEPT, KEEPING, WAITERS = C + 64, C + 72, C + 80, C + 88, C + 128
SLOT, STEP, NUMBER = C + 192, 64, 16
END = SLOT + 4 * STEP


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "value"


@pytest.fixture
def actor() -> Iterator[Actor]:
    with Actor(prelude=PRELUDE + "from support.values import MyData, Point, Wider\n") as actor:
        yield actor


def opened(path: Path, **options: Any) -> SharedMemory[MyData]:
    return SharedMemory.create_from_file(MyData, path, **options)


def u64(data: bytes | bytearray, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def put(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


# --------------------------------------------------------------------------------------------------------------- files


def test_a_value_stays_in_its_file(path: Path, actor: Actor) -> None:
    with opened(path) as shared:
        assert shared.data == MyData()
        assert shared.name is None
        assert shared.path == str(path)
        shared.data = MyData(1, Point(2, 3))
        shared.flush()
    with opened(path) as shared:
        assert shared.data == MyData(1, Point(2, 3))
        assert shared.version == 2
        actor.do(
            "shared = SharedMemory.create_from_file(MyData, path)\nwith shared.edit() as d: d.pt.x = 9", path=str(path)
        )
        assert shared.data == MyData(1, Point(9, 3))
        assert shared.version == 3
        actor.do("shared.close()")
    assert path.read_bytes()[:12] == bytes(MyData(1, Point(9, 3)))


def test_modes(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        opened(path, mode=FileMode.OPEN)
    with opened(path, mode=FileMode.CREATE_NEW) as shared:
        shared.data = MyData(1)
    with pytest.raises(FileExistsError):
        opened(path, mode=FileMode.CREATE_NEW)
    with opened(path, mode=FileMode.OPEN) as shared:
        assert shared.data.my_int == 1
    with opened(path, mode=FileMode.CREATE) as shared:
        assert shared.data.my_int == 0
    path.write_bytes(b"")
    with opened(path) as shared:
        assert shared.has_control


def test_the_lock_of_a_file_is_named_from_it(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    with opened(path) as shared:
        link.hardlink_to(path)
        device, inode = identity(path)
        assert shared.lock.name == ("Global\\" if WINDOWS else "") + f"file-{device:x}-{inode:x}"
        with opened(link) as same:
            assert same.lock.name == shared.lock.name
            same.data = MyData(4)
        assert shared.data.my_int == 4


def test_a_file_that_is_mapped_under_a_name(path: Path, tag: str) -> None:
    with opened(path) as shared, MemoryMappedFile.create_from_file(path, map_name=tag):
        shared.data = MyData(4)
        with SharedMemory(MyData, tag) as same:
            assert same.lock.name == shared.lock.name
            assert same.data.my_int == 4
            assert path.read_bytes()[USERS] == 2
        with pytest.raises(FileExistsError):
            SharedMemory.create_new(MyData, tag)


@pytest.mark.skipif(WINDOWS or os.geteuid() != 0, reason="needs root, to make another user's file")
def test_the_lock_of_another_users_file_must_be_named(path: Path, tag: str) -> None:
    with opened(path):
        pass
    os.chown(path, 12345, -1)
    with pytest.raises(ValueError, match=r"belongs to user 12345.*lock_name"):
        opened(path)
    with opened(path, lock_name=f"Global\\{tag}") as shared:
        shared.data = MyData(1)


def test_another_layout_is_refused(path: Path) -> None:
    opened(path).close()
    before = path.read_bytes()
    for other in (Wider, 12, 5, 5000):
        with pytest.raises(LayoutMismatchError, match="asked for"):
            SharedMemory.create_from_file(other, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [12, 32])
def test_a_file_of_another_program(path: Path, size: int) -> None:
    path.write_bytes(bytes(MyData(1, Point(2, 3))).ljust(size, b"x"))
    with opened(path) as shared:
        assert not shared.has_control
        assert shared.data == MyData(1, Point(2, 3))
        shared.data = MyData(5)
    assert path.read_bytes() == bytes(MyData(5)).ljust(size, b"x")


def test_a_file_that_is_too_small(path: Path) -> None:
    path.write_bytes(b"12345678901")
    with pytest.raises(ValueError, match=r"11 bytes, .* 12 bytes"):
        opened(path)
    assert path.read_bytes() == b"12345678901"


def test_a_truncated_file(path: Path) -> None:
    with pytest.raises(MemoryFaultError), opened(path) as shared:  # noqa: PT012
        os.truncate(path, 0)
        for use in (
            lambda: shared.data,
            lambda: setattr(shared, "data", MyData()),
            lambda: shared.edit().__enter__(),
            lambda: shared.version,
            lambda: shared.wait_for_change(0),
        ):
            with pytest.raises(MemoryFaultError):
                use()
            assert not shared.lock.owned
        raise MemoryFaultError(0, "told")


def test_pickled_to_another_process(path: Path, actor: Actor) -> None:
    import pickle

    with opened(path) as shared:
        shared.data = MyData(3)
        actor.do(
            "import pickle; shared = pickle.loads(data); shared.data = MyData(4); shared.close()",
            data=pickle.dumps(shared),
        )
        assert shared.data.my_int == 4


def test_create_does_not_empty_a_file_in_use(path: Path, actor: Actor) -> None:
    with opened(path) as shared:
        shared.data = MyData(1)
        for what in (MyData, 200):
            with pytest.raises(FileExistsError, match="in use"):
                SharedMemory.create_from_file(what, path, FileMode.CREATE)  # type: ignore[call-overload]
        code = "SharedMemory.create_from_file(200, path, FileMode.CREATE)"
        with pytest.raises(FileExistsError, match="in use"):
            actor.do(code, path=str(path))
        assert shared.data == MyData(1)
    with SharedMemory.create_from_file(200, path, FileMode.CREATE) as other:
        assert other.data == bytes(200)
        assert other.has_control


def test_arguments_are_looked_at_before_anything_is_done(path: Path) -> None:
    for wrong in ({"foreign": 1}, {"lock_name": "a\\b\\c"}, {"lock_name": ""}):
        with pytest.raises((TypeError, ValueError)):
            opened(path, mode=FileMode.CREATE_NEW, **wrong)
        assert not path.exists()
    with opened(path) as shared:
        shared.data = MyData(7)
    with pytest.raises(TypeError):
        opened(path, mode=FileMode.CREATE, foreign="no")
    with opened(path) as shared:
        assert shared.data == MyData(7)


@pytest.mark.skipif(WINDOWS or os.geteuid() != 0, reason="needs root, to make another user's file")
def test_another_users_empty_file_stays_empty(path: Path) -> None:
    path.touch()
    os.chown(path, 12345, -1)
    with pytest.raises(ValueError, match="belongs to user 12345"):
        opened(path)
    assert path.stat().st_size == 0


def test_two_layouts_at_once(path: Path) -> None:
    """Of a file that is not there yet: one of them makes it, the other is told."""
    for _ in range(20):
        begin = threading.Barrier(2)
        found: list[object] = []

        def go(what: type[MyData] | int, begin: threading.Barrier = begin, found: list[object] = found) -> None:
            begin.wait(10)
            try:
                found.append(SharedMemory.create_from_file(what, path))  # type: ignore[arg-type]
            except LayoutMismatchError as error:
                found.append(error)

        threads = [threading.Thread(target=go, args=[what]) for what in (MyData, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        made = [one for one in found if isinstance(one, SharedMemory)]
        for one in made:
            one.close()
        assert len(found) == 2
        assert len(made) == 1
        assert made[0].has_control
        path.unlink()


def test_who_is_between_the_file_and_its_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile somebody makes it with another layout."""
    there, go = threading.Event(), threading.Event()
    original = mapped_objects.lock_name_of

    def slow(*arguments: Any) -> str:
        if threading.current_thread() is not threading.main_thread():
            there.set()
            assert go.wait(10)
        return original(*arguments)

    monkeypatch.setattr(mapped_objects, "lock_name_of", slow)
    errors: list[BaseException] = []

    def late() -> None:
        try:
            opened(path).close()
        except LayoutMismatchError as error:
            errors.append(error)

    thread = threading.Thread(target=late)
    thread.start()
    try:
        assert there.wait(10)
        with SharedMemory.create_from_file(200, path) as first:
            go.set()
            thread.join(10)
            assert first.has_control
            assert len(errors) == 1
    finally:
        go.set()
        thread.join()


def test_a_file_that_is_replaced_meanwhile_is_opened_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = mapped_objects.lock_name_of
    turns = []

    def replacing(*arguments: Any) -> str:
        if not turns:
            path.rename(path.with_name("old"))
        turns.append(True)
        return original(*arguments)

    monkeypatch.setattr(mapped_objects, "lock_name_of", replacing)
    with opened(path) as shared:
        assert shared.data == MyData()
        assert path.stat().st_size > 0
    assert len(turns) == 2
    assert path.with_name("old").stat().st_size == 0


def test_a_longer_file_of_another_layout_is_none_of_others(path: Path) -> None:
    opened(path).close()
    os.truncate(path, path.stat().st_size + 4096)
    with pytest.raises(LayoutMismatchError):
        SharedMemory.create_from_file(200, path)
    with opened(path) as shared:
        assert shared.has_control


def test_half_made_with_another_layout(path: Path) -> None:
    """Nobody takes it for a file without a control block."""
    opened(path).close()
    size = path.stat().st_size
    path.write_bytes(bytes(size - 16) + C.to_bytes(8, "little") + b"mmfmakes")
    before = path.read_bytes()
    with pytest.raises(LayoutMismatchError, match="was making it"):
        SharedMemory.create_from_file(200, path)
    assert path.read_bytes() == before
    with opened(path) as shared:
        assert shared.has_control
        assert shared.version == 1
    assert path.read_bytes()[-8:] == b"mmfvalue"


def test_a_control_block_that_is_made_behind_somebodys_back(path: Path) -> None:
    """He had opened zeros, for values of another layout."""
    opened(path).close()
    path.write_bytes(bytes(path.stat().st_size))
    with SharedMemory.create_from_file(200, path) as plain:
        assert not plain.has_control
        with opened(path) as shared:
            assert shared.has_control
            for use in (lambda: plain.data, lambda: setattr(plain, "data", b"x" * 200), plain.edit().__enter__):
                with pytest.raises(LayoutMismatchError, match="open it anew"):
                    use()
            assert shared.data == MyData()


def test_the_only_user_dies_with_the_lock(path: Path, actor: Actor) -> None:
    actor.do(
        """
shared = SharedMemory.create_from_file(MyData, path)
shared.data = MyData(1, Point(1, 1))
shared.lock.wait_one()
shared.live.pt.x = 99
""",
        path=str(path),
    )
    assert path.read_bytes()[4] == 99
    actor.kill()
    with opened(path) as shared:
        assert shared.data == MyData(1, Point(1, 1))
        assert shared.version == 2
        assert path.read_bytes()[USERS] == 1, "he is not counted any more"


def test_who_ends_without_a_close_is_no_user(path: Path) -> None:
    with Actor(prelude=PRELUDE + "from support.values import MyData, Point\n") as actor:
        actor.do("sys.kept = SharedMemory.create_from_file(MyData, path); sys.kept.data = MyData(1)", path=str(path))
        assert path.read_bytes()[USERS] == 1
        assert actor.finish() == 0
    assert path.read_bytes()[USERS] == 0


def test_a_copy_of_a_file_in_use_is_as_a_crash_leaves_it(path: Path) -> None:
    copied = path.with_name("copied")
    with opened(path) as shared:
        shared.data = MyData(1, Point(1, 1))
        data = bytearray(path.read_bytes())
    data[4:8] = b"torn"
    copied.write_bytes(data)
    with opened(copied) as shared:
        assert shared.data == MyData(1, Point(1, 1))


def test_threads_that_close_the_same_object(path: Path, actor: Actor) -> None:
    """While one of them waits for the disk."""
    actor.do(
        """
for _ in range(10):
    shared = SharedMemory.create_from_file(4 << 20, path)
    shared.data = os.urandom(4 << 20)
    threads = [threading.Thread(target=shared.close) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
""",
        path=str(path),
    )
    assert path.read_bytes()[(4 << 20) + 56 : (4 << 20) + 60] == bytes(4)


# --------------------------------------------------------------------------------------- after a crash of the machine


def crashed(path: Path, change: Callable[[bytearray], None]) -> None:
    """Another boot finds the file in use, and as `change` leaves it."""
    data = bytearray(path.read_bytes())
    data[BOOT : BOOT + 16] = b"an earlier boot."
    data[USERS : USERS + 4] = (1).to_bytes(4, "little")
    change(data)
    path.write_bytes(data)


@pytest.fixture
def written(path: Path) -> Path:
    """A file with the values 1 to 6, of the versions 2 to 7, none of which the disk is known to have."""
    with opened(path) as shared:
        shared._view.write_uint64(KEPT, 0)
        for number in range(1, 7):
            shared.data = MyData(number, Point(number, number))
    put(path, KEPT, bytes(8))
    return path


def found(path: Path) -> int:
    with opened(path) as shared:
        value = shared.data
        assert value.pt.x == value.pt.y == value.my_int
        version = shared.version
        shared.data = MyData(100, Point(100, 100))
        assert shared.version == (version or 0) + 1
    with opened(path) as shared:
        assert shared.data.my_int == 100
    return value.my_int


def slot(number: int) -> int:
    return SLOT + number % 4 * STEP


def test_what_was_whole_is_whole_after_a_crash(written: Path) -> None:
    crashed(written, lambda _: None)
    assert found(written) == 6


def test_a_torn_value_at_0_is_rolled_back_after_a_crash(written: Path) -> None:
    crashed(written, lambda data: data.__setitem__(slice(0, 4), b"torn"))
    assert found(written) == 6


def test_a_torn_slot_gives_way_to_the_newest_whole_one(written: Path) -> None:
    crashed(written, lambda data: data.__setitem__(slice(slot(7), slot(7) + 4), b"torn"))
    assert found(written) == 5


def test_a_slot_that_was_never_written_back(written: Path) -> None:
    def change(data: bytearray) -> None:
        data[slot(7) : slot(7) + STEP] = bytes(STEP)
        data[slot(6) : slot(6) + STEP] = bytes(STEP)

    crashed(written, change)
    assert found(written) == 4


def test_a_number_that_was_never_written_back(written: Path) -> None:
    def change(data: bytearray) -> None:
        data[SEQ : SEQ + 8] = (5).to_bytes(8, "little")
        data[MIRROR : MIRROR + 8] = (5).to_bytes(8, "little")

    crashed(written, change)
    assert found(written) == 6, "the newest one"


@pytest.mark.parametrize("seq", [0, 1, 8, 1000, 2**64 - 1])
def test_a_number_that_is_of_no_slot(written: Path, seq: int) -> None:
    crashed(written, lambda data: data.__setitem__(slice(SEQ, SEQ + 8), seq.to_bytes(8, "little")))
    with opened(written) as shared:
        assert shared.data.my_int == 6
        if seq < 2**64 - 2:
            assert (shared.version or 0) > max(seq, 7)


def test_what_was_not_committed_is_not_the_value(written: Path) -> None:
    """A writer that was killed before its commit, and not the machine."""
    data = bytearray(written.read_bytes())
    data[SEQ : SEQ + 8] = data[MIRROR : MIRROR + 8] = (6).to_bytes(8, "little")
    data[:12] = bytes(MyData(5, Point(5, 5)))
    written.write_bytes(data)
    assert found(written) == 5


def test_what_was_not_committed_is_not_the_value_after_a_crash(written: Path) -> None:
    def change(data: bytearray) -> None:
        data[SEQ : SEQ + 8] = (6).to_bytes(8, "little")

    crashed(written, change)
    assert found(written) == 5


def test_no_slot_is_whole(written: Path) -> None:
    def change(data: bytearray) -> None:
        for number in range(4):
            data[slot(number)] ^= 1

    crashed(written, change)
    with pytest.raises(DamagedObjectError, match="none of its slots"):
        opened(written)


# ------------------------------------------------------------------------------------------------------------- flush

PAGE = 4096
SPREAD = 5000  # bytes of a value of which no two slots are within a page


def spread(number: int) -> bytes:
    return bytes([number]) * SPREAD


def pages_of(images: list[bytes], dice: random.Random) -> bytes:
    """What a crash may leave on the disk: each page as it was at some moment."""
    return b"".join(dice.choice(images)[at : at + PAGE] for at in range(0, len(images[0]), PAGE))


@pytest.mark.parametrize("flushes", [0, 1, 2])
def test_what_was_flushed_survives_whatever_is_written_later(path: Path, flushes: int) -> None:
    dice = random.Random(flushes)
    head = -(-SPREAD // 64) * 64
    last = 0
    with SharedMemory.create_from_file(SPREAD, path) as shared:
        for _ in range(flushes):
            for _ in range(5):
                last += 1
                shared.data = spread(last)
            shared.flush()
        images = [path.read_bytes()]
        for number in range(last + 1, last + 10):
            if number == last + 4:  # somebody begins to flush
                shared._view.write_uint64(head + KEEPING - C, shared.version or 0)
            shared.data = spread(number)
            images.append(path.read_bytes())
    for _ in range(15):
        data = bytearray(pages_of(images, dice))
        data[head + BOOT - C : head + BOOT - C + 16] = b"an earlier boot."
        path.write_bytes(data)
        with SharedMemory.create_from_file(SPREAD, path) as shared:
            value = shared.data
        assert value == spread(value[0])
        assert value[0] >= last


def test_a_crash_after_a_crash_leaves_what_was_flushed(path: Path) -> None:
    """What is found after a crash is on the disk, and is kept there as well."""
    with SharedMemory.create_from_file(SPREAD, path) as shared:
        shared.data = spread(1)
    head = -(-SPREAD // 64) * 64
    data = bytearray(path.read_bytes())
    data[head + BOOT - C : head + BOOT - C + 16] = b"an earlier boot."
    data[head + KEPT - C : head + KEPT - C + 8] = bytes(8)
    path.write_bytes(data)
    with SharedMemory.create_from_file(SPREAD, path) as shared:
        assert shared._view.read_uint64(head + KEPT - C) == shared.version
        assert shared.data == spread(1)


def test_flushes_at_once(path: Path) -> None:
    """Who comes while another is at it, or has died, keeps the newest himself."""
    with opened(path) as shared, opened(path) as other:

        def kept() -> tuple[int, int]:
            return shared._view.read_uint64(KEPT), shared._view.read_uint64(KEEPING)

        shared.data = MyData(1)
        shared.flush()
        assert kept() == (shared.version, 0)
        other.data = MyData(2)
        shared._view.write_uint64(KEEPING, shared.version or 0)
        held = [data_of(shared, number) for number in kept()]
        for number in range(3, 20):
            other.data = MyData(number)
            assert [data_of(shared, number) for number in kept()] == held
            assert shared.data.my_int == number
        other.flush()
        assert kept() == (other.version, 0)
        with shared.lock:
            shared.live.my_int = 50
            shared.flush()
            assert data_of(other, other.version or 0)[:4] == (19).to_bytes(4, "little")
        shared.flush()
        assert other.data.my_int == 50
        assert kept() == (other.version, 0)
        with shared.edit() as draft:
            draft.my_int = 51
            shared.flush()
        assert other.data.my_int == 51
    with pytest.raises(ClosedError):
        shared.flush()


def data_of(shared: SharedMemory[MyData], number: int) -> bytes:
    return shared._view.read_bytes(slot(number), STEP)


@pytest.mark.parametrize(("kept", "keeping", "read", "now"), [(0, 0, 5, 8), (1, 0, 6, 8), (1, 2, 7, 8), (6, 0, 5, 6)])
def test_a_reader_notices_that_its_slot_is_written_again(
    tag: str, kept: int, keeping: int, read: int, now: int
) -> None:
    """The fewer slots are written the sooner that is. How many are kept now says little: two were perhaps when the
    commit began, whose writer has died."""
    size = 4 << 20
    at, step = size + 192, size + 64
    values = [bytes([number]) * size for number in range(4)]
    with SharedMemory(size, tag, foreign=False) as shared:
        view = shared._view
        for _ in range(5):
            view.write_bytes(at + read % 4 * step, values[1])
            view.write_bytes(at + now % 4 * step, values[2])
            for word, number in ((SEQ, read), (MIRROR, read), (KEPT, kept), (KEEPING, keeping)):
                view.write_uint64(size + word - C, number)
            found: list[bytes] = []
            reader = threading.Thread(target=lambda found=found: found.append(shared.data))
            reader.start()
            time.sleep(0)  # without the GIL, which it gives back when it copies
            for word in (SEQ, MIRROR):
                view.write_uint64(size + word - C, now)
            for i in range(15, 7, -1):  # the next commit begins
                view.write_bytes(at + read % 4 * step + size // 16 * i, values[3][: size // 16])
            reader.join()
            assert found[0] in values[1:3]


def test_what_another_program_wrote_in_a_later_boot_counts(written: Path) -> None:
    """If the file was closed as it should be."""
    crashed(written, lambda data: data.__setitem__(slice(USERS, USERS + 4), bytes(4)))
    put(written, 0, bytes(MyData(50, Point(50, 50))))
    assert found(written) == 50


def test_users_are_counted(path: Path) -> None:
    def users() -> int:
        return int.from_bytes(path.read_bytes()[USERS : USERS + 4], "little")

    with opened(path):
        assert users() == 1
        with opened(path):
            assert users() == 2
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        assert users() == 1
        shared = opened(path)
        pid = os.fork()
        if pid == 0:
            try:
                shared.close()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert users() == 2, "a child is none of its own"
        shared.close()
    assert users() == 0


def test_a_close_waits_for_no_owner_while_others_use_the_file(path: Path, actor: Actor) -> None:
    def users() -> int:
        return int.from_bytes(path.read_bytes()[USERS : USERS + 4], "little")

    with opened(path):
        actor.do("shared = SharedMemory.create_from_file(MyData, path); shared.lock.wait_one()", path=str(path))
        assert users() == 2
    assert users() == 1
    assert actor.get("shared.lock.owned")
    actor.do("shared.lock.release(); shared.close()")
    assert users() == 0


# -------------------------------------------------------------------------------------------------------- the format


def test_the_checksum() -> None:
    """CRC32C, as everybody has it."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"6789", crc32c(b"12345")) == 0xE3069283
    assert crc32c(b"") == 0


def test_the_layout_is_what_the_page_says(path: Path) -> None:
    with opened(path) as shared:
        shared.data = MyData(1, Point(2, 3))
        data = path.read_bytes()
    text = MyData.layout.text.encode()
    assert data[:12] == struct.pack("<3i", 1, 2, 3)
    assert data[12:C] == bytes(C - 12)
    assert data[MAGIC:VERSION] == b"mmfvalue"
    assert struct.unpack_from("<IIQ", data, VERSION) == (1, 4, 12)
    assert data[LAYOUT : LAYOUT + 8] == MyData.layout.hash
    assert struct.unpack_from("<II", data, FLAGS) == (1, len(text))
    assert struct.unpack_from("<QQQQ", data, SEQ) == (2, 2, 1, 0)
    assert data[KEEPING + 8 : SLOT] == bytes(SLOT - KEEPING - 8)
    for number, value in ((1, MyData()), (2, MyData(1, Point(2, 3)))):
        at = SLOT + number * STEP
        assert data[at : at + 12] == bytes(value)
        assert u64(data, at + NUMBER) == number
        assert data[at + 24 : at + 28] == crc32c(bytes(value) + number.to_bytes(8, "little")).to_bytes(4, "little")
    assert data[END : END + len(text)] == text
    end = -(-(END + len(text)) // 8) * 8
    assert data[end:] == C.to_bytes(8, "little") + b"mmfvalue"
    with SharedMemory.create_from_file(12, path.with_name("quiet"), foreign=False) as shared:
        assert path.with_name("quiet").read_bytes()[FLAGS : FLAGS + 4] == bytes(4)


@pytest.mark.parametrize("name", ["shared-memory-1", "shared-memory-1-quiet"])
def test_files_of_version_1_open_for_ever(name: str, path: Path) -> None:
    """They were written when the format was made. Nothing here may be changed, but added to."""
    path.write_bytes((FROZEN / name).read_bytes())
    if name.endswith("quiet"):
        with SharedMemory.create_from_file(20, path) as raw:
            assert not raw.foreign
            assert raw.version == 3
            assert raw.data == b"twenty bytes of data"
            raw.data = bytes(20)
        return
    with opened(path) as shared:
        assert shared.has_control
        assert shared.foreign
        assert shared.version == 4
        assert shared.data == MyData(17, Point(-4, 2**31 - 1))
        shared.data = MyData(1)
        assert shared.version == 5


def test_a_newer_version_is_refused(path: Path) -> None:
    opened(path).close()
    put(path, VERSION, (2).to_bytes(4, "little"))
    before = path.read_bytes()
    for what in (MyData, Wider, 5000):
        with pytest.raises(
            NotImplementedError, match=r"version 2 .* by a newer memorymapped: this one knows version 1"
        ):
            SharedMemory.create_from_file(what, path)
    assert path.read_bytes() == before


# -------------------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("at", "data", "why"),
    [
        (VERSION, bytes(4), "no version 0"),
        (SLOTS, b"\x05\0\0\0", "5 slots"),
        (SLOTS, bytes(4), "0 slots"),
        (SIZE, bytes(8), "value has 0 bytes"),
        (SIZE, b"\xff" * 8, "18446744073709551615 bytes"),
        (SIZE, (65).to_bytes(8, "little"), "65 bytes, and stands at 64"),
        (FLAGS, b"\2\0\0\0", "flags are 0x2"),
        (TEXT, b"\xff" * 4, "4294967295 bytes"),
        (END + 3, b"?", "description"),
    ],
)
def test_a_damaged_control_block_is_refused(path: Path, at: int, data: bytes, why: str) -> None:
    opened(path).close()
    put(path, at, data)
    with pytest.raises(DamagedObjectError, match=why):
        opened(path)


@pytest.mark.parametrize(
    "text", ["a{" * 10_000, "x" * 20_000, "a;" * 10_000, "\x1b[2J\n\r\0;" * 500, "}" * 20_000, "é{;" * 5000]
)
def test_any_description_is_shown_shortly(text: str) -> None:
    shown = beside("the map", text, "asked for", MyData.layout.text)
    assert len(shown) < 80_000
    assert len(shown.splitlines()) < 210
    assert all(line.isprintable() for line in shown.split("\n"))


def test_half_made(path: Path) -> None:
    """Who makes it was killed: the next one makes it."""
    opened(path).close()
    put(path, 0, bytes(MyData(5)))
    put(path, MAGIC, b"mmfmakes" + random.Random(5).randbytes(200))
    with opened(path) as shared:
        assert shared.has_control
        assert shared.data == MyData(5)
        assert shared.version == 1


ALLOWED = (DamagedObjectError, LayoutMismatchError, NotImplementedError, ValueError, MemoryFaultError)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, 575), st.one_of(st.binary(min_size=1, max_size=9), st.sampled_from([b"\xff" * 8, bytes(8)]))
        ),
        min_size=1,
        max_size=6,
    ),
    length=st.one_of(st.none(), st.integers(1, 600)),
)
def test_any_bytes_are_a_value_or_an_error(
    changes: list[tuple[int, bytes]], length: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "value"
    path.unlink(missing_ok=True)
    with opened(path) as shared:
        shared.data = MyData(1, Point(2, 3))
    for at, data in changes:
        put(path, at, data)
    if length is not None:
        os.truncate(path, length)
    try:
        with opened(path) as shared:
            use(shared)
    except ALLOWED:
        pass


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(
            st.one_of(st.integers(0, 575), st.sampled_from([SEQ, MIRROR, WAITERS, SIZE, SLOT])),
            st.one_of(st.binary(min_size=1, max_size=9), st.sampled_from([b"\xff" * 8, bytes(8)])),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_bytes_while_it_is_open(changes: list[tuple[int, bytes]], tmp_path: Path) -> None:
    path = tmp_path / "value"
    path.unlink(missing_ok=True)
    with opened(path) as shared:
        shared.data = MyData(1, Point(2, 3))
        for at, data in changes:
            put(path, at, data)
            use(shared)


def use(shared: SharedMemory[MyData]) -> None:
    """Everything, after which the value is what was written last."""
    assert isinstance(shared.data, MyData)
    shared.wait_for_change(0)
    with shared.edit() as draft:
        draft.my_int = 7
    assert shared.data.my_int == 7
    with shared.lock:
        shared.data = MyData(8)
    assert shared.data == MyData(8)
    assert isinstance(shared.version, int) or not shared.has_control
    repr(shared)


def test_a_map_that_somebody_zeroes_while_it_is_open(tag: str) -> None:
    with (
        SharedMemory(MyData, tag) as shared,
        MemoryMappedFile.open_existing(tag) as map,
        map.create_view_accessor() as view,
    ):
        for number in range(3):
            shared.data = MyData(number)
            view.write_bytes(0, bytes(view.capacity))
            assert shared.data == MyData()
            use(shared)


def make_frozen() -> None:
    """Made the frozen files, once."""
    for name in ("shared-memory-1", "shared-memory-1-quiet"):
        assert not (FROZEN / name).exists(), "they are never made again"
    with opened(FROZEN / "shared-memory-1") as shared:
        shared.data = MyData(1)
        shared.data = MyData(2, Point(3, 4))
        shared.data = MyData(17, Point(-4, 2**31 - 1))
    with SharedMemory.create_from_file(20, FROZEN / "shared-memory-1-quiet", foreign=False) as raw:
        raw.data = b"this is the first of"
        raw.data = b"twenty bytes of data"


if __name__ == "__main__":
    make_frozen()
