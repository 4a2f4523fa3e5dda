# SPDX-License-Identifier: MIT
"""State files of mutexes that are not what they should be: an error, or a normal result, and soon. Never a crash, never
a wait without end, and what is not ours is left as it is.

Each operation runs in a child, which must answer within a limit. What may come of it is a result or an exception that
is an OSError or one of the library's. MEMORYMAPPED_TEST_SEED repeats a run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import needs_root
from support.actors import PRELUDE, Actor
from support.leftovers import files_of
from support.strangers import (
    COUNT,
    GLIBC,
    HEADER,
    KIND,
    RECORD,
    ROBUST_RECURSIVE_SHARED,
    USED,
    WORD,
    path_of,
)

from memorymapped import (
    DamagedObjectError,
    ForeignObjectError,
    MemoryFaultError,
    WaitHandleCannotBeOpenedError,
    WaitHandleNotFoundError,
)

SEED = int(os.environ.get("MEMORYMAPPED_TEST_SEED", random.SystemRandom().getrandbits(32)))
NOBODY = 65534
PAGE = os.sysconf("SC_PAGESIZE")
LIMIT = 8.0  # seconds for one operation
NOT_THERE = 0x3FFFFFF0  # a thread id that the kernel never gives

TRIED = """
import faulthandler, warnings
faulthandler.enable()
warnings.simplefilter("ignore", ResourceWarning)
def tried(function, *arguments):
    "What came of it; an exception that is neither a system's nor the library's goes through."
    try:
        return function(*arguments)
    except AbandonedMutexError as error:
        return "abandoned"
    except (OSError, MemoryMappedFileError) as error:
        return type(error).__name__
def used(mutex, timeout):
    "Takes it, gives it back, closes it."
    said = [tried(mutex.wait_one, timeout)]
    if mutex.owned:
        said.append(tried(mutex.release_mutex))
    said.append(tried(mutex.close))
    return said
"""


@pytest.fixture
def child(tag: str) -> Iterator[Actor]:
    with Actor(prelude=PRELUDE + TRIED, timeout=LIMIT) as actor:
        yield actor
        assert actor.finish() == 0


@pytest.fixture
def name(tag: str, child: Actor) -> str:
    """A name in a folder that is there."""
    name = f"Global\\{tag}"
    child.do("keeps = Mutex(name=name + '-keeps-the-folder')", name=name)
    return name


def fresh() -> bytearray:
    """The bytes of a mutex that nobody owns."""
    data = bytearray(PAGE)
    data[1] = 1
    data[KIND] = ROBUST_RECURSIVE_SHARED
    data[RECORD : RECORD + 16] = b"\xff" * 8 + b"\0" + b"\xff" * 7
    return data


@contextlib.contextmanager
def in_use(path: Path, data: bytes) -> Iterator[int]:
    """A file that somebody uses. Its descriptor."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(fd, data)
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield fd
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


# --------------------------------------------------------------------------------------------- in the place of a file


def link_to_a_mutex(path: Path, other: Path) -> None:
    other.write_bytes(fresh())
    path.symlink_to(other)


def dangling_link(path: Path, other: Path) -> None:
    path.symlink_to(other)


def second_name(path: Path, other: Path) -> None:
    other.write_bytes(fresh())
    os.link(other, path)


def folder(path: Path, _: Path) -> None:
    path.mkdir()


def fifo(path: Path, _: Path) -> None:
    os.mkfifo(path, 0o666)


def socket_(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(path.parent, os.O_RDONLY)  # a socket's path may have only 107 bytes
        listening.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


def device(path: Path, _: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 7))  # /dev/full


IN_ITS_PLACE = (link_to_a_mutex, dangling_link, second_name, folder, fifo, socket_, device)


@pytest.mark.parametrize("put", IN_ITS_PLACE)
def test_what_is_no_plain_file_is_refused_and_left_alone(
    put: Callable[[Path, Path], None], child: Actor, name: str, tmp_path: Path
) -> None:
    path, other = path_of(name), path_of(name).with_name(path_of(name).name + "-other")
    if put in (link_to_a_mutex, dangling_link):
        other = tmp_path / "other"
    put(path, other)
    try:
        before = path.lstat()
        content = other.read_bytes() if other.exists() else None
        for code in ("Mutex(name=name)", "Mutex(True, name)", "Mutex.open_existing(name)"):
            with pytest.raises(ForeignObjectError, match=path.name):
                child.do(code, name=name)
        with pytest.raises(ForeignObjectError):
            child.do("Mutex.try_open_existing(name)")
        after = path.lstat()
        assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_mtime_ns)
        assert (other.read_bytes() if other.exists() else None) == content
    finally:
        path.rmdir() if put is folder else path.unlink()
        other.unlink(missing_ok=True)
    child.do("m = Mutex(name=name); assert m.created_new; m.close()")


@pytest.mark.parametrize("content", ["nothing", "one byte", "a text", "random bytes", "an owned mutex", "much"])
def test_what_nobody_uses_counts_for_nothing(content: str, child: Actor, name: str) -> None:
    path = path_of(name)
    data = fresh()
    data[WORD : WORD + 4] = struct.pack("<I", os.getpid())
    contents = {"nothing": b"", "one byte": b"\0", "a text": b"hello" * 99, "an owned mutex": bytes(data)}
    contents.update({"random bytes": random.Random(SEED).randbytes(PAGE), "much": b"x"})
    for code in ("m = Mutex(True, name); assert m.created_new", "assert Mutex.try_open_existing(name) is None"):
        path.write_bytes(contents[content])
        if content == "much":
            os.truncate(path, 1 << 40)
        child.do(code, name=name)
        if code.startswith("m"):
            assert len(path.read_bytes()) == PAGE
            assert path.read_bytes()[:2] == b"\0\1"
            child.do("m.release_mutex(); assert m.wait_one(0); m.release_mutex(); m.close()")
        assert not path.exists()


@needs_root
def test_files_of_other_users(tag: str, child: Actor, name: str) -> None:
    # A user's own: whatever another user has put there is refused, used or not.
    own = path_of(tag)
    child.do("kept = Mutex(name=name)", name=f"{tag}-kept")
    own.write_bytes(fresh())
    os.chown(own, NOBODY, NOBODY)
    for code in ("Mutex(name=name)", "Mutex.open_existing(name)"):
        with pytest.raises(ForeignObjectError, match=str(NOBODY)):
            child.do(code, name=tag)
    assert own.stat().st_uid == NOBODY
    own.unlink()
    # Everybody's: who may not write to it is told so.
    path = path_of(name)
    path.write_bytes(fresh())
    path.chmod(0o600)
    with Actor(prelude=PRELUDE + TRIED, timeout=LIMIT) as other:
        other.do("Mutex(name=name).close()", name=f"{name}-loads")
        other.do("os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)", uid=NOBODY)
        for code in ("Mutex(name=name)", "Mutex.open_existing(name)"):
            with pytest.raises(PermissionError, match=tag):
                other.do(code, name=name)
    path.unlink()
    child.do("kept.close()")


@pytest.mark.parametrize("wrong", ["a file", "a link", "a dangling link", "a fifo", "another mode"])
def test_something_in_the_place_of_the_sessions_folder(wrong: str, child: Actor, tag: str, tmp_path: Path) -> None:
    name = f"Local\\{tag}"
    child.do("keeps = Mutex(name=name)", name=f"Global\\{tag}")  # .dotnet/shm is there
    with Actor(prelude=PRELUDE + TRIED, timeout=LIMIT, start_new_session=True) as other:
        place = path_of(name, session=other.pid).parent
        try:
            if wrong == "a file":
                place.touch()
            elif wrong == "a link":
                place.symlink_to(tmp_path)
            elif wrong == "a dangling link":
                place.symlink_to(tmp_path / "nothing")
            elif wrong == "a fifo":
                os.mkfifo(place)
            else:
                place.mkdir(0o1700)
                other.do("m = Mutex(name=name); assert m.created_new; m.close()", name=name)
                return
            for code in ("Mutex(name=name)", "Mutex.open_existing(name)"):
                with pytest.raises(ForeignObjectError, match=place.name):
                    other.do(code, name=name)
            assert list(tmp_path.iterdir()) == []
        finally:
            with contextlib.suppress(FileNotFoundError):
                place.rmdir() if wrong == "another mode" else place.unlink()
            assert other.finish() == 0


# ----------------------------------------------------------------------------------------------------- while it is used


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\0\1", bytes(PAGE), b"\0\2" + fresh()[2:], b"\1\1" + fresh()[2:], fresh()[: USED - 1],
     fresh()[:KIND] + bytes((fresh()[KIND] - 1,)) + fresh()[KIND + 1 :], fresh()[:KIND] + bytes(PAGE - KIND),
     fresh()[: KIND + 1] + b"\1" + fresh()[KIND + 2 :], b"\xff" * PAGE],
    ids=["empty", "a byte", "header only", "zeros", "version 2", "another type", "short", "not recursive", "no kind",
         "more flags", "ones"],
)  # fmt: skip
def test_no_mutex_of_this_format_is_refused(data: bytes, child: Actor, name: str) -> None:
    path = path_of(name)
    with in_use(path, bytes(data)):
        for code in ("Mutex(name=name)", "Mutex(True, name)", "Mutex.open_existing(name)"):
            with pytest.raises(WaitHandleCannotBeOpenedError) as caught:
                child.do(code, name=name)
            assert not isinstance(caught.value, WaitHandleNotFoundError)
        assert path.read_bytes()[: len(data)] == data


def test_a_file_that_is_short_or_long_but_has_all_is_used(child: Actor, name: str) -> None:
    for size in (USED, PAGE - 1, 3 * PAGE):
        with in_use(path_of(name), bytes(fresh()[:size].ljust(size, b"\0"))):
            child.do("m = Mutex(name=name); assert not m.created_new", name=name)
            assert child.get("used(m, 0)") == [True, None, None]
            assert path_of(name).stat().st_size >= PAGE


@pytest.mark.parametrize("size", [0, 1, USED - 1])
def test_a_page_that_is_cut_off_is_an_error(size: int, child: Actor, name: str) -> None:
    with in_use(path_of(name), bytes(fresh())) as fd:
        child.do("m = Mutex(name=name); m.wait_one(0); m.release_mutex()", name=name)
        os.ftruncate(fd, size)
        said = child.get("[tried(m.wait_one, 0.01), tried(m.wait_one), tried(m.__enter__)]") if size == 0 else []
        assert set(said) <= {"MemoryFaultError"}
        if size == 0:
            assert child.get("[tried(m.locked), tried(m.statistics)]") == ["MemoryFaultError"] * 2
            assert "its memory is gone" in child.get("repr(m)")
        if size:  # the page's rest reads as zeros: no mutex any more, or one whose record is lost
            child.do("tried(m.wait_one, 0.01); m.owned and tried(m.release_mutex)")
        child.do("m.close()")
        # And while it is owned.
        os.ftruncate(fd, 0)
        os.pwrite(fd, bytes(fresh()), 0)
        child.do("m = Mutex(name=name); assert m.wait_one(0)")
        os.ftruncate(fd, size)
        child.do("said = tried(m.release_mutex), tried(m.close)")
        if size == 0:
            assert child.get("said[0]") in ("MemoryFaultError", "DamagedObjectError")
    # It still works with others.
    child.do("n = Mutex(name=name + '2'); assert used(n, 0) == [True, None, None]")


def word(value: int) -> bytes:
    return struct.pack("<I", value)


DAMAGES: dict[str, tuple[int, Callable[[int], bytes], object]] = {
    # where, what (given the child's thread), what a wait of 3 s says
    "another kind": (KIND, lambda _: word(0x80), "DamagedObjectError"),
    "no kind": (KIND, lambda _: word(0), "DamagedObjectError"),
    "not recoverable": (HEADER + 8 if GLIBC else WORD, lambda _: word(0x7FFFFFFE + (not GLIBC)), "DamagedObjectError"),
    "owned by nobody there is": (WORD, lambda _: word(NOT_THERE), "DamagedObjectError"),
    "owned by one who waits": (WORD, lambda thread: word(thread), "DamagedObjectError"),
    "owned by one who lives": (WORD, lambda _: word(os.getpid()), False),
    "its owner has died": (WORD, lambda _: word(0x40000000), "abandoned"),
    "its owner has died, and others wait": (WORD, lambda _: word(0xC0000000), "abandoned"),
    # (No kernel leaves that. glibc takes it, musl takes it for owned.)
    "one who is not there has died": (
        WORD,
        lambda _: word(0x40000000 | NOT_THERE),
        "abandoned" if GLIBC else "DamagedObjectError",
    ),
    "others wait": (WORD, lambda _: word(0x80000000), None),
    "list pointers": (HEADER + 24, lambda _: struct.pack("<QQ", 0x4141414141414141, 0xFFFFFFFFFFFFFFFF), True),
    "a count": (COUNT, lambda _: word(5), True if GLIBC else "DamagedObjectError"),
    "record of others": (RECORD, lambda _: b"\x55" * 8, True),
    "header": (0, lambda _: b"\xff" * 8, True),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_changed_while_it_is_free(damage: str, child: Actor, name: str) -> None:
    where, what, expected = DAMAGES[damage]
    with in_use(path_of(name), bytes(fresh())) as fd:
        thread = child.get("threading.get_native_id()")
        child.do("m = Mutex(name=name); m.wait_one(0); m.release_mutex()", name=name)
        os.pwrite(fd, what(thread), where)
        # Whatever it says with no time: it does not crash and does not wait.
        said = child.get("used(m, 3)")
        if expected is not None:
            assert said[0] == expected
        assert said[-1] is None, "close always works"
    child.do("n = Mutex(name=name + '2'); assert used(n, 0) == [True, None, None]")


def test_a_wait_without_end_ends_when_the_mutex_is_damaged_meanwhile(child: Actor, name: str) -> None:
    for damage in (lambda fd: os.pwrite(fd, word(0), KIND), lambda fd: os.pwrite(fd, word(NOT_THERE), WORD),
                   lambda fd: os.ftruncate(fd, 0)):  # fmt: skip
        data = fresh()
        data[WORD : WORD + 4] = word(threading.get_native_id() | 0x80000000)
        with in_use(path_of(name), bytes(data)) as fd:
            child.send("m = Mutex(name=name); said = tried(m.wait_one)", name=name)
            assert not child.answered(0.1)
            damage(fd)
            child.answer()
            assert child.get("said") in (DamagedObjectError.__name__, MemoryFaultError.__name__)
            child.do("m.close()")


WHILE_OWNED: dict[str, tuple[int, bytes]] = {
    "list pointers": (HEADER + 24, struct.pack("<QQ", 0x4141414141414140, 0x4242424242424240)),
    "list pointers to zero": (HEADER + 24, bytes(16)),
    "list pointers, forward only": (HEADER + 32, struct.pack("<Q", 0x4141414141414140)),
    "the kind": (KIND, word(0)),
    "the word: free": (WORD, word(0)),
    "the word: another's": (WORD, word(1)),
    "the word: waiters": (WORD, word(NOT_THERE | 0x80000000)),
    "the count": (COUNT, word(9)),
    "the owner": (HEADER + 8, word(1)),
    "the record": (RECORD, b"\x99" * 24),
    "all of it": (0, b"\xee" * PAGE),
    "all of it, zeros": (0, bytes(PAGE)),
}


@pytest.mark.parametrize("damage", WHILE_OWNED)
def test_what_is_changed_while_it_is_owned(damage: str, child: Actor, name: str) -> None:
    """Nothing is promised for the mutex; but the process goes on, and its other mutexes work."""
    where, what = WHILE_OWNED[damage]
    with in_use(path_of(name), bytes(fresh())) as fd:
        child.do("m = Mutex(name=name); assert m.wait_one(0)", name=name)
        os.pwrite(fd, what, where)
        child.do("said = tried(m.release_mutex), tried(m.close); del m; gc.collect()")
        child.do(
            "others = [Mutex(name=f'{name}-{i}') for i in range(5)]\n"
            "for other in others: assert other.wait_one(0)\n"
            "for other in others: other.release_mutex()\n"
            "thread = threading.Thread(target=lambda: [used(other, 0) for other in others]); thread.start()\n"
            "thread.join()\n"
            "gc.collect()"
        )


# ------------------------------------------------------------------------------------------------------------- fuzzing


def fuzzed(chance: random.Random, child: int) -> bytes:
    """A page that is a mutex more or less."""
    data = fresh()
    way = chance.randrange(4)
    if way == 0:
        data[2:USED] = chance.randbytes(USED - 2)
    elif way == 1:
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(USED)] = chance.choice((0, 1, 0x40, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    elif way == 2:
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(HEADER, USED - 8, 4)
            value = chance.choice(
                (0, 1, os.getpid(), child, 0x40000000, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFE, 0x7FFFFFFF)
            )
            data[at : at + 4] = word(value)
    else:
        at = chance.randrange(USED * 8)
        data[at // 8] ^= 1 << at % 8
    if chance.random() < 0.8:
        data[KIND : KIND + 4] = word(ROBUST_RECURSIVE_SHARED)
        data[:2] = b"\0\1"
    size = chance.choice((PAGE, PAGE, PAGE, PAGE, PAGE, USED, chance.randrange(PAGE), 2 * PAGE))
    return bytes(data[:size].ljust(size, b"\0"))


def fuzz(name: str, tag: str, rounds: int) -> None:
    print(f"seed {SEED}")
    said: dict[str, int] = {}
    done = 0
    while done < rounds:
        # One child for some rounds: what one has left behind in the thread's list is there for the next.
        with Actor(prelude=PRELUDE + TRIED, timeout=LIMIT) as child:
            for _ in range(min(100, rounds - done)):
                chance = random.Random(f"{SEED} {done}")
                before, after = fuzzed(chance, child.pid), fuzzed(chance, child.pid)
                timeout = chance.choice((0, 0, 0, 0.001, 0.01))
                what = f"seed {SEED}, round {done}"
                done += 1
                try:
                    if chance.random() < 0.5:
                        with in_use(path_of(name), before):
                            child.do("m = tried(lambda: Mutex(name=name))", name=name)
                            child.do("said = [m] if type(m) is str else used(m, timeout)", timeout=timeout)
                            result = child.get("said")
                    else:
                        with in_use(path_of(name), bytes(fresh())) as fd:
                            child.do("m = Mutex(name=name); m.wait_one(); m.release_mutex()", name=name)
                            os.pwrite(fd, after, 0)
                            if len(after) < PAGE:
                                os.ftruncate(fd, len(after))
                            result = child.get("used(m, timeout)", timeout=timeout)
                except Exception as error:
                    error.add_note(f"{what}: {before.hex()[: 2 * USED]} {after.hex()[: 2 * USED]}")
                    raise
                said[str(result)] = said.get(str(result), 0) + 1
            child.do("n = Mutex(name=name + '2'); assert used(n, 0) == [True, None, None]")
            assert child.finish() == 0
    print(said)
    assert len(said) > 4
    assert files_of(tag + "2") == []


@pytest.mark.timeout(120)
def test_fuzzed(tag: str, name: str) -> None:
    fuzz(name, tag, 300)


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_fuzzed_for_longer(tag: str, name: str) -> None:
    fuzz(name, tag, 8000)
