# SPDX-License-Identifier: MIT
"""StructArray: lists of structures that several processes change and read. Deaths are in test_struct_array_deaths.py,
files, the format and damage in test_struct_array_files.py."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import io
import itertools
import os
import pickle
import random
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Annotated, Any

import numpy
import pytest
from support.actors import PRELUDE, Actor
from support.array_deaths import Item, check, item
from support.frozen_arrays import begin_to_replace
from support.here import WINDOWS

from memorymapped import (
    AbandonedMutexError,
    Array,
    ClosedError,
    DamagedObjectError,
    FixedBytes,
    LayoutMismatchError,
    MemoryMappedFile,
    Mutex,
    NameInUseError,
    OutOfRangeError,
    SharedMemory,
    Struct,
    StructArray,
    int8,
    int16,
    int32,
    int64,
)

SEED = int(os.environ.get("MEMORYMAPPED_TEST_SEED", random.SystemRandom().getrandbits(32)))
TYPES = "from support.array_deaths import Item, check, item\n"


class Point(Struct):
    x: int32
    y: int32


class Wider(Struct):
    x: int32
    y: int64


class One(Struct):
    a: int8


class Two(Struct):
    a: int16


class Three(Struct, pack=1):
    a: int16
    b: int8


class Big(Struct):
    number: int64
    body: Annotated[bytes, FixedBytes(300_000)]


@pytest.fixture
def points(tag: str) -> Iterator[StructArray[Point]]:
    with StructArray(Point, tag, 10, max_capacity=1000) as points:
        yield points


@pytest.fixture
def actors() -> Iterator[Callable[[], Actor]]:
    with ExitStack() as ends:
        yield lambda: ends.enter_context(Actor(prelude=PRELUDE + TYPES))


def in_thread(function: Callable[[], Any]) -> Future[Any]:
    """What a function gives in another thread, or raises, once it has ended."""
    result: Future[Any] = Future()

    def work() -> None:
        try:
            result.set_result(function())
        except BaseException as error:  # noqa: BLE001 - it is told
            result.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return result


def some(count: int, first: int = 0) -> list[Point]:
    return [Point(i, -i) for i in range(first, first + count)]


# ---- a list


def test_a_list(points: StructArray[Point]) -> None:
    assert len(points) == 0
    assert [points.append(point) for point in some(3)] == [0, 1, 2]
    assert points.extend(some(4, 3)) == 3
    assert len(points) == 7
    assert points[0] == Point(0, 0)
    assert points[-1] == points[6] == Point(6, -6)
    assert points[:] == list(points) == some(7)
    points[2] = Point(20, 21)
    points[-1] = Point(60, 61)
    assert points.pop() == Point(60, 61)
    assert points[1:4] == [Point(1, -1), Point(20, 21), Point(3, -3)]
    points.truncate(3)
    assert points[:] == [Point(0, 0), Point(1, -1), Point(20, 21)]
    assert Point(1, -1) in points
    points.truncate(3)
    points.clear()
    assert points[:] == []
    assert points.extend([]) == 0
    assert points.append(Point(9, 9)) == 0


def test_a_list_and_an_array_do_the_same(tag: str) -> None:
    """Anything, in any order, through two objects."""
    dice = random.Random(SEED)
    model: list[Three] = []
    with (
        StructArray(Three, tag, 1, max_capacity=60) as one,
        StructArray.open_existing(Three, tag) as other,
    ):
        for _ in range(3000):
            array = dice.choice((one, other))
            new = [Three(dice.randrange(30_000), i) for i in range(dice.randrange(8))]
            place, kind = dice.randrange(-65, 65), dice.randrange(8)
            try:
                expected: Any = None
                if kind == 0 and len(model) < 60:
                    assert array.append(Three(7, place)) == len(model)
                    model.append(Three(7, place))
                elif kind == 1 and len(model) + len(new) <= 60:
                    given = new if dice.random() < 0.5 else Three.array(new)
                    assert array.extend(given) == len(model)
                    model += new
                elif kind == 2 and model:
                    assert array.pop() == model.pop()
                elif kind == 3:
                    expected = "replaced"
                    array[place] = Three(8, 1)
                    model[place] = Three(8, 1)
                elif kind == 4:
                    with array.edit(place) as draft:
                        draft.a += 1
                    model[place] = model[place].replace(a=model[place].a + 1)
                elif kind == 5 and dice.random() < 0.2:
                    keep = dice.randrange(len(model) + 1)
                    array.truncate(keep)
                    del model[keep:]
                elif kind == 6:
                    assert array[place] == model[place]
                else:
                    part = slice(place, dice.randrange(-65, 65), dice.choice((1, 2, -1, -5)))
                    assert array[part] == model[part]
            except IndexError:
                assert not -len(model) <= place < len(model), (SEED, expected)
            assert len(array) == len(model), f"MEMORYMAPPED_TEST_SEED={SEED}"
        assert one[:] == model
        assert other.as_numpy()["a"].tolist() == [each.a for each in model]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_slices_are_those_of_a_list(points: StructArray[Point], count: int) -> None:
    model = some(count)
    points.extend(model)
    places = [None, *range(-7, 8), 10**18]
    for start in places:
        for stop in places:
            for step in (None, 1, 2, -1, -3, 10**18):
                assert points[start:stop:step] == model[start:stop:step], (start, stop, step)
    with pytest.raises(ValueError, match="zero"):
        points[::0]


@pytest.mark.parametrize("foreign", [False, True])
def test_indices_that_are_not_there(tag: str, foreign: bool) -> None:
    with StructArray(Point, tag, 10, foreign=foreign) as points:
        points.extend(some(3))
        for wrong in (3, -4, 10**10, -(10**18), 2**63 - 1):
            with pytest.raises(IndexError, match=f"{wrong} is out of range.*3 elements"):
                points[wrong]
            with pytest.raises(OutOfRangeError, match="out of range"):
                points[wrong] = Point()
            with pytest.raises(OutOfRangeError, match="out of range"), points.edit(wrong):
                raise AssertionError
            if wrong > 0:
                with pytest.raises(OutOfRangeError, match=f"cut to {wrong + 1} elements: it has 3"):
                    points.truncate(wrong + 1)
        with pytest.raises(OutOfRangeError, match="negative"):
            points.truncate(-1)
        with pytest.raises(TypeError):
            points["one"]  # type: ignore[call-overload]
        points.clear()
        with pytest.raises(IndexError, match="no elements"):
            points.pop()
        assert not points.lock.owned


def test_a_slice_copies_what_it_is_of(tag: str) -> None:
    """And not what lies between; a copy for NumPy is made once."""
    with StructArray(Point, tag, 200_000) as points:
        points.extend(numpy.zeros(200_000, Point.dtype))
        numpy_copy = points.as_numpy(copy=True)  # what is imported the first time
        tracemalloc.start()
        try:
            assert len(points[::100_000]) == len(points[::-100_000]) == 2
            assert tracemalloc.get_traced_memory()[1] < 100_000
            numpy_copy = points.as_numpy(copy=True)
            assert tracemalloc.get_traced_memory()[1] < 1.2 * numpy_copy.nbytes
        finally:
            tracemalloc.stop()
        numpy_copy["x"] = 7  # its own
        assert points[0].x == 0


def test_a_slice_while_its_elements_are_replaced(points: StructArray[Point]) -> None:
    """What is in the slot is an element's value, wherever it comes in the slice."""
    points.extend(some(9))
    for replaced in range(9):
        begin_to_replace(points._view, points._control_position, replaced, Point(50, replaced))
        model = [Point(50, replaced) if i == replaced else Point(i, -i) for i in range(9)]
        for start, stop, step in ((0, 9, 1), (8, None, -1), (1, 9, 2), (7, None, -3), (4, 5, 1), (3, 6, 1), (6, 2, -2)):
            assert points[start:stop:step] == model[start:stop:step], (replaced, start, stop, step)
        points[replaced] = Point(replaced, -replaced)


def test_signals_are_seen_while_many_objects_are_made(tag: str) -> None:
    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    made = None
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with StructArray(One, tag, 1_000_000) as array:
            array.extend(numpy.zeros(1_000_000, One.dtype))
            for look in (lambda: array[:], lambda: list(array)):
                signal.setitimer(signal.ITIMER_REAL, 0.003)
                with pytest.raises(Stop):
                    made = look()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert made is None


@pytest.mark.parametrize("wrong", [None, 5, (1, 2), {"x": 1}, Wider(1, 2), b"12345678", Point], ids=repr)
def test_what_is_no_element_is_refused(points: StructArray[Any], wrong: Any) -> None:
    points.append(Point(1, 2))
    version = points.version
    with pytest.raises(TypeError, match="Point"):
        points.append(wrong)
    with pytest.raises(TypeError, match="Point"):
        points[0] = wrong
    with pytest.raises(TypeError, match="Point"):
        points.extend([Point(), wrong])
    with pytest.raises(TypeError):
        points.extend(wrong)
    assert points[:] == [Point(1, 2)]
    assert points.version == version


def test_elements_are_not_taken_out_or_put_in_between(points: StructArray[Point]) -> None:
    points.extend(some(3))
    with pytest.raises(TypeError, match="end"):
        del points[0]  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="slice"):
        points[0:1] = some(1)  # type: ignore[index, assignment]
    assert points[:] == some(3)


def test_extend_takes_arrays_of_all_kinds(points: StructArray[Point]) -> None:
    plain = numpy.array([(1, 2), (3, 4), (5, 6)], Point.dtype)
    with MemoryMappedFile.create_new(None, 4096) as map, map.create_view_accessor() as view:
        refs = view.refs(Point, 8, 3)
        refs[0].x = 7
        assert points.extend(plain) == 0
        assert points.extend(plain[::-2]) == 3
        assert points.extend(plain[:0]) == 5
        assert points.extend(refs) == 5
        assert points.extend(refs[::2]) == 8
        assert points.append(refs[0]) == 10
    assert points.extend(points) == 11
    assert points.extend(point.draft() for point in some(2)) == 22
    assert [point.x for point in points[:11]] == [1, 3, 5, 5, 1, 7, 0, 0, 7, 0, 7]
    assert points[11:22] == points[:11]
    assert points[22:] == some(2)
    for wrong in (plain.view("i4"), plain["x"], numpy.zeros(2, Wider.dtype)):
        with pytest.raises(TypeError, match="elements"):
            points.extend(wrong)
    with (
        MemoryMappedFile.create_new(None, 4096) as map,
        map.create_view_accessor() as view,
        pytest.raises(TypeError, match="Point"),
    ):
        points.extend(view.refs(Wider, 0, 3))  # type: ignore[arg-type]
    assert len(points) == 24


def test_extend_by_what_was_taken_away(tag: str) -> None:
    """A NumPy array shows it still, where the new elements come. So many that they are copied from the front."""
    with StructArray(Point, tag, 2_500_000) as points:
        elements = numpy.zeros(2_200_000, Point.dtype)
        elements["x"] = numpy.arange(2_200_000)
        points.extend(elements)
        stale = points.as_numpy()
        points.truncate(3)
        points.extend(stale)
        assert (points.as_numpy()["x"][3:] == elements["x"]).all()


@pytest.mark.parametrize("type", [One, Two, Three, Point, Wider, Item, Big], ids=lambda type: type.__name__)
@pytest.mark.parametrize("foreign", [False, True])
def test_elements_lie_where_other_programs_look(tag: str, type: Any, foreign: bool) -> None:
    """Element i at i times .NET's stride: what `write_array` and `refs` of a plain view of the map mean."""
    size = type.layout.size
    raw = [bytes([i + 1]) * size for i in range(5)]
    elements = [type.from_bytes(each) for each in raw]
    with StructArray(type, tag, 2, max_capacity=7, foreign=foreign) as array:
        array.append(elements[0])
        array.extend(elements[1:3])
        array.extend(numpy.frombuffer(b"".join(raw[3:]), type.dtype))
        array[1] = elements[4]
        elements[1], raw[1] = elements[4], raw[4]
        assert array.stride == (size if size <= 2 else -(-size // 4) * 4)
        with MemoryMappedFile.open_existing(tag) as map, map.create_view_accessor() as view:
            for i, element in enumerate(elements):
                assert view.read_bytes(i * array.stride, size) == bytes(element)
            assert view.refs(type, 0, 5) == elements
        assert array[:] == elements
        assert [array[i] for i in range(5)] == elements
        assert array.as_numpy().tobytes() == array.as_numpy(copy=True).tobytes() == b"".join(raw)
        assert array.pop() == elements[4]


# ---- room


def test_it_grows_where_that_was_asked_for(tag: str) -> None:
    with StructArray(Point, tag, 4, max_capacity=100_000) as points, StructArray.open_existing(Point, tag) as other:
        if points.path is not None:
            assert os.stat(points.path).st_blocks * 512 < 50_000
        assert (points.capacity, points.max_capacity) == (4, 100_000)
        other.extend(some(5))
        assert points[:] == some(5)
        assert 5 <= points.capacity <= 10
        points.grow(10_000)
        assert other.capacity == 10_000
        if points.path is not None:
            assert os.stat(points.path).st_blocks * 512 >= 80_000
        points.grow(7)
        assert other.capacity == 10_000
        other.extend(numpy.zeros(99_995, Point.dtype))
        assert points.capacity == len(points) == 100_000
        for more in (lambda: points.append(Point()), lambda: points.extend(some(2))):
            with pytest.raises(OSError, match="room for 100000 elements, 100000 are there"):
                more()
        for wrong in (100_001, -1, 2**64):
            with pytest.raises(OutOfRangeError, match="up to 100000"):
                points.grow(wrong)
        assert len(other) == 100_000


def test_without_a_max_capacity_it_is_full_at_its_capacity(tag: str) -> None:
    with StructArray(Point, tag, 4) as points:
        points.extend(some(3))
        with pytest.raises(OSError, match="room for 4 elements, 3 are there, and 2 more do not fit"):
            points.extend(some(2))
        assert points[:] == some(3)
        assert points.append(Point()) == 3
        with pytest.raises(OSError, match="max_capacity"):
            points.append(Point())


def test_capacities_that_cannot_be(tag: str) -> None:
    for wrong in (0, -1):
        with pytest.raises(OutOfRangeError, match="one element or more"):
            StructArray(Point, tag, wrong)
    with pytest.raises(OutOfRangeError, match="up to 3"):
        StructArray(Point, tag, 4, max_capacity=3)
    with pytest.raises(OutOfRangeError, match="more than any map"):
        StructArray(Point, tag, 1, max_capacity=2**60)
    with pytest.raises(OutOfRangeError, match="room for"):
        StructArray(Point, tag, 1, max_capacity=2**70)
    with pytest.raises(OSError, match="bytes were asked for") as full:
        StructArray(Point, tag, 2**40)
    assert full.value.__notes__ == [f"They are for {2**40} elements of 8 bytes; 0 have memory."]
    with pytest.raises(TypeError, match="derived from Struct, not <class 'int'>"):
        StructArray(int, tag, 4)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="Struct"):
        StructArray(8, tag, 4)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="foreign"):
        StructArray(Point, tag, 4, foreign=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name must not be empty"):
        StructArray(Point, tag, 4, lock_name="")
    with pytest.raises(FileNotFoundError):
        StructArray.open_existing(Point, tag)


# ---- others


def test_what_one_process_appends_others_have(
    points: StructArray[Point], tag: str, actors: Callable[[], Actor]
) -> None:
    other = actors()
    with StructArray(Item, tag + "items", 1, max_capacity=50) as items:
        other.do("items = StructArray(Item, name, 1)", name=tag + "items")
        assert other.get("items.append(item(1)), items.append(item(2)), items.capacity") == (0, 1, items.capacity)
        assert [check(each) for each in items] == [1, 2]
        items[0] = item(3)
        assert other.get("check(items[0]), check(items.pop()), len(items)") == (3, 2, 1)
        assert len(items) == 1
        other.do("items.close()")


def test_ways_to_make_and_to_open(tag: str) -> None:
    with pytest.raises(FileNotFoundError):
        StructArray.open_existing(Point, tag)
    with StructArray.create_new(Point, tag, 5) as points:
        with pytest.raises(NameInUseError):
            StructArray.create_new(Point, tag, 5)
        points.append(Point(1, 1))
        with StructArray.create_or_open(Point, tag, 500) as same, StructArray(Point, tag, 7, foreign=True) as third:
            assert (same.capacity, same.foreign, third.foreign) == (5, False, False)
            assert same[0] == third[0] == Point(1, 1)
            assert same.name == points.name
            assert same.path == points.path
            assert repr(same) == f"<StructArray of Point {points.name!r}>"
    with StructArray.create_or_open(Point, tag, 6) as points:
        assert (points.capacity, len(points)) == (6, 0)
    with StructArray(Point, tag, 6, lock_name=tag + "mine") as points:
        assert points.lock.name == tag + "mine"


def test_another_layout_is_refused_and_both_are_shown(points: StructArray[Point], tag: str) -> None:
    with pytest.raises(LayoutMismatchError) as raised:
        StructArray.open_existing(Wider, tag)
    assert "4 int32 y ≠   8 int64 y" in str(raised.value).replace("  4 int32", "4 int32")
    points.append(Point(1, 2))
    assert points[0] == Point(1, 2)


def test_a_map_that_is_none_of_an_array(tag: str) -> None:
    for size in (100, 4096, 10_001):
        with MemoryMappedFile.create_new(tag, size) as map, map.create_view_accessor() as view:
            view.write_bytes(0, b"\1" * size)
            with pytest.raises(DamagedObjectError, match="no StructArray"):
                StructArray.open_existing(Point, tag)
            assert view.read_bytes(0, size) == b"\1" * size


def test_a_map_whose_maker_has_died_before_he_came_further(tag: str) -> None:
    with StructArray(Point, tag, 20) as points:
        size = points._file.capacity
    with MemoryMappedFile.create_new(tag, size), StructArray(Point, tag, 20) as points:
        assert points.max_capacity == 20
        assert points.append(Point(1, 2)) == 0
    with MemoryMappedFile.create_new(tag, size), StructArray.open_existing(Point, tag) as points:
        assert points.max_capacity >= 20
        assert points.append(Point(1, 2)) == 0


def test_threads_append_and_readers_see_whole_elements(tag: str) -> None:
    with StructArray(Item, tag, 10, max_capacity=5000) as items:
        indices: list[list[int]] = [[] for _ in range(4)]
        wrong: list[BaseException] = []
        done = threading.Event()

        def write(which: int) -> None:
            for i in range(300):
                indices[which].append(items.append(item(which * 1000 + i)))
                items[i % 7 % len(items)] = item(10_000 + i)

        def read() -> None:
            try:
                while not done.is_set():
                    for each in items[-50:]:
                        check(each)
                    if len(items):
                        check(items[0])
            except BaseException as error:  # noqa: BLE001 - it is told
                wrong.append(error)

        threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
        reader = threading.Thread(target=read)
        reader.start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        done.set()
        reader.join(20)
        assert wrong == []
        assert sorted(itertools.chain(*indices)) == list(range(1200))
        for which, places in enumerate(indices):
            assert all(check(items[at]) == which * 1000 + i for i, at in enumerate(places) if at >= 7)


def test_large_elements_while_another_thread_closes(tag: str) -> None:
    """Long copies let other threads run: one closes the array then."""
    with StructArray(Big, tag, 1, max_capacity=20) as keeper:
        for _ in range(10):
            array = StructArray.open_existing(Big, tag)
            went: list[int] = []

            def work(array: StructArray[Big] = array, went: list[int] = went) -> None:
                try:
                    while True:
                        went.append(array.append(Big(1, b"\1" * 300_000)))
                        array[0] = Big(2, b"\2" * 300_000)
                        assert array[-1].number in (1, 2)
                        array.pop()
                except ClosedError:
                    pass

            thread = threading.Thread(target=work)
            thread.start()
            while not went:
                time.sleep(0.001)
            array.close()
            thread.join(20)
            assert not thread.is_alive()
            keeper.clear()


# ---- numpy


def test_numpy_sees_the_elements_without_a_copy(tag: str) -> None:
    points = StructArray(Point, tag, 10)
    points.extend(some(3))
    array = points.as_numpy()
    same = numpy.asarray(points)
    assert (array.dtype, len(array), same.dtype, len(same)) == (Point.dtype, 3, Point.dtype, 3)
    own = points.as_numpy(copy=True)
    points[1] = Point(10, 11)
    points.append(Point(5, 5))
    assert (array["x"].tolist(), same["y"].tolist(), own["x"].tolist()) == ([0, 10, 2], [0, 11, -2], [0, 1, 2])
    with pytest.raises(ValueError, match="read-only"):
        array["x"] = 1
    own["x"] = 7
    with pytest.raises(io.UnsupportedOperation, match="foreign"):
        points.as_numpy(writable=True)
    points.close()
    assert array["x"].tolist() == [0, 10, 2]
    assert numpy.array(same).tolist() == array.tolist()


def test_numpy_where_elements_lie_apart(tag: str) -> None:
    with StructArray(Three, tag, 10, foreign=True) as array:
        array.extend([Three(1, 2), Three(3, 4)])
        there = array.as_numpy()
        assert (there.dtype, there.strides, there["b"].tolist()) == (Three.dtype, (4,), [2, 4])
        with array.lock:
            array.as_numpy(writable=True)["b"] = 9
        assert array[:] == [Three(1, 9), Three(3, 9)]
        with pytest.raises(RuntimeError, match="owns the lock"):
            array.as_numpy(writable=True)


# ---- under the lock


def test_elements_in_their_places(tag: str) -> None:
    with StructArray(Point, tag, 10, foreign=True) as points, StructArray.open_existing(Point, tag) as other:
        assert other.foreign
        points.extend(some(3))
        with points.lock:
            ref = points.ref(-1)
            ref.x = 5
            assert isinstance(points.refs(), Array)
            points.refs()[0].y = 8
            with pytest.raises(OutOfRangeError):
                points.ref(3)
        assert other[:] == [Point(0, 8), Point(1, -1), Point(5, -2)]
        assert other.statistics().locked_reads == 1
        with pytest.raises(RuntimeError, match="owns the lock"):
            points.ref(0)


@pytest.mark.parametrize("told", ["its owner", "another array", "the array"])
def test_who_owns_the_lock_writes_in_place_what_stays(tag: str, told: str) -> None:
    """Whoever was told that somebody died in the midst of a replacement."""
    lock = f"{tag}-lock"
    with (
        StructArray(Point, tag, 10, foreign=True, lock_name=lock) as points,
        StructArray(Point, f"{tag}-2", 10, lock_name=lock) as other,
    ):
        points.extend(some(1))
        die_in_a_replacement(points, Point(50, 50))
        if told == "its owner":
            with pytest.raises(AbandonedMutexError):
                points.lock.wait_one()
        else:
            if told == "another array":
                other.append(Point())
            points.lock.__enter__()
        assert points.as_numpy()[0].item() == (50, 50)
        points.ref(0).x = 7
        points.lock.release()
        assert points[0] == Point(7, 50)


def die_in_a_replacement(points: StructArray[Point], value: Point) -> None:
    """Of the first element: it is committed, and half copied."""
    dies(points, f"begin_to_replace(points._view, points._control_position, 0, {value!r})")


def dies(points: StructArray[Point], code: str) -> None:
    """Another process has the array's lock, does this to the array, and is killed."""
    with Actor(prelude=PRELUDE + TYPES) as other:
        other.do(
            "from support.frozen_arrays import begin_to_replace\n"
            "class Point(Struct):\n    x: int32\n    y: int32\n"
            "points = StructArray.open_existing(Point, name, lock_name=lock)\n"
            f"points.lock.wait_one()\n{code}",
            name=points.name,
            lock=points.lock.name,
        )
        other.kill()


def test_elements_in_their_places_are_for_arrays_that_are_read_so(points: StructArray[Point]) -> None:
    points.extend(some(3))
    with points.lock, pytest.raises(io.UnsupportedOperation, match=r"foreign=True.*edit"):
        points.ref(0)


def test_readers_of_a_foreign_array_wait_for_its_writer(tag: str) -> None:
    with StructArray(Point, tag, 10, foreign=True) as points:
        points.extend(some(3))
        seen: list[Any] = []
        with points.lock:
            ref = points.ref(0)
            ref.x = 50
            thread = threading.Thread(target=lambda: seen.append((points[0], points[:1])))
            thread.start()
            thread.join(0.05)
            assert seen == []
            ref.y = 51
        thread.join(20)
        assert seen == [(Point(50, 51), [Point(50, 51)])]


def test_a_slice_under_the_lock_takes_it_once(tag: str, actors: Callable[[], Actor]) -> None:
    """However fast the array grows meanwhile."""
    other = actors()
    with StructArray(Item, tag, 10, max_capacity=500_000, foreign=True) as items:
        other.do("items = StructArray(Item, name, 1); one = item(1)", name=tag)
        other.send("for _ in range(20_000): items.append(one)")
        lengths = [len(items[:]) for _ in range(200)]
        other.answer()
        assert items.statistics().locked_reads == 200
        assert lengths == sorted(lengths)
        other.do("items.close()")


def test_an_edit_is_one_step(points: StructArray[Point]) -> None:
    points.extend(some(3))
    with points.edit(-1) as draft:
        draft.x = 10
        assert points[2] == Point(2, -2)
        draft.y = 11
    assert points[2] == Point(10, 11)
    with pytest.raises(AttributeError, match="snapshot"):
        draft.x = 1
    with contextlib.suppress(KeyError), points.edit(0) as draft:
        draft.x = 10
        raise KeyError
    assert points[0] == Point(0, 0)
    edit: Any = points.edit(0)
    with edit, pytest.raises(RuntimeError, match="entered"):
        edit.__enter__()
    with pytest.raises(OutOfRangeError), points.edit(2) as draft:
        points.pop()
    with points.edit(0) as draft, points.edit(1) as inner:
        draft.x = inner.x = 3
    assert points[:] == [Point(3, 0), Point(3, -1)]
    assert not points.lock.owned


@pytest.mark.parametrize(
    "change",
    [
        lambda points: points.__setitem__(1, Point(7, 7)),
        lambda points: nested(points, 1),
        lambda points: (points.pop(), points.append(Point(7, 7))),
    ],
)
def test_an_edit_undoes_no_change_of_its_own_thread(
    points: StructArray[Point], change: Callable[[StructArray[Point]], object]
) -> None:
    points.extend(some(2))

    def edit() -> None:
        with points.edit(-1) as draft:
            change(points)
            draft.y = 0

    with pytest.raises(RuntimeError, match="element 1 was replaced within its edit"):
        edit()
    assert points[1] == Point(7, 7)
    assert not points.lock.owned


def nested(points: StructArray[Point], index: int) -> None:
    with points.edit(index) as draft:
        draft.x = draft.y = 7


def test_an_edit_that_is_dropped_gives_the_lock_back(points: StructArray[Point]) -> None:
    points.extend(some(1))
    draft = points.edit(0).__enter__()
    gc.collect()
    assert not points.lock.owned
    draft.x = 5
    assert points[0] == Point(0, 0)


def test_an_edit_whose_lock_was_released(points: StructArray[Point]) -> None:
    points.extend(some(1))

    def edit(again: bool) -> None:
        with points.edit(0) as draft:
            draft.x = 5
            points.lock.release()
            if again:
                points.lock.acquire()

    for again in (False, True):
        with pytest.raises(RuntimeError, match="released within an edit"):
            edit(again)
        assert points[0] == Point(0, 0)
        assert not points.lock.owned


def test_an_edit_keeps_others_out(points: StructArray[Point], tag: str) -> None:
    points.extend(some(1))
    with StructArray.open_existing(Point, tag) as other:
        with points.edit(0) as draft:
            draft.x += 1
            thread = threading.Thread(target=in_edit, args=(other,))
            thread.start()
            thread.join(0.05)
            assert other[0].x == 0
        thread.join(20)
        assert points[0].x == 2


def in_edit(points: StructArray[Point]) -> None:
    with points.edit(0) as draft:
        draft.x += 1


def test_steps_under_the_lock_belong_together(
    points: StructArray[Point], tag: str, actors: Callable[[], Actor]
) -> None:
    with points.lock:
        thread = threading.Thread(target=lambda: points.append(Point(9, 9)))
        thread.start()
        assert points.append(Point(1, 1)) == 0
        assert points.append(Point(2, 2)) == 1
        points.pop()
        assert points[:] == [Point(1, 1)]
    thread.join(20)
    assert points[:] == [Point(1, 1), Point(9, 9)]


def test_who_owns_the_lock_for_long_is_in_no_openers_way(tag: str, actors: Callable[[], Actor]) -> None:
    """Also in the midst of a replacement."""
    owner = actors()
    with StructArray(Item, tag, 10) as items:
        items.extend([item(1), item(2)])
        owner.do(
            "from support.frozen_arrays import begin_to_replace\n"
            "items = StructArray(Item, name, 1)\n"
            "items.lock.wait_one()\n"
            "begin_to_replace(items._view, items._control_position, 0, item(3))",
            name=tag,
        )
        opened = in_thread(lambda: StructArray.open_existing(Item, tag)).result(20)
        with opened:
            assert check(opened[0]) == 3
            assert len(opened.as_numpy()) == 2
        for type in (StructArray, SharedMemory):
            refused = in_thread(lambda type=type: type.create_new(Item, tag, *([1] * (type is StructArray))))
            with pytest.raises(NameInUseError, match="in use" if WINDOWS else "process"):
                refused.result(20)
        owner.kill()
        assert check(items.pop()) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda *names: StructArray.create_new(Point, names[0], 10, lock_name=names[1]),
        lambda *names: StructArray(Wider, names[0], 10, lock_name=names[1]),
        lambda *names: StructArray(Point, names[0] + "-too large", 2**40, lock_name=names[1]),
        lambda *names: SharedMemory(2**40, names[0] + "-too large", lock_name=names[1]),
    ],
)
def test_who_is_refused_leaves_a_death_to_others(tag: str, make: Callable[[str, str], object]) -> None:
    """The lock may guard more than this array."""
    with contextlib.closing(Mutex(name=f"{tag}-lock")) as lock, StructArray(Point, tag, 10):
        thread = threading.Thread(target=lock.wait_one)
        thread.start()
        thread.join(20)
        with pytest.raises((OSError, LayoutMismatchError)):
            make(tag, f"{tag}-lock")
        with pytest.raises(AbandonedMutexError):
            lock.wait_one(5)
        lock.release()


def test_an_owner_who_dies_is_in_nobodys_way(tag: str, actors: Callable[[], Actor]) -> None:
    other = actors()
    with StructArray(Item, tag, 10, max_capacity=20) as items:
        items.append(item(1))
        other.do("items = StructArray(Item, name, 1); items.append(item(2)); items.lock.wait_one()", name=tag)
        version = items.version
        other.kill()
        assert [check(each) for each in items] == [1, 2]
        assert items.wait_for_change(20, since=version)
        assert items.append(item(3)) == 2
        assert items.statistics().repairs == 1
        with items.lock:
            pass
        assert [check(each) for each in items] == [1, 2, 3]


def test_a_with_of_the_lock_repairs(tag: str, actors: Callable[[], Actor]) -> None:
    other = actors()
    with StructArray(Item, tag, 10) as items:
        items.append(item(1))
        other.do("items = StructArray(Item, name, 1); items.lock.wait_one()", name=tag)
        other.kill()
        with items.lock:
            assert items.append(item(3)) == 1
        assert items.statistics().repairs == 1


def test_a_task_that_owns_the_lock_writes_and_no_other_does(points: StructArray[Point]) -> None:
    async def main() -> None:
        points.append(Point(1, 1))
        async with points.lock:
            points.append(Point(2, 2))
            points[0] = Point(3, 3)
            with points.edit(1) as draft:
                draft.x = 9

            async def other() -> None:
                assert points[0] == Point(3, 3)
                with pytest.raises(RuntimeError, match="task"):
                    points.append(Point(4, 4))

            await asyncio.create_task(other())
        points.append(Point(5, 5))

    asyncio.run(main())
    assert points[:] == [Point(3, 3), Point(9, 2), Point(5, 5)]


def test_signal_handlers_that_raise_leave_no_lock_and_no_half(tag: str) -> None:
    """They run while an append waits for the lock, or before, or after: never in the midst."""

    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    with StructArray(Item, tag, 10, max_capacity=200_000) as items, StructArray.open_existing(Item, tag) as other:
        before = signal.signal(signal.SIGALRM, stop)
        new = [item(number) for number in range(5)]
        try:
            for turn in range(500):
                items.truncate(min(len(items), turn))
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0001 + turn * 1e-6)
                    while True:
                        items.append(new[turn % 5])
                        items[turn % len(items)] = new[0]
                except Stop:
                    pass
                assert not items.lock.owned
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        number = len(items)
        assert number > 100
        assert other.append(item(1)) == number
        assert all(check(each) < 5 for each in other)


# ---- waits


def test_a_wait_ends_with_a_change(tag: str, actors: Callable[[], Actor]) -> None:
    other = actors()
    with StructArray(Item, tag, 10) as items:
        assert not items.wait_for_change(0)
        items.append(item(1))
        assert not items.wait_for_change(0)  # its own
        assert items.wait_for_change(0, since=0)
        other.do("items = StructArray(Item, name, 1); items.append(item(2))", name=tag)
        assert items.wait_for_change(0)
        assert not items.wait_for_change(0.01)
        for change in ("items[0] = item(3)", "items.pop()", "items.extend([item(1)])", "items.clear()"):
            other.do(change)
            assert items.wait_for_change(20), change
            assert not items.wait_for_change(0), change
        other.do("items.append(item(4))")
        items.append(item(5))
        assert items.wait_for_change(0), "one before its own is not missed"
        start = time.monotonic()
        other.send("time.sleep(0.05); items.append(item(6))")
        assert items.wait_for_length(3, 20)
        assert time.monotonic() - start < 5
        other.answer()
        assert not items.wait_for_length(4, 0.01)
        for wrong in (11, -1, 2**63 - 1):
            with pytest.raises(OutOfRangeError, match="never"):
                items.wait_for_length(wrong)
        for wrong in (-1, 2**64):
            with pytest.raises(OutOfRangeError, match="version"):
                items.wait_for_change(0, since=wrong)
        with pytest.raises(TypeError):
            items.wait_for_change(0, since=1.5)  # type: ignore[arg-type]
        other.do("items.close()")


def test_a_wait_is_woken_and_not_by_its_look(tag: str) -> None:
    """The look comes after half a second."""
    with StructArray(Point, tag, 10) as points, StructArray.open_existing(Point, tag) as other:
        times = []
        for i in range(5):
            ready = threading.Event()
            thread = in_thread(lambda ready=ready: (ready.set(), points.wait_for_change(20), time.monotonic())[-1])
            ready.wait(20)
            time.sleep(0.01)
            start = time.monotonic()
            other.append(Point(i, i))
            times.append(thread.result(20) - start)
        assert sorted(times)[2] < 0.2, times


def test_a_wait_needs_no_call(points: StructArray[Point]) -> None:
    """A writer may die between the commit and the call: who waits looks by himself."""
    length = in_thread(lambda: (points.wait_for_length(1, 20), time.monotonic()))
    change = in_thread(lambda: (points.wait_for_change(20), time.monotonic()))
    time.sleep(0.05)
    start = time.monotonic()
    points._view.write_uint64(points._control_position + 64, 1)
    points._view.write_uint64(points._control_position + 88, 1)
    for result in (length, change):
        there, at = result.result(20)
        assert there
        assert at - start < 2


@pytest.mark.parametrize("told", ["nobody", "its owner", "another array"])
def test_a_wait_ends_if_the_writer_dies_behind_his_commit(tag: str, told: str) -> None:
    """Also if somebody else has been told of the death."""
    lock = f"{tag}-lock"
    with (
        StructArray(Point, tag, 10, lock_name=lock) as points,
        StructArray(Point, f"{tag}-2", 10, lock_name=lock) as other,
    ):
        version = points.version
        dies(
            points,
            "points._view.write_uint64(points._control_position + 104, 1)\n"  # an append up to its commit
            "points._view.write_uint64(points._control_position + 64, 1)",
        )
        if told == "its owner":
            with pytest.raises(AbandonedMutexError):
                points.lock.wait_one()
            points.lock.release()
        elif told == "another array":
            other.append(Point())
        assert points.wait_for_change(5, since=version)
        assert points.statistics().repairs == 1
        assert not points.wait_for_change(0, since=version + 1)


def test_a_wait_ends_with_close(points: StructArray[Point], tag: str) -> None:
    other = StructArray.open_existing(Point, tag)
    threads = [in_thread(other.wait_for_change), in_thread(lambda: other.wait_for_length(5))]
    time.sleep(0.05)
    other.close()
    for thread in threads:
        with pytest.raises(ClosedError):
            thread.result(20)


def test_tasks_wait(points: StructArray[Point], tag: str) -> None:
    async def main() -> None:
        with StructArray.open_existing(Point, tag) as other:
            assert not await points.wait_for_change_async(0)
            assert not await points.wait_for_length_async(1, 0.01)
            assert await points.wait_for_length_async(0)
            change = asyncio.create_task(points.wait_for_change_async(20))
            three = asyncio.create_task(points.wait_for_length_async(3, 20))
            await asyncio.sleep(0.01)
            assert not change.done()
            start = time.monotonic()
            other.append(Point())
            assert await change
            assert not three.done()
            other.extend(some(2))
            assert await three
            assert time.monotonic() - start < 0.4
            assert await points.wait_for_change_async(0)
            assert not await points.wait_for_change_async(0)
            with pytest.raises(OutOfRangeError):
                await points.wait_for_length_async(1001)
            cancelled = asyncio.create_task(points.wait_for_change_async())
            ended = asyncio.create_task(other.wait_for_change_async())
            await asyncio.sleep(0.01)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            other.close()
            with pytest.raises(ClosedError):
                await asyncio.wait_for(ended, 20)

    asyncio.run(main())


# ---- the end


def test_after_close_everything_says_so(tag: str) -> None:
    points = StructArray(Point, tag, 10)
    points.append(Point())
    edit = points.edit(0)
    points.close()
    points.close()
    points.dispose()
    assert points.closed
    assert "closed" in repr(points)
    calls: list[Callable[[], object]] = [
        lambda: points[0],
        lambda: points[:],
        lambda: list(points),
        lambda: len(points),
        lambda: points.append(Point()),
        lambda: points.extend(some(2)),
        points.pop,
        points.clear,
        lambda: points.truncate(0),
        lambda: points.grow(5),
        lambda: points.capacity,
        lambda: points.version,
        points.as_numpy,
        lambda: points.as_numpy(copy=True),
        lambda: points.ref(0),
        lambda: points.wait_for_change(0),
        lambda: points.wait_for_length(1, 0),
        lambda: asyncio.run(points.wait_for_change_async(0)),
        lambda: pickle.dumps(points),
        points.__enter__,
        edit.__enter__,
        points.flush,
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()
    with pytest.raises(ClosedError):
        points[0] = Point()
    assert points.max_capacity == 10


def test_closed_within_an_edit(tag: str) -> None:
    points = StructArray(Point, tag, 10)
    points.append(Point())
    with StructArray.open_existing(Point, tag) as other:
        edit = points.edit(0)
        edit.__enter__().x = 5
        points.close()
        with pytest.raises(ClosedError):
            edit.__exit__(None, None, None)
        other[0] = Point(1, 1)
        assert other[0] == Point(1, 1)


def test_dropped_unclosed(tag: str) -> None:
    kept = [StructArray(Point, tag, 10)]
    with pytest.warns(ResourceWarning, match="unclosed <StructArray of Point"):
        kept.clear()
    with pytest.raises(FileNotFoundError):
        StructArray.open_existing(Point, tag)


def test_a_copy_is_one_of_its_own(points: StructArray[Point]) -> None:
    with copy.copy(points) as same:
        assert same.append(Point(1, 2)) == 0
    assert points.append(Point(3, 4)) == 1
    assert points[:] == [Point(1, 2), Point(3, 4)]


def test_made_once(points: StructArray[Point], tag: str) -> None:
    points.append(Point(1, 2))
    with pytest.raises(RuntimeError, match="made already"):
        points.__init__(Point, f"{tag}-other", 10)  # type: ignore[misc]
    assert points[:] == [Point(1, 2)]


def test_pickled_by_name(points: StructArray[Point]) -> None:
    points.append(Point(1, 2))
    with pickle.loads(pickle.dumps(points)) as same:
        assert same[0] == Point(1, 2)
        assert same.append(Point(3, 4)) == 1
    assert points[1] == Point(3, 4)
    assert pickle.loads(pickle.dumps(points[0])) == Point(1, 2)


def test_a_forked_child_shares_it(tag: str) -> None:
    with StructArray(Item, tag, 10, max_capacity=100) as items:
        items.append(item(1))
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                items.extend([item(2)] * 20)
                items[0] = item(5)
                code = 0 if items.wait_for_length(22, 20) else 2
            finally:
                os._exit(code)
        assert items.wait_for_length(21, 20)
        items.append(item(3))
        assert os.waitpid(pid, 0)[1] == 0
        assert [check(each) for each in items] == [5, *[2] * 20, 3]
