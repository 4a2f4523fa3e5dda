# SPDX-License-Identifier: MIT
"""A run through the library with nothing but the standard library, for every Python found: `python tests/smoke.py`."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import pkgutil
import subprocess
import sys
import tempfile
from typing import Any

import memorymapped as mm
from memorymapped import _native


def child(map_: mm.MemoryMappedFile, answers: Any) -> None:
    with map_, map_.create_view_accessor() as view:
        view.write_int64(8, view.read_int64(0) * 2)
        answers.put(view.capacity)


def main() -> None:
    whole_pages = os.name == "nt"  # docs/windows.md: capacity

    # All that is compiled can be loaded.
    for module in pkgutil.iter_modules(_native.__path__):
        importlib.import_module(f"{_native.__name__}.{module.name}")

    # Two processes by name.
    name = f"smoke-{os.getpid()}"
    with mm.MemoryMappedFile.create_new(name, 5000) as map_, map_.create_view_accessor() as view:
        view.write_double(0, 9.75)
        other = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys, memorymapped as m\n"
                "with m.MemoryMappedFile.open_existing(sys.argv[1]) as a, a.create_view_accessor() as v:\n"
                "    print(v.read_double(0), v.capacity)",
                name,
            ],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=60,
        )
        assert other.stdout.split() == ["9.75", "8192" if whole_pages else "5000"], other.stdout
    try:
        mm.MemoryMappedFile.open_existing(name)
    except FileNotFoundError:
        pass
    else:
        raise AssertionError("the name outlived its holders")

    # By pickling to a spawned child.
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    with mm.MemoryMappedFile.create_new(None, 64) as map_, map_.create_view_accessor() as view:
        view.write_int64(0, 21)
        process = context.Process(target=child, args=(map_, answers))
        process.start()
        assert answers.get(timeout=60) == (4096 if whole_pages else 64)
        process.join(60)
        assert process.exitcode == 0
        assert view.read_int64(8) == 42

    # Elements, slices, streams.
    with mm.MemoryMappedFile.create_new(None, 4096) as map_:
        with map_.create_view_accessor() as view:
            numbers = view.cast("i")
            numbers[:4] = [1, 2, 3, 4]
            assert sum(numbers) == 10
            assert numbers[3::-1].tolist() == [4, 3, 2, 1]
            assert list(view.gather([12, 0], "i")) == [4, 1]
            assert view[4:8] == b"\2\0\0\0"
            kept = memoryview(view)
        assert kept[4] == 2
        kept.release()
        with map_.create_view_stream() as stream:
            stream.write(b"one\ntwo\n")
            stream.seek(0)
            assert next(stream) == b"one\n"

    # Locks, known to the other systems' programs by their names.
    with mm.Mutex(name=f"{name}-mutex") as mutex, mm.AutoResetEvent(True, f"{name}-event") as event:
        mutex.release_mutex()
        assert mm.wait_any([mutex, event], 5) == 0
        assert mm.wait_any([event], 5) == 0
        assert not event.wait_one(0)
    mutex.close()

    # A file truncated under a live map. Windows does not let anybody do that.
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        map_ = mm.MemoryMappedFile.create_from_file(path, mm.FileMode.CREATE_NEW, None, 1 << 20)
        with map_, map_.create_view_accessor() as view:
            with contextlib.suppress(PermissionError):
                os.truncate(path, 0)
            try:
                view.read_byte(0)
            except mm.MemoryFaultError as error:
                assert "truncated to 0 bytes" in str(error), error
            else:
                assert os.stat(path).st_size == 1 << 20
    print(f"{sys.implementation.name} {sys.version.split()[0]}: fine")


if __name__ == "__main__":
    main()
