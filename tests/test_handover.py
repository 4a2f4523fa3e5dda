# SPDX-License-Identifier: MIT
"""Maps and child processes: fork, exec, subprocess, multiprocessing, pickle. Who holds the name, and for how long."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from campaigns import campaign
from peers import NOBODY, Forked, Peer, needs_root, peers
from root import ROOT, descriptors
from support.here import UID, WINDOWS, opened
from support.protections import protections, tell_protections

from memorymapped import ClosedError, HandleInheritability, MemoryMappedFile
from memorymapped import MemoryMappedFileAccess as Access
from memorymapped import MemoryMappedFileRights as Rights
from memorymapped.system import sweep

FOLDER = ROOT / f"memorymapped-{UID}"
NAMES = ["n", "Local\\n", "Global\\n", "n" * 300]

MakePeer = Callable[..., Peer]
Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def peer(run: Run) -> Iterator[MakePeer]:
    with peers(run) as make:
        yield make


def is_free(name: str) -> bool:
    try:
        MemoryMappedFile.open_existing(name).close()
    except FileNotFoundError:
        return True
    return False


# ----------------------------------------------------------------------------------------------------------------- fork


@pytest.mark.parametrize("name", NAMES)
def test_a_forked_child_holds_by_itself(peer: MakePeer, tmp_path: Path, name: str) -> None:
    parent = peer()
    parent(f"m = MemoryMappedFile.create_new({name!r}, 10); v = m.create_view_accessor(); v.write_byte(0, 1)")
    child = parent.fork(tmp_path)
    parent("m.close()")
    assert not is_free(name)
    assert child.ask("(m.name_alive, v.read_byte(0), m.capacity)") == (True, 1, 10)
    child("m.close()")
    assert is_free(name)
    assert child.ask("v.read_byte(0)") == 1
    assert parent.ask("v.read_byte(0)") == 1


@pytest.mark.parametrize("end", ["end", "kill"])
@pytest.mark.parametrize("name", NAMES)
def test_a_forked_child_outlives_its_parent(peer: MakePeer, tmp_path: Path, name: str, end: str) -> None:
    parent = peer()
    parent(f"m = MemoryMappedFile.create_new({name!r}, 10); v = m.create_view_accessor(); v.write_byte(0, 1)")
    child = parent.fork(tmp_path)
    parent.forked.clear()
    getattr(parent, end)()
    assert not is_free(name)
    with MemoryMappedFile.open_existing(name) as map_, map_.create_view_accessor() as view:
        view.write_byte(0, 2)
    assert child.ask("v.read_byte(0)") == 2
    child.kill()
    assert is_free(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_views_that_a_child_inherits_do_not_hold_the_name(peer: MakePeer, tmp_path: Path, name: str) -> None:
    """A mapping keeps the description that it was made through, and with it that one's locks."""
    parent = peer()
    parent(f"m = MemoryMappedFile.create_new({name!r}, 10); v = m.create_view_accessor(); s = m.create_view_stream()")
    child = parent.fork(tmp_path)
    child("m.close()")
    parent.forked.clear()
    parent.kill()
    assert is_free(name)  # although the child has views that its parent made
    assert child.ask("v.read_byte(0)") == 0
    child.end()


@pytest.mark.parametrize("end", ["m.close()", "os.kill(os.getpid(), 9)", "os._exit(0)"])
def test_the_end_of_a_child_does_not_end_its_parents_hold(peer: MakePeer, tmp_path: Path, end: str) -> None:
    parent = peer()
    parent("m = MemoryMappedFile.create_new('n', 10); v = m.create_view_accessor()")
    child = parent.fork(tmp_path)
    if end == "m.close()":
        child(end)
    else:
        child.last(end)
    assert not is_free("n")
    assert parent.ask("m.name_alive")
    parent("m.close()")
    assert is_free("n")


def test_what_parent_and_child_open_after_the_fork_is_their_own(peer: MakePeer, tmp_path: Path) -> None:
    parent = peer()
    parent("m = MemoryMappedFile.create_new('n', 10)")
    child = parent.fork(tmp_path)
    child("o = MemoryMappedFile.create_new('child', 10)")
    parent("o = MemoryMappedFile.create_new('parent', 10)")
    child("p = MemoryMappedFile.open_existing('parent')")
    parent("o.close()")
    assert not is_free("parent")
    assert child.ask("p.name_alive")
    child("p.close(); o.close(); m.close()")
    assert is_free("parent")
    assert is_free("child")
    assert not is_free("n")


def test_a_grandchild_holds_too(peer: MakePeer, tmp_path: Path) -> None:
    parent = peer()
    parent("m = MemoryMappedFile.create_new('n', 10)")
    child = parent.fork(tmp_path)
    place = tmp_path / "grandchild"
    place.mkdir()
    os.mkfifo(place / "lines")
    os.mkfifo(place / "answers")
    grandchild = Forked(child.ask(f"_fork({str(place)!r})"), place)
    child("m.close()")
    parent("m.close()")
    assert not is_free("n")
    grandchild("m.close()")
    assert is_free("n")
    grandchild.end()
    child(f"os.waitpid({grandchild.pid}, 0)")


def test_each_map_object_of_a_child_counts(peer: MakePeer, tmp_path: Path) -> None:
    parent = peer()
    parent("a = MemoryMappedFile.create_new('n', 10); b = MemoryMappedFile.open_existing('n')")
    child = parent.fork(tmp_path)
    parent("a.close(); b.close()")
    child("a.close()")
    assert not is_free("n")
    child("b.close()")
    assert is_free("n")


def test_unnamed_and_file_maps_are_shared_with_a_forked_child(peer: MakePeer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(10))
    parent = peer()
    parent("u = MemoryMappedFile.create_new(None, 10); uv = u.create_view_accessor()")
    parent(f"f = MemoryMappedFile.create_from_file({str(tmp_path / 'file')!r}, map_name='f')")
    child = parent.fork(tmp_path)
    child("uv.write_byte(0, 1); u.create_view_accessor().write_byte(1, 2); f.create_view_accessor().write_byte(0, 3)")
    assert parent.ask("(uv.read_byte(0), u.create_view_accessor().read_byte(1))") == (1, 2)
    assert (tmp_path / "file").read_bytes()[0] == 3
    parent("f.close(); u.close()")
    assert not is_free("f")
    child("uv.write_byte(0, 4); f.close()")
    assert is_free("f")
    assert parent.ask("uv.read_byte(0)") == 4


def test_fork_leaves_the_same_descriptors_open(peer: MakePeer, tmp_path: Path) -> None:
    parent = peer()
    parent("there = lambda: [f'/proc/self/fd/{f}' for f in range(3, 100) if os.path.exists(f'/proc/self/fd/{f}')]")
    parent("paths = lambda: {f: os.readlink(f) for f in there()}")
    parent("ours = lambda: [(f, p) for f, p in paths().items() if '.map' in p or 'memfd' in p]")
    parent("m = MemoryMappedFile.create_new('n', 10); u = MemoryMappedFile.create_new(None, 10)")
    before = parent.ask("ours()")
    child = parent.fork(tmp_path)
    assert parent.ask("ours()") == before
    assert child.ask("ours()") == before
    child.end()
    assert parent.ask("ours()") == before


FORKS_WITH_THREADS = """
import os, signal, sys, threading, warnings
from memorymapped import MemoryMappedFile
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of what is tried here
signal.alarm(50)
stop = threading.Event()
failures = []

def work(number):
    turn = 0
    try:
        while not stop.is_set():
            turn += 1
            scope = "" if turn % 4 else "Global\\\\"
            with MemoryMappedFile.create_new(f"{scope}t{number}-{turn}", 100) as map:
                with MemoryMappedFile.open_existing(map.name) as again, again.create_view_accessor() as view:
                    view.write_int32(0, turn)
    except BaseException as error:
        failures.append(repr(error))

kept = MemoryMappedFile.create_new("kept", 100)
threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
for turn in range(60):
    pid = os.fork()
    if pid == 0:  # what other threads held at that moment ends with this child; it can use all of the library at once
        status = 1
        try:
            with MemoryMappedFile.create_new(f"child{turn}", 10) as map:
                status = 0 if map.name_alive and kept.name_alive else 2
            with MemoryMappedFile.create_or_open("Global\\\\c", 10) as map:
                status = status or (map.capacity != 10) * 3
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
assert not failures, failures
kept.close()
"""


def test_threads_that_create_and_close_while_another_forks(run: Run) -> None:
    program = run(FORKS_WITH_THREADS, stderr=subprocess.PIPE)
    _, said = program.communicate(timeout=55)
    assert (program.returncode, said) == (0, "")
    sweep()
    assert list(FOLDER.glob("*.map")) == []
    assert is_free("kept")


@needs_root
def test_a_fork_after_privileges_were_dropped_still_shares_the_memory(peer: MakePeer, tmp_path: Path) -> None:
    """/proc/self is root's then, and a description of its own cannot be had there for the child."""
    parent = peer()
    parent("import json, base64, hashlib")
    parent("m = MemoryMappedFile.create_new('n', 10); v = m.create_view_accessor()")
    parent(f"os.setresuid({NOBODY}, {NOBODY}, {NOBODY})")
    tmp_path.chmod(0o777)
    for folder in (*tmp_path.parents[:3], ROOT):
        folder.chmod(folder.stat().st_mode | 0o055)
    place = tmp_path / "child"
    place.mkdir()
    os.mkfifo(place / "lines")
    os.mkfifo(place / "answers")
    for part in (place, place / "lines", place / "answers"):
        part.chmod(0o777)
    child = Forked(parent.ask(f"_fork({str(place)!r})"), place)
    child("v.write_byte(0, 3)")
    assert parent.ask("v.read_byte(0)") == 3
    assert not is_free("n")
    child("m.close()")
    assert not is_free("n")
    child.end()
    parent(f"os.waitpid({child.pid}, 0)")
    parent("m.close()")
    assert is_free("n")


# ----------------------------------------------------------------------------------------------------------------- exec


CAT = "subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, {})"


@pytest.mark.parametrize("how", ["close_fds=False", "close_fds=True", "preexec_fn=lambda: None, close_fds=False",
                                 "pass_fds=[m.fileno()]"])  # fmt: skip
@pytest.mark.parametrize("name", ["n", "Global\\n"])
def test_another_program_does_not_hold(peer: MakePeer, name: str, how: str) -> None:
    """With pass_fds it has the descriptor, and still does not hold: the name ends with who closes the map."""
    parent = peer()
    parent(f"import subprocess; m = MemoryMappedFile.create_new({name!r}, 10); v = m.create_view_accessor()")
    parent(f"c = {CAT.format(how)}")
    # The other program runs: the kernel lets go of what exec closes a little after Popen has returned.
    parent("c.stdin.write(b'.'); c.stdin.flush(); assert c.stdout.read(1) == b'.'")
    assert not is_free(name)
    parent("m.close()")
    assert is_free(name)
    parent("c.communicate(timeout=30)")


@pytest.mark.parametrize("name", ["n", "Global\\n", "n" * 300])
def test_an_inheritable_map_is_held_by_who_got_the_descriptor(peer: MakePeer, name: str) -> None:
    parent = peer()
    parent("import subprocess; from memorymapped import HandleInheritability as H")
    parent(f"m = MemoryMappedFile.create_new({name!r}, 10, inheritability=H.INHERITABLE); v = m.create_view_accessor()")
    parent(f"c = {CAT.format('close_fds=False')}; parents = MemoryMappedFile.open_existing({name!r}).close()")
    parent("m.close()")
    assert not is_free(name)
    parent("c.communicate(timeout=30)")
    assert is_free(name)


@pytest.mark.parametrize("end", ["close", "kill"])
def test_an_inheritable_map_that_nobody_inherited_ends_as_any_other(peer: MakePeer, end: str) -> None:
    parent = peer()
    parent("from memorymapped import HandleInheritability as H")
    parent("m = MemoryMappedFile.create_new('n', 10, inheritability=H.INHERITABLE); v = m.create_view_accessor()")
    if end == "close":
        parent("m.close()")
        assert not (FOLDER / "n.map").exists()
        assert parent.ask("v.read_byte(0)") == 0
    else:
        parent.kill()
    assert is_free("n")


CHILD = """
import os, sys
from memorymapped import MemoryMappedFile
fd = int(sys.argv[1])
m = MemoryMappedFile.from_descriptor(fd)
try:
    os.fstat(fd)
    sys.exit("the descriptor is still open")
except OSError:
    pass
v = m.create_view_accessor()
v.write_byte(1, 9)
print(ascii((m.name, m.capacity, v.read_byte(0), m.name_alive)), flush=True)
sys.stdin.readline()
m.close()
"""


@pytest.mark.parametrize("make", ["create_new", "create_or_open", "open_existing"])
@pytest.mark.parametrize("name", NAMES)
def test_a_subprocess_maps_the_descriptor_that_it_inherited(run: Run, name: str, make: str) -> None:
    with MemoryMappedFile.create_new(name, 10) as first, first.create_view_accessor() as view:
        view.write_byte(0, 5)
        if make == "open_existing":
            map_ = MemoryMappedFile.open_existing(name, inheritability=HandleInheritability.INHERITABLE)
        elif make == "create_or_open":
            map_ = MemoryMappedFile.create_or_open(name, 10, inheritability=HandleInheritability.INHERITABLE)
        else:
            first.close()
            map_ = MemoryMappedFile.create_new(name, 10, inheritability=HandleInheritability.INHERITABLE)
            view = map_.create_view_accessor()
            view.write_byte(0, 5)
        child = run(CHILD, map_.fileno(), pass_fds=[map_.fileno()])
        map_.close()
        first.close()
        assert child.stdout is not None
        assert child.stdout.readline().strip() == ascii((name, 10, 5, True))
        assert not is_free(name)  # the child alone holds it now
        assert view.read_byte(1) == 9
        child.communicate("\n", timeout=30)
        assert child.returncode == 0
        assert is_free(name)
        view.close()


def test_a_subprocess_maps_unnamed_memory_and_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\5" + bytes(9))
    for map_ in (
        MemoryMappedFile.create_new(None, 10, inheritability=HandleInheritability.INHERITABLE),
        MemoryMappedFile.create_from_file(tmp_path / "file", inheritability=HandleInheritability.INHERITABLE),
    ):
        with map_, map_.create_view_accessor() as view:
            view.write_byte(0, 5)
            child = run(CHILD, map_.fileno(), pass_fds=[map_.fileno()])
            map_.close()
            said, _ = child.communicate("\n", timeout=30)
            assert child.returncode == 0
            assert said.strip() == ascii((None, 10, 5, False))
            assert view.read_byte(1) == 9


def test_a_descriptor_of_a_name_that_has_ended_is_memory_without_a_name(run: Run) -> None:
    with MemoryMappedFile.create_new("n", 10) as map_:
        view = map_.create_view_accessor()
        view.write_byte(0, 5)
        fd = os.dup(map_.fileno())
    with MemoryMappedFile.create_new("n", 20), MemoryMappedFile.from_descriptor(fd) as old:
        assert (old.name, old.capacity, old.name_alive) == (None, 10, False)
        with old.create_view_accessor() as again:
            assert again.read_byte(0) == 5
    view.close()


@pytest.mark.parametrize("access", [Access.READ, Access.COPY_ON_WRITE])
def test_a_descriptor_allows_no_more_than_the_map(access: Access) -> None:
    with (
        MemoryMappedFile.create_new("n", 10, access) as map_,
        MemoryMappedFile.from_descriptor(os.dup(map_.fileno())) as same,
    ):
        assert same.name == "n"
        same.create_view_accessor(0, 0, Access.READ).close()
        with pytest.raises(PermissionError):
            same.create_view_accessor(0, 0, Access.READ_WRITE)


def test_from_descriptor_with_less_access_allows_less() -> None:
    with (
        MemoryMappedFile.create_new("n", 10) as map_,
        MemoryMappedFile.from_descriptor(os.dup(map_.fileno()), Access.READ) as same,
    ):
        same.create_view_accessor(0, 0, Access.READ).close()
        with pytest.raises(PermissionError):
            same.create_view_accessor()
        with pytest.raises(PermissionError):
            same.resize(20)


# ------------------------------------------------------------------------------------------------------ multiprocessing

# Each scenario runs in a program of its own, which must end with status 0 and say nothing.
PROGRAM = '''
import multiprocessing, os, pickle, signal, sys, threading
from concurrent.futures import ProcessPoolExecutor
from memorymapped import *
from memorymapped import MemoryMappedFileAccess as Access, MemoryMappedFileRights as Rights

WINDOWS = sys.platform == "win32"
WHOLE = (10, 4096) if WINDOWS else (10,)  # the capacity of who opens one of 10 bytes
if not WINDOWS:
    signal.alarm(50)
    os.register_at_fork(after_in_child=lambda: signal.alarm(50))


def is_free(name):
    try:
        MemoryMappedFile.open_existing(name).close()
    except FileNotFoundError:
        return True
    return False


def fds():
    found = {}
    if WINDOWS:  # where the tests of handles look
        return found
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[int(fd)] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            pass
    return {fd: path for fd, path in found.items() if "memfd" in path or ".map" in path or path.endswith("/file")}


def hold(map, conn):
    with map, map.create_view_accessor() as view:
        view.write_byte(1, 9)
        conn.send((map.name, map.capacity, view.read_byte(0), map.name_alive, len(fds())))
        assert conn.recv() == "end"


def everything(name, file):
    """The kinds of maps: made, and what name each has."""
    yield lambda: MemoryMappedFile.create_new(name, 10), name
    yield lambda: MemoryMappedFile.create_new("Global\\\\" + name, 10), "Global\\\\" + name
    yield lambda: MemoryMappedFile.create_new("Local\\\\" + name, 10), "Local\\\\" + name
    yield lambda: MemoryMappedFile.create_new(name * 300, 10), name * 300
    yield lambda: MemoryMappedFile.create_new(None, 10), None
    yield lambda: MemoryMappedFile.create_from_file(file, FileMode.OPEN_OR_CREATE, None, 10), None
    yield lambda: MemoryMappedFile.create_from_file(file, FileMode.OPEN_OR_CREATE, name + "f", 10), name + "f"


def the_parent_closes_before_the_child_begins(context, file):
    """The child holds the name as soon as it is started, whatever the parent does then."""
    before = fds()
    for make, name in everything("n", file):
        here, there = context.Pipe()
        map = make()
        view = map.create_view_accessor()
        view.write_bytes(0, b"\\5\\0")
        child = context.Process(target=hold, args=(map, there), daemon=True)
        child.start()
        map.close()
        assert name is None or not is_free(name), name
        said = here.recv()
        assert said[1] in WHOLE, said
        assert (said[0], *said[2:4]) == (name, 5, name is not None), said
        assert said[4] == (2 if name == "nf" else 1) or context.get_start_method() == "fork" or WINDOWS, said
        assert name is None or not is_free(name), name
        assert view.read_byte(1) == 9
        assert fds() == before, fds()
        here.send("end")
        child.join()
        assert child.exitcode == 0
        assert name is None or is_free(name), name
        here.close(), there.close(), view.close()


def use(maps):
    for map, expected in maps:
        for access in Access:
            try:
                map.create_view_accessor(0, 0, access).close()
                allowed = True
            except PermissionError:
                allowed = False
            assert allowed == (access in expected), (map, access, allowed)
        map.close()


def rights_travel(context, file):
    reads, writes = {Access.READ, Access.COPY_ON_WRITE}, {Access.WRITE, Access.READ_WRITE}
    created = [MemoryMappedFile.create_new("n", 10), MemoryMappedFile.create_new("Global\\n", 10),
               MemoryMappedFile.create_from_file(file, FileMode.CREATE, "f", 10)]
    maps = []
    for map in created:
        maps.append((map, reads | writes))
        for rights, allowed in ((Rights.READ, reads), (Rights.COPY_ON_WRITE, reads), (Rights.WRITE, writes)):
            maps.append((MemoryMappedFile.open_existing(map.name, rights), allowed))
    for access, allowed in ((Access.READ, reads), (Access.COPY_ON_WRITE, reads), (Access.READ_WRITE, reads | writes)):
        maps.append((MemoryMappedFile.create_from_file(file, access=access), allowed))
        for name in (f"a{access}", f"Global\\a{access}", None):
            maps.append((MemoryMappedFile.create_new(name, 10, access), allowed))
    run(context, use, maps)
    for map, _ in maps:
        map.close()


def run(context, target, *args):
    child = context.Process(target=target, args=args)
    child.start()
    child.join()
    assert child.exitcode == 0, (target, args)


kept = []


def keep(map):
    kept.append(map)


def add(position):
    with kept[-1].create_view_accessor() as view:
        view.write_byte(position, position)
    return kept[-1].name


def pools_take_maps_as_initializer_arguments(context, file):
    before = fds()
    for make, name in list(everything("p", file))[::2]:
        with make() as map, map.create_view_accessor() as view:
            with context.Pool(2, keep, (map,)) as pool:
                assert set(pool.map(add, range(10))) == {name}
                pool.close()
                pool.join()
            assert view.read_bytes(0, 10) == bytes(range(10))
            view.write_bytes(0, bytes(10))
            with ProcessPoolExecutor(2, context, keep, (map,)) as executor:
                assert set(executor.map(add, range(10))) == {name}
            assert view.read_bytes(0, 10) == bytes(range(10))
        assert name is None or is_free(name)
    assert fds() == before, fds()


def fill(map, value):
    with map, map.create_view_accessor() as view:
        view.write_byte(0, value)
    return True


def make_unnamed(value):
    keep(MemoryMappedFile.create_new(None, 10))
    kept[-1].create_view_accessor().write_byte(0, value)
    return kept[-1]


def receive(queue, conn, count):
    for turn in range(count):
        assert fill(queue.get(timeout=30), 20 + turn)
        conn.send(turn)
    for turn in range(count):
        assert fill(conn.recv(), 40 + turn)
        conn.send(turn)


def queues_and_pipes_take_maps(context, file):
    kinds = list(everything("q", file))
    before = fds()
    for queue in (context.Queue(), context.SimpleQueue()):
        here, there = context.Pipe()
        shared = queue if hasattr(queue, "put_nowait") else Simple(queue)
        child = context.Process(target=receive, args=(shared, there, len(kinds)), daemon=True)
        child.start()
        for turn, (make, name) in enumerate(kinds):
            with make() as map, map.create_view_accessor() as view:
                queue.put(map)
                assert here.recv() == turn
                assert view.read_byte(0) == 20 + turn
        for turn, (make, name) in enumerate(kinds):
            with make() as map, map.create_view_accessor() as view:
                here.send(map)
                assert here.recv() == turn
                assert view.read_byte(0) == 40 + turn
        child.join()
        assert child.exitcode == 0
        here.close(), there.close()
    queue = None
    assert fds() == before, fds()


class Simple:
    def __init__(self, queue):
        self.queue = queue

    def get(self, timeout):
        return self.queue.get()


def tasks_and_results_are_maps(context, file):
    with ProcessPoolExecutor(2, context) as executor:
        for make, name in everything("t", file):
            with make() as map, map.create_view_accessor() as view:
                assert executor.submit(fill, map, 7).result()
                assert view.read_byte(0) == 7
        with executor.submit(make_unnamed, 8).result() as map:
            assert map.create_view_accessor().read_byte(0) == 8


def leave(name):
    keep(MemoryMappedFile.create_new(name, 10))


def fail(name):
    leave(name)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where its traceback would go
    raise ValueError


def children_leave_no_file(context, file):
    """They end by os._exit, without atexit."""
    here = MemoryMappedFile.create_new("here", 1)
    folder = os.path.dirname(here.path or file)
    for turn, target in enumerate((leave, fail)):
        for scope in ("", "Global\\\\", "Local\\\\"):
            child = context.Process(target=target, args=(f"{scope}left{turn}",))
            child.start()
            child.join()
            assert child.exitcode == turn
            assert is_free(f"{scope}left{turn}")
    assert not [file for file in os.listdir(folder) if file.startswith("left")], os.listdir(folder)
    child = context.Process(target=grandparent, args=(context.get_start_method(),))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert not [file for file in os.listdir(folder) if file.startswith("left")], os.listdir(folder)
    here.close()


def grandparent(method):
    leave("left by the child")
    child = multiprocessing.get_context(method).Process(target=leave, args=("left by the grandchild",))
    child.start()
    child.join()
    assert child.exitcode == 0


def a_start_that_fails_holds_nothing(context, file):
    before = fds()
    map = MemoryMappedFile.create_new("n", 10)
    child = context.Process(target=print_nothing, args=(map, lambda: None))
    try:
        child.start()
    except (pickle.PicklingError, AttributeError):
        assert context.get_start_method() != "fork"
    else:
        assert context.get_start_method() == "fork"
        child.join()
    map.close()
    while WINDOWS and not is_free("n"):  # what the child was given ends with the child, which began nevertheless
        pass
    assert is_free("n")
    assert fds() == before, fds()


def a_fork_after_a_start_holds_nothing_of_it(context, file):
    map = MemoryMappedFile.create_new("n", 10)
    here, there = context.Pipe()
    child = context.Process(target=hold, args=(map, there))
    child.start()
    reads, writes = os.pipe()
    closed, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writes)
        map.close()
        os.write(tell, b"x")
        os.read(reads, 1)
        os._exit(0)
    os.read(closed, 1)
    map.close()
    here.recv()
    here.send("end")
    child.join()
    assert is_free("n")
    os.write(writes, b"x")
    assert os.waitpid(pid, 0)[1] == 0


def nobody_is_warned_of_what_a_child_was_given(context, file):
    for make, name in everything("w", file):
        with make() as map:
            run(context, print_nothing, map)
        assert name is None or is_free(name)


def print_nothing(map, *more):
    assert map.capacity in WHOLE


if __name__ == "__main__":
    method, scenario, file = sys.argv[1:]
    globals()[scenario](multiprocessing.get_context(method), file)
'''
SCENARIOS = re.findall(r"^def (\w+)\(context, file\)", PROGRAM, re.MULTILINE)


@pytest.mark.parametrize("method", ["spawn", *campaign("fork", "forkserver")])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_multiprocessing(tmp_path: Path, scenario: str, method: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning:multiprocessing", "program.py", method,
         scenario, str(tmp_path / "file")],
        cwd=tmp_path, capture_output=True, text=True, timeout=55,
    )  # fmt: skip
    # There the child has begun before its start fails, and says of what it misses.
    said = "" if WINDOWS and scenario == "a_start_that_fails_holds_nothing" else done.stderr
    assert (done.returncode, done.stdout, said) == (0, "", "")
    assert not FOLDER.exists() or list(FOLDER.iterdir()) == []


# (On Linux named maps are files of /dev/shm, from which many systems execute nothing.)
@pytest.mark.parametrize("kind", ["unnamed", "file", *(["named", "named file"] if WINDOWS else [])])
@pytest.mark.parametrize("access", [Access.READ_EXECUTE, Access.READ_WRITE_EXECUTE])
def test_what_may_be_executed_may_be_in_a_child_too(tmp_path: Path, kind: str, access: Access) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    name = "n" if "named" in kind.split() else None
    if "file" in kind:
        map_ = MemoryMappedFile.create_from_file(path, map_name=name, access=access)
    else:
        map_ = MemoryMappedFile.create_new(name, 10, access)
    expected = {"READ": "r--", "READ_EXECUTE": "r-x"}
    if access is Access.READ_WRITE_EXECUTE:
        expected |= {"READ_WRITE": "rw-", "READ_WRITE_EXECUTE": "rwx"}
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with map_, here:
        assert protections(map_) == expected
        child = context.Process(target=tell_protections, args=(map_, there))
        child.start()
        there.close()
        try:
            assert here.poll(50)
            assert here.recv() == expected
            child.join(50)
        finally:
            child.kill()
            child.join()


# --------------------------------------------------------------------------------------------------------------- pickle


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_named_map_is_pickled_by_its_name(name: str, protocol: int) -> None:
    with MemoryMappedFile.create_new(name, 10) as map_:
        packed = pickle.dumps(map_, protocol)
        with pickle.loads(packed) as same:
            assert (same.name, same.capacity, same.generation) == (name, opened(10), map_.generation)
            map_.close()
            assert not is_free(name)
    with pytest.raises(FileNotFoundError):
        pickle.loads(packed)


def test_a_pickle_goes_to_any_process_while_somebody_holds_the_name(peer: MakePeer) -> None:
    other = peer()
    with MemoryMappedFile.create_new("n", 10) as map_:
        map_.create_view_accessor().write_byte(0, 4)
        other(f"import pickle; m = pickle.loads({pickle.dumps(map_)!r})")
    assert not is_free("n")
    assert other.ask("m.create_view_accessor().read_byte(0)") == 4
    other("m.close()")
    assert is_free("n")


_REUSE = """
def reused(make):
    # Most disks' file systems give the number of what was removed to what is made next.
    for _ in range(100):
        m = make()
        pickled, old = pickle.dumps(m), m.generation
        assert pickle.loads(pickled).generation == old
        m.close()
        if m.name is None:
            os.unlink(path)
        m = make()
        if m.generation[:2] == old[:2]:
            assert m.generation != old
            try:
                pickle.loads(pickled).close()
            except FileNotFoundError:
                return m.close(), "refused"
            return m.close(), "taken for the same"
        m.close()
        if m.name is None:
            os.unlink(path)
    return None, "never"
"""


def test_a_generation_is_not_its_inode_number(peer: MakePeer, tmp_path: Path) -> None:
    """The folder of names lies on a disk."""
    process = peer(root=tmp_path)
    process(f"import pickle, warnings; path = {str(tmp_path / 'file')!r}")
    process("warnings.simplefilter('ignore', ResourceWarning)")  # what is unpickled is dropped
    process(_REUSE)
    named = process.ask("reused(lambda: MemoryMappedFile.create_new('n', 10))")
    file = process.ask("reused(lambda: MemoryMappedFile.create_from_file(path, FileMode.CREATE_NEW, None, 10))")
    if "never" in (named[1], file[1]):
        pytest.skip("this file system does not use inode numbers again")
    assert (named[1], file[1]) == ("refused", "refused")


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_of_another_generation_is_refused_and_holds_nothing(name: str) -> None:
    with MemoryMappedFile.create_new(name, 10) as map_:
        view = map_.create_view_accessor()  # so that the inode is not given to the next
        packed = pickle.dumps(map_)
    with MemoryMappedFile.create_new(name, 10), pytest.raises(FileNotFoundError, match="a newer one"):
        pickle.loads(packed)
    assert is_free(name)
    view.close()


def test_the_pickle_of_a_map_opened_with_rights_gives_those() -> None:
    with (
        MemoryMappedFile.create_new("n", 10),
        MemoryMappedFile.open_existing("n", Rights.READ) as reader,
        pickle.loads(pickle.dumps(reader)) as same,
    ):
        same.create_view_accessor(0, 0, Access.READ).close()
        with pytest.raises(PermissionError):
            same.create_view_accessor()


def test_a_copy_is_another_holder() -> None:
    map_ = MemoryMappedFile.create_new("n", 10)
    other = copy.copy(map_)
    map_.close()
    assert not is_free("n")
    other.close()
    assert is_free("n")


def test_unnamed_memory_and_closed_maps_cannot_be_pickled(tmp_path: Path) -> None:
    with MemoryMappedFile.create_new(None, 10) as map_, pytest.raises(TypeError, match="from_descriptor"):
        pickle.dumps(map_)
    with pytest.raises(ClosedError):
        pickle.dumps(map_)


def test_a_file_map_is_pickled_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"0123456789")
    with MemoryMappedFile.create_from_file("file", access=Access.READ) as map_:
        packed = pickle.dumps(map_)
    monkeypatch.chdir("/")
    with pickle.loads(packed) as same:
        assert same.create_view_accessor(0, 0, Access.READ).read_bytes(0, 10) == b"0123456789"
        with pytest.raises(PermissionError):
            same.create_view_accessor()
    (tmp_path / "new").write_bytes(b"0123456789")
    (tmp_path / "new").replace(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="replaced"):
        pickle.loads(packed)
    (tmp_path / "file").unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(packed)


def test_a_named_file_map_is_pickled_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with MemoryMappedFile.create_from_file(tmp_path / "file", map_name="f") as map_:
        packed = pickle.dumps(map_)
        with pickle.loads(packed) as same:
            assert (same.name, same.path, same.generation) == ("f", str(tmp_path / "file"), map_.generation)
    assert is_free("f")
    with pytest.raises(FileNotFoundError, match="'f'"):
        pickle.loads(packed)


def test_a_device_keeps_its_capacity_in_a_pickle() -> None:
    with (
        MemoryMappedFile.create_from_file("/dev/zero", capacity=8192) as map_,
        pickle.loads(pickle.dumps(map_)) as same,
    ):
        assert same.capacity == 8192


# ------------------------------------------------------------------------------------------------------ ResourceWarning

WARNED = {
    "a named map": ("MemoryMappedFile.create_new('n', 10); gc.collect()", r"unclosed <MemoryMappedFile 'n', 10 bytes>"),
    "an unnamed map": ("MemoryMappedFile.create_new(None, 10)", r"unclosed <MemoryMappedFile unnamed, 10 bytes>"),
    "a file map": ("MemoryMappedFile.create_from_file(file)", r"unclosed <MemoryMappedFile .*[/\\]file, 4 bytes>"),
    "in a cycle": ("l = [MemoryMappedFile.create_new('n', 10)]; l.append(l); del l; gc.collect()", r"unclosed .*'n'"),
    "with a view open": (
        "m = MemoryMappedFile.create_new('n', 10); v = m.create_view_accessor(); del m; v.read_byte(0)",
        r"unclosed .*'n'",
    ),
}
NOT_WARNED = {
    "a view": "m.create_view_accessor(); gc.collect()",
    "a stream": "m.create_view_stream(); gc.collect()",
    "an array": "a = numpy.asarray(m.create_view_accessor()); gc.collect(); a[0] = 1; del a; gc.collect()",
    "a buffer": "memoryview(m.create_view_accessor())[2:5].tobytes(); gc.collect()",
    "a closed map": "c = MemoryMappedFile.create_new('c', 10); c.close(); del c; gc.collect()",
    "a map in with": "with MemoryMappedFile.create_new('c', 10): pass\ngc.collect()",
    "a file that its map closes": (
        "f = open(file, 'r+b'); c = MemoryMappedFile.create_from_file(f); c.close(); assert f.closed; del f, c"
    ),
    "a refused map": "try: MemoryMappedFile.create_new('m', 10)\nexcept FileExistsError: pass\ngc.collect()",
    "a map that was never made": "MemoryMappedFile.__new__(MemoryMappedFile); gc.collect()",
    "a global at exit": "kept = MemoryMappedFile.create_new('k', 10)",
    "a cycle at exit": "kept = [MemoryMappedFile.create_new('k', 10)]; kept.append(kept)",
    "a map in a module at exit": "gc.kept = MemoryMappedFile.create_new('k', 10); v = gc.kept.create_view_accessor()",
    "a map of a function run at exit": "import atexit; atexit.register(MemoryMappedFile.create_new('k', 1).close)",
    "a map that a thread has at exit": (
        "import threading; e = threading.Event(); k = MemoryMappedFile.create_new('k', 10)\n"
        "threading.Thread(target=lambda k: e.wait(60), args=(k,), daemon=True).start(); del k"
    ),
}
BEFORE = "import gc, numpy, os, sys; from memorymapped import *; file = sys.argv[1]\n"


def said_by(run: Run, tmp_path: Path, code: str) -> str:
    (tmp_path / "file").write_bytes(b"1234")
    program = run(textwrap.dedent(BEFORE + code), tmp_path / "file", stderr=subprocess.PIPE)
    _, said = program.communicate(timeout=30)
    assert program.returncode == 0, said
    assert not FOLDER.exists() or list(FOLDER.glob("*")) == []
    return str(said)


@pytest.mark.parametrize("what", WARNED)
def test_a_map_that_is_dropped_unclosed_is_warned_of_and_closed(run: Run, tmp_path: Path, what: str) -> None:
    code, warning = WARNED[what]
    if not WINDOWS:
        code += (
            "\nleft = [f for f in os.listdir('/proc/self/fd') if int(f) > 2 and os.path.exists(f'/proc/self/fd/{f}')]\n"
        )
        code += "assert not [f for f in left if '.map' in os.readlink(f'/proc/self/fd/{f}')]"
    said = said_by(run, tmp_path, code)
    assert said.count("ResourceWarning: ") == 1
    assert re.search(warning, said)


@pytest.mark.parametrize("what", NOT_WARNED)
def test_nothing_else_is_warned_of(run: Run, tmp_path: Path, what: str) -> None:
    assert said_by(run, tmp_path, "m = MemoryMappedFile.create_new('m', 10)\n" + NOT_WARNED[what]) == ""


def test_a_function_run_at_exit_may_close_and_use_maps(run: Run, tmp_path: Path) -> None:
    """Registered before the library was imported, it runs after the library has closed everything."""
    code = """
    import atexit, sys
    def late():
        for use in (lambda: m.close(), lambda: m.close(), lambda: v.write_byte(0, 1), lambda: v.close()):
            use()
        try:
            m.capacity
        except ValueError:
            return
        print("not closed", file=sys.stderr)
    atexit.register(late)
    from memorymapped import MemoryMappedFile
    m = MemoryMappedFile.create_new("n", 10)
    v = m.create_view_accessor()
    """
    program = run(textwrap.dedent(code), stderr=subprocess.PIPE)
    _, said = program.communicate(timeout=30)
    assert (program.returncode, said) == (0, "")


def test_collection_of_dropped_maps_leaves_nothing() -> None:
    def drop(count: int) -> None:
        for i in range(count):
            array = np.asarray(MemoryMappedFile.create_new(f"n{i}", 10).create_view_accessor())
            array[0] = 1

    with pytest.warns(ResourceWarning):
        drop(1)
    gc.collect()
    before = descriptors()
    with pytest.warns(ResourceWarning) as caught:
        drop(20)
    assert len(caught) == 20
    gc.collect()
    assert descriptors() == before
    assert list(FOLDER.glob("*.map")) == []
