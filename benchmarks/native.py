# SPDX-License-Identifier: MIT
"""The peers in C: the C library's memcpy, and loops of our own, compiled when they are needed."""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
import importlib.util
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["Unavailable", "address", "library", "memcpy", "module"]

_HERE = Path(__file__).parent
_HEADERS = _HERE.parent / "src" / "memorymapped" / "_native"


class Unavailable(Exception):
    """There is no C compiler, or it fails; the text says which."""


@functools.cache
def _built() -> tuple[Any, Any]:
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
    compiler = shutil.which(compiler) or shutil.which("cc") or ""
    if not compiler:
        raise Unavailable("no C compiler")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        target = Path(folder) / "native.so"
        command = [
            compiler, "-O3", "-DNDEBUG", "-std=gnu11", "-fPIC", "-shared", "-fvisibility=hidden",
            "-I", sysconfig.get_path("include"), "-I", str(_HEADERS), "-o", str(target), str(_HERE / "native.c"),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"the C compiler failed: {done.stderr.strip().splitlines()[-1]}")
        spec = importlib.util.spec_from_file_location("native", target)
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        functions = ctypes.CDLL(str(target))
    pointer, size = ctypes.c_void_p, ctypes.c_ssize_t
    functions.loop_guarded.argtypes = functions.loop_unguarded.argtypes = [pointer, size, size]
    functions.sum_at.argtypes = [pointer, pointer, size]
    functions.gather_at.argtypes = [pointer, pointer, pointer, size]
    functions.gather_at.restype = None
    functions.hand_over.argtypes = [pointer, ctypes.c_int, ctypes.c_long, ctypes.c_long, pointer]
    functions.hand_over.restype = None
    functions.loop_guarded.restype = functions.loop_unguarded.restype = functions.sum_at.restype = ctypes.c_int64
    return loaded, functions


def module() -> Any:
    """The extension module, with the type `Window`. Raises Unavailable."""
    return _built()[0]


def library() -> Any:
    """The functions, for ctypes. Raises Unavailable."""
    return _built()[1]


@functools.cache
def memcpy() -> Any:
    """The C library's memcpy(to, from, size), by addresses."""
    function = ctypes.CDLL(None).memcpy
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    function.restype = ctypes.c_void_p
    return function


def address(buffer: Any) -> int:
    """Where the first byte of a writable buffer lies. The caller keeps the buffer."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
