# SPDX-License-Identifier: MIT
"""Deaths and what is looked at after them: who is there, who dies, who looks.

- the stage forks the victims and kills them (`killer`);
- the checker took no part and looks at the name afterwards (`observer`);
- the holder holds the name beside the victim;
- the witness has views of an old generation, and holds no name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .actors import PRELUDE, Actor

__all__ = ["LOOKS", "MAKE", "NAMES", "OPEN", "PATTERN", "PAUSE", "SIZE", "WARM", "Case", "Scene"]

SIZE = 10_000
PATTERN = bytes(range(1, 251)) * (SIZE // 250)

NAMES = {
    "user": "crash",
    "local": "Local\\crash",
    "global": "Global\\crash",
    "long": "what is too long for a file's name / " + "ü😀" * 60,
}
LOOKS = ("open", "create", "either", "sweep")
"""What the first to look at a dead name may be doing."""

# What is known to be wrong, as two tests of test_crash.py say, which will fail when it has been put right.
OPEN_LEAVES_GLOBAL = True
SWEEP_MISSES_NEW_FOLDER = True

# What victims do.
MAKE = """
m = MemoryMappedFile.create_new(name, SIZE)
v = m.create_view_accessor()
v.write_bytes(0, PATTERN)
"""
OPEN = "m = MemoryMappedFile.open_existing(name)"
WARM = "MemoryMappedFile.create_new(name[:20].replace('crash', 'warm'), 1).close()"
PAUSE = "signal.pause()"

STAGE = (
    PRELUDE
    + """
import base64, hashlib, io, multiprocessing, multiprocessing.popen_spawn_posix, multiprocessing.resource_tracker
import pickle, subprocess
from support import killer, spawned
from support.killer import Victim, children
from support.observer import within

def stage(prepare, act, count="own", **values):
    global victim
    space = {**globals(), **values}
    prepare, act = compile(prepare, "<prepare>", "exec"), compile(act, "<act>", "exec")
    global ear
    ear, mouth = os.pipe()
    space["say"] = lambda value: os.write(mouth, repr(value).encode())
    victim = Victim(lambda: exec(prepare, space), lambda: exec(act, space), count=count)
    os.close(mouth)

def end():
    victim.end()
    os.close(ear)

def let_go_on():  # up to the second mark and further; what it says then
    victim.run_to(1 << 30)
    victim.release()
    return heard()

def heard():
    with within(5, "what the victim says"):
        return eval(os.read(ear, 1000))

def run_to(number):
    stop = victim.run_to(number)
    return str(stop), stop.finished

def kill(passing=False):
    victim.kill()
    with within(5, "the end of what it started"):
        while passing and children():
            time.sleep(0.0005)
    return children()

gc.disable()  # it would come at another call each time
gc.freeze()
"""
)

WITNESS = (
    PRELUDE
    + """
views = []
def join(name):
    with MemoryMappedFile.open_existing(name) as m:
        views.append(m.create_view_accessor())
        return m.generation
def keep(content):
    assert not [v for v in views if v.read_bytes(0, len(content)) != content], "a view of the old generation changed"
    while views:
        views.pop().close()
"""
)

HOLDER = (
    PRELUDE
    + """
def hold(name, content):
    global m, view
    m = MemoryMappedFile.create_new(name, len(content))
    view = m.create_view_accessor()
    view.write_bytes(0, content)
    return m.generation
def hold_file(name, path):
    global m, view
    m = MemoryMappedFile.create_from_file(path, FileMode.OPEN, name)
    view = m.create_view_accessor()
    return m.generation
def let_go(content):
    assert m.name_alive, "the name vanished under its holder"
    m.close()
    assert view.read_bytes(0, len(content)) == content
    view.close()
"""
)


@dataclass(frozen=True)
class Case:
    """`prepare` and `act` run in the victim, with `name`, `SIZE` and `PATTERN`; the deaths are in `act`."""

    title: str
    act: str
    prepare: str = ""
    kinds: tuple[str, ...] = ("user",)
    count: str = "own"
    cold: bool = False
    """No folder is there yet."""
    stale: bool = False
    """An earlier holder was killed; its object lies there, and a witness has a view of it."""
    held: bool = False
    """Another process holds the name."""
    seen: bool = False
    """The victim holds the name when it begins to act; a witness has a view of it, but does not hold it."""
    heirs: bool = False
    """In each case there is a process beside the victim that has what it held."""
    neighbours: bool = False
    """Among other objects, one live and one stale."""
    sizes: tuple[int, ...] = ()
    """What a resize may have made of the capacity."""
    passing: bool = False
    """The processes that it starts end by themselves, and hold nothing."""
    central: bool = False
    """The normal run, too, kills it at every stop."""


class Scene:
    """The processes, and the folders in which they work."""

    def __init__(self) -> None:
        self.root = Path(os.environ["MEMORYMAPPED_ROOT"])
        self.actors: list[Actor] = []
        self.broken = False
        try:
            # What a victim says on stderr when it is killed in the midst of a start of another program is expected.
            self.stage = self._actor(STAGE, stderr=subprocess.DEVNULL)
            self.checker = self._actor(PRELUDE + "from support.observer import *\nfrom support import observer")
            self.holder = self._actor(HOLDER)
            self.witness = self._actor(WITNESS)
            self.unavailable = self.stage.get("killer.unavailable()")
        except BaseException:
            self.broken = True
            self.close()
            raise

    def _actor(self, prelude: str, **options: Any) -> Actor:
        actor = Actor(prelude=prelude, **options)
        self.actors.append(actor)
        return actor

    def close(self) -> None:
        try:
            for actor in self.actors:
                assert self.broken or actor.finish() == 0, "an actor did not end in the normal way"
        finally:
            for actor in self.actors:
                actor.close()

    # -- what lies there

    def files(self) -> dict[str, int]:
        """All that lies in the folders of names, with inodes. (The global gate is permanent.)"""
        return {
            str(path.relative_to(self.root)): path.stat().st_ino
            for path in self.root.rglob("*")
            if path.is_file() and path.name != ".gate"
        }

    def unfinished(self) -> list[str]:
        """Folders that a killed process was making: the next to make one removes them."""
        return [path.name for path in self.root.iterdir() if ".new" in path.name]

    def remove_folders(self) -> None:
        for folder in self.root.iterdir():
            shutil.rmtree(folder)

    # -- one death

    def run(self, case: Case, kind: str, number: int, look: str) -> bool:
        """One death, and all that is looked at after it. Whether the victim came to its end before the stop."""
        with self.telling(lambda: f"{case.title} ({kind} name), first look: {look}, stop {number}: {stop}"):
            stop = "not there yet"
            if case.cold:
                self.remove_folders()
            if case.stale:
                self.leave(NAMES[kind], join=True)
            if case.neighbours:
                self.leave("left behind", join=False)
                beside = self.holder.get("hold('neighbour', PATTERN)", PATTERN=PATTERN)
            stop, finished = self.die(case, NAMES[kind], number)
            if case.neighbours:
                self.checker.do("alive('neighbour', beside, PATTERN)", beside=beside, PATTERN=PATTERN)
                self.holder.do("let_go(PATTERN)", PATTERN=PATTERN)
                self.checker.do("observer.sweep()")
            self.bury(NAMES[kind], look, cold=case.cold)
        return finished

    def telling(self, where: Callable[[], str]) -> _Telling:
        """Adds `where()` to what is raised, and takes the scene out of use then."""
        return _Telling(self, where)

    def prepare(self, prepare: str, act: str, count: str = "own", **values: Any) -> None:
        """A victim that is ready to `act`. To be ended with `end`."""
        self.stage.do(
            "stage(prepare, act, count, **values)",
            prepare=prepare,
            act=act,
            count=count,
            values={"SIZE": SIZE, "PATTERN": PATTERN, **values},
        )

    def run_to(self, number: int) -> tuple[str, bool]:
        stop, finished = self.stage.get("run_to(number)", number=number)
        return stop, finished

    def kill(self, *, passing: bool = False) -> list[int]:
        """The victim's end. Returns the processes that live on of those that it started."""
        return list(self.stage.get("kill(passing)", passing=passing))

    def end(self) -> None:
        """The end of all that the victim started."""
        self.stage.do("end()")

    def leave(self, name: str, *, join: bool) -> None:
        """An object whose holder was killed; with `join` there is a view of it in the witness."""
        self.prepare(MAKE, "", name=name)
        try:
            if join:
                self.witness.do("join(name)", name=name)
        finally:
            self.end()

    def die(self, case: Case, name: str, number: int) -> tuple[str, bool]:
        generation = None
        if case.held:
            generation = self.holder.get("hold(name, PATTERN)", name=name, PATTERN=PATTERN)
        self.prepare(case.prepare, case.act, case.count, name=name)
        try:
            if case.seen:
                generation = self.witness.get("join(name)", name=name)
            stop, finished = self.run_to(number)
            survivors = self.kill(passing=case.passing)
            assert survivors or not case.heirs, "nobody is left"
            if survivors or case.held:
                self.check_alive(name, generation, case.sizes)
        finally:
            self.end()
        if case.held:
            self.check_alive(name, generation, case.sizes)
            self.holder.do("let_go(PATTERN)", PATTERN=PATTERN)
        return stop, finished

    # -- what is looked at

    def check_alive(self, name: str, generation: object, sizes: tuple[int, ...] = (), content: bytes = PATTERN) -> None:
        self.checker.do("alive(name, generation, content, sizes)", name=name, generation=generation, content=content,
                        sizes=sizes)  # fmt: skip

    def bury(self, name: str, look: str, *, cold: bool = False) -> None:
        """Nobody holds the name any more."""
        old = set(self.files().values())
        if SWEEP_MISSES_NEW_FOLDER and look == "sweep" and cold:
            look = "either"
        self.checker.do("dead(name, look, SIZE, old)", name=name, look=look, SIZE=SIZE, old=old)
        left = self.files()
        if OPEN_LEAVES_GLOBAL and look == "open" and name.startswith("Global"):
            left = {}
        assert left == {}, f"the first look left {left}"
        self.checker.do("observer.gone(name, SIZE, old)")
        left = self.files()
        assert (left, self.unfinished()) == ({}, []), f"left: {left}, {self.unfinished()}"
        self.witness.do("keep(PATTERN)", PATTERN=PATTERN)


class _Telling:
    def __init__(self, scene: Scene, where: Callable[[], str]) -> None:
        self.scene = scene
        self.where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self.scene.broken = True
            error.add_note(self.where())
