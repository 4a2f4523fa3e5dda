# SPDX-License-Identifier: MIT
"""Processes are killed (SIGKILL) after each instruction of setting, releasing, waiting, taking, beside one that waits.

What must hold follows from the memory alone, and from where the victim's own change of it is: killed before that, it
has done nothing; killed after it, it has done all of it. In both cases the waiter goes on within 250 ms of what is
there for it: also if the victim came to the change, and not to the wake. Nothing is lost, and nothing comes twice.

The ordinary run kills after some of the instructions of the compiled core and of the C library that it calls; the
campaign after each.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import pytest
from programs import until
from support.actors import PRELUDE, Actor
from support.waits import MAKERS, SLACK, file_of, in_futex, made, signal

LIMIT = 0.25 + SLACK  # seconds

STEPPING = (
    PRELUDE
    + """
from support.stepping import C_LIBRARY, Steps, unavailable
gc.disable()  # all victims are to take the same way
never = AutoResetEvent()

def record():
    "After which instructions the word changes; where the compiled core is at work."
    def word():
        return os.pread(file, 4, 32)
    file = os.open(path, os.O_RDONLY)
    changes = steps.record(word)
    os.close(file)
    points = set()
    for core in ("futex.", "several."):
        points.update(steps.inside(core, C_LIBRARY, 100))
    return changes, sorted(points)
"""
)


class Case(NamedTuple):
    kind: str
    act: str
    changes: int  # how often the victim changes the word
    on: bool = False  # it is signalled before, and nobody waits


CASES = {
    "set": Case("auto", "h.set()", 1),
    "set by hand": Case("manual", "h.set()", 1),
    "release": Case("semaphore", "h.release()", 1),
    "signal and wait": Case("auto", "signal_and_wait(h, never, 0.001)", 1),
    "give up an event": Case("auto", "h.wait_one(0.001)", 0),
    "give up an event by hand": Case("manual", "h.wait_one(0.001)", 0),
    "give up a semaphore": Case("semaphore", "h.acquire(timeout=0.001)", 0),
    "give up any": Case("auto", "wait_any([never, h], 0.001)", 0),
    "give up all": Case("semaphore", "wait_all([there, h], 0.001)", 0),
    "take": Case("semaphore", "h.wait_one()", 1, True),
    "take any": Case("auto", "wait_any([never, h])", 1, True),
    "take all": Case("semaphore", "wait_all([h])", 1, True),
}


def is_there(handle: Any) -> bool:
    """Whether there is something to be had."""
    value = handle.statistics()
    return bool(value.count if hasattr(value, "count") else value.is_set)


class Scene:
    """A process that is killed in the midst of its work, another that waits, and this one, which looks on."""

    def __init__(self, case: Case, master: Actor, waiter: Actor, handle: Any) -> None:
        self.case = case
        self.master = master
        self.waiter = waiter
        self.handle = handle
        self.there = made("semaphore", "there", True)
        make = "h = " + MAKERS[case.kind].format(on=False, name="h")
        waiter.do(make)
        master.do(make + "\nthere = Semaphore(1, 1, 'there')\nsteps = Steps(lambda: None, eval('lambda: ' + act))",
                  act=case.act, path=str(file_of(case.kind, "h")))  # fmt: skip
        self.late = self.strayed = 0

    def record(self) -> tuple[int, list[int]]:
        """After which instruction the word has changed; after which to kill. As if somebody waited."""
        self.before()
        with open(file_of(self.case.kind, "h"), "rb+") as file:
            file.seek(36)
            file.write(b"\1")
        changes, points = self.master.get("record()")
        assert len(changes) == self.case.changes
        if is_there(self.handle):
            self.handle.wait_one(0)
        self.after()
        return (changes or [10**9])[0], points

    def before(self) -> None:
        if self.case.on:
            signal(self.handle)

    def after(self) -> None:
        if self.case.kind == "manual":
            self.handle.reset()
        assert not is_there(self.handle)
        assert self.there.statistics().count == 1

    def kill(self, number: int, change: int) -> None:
        """Kills after that many instructions, and looks whether the waiter gets what there is."""
        if self.case.on:
            signal(self.handle)
        else:
            self.wait()
        _, same = self.master.get("steps.kill_after(number, lambda: None)", number=number)
        died = time.monotonic()
        self.strayed += not same
        changed = number >= change
        what = f"killed after instruction {number}, the word changes after {change}"
        if self.case.on:
            assert not same or is_there(self.handle) is not changed, what
            if not is_there(self.handle):
                signal(self.handle)
            self.wait()
        elif not same:
            changed = self.waiter.answered(0.05) or is_there(self.handle)
        if not self.case.on and not (changed and self.case.changes):
            assert not is_there(self.handle), what
            assert not self.waiter.answered(0), what
            signal(self.handle)
        assert self.waiter.answered(LIMIT), f"{what}: the waiter is stranded"
        assert self.waiter.answer() is True
        self.late += time.monotonic() - died > 0.1
        self.after()

    def wait(self) -> None:
        self.waiter.send("_result = h.wait_one(20)")
        if not self.case.on:
            until(lambda: in_futex(self.waiter.pid), "it sleeps")


@pytest.fixture
def master() -> Iterator[Actor]:
    with Actor(prelude=STEPPING, timeout=60) as master:
        reason = master.get("unavailable()")
        if reason:
            pytest.skip(reason)
        yield master


def kill_after_instructions(name: str, master: Actor, most: int) -> None:
    case = CASES[name]
    with closing(made(case.kind, "h")) as handle, Actor() as waiter:
        scene = Scene(case, master, waiter, handle)
        with closing(scene.there):
            change, points = scene.record()
            assert len(points) > 20
            step = max(1, len(points) // most)
            chosen = {*points[random.randrange(step) :: step]}
            if case.changes:  # and all about the change: between it and the wake
                chosen.update(number for number in points if abs(number - change) <= (2 if step > 1 else 30))
            for number in sorted(chosen):
                scene.kill(number, change)
            waiter.do("h.close()")
            master.do("h.close(); there.close()")
    print(
        f"{name}: {len(chosen)} deaths of {len(points)}, {scene.strayed} elsewhere, {scene.late} seen by a later look"
    )
    assert scene.strayed < len(chosen) / 4


@pytest.mark.parametrize("case", ["set", "release", "give up any", "take"])
def test_killed_after_some_instructions(case: str, master: Actor) -> None:
    kill_after_instructions(case, master, 12)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES)
def test_killed_after_each_instruction(case: str, master: Actor) -> None:
    kill_after_instructions(case, master, 10**9)
