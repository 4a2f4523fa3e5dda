# SPDX-License-Identifier: MIT
"""Processes are killed (SIGKILL) at each system call of everything that concerns the life of a name or of a file.

After each death the invariants are looked at by processes that took no part:

- somebody else holds the name: it is valid, and stands for the same generation (device, inode) and the same bytes;
- nobody does: it is not found, and whoever creates it gets another generation, all zero; the first look, whatever it
  is, leaves no file behind, neither the object nor side files nor anything unfinished;
- views of the old generation in a process that lives keep their bytes;
- no operation after the death waits for anything: each has `observer.BOUND` seconds.

What a killed `create_from_file` may leave: the file that it was making, empty or in full length (nobody can know that
it is not wanted). A file that was there before is untouched, or grown in full with zeros behind its contents; with
FileMode.CREATE, which is to empty it, it may also be empty, or zero in full length, but never cut otherwise.

The normal run kills at every stop of the central cases and at each twentieth of the others, with one kind of first look
for each stop; the campaign at every stop of every case with every kind of first look.
"""

from __future__ import annotations

import itertools
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from campaigns import campaign
from support.scene import LOOKS, MAKE, NAMES, OPEN, PATTERN, PAUSE, SIZE, WARM, Case, Scene

SOME = 20  # the normal run's step through the stops
DELAY = "options=Options.DELAY_ALLOCATE_PAGES"
ALL = ("user", "local", "global", "long")
HEIR = MAKE.replace("SIZE)", "SIZE, inheritability=INHERITABLE)") + (
    "child = subprocess.Popen(['sleep', '1000'], pass_fds=[m.fileno()])\n"
)

scenes: list[Scene] = []


@pytest.fixture(scope="module", autouse=True)
def last_scene() -> Iterator[None]:
    yield
    while scenes:
        scenes.pop().close()


@pytest.fixture
def scene() -> Scene:
    """One for all tests; after a failure a new one, as nobody knows in which state it was left."""
    if scenes and scenes[0].broken:
        scenes.pop().close()
    if not scenes:
        scenes.append(Scene())
    if scenes[0].unavailable:
        pytest.skip(scenes[0].unavailable)
    return scenes[0]


def enumerate_stops(run: Callable[[int, str], bool], step: int, first: int = 1) -> int:
    """Runs with every `step`-th stop until the victim is done before it, each with another of the first looks. Returns
    how many deaths that were."""
    deaths = 0
    while True:
        deaths += 1
        if run(first + (deaths - 1) * step, LOOKS[(first + deaths) % len(LOOKS)]):
            return deaths


# -- names

CASES = [
    Case("create_new, the first of all", MAKE, kinds=ALL, cold=True),
    Case("create_new", MAKE, WARM, kinds=ALL, central=True),
    Case("create_new over a stale object", MAKE, WARM, kinds=ALL, stale=True, central=True),
    Case("create_new of a held name", "try:\n MemoryMappedFile.create_new(name, 1)\nexcept NameInUseError: pass", WARM,
         kinds=("user", "global"), held=True),
    Case("create_new among others", MAKE, WARM, neighbours=True),
    Case("create_new, pages on demand", f"m = MemoryMappedFile.create_new(name, SIZE, {DELAY})", WARM),
    Case("create_new for reading only", "m = MemoryMappedFile.create_new(name, SIZE, Access.READ)", WARM,
         kinds=("user", "long")),
    Case("create_new with security", "s = MemoryMappedFileSecurity(); m = MemoryMappedFile.create_new(name, SIZE, "
         "security=s)", WARM, kinds=("user", "global")),
    Case("create_new of 130 MiB, reserved in pieces", "m = MemoryMappedFile.create_new(name, 130 << 20)", WARM),
    Case("create_new that is refused", f"try:\n MemoryMappedFile.create_new(name, (1 << 63) - 1, {DELAY})\n"
         "except OSError: pass", WARM, kinds=("user", "long")),
    Case("create_or_open, creating", "m = MemoryMappedFile.create_or_open(name, SIZE)", WARM, kinds=ALL, central=True),
    Case("create_or_open over a stale object", "m = MemoryMappedFile.create_or_open(name, SIZE)", WARM, stale=True),
    Case("create_or_open, opening", "m = MemoryMappedFile.create_or_open(name, SIZE)", WARM, kinds=ALL, held=True,
         central=True),
    Case("open_existing", OPEN, WARM, kinds=ALL, held=True, central=True),
    Case("open_existing with a view", OPEN + "; v = m.create_view_accessor(); v.write_byte(0, 1)", WARM, held=True),
    Case("open_existing for reading", "m = MemoryMappedFile.open_existing(name, Rights.READ)", WARM,
         kinds=("user", "global"), held=True),
    Case("open_existing, inheritable", "m = MemoryMappedFile.open_existing(name, inheritability=INHERITABLE)", WARM,
         held=True),
    Case("open_existing of a stale object", f"try:\n {OPEN}\nexcept FileNotFoundError: pass", WARM, kinds=ALL,
         stale=True),
    Case("open_existing of nothing", f"try:\n {OPEN}\nexcept FileNotFoundError: pass", kinds=ALL, cold=True),
    Case("close, the last holder", "m.close()", MAKE, kinds=ALL, seen=True, central=True),
    Case("close, not the last holder", "m.close()", OPEN, kinds=ALL, held=True, central=True),
    Case("close, then create_new", "m.close()" + MAKE, MAKE, kinds=("user", "long"), seen=True),
    Case("close, inheritable, the last", "m.close()", HEIR + "child.kill(); child.wait()", kinds=("user", "global"),
         seen=True),
    Case("close, inheritable, not the last", "m.close()", "m = MemoryMappedFile.open_existing(name, "
         "inheritability=INHERITABLE)", kinds=("user", "global"), held=True),
    Case("close, while a child has inherited it", "m.close()", HEIR, kinds=("user", "global"), seen=True,
         heirs=True),
    Case("from_descriptor of what was inherited", "n = MemoryMappedFile.from_descriptor(fd)",
         HEIR + "fd = os.dup(m.fileno())", kinds=ALL, seen=True),
    Case("resize, the last holder", "m.resize(2 * SIZE)", MAKE, kinds=("user", "global"), seen=True),
    Case("resize, not the last holder", "m.resize(2 * SIZE)", OPEN, kinds=("user", "global"), held=True,
         sizes=(SIZE, 2 * SIZE), central=True),
    Case("resize by 130 MiB", "m.resize(130 << 20)", OPEN, held=True, sizes=(SIZE, 130 << 20)),
    Case("fork, the parent dies", f"if os.fork() == 0: {PAUSE}", MAKE, kinds=("user", "global", "long"), seen=True,
         central=True),
    Case("fork, the parent dies, another holds", f"if os.fork() == 0: {PAUSE}", OPEN, held=True),
    Case("fork, the child dies", f"if os.fork() == 0:\n os.getppid()\n {PAUSE}\n{PAUSE}", MAKE,
         kinds=("user", "global"), seen=True, count="child", heirs=True, central=True),
    Case("fork of several maps, the parent dies", f"if os.fork() == 0: {PAUSE}",
         "more = [MemoryMappedFile.create_new(f'more {i}', 1) for i in range(3)]\n" + MAKE + "more[1].close()\n",
         seen=True, neighbours=True),
    Case("fork of an inheritable map, the parent dies", f"if os.fork() == 0: {PAUSE}",
         HEIR + "child.kill(); child.wait()", seen=True),
    Case("fork of an inheritable map, the child dies", f"if os.fork() == 0:\n os.getppid()\n {PAUSE}\n{PAUSE}",
         HEIR + "child.kill(); child.wait()", seen=True, count="child", heirs=True),
    Case("fork, close in the child", f"if os.fork() == 0:\n m.close()\n os.getppid()\n {PAUSE}\n{PAUSE}", MAKE,
         seen=True, count="child", heirs=True),
    Case("fork, close in the parent", f"if os.fork() == 0: {PAUSE}\nm.close()", MAKE, seen=True),
    Case("subprocess, while a map is held", "subprocess.Popen(['true']).wait()", MAKE, seen=True, passing=True),
    Case("plain pickle", "n = pickle.loads(pickle.dumps(m))", MAKE, seen=True),
    Case("normal exit with three maps", "from memorymapped.system.linux.objects import close_all; close_all()",
         "more = [MemoryMappedFile.create_new(f'more {i}', 1) for i in range(2)]\n" + MAKE, seen=True, neighbours=True),
    Case("sweep", "from memorymapped.system import sweep; sweep()", WARM, kinds=("user", "global"), stale=True,
         neighbours=True),
]  # fmt: skip

VARIANTS = [(case, kind) for case in CASES for kind in case.kinds]
PARAMETERS = [
    pytest.param(case, kind, id=f"{case.title} [{kind}]", marks=[] if kind == "user" else pytest.mark.campaign)
    for case, kind in VARIANTS
]


@pytest.mark.parametrize(("case", "kind"), PARAMETERS)
def test_killed_at_a_call(scene: Scene, case: Case, kind: str) -> None:
    every = case.central and kind == "user"
    first = 1 if every else 1 + VARIANTS.index((case, kind)) % SOME
    deaths = enumerate_stops(lambda number, look: scene.run(case, kind, number, look), 1 if every else SOME, first)
    print(f"{deaths} deaths")


@pytest.mark.campaign
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("case", "kind"), PARAMETERS)
def test_killed_at_every_call(scene: Scene, case: Case, kind: str) -> None:
    deaths = sum(enumerate_stops(lambda number, _, look=look: scene.run(case, kind, number, look), 1) for look in LOOKS)
    print(f"{deaths} deaths")


def test_an_open_gives_back_a_global_object(scene: Scene) -> None:
    scene.leave("Global\\crash", join=False)
    try:
        scene.checker.do("observer.not_found(name)", name="Global\\crash")
        assert scene.files() == {}
    finally:
        scene.checker.do("observer.sweep()")


def test_a_sweep_sees_a_new_folder(scene: Scene) -> None:
    scene.checker.do("MemoryMappedFile.create_new('x', 1).close()")
    scene.remove_folders()
    scene.leave("crash", join=False)
    try:
        scene.checker.do("observer.sweep()")
        assert scene.files() == {}
    finally:
        scene.checker.do("observer.not_found('crash')")


# -- files

BEFORE = bytes(range(1, 251)) * 20
LONGER = 3 * len(BEFORE)
LARGE = 66 << 20
ZEROS = bytes(LONGER)


@dataclass(frozen=True)
class FileCase:
    """`act` runs in the victim, with `path`, `map_name` (None if not `named`) and `LONGER`."""

    title: str
    act: str
    prepare: str = ""
    before: bytes | None = BEFORE
    after: tuple[bytes | None, ...] = (BEFORE,)
    named: bool = False
    kind: str = "user"
    held: bool = False
    """Another process holds a map of the file under the name."""
    used: bool = False
    """Another process holds something else under the name."""


GROWN = BEFORE + ZEROS[len(BEFORE) :]
NEW = (None, b"", ZEROS)


def create(mode: str, capacity: str = "LONGER", more: str = "") -> str:
    return f"m = MemoryMappedFile.create_from_file(path, FileMode.{mode}, map_name, {capacity}{more})"


def with_and_without_name(title: str, *args: object, **kwargs: object) -> list[FileCase]:
    return [
        FileCase(title, *args, **kwargs),  # type: ignore[arg-type]
        FileCase(f"{title}, with a name", *args, **kwargs, named=True),  # type: ignore[arg-type]
    ]


FILE_CASES = [
    *with_and_without_name("OPEN", create("OPEN", "0")),
    *with_and_without_name("OPEN, growing", create("OPEN"), after=(BEFORE, GROWN)),
    *with_and_without_name("OPEN, growing with reservation", create("OPEN", more=", reserve=True"),
                           after=(BEFORE, GROWN)),
    *with_and_without_name("CREATE of a new file", create("CREATE"), before=None, after=NEW),
    *with_and_without_name("CREATE of a shorter file", create("CREATE"), after=(BEFORE, GROWN, b"", ZEROS)),
    *with_and_without_name("CREATE of a longer file", create("CREATE", "10"), after=(BEFORE, b"", bytes(10))),
    *with_and_without_name("CREATE_NEW", create("CREATE_NEW"), before=None, after=NEW),
    *with_and_without_name("CREATE_NEW with security",
                           create("CREATE_NEW", more=", security=MemoryMappedFileSecurity()"), before=None, after=NEW),
    *with_and_without_name("OPEN_OR_CREATE, creating", create("OPEN_OR_CREATE"), before=None, after=NEW),
    *with_and_without_name("OPEN_OR_CREATE, opening", create("OPEN_OR_CREATE"), after=(BEFORE, GROWN)),
    *with_and_without_name("copy on write, growing", create("OPEN", more=", access=Access.COPY_ON_WRITE"),
                           after=(BEFORE, GROWN)),
    *with_and_without_name("an open file", "m = MemoryMappedFile.create_from_file(f, map_name, LONGER)",
                           "f = open(path, 'r+b')", after=(BEFORE, GROWN)),
    *with_and_without_name("resize", "m.resize(LONGER)", create("OPEN", "0"), after=(BEFORE, GROWN)),
    *with_and_without_name("resize with reservation", "m.resize(LONGER, reserve=True)", create("OPEN", "0"),
                           after=(BEFORE, GROWN)),
    *with_and_without_name("close with a view", "v.close(); m.close()", create("OPEN", "0")
                           + "; v = m.create_view_accessor(); v.write_bytes(0, v.read_bytes(0, 100))"),
    FileCase("the name of a dead map", create("OPEN", "0"), named=True, kind="long"),
    FileCase("the name of a global map", create("OPEN", "0"), named=True, kind="global"),
    FileCase("open_existing", OPEN, named=True, held=True),
    FileCase("open_existing for reading", "m = MemoryMappedFile.open_existing(name, Rights.READ)", named=True,
             held=True),
    FileCase("open_existing by a global name", OPEN, named=True, held=True, kind="global"),
    FileCase("close, not the last", "m.close()", OPEN, named=True, held=True),
    FileCase("fork", f"if os.fork() == 0: {PAUSE}", OPEN, named=True, held=True),
    FileCase("resize, not the last", "m.resize(LONGER)", OPEN, after=(BEFORE, GROWN), named=True, held=True),
    FileCase("CREATE under a name in use", f"try:\n {create('CREATE')}\nexcept NameInUseError: pass", named=True,
             used=True),
    FileCase("OPEN, growing, under a name in use", f"try:\n {create('OPEN')}\nexcept NameInUseError: pass", named=True,
             used=True),
    FileCase("CREATE_NEW under a name in use", f"try:\n {create('CREATE_NEW')}\nexcept NameInUseError: pass",
             before=None, after=(None, b""), named=True, used=True),
]  # fmt: skip


def die_with_file(scene: Scene, case: FileCase, folder: Path, number: int, look: str) -> bool:
    path = folder / "file"
    name = NAMES[case.kind]
    with scene.telling(lambda: f"{case.title}, first look: {look}, stop {number}: {stop}"):
        stop = "not there yet"
        if case.before is not None:
            path.write_bytes(case.before)
        generation = None
        if case.held:
            generation = scene.holder.get("hold_file(name, path)", name=name, path=str(path))
        if case.used:
            generation = scene.holder.get("hold(name, PATTERN)", name=name, PATTERN=PATTERN)
        map_name = name if case.named else None
        scene.prepare(case.prepare, case.act, path=str(path), name=name, map_name=map_name, LONGER=LONGER)
        try:
            stop, finished = scene.run_to(number)
            scene.kill()
        finally:
            scene.end()
        now = path.read_bytes() if path.exists() else None
        assert now in case.after, f"the file has {None if now is None else len(now)} bytes"
        if case.held or case.used:
            content = PATTERN if case.used else BEFORE
            scene.check_alive(name, generation, () if case.used else (len(now or b""),), content)
            scene.holder.do("let_go(content)", content=content)
        if case.named:
            scene.bury(name, look)
        assert scene.files() == {}
        assert (path.read_bytes() if path.exists() else None) == now
        path.unlink(missing_ok=True)
        assert list(folder.iterdir()) == []
    return finished


FILE_PARAMETERS = [pytest.param(case, id=case.title) for case in FILE_CASES]


@pytest.mark.parametrize("case", FILE_PARAMETERS)
def test_killed_at_a_call_with_a_file(scene: Scene, case: FileCase, tmp_path: Path) -> None:
    step = 5
    first = 1 + FILE_CASES.index(case) % step
    deaths = enumerate_stops(lambda number, look: die_with_file(scene, case, tmp_path, number, look), step, first)
    print(f"{deaths} deaths")


@pytest.mark.campaign
@pytest.mark.timeout(240)
@pytest.mark.parametrize("case", FILE_PARAMETERS)
def test_killed_at_every_call_with_a_file(scene: Scene, case: FileCase, tmp_path: Path) -> None:
    looks = LOOKS if case.named else LOOKS[:1]
    deaths = sum(
        enumerate_stops(lambda number, _, look=look: die_with_file(scene, case, tmp_path, number, look), 1)
        for look in looks
    )
    print(f"{deaths} deaths")


def test_killed_while_reserving_a_large_file(scene: Scene, tmp_path: Path) -> None:
    """Memory is reserved in pieces, behind the end: the length goes from the old to the new in one step."""
    path = tmp_path / "file"
    number = 0
    finished = False
    while not finished:
        number += 1
        path.write_bytes(BEFORE)
        with scene.telling(lambda number=number: f"stop {number}"):  # type: ignore[misc]
            scene.prepare(create("OPEN", "0"), f"m.resize({LARGE}, reserve=True)", path=str(path), map_name=None)
            try:
                _, finished = scene.run_to(number)
                scene.kill()
            finally:
                scene.end()
            with path.open("rb") as file:
                assert file.read(len(BEFORE)) == BEFORE
                assert path.stat().st_size in (len(BEFORE), LARGE)
                assert not any(file.read())
    assert path.stat().st_size == LARGE
    print(f"{number} deaths")


# -- two at once: one stands still at a stop while the other does all of its work, and then dies, or goes on

FIRSTS = {
    "create_new": ("m = None", "m = MemoryMappedFile.create_new(name, SIZE)"),
    "create_or_open": ("m = None", "m = MemoryMappedFile.create_or_open(name, SIZE)"),
    "open_existing": ("m = None", OPEN),
    "close": (OPEN, "m.close()"),
}
SECONDS = {
    "create_new": "n = MemoryMappedFile.create_new(name, SIZE)",
    "create_or_open": "n = MemoryMappedFile.create_or_open(name, SIZE)",
    "open_existing": "n = MemoryMappedFile.open_existing(name)",
    "close": "m.close()",
    "close and create_new": "m.close(); n = MemoryMappedFile.create_new(name, SIZE)",
}
# What an operation came to, and which generations its process holds then.
OUTCOME = """
def attempt(code):
    what = "done"
    try:
        exec(code, globals())
    except FileNotFoundError:
        what = "not found"
    except NameInUseError:
        what = "in use"
    return what, {x.generation for x in (m, n) if x is not None and not x.closed}
n = None
"""
# What is there before: nothing, what a killed process left, what the second process holds.
GROUNDS = ("nothing", "stale", "held")


def two_at_once(scene: Scene, ground: str, first: str, second: str, then: str, number: int, kind: str) -> bool:
    name = NAMES[kind]
    prepare, act = FIRSTS[first]
    with scene.telling(lambda: f"{ground}: {first} {stop}, {second} of another, and it {then}: {one}, {two}"):
        stop, one, two = "not there yet", None, None
        scene.holder.do(OUTCOME + "m = None", name=name, SIZE=SIZE)
        if ground == "stale":
            scene.leave(name, join=True)
        elif ground == "held":
            scene.holder.do("m = MemoryMappedFile.create_new(name, SIZE)")
        scene.prepare(OUTCOME + prepare, f"what = attempt({act!r}); os.getppid(); say(what); {PAUSE}", name=name)
        try:
            stop, finished = scene.run_to(number)
            scene.holder.send("_result = attempt(code)", code=SECONDS[second])
            scene.holder.answered(0.004)  # it may be waiting for the other
            if then == "dies":
                scene.kill()
                one = "dead", set()
            else:
                one = scene.stage.get("let_go_on()")
            two = scene.holder.answer(1.0)
            held = one[1] | two[1]
            assert len(held) < 2, "the name has split"
            for what, outcome in ((first, one[0]), (second, two[0])):
                assert what not in ("create_or_open", "close") or outcome in ("done", "dead")
                assert what != "open_existing" or outcome != "in use"
                assert what != "create_new" or outcome != "not found"
            if first == second == "create_new" and then != "dies":
                assert sorted([one[0], two[0]]) == (["in use"] * 2 if ground == "held" else ["done", "in use"])
            for generation in held:
                scene.check_alive(name, generation, (SIZE,), b"")
        finally:
            scene.end()
        scene.holder.do("for x in (m, n):\n if x is not None: x.close()")
        scene.bury(name, LOOKS[number % len(LOOKS)])
    return finished


PAIRS = [
    (ground, first, second)
    for ground, first, second in itertools.product(GROUNDS, FIRSTS, SECONDS)
    if ground == "held" or not (first + second).count("close")
]


def run_pairs(scene: Scene, step: int, pairs: list[tuple[str, str, str]], kind: str) -> int:
    rounds = 0
    for at, (ground, first, second) in enumerate(pairs):
        for then in ("dies", "goes on"):
            number = 1 + at % step
            while not two_at_once(scene, ground, first, second, then, number, kind):
                number += step
                rounds += 1
            rounds += 1
    return rounds


@pytest.mark.parametrize(("kind", "step"), [("user", 83), *campaign(("global", 83))])
def test_two_at_once(scene: Scene, kind: str, step: int) -> None:
    print(f"{run_pairs(scene, step, PAIRS, kind)} rounds")


@pytest.mark.campaign
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("kind", "step"), [("user", 1), ("global", 2), ("local", 3), ("long", 3)])
def test_two_at_once_at_every_call(scene: Scene, kind: str, step: int) -> None:
    print(f"{run_pairs(scene, step, PAIRS, kind)} rounds")


# -- a map that is handed over to a child of multiprocessing


def hand_over(scene: Scene, folder: Path, count: str, number: int, kind: str) -> bool:
    """`count`: own: the parent dies, at a call of Process.start; started: the child, while it takes the map over."""
    name = NAMES[kind]
    path = str(folder / "socket")
    finished = False
    with scene.telling(lambda: f"{count} {stop}"), socket.socket(socket.AF_UNIX) as server:
        stop = "not there yet"
        server.bind(path)
        server.listen()
        server.setblocking(False)
        scene.prepare(
            MAKE + "p = multiprocessing.get_context('spawn').Process(target=spawned.report, "
            "args=(spawned.Mark(), m, spawned.Mark(), path), daemon=True)",
            "p.start(); m.close()" + (f"; say('closed'); {PAUSE}" if count == "started" else ""),
            count,
            name=name,
            path=path,
        )
        try:
            generation = scene.witness.get("join(name)", name=name)
            stop, finished = scene.run_to(number)
            scene.kill()
            if count == "started":
                assert scene.stage.get("heard()") == "closed"  # the parent's own hold, and its copy for the child
                scene.bury(name, LOOKS[number % len(LOOKS)])
            else:
                said = None
                while said is None and scene.stage.get("children()"):
                    if select.select([server], [], [], 0.01)[0]:
                        with server.accept()[0] as connection:
                            connection.settimeout(5)
                            said = eval(connection.recv(100))
                assert said == generation if finished else said in (None, generation)
                if said is not None:
                    scene.check_alive(name, generation)
        finally:
            scene.end()
            Path(path).unlink()
        scene.bury(name, LOOKS[number % len(LOOKS)])
    return finished


TRACKER = """
from multiprocessing import resource_tracker
resource_tracker.ensure_running()
killer.spared.add(resource_tracker._resource_tracker._pid)
"""


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", ["own", "started"])
@pytest.mark.parametrize("kind", ["user", "long", "global"])
def test_killed_at_every_call_of_a_hand_over(scene: Scene, tmp_path: Path, count: str, kind: str) -> None:
    scene.stage.do(TRACKER)
    deaths = enumerate_stops(lambda number, _: hand_over(scene, tmp_path, count, number, kind), 1)
    print(f"{deaths} deaths")
