# SPDX-License-Identifier: MIT
"""A page that cannot be brought in (EXCEPTION_IN_PAGE_ERROR: the disk failed, the share is gone) in the midst of an access.

No test can break a disk. But it can take a page away, which is an access violation, and have a handler that comes before
the library's make an in-page error of it: the rest is as it would be, at the very instruction that touches the page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# ruff: noqa: E501
PROGRAM = r"""
import ctypes, sys, threading
from ctypes import wintypes
import numpy
from memorymapped import *

kernel32 = ctypes.WinDLL("kernel32")
kernel32.VirtualAlloc.restype = kernel32.AddVectoredExceptionHandler.restype = ctypes.c_void_p
kernel32.VirtualAlloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint32]
kernel32.VirtualProtect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_void_p]
kernel32.AddVectoredExceptionHandler.argtypes = [ctypes.c_uint32, ctypes.c_void_p]
NO_ACCESS = 1
# mov rax, [rcx]; cmp dword [rax], ACCESS_VIOLATION; jne +6; mov dword [rax], IN_PAGE_ERROR; xor eax, eax; ret
CODE = bytes.fromhex("488b01 8138050000c0 7506 c700060000c0 31c0 c3")

SIZE = 1 << 20
LOST = 5 * 65536 + 100  # in the page that is taken away

def take_away(array):
    address = array.ctypes.data + LOST & ~4095
    assert kernel32.VirtualProtect(address, 4096, NO_ACCESS, ctypes.byref(wintypes.DWORD()))

def shown(use):
    try:
        return use()
    except MemoryFaultError as error:
        return f"MemoryFaultError {error.errno}"

USES = {
    "a number": lambda view: view.read_int32(LOST),
    "a number over the edge of the page": lambda view: view.read_int64((LOST & ~4095) - 3),
    "a write of a number": lambda view: view.write_double(LOST, 1.5),
    "bytes": lambda view: view.read_bytes(0, SIZE),
    "a write of bytes": lambda view: view.write_bytes(LOST - 50, b"x" * 100),
    "an array": lambda view: view.read_array(0, bytearray(SIZE)),
    "a slice": lambda view: view[LOST - 10 : LOST + 10],
    "an element view": lambda view: sum(view.cast("i", 0, SIZE // 4)),
    "a search": lambda view: view.find(b"nowhere"),
}

def main(path):
    map = MemoryMappedFile.create_from_file(path) if path else MemoryMappedFile.create_new(None, SIZE)
    with map, map.create_view_accessor():  # the library's handler is there now: this one comes before
        code = kernel32.VirtualAlloc(None, 4096, 0x3000, 0x40)
        ctypes.memmove(code, CODE, len(CODE))
        assert kernel32.AddVectoredExceptionHandler(1, code)
        for name, use in USES.items():
            with map.create_view_accessor() as view:
                take_away(numpy.asarray(view))
                print(name, "-", shown(lambda: use(view)), view.faulted)
        view = map.create_view_accessor()
        array = numpy.asarray(view)
        array[:] = 7
        take_away(array)
        found = []
        threads = [threading.Thread(target=lambda: found.append(int(array.sum()))) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        array[LOST] = 1
        print("raw readers", int(array.sum()), view.faulted, len(found))
        print("and then", shown(lambda: view.read_byte(0)))
        view.close()
        with map.create_view_accessor() as again:
            print("another view", again.read_byte(0), again.faulted)
main(sys.argv[1])
"""


@pytest.mark.parametrize("of", ["memory", "file"])
def test_it_is_an_exception_in_our_accesses_and_zeros_for_who_reads_the_memory(of: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(path) if of == "file" else ""],
        capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    *ours, raw, then, another = done.stdout.splitlines()
    assert len(ours) == 9
    for line in ours:
        assert line.endswith(" - MemoryFaultError 5 True"), line
    assert raw == "raw readers 1 True 4", "all of the view is zeros, and this process's own"
    assert then == "and then MemoryFaultError 5"
    assert another == "another view 7 False"
