# SPDX-License-Identifier: MIT
"""A destination in another terminal. Whoever opens that (tmux, a desktop) is asked by a command that may end at once,
and the destination is no child of the source then. So a stand-in is started for it:

    source                   stand-in                           other terminal
      | starts  -------------->| listens; runs the command that
      |                        | opens the terminal  ------------> | `elsewhere --at ADDRESS` connects
      |                        | what to run, where, in which      |
      |                        | environment  -------------------->| runs the destination, as its child
      | is told by the end <---| ends in the same way <------------| how that has ended

The connection tells each of them of the end of the other: SIGTERM to the stand-in ends the destination, and so does the
death of the stand-in; a terminal that is closed ends the stand-in by SIGHUP."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

__all__ = ["in_another_terminal"]

PATIENCE = 10.0  # seconds for the terminal to open
GRACE = 2.0  # seconds for a destination to end by itself when it was asked to
_HERE = "memorymapped.tasks.elsewhere"
_MOST = 1 << 20  # bytes of a message
_PLACE = [
    "COLORTERM",
    "COLUMNS",
    "DISPLAY",
    "LINES",
    "TERM",
    "TERM_PROGRAM",
    "TEXTUAL_DRIVER",
    "TMUX",
    "TMUX_PANE",
    "WINDOWID",
]
"""Variables that are about the terminal: the destination has those of its own one."""


def in_another_terminal(window: Sequence[str], command: Sequence[str]) -> list[str]:
    """The command of the stand-in for a command in another terminal. `window` opens that, with {command} for what is to
    be run there."""
    return [sys.executable, "-P", "-m", _HERE, json.dumps(list(window)), *command]


# ----------------------------------------------------------------------------------------------------- the stand-in


def stand_in(window: Sequence[str], command: Sequence[str]) -> int:
    """Has the command run in another terminal; the exit code, -N for a signal."""
    address = f"\0memorymapped-tasks-{uuid4()}"
    asked, asking = socket.socketpair()
    signal.signal(signal.SIGTERM, lambda *_: asking.send(b"x"))
    with asked, asking, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        there = [sys.executable, "-P", "-m", _HERE, "--at", address[1:]]
        try:
            opening = subprocess.Popen(_filled(window, there), stdin=subprocess.DEVNULL)
        except OSError as error:
            print(f"no terminal was opened: {error}", file=sys.stderr)
            return 1
        opener = os.pidfd_open(opening.pid)
        try:
            connection = _connection(listening, asked, opening, opener)
        finally:
            os.close(opener)
        if connection is None:
            return opening.returncode or 1
        with connection:
            begin = {"command": list(command), "environment": dict(os.environ), "directory": os.getcwd()}
            connection.sendall(json.dumps(begin).encode() + b"\n")
            if asked in select.select([connection, asked], [], [])[0]:
                connection.shutdown(socket.SHUT_WR)
            said = _line(connection)
    return int(said["code"]) if said is not None else -signal.SIGHUP


def _filled(window: Sequence[str], there: Sequence[str]) -> list[str]:
    words: list[str] = []
    for word in window:
        words += list(there) if word == "{command}" else [word.replace("{command}", shlex.join(there))]
    return words


def _connection(
    listening: socket.socket, asked: socket.socket, opening: subprocess.Popen[bytes], opener: int
) -> socket.socket | None:
    """Of the other terminal; None if there is none, which is said."""
    waited: list[Any] = [listening, asked, opener]
    left = PATIENCE
    while True:
        ready = select.select(waited, [], [], left)[0]
        if listening in ready:
            connection, _ = listening.accept()
            if _user_of(connection) == os.getuid():
                return connection
            connection.close()
        elif asked in ready:
            opening.returncode = -signal.SIGTERM
            return None
        elif opener in ready:  # tmux, say, has handed it over
            if opening.wait():
                print(f"no terminal was opened: exit code {opening.returncode}", file=sys.stderr)
                return None
            waited.remove(opener)
        else:
            print(f"nothing has come from the other terminal within {PATIENCE:.0f} s", file=sys.stderr)
            return None


def _user_of(connection: socket.socket) -> int:
    """The user at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    user: int = struct.unpack("3i", credentials)[1]
    return user


def _line(connection: socket.socket) -> dict[str, Any] | None:
    """A message; None if the other side has gone."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while not data.endswith(b"\n"):
            piece = connection.recv(65536)
            data += piece
            if not piece or len(data) > _MOST:
                return None
        said: dict[str, Any] = json.loads(data)
        return said
    return None


# ---------------------------------------------------------------------------------------------------- the other end


def at(address: str) -> int:
    """Runs what the stand-in wants to be run, in this terminal."""
    from ..system.linux.ties import dying_with_us  # whoever comes here is on Linux

    told, telling = socket.socketpair()
    for each in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(each, signal.SIG_IGN)  # the destination has them, too
    signal.signal(signal.SIGHUP, lambda *_: telling.send(b"x"))  # only who leads the session is told by the kernel
    with told, telling, socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + address)
        if _user_of(connection) != os.getuid() or (begin := _line(connection)) is None:
            return 1
        die = dying_with_us(signal.SIGHUP)

        def as_before() -> None:
            for each in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
                signal.signal(each, signal.SIG_DFL)
            die()

        environment = _environment(begin["environment"])
        process = subprocess.Popen(begin["command"], env=environment, cwd=begin["directory"], preexec_fn=as_before)
        pidfd = os.pidfd_open(process.pid)
        try:
            waited: list[Any] = [connection, told, pidfd]
            ready = select.select(waited, [], [])[0]
            if pidfd not in ready:
                process.send_signal(signal.SIGHUP if told in ready else signal.SIGTERM)
                if not select.select([pidfd], [], [], GRACE)[0]:
                    process.kill()
            code = process.wait()
        finally:
            os.close(pidfd)
            if process.poll() is None:
                process.kill()
                process.wait()
        with contextlib.suppress(OSError):
            connection.sendall(json.dumps({"code": code}).encode() + b"\n")
    return code


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    ours = {name: os.environ[name] for name in _PLACE if name in os.environ}
    return {name: text for name, text in given.items() if name not in _PLACE} | ours


def _main(arguments: Sequence[str]) -> int:
    code = at(arguments[1]) if arguments[0] == "--at" else stand_in(json.loads(arguments[0]), arguments[1:])
    if code < 0:
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
