# SPDX-License-Identifier: MIT
"""No input ends the interpreter.

What could do so runs in a child, whose exit status is the answer: a segmentation fault there is a failed test here. The
child writes down what it is about to do; the failure shows the end of that, and the seed, with which
MEMORYMAPPED_TEST_SEED repeats the run.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import faulthandler
import gc
import io
import itertools
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from campaigns import campaign
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from support.here import WINDOWS, resource

import memorymapped
from memorymapped import (
    Advice,
    BinaryReader,
    BinaryWriter,
    ClosedError,
    ElementView,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedFileError,
    MemoryMappedFileOptions,
    MemoryMappedViewAccessor,
    MemoryMappedViewStream,
    OutOfRangeError,
)

PAGE = 4096
BOTH = MemoryMappedFileAccess.READ_WRITE
SEED = int(os.environ.get("MEMORYMAPPED_TEST_SEED", random.SystemRandom().getrandbits(32)))
SECONDS = min(float(os.environ.get("MEMORYMAPPED_TEST_SECONDS", "0.7")), 40)  # of each search

Run = Callable[..., "subprocess.Popen[str]"]


def in_child(run: Run, tmp_path: Path, function: Callable[..., None], *arguments: object, seconds: float = 50) -> None:
    """Runs a function of this module in a child; whatever ends the child but its own end fails the test."""
    trail = tmp_path / "trail"
    child = run(
        "import sys; sys.path.insert(0, sys.argv[1]); import test_hostile; test_hostile.be_child(*sys.argv[2:])",
        Path(__file__).parent,
        function.__name__,
        trail,
        *arguments,
    )
    out, _ = child.communicate(timeout=seconds)
    last = trail.read_text(errors="replace")[-2000:] if trail.exists() else ""
    assert child.returncode == 0, (
        f"ended with {child.returncode}; seed {SEED}; {arguments}; the last steps:\n{last}\n{out}"
    )
    assert out.endswith("all done\n"), out


_trail = -1


def note(text: str) -> None:
    """Leaves a trace that survives a crash."""
    os.write(_trail, text.encode(errors="replace") + b"\n")


def be_child(function: str, trail: str, *arguments: str) -> None:
    global _trail
    faulthandler.enable()
    # Nothing here may fill the machine's memory: 10**18 bytes are asked for often.
    if not WINDOWS:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 24, 1 << 24))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _trail = os.open(trail, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    globals()[function](*arguments)
    print("all done", flush=True)


# -------------------------------------------------------------------------------------- conversions that close the view


class Act:
    """A number, a truth, an iterable, whose making does something first."""

    def __init__(self, value: Any, act: Callable[[], object]) -> None:
        self.value = value
        self.act = act

    def __index__(self) -> int:
        self.act()
        return int(self.value)

    __int__ = __index__

    def __float__(self) -> float:
        self.act()
        return float(self.value)

    def __bool__(self) -> bool:
        self.act()
        return bool(self.value)

    def __len__(self) -> int:
        self.act()
        return 2

    def __iter__(self) -> Iterator[Any]:
        yield self.value
        self.act()
        yield self.value

    def __repr__(self) -> str:
        return f"Act({self.value!r})"


class World:
    """A map with a view of each kind in its middle, and what must stay as it is around them."""

    LOW, SIZE = PAGE - 100, 300

    def __init__(self, kind: type[MemoryMappedViewAccessor] = MemoryMappedViewAccessor) -> None:
        self.map = MemoryMappedFile.create_new(None, 3 * PAGE)
        self.view = self.map._view(kind, self.LOW, self.SIZE, BOTH)
        self.stream = self.map.create_view_stream(self.LOW, self.SIZE)
        self.elements = self.view.cast("h", 1)
        self.part = self.elements[::-3]
        self.whole = self.map.create_view_accessor()
        self.whole[:] = bytes([0xA5]) * 3 * PAGE
        self.view[:] = bytes(self.SIZE)
        self.before = self.whole[:]

    def around_is_untouched(self) -> None:
        assert self.whole[: self.LOW].strip(b"\xa5") == b""
        assert self.whole[self.LOW + self.SIZE :].strip(b"\xa5") == b""

    def close_views(self) -> None:
        self.view.close()
        self.stream.close()

    def close_all(self) -> None:
        self.close_views()
        self.map.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close_all()
        self.whole.close()


TYPES = ["byte", "sbyte", "int16", "uint16", "int32", "uint32", "int64", "uint64", "single", "double", "boolean"]

# Each takes a world and a maker: make(value) is the value, or an object that acts when it is converted to it.
Make = Callable[[Any], Any]
USES: dict[str, Callable[[World, Make], Any]] = {
    **{f"read_{t}": lambda w, make, t=t: getattr(w.view, f"read_{t}")(make(8)) for t in [*TYPES, "char", "decimal"]},
    **{f"write_{t} at": lambda w, make, t=t: getattr(w.view, f"write_{t}")(make(8), 1) for t in TYPES},
    **{f"write_{t} value": lambda w, make, t=t: getattr(w.view, f"write_{t}")(8, make(1)) for t in TYPES},
    "write_char at": lambda w, make: w.view.write_char(make(8), "a"),
    "write_decimal at": lambda w, make: w.view.write_decimal(make(8), 1),
    "read_bytes at": lambda w, make: w.view.read_bytes(make(8), 10),
    "read_bytes count": lambda w, make: w.view.read_bytes(8, make(10)),
    "write_bytes at": lambda w, make: w.view.write_bytes(make(8), b"0123"),
    "read at": lambda w, make: w.view.read(make(8), "<ih"),
    "write at": lambda w, make: w.view.write(make(8), (1, 2), "<ih"),
    "write value": lambda w, make: w.view.write(8, (1, make(2)), "<ih"),
    "write numpy": lambda w, make: w.view.write(8, make(2), np.int32),
    "write record": lambda w, make: w.view.write(8, (1, make(2)), np.dtype("i4,f4")),
    "read_array at": lambda w, make: w.view.read_array(make(8), bytearray(9)),
    "read_array offset": lambda w, make: w.view.read_array(8, bytearray(9), make(1)),
    "read_array count": lambda w, make: w.view.read_array(8, bytearray(9), 1, make(5)),
    "read_array strided": lambda w, make: w.view.read_array(8, np.zeros(9, "V3"), 1, make(5)),
    "write_array at": lambda w, make: w.view.write_array(make(8), b"012345678"),
    "write_array offset": lambda w, make: w.view.write_array(8, b"012345678", make(1)),
    "write_array count": lambda w, make: w.view.write_array(8, b"012345678", 1, make(5)),
    "write_array strided": lambda w, make: w.view.write_array(8, np.zeros(9, "V3"), 1, make(5)),
    "view[i]": lambda w, make: w.view[make(8)],
    "view[i] = x at": lambda w, make: w.view.__setitem__(make(8), 1),
    "view[i] = x value": lambda w, make: w.view.__setitem__(8, make(1)),
    "view[a:]": lambda w, make: w.view[make(8) :],
    "view[:b]": lambda w, make: w.view[: make(8)],
    "view[::c]": lambda w, make: w.view[:: make(8)],
    "view[a:b:c]": lambda w, make: w.view[make(8) : make(20) : make(-1)],
    "view[a:b] = x": lambda w, make: w.view.__setitem__(slice(make(8), 12), b"0123"),
    "view[a:b:c] = x": lambda w, make: w.view.__setitem__(slice(8, 16, make(2)), b"0123"),
    "cast position": lambda w, make: w.view.cast("i", make(8)).tolist(),
    "cast count": lambda w, make: w.view.cast("i", 8, make(8)).tolist(),
    "elements[i]": lambda w, make: w.elements[make(8)],
    "elements[i] = x at": lambda w, make: w.elements.__setitem__(make(8), 1),
    "elements[i] = x value": lambda w, make: w.elements.__setitem__(8, make(1)),
    "elements[a:b]": lambda w, make: w.elements[make(8) : make(10)].tolist(),
    "elements[a:b] = list": lambda w, make: w.elements.__setitem__(slice(8, 10), [make(1), make(2)]),
    "elements[a:b] = iterable": lambda w, make: w.elements.__setitem__(slice(8, 10), make(1)),
    "elements[a:b:c] = list": lambda w, make: w.elements.__setitem__(slice(8, 4, make(-2)), [1, 2]),
    "part[i]": lambda w, make: w.part[make(-1)],
    "part[a:b] = iterable": lambda w, make: w.part.__setitem__(slice(8, 10), make(1)),
    "gather offsets": lambda w, make: w.view.gather([make(8), 4], "i"),
    "gather iterable": lambda w, make: w.view.gather(make(8), "i"),
    "scatter offsets": lambda w, make: w.view.scatter([make(8), 4], b"01234567", "i"),
    "scatter values": lambda w, make: w.view.scatter([8, 4], [make(1), 2], "i"),
    "scatter iterable": lambda w, make: w.view.scatter([8, 4], make(1), "i"),
    "flush": lambda w, make: w.view.flush(make(8), make(2)),
    "advise at": lambda w, make: w.view.advise(Advice.NORMAL, make(8)),
    "advise count": lambda w, make: w.view.advise(Advice.NORMAL, 8, make(2)),
    "madvise": lambda w, make: w.view.madvise(make(0)),
    "residency": lambda w, make: w.view.residency(make(8), make(2)),
    "stream.read": lambda w, make: w.stream.read(make(8)),
    "stream.readline": lambda w, make: w.stream.readline(make(8)),
    "stream.seek": lambda w, make: w.stream.seek(make(8)),
    "stream.seek whence": lambda w, make: w.stream.seek(8, make(0)),
    "stream.position": lambda w, make: setattr(w.stream, "position", make(8)),
    "stream.writelines": lambda w, make: w.stream.writelines(x if isinstance(x, bytes) else b"x" for x in make(8)),
}


def child_acts_while_converting() -> None:
    for name, use in USES.items():
        note(name)
        iterable = name.endswith("iterable") or "lines" in name
        with World() as world:
            plain = use(world, lambda value, iterable=iterable: [value] * 2 if iterable else value)
        for act in ("close_views", "close_all"):
            with World() as world:
                acted: list[int] = []

                def close(world: World = world, act: str = act, acted: list[int] = acted) -> None:
                    acted.append(1)
                    getattr(world, act)()

                try:
                    got = use(world, lambda value, close=close: Act(value, close))
                except ClosedError:
                    pass
                else:
                    raise AssertionError(f"{name}: {act} while converting gave {got!r}")
                assert acted, name
                assert world.whole[:] == world.before or name == "stream.writelines", name
        # What does not close changes nothing about the result; what raises is passed on.
        with World() as world:

            def busy(world: World = world) -> None:
                gc.collect()
                world.map.create_view_accessor().close()
                world.map.resize(world.map.capacity + PAGE)
                world.map.close()

            got = use(world, lambda value, busy=busy: Act(value, lambda: None))
            assert repr(got) == repr(plain) or "residency" in name, name
            got = use(world, lambda value, busy=busy: Act(value, gc.collect))
        for error in (ZeroDivisionError, KeyboardInterrupt, MemoryError, StopIteration, RecursionError):
            with World() as world:

                def fail(error: type[BaseException] = error) -> None:
                    raise error

                try:
                    use(world, lambda value, fail=fail: Act(value, fail))
                except (error, struct.error):
                    pass  # struct has an error of its own for some
                except (RuntimeError, ValueError):
                    if error is not StopIteration:  # which ends the values early
                        raise
                else:
                    raise AssertionError(f"{name} swallowed {error}")
                world.around_is_untouched()
        with World() as world:

            def again(world: World = world, use: Any = use) -> None:
                use(world, lambda value: Act(value, again))

            try:
                use(world, lambda value, again=again: Act(value, again))
            except (RecursionError, struct.error):
                pass
            else:
                raise AssertionError(f"{name}: an endless recursion came to an end")


def test_conversions_that_close_resize_raise_or_recurse(run: Run, tmp_path: Path) -> None:
    in_child(run, tmp_path, child_acts_while_converting)


class Unruly(MemoryMappedViewAccessor):
    """A view whose repr, which messages show, does something."""

    act: Callable[[], object] = staticmethod(lambda: None)

    def __repr__(self) -> str:
        self.act()
        return "<unruly>"


def child_acts_while_showing() -> None:
    refused: list[Callable[[World], Any]] = [
        lambda w: w.view.read_int32(10**6),
        lambda w: w.view.read_int32(298),
        lambda w: w.view.write_bytes(298, b"12345"),
        lambda w: w.view[300],
        lambda w: w.view.__setitem__(300, 1),
        lambda w: w.view.__setitem__(slice(0, 3), b"12345"),
        lambda w: w.view.write_array(298, b"12345"),
        lambda w: w.view.gather([0, 10**6], "i"),
        lambda w: w.view.scatter([0, 10**6], b"12345678", "i"),
        lambda w: w.view.cast("i", 400),
        lambda w: w.view.flush(400),
        lambda w: w.view.__delitem__(0),
        lambda w: repr(w.elements),
        lambda w: w.elements.__reduce__(),
        lambda w: w.view.__reduce__(),
        lambda w: (w.view.close(), w.view.read_int32(0)),
        lambda w: (w.view.close(), w.elements.tolist()),
        lambda w: (w.view.close(), memoryview(w.view)),
        lambda w: (w.view.close(), memoryview(w.elements)),
        lambda w: (w.view.close(), next(iter(w.elements))),
    ]

    def fail() -> None:
        raise ZeroDivisionError

    for number, refuse in enumerate(refused):
        note(str(number))
        for act in ("close", "fail", "recurse", "collect"):
            with World(Unruly) as world:
                world.view.act = {
                    "close": world.close_all,
                    "fail": fail,
                    "recurse": lambda world=world: repr(world.view),
                    "collect": gc.collect,
                }[act]
                with contextlib.suppress(
                    MemoryMappedFileError, ValueError, TypeError, ZeroDivisionError, RecursionError
                ):
                    refuse(world)
                    assert number == 12, number
                world.view.act = lambda: None


def test_messages_that_close_raise_or_recurse(run: Run, tmp_path: Path) -> None:
    in_child(run, tmp_path, child_acts_while_showing)


class ActBuffer:
    """Exports a buffer and acts while it does (Python code can do that from Python 3.12 on)."""

    def __init__(self, data: Any, act: Callable[[], object]) -> None:
        self.data = data
        self.act = act

    def __buffer__(self, flags: int) -> memoryview:
        self.act()
        return memoryview(self.data)

    def __release_buffer__(self, view: memoryview) -> None:
        self.act()
        view.release()


def child_acts_while_exporting() -> None:
    uses: list[Callable[[World, Callable[[Any], Any]], Any]] = [
        lambda w, buffer: w.view.write_bytes(0, buffer(b"1234")),
        lambda w, buffer: w.view.write_array(0, buffer(b"1234")),
        lambda w, buffer: w.view.read_array(0, buffer(bytearray(4))),
        lambda w, buffer: w.view.__setitem__(slice(0, 4), buffer(b"1234")),
        lambda w, buffer: w.view.__setitem__(slice(0, 8, 2), buffer(b"1234")),
        lambda w, buffer: w.view.gather([0, 4], "i", buffer(bytearray(8))),
        lambda w, buffer: w.view.gather(buffer(array.array("q", [0, 4])), "i"),
        lambda w, buffer: w.view.scatter([0, 4], buffer(bytes(8)), "i"),
        lambda w, buffer: w.elements.__setitem__(slice(0, 2), memoryview(buffer(array.array("h", [1, 2])))),
        lambda w, buffer: w.stream.readinto(buffer(bytearray(4))),
        lambda w, buffer: w.stream.write(buffer(b"1234")),
    ]
    for number, use in enumerate(uses):
        note(str(number))
        with World() as world:
            try:
                use(world, lambda data, world=world: ActBuffer(data, world.close_all))
            except ClosedError:
                pass
            else:
                raise AssertionError(number)
            world.around_is_untouched()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python code exports buffers from Python 3.12 on")
def test_buffers_that_close_the_view(run: Run, tmp_path: Path) -> None:
    in_child(run, tmp_path, child_acts_while_exporting)


def child_acts_while_released() -> None:
    """On every version: a buffer whose exporter goes with the buffer, and acts in its finalizer."""

    class Last(bytearray):
        world: World

        def __del__(self) -> None:
            self.world.close_all()

    class LastArray(np.ndarray):  # type: ignore[type-arg]
        world: World

        def __del__(self) -> None:
            if hasattr(self, "world"):
                self.world.close_all()

    def last(world: World, data: bytes) -> Last:
        made = Last(data)
        made.world = world
        return made

    def last_array(world: World, data: Any) -> Any:
        made = np.array(data).view(LastArray)
        made.world = world
        return made

    uses: list[Callable[[World], Any]] = [
        lambda w: w.view.write_bytes(0, last(w, b"1234")),
        lambda w: w.view.write_bytes(0, memoryview(last(w, b"1234"))),
        lambda w: w.view.read_array(0, memoryview(last(w, bytes(8)))),
        lambda w: w.view.read_array(0, last_array(w, [1, 2, 3])),
        lambda w: w.view.__setitem__(slice(0, 8, 2), memoryview(last(w, b"1234"))),
        lambda w: w.view.gather(last_array(w, [0, 4]), "i"),
        lambda w: w.view.gather(last_array(w, [0, 4])[::-1], "i"),
        lambda w: w.view.scatter([0, 4], memoryview(last(w, bytes(8))), "i"),
        lambda w: w.elements.__setitem__(slice(0, 4), memoryview(last(w, b"12345678")).cast("h")),
        lambda w: w.elements.__setitem__(slice(0, 4), list(last(w, b"1234"))),
        lambda w: w.elements.__setitem__(slice(0, 3), last_array(w, [1, 2, 3])),
        lambda w: w.stream.readinto(memoryview(last(w, bytes(8)))),
        lambda w: w.stream.write(memoryview(last(w, bytes(8)))),
    ]
    for number, use in enumerate(uses):
        note(str(number))
        with World() as world:
            with contextlib.suppress(ClosedError):
                use(world)
            gc.collect()
            assert world.view.closed, number
            world.around_is_untouched()


def test_buffers_whose_end_closes_the_view(run: Run, tmp_path: Path) -> None:
    in_child(run, tmp_path, child_acts_while_released)


# ----------------------------------------------------------------------------- every public method, with every argument


def public(kind: type, *more: str) -> list[str]:
    return sorted(
        {name for name in dir(kind) if not name.startswith("_")} | {name for name in more if hasattr(kind, name)}
    )


SEQUENCE = ("__getitem__", "__setitem__", "__delitem__", "__len__", "__iter__", "__contains__", "__bool__",
            "__repr__", "__hash__", "__eq__", "__enter__", "__exit__", "__reduce_ex__", "__next__",
            "__length_hint__", "__sizeof__", "__dir__", "__init__", "__getstate__", "__setstate__", "__reduce__",
            "__copy__", "__reversed__")  # fmt: skip
METHODS = {
    "view": public(MemoryMappedViewAccessor, *SEQUENCE),
    "stream": public(MemoryMappedViewStream, *SEQUENCE),
    "elements": public(ElementView, *SEQUENCE),
    "part": public(ElementView, *SEQUENCE),
    "map": [
        name
        for name in public(MemoryMappedFile, "__repr__", "__enter__", "__exit__", "__init__", "__reduce_ex__")
        if name not in ("create_from_file", "from_descriptor", "set_access_control")
    ],
    "reader": public(BinaryReader),
    "writer": public(BinaryWriter),
}
EDGES = [
    edge + step
    for edge in (0, 100, World.SIZE, World.LOW, PAGE, 3 * PAGE, 2**15, 2**16, 2**31, 2**32, 2**62, 2**63, 2**64, 2**80)
    for step in (-8, -2, -1, 0, 1, 2)
]


OTHERS: list[Any] = [
    None, True, False, 0.0, 1.5, float("nan"), float("inf"), 1e300, 1j, "", "a", "text", "\U0001f600", "\ud800", "\0",
    b"", b"a", b"0123456789", 10**5000, -(10**5000), (), (1, 2), [], [1, 2], {}, {1}, range(3), Ellipsis,
    NotImplemented, object(), object, int, bytearray(3), bytearray(300), memoryview(b"abcd"),
    memoryview(bytearray(8))[::2],
    array.array("i", [1, 2, 3]), array.array("q", [0, 8, 10**6]), np.arange(5), np.arange(5)[::2], np.zeros(3, "V3"),
    np.zeros(0), np.float32(1.5), np.int64(3), ctypes.c_int32, ctypes.c_int32 * 3, (ctypes.c_int32 * 3)(),
    np.dtype("i4"), np.dtype("i4,f8"), np.int16, struct.Struct("<i"), "i", "<ih", ">q", "5s", "u", "?", "f", "x", "@Q",
    slice(None), slice(1, 5), slice(None, None, -1), slice(0, 2**70, 2**65), slice(None, None, 0),
    MemoryMappedFileAccess.READ,
    MemoryMappedFileAccess.COPY_ON_WRITE, Advice.WILL_NEED, MemoryMappedFileOptions.DELAY_ALLOCATE_PAGES, KeyError,
    KeyError("x"), lambda *_: 1,
]  # fmt: skip


def fail() -> None:
    raise ZeroDivisionError


ACTS: dict[str, Callable[[World], object]] = {
    "close view": lambda w: w.view.close(),
    "close stream": lambda w: w.stream.close(),
    "close map": lambda w: w.map.close(),
    "close all": lambda w: w.close_all(),
    "raise": lambda w: fail(),
    "collect": lambda w: gc.collect(0),
    "close while reading": lambda w: w.view.read_int32(Act(0, w.view.close)),
    "read": lambda w: w.elements[:3].tolist(),
    "resize": lambda w: w.map.resize(w.map.capacity + 1, reserve=False),
    "write": lambda w: w.stream.write(b"x"),
}


def argument(chance: random.Random, world: World, depth: int = 0) -> Any:
    """Any argument: most often a number near an edge, or an object that acts while it is converted to one."""

    def number() -> int:
        return chance.choice((chance.randint(-3, 40), chance.choice(EDGES), -chance.choice(EDGES)))

    kind = chance.randrange(10)
    if kind < 4:
        return number()
    if kind < 6:
        act = chance.choice(list(ACTS.values()))
        return Act(chance.choice((number(), 1.5, 0, 1)), lambda: act(world))
    if kind == 6 and depth < 2:
        return slice(*(chance.choice((None, argument(chance, world, depth + 1))) for _ in range(3)))
    if kind == 7 and depth < 2:
        return [argument(chance, world, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 8:
        return chance.choice((world.view, world.stream, world.elements, world.part, world.map))
    return chance.choice(OTHERS)


CALLS = [(target, name) for target, names in METHODS.items() for name in names]


def child_every_method(given_seed: str, seconds: str) -> None:
    deadline = time.monotonic() + float(seconds)
    answers: dict[str, int] = {}
    kinds: dict[str, type[Exception]] = {}
    usual = {"result", "ClosedError", "TypeError", "OutOfRangeError", "ValueOutOfRangeError"}

    def call(chance: random.Random, world: World, targets: dict[str, Any]) -> Any:
        if chance.random() < 0.5:
            name, use = chance.choice(list(USES.items()))
            given_ = [argument(chance, world) for _ in range(4)]
            note(f"{name} {given_!a:.300}")
            # As the method is meant to be used, but for one argument or all.
            rest = iter(given_)
            wrong = chance.randrange(3)
            return use(world, lambda value: next(rest, value) if wrong else chance.choice((value, next(rest, value))))
        target, name = chance.choice(CALLS)
        given_ = [argument(chance, world) for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 4)))]
        note(f"{target}.{name} {given_!a:.300}")
        attribute = getattr(targets[target], name)
        return attribute(*given_) if callable(attribute) else attribute

    @seed(int(given_seed))
    @settings(max_examples=10**6, deadline=None, database=None, phases=[Phase.generate])
    @given(chance=st.randoms(use_true_random=True))
    def attack(chance: random.Random) -> None:
        if time.monotonic() > deadline and (usual <= set(answers) or time.monotonic() > deadline + 30):
            raise TimeoutError
        os.ftruncate(_trail, 0)
        note(f"{chance!r}")
        with World() as world, world.map.create_view_stream(World.LOW, World.SIZE) as spare:
            targets = {name: getattr(world, name, None) for name in METHODS}
            targets["reader"] = BinaryReader(spare, leave_open=True)
            targets["writer"] = BinaryWriter(spare, leave_open=True)
            for _ in range(20):
                result: Any = None
                answer = "result"
                try:
                    result = call(chance, world, targets)
                    if isinstance(result, ElementView):
                        result.tobytes()
                    elif not isinstance(result, (str, bytes, list)) and hasattr(result, "__next__"):
                        list(itertools.islice(result, 20))
                except SystemError as error:
                    # An error inside the interpreter: what we gave it was not in order.
                    raise AssertionError("SystemError") from error
                except Exception as error:  # noqa: BLE001 (any other exception is an answer)
                    answer = type(error).__name__
                    kinds[answer] = type(error)
                answers[answer] = answers.get(answer, 0) + 1
                if isinstance(result, (MemoryMappedFile, MemoryMappedViewAccessor, MemoryMappedViewStream)):
                    result.close()
                world.around_is_untouched()  # no view writes beside itself
                if world.view.closed and chance.random() < 0.3:
                    break

    with contextlib.suppress(TimeoutError):
        attack()
    print(sum(answers.values()), answers)
    # An AttributeError or the like would be an input that nobody had thought of.
    expected = (TypeError, ValueError, OSError, ArithmeticError, BufferError, EOFError, LookupError, MemoryError,
                RecursionError, StopIteration, struct.error, NotImplementedError, Warning)  # fmt: skip
    assert [name for name, kind in kinds.items() if not issubclass(kind, expected)] == [], answers
    assert usual <= set(answers), answers


@pytest.mark.parametrize("part", [0, *campaign(1)])
def test_every_method_with_every_argument(run: Run, tmp_path: Path, part: int) -> None:
    in_child(run, tmp_path, child_every_method, SEED + part, SECONDS)


# ---------------------------------------------------------------------------------- closed by signals and other threads

BIG = 6 << 20  # a multiple of 3 and of 8


def long_uses(view: MemoryMappedViewAccessor, stream: MemoryMappedViewStream) -> list[Callable[[], Any]]:
    """Uses that take a while: some with the GIL, some without it, some in Python code."""
    elements = view.cast("q")
    offsets = np.arange(0, BIG - 8, 31)
    block = bytearray(BIG)
    values = np.zeros(len(offsets), np.int64)
    return [
        lambda: view.read_bytes(0, BIG),
        lambda: view.write_bytes(0, block),
        lambda: view[1:],
        lambda: view[::3],
        lambda: view.__setitem__(slice(None, None, 2), block[: BIG // 2]),
        lambda: view.read_array(0, block),
        lambda: view.read_array(0, np.frombuffer(block, "V3")),
        lambda: view.write_array(0, np.frombuffer(block, "V3", BIG // 4)),
        lambda: view.gather(offsets, "q", values),
        lambda: view.scatter(offsets, values),
        lambda: elements.tolist(),
        lambda: elements[::-1].tobytes(),
        lambda: (view.find(b"x" * 30), view.rfind(b"x" * 30), 5 in view),
        lambda: (elements.count(5), 5 in elements),
        lambda: list(elements),
        lambda: elements.__setitem__(slice(None), elements[::-1]),
        lambda: sum(elements[:200_000]),
        lambda: sum(x for x in view.cast("B", 0, 200_000)),
        lambda: [view.read_int32(i) for i in range(50_000)],
        lambda: [view.write_double(i, i) for i in range(50_000)],
        lambda: [view[i : i + 3] for i in range(50_000)],
        lambda: [memoryview(view)[i] for i in range(30_000)],
        lambda: [view.cast("h", i)[1::3][::2] for i in range(20_000)],
        lambda: np.asarray(view).sum(),
        lambda: (stream.seek(0), stream.read()),
        lambda: (stream.seek(0), stream.readinto(block)),
        lambda: (stream.seek(0), stream.write(block)),
        lambda: (stream.seek(0), stream.readline()),
        lambda: [stream.seek(i) + len(stream.read(5)) for i in range(30_000)],
        lambda: view.residency(),
        lambda: [view.flush(i * PAGE, 1) for i in range(1500)],
    ]


def child_closed_by_a_signal(given_seed: str) -> None:
    chance = random.Random(int(given_seed))
    map_ = MemoryMappedFile.create_new(None, BIG)  # without a line feed: readline looks at all of it
    count = len(long_uses(map_.create_view_accessor(), map_.create_view_stream()))
    closed = finished = 0
    deadline = time.monotonic() + SECONDS
    for turn in itertools.count():
        if closed > 3 and (turn >= 40 * count or time.monotonic() > deadline):
            break
        number = turn % count
        view, stream = map_.create_view_accessor(), map_.create_view_stream()
        use = long_uses(view, stream)[number]
        fired: list[int] = []

        def close(*_: object, view: Any = view, stream: Any = stream, fired: list[int] = fired) -> None:
            fired.append(1)
            view.close()
            stream.close()

        signal.signal(signal.SIGALRM, close)
        note(f"{number}")
        signal.setitimer(signal.ITIMER_REAL, chance.choice([0.00005, 0.0005, 0.002, 0.005]))
        try:
            use()
        except ClosedError:
            closed += 1
        else:
            finished += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
        assert fired or not view.closed
        view.close()
        stream.close()
    map_.close()
    assert memorymapped.guard_status().mappings <= 2
    print(closed, finished)


def test_a_signal_handler_closes_during_long_work(run: Run, tmp_path: Path) -> None:
    in_child(run, tmp_path, child_closed_by_a_signal, SEED)


def child_interrupted_by_a_signal(given_seed: str) -> None:
    """A handler that raises: the exception comes out of the long call, and the view is as good as before."""

    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    chance = random.Random(int(given_seed))
    signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    with (
        MemoryMappedFile.create_new(None, BIG) as map_,
        map_.create_view_accessor() as view,
        map_.create_view_stream() as stream,
    ):
        uses = long_uses(view, stream)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            number = chance.randrange(len(uses))
            note(f"{number}")
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.choice([0.00005, 0.0005, 0.002]))
                uses[number]()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        view.write_int32(0, 5)
        assert view.read_int32(0) == 5
        assert len(view[:]) == BIG
    assert memorymapped.guard_status().mappings == 0, memorymapped.guard_status()
    assert interrupted > 3


def test_a_signal_handler_raises_during_long_work(run: Run, tmp_path: Path) -> None:
    in_child(run, tmp_path, child_interrupted_by_a_signal, SEED)


def child_closed_by_threads(given_seed: str) -> None:
    chance = random.Random(int(given_seed))
    sys.setswitchinterval(1e-5)
    map_ = MemoryMappedFile.create_new(None, BIG)
    current = [(map_.create_view_accessor(), map_.create_view_stream())]
    finish = time.monotonic() + SECONDS
    failures: list[BaseException] = []
    done = [0, 0]

    def use(mine: random.Random) -> None:
        try:
            while time.monotonic() < finish and not failures:
                view, stream = current[0]
                try:
                    uses = long_uses(view, stream)
                    for _ in range(3):
                        number = mine.randrange(len(uses))
                        uses[number]()
                        done[0] += 1
                except ClosedError:
                    done[1] += 1
        except BaseException as error:
            failures.append(error)
            raise

    def replace() -> None:
        try:
            while time.monotonic() < finish and not failures:
                view, stream = current[0]
                current[0] = map_.create_view_accessor(), map_.create_view_stream()
                # So that it lands in the middle of something.
                for _ in range(chance.randrange(2000)):
                    pass
                stream.close()
                view.close()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=use, args=(random.Random(chance.random()),)) for _ in range(3)]
    threads.append(threading.Thread(target=replace))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert done[1] > 3, done
    for each in current[0]:
        each.close()
    map_.close()
    current.clear()
    gc.collect()
    assert memorymapped.guard_status().mappings == 0, memorymapped.guard_status()


def test_other_threads_close_during_long_work(run: Run, tmp_path: Path) -> None:
    in_child(run, tmp_path, child_closed_by_threads, SEED)


# --------------------------------------------------------------------------------------------------- garbage collection


class Kept(MemoryMappedViewAccessor):
    """A view with a dictionary: it can be part of a cycle."""


def child_collected() -> None:
    map_ = MemoryMappedFile.create_new(None, PAGE)
    acted = [0]

    class Trash:
        """In a cycle with itself; when it is collected it closes what it was given."""

        def __init__(self, target: Any) -> None:
            self.target = target
            self.myself = self

        def __del__(self) -> None:
            acted[0] += 1
            self.target.close()

    # Collections at every allocation, in the middle of each call.
    uses: list[Callable[[Any, Any], Any]] = [
        lambda view, elements: elements.tolist(),
        lambda view, elements: elements[1:5:2].tolist(),
        lambda view, elements: list(iter(elements)),
        lambda view, elements: elements.__setitem__(slice(0, 3), (1, 2, 3)),
        lambda view, elements: elements.__setitem__(slice(0, 3), (i for i in range(3))),
        lambda view, elements: memoryview(elements[::2]).tolist(),
        lambda view, elements: np.asarray(elements[::2]).sum(),
        lambda view, elements: view.gather([0, 8], "i"),
        lambda view, elements: view.gather(np.array([0, 8]), np.int32),
        lambda view, elements: view.scatter([0, 8], [1, 2], "i"),
        lambda view, elements: view.read(0, "<ihb"),
        lambda view, elements: view.read_array(0, [bytearray(5)][0]),
        lambda view, elements: view.residency(),
        lambda view, elements: bytes(memoryview(view)[::2]),
    ]
    gc.set_threshold(1, 1, 1)
    for number, use in enumerate(uses):
        note(str(number))
        for _ in range(20):
            view = map_.create_view_accessor(0, 100)
            elements = view.cast("i")
            Trash(view)
            with contextlib.suppress(ClosedError):
                use(view, elements)
            view.close()
    gc.set_threshold(700, 10, 10)
    gc.collect()
    assert acted[0] == 20 * len(uses), acted

    # A cycle of everything, and a finalizer that uses the parts while they are taken apart.
    answers: list[Any] = []

    class Last:
        def __init__(self, *parts: Any) -> None:
            self.parts = parts
            self.myself = self

        def __del__(self) -> None:
            view, elements, iterator, block = self.parts
            answers.append((view.read_int32(0), elements[0], next(iterator), block[0], len(elements[::2])))

    for _ in range(50):
        view = map_._view(Kept, 0, 100, BOTH)
        elements = view.cast("i")
        iterator = iter(elements)
        view.parts = [view, elements, iterator, memoryview(elements), Last(view, elements, iterator, memoryview(view))]
        del view, elements, iterator
    gc.collect()
    assert answers == [(0, 0, 0, 0, 13)] * 50
    answers.clear()
    gc.collect()
    assert memorymapped.guard_status().mappings == 0, memorymapped.guard_status()

    # Objects of a cycle as the collector leaves them, found by gc.get_objects.
    class Spy:
        __slots__ = ()

        def __del__(self) -> None:
            for each in gc.get_objects():
                if isinstance(each, ElementView):
                    with contextlib.suppress(ClosedError):
                        len(each)
                        each[:2].tolist()
                elif type(each).__name__ == "ElementIterator":
                    next(each, None)

    for _ in range(20):
        view = map_._view(Kept, 0, 100, BOTH)
        cycle: list[Any] = [Spy(), view.cast("i"), Spy(), iter(view.cast("i")), Spy(), view]
        view.cycle = cycle
        del view, cycle
        gc.collect()

    # A view that its own finalizer brings back.
    saved: list[Any] = []

    class Lazarus(MemoryMappedViewAccessor):
        def __del__(self) -> None:
            saved.append(self)

    map_._view(Lazarus, 0, 100, BOTH).write_int32(0, 7)
    assert saved[0].read_int32(0) == 7
    elements = saved[0].cast("i")
    saved.clear()
    assert elements[0] == 7
    elements.obj.close()
    del elements
    gc.collect()
    map_.close()


def test_collections_in_the_middle_of_calls(run: Run, tmp_path: Path) -> None:
    in_child(run, tmp_path, child_collected)


def child_finds_the_values() -> None:
    """A conversion that looks for the container it is in, and empties it."""

    class Meddler:
        def __index__(self) -> int:
            for holder in gc.get_referrers(self):
                if type(holder) is list:
                    holder.clear()
                elif type(holder) is dict:
                    holder.pop("value", None)
            return 1

    with World() as world:
        for _ in range(2):
            world.elements[0:30] = [Meddler() for _ in range(30)]
            world.elements[0:30] = (Meddler() for _ in range(30))
            assert world.elements[0:30].tolist() == [1] * 30
            with contextlib.suppress(Exception):
                world.view.gather([Meddler() for _ in range(30)], "i")
            with contextlib.suppress(Exception):
                world.view.scatter(range(30), [Meddler() for _ in range(30)], "B")
            with contextlib.suppress(Exception):
                world.view.write(0, [Meddler() for _ in range(10)], np.dtype(("u1", (10,))))
        world.around_is_untouched()


def test_conversions_that_empty_the_list_they_are_in(run: Run, tmp_path: Path) -> None:
    in_child(run, tmp_path, child_finds_the_values)


def child_constructs(given_seed: str) -> None:
    """Every type that can be reached, made by hand."""
    with World() as world:
        fd = world.map.fileno()
        types = [type(world.view), type(world.stream), type(world.elements), type(iter(world.elements)),
                 type(memoryview(world.view).obj), type(world.view).__mro__[2], type(world.view).__mro__[3],
                 type(world.stream).__mro__[2], MemoryMappedFile]  # fmt: skip
        numbers = (-1, 0, 1, 3, 100, PAGE, PAGE + 1, 2**31, 2**62, 2**63 - 1, -(2**63))
        chance = random.Random(int(given_seed))

        def any_view() -> tuple[Any, ...]:
            offset, size, protection = chance.choice(numbers), chance.choice(numbers), chance.randrange(4)
            page = chance.choice((-1, 0, 1, 3, PAGE, 2 * PAGE, 2**62))
            reads, writes = chance.random() < 0.7, chance.random() < 0.7
            return None, fd, offset, size, protection, chance.choice((1, 2)), page, reads, writes, False

        for kind in types:
            note(kind.__name__)
            arguments: list[tuple[Any, ...]] = [(), (None,), (world.view,), (world.elements,), (1, 2, 3)]
            arguments.extend(any_view() for _ in range(1500))
            for given_ in arguments:
                note(repr(given_))
                for make in (kind, lambda *given_, kind=kind: kind.__new__(kind, *given_)):
                    try:
                        made: Any = make(*given_)
                    except (TypeError, ValueError, OSError, OverflowError, MemoryError):
                        continue
                    for name in (
                        "__len__",
                        "tobytes",
                        "tolist",
                        "readline",
                        "__repr__",
                        "__iter__",
                        "close",
                        "__sizeof__",
                    ):
                        if len(given_) > 3 and given_[3] > 10**6:
                            break
                        try:
                            use = getattr(made, name, None)
                            if use is not None:
                                use()
                            if name == "__len__" and hasattr(made, "read_bytes") and made.can_read:
                                made.read_bytes(0, made.capacity)
                        except (TypeError, ValueError, OSError, AttributeError, NotImplementedError):
                            pass
                    del made


def test_types_made_by_hand(run: Run, tmp_path: Path) -> None:
    in_child(run, tmp_path, child_constructs, SEED)


# ---------------------------------------------------------------------------------------------- arithmetic at the edges

edges = st.one_of(
    st.integers(-2, 3),
    *(st.integers(edge - 2, edge + 2) for edge in (PAGE, 2 * PAGE, 3 * PAGE, 2**31, 2**32, 8192 * 10**9, 2**63, 2**64)),
    st.integers(-(2**64) - 2, -(2**63) + 2),
)


@settings(max_examples=300, deadline=None, database=None)
@given(capacity=st.integers(1, 3 * PAGE), offset=edges, size=edges, stream=st.booleans())
def test_views_at_every_edge(capacity: int, offset: int, size: int, stream: bool) -> None:
    with MemoryMappedFile.create_new(None, capacity) as map_:
        make = map_.create_view_stream if stream else map_.create_view_accessor
        expected: type[Exception] | None = None
        if offset < 0 or size < 0 or offset > capacity:
            expected = OutOfRangeError
        elif size > 8192 * 10**9:
            expected = OSError
        elif offset + size > capacity:
            expected = PermissionError
        if expected is not None:
            with pytest.raises(expected):
                make(offset, size)
            return
        with make(offset, size) as view:
            assert view.capacity == (size or capacity - offset)
            assert view.pointer_offset == (offset % mmap.ALLOCATIONGRANULARITY if view.capacity else 0)
            if view.capacity:
                if isinstance(view, MemoryMappedViewStream):
                    assert view.write(b"x" * view.capacity) == view.capacity
                else:
                    view[:] = b"x" * view.capacity
                with map_.create_view_accessor() as whole:
                    assert whole[:] == bytes(offset) + b"x" * view.capacity + bytes(capacity - offset - view.capacity)


@pytest.fixture
def sparse(tmp_path: Path) -> Iterator[MemoryMappedFile]:
    """A file of one terabyte and a bit that takes no room."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(2**40 + 100)
    with MemoryMappedFile.create_from_file(path) as map_:
        yield map_


FAR = [2**31 - 3, 2**31 + 5, 2**32 - 3, 2**32 + 5, 2**35 + 1, 2**39 - 1, 2**40 + 100 - 8]


def test_positions_far_behind_four_gigabytes(sparse: MemoryMappedFile) -> None:
    with sparse.create_view_accessor() as view, sparse.create_view_stream() as stream:
        assert view.capacity == len(view) == stream.length == 2**40 + 100
        for i, place in enumerate(FAR):
            view.write_int64(place, i - 2)
        for i, place in enumerate(FAR):
            assert view.read_int64(place) == i - 2
            assert view[place : place + 8] == (i - 2).to_bytes(8, "little", signed=True)
            assert view[place - len(view)] == (i - 2) & 0xFF
            stream.position = place
            assert stream.read(8) == view.read_bytes(place, 8)
            assert stream.tell() == place + 8
        assert view.gather(FAR, "q").tolist() == [-2, -1, 0, 1, 2, 3, 4]
        view.scatter(np.array(FAR), np.arange(7) * 3)
        assert view.gather(np.array(FAR), np.int64).tolist() == [0, 3, 6, 9, 12, 15, 18]
        for place in FAR:
            with sparse.create_view_accessor(place) as part:
                assert part.read_int64(0) == view.read_int64(place)
                assert part.capacity == len(view) - place
        assert stream.seek(-8, 2) == FAR[-1]
        assert stream.write(b"12345678") == 8
        with pytest.raises(io.UnsupportedOperation):
            stream.write(b"9")
        view.write_array(2**33, np.arange(5, dtype="<u4"), 1)
        into = np.zeros(5, "<u4")
        assert view.read_array(2**33, into, 0, 4) == 4
        assert into.tolist() == [1, 2, 3, 4, 0]


def test_slices_with_steps_of_gigabytes(sparse: MemoryMappedFile) -> None:
    with sparse.create_view_accessor() as view:
        step = 2**35 + 1
        places = range(0, len(view), step)
        for i, place in enumerate(places):
            view[place] = i + 1
        assert view[::step] == bytes(range(1, len(places) + 1))
        assert view[places[-1] :: -step] == bytes(range(len(places), 0, -1))
        view[::step] = bytes(len(places))
        assert view[::step] == bytes(len(places))


def test_elements_far_behind_four_gigabytes(sparse: MemoryMappedFile) -> None:
    with sparse.create_view_accessor() as view:
        numbers = view.cast("i", 1)
        assert len(numbers) == (2**40 + 99) // 4
        assert numbers.nbytes == len(numbers) * 4
        for i in (2**29, 2**31, 2**32 + 1, len(numbers) - 1):
            numbers[i] = i & 0xFFFF | 1
            assert numbers[i] == numbers[i - len(numbers)] == view.read_int32(1 + 4 * i) == i & 0xFFFF | 1
        step = 2**33 + 1
        part = numbers[::step]
        part[:] = range(1, len(part) + 1)
        assert part.tolist() == [view.read_int32(1 + 4 * i * step) for i in range(len(part))]
        assert numbers[::-step].tolist() == [view.read_int32(1 + 4 * i) for i in range(len(numbers) - 1, -1, -step)]
        assert np.asarray(part).tolist() == part.tolist() == list(range(1, len(part) + 1))
        assert np.asarray(part).strides == (4 * step,)


def test_a_list_or_bytes_of_a_terabyte_is_a_memory_error(run: Run, tmp_path: Path, sparse: MemoryMappedFile) -> None:
    assert sparse.path is not None
    in_child(run, tmp_path, child_wants_too_much, sparse.path)


def child_wants_too_much(path: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (3 << 40, 3 << 40))
    with (
        MemoryMappedFile.create_from_file(path) as map_,
        map_.create_view_accessor() as view,
        map_.create_view_stream() as stream,
    ):
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 40))
        elements = view.cast("i")
        for number, use in enumerate((
            lambda: view[:],
            lambda: view[::2],
            lambda: view.read_bytes(0, 2**39),
            lambda: view.read(0, f"{2**39}s"),
            lambda: elements.tolist(),
            lambda: elements.tobytes(),
            lambda: elements[::-1].tobytes(),
            lambda: elements.__setitem__(slice(None), elements[::-1]),
            stream.read,
            stream.readall,
            lambda: bytes(view),
        )):  # fmt: skip
            note(str(number))
            try:
                use()
            except MemoryError:
                continue
            raise AssertionError(f"{number} found a terabyte of memory")
        assert stream.tell() == 0
        assert view.read_int32(2**39) == 0
