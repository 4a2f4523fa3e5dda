# SPDX-License-Identifier: MIT
"""`mmf cp`: copies a file, with a progress bar on a terminal."""

from __future__ import annotations

import contextlib
import errno
import json
import sys
import time
from collections.abc import Callable, Iterator

import click

from .copying import Copied, Progress, copy_file
from .ending import Failure
from .words import shown, size_in_words

__all__ = ["command"]

BAR_AFTER = 0.15  # seconds: a copy that is over by then needs no bar, nor the import of what draws it

EPILOG = """\b
Examples:
  mmf cp big.dat copy.dat
  mmf cp --force big.dat /backup/
  mmf cp --mapped --json big.dat copy.dat

The copy gets its name when it is complete: whatever happens before, no half DST is ever seen, and nothing is left.
It has the permission bits of SRC, without setuid and setgid, and its holes (not with --mapped).
With --force an existing DST is replaced by a new file.
"""


@click.command("cp", short_help="Copies a file.", epilog=EPILOG)
@click.argument("src")
@click.argument("dst")
@click.option("--mapped", is_flag=True, help="Copy through memory-mapped views, written through to the disk.")
@click.option("--force", is_flag=True, help="Replace DST if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
def command(src: str, dst: str, mapped: bool, force: bool, as_json: bool) -> None:
    """Copies the file SRC to DST, or into DST if that is a directory.

    The kernel copies where it can, which is fastest; --mapped shows the copy of the articles."""
    begin = time.perf_counter()
    with _bar(src) as progress:
        try:
            copied = copy_file(src, dst, replace=force, mapped=mapped, progress=progress)
        except OSError as error:
            raise Failure(_explained(error)) from error
    seconds = time.perf_counter() - begin
    print(_as_json(src, copied, seconds) if as_json else _as_text(src, copied, seconds))


def _explained(error: OSError) -> str:
    text = error.strerror or str(error)
    if error.errno == errno.EEXIST:
        text += "; --force replaces it"
    return text if error.filename is None else f"{shown(error.filename)}: {text[:1].lower()}{text[1:]}"


def _as_text(source: str, copied: Copied, seconds: float) -> str:
    return (
        f"{shown(source)} -> {shown(copied.destination)}: {size_in_words(copied.size)} in {seconds:.2f} s "
        f"({size_in_words(copied.size / seconds)}/s, {copied.method})"
    )


def _as_json(source: str, copied: Copied, seconds: float) -> str:
    return json.dumps(
        {
            "source": source,
            "destination": copied.destination,
            "bytes": copied.size,
            "seconds": round(seconds, 6),
            "bytes_per_second": round(copied.size / seconds),
            "method": copied.method,
        }
    )


@contextlib.contextmanager
def _bar(source: str) -> Iterator[Progress | None]:
    """A function to report progress to; none where nobody looks."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    with contextlib.ExitStack() as stack:
        begin = time.monotonic()
        draw: Callable[[int], None] | None = None

        def progress(done: int, total: int) -> None:
            nonlocal draw
            if draw is None:
                if done == total or time.monotonic() - begin < BAR_AFTER:
                    return
                draw = stack.enter_context(_drawn(source, total))
            draw(done)

        yield progress


@contextlib.contextmanager
def _drawn(source: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TimeRemainingColumn
    from rich.text import Text

    console = Console(stderr=True)
    bar = Progress(
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        expand=True,
    )
    console.print(Text(shown(source), no_wrap=True, overflow="ellipsis"))
    task = bar.add_task("", total=total)
    try:
        bar.start()
        yield lambda done: bar.update(task, completed=done)
    finally:
        bar.stop()  # not by `with`: Ctrl-C during the start must show the cursor again, too
