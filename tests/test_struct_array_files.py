# SPDX-License-Identifier: MIT
"""Arrays in files, the format of the control block, files of earlier versions, and damage.

MEMORYMAPPED_TEST_SEED repeats a run."""

from __future__ import annotations

import errno
import os
import pickle
import random
import shutil
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from support.actors import PRELUDE, Actor
from support.array_deaths import Item, check, item
from support.frozen_arrays import Quote, begin_to_replace, quotes
from support.here import WINDOWS

from memorymapped import (
    DamagedObjectError,
    FileMode,
    LayoutMismatchError,
    MemoryFaultError,
    Struct,
    StructArray,
    int32,
)
from memorymapped.shared import mapped_objects
from memorymapped.shared.layouts import described
from memorymapped.system import Backing

SEED = int(os.environ.get("MEMORYMAPPED_TEST_SEED", random.SystemRandom().getrandbits(32)))
FROZEN = Path(__file__).parent / "frozen"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "array"


# ---- files


def test_a_file_keeps_its_elements(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StructArray.create_from_file(Item, path, FileMode.OPEN)
    with StructArray.create_from_file(Item, path, capacity=5, max_capacity=100_000) as items:
        assert (items.name, items.path) == (None, str(path))
        assert str(path) in repr(items)
        items.extend([item(i) for i in range(20)])
        items.flush()
        if not WINDOWS:
            assert path.stat().st_blocks * 512 < 100_000
        with StructArray.create_from_file(Item, path) as other:
            assert other.append(item(20)) == 20
            assert items.wait_for_change(0)
    with pytest.raises(FileExistsError):
        StructArray.create_from_file(Item, path, FileMode.CREATE_NEW, 5)
    with StructArray.create_from_file(Item, path, FileMode.OPEN) as items:
        assert [check(each) for each in items] == list(range(21))
        assert items.max_capacity == 100_000
        assert items.append(item(21)) == 21
    with StructArray.create_from_file(Item, path, FileMode.CREATE, 5) as items:
        assert (len(items), items.max_capacity) == (0, 5)


def test_processes_share_a_file(path: Path) -> None:
    code = PRELUDE + "from support.array_deaths import Item, check, item\n"
    with Actor(prelude=code) as other, StructArray.create_from_file(Item, path, capacity=5) as items:
        other.do("items = StructArray.create_from_file(Item, path)", path=str(path))
        assert other.get("items.append(item(1))") == 0
        assert check(items[0]) == 1
        other.do("items.lock.wait_one()")
        other.kill()
        assert items.append(item(2)) == 1
        assert items.statistics().repairs == 1


def test_a_file_that_is_no_array(path: Path) -> None:
    for content in (b"x" * 5000, b"\0" * 100, b"\0" * 5000 + b"mmfarray"):
        path.write_bytes(content)
        with pytest.raises(DamagedObjectError, match="no StructArray"):
            StructArray.create_from_file(Item, path)
        assert path.read_bytes() == content


def test_what_has_bytes_is_never_made_an_array(path: Path) -> None:
    """Nor a file without bytes by who opens it only."""
    with StructArray.create_from_file(Item, path, capacity=100) as items:
        items.append(item(1))
        size, control = path.stat().st_size, items._control_position
    for content in (b"precious" + bytes(size - 8), bytes(control + 300) + b"x" + bytes(size - control - 301)):
        path.write_bytes(content)
        for mode in (FileMode.OPEN, FileMode.OPEN_OR_CREATE):
            with pytest.raises(DamagedObjectError, match="no StructArray"):
                StructArray.create_from_file(Item, path, mode, 0 if mode is FileMode.OPEN else 100)
        assert path.read_bytes() == content
    for content in (bytes(size), b""):  # a maker who was killed before his first store, in a page that he had touched
        path.write_bytes(content)
        os.truncate(path, size)
        with pytest.raises(DamagedObjectError, match="maker died"):
            StructArray.create_from_file(Item, path, FileMode.OPEN)
        with StructArray.create_from_file(Item, path, capacity=100) as items:
            assert (items.append(item(1)), items.max_capacity) == (0, 100)


def test_a_file_in_use_is_not_emptied(path: Path) -> None:
    with StructArray.create_from_file(Item, path, capacity=100) as items:
        items.append(item(1))
        with pytest.raises(FileExistsError, match="in use"):
            StructArray.create_from_file(Item, path, FileMode.CREATE, 50)
        assert [check(each) for each in items] == [1]
    with pytest.raises(ValueError, match="TRUNCATE"):
        StructArray.create_from_file(Item, path, FileMode.TRUNCATE, 50)
    with StructArray.create_from_file(Item, path, FileMode.CREATE, 50) as items:
        assert (len(items), items.max_capacity) == (0, 50)


@pytest.mark.parametrize("later", [(Item, 5000), (Quote, 100)])
def test_two_open_a_file_that_is_not_there(path: Path, later: tuple[Any, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """One is between the file and its lock while the other one makes the array."""
    there, go = threading.Event(), threading.Event()
    original = mapped_objects.lock_name_of

    def slow(*arguments: Any) -> str:
        if threading.current_thread() is not threading.main_thread():
            there.set()
            assert go.wait(10)
        return original(*arguments)

    def late() -> object:
        type, capacity = later
        try:
            with StructArray.create_from_file(type, path, capacity=capacity) as array:
                return array.max_capacity, len(array)
        except LayoutMismatchError as error:
            return type, str(error).count("another layout")

    monkeypatch.setattr(mapped_objects, "lock_name_of", slow)
    thread: list[object] = []
    worker = threading.Thread(target=lambda: thread.append(late()))
    worker.start()
    try:
        assert there.wait(10)
        with StructArray.create_from_file(Item, path, capacity=100) as items:
            items.append(item(1))
            go.set()
            worker.join(10)
            assert thread == [(100, 1) if later[0] is Item else (Quote, 1)]
            assert check(items[0]) == 1
    finally:
        go.set()
        worker.join(10)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_who_fails_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ({"foreign": 1}, {"lock_name": ""}, {"capacity": 0}, {"capacity": 2**45}, {"lock_name": "a\\b\\c"}):
        for mode in (FileMode.CREATE_NEW, FileMode.OPEN_OR_CREATE, FileMode.CREATE):
            with pytest.raises((TypeError, ValueError, OSError)):
                StructArray.create_from_file(Item, path, mode, **{"capacity": 5, **wrong})  # type: ignore[arg-type]
            assert not path.exists()
    with monkeypatch.context() as patch:
        patch.setattr(Backing, "reserve", full)
        with pytest.raises(OSError, match="No space"):
            StructArray.create_from_file(Item, path, FileMode.CREATE_NEW, 5)
    assert not path.exists()
    path.write_bytes(b"kept")
    with pytest.raises(TypeError, match="foreign"):
        StructArray.create_from_file(Item, path, FileMode.CREATE, 5, foreign=1)  # type: ignore[arg-type]
    assert path.read_bytes() == b"kept"


def test_a_pickled_file_is_opened_when_nobody_has_it_open(path: Path) -> None:
    with StructArray.create_from_file(Item, path, capacity=5) as items:
        items.append(item(1))
        pickled = pickle.dumps(items)
        with pickle.loads(pickled) as same:
            assert same.append(item(2)) == 1
    with pickle.loads(pickled) as same:
        assert [check(each) for each in same] == [1, 2]
        assert same.append(item(3)) == 2


def test_a_control_block_that_is_written_over(path: Path) -> None:
    """Neither read nor written any more; what is there then is left alone."""
    with StructArray.create_from_file(Item, path, capacity=100) as items:
        items.append(item(1))
        size = path.stat().st_size
        for content in (bytes(size), os.urandom(64) * (size // 64) + bytes(size % 64)):
            with path.open("r+b") as file:
                file.write(content)
            for call in (
                lambda: items[0],
                lambda: items[:],
                lambda: items.append(item(2)),
                lambda: items.__setitem__(0, item(2)),
                lambda: len(items),
                lambda: items.wait_for_change(0),
                items.pop,
                items.as_numpy,
            ):
                with pytest.raises(DamagedObjectError, match="written over it"):
                    call()
            assert path.read_bytes() == content
            assert not items.lock.owned


def test_a_file_that_is_truncated_under_us(path: Path) -> None:
    items = StructArray.create_from_file(Item, path, capacity=5000)
    items.append(item(1))
    os.truncate(path, 4096)
    for call in (lambda: items[0], lambda: items.append(item(2)), lambda: len(items), items.pop, lambda: items[:]):
        with pytest.raises(MemoryFaultError, match="truncated to 4096"):
            call()
    assert not items.lock.owned
    items.close()


@pytest.mark.parametrize("cut", [0, 4096])
def test_a_flush_tells_of_a_truncated_file(path: Path, cut: int) -> None:
    with StructArray.create_from_file(Item, path, capacity=5000) as items:
        items.extend([item(1)] * 5000)
        os.truncate(path, cut)
        with pytest.raises(MemoryFaultError, match=f"truncated to {cut}"):
            items.flush()


def test_a_replacement_that_was_cut_short_is_finished_by_whoever_opens(path: Path) -> None:
    """Also if nobody is told of the death any more: the lock ended with its last user."""
    with StructArray.create_from_file(Item, path, capacity=5) as items:
        items.extend([item(i) for i in range(5)])
        begin_to_replace(items._view, items._control_position, 2, item(30))
        assert [check(each) for each in items] == [0, 1, 30, 3, 4]
    with StructArray.create_from_file(Item, path) as items:
        assert items.statistics().repairs == 1
        assert [check(each) for each in items] == [0, 1, 30, 3, 4]
        assert items.as_numpy()["number"].tolist() == [0, 1, 30, 3, 4]


# ---- the format


def test_the_layout_is_the_one_that_is_written_down(path: Path) -> None:
    """As in docs/struct-arrays.md."""
    with StructArray.create_from_file(Item, path, capacity=7, max_capacity=9, foreign=True) as items:
        items.extend([item(i) for i in range(4)])
        items[1] = item(10)
        items.pop()
    data = path.read_bytes()
    size, stride, most = 54, 56, 9
    control = -(-most * stride // 64) * 64
    what = described(Item)
    assert data[control : control + 8] == b"mmfarray"
    assert struct.unpack_from("<IIQQQQI", data, control + 8) == (1, 1, size, stride, most, what.hash, len(what.text))
    length, step, index, changes, capacity, begun = struct.unpack_from("<QQQQQQ", data, control + 64)
    assert (length, step, index, changes, capacity, begun) == (3, 8, 1, 3, 7, 3)
    assert data[control + 128 : control + 132] == b"\0" * 4
    assert data[control + 192 : control + 192 + size] == bytes(item(10))
    text = control + 192 + 64
    assert data[text : text + len(what.text)].decode() == what.text
    end = -(-(text + len(what.text)) // 8) * 8
    assert struct.unpack_from("<Q8s", data, end) == (control, b"mmfarray")
    assert len(data) == end + 16
    assert data[:size] == bytes(item(0))
    assert data[stride : stride + size] == bytes(item(10))


def test_files_of_version_1_open_for_ever(path: Path) -> None:
    expected = quotes(6)
    expected[2] = quotes(30)[29]
    shutil.copy(FROZEN / "struct_array_1.bin", path)
    with StructArray.create_from_file(Quote, path) as array:
        assert array[:] == expected
        assert array[5].symbol == "sym 5"
        assert array.max_capacity == 12
        assert array.append(quotes(8)[7]) == 6
        assert array.extend(quotes(5)) == 7
        assert array[6] == quotes(8)[7]
    shutil.copy(FROZEN / "struct_array_1_replacing.bin", path)
    with StructArray.create_from_file(Quote, path) as array:
        expected[3] = quotes(40)[39]
        assert array[:] == expected


def patched(path: Path, position: int, new: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[position : position + len(new)] = new
    path.write_bytes(data)


def test_a_newer_version_is_refused(path: Path) -> None:
    with StructArray.create_from_file(Item, path, capacity=5) as items:
        control = items._control_position
    patched(path, control + 8, b"\2\0\0\0")
    with pytest.raises(NotImplementedError, match=r"version 2 .* newer memorymapped: this one knows version 1"):
        StructArray.create_from_file(Item, path)
    patched(path, control + 8, b"\0\0\0\0")
    with pytest.raises(DamagedObjectError, match="version 0"):
        StructArray.create_from_file(Item, path)


# ---- damage


@pytest.mark.parametrize(
    ("position", "value", "why"),
    [
        (12, 8, "flags"),
        (16, 0, "elements of 0 bytes"),
        (16, 2**63, "elements of"),
        (24, 2**61, "apart"),
        (32, 2**60, "elements of 54 bytes"),
        (32, 0, "0 elements"),
        (48, 2**32 - 1, "described by 4294967295 bytes"),
    ],
)
def test_sizes_that_cannot_be(path: Path, position: int, value: int, why: str) -> None:
    with StructArray.create_from_file(Item, path, capacity=5) as items:
        control = items._control_position
    patched(path, control + position, value.to_bytes(8, "little")[: 4 if position in (12, 48) else 8])
    with pytest.raises(DamagedObjectError, match=why):
        StructArray.create_from_file(Item, path)


def test_a_description_that_has_changed(path: Path) -> None:
    class Other(Struct):
        number: int32

    with StructArray.create_from_file(Item, path, capacity=5) as items:
        control = items._control_position
    with pytest.raises(LayoutMismatchError, match="54 bytes, than the 4 bytes"):
        StructArray.create_from_file(Other, path)
    patched(path, control + 192 + 64, b"?")
    with pytest.raises(DamagedObjectError, match="description"):
        StructArray.create_from_file(Item, path)
    with pytest.raises(LayoutMismatchError, match=r"\?"):
        StructArray.create_from_file(Other, path)


@pytest.mark.parametrize("value", [101, 2**63, 2**64 - 1])
def test_a_length_that_cannot_be(tag: str, value: int) -> None:
    with StructArray(Item, tag, 100) as items:
        items.append(item(1))
        for place, calls in {
            64: [
                lambda: items[0],
                lambda: items[-1],
                lambda: len(items),
                lambda: items[:],
                items.as_numpy,
                items.clear,
            ],
            96: [lambda: items.append(item(1)), lambda: items.capacity, lambda: items.extend([item(2)]), items.pop],
        }.items():
            now = items._view.read_uint64(items._control_position + place)
            items._view.write_uint64(items._control_position + place, value)
            for call in calls:
                with pytest.raises(DamagedObjectError, match=str(value)):
                    call()
            assert not items.lock.owned
            items._view.write_uint64(items._control_position + place, now)
        assert items.append(item(2)) == 1


def test_a_length_beyond_the_capacity(tag: str) -> None:
    """There is place for so many, and no memory."""
    with StructArray(Item, tag, 10, max_capacity=100_000_000) as items:
        items.append(item(1))
        items._view.write_uint64(items._control_position + 64, 40_000_000)
        for call in (
            lambda: items[5_000_000],
            lambda: items[::20_000_000],
            lambda: items.append(item(1)),
            lambda: len(items),
            lambda: items.wait_for_length(20, 0),
            items.as_numpy,
        ):
            with pytest.raises(DamagedObjectError, match="length is 40000000, its capacity 10"):
                call()
        if items.path is not None:
            assert os.stat(items.path).st_blocks * 512 < 100_000


SCRIBBLE = """
import ctypes, mmap

def scribble(array, seconds):
    "Writes numbers that cannot be, and such that can, until it is killed."
    memory = mmap.mmap(os.open(array.path, os.O_RDWR), 0)
    words = [ctypes.c_uint64.from_buffer(memory, array._control_position + at) for at in (64, 96, 80, 72)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(1000):
            for word, value in zip(words, (500, 1000, 3, 1)): word.value = value
            for word, value in zip(words, (1 << 40, 1 << 41, 1 << 39, 5)): word.value = value

def use(array, seconds):
    pid = os.fork()
    if pid == 0:
        try:
            scribble(array, seconds + 5)
        finally:
            os._exit(0)
    far, turns = 1 << 39, 0
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for act in (lambda: array.append(item(1)), lambda: array.__setitem__(far, item(1)), array.pop,
                        lambda: array[far],
                        lambda: array.edit(far).__enter__() and None, lambda: array.truncate(far), lambda: array[far:],
                        lambda: array.extend([item(1)] * 3), lambda: array[-1], lambda: array.wait_for_length(3, 0)):
                turns += 1
                try:
                    act()
                except (OSError, MemoryMappedFileError):
                    pass
                while array.lock.owned:
                    array.lock.release()
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return turns
"""


def test_numbers_that_change_at_any_time(tag: str) -> None:
    """What was compared is what is used: never a crash."""
    with (
        StructArray(Item, tag, 1000) as items,
        Actor(prelude=PRELUDE + "from support.array_deaths import Item, item\n" + SCRIBBLE, timeout=50) as actor,
    ):
        items.extend([item(1)] * 500)
        actor.do("items = StructArray(Item, name, 1)", name=tag)
        assert actor.get("use(items, 0.7)") > 1000
        actor.do("items.close()")


def test_an_index_of_a_replacement_that_cannot_be(tag: str) -> None:
    with StructArray(Item, tag, 100) as items:
        items.extend([item(1), item(2)])
        for wrong in (100, 2**64 - 1, 2**63):
            begin_to_replace(items._view, items._control_position, 1, item(3))
            items._view.write_uint64(items._control_position + 80, wrong)
            assert check(items[0]) == 1
            with pytest.raises(DamagedObjectError, match=f"is at {wrong}"):
                items[0] = item(5)
            assert not items.lock.owned
            items._view.write_uint64(items._control_position + 80, 1)
            items[0] = item(1)
            assert [check(each) for each in items] == [1, 3]


FUZZ = """
import random, struct
from support.array_deaths import Item, item
VALUES = [0, 1, 2, 3, 7, 54, 56, 99, 100, 101, 2**31, 2**32 - 1, 2**32, 2**40, 2**61, 2**63 - 1, 2**63, 2**64 - 1]

def use(array):
    for act in (lambda: array[0], lambda: array[-1], lambda: array[:], lambda: array[::-7], lambda: len(array),
                lambda: array.append(item(1)), lambda: array.extend([item(2)] * 3), array.pop,
                lambda: array.__setitem__(0, item(3)), lambda: array.__setitem__(-1, item(3)), array.as_numpy,
                lambda: array.as_numpy(copy=True), lambda: array.truncate(1), lambda: sum(1 for _ in array),
                lambda: array.wait_for_change(0), lambda: array.wait_for_length(50, 0), lambda: array.grow(60),
                lambda: array.capacity, lambda: array.version, lambda: array.edit(0).__enter__() and None):
        try:
            act()
        except (OSError, MemoryMappedFileError):
            pass
        while array.lock.owned:
            array.lock.release()

def damage(view, control, random):
    for _ in range(random.choice([1, 1, 1, 2, 5])):
        if random.random() < 0.5:
            view[control + random.randrange(view.capacity - control)] = random.randrange(256)
        else:
            place = random.choice([8, 12, 16, 24, 32, 40, 48, 64, 72, 80, 88, 96, 128])
            if random.random() < 0.2:
                place = view.capacity - control - random.choice([8, 16])
            view.write_uint64(control + place, random.choice(VALUES))

def fuzz(name, path, seed, rounds):
    opened = 0
    for turn in range(rounds):
        chance = random.Random(seed + turn)
        with StructArray(Item, f"{name}{turn}", 30, max_capacity=100, foreign=chance.random() < 0.3) as array:
            array.extend([item(i % 5) for i in range(chance.randrange(12))])
            damage(array._view, array._control_position, chance)
            try:
                with StructArray.open_existing(Item, array.name) as other:
                    opened += 1
                    use(other)
            except (OSError, MemoryMappedFileError, NotImplementedError):
                pass
            use(array)
            damage(array._view, array._control_position, chance)
            use(array)
    return opened
"""


def test_whatever_the_control_block_holds(tag: str, path: Path) -> None:
    """A clear error, or an array; never a crash, an endless loop, or all of the memory."""
    with Actor(prelude=PRELUDE + FUZZ, timeout=50) as actor:
        opened = actor.get("fuzz(name, path, seed, 250)", name=tag, path=str(path), seed=SEED)
        assert opened > 10, f"MEMORYMAPPED_TEST_SEED={SEED}"


@pytest.mark.campaign
@pytest.mark.timeout(200)
def test_whatever_the_control_block_holds_for_long(tag: str, path: Path) -> None:
    with Actor(prelude=PRELUDE + FUZZ, timeout=150) as actor:
        actor.get("fuzz(name, path, seed, 10_000)", name=tag, path=str(path), seed=SEED)
