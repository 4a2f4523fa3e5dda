# SPDX-License-Identifier: MIT
"""SingleInstance: one process at a time, whatever becomes of it, and command lines that reach it or are told to have
not."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from peers import NOBODY, Peer, needs_root, peers
from programs import finished, state, until
from support.here import WINDOWS

from memorymapped import ClosedError, InvalidNameError, MemoryMappedFile, MemoryMappedFileError, Mutex
from memorymapped.errors import AlreadyRunningError
from memorymapped.shared import inbox
from memorymapped.shared.single_instance import CommandLine, SingleInstance
from memorymapped.sync.events import AutoResetEvent
from memorymapped.system import sweep

Make = Callable[..., Peer]
NO_TEXT = "\udc80"  # that names of files may have nevertheless
AT_ONCE = 1.0  # seconds: far less than a time-out, far more than it takes

IMPORT = "from memorymapped.shared.single_instance import SingleInstance; import signal\n"
INBOX = r"User\SingleInstance/{}"
WITH = "s = SingleInstance({!r}); s.__enter__()"


@pytest.fixture
def name(tag: str) -> str:
    return tag


@pytest.fixture
def peer(run: Callable[..., subprocess.Popen[str]]) -> Iterator[Make]:
    with peers(run, before=IMPORT) as make:
        yield make


def stopped(process: Peer) -> None:
    process.process.send_signal(signal.SIGSTOP)
    until(lambda: state(process.pid) == "T", "it has stopped")


def sends(name: str) -> bool:
    """Whether somebody has handed over a command line and waits."""
    try:
        numbers = MemoryMappedFile.open_existing(INBOX.format(name))
    except FileNotFoundError:
        return False
    with numbers, numbers.create_view_accessor() as view:
        return view.read_uint64(0) != 0


# ------------------------------------------------------------------------------------------------- one at a time


def test_a_second_process_is_told_who_runs(name: str, peer: Make) -> None:
    first = peer()
    first(WITH.format(name))
    with pytest.raises(AlreadyRunningError) as raised, SingleInstance(name):
        raise AssertionError("two instances")
    error = raised.value
    assert isinstance(error, MemoryMappedFileError)
    assert isinstance(error, RuntimeError)
    assert not isinstance(error, OSError), "a program's own `except OSError` would take it for a missing file"
    assert error.name == name
    assert error.holder.process == first.pid
    assert error.holder.command is not None
    assert error.holder.command.startswith(sys.executable if WINDOWS else f"{sys.executable} -W error -c ")
    assert error.holder.since is not None
    assert abs(datetime.now().astimezone() - error.holder.since) < timedelta(seconds=60)
    assert f"{name!r} is running already: process {first.pid} (" in str(error)
    assert f"since {error.holder.since:%Y-%m-%d %H:%M:%S}" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.holder) == (str(error), error.holder)


def test_without_exceptions(name: str, peer: Make) -> None:
    other = peer()
    first = SingleInstance(name)
    assert first.is_first
    assert first.holder.process == os.getpid()
    other(f"s = SingleInstance({name!r})")
    assert other.ask("s.is_first, s.holder.process") == (False, os.getpid())
    other("s.close()")
    assert first.is_first
    first.close()
    assert not first.is_first
    assert other.ask(f"(t := SingleInstance({name!r})).is_first")
    other("t.close()")


def test_a_killed_instance_is_in_nobodys_way(name: str, peer: Make) -> None:
    first, other = peer(), peer()
    first(WITH.format(name))
    other(f"s = SingleInstance({name!r})")
    first.kill()
    with SingleInstance(name) as instance:
        assert instance.is_first


def test_one_that_crashes_while_others_have_the_mutex_open_is_no_error(name: str, peer: Make) -> None:
    first = peer()
    first(WITH.format(name))
    mutex = Mutex.open_existing(name)  # so that the mutex stays, abandoned
    first.kill()
    with SingleInstance(name) as instance:
        assert instance.is_first
    assert mutex.wait_one(0), "it was given back as a mutex is, and not abandoned"
    mutex.release_mutex()
    mutex.close()


@pytest.mark.parametrize("end", ["", "s.close()", "sys.exit(0)", "os._exit(0)"])
def test_it_ends_with_the_process_however_that_ends(end: str, name: str, peer: Make) -> None:
    first = peer()
    first(f"s = SingleInstance({name!r}, print); import sys, os")
    if end:
        first.tell("run", end)
    if end != "s.close()":
        first.lines.close()
        first.process.stdin = None
        assert first.process.wait(30) == 0
    else:
        assert first.answer() is None
    with SingleInstance(name):
        pass
    sweep()  # os._exit leaves its memory for the next who looks


def test_it_lives_until_it_is_closed_also_if_nobody_refers_to_it(name: str, peer: Make) -> None:
    other = peer()
    other(f"SingleInstance({name!r}); import gc; gc.collect()")
    gc.collect()
    assert not SingleInstance(name).is_first
    other.end()
    with SingleInstance(name):
        pass


def test_any_thread_makes_it_and_any_thread_ends_it(name: str, peer: Make) -> None:
    made: list[SingleInstance] = []
    maker = threading.Thread(target=lambda: made.append(SingleInstance(name)))
    maker.start()
    maker.join()
    other = peer()
    assert not other.ask(f"SingleInstance({name!r}).is_first")
    assert not SingleInstance(name).is_first, "a second one in the same process"
    closer = threading.Thread(target=made[0].close)
    closer.start()
    closer.join()
    with SingleInstance(name):
        pass


def test_of_many_that_start_at_once_one_is_first(name: str, peer: Make) -> None:
    many = [peer() for _ in range(5)]
    for each in many:
        each.tell("run", f"s = SingleInstance({name!r})")
    for each in many:
        assert each.answer() is None
    firsts = [each.pid for each in many if each.ask("s.is_first")]
    assert len(firsts) == 1
    assert {each.ask("s.holder.process") for each in many} == set(firsts)


def test_a_forked_child_is_not_the_instance_and_ends_nothing(name: str, peer: Make, tmp_path: Path) -> None:
    first = peer()
    first(f"s = SingleInstance({name!r}); s.receive(0)")
    child = first.fork(tmp_path)
    assert child.ask("s.is_first, s.holder.process, s.closed") == (False, first.pid, True)
    assert child.refusal("s.receive(0)").is_a(ClosedError)
    assert not child.ask(f"SingleInstance({name!r}).is_first")
    child("s.close()")
    other = SingleInstance(name)
    assert (other.is_first, other.holder.process) == (False, first.pid)
    first.kill()
    with SingleInstance(name) as instance:  # while the child lives
        assert instance.is_first
        assert instance.receive(0) is None
    child.end()


def test_scopes_are_apart(name: str) -> None:
    with SingleInstance(rf"Local\{name}"), SingleInstance(rf"Global\{name}"):
        other = SingleInstance(rf"Global\{name}")
        assert (other.is_first, other.name) == (False, rf"Global\{name}")


@needs_root
def test_a_global_one_is_one_for_all_users(name: str, peer: Make) -> None:
    other = peer(uid=NOBODY)
    with SingleInstance(rf"Global\{name}") as first:
        assert first.receive(0) is None  # makes the inbox: only root can make a folder in the root of this run
        other(f"s = SingleInstance('Global\\\\{name}')")
        assert other.ask("s.is_first, s.holder.process") == (False, os.getpid())
        other.tell("run", "s.send(['from', 'nobody'])")
        line = first.receive(10)
        assert line is not None
        assert line.arguments == ["from", "nobody"]
        assert other.answer() is None
    with SingleInstance(name):
        assert other.ask(f"(t := SingleInstance({name!r})).is_first"), "each user has his own"
        other("t.close()")


def test_bad_arguments_are_refused() -> None:
    for wrong, error in ((None, TypeError), (7, TypeError), ("", ValueError), ("a/b", InvalidNameError)):
        with pytest.raises(error):
            SingleInstance(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on_arguments is a function"):
        SingleInstance("x", "y")  # type: ignore[arg-type]


def test_it_cannot_be_sent_to_another_process(name: str) -> None:
    with SingleInstance(name) as instance, pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(instance)


def test_a_mutex_of_another_program_counts(name: str, peer: Make) -> None:
    other = peer()
    other(f"m = Mutex(True, {name!r})")
    newcomer = SingleInstance(name)
    assert (newcomer.is_first, newcomer.holder.process) == (False, other.pid)
    with pytest.raises(
        TimeoutError, match=rf"{name}.*process {other.pid} .*has not taken the command line within 0.2 s"
    ):
        newcomer.send([], 0.2)
    other("m.release_mutex(); m.close()")


# ------------------------------------------------------------------------------------------------- command lines


def test_the_instance_gets_what_a_newcomer_hands_over(name: str, peer: Make, tmp_path: Path) -> None:
    newcomer = peer(cwd=tmp_path)
    words = ["", "a b", "-x", "two\nlines", "\U0001f600", "not text: \udcff", "'\"\\"]
    with SingleInstance(name) as instance:
        newcomer(f"try:\n with SingleInstance({name!r}): pass\nexcept RuntimeError as error: e = error")
        newcomer.tell("run", f"e.send({words!r})")
        line = instance.receive()
        assert newcomer.answer() is None, "the newcomer learns that it was taken"
        assert line == CommandLine(words, str(tmp_path), newcomer.pid)
        newcomer.tell(
            "run", f"from pathlib import Path; e.send((w for w in (Path('p'), {os.fsencode(NO_TEXT)!r})), timeout=None)"
        )
        assert (instance.receive(10) or line).arguments == ["p", NO_TEXT]
        assert newcomer.answer() is None
        assert instance.receive(0) is None
        assert instance.receive(timedelta(milliseconds=1)) is None


def test_a_callback_gets_them_in_a_thread_of_its_own_that_ends_at_close(name: str, peer: Make) -> None:
    before = threading.active_count()
    got: list[tuple[list[str], str]] = []
    newcomer = peer()
    with SingleInstance(name, lambda line: got.append((line.arguments, threading.current_thread().name))):
        newcomer(f"s = SingleInstance({name!r})\nfor i in range(3): s.send([str(i)])")
        until(lambda: len(got) == 3, "the last one was called")
    assert [arguments for arguments, _ in got] == [["0"], ["1"], ["2"]]
    assert {thread for _, thread in got} == {f"{name} arguments"}
    assert threading.active_count() == before


def test_large_command_lines_travel_whole(name: str, peer: Make) -> None:
    newcomer = peer()
    with SingleInstance(name) as instance:
        newcomer(f"s = SingleInstance({name!r})")
        for code in ("['x' * 100_000]", "[str(i) for i in range(100_000)]", "['\\u20ac' * 3_000_000]"):
            newcomer.tell("run", f"s.send({code})")
            line = instance.receive(20)
            assert newcomer.answer() is None
            assert line is not None
            assert line.arguments == eval(code)


def test_several_senders_at_once_and_iteration(name: str, peer: Make) -> None:
    senders = [peer() for _ in range(4)]
    with SingleInstance(name) as instance:
        for number, each in enumerate(senders):
            each.tell("run", f"s = SingleInstance({name!r})\nfor i in range(25): s.send(['{number}', str(i)])")
        got: list[tuple[int, int]] = []
        for line in instance:
            number, i = map(int, line.arguments)
            assert line.process == senders[number].pid
            got.append((number, i))
            if len(got) == 100:
                break
        for each in senders:
            assert each.answer() is None
    assert sorted(got) == [(number, i) for number in range(4) for i in range(25)]
    for number in range(4):
        assert [i for n, i in got if n == number] == list(range(25))


def test_who_never_looks_is_told_of_and_gets_nothing_later(name: str, peer: Make) -> None:
    newcomer = peer()
    with SingleInstance(name) as instance:
        newcomer(f"s = SingleInstance({name!r})")
        begin = time.monotonic()
        refused = newcomer.refusal("s.send(['late'], 0.3)")
        assert time.monotonic() - begin < AT_ONCE
        assert refused.is_a(TimeoutError)
        assert f"process {os.getpid()} (" in refused.message
        assert "has not taken the command line within 0.3 s" in refused.message
        assert newcomer.refusal("s.send(['later'], 0)").is_a(TimeoutError)
        assert instance.receive(0) is None
        newcomer.tell("run", "s.send(['in time'])")
        assert (instance.receive(10) or instance).arguments == ["in time"]  # type: ignore[union-attr]
        assert newcomer.answer() is None


def test_a_sender_that_is_killed_leaves_nothing_and_is_in_nobodys_way(name: str, peer: Make) -> None:
    first, second = peer(), peer()
    with SingleInstance(name) as instance:
        for each in (first, second):
            each(f"s = SingleInstance({name!r})")
        first.tell("run", "s.send(['first'])")
        until(lambda: sends(name), "it sends")
        second.tell("run", "s.send(['second'])")
        first.kill()
        line = instance.receive(10)
        assert line is not None
        assert line.arguments == ["second"]
        assert second.answer() is None
        assert instance.receive(0) is None
    sweep()  # the memory of the killed one


def test_a_sender_that_is_stopped_does_not_stop_the_instance(name: str, peer: Make) -> None:
    first, second = peer(), peer()
    with SingleInstance(name) as instance:
        for each in (first, second):
            each(f"s = SingleInstance({name!r})")
        first.tell("run", "s.send(['first'], None)")
        until(lambda: sends(name), "it sends")
        stopped(first)
        refused = second.refusal("s.send(['second'], 0.2)")
        assert refused.is_a(TimeoutError)
        assert f"process {first.pid} has been handing over" in refused.message
        first.process.send_signal(signal.SIGCONT)
        assert (instance.receive(10) or instance).arguments == ["first"]  # type: ignore[union-attr]
        assert first.answer() is None


@pytest.mark.parametrize("end", ["kill", "close"])
def test_a_receiver_that_ends_in_the_middle_is_told_of_at_once(end: str, name: str, peer: Make) -> None:
    first, newcomer = peer(), peer()
    first(f"s = SingleInstance({name!r}); s.receive(0)")
    newcomer(f"s = SingleInstance({name!r}); import time")
    newcomer.tell("run", "begin = time.monotonic(); s.send(['x'], 30)")
    until(lambda: sends(name), "it sends")
    if end == "kill":
        first.kill()
    else:
        first("s.close()")
    begin = time.monotonic()
    refused = newcomer.answer()
    assert time.monotonic() - begin < AT_ONCE
    assert refused.is_a(ProcessLookupError)
    assert f"process {first.pid} " in refused.message
    assert "has ended" in refused.message
    assert newcomer.refusal("s.send([])").is_a(ProcessLookupError), "and when nobody is there from the start"


def test_a_stopped_receiver_loses_nothing(name: str, peer: Make) -> None:
    first, newcomer = peer(), peer()
    first(f"s = SingleInstance({name!r})")
    first.tell("ask", "s.receive().arguments")
    newcomer(f"s = SingleInstance({name!r})")
    stopped(first)
    newcomer.tell("run", "s.send(['x'])")
    first.process.send_signal(signal.SIGCONT)
    assert newcomer.answer() is None
    assert first.answer() == ["x"]


def test_what_is_sent_after_a_change_of_the_instance_reaches_the_new_one(name: str, peer: Make) -> None:
    first, newcomer = peer(), peer()
    first(WITH.format(name))
    newcomer(f"s = SingleInstance({name!r})")
    first.end()
    with SingleInstance(name) as instance:
        newcomer.tell("run", "s.send(['x'])")
        assert (instance.receive(10) or instance).arguments == ["x"]  # type: ignore[union-attr]
        assert newcomer.answer() is None


def test_a_close_ends_who_waits(name: str) -> None:
    instance = SingleInstance(name)
    ended: list[str] = []

    def receive() -> None:
        with pytest.raises(ClosedError, match="closed"):
            instance.receive()
        ended.append("receive")

    def iterate() -> None:
        assert list(instance) == []
        ended.append("iteration")

    threads = [threading.Thread(target=receive), threading.Thread(target=iterate)]
    for thread in threads:
        thread.start()
    instance.close()
    instance.close()
    for thread in threads:
        thread.join(30)
    assert sorted(ended) == ["iteration", "receive"]
    with pytest.raises(ClosedError):
        instance.receive(0)
    with pytest.raises(ClosedError), instance:
        pass


def test_a_callback_may_fail_and_may_close(name: str) -> None:
    program = finished(
        sys.executable,
        "-W",
        "error",
        "-c",
        IMPORT
        + f"""
import subprocess, sys
def called(line):
    print("got", line.arguments[0], flush=True)
    if line.arguments[0] == "end":
        s.close()
    else:
        raise ZeroDivisionError("my own")
s = SingleInstance({name!r}, called)
code = {IMPORT!r} + "import sys; SingleInstance({name!r}).send(sys.argv[1:])"
for word in ("fail", "end"):
    subprocess.run([sys.executable, "-c", code, word], check=True)
s._server.join(20)
print("closed", s.closed)
""",
    )
    assert program.returncode == 0
    assert program.stdout.split("\n") == ["got fail", "got end", "closed True", ""]
    assert "ZeroDivisionError: my own" in program.stderr


def test_only_a_newcomer_sends_and_only_the_instance_receives(name: str) -> None:
    with SingleInstance(name) as instance:
        newcomer = SingleInstance(name)
        with pytest.raises(RuntimeError, match="this process is the instance"):
            instance.send([])
        with pytest.raises(RuntimeError, match=f"only the running instance .*process {os.getpid()}"):
            newcomer.receive(0)
        for wrong, error in (("text", TypeError), (b"text", TypeError), ([7], TypeError), (["a\0b"], ValueError)):
            with pytest.raises(error):
                newcomer.send(wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="must not be negative"):
            newcomer.send([], -2)
        assert instance.receive(0) is None


class Letter:
    """A command line in the inbox of a name, as a sender puts it there, and steps of a sender that has bad luck."""

    def __init__(self, name: str, text: bytes, number: int = 5) -> None:
        base = INBOX.format(name)
        self._ends = ExitStack()
        numbers = self._ends.enter_context(MemoryMappedFile.create_or_open(base, 16))
        self._numbers = self._ends.enter_context(numbers.create_view_accessor())
        letter = self._ends.enter_context(MemoryMappedFile.create_new(f"{base}/{number:016x}", len(text)))
        with letter.create_view_accessor() as words:
            words.write_array(0, text)
        self._posted = self._ends.enter_context(AutoResetEvent(name=f"{base}/posted"))
        self._numbers.write_uint64(0, number)

    def post(self) -> None:
        self._posted.set()

    def withdraw(self) -> None:
        self._numbers.write_uint64(0, 0)

    def __enter__(self) -> Letter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._ends.close()


@pytest.mark.parametrize(
    "text", [b"\0", b"no", b"0\0", b"6\0x\0y\0z\0", b"5\0001\0y\0z", b"2\0001\0", b"9999\0001\0y\0z\0"]
)
def test_what_is_no_command_line_is_left_alone(text: bytes, name: str) -> None:
    with SingleInstance(name) as instance, Letter(name, text) as letter:
        letter.post()
        assert instance.receive(0) is None


def test_one_command_line_is_given_once_however_often_it_is_posted(name: str) -> None:
    with SingleInstance(name) as instance, Letter(name, b"6\0001\0/\0x\0") as letter:
        letter.post()
        assert instance.receive(0) == CommandLine(["x"], "/", 1)
        letter.post()
        assert instance.receive(0) is None


def test_what_is_withdrawn_while_it_is_read_is_not_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with SingleInstance(name) as instance, Letter(name, b"6\0001\0/\0x\0") as letter:

        def slowly(data: bytes) -> CommandLine:
            letter.withdraw()
            return decode(data)

        decode = inbox.decode
        monkeypatch.setattr(inbox, "decode", slowly)
        letter.post()
        assert instance.receive(0) is None
