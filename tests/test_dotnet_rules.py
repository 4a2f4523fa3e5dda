# SPDX-License-Identifier: MIT
""".NET's rules for arguments, access and rights, those of names (which .NET has on Windows only) included.

Every refusal is tried alone, and before every later one: the earlier wins. A refused call changes nothing on the disk
and leaves no name."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from privileges import given_up

from memorymapped import (
    ClosedError,
    FileMode,
    HandleInheritability,
    InvalidNameError,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedFileOptions,
    MemoryMappedFileRights,
    MemoryMappedFileSecurity,
    MemoryMappedViewAccessor,
    MemoryMappedViewStream,
    NameInUseError,
    OutOfRangeError,
    ValueOutOfRangeError,
)

Access = MemoryMappedFileAccess
Rights = MemoryMappedFileRights

FURTHEST = 2**63 - 1
LARGEST_VIEW = 8192 * 10**9

# Map access (rows) by view access: what is allowed.
VIEWS = (
    Access.READ,
    Access.WRITE,
    Access.READ_WRITE,
    Access.COPY_ON_WRITE,
    Access.READ_EXECUTE,
    Access.READ_WRITE_EXECUTE,
)
MATRIX = {
    Access.READ_WRITE: "YYYY--",
    Access.READ: "Y--Y--",
    Access.COPY_ON_WRITE: "Y--Y--",
    Access.READ_EXECUTE: "Y--YY-",
    Access.READ_WRITE_EXECUTE: "YYYYYY",
}
# The same for the rights with which a map is opened by its name.
RIGHTS = {
    Rights.NONE: "------",
    Rights.COPY_ON_WRITE: "Y--Y--",
    Rights.WRITE: "-YY---",
    Rights.READ: "Y--Y--",
    Rights.READ_WRITE: "YYYY--",
    Rights.EXECUTE: "------",
    Rights.READ_EXECUTE: "Y--YY-",
    Rights.READ_WRITE_EXECUTE: "YYYYYY",
    Rights.DELETE: "------",
    Rights.READ_PERMISSIONS: "------",
    Rights.CHANGE_PERMISSIONS: "------",
    Rights.TAKE_OWNERSHIP: "------",
    Rights.FULL_CONTROL: "YYYYYY",
    # Combinations: copy on write counts for nothing beside another right, execute for nothing without reading.
    Rights.COPY_ON_WRITE | Rights.WRITE: "-YY---",
    Rights.COPY_ON_WRITE | Rights.READ: "Y--Y--",
    Rights.COPY_ON_WRITE | Rights.EXECUTE: "------",
    Rights.WRITE | Rights.EXECUTE: "-YY---",
    Rights.DELETE | Rights.READ: "Y--Y--",
}


def allowed(row: str) -> set[Access]:
    return {access for access, yes in zip(VIEWS, row, strict=True) if yes == "Y"}


def views_of(map_: MemoryMappedFile, kind: str = "accessor") -> set[Access]:
    """Which views the map gives. Each of the others must be a PermissionError, each view what its access says."""
    given = set()
    for access in VIEWS:
        make: Callable[..., Any] = getattr(map_, f"create_view_{kind}")
        try:
            view = make(0, 0, access)
        except PermissionError:
            continue
        with view:
            assert view.can_read == (access is not Access.WRITE)
            assert view.can_write == (access not in (Access.READ, Access.READ_EXECUTE))
        given.add(access)
    return given


# ------------------------------------------------------------------------------------------------ what lies on the disk


def on_disk(folder: Path) -> dict[str, tuple[Any, ...]]:
    """All that a refused call could have changed: the files, their kind, mode, size, times and contents."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        readable = path.is_file() and os.access(path, os.R_OK) and status.st_size < 1 << 20
        contents = path.read_bytes() if readable else None
        found[str(path)] = (status.st_mode, status.st_ino, status.st_size, contents)
        if path.is_file():
            found[str(path)] += (status.st_mtime_ns, status.st_ctime_ns)
    return found


def names() -> list[str]:
    """The files of named objects."""
    root = Path(os.environ["MEMORYMAPPED_ROOT"])
    return sorted(str(path) for path in root.rglob("*") if path.is_file() and path.name != ".gate")


class Fault(NamedTuple):
    """One thing that is wrong with a call: what it changes in a good call's arguments, and the exception for it."""

    arguments: dict[str, Any]
    error: type[Exception]
    message: str


def and_after(faults: Sequence[Fault]) -> Iterator[tuple[dict[str, Any], Fault]]:
    """Each fault alone, and with each later one of other arguments: arguments, and the fault that is to be told."""
    for i, first in enumerate(faults):
        yield first.arguments, first
        for second in faults[i + 1 :]:
            if not first.arguments.keys() & second.arguments.keys():
                yield {**first.arguments, **second.arguments}, first


def refusal(call: Callable[[], object], fault: Fault, what: object) -> list[str]:
    """What is wrong with the refusal of a call, if anything: it must be the very class of the fault, with its words."""
    try:
        made = call()
    except (ValueError, OSError, TypeError, NotImplementedError) as error:
        if type(error) is fault.error and fault.message in str(error):
            return []
        return [f"{what}: {error!r} instead of {fault.error.__name__} with {fault.message!r}"]
    if hasattr(made, "close"):
        made.close()
    return [f"{what}: not refused, instead of {fault.error.__name__} with {fault.message!r}"]


# ----------------------------------------------------------------------------------------------------- create_from_file

BY_PATH = (
    # In .NET's order. "file" is what lies at the path before.
    Fault({"path": None}, TypeError, ""),
    Fault({"map_name": ""}, ValueError, "name must not be empty"),
    Fault({"capacity": -1}, OutOfRangeError, "capacity"),
    Fault({"access": 42}, OutOfRangeError, "42 is not a MemoryMappedFileAccess"),
    Fault({"access": Access.WRITE}, ValueError, "WRITE"),
    Fault({"mode": FileMode.APPEND}, ValueError, "APPEND"),
    Fault({"mode": FileMode.TRUNCATE}, ValueError, "TRUNCATE"),
    Fault({"path": ""}, ValueError, "path must not be empty"),
    Fault({"mode": 42}, OutOfRangeError, "42 is not a FileMode"),
    Fault({"mode": FileMode.CREATE, "access": Access.READ}, ValueError, "CREATE needs an access that writes"),
    Fault({"mode": FileMode.CREATE_NEW, "access": Access.READ_EXECUTE}, ValueError, "needs an access that writes"),
    Fault({"inheritability": 7}, OutOfRangeError, "7 is not a HandleInheritability"),
    Fault({"file": "missing", "mode": FileMode.OPEN}, FileNotFoundError, "No such file"),
    Fault({"file": "in a missing folder"}, FileNotFoundError, "No such file"),
    Fault({"file": "directory"}, PermissionError, "directory"),
    Fault({"file": "unreadable", "access": Access.READ}, PermissionError, "Permission denied"),
    Fault({"file": "read-only", "access": Access.READ_WRITE}, PermissionError, "Permission denied"),
    Fault({"file": "full", "mode": FileMode.CREATE_NEW}, FileExistsError, "File exists"),
    Fault({"file": "pipe", "access": Access.READ_WRITE}, io.UnsupportedOperation, "pipe"),
    Fault({"file": "empty", "capacity": 0}, ValueError, "is empty"),
    Fault({"file": "full", "capacity": 101, "access": Access.READ}, ValueError, "cannot make it 101"),
    Fault({"file": "full", "capacity": 101, "access": Access.READ_EXECUTE}, ValueError, "cannot make it 101"),
    Fault({"file": "full", "capacity": 99}, OutOfRangeError, "capacity 99 is less than the 100 bytes"),
    Fault({"map_name": "taken"}, NameInUseError, "taken"),
)


def lay(folder: Path, what: str) -> Path:
    """A file, or another thing, or nothing, at a path."""
    path = folder / what.replace(" ", "-")
    if what in ("full", "unreadable", "read-only"):
        path.write_bytes(bytes(range(100)))
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "directory":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "in a missing folder":
        path = path / "file"
    else:
        assert what == "missing"
    if what in ("unreadable", "read-only"):
        path.chmod(0 if what == "unreadable" else 0o444)
    return path


@pytest.fixture
def taken() -> Iterator[MemoryMappedFile]:
    with MemoryMappedFile.create_new("taken", 4096) as map_:
        yield map_


def by_path(tmp_path: Path, cases: Iterable[tuple[dict[str, Any], Fault]]) -> list[str]:
    """What is wrong with the refusals of these cases."""
    held = names()
    wrong = []
    for number, (arguments, fault) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        good = {"file": "full", "mode": FileMode.OPEN, "map_name": None, "capacity": 0, "access": Access.READ_WRITE}
        given = {**good, **arguments}
        path = lay(folder, given.pop("file"))
        path = given.pop("path", path)
        before = on_disk(folder)
        with given_up():
            wrong += refusal(partial(MemoryMappedFile.create_from_file, path, **given), fault, arguments)
        assert on_disk(folder) == before, arguments
        assert names() == held, arguments
    return wrong


def is_new_without_capacity(case: tuple[dict[str, Any], Fault]) -> bool:
    """That the file exists, or another fault behind the mode, comes before the capacity that a new file needs."""
    return case[0].get("mode") is FileMode.CREATE_NEW and "access" not in case[0] and "capacity" not in case[0]


def test_create_from_file_by_path_refuses_in_order(tmp_path: Path, taken: MemoryMappedFile) -> None:
    assert by_path(tmp_path, itertools.filterfalse(is_new_without_capacity, and_after(BY_PATH))) == []


def test_that_a_file_exists_comes_before_its_capacity(tmp_path: Path, taken: MemoryMappedFile) -> None:
    assert by_path(tmp_path, filter(is_new_without_capacity, and_after(BY_PATH))) == []


BY_DESCRIPTOR = (
    Fault({"file": None}, TypeError, "an open file"),
    Fault({"map_name": ""}, ValueError, "name must not be empty"),
    Fault({"capacity": -1}, OutOfRangeError, "capacity"),
    Fault({"access": 42}, OutOfRangeError, "42 is not a MemoryMappedFileAccess"),
    Fault({"access": Access.WRITE}, ValueError, "WRITE"),
    Fault({"open": "closed"}, ClosedError, "is closed"),
    Fault({"inheritability": 7}, OutOfRangeError, "7 is not a HandleInheritability"),
    Fault({"contents": b"", "capacity": 0}, ValueError, "is empty"),
    Fault({"contents": b"x" * 100, "capacity": 101, "access": Access.READ}, ValueError, "cannot make it 101"),
    Fault({"contents": b"x" * 100, "capacity": 99}, OutOfRangeError, "capacity 99 is less than the 100 bytes"),
    Fault({"open": "rb", "access": Access.READ_WRITE}, PermissionError, "open for reading only"),
    Fault({"open": "rb", "access": Access.READ_WRITE_EXECUTE}, PermissionError, "open for reading only"),
    Fault({"open": "ab"}, PermissionError, "open for writing only"),
    Fault({"map_name": "taken"}, NameInUseError, "taken"),
)


def by_descriptor(tmp_path: Path, cases: Iterable[tuple[dict[str, Any], Fault]]) -> list[str]:
    """What is wrong with the refusals of these cases."""
    held = names()
    wrong = []
    for number, (arguments, fault) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        given = {"open": "r+b", "contents": b"x" * 100, "capacity": 0, **arguments}
        path = folder / "file"
        path.write_bytes(given.pop("contents"))
        how = given.pop("open")
        with path.open("r+b" if how == "closed" else how) as file:
            if how == "closed":
                file.close()
            given.setdefault("file", file)
            before = on_disk(folder)
            wrong += refusal(partial(MemoryMappedFile.create_from_file, **given), fault, arguments)
            assert on_disk(folder) == before, arguments
            assert names() == held, arguments
            assert file.closed == (how == "closed"), "a refused call leaves the file open"
    return wrong


def is_unfit_file_with_wrong_capacity(case: tuple[dict[str, Any], Fault]) -> bool:
    """What is wrong with the capacity comes before what the open file does not allow."""
    return case[0].get("open") in ("rb", "ab") and "contents" in case[0]


def test_create_from_file_by_an_open_file_refuses_in_order(tmp_path: Path, taken: MemoryMappedFile) -> None:
    cases = itertools.filterfalse(is_unfit_file_with_wrong_capacity, and_after(BY_DESCRIPTOR))
    assert by_descriptor(tmp_path, cases) == []


def test_the_capacity_comes_before_what_an_open_file_allows(tmp_path: Path) -> None:
    assert by_descriptor(tmp_path, filter(is_unfit_file_with_wrong_capacity, and_after(BY_DESCRIPTOR))) == []


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """For this process the system refuses to make any file longer."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("reserve", [False, True])
@pytest.mark.parametrize("mode", [FileMode.CREATE_NEW, FileMode.CREATE, FileMode.OPEN, FileMode.OPEN_OR_CREATE])
def test_growth_that_fails_changes_nothing(tmp_path: Path, mode: FileMode, reserve: bool) -> None:
    path = tmp_path / "file"
    if mode is not FileMode.CREATE_NEW:
        path.write_bytes(bytes(range(100)))
    before = on_disk(tmp_path)
    with no_file_larger_than(1 << 20):
        with pytest.raises(OSError, match="10485760 bytes were asked for") as caught:
            MemoryMappedFile.create_from_file(path, mode, "too large", 10 << 20, reserve=reserve)
        assert caught.value.errno == errno.EFBIG
        with pytest.raises(FileNotFoundError):
            MemoryMappedFile.open_existing("too large")
    assert on_disk(tmp_path) == before
    assert names() == []


def test_growth_that_fails_takes_no_space(tmp_path: Path) -> None:
    """More than one piece of what is reserved at a time."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    with no_file_larger_than(1 << 20), pytest.raises(OSError, match="were asked for"):
        MemoryMappedFile.create_from_file(path, capacity=200 << 20, reserve=True)
    assert path.read_bytes() == bytes(range(100))
    assert path.stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("name", [None, "huge"])
def test_more_memory_than_there_is_is_refused_before_it_is_filled(name: str | None) -> None:
    """To try it would end in the kernel killing processes; the limit is there to keep a faulty test from that."""
    with no_file_larger_than(256 << 20), pytest.raises(OSError, match="were asked for") as caught:
        MemoryMappedFile.create_new(name, 1 << 50)
    assert caught.value.errno == errno.ENOSPC


def test_create_with_capacity_0_does_not_empty_the_file(tmp_path: Path) -> None:
    """.NET empties it, and refuses then."""
    (tmp_path / "file").write_bytes(b"precious")
    before = on_disk(tmp_path)
    with pytest.raises(ValueError, match="capacity"):
        MemoryMappedFile.create_from_file(tmp_path / "file", FileMode.CREATE)
    assert on_disk(tmp_path) == before


def test_copy_on_write_of_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    path.chmod(0o444)
    with given_up():
        with (
            MemoryMappedFile.create_from_file(path, access=Access.COPY_ON_WRITE) as map_,
            map_.create_view_accessor(access=Access.COPY_ON_WRITE) as view,
        ):
            view[0] = 1
        with pytest.raises(PermissionError):
            MemoryMappedFile.create_from_file(path, capacity=101, access=Access.COPY_ON_WRITE)
    assert path.read_bytes() == b"x" * 100


# ------------------------------------------------------------------------------------------------ create_new and others

CREATE_NEW = (
    Fault({"map_name": ""}, ValueError, "name must not be empty"),
    Fault({"capacity": 0}, OutOfRangeError, "capacity must be positive"),
    Fault({"capacity": -(2**70)}, OutOfRangeError, "capacity must be positive"),
    Fault({"access": 42}, OutOfRangeError, "42 is not a MemoryMappedFileAccess"),
    Fault({"access": Access.WRITE}, ValueError, "WRITE"),
    Fault({"options": 1}, OutOfRangeError, "1 is not a MemoryMappedFileOptions"),
    Fault({"inheritability": 7}, OutOfRangeError, "7 is not a HandleInheritability"),
    Fault({"map_name": "taken"}, NameInUseError, "taken"),
)
CREATE_OR_OPEN = (
    Fault({"map_name": None}, TypeError, "needs a name"),
    *CREATE_NEW[:4],
    Fault({"options": 1}, OutOfRangeError, "1 is not a MemoryMappedFileOptions"),
    Fault({"inheritability": 7}, OutOfRangeError, "7 is not a HandleInheritability"),
    Fault({"access": Access.WRITE}, ValueError, "WRITE"),
)
OPEN_EXISTING = (
    Fault({"map_name": None}, TypeError, "needs a name"),
    Fault({"map_name": ""}, ValueError, "name must not be empty"),
    Fault({"inheritability": 7}, OutOfRangeError, "7 is not a HandleInheritability"),
    Fault({"desired_access_rights": 0x10}, OutOfRangeError, "16 is not a MemoryMappedFileRights"),
    Fault({"desired_access_rights": 0x2000000}, OutOfRangeError, "is not a MemoryMappedFileRights"),
    Fault({"map_name": "nobody's"}, FileNotFoundError, "nobody's"),
)


@pytest.mark.parametrize(
    ("factory", "faults", "good"),
    [
        ("create_new", CREATE_NEW, {"map_name": "new", "capacity": 100}),
        ("create_or_open", CREATE_OR_OPEN, {"map_name": "new", "capacity": 100}),
        ("open_existing", OPEN_EXISTING, {"map_name": "taken"}),
    ],
)
def test_the_other_factories_refuse_in_order(
    factory: str, faults: tuple[Fault, ...], good: dict[str, Any], taken: MemoryMappedFile
) -> None:
    held = names()
    make = getattr(MemoryMappedFile, factory)
    wrong = []
    for arguments, fault in and_after(faults):
        wrong += refusal(partial(make, **{**good, **arguments}), fault, arguments)
        assert names() == held, arguments
    assert wrong == []
    with make(**good) as map_:
        assert map_.name == good["map_name"]


@pytest.mark.parametrize("capacity", [2**63, 2**100])
def test_a_capacity_that_cannot_be_is_refused(capacity: int) -> None:
    for make in (MemoryMappedFile.create_new, MemoryMappedFile.create_or_open):
        with pytest.raises(OSError, match=str(capacity)):
            make("huge", capacity)
        assert names() == []


@pytest.mark.parametrize(
    "name", ["a\\b", "global\\x", "LOCAL\\x", "Global\\a\\b", "Global\\", "Local\\", "User\\", "nul\0", "\ud800"]
)
def test_text_that_cannot_be_a_name(name: str) -> None:
    calls: tuple[Callable[[], object], ...] = (
        lambda: MemoryMappedFile.create_new(name, 100),
        lambda: MemoryMappedFile.create_or_open(name, 100),
        lambda: MemoryMappedFile.open_existing(name),
    )
    for call in calls:
        with pytest.raises(InvalidNameError) as caught:
            call()
        assert isinstance(caught.value, FileNotFoundError)
        assert isinstance(caught.value, ValueError)


# ---------------------------------------------------------------------------------------------------------------- names


def test_a_name_in_use_cannot_be_created_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    with MemoryMappedFile.create_new("name", 100), pytest.raises(NameInUseError) as caught:
        MemoryMappedFile.create_new("name", 100)
    assert isinstance(caught.value, FileExistsError)
    with MemoryMappedFile.create_new("name", 100):  # free again at once
        for mode, path in ((FileMode.OPEN, "file"), (FileMode.CREATE, "file"), (FileMode.CREATE_NEW, "new")):
            before = on_disk(tmp_path)
            with pytest.raises(NameInUseError):
                MemoryMappedFile.create_from_file(tmp_path / path, mode, "name", 5000)
            assert on_disk(tmp_path) == before
    with MemoryMappedFile.create_from_file(tmp_path / "file", map_name="name"):
        with pytest.raises(NameInUseError):
            MemoryMappedFile.create_new("name", 100)
        with pytest.raises(NameInUseError):
            MemoryMappedFile.create_from_file(tmp_path / "file", map_name="name")
        with MemoryMappedFile.create_from_file(tmp_path / "file", map_name="other name"):
            pass


def test_names_are_told_apart_by_case_and_scope() -> None:
    with (
        MemoryMappedFile.create_new("name", 1),
        MemoryMappedFile.create_new("NAME", 2),
        MemoryMappedFile.create_new("Global\\name", 3),
        MemoryMappedFile.create_new("Local\\name", 4),
    ):
        for name, capacity in (("name", 1), ("NAME", 2), ("Global\\name", 3), ("Local\\name", 4), ("User\\name", 1)):
            with MemoryMappedFile.open_existing(name) as map_:
                assert map_.capacity == capacity


def test_an_existing_map_keeps_its_capacity_and_security() -> None:
    with MemoryMappedFile.create_new("name", 8192) as map_, map_.create_view_accessor() as view:
        view.write_int32(0, 4711)
        mode = os.fstat(map_.fileno()).st_mode
        for capacity in (1, 4096, 10**9):
            with MemoryMappedFile.create_or_open(
                "name",
                capacity,
                options=MemoryMappedFileOptions.DELAY_ALLOCATE_PAGES,
                inheritability=HandleInheritability.INHERITABLE,
                security=MemoryMappedFileSecurity(),
            ) as same:
                assert same.capacity == 8192
                assert same.generation == map_.generation
                with same.create_view_accessor() as again:
                    assert again.capacity == 8192
                    assert again.read_int32(0) == 4711
        assert map_.capacity == 8192
        assert os.fstat(map_.fileno()).st_mode == mode


@pytest.mark.parametrize("access", list(MATRIX))
def test_create_or_open_of_an_existing_map_limits_its_views(access: Access) -> None:
    rights = {
        Access.READ_WRITE: Rights.READ_WRITE,
        Access.READ: Rights.READ,
        Access.COPY_ON_WRITE: Rights.COPY_ON_WRITE,
        Access.READ_EXECUTE: Rights.READ_EXECUTE,
        Access.READ_WRITE_EXECUTE: Rights.READ_WRITE_EXECUTE,
    }[access]
    with MemoryMappedFile.create_new("name", 100) as map_:
        with MemoryMappedFile.create_or_open("name", 100, access) as same:
            assert views_of(same) == allowed(RIGHTS[rights]) & allowed(MATRIX[Access.READ_WRITE])
        assert views_of(map_) == allowed(MATRIX[Access.READ_WRITE])
    with MemoryMappedFile.create_or_open("name", 100, access) as made:
        assert views_of(made) == allowed(MATRIX[access])


def test_create_or_open_for_writing_only_opens_only() -> None:
    with pytest.raises(ValueError, match="WRITE"):
        MemoryMappedFile.create_or_open("name", 100, Access.WRITE)
    assert names() == []
    with MemoryMappedFile.create_new("name", 100), MemoryMappedFile.create_or_open("name", 100, Access.WRITE) as same:
        assert views_of(same) == allowed(RIGHTS[Rights.WRITE])


def test_open_existing_needs_a_living_map(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    with pytest.raises(FileNotFoundError):
        MemoryMappedFile.open_existing("name")
    for make in (
        lambda: MemoryMappedFile.create_new("name", 100),
        lambda: MemoryMappedFile.create_from_file(path, map_name="name"),
    ):
        with make() as map_, map_.create_view_accessor() as view:
            with MemoryMappedFile.open_existing("name"):
                map_.close()
                with MemoryMappedFile.open_existing("name"):  # the other map still holds it
                    pass
            with pytest.raises(FileNotFoundError):  # the view alone does not
                MemoryMappedFile.open_existing("name")
            view.write_int32(0, 1)


def test_system_security_needs_a_privilege(taken: MemoryMappedFile) -> None:
    with pytest.raises(OSError, match="ACCESS_SYSTEM_SECURITY"):
        MemoryMappedFile.open_existing("taken", Rights.ACCESS_SYSTEM_SECURITY)


# ---------------------------------------------------------------------------------------------------- access and rights


@pytest.mark.parametrize("kind", ["accessor", "stream"])
@pytest.mark.parametrize("access", list(MATRIX))
def test_a_map_allows_the_views_of_its_access(tmp_path: Path, access: Access, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    with MemoryMappedFile.create_new(None, 100, access) as map_:
        assert views_of(map_, kind) == allowed(MATRIX[access])
    with MemoryMappedFile.create_new("name", 100, access) as map_:
        assert views_of(map_, kind) == allowed(MATRIX[access])
    with MemoryMappedFile.create_from_file(path, access=access) as map_:
        assert views_of(map_, kind) == allowed(MATRIX[access])
    with path.open("r+b") as file, MemoryMappedFile.create_from_file(file, access=access) as map_:
        assert views_of(map_, kind) == allowed(MATRIX[access])
    assert path.read_bytes() == b"x" * 100


def test_the_matrix_has_17_allowed_and_13_refused() -> None:
    assert "".join(MATRIX.values()).count("Y") == 17
    assert "".join(MATRIX.values()).count("-") == 13


@pytest.mark.parametrize("access", list(MATRIX))
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_rights_limit_the_views(tmp_path: Path, access: Access, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    made = (
        MemoryMappedFile.create_new("name", 100, access)
        if kind == "memory"
        else MemoryMappedFile.create_from_file(path, map_name="name", access=access)
    )
    with made:
        for rights, row in RIGHTS.items():
            with MemoryMappedFile.open_existing("name", rights) as map_:
                assert views_of(map_) == allowed(row) & allowed(MATRIX[access]), rights
        # Two names for one map's access: the narrower one counts.
        with MemoryMappedFile.open_existing("name") as map_:
            assert views_of(map_) == allowed(RIGHTS[Rights.READ_WRITE]) & allowed(MATRIX[access])


def test_a_map_that_was_opened_for_reading_cannot_be_resized() -> None:
    with MemoryMappedFile.create_new("name", 100) as map_:
        for rights in (Rights.NONE, Rights.READ, Rights.COPY_ON_WRITE, Rights.READ_EXECUTE):
            with MemoryMappedFile.open_existing("name", rights) as same, pytest.raises(PermissionError):
                same.resize(200)
        assert map_.capacity == 100


def test_copy_on_write_maps_share_nothing(tmp_path: Path) -> None:
    """The mapping is private if the map or the view is: not even its readers see what is written."""
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    with (
        MemoryMappedFile.create_from_file(path, access=Access.COPY_ON_WRITE) as map_,
        map_.create_view_accessor(access=Access.COPY_ON_WRITE) as first,
        map_.create_view_accessor(access=Access.COPY_ON_WRITE) as second,
        map_.create_view_accessor(access=Access.READ) as reader,
    ):
        first.write_int32(0, 1)
        assert (second.read_int32(0), reader.read_int32(0)) == (0, 0)
        second.write_int32(0, 2)
        assert (first.read_int32(0), reader.read_int32(0)) == (1, 0)
        first.flush()
    assert path.read_bytes() == bytes(100)


# ---------------------------------------------------------------------------------------------------------------- views

VIEW = (
    Fault({"offset": -1}, OutOfRangeError, "offset must not be negative"),
    Fault({"offset": -(2**70)}, OutOfRangeError, "offset must not be negative"),
    Fault({"size": -1}, OutOfRangeError, "size must not be negative"),
    Fault({"access": 42}, OutOfRangeError, "42 is not a MemoryMappedFileAccess"),
    Fault({"offset": 101}, OutOfRangeError, "offset 101 is beyond the end"),
    Fault({"offset": 2**70}, OutOfRangeError, "is beyond the end"),
    Fault({"size": LARGEST_VIEW + 1}, OSError, "larger than the address space"),
    Fault({"size": 2**70}, OSError, "larger than the address space"),
    Fault({"size": 101}, PermissionError, "does not fit"),
    Fault({"offset": 1, "size": 100}, PermissionError, "does not fit"),
    Fault({"closed": True}, ClosedError, "closed"),
    Fault({"access": Access.WRITE}, PermissionError, "does not allow"),
    Fault({"access": Access.READ_EXECUTE}, PermissionError, "does not allow"),
)


@pytest.mark.parametrize("kind", ["accessor", "stream"])
def test_views_are_refused_in_order(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    wrong = []
    for arguments, fault in and_after(VIEW):
        given = {"access": Access.READ, **arguments}
        closed = given.pop("closed", False)
        with MemoryMappedFile.create_from_file(path, access=Access.READ) as map_:
            if closed:
                map_.close()
            wrong += refusal(partial(getattr(map_, f"create_view_{kind}"), **given), fault, arguments)
    assert wrong == []


@pytest.mark.parametrize("kind", ["accessor", "stream"])
def test_a_view_at_the_very_end_is_empty(kind: str) -> None:
    with (
        MemoryMappedFile.create_new(None, 5000) as map_,
        getattr(map_, f"create_view_{kind}")(5000, 0) as view,
    ):
        assert (view.capacity, view.pointer_offset) == (0, 0)
        view.flush()


# Every read and write by position of n bytes, with a value for it.
SCALARS: tuple[tuple[str, int, Any], ...] = (
    ("boolean", 1, True),
    ("byte", 1, 1),
    ("sbyte", 1, -1),
    ("char", 2, "x"),
    ("int16", 2, -1),
    ("uint16", 2, 1),
    ("int32", 4, -1),
    ("uint32", 4, 1),
    ("int64", 8, -1),
    ("uint64", 8, 1),
    ("single", 4, 1.5),
    ("double", 8, 1.5),
    ("decimal", 16, Decimal("1.5")),
)


@pytest.fixture
def map100(tmp_path: Path) -> Iterator[MemoryMappedFile]:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    with MemoryMappedFile.create_from_file(tmp_path / "file") as map_:
        yield map_


@pytest.mark.parametrize(("type_", "size", "value"), SCALARS, ids=[type_ for type_, _, _ in SCALARS])
def test_scalars_are_refused_in_order(map100: MemoryMappedFile, type_: str, size: int, value: Any) -> None:
    """Closed, direction, negative, at or beyond the end, too few bytes."""
    outside = (-(2**70), -(2**63), -1, 100, 101, 2**31, 2**63 - 1, 2**63, 2**70)
    wrong = []
    tight = tuple(range(100 - size + 1, 100))
    with map100.create_view_accessor() as view:
        before = bytes(view)
        for at in outside:
            for call in (
                partial(getattr(view, f"read_{type_}"), at),
                partial(getattr(view, f"write_{type_}"), at, value),
            ):
                wrong += refusal(call, Fault({}, OutOfRangeError, "position"), at)
        for at in tight:
            for call in (
                partial(getattr(view, f"read_{type_}"), at),
                partial(getattr(view, f"write_{type_}"), at, value),
            ):
                wrong += refusal(call, Fault({}, ValueError, "do not fit"), at)
        assert bytes(view) == before
        getattr(view, f"write_{type_}")(100 - size, value)
        assert getattr(view, f"read_{type_}")(100 - size) == value
    for access, verb in ((Access.READ, "write"), (Access.WRITE, "read")):
        with map100.create_view_accessor(access=access) as view:
            for at in (*outside, *tight, 0):
                call = partial(getattr(view, f"{verb}_{type_}"), at, *((value,) if verb == "write" else ()))
                wrong += refusal(call, Fault({}, io.UnsupportedOperation, "does not support"), at)
        for at in (*outside, *tight, 0):
            call = partial(getattr(view, f"{verb}_{type_}"), at, *((value,) if verb == "write" else ()))
            wrong += refusal(call, Fault({}, ClosedError, "closed"), at)
    assert wrong == []


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("byte", 256), ("byte", -1), ("sbyte", 128), ("sbyte", -129), ("int16", 2**15), ("int16", -(2**15) - 1),
        ("uint16", 2**16), ("uint16", -1), ("int32", 2**40), ("int32", 2**31), ("int32", -(2**31) - 1),
        ("uint32", 2**32), ("uint32", -1), ("int64", 2**63), ("int64", -(2**63) - 1), ("uint64", 2**64),
        ("uint64", -1), ("uint64", 2**100), ("single", 1e39), ("single", 10**400), ("double", 10**400),
        ("char", "\U0001f600"), ("decimal", 10**40), ("decimal", Decimal("1e-29")), ("decimal", Decimal("NaN")),
        ("decimal", Decimal("Infinity")), ("decimal", 2**96), ("decimal", Decimal("7.92281625142643375935439503360")),
        ("decimal", Decimal("1e30")),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_not_written(map100: MemoryMappedFile, type_: str, value: Any) -> None:
    with map100.create_view_accessor() as view:
        before = bytes(view)
        with pytest.raises(ValueOutOfRangeError) as caught:
            getattr(view, f"write_{type_}")(0, value)
        assert isinstance(caught.value, OverflowError)
        assert bytes(view) == before


@pytest.mark.parametrize(
    ("type_", "value"),
    [("int32", 1.5), ("int32", "1"), ("byte", b"1"), ("char", "ab"), ("char", ""), ("char", 65), ("double", "1"),
     ("decimal", 1.5), ("decimal", "1")],
)  # fmt: skip
def test_a_value_of_another_kind_is_not_written(map100: MemoryMappedFile, type_: str, value: Any) -> None:
    with map100.create_view_accessor() as view:
        before = bytes(view)
        with pytest.raises(TypeError):
            getattr(view, f"write_{type_}")(0, value)
        assert bytes(view) == before


def test_flags_that_no_decimal_has(map100: MemoryMappedFile) -> None:
    with map100.create_view_accessor() as view:
        for flags in (1, 0xFFFF, 0x001D0000, 0x00FF0000, 0x01000000, 0x7F000000, 0x80000001):
            view[:16] = bytes(12) + flags.to_bytes(4, "little")
            with pytest.raises(ValueError, match="is no decimal"):
                view.read_decimal(0)
        view[:16] = bytes(12) + (0x801C0000).to_bytes(4, "little")
        assert view.read_decimal(0).as_tuple() == (1, (0,), -28)


def test_arrays_are_refused_in_order(map100: MemoryMappedFile) -> None:
    four = bytearray(4)
    wrong = []
    bad_arrays: tuple[tuple[tuple[Any, ...], type[Exception], str], ...] = (
        ((four, -1), OutOfRangeError, "offset must not be negative"),
        ((four, 0, -1), OutOfRangeError, "count must not be negative"),
        ((four, 0, 5), ValueError, "are not in an array of 4"),
        ((four, 3, 2), ValueError, "are not in an array of 4"),
        ((four, 5, 0), ValueError, "are not in an array of 4"),
    )
    for access, (array, error, message) in itertools.product((Access.READ, Access.WRITE), bad_arrays):
        # The array comes before all that can be wrong with the view.
        view = map100.create_view_accessor(access=access)
        for method, at in itertools.product(("read_array", "write_array"), (0, -1, 100)):
            wrong += refusal(partial(getattr(view, method), at, *array), Fault({}, error, message), (method, at, array))
        view.close()
        wrong += refusal(partial(view.read_array, 0, *array), Fault({}, error, message), array)
    with map100.create_view_accessor() as view:
        before = bytes(view)
        for method in ("read_array", "write_array"):
            with pytest.raises(TypeError):
                getattr(view, method)(0, None)
            for at, count in itertools.product((-1, 100, 101, 2**62), (0, 4)):
                wrong += refusal(
                    partial(getattr(view, method), at, four, 0, count), Fault({}, OutOfRangeError, "position"), at
                )
        wrong += refusal(partial(view.write_array, 97, four), Fault({}, ValueError, "do not fit"), 97)
        assert bytes(view) == before
        assert view.read_array(97, four) == 3
        assert four == bytes((97, 98, 99, 0))
        assert view.read_array(99, four, 4, 0) == 0
    assert wrong == []


# -------------------------------------------------------------------------------------------------------------- streams


def test_streams_refuse_as_dotnet_does(map100: MemoryMappedFile) -> None:
    with map100.create_view_stream(0, 100) as stream:
        stream.position = 98
        for data in (b"123", b"x" * 200):
            with pytest.raises(io.UnsupportedOperation):
                stream.write(data)
            assert stream.position == 98
        assert stream.write(b"12") == 2
        assert stream.write(b"") == 0
        stream.position = 101
        with pytest.raises(io.UnsupportedOperation):
            stream.write(b"")
        assert stream.read(10) == b""
        with pytest.raises(OutOfRangeError):
            stream.position = -1
        for offset, whence in ((-1, 0), (-102, 1), (-101, 2)):
            with pytest.raises(OSError, match="Invalid argument") as caught:
                stream.seek(offset, whence)
            assert caught.value.errno == errno.EINVAL
        with pytest.raises(ValueError, match="whence"):
            stream.seek(0, 3)
        assert stream.position == 101
        stream.position = FURTHEST
        with pytest.raises(OSError, match="Invalid argument"):
            stream.seek(1, 1)
        assert stream.position == FURTHEST
        for size in (0, 50, 100, 1000, None):
            with pytest.raises(io.UnsupportedOperation):
                stream.truncate(size)
        with pytest.raises(OutOfRangeError):
            stream.truncate(-1)
        assert stream.length == 100
    for call in (lambda: stream.truncate(5), lambda: stream.truncate(-5)):
        with pytest.raises((io.UnsupportedOperation, OutOfRangeError)):  # and not that it is closed
            call()
    with pytest.raises(OutOfRangeError):
        stream.position = -1
    with map100.create_view_stream(access=Access.READ) as stream, pytest.raises(io.UnsupportedOperation):
        stream.write(b"")
    with map100.create_view_stream(access=Access.WRITE) as stream:
        for call in (stream.read, stream.readline, stream.readall, lambda: stream.readinto(bytearray(1))):
            with pytest.raises(io.UnsupportedOperation):
                call()


# -------------------------------------------------------------------------------------------------------- after the end


def test_a_closed_map_refuses() -> None:
    map_ = MemoryMappedFile.create_new("name", 100)
    map_.close()
    map_.close()
    calls: tuple[Callable[[], object], ...] = (
        map_.create_view_accessor,
        map_.create_view_stream,
        map_.fileno,
        map_.get_access_control,
        map_.sync,
        lambda: map_.capacity,
        lambda: map_.resize(1000),
        lambda: map_.set_access_control(MemoryMappedFileSecurity()),
        map_.__enter__,
    )
    for call in calls:
        with pytest.raises(ClosedError):
            call()
    with pytest.raises(TypeError):  # no security comes before closed
        map_.set_access_control(None)  # type: ignore[arg-type]
    assert map_.name == "name"
    assert not map_.name_alive


def test_a_closed_accessor_refuses(map100: MemoryMappedFile) -> None:
    view = map100.create_view_accessor(10, 50)
    view.close()
    view.close()
    calls: list[Callable[[], object]] = [
        *(partial(getattr(view, f"read_{type_}"), 0) for type_, _, _ in SCALARS),
        *(partial(getattr(view, f"write_{type_}"), 0, value) for type_, _, value in SCALARS),
        *all_of_a_view(view),
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()
    assert (view.capacity, view.pointer_offset, view.can_read, view.can_write, view.closed) == (
        50,
        10,
        False,
        False,
        True,
    )


def all_of_a_view(view: MemoryMappedViewAccessor) -> tuple[Callable[[], object], ...]:
    return (
        view.flush,
        view.check,
        view.__enter__,
        view.residency,
        lambda: view.advise(0),  # type: ignore[arg-type]
        lambda: view[0],
        lambda: view[:1],
        lambda: view.__setitem__(0, 1),
        lambda: view.__setitem__(slice(0, 1), b"x"),
        lambda: len(view),
        lambda: memoryview(view),
        lambda: view.read_bytes(0, 1),
        lambda: view.write_bytes(0, b"x"),
        lambda: view.read(0, "<i"),
        lambda: view.write(0, 1, "<i"),
        lambda: view.read_array(0, bytearray(4)),
        lambda: view.write_array(0, b"1234"),
        lambda: view.cast("i"),
        lambda: view.gather([0], "<i"),
        lambda: view.scatter([0], [1], "<i"),
    )


def test_a_closed_stream_refuses(map100: MemoryMappedFile) -> None:
    stream = map100.create_view_stream(10, 50)
    stream.close()
    stream.close()
    for call in all_of_a_stream(stream):
        with pytest.raises(ClosedError):
            call()
    assert (stream.capacity, stream.can_read, stream.can_write, stream.closed) == (50, False, False, True)


def all_of_a_stream(stream: MemoryMappedViewStream) -> tuple[Callable[[], object], ...]:
    return (
        stream.read,
        stream.readall,
        stream.readline,
        stream.readlines,
        stream.flush,
        stream.tell,
        stream.readable,
        stream.writable,
        stream.seekable,
        stream.check,
        stream.__enter__,
        lambda: iter(stream),
        lambda: stream.readinto(bytearray(1)),
        lambda: stream.write(b"x"),
        lambda: stream.write(b""),
        lambda: stream.writelines([b"x"]),
        lambda: stream.seek(0),
        lambda: stream.seek(0, 7),
        lambda: stream.position,
        lambda: setattr(stream, "position", 0),
        lambda: stream.length,
    )


def test_views_outlive_the_map(map100: MemoryMappedFile, tmp_path: Path) -> None:
    view, stream = map100.create_view_accessor(), map100.create_view_stream()
    map100.close()
    view.write_int32(0, 4711)
    view.flush()
    assert stream.read(4) == (4711).to_bytes(4, "little")
    stream.close()
    assert view.read_int32(0) == 4711
    view.close()
    assert (tmp_path / "file").read_bytes()[:4] == (4711).to_bytes(4, "little")
