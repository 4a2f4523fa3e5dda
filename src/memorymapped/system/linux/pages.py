# SPDX-License-Identifier: MIT
"""Which pages of a file are in memory, and who has them mapped: asked of /proc, without touching a page.

A page table's entries (/proc/PID/pagemap) say which pages a process has mapped and whether another has them too; only
root learns from them, and from /proc/kpageflags, which are dirty or huge."""

from __future__ import annotations

import array
import os

from ..._typing import TYPE_CHECKING
from ..findings import Mapped, PageFlags
from .processes import command_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PAGES_TOLD", "mapped_by", "page_flags"]

PAGES_TOLD = True
"""Whether a look tells which pages of a map are in memory."""
PAGE = os.sysconf("SC_PAGE_SIZE")
_PRESENT, _SWAPPED, _EXCLUSIVE = 1 << 63, 1 << 62, 1 << 56  # of an entry, see proc_pid_pagemap(5)
_FRAME = (1 << 55) - 1
_COUNTS = {  # of smaps, see proc_pid_smaps(5): what of Mapped it counts for
    "Rss": ("resident",),
    "Shared_Clean": ("shared",),
    "Shared_Dirty": ("shared", "dirty"),
    "Private_Dirty": ("dirty",),
    "Shared_Hugetlb": ("shared", "huge"),
    "Private_Hugetlb": ("huge",),
    "ShmemPmdMapped": ("huge",),
    "FilePmdMapped": ("huge",),
    "Swap": ("swapped",),
    "Locked": ("locked",),
}
_DIRTY, _HUGE, _THP = 1 << 4, 1 << 17, 1 << 22  # of a frame, see the kernel's pagemap.rst


def mapped_by(device: int, inode: int) -> list[Mapped]:
    """Who has this file mapped, of the processes that this user may look into."""
    where = f" {os.major(device):02x}:{os.minor(device):02x} {inode} ".encode()
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/maps", "rb") as maps:
                if where not in maps.read():
                    continue
            each = Mapped(int(pid), command_of(int(pid)) or "?")
            with open(f"/proc/{pid}/smaps", "rb") as lines:
                _read(each, lines, where)
        except OSError:
            continue  # it ended, or is not ours to look into
        if each.ranges:
            found.append(each)
    return found


def _read(each: Mapped, lines: Iterator[bytes], where: bytes) -> None:
    ours = False
    for line in lines:
        first, _, rest = line.partition(b" ")
        if not first.endswith(b":"):
            ours = where in line
            if ours:
                start, _, end = first.partition(b"-")
                length = int(end, 16) - int(start, 16)
                each.ranges.append((int(start, 16), int(rest.split()[1], 16), length))
                each.size += length
                each.writable |= rest[1:2] == b"w"
        elif ours and rest.endswith(b"kB\n"):
            for what in _COUNTS.get(first[:-1].decode(), ()):
                setattr(each, what, getattr(each, what) + int(rest.split()[0]) * 1024)


def page_flags(processes: list[Mapped], pages: list[range]) -> PageFlags:
    """What is known of these pages of a file, from those who have it mapped."""
    flags = PageFlags()
    try:
        frames = os.open("/proc/kpageflags", os.O_RDONLY | os.O_CLOEXEC)
        flags.frames = True
    except OSError:
        frames = -1
    try:
        for process in processes:
            try:
                fd = os.open(f"/proc/{process.pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                for address, offset, length in process.ranges:
                    _ask(flags, fd, frames, address, offset // PAGE, length // PAGE, pages)
            except OSError:
                continue
            finally:
                os.close(fd)
    finally:
        if frames >= 0:
            os.close(frames)
    return flags


def _ask(flags: PageFlags, fd: int, frames: int, address: int, first: int, count: int, pages: list[range]) -> None:
    for wanted in pages:
        begin, end = max(wanted.start, first), min(wanted.stop, first + count)
        if begin >= end:
            continue
        entries = array.array("Q")
        entries.frombytes(_whole(os.pread(fd, (end - begin) * 8, (address // PAGE + begin - first) * 8)))
        for page, entry in enumerate(entries, begin):
            if entry & _SWAPPED:
                flags.swapped.add(page)
            if not entry & _PRESENT:
                continue
            if page in flags.mapped or not entry & _EXCLUSIVE:
                flags.shared.add(page)
            flags.mapped.add(page)
            frame = entry & _FRAME
            if frames >= 0 and frame:
                word = int.from_bytes(os.pread(frames, 8, frame * 8), "little")
                if word & _DIRTY:
                    flags.dirty.add(page)
                if word & (_HUGE | _THP):
                    flags.huge.add(page)


def _whole(data: bytes) -> bytes:
    return data[: len(data) // 8 * 8]
