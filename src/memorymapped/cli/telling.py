# SPDX-License-Identifier: MIT
"""How `mmf demo` tells what was seen: plain lines, for a terminal with rich, or for programs as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

__all__ = ["Lines", "Plain", "Rich"]

WHO = 16  # columns for who saw something


class Plain:
    """Lines of text, each written at once."""

    def step(self, number: int, of: int, title: str) -> None:
        """A step begins."""
        self._line(f"{'' if number == 1 else chr(10)}{number}/{of}  {title}")

    def saw(self, who: str, what: str) -> None:
        """Somebody did or saw something; further lines are indented."""
        first, *more = what.split("\n")
        self._line(f"  {who:<{WHO}}  {first}")
        for line in more:
            self._line(f"  {'':<{WHO}}    {line}")

    def busy(self, doing: str) -> AbstractContextManager[object]:
        """Something takes a while."""
        return nullcontext()

    def table(self, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Figures."""
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        for row in (header, *rows):
            cells = (
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            self._line("  " + "   ".join(cells).rstrip())

    def failed(self, why: str) -> None:
        """The step failed."""
        self._line(f"  FAILED: {why}")

    def done(self, summary: str) -> None:
        """All steps were seen."""
        self._line(f"\n{summary}")

    def _line(self, text: str) -> None:
        print(text, flush=True)


class Lines:
    """Each thing a line of JSON with the number of its step, and what else it has of: `title`; `who` and `saw`;
    `figures`, a list of dictionaries; `failed`; at the end `done`."""

    def __init__(self) -> None:
        self._number = 0

    def step(self, number: int, of: int, title: str) -> None:
        """A step begins."""
        self._number = number
        self._line(of=of, title=title)

    def saw(self, who: str, what: str) -> None:
        """Somebody did or saw something."""
        self._line(who=who, saw=what)

    def busy(self, doing: str) -> AbstractContextManager[object]:
        """Something takes a while."""
        return nullcontext()

    def table(self, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Figures."""
        self._line(figures=[dict(zip(header, row, strict=True)) for row in rows])

    def failed(self, why: str) -> None:
        """The step failed."""
        self._line(failed=why)

    def done(self, summary: str) -> None:
        """All steps were seen."""
        self._line(done=summary)

    def _line(self, **what: object) -> None:
        print(json.dumps({"step": self._number, **what}), flush=True)


class Rich:
    """The same, for a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)

    def step(self, number: int, of: int, title: str) -> None:
        """A step begins."""
        from rich.rule import Rule
        from rich.text import Text

        if number > 1:
            self._console.print()
        self._console.print(Rule(Text(f"{number}/{of}  {title}", style="bold"), align="left", style="cyan"))

    def saw(self, who: str, what: str) -> None:
        """Somebody did or saw something; further lines are errors, and indented."""
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        first, *more = what.split("\n")
        grid = Table.grid(padding=(0, 2))
        grid.add_column(min_width=WHO, style="cyan", no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(who), Text(first))
        for line in more:
            grid.add_row("", Padding(Text(line, style="yellow"), (0, 0, 0, 2)))
        self._console.print(Padding(grid, (0, 0, 0, 2)))

    def busy(self, doing: str) -> AbstractContextManager[object]:
        """Something takes a while."""
        return self._busy(doing)

    @contextmanager
    def _busy(self, doing: str) -> Iterator[None]:
        status = self._console.status(f"{doing} ...")
        try:
            status.start()
            yield
        finally:
            status.stop()  # not by `with`: Ctrl-C during the start must show the cursor again, too

    def table(self, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Figures."""
        from rich import box
        from rich.padding import Padding
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
        table.add_column(header[0], no_wrap=True)
        for title in header[1:]:
            table.add_column(title, justify="right")
        for i, row in enumerate(rows):
            table.add_row(*row, style="bold green" if i == 0 else None)
        self._console.print(Padding(table, (0, 0, 0, 2)))

    def failed(self, why: str) -> None:
        """The step failed."""
        from rich.padding import Padding
        from rich.text import Text

        self._console.print(Padding(Text(f"FAILED: {why}", style="bold red"), (0, 0, 0, 2)))

    def done(self, summary: str) -> None:
        """All steps were seen."""
        from rich.text import Text

        self._console.print()
        self._console.print(Text(summary, style="bold green"))
