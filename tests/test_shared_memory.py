# SPDX-License-Identifier: MIT
"""SharedMemory: values that are read and replaced as a whole. Deaths are in test_shared_memory_deaths.py, files,
the format and damage in test_shared_memory_files.py."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import io
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support.actors import PRELUDE, Actor
from support.tasks import in_thread, run, turns
from support.values import MyData, Point, Wider

from memorymapped import (
    ClosedError,
    InvalidNameError,
    LayoutMismatchError,
    MemoryMappedFile,
    Mutex,
    NameInUseError,
    OutOfRangeError,
    SharedMemory,
    ValueOutOfRangeError,
    WaitHandleNotFoundError,
)
from memorymapped.structs import Struct

TYPES = "from support.values import MyData, Point\n"


@pytest.fixture
def shared(tag: str) -> Iterator[SharedMemory[MyData]]:
    with SharedMemory(MyData, tag) as shared:
        yield shared


@pytest.fixture
def actors() -> Iterator[Callable[[], Actor]]:
    with ExitStack() as ends:
        yield lambda: ends.enter_context(Actor(prelude=PRELUDE + TYPES))


def write_as_others_do(shared: SharedMemory[Any], value: Any) -> None:
    """A program that knows the lock and byte 0, and nothing else."""
    with Mutex(name=shared.lock.name) as lock, MemoryMappedFile.open_existing(shared.name or "") as map:
        assert lock.owned
        with map.create_view_accessor() as view:
            view.write_bytes(0, bytes(value))
    lock.close()


# ------------------------------------------------------------------------------------------------------- read and write


def test_what_one_process_writes_another_reads(
    shared: SharedMemory[MyData], tag: str, actors: Callable[[], Actor]
) -> None:
    assert shared.data == MyData(0, Point(0, 0))
    other = actors()
    other.do("shared = SharedMemory(MyData, name); shared.data = MyData(1, Point(2, 3))", name=tag)
    assert shared.data == MyData(1, Point(2, 3))
    with shared.edit() as draft:
        draft.pt.x += 10
        draft.my_int = 7
    assert other.get("shared.data == MyData(7, Point(12, 3)) and shared.version == 3")
    other.do("shared.close()")


def test_a_snapshot_stays_what_it_was(shared: SharedMemory[MyData]) -> None:
    before = shared.data
    shared.data = MyData(5, Point(6, 7))
    assert before == MyData()
    with pytest.raises(AttributeError, match="snapshot"):
        before.my_int = 1


def test_assigning_copies(shared: SharedMemory[MyData]) -> None:
    draft = MyData(1, Point(2, 3)).draft()
    shared.data = draft
    draft.my_int = 100
    assert shared.data.my_int == 1


@pytest.mark.parametrize("wrong", [None, 3, b"123456789012", Point(1, 2), (1, (2, 3))])
def test_what_is_no_value_is_refused(shared: SharedMemory[MyData], wrong: Any) -> None:
    with pytest.raises(TypeError, match="has values of MyData"):
        shared.data = wrong
    assert shared.version == 1


def test_bytes_instead_of_a_structure(tag: str) -> None:
    with SharedMemory(5, tag) as shared:
        assert shared.data == bytes(5)
        shared.data = b"hello"
        with shared.edit() as draft:
            assert isinstance(draft, bytearray)
            draft[0] = ord("j")
        assert shared.data == b"jello"
        shared.data = memoryview(b"12345")
        for wrong in (b"1234", b"123456", b""):
            with pytest.raises(ValueError, match=f"5 bytes.*not {len(wrong)}"):
                shared.data = wrong
        with pytest.raises(TypeError):
            shared.data = "hello"  # type: ignore[assignment]
        with pytest.raises(ValueError, match="the draft has 6 now"), shared.edit() as draft:
            draft.append(1)
        assert shared.data == b"12345"


@pytest.mark.parametrize("size", [1, 7, 8, 9, 55, 56, 63, 64, 65, 4096, 300_001, 3_000_000])
def test_any_size(tag: str, size: int) -> None:
    """Also larger than what is copied with the GIL."""
    with SharedMemory(size, tag) as shared, SharedMemory(size, tag) as same:
        for value in (b"\1" + os.urandom(size - 1), b"\2" + os.urandom(size - 1)):
            shared.data = value
            assert same.data == value
            with same.edit() as draft:
                draft[-1] ^= 255
            assert shared.data == value[:-1] + bytes([value[-1] ^ 255])
            with shared.lock:
                shared.live[0] = 0
            assert same.data[0] == 0
        assert shared.version == 7


@pytest.mark.parametrize("wrong", [0, -1, 2**40 + 1])
def test_sizes_that_cannot_be(tag: str, wrong: int) -> None:
    with pytest.raises(OutOfRangeError):
        SharedMemory(wrong, tag)


@pytest.mark.parametrize("wrong", [None, "12", 1.5, True, int, Struct, object])
def test_types_that_cannot_be(tag: str, wrong: Any) -> None:
    with pytest.raises(TypeError):
        SharedMemory(wrong, tag)


# ---------------------------------------------------------------------------------------------------------------- edits


def test_an_exception_discards_the_draft(shared: SharedMemory[MyData]) -> None:
    shared.data = MyData(1)
    with pytest.raises(ZeroDivisionError), shared.edit() as draft:  # noqa: PT012
        draft.my_int = 2
        draft.my_int //= 0
    assert shared.data.my_int == 1
    assert shared.version == 2
    assert not shared.lock.owned


def test_a_value_that_does_not_fit_changes_nothing(shared: SharedMemory[MyData]) -> None:
    with pytest.raises(ValueOutOfRangeError), shared.edit() as draft:  # noqa: PT012
        draft.pt.x = 5
        draft.pt.y = 2**31
    assert shared.data == MyData()


def test_a_draft_ends_with_its_edit(shared: SharedMemory[MyData]) -> None:
    with shared.edit() as draft:
        point = draft.pt
        point.x = 4
    assert draft == MyData(0, Point(4, 0))
    with pytest.raises(AttributeError):
        draft.my_int = 5
    with pytest.raises(AttributeError):
        point.x = 5


def test_edits_are_one_after_the_other(shared: SharedMemory[MyData], tag: str, actors: Callable[[], Actor]) -> None:
    loop = "for _ in range(2000):\n with shared.edit() as d: d.pt.x += 1; d.my_int -= 1"
    code = f"shared = SharedMemory(MyData, name)\n{loop}"
    others = [actors(), actors()]
    for other in others:
        other.send(code, name=tag)
    same = SharedMemory(MyData, tag)

    def count(which: SharedMemory[MyData]) -> None:
        for _ in range(1000):
            with which.edit() as draft:
                draft.pt.x += 1
                draft.my_int -= 1

    threads = [threading.Thread(target=count, args=[which]) for which in (shared, shared, same)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in others:
        other.answer()
        other.do("shared.close()")
    assert shared.data == MyData(-7000, Point(7000, 0))
    assert shared.version == 7001
    same.close()


def test_within_an_edit_the_value_is_not_assigned(shared: SharedMemory[MyData]) -> None:
    with shared.edit() as draft:
        draft.my_int = 1
        with pytest.raises(RuntimeError, match="within an edit"):
            shared.data = MyData(2)
        with pytest.raises(RuntimeError, match="within an edit already"), shared.edit():
            pass
        with pytest.raises(RuntimeError, match="within an edit"):
            shared.live  # noqa: B018
        assert shared.data.my_int == 0, "it is not the value yet"
    assert shared.data.my_int == 1
    shared.data = MyData(2)
    with shared.edit() as draft:
        draft.my_int += 1
    assert shared.data.my_int == 3


def test_within_an_edit_another_object_is_no_way_around(shared: SharedMemory[MyData], tag: str) -> None:
    with SharedMemory(MyData, tag) as same:
        with shared.edit() as draft:
            draft.my_int = 1
            with pytest.raises(RuntimeError, match="within an edit"):
                same.data = MyData(2)
            with pytest.raises(RuntimeError, match="within an edit"):
                same.live  # noqa: B018
        assert same.data == MyData(1)
        assert not shared.lock.owned


def test_within_an_edit_of_a_plain_map_another_object_is_no_way_around(tag: str) -> None:
    with (
        MemoryMappedFile.create_new(tag, 32),
        SharedMemory(MyData, tag) as shared,
        SharedMemory(MyData, tag) as same,
        shared.edit() as draft,
    ):
        draft.my_int = 1
        with pytest.raises(RuntimeError, match="within an edit"):
            same.data = MyData(2)


@pytest.mark.parametrize("plain", [False, True])
def test_what_changes_in_the_map_within_an_edit_is_not_undone(tag: str, plain: bool) -> None:
    with ExitStack() as ends:
        if plain:
            ends.enter_context(MemoryMappedFile.create_new(tag, 32))
        shared = ends.enter_context(SharedMemory(MyData, tag))
        with shared.lock:
            live = shared.live
            with pytest.raises(RuntimeError, match="changed within an edit"), shared.edit() as draft:  # noqa: PT012
                draft.my_int = 2
                live.pt.x = 50
        assert shared.data == MyData(0, Point(50, 0))


def test_a_lock_that_is_released_within_an_edit(shared: SharedMemory[MyData]) -> None:
    with pytest.raises(RuntimeError, match="released within an edit"), shared.edit() as draft:  # noqa: PT012
        draft.my_int = 3
        shared.lock.release()
        in_thread(lambda: write_as_others_do(shared, MyData(7)))
        shared.lock.wait_one()
    assert shared.data == MyData(7)
    assert not shared.lock.owned


def test_who_dies_after_his_process_has_read_the_live_structure(
    shared: SharedMemory[MyData], tag: str, actors: Callable[[], Actor]
) -> None:
    """By another object: it is not the value yet."""
    shared.data = MyData(1, Point(1, 1))
    other = actors()
    code = "a = SharedMemory(MyData, name); b = SharedMemory(MyData, name); a.lock.wait_one(); a.live.pt.x = 99"
    other.do(code, name=tag)
    assert other.get("b.data.pt.x == 99 and b.version == 2")
    other.kill()
    assert shared.data == MyData(1, Point(1, 1))
    assert shared.version == 2


DIES = "a = SharedMemory(MyData, name, lock_name=lock); a.lock.wait_one(); a.live.pt.x = 99"


def test_a_death_that_another_handle_of_the_lock_was_told_of(tag: str, actors: Callable[[], Actor]) -> None:
    lock = f"{tag}.one"
    with SharedMemory(MyData, tag, lock_name=lock) as shared, SharedMemory(5, f"{tag}2", lock_name=lock) as other:
        for told in (lambda: setattr(other, "data", b"other"), lambda: open_and_leave(shared.lock)):
            shared.data = MyData(1, Point(1, 1))
            dying = actors()
            dying.do(DIES, name=tag, lock=lock)
            dying.kill()
            told()
            assert shared.data == MyData(1, Point(1, 1))
            write_as_others_do(shared, MyData(2))
            other.data = b"again"
            assert shared.data == MyData(2), "an abandonment is answered once"
        assert shared.statistics().rollbacks == 2


def open_and_leave(lock: Mutex) -> None:
    with lock.recovering(lambda _: None):
        pass


def test_the_last_who_had_the_lock_open_dies_with_it(tag: str, actors: Callable[[], Actor]) -> None:
    """The map lives on; the mutex has ended, and what it left tells."""
    lock = f"{tag}.lock"
    with SharedMemory(MyData, tag) as shared:
        shared.data = MyData(1, Point(1, 1))
        map = MemoryMappedFile.open_existing(tag)
    with map:
        dying = actors()
        dying.do(DIES, name=tag, lock=lock)
        dying.kill()
        with SharedMemory(MyData, tag) as shared:
            assert shared.data == MyData(1, Point(1, 1))
            assert shared.statistics().rollbacks == 1
            write_as_others_do(shared, MyData(2))
            with SharedMemory(MyData, tag) as same:
                assert same.data == shared.data == MyData(2)


def test_copies_are_objects_of_their_own(shared: SharedMemory[MyData]) -> None:
    for copied in (copy.copy(shared), copy.deepcopy(shared)):
        with copied:
            copied.data = MyData(3)
        assert shared.data == MyData(3)
    with shared.edit() as draft:
        draft.my_int = 4


def test_a_lock_name_must_be_a_name(tag: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        SharedMemory(MyData, tag, lock_name="")
    with pytest.raises(TypeError, match="True or False"):
        SharedMemory(MyData, tag, foreign=0)  # type: ignore[arg-type]
    with pytest.raises(InvalidNameError, match="give lock_name="):
        SharedMemory(MyData, f"{tag}/b")
    with SharedMemory(MyData, f"{tag}/b", lock_name=tag) as shared:
        assert shared.data == MyData()


@pytest.mark.parametrize("foreign", [False, True])
def test_newer_is_greater(tag: str, foreign: bool) -> None:
    with SharedMemory(MyData, tag, foreign=foreign) as shared:
        assert not shared.wait_for_change(0.01, since=1000)
        used = time.process_time()
        assert not shared.wait_for_change(0.2, since=1000)
        assert not run(shared.wait_for_change_async(0.2, since=1000))
        assert time.process_time() - used < 0.15, "it sleeps"
        shared.data = MyData(1)
        assert shared.wait_for_change(0, since=1)
        with pytest.raises(TypeError):
            shared.wait_for_change(0, since=1.5)  # type: ignore[arg-type]


def test_a_draft_is_not_resized_while_it_is_committed(tag: str, actors: Callable[[], Actor]) -> None:
    """By a thread that runs as soon as the commit of a large value lets others run, and not before; in some rounds it
    comes too late."""
    other = actors()
    code = """
shared = SharedMemory(8 << 20, name)
sys.setswitchinterval(100)
refused = []
def resize():
    with begins:
        try: draft.clear()
        except BufferError: refused.append(True)
rounds = 0
while not refused:
    rounds += 1
    begins = threading.Lock()
    with begins:
        thread = threading.Thread(target=resize)
        edit = shared.edit()
        draft = edit.__enter__()
        draft[-1] = rounds & 255
        thread.start()
    edit.__exit__(None, None, None)
    thread.join()
    assert shared.data[-1] == rounds & 255
shared.close()
"""
    other.do(code, name=tag)


def test_an_edit_is_used_once(shared: SharedMemory[MyData]) -> None:
    edit = shared.edit()
    with pytest.raises(RuntimeError, match="not entered"):
        edit.__exit__(None, None, None)
    with edit, pytest.raises(RuntimeError, match="entered already"):
        edit.__enter__()
    assert not shared.lock.owned


def test_an_edit_ends_in_its_thread(shared: SharedMemory[MyData]) -> None:
    edit = shared.edit()
    with edit, pytest.raises(RuntimeError, match="by the thread"):
        in_thread(lambda: edit.__exit__(None, None, None))
    assert not shared.lock.owned


def test_a_thread_that_ends_in_an_edit_changes_nothing(shared: SharedMemory[MyData]) -> None:
    edits = []

    def begin() -> None:
        edits.append(shared.edit())
        edits[0].__enter__().my_int = 5

    in_thread(begin)
    assert shared.data.my_int == 0
    shared.data = MyData(1)
    with shared.lock:
        shared.data = MyData(2)
    assert shared.data.my_int == 2


def test_an_edit_that_is_dropped_changes_nothing(shared: SharedMemory[MyData]) -> None:
    edit = shared.edit()
    edit.__enter__().my_int = 5
    del edit
    assert not shared.lock.owned
    with shared.edit() as draft:
        assert draft.my_int == 0


def test_a_lock_that_is_released_and_not_taken_again_within_an_edit(shared: SharedMemory[MyData]) -> None:
    with pytest.raises(RuntimeError, match="was released within an edit"), shared.edit() as draft:  # noqa: PT012
        draft.my_int = 3
        shared.lock.release()
    with shared.edit() as draft:
        assert draft.my_int == 0


def test_a_forked_child_that_ends_within_an_edit(shared: SharedMemory[MyData]) -> None:
    """Its exit is what it says, and the edit is the parent's."""
    edit = shared.edit()
    edit.__enter__().my_int = 4
    pid = os.fork()
    if pid == 0:
        try:
            edit.__exit__(SystemExit, SystemExit(7), None)
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    edit.__exit__(None, None, None)
    assert shared.data.my_int == 4


def test_edits_under_the_lock_belong_together(shared: SharedMemory[MyData]) -> None:
    with shared.lock:
        shared.data = MyData(1)
        with shared.edit() as draft:
            draft.my_int += 1
        assert shared.lock.owned
        assert in_thread(lambda: shared.data).my_int == 2
    assert not shared.lock.owned


@pytest.mark.parametrize("use", ["s.data = MyData(2)", "s.edit().__enter__()", "s.live", "s.data = s.data"])
def test_closed_while_it_asks_which_task_has_the_lock(use: str, tag: str, actors: Callable[[], Actor]) -> None:
    """Another thread, or a signal handler, may close in between."""
    other = actors()
    code = f"""
import asyncio
async def main():
    with SharedMemory(MyData, name) as keep, SharedMemory(MyData, name) as s:
        keep.data = MyData(1)
        await s.lock.wait_one_async()
        def trace(frame, event, argument):
            if frame.f_code.co_name == "is_of_this_task":
                sys.settrace(None)
                s.close()
        sys.settrace(trace)
        try:
            {use}
        except ClosedError:
            closed = True
        finally:
            sys.settrace(None)
        keep.lock.release()
        return closed and not keep.lock.owned and keep.data == MyData(1)
_result = asyncio.run(main())
"""
    assert other.do(code, name=tag)


# ----------------------------------------------------------------------------------------------------------------- live


def test_the_owner_of_the_lock_changes_the_structure_itself(shared: SharedMemory[MyData], tag: str) -> None:
    with SharedMemory(MyData, tag) as same:
        with shared.lock:
            shared.live.pt.x = 3
            shared.live.my_int = 4
            assert shared.data == MyData(4, Point(3, 0)), "its owner sees it"
            assert shared.version == 1, "and makes no value of it yet"
        assert same.data == MyData(4, Point(3, 0))
        assert same.version == shared.version == 2
        assert same.statistics().adoptions + shared.statistics().adoptions == 1
        with same.edit() as draft:
            assert draft.pt.x == 3


def test_who_does_not_own_the_lock_has_no_live_structure(shared: SharedMemory[MyData]) -> None:
    with pytest.raises(RuntimeError, match="who owns the lock"):
        shared.live  # noqa: B018
    with shared.lock, pytest.raises(RuntimeError, match="who owns the lock"):
        in_thread(lambda: shared.live)


def test_a_reference_into_the_map_is_a_value_as_well(shared: SharedMemory[MyData]) -> None:
    shared.data = MyData(1, Point(2, 3))
    with shared.lock:
        live = shared.live
        live.my_int = 9
        shared.data = live
    assert shared.data == MyData(9, Point(2, 3))


# ------------------------------------------------------------------------------------------------------- other programs


def test_what_another_program_writes_becomes_the_value(shared: SharedMemory[MyData], tag: str) -> None:
    write_as_others_do(shared, MyData(1, Point(2, 3)))
    assert shared.data == MyData(1, Point(2, 3))
    assert shared.version == 2
    write_as_others_do(shared, MyData(4, Point(2, 3)))
    with shared.edit() as draft:
        draft.pt.y = 9
    assert shared.data == MyData(4, Point(2, 9))
    assert shared.version == 4
    write_as_others_do(shared, MyData(5))
    shared.data = MyData(6)
    assert shared.data == MyData(6)
    assert shared.statistics().adoptions == 3


def test_without_such_programs_readers_do_not_look(tag: str) -> None:
    with SharedMemory(MyData, tag, foreign=False) as shared, SharedMemory(MyData, tag) as same:
        assert not shared.foreign
        assert not same.foreign, "who has made it decides"
        shared.data = MyData(1)
        write_as_others_do(shared, MyData(2))
        assert shared.data == same.data == MyData(1)
        with shared.edit() as draft:
            draft.pt.x = 5
        assert same.data == MyData(1, Point(5, 0))
        with shared._file.create_view_accessor() as view:
            assert view.read(0, MyData) == MyData(1, Point(5, 0)), "such programs read"
        with shared.lock, pytest.raises(io.UnsupportedOperation, match="foreign=False"):
            shared.live  # noqa: B018


@pytest.mark.parametrize("size", [12, 32, 8192])
def test_a_map_of_another_program(tag: str, size: int, actors: Callable[[], Actor]) -> None:
    """Without a control block: under the lock all is as ever."""
    with MemoryMappedFile.create_new(tag, size) as map, map.create_view_accessor() as view:
        view.write(0, MyData(1, Point(2, 3)))
        if size > 12:
            view.write_byte(12, 77)
        with SharedMemory(MyData, tag) as shared:
            assert not shared.has_control
            assert shared.foreign
            assert shared.version is None
            assert shared.data == MyData(1, Point(2, 3))
            shared.data = MyData(4)
            with shared.edit() as draft:
                draft.pt.x += 5
            with pytest.raises(KeyError), shared.edit() as draft:  # noqa: PT012
                draft.pt.x = 1000
                raise KeyError
            with shared.lock:
                shared.live.pt.y = 6
            assert view.read(0, MyData) == MyData(4, Point(5, 6)) == shared.data
            other = actors()
            other.do("shared = SharedMemory(MyData, name); shared.data = MyData(8)", name=tag)
            assert not other.get("shared.has_control")
            other.do("shared.close()")
            assert shared.data == MyData(8)
            with pytest.raises(ValueError, match="no control block"):
                shared.wait_for_change(0, since=1)
        if size > 12:
            assert view.read_byte(12) == 77


def test_a_map_that_another_program_has_made_in_our_size(tag: str) -> None:
    """Its value is the first one."""
    with SharedMemory(MyData, tag) as first:
        size = first._file.capacity
    with MemoryMappedFile.create_new(tag, size) as map, map.create_view_accessor() as view:
        view.write(0, MyData(1, Point(2, 3)))
        with SharedMemory(MyData, tag) as shared:
            assert shared.has_control
            assert shared.data == MyData(1, Point(2, 3))
    with MemoryMappedFile.create_new(tag, size) as map, map.create_view_accessor() as view:
        view.write_byte(size - 20, 1)
        with SharedMemory(MyData, tag) as shared:
            assert not shared.has_control, "somebody uses what lies behind"


def test_the_locks_name(tag: str) -> None:
    with SharedMemory(MyData, tag) as shared, SharedMemory(MyData, f"{tag}2", lock_name=f"Local\\{tag}") as named:
        assert shared.lock.name == f"{tag}.lock"
        assert named.lock.name == f"Local\\{tag}"
    with SharedMemory(MyData, f"Local\\{tag}") as local:
        assert local.lock.name == f"Local\\{tag}.lock"
        assert local.name == f"Local\\{tag}"


# -------------------------------------------------------------------------------------------------------------- opening


def test_ways_to_make_and_to_open(tag: str) -> None:
    with pytest.raises(FileNotFoundError):
        SharedMemory.open_existing(MyData, tag)
    with SharedMemory.create_new(MyData, tag) as shared:
        with pytest.raises(NameInUseError):
            SharedMemory.create_new(MyData, tag)
        shared.data = MyData(1)
        with SharedMemory.open_existing(MyData, tag) as opened, SharedMemory.create_or_open(MyData, tag) as same:
            assert opened.data == same.data == MyData(1)
            assert opened.lock.name == shared.lock.name
    with pytest.raises(FileNotFoundError):
        SharedMemory.open_existing(MyData, tag)


def test_a_lock_that_is_held_is_in_nobodys_way_who_opens_and_reads(shared: SharedMemory[MyData], tag: str) -> None:
    shared.data = MyData(1)

    def other() -> Any:
        with SharedMemory(MyData, tag) as same:
            return same.data

    with shared.lock:
        assert in_thread(other) == MyData(1)
    with shared.edit() as draft:
        draft.my_int = 2
        assert in_thread(other) == MyData(1)


@pytest.mark.parametrize("other", [Wider, Point, 12, 13, 100, 5000])
def test_another_layout_is_refused_and_both_are_shown(shared: SharedMemory[MyData], tag: str, other: Any) -> None:
    with pytest.raises(LayoutMismatchError) as caught:
        SharedMemory(other, tag)
    message = str(caught.value)
    assert "0 int32 my_int" in message
    assert "asked for" in message
    assert "int64 more" in message or other is not Wider
    assert f"bytes {other}" in message or not isinstance(other, int)
    with pytest.raises(LayoutMismatchError):
        SharedMemory.open_existing(other, tag)
    assert shared.data == MyData()


def test_a_map_that_is_too_small(tag: str) -> None:
    with (
        MemoryMappedFile.create_new(tag, 11),
        pytest.raises(ValueError, match="11 bytes, which is too small for the 12 bytes"),
    ):
        SharedMemory(MyData, tag)


def test_what_it_says_of_itself(shared: SharedMemory[MyData], tag: str) -> None:
    assert shared.name == tag
    assert shared.path == shared._file.path
    assert shared.size == 12
    assert shared.type is MyData
    assert repr(shared) == f"<SharedMemory of MyData {tag!r}>"
    assert shared.version == 1
    assert shared.has_control
    assert shared.foreign
    assert SharedMemory[MyData]  # a generic class
    shared.close()
    assert repr(shared) == f"<SharedMemory of MyData {tag!r}, closed>"


def test_arguments_that_cannot_be(tag: str) -> None:
    with pytest.raises(TypeError):
        SharedMemory(MyData, None)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="empty"):
        SharedMemory(MyData, "")
    with pytest.raises(TypeError, match="foreign is True or False"):
        SharedMemory(MyData, tag, foreign=1)  # type: ignore[call-overload]


# -------------------------------------------------------------------------------------------------------------- the end


def test_after_close_everything_says_so(tag: str) -> None:
    shared = SharedMemory(MyData, tag)
    shared.close()
    shared.close()
    shared.dispose()
    assert shared.closed
    for use in (
        lambda: shared.data,
        lambda: setattr(shared, "data", MyData()),
        lambda: shared.version,
        lambda: shared.live,
        lambda: shared.edit().__enter__(),
        lambda: shared.wait_for_change(0),
        lambda: run(shared.wait_for_change_async(0)),
        lambda: shared.__enter__(),
        lambda: pickle.dumps(shared),
        shared.flush,
    ):
        with pytest.raises(ClosedError):
            use()


def test_closed_within_an_edit(tag: str) -> None:
    with SharedMemory(MyData, tag) as keeps:
        shared = SharedMemory(MyData, tag)
        with pytest.raises(ClosedError), shared.edit() as draft:  # noqa: PT012
            draft.my_int = 1
            shared.close()
        with pytest.raises(KeyError), SharedMemory(MyData, tag) as shared, shared.edit() as draft:  # noqa: PT012
            draft.my_int = 1
            shared.close()
            raise KeyError
        assert keeps.data == MyData()
        keeps.data = MyData(1)


def test_the_name_ends_with_the_last_user(tag: str, actors: Callable[[], Actor]) -> None:
    shared = SharedMemory(MyData, tag)
    other = actors()
    other.do("shared = SharedMemory(MyData, name); shared.data = MyData(3)", name=tag)
    shared.close()
    with SharedMemory(MyData, tag) as again:
        assert again.data.my_int == 3
    other.kill()
    with SharedMemory(MyData, tag) as fresh:
        assert fresh.data.my_int == 0
        assert fresh.version == 1


def test_dropped_unclosed(tag: str) -> None:
    shared = SharedMemory(MyData, tag)
    with pytest.warns(ResourceWarning, match="unclosed <SharedMemory of MyData"):
        del shared
    gc.collect()
    with pytest.raises(FileNotFoundError):
        SharedMemory.open_existing(MyData, tag)


def test_what_cannot_be_opened_leaves_nothing(shared: SharedMemory[MyData], tag: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with contextlib.suppress(LayoutMismatchError):
            SharedMemory(Wider, tag)
        gc.collect()
    assert caught == []


def test_pickled_by_name(shared: SharedMemory[MyData], tag: str) -> None:
    shared.data = MyData(1)
    data = pickle.dumps(shared)
    with pickle.loads(data) as same:
        assert same.data == MyData(1)
        same.data = MyData(2)
        assert same.lock.name == shared.lock.name
    assert shared.data == MyData(2)
    shared.close()
    with SharedMemory(MyData, tag), pytest.raises((FileNotFoundError, WaitHandleNotFoundError)):
        pickle.loads(data)


def test_a_forked_child_shares_it(shared: SharedMemory[MyData]) -> None:
    with shared.edit() as draft:
        draft.my_int = 1
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(20)
                assert not shared.lock.owned
                assert shared.data.my_int == 0
                os._exit(0)
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(20)
            with shared.edit() as draft:
                draft.my_int += 10
            shared.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert shared.data.my_int == 11


# ------------------------------------------------------------------------------------------------------------- waiting


def test_a_wait_ends_with_a_change(shared: SharedMemory[MyData], tag: str, actors: Callable[[], Actor]) -> None:
    assert not shared.wait_for_change(0)
    began = time.monotonic()
    assert not shared.wait_for_change(0.06)
    assert time.monotonic() - began >= 0.06 - 1e-6
    other = actors()
    other.do("shared = SharedMemory(MyData, name, foreign=False)", name=tag)
    for number in range(5):
        other.send("_result = shared.wait_for_change()")
        other_waits(shared)
        shared.data = MyData(number + 1)
        assert other.answer() is True
        assert other.get("shared.data.my_int") == number + 1
    assert not other.get("shared.wait_for_change(0)"), "it has read it"
    shared.data = MyData(100)
    assert other.get("shared.wait_for_change(0)"), "since it has read"
    assert other.get("shared.wait_for_change(0)"), "it has not read it"
    assert other.get("shared.wait_for_change(0, since=1)")
    assert not other.get("shared.wait_for_change(0, since=shared.version)")
    other.do("shared.close()")


def interrupted(code: str) -> str:
    return f"try:\n {code}\nexcept KeyboardInterrupt:\n _result = 'interrupted'"


def waiters(shared: SharedMemory[Any]) -> int:
    return shared._view.read_uint32(-(-shared.size // 64) * 64 + 128)


def other_waits(shared: SharedMemory[Any], count: int = 1) -> None:
    deadline = time.monotonic() + 20
    while waiters(shared) != count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_wait_of_quiet_maps_is_woken_at_once(tag: str) -> None:
    """Where other programs are not looked for, it is the wake that ends a wait before half a second is over."""
    with SharedMemory(8, tag, foreign=False) as shared, SharedMemory(8, tag) as same:
        times: list[float] = []
        for number in range(5):
            ended: list[float] = []

            def wait(ended: list[float] = ended) -> None:
                assert same.wait_for_change(20, since=shared.version)
                ended.append(time.monotonic())

            thread = threading.Thread(target=wait)
            thread.start()
            other_waits(shared)
            time.sleep(0.02)  # it sleeps by now; if not, this says less
            began = time.monotonic()
            shared.data = number.to_bytes(8, "little")
            thread.join(20)
            times.append(ended[0] - began)
        assert sorted(times)[2] < 0.1
        assert waiters(shared) == 0


@pytest.mark.parametrize("control", [True, False])
def test_a_wait_notices_what_other_programs_write(tag: str, control: bool, actors: Callable[[], Actor]) -> None:
    with ExitStack() as stack:
        if not control:
            stack.enter_context(MemoryMappedFile.create_new(tag, 32))
        shared = stack.enter_context(SharedMemory(MyData, tag))
        assert shared.has_control == control
        other = actors()
        other.do("shared = SharedMemory(MyData, name)", name=tag)
        other.send("_result = shared.wait_for_change(20)")
        if control:
            other_waits(shared)
        with shared.lock:
            write_as_others_do(shared, MyData(5))
            if control:
                assert not other.answered(0.2), "the lock is not released yet"
        assert other.answer() is True
        assert other.get("shared.data.my_int") == 5
        other.do("shared.close()")


def test_a_wait_ends_with_close_and_with_ctrl_c(tag: str, actors: Callable[[], Actor]) -> None:
    shared = SharedMemory(MyData, tag)
    failure: list[BaseException] = []

    def wait() -> None:
        try:
            shared.wait_for_change()
        except BaseException as error:  # noqa: BLE001
            failure.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    other_waits(shared)
    other = actors()
    other.do("shared = SharedMemory(MyData, name)", name=tag)
    other.send(interrupted("shared.wait_for_change()"))
    other_waits(shared, 2)
    other.process.send_signal(signal.SIGINT)
    assert other.answer() == "interrupted"
    other_waits(shared, 1)
    shared.close()
    thread.join(20)
    assert [type(error) for error in failure] == [ClosedError]
    other.do("shared.close()")


@pytest.mark.parametrize("wrong", [-1, 2**64])
def test_versions_that_cannot_be(shared: SharedMemory[MyData], wrong: int) -> None:
    with pytest.raises(OutOfRangeError):
        shared.wait_for_change(0, since=wrong)


@pytest.mark.parametrize("control", [True, False])
def test_tasks_wait(tag: str, control: bool) -> None:
    async def main() -> None:
        with ExitStack() as stack:
            if not control:
                stack.enter_context(MemoryMappedFile.create_new(tag, 32))
            shared = stack.enter_context(SharedMemory(MyData, tag))
            same = stack.enter_context(SharedMemory(MyData, tag))
            assert not await shared.wait_for_change_async(0)
            assert not await shared.wait_for_change_async(0.08)
            tasks = [asyncio.create_task(shared.wait_for_change_async()) for _ in range(3)]
            await turns()
            same.data = MyData(1)
            assert await asyncio.gather(*tasks) == [True] * 3
            assert shared.data.my_int == 1
            task = asyncio.create_task(shared.wait_for_change_async(10))
            await turns()
            with same.lock:
                same.live.my_int = 2
            assert await task
            assert shared.data.my_int == 2
            task = asyncio.create_task(shared.wait_for_change_async())
            await turns()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            if control:
                assert waiters(shared) == 0 or not await shared.wait_for_change_async(0.3)
            task = asyncio.create_task(shared.wait_for_change_async())
            await turns()
            shared.close()
            with pytest.raises(ClosedError):
                await task

    run(main())


def test_a_task_that_owns_the_lock_edits_and_no_other_does(shared: SharedMemory[MyData]) -> None:
    async def other() -> None:
        with pytest.raises(RuntimeError, match="task"):
            shared.data = MyData(5)
        with pytest.raises(RuntimeError, match="task"), shared.edit():
            pass
        with pytest.raises(RuntimeError, match="who owns"):
            shared.live  # noqa: B018

    async def main() -> None:
        async with shared.lock:
            shared.data = MyData(1)
            with shared.edit() as draft:
                draft.pt.x = 2
            shared.live.pt.y = 3
            await asyncio.create_task(other())
            assert shared.lock.owned
        assert not shared.lock.owned
        assert shared.data == MyData(1, Point(2, 3))
        with shared.edit():
            await asyncio.create_task(in_an_edit())

    async def in_an_edit() -> None:
        with pytest.raises(RuntimeError, match="within an edit"):
            shared.data = MyData(7)

    run(main())


# ------------------------------------------------------------------------------------------------ threads and handlers


def test_a_handler_that_closes_while_a_writer_waits(tag: str, actors: Callable[[], Actor]) -> None:
    shared = SharedMemory(MyData, tag)
    other = actors()
    other.do("shared = SharedMemory(MyData, name); shared.lock.wait_one()", name=tag)

    def close(*_: object) -> None:
        shared.close()
        other.send("shared.lock.release()")

    before = signal.signal(signal.SIGUSR1, close)
    main = threading.get_ident()
    thread = threading.Thread(target=lambda: (waited(shared), signal.pthread_kill(main, signal.SIGUSR1)))
    try:
        thread.start()
        with pytest.raises(ClosedError):
            shared.data = MyData(1)
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    other.answer()
    other.do("assert shared.data.my_int == 0; shared.data = MyData(2); shared.close()")


def waited(shared: SharedMemory[Any]) -> None:
    """Returns when somebody waits for the lock."""
    deadline = time.monotonic() + 20
    while not shared.lock.statistics().has_waiters:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("code", ["shared.data = MyData(5)", "shared.edit().__enter__()"])
def test_ctrl_c_while_a_writer_waits(
    shared: SharedMemory[MyData], tag: str, code: str, actors: Callable[[], Actor]
) -> None:
    other = actors()
    other.do("shared = SharedMemory(MyData, name)", name=tag)
    with shared.lock:
        other.send(interrupted(code))
        waited(shared)
        other.process.send_signal(signal.SIGINT)
        assert other.answer() == "interrupted"
    assert shared.data.my_int == 0
    shared.data = MyData(1)
    other.do("shared.close()")


def test_closed_by_another_thread_while_large_values_are_copied(tag: str) -> None:
    """The copies run without the GIL; what they touch stays."""
    size = 4_000_000
    with SharedMemory(size, tag) as keeps:
        for turn in range(6):
            shared = SharedMemory(size, tag)
            value = bytes([turn + 1]) * size
            begun = threading.Event()
            failures: list[BaseException] = []

            def work(
                shared: SharedMemory[bytes] = shared,
                value: bytes = value,
                begun: threading.Event = begun,
                failures: list[BaseException] = failures,
                turn: int = turn,
            ) -> None:
                try:
                    while True:
                        begun.set()
                        if turn % 3 == 0:
                            shared.data = value
                        elif turn % 3 == 1:
                            assert len(shared.data) == size
                        else:
                            with shared.edit() as draft:
                                draft[:] = value
                except BaseException as error:  # noqa: BLE001
                    failures.append(error)  # noqa: B023

            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            begun.wait(20)
            time.sleep(0.01)  # nothing hangs on it: the later the more copies were begun
            shared.close()
            for thread in threads:
                thread.join(20)
            assert {type(error) for error in failures} <= {ClosedError}, failures
            assert len(failures) == 2
            assert len(set(keeps.data)) == 1
            keeps.data = value


def test_readers_see_whole_values_while_threads_and_processes_write(tag: str, actors: Callable[[], Actor]) -> None:
    size = 1000
    with SharedMemory(size, tag) as shared:
        others = [actors(), actors()]
        for number, other in enumerate(others):
            other.do(
                "shared = SharedMemory(1000, name); values = [bytes([number * 100 + i]) * 1000 for i in range(100)]",
                name=tag,
                number=number,
            )
            other.send("for _ in range(300):\n for value in values: shared.data = value")
        last = 0
        while not all(other.answered(0) for other in others):
            for _ in range(200):
                assert len(set(shared.data)) == 1
                assert shared.version >= last  # type: ignore[operator]
                last = shared.version or 0
        for other in others:
            other.answer()
            other.do("shared.close()")
        assert shared.version == 60_001
        assert shared.data in (bytes([99]) * size, bytes([199]) * size)


def test_nothing_is_left_of_what_was_closed(tag: str, actors: Callable[[], Actor]) -> None:
    other = actors()
    other.do("""
from support.here import handles, resource
def use():
    with SharedMemory(MyData, tag) as shared:
        shared.data = MyData(1)
        with shared.edit() as draft:
            draft.pt.x = 5
        with shared.lock:
            shared.live.my_int = 4
        assert shared.data.my_int == 4
        shared.wait_for_change(0)
        try:
            SharedMemory(13, tag)
        except LayoutMismatchError:
            pass
    with SharedMemory(300_000, tag) as raw:
        raw.data = bytes(300_000)
        with raw.edit() as draft:
            draft[0] = 1
        raw.data
def left():
    gc.collect()
    return len(handles() or os.listdir("/proc/self/fd")), sys.getrefcount(MyData), sys.getrefcount(MyData(2).pt)
""")
    other.do("for _ in range(20): use()\nbefore = left()", tag=tag)
    peak = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if resource else 0"
    other.do(f"peak = {peak}\nfor _ in range(100): use()", tag=tag)
    assert other.get("left() == before")
    assert other.get(f"({peak}) - peak") < 1500, "kilobytes"
