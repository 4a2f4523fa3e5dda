# SPDX-License-Identifier: MIT
"""Every sample runs, as its head says, and does what its article says."""

from __future__ import annotations

import os
import re
import signal
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from programs import PYTHON, SAMPLES, Process, enter, finished, line_with, sample, started, until
from support.here import WINDOWS
from support.leftovers import only_one

from memorymapped import Mutex


def today() -> str:
    return f"{date.today().isoformat()}\n{date.today():%A, %d %B %Y}\n"


def interrupt(process: Process) -> None:
    """Presses Ctrl-C, where a test can do that: otherwise Enter. The program must end well."""
    if WINDOWS:
        enter(process)
        return
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_a_structure_and_a_string_are_read_back_by_their_writer_and_by_another_process() -> None:
    with started(*sample("struct_and_string_writer")) as writer:
        line_with(writer, "press Enter")
        reader = finished(*sample("struct_and_string_reader"))
        assert (reader.returncode, reader.stdout, reader.stderr) == (0, today(), "")
        assert enter(writer) == today()


def test_the_reader_alone_says_that_the_writer_is_missing() -> None:
    reader = finished(*sample("struct_and_string_reader"))
    assert reader.returncode == 1
    assert "start struct_and_string_writer.py first" in reader.stderr
    assert "Traceback" not in reader.stderr


def test_a_file_is_shared_under_a_name_and_keeps_the_values(tmp_path: Path) -> None:
    data = tmp_path / "data.bin"
    expected = "1048576 bytes: 1234 7 12.5 apples\n"
    with started(*sample("custom_file"), "writer", data) as writer:
        line_with(writer, "press Enter")
        reader = finished(*sample("custom_file"), "reader")
        assert (reader.returncode, reader.stdout) == (0, expected)
        enter(writer)
    assert finished(*sample("custom_file"), "reader").returncode == 1, "the name outlived its holders"
    assert finished(*sample("custom_file"), "file", data).stdout == expected
    assert data.read_bytes()[:4] == (1234).to_bytes(4, "little")


def test_memory_without_a_file_reaches_a_child_by_inheritance_and_another_process_by_name() -> None:
    with started(*sample("page_file")) as creator:
        said = line_with(creator, "press Enter")
        assert "owner may READ_WRITE" in said
        assert "the child reads 1234 3.5 b'pages'" in said
        reader = finished(*sample("page_file"), "reader")
        assert (reader.returncode, reader.stdout) == (0, "the reader reads 1234 3.5 b'pages'\n")
        enter(creator)


def test_a_class_with_members_of_variable_length_is_shared() -> None:
    before = "fruit: 2 records\n  apples: [1, 2]\n  äpfel 🍏: []\n"
    with started(*sample("variable_members"), "first") as first:
        line_with(first, "press Enter")
        assert finished(*sample("variable_members"), "show").stdout == before
        added = finished(*sample("variable_members"), "add", "pears", "3", "5", "8")
        after = before.replace("2 records", "3 records") + "  pears: [3, 5, 8]\n"
        assert (added.returncode, added.stdout) == (0, after)
        for arguments in (["long " * 7], ["many", *map(str, range(17))], ["large", str(2**31)]):
            refused = finished(*sample("variable_members"), "add", *arguments)
            assert refused.returncode == 1
            assert refused.stderr.startswith("not added: ")
        assert enter(first) == after  # and nothing else


def test_two_views_keep_their_accesses() -> None:
    program = finished(*sample("two_views"))
    assert (program.returncode, program.stderr) == (0, "")
    read, *refused = program.stdout.splitlines()
    assert read == "read: 9.75"
    assert re.fullmatch(r"refused: .*at 1025> does not support writing.*", refused[0])
    assert re.fullmatch(r"refused: .*at 0> does not support reading.*", refused[1])


@pytest.mark.parametrize("way", ["copy_by_accessor", "copy_by_stream"])
def test_a_file_is_copied(way: str, tmp_path: Path) -> None:
    content = os.urandom(3_000_001)
    (tmp_path / "a").write_bytes(content)
    program = finished(*sample(way), "a", "b", cwd=tmp_path)
    assert (program.returncode, program.stdout) == (0, "3000001 bytes copied\n")
    assert (tmp_path / "b").read_bytes() == content


@pytest.mark.parametrize("way", ["copy_by_accessor", "copy_by_stream"])
def test_a_copy_overwrites_nothing_and_says_what_is_wrong(way: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")
    (tmp_path / "empty").touch()
    for source, said in (("a", "exists"), ("missing", "'missing'"), ("empty", "empty")):
        program = finished(*sample(way), source, "b", cwd=tmp_path)
        assert program.returncode == 1
        assert said in program.stderr
        assert "Traceback" not in program.stderr
    assert (tmp_path / "b").read_bytes() == b"old"


@pytest.mark.parametrize("way", ["single_instance", "single_instance_by_map"])
def test_only_one_instance_runs_and_a_killed_one_is_in_nobodys_way(way: str) -> None:
    with only_one("NetMMFSingle"):
        with started(*sample(way)) as first:
            line_with(first, "press Enter")
            second = finished(*sample(way))
            if not (WINDOWS and way == "single_instance_by_map"):  # nobody tells there who has a map
                assert f"(process {first.pid} " in second.stderr or f"process {first.pid} (" in second.stdout
            assert "running" in second.stdout + second.stderr
            assert "Traceback" not in second.stderr
            first.kill()
            first.wait(30)
        with started(*sample(way)) as third:
            line_with(third, "press Enter")
            enter(third)


def test_the_running_instance_opens_what_later_starts_were_asked_for(tmp_path: Path) -> None:
    alone = {"cwd": tmp_path, "start_new_session": True}  # as each terminal is
    with only_one("NetMMFSingle"), started(*sample("single_instance"), "one.txt", **alone) as first:
        assert line_with(first, "press Enter").startswith(f"opens {tmp_path / 'one.txt'}\n")
        for file in ("two.txt", tmp_path / "three.txt"):
            second = finished(*sample("single_instance"), file, **alone)
            assert (second.returncode, second.stderr) == (0, "")
            assert f"process {first.pid} (" in second.stdout
        assert enter(first) == f"opens {tmp_path / 'two.txt'}\nopens {tmp_path / 'three.txt'}\n"


def test_text_is_written_and_read_through_views_of_one_direction(tmp_path: Path) -> None:
    program = finished(*sample("text_in_file"), "t.dat", cwd=tmp_path)
    assert (program.returncode, program.stdout) == (0, "Hello, world!\n")
    content = (tmp_path / "t.dat").read_bytes()
    assert content == "Hello, world!".encode("utf-16-le").ljust(1024, b"\x00")


def test_a_consumer_reads_what_a_provider_has_written_under_a_mutex(tmp_path: Path) -> None:
    provided = "0123456789:;<=>?@ABCDEFGHIJKLMNO\n"
    with only_one("MMF_IPC"):
        for arguments in (["demo of samples"], ["--file", tmp_path / "demo"]):
            with started(*sample("provider"), *arguments) as provider:
                line_with(provider, "press Enter")
                for _ in range(2):
                    consumer = finished(*sample("consumer"), *arguments, start_new_session=True)
                    assert (consumer.returncode, consumer.stdout, consumer.stderr) == (0, provided, "")
                enter(provider)
        missing = finished(*sample("consumer"), "demo of samples")
        assert missing.returncode == 1
        assert "start provider.py first" in missing.stderr
        assert "Traceback" not in missing.stderr


def test_a_reader_reads_the_shared_memory_file_of_a_writer(tmp_path: Path) -> None:
    shared = ["--file", tmp_path / "shared"]
    with only_one("shared_memory_mutex"):
        with started(*sample("shared_memory_writer_reader"), "writer", *shared) as writer:
            line_with(writer, "press Enter")
            for _ in range(2):
                reader = finished(*sample("shared_memory_writer_reader"), "reader", *shared, start_new_session=True)
                assert (reader.returncode, reader.stderr) == (0, "")
                assert reader.stdout.split() == [str(i * i) for i in range(500)]
            enter(writer)
        assert list(tmp_path.iterdir()) == []
        missing = finished(*sample("shared_memory_writer_reader"), "reader", *shared)
        assert missing.returncode == 1
        assert "start the writer first" in missing.stderr
        assert "Traceback" not in missing.stderr


@pytest.mark.parametrize("where", ["memory", "file"])
def test_the_second_client_of_shared_memory_sees_what_the_first_has_written(where: str, tmp_path: Path) -> None:
    with only_one("ShmemTest.lock", "SM_LOCK"):
        client = [*sample("shared_memory_client"), *(["--file", tmp_path / "shared"] if where == "file" else [])]
        with started(*client) as first:
            assert line_with(first, "press Enter").startswith("0, 0, 0\n")
            with started(*client, start_new_session=True) as second:
                assert line_with(second, "press Enter").startswith("1, 2, 3\n")
                second.kill()
                second.wait(30)
            with started(*client) as third:
                assert line_with(third, "press Enter").startswith("1, 2, 3\n")
                interrupt(third)
            enter(first)
        with started(*client) as fourth:
            expected = "1, 2, 3\n" if where == "file" else "0, 0, 0\n"
            assert line_with(fourth, "press Enter").startswith(expected), "memory ends with its last user, a file stays"
            enter(fourth)


def stopped_in_the_midst(program: str, method: str) -> str:
    """Code that runs a sample until it writes, and stops there."""
    return (
        "import runpy, time\n"
        "from memorymapped import MemoryMappedViewAccessor as View\n"
        f"View.{method} = lambda *_: (print('writing', flush=True), time.sleep(1000))\n"
        f"runpy.run_path({str(SAMPLES / program)!r}, run_name='__main__')"
    )


@pytest.mark.parametrize("role", ["provider", "writer"])
def test_a_reader_waits_for_a_writer_and_hears_of_its_death(role: str, tmp_path: Path) -> None:
    """What the mutex is for: the writer is stopped while it writes, and then killed. Another writer begins anew."""
    file = ["--file", tmp_path / "demo"]
    if role == "provider":
        name, program, method, write = "MMF_IPC", "provider.py", "write_array", [*sample("provider"), *file]
        read, first = [*sample("consumer"), *file], "0123"
    else:
        name, program, method = "shared_memory_mutex", "shared_memory_writer_reader.py", "write_int32"
        write, read = ([*sample("shared_memory_writer_reader"), each, *file] for each in ("writer", "reader"))
        first = "0\n1\n4\n"
    with only_one(name):
        killed = [*PYTHON, "-c", stopped_in_the_midst(program, method), *write[len(sample("provider")) :]]
        with started(*killed, start_new_session=True) as writer:
            line_with(writer, "writing")
            with closing(Mutex.open_existing(f"Global\\{name}")) as mutex:  # somebody has it open, so its state stays
                with started(*read, start_new_session=True) as reader:
                    until(lambda: mutex.statistics().has_waiters, "the reader waits")
                    writer.kill()
                    said, errors = reader.communicate(timeout=30)
                assert (reader.returncode, said) == (1, "")
                assert "has died while it wrote" in errors
                assert "Traceback" not in errors
                again = finished(*read)
                assert again.returncode == 1, "nobody has repaired it"
                assert "has died while it wrote" in again.stderr
                with started(*write) as repairing:
                    line_with(repairing, "press Enter")
                    whole = finished(*read)
                    assert (whole.returncode, whole.stderr) == (0, "")
                    assert whole.stdout.startswith(first)
                    interrupt(repairing)
        Mutex(name=f"Global\\{name}").close()  # the dying one may have been the last to close it


def test_the_page_of_samples_has_them_all() -> None:
    page = (SAMPLES / "README.md").read_text(encoding="utf-8")
    for program in SAMPLES.glob("*.py"):
        assert f"({program.name})" in page, f"samples/README.md does not mention {program.name}"


@pytest.mark.parametrize("where", ["in memory", "in a folder"])
def test_tasks_are_handed_to_another_program_and_answered(where: str, tmp_path: Path) -> None:
    folder = ["--folder", tmp_path] if where == "in a folder" else []
    done = finished(*sample("segment_source"), *folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 done: Prüfen\n2 done: write the report €\n", "")
    assert list(tmp_path.iterdir()) == []


def test_the_program_that_does_tasks_needs_one_that_has_them(tmp_path: Path) -> None:
    for folder in ([], ["--folder", tmp_path]):
        done = finished(*sample("segment_destination"), *folder, "no-such-id")
        assert done.returncode == 1
        assert "segment_source.py starts this program" in done.stderr
        assert "Traceback" not in done.stderr
    refused = finished(*sample("segment_source"), "--", *PYTHON, "-c", "raise SystemExit(3)")
    assert (refused.returncode, refused.stderr) == (1, "the other program has ended with 3\n")


def test_measurements_of_several_processes_are_read_into_numpy() -> None:
    done = finished(*sample("measurements"))
    averages = "".join(f"sensor {i}: 1000, {i + 2}.00 on average\n" for i in range(3))
    assert (done.returncode, done.stdout, done.stderr) == (0, "3000 measurements, up to 6.0\n" + averages, "")
