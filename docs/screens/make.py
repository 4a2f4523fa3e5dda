# SPDX-License-Identifier: MIT
"""Makes the pictures of the screens in this folder: `python docs/screens/make.py [FOLDER]`.

A picture is a line in PICTURES: a function that drives a screen to where it is to be shown. All that differs from one
machine or moment to another (times, processes) is given, so that the same screen makes the same picture."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import struct
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from textual.pilot import Pilot
    from textual.screen import Screen

HERE = Path(__file__).resolve().parent
LOCK = "pictures of screens"
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # which a reader would have to fetch from elsewhere


class Time:
    """A clock that stands still until it is set."""

    at = 1000.0

    def __call__(self) -> float:
        return self.at


async def picture(screen: Screen[None], drive: Callable[[Pilot[None]], Awaitable[None]], size: tuple[int, int]) -> str:
    """The screen as SVG, after `drive` has brought it there."""
    from memorymapped.cli.screens.app import ToolApp

    app = ToolApp(screen)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await drive(pilot)
        await pilot.pause()
        return _FONTS.sub("", app.export_screenshot(title="mmf")) + "\n"


def _found(name: str, kind: str, state: str, size: int, memory: int, holders: tuple[int, ...], **more: Any) -> Any:
    from memorymapped.system.survey import Found, Holder

    commands = {4711: "python feed.py", 4720: "python chart.py", 4733: "dotnet orders.dll"}
    return Found(
        name=name, kind=kind, state=state, size=size, memory=memory, path=more.pop("path", f"/{name}"),
        target=None, device=1, inode=1, owner=1000, mode=0o600, born=None, details=more,
        holders=[Holder(pid, commands[pid]) for pid in holders],
    )  # fmt: skip


def _watched(given: str, **options: Any) -> Any:
    """The screen that watches a map, held by a process that is always the same."""
    from memorymapped.cli.screens.watch import WatchScreen
    from memorymapped.cli.targets import find
    from memorymapped.cli.typed import described_shape
    from memorymapped.cli.watching import Watch

    watch = Watch(find(given), now=options["now"])
    if watch.typed is not None:
        watch.show_as(described_shape(watch.typed, given), own=True)
    screen: Any = WatchScreen(watch, interval=3600)
    screen.find_holders = lambda: None
    screen.found = _found(given, "map", "held", watch.size, 0, (4711, 4720))
    screen.interval = 0.5
    return screen


async def watch_bytes() -> str:
    """Bytes, some of which have just changed, some a moment ago."""
    from memorymapped import MemoryMappedFile
    from memorymapped.cli.screens.memory import Overview

    now = Time()
    with MemoryMappedFile.create_new("frames", 1 << 20) as map_, map_.create_view_accessor() as view:
        for row in range(64):
            view.write_bytes(16 * row, struct.pack("<IId", row, row * row, row / 8))
        view.write_bytes(0x20, b"EUR/USD 1.0842  ")
        view.write_bytes(300_000, b"x" * 200_000)
        screen = _watched("frames", now=now)

        async def drive(pilot: Pilot[None]) -> None:
            screen.watched.sample(60)
            await pilot.pause()
            for seconds, offset, data in (
                (60, 420_000, b"changed"), (2, 0x88, b"\x99\x99\xb9\x3f"), (1.5, 0x40, b"\x77"), (1, 0x28, b"1.0851"),
            ):  # fmt: skip
                view.write_bytes(offset, data)
                now.at += seconds
                screen.look()
                screen.watched.sample(60)
            screen.look()
            screen.query_one(Overview).show()

        try:
            return await picture(screen, drive, (80, 24))
        finally:
            screen.watched.close()


def _price() -> Any:
    from memorymapped.structs import Struct, Utf8, float64, int32

    class Price(Struct):
        number: int32
        bid: float64
        ask: float64
        currency: Annotated[str, Utf8(8)]

    return Price


async def watch_values() -> str:
    """A list of structures."""
    from memorymapped import StructArray
    from memorymapped.cli.screens.memory import Overview

    now, price = Time(), _price()
    names = ["EUR", "USD", "JPY", "GBP", "CHF", "SEK", "NOK", "AUD", "CAD", "DKK"]
    with StructArray(price, "prices", capacity=len(names), lock_name=LOCK) as prices:
        prices.extend([price(0, 1 + at / 8, 1.01 + at / 8, name) for at, name in enumerate(names)])
        screen = _watched("prices", now=now)

        async def drive(pilot: Pilot[None]) -> None:
            screen.look()
            await pilot.press("right")
            for step in range(1, 13):
                for at in (0, 3, 4)[: 1 + step % 3]:
                    bid = 1 + at / 8 + (step * 7 % 5) / 100
                    prices[at] = price(step, bid, bid + 0.01, names[at])
                now.at += 0.5
                screen.look()
                screen.watched.sample(60)
            screen.look()
            screen.query_one(Overview).show()

        try:
            return await picture(screen, drive, (100, 20))
        finally:
            screen.watched.close()


async def top() -> str:
    """All that is shared."""
    from memorymapped import MemoryMappedFile, SharedMemory, StructArray
    from memorymapped.cli.counting import Counter
    from memorymapped.cli.screens.top import TopScreen

    now, price = Time(), _price()
    with (
        SharedMemory(price, "state", lock_name=LOCK) as state,
        StructArray(price, "prices", capacity=100, lock_name=LOCK) as prices,
        MemoryMappedFile.create_new("frames", 1 << 20) as frames,
        frames.create_view_accessor() as view,
    ):
        from memorymapped.cli.targets import find

        path = {name: find(name).path for name in ("state", "prices", "frames")}
        found = [
            _found("User\\frames", "map", "held", 64 << 20, 12 << 20, (4711,), path=path["frames"]),
            _found("User\\prices", "map", "held", 6400, 8192, (4711, 4720), path=path["prices"]),
            _found("User\\state", "map", "held", 640, 4096, (4711, 4720), path=path["state"]),
            _found("User\\prices.lock", "mutex", "held", 4096, 4096, (4711, 4720), owner=4711, contended=True),
            _found("User\\ready", "event", "held", 64, 4096, (4711,), set=True, waiters=0),
            _found("User\\places", "semaphore", "held", 64, 4096, (4711,), count=2, maximum=8, waiters=1),
            _found("User\\turn", "fair mutex", "held", 9000, 12288, (4711, 4720), owner=4720, waiters=3),
            _found("Global\\orders", "mutex", "abandoned", 4096, 4096, (4733,), contended=False),
            _found("User\\yesterday", "map", "stale", 1 << 20, 1 << 20, ()),
        ]
        counter = Counter(now=now, look=lambda: found)
        screen: Any = TopScreen(counter, interval=3600)
        screen.interval = 2.0

        async def drive(pilot: Pilot[None]) -> None:
            for step in range(1, 6):
                for number in range(4 * step):
                    state.data = price(number, 1, 2, "EUR")
                prices.append(price(step, 1, 2, "USD"))
                view.write_int32(4096 * step, step)
                if step == 3:
                    found.append(_found("User\\chart", "map", "held", 65536, 4096, (4720,)))
                now.at += 2
                screen._rows = counter.tick()
                screen.show()
            await pilot.press("down", "down")

        return await picture(screen, drive, (110, 18))


def _tasks() -> list[Any]:
    from memorymapped.tasks.model import Task

    return [
        Task("Build", description="The whole program", duration=20, priority="high",
             parameters={"command": "make -j4", "directory": "program"}),
        Task("Import the orders", description="Those of last night", duration=95, priority="urgent",
             parameters={"prints": "4,711 orders"}),
        Task("Wait for the feed", duration=5),
        Task("Check the backup", description="Each file once", duration=3600, priority="low",
             parameters={"command": "backup --check"}, state="succeeded"),
        Task("Send the report", duration=2, parameters={"fail": "50"}, state="failed"),
    ]  # fmt: skip


class _Job:
    """A run that stands still."""

    has_screen = False

    def __init__(self, task: Any, state: str, seconds: float, progress: float, message: str = "", output: str = ""):
        self.task, self.title, self.state, self.seconds, self.progress = task, task.title, state, seconds, progress
        self.message, self.output, self.is_over = message, output, progress == 1
        self.work = None

    def cancel(self) -> None:
        """There is nothing to be ended."""

    end = cancel


@contextlib.contextmanager
def _source() -> Iterator[Any]:
    """The screen of a source that has the list of a user."""
    from unittest.mock import patch

    from memorymapped.tasks import store
    from memorymapped.tasks.model import TaskList
    from memorymapped.tasks.screens.source import SourceScreen

    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, XDG_STATE_HOME=folder):
        store.save(store.kept_file(), TaskList(_tasks()))
        yield SourceScreen(store.kept_file())


async def tasks() -> str:
    """The list, and some runs."""
    from memorymapped.tasks.screens.panels import RunPanel

    with _source() as screen:

        async def drive(pilot: Pilot[None]) -> None:
            build, orders, _, _, report = list(screen.tasks)
            runs = [
                _Job(build, "running", 7.4, 0.37),
                _Job(report, "failed", 1.0, 1, "failed at 50%, as it was to"),
                _Job(
                    orders, "killed", 12.9, 1, "the destination (process 4733) was killed by SIGKILL, without an answer"
                ),
            ]
            screen.jobs.extend(runs)
            await screen.query_one("#runs").mount_all([RunPanel(run, print) for run in runs])
            screen.add_class("has-runs")
            await pilot.press("down")
            screen.show()

        return await picture(screen, drive, (104, 24))


async def tasks_form() -> str:
    """A task in the form, with something wrong."""
    with _source() as screen:

        async def drive(pilot: Pilot[None]) -> None:
            await pilot.press("e")
            await pilot.pause()
            form = pilot.app.screen
            form.query_one("#duration").value = "soon"
            form.query_one("#parameters").text = "directory=program\njobs"
            form.query_one("#duration").focus()
            form.query_one("#duration").cursor_blink = False

        return await picture(screen, drive, (84, 28))


async def _worker(drive: Callable[[Any, Pilot[None]], Awaitable[None]]) -> str:
    from memorymapped import SegmentFile
    from memorymapped.tasks.destination import Destination
    from memorymapped.tasks.screens.destination import DestinationScreen
    from memorymapped.tasks.source_format import write_tasks

    with SegmentFile.create_new(1 << 20, grow=True) as segments:
        segments.write(0, write_tasks(_tasks(), "xml"))
        with SegmentFile.open_existing(segments.file_id, grow=True) as theirs, Destination(theirs) as offer:
            screen = DestinationScreen(offer, offer.tasks[0])
            return await picture(screen, lambda pilot: drive(screen, pilot), (92, 18))


async def tasks_worker() -> str:
    """The tasks that are offered."""

    async def drive(screen: Any, pilot: Pilot[None]) -> None:
        await pilot.press("down")

    return await _worker(drive)


async def tasks_at_work() -> str:
    """One of them at work."""

    async def drive(screen: Any, pilot: Pilot[None]) -> None:
        from memorymapped.tasks.destination import Execution
        from memorymapped.tasks.screens.panels import Bar

        screen._execution = Execution(screen.current)
        screen.add_class("at-work")
        screen._text("#head", "At work")
        screen._text("#what", "Import the orders")
        screen.query_one(Bar).say(0.43, "40.9 s of about 95.0 s")
        screen._text("#output", "4,711 orders")
        screen.refresh_bindings()

    return await _worker(drive)


PICTURES = {
    "watch-bytes": watch_bytes,
    "watch-values": watch_values,
    "top": top,
    "tasks": tasks,
    "tasks-form": tasks_form,
    "tasks-worker": tasks_worker,
    "tasks-at-work": tasks_at_work,
}


def main(folder: Path) -> None:
    """Makes all of them."""
    for name, make in PICTURES.items():
        (folder / f"{name}.svg").write_text(asyncio.run(make()), encoding="utf-8")
        print(folder / f"{name}.svg")


if __name__ == "__main__":
    root = tempfile.mkdtemp(prefix="memorymapped-screens-", dir="/dev/shm")
    os.environ["MEMORYMAPPED_ROOT"] = root  # before the library is imported: names of this machine's are left alone
    os.environ.pop("NO_COLOR", None)
    try:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
    finally:
        shutil.rmtree(root)
