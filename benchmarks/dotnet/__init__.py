# SPDX-License-Identifier: MIT
"""The .NET runtime as a peer: one process of it, which measures its own loops in the turns that it is told to take."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ..model import DOTNET, Case, Loop

__all__ = ["Dotnet", "runtime"]

_PROGRAM = Path(__file__).parent / "Loops.cs"


def runtime() -> Path | None:
    """The folder of the runtime: what MEMORYMAPPED_DOTNET says, or where `tools/dotnet-runtime` puts it; or None."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("MEMORYMAPPED_DOTNET") or cache / "memorymapped" / "dotnet")
    return folder if (folder / "bin" / "csc-run").exists() else None


class Dotnet:
    """Starts the process at the first use; a context manager that ends it. `folder` is where it makes what it calls
    memory: files in the folder for temporary ones, on the disk if it is not told otherwise."""

    def __init__(self, folder: Path, *, wanted: bool = True) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._runtime = runtime() if wanted else None
        self._reason = "no .NET runtime (tools/dotnet-runtime brings one)" if wanted else "not asked for"

    def __enter__(self) -> Dotnet:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            with contextlib.suppress(OSError):
                process.communicate(timeout=20)
            if process.poll() is None:
                process.kill()
                process.wait()

    @contextlib.contextmanager
    def peers(self, case: Case, *wanted: tuple[str, str, object]) -> Iterator[None]:
        """Adds a peer to the case for each of `wanted`: its name behind ".NET ", the kind of the loop, its arguments
        (one, or a tuple). While the context lasts they can be measured."""
        loops: list[int] = []
        try:
            for name, kind, argument in wanted:
                shown = f"{DOTNET} {name}"
                if self._runtime is None:
                    case.leave_out(shown, self._reason)
                    continue
                arguments = argument if isinstance(argument, tuple) else (argument,)
                loops.append(int(self._ask("make", kind, *arguments)))
                case.peer(shown, self._loop(loops[-1]))
            yield
        finally:
            for loop in loops:
                self._ask("drop", loop)

    def _loop(self, number: int) -> Loop:
        return Loop(lambda turns: float(self._ask("run", number, turns)))

    def _ask(self, *words: object) -> str:
        if self._process is None:
            assert self._runtime is not None
            self._process = subprocess.Popen(
                [self._runtime / "bin" / "csc-run", _PROGRAM],
                env={**os.environ, "TMPDIR": str(self._folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # the compiler's warnings; an error ends it, and is seen here
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, sep="\t", file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise RuntimeError(f"the .NET program answered {answer!r} to {words[0]} {words[1]}")
        return answer
