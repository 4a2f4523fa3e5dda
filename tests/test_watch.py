# SPDX-License-Identifier: MIT
"""`mmf watch`: what changes is seen, where and when; nothing is held or brought into being, nor too much spent."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from programs import LIMIT, MMF, PYTHON, Terminal, finished, line_with, plain, started
from root import descriptors
from support.clock import Time
from support.here import WINDOWS, opened
from support.pilots import piloted, seen
from textual.pilot import Pilot
from textual.widgets import Input, Static

from memorymapped import MemoryMappedFile, MemoryMappedFileOptions, MemoryMappedViewAccessor, SharedMemory, StructArray
from memorymapped.cli import main
from memorymapped.cli.sampling import Budget, Cells, Rate
from memorymapped.cli.screens.memory import BytesView, Overview, ValuesView, sparkline
from memorymapped.cli.screens.watch import WatchScreen
from memorymapped.cli.shapes import shape_of
from memorymapped.cli.targets import find
from memorymapped.cli.typed import described_shape
from memorymapped.cli.watching import Watch
from memorymapped.structs import Struct, Utf8, float64, int32

MIB = 1 << 20


class Point(Struct):
    x: int32
    y: float64
    name: Annotated[str, Utf8(8)]


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def view() -> Iterator[MemoryMappedViewAccessor]:
    """A map `watched`, of 4 MiB, of which no page is there (Wine does not tell of those that are)."""
    delayed = MemoryMappedFileOptions.NONE if WINDOWS else MemoryMappedFileOptions.DELAY_ALLOCATE_PAGES
    with MemoryMappedFile.create_new("watched", 4 * MIB, options=delayed) as map_, map_.create_view_accessor() as view:
        yield view


@pytest.fixture
def watching(time: Time) -> Iterator[Callable[..., Watch]]:
    """Makes a Watch, which is closed at the end."""
    made = []

    def watch(given: object, type_: str | None = None, base: int = 0) -> Watch:
        watch = Watch(find(str(given)), None, base, now=time)
        made.append(watch)
        if type_ == "self":
            watch.show_as(described_shape(watch.typed, str(given)), own=True)
        elif type_ is not None:
            watch.show_as(shape_of(type_), base)
        return watch

    yield watch
    for each in made:
        each.close()


def pairs(watch: Watch) -> list[tuple[int, Any, Any]]:
    return [(change.offset, change.before, change.after) for change in watch.tick()]


# -- the window


def test_what_changes_in_the_window_is_told_exactly(
    view: MemoryMappedViewAccessor, watching: Callable[..., Watch], time: Time
) -> None:
    watch = watching("watched")
    watch.window(4096, 8192)
    assert pairs(watch) == []
    view.write_bytes(4095, b"abc")
    view.write_bytes(5000, b"\1\0\0\0\0\1")  # with too much between them for one number
    view.write_bytes(8192, b"behind")
    time.at += 1
    assert pairs(watch) == [(4096, b"\0\0", b"bc"), (5000, b"\0", b"\1"), (5005, b"\0", b"\1")]
    assert watch.ages() == {4096: 0, 4097: 0, 5000: 0, 5005: 0}
    assert pairs(watch) == []
    view.write_bytes(4096, b"B")
    time.at += 3.5
    assert pairs(watch) == [(4096, b"b", b"B")]
    assert watch.ages() == {4096: 0, 4097: 3.5, 5000: 3.5, 5005: 3.5}
    time.at += 1
    assert (pairs(watch), watch.ages()) == ([], {4096: 1})


def test_what_comes_into_the_window_has_not_changed(
    view: MemoryMappedViewAccessor, watching: Callable[..., Watch]
) -> None:
    view.write_bytes(0, bytes(range(100)) * 2)
    for type_ in (None, "uint8"):
        watch = watching("watched", type_)
        watch.window(0, 100)
        assert pairs(watch) == []
        watch.window(50, 150)
        assert pairs(watch) == []
        view.write_byte(149, 255)
        watch.window(50, 200)
        assert [offset for offset, _, _ in pairs(watch)] == [149]
        watch.window(0, 100)
        assert pairs(watch) == []
        view.write_byte(149, 49)


def test_values_and_how_often_they_change(
    view: MemoryMappedViewAccessor, watching: Callable[..., Watch], time: Time
) -> None:
    watch = watching("watched", "int32", 4)
    assert (watch.count, watch.stride) == (MIB - 1, 4)
    watch.window(4, 44)
    for number in range(11):
        view.write_int32(8, number * number)
        assert pairs(watch) == ([] if number == 0 else [(8, (number - 1) ** 2, number * number)])
        time.at += 0.5
    value = watch.values[8]
    assert (value.value, list(value.last)) == (100, [float(n * n) for n in range(11)])
    assert value.rate(time.at) == pytest.approx(2, rel=0.11)
    assert watch.values[12].rate(time.at) == 0
    assert sparkline(value.last) == "▁▁▁▁▂▃▃▄▆▇█"
    time.at += 10
    assert value.rate(time.at) == 0


def test_sparklines_of_numbers_that_are_none() -> None:
    nan, inf = float("nan"), float("inf")
    assert [sparkline(each) for each in ([], [1], [nan, inf, 1], [2, 2], [-1e308, 1e308], [1, nan, 2])] == [
        "", "", "", "▁▁", "", "▁█",
    ]  # fmt: skip


def test_fields_of_structures_and_a_list_that_grows(tag: str, watching: Callable[..., Watch], time: Time) -> None:
    with StructArray(Point, "points", capacity=10, lock_name=tag) as points:
        points.extend([Point(1, 2, "three"), Point(4, 5, "six")])
        watch = watching("points", "self")
        watch.window(0, 1000)
        assert pairs(watch) == []
        assert watch.count == 2
        points[1] = Point(4, -5.5, "seven")
        points.append(Point(7, 8, "nine"))
        time.at += 2
        assert [(change.offset, change.field, change.after) for change in watch.tick()] == [
            (32, "y", -5.5),
            (40, "name", "seven"),
        ]
        assert watch.count == 3
        assert watch.values[48].value == 7
        assert watch.rate.per_second == 1.0  # its own counter, since it was opened: two changes in two seconds


# -- the rest


def test_a_change_anywhere_is_seen_in_its_cell(
    view: MemoryMappedViewAccessor, watching: Callable[..., Watch], time: Time
) -> None:
    watch = watching("watched")
    cells = watch.cells
    assert (cells.count, cells.step, cells.part, cells.oldest()) == (1024, 4096, 0, None)
    assert watch.sample(60) == []
    assert cells.part == 1
    assert all(cells.empty)
    before = 0 if WINDOWS else os.stat(watch.target.path).st_blocks
    for offset in (0, 5000, 4 * MIB - 1):
        view.write_byte(offset, 1)
    time.at += 5
    assert cells.oldest() == 5
    assert watch.sample(60) == [0, 1, 1023]
    assert cells.changed[1] == time.at
    assert cells.changed[2] is None
    assert [cells.empty[cell] for cell in (0, 1, 2, 1023)] == [False, False, True, False]
    assert watch.sample(60) == []
    assert (
        WINDOWS or os.stat(watch.target.path).st_blocks == before + 3 * 8
    )  # what was written, and nothing that was read


def test_a_hole_that_is_filled_with_zeros_is_no_change(tmp_path: Path, time: Time) -> None:
    file = tmp_path / "holes"
    with open(file, "wb+", buffering=0) as data:
        data.truncate(8 * MIB)
        data.seek(3 * MIB + 8192)
        data.write(b"x")
        cells = Cells(8 * MIB, 2, time)
        assert cells.go(data.fileno(), 60) == []
        for offset in (MIB, 3 * MIB):  # far from what is there, and close before it
            data.seek(offset)
            data.write(bytes(5000))
            assert cells.go(data.fileno(), 60) == []
        data.seek(MIB)
        data.write(b"y")
        assert cells.go(data.fileno(), 60) == [0]


def test_no_more_is_spent_than_there_is(tmp_path: Path, time: Time) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\1" * 8 * MIB)
    cells = Cells(file.stat().st_size, 1024, time)
    spent = 0.0

    def clock() -> float:  # each piece, of which there are 1,024, takes a millisecond
        nonlocal spent
        spent += 0.001
        return spent

    with open(file, "rb", buffering=0) as data:
        assert cells.go(data.fileno(), 0, clock=clock) == []
        assert cells.part <= 1 / 1024
        for _ in range(5):
            begin = spent
            cells.go(data.fileno(), 0.0205, clock=clock)
            assert 0.015 < spent - begin - 0.001 <= 0.0205
        assert cells.part < 0.2
        cells.go(data.fileno(), 1e9, clock=clock)
        assert cells.part == 1  # and no further than once round, however much there is


def test_what_is_spent_has_to_be_earned(time: Time) -> None:
    budget = Budget(0.02, time)
    assert budget.left() == 0
    time.at += 1
    assert budget.left() == pytest.approx(0.02)
    budget.spend(0.05)
    time.at += 1
    assert budget.left() == pytest.approx(-0.01)
    time.at += 3600
    assert budget.left() == pytest.approx(0.1)  # five seconds' worth is the most that is saved up


def test_rates(time: Time) -> None:
    rate = Rate(5)
    assert rate.per_second is None
    for number in range(20):
        rate.look(time.at + number, number * 10)
    assert rate.per_second == 10
    rate.look(time.at + 20, 3)  # another counter
    assert rate.per_second is None
    rate.look(time.at + 22, 7)
    assert rate.per_second == 2


# -- what happens to all of it


def test_a_map_that_ends_is_let_go_and_found_again(watching: Callable[..., Watch], time: Time) -> None:
    with MemoryMappedFile.create_new("short-lived", 8192) as map_:
        watch = watching("short-lived")
        watch.window(0, 100)
        assert pairs(watch) == []
        path = map_.path
    assert pairs(watch) == []
    assert watch.gone is not None
    assert [event.kind for event in watch.events] == ["gone"]
    if path is not None:
        held = [os.readlink(f"/proc/self/fd/{fd}") for fd in descriptors()]
        assert not any(link.startswith(path) for link in held), "its memory is still in use"
    with MemoryMappedFile.create_new("short-lived", 100) as map_, map_.create_view_accessor() as view:
        assert pairs(watch) == []
        assert watch.gone is not None, "it was looked for too soon: that costs"
        time.at += 2
        assert pairs(watch) == []
        assert (watch.gone, watch.size) == (None, opened(100))
        view.write_byte(50, 1)
        assert pairs(watch) == [(50, b"\0", b"\1")]
    assert [event.kind for event in watch.events] == ["gone", "back"]


def test_a_file_that_is_truncated_extended_and_replaced(
    tmp_path: Path, watching: Callable[..., Watch], time: Time
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a" * 10_000)
    watch = watching(file, "int32")
    watch.window(0, 10_000)
    assert pairs(watch) == []
    os.truncate(file, 4098)
    assert pairs(watch) == []
    assert (watch.size, watch.count, len(watch.values), watch.cells.size) == (4098, 1024, 1024, 4098)
    os.truncate(file, 6000)
    assert pairs(watch) == []
    assert watch.values[4096].value == 0x6161
    other = tmp_path / "other"
    other.write_bytes(b"b" * 100)
    other.rename(file)
    assert pairs(watch) == []
    assert watch.values[0].value == 0x62626262
    assert [event.kind for event in watch.events] == ["truncated", "grown", "gone", "back"]
    file.unlink()
    time.at += 2
    assert pairs(watch) == []
    assert watch.values == {}
    assert watch.gone is not None


# -- lines


def test_a_line_for_each_change() -> None:
    with (
        MemoryMappedFile.create_new("lines", MIB) as map_,
        map_.create_view_accessor() as view,
        started(*MMF, "watch", "lines", "-i", "0.02", "-n", "4096") as process,
        started(*MMF, "watch", "lines", "-i", "0.02", "--as", "int32", "--json") as other,
    ):
        number = 0

        def change() -> bool:  # until they look, nobody sees a change
            nonlocal number
            number += 1
            view.write_int32(256, number)
            view.write_int32(MIB - 4, number)
            return False

        with changing(change):
            said = line_with(process, "->").splitlines()[-1].split()
            assert said[1] == "00000100"
            assert "000ff000  something in 4096 bytes" in line_with(process, "something")
            facts = json.loads(line_with(other, "before").splitlines()[-1])
            assert (facts["offset"], facts["before"] < facts["after"]) == (256, True)
        process.send_signal(signal.SIGINT)
        process.wait(LIMIT)
        assert process.returncode == -signal.SIGINT
        assert process.stderr is not None
        assert process.stderr.read() == "mmf: interrupted\n"
        assert other.stdout is not None
        other.stdout.close()
        other.wait(LIMIT)
        assert other.returncode == 1
        assert other.stderr is not None
        assert other.stderr.read() == ""


class changing:
    """Inside, something changes every few milliseconds."""

    def __init__(self, change: Callable[[], object]) -> None:
        import threading

        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(change,))

    def _run(self, change: Callable[[], object]) -> None:
        while not self._ended.wait(0.005):
            change()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()


def test_how_lines_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(100))
    assert main(["watch", str(file), "--duration", "0.02"]) == 0
    assert capfd.readouterr() == ("", "")
    assert main(["watch", str(file), "--offset", "101"]) == 1
    assert capfd.readouterr().err == f"mmf watch: {file}: it has 100 bytes, and the offset 101 is behind that\n"

    def remove() -> None:
        if str(file) in links(os.getpid()):
            file.unlink(missing_ok=True)

    with changing(remove):
        assert main(["watch", str(file), "-i", "0.02", "--duration", "0.3"]) == 1
    out, err = capfd.readouterr()
    assert out.endswith("the file was removed\n")
    assert err == f"mmf watch: {file}: the file was removed\n"


def links(pid: int) -> list[str]:
    """What a process has open."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            continue
    return found


def test_a_pipe_that_closes_ends_it_also_when_nothing_changes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(100))
    with started(*MMF, "watch", file, "-i", "3600") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait(LIMIT)
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (1, "")


def test_help_does_not_import_what_draws_and_without_it_there_are_lines(tmp_path: Path) -> None:
    commands = [["--help"], ["watch", "--help"], ["top", "--help"], ["top", "--count", "1"]]
    code = f"import sys; from memorymapped.cli import main; [main(each) for each in {commands}]"
    assert finished(*PYTHON, "-c", f"{code}; print('textual' in sys.modules)").stdout.endswith("False\n")
    file = tmp_path / "file"
    file.write_bytes(bytes(100))
    code = "import sys; sys.modules['textual'] = None; from memorymapped.cli import main; sys.exit(main(sys.argv[1:]))"
    with Terminal(*PYTHON, "-c", code, "watch", file, "--duration", "0.05") as terminal:
        assert "pip install 'memorymapped[tui]'" in terminal.read()
        assert terminal.wait() == 0


# -- the screen


def text_of(view: BytesView | ValuesView, row: int) -> str:
    return "".join(segment.text for segment in view.render_line(row))


def test_the_screen_of_bytes(view: MemoryMappedViewAccessor, watching: Callable[..., Watch], time: Time) -> None:
    watch = watching("watched")
    screen = WatchScreen(watch, 0x100, interval=3600)

    async def scenario(pilot: Pilot[None]) -> None:
        memory = screen.query_one(BytesView)
        assert text_of(memory, 0).startswith("00000100  00 00 00")
        view.write_bytes(0x102, b"Hi")
        time.at += 1
        screen.tick()
        await pilot.pause()
        assert text_of(memory, 0).startswith("00000100  00 00 48 69 00")
        assert "··Hi··" in text_of(memory, 0)
        fresh = memory.get_component_rich_style("rows--fresh").bgcolor
        shown = [segment.text for segment in memory.render_line(0) if segment.style and segment.style.bgcolor == fresh]
        assert shown == ["48", "69", "Hi"]
        time.at += 5
        screen.tick()
        assert not any(segment.style and segment.style.bgcolor == fresh for segment in memory.render_line(0))

        drawn = []
        memory.refresh_line = drawn.append  # type: ignore[method-assign]
        screen.tick()
        assert drawn == [], "nothing has changed, and something was drawn"
        view.write_byte(0x125, 1)
        screen.tick()
        assert drawn == [0x12]
        del memory.refresh_line  # type: ignore[method-assign]

        await pilot.press("pagedown", "home", "down")
        assert text_of(memory, 0).startswith("00000010 ")
        await pilot.press("end")
        assert text_of(memory, memory.size.height - 1).startswith("003ffff0  00")
        await pilot.press("g", "x", "enter")
        question = pilot.app.screen.query_one(".wrong", Static)
        assert "no number of bytes" in str(question.render())
        pilot.app.screen.query_one(Input).value = "0x125"
        await pilot.press("enter")
        await pilot.pause()
        assert text_of(memory, 0).startswith("00000120  00 00 00 00 00 01")
        assert pilot.app.screen is screen

        await pilot.press("space")
        view.write_byte(0x120, 0xFF)
        screen.tick()
        assert text_of(memory, 0).startswith("00000120  00")
        await pilot.press("space")
        assert text_of(memory, 0).startswith("00000120  ff")
        await pilot.click(Overview, offset=(40, 0))
        assert text_of(memory, 0).startswith("00200000")

        await pilot.press("t", "x", "enter")
        assert "is no type" in str(pilot.app.screen.query_one(".wrong", Static).render())
        pilot.app.screen.query_one(Input).value = "int32"
        await pilot.press("enter")
        await pilot.pause()
        values = screen.query_one(ValuesView)
        assert (values.display, memory.display) == (True, False)
        assert text_of(values, 0).startswith("00200000 ")
        await pilot.resize_terminal(45, 24)
        await seen(pilot, lambda: screen.has_class("too-small"), "that it is too small")
        assert "too small" in str(screen.query_one("#too-small", Static).render())
        await pilot.resize_terminal(60, 24)
        await seen(pilot, lambda: not screen.has_class("too-small"), "that it is not")

    assert piloted(screen, scenario, size=(80, 24)).return_code in (None, 0)


def test_the_screen_of_values_and_what_is_told_when_they_go(
    tag: str, watching: Callable[..., Watch], time: Time
) -> None:
    with SharedMemory(Point, "state", lock_name=tag) as shared:
        watch = watching("state", "self")
        screen = WatchScreen(watch, interval=3600)

        async def scenario(pilot: Pilot[None]) -> None:
            for number in range(3):
                shared.data = Point(number, 0.5, "name")
                time.at += 1
                screen.tick()
            await pilot.pause()
            values = screen.query_one(ValuesView)
            assert text_of(values, 0).split() == ["00000000", "x", "2", "0.7", "▁▅█"]
            assert text_of(values, 2).split()[:3] == ["00000010", "name", "name"]
            assert "1.0 changes/s" in str(screen.query_one("#head", Static).render())
            shared.close()
            screen.tick()
            assert "nobody holds it any more" in str(screen.query_one("#notice", Static).render())
            await pilot.press("down", "end", "left", "q")

        assert piloted(screen, scenario, size=(80, 24)).return_code in (None, 0)


def test_without_colours_there_are_none(
    view: MemoryMappedViewAccessor, watching: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = WatchScreen(watching("watched"), interval=3600)

    async def scenario(pilot: Pilot[None]) -> None:
        view.write_byte(0, 1)
        screen.tick()
        await pilot.pause()
        style = screen.query_one(BytesView).get_component_rich_style("rows--fresh")
        assert style.reverse
        assert pilot.app.no_color
        assert pilot.app.native_ansi_color, "colours would only be made grey"

    assert piloted(screen, scenario, size=(80, 24)).return_code in (None, 0)


def test_in_a_real_terminal(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"first" + bytes(1000))
    with Terminal(*MMF, "watch", file, "-i", "0.05") as terminal, Terminal(*MMF, "watch", file) as other:
        assert "first" in plain(terminal.read("first"))
        with open(file, "rb+", buffering=0) as data:
            data.write(b"FIRST")
        terminal.read("FIRST")
        os.truncate(file, 50)
        terminal.read("truncated to 50 bytes")
        terminal.type(b"q")
        shown = terminal.read()
        assert terminal.wait() == 0
        assert "\x1b[?1049l" in shown, "the terminal is not as it was before"
        other.read("OFFSET")
        other.type(b"\x03")
        assert "mmf: interrupted" in other.read()
        assert other.wait() == -signal.SIGINT
        assert "Traceback" not in shown + other.shown
    with Terminal(*MMF, "watch", file, "--duration", "0.05", env={"TERM": "dumb"}) as dumb:
        assert dumb.read() == ""
        assert dumb.wait() == 0
