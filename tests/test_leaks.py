# SPDX-License-Identifier: MIT
"""Nothing is left of what was closed or dropped: no descriptor, no mapping, no memory, no file.

Each kind of use is repeated in another process, some thousand times (100,000 in the campaign), after as many rounds as
caches need to fill."""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import os
import random
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import peers
from root import ROOT, SHM, descriptors
from support.actors import PRELUDE, Actor

from memorymapped import (
    FileMode,
    MemoryFaultError,
    MemoryMappedFile,
    MemoryMappedViewAccessor,
    MemoryMappedViewStream,
    guard_status,
)
from memorymapped import MemoryMappedFileAccess as Access

PAGE = os.sysconf("SC_PAGE_SIZE")

_USES = """
import io, pickle, struct, warnings
import numpy
warnings.simplefilter("ignore", ResourceWarning)  # maps are dropped on purpose
root = os.environ["MEMORYMAPPED_ROOT"]
create, open_existing, of_file = (
    MemoryMappedFile.create_new, MemoryMappedFile.open_existing, MemoryMappedFile.create_from_file)

def refused(call, *errors):
    try:
        call()
    except (*errors, MemoryMappedFileError):
        pass
    else:
        raise AssertionError("not refused")

# What stays open for the uses of views.
pipe, _ = os.pipe()
shared = create(None, 8192)
kept = shared.create_view_accessor()
stream_kept = shared.create_view_stream()
existing = create("existing", 100)
file_map = of_file(path, map_name="file map")

def named(i):
    with create(f"n{i}", 100) as m, open_existing(f"n{i}") as again, m.create_view_accessor() as v:
        v.write_int32(0, i)
        assert again.name_alive
def named_and_closed_first(i):
    m = MemoryMappedFile.create_or_open("same", 100)
    v = m.create_view_accessor()
    m.close()
    v.write_int32(0, i)
    v.close()
def named_locally(i):
    create(f"Local\\\\n{i % 10}", 100).close()
def named_globally(i):
    create(f"Global\\\\n{i % 10}", 100).close()
def long_names(i):
    create("n" * 300 + str(i % 1000), 100).close()
def inheritable(i):
    with create("i", 100, inheritability=INHERITABLE) as m, m.create_view_accessor() as v:
        v[0] = 1
def unnamed(i):
    with create(None, 5000) as m, m.create_view_accessor() as v:
        v.write_int32(4990, i)
def not_reserved(i):
    with create(None, 1 << 30, options=Options.DELAY_ALLOCATE_PAGES) as m, m.create_view_accessor() as v:
        v[1 << 29] = 1
def file_by_path(i):
    with of_file(path) as m, m.create_view_accessor(i % 100, 8) as v:
        v[0]
def file_that_is_written(i):  # to the disk
    with of_file(path) as m, m.create_view_accessor(i % 100, 8) as v, m.create_view_stream() as s:
        v[0] = 1
        s.write(b"1")
def file_with_a_name(i):
    with of_file(path, map_name=f"f{i % 1000}") as m, open_existing(m.name) as again, again.create_view_accessor() as v:
        v[0]
def file_by_open_file(i):
    with of_file(open(path, "r+b")) as m, m.create_view_stream() as s:
        s.read(10)
def file_by_descriptor(i):
    with of_file(os.open(path, os.O_RDONLY), None, 0, Access.COPY_ON_WRITE) as m:
        with m.create_view_accessor(0, 0, Access.COPY_ON_WRITE) as v:
            v[0] = 1
def new_file(i):
    with of_file(path + "new", FileMode.CREATE_NEW, None, 100) as m:
        m.resize(200)
        m.sync()
    os.unlink(path + "new")
def accessor(i):
    with shared.create_view_accessor(i % 4096, 100) as v:
        v.write_int32(0, i)
        v.write_decimal(16, 1)
        v.read_int32(0), v.read_bytes(0, 50), v[3:9], v.read_decimal(16), v.residency(), v.check()
def stream(i):
    with shared.create_view_stream(i % 4096, 100) as s:
        s.write(b"123")
        s.seek(0)
        s.read(5), s.readline(), s.readall(), s.readlines()
def wrapped_stream(i):
    with io.TextIOWrapper(io.BufferedRandom(shared.create_view_stream(0, 100)), "latin-1") as text:
        text.write("text")
    BinaryWriter(shared.create_view_stream(0, 100)).write("text")
    BinaryReader(shared.create_view_stream(0, 100)).read_string()
def elements(i):
    with shared.create_view_accessor(0, 400) as v:
        e = v.cast("i")
        e[3:7] = range(4)
        part, back = e[2:50:3], e[::-1]
        sum(part), back.tolist(), list(zip(part, back)), next(iter(e)), e.tobytes(), memoryview(part)
    refused(lambda: e[0])
def elements_of_a_view_that_stays(i):
    e = kept.cast("d", 8, 100)
    e[0] = i
    next(iter(e)), e[5:8]
def buffers(i):
    v = shared.create_view_accessor()
    a, m = numpy.asarray(v), memoryview(v)[5:50:3]
    v.close()
    a[0], m[0] = 1, 2
    numpy.frombuffer(stream_kept.read(0) + b"12345678")
def arrays(i):
    kept.write_array(0, numpy.arange(50, dtype="i4"))
    kept.read_array(0, numpy.empty(50, "i4"))
    kept.gather([0, 8, 16], "i"), kept.gather(numpy.arange(5), "B")
    kept.scatter([0, 8], [i % 100, 2], "i")
    kept.write(0, (1, 2.5), "if"), kept.read(0, "if")
def refused_maps(i):
    refused(lambda: create("existing", 100), FileExistsError)
    refused(lambda: create("x\\\\y", 100), ValueError)
    refused(lambda: create("new", -1), ValueError)
    refused(lambda: create(f"new{i}", 1 << 62), OSError)
    refused(lambda: create(None, 1 << 62), OSError)
    refused(lambda: open_existing(f"nobody's {i}"), FileNotFoundError)
    refused(lambda: MemoryMappedFile.from_descriptor(pipe), OSError)
def names_in_use(i):  # looks for the holder
    try:
        create("existing", 100)
    except NameInUseError as error:
        assert str(os.getpid()) in str(error)
def refused_files(i):
    refused(lambda: of_file(path, FileMode.CREATE_NEW, None, 10), FileExistsError)
    refused(lambda: of_file(path + "no"), FileNotFoundError)
    refused(lambda: of_file(path, map_name="existing"), FileExistsError)
    refused(lambda: of_file(path + "x", FileMode.CREATE_NEW, "existing", 100), FileExistsError)
    refused(lambda: of_file(path + "x", FileMode.OPEN_OR_CREATE), ValueError)
    refused(lambda: of_file(path, capacity=1), ValueError)
    refused(lambda: of_file(root), PermissionError)
    refused(lambda: of_file("/dev/null", capacity=5).create_view_accessor(), OSError)
def refused_views(i):
    refused(lambda: shared.create_view_accessor(9000), ValueError)
    refused(lambda: shared.create_view_stream(0, 9000), PermissionError)
    refused(lambda: shared.create_view_accessor(0, 0, 99), ValueError)
    refused(lambda: shared.create_view_accessor(0, 0, Access.READ_EXECUTE), PermissionError)
def refused_accesses(i):
    refused(lambda: kept.read_int32(8190), ValueError)
    refused(lambda: kept.write_byte(0, 300), OverflowError)
    refused(lambda: kept.write_int32(0, "1"), TypeError)
    refused(lambda: kept.read(0, "no such format"), struct.error)
    refused(lambda: kept.cast("i", -1), ValueError)
    refused(lambda: kept.cast("i").__getitem__(5000), IndexError)
    refused(lambda: kept.gather([8190], "i"), ValueError)
    refused(lambda: kept.scatter([0, 4], [1, "2"], "i"), struct.error)
    refused(lambda: kept.write_array(0, [object()]), TypeError)
    refused(lambda: kept.__setitem__(slice(0, 4), b"1"), ValueError)
    refused(lambda: stream_kept.truncate(1), OSError)
def faults(i):
    with open(path + "cut", "wb") as file:
        file.write(bytes(8192))
    with of_file(path + "cut") as m, m.create_view_accessor() as v, m.create_view_stream() as s:
        os.truncate(path + "cut", 0)
        refused(lambda: v.read_int32(5000))
        refused(s.readall)
        refused(v.check)
        with m.create_view_accessor() as empty:
            assert empty.capacity == 0
    os.unlink(path + "cut")
def dropped(i):
    create(f"d{i % 1000}", 100).create_view_accessor()[0] = 1
    of_file(open(path, "r+b"), f"e{i % 1000}").create_view_stream()
    numpy.asarray(create(None, 100).create_view_accessor())[0] = 1
def dropped_in_cycles(i):
    one = [create(None, 100), shared.create_view_accessor(), shared.create_view_stream(), kept.cast("i")]
    one.append(one)
    view = shared.create_view_accessor()
    elements = view.cast("i")
    two = [memoryview(view), elements, iter(elements)]
    two.append(two)
    if i % 100 == 0:
        gc.collect()
def pickled(i):
    pickle.loads(pickle.dumps(existing)).close()
    pickle.loads(pickle.dumps(file_map)).close()
def by_descriptor(i):
    for m in (existing, shared, file_map):
        MemoryMappedFile.from_descriptor(m.fileno(), leave_open=True).close()
def asked(i):
    for m in (existing, shared, file_map):
        repr(m), m.capacity, m.name_alive, m.generation, m.path, m.sync(), m.resize(m.capacity), guard_status()
        m.set_access_control(m.get_access_control())
from support.frozen_arrays import Inner  # pickle finds it by its name
class Pair(Struct):
    x: int64
    y: int64
tag = f"leaks-{os.getpid()}"
pairs = StructArray(Pair, tag, 100, max_capacity=1000)
pairs.extend([Pair(1, 2)] * 10)
places = StructArray(Pair, tag + "-places", 10, foreign=True)
places.extend([Pair(1, 2)] * 10)
inner = StructArray(Inner, tag + "-inner", 10)
def struct_arrays(i):
    with StructArray(Pair, f"{tag}-{i % 7}", 5, max_capacity=50) as array:
        array.extend([Pair(i, i)] * 9)
        array[0], array[2:5], list(array), array.as_numpy(), array.as_numpy(copy=True)
def struct_arrays_that_stay(i):
    pairs.append(Pair(1, 2)), pairs.pop(), pairs[:], pairs[-1], pairs.wait_for_change(0), pairs.wait_for_length(5)
    pairs[0] = Pair(i, 2)
    with pairs.edit(0) as draft:
        draft.x = 5
    with places.lock:
        places.ref(1).x = 3
        places.refs()[2].y = 4
        places.as_numpy(writable=True)["x"] = 5
    places[0], places[::2], numpy.asarray(pairs)["x"].sum()
def refused_struct_arrays(i):
    refused(lambda: pairs[99], IndexError)
    refused(lambda: pairs.append(3), TypeError)
    refused(lambda: pairs.extend([Pair(), 3]), TypeError)
    refused(lambda: pairs.__setitem__(500, Pair()), IndexError)
    refused(lambda: pairs.extend([Pair()] * 2000), OSError)
    refused(lambda: pairs.edit(99).__enter__(), IndexError)
    refused(lambda: pairs.ref(0), io.UnsupportedOperation)
    refused(lambda: places.ref(0), RuntimeError)
    refused(lambda: StructArray.open_existing(Pair, "nobody's"), FileNotFoundError)
def dropped_struct_arrays(i):
    StructArray(Pair, f"{tag}-{i % 7}", 5).append(Pair())
    cycle = [StructArray(Pair, f"{tag}-{i % 5}-x", 5)]
    cycle.append([cycle, cycle[0].edit(0), cycle[0].as_numpy()])
    del cycle
    if i % 50 == 0:
        gc.collect()
def pickled_struct_arrays(i):
    pickle.loads(pickle.dumps(inner)).close()

def used():
    "What this process has, and what lies in the root."
    gc.collect()
    with open("/proc/self/maps") as maps:
        mappings = sum("memfd:" in line or root in line or path in line for line in maps)
    files = [name for _, _, names in os.walk(root) for name in names if name != ".gate"]
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mappings": mappings,
        "guarded": guard_status().mappings,
        "files": sorted(files) + sorted(os.listdir(os.path.dirname(path))),
        "threads": threading.active_count(),
    }
def kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
def repeat(use, rounds):
    for i in range(rounds):
        use(i)
at_first = used()
"""

# How often each is done, here and in the campaign.
MANY, SOME, FEW = (3000, 100_000), (2000, 20_000), (200, 2000)
USES = {
    "named": MANY,
    "named_and_closed_first": SOME,
    "named_locally": SOME,
    "named_globally": SOME,
    "long_names": SOME,
    "inheritable": SOME,
    "unnamed": MANY,
    "not_reserved": SOME,
    "file_by_path": MANY,
    "file_that_is_written": FEW,
    "file_with_a_name": SOME,
    "file_by_open_file": SOME,
    "file_by_descriptor": SOME,
    "new_file": FEW,
    "accessor": MANY,
    "stream": MANY,
    "wrapped_stream": SOME,
    "elements": MANY,
    "elements_of_a_view_that_stays": MANY,
    "buffers": MANY,
    "arrays": MANY,
    "refused_maps": SOME,
    "names_in_use": FEW,
    "refused_files": SOME,
    "refused_views": SOME,
    "refused_accesses": SOME,
    "faults": FEW,
    "dropped": SOME,
    "dropped_in_cycles": SOME,
    "pickled": SOME,
    "by_descriptor": SOME,
    "asked": FEW,
    "struct_arrays": SOME,
    "struct_arrays_that_stay": SOME,
    "refused_struct_arrays": SOME,
    "dropped_struct_arrays": FEW,
    "pickled_struct_arrays": FEW,
}
GROWTH = 1024  # KiB that may come without being a leak: an arena, a table


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Actor]:
    """A process with a root of its own, as it holds names over all of these tests."""
    root = Path(tempfile.mkdtemp(prefix="memorymapped-tests-root-", dir=SHM))
    path = tmp_path_factory.mktemp("leaks") / "file"
    path.write_bytes(bytes(5000))
    flags = ("-W", "error", "-W", "ignore::ResourceWarning")
    environment = {**os.environ, "MEMORYMAPPED_ROOT": str(root)}
    try:
        with Actor(flags=flags, prelude=f"{PRELUDE}\npath = {str(path)!r}\n{_USES}", env=environment) as actor:
            yield actor
            assert actor.finish() == 0
            assert list(root.iterdir()) in ([], [root / "memorymapped-global"])
    finally:
        shutil.rmtree(root)


def leaks(user: Actor, use: str, rounds: int, seconds: float) -> None:
    user.do(f"repeat({use}, {min(rounds, 1500)}); before = used(); size = kib()", seconds)
    user.do(f"repeat({use}, {rounds}); after = used(); more = kib() - size", seconds)
    assert user.get("after") == user.get("before")
    assert user.get("after['files']") == user.get("at_first['files']")
    more = user.get("more")
    print(f"{use}: {more} KiB after {rounds} rounds")
    assert more < GROWTH


@pytest.mark.parametrize("use", USES)
def test_some_thousand_times(user: Actor, use: str) -> None:
    leaks(user, use, USES[use][0] // 5, 30)


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("use", USES)
def test_many_times(user: Actor, use: str) -> None:
    leaks(user, use, USES[use][1], 240)


# --------------------------------------------------------------------------------------------------------- many at once


def mappings_of(path: Path) -> int:
    return sum(str(path) in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_ten_thousand_views_of_one_map(tmp_path: Path) -> None:
    """All of them work until they are closed, in any order."""
    count = 10_000
    choose = random.Random(3)
    path = tmp_path / "file"
    gc.collect()  # of what other tests have dropped
    before, guarded = descriptors(), guard_status().mappings
    with MemoryMappedFile.create_from_file(path, FileMode.CREATE_NEW, None, count * 8) as map_:
        held = descriptors()
        views = [map_.create_view_stream() if i % 2 else map_.create_view_accessor() for i in range(count)]
        assert guard_status().mappings == guarded + count
        assert descriptors() == held, "a view has no descriptor"
        for i, view in enumerate(views):
            if isinstance(view, MemoryMappedViewStream):
                view.position = 8 * i
                view.write(i.to_bytes(8, "little"))
            else:
                view.write_int64(8 * i, i)
        choose.shuffle(views)
        while views:
            for view in (choose.choice(views), views[-1]):
                at = choose.randrange(count)
                if isinstance(view, MemoryMappedViewStream):
                    view.position = 8 * at
                    assert int.from_bytes(view.read(8), "little") == at
                else:
                    assert view.read_int64(8 * at) == at
            view = views.pop()
            view.close()
            assert view.closed
    assert mappings_of(path) == 0
    assert guard_status().mappings == guarded
    assert descriptors() == before


def test_a_fault_among_ten_thousand_views(tmp_path: Path) -> None:
    """It is told by the views that met it, and by no other."""
    paths = [tmp_path / "cut", tmp_path / "whole"]
    with contextlib.ExitStack() as stack:
        maps = [
            stack.enter_context(MemoryMappedFile.create_from_file(path, FileMode.CREATE_NEW, None, 2 * PAGE))
            for path in paths
        ]
        views = [maps[i % 2].create_view_accessor(access=Access.READ) for i in range(10_000)]
        os.truncate(paths[0], PAGE)
        met = set(random.Random(4).sample(range(len(views)), 100))
        for i in met:
            if i % 2:
                assert views[i].read_byte(PAGE) == 0
            else:
                with pytest.raises(MemoryFaultError):
                    views[i].read_byte(PAGE)
        assert [view.faulted for view in views] == [i in met and i % 2 == 0 for i in range(len(views))]
        for view in views:
            view.close()


def test_more_views_than_the_system_gives() -> None:
    """The one too many is refused, and all others stay; when some are closed there is room again."""
    most = int(Path("/proc/sys/vm/max_map_count").read_text())
    if most > 200_000:
        pytest.skip(f"this system gives {most} mappings to a process")
    guarded = guard_status().mappings
    with MemoryMappedFile.create_new(None, 8) as map_:
        views: list[MemoryMappedViewAccessor] = []
        refused: OSError | MemoryError | None = None
        while refused is None and len(views) <= most:
            try:
                views.append(map_.create_view_accessor())
            except (OSError, MemoryError) as error:
                refused = error
        views.pop().close()
        views.append(map_.create_view_accessor())
        views[0].write_int64(0, 7)
        assert all(view.read_int64(0) == 7 for view in views[:: len(views) // 100])
        for view in views:
            view.close()
        with map_.create_view_accessor() as view:
            assert view.read_int64(0) == 7
    assert len(views) > most // 2
    assert isinstance(refused, OSError)
    assert refused.errno == errno.ENOMEM
    assert guard_status().mappings == guarded


# -------------------------------------------------------------------------------------------------------------- dropped


def test_a_dropped_view_goes_at_once_and_without_a_word(tmp_path: Path) -> None:
    """`warnings` are errors here."""
    path = tmp_path / "file"
    with MemoryMappedFile.create_from_file(path, FileMode.CREATE_NEW, None, 8192) as map_:
        guarded = guard_status().mappings
        for make in (map_.create_view_accessor, map_.create_view_stream):
            view = make()
            gone = weakref.ref(view)
            assert mappings_of(path) == 1
            del view
            assert gone() is None
            assert (mappings_of(path), guard_status().mappings) == (0, guarded)
        view = map_.create_view_accessor()
        elements, part, buffer = view.cast("i"), view.cast("i")[3:9], memoryview(view)
        iterator = iter(part)
        del view, elements
        assert mappings_of(path) == 1
        del part, iterator
        assert mappings_of(path) == 1
        buffer.release()
        gc.collect()  # memoryview keeps what it was of until it is collected itself
        del buffer
        assert mappings_of(path) == 0


CYCLES: dict[str, Callable[[MemoryMappedFile], object]] = {
    "a view in a list": lambda map_: map_.create_view_accessor(),
    "a stream in a list": lambda map_: map_.create_view_stream(),
    "a view that knows itself": lambda map_: Knowing.of(map_.create_view_accessor()),
    "elements": lambda map_: map_.create_view_accessor().cast("i")[2:],
    "an iterator": lambda map_: iter(map_.create_view_accessor().cast("i")),
    "a memoryview": lambda map_: memoryview(map_.create_view_accessor()),
    "a buffered stream": lambda map_: io.BufferedReader(map_.create_view_stream()),
    "a bound method": lambda map_: map_.create_view_accessor().read_int32,
}


class Knowing:
    """Holds a view, and is held by itself."""

    def __init__(self, view: object) -> None:
        self.view, self.me = view, self

    @classmethod
    def of(cls, view: object) -> Knowing:
        return cls(view)


@pytest.mark.parametrize("what", CYCLES)
def test_views_in_reference_cycles_are_collected(tmp_path: Path, what: str) -> None:
    path = tmp_path / "file"
    with MemoryMappedFile.create_from_file(path, FileMode.CREATE_NEW, None, 8192) as map_:
        ring: list[object] = [CYCLES[what](map_)]
        ring.append(ring)
        assert mappings_of(path) == 1
        del ring
        gc.collect()
        assert mappings_of(path) == 0


def test_a_map_in_a_reference_cycle_is_warned_of_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    MemoryMappedFile.create_new("n", 1).close()  # the folder of names stays open
    before = descriptors()
    for make in (
        lambda: MemoryMappedFile.create_new("n", 10),
        lambda: MemoryMappedFile.create_new(None, 10),
        lambda: MemoryMappedFile.create_from_file(path, map_name="n"),
    ):
        ring: list[object] = [make()]
        ring.append(ring)
        del ring
        with pytest.warns(ResourceWarning, match="unclosed <MemoryMappedFile") as caught:
            gc.collect()
        assert len(caught) == 1
        assert descriptors() == before


# ------------------------------------------------------------------------------------------------------ forks, threads


@pytest.mark.parametrize("descriptors", [4096, 1024])
def test_a_fork_with_a_thousand_names(
    run: Callable[..., subprocess.Popen[str]], tmp_path: Path, descriptors: int
) -> None:
    """The child holds all of them after its parent has ended or was killed; also where the limit of descriptors leaves
    no room for as many again, which a fork needs for a moment."""
    with peers(run) as peer:
        limits = f"(resource.RLIMIT_NOFILE, ({descriptors}, 4096))"
        parent = peer(before=f"import resource; resource.setrlimit{limits}\n")
        parent("maps = [MemoryMappedFile.create_new(f'n{i}', 8) for i in range(1000)]")
        parent("views = [m.create_view_accessor() for m in maps]")
        parent("for i, v in enumerate(views): v.write_int64(0, i)")
        used = parent.ask("len(os.listdir('/proc/self/fd'))")
        child = parent.fork(tmp_path)
        for process in (parent, child):
            assert process.ask("resource.getrlimit(resource.RLIMIT_NOFILE)") == (descriptors, 4096)
        assert parent.ask("len(os.listdir('/proc/self/fd'))") == used
        parent("for m in maps[::2]: m.close()")
        assert child.ask("all(m.name_alive for m in maps)")
        parent.kill()
        assert child.ask("all(m.name_alive for m in maps)")
        for i in range(1000):
            with MemoryMappedFile.open_existing(f"n{i}") as map_, map_.create_view_accessor() as view:
                assert view.read_int64(0) == i
        child("while maps: maps.pop(len(maps) // 2).close()")
        assert [path.name for path in ROOT.rglob("*.map")] == []
        assert child.ask("len(os.listdir('/proc/self/fd'))") < used - 900
        child.end()


_THREADS = """
import random, threading
def work(seed, rounds, wrong):
    choose = random.Random(seed)
    try:
        for i in range(rounds):
            act = choose.randrange(5)
            if act == 0:
                with shared.create_view_accessor(8 * seed, 8) as v:
                    v.write_int64(0, i)
                    assert v.read_int64(0) == i
            elif act == 1:
                with shared.create_view_stream(8 * seed + 4096, 8) as s:
                    s.write(i.to_bytes(8, "little"))
                    s.seek(0)
                    assert s.read() == i.to_bytes(8, "little")
            elif act == 2:
                with MemoryMappedFile.create_or_open("all", 100) as m, m.create_view_accessor() as v:
                    v[seed] = i % 256
            elif act == 3:
                with MemoryMappedFile.create_new(f"n{seed}", 100) as m, MemoryMappedFile.open_existing(m.name) as same:
                    assert m.generation == same.generation
            else:
                # Views that others close, and drop, while they are used.
                at = choose.randrange(len(common))
                common[at] = shared.create_view_accessor()
                try:
                    common[choose.randrange(len(common))].read_bytes(0, 4096)
                    common[choose.randrange(len(common))].cast("i")[choose.randrange(1000)]
                    common[choose.randrange(len(common))].close()
                except ClosedError:
                    pass
    except BaseException as error:
        wrong.append(error)

def together(rounds):
    global common
    wrong = []
    common = [shared.create_view_accessor() for _ in range(16)]
    threads = [threading.Thread(target=work, args=(seed, rounds, wrong)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    common = []
    if wrong:
        raise wrong[0]
"""


def in_threads(rounds: int, seconds: float) -> None:
    with Actor(prelude=PRELUDE + _THREADS) as there:
        there.do("shared = MemoryMappedFile.create_new(None, 8192)")
        there.do("""
def used():
    gc.collect()
    mappings = sum("memfd:" in line for line in open("/proc/self/maps"))
    return os.listdir("/proc/self/fd"), mappings, guard_status().mappings
def kib():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS:"))
""")
        there.do("together(rounds); before = used(); size = kib()", seconds, rounds=rounds)
        there.do("together(rounds); after = used(); more = kib() - size", seconds)
        assert there.get("after") == there.get("before")
        print(f"{there.get('more')} KiB more")
        assert there.get("more") < 2 * GROWTH
        there.do("shared.close()")
        assert there.finish() == 0


def test_views_and_maps_in_many_threads() -> None:
    in_threads(30, 30)


@pytest.mark.campaign
@pytest.mark.timeout(200)
def test_views_and_maps_in_many_threads_for_long() -> None:
    in_threads(20_000, 90)
