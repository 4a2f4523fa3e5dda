# SPDX-License-Identifier: MIT
"""Sources and destinations of the task programs are killed at any moment, one or both: nothing goes on, nothing is left
that does not go by itself, and who is still there says what has happened."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import time

import pytest
from programs import PYTHON, started, until
from root import objects
from support.sessions import carrying, ended

from memorymapped import MemoryMappedFile

SECONDS = float(os.environ.get("MEMORYMAPPED_TEST_SECONDS", "10"))

SOURCE = """
import asyncio, sys
from memorymapped.tasks.model import Task
from memorymapped.tasks.source import WORKER, Run
pids = set()
def tell(run):
    if run.pid not in pids:
        pids.add(run.pid)
        print(run.pid, flush=True)
async def main():
    tasks = [Task("t", parameters={"command": f"sh -c 'sleep 0.1; :' {sys.argv[1]}"})]
    command = [*WORKER, f"--set=mark={sys.argv[1]}"]
    for report in await asyncio.gather(*(Run(tasks, command, told=tell).run() for _ in range(2))):
        print(report.ending, flush=True)
print("begins", flush=True)
asyncio.run(main())
"""


@pytest.mark.campaign
@pytest.mark.timeout(SECONDS + 60)
def test_whoever_is_killed_nothing_goes_on() -> None:
    seed = int(os.environ.get("MEMORYMAPPED_TEST_SEED") or secrets.randbits(32))
    print(f"MEMORYMAPPED_TEST_SEED={seed}")
    chance, mark, rounds = random.Random(seed), f"tasks-{secrets.token_hex(8)}", 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        rounds += 1
        victim = chance.choice(["source", "destination", "both"])
        with started(*PYTHON, "-c", SOURCE, mark) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begins\n"
            said = []
            if victim != "source" or chance.random() < 0.5:  # otherwise perhaps before there is a destination
                said = [process.stdout.readline().strip() for _ in range(2)]
            workers = [int(each) for each in said]
            time.sleep(chance.random() * 0.6)  # the moment
            if victim != "destination":
                process.kill()
            if victim != "source":
                with contextlib.suppress(ProcessLookupError):  # it is done
                    os.kill(workers[0], signal.SIGKILL)
            out, errors = process.communicate(timeout=30)
        assert "Traceback" not in errors
        endings = [each for each in out.split() if not each.isdecimal()]
        if victim == "destination":
            assert process.returncode == 0
            assert endings in (["killed", "answered"], ["answered", "answered"]), endings
        assert all(map(ended, workers))
        until(lambda: not carrying(mark), "all of them have ended")
        # What the killed have left is given back as others make objects.
        until(lambda: not objects() or MemoryMappedFile.create_new("another", 1).close(), "all is given back")
    print(f"{rounds} rounds")
    assert rounds > 2
