# SPDX-License-Identifier: MIT
"""Segment files that are damaged, whose lock was abandoned by a program that knows nothing of us, or whose control
object is garbage: what is still whole is read, everything else is an error that says what it is."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from peers import needs_root, peers
from root import ROOT, SHM
from support.actors import Actor
from support.here import WINDOWS
from support.mounts import mounted

from memorymapped import (
    DamagedObjectError,
    DamagedSegmentError,
    MemoryFaultError,
    MemoryMappedFile,
    OutOfRangeError,
    SegmentFile,
)
from memorymapped import MemoryMappedFileAccess as Access
from memorymapped._native.segments import CONTROL_SIZE, crc32c

SEED = int(os.environ.get("MEMORYMAPPED_TEST_SEED", random.SystemRandom().getrandbits(32)))
SECONDS = float(os.environ.get("MEMORYMAPPED_TEST_SECONDS", "10"))
CAPACITY = 64 * 1024
WORDS = [f"text number {i}" for i in range(20)]


def article(*segments: bytes) -> bytes:
    return b"".join(struct.pack("<i", len(each)) + each for each in segments)


def offset(number: int, words: list[str] = WORDS) -> int:
    return sum(4 + 2 * len(word) for word in words[:number])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of the words."""
    path = tmp_path / "file"
    path.write_bytes(article(*(word.encode("utf-16-le") for word in WORDS)).ljust(CAPACITY, b"\0"))
    return path


def patch(path: Path, at: int, data: bytes) -> None:
    with open(path, "r+b", buffering=0) as file:
        file.seek(at)
        file.write(data)


@contextlib.contextmanager
def opened(path: Path, **options: Any) -> Iterator[SegmentFile]:
    with SegmentFile.create_from_file(path, **options) as segments:
        yield segments


# ---------------------------------------------------------------------------------------------------- damaged lengths


@pytest.mark.parametrize("length", [-1, -(2**31), CAPACITY, 2**31 - 1])
def test_a_damaged_length(length: int, path: Path) -> None:
    patch(path, offset(7), struct.pack("<i", length))
    before = path.read_bytes()
    with opened(path) as segments:
        assert len(segments) == 7
        assert list(segments) == WORDS[:7]
        assert segments[-1] == WORDS[6]
        for read in (segments.read, segments.read_bytes, segments.view):
            with pytest.raises(DamagedSegmentError, match=f"damaged at segment 7: the length at offset {offset(7)} is"):
                read(7)
        with pytest.raises(DamagedSegmentError):
            segments.read(12)
        with pytest.raises(DamagedSegmentError):
            segments.wait_for(7, 1)
        with pytest.raises(DamagedSegmentError, match="nothing can be appended"):
            segments.append("more")
        report = segments.check()
        assert (report.segments, report.end, report.whole) == (7, offset(7), False)
        assert report.damage is not None
        assert (report.damage.segment, report.damage.offset) == (7, offset(7))
        assert "negative" in report.damage.reason or "follow" in report.damage.reason
        assert [each.data.decode("utf-16-le") for each in segments.recover()] == WORDS[:7]
    assert path.read_bytes() == before


def test_damage_while_it_is_open(path: Path) -> None:
    """What is known is still read; a newcomer does not get it."""
    with opened(path) as segments:
        assert len(segments) == 20
        patch(path, offset(3), b"\xff\xff\xff\xff")
        assert segments[19] == WORDS[19]
        report = segments.check()
        assert (report.segments, report.damage is None) == (3, False)
        patch(path, offset(3), bytes(4))
        assert "was not before" in segments.check().damage.reason  # type: ignore[union-attr]
        with opened(path) as newcomer:
            assert len(newcomer) == 3


def test_opening_destroys_nothing(path: Path) -> None:
    """A length that was zeroed by damage looks like the end. Behind it lies what could be saved by hand."""
    patch(path, offset(5), bytes(4))
    before = path.read_bytes()
    with opened(path) as segments:
        assert len(segments) == 5
        report = segments.check()
        assert report.damage is None
        assert report.behind == offset(20) - 1 - offset(5)  # the last byte of a text is 0
    assert path.read_bytes() == before
    with opened(path) as segments:
        segments.append("new")  # now it counts as the rest of a killed writer
        assert segments.check().behind == 0
    assert path.read_bytes()[offset(5) + 10 :].strip(b"\0") == b""


# --------------------------------------------------------------------------------------------------------- checksums


@pytest.fixture
def summed(tmp_path: Path) -> Path:
    path = tmp_path / "summed"
    with opened(path, capacity=CAPACITY, checksums=True) as segments:
        for word in WORDS:
            segments.append(word)
        assert segments.check().whole
        assert segments.check().without_checksum == 0
    return path


def test_the_checksum_is_crc_32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(memoryview(b"x123456789")[1:]) == 0xE3069283


def test_a_changed_byte_is_noticed(summed: Path) -> None:
    patch(summed, offset(4) + 6, b"\x7f")
    for options in ({"checksums": True}, {}):  # once there are checksums, they are kept and looked at
        with opened(summed, **options) as segments:
            assert segments[3] == WORDS[3]
            for read in (segments.read, segments.read_bytes, segments.view):
                with pytest.raises(DamagedSegmentError, match=r"segment 4 .* is not what was written"):
                    read(4)
            assert segments[5] == WORDS[5]
            report = segments.check()
            assert (report.bad_checksums, report.damage, report.whole) == ((4,), None, False)
            recovered = list(segments.recover())
            assert [each.number for each in recovered] == [*range(4), *range(5, 20)]
            assert all(each.checked for each in recovered)
    with opened(summed) as segments:
        assert segments.append("new") == 20
        assert segments.check().without_checksum == 0


@pytest.mark.parametrize("length", [-5, 0, 3, 2**31 - 1])
def test_behind_a_damaged_length_it_goes_on(length: int, summed: Path) -> None:
    patch(summed, offset(4), struct.pack("<i", length))
    with opened(summed) as segments:
        report = segments.check()
        assert not report.whole
        recovered = {each.number: each.data.decode("utf-16-le") for each in segments.recover()}
    assert recovered == dict(enumerate(WORDS))


@pytest.mark.parametrize(("length", "entry"), [(21, None), (3, None), (21, 9), (-5, 9), (0, None)])
def test_recovery_finds_the_next_whole_one(length: int, entry: int | None, summed: Path) -> None:
    """Where a segment has another possible length, and other bytes, and its checksum may be wrong too."""
    patch(summed, offset(4), struct.pack("<i", length))
    patch(summed, offset(4) + 6, b"\x7f")
    if entry is not None:
        patch(summed.with_name("summed.sums"), 16 + 8 * 4, struct.pack("<I", entry))
    with opened(summed) as segments:
        recovered = {each.number: each.data.decode("utf-16-le") for each in segments.recover()}
    assert recovered == {number: word for number, word in enumerate(WORDS) if number != 4}


def test_recovery_passes_a_damaged_region(summed: Path) -> None:
    """With lengths in it: those of the checksums lead over it."""
    patch(summed, offset(4), b"\1" * (offset(9) - offset(4)))
    patch(summed.with_name("summed.sums"), 16 + 8 * 6, bytes(8))
    with opened(summed) as segments:
        assert [each.number for each in segments.recover()] == [*range(4), *range(9, 20)]


def test_foreign_segments_have_none(summed: Path) -> None:
    patch(summed, offset(20), article("zwölf".encode("utf-16-le")))
    with opened(summed) as segments:
        assert segments[20] == "zwölf"
        assert segments.append("after") == 21
        report = segments.check()
        assert (report.without_checksum, report.whole) == (1, True)
        assert [each.checked for each in segments.recover()] == [*[True] * 20, False, True]


def test_checksums_belong_to_a_file_and_not_to_its_path(tmp_path: Path) -> None:
    """As when files are rotated, and one of them is still in use."""
    path = tmp_path / "log"
    with opened(path, capacity=10_000, encoding=None, checksums=True) as old:
        for i in range(5):
            old.append(b"old %d" % i)
        path.rename(tmp_path / "log.1")
        with opened(path, capacity=10_000, encoding=None, checksums=True) as new:
            for i in range(8):
                new.append(b"newer %d" % i)
                old.append(b"old still %d" % i)
            for each in (old, new):
                assert each.check().whole
                assert each.check().without_checksum == 0
                assert len(each[:]) == len(each)
    with opened(path, encoding=None) as new:
        assert new.check().without_checksum == 0
    (tmp_path / "log.1").replace(path)
    for access in (Access.READ, Access.READ_WRITE):
        with opened(path, encoding=None, access=access) as old:
            assert old[4:6] == [b"old 4", b"old still 0"]
            assert old.check().whole


def test_checksums_of_a_copy_are_kept(summed: Path, tmp_path: Path) -> None:
    """Also if it is damaged: from a backup it has another inode."""
    patch(summed, offset(4), struct.pack("<i", -5))
    copy = tmp_path / "copy"
    copy.write_bytes(summed.read_bytes())
    (tmp_path / "copy.sums").write_bytes(summed.with_name("summed.sums").read_bytes())
    with opened(copy) as segments:
        assert [each.number for each in segments.recover() if each.checked] == list(range(20))


def test_checksums_by_a_symbolic_link(summed: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(summed)
    with opened(tmp_path / "link") as linked, opened(summed) as segments:
        linked.append("by the link")
        assert segments.check().without_checksum == 0
    assert not (tmp_path / "link.sums").exists()


def test_checksums_by_another_name_of_the_file(tmp_path: Path) -> None:
    """In the same folder they are found; elsewhere nobody would look for them."""
    path, link, far = tmp_path / "name", tmp_path / "another", tmp_path / "folder" / "name"
    with opened(path, capacity=1000, checksums=True) as segments:
        segments.append("a")
        link.hardlink_to(path)
        with opened(link) as linked:
            linked.append("b")
        assert segments.check().without_checksum == 0
    with opened(link, checksums=True) as linked:
        linked.append("c")
        assert (linked.check().without_checksum, linked.check().whole) == (0, True)
    assert not (tmp_path / "another.sums").exists()
    far.parent.mkdir()
    far.hardlink_to(path)
    for name in (path, link):
        with pytest.raises(ValueError, match=r"has 3 names \(hard links\), 1 of them not in the folder"), opened(name):
            pass
    with pytest.raises(ValueError, match=r"has 3 names \(hard links\), 2 of them not in the folder"):
        SegmentFile.create_from_file(far, checksums=True)
    far.unlink()
    with opened(path) as segments:
        assert segments[:] == ["a", "b", "c"]


def test_a_wrong_entry_of_the_checksums_hides_nothing_whole(summed: Path) -> None:
    patch(summed.with_name("summed.sums"), 16 + 8 * 4, struct.pack("<I", 7))
    with opened(summed) as segments:
        assert segments.check().bad_checksums == (4,)
        assert [each.data.decode("utf-16-le") for each in segments.recover()] == WORDS


@pytest.mark.parametrize("content", [b"d41d8cd98f00b204e9800998ecf8427e  file\n", bytes(8) + b"my own " * 100, b""])
def test_another_file_of_that_name_stays_as_it_is(content: bytes, path: Path) -> None:
    other = path.with_name(path.name + ".sums")
    other.write_bytes(content)
    with opened(path, access=Access.READ) as reader:
        assert list(reader) == WORDS
    assert other.read_bytes() == content
    if content:
        with opened(path) as segments:
            assert segments.append("x") == 20
        with pytest.raises(DamagedObjectError, match="remove it"), opened(path, checksums=True):
            pass
        assert other.read_bytes() == content


def test_a_grown_file_with_checksums_is_read(summed: Path) -> None:
    with opened(summed) as segments:
        segments.grow(100 * CAPACITY)
    before = summed.with_name("summed.sums").read_bytes()
    with opened(summed, access=Access.READ) as reader:
        assert list(reader) == WORDS
        assert reader.check().without_checksum == 0
    assert summed.with_name("summed.sums").read_bytes() == before


def test_more_checksums_than_there_was_room_for(tmp_path: Path) -> None:
    with opened(tmp_path / "many", capacity=CAPACITY, checksums=True, encoding=None) as segments:
        with opened(tmp_path / "many", encoding=None) as other:
            for i in range(3000):
                assert (segments if i % 3 else other).append(struct.pack("<i", i)) == i
        assert segments.check().whole
        assert segments.check().without_checksum == 0
    with SegmentFile.create_new(CAPACITY, checksums=True, encoding=None) as named:
        for i in range(3000):
            named.append(struct.pack("<i", i))
        with SegmentFile.open_existing(named.file_id, encoding=None) as other:
            assert other.check().without_checksum == 0
            assert other[2999] == struct.pack("<i", 2999)


def test_checksums_that_another_thread_has_opened_meanwhile_stay(summed: Path) -> None:
    with opened(summed) as segments:
        there, descriptors = segments._sums, len(os.listdir("/proc/self/fd"))
        segments._open_sums(Access.READ_WRITE)
        assert segments._sums is there
        assert len(os.listdir("/proc/self/fd")) == descriptors
        assert segments.check().without_checksum == 0


def test_checksums_of_an_older_file_are_forgotten(summed: Path) -> None:
    summed.unlink()
    with opened(summed, capacity=CAPACITY, checksums=True) as segments:
        assert segments.check().whole
        segments.append("new")
        assert segments.check().without_checksum == 0


# ----------------------------------------------------------------------------------- programs that know nothing of us

FOREIGN = """
map_ = MemoryMappedFile.create_from_file(path)
view = map_.create_view_accessor()
mutex = Mutex(name=lock)
mutex.wait_one()
"""


@pytest.fixture
def foreign() -> Iterator[Callable[..., Actor]]:
    with contextlib.ExitStack() as stack:

        def start(segments: SegmentFile) -> Actor:
            """A process that owns the lock."""
            actor = stack.enter_context(Actor())
            actor.do(FOREIGN, path=segments.path, lock=segments.lock_name)
            return actor

        yield start


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", None])
@pytest.mark.parametrize("first", ["append", "look", "wait", "check"])
def test_a_torn_foreign_append_is_rolled_back(
    first: str, encoding: str | None, path: Path, foreign: Callable[..., Actor]
) -> None:
    """The article's program writes the length first. Killed behind it, it leaves a segment of zeros."""
    with opened(path, encoding=encoding) as segments, opened(path, encoding=encoding) as other:
        writer = foreign(segments)
        torn = "abcdef".encode(encoding or "utf-8").removeprefix(b"\xff\xfe")
        writer.do("view.write_int32(at, len(torn))", at=offset(20), torn=torn)
        writer.do("view.write_bytes(at, torn)", at=offset(20) + 4, torn=torn[:-2])
        writer.kill()
        if first == "append":
            assert segments.append(b"xy") == 20
        elif first == "look":
            assert len(segments) == 20
        elif first == "wait":
            assert not segments.wait_for(20, 0.06)
        else:
            assert segments.check().segments == 20
        assert segments.check().behind == 0
        assert len(other) == 20 + (first == "append")
        assert segments[:20] == other[:20]


@pytest.mark.parametrize(
    ("encoding", "data", "kept"), [("utf-16", b"a\0b\0", 1), ("utf-8", b"ab", 1), (None, b"ab", 1), (None, b"a\0", 0)]
)
def test_what_has_no_zero_is_whole(
    encoding: str | None, data: bytes, kept: int, path: Path, foreign: Callable[..., Actor]
) -> None:
    """It was written and not yet released. The memory was zero before, so where there is no zero nothing is missing."""
    with opened(path, encoding=encoding) as segments:
        writer = foreign(segments)
        writer.do("view.write_bytes(at, data)", at=offset(20), data=article(data))
        writer.kill()
        assert segments.append(b"xy") == 20 + kept
        assert segments.read_bytes(20) == (data if kept else b"xy")


@needs_root
def test_a_segment_of_another_user_is_none_of_who_died(run: Callable[..., Any], tag: str) -> None:
    """Users who have a file in common have one control object, which knows what all of them have appended."""
    alice_id, bob_id = 65532, 65533
    folder = Path(tempfile.mkdtemp(prefix="memorymapped-tests-root-", dir=SHM))
    try:
        folder.chmod(0o1777)
        path, lock = str(folder / "file"), f"Global\\{tag}"
        with peers(run, root=folder) as peer:
            alice, bob, foreign = peer(uid=alice_id), peer(uid=bob_id), peer(uid=alice_id)
            opens = f"s = SegmentFile.create_from_file({path!r}, encoding=None, capacity=1000, lock_name={lock!r}"
            alice(f"{opens}, security=Security.from_mode(0o666))")
            bob(f"{opens}); s.append(b'some\\0of bob')")
            foreign(f"m = Mutex(name={lock!r}); m.wait_one()")
            foreign.kill()
            assert alice.ask("(s.wait_for(0, 0), list(s))") == (True, [b"some\0of bob"])
            assert alice.ask("s.append(b'more')") == 1
            assert bob.ask("list(s)") == [b"some\0of bob", b"more"]
            refusal = bob.refusal(f"SegmentFile.create_from_file({path!r}, encoding=None)")
            assert refusal.is_a(ValueError)
            assert f"belongs to user {alice_id}" in refusal.message
            alice("s.close()")
            bob("s.close()")
    finally:
        shutil.rmtree(folder)


def test_foreign_segments_that_were_looked_at_stay(path: Path, foreign: Callable[..., Actor]) -> None:
    with opened(path, encoding=None) as segments:
        writer = foreign(segments)
        writer.do("view.write_bytes(at, data); mutex.release_mutex()", at=offset(20), data=article(b"one", b"two"))
        assert len(segments) == 22
        writer.do("mutex.wait_one()")
        writer.kill()
        assert segments.append(b"x") == 22
        assert segments[20:] == [b"one", b"two", b"x"]


def test_a_length_that_a_foreign_program_had_only_begun(path: Path, foreign: Callable[..., Actor]) -> None:
    with opened(path) as segments:
        writer = foreign(segments)
        writer.do("view.write_int32(at, -2)", at=offset(20))
        writer.kill()
        assert segments.append("x") == 20
        assert segments.check().whole


def test_a_reader_leaves_the_repair_to_others(path: Path, foreign: Callable[..., Actor]) -> None:
    with opened(path) as segments, opened(path, access=Access.READ) as reader:
        writer = foreign(segments)
        writer.do("view.write_int32(at, 4)", at=offset(20))
        writer.kill()
        before = path.read_bytes()
        assert list(reader)[:20] == WORDS
        assert path.read_bytes() == before
        assert segments.append("new") == 20
        assert segments.check().whole


def test_a_reader_judges_as_a_writer_does(path: Path, foreign: Callable[..., Actor]) -> None:
    """It must not take what is torn into its index, or its numbers are other ones for ever."""
    with opened(path, encoding=None) as segments, opened(path, encoding=None, access=Access.READ) as reader:
        writer = foreign(segments)
        writer.do("view.write_bytes(at, data)", at=offset(20), data=struct.pack("<i", 40) + b"half")
        writer.kill()
        assert len(reader) == 20
        assert len(reader) == 20
        assert segments.append(b"new") == 20
        assert segments.append(b"newer") == 21
        assert reader[20:] == [b"new", b"newer"]


def test_what_a_reader_has_seen_stays(path: Path, foreign: Callable[..., Actor]) -> None:
    with opened(path, encoding=None) as segments, opened(path, encoding=None, access=Access.READ) as reader:
        writer = foreign(segments)
        writer.do("view.write_bytes(at, data); mutex.release_mutex()", at=offset(20), data=article(b"with \0 in it"))
        assert reader[20] == b"with \0 in it"
        writer.do("mutex.wait_one()")
        writer.kill()
        assert segments.append(b"x") == 21
        assert reader[20:] == [b"with \0 in it", b"x"]


@pytest.mark.parametrize("handler", ["raises", "appends"])
def test_a_death_is_known_whatever_a_signal_handler_does(
    handler: str, path: Path, foreign: Callable[..., Actor]
) -> None:
    """The lock was got, and said that its owner had died, when the handler ran."""

    class Raised(Exception):
        pass

    def handle(*_: object) -> None:
        if handler == "raises":
            raise Raised
        segments.append(b"by the handler")

    with opened(path, encoding=None) as segments:
        writer = foreign(segments)
        writer.do("view.write_bytes(at, data)", at=offset(20), data=struct.pack("<i", 100) + b"half")

        def end() -> None:
            assert main is not None
            signal.pthread_kill(main, signal.SIGALRM)  # looked at after the lock is got
            writer.process.kill()

        main = threading.main_thread().ident
        before = signal.signal(signal.SIGALRM, handle)
        timer = threading.Timer(0.1, end)
        try:
            timer.start()
            with contextlib.suppress(Raised):
                segments.append(b"two")
            segments.append(b"three")
        finally:
            timer.join()
            signal.signal(signal.SIGALRM, before)
            writer.kill()
        assert {*segments[20:]} <= {b"two", b"three", b"by the handler"}
        assert (b"by the handler" in segments[20:]) == (handler == "appends")


def test_a_foreign_death_after_one_of_ours(path: Path, foreign: Callable[..., Actor]) -> None:
    """One of ours was killed in an append; a foreign program was told, went on, and tore the next segment."""
    with opened(path, encoding=None) as segments:
        with control_of(segments) as control:
            control.write_bytes(16, struct.pack("<QQ", offset(20) + 1, 13))
        writer = foreign(segments)
        torn = struct.pack("<i", 40) + b"half"
        writer.do("view.write_bytes(at, data)", at=offset(20), data=article(b"foreign whole") + torn)
        writer.kill()
        assert segments.append(b"x") == 21
        assert segments[20:] == [b"foreign whole", b"x"]
        assert segments.check().whole


@pytest.mark.parametrize("length", [-5, 0])
@pytest.mark.parametrize("writing", [(1, 2**40), (1, 5), (1, CAPACITY - 100), (offset(4) + 1, 2**30)])
def test_the_control_object_alone_destroys_nothing(length: int, writing: tuple[int, int], summed: Path) -> None:
    with opened(summed) as segments, control_of(segments) as control:
        patch(summed, offset(4), struct.pack("<i", length))
        control.write_bytes(16, struct.pack("<QQ", *writing))
        before = summed.read_bytes()
        with opened(summed) as newcomer:
            assert len(newcomer) == 4
            assert [each.number for each in newcomer.recover()] == list(range(20))
        assert summed.read_bytes() == before


def test_damage_is_not_written_over_where_checksums_know_more(summed: Path) -> None:
    patch(summed, offset(4), bytes(4))
    with opened(summed) as segments:
        with pytest.raises(DamagedSegmentError, match="checksums of further segments are known"):
            segments.append("new")
        assert len(list(segments.recover())) == 20


def test_checksums_of_what_was_lost_are_forgotten(summed: Path) -> None:
    """Power was lost: they had reached the disk, the data had not."""
    patch(summed, offset(5), bytes(CAPACITY - offset(5)))
    with opened(summed) as segments:
        assert segments.check().whole
        patch(summed, offset(5), article("foreign".encode("utf-16-le")))
        assert segments[5] == "foreign"


def test_the_checksum_of_a_killed_append_where_somebody_else_has_written(
    summed: Path, foreign: Callable[..., Actor]
) -> None:
    """The foreign program was told of the death, and has repaired."""
    with opened(summed) as segments:
        with control_of(segments) as control:
            control.write_bytes(16, struct.pack("<QQ", offset(20) + 1, 100))
        patch(summed.with_name("summed.sums"), 16 + 8 * 20, struct.pack("<II", 100, 7))
        patch(summed, offset(20), article("good".encode("utf-16-le")))
        assert segments[20] == "good"
        assert segments.check().whole


def test_torn_before_any_of_ours_had_it_open(path: Path) -> None:
    """It is not known what was there before. A text that ends with a NUL, or half a length, is not whole."""
    name = f"Global\\segments-test-{os.getpid()}"
    for torn in (struct.pack("<i", 20) + "half".encode("utf-16-le"), struct.pack("<i", -2)):
        with Actor() as keeper, Actor() as writer:
            keeper.do("mutex = Mutex(name=lock)", lock=name)
            writer.do(FOREIGN, path=str(path), lock=name)
            writer.do("view.write_bytes(at, data)", at=offset(20), data=torn)
            writer.kill()
            with opened(path, lock_name=name) as segments:
                assert len(segments) == 20
                assert segments.check().whole
                assert segments.check().behind == 0


def test_the_rest_of_a_killed_writer_becomes_no_segment(path: Path) -> None:
    """Also where nobody knows of it: a foreign program was told of the death, and the control object is gone."""
    with opened(path, encoding=None) as segments:
        segments.append(b"xy")
        patch(path, segments.used + 4, b"--" + article(b"phantom") * 10)
        assert segments.append(b"xy") == 21
        with opened(path, encoding=None) as newcomer:
            assert len(newcomer) == 22


def test_the_first_append_zeroes_what_was_left_whoever_does_it(path: Path) -> None:
    """Each of those who append looks once: nobody's word is taken for it."""
    patch(path, offset(20) + 4, b"\xee" * 10_000)
    with opened(path) as first, opened(path) as second:
        assert first.check().behind == second.check().behind == 10_004
        second.append("x")
        assert first.check().behind == 0
        patch(path, CAPACITY - 100, b"\xee")  # a hole of somebody who does not lock
        second.append("y")
        assert first.check().behind > 0, "it is not looked for with each append"
        first.append("z")
        assert first.check().behind == 0


# ------------------------------------------------------------------------------------------------ the control object


@contextlib.contextmanager
def control_of(segments: SegmentFile) -> Iterator[Any]:
    with (
        MemoryMappedFile.open_existing(segments._controls[-1].name) as map_,  # type: ignore[arg-type]
        map_.create_view_accessor() as view,
    ):
        yield view


def test_garbage_in_the_control_object_changes_nothing(path: Path) -> None:
    dice = random.Random(SEED)
    print(f"MEMORYMAPPED_TEST_SEED={SEED}")
    with opened(path) as one, opened(path) as two, control_of(one) as control:
        words = list(WORDS)
        for turn in range(600):
            for _ in range(dice.randrange(3)):
                at = dice.choice((0, 8, 12, 16, 24, 32, dice.randrange(48, CONTROL_SIZE - 8)))
                value = dice.choice((0, 1, one.used, one.used + 1, 2**63, 2**64 - 1, dice.getrandbits(64)))
                size = 8 if at % 8 == 0 and at not in (8, 32, 40) else 4
                control.write_bytes(at, value.to_bytes(8, "little")[:size])
            words.append(f"word {turn}")
            assert one.append(words[-1]) == len(words) - 1
            assert two.wait_for(len(words) - 1, 0)
            assert two[-1] == words[-1]
            assert len(one) == len(two) == len(words)
        assert one[:] == two[:] == words
        assert one.check().whole


def test_without_the_control_object(path: Path) -> None:
    """Somebody has removed it, so these two have two of them."""
    with opened(path) as one:
        (control,) = Path(os.environ["MEMORYMAPPED_ROOT"]).rglob("segments-*.map")
        control.unlink()
        with opened(path) as two:
            for i in range(20, 30):
                assert (one if i % 2 else two).append(f"{i}") == i
                assert len(one) == len(two) == i + 1
            assert one.wait_for(29, 0)
            assert one[:] == two[:]
            assert two.check().whole


def test_a_control_object_that_was_removed(path: Path) -> None:
    """Who opens the file then has another one: checksums are kept also by him, and nothing is lost."""
    with SegmentFile.create_new(CAPACITY, encoding=None, checksums=True) as named:
        named.append(b"a")
        for control in ROOT.rglob("segments-1-*"):
            control.unlink()
        with SegmentFile.open_existing(named.file_id, encoding=None) as another:
            assert another.append(b"b") == 1
            assert named.append(b"c") == 2
            assert list(another) == list(named) == [b"a", b"b", b"c"]
        assert named.check().without_checksum == 0
        with SegmentFile.create_from_file(named.path, encoding=None) as by_path:
            assert by_path.append(b"d") == 3
        assert named.check().without_checksum == 0
        assert not Path(named.path + ".sums").exists()


def test_something_else_in_the_place_of_the_control_object(path: Path) -> None:
    status = path.stat()
    name = f"User\\segments-1-{status.st_dev:x}-{status.st_ino:x}"
    with MemoryMappedFile.create_new(name, 16), opened(path) as one, opened(path) as two:
        assert one.append("a") == 20
        assert two.wait_for(20, 0)
        assert not two.wait_for(21, 0.01)
        assert two.append("b") == 21
        assert one[20:] == ["a", "b"]


# -------------------------------------------------------------------------------------------------------------- fuzzing


@contextlib.contextmanager
def expected() -> Iterator[None]:
    """What a damaged file may raise."""
    try:
        yield
    except (DamagedObjectError, MemoryFaultError, OutOfRangeError, UnicodeDecodeError):
        pass
    except OSError as error:
        if error.errno != errno.ENOSPC:  # it says that it is full
            raise


def use(segments: SegmentFile, dice: random.Random) -> None:
    """Does something with it, whatever it holds."""
    what = dice.randrange(9)
    count = len(segments)
    if what == 0:
        assert len(list(segments.recover())) <= CAPACITY
    elif what == 1:
        assert segments.check().segments <= CAPACITY // 5
    elif what == 2:
        segments.append(bytes([dice.randrange(256)]) * dice.randrange(1, 200))
    elif what == 3:
        for number in range(min(count, 50)):
            segments.read_bytes(number)
    elif what == 4:
        segments.read(dice.randrange(count + 2))
    elif what == 5:
        bytes(segments.view(dice.randrange(count + 1)))
    elif what == 6:
        segments[dice.randrange(-count - 1, count + 1)]
    elif what == 7:
        segments.wait_for(count, 0)
    else:
        assert 0 <= segments.used <= CAPACITY


def fuzz(path: Path, seconds: float, least: int) -> None:
    print(f"MEMORYMAPPED_TEST_SEED={SEED}")
    dice = random.Random(SEED)
    whole = path.read_bytes()
    sums = path.with_name(path.name + ".sums")
    whole_sums = sums.read_bytes() if sums.exists() else None
    until = time.monotonic() + seconds
    turns = 0
    while turns < least or time.monotonic() < until:
        turns += 1
        path.write_bytes(whole)
        if whole_sums is not None:
            sums.write_bytes(whole_sums)
        with contextlib.ExitStack() as stack:
            handles: list[SegmentFile] = []
            for step in range(12):
                with expected():
                    if not handles or dice.random() < 0.1:
                        handles.append(stack.enter_context(SegmentFile.create_from_file(path, encoding="utf-8")))
                    use(dice.choice(handles), dice)
                harm(sums if whole_sums is not None and dice.random() < 0.2 else path, dice, step)
    print(f"{turns} files")


def harm(which: Path, dice: random.Random, step: int) -> None:
    size = which.stat().st_size
    how = dice.random()
    if how < 0.05 and step > 3:
        os.truncate(which, dice.randrange(1, size + 1))
    elif how < 0.5:
        patch(which, dice.randrange(max(size - 4, 1)), bytes([dice.randrange(256)]))
    elif how < 0.8:
        patch(which, dice.randrange(max(size - 4, 1)), struct.pack("<i", dice.choice((0, -1, 1, 4, size, 2**31 - 1))))
    else:
        patch(which, dice.randrange(size), bytes(dice.choice((1, 4, 1000))))


def fuzzed(tmp_path: Path, checksums: bool) -> Path:
    path = tmp_path / "fuzzed"
    with opened(path, capacity=8192, checksums=checksums, encoding="utf-8") as segments:
        for i in range(60):
            segments.append(f"segment {i} " * (i % 7 + 1))
    return path


@pytest.mark.parametrize("checksums", [False, True])
def test_random_damage(checksums: bool, tmp_path: Path) -> None:
    fuzz(fuzzed(tmp_path, checksums), 0.5, 20)


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("checksums", [False, True])
def test_random_damage_for_long(checksums: bool, tmp_path: Path) -> None:
    fuzz(fuzzed(tmp_path, checksums), SECONDS, 20)


# --------------------------------------------------------------------------------------------------------- by a model


class Model(RuleBasedStateMachine):
    """A segment file and a list, with two handles, foreign appends, growth, closing and opening."""

    def __init__(self) -> None:
        super().__init__()
        self.list: list[bytes] = []
        self.handles: list[SegmentFile] = []
        self.stack = contextlib.ExitStack()

    @initialize(checksums=st.booleans(), capacity=st.integers(4, 5000))
    def begin(self, checksums: bool, capacity: int) -> None:
        if WINDOWS:  # where memory does not grow
            folder = self.stack.enter_context(tempfile.TemporaryDirectory())
            made = SegmentFile.create_from_file(
                Path(folder) / "file", capacity=capacity, encoding=None, checksums=checksums
            )
        else:
            made = SegmentFile.create_new(capacity, encoding=None, checksums=checksums)
        first = self.stack.enter_context(made)
        self.first, self.path, self.name = first, first.path, first.file_id
        self.handles = [first]

    def handle(self, which: int) -> SegmentFile:
        return self.handles[which % len(self.handles)]

    @property
    def end(self) -> int:
        return sum(4 + len(each) for each in self.list)

    @rule(which=st.integers(0, 3), data=st.binary(min_size=1, max_size=700))
    def append(self, which: int, data: bytes) -> None:
        handle = self.handle(which)
        fits = self.end + 4 + len(data) <= handle.capacity
        try:
            assert handle.append(data) == len(self.list)
        except OSError:
            assert not fits
        else:
            assert fits
            self.list.append(data)

    @rule(data=st.binary(min_size=1, max_size=300))
    def append_as_foreign(self, data: bytes) -> None:
        if self.end + 4 + len(data) <= self.first.capacity:
            patch(Path(self.path), self.end, article(data))
            self.list.append(data)

    @rule(which=st.integers(0, 3), number=st.integers(-30, 30))
    def read(self, which: int, number: int) -> None:
        handle = self.handle(which)
        try:
            expected: bytes | None = self.list[number]
        except IndexError:
            expected = None
        try:
            assert handle[number] == expected
        except IndexError:
            assert expected is None
        if number >= 0 and expected is not None:
            assert bytes(handle.view(number)) == handle.read_bytes(number) == expected
            assert handle.wait_for(number, 0)

    @rule(which=st.integers(0, 3), part=st.slices(20))
    def read_many(self, which: int, part: slice) -> None:
        assert self.handle(which)[part] == self.list[part]

    @rule(which=st.integers(0, 3), more=st.integers(1, 3000))
    def grow(self, which: int, more: int) -> None:
        handle = self.handle(which)
        handle.grow(handle.capacity + more)

    @rule(by_path=st.booleans())
    def open(self, by_path: bool) -> None:
        if len(self.handles) < 4:
            opened = (
                SegmentFile.create_from_file(self.path, encoding=None)
                if by_path or WINDOWS
                else SegmentFile.open_existing(self.name, encoding=None)
            )
            self.handles.append(self.stack.enter_context(opened))

    @rule(which=st.integers(1, 3))
    def close(self, which: int) -> None:
        if which < len(self.handles):
            self.handles.pop(which).close()

    @invariant()
    def is_the_list(self) -> None:
        if self.handles:
            which = self.handles[-1]
            assert len(which) == len(self.list)
            assert which.used == self.end
            assert which.check().whole

    def teardown(self) -> None:
        for handle in self.handles:
            assert list(handle) == self.list
        self.stack.close()


EXAMPLES = 10 if WINDOWS else 40
Model.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None, database=None)
TestByAModel = Model.TestCase


# ------------------------------------------------------------------------------------------------------ a full disk


def test_a_full_file_system(tmp_path: Path) -> None:
    """The file is longer than what the file system has room for. What does not fit is not there; when there is room, it
    goes on."""
    with mounted(tmp_path, "size=1m") as actor:
        actor.do("s = SegmentFile.create_from_file(path, capacity=2 << 20, encoding=None); n = 0")
        with pytest.raises(MemoryFaultError, match="full"):
            actor.do("while True:\n s.append(bytes([n % 250 + 1]) * 10_000); n += 1")
        assert actor.get("n") > 50
        assert actor.get("len(s) == n and all(s[i] == bytes([i % 250 + 1]) * 10_000 for i in range(n))")
        with pytest.raises(MemoryFaultError):
            actor.do("s.append(b'x' * 10_000)")
        actor.do("t = SegmentFile.create_from_file(path, encoding=None)")
        assert actor.get("len(t) == n")
        actor.do("import subprocess; t.close(); subprocess.run(['mount', '-o', 'remount,size=4m', disk], check=True)")
        assert actor.get("s.append(b'x' * 10_000) == n and s[-1] == b'x' * 10_000")
        assert actor.get("s.check().whole and s.check().behind == 0")
        actor.do("s.close()")


def test_where_there_is_no_room_for_twice_as_much(tmp_path: Path) -> None:
    with mounted(tmp_path, "size=1m") as actor:
        actor.do("s = SegmentFile.create_from_file(path, capacity=700_000, encoding=None, grow=True)")
        assert actor.get("[s.append(b'x' * 600_000), s.append(b'y' * 200_000)]") == [0, 1]
        assert actor.get("s.capacity") == 800_008
        with pytest.raises(OSError, match="No space"):
            actor.do("s.append(b'z' * 500_000)")
        assert actor.get("len(s) == 2 and s.check().whole")
        actor.do("s.close()")
