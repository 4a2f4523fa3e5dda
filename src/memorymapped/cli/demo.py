# SPDX-License-Identifier: MIT
"""`mmf demo`: what the library is for, shown with real processes."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import click

from .children import ChildError, NotSeen
from .ending import Failure
from .scenes import SCENES, Stage
from .tables import is_terminal
from .telling import Lines, Plain, Rich
from .words import shown

__all__ = ["command"]

DEFAULT_MB = 256

EPILOG = """\b
Examples:
  mmf demo
  mmf demo big.dat
  mmf demo --size 1000

Exit code 0 says that all of it was seen, 1 that a step failed, and which. Nothing is left behind.
"""


@click.command("demo", short_help="Shows what the library does.", epilog=EPILOG)
@click.argument("given", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--file", type=click.Path(path_type=Path), help="The same as FILE.")
@click.option(
    "--size",
    type=click.IntRange(1, 1_000_000),
    metavar="MB",
    help=f"Without FILE: how large a file of random bytes to make in the temporary folder.  [default: {DEFAULT_MB}]",
)
@click.option("--json", "as_lines", is_flag=True, help="One line of JSON for each thing that is seen.")
def command(given: Path | None, file: Path | None, size: int | None, as_lines: bool) -> None:
    """Starts real processes and shows, step by step, what they see: a map that two of them share, a large file (FILE,
    which is not changed, or one that is made) read at random places mapped and not mapped, a file truncated under a
    live map, a name whose holders are all killed, and a mutex whose owner is killed while another process waits for
    it."""
    if given is not None and file is not None:
        raise click.UsageError("FILE and --file are the same: give one of them")
    file = given or file
    if file is not None:
        if size is not None:
            raise click.UsageError("--size is for the file that is made when there is no FILE: give one of them")
        _check(file)
    tell = Lines() if as_lines else Rich() if is_terminal() else Plain()
    begin = time.perf_counter()
    failed = []
    stage = Stage(file, (size or DEFAULT_MB) * 1_000_000)
    try:
        for number, scene in enumerate(SCENES, 1):
            tell.step(number, len(SCENES), scene.__doc__ or "")
            try:
                scene(stage, tell)
            except (NotSeen, ChildError, OSError, ValueError) as error:
                if isinstance(error, BrokenPipeError):  # of our own output: nobody looks any more
                    raise
                kind = "" if isinstance(error, NotSeen) else f"{getattr(error, 'kind', type(error).__name__)}: "
                tell.failed(f"{kind}{error}")
                failed.append(number)
            finally:
                stage.close()
    finally:
        stage.close()  # again, if Ctrl-C cut the first short
    seconds = time.perf_counter() - begin
    if failed:
        steps = f"step{'s' if len(failed) > 1 else ''} {', '.join(map(str, failed))}"
        raise Failure(f"{steps} of {len(SCENES)} failed, after {seconds:.1f} s")
    tell.done(f"All {len(SCENES)} steps were seen, in {seconds:.1f} s.")


def _check(file: Path) -> None:
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Failure(f"{shown(str(file))}: is no regular file")
        if status.st_size < 8:
            raise Failure(f"{shown(str(file))}: has {status.st_size} bytes; a file to read integers in has 8 or more")
        with file.open("rb"):
            pass
    except OSError as error:
        raise Failure(f"{shown(str(file))}: {error.strerror}") from error
