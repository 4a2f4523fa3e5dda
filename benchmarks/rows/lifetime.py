# SPDX-License-Identifier: MIT
"""Rows 7a and 7b: a named map from its creation to its end, and somebody else's opened, touched and closed.

One page is mapped and touched, as the rest is about what is done around it. All peers use one given name, but for
SharedMemory's own way of making one, which has a line of its own."""

from __future__ import annotations

import contextlib
import importlib
import mmap
import os
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from memorymapped import MemoryMappedFile

from ..bench import Bench, row
from ..loops import call
from ..model import Case, Goal

posix_ipc: Any
try:
    posix_ipc = importlib.import_module("posix_ipc")
except ImportError:
    posix_ipc = None

SIZE = 4096
_NO_POSIX_IPC = "posix_ipc is not installed (the extra `bench` brings it)"


def _name() -> str:
    return f"benchmark-{os.getpid()}"


@row("7a")
def creation(bench: Bench) -> Iterator[Case]:
    case = Case("7a", "create + map + touch + close + unlink, one page")
    case.peer(
        "shared_memory",
        call(
            "block = SharedMemory(name, True, size)\nblock.buf[0] = 1\nblock.close()\nblock.unlink()",
            SharedMemory=SharedMemory,
            name=_name(),
            size=SIZE,
        ),
    )
    case.peer(
        "shared_memory, unnamed by the user",
        call(
            "block = SharedMemory(None, True, size)\nblock.buf[0] = 1\nblock.close()\nblock.unlink()",
            SharedMemory=SharedMemory,
            size=SIZE,
        ),
    )
    if posix_ipc is None:
        case.leave_out("posix_ipc + mmap", _NO_POSIX_IPC)
    else:
        case.peer(
            "posix_ipc + mmap",
            call(
                "block = Memory(name, flags, size=size)\nmemory = mmap(block.fd, size)\nblock.close_fd()\n"
                "memory[0] = 1\nmemory.close()\nunlink(name)",
                Memory=posix_ipc.SharedMemory,
                unlink=posix_ipc.unlink_shared_memory,
                flags=posix_ipc.O_CREX,
                name=f"/{_name()}-posix",
                mmap=mmap.mmap,
                size=SIZE,
            ),
        )
    with bench.dotnet.peers(case, ("CreateNew(null, ...)", "create", SIZE)):
        case.ours(
            "create_new, accessor, write_byte, close",
            call(
                "map = create(name, size)\nview = map.create_view_accessor()\nview.write_byte(0, 1)\nview.close()\n"
                "map.close()",
                create=MemoryMappedFile.create_new,
                name=_name(),
                size=SIZE,
            ),
            Goal(0.78),
        )
        case.ours(
            "the same without a name",
            call(
                "map = create(None, size)\nview = map.create_view_accessor()\nview.write_byte(0, 1)\nview.close()\n"
                "map.close()",
                create=MemoryMappedFile.create_new,
                size=SIZE,
            ),
        )
        yield case


@row("7b")
def attaching(bench: Bench) -> Iterator[Case]:
    case = Case("7b", "attach + map + touch + close, one page")
    with contextlib.ExitStack() as stack:
        shared = SharedMemory(_name(), create=True, size=SIZE)
        stack.callback(shared.unlink)
        stack.callback(shared.close)
        stack.enter_context(MemoryMappedFile.create_new(_name(), SIZE))
        path = stack.enter_context(bench.workspace.file(SIZE))
        case.peer(
            "shared_memory",
            call("block = SharedMemory(name)\nblock.buf[0]\nblock.close()", SharedMemory=SharedMemory, name=_name()),
        )
        names: dict[str, Any] = {"mmap": mmap.mmap, "size": SIZE}
        if posix_ipc is None:
            case.leave_out("posix_ipc + mmap", _NO_POSIX_IPC)
        else:
            case.peer(
                "posix_ipc + mmap",
                call(
                    "block = Memory(name)\nmemory = mmap(block.fd, size)\nblock.close_fd()\nmemory[0]\nmemory.close()",
                    Memory=posix_ipc.SharedMemory,
                    name=f"/{_name()}",
                    **names,
                ),
            )
        case.peer(
            "os.open + mmap",
            call(
                "fd = open(path, flags)\nmemory = mmap(fd, size)\nclose(fd)\nmemory[0]\nmemory.close()",
                open=os.open,
                close=os.close,
                path=path,
                flags=os.O_RDWR,
                **names,
            ),
        )
        with bench.dotnet.peers(case, ("CreateFromFile", "attach", path)):
            case.ours(
                "open_existing, accessor, read_byte, close",
                call(
                    "map = attach(name)\nview = map.create_view_accessor()\nview.read_byte(0)\nview.close()\n"
                    "map.close()",
                    attach=MemoryMappedFile.open_existing,
                    name=_name(),
                ),
                Goal(1.10, was=0.90),
            )
            yield case


ROWS = (creation, attaching)
