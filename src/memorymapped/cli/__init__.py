# SPDX-License-Identifier: MIT
"""The command `mmf`: one module for each of its commands, imported when it is asked for.

A command is a line in COMMANDS and a module of this package with a click command called `command`. It raises `Failure`
for what the user should read as one line, and returns its exit code, None for 0. The overview is made from COMMANDS
without click, which takes longer to import than everything else here together."""

from __future__ import annotations

import contextlib
import sys

from ..system.pipes import ENCODING, is_lost
from .ending import Failure, Interrupted, end_output, ended_by, raising_at_signals

__all__ = ["COMMANDS", "main", "overview"]

COMMANDS = {
    "ls": "Shows what exists by name, who holds it, and in which state it is.",
    "info": "Shows one name or file in full: holders, layout, a picture of its pages.",
    "dump": "Shows the bytes of a map or a file, or values of a type.",
    "get": "Shows one value of a map or a file.",
    "set": "Writes one value into a map or a file.",
    "save": "Writes a map into a file.",
    "load": "Writes a file into a map.",
    "segments": "Lists, shows, appends and follows the segments of a segment file.",
    "watch": "Shows what changes in a map or a file, live.",
    "top": "Shows everything that is shared, live.",
    "lock": "Runs a command while owning a named mutex.",
    "wait": "Waits for a named event or semaphore.",
    "signal": "Sets a named event, or gives back to a named semaphore.",
    "clean": "Removes what provably nobody holds any more.",
    "demo": "Shows what the library does, with real processes, in seconds.",
    "cp": "Copies a file, in the kernel or through mapped memory.",
    "tasks": "Keeps a list of tasks, and has other processes run them.",
    "tasks-worker": "Runs one of the tasks that another process offers.",
}

OVERVIEW = """\
Usage: mmf COMMAND [ARGUMENTS]...

  Memory-mapped files and named shared memory.

Options:
  --version   Shows the version.
  -h, --help  Shows this, or after a command its options.

Commands:
{commands}

Examples:
  mmf ls
  mmf watch report --as self
  mmf lock report -- ./update
  mmf clean --help

Exit codes: 0 done, 1 failed, 2 wrong usage; those of tasks are in its help. Ctrl-C and SIGTERM clean up first.
"""

MISSING = "mmf: {module} is missing; the command needs it: pip install 'memorymapped[cli]'"
HELP = (["-h"], ["--help"])


def overview() -> str:
    """What `mmf --help` shows."""
    return OVERVIEW.format(commands="\n".join(f"  {name:<12}  {summary}" for name, summary in COMMANDS.items()))


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns the exit code of the process. After a signal that ends it, and after cleaning up,
    the process ends by that signal, so that shells and make see what happened."""
    given = sys.argv[1:] if arguments is None else arguments
    # Names of files may hold bytes that are no text, and terminals may know fewer characters than messages have.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding=None if stream.isatty() else ENCODING, errors="backslashreplace")
    try:
        with raising_at_signals():
            code = _run(given)
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        end_output()
        return 1
    except Failure as failure:
        _complain(f"{_program(given)}: {failure}")
        return failure.code
    except OSError as error:
        if error.filename is not None:
            raise
        # Commands tell their errors themselves: what comes here is that of the output, on a full disk say.
        lost = is_lost(error)
        end_output()
        if not lost:
            _complain(f"{_program(given)}: the output cannot be written: {error.strerror}")
        return 1
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in ("click", "rich"):
            raise
        _complain(MISSING.format(module=module))
        return 2
    except (Interrupted, KeyboardInterrupt) as interruption:
        return ended_by(interruption)
    return code


def _run(given: list[str]) -> int:
    import os

    if "_MMF_COMPLETE" not in os.environ:  # a shell that completes calls us without arguments
        if given == ["--version"]:
            from .. import __version__

            print(f"mmf {__version__}")
            return 0
        if given in HELP or not given:
            from importlib.util import find_spec

            if find_spec("click") is None:
                raise ModuleNotFoundError(name="click")
            print(overview(), end="", file=sys.stdout if given else sys.stderr)
            return 0 if given else 2
    from .group import run

    return run(given)


def _program(given: list[str]) -> str:
    return " ".join(["mmf", *given[:1]])


def _complain(text: str) -> None:
    # Nobody may be left to read it: a closed terminal, a pipe that ended. The exit code says it too.
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
