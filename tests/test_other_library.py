# SPDX-License-Identifier: MIT
"""A lock that a program with another C library has made, glibc or musl, is refused and left as it is: neither library
would see when the other one has locked it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from support.actors import PRELUDE, Actor
from support.strangers import GLIBC, HEADER, path_of
from test_fair import file_of
from test_mutex_hostile import PAGE, in_use

from memorymapped import (
    AtomicUInt32,
    FairMutex,
    MappedLock,
    MappedReaderWriterLock,
    MemoryMappedFile,
    MemoryMappedViewAccessor,
    WaitHandleCannotBeOpenedError,
)

OTHER = "musl" if GLIBC else "glibc"
OWN_KIND, OTHER_KIND = (0x91, 0x85) if GLIBC else (0x85, 0x91)
A_LOCK = 0x4D018000  # that a place is one of a lock (_native/places.h)


def mutex(*words: int) -> bytes:
    """A mutex of 40 bytes that begins with these words."""
    return b"".join(word.to_bytes(4, "little") for word in words).ljust(40, b"\0")


def its_mutexes() -> dict[str, bytes]:
    """Those of the other library. Where glibc has its kind musl has nothing, and we the kind with it."""
    own = os.getpid()
    if GLIBC:
        return {
            "free": mutex(0x85, 0, 0, A_LOCK, 0x85),
            "owned": mutex(0x85, own, 0, A_LOCK, 0x85),
            "its owner has died": mutex(0x85, 0x40000000, 0, A_LOCK, 0x85),
            "half made": mutex(0, 0, 0, A_LOCK, 0x85),
            "made by a C program": mutex(0x85, 0, 0, 0, 0),
            "made by a C program, owned": mutex(0x85, own | 0x80000000, 1, 0, 0),
        }
    return {
        "free": mutex(0, 0, 0, A_LOCK, 0x91),
        "owned": mutex(own, 1, own, A_LOCK + 1, 0x91),
        "owned by number 0x85": mutex(0x85, 1, 0x85, A_LOCK + 1, 0x91),
        "its owner has died": mutex(0x40000000, 1, own, A_LOCK + 1, 0x91),
        "made by a C program": mutex(0, 0, 0, 0, 0x91),
        "made by a C program, owned": mutex(own, 1, own, 1, 0x91),
    }


@pytest.fixture
def view() -> Iterator[MemoryMappedViewAccessor]:
    with MemoryMappedFile.create_new(None, 65536) as map_, map_.create_view_accessor() as accessor:
        yield accessor


@pytest.mark.parametrize("state", its_mutexes())
def test_a_lock_in_a_map(view: MemoryMappedViewAccessor, state: str) -> None:
    view.write_bytes(64, its_mutexes()[state] + b"\xff" * 8)
    before = bytes(view.read_bytes(0, 4096))
    for _ in range(2):
        with pytest.raises(WaitHandleCannotBeOpenedError, match=f"at 64 there is a lock .* library {OTHER}"):
            MappedLock(view, 64)
    assert bytes(view.read_bytes(0, 4096)) == before
    view.write_bytes(64, bytes(MappedLock.SIZE))
    lock = MappedLock(view, 64)
    assert lock.created_new
    with lock:
        assert lock.locked()
    lock.close()


def test_a_reader_writer_lock_in_a_map(view: MemoryMappedViewAccessor) -> None:
    MappedReaderWriterLock(view).close()
    content = bytearray(view.read_bytes(0, MappedReaderWriterLock.SIZE))
    for at in range(0, len(content), 4):  # each mutex in it becomes one of the other library
        if content[at + 12 : at + 16] == content[12:16]:
            kind = content[at + 12 : at + 16]
            content[at : at + 40] = its_mutexes()["free"]
            content[at + 12 : at + 16] = kind
    view.write_bytes(0, content)
    with pytest.raises(WaitHandleCannotBeOpenedError, match=f"at 0 there is a lock .* library {OTHER}"):
        MappedReaderWriterLock(view)
    assert bytes(view.read_bytes(0, len(content))) == content


@pytest.mark.parametrize("state", [state for state in its_mutexes() if state != "half made"])
def test_a_named_mutex(state: str, tag: str) -> None:
    """Also .NET's own, which makes it by the functions of its C library."""
    name = f"Global\\{tag}"
    data = b"\0\1".ljust(HEADER, b"\0") + its_mutexes()[state] + b"\xff" * 8 + b"\0" + b"\xff" * 7
    with Actor(prelude=PRELUDE) as child:
        child.do("keeps = Mutex(name=name + '-keeps-the-folder')", name=name)
        with in_use(path_of(name), data.ljust(PAGE, b"\0")):
            for code in ("Mutex(name=name)", "Mutex(True, name)", "Mutex.open_existing(name)"):
                with pytest.raises(WaitHandleCannotBeOpenedError, match=f"C library {OTHER}"):
                    child.do(code, name=name)
            assert path_of(name).read_bytes() == data.ljust(PAGE, b"\0")
        child.do("m = Mutex(name=name); assert m.created_new; m.close()", name=name)
        assert child.finish() == 0


def test_a_fair_mutex() -> None:
    with closing(FairMutex(name="queue")), Actor(prelude=PRELUDE + "from memorymapped import FairMutex") as child:
        path: Path = file_of("queue")
        content = bytearray(path.read_bytes())
        for at in range(64, len(content), 64):
            content[at : at + 40] = its_mutexes()["free"]
        path.write_bytes(content)
        with pytest.raises(WaitHandleCannotBeOpenedError, match=f"'queue' is a fair mutex .* library {OTHER}"):
            child.do("FairMutex.open_existing('queue')")
        assert path.read_bytes() == content
        assert child.finish() == 0


def test_two_libraries_that_claim_zeros_at_once(view: MemoryMappedViewAccessor) -> None:
    """The other library's half is played by a thread, which takes the word that decides as its claim does."""
    won = {"here": 0, "there": 0}
    start, end = threading.Barrier(2, timeout=20), threading.Barrier(2, timeout=20)
    places = range(0, 500 * 128, 128)

    def there() -> None:
        for place in places:
            word = AtomicUInt32(view, place + 16)
            start.wait()
            won["there"] += word.compare_exchange(0, OTHER_KIND)
            end.wait()

    thread = threading.Thread(target=there)
    thread.start()
    for place in places:
        start.wait()
        try:
            lock = MappedLock(view, place)
        except WaitHandleCannotBeOpenedError:
            lock = None
        end.wait()
        kind = view.read_uint32(place + 16)
        if lock is None:
            assert kind == OTHER_KIND
            assert bytes(view.read_bytes(place, 12)) == bytes(12)
        else:
            won["here"] += 1
            assert kind == OWN_KIND
            with lock:
                pass
            lock.close()
    thread.join()
    assert won["here"] + won["there"] == len(places)


@pytest.mark.skipif(GLIBC, reason="there it is one store")
def test_who_died_between_the_two_stores_of_a_claim_is_gone_on_for(view: MemoryMappedViewAccessor) -> None:
    view.write_bytes(0, mutex(0, 0, 0, A_LOCK, OWN_KIND))
    with MappedLock(view) as lock:
        assert lock.created_new
    lock.close()


def test_a_child_that_is_forked_by_an_owner_leaves_its_lock_alone(view: MemoryMappedViewAccessor) -> None:
    """The list of what a thread has locked is the parent's; musl leaves it to the child too."""
    locks = [MappedLock(view, 128 * i) for i in range(3)]
    with ExitStack() as held:
        held.enter_context(locks[0])
        held.enter_context(locks[1])
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                with locks[2]:
                    code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for lock in locks:
        assert not lock.locked()
        lock.close()
