# SPDX-License-Identifier: MIT
"""The kernel's table of locks is read without a gap: a hold that is there is seen, whatever else comes and goes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaigns import campaign
from programs import PYTHON, started, until

from memorymapped.system.linux.lock_table import HOLD, is_locked, lock_table, table_key

LOCK = struct.Struct("hh4xqqi4x")
CHURN = """
import fcntl, os, struct, sys
lock = struct.pack("hh4xqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 1 << 62, 1, 0)
print("ready", flush=True)
while True:
    files = [os.open(f"{sys.argv[1]}/{os.getpid()} {i}", os.O_RDWR | os.O_CREAT) for i in range(100)]
    for file in files:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
    os.closerange(files[0], files[-1] + 1)
"""

WAITING = """
import fcntl, os, sys
for _ in range(99):
    if not os.fork():
        break
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
"""


@contextlib.contextmanager
def held(path: Path) -> Iterator[os.stat_result]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, HOLD, 1, 0))
        yield os.fstat(fd)
    finally:
        os.close(fd)


def test_a_hold_is_seen_and_its_end(tmp_path: Path) -> None:
    with held(tmp_path / "file") as status:
        assert is_locked(status.st_dev, status.st_ino) is True
        (row,) = [row for row in lock_table() or () if row.file == table_key(status.st_dev, status.st_ino)]
        assert (row.kind, row.process, row.start) == ("OFDLCK", -1, str(HOLD))
    assert is_locked(status.st_dev, status.st_ino) is False


def test_it_is_seen_while_hundreds_come_and_go(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        status = stack.enter_context(held(tmp_path / "held"))
        for i in range(100):
            stack.enter_context(held(tmp_path / f"other {i}"))
        for _ in range(2):
            process = stack.enter_context(started(*PYTHON, "-c", CHURN, tmp_path))
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        end = time.monotonic() + 1
        looks = []
        while time.monotonic() < end:
            looks.append(is_locked(status.st_dev, status.st_ino))
        assert False not in looks
        assert True in looks
        print(f"{len(looks)} looks")


def test_a_table_that_is_longer_than_a_window_is_read_to_its_end(tmp_path: Path) -> None:
    """A lock with many waiters has no room behind others in a window, and others are behind it."""
    with contextlib.ExitStack() as stack:
        wanted = {stack.enter_context(held(tmp_path / f"before {i}")).st_ino for i in range(10)}
        path = tmp_path / "waited for"
        file = stack.enter_context(path.open("w"))
        fcntl.flock(file, fcntl.LOCK_EX)
        wanted.add(os.fstat(file.fileno()).st_ino)
        device = os.fstat(file.fileno()).st_dev
        process = stack.enter_context(started(*PYTHON, "-c", WAITING, path, process_group=0))
        stack.callback(os.killpg, process.pid, 9)
        until(lambda: Path("/proc/locks").read_text().count("-> FLOCK") >= 100, "a hundred wait")
        wanted |= {stack.enter_context(held(tmp_path / f"after {i}")).st_ino for i in range(150)}
        table = lock_table()
        assert table is not None
        keys = {row.file for row in table}
        assert {table_key(device, inode) for inode in wanted} <= keys
    until(lambda: subprocess.run(["flock", "-n", path, "true"], check=False).returncode == 0, "all are dead")


@pytest.mark.parametrize("removed", [0, 50, *campaign(*range(10, 50, 10), *range(60, 120, 10))])
def test_what_goes_between_two_windows_hides_nothing(removed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many locks go in front of the second window, when the first has been read; others come at the end."""
    wanted = table_key(os.makedev(8, 1), 77)
    for place in range(50, 400, 9):
        keys = [f"08:01:{number}" for number in range(1000, 1400)]
        keys.insert(place, wanted)
        going = [key for key in keys if key != wanted][:removed]

        def window(fd: int, size: int, offset: int, keys: list[str] = keys, going: list[str] = going) -> bytes:
            rows = (f"{i}: OFDLCK ADVISORY  WRITE -1 {key} {HOLD} {HOLD}\n" for i, key in enumerate(keys, 1))
            there = "".join(rows).encode()[offset : offset + 4096].rpartition(b"\n")
            keys[:] = [key for key in keys if key not in going] + [f"08:02:{number}" for number, _ in enumerate(going)]
            going.clear()
            return there[0] + there[1]

        monkeypatch.setattr(os, "pread", window)
        assert is_locked(os.makedev(8, 1), 77)
