# SPDX-License-Identifier: MIT
"""A fault in mapped memory is an exception, not the death of the process; and what is not ours stays as it was.

All of it happens in other processes, so that a death is seen as one."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaigns import campaign
from support import mounts
from support.actors import PRELUDE, TESTS, Actor

FAULTS = (
    PRELUDE + "import mmap, random\nfrom array import array\nfrom support import faults\nfrom support.faults import *\n"
)
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Actor]:
    """Another process, in which `path` is a file to be made."""
    with Actor(prelude=FAULTS) as actor:
        actor.do("", path=str(tmp_path / "file"))
        yield actor


shared: list[Actor] = []


@pytest.fixture(scope="module", autouse=True)
def last_shared() -> Iterator[None]:
    yield
    while shared:
        shared.pop().close()


@pytest.fixture
def same(tmp_path: Path) -> Actor:
    """The same process for many tests, as long as it lives."""
    if shared and shared[0].process.poll() is not None:
        shared.pop().close()
    if not shared:
        shared.append(Actor(prelude=FAULTS))
    shared[0].do("", path=str(tmp_path / "file"))
    return shared[0]


# -- every access

TYPED = (
    "boolean",
    "byte",
    "sbyte",
    "char",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "single",
    "double",
)
ACCESSES = [
    *(f"v.read_{kind}(PAGE)" for kind in TYPED),
    "v.read_decimal(PAGE)",
    *(f"v.write_{kind}(PAGE, {'chr(1)' if kind == 'char' else '1'})" for kind in TYPED),
    "v.write_decimal(PAGE, 1)",
    "v.read_int64(PAGE - 1)",  # begins in what is there
    "v.write_int64(PAGE - 1, -1)",
    "v.read(PAGE, '<if')",
    "v.read(PAGE, Pair)",
    "v.read(PAGE, np.dtype('f8'))",
    "v.write(PAGE, (1, 2.0), '<if')",
    "v.write(PAGE, Pair(1, b'2'))",
    "v.read_bytes(0, 8 * PAGE)",
    "v.write_bytes(0, bytes(8 * PAGE))",
    "v.write_bytes(PAGE, b'1')",
    "v[PAGE]",
    "v[-1]",
    "v[:]",
    "v[PAGE:PAGE + 1]",
    "v[::3]",
    "v[::-1]",
    "v[PAGE] = 1",
    "v[-1] = 1",
    "v[PAGE:PAGE + 3] = b'123'",
    "v[::2] = bytes(4 * PAGE)",
    "v[::-1] = bytes(8 * PAGE)",
    "list(v)",
    "v.read_array(0, bytearray(3 * PAGE))",
    "v.read_array(0, array('h', bytes(3 * PAGE)))",
    "v.read_array(0, (Pair * 1000)())",
    "v.read_array(0, np.zeros(3000, 'V3'))",
    "v.write_array(0, bytearray(3 * PAGE))",
    "v.write_array(0, array('d', bytes(3 * PAGE)))",
    "v.write_array(0, (Pair * 1000)())",
    "c[PAGE // 4]",
    "c[-1]",
    "c[PAGE // 4] = 1",
    "c.tolist()",
    "c[PAGE // 4:].tolist()",
    "c[::-1].tolist()",
    "c.tobytes()",
    "c[::3].tobytes()",
    "[x for x in c]",
    "sum(c)",
    "c[:] = c[::-1]",
    "c[::2] = [1] * len(c[::2])",
    "c[PAGE // 4:PAGE // 4 + 2] = [1, 2]",
    "c[:] = memoryview(array('i', [1] * len(c)))",
    "v.gather([0, PAGE], 'i')",
    "v.gather([PAGE, 0], 'd')",
    "v.gather(np.arange(0, 8 * PAGE, 16), np.dtype('i4'))",
    "v.gather([0, PAGE - 1], Pair)",
    "v.scatter([0, PAGE], [1, 2], 'i')",
    "v.scatter([PAGE], array('q', [1]))",
    "v.scatter(np.arange(0, 8 * PAGE, 16), np.zeros(8 * PAGE // 16))",
]
STREAMED = [
    "s.read(1)",
    "s.read()",
    "s.readall()",
    "s.readinto(bytearray(10))",
    "s.readline()",
    "s.seek(10); s.readline()",
    "s.readlines()",
    "next(s)",
    "s.write(b'1')",
    "s.write(bytes(7 * PAGE))",
    "s.writelines([b'1', b'2'])",
    "s.seek(0); s.read()",
    "s.seek(0); s.write(bytes(8 * PAGE))",
    "import io; io.BufferedReader(s).read()",
    "import io; io.TextIOWrapper(s).read()",
    "import pickle; pickle.load(s)",
]


@pytest.mark.parametrize("operation", ACCESSES)
def test_an_access_beyond_the_end_raises(same: Actor, operation: str) -> None:
    number, message, faulted, faults = same.get("caught(path, operation, streaming=False)", operation=operation)
    assert number == errno.EFAULT
    assert f"truncated to {PAGE} bytes" in message
    assert faulted
    assert 1 <= faults <= 2


@pytest.mark.parametrize("operation", STREAMED)
def test_a_stream_beyond_the_end_raises(same: Actor, operation: str) -> None:
    number, message, faulted, faults = same.get("caught(path, operation, streaming=True)", operation=operation)
    assert number == errno.EFAULT
    assert f"truncated to {PAGE} bytes" in message
    assert faulted
    assert 1 <= faults <= 2


def test_a_stream_keeps_its_position_after_a_fault(same: Actor) -> None:
    same.do("""
c = Cut(path)
c.stream.seek(PAGE - 1)
c.cut()
for call in (lambda: c.stream.read(2), lambda: c.stream.write(b"12"), lambda: c.stream.readline()):
    try:
        call()
        assert False
    except MemoryFaultError:
        assert c.stream.tell() == PAGE - 1
c.close()
""")


def test_memory_that_is_read_directly_is_zero_and_the_view_tells(same: Actor) -> None:
    """NumPy, memoryview and bytes() go on."""
    same.do("""
import numpy as np
c = Cut(path)
a = np.asarray(c.view)
b = np.asarray(c.view.cast("d"))
c.cut()
assert not c.view.faulted
assert a.sum() == 7 * PAGE
assert c.view.faulted
assert b[-1] == 0
a[-1] = 3
assert a[-1] == 3
assert bytes(c.view)[PAGE:PAGE + 10] == bytes(10)
c.stream.close()
c.other.close()
try:
    c.view.close()
    assert False, "nobody was told of the fault"
except MemoryFaultError as error:
    assert error.errno == errno.EFAULT
assert c.view.closed
c.view.close()
assert c.view.faulted
assert a.sum() == 7 * PAGE + 3, "the array lives on"
c.map.close()
""")


def test_a_system_call_with_lost_memory_is_refused_by_the_kernel(same: Actor) -> None:
    """It never was a fault of this process, and there is nothing to mark."""
    same.do("""
c = Cut(path)
c.cut()
with open(path + ".copy", "wb", buffering=0) as file:
    try:
        file.write(memoryview(c.view)[PAGE:])
        assert False
    except OSError as error:
        assert error.errno == errno.EFAULT
os.unlink(path + ".copy")
assert not c.view.faulted
c.close()
""")


LEAVE = """
c = Cut(path)
block = memoryview(c.view)
c.cut()
assert block[PAGE] == 0  # a fault that nobody is told of
block.release()
raised = 0
try:
    with c.view as view:
        TELL
except MemoryFaultError:
    raised += 1
view.close()
c.close()
assert view.closed and view.faulted
_result = raised
"""


def test_leaving_with_raises_once_if_nobody_was_told(same: Actor) -> None:
    assert same.do(LEAVE.replace("TELL", "pass")) == 1


def test_leaving_with_raises_nothing_if_an_access_has_told(same: Actor) -> None:
    tell = "try: view.read_byte(PAGE)\n        except MemoryFaultError: pass"
    assert same.do(LEAVE.replace("TELL", tell)) == 0


def test_leaving_with_raises_nothing_if_check_has_told(same: Actor) -> None:
    tell = "try: view.check()\n        except MemoryFaultError: pass"
    assert same.do(LEAVE.replace("TELL", tell)) == 0


def test_what_was_given_up_with_the_lost_pages_is_explained(same: Actor) -> None:
    """After a second fault below the first all of the view is replaced, also what the file still has."""
    same.do("""
c = Cut(path)
c.cut()
for at in (3 * PAGE, 2 * PAGE, 0):
    try:
        c.view.read_byte(at)
        assert False
    except MemoryFaultError as error:
        assert error.errno == errno.EFAULT and f"truncated to {PAGE} bytes" in str(error)
c.close()
""")


def test_an_exception_under_way_is_not_replaced(same: Actor) -> None:
    same.do("""
c = Cut(path)
try:
    with c.view as view:
        c.cut(0)
        assert memoryview(view)[0] == 0
        raise KeyError("mine")
except KeyError:
    pass
c.close()
""")


# -- the page's edge: what cannot fault


def test_the_rest_of_the_last_page_reads_as_zero_and_check_tells(same: Actor) -> None:
    same.do("""
c = Cut(path)
c.view.check()
c.cut(PAGE + 100)
assert c.view.read_bytes(PAGE, 200) == b"\\7" * 100 + bytes(100)
assert not c.view.faulted
for view in (c.view, c.stream):
    try:
        view.check()
        assert False
    except MemoryFaultError as error:
        assert error.errno == errno.EFAULT and f"truncated to {PAGE + 100} bytes" in str(error)
c.other.check()
try:
    c.view.read_byte(2 * PAGE)
    assert False
except MemoryFaultError:
    pass
os.truncate(path, c.size)  # long enough again, but what was lost is lost
try:
    c.view.check()
    assert False
except MemoryFaultError:
    pass
c.map.create_view_accessor().check()
c.close()
""")


def test_check_after_the_map_was_closed(same: Actor) -> None:
    same.do("""
c = Cut(path)
c.map.close()
c.view.check()
c.cut(100)
try:
    c.view.check()
    assert False
except MemoryFaultError:
    pass
c.close()
try:
    c.view.check()
    assert False
except ClosedError:
    pass
""")


# -- many, at once, in the midst


@pytest.mark.parametrize(
    ("order", "write"),
    [("down", True), *campaign(("up", False), ("down", False), ("any", False))],
)
def test_a_million_pages(there: Actor, order: str, write: bool) -> None:
    before = there.get("int(open('/proc/self/statm').read().split()[1])")
    assert there.get("million(path, order, write)", order=order, write=write) <= 2
    assert there.get("int(open('/proc/self/statm').read().split()[1])") - before < 20_000  # pages


@pytest.mark.parametrize("cutter", ["by_a_thread", "by_a_process"])
def test_cut_in_the_midst_of_a_copy(there: Actor, cutter: str) -> None:
    raised, whole = there.get(f"cut_in_a_copy(path, 0.8, faults.{cutter})")
    print(f"{raised} copies met a lost page, {whole} did not")
    assert raised > 0


@pytest.mark.campaign
@pytest.mark.parametrize("cutter", ["by_a_thread", "by_a_process"])
def test_cut_in_the_midst_of_many_copies(there: Actor, cutter: str) -> None:
    raised, whole = there.get(f"cut_in_a_copy(path, 15, faults.{cutter})")
    print(f"{raised} copies met a lost page, {whole} did not")
    assert raised > 20


def test_closed_at_that_moment(there: Actor) -> None:
    seen = there.get("close_meanwhile(path, 1.0)")
    print(seen)
    assert {"copied", "MemoryFaultError", "ClosedError"} <= set(seen)


@pytest.mark.campaign
def test_closed_at_that_moment_many_times(there: Actor) -> None:
    print(there.get("close_meanwhile(path, 25)", 60))


def test_two_threads_at_once(there: Actor) -> None:
    assert there.get("two_threads(path, 300)") == 600


def test_a_forked_child_has_a_guard_of_its_own(there: Actor) -> None:
    there.do("""
c = Cut(path)
c.cut()
pid = os.fork()
if pid == 0:
    status = 1
    try:
        c.view.read_byte(PAGE)
    except MemoryFaultError:
        status = 0 if c.view.faulted and guard_status().armed else 2
    finally:
        os._exit(status)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert not c.view.faulted, "the child's pages are its own"
try:
    c.view.read_byte(PAGE)
    assert False
except MemoryFaultError:
    pass
pid = os.fork()  # the mark is copied with the memory
if pid == 0:
    status = 1
    try:
        c.view.read_byte(PAGE)
    except MemoryFaultError:
        status = 0
    finally:
        os._exit(status)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
c.close()
""")


def test_copy_on_write(same: Actor) -> None:
    """Pages that were copied already are lost with the others: the kernel takes them back."""
    same.do("""
c = Cut(path, access=Access.COPY_ON_WRITE)
c.view.write_bytes(0, b"own" * PAGE)
c.view.write_byte(6 * PAGE, 1)
assert c.other.read_byte(0) == 7
c.cut()
assert c.view.read_bytes(0, 3) == b"own"
for call in (lambda: c.view.read_byte(PAGE), lambda: c.view.read_byte(6 * PAGE), lambda: c.view.write_byte(PAGE, 1)):
    try:
        call()
        assert False
    except MemoryFaultError:
        pass
assert c.view.read_bytes(0, 3) == b"own"
c.close()
""")


def test_a_view_in_the_midst_of_a_file(same: Actor) -> None:
    same.do("""
c = Cut(path)
view = c.map.create_view_accessor(3 * PAGE + 5, 2 * PAGE)
c.cut(4 * PAGE)
assert view.read_bytes(0, PAGE - 5) == b"\\7" * (PAGE - 5)
try:
    view.read_byte(PAGE - 5)
    assert False
except MemoryFaultError as error:
    assert f"truncated to {4 * PAGE} bytes" in str(error) and f"needs {5 * PAGE + 5}" in str(error)
view.close()
c.close()
""")


def test_a_new_view_after_a_fault(same: Actor) -> None:
    same.do("""
c = Cut(path)
c.cut(2 * PAGE)
try:
    c.view.read_byte(3 * PAGE)
    assert False
except MemoryFaultError:
    pass
with c.map.create_view_accessor() as view:
    assert view.capacity == 2 * PAGE
    assert view.read_bytes(0, 2 * PAGE) == b"\\7" * 2 * PAGE
c.close()
""")


# -- file systems


def mounted(tmp_path: Path, options: str, kind: str = "tmpfs") -> Actor:
    return mounts.mounted(tmp_path, options, kind, prelude=FAULTS)


MIB = 1 << 20


def test_a_full_file_system_at_creation_names_the_space(tmp_path: Path) -> None:
    with mounted(tmp_path, "size=1m") as there:
        there.do("""
import re
def refused(call):
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    files = sorted(os.listdir(disk))
    try:
        call()
        assert False
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        said = int(re.search(f"([0-9]+) of {1 << 20} are free", str(error))[1])
        assert free - 8192 <= said <= free, error  # the entry of a name takes a page
    assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize == free, "space is gone"
    assert sorted(os.listdir(disk)) == files

m = MemoryMappedFile.create_new("there", 300_000)
refused(lambda: MemoryMappedFile.create_new("x", 1 << 20))
refused(lambda: MemoryMappedFile.create_new("x" * 300, 1 << 20))
refused(lambda: MemoryMappedFile.create_or_open("x", 1 << 20))
refused(lambda: m.resize(2 << 20))
assert m.capacity == 300_000
assert os.listdir(disk + "/memorymapped-%d" % os.geteuid()) == ["there.map"]
refused(lambda: MemoryMappedFile.create_from_file(path, FileMode.CREATE_NEW, None, 1 << 20, reserve=True))
refused(lambda: MemoryMappedFile.create_from_file(path, FileMode.CREATE_NEW, "name", 1 << 20, reserve=True))
with open(path, "wb") as file:
    file.write(b"1" * 100)
refused(lambda: MemoryMappedFile.create_from_file(path, FileMode.OPEN, None, 1 << 20, reserve=True))
assert open(path).read() == "1" * 100
m.close()
""")


def test_a_full_file_system_at_an_access(tmp_path: Path) -> None:
    with mounted(tmp_path, "size=1m") as there:
        there.do("""
def fill(view):
    for at in range(0, view.capacity, 4096):
        try:
            view.write_bytes(at, b"x" * 4096)
        except MemoryFaultError as error:
            assert error.errno == errno.ENOSPC, error
            assert view.faulted
            assert view.read_bytes(0, at) == b"x" * at
            return at
    assert False, "4 MiB of 1"

with MemoryMappedFile.create_new("x", 4 << 20, options=Options.DELAY_ALLOCATE_PAGES) as m:
    with m.create_view_accessor() as view:
        assert 500_000 < fill(view) <= 1 << 20
with MemoryMappedFile.create_from_file(path, FileMode.CREATE_NEW, None, 4 << 20) as m:
    with m.create_view_accessor() as view:
        assert 500_000 < fill(view) <= 1 << 20
os.unlink(path)
m = MemoryMappedFile.create_new("x", 4 << 20, options=Options.DELAY_ALLOCATE_PAGES)
stream = m.create_view_stream()
try:
    stream.write(bytes(4 << 20))
    assert False
except MemoryFaultError as error:
    assert error.errno == errno.ENOSPC
stream.close()
m.close()
assert os.statvfs(disk).f_bfree > 250
m = MemoryMappedFile.create_new("x", 4 << 20, options=Options.DELAY_ALLOCATE_PAGES)
view = m.create_view_accessor()
block = memoryview(view)
for at in range(0, 4 << 20, 4096):
    block[at] = 1
assert view.faulted
try:
    view.close()
    assert False
except MemoryFaultError as error:
    assert error.errno == errno.ENOSPC
m.close()
""")


def test_what_the_dead_left_is_removed_when_space_is_needed(tmp_path: Path) -> None:
    with mounted(tmp_path, "size=1m") as there:
        there.do("""
names = ["dead", "Global\\\\dead", "Local\\\\dead", "dead" * 100]
def leave(sizes):
    for name, size in sizes:
        pid = os.fork()
        if pid == 0:
            m = MemoryMappedFile.create_new(name, size)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
leave((name, 200_000) for name in names)
live = MemoryMappedFile.create_new("alive", 50_000)
with MemoryMappedFile.create_new("new", 900_000) as m:
    assert m.capacity == 900_000
    with m.create_view_accessor() as view:
        assert view.read_bytes(0, 900_000) == bytes(900_000)
assert live.name_alive
leave([("dead", 200_000)])
try:
    MemoryMappedFile.create_new("new", 2_000_000)
    assert False
except OSError as error:
    assert error.errno == errno.ENOSPC
assert os.listdir(disk + "/memorymapped-%d" % os.geteuid()) == ["alive.map"]
live.close()
""")


def test_huge_pages_of_the_shared_memory_file_system(tmp_path: Path) -> None:
    with mounted(tmp_path, "size=64m,huge=always") as there:
        there.do("""
size = 16 << 20
seen = 0
for cut in (0, 4096, 3 << 20, (2 << 20) + 12288, size - 4096):
    for at in (cut + 1 + 4095 & ~4095, size - 1, (cut + size) // 2 + 4096 & ~4095):
        at = min(at, size - 1)
        with open(path, "wb") as file:
            file.write(b"\\7" * size)
        m = MemoryMappedFile.create_from_file(path, FileMode.OPEN)
        view = m.create_view_accessor()
        assert view.read_bytes(0, size) == b"\\7" * size
        for line in open("/proc/self/smaps"):
            if line.startswith("ShmemPmdMapped"):
                seen += int(line.split()[1])
        os.truncate(path, cut)
        for write in (False, True):
            try:
                view.write_byte(at, 1) if write else view.read_byte(at)
                assert False
            except MemoryFaultError as error:
                assert error.errno == errno.EFAULT
        assert view.read_bytes(0, cut) == b"\\7" * cut
        try:
            view.read_bytes(0, size)
            assert False
        except MemoryFaultError:
            pass
        view.close()
        m.close()
""")
        print(f"{there.get('seen')} KiB of huge pages were mapped in all")


def test_a_file_system_of_huge_pages(tmp_path: Path) -> None:
    pool = Path("/proc/sys/vm/nr_hugepages")
    try:
        before = pool.read_text()
        pool.write_text(f"{int(before) + 8}")
    except (OSError, ValueError):
        pytest.skip("huge pages cannot be set aside here")
    try:
        if int(pool.read_text()) < int(before) + 8:
            pytest.skip("there is no memory for huge pages")
        with mounted(tmp_path, "mode=0755", "hugetlbfs") as there:
            there.do("""
huge = os.statvfs(disk).f_bsize
m = MemoryMappedFile.create_from_file(path, FileMode.CREATE_NEW, None, 4 * huge)
view = m.create_view_accessor()
part = m.create_view_accessor(huge + 4096, huge)
for i in range(4):
    view.write_byte(i * huge + 5, i + 1)
assert part.read_byte(huge - 4096 + 5) == 3
os.truncate(path, huge)
for v, at in ((view, huge + 4096), (view, 4 * huge - 1), (part, 0)):
    for call in (lambda: v.read_byte(at), lambda: v.write_byte(at, 1)):
        try:
            call()
            assert False
        except MemoryFaultError as error:
            assert error.errno == errno.EFAULT
assert view.read_byte(5) == 1
assert view.read_bytes(0, huge)[5] == 1
for each in (view, part, m):
    each.close()
os.unlink(path)
""")
    finally:
        pool.write_text(before)


# -- other handlers of the same signal


HANDLERS = """
import ctypes, faulthandler, os, signal, sys, threading
def map():
    global m, view
    from memorymapped import FileMode, MemoryMappedFile
    m = MemoryMappedFile.create_from_file(sys.argv[1], FileMode.CREATE, None, 65536)
    view = m.create_view_accessor()
def fault():
    from memorymapped import MemoryFaultError
    os.truncate(sys.argv[1], 0)
    try:
        view.read_byte(5000)
    except MemoryFaultError:
        print("raised")
def foreign():
    import mmap
    with open(sys.argv[1] + "2", "wb") as file:
        file.truncate(65536)
    with open(sys.argv[1] + "2", "r+b") as file:
        block = mmap.mmap(file.fileno(), 0)
    os.truncate(sys.argv[1] + "2", 0)
    block[5000]
def in_a_thread(f):
    thread = threading.Thread(target=f)
    thread.start()
    thread.join()
class Action(ctypes.Structure):
    _fields_ = [("handler", ctypes.c_void_p), ("mask", ctypes.c_ulong * 16), ("flags", ctypes.c_int),
                ("restorer", ctypes.c_void_p)]
def install(text, status, flags=4):  # SA_SIGINFO
    @ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    def handler(number, info, context):
        os.write(1, text.encode())
        if status is not None:
            os._exit(status)
    action = Action(ctypes.cast(handler, ctypes.c_void_p), flags=flags)
    assert ctypes.CDLL(None).sigaction(signal.SIGBUS, ctypes.byref(action), None) == 0
    kept.append(handler)
kept = []
"""


def run_handlers(tmp_path: Path, code: str, *flags: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a new process."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *flags, "-c", HANDLERS + code, str(tmp_path / "file")],
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, "PYTHONPATH": TESTS},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


FAULTHANDLER = {
    "never": "map()",
    "before the import": "faulthandler.enable(); map()",
    "after the import": "import memorymapped; faulthandler.enable(); map()",
    "disabled after the import": "faulthandler.enable(); import memorymapped; faulthandler.disable(); map()",
    "enabled and disabled after the map": "map(); faulthandler.enable(); faulthandler.disable()",
    "enabled before, disabled after, another map is made": "faulthandler.enable(); map(); faulthandler.disable(); "
    "view.close(); m.close(); map()",
    "on and off, many times": "for _ in range(40): faulthandler.enable(); map(); faulthandler.disable(); view.close(); "
    "m.close()\nmap()",
}


@pytest.mark.parametrize("thread", ["main", "other"])
@pytest.mark.parametrize("when", FAULTHANDLER)
def test_with_faulthandler(tmp_path: Path, when: str, thread: str) -> None:
    code = FAULTHANDLER[when] + ("\nfault()" if thread == "main" else "\nin_a_thread(fault)")
    status, out, err = run_handlers(tmp_path, code + "\nview.close(); m.close()")
    assert (status, out, err) == (0, "raised\n", "")


def test_faulthandler_enabled_after_the_map(tmp_path: Path) -> None:
    """On the main thread it is called first, says so, puts back what was below it, and that is the guard."""
    status, out, err = run_handlers(tmp_path, "map(); faulthandler.enable(); fault(); fault(); view.close(); m.close()")
    assert (status, out) == (0, "raised\nraised\n")
    assert err.count("Bus error") == 1


LIMITS = {
    "enabled after the map, a fault on another thread": "map(); faulthandler.enable(); status(); in_a_thread(fault)",
    "enabled before, disabled after the map": "faulthandler.enable(); map(); faulthandler.disable(); status(); fault()",
}


@pytest.mark.parametrize("what", LIMITS)
def test_the_limit_with_faulthandler(tmp_path: Path, what: str) -> None:
    """A handler that was put on top after the last map was made: there is no guard then, and the process is told so if
    it asks. The next map puts it back."""
    say = "def status(): print(sys.modules['memorymapped'].guard_status().armed, flush=True)\n"
    assert run_handlers(tmp_path, say + LIMITS[what])[:2] == (-signal.SIGBUS, "False\n")
    again = LIMITS[what].replace("status();", "status(); view.close(); m.close(); map();")
    assert run_handlers(tmp_path, say + again + "; view.close(); m.close()")[:2] == (0, "False\nraised\n")


def test_the_interpreter_s_own_switch(tmp_path: Path) -> None:
    status, out, err = run_handlers(tmp_path, "map(); fault(); view.close(); m.close()", "-X", "faulthandler")
    assert (status, out, err) == (0, "raised\n", "")


def test_a_signal_that_was_sent_ends_the_process(there: Actor) -> None:
    there.do("c = Cut(path)\nassert guard_status().armed")
    there.process.send_signal(signal.SIGBUS)
    assert there.process.wait(10) == -signal.SIGBUS


@pytest.mark.parametrize("thread", ["main", "other"])
def test_a_fault_in_memory_of_others_ends_the_process(tmp_path: Path, thread: str) -> None:
    code = "map()\n" + ("foreign()" if thread == "main" else "in_a_thread(foreign)") + "\nprint('survived')"
    status, out, _ = run_handlers(tmp_path, code)
    assert (status, out) == (-signal.SIGBUS, "")


def test_a_fault_in_memory_of_others_is_reported_by_faulthandler(tmp_path: Path) -> None:
    status, _, err = run_handlers(tmp_path, "faulthandler.enable()\nmap()\nforeign()")
    assert status == -signal.SIGBUS
    assert "Bus error" in err
    assert "in foreign" in err


@pytest.mark.parametrize("before", ["before the import", "before the map", "after the map, and another map is made"])
def test_a_handler_of_others_gets_what_is_theirs(tmp_path: Path, before: str) -> None:
    code = {
        "before the import": "install('called', 42); map()",
        "before the map": "import memorymapped; install('called', 42); map()",
        "after the map, and another map is made": "map(); view.close(); m.close(); install('called', 42); map()",
    }[before]
    status, out, err = run_handlers(tmp_path, code + "\nfault(); sys.stdout.flush()\nforeign()\nprint('survived')")
    assert (status, out) == (42, "raised\ncalled"), err
    status, out, err = run_handlers(tmp_path, code + "\nos.kill(os.getpid(), signal.SIGBUS)\nprint('survived')")
    assert (status, out) == (42, "called"), err


def test_a_python_handler_gets_signals_that_are_sent(tmp_path: Path) -> None:
    code = """
signal.signal(signal.SIGBUS, lambda *_: print("called"))
map()
os.kill(os.getpid(), signal.SIGBUS)
fault()
view.close(); m.close()
"""
    status, out, err = run_handlers(tmp_path, code)
    assert (status, out) == (0, "called\nraised\n"), err


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    code = "signal.signal(signal.SIGBUS, signal.SIG_IGN)\nmap()\nos.kill(os.getpid(), signal.SIGBUS)\nprint('on')\n"
    assert run_handlers(tmp_path, code + "fault(); view.close(); m.close()")[:2] == (0, "on\nraised\n")
    # The kernel ends a process that ignores a real fault; so do we.
    assert run_handlers(tmp_path, code + "sys.stdout.flush()\nforeign()")[:2] == (-signal.SIGBUS, "on\n")


def test_a_handler_installed_later_is_seen_and_covered(same: Actor) -> None:
    same.do("""
c = Cut(path)
before = guard_status()
assert before.armed and before.mappings >= 3
signal.signal(signal.SIGBUS, lambda *_: None)
assert not guard_status().armed
with c.map.create_view_accessor() as view:
    now = guard_status()
    assert now.armed and now.displaced == before.displaced + 1 and now.mappings == before.mappings + 1
    c.cut()
    try:
        view.read_byte(PAGE)
        assert False
    except MemoryFaultError:
        pass
assert guard_status().mappings == before.mappings
c.close()
signal.signal(signal.SIGBUS, signal.SIG_DFL)
assert not guard_status().armed
Cut(path).close()
assert guard_status().armed
""")


def test_the_message_names_the_file(same: Actor) -> None:
    _, message, _, _ = same.get("caught(path, 'v.read_byte(PAGE)', streaming=False)")
    assert re.search(r"/file'$", message)
