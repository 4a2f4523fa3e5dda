# SPDX-License-Identifier: MIT
"""`mmf cp`: the copy is whole or is not there, whatever happens."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from programs import LIMIT, MMF, PYTHON, Process, Terminal, finished, plain, started, until
from support.here import KILL, WINDOWS

from memorymapped.cli.copying import PIECE, WINDOW, copy_file
from memorymapped.system.new_files import NewFile

HANG_UP = getattr(signal, "SIGHUP", signal.SIGTERM)
HUGE = 64 << 30  # of holes: takes no space, and longer to copy than any test waits
LARGE = 40 * WINDOW  # for a mapped copy, which reserves its space at the beginning
CHILD = "import os, sys; from memorymapped.cli import main, copying, cp, group; "
CHILD += "from memorymapped.system.new_files import NewFile; new_files = sys.modules[NewFile.__module__]; "
WITHOUT_UNNAMED_FILES = "new_files._names_by_descriptor = lambda: False; "
WITHOUT_HOLES = "copying.data_range = lambda source, at, size: (at, size); "  # that the file system could tell
BAR_AT_ONCE = "cp.BAR_AFTER = 0; "
RUN = "sys.exit(main(['cp', *sys.argv[1:]]))"
LONG_CP = [*PYTHON, "-c", CHILD + WITHOUT_HOLES + RUN]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a file `source` of some bytes."""
    (tmp_path / "source").write_bytes(os.urandom(100_001))
    return tmp_path


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """A file whose copy is under way for long."""
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(HUGE)
    return source


@pytest.fixture(params=["unnamed", "named"])
def naming(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of file systems: with files that have no name, and without."""
    if request.param == "named":
        monkeypatch.setattr(sys.modules[NewFile.__module__], "_names_by_descriptor", lambda: False, raising=not WINDOWS)
    return str(request.param)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def failed(program: subprocess.CompletedProcess[str]) -> str:
    """The one line that a failed command says."""
    assert program.returncode == 1
    assert program.stdout == ""
    assert len(program.stderr.splitlines()) == 1, program.stderr
    assert program.stderr.startswith("mmf cp: ")
    return program.stderr


# --------------------------------------------------------------------------------------------------------------- copies


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, WINDOW + 1])
def test_the_copy_has_the_bytes_and_the_mode(size: int, mapped: bool, tmp_path: Path) -> None:
    content = os.urandom(size)
    source, copy = tmp_path / "a", tmp_path / "b"
    source.write_bytes(content)
    source.chmod(0o741)
    seen: list[tuple[int, int]] = []
    result = copy_file(str(source), str(copy), mapped=mapped, progress=lambda done, total: seen.append((done, total)))
    assert copy.read_bytes() == content
    assert WINDOWS or stat.S_IMODE(copy.stat().st_mode) == 0o741
    assert (result.destination, result.size) == (str(copy), size)
    assert (result.method == "mapped") == (mapped and size > 0)
    assert seen == sorted(seen)
    assert seen[-1:] == ([(size, size)] if size else [])
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("options", [[], ["--mapped"]])
def test_the_command_copies_and_says_so(options: list[str], folder: Path) -> None:
    program = finished(*MMF, "cp", *options, "source", "copy", cwd=folder)
    assert (program.returncode, program.stderr) == (0, "")
    assert program.stdout.startswith("source -> copy: 97.7 KiB in ")
    assert (folder / "copy").read_bytes() == (folder / "source").read_bytes()


def test_json_is_one_object_with_what_was_done(folder: Path) -> None:
    program = finished(*MMF, "cp", "--json", "source", "copy", cwd=folder)
    result = json.loads(program.stdout)
    assert list(result) == ["source", "destination", "bytes", "seconds", "bytes_per_second", "method"]
    assert (result["source"], result["destination"], result["bytes"]) == ("source", "copy", 100_001)
    assert result["method"] in ("copy_file_range", "sendfile", "read and write")
    assert result["bytes_per_second"] == pytest.approx(100_001 / result["seconds"], rel=0.1)


def test_into_a_directory_it_keeps_its_name(folder: Path) -> None:
    (folder / "d").mkdir()
    assert finished(*MMF, "cp", "source", "d/", cwd=folder).returncode == 0
    assert (folder / "d" / "source").read_bytes() == (folder / "source").read_bytes()


def test_to_another_file_system(folder: Path) -> None:
    copy = Path("/dev/shm", f"mmf-cp-test-{os.getpid()}")
    try:
        copy_file(str(folder / "source"), str(copy))
        assert copy.read_bytes() == (folder / "source").read_bytes()
    finally:
        copy.unlink(missing_ok=True)


@pytest.mark.parametrize("refusing", [["copy_file_range"], ["copy_file_range", "sendfile"]])
@pytest.mark.parametrize("number", [errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM])
def test_where_the_kernel_cannot_it_copies_in_the_next_way(
    refusing: list[str], number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    for function in refusing:
        monkeypatch.setattr(os, function, refuse)
    result = copy_file(str(folder / "source"), str(folder / "copy"))
    assert result.method == ("sendfile" if len(refusing) == 1 else "read and write")
    assert (folder / "copy").read_bytes() == (folder / "source").read_bytes()


def test_half_a_kernel_copy_is_finished_in_the_next_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(PIECE + 5000)
    (tmp_path / "source").write_bytes(content)
    real = os.copy_file_range

    def once(source: int, target: int, count: int, at: int, to: int) -> int:
        if at:
            raise OSError(errno.EINVAL, "no more")
        return real(source, target, 4321, at, to)

    monkeypatch.setattr(os, "copy_file_range", once)
    assert copy_file(str(tmp_path / "source"), str(tmp_path / "copy")).method == "sendfile"
    assert (tmp_path / "copy").read_bytes() == content


SPARSE: list[list[tuple[int, int]]] = [
    [], [(0, 1)], [(5, 100_000)], [(HUGE - 1, 1)], [(0, 4096), (PIECE - 1, 3 * PIECE), (HUGE // 2, 5)],
]  # fmt: skip


@pytest.mark.parametrize("data", SPARSE, ids=str)
@pytest.mark.parametrize("refusing", [[], ["copy_file_range"], ["copy_file_range", "sendfile"]], ids=len)
def test_holes_stay_holes(
    data: list[tuple[int, int]], refusing: list[str], huge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(errno.EXDEV, "refused")

    for function in refusing:
        monkeypatch.setattr(os, function, refuse)
    with huge.open("rb+") as file:
        for at, size in data:
            file.seek(at)
            file.write(os.urandom(size))
    copy = huge.parent / "copy"
    seen: list[int] = []
    copy_file(str(huge), str(copy), progress=lambda done, total: seen.append(done))
    assert (copy.stat().st_size, seen[-1]) == (HUGE, HUGE)
    assert copy.stat().st_blocks * 512 < sum(size for _, size in data) + 200_000
    with huge.open("rb") as one, copy.open("rb") as other:
        for at, size in [*data, (0, 10), (HUGE - 10, 10), (HUGE // 3, 10)]:
            assert os.pread(one.fileno(), size + 10, at) == os.pread(other.fileno(), size + 10, at)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_where_holes_are_not_told_all_is_copied(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.lseek

    def refuse(fd: int, at: int, whence: int) -> int:
        if whence in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(number, os.strerror(number))
        return real(fd, at, whence)

    monkeypatch.setattr(os, "lseek", refuse)
    copy_file(str(folder / "source"), str(folder / "copy"))
    assert (folder / "copy").read_bytes() == (folder / "source").read_bytes()


def test_files_of_proc_are_copied_though_they_say_to_be_empty(tmp_path: Path) -> None:
    assert finished(*MMF, "cp", "/proc/version", tmp_path).returncode == 0
    assert (tmp_path / "version").read_bytes() == Path("/proc/version").read_bytes()


def test_setuid_does_not_go_along(folder: Path) -> None:
    (folder / "source").chmod(0o6755)
    copy_file(str(folder / "source"), str(folder / "copy"))
    assert stat.S_IMODE((folder / "copy").stat().st_mode) == 0o755


def test_names_that_are_no_text_or_dangerous_are_copied_and_never_printed_raw(folder: Path) -> None:
    name = b"\xff\x1b[2J\n"
    program = finished(*MMF, "cp", "source", name.decode(errors="surrogateescape"), cwd=folder)
    assert program.returncode == 0
    assert "\x1b" not in program.stdout
    assert len(program.stdout.splitlines()) == 1
    assert Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).read_bytes() == (folder / "source").read_bytes()
    again = finished(*MMF, "cp", "source", name.decode(errors="surrogateescape"), cwd=folder)
    assert "exists" in failed(again)
    assert "\x1b" not in again.stderr


# ------------------------------------------------------------------------------------------------------------- refusals


def test_nothing_is_overwritten_without_force(folder: Path) -> None:
    (folder / "copy").write_bytes(b"precious")
    assert "copy: exists; --force replaces it" in failed(finished(*MMF, "cp", "source", "copy", cwd=folder))
    assert (folder / "copy").read_bytes() == b"precious"
    assert names(folder) == ["copy", "source"]


def test_force_replaces_by_a_new_file(folder: Path, naming: str) -> None:
    copy = folder / "copy"
    copy.write_bytes(b"old")
    with copy.open("rb") as reader:
        copy_file(str(folder / "source"), str(copy), replace=True)
        assert reader.read() == b"old", "who has the old file open keeps it"
    assert copy.read_bytes() == (folder / "source").read_bytes()
    assert names(folder) == ["copy", "source"]


def test_force_without_an_existing_file_just_copies(folder: Path, naming: str) -> None:
    copy_file(str(folder / "source"), str(folder / "copy"), replace=True)
    assert (folder / "copy").read_bytes() == (folder / "source").read_bytes()
    assert names(folder) == ["copy", "source"]


def test_force_replaces_what_a_link_leads_to_and_keeps_the_link(folder: Path) -> None:
    (folder / "d").mkdir()
    (folder / "d" / "real").write_bytes(b"old")
    (folder / "link").symlink_to("d/real")
    assert finished(*MMF, "cp", "--force", "source", "link", cwd=folder).returncode == 0
    assert (folder / "link").is_symlink()
    assert (folder / "d" / "real").read_bytes() == (folder / "source").read_bytes()
    assert names(folder / "d") == ["real"]


def test_a_link_that_leads_nowhere_is_not_followed_without_force(folder: Path) -> None:
    (folder / "link").symlink_to("elsewhere")
    assert "link: exists" in failed(finished(*MMF, "cp", "source", "link", cwd=folder))
    assert names(folder) == ["link", "source"]


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_file_is_not_copied_onto_itself(force: list[str], folder: Path) -> None:
    before = (folder / "source").read_bytes()
    os.link(folder / "source", folder / "hard")
    (folder / "soft").symlink_to("source")
    for destination in ("source", "hard", "soft", "."):
        assert "is the same file as source" in failed(finished(*MMF, "cp", *force, "source", destination, cwd=folder))
    assert (folder / "source").read_bytes() == before


def told(said: str) -> str:
    """What is said on this system: Windows has other words for errors, and for paths."""
    return said.partition(":")[0].partition("/")[0] if WINDOWS else said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("missing", "missing: no such file or directory"),
        ("d", "d: is a directory, not a regular file"),
        ("fifo", "fifo: is a named pipe, not a regular file"),
        ("/dev/zero", "/dev/zero: is a character device, not a regular file"),
        ("source/x", "source/x: not a directory"),
        ("", ": no such file or directory"),
    ],
)
def test_what_is_no_file_is_refused_as_source(source: str, said: str, folder: Path) -> None:
    (folder / "d").mkdir()
    if not WINDOWS:
        os.mkfifo(folder / "fifo")
    assert told(said) in failed(finished(*MMF, "cp", source, "copy", cwd=folder))
    assert not (folder / "copy").exists()


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        ("missing/copy", "missing: no such file or directory"),
        ("missing/", "missing/: is no directory"),
        ("source/x", "source/x: not a directory"),
        ("fifo", "fifo: is a named pipe, not a regular file"),
        ("/dev/null", "/dev/null: is a character device, not a regular file"),
        ("d", "d/source: is a directory, not a regular file"),
        ("x" * 256, ": file"),  # name too long; in musl's words: filename too long
        ("", "destination is empty"),
    ],
)
def test_where_no_file_can_be_is_refused_as_destination(destination: str, said: str, folder: Path) -> None:
    (folder / "d" / "source").mkdir(parents=True)
    if not WINDOWS:
        os.mkfifo(folder / "fifo")
    before = names(folder)
    assert told(said) in failed(finished(*MMF, "cp", "--force", "source", destination, cwd=folder))
    assert names(folder) == before
    assert WINDOWS or stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_without_permission_it_says_which_file(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "source").chmod(0o644)
    (folder / "secret").touch(0o600)
    (folder / "closed").mkdir(0o700)
    as_nobody = CHILD + "0 == os.geteuid() and os.seteuid(65534); " + RUN
    if os.geteuid() != 0:
        (folder / "secret").chmod(0)
        (folder / "closed").chmod(0)
    for arguments, said in (
        (["secret", "/dev/shm/mmf-cp-test-secret"], "secret: permission denied"),
        (["source", "closed/copy"], "closed/copy: permission denied"),
    ):
        assert said in failed(finished(*PYTHON, "-c", as_nobody, *arguments, cwd=folder))
    (folder / "closed").chmod(0o700)
    assert names(folder / "closed") == []


# ---------------------------------------------------------------------------------------------------- changes meanwhile


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("length", [0, 4096, PIECE + 17, 3 * WINDOW + 1, 4 * WINDOW])
def test_a_source_that_changes_its_length_is_an_error_and_no_copy(
    mapped: bool, length: int, tmp_path: Path, naming: str
) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(3 * WINDOW)

    def change(done: int, total: int) -> None:
        os.truncate(source, length)

    with pytest.raises(OSError, match=r"truncated|grew") as caught:
        copy_file(str(source), str(tmp_path / "copy"), mapped=mapped, progress=change)
    assert caught.value.errno == errno.ESTALE
    assert caught.value.filename == str(source)
    assert f"from {3 * WINDOW} to {length} bytes" in str(caught.value)
    assert names(tmp_path) == ["source"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_name_that_somebody_takes_during_the_copy_is_theirs(replace: bool, folder: Path, naming: str) -> None:
    copy = folder / "copy"

    def take(done: int, total: int) -> None:
        copy.write_bytes(b"theirs")

    if replace:
        copy_file(str(folder / "source"), str(copy), replace=True, progress=take)
        assert copy.read_bytes() == (folder / "source").read_bytes()
    else:
        with pytest.raises(FileExistsError, match="meanwhile"):
            copy_file(str(folder / "source"), str(copy), progress=take)
        assert copy.read_bytes() == b"theirs"
    assert names(folder) == ["copy", "source"]


def test_of_many_who_copy_to_one_name_exactly_one_succeeds(tmp_path: Path, naming: str) -> None:
    contents = [os.urandom(200_000) for _ in range(8)]
    outcomes: list[int] = []
    begin = threading.Barrier(len(contents))

    def copy(i: int) -> None:
        begin.wait(LIMIT)
        try:
            copy_file(str(tmp_path / f"source{i}"), str(tmp_path / "copy"))
        except FileExistsError:
            return
        outcomes.append(i)

    for i, content in enumerate(contents):
        (tmp_path / f"source{i}").write_bytes(content)
    threads = [threading.Thread(target=copy, args=(i,)) for i in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert len(outcomes) == 1
    assert (tmp_path / "copy").read_bytes() == contents[outcomes[0]]
    assert len(names(tmp_path)) == len(contents) + 1


def test_where_files_cannot_be_linked_the_name_is_still_not_taken_from_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(sys.modules[NewFile.__module__], "_names_by_descriptor", lambda: False)
    monkeypatch.setattr(os, "link", refuse)
    copy = folder / "copy"
    copy_file(str(folder / "source"), str(copy))
    assert copy.read_bytes() == (folder / "source").read_bytes()
    copy.unlink()
    with pytest.raises(FileExistsError):
        copy_file(str(folder / "source"), str(copy), progress=lambda done, total: copy.write_bytes(b"theirs"))
    assert copy.read_bytes() == b"theirs"
    assert names(folder) == ["copy", "source"]


def test_a_full_disk_says_what_is_needed_and_leaves_nothing(
    folder: Path, naming: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(OSError, match=r"100001 bytes are needed, [0-9]+ are free") as caught:
        copy_file(str(folder / "source"), str(folder / "copy"))
    assert caught.value.errno == errno.ENOSPC
    assert names(folder) == ["source"]


@pytest.mark.parametrize("options", [[], ["--mapped"]])
def test_a_limit_of_the_system_that_is_reached_leaves_nothing(options: list[str], huge: Path) -> None:
    os.truncate(huge, LARGE)  # the disk is not to be the limit
    limited = CHILD + "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); " + RUN
    program = finished(*PYTHON, "-c", limited, *options, "source", "copy", cwd=huge.parent)
    assert "copy: file too large" in failed(program)
    assert names(huge.parent) == ["source"]


# -------------------------------------------------------------------------------------------------------------- the end


def copied(process: Process, source: Path) -> int:
    """How many bytes of the copy there are: looked up in the descriptors of the process."""
    size = 0
    try:
        for name in os.listdir(f"/proc/{process.pid}/fd"):
            status = os.stat(f"/proc/{process.pid}/fd/{name}")
            inside = os.readlink(f"/proc/{process.pid}/fd/{name}").startswith(f"{source.parent}/")  # no library
            if stat.S_ISREG(status.st_mode) and inside:
                size = max(size, 0 if status.st_ino == source.stat().st_ino else status.st_blocks * 512)
    except FileNotFoundError:
        pass  # closed between the two looks
    assert process.poll() is None, f"it ended: {process.communicate()}"
    return size


def stopped_in_the_middle(process: Process, source: Path) -> None:
    """Waits until bytes were copied, and stops the process there."""
    until(lambda: copied(process, source) > PIECE, "bytes are copied")
    process.send_signal(signal.SIGSTOP)


@pytest.mark.parametrize("options", [[], ["--mapped"]])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, HANG_UP, KILL])
def test_a_signal_in_the_middle_leaves_nothing(signum: signal.Signals, options: list[str], huge: Path) -> None:
    if options:
        os.truncate(huge, LARGE)
    with started(*LONG_CP, *options, "source", "copy", cwd=huge.parent) as process:
        stopped_in_the_middle(process, huge)
        assert names(huge.parent) == ["source"]
        process.send_signal(signum)
        process.send_signal(signal.SIGCONT)
        said, errors = process.communicate(timeout=LIMIT)
        assert process.returncode == -signum
        assert said == ""
        assert errors == ("" if signum == KILL else "mmf: interrupted\n")
    assert names(huge.parent) == ["source"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, KILL])
def test_without_unnamed_files_only_sigkill_leaves_something_and_never_half_a_copy(
    signum: signal.Signals, huge: Path
) -> None:
    with started(
        *PYTHON, "-c", CHILD + WITHOUT_UNNAMED_FILES + WITHOUT_HOLES + RUN, "source", "copy", cwd=huge.parent
    ) as process:
        stopped_in_the_middle(process, huge)
        hidden, source = names(huge.parent)
        assert source == "source"
        assert hidden.startswith(".mmf-")
        assert stat.S_IMODE((huge.parent / hidden).stat().st_mode) == 0o600
        process.send_signal(signum)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=LIMIT)
        assert process.returncode == -signum
    assert names(huge.parent) == ([hidden, "source"] if signum == KILL else ["source"])


@pytest.mark.parametrize("options", [[], ["--mapped"]])
def test_a_source_that_another_process_truncates_is_told_in_a_line(options: list[str], huge: Path) -> None:
    if options:
        os.truncate(huge, LARGE)
    before = huge.stat().st_size
    with started(*LONG_CP, *options, "source", "copy", cwd=huge.parent) as process:
        stopped_in_the_middle(process, huge)
        os.truncate(huge, 4096)
        process.send_signal(signal.SIGCONT)
        said, errors = process.communicate(timeout=LIMIT)
    assert (process.returncode, said) == (1, "")
    assert errors == f"mmf cp: source: was truncated during the copy, from {before} to 4096 bytes\n"
    assert names(huge.parent) == ["source"]


def test_signals_that_were_ignored_stay_ignored(huge: Path) -> None:
    nohup = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    with started(*PYTHON, "-c", nohup + CHILD + WITHOUT_HOLES + RUN, "source", "copy", cwd=huge.parent) as process:
        stopped_in_the_middle(process, huge)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGCONT)
        before = copied(process, huge)
        until(lambda: copied(process, huge) > before + 2 * PIECE, "the copy goes on")


# ---------------------------------------------------------------------------------------------------- what is looked at


def test_a_terminal_sees_a_progress_bar_and_ctrl_c_ends_it(huge: Path) -> None:
    with Terminal(*LONG_CP, "source", "copy", columns=60, cwd=huge.parent) as terminal:
        terminal.read("GiB")
        shown = plain(terminal.shown)
        assert "source" in shown
        assert "%" in shown
        assert "\u2501" in shown
        assert all(len(line) <= 60 for line in shown.replace("\r", "\n").splitlines())
        terminal.type(b"\x03")
        assert "mmf: interrupted" in terminal.read()
        assert terminal.wait() == -signal.SIGINT
        assert terminal.shown.rfind("\x1b[?25h") > terminal.shown.rfind("\x1b[?25l"), "the cursor is shown again"
        assert "Traceback" not in terminal.shown
    assert names(huge.parent) == ["source"]


def test_a_pipe_sees_no_progress_bar(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(3 * PIECE))
    command = [*PYTHON, "-c", CHILD + BAR_AT_ONCE + RUN, "source", "copy"]
    program = finished(*command, cwd=tmp_path, env={**os.environ, "FORCE_COLOR": "1"})
    assert (program.returncode, program.stderr) == (0, "")
    assert len(program.stdout.splitlines()) == 1
    assert "\x1b" not in program.stdout


def test_a_short_copy_on_a_terminal_is_one_line(folder: Path) -> None:
    with Terminal(*MMF, "cp", "source", "copy", cwd=folder) as terminal:
        assert terminal.read().splitlines()[0].startswith("source -> copy: 97.7 KiB in ")
        assert terminal.wait() == 0
        assert "\x1b" not in terminal.shown


def test_only_stderr_need_be_a_terminal_for_the_bar_and_the_result_stays_clean(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(bytes(3 * PIECE))
    with (tmp_path / "out").open("w") as out:
        code = f"import os; os.dup2({out.fileno()}, 1); " + CHILD + BAR_AT_ONCE + RUN
        command = [*PYTHON, "-c", code, "--json", "source", "copy"]
        with Terminal(*command, cwd=tmp_path, pass_fds=[out.fileno()]) as terminal:
            assert "%" in terminal.read()
            assert terminal.wait() == 0
    assert json.loads((tmp_path / "out").read_text())["bytes"] == 3 * PIECE


def test_output_that_nobody_reads_is_no_traceback_and_the_copy_is_whole(folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        process: Any = subprocess.run(
            [*MMF, "cp", "source", "copy"], stdout=pipe, stderr=subprocess.PIPE, cwd=folder, timeout=LIMIT, check=False
        )
    assert (process.returncode, process.stderr) == (1, b"")
    assert (folder / "copy").read_bytes() == (folder / "source").read_bytes()


@pytest.mark.parametrize("options", [[], ["--mapped"]])
def test_a_copy_does_not_need_the_memory_of_its_file(options: list[str], tmp_path: Path) -> None:
    with (tmp_path / "source").open("wb") as file:
        file.truncate(256 << 20)
    measured = (
        CHILD + WITHOUT_HOLES + "import re; code = main(['cp', *sys.argv[1:]]); "
    )  # ru_maxrss would count who started it as well
    measured += "print(int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]) >> 10); sys.exit(code)"
    program = finished(*PYTHON, "-c", measured, *options, "source", "copy", cwd=tmp_path)
    assert program.returncode == 0
    assert int(program.stdout.splitlines()[-1]) < 160, "MiB"
