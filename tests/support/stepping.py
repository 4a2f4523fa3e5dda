# SPDX-License-Identifier: MIT
"""Kills a process after its n-th instruction, by ptrace(2): every state that its memory is ever in is left behind once.

A victim (see killer.py) does `act` between two marks. `record` steps through that once and notes where each instruction
lies. To kill after the n-th one, it is not stepped n times: a breakpoint on an instruction shortly before it, which had
been met seldom until then, takes it nearly there at full speed. The forked victims have their memory at the same
addresses, so each takes the same way if `act` does the same each time; `kill_after` says so if one does not.
"""

from __future__ import annotations

import collections
import ctypes
import os
import platform
import signal
from array import array
from collections.abc import Callable
from typing import NamedTuple

from support.killer import _AT_CALL, _LIBC, _MARK, _SYSCALL, Victim, _ptrace

__all__ = ["C_LIBRARY", "Steps", "unavailable"]

C_LIBRARY = ("libc.so", "libc-", "libpthread", "ld-musl")  # what its files are called

_PEEKTEXT, _POKETEXT, _SINGLESTEP, _GETREGSET, _SETREGSET = 1, 4, 9, 0x4204, 0x4205
_PRSTATUS = 1  # the general registers
_AT_HWCAP, _HAS_ATOMICS = 16, 1 << 8
_MOST = 400_000  # instructions
_FAR = 100


class _Machine(NamedTuple):
    """The registers, as struct user_regs_struct has them; which of them says where the process stands; an instruction
    that stops it, and the bits of it."""

    registers: int
    at: int
    breakpoint: int
    bits: int


_MACHINE = {"x86_64": _Machine(27, 16, 0xCC, 0xFF), "aarch64": _Machine(34, 32, 0xD4200000, 0xFFFFFFFF)}.get(
    platform.machine(), _Machine(1, 0, 0, 0)
)


class _Registers(ctypes.Structure):
    """A struct iovec, and what it leads to."""

    _fields_ = (
        ("base", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("registers", ctypes.c_uint64 * _MACHINE.registers),
    )

    def fetch(self, pid: int) -> None:
        self.base = ctypes.addressof(self) + _Registers.registers.offset
        self.length = _Registers.registers.size
        _ptrace(_GETREGSET, pid, _PRSTATUS, ctypes.addressof(self))


class _Stepped(Victim):
    """A victim that stands behind its first mark."""

    def __init__(self, prepare: Callable[[], object], act: Callable[[], object]) -> None:
        self._registers = _Registers()
        super().__init__(prepare, act)
        try:
            while self._call(self._next()) != (_MARK, False):
                pass
        except BaseException:
            self.end()
            raise
        self.resume.clear()

    @property
    def at(self) -> int:
        """The address of the next instruction."""
        self._registers.fetch(self.pid)
        return int(self._registers.registers[_MACHINE.at])

    def _stand(self, address: int) -> None:
        self._registers.fetch(self.pid)
        self._registers.registers[_MACHINE.at] = address
        _ptrace(_SETREGSET, self.pid, _PRSTATUS, ctypes.addressof(self._registers))

    def step(self) -> None:
        self._let(_SINGLESTEP)

    def _let(self, how: int) -> int:
        """Lets it go on until it stops; why it did."""
        _ptrace(how, self.pid)
        _, status = self._wait(self.pid)
        if not os.WIFSTOPPED(status) or os.WSTOPSIG(status) not in (signal.SIGTRAP, _AT_CALL):
            raise RuntimeError(f"process {self.pid} has status {status:#x}:\n{self._told()}")
        return os.WSTOPSIG(status)

    def go_to(self, address: int, again: int) -> bool:
        """Runs until the instruction at `address` would be the next, having met it `again` times before. False if it
        came to its second mark instead."""
        text = _LIBC.ptrace(_PEEKTEXT, self.pid, address, None) & (1 << 64) - 1
        while True:
            _ptrace(_POKETEXT, self.pid, address, text & ~_MACHINE.bits | _MACHINE.breakpoint)
            while self._let(_SYSCALL) == _AT_CALL:
                if self._call(self.pid)[0] == _MARK:
                    return False
            _ptrace(_POKETEXT, self.pid, address, text)
            self._stand(address)
            if not again:
                return True
            again -= 1
            self.step()


class Steps:
    """The instructions of `act`. `prepare` runs before, in each victim. `watch`: what may change at each of them."""

    def __init__(self, prepare: Callable[[], object], act: Callable[[], object]) -> None:
        self.prepare = prepare
        self.act = act
        self.way = array("Q")  # where the process stands after 0, 1, 2 ... instructions
        self.met = array("L")  # for each how often that instruction was met before

    def record(self, watch: Callable[[], object]) -> list[int]:
        """Steps through all; after which instructions `watch()` was another than before."""
        victim = _Stepped(self.prepare, self.act)
        changes: list[int] = []
        met: collections.Counter[int] = collections.Counter()
        try:
            last, first = watch(), victim.at
            while True:
                at = victim.at
                self.way.append(at)
                self.met.append(met[at])
                met[at] += 1
                if len(self.way) > 1 and at == first:  # the second mark
                    return changes
                victim.step()
                if watch() != last:
                    changes.append(len(self.way))
                    last = watch()
                if len(self.way) > _MOST:
                    raise RuntimeError(f"more than {_MOST} instructions")
        finally:
            victim.end()

    def kill_after(self, number: int, look: Callable[[], object]) -> tuple[object, bool]:
        """Kills a victim after `number` instructions. What `look()` sees just before, and whether the victim stood
        where it did when it was recorded."""
        victim = _Stepped(self.prepare, self.act)
        try:
            near = self._near(number)
            same = not near or victim.go_to(self.way[near], self.met[near])
            for _ in range(number - near):
                victim.step()
            same = same and victim.at == self.way[number]
            seen = look()
            os.kill(victim.pid, signal.SIGKILL)
            while os.WIFSTOPPED(victim._wait(victim.pid)[1]):
                pass
        finally:
            victim.end()
        return seen, same

    def interrupt_after(self, number: int, meanwhile: Callable[[], object]) -> bool:
        """Has a victim stand after `number` instructions, while `meanwhile` is done, and then go on to its end. Whether
        it stood where it did when it was recorded; if it was not to be had there `meanwhile` is not done."""
        victim = _Stepped(self.prepare, self.act)
        try:
            near = self._near(number)
            if near and not victim.go_to(self.way[near], self.met[near]):
                return False  # it is at its end
            for _ in range(number - near):
                victim.step()
            same = victim.at == self.way[number]
            meanwhile()
            while victim._let(_SYSCALL) != _AT_CALL or victim._call(victim.pid)[0] != _MARK:
                pass
        finally:
            victim.end()
        return same

    def _near(self, number: int) -> int:
        """From where to step: a breakpoint that is met costs about three steps."""
        candidates = range(max(0, number - _FAR), number + 1)
        return min(candidates, key=lambda near: number - near + (3 * self.met[near] if near else 0))

    def inside(self, library: str, called: tuple[str, ...], reach: int) -> list[int]:
        """The numbers of the instructions that lie in a library, and in those that it calls: at most `reach` behind
        one of its own."""
        own, others = self._parts(library), self._parts(*called)
        numbers, last = [], -reach
        for number, at in enumerate(self.way):
            if any(low <= at < high for low, high in own):
                last = number
            elif number > last + reach or not any(low <= at < high for low, high in others):
                continue
            numbers.append(number)
        return numbers

    @staticmethod
    def _parts(*words: str) -> list[tuple[int, int]]:
        """The addresses of libraries with one of these words in their names: the same in the victims."""
        parts = []
        with open("/proc/self/maps") as maps:
            for line in maps:
                if any(word in line.rpartition("/")[2] for word in words):
                    low, _, high = line.split()[0].partition("-")
                    parts.append((int(low, 16), int(high, 16)))
        return parts


def unavailable() -> str | None:
    """Why processes cannot be stepped through here, or None."""
    if not _MACHINE.bits or ctypes.sizeof(ctypes.c_void_p) != 8:
        return f"the registers of {platform.machine()} are not known"
    if platform.machine() == "aarch64" and not _LIBC.getauxval(_AT_HWCAP) & _HAS_ATOMICS:
        return "between a load and a store that belong together a step takes the store its effect: they go on for ever"
    from support import killer

    return killer.unavailable()
