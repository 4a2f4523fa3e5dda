# SPDX-License-Identifier: MIT
"""Where the library does not run it says so, before anything else goes wrong."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import memorymapped

NATIVE = str(Path(memorymapped.__file__).parent / "_native" / "__init__.py")
FIRST = "memorymapped runs in 64-bit CPython on Linux and Windows, and not here: "


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("platform", "darwin", "macOS has no mutexes that tell of a dead owner"),
        ("platform", "freebsd14", "of 'freebsd14' it knows nothing"),
        ("maxsize", 2**31 - 1, "this one has 32 bits, little endian"),
        ("byteorder", "big", "this one has 64 bits, big endian"),
        ("implementation", SimpleNamespace(name="pypy"), "pypy is another Python"),
        ("flags", SimpleNamespace(gil=0), "PYTHON_GIL=0 or -X gil=0 keeps off the lock"),
    ],
)
def test_the_import_says_what_is_missing(
    attribute: str, value: object, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = compile(Path(NATIVE).read_text(encoding="utf-8"), NATIVE, "exec")
    with monkeypatch.context() as patch:
        patch.setattr(sys, attribute, value)
        with pytest.raises(ImportError) as caught:
            exec(code, {})
    assert str(caught.value).startswith(FIRST + reason)


def test_it_is_the_first_that_a_program_sees() -> None:
    program = "import subprocess, sys; sys.platform = 'darwin'; import memorymapped"
    child = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert child.returncode == 1
    assert child.stderr.splitlines()[-1].startswith(f"ImportError: {FIRST}macOS has no mutexes")


def test_here_it_runs() -> None:
    runpy.run_path(NATIVE)
