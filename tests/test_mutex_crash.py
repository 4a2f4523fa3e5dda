# SPDX-License-Identifier: MIT
"""Processes are killed (SIGKILL) while they take, hold, release, open and close a mutex.

After every instruction of taking and releasing. What must be told then follows from the memory as it was at that moment
(the word that the kernel looks at names the owner, or not) and from how far the program had come:

- killed before it had the mutex: the next one is not told;
- killed while it had it: the next one is told, and nobody after that;
- killed after it had released it: the next one is not told.

The word alone decides where these begin and end. So a report can be one too many for the program's own idea, never one
too few: it has taken the mutex and does not know yet, or wants to release it and has not. An abandonment that the
victim was about to be told of is told to the next one, if the victim was killed before it released the mutex.

The ordinary run kills after each instruction of the compiled core and of the C library that it calls, and after some of
the interpreter's between; the campaign after more of them, in more cases; after all with MEMORYMAPPED_TEST_EVERY=1.

At each system call of opening and closing. And at random instants, many processes, .NET's among them: guarding.py.
MEMORYMAPPED_TEST_SECONDS says for how long; MEMORYMAPPED_TEST_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from campaigns import campaign
from support.actors import PRELUDE, Actor
from support.guarding import Result, ledger
from support.leftovers import files_of
from support.strangers import path_of

from memorymapped import AbandonedMutexError, Mutex

sys.path.append(str(Path(__file__).parent / "dotnet"))
from dotnet_runtime import environment, found

SEED = int(os.environ.get("MEMORYMAPPED_TEST_SEED", random.SystemRandom().getrandbits(32)))
SECONDS = float(os.environ.get("MEMORYMAPPED_TEST_SECONDS", "10"))
ALL = 10**9 if os.environ.get("MEMORYMAPPED_TEST_EVERY") else 0

LIMIT = 10.0  # seconds within which the next one has the mutex; it takes none


def told(mutex: Mutex, timeout: float = LIMIT) -> bool:
    """Takes the mutex, which must be possible; whether it had been abandoned. Then nobody else is told."""
    abandoned = False
    try:
        assert mutex.wait_one(timeout), "the mutex is stuck"
    except AbandonedMutexError:
        abandoned = True
    assert mutex.owned
    mutex.release_mutex()
    return abandoned


# ------------------------------------------------------------------------------------------------ every instruction

STEPPING = """
import mmap
from support.killer import Victim
from support.stepping import C_LIBRARY, Steps, unavailable
from support.strangers import owner, path_of
words = memoryview(mmap.mmap(-1, 4096)).cast("Q")   # how far it has come; two counters
path = path_of(name)
Mutex(name=name).close()  # all is imported

def prepare():
    global m
    m = Mutex(name=name)
    m.on_abandoned = on_abandoned

on_abandoned = None

def steps_of(act):
    code = compile(act, "act", "exec")
    return Steps(prepare, lambda: exec(code, globals()))

def again():
    for i in range(3):
        words[i] = 0

def dies():
    "A process that owns it and ends."
    pid = os.fork()
    if pid == 0:
        Mutex(name=name).wait_one()
        os._exit(0)
    os.waitpid(pid, 0)

def record(near, others):
    with open(path, "rb") as file:
        block = mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ)
    changes = steps.record(lambda: (block[8:72], words[0]))
    block.close()
    wanted = {i + j for i in changes for j in range(-near, near + 1)}
    wanted.update(steps.inside("robust.", C_LIBRARY, 60))
    wanted.update(range(0, len(steps.way), len(steps.way) // others or 1))
    return len(changes), sorted(i for i in wanted if 0 <= i < len(steps.way))

def die(number):
    again()
    (at_work, *seen), same = steps.kill_after(number, lambda: (owner(path), *words[:3]))
    return at_work != 0, *seen, same
"""

BODY = "words[0] = 1; words[1] += 1; words[2] += 1; words[0] = 2"
FOUND = f"try:\n m.wait_one()\nexcept AbandonedMutexError: pass\n{BODY}\nm.release_mutex()"

# What the victim does; how the mutex was left before ("" released, "dead" its owner died, "marked" as abandoned by one
# that lives, "held"); from how far the victim had come, and whether it owned it when it died: is the next one told?
Expected = Callable[[int, bool], bool]
STEPS: dict[str, tuple[str, str, Expected]] = {
    "take and release": (f"m.wait_one(); {BODY}; m.release_mutex()", "", lambda _, owned: owned),
    "with": (f"with m:\n {BODY}", "", lambda _, owned: owned),
    "acquire twice": (f"m.acquire(); m.acquire(); {BODY}; m.release(); m.release()", "", lambda _, owned: owned),
    "find it abandoned by a death": (FOUND, "dead", lambda came, owned: owned or came == 0),
    "find it marked as abandoned": (FOUND, "marked", lambda came, owned: owned or came == 0),
    "with, repaired": (f"with m:\n {BODY}", "dead", lambda came, owned: owned or came == 0),
    "with, given back": ("try:\n with m: pass\nexcept AbandonedMutexError: pass", "dead", lambda _, __: True),
    "with, given back again": ("try:\n with m: pass\nexcept AbandonedMutexError: pass", "marked", lambda _, __: True),
    "close what it owns": ("m.wait_one(); words[0] = 1; m.close()", "", lambda came, owned: owned or came == 1),
    "look at one that is held": ("m.wait_one(0)", "held", lambda _, __: False),
}


def kill_after_instructions(case: str, tag: str, near: int, others: int) -> None:
    act, left, expected = STEPS[case]
    name = f"Global\\{tag}"
    deaths = strayed = too_many = 0
    with closing(Mutex(name=name)) as mutex, Actor(prelude=PRELUDE) as master:
        master.do(STEPPING, name=name)
        reason = master.get("unavailable()")
        if reason:
            pytest.skip(reason)
        if case == "with, repaired":
            master.do("on_abandoned = lambda mutex: None")
        master.do("steps = steps_of(act)", act=act)

        def before() -> None:
            if left in ("dead", "marked"):
                master.do("dies()")
            if left == "marked":
                with pytest.raises(AbandonedMutexError), mutex:
                    pass
            if left == "held":
                assert mutex.wait_one(0)

        def after() -> bool:
            if left == "held":
                mutex.release_mutex()
            return told(mutex)

        before()
        changes, points = master.get("again() or record(near, others)", 60, near=near, others=others)
        assert changes > 0 or left == "held"
        after()
        for number in points:
            before()
            owned, came, first, second, same = master.get("die(number)", number=number)
            owned = owned and left != "held"
            deaths += 1
            strayed += not same
            report = after()
            what = f"{case}: killed after instruction {number} of {points[-1]}, came to {came}, owned: {owned}"
            assert report == expected(came, owned), f"{what}, told: {report}"
            assert report or first == second, f"{what}: the counters differ, and nobody is told"
            if came == 1 and case != "close what it owns":
                assert owned, what
            too_many += report and left == "" and came != 1
            assert not told(mutex, 0), f"{what}: told twice"
        master.finish()
    print(f"{case}: {deaths} deaths, {strayed} of them elsewhere, {too_many} reports before or after the program's own")
    assert strayed < deaths / 2


@pytest.mark.parametrize("case", ["take and release"])
def test_killed_after_each_instruction(case: str, tag: str) -> None:
    kill_after_instructions(case, tag, 2, 12)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", STEPS)
def test_killed_after_each_instruction_of_everything(case: str, tag: str) -> None:
    kill_after_instructions(case, tag, 10, ALL or 300)


# ----------------------------------------------------------------------------------------------- every system call

CALLS = """
from support.killer import Victim, unavailable
import warnings
warnings.simplefilter("ignore", ResourceWarning)  # victims drop what they hold
Mutex(name=name + "-loads").close()
def die(prepare, act, number):
    def first():
        exec(prepare, globals())
    def then():
        exec(act, globals())
    victim = Victim(first, then)
    try:
        stop = victim.run_to(number)
        victim.kill(victim.pid)
    finally:
        victim.end()
    return stop.finished, str(stop)
"""
MAKE = "m = Mutex(name=name)"
# What the victim does before it is counted, and then; whether this process has the mutex open meanwhile.
LIVES = {
    "create": ("", MAKE, False),
    "create, owned": ("", "m = Mutex(True, name)", False),
    "create over a leftover": ("if os.fork() == 0: Mutex(name=name); os._exit(0)\nos.wait()", MAKE, False),
    "open": ("", MAKE, True),
    "open_existing": ("", "m = Mutex.open_existing(name)", True),
    "open nothing": ("", "Mutex.try_open_existing(name)", False),
    "close, the last": (MAKE, "m.close()", False),
    "close, not the last": (MAKE, "m.close()", True),
    "close, the last, owned": (MAKE + "; m.wait_one()", "m.close()", False),
    "close, not the last, owned": (MAKE + "; m.wait_one()", "m.close()", True),
    "fork": (MAKE, "if os.fork() == 0: os._exit(0)", True),
}
FEW = ("create, owned", "close, the last, owned")


@pytest.mark.parametrize("scope", ["User", *campaign("Global")])
@pytest.mark.parametrize("life", [*FEW, *campaign(*(life for life in LIVES if life not in FEW))])
def test_killed_at_each_system_call_of_opening_and_closing(life: str, scope: str, tag: str) -> None:
    prepare, act, open_ = LIVES[life]
    name = f"{scope}\\{tag}"
    with Actor(prelude=PRELUDE) as master:
        master.do(CALLS, name=name)
        reason = master.get("unavailable()")
        if reason:
            pytest.skip(reason)
        stop, finished = 0, False
        while not finished:
            stop += 1
            meanwhile = Mutex(name=name) if open_ else None
            finished, at = master.get("die(prepare, act, stop)", prepare=prepare, act=act, stop=stop)
            if meanwhile is None:
                with closing(Mutex(True, name)) as mutex:
                    assert mutex.created_new, at
                    assert mutex.owned, at
                    mutex.release_mutex()
                    assert not told(mutex, 0), at
            else:
                assert path_of(name).exists(), at
                with closing(Mutex.open_existing(name)) as mutex:
                    assert told(mutex) == ("owned" in life), at
                    assert not told(mutex, 0), at
                meanwhile.close()
            assert files_of(tag) == [], at
        assert stop > 3
        master.finish()


# ------------------------------------------------------------------------------------------------- random instants


@pytest.fixture
def sharp() -> Iterator[list[str]]:
    """The command of the C# program, where there is a runtime."""
    before = dict(os.environ)
    os.environ.update(environment())
    yield found().command("mutexes.cs")
    os.environ.clear()
    os.environ.update(before)


def campaign(name: str, folder: Path, kinds: list[str], sharp: list[str], seconds: float) -> Result:
    print(f"seed {SEED}")
    file = ledger(folder / "words")
    with closing(Mutex(name=name)) as mutex, Actor(prelude=PRELUDE + "from support.guarding import guard") as master:
        values: dict[str, Any] = {"name": name, "file": str(file), "kinds": kinds, "sharp": sharp}
        result = Result(
            *master.get("tuple(guard(name, file, kinds, sharp, seed, seconds))", seconds + 60, seed=str(SEED),
                        seconds=seconds, **values)
        )  # fmt: skip
        assert master.finish() == 0
        print(result)
        assert result.wrong == "", f"seed {SEED}: {result}"
        told(mutex)  # whether it was is in guarding.py's words
        assert not told(mutex, 0)
    assert not path_of(name).exists()
    return result


def test_killed_at_random(tag: str, tmp_path: Path) -> None:
    result = campaign(f"Global\\{tag}", tmp_path, ["ours"] * 4 + ["10"], [], 1.0)
    assert result.kills > 10
    assert result.rounds > 100
    assert result.killed_inside > 0


@pytest.mark.campaign
@pytest.mark.dotnet
@pytest.mark.timeout(120 + 2 * SECONDS)
def test_killed_at_random_among_csharp_programs(tag: str, tmp_path: Path, sharp: list[str]) -> None:
    result = campaign(f"Local\\{tag}", tmp_path, ["ours"] * 8 + ["10"] * 3, sharp, SECONDS)
    assert result.killed_inside > result.too_often


@pytest.mark.campaign
@pytest.mark.timeout(120 + 2 * SECONDS)
def test_killed_at_random_among_strangers_that_write_as_dotnet_11_does(tag: str, tmp_path: Path) -> None:
    result = campaign(f"Global\\{tag}", tmp_path, ["ours"] * 8 + ["11"] * 3, [], SECONDS)
    assert result.killed_inside > result.too_often
