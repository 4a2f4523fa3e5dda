# SPDX-License-Identifier: MIT
"""Named maps: the name is valid exactly while somebody holds a map object; every generation is a new, zeroed one."""

from __future__ import annotations

import errno
import mmap
import os
import pickle
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from campaigns import campaign
from naming import plainly
from peers import NOBODY, Peer, needs_root, peers
from root import ROOT, SHM, descriptors
from support.here import UID, WINDOWS, opened

from memorymapped import (
    AccessRule,
    ForeignObjectError,
    HandleInheritability,
    MemoryMappedFile,
    MemoryMappedFileSecurity,
    NameInUseError,
    OutOfRangeError,
)
from memorymapped import MemoryMappedFileAccess as Access
from memorymapped import MemoryMappedFileOptions as Options
from memorymapped import MemoryMappedFileRights as Rights
from memorymapped.system import sweep

FOLDER = ROOT / f"memorymapped-{UID}"

MakePeer = Callable[..., Peer]


@pytest.fixture
def peer(run: Callable[..., subprocess.Popen[str]]) -> Iterator[MakePeer]:
    with peers(run) as make:
        yield make


@pytest.fixture
def other_root() -> Iterator[Path]:
    """A root of its own that every user may write to."""
    root = Path(tempfile.mkdtemp(prefix="memorymapped-tests-root-", dir=SHM))
    root.chmod(0o1777)
    yield root
    shutil.rmtree(root)


def is_free(name: str) -> bool:
    try:
        MemoryMappedFile.open_existing(name).close()
    except FileNotFoundError:
        return True
    return False


# ----------------------------------------------------------------------------------------------------- who holds a name


def test_the_name_is_valid_while_any_process_holds_a_map(peer: MakePeer) -> None:
    creator, other = peer(), peer()
    assert is_free("n")
    creator("m = MemoryMappedFile.create_new('n', 10)")
    other("m = MemoryMappedFile.open_existing('n'); m.create_view_accessor().write_int32(0, 7)")
    creator("m.close()")
    assert not is_free("n")
    creator("m = MemoryMappedFile.open_existing('n'); assert m.create_view_accessor().read_int32(0) == 7")
    other("m.close()")
    assert not is_free("n")
    creator("m.close()")
    assert is_free("n")
    assert not (FOLDER / "n.map").exists()


def test_each_map_object_counts_not_each_process() -> None:
    first = MemoryMappedFile.create_new("n", 10)
    second = MemoryMappedFile.open_existing("n")
    third = MemoryMappedFile.create_or_open("n", 10)
    for map_ in (first, third):
        map_.close()
        map_.close()
        assert not is_free("n")
        assert second.name_alive
    second.close()
    assert is_free("n")


def test_views_buffers_and_arrays_do_not_hold_the_name_and_keep_their_memory() -> None:
    map_ = MemoryMappedFile.create_new("n", 8192)
    old = map_.generation
    accessor, stream = map_.create_view_accessor(), map_.create_view_stream()
    array = np.asarray(map_.create_view_accessor())
    buffer = memoryview(accessor)
    accessor.write_bytes(0, b"old generation")
    map_.close()
    assert is_free("n")
    with MemoryMappedFile.create_new("n", 8192) as new:
        assert new.generation != old or WINDOWS
        with new.create_view_accessor() as view:
            assert view.read_bytes(0, 8192) == bytes(8192)
            view.write_bytes(0, b"new generation")
        assert stream.read(14) == array[:14].tobytes() == buffer[:14].tobytes() == b"old generation"
        array[0:3] = (110, 111, 119)
        assert accessor.read_bytes(0, 3) == b"now"
        with new.create_view_accessor() as view:
            assert view.read_bytes(0, 14) == b"new generation"
    accessor.close()
    stream.close()


def test_a_map_that_is_dropped_lets_go() -> None:
    held = [MemoryMappedFile.create_new("n", 10)]
    with pytest.warns(ResourceWarning, match="unclosed <MemoryMappedFile 'n', 10 bytes>"):
        held.clear()
    assert is_free("n")


def test_an_unhandled_exception_in_with_lets_go() -> None:
    with pytest.raises(ZeroDivisionError), MemoryMappedFile.create_new("n", 10):
        raise ZeroDivisionError
    assert is_free("n")


# ------------------------------------------------------------------------------------------------------ how holders end

# What a process may do at its end, its exit status, and whether it closes what it holds on the way.
_NO_CORE = "" if WINDOWS else "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
ENDS = {
    "close": ("m.close(); os._exit(0)", 0, True),
    "end of the program": ("import sys; sys.exit()", 0, True),
    "sys.exit": ("sys.exit(3)", 3, True),
    "sys.exit in a function": ("def f(held): sys.exit(3)\nf(m)", 3, True),
    "exception": ("sys.stdin = None; sys.excepthook = lambda *a: None; raise SystemExit from ValueError()", 0, True),
    "os._exit": ("os._exit(4)", 4, False),
    "abort": (_NO_CORE + "os.abort()", 0xC0000409 if WINDOWS else -signal.SIGABRT, False),
    "SIGTERM": ("os.kill(os.getpid(), 15)", 15 if WINDOWS else -15, False),
    "SIGKILL": ("os.kill(os.getpid(), 9)", 9 if WINDOWS else -9, False),
    "exec": ("os.execv('/bin/true', ['true'])", 0, False),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", ["n", *campaign("Global\\n", "Local\\n", "n" * 300)])
def test_the_name_ends_with_its_last_holder_however_that_ends(peer: MakePeer, name: str, end: str) -> None:
    code, status, closes = ENDS[end]
    holder = peer()
    holder(f"m = MemoryMappedFile.create_new({name!r}, 5000)")
    with MemoryMappedFile.open_existing(name) as map_:
        path, generation = Path(map_.path or "nowhere"), map_.generation
        view = map_.create_view_accessor()
    view.write_bytes(4990, b"left here")
    assert holder.last(code) == status
    assert path.exists() is not (closes or WINDOWS)
    assert is_free(name)
    assert not path.exists()  # the look has given the memory back
    assert not Path(f"{path}.name").exists()
    with MemoryMappedFile.create_new(name, 5000) as new:
        assert new.generation != generation or WINDOWS
        with new.create_view_accessor() as fresh:
            assert fresh.read_bytes(0, 5000) == bytes(5000)
            fresh.write_bytes(4990, b"new bytes")
        assert view.read_bytes(4990, 9) == b"left here"
    view.close()


@pytest.mark.parametrize("make", ["create_new", "create_or_open"])
def test_a_name_of_the_dead_is_created_anew_in_one_call(peer: MakePeer, make: str) -> None:
    holder = peer()
    holder("m = MemoryMappedFile.create_new('n', 5000); m.create_view_accessor().write_bytes(0, b'x' * 5000)")
    holder.kill()
    assert (FOLDER / "n.map").exists()
    with getattr(MemoryMappedFile, make)("n", 6000) as new, new.create_view_accessor() as view:
        assert new.capacity == 6000
        assert view.read_bytes(0, 6000) == bytes(6000)


def test_a_program_that_dies_of_an_exception_lets_go(run: Callable[..., subprocess.Popen[str]]) -> None:
    code = "from memorymapped import MemoryMappedFile\nm = MemoryMappedFile.create_new('n', 1)\n1 / 0"
    program = run(code, stderr=subprocess.PIPE)
    _, said = program.communicate(timeout=30)
    assert program.returncode == 1
    assert said.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert not (FOLDER / "n.map").exists()


def test_killing_all_holders_ends_the_name_and_killing_all_but_one_does_not(peer: MakePeer) -> None:
    first = peer()
    first("m = MemoryMappedFile.create_new('n', 100); m.create_view_accessor().write_int64(8, 1234)")
    holders = [first, *(peer() for _ in range(3))]
    for holder in holders[1:]:
        holder("m = MemoryMappedFile.open_existing('n')")
    for holder in holders[:-1]:
        holder.kill()
        assert not is_free("n")
        with pytest.raises(NameInUseError):
            MemoryMappedFile.create_new("n", 100)
    assert holders[-1].ask("m.create_view_accessor().read_int64(8)") == 1234
    holders[-1].kill()
    assert is_free("n")


def test_a_stopped_process_holds(peer: MakePeer) -> None:
    holder = peer()
    holder("m = MemoryMappedFile.create_new('n', 100)")
    holder.process.send_signal(signal.SIGSTOP)
    os.waitpid(holder.pid, os.WUNTRACED)
    assert not is_free("n")
    holder.process.send_signal(signal.SIGCONT)
    holder("m.close()")
    assert is_free("n")


# --------------------------------------------------------------------------------------------------------- create, open


def test_create_new_of_a_used_name_says_who_uses_it(peer: MakePeer) -> None:
    holders = [peer(), peer()]
    holders[0]("m = MemoryMappedFile.create_new('n', 100)")
    holders[1]("m = MemoryMappedFile.open_existing('n')")
    with pytest.raises(NameInUseError, match="'n' is in use by ") as caught:
        MemoryMappedFile.create_new("n", 100)
    for holder in holders:
        assert f"process {holder.pid} (python" in str(caught.value)
    assert caught.value.errno == errno.EEXIST
    assert caught.value.name == "n"
    assert isinstance(caught.value, FileExistsError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.name, again.errno) == (str(caught.value), "n", errno.EEXIST)


@pytest.mark.parametrize("name", ["Local\\n", "Global\\n", "n" * 300])
def test_the_holder_is_named_in_every_scope(peer: MakePeer, name: str) -> None:
    holder = peer()
    holder(f"m = MemoryMappedFile.create_new({name!r}, 100)")
    with pytest.raises(NameInUseError, match=f"process {holder.pid} "):
        MemoryMappedFile.create_new(name, 100)


def test_the_error_outlives_the_holder() -> None:
    with MemoryMappedFile.create_new("n", 100), pytest.raises(NameInUseError) as caught:
        MemoryMappedFile.create_new("n", 100)
    assert str(caught.value) == "the name 'n' is in use: open it with open_existing or create_or_open, or take another"


def test_the_error_counts_many_holders() -> None:
    maps = [MemoryMappedFile.create_or_open("n", 1) for _ in range(3)]
    with pytest.raises(NameInUseError) as caught:
        MemoryMappedFile.create_new("n", 100)
    assert caught.value.holders.count(f"process {os.getpid()} ") == 1  # one process, however many maps
    for map_ in maps:
        map_.close()


def test_a_refused_create_new_changes_nothing(peer: MakePeer) -> None:
    with MemoryMappedFile.create_new("n", 100) as map_, map_.create_view_accessor() as view:
        view.write_bytes(0, b"here")
        before = os.stat(map_.fileno())
        with pytest.raises(NameInUseError):
            MemoryMappedFile.create_new("n", 5000, Access.READ)
        after = os.stat(map_.fileno())
        assert (before.st_size, before.st_mode, before.st_blocks) == (after.st_size, after.st_mode, after.st_blocks)
        assert view.read_bytes(0, 4) == b"here"


def test_create_or_open_takes_the_map_that_is_there_with_its_capacity(peer: MakePeer) -> None:
    creator = peer()
    creator("m = MemoryMappedFile.create_or_open('n', 5000); m.create_view_accessor().write_int32(0, 5)")
    for capacity in (1, 5000, 10**6):
        with MemoryMappedFile.create_or_open("n", capacity) as map_, map_.create_view_accessor() as view:
            assert map_.capacity == view.capacity == opened(5000)
            assert view.read_int32(0) == 5
    creator("m.close()")
    with MemoryMappedFile.create_or_open("n", 7000) as map_, map_.create_view_accessor() as view:
        assert map_.capacity == 7000
        assert view.read_int32(0) == 0


def test_create_or_open_ignores_options_and_security_of_an_existing_map() -> None:
    everyone = MemoryMappedFileSecurity([AccessRule("everyone", Rights.READ_WRITE)])
    with (
        MemoryMappedFile.create_new("Global\\n", 2**20, options=Options.DELAY_ALLOCATE_PAGES) as map_,
        MemoryMappedFile.create_or_open("Global\\n", 9, security=everyone) as other,
    ):
        assert other.get_access_control() == map_.get_access_control() != everyone
        assert os.fstat(map_.fileno()).st_mode & 0o777 == 0o600
        assert os.fstat(map_.fileno()).st_blocks == 0


def test_open_existing_never_creates(peer: MakePeer) -> None:
    with pytest.raises(FileNotFoundError, match="nobody holds an object named 'n'"):
        MemoryMappedFile.open_existing("n")
    assert not (FOLDER / "n.map").exists()


@pytest.mark.parametrize("make", ["create_new", "create_or_open"])
@pytest.mark.parametrize("capacity", [0, -1, -(2**70)])
def test_a_refused_capacity_leaves_nothing(make: str, capacity: int) -> None:
    with pytest.raises(OutOfRangeError, match=str(capacity)):
        getattr(MemoryMappedFile, make)("n", capacity)
    assert is_free("n")


@pytest.mark.parametrize("capacity", [1, 4095, 4096, 4097, 2**21 + 1])
def test_the_capacity_is_exact_for_all(peer: MakePeer, capacity: int) -> None:
    with MemoryMappedFile.create_new("n", capacity) as map_, map_.create_view_accessor() as view:
        assert map_.capacity == view.capacity == capacity
        assert peer().ask("MemoryMappedFile.create_or_open('n', 1).capacity") == opened(capacity)


# What the rights of open_existing allow of a READ_WRITE map (W: WRITE, the view that is only written, and so on).
VIEWS = [Access.READ, Access.WRITE, Access.READ_WRITE, Access.COPY_ON_WRITE]
ALLOWED = {
    Rights.NONE: "",
    Rights.READ: "READ COPY_ON_WRITE",
    Rights.WRITE: "WRITE READ_WRITE",
    Rights.READ_WRITE: "READ WRITE READ_WRITE COPY_ON_WRITE",
    Rights.COPY_ON_WRITE: "READ COPY_ON_WRITE",
    Rights.COPY_ON_WRITE | Rights.WRITE: "WRITE READ_WRITE",
    Rights.COPY_ON_WRITE | Rights.READ: "READ COPY_ON_WRITE",
    Rights.EXECUTE: "",
    Rights.READ_EXECUTE: "READ COPY_ON_WRITE",
    Rights.DELETE: "",
    Rights.READ_PERMISSIONS | Rights.CHANGE_PERMISSIONS | Rights.TAKE_OWNERSHIP: "",
    Rights.FULL_CONTROL: "READ WRITE READ_WRITE COPY_ON_WRITE",
}


@pytest.mark.parametrize("rights", ALLOWED, ids=plainly)
@pytest.mark.parametrize("scope", ["", "Global\\"])
def test_rights_limit_the_views(scope: str, rights: Rights) -> None:
    with (
        MemoryMappedFile.create_new(scope + "n", 10) as map_,
        MemoryMappedFile.open_existing(scope + "n", rights) as limited,
    ):
        map_.create_view_accessor().write_byte(0, 1)
        for access in [*VIEWS, Access.READ_EXECUTE, Access.READ_WRITE_EXECUTE]:
            if access.name in ALLOWED[rights].split():
                with limited.create_view_accessor(0, 0, access) as view:
                    if view.can_read:
                        assert view.read_byte(0) == 1
            else:
                with pytest.raises(PermissionError, match=f"does not allow views with {access.name} access"):
                    limited.create_view_accessor(0, 0, access)
        if WINDOWS:
            return  # memory has its size for good
        if "READ_WRITE" in ALLOWED[rights].split():
            limited.resize(20)
            assert map_.capacity == 20
        else:
            with pytest.raises(PermissionError, match="not opened for writing"):
                limited.resize(20)


# The access that a map was created with limits those who open it, with whatever rights.
@pytest.mark.parametrize("access", [Access.READ, Access.COPY_ON_WRITE, Access.READ_EXECUTE])
@pytest.mark.parametrize("scope", ["", "Global\\"])
def test_the_creators_access_limits_all(peer: MakePeer, scope: str, access: Access) -> None:
    with MemoryMappedFile.create_new(scope + "n", 10, access):
        other = peer()
        other(f"m = MemoryMappedFile.open_existing({scope + 'n'!r}, Rights.FULL_CONTROL)")
        other("m.create_view_accessor(0, 0, Access.READ); m.create_view_accessor(0, 0, Access.COPY_ON_WRITE)")
        for refused in ("READ_WRITE", "WRITE", "READ_WRITE_EXECUTE"):
            assert other.refusal(f"m.create_view_accessor(0, 0, Access.{refused})").is_a(PermissionError)
        assert other.refusal("m.resize(20)").is_a(PermissionError)


def test_who_opens_with_access_write_only_writes() -> None:
    with pytest.raises(ValueError, match="READ_WRITE"):
        MemoryMappedFile.create_or_open("n", 10, Access.WRITE)
    assert is_free("n")
    with (
        MemoryMappedFile.create_new("n", 10) as map_,
        MemoryMappedFile.create_or_open("n", 10, Access.WRITE) as writer,
    ):
        with writer.create_view_accessor(0, 0, Access.WRITE) as view:
            view.write_byte(0, 9)
        assert map_.create_view_accessor().read_byte(0) == 9
        with pytest.raises(PermissionError):
            writer.create_view_accessor(0, 0, Access.READ)


# ----------------------------------------------------------------------------------------------------------- what it is


def test_generation_is_that_of_the_file_and_the_same_for_all_holders(peer: MakePeer) -> None:
    with MemoryMappedFile.create_new("n", 10) as map_:
        status = os.stat(map_.path or "")
        assert map_.generation[:2] == (status.st_dev, status.st_ino)
        assert peer().ask("MemoryMappedFile.open_existing('n').generation") == map_.generation
    assert map_.generation[:2] == (status.st_dev, status.st_ino)  # still told after close


def test_a_program_that_knows_nothing_of_us_maps_the_path() -> None:
    with MemoryMappedFile.create_new("n", 5000) as map_, map_.create_view_accessor() as view:
        assert map_.path is not None
        with open(map_.path, "r+b") as file, mmap.mmap(file.fileno(), 0) as plain:
            assert len(plain) == 5000
            view.write_bytes(0, b"to")  # offset 0 of the file is offset 0 of the map
            plain[4998:] = b"me"
            assert plain[:2] == b"to"
            assert view.read_bytes(4998, 2) == b"me"
            map_.close()
            assert is_free("n")  # its memory stays, the name goes: it is no holder
            plain[:2] = b"it"
        assert view.read_bytes(0, 2) == b"it"


def test_name_alive_is_false_after_somebody_removed_the_file(peer: MakePeer) -> None:
    map_ = MemoryMappedFile.create_new("n", 10)
    view = map_.create_view_accessor()
    view.write_byte(0, 1)
    assert map_.name_alive
    os.unlink(map_.path or "")
    assert not map_.name_alive
    assert is_free("n")
    other = peer()
    other("m = MemoryMappedFile.create_new('n', 20)")
    assert not map_.name_alive  # there is one of this name, but not this one
    assert view.read_byte(0) == 1
    with map_.create_view_accessor() as again:
        assert again.read_byte(0) == 1
    map_.close()
    assert other.ask("m.name_alive")  # who closes the old one leaves the new one's file alone
    assert not is_free("n")
    other("m.close()")
    assert is_free("n")
    view.close()


def test_name_alive_is_false_for_what_has_no_name_or_is_closed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    with MemoryMappedFile.create_new(None, 1) as unnamed, MemoryMappedFile.create_from_file(tmp_path / "file") as file:
        assert (unnamed.name_alive, unnamed.name, unnamed.path) == (False, None, None)
        assert (file.name_alive, file.name, file.path) == (False, None, str(tmp_path / "file"))
    map_ = MemoryMappedFile.create_new("n", 1)
    map_.close()
    assert not map_.name_alive
    with MemoryMappedFile.create_new("n", 1):
        assert not map_.name_alive


# --------------------------------------------------------------------------------------------------------------- memory


def blocks(map_: MemoryMappedFile) -> int:
    return os.fstat(map_.fileno()).st_blocks * 512


@pytest.mark.parametrize("name", ["n", None])
def test_memory_is_reserved_unless_delayed(name: str | None) -> None:
    size = 3 * 2**20 + 1
    with MemoryMappedFile.create_new(name, size) as map_:
        assert blocks(map_) >= size
        map_.resize(2 * size)
        assert blocks(map_) >= 2 * size
    with MemoryMappedFile.create_new(name, size, options=Options.DELAY_ALLOCATE_PAGES) as map_:
        assert blocks(map_) == 0
        map_.resize(2 * size, reserve=False)
        assert 0 < blocks(map_) <= 2**21  # the last page, maybe a huge one
        map_.create_view_accessor().write_byte(size, 1)
        assert 0 < blocks(map_) <= 2**22
        assert map_.capacity == 2 * size


@pytest.mark.parametrize("name", ["n", "Global\\n", None])
def test_more_memory_than_there_is_is_refused_at_once(name: str | None) -> None:
    """Before any of it is taken: filling the machine up to find out would harm everybody on it."""
    for size in (2**45, 2**62, 2**63 - 1):
        with pytest.raises(OSError, match=r" [0-9]+ .*free") as caught:
            MemoryMappedFile.create_new(name, size)
        assert caught.value.errno == errno.ENOSPC
        assert str(size) in str(caught.value)
    assert name is None or is_free(name)
    with MemoryMappedFile.create_new(name, 100) as map_:
        with pytest.raises(OSError, match="free") as caught:
            map_.resize(2**45)
        assert caught.value.errno == errno.ENOSPC
        assert map_.capacity == 100
    with MemoryMappedFile.create_new(name, 2**40, options=Options.DELAY_ALLOCATE_PAGES) as map_:
        map_.create_view_accessor(2**39, 10).write_byte(0, 1)


_SMALL_MEMORY = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0  # CLONE_NEWNS: what is mounted here is seen by this process only
assert libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
root = os.environ["MEMORYMAPPED_ROOT"].encode()
assert libc.mount(b"none", root, b"tmpfs", 0, b"size=1m,mode=1777") == 0
"""


@pytest.fixture
def small(peer: MakePeer, other_root: Path) -> Peer:
    """A process whose root holds 1 MiB."""
    if UID != 0:
        pytest.skip("needs root, to mount a small file system")
    process = peer(before=_SMALL_MEMORY, root=other_root)
    process("def free(): s = os.statvfs(os.environ['MEMORYMAPPED_ROOT']); return s.f_bavail * s.f_frsize")
    process("disk_file = os.environ['MEMORYMAPPED_ROOT'] + '/file'")
    process("def files(): return sorted(f for _, _, n in os.walk(os.environ['MEMORYMAPPED_ROOT']) for f in n)")
    return process


@pytest.mark.parametrize("make", ["create_new", "create_or_open"])
@pytest.mark.parametrize("name", ["n", "Global\\n", "n" * 300])
def test_a_full_file_system_is_told_with_the_space_there_is(small: Peer, make: str, name: str) -> None:
    small("MemoryMappedFile.create_new('Global\\\\warm', 1).close(); MemoryMappedFile.create_new('warm', 1).close()")
    before = small.ask("free()")
    refusal = small.refusal(f"MemoryMappedFile.{make}({name!r}, 2**20 + 1)")
    assert refusal.is_a(OSError)
    assert refusal.errno == errno.ENOSPC
    assert str(2**20 + 1) in refusal.message
    assert f"{before} of {2**20} are free (in a container: its shared-memory size, --shm-size)" in refusal.message
    assert small.ask("files()") in ([], [".gate"])
    assert small.ask("free()") == before
    small(f"m = MemoryMappedFile.{make}({name!r}, {before - 8192}); m.close()")


def test_growth_that_finds_no_space_changes_nothing(small: Peer) -> None:
    small("m = MemoryMappedFile.create_new('n', 5000); v = m.create_view_accessor(); v.write_byte(4999, 7)")
    before = small.ask("free()")
    refusal = small.refusal("m.resize(2**21)")
    assert (refusal.errno, str(2**21) in refusal.message) == (errno.ENOSPC, True)
    assert small.ask("(m.capacity, v.read_byte(4999), free())") == (5000, 7, before)
    small("m.resize(6000)")
    assert small.ask("m.create_view_accessor().read_bytes(4999, 1001)") == b"\x07" + bytes(1000)


def test_delayed_pages_need_no_space_at_creation(small: Peer) -> None:
    small("m = MemoryMappedFile.create_new('n', 2**30, options=Options.DELAY_ALLOCATE_PAGES)")
    small("v = m.create_view_accessor(); v.write_byte(2**29, 3)")
    assert small.ask("v.read_byte(2**29)") == 3
    assert small.refusal("v.write_bytes(0, bytes(2**21))").is_a(OSError)


_DEAD = """
def dead(sizes):
    pid = os.fork()
    if pid == 0:
        kept = [MemoryMappedFile.create_new(name, size) for name, size in sizes.items()]
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
"""


def test_a_creation_that_finds_no_space_takes_what_the_dead_left(small: Peer) -> None:
    small(_DEAD)
    small("living = MemoryMappedFile.create_new('living', 1000); living.create_view_accessor().write_byte(0, 5)")
    small("dead({'a': 2**17, 'b': 2**17, 'Local\\\\c': 2**17, 'Global\\\\d': 2**17, 'e' * 300: 2**16})")
    assert small.ask("free()") < 2**19 + 2**18
    small("m = MemoryMappedFile.create_new('n', 2**19 + 2**18)")
    assert small.ask("files()") == [".gate", "living.map", "n.map"]
    assert small.ask("living.create_view_accessor().read_byte(0)") == 5
    refusal = small.refusal("MemoryMappedFile.create_new('too much', 2**19)")
    assert refusal.errno == errno.ENOSPC
    assert small.ask("(living.name_alive, m.name_alive)") == (True, True)


def test_growth_that_finds_no_space_takes_what_the_dead_left(small: Peer) -> None:
    small(_DEAD)
    small("m = MemoryMappedFile.create_new('n', 1000)")
    small("dead({'a': 2**17, 'b': 2**17, 'Global\\\\c': 2**17, 'e' * 300: 2**17})")
    small("m.resize(2**19 + 2**18)")
    assert small.ask("files()") == [".gate", "n.map"]
    small("m.close(); f = MemoryMappedFile.create_from_file(disk_file, FileMode.CREATE_NEW, None, 1000)")
    small("dead({'a': 2**17, 'b': 2**17, 'c': 2**17, 'd': 2**17})")
    small("f.resize(2**19 + 2**18, reserve=True)")
    small("f.close(); os.unlink(disk_file)")


def test_unnamed_memory_takes_what_the_dead_left(monkeypatch: pytest.MonkeyPatch, peer: MakePeer) -> None:
    """The machine's memory is full, as far as this process is told."""
    victim = peer()
    victim("m = MemoryMappedFile.create_new('dead', 1 << 20)")
    victim.kill()
    asked = 0

    def grow(fd: int, size: int, *rest: bool) -> None:
        nonlocal asked
        asked += 1
        if list(FOLDER.glob("dead.map")):
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        real(fd, size, *rest)

    from memorymapped.system.linux import backing

    real = backing.grow
    monkeypatch.setattr(backing, "grow", grow)
    with MemoryMappedFile.create_new(None, 1000) as map_:
        assert (asked, map_.capacity) == (2, 1000)


def test_no_space_for_the_side_file_of_a_long_name_leaves_nothing(small: Peer) -> None:
    refusal = small.refusal("MemoryMappedFile.create_new('n' * (2**20 + 10), 1)")
    assert refusal.errno == errno.ENOSPC
    assert small.ask("files()") == []


# ------------------------------------------------------------------------------------------------------------ the sweep


def left_by_the_dead(peer: MakePeer, names: list[str]) -> None:
    victim = peer()
    for name in names:
        victim(f"m{len(name)} = MemoryMappedFile.create_new({name!r}, 10); m = None")
    victim.kill()


@pytest.mark.parametrize("living_ones", [0, 7, *campaign(1, 60, 300)])
@pytest.mark.parametrize("scope", ["", *campaign("Local\\", "Global\\")])
def test_each_creation_looks_at_two_others_in_turn(peer: MakePeer, scope: str, living_ones: int) -> None:
    def files(name: str) -> list[Path]:
        return list(ROOT.rglob(f"{name}*"))

    living = peer()
    living(f"maps = [MemoryMappedFile.create_new({scope!r} + f'living{{i}}', 10) for i in range({living_ones})]")
    creator = peer()
    creator(f"MemoryMappedFile.create_new({scope!r} + 'other', 10).close()")
    for _ in range(2):
        victim = peer()
        victim(f"names = [{scope!r} + f'dead{{i}}' + 'x' * 250 * (i % 2) for i in range(6)]")
        victim("maps = [MemoryMappedFile.create_new(name, 10) for name in names]")
        victim.kill()
        assert len(files("dead")) == 6 + 3  # and what three of them are called
        # In turn: the rest of one round, and all of the next one.
        for _ in range((living_ones + 6) // 2 * 2 + 4):
            creator(f"MemoryMappedFile.create_new({scope!r} + 'other', 10).close()")
        assert files("dead") == []
    assert len(files("living")) == living_ones
    assert living.ask("all(m.name_alive for m in maps)")
    for i in range(0, living_ones, 50):
        assert not is_free(f"{scope}living{i}")


def test_a_creation_takes_what_one_has_left_beside_it(peer: MakePeer) -> None:
    victim = peer()
    victim("m = MemoryMappedFile.create_new('dead', 1 << 20)")
    victim.kill()
    with MemoryMappedFile.create_new("n", 1):
        assert [file.name for file in FOLDER.glob("*.map")] == ["n.map"]


def test_a_sweep_takes_only_what_nobody_holds(peer: MakePeer) -> None:
    names = ["a", "Local\\b", "Global\\c", "d" * 300]
    living, victim = peer(), peer()
    living(f"maps = [MemoryMappedFile.create_new(n + '+', 10) for n in {names!r}]")
    victim(f"maps = [MemoryMappedFile.create_new(n, 10) for n in {names!r}]")
    assert sweep() == 0
    victim.kill()
    assert sweep() == len(names)
    assert sweep() == 0
    assert living.ask("[m.name_alive for m in maps]") == [True] * 4
    for name in names:
        assert not is_free(name + "+")
        assert is_free(name)
    assert list(FOLDER.glob("d*.name")) == [FOLDER / p for p in os.listdir(FOLDER) if p.endswith(".name")]


def test_a_sweep_leaves_alone_what_is_not_ours() -> None:
    with MemoryMappedFile.create_new("keeps the folder", 1):
        target = FOLDER / "target.txt"
        target.write_text("here")
        (FOLDER / "link.map").symlink_to(target)
        os.link(target, FOLDER / "hard.map")
        os.mkfifo(FOLDER / "pipe.map")
        (FOLDER / "folder.map").mkdir()
        before = sorted(os.listdir(FOLDER))
        try:
            assert sweep() == 0
            for i in range(80):
                MemoryMappedFile.create_new(f"other{i}", 1).close()
            assert sorted(os.listdir(FOLDER)) == before
            assert target.read_text() == "here"
        finally:
            for file in ("link.map", "hard.map", "pipe.map", "target.txt"):
                (FOLDER / file).unlink()
            (FOLDER / "folder.map").rmdir()


# ----------------------------------------------------------------------------------------------------------- the folder


def test_the_folder_is_there_while_it_is_needed_and_goes_at_exit(peer: MakePeer, other_root: Path) -> None:
    folder = other_root / f"memorymapped-{UID}"
    first, second = peer(root=other_root), peer(root=other_root)
    assert first.refusal("MemoryMappedFile.open_existing('n')").is_a(FileNotFoundError)
    assert list(other_root.iterdir()) == []  # asking makes nothing
    first("m = MemoryMappedFile.create_new('n', 1)")
    second("m = MemoryMappedFile.create_new('o', 1)")
    assert folder.stat().st_mode & 0o7777 == 0o700
    first.end()
    assert os.listdir(folder) == ["o.map"]
    second.end()
    assert list(other_root.iterdir()) == []


def test_a_process_copes_with_a_folder_that_went_and_came_again(peer: MakePeer, other_root: Path) -> None:
    keeper = peer(root=other_root)
    keeper("MemoryMappedFile.create_new('n', 1).close()")  # has the folder open
    for i in range(3):
        passing = peer(root=other_root)
        passing("m = MemoryMappedFile.create_new('n', 2)")
        passing.end()
        assert list(other_root.iterdir()) == []  # an empty folder is removed, also under somebody who has it open
        if i == 0:
            assert keeper.refusal("MemoryMappedFile.open_existing('n')").is_a(FileNotFoundError)
        if i == 1:
            keeper("m = MemoryMappedFile.create_new('n', 3); m.close()")
    other = peer(root=other_root)
    other("m = MemoryMappedFile.create_new('n', 4)")
    assert keeper.ask("MemoryMappedFile.open_existing('n').capacity") == 4
    other("m.close()")
    keeper("m = MemoryMappedFile.create_or_open('n', 5)")
    assert other.ask("MemoryMappedFile.open_existing('n').capacity") == 5


@pytest.mark.parametrize("scope", ["", "Global\\"])
def test_holders_survive_that_somebody_removes_everything(peer: MakePeer, other_root: Path, scope: str) -> None:
    name = repr(scope + "n")
    keeper, other = peer(root=other_root), peer(root=other_root)
    keeper(f"m = MemoryMappedFile.create_new({name}, 10); v = m.create_view_accessor(); v.write_byte(0, 1)")
    for folder in other_root.iterdir():
        shutil.rmtree(folder)
    assert keeper.ask("(m.name_alive, v.read_byte(0), m.capacity)") == (False, 1, 10)
    other(f"m = MemoryMappedFile.create_new({name}, 20)")
    assert keeper.ask(f"MemoryMappedFile.open_existing({name}).capacity") == 20
    keeper("m.close()")
    assert other.ask("m.name_alive")
    keeper(f"m = MemoryMappedFile.open_existing({name})")
    other("m.close()")
    assert keeper.ask("m.name_alive")


@pytest.mark.parametrize("umask", [0o000, 0o777, *campaign(0o022, 0o077, 0o277, 0o477)])
@pytest.mark.parametrize("uid", [None, pytest.param(NOBODY, marks=needs_root)])
def test_no_umask_keeps_the_owner_out_or_lets_others_in(
    peer: MakePeer, other_root: Path, umask: int, uid: int | None
) -> None:
    one, other = peer(root=other_root, uid=uid), peer(root=other_root, uid=uid)
    for name in ("n", "Local\\n", "Global\\n", "n" * 300):
        one(f"os.umask({umask}); m = MemoryMappedFile.create_new({name!r}, 10)")
        one("m.create_view_accessor().write_byte(0, 4); mode = lambda p: os.stat(p).st_mode & 0o7777")
        assert one.ask("mode(m.path)") == 0o600
        assert one.ask("mode(os.path.dirname(m.path))") == (0o1777 if "Global" in name else 0o700)
        assert other.ask(f"MemoryMappedFile.open_existing({name!r}).create_view_accessor().read_byte(0)") == 4
    assert (other_root / "memorymapped-global" / ".gate").stat().st_mode & 0o7777 == 0o666


@needs_root
def test_a_creator_that_died_in_the_midst_of_a_strange_umask_blocks_nobody(peer: MakePeer, other_root: Path) -> None:
    one = peer(root=other_root, uid=NOBODY)
    one("m = MemoryMappedFile.create_new('keeps the folder', 10)")
    one("fd = os.open(os.path.dirname(m.path) + '/n.map', os.O_CREAT | os.O_RDWR, 0)")  # as after openat, umask 0777
    one("os.close(fd); assert os.stat(os.path.dirname(m.path) + '/n.map').st_mode & 0o777 == 0")
    assert one.refusal("MemoryMappedFile.open_existing('n')").is_a(FileNotFoundError)
    one("fd = os.open(os.path.dirname(m.path) + '/n.map', os.O_CREAT | os.O_RDWR, 0); os.close(fd)")
    one("n = MemoryMappedFile.create_new('n', 10); assert n.create_view_accessor().read_byte(0) == 0")


# ------------------------------------------------------------------------------------------------------------- the root


def test_names_under_different_roots_are_different(peer: MakePeer, other_root: Path) -> None:
    there = peer(root=other_root)
    there("m = MemoryMappedFile.create_new('n', 10)")
    assert is_free("n")
    with MemoryMappedFile.create_new("n", 20) as map_:
        assert map_.path == str(FOLDER / "n.map")
        assert there.ask("m.path") == f"{other_root}/memorymapped-{UID}/n.map"
        assert there.ask("MemoryMappedFile.open_existing('n').capacity") == 10


def test_a_root_is_a_folder_however_it_is_spelled(peer: MakePeer, other_root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(other_root)
    plain, linked = peer(root=other_root), peer(root=link)
    relative = peer(root=Path(os.path.relpath(other_root)))
    plain("m = MemoryMappedFile.create_new('n', 10)")
    for other in (linked, relative):
        other("m = MemoryMappedFile.open_existing('n'); os.chdir('/')")
        assert other.ask("m.path") == plain.ask("m.path")
        assert other.ask("MemoryMappedFile.open_existing('n').name_alive")
        assert f"process {plain.pid} " in other.refusal("MemoryMappedFile.create_new('n', 10)").message
        other("d = MemoryMappedFile.from_descriptor(os.dup(m.fileno())); assert d.name == 'n'; d.close()")
        other("m.close()")


def test_a_root_that_is_not_there_is_told(peer: MakePeer, tmp_path: Path) -> None:
    other = peer(root=tmp_path / "missing")
    assert other.refusal("MemoryMappedFile.open_existing('n')").is_a(FileNotFoundError)
    for name in ("n", "Global\\n"):
        refusal = other.refusal(f"MemoryMappedFile.create_new({name!r}, 10)")
        assert refusal.is_a(FileNotFoundError)
        assert "MEMORYMAPPED_ROOT" in refusal.message
        assert str(tmp_path / "missing") in refusal.message
    assert not (tmp_path / "missing").exists()


def test_a_root_on_a_disk_does_too(peer: MakePeer, tmp_path: Path) -> None:
    one, other = peer(root=tmp_path), peer(root=tmp_path)
    for name in ("n", "Global\\n", "Local\\n"):
        one(f"m = MemoryMappedFile.create_new({name!r}, 5000); m.create_view_accessor().write_byte(4999, 1)")
        assert other.ask(f"MemoryMappedFile.open_existing({name!r}).create_view_accessor().read_byte(4999)") == 1
        one.ask("m.close()")
        assert other.refusal(f"MemoryMappedFile.open_existing({name!r})").is_a(FileNotFoundError)


def test_the_root_is_what_it_was_at_the_first_use(peer: MakePeer, other_root: Path) -> None:
    other = peer(root=other_root)
    other("m = MemoryMappedFile.create_new('n', 1); os.environ['MEMORYMAPPED_ROOT'] = '/nowhere'")
    assert other.ask("MemoryMappedFile.open_existing('n').generation == m.generation")


# ------------------------------------------------------------------------------------------------------ what is refused

_NO_OFD_LOCKS = """
import ctypes, struct
def refuse(number, command):  # of every fcntl with this command: EINVAL
    ops = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 24), (0x15, 0, 1, command), (0x06, 0, 0, 0x50016),
           (0x06, 0, 0, 0x7fff0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *op) for op in ops))
    program = struct.pack("HxxxxxxP", len(ops), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0, ctypes.get_errno()  # PR_SET_SECCOMP, filter
"""
_FCNTL = {"x86_64": 72, "aarch64": 25}


@pytest.mark.skipif(platform.machine() not in _FCNTL, reason="the number of fcntl is not known for this machine")
def test_without_the_locks_named_maps_are_refused_and_the_rest_works(
    peer: MakePeer, other_root: Path, tmp_path: Path
) -> None:
    other = peer(root=other_root, before=_NO_OFD_LOCKS)
    number = _FCNTL[platform.machine()]
    other(f"for command in (36, 37, 38): refuse({number}, command)")
    for name in ("n", "Global\\n"):
        for make in ("create_new", "create_or_open"):
            refusal = other.refusal(f"MemoryMappedFile.{make}({name!r}, 10)")
            assert refusal.is_a(NotImplementedError)
            assert "open-file-description locks" in refusal.message
        assert other.refusal(f"MemoryMappedFile.open_existing({name!r})").is_a(NotImplementedError)
    assert list(other_root.iterdir()) == []
    other("with MemoryMappedFile.create_new(None, 10) as m: m.create_view_accessor().write_byte(0, 1)")
    (tmp_path / "file").write_bytes(b"1")
    other(f"MemoryMappedFile.create_from_file({str(tmp_path / 'file')!r}).create_view_accessor().read_byte(0)")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder_there(path: Path) -> None:
    path.mkdir()


def symlink(path: Path) -> None:
    (path.parent / "victim").write_bytes(b"victim")
    path.symlink_to(path.parent / "victim")


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nothing")


def hard_link(path: Path) -> None:
    (path.parent / "victim").write_bytes(b"victim")
    os.link(path.parent / "victim", path)


def local_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(ROOT / "socket"))  # where it belongs the path would be too long
    (ROOT / "socket").rename(path)


def device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))  # as /dev/null


def foreign(path: Path) -> None:
    path.write_bytes(b"somebody's")
    os.chown(path, NOBODY, NOBODY)


FOREIGN = [fifo, folder_there, symlink, dangling, hard_link, local_socket,
           pytest.param(device, marks=needs_root), pytest.param(foreign, marks=needs_root)]  # fmt: skip


def everything(folder: Path) -> dict[str, object]:
    """What lies in a folder, to the byte."""
    found: dict[str, object] = {}
    for path in folder.iterdir():
        status = path.lstat()
        contents = path.read_bytes() if path.is_file() else None
        found[path.name] = (status.st_mode, status.st_ino, status.st_uid, status.st_size, status.st_nlink, contents)
    return found


@pytest.mark.parametrize("plant", FOREIGN)
@pytest.mark.parametrize("name", ["Global\\n", *campaign("n", "Local\\n", "n" * 300)])
def test_what_is_not_ours_is_refused_and_left_alone(peer: MakePeer, other_root: Path, name: str, plant: object) -> None:
    other = peer(root=other_root)
    other(f"m = MemoryMappedFile.create_new({name!r}, 10); keep = MemoryMappedFile.create_new({name + '2'!r}, 10)")
    path = Path(other.ask("m.path"))
    other("m.close()")
    plant(path)  # type: ignore[operator]
    before = everything(path.parent)
    for call in (f"create_new({name!r}, 10)", f"create_or_open({name!r}, 10)", f"open_existing({name!r})",
                 f"open_existing({name!r}, Rights.READ)"):  # fmt: skip
        refusal = other.refusal(f"MemoryMappedFile.{call}")
        assert refusal.is_a(ForeignObjectError, OSError), call
        assert "left alone" in refusal.message
    other("from memorymapped.system import sweep; sweep()")
    assert everything(path.parent) == before


@pytest.mark.parametrize(
    ("scope", "what"),
    [("", "symlink"), ("", "file"), ("", "mode"), pytest.param("", "owner", marks=needs_root),
     ("Global\\", "symlink"), ("Global\\", "file"), ("Global\\", "mode")],
)  # fmt: skip
def test_a_folder_that_is_not_as_it_must_be_is_refused(
    peer: MakePeer, other_root: Path, scope: str, what: str, tmp_path: Path
) -> None:
    folder = other_root / ("memorymapped-global" if scope else f"memorymapped-{UID}")
    right = 0o1777 if scope else 0o700
    if what == "symlink":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere").chmod(right)
        folder.symlink_to(tmp_path / "elsewhere")
    elif what == "file":
        folder.write_bytes(b"here")
    else:
        folder.mkdir()
        folder.chmod(right if what == "owner" else 0o777 if scope else 0o750)
        if what == "owner":
            os.chown(folder, NOBODY, NOBODY)
    before = everything(other_root)
    other = peer(root=other_root)
    for call in (f"create_new({scope + 'n'!r}, 10)", f"open_existing({scope + 'n'!r})"):
        refusal = other.refusal(f"MemoryMappedFile.{call}")
        assert refusal.is_a(ForeignObjectError)
        assert str(folder) in refusal.message
    other.end()
    assert everything(other_root) == before
    assert not (tmp_path / "elsewhere").exists() or list((tmp_path / "elsewhere").iterdir()) == []


# ------------------------------------------------------------------------------------------------------------- together


def test_many_maps_at_once() -> None:
    maps = [MemoryMappedFile.create_new(f"n{i}", i + 1) for i in range(500)]
    assert len({map_.generation for map_ in maps}) == 500
    with MemoryMappedFile.open_existing("n123") as map_:
        assert map_.capacity == opened(124)
    for map_ in maps:
        map_.close()
    assert list(FOLDER.glob("*.map")) == []


def test_descriptors_are_not_inherited_by_default(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    for make in (
        lambda: MemoryMappedFile.create_new("n", 1),
        lambda: MemoryMappedFile.create_new("Global\\n", 1),
        lambda: MemoryMappedFile.create_new(None, 1),
        lambda: MemoryMappedFile.create_from_file(tmp_path / "file"),
        lambda: MemoryMappedFile.create_from_file(tmp_path / "file", map_name="f"),
    ):
        before = {int(fd): os.get_inheritable(int(fd)) for fd in os.listdir("/proc/self/fd") if exists(int(fd))}
        with make():
            now = {int(fd) for fd in os.listdir("/proc/self/fd") if exists(int(fd))} - before.keys()
            assert now
            assert not any(os.get_inheritable(fd) for fd in now)


def exists(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("inheritability", HandleInheritability)
@pytest.mark.parametrize("name", ["n", "Global\\n", "file map", None])
def test_no_descriptor_is_left(tmp_path: Path, name: str | None, inheritability: HandleInheritability) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"1")

    def use() -> None:
        if name == "file map":
            map_ = MemoryMappedFile.create_from_file(file, map_name=name, inheritability=inheritability)
        else:
            map_ = MemoryMappedFile.create_new(name, 1, inheritability=inheritability)
        if name is not None:
            MemoryMappedFile.open_existing(name, Rights.READ_WRITE, inheritability).close()
            MemoryMappedFile.create_or_open(name, 1, inheritability=inheritability).close()
            with pytest.raises(NameInUseError):
                MemoryMappedFile.create_new(name, 1, inheritability=inheritability)
        with MemoryMappedFile.from_descriptor(map_.fileno(), leave_open=True):
            pass
        map_.close()

    use()
    before = descriptors()
    use()
    assert descriptors() == before
