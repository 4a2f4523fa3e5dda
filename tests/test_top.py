# SPDX-License-Identifier: MIT
"""`mmf top`: what there is, what is new and gone, and how fast it changes: exactly, where objects count that."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import LIMIT, MMF, Terminal, plain
from support.clock import Time
from support.here import BARE, WINDOWS
from support.pilots import piloted, seen
from textual.pilot import Pilot
from textual.widgets import Input, Static

from memorymapped import FairMutex, MemoryMappedFile, Mutex, SegmentFile, SharedMemory, StructArray
from memorymapped.cli import main
from memorymapped.cli.counting import Counter, Row
from memorymapped.cli.screens.memory import ValuesView
from memorymapped.cli.screens.top import Heads, Table, TopScreen
from memorymapped.cli.screens.watch import WatchScreen
from memorymapped.cli.targets import find
from memorymapped.cli.top_words import cells_of
from memorymapped.structs import Struct, int32
from memorymapped.system.survey import survey


class Point(Struct):
    x: int32
    y: int32


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def counter(time: Time) -> Counter:
    """Looks at the objects of this test; mutexes of others lie in the same folders."""
    return Counter(now=time, look=ours)


def ours() -> list[object]:
    if WINDOWS:  # nobody tells whose they are, but Wine's own
        return [each for each in survey() if "wine" not in (each.name or "").lower()]
    return [each for each in survey() if os.getpid() in [holder.pid for holder in each.holders or ()]]


def named(rows: list[Row]) -> dict[str, Row]:
    return {(row.found.name or "").partition("\\")[2]: row for row in rows}


@pytest.fixture
def shared(tag: str) -> Iterator[tuple[SharedMemory[Point], StructArray[Point], SegmentFile]]:
    with (
        SharedMemory(Point, "value", lock_name=tag) as value,
        StructArray(Point, "list", capacity=10, lock_name=tag) as points,
        SegmentFile.create_new(10_000, "segments", lock_name=tag) as segments,
    ):
        yield value, points, segments


def test_changes_are_counted_exactly_by_who_counts_them(
    shared: tuple[SharedMemory[Point], StructArray[Point], SegmentFile], counter: Counter, time: Time
) -> None:
    value, points, segments = shared
    assert [row.rate for row in named(counter.tick()).values()] == [None] * 5
    for number in range(8):
        value.data = Point(number, 0)
        if number % 2:
            points.append(Point(number, 0))
        if number % 4:
            segments.append("text")
    time.at += 2
    rows = named(counter.tick())
    rates = {name: (rows[name].rate, rows[name].exact) for name in ("value", "list", "segments")}
    assert rates == {"value": (4, True), "list": (2, True), "segments": (3, True)}
    assert [cells_of(rows[name])[7] for name in ("value", "list", "segments")] == ["4.0", "2.0", "3.0"]
    time.at += 2
    assert named(counter.tick())["value"].rate == 2


def test_other_maps_are_sampled(counter: Counter, time: Time, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(10_000))
    with (
        MemoryMappedFile.create_new("raw", 1 << 20) as map_,
        map_.create_view_accessor() as view,
        MemoryMappedFile.create_from_file(file, map_name="of a file") as of_file,
        of_file.create_view_accessor() as other,
    ):
        for number in range(5):
            time.at += 5  # so that there is enough to spend
            rows = named(counter.tick())
            view.write_int32(500_000, number)
        time.at += 5
        rows = named(counter.tick())
        assert (rows["raw"].exact, rows["of a file"].rate) == (False, 0)
        assert 0 < (rows["raw"].rate or 0) <= 0.2  # at the most one a look
        assert cells_of(rows["raw"])[7] == "~0.2"
        other.write_int32(5000, 1)
        time.at += 5
        assert named(counter.tick())["of a file"].rate == 0.2


def test_a_typed_map_of_a_file_is_counted(counter: Counter, time: Time, tmp_path: Path, tag: str) -> None:
    file = tmp_path / "file"
    with SharedMemory(Point, "value", lock_name=tag):
        value = find("value")
        with value.opened() as data:
            file.write_bytes(data.read(0, value.size).rstrip(b"\0"))
    with MemoryMappedFile.create_from_file(file, map_name="of a file"):
        row = named(counter.tick())["of a file"]
        assert (row.found.kind, row.exact) == ("file map", True)


def test_what_is_new_and_what_is_gone(counter: Counter, time: Time) -> None:
    with MemoryMappedFile.create_new("first", 100):
        rows = named(counter.tick())
        assert (rows["first"].new, rows["first"].gone) == (False, False)  # it was there when we came
        with MemoryMappedFile.create_new("second", 100):
            time.at += 1
            assert named(counter.tick())["second"].new
            time.at += 6
            assert not named(counter.tick())["second"].new
        time.at += 1
        rows = named(counter.tick())
        assert (rows["second"].gone, rows["first"].gone) == (True, False)
        assert cells_of(rows["second"])[4] == "gone"
        with MemoryMappedFile.create_new("second", 100):  # another one: both are shown, where they can be told apart
            time.at += 1
            gone = sorted(row.gone for row in counter.tick() if row.found.name == f"{BARE}\\second")
            assert gone == ([False] if WINDOWS else [False, True])
        time.at += 6
        counter.tick()
        time.at += 6
        assert list(named(counter.tick())) == ["first"]


def test_owners_and_waiters(counter: Counter, tag: str) -> None:
    with contextlib.closing(FairMutex(True, "fair")) as fair, contextlib.closing(Mutex(True, tag)):
        waiter = threading.Thread(target=lambda: fair.wait_one() and fair.release_mutex())
        waiter.start()
        while not named(rows := counter.tick())["fair"].found.details.get("waiters"):
            pass
        fair.release_mutex()
        waiter.join(LIMIT)
        cells = {name: cells_of(row) for name, row in named(rows).items()}
        assert cells["fair"][5:7] == (str(os.getpid()), "1")
        assert cells[tag][4:7] == ("held", str(os.getpid()), "")


def test_lines(capfd: pytest.CaptureFixture[str], tag: str) -> None:
    with SharedMemory(Point, "value", lock_name=tag):
        assert main(["top", "--count", "2", "-i", "0.1"]) == 0
        out = capfd.readouterr().out
        assert out.count("CHANGES/S") == 2
        first, second = (line.split() for line in out.splitlines() if f"{BARE}\\value" in line)
        assert (first[:2], first[5], second[5]) == ([f"{BARE}\\value", "map"], "-", "0")
        assert main(["top", "--duration", "0.05", "--json"]) == 0
        looks = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        (row,) = [each for each in looks[0]["objects"] if each["name"] == f"{BARE}\\value"]
        assert (row["changes_per_second"], row["exact"], row["new"], row["kind"]) == (None, True, False, "map")
        assert looks[0]["gone"] == []


def text_of(widget: Table | ValuesView, row: int) -> str:
    return "".join(segment.text for segment in widget.render_line(row))


def names_of(screen: TopScreen) -> list[str]:
    table = screen.query_one(Table)
    return [text_of(table, row).split()[0].partition("\\")[2] for row in range(table.count())]


def test_the_screen(
    shared: tuple[SharedMemory[Point], StructArray[Point], SegmentFile], counter: Counter, time: Time, tag: str
) -> None:
    value = shared[0]
    screen = TopScreen(counter, interval=3600)

    async def look(pilot: Pilot[None]) -> None:
        screen._rows = counter.tick()
        screen.show()
        await pilot.pause()

    async def scenario(pilot: Pilot[None]) -> None:
        await look(pilot)
        assert [name for name in names_of(screen) if name != tag and "-" not in name] == ["list", "segments", "value"]
        for _ in range(6):
            value.data = Point(1, 2)
        time.at += 2
        await look(pilot)
        table = screen.query_one(Table)
        await pilot.press("end")
        assert table.current is not None
        assert table.current.found.name == f"{BARE}\\value"
        cursor = table.get_component_rich_style("rows--cursor").bgcolor
        (marked,) = [
            each for each in table.render_line(table.count() - 1) if each.style and each.style.bgcolor == cursor
        ]
        assert marked.text.startswith(f"{BARE}\\value")

        drawn: list[int] = []
        table.refresh_line = drawn.append  # type: ignore[method-assign]
        screen.show()
        assert drawn == [], "nothing has changed, and something was drawn"
        del table.refresh_line  # type: ignore[method-assign]

        heads = str(screen.query_one(Heads).render())
        await pilot.click(Heads, offset=(heads.index("CHANGES/S") + 3, 0))
        assert names_of(screen)[0] == "value"
        assert table.current.found.name == f"{BARE}\\value", "the cursor has left its object"
        assert "CHANGES/S▾" in str(screen.query_one(Heads).render())
        await pilot.click(Heads, offset=(2, 0))
        await pilot.press("slash", *"val")
        assert names_of(screen) == ["value"]
        assert "1 with 'val'" in str(screen.query_one("#head", Static).render())
        await pilot.press("enter", "enter")
        assert isinstance(pilot.app.screen, WatchScreen)
        await pilot.pause()
        assert text_of(pilot.app.screen.query_one(ValuesView), 0).split()[:3] == ["00000000", "x", "1"]
        await pilot.press("escape")
        assert pilot.app.screen is screen
        await pilot.press("escape")
        assert screen.query_one(Input).value == ""
        assert len(names_of(screen)) == 5
        screen.watch_row(named(screen._rows)[tag])
        assert pilot.app.screen is screen
        await pilot.resize_terminal(49, 20)
        await seen(pilot, lambda: screen.has_class("too-small"), "that it is too small")

    piloted(screen, scenario, (100, 20))


def test_in_a_real_terminal() -> None:
    with MemoryMappedFile.create_new("there", 100), Terminal(*MMF, "top", columns=100) as terminal:
        assert f"{BARE}\\there" in plain(terminal.read(f"{BARE}\\there"))
        terminal.process.terminate()
        shown = terminal.read()
        assert terminal.wait() == -signal.SIGTERM
        assert "Traceback" not in shown
        assert "\x1b[?1049l" in shown, "the terminal is not as it was before"


def test_a_terminal_that_goes_away_ends_it() -> None:
    with Terminal(*MMF, "top", columns=100) as terminal:
        terminal.read("OWNER")
        terminal.hang_up()
        assert terminal.wait() == -signal.SIGHUP
