# SPDX-License-Identifier: MIT
"""How public methods are called: what help() says of them, keywords, and the order of arguments that .NET has."""

from __future__ import annotations

import inspect
import io
import pydoc
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.here import get_inheritable

import memorymapped
from memorymapped import (
    AccessRule,
    ElementView,
    FileMode,
    HandleInheritability,
    MemoryMappedFile,
    MemoryMappedFileSecurity,
    MemoryMappedViewAccessor,
    MemoryMappedViewStream,
)
from memorymapped import MemoryMappedFileAccess as Access
from memorymapped import MemoryMappedFileOptions as Options
from memorymapped import MemoryMappedFileRights as Rights

CLASSES = [
    kind
    for name in memorymapped.__all__
    if inspect.isclass(kind := getattr(memorymapped, name)) and not issubclass(kind, (BaseException, int))
]
METHODS = {
    f"{kind.__name__}.{name}": getattr(kind, name)
    for kind in CLASSES
    for name in dir(kind)
    if not name.startswith("_") and callable(getattr(kind, name))
}
OF_MAPS = re.compile("MemoryMapped|ElementView|Binary|AccessRule")  # those of locks have tests of their own
SCALAR = re.compile(r"MemoryMappedViewAccessor\.(read|write)_(boolean|s?byte|char|u?int(16|32|64)|single|double)")


@pytest.fixture
def view() -> Iterator[MemoryMappedViewAccessor]:
    with MemoryMappedFile.create_new(None, 4096) as map_, map_.create_view_accessor() as view:
        yield view


@pytest.fixture
def stream() -> Iterator[MemoryMappedViewStream]:
    with MemoryMappedFile.create_new(None, 4096) as map_, map_.create_view_stream() as stream:
        yield stream


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_help_shows_how_a_method_is_called(method: Callable[..., object]) -> None:
    names = list(inspect.signature(method).parameters)
    shown = pydoc.plain(pydoc.render_doc(method))
    for name in names:
        assert re.search(rf"\b{name}\b", shown)
    assert (inspect.getdoc(method) or "").strip()


@pytest.mark.parametrize("name", [name for name in METHODS if OF_MAPS.match(name) and not SCALAR.fullmatch(name)])
def test_arguments_have_keywords(name: str) -> None:
    parameters = list(inspect.signature(METHODS[name]).parameters.values())
    without = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY]
    assert without in ([], ["self"])


def test_fast_calls_have_no_keywords_and_say_so(view: MemoryMappedViewAccessor) -> None:
    fast = [name for name in METHODS if SCALAR.fullmatch(name)]
    assert len(fast) == 24
    for name in fast:
        assert str(inspect.signature(METHODS[name])) in ("(self, position, /)", "(self, position, value, /)")
    with pytest.raises(TypeError, match="keyword"):
        view.read_int32(position=0)  # type: ignore[call-arg]
    assert "no keywords" in (MemoryMappedViewAccessor.__doc__ or "")


def test_calls_by_keyword(view: MemoryMappedViewAccessor, stream: MemoryMappedViewStream) -> None:
    view.write_decimal(position=0, value=Decimal("1.10"))
    assert str(view.read_decimal(position=0)) == "1.10"
    view.write_bytes(position=8, data=b"abc")
    assert view.read_bytes(position=8, count=3) == view.read_bytes(8, count=3) == b"abc"
    assert view.find(sub=b"b", start=3, end=20) == view.rfind(b"b", start=3) == 9
    elements: ElementView = view.cast(format="H", position=8, count=1)
    assert elements.index(value=0x6261, start=0, stop=1) == 0
    assert elements.count(value=0x6261) == 1
    stream.write(data=b"ab\ncd\n")
    assert stream.seek(offset=0, whence=io.SEEK_SET) == 0
    assert stream.read(size=1) + stream.readline(size=9) == b"ab\n"
    assert stream.readinto(buffer=bytearray(1)) == 1
    assert stream.readlines(hint=1) == [b"d\n"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    return path


def test_a_file_is_given_by_keyword(path: Path) -> None:
    create: Any = MemoryMappedFile.create_from_file
    with path.open("rb+") as file:
        for arguments in (
            {"path": path}, {"file": path}, {"path": str(path), "mode": FileMode.OPEN, "capacity": 200},
            {"file": file, "leave_open": True}, {"file": file.fileno(), "access": Access.READ, "leave_open": True},
        ):  # fmt: skip
            with create(**arguments) as map_:
                assert map_.capacity in (100, 200)


@pytest.mark.parametrize(
    ("of_path", "arguments", "keywords", "said"),
    [
        (True, (), {"leave_open": True}, "'leave_open'"),
        (True, (), {"wrong": 1}, "'wrong'"),
        (True, (FileMode.OPEN,), {"mode": FileMode.OPEN}, "'mode' twice"),
        (True, (FileMode.OPEN, None, 0, Access.READ, HandleInheritability.NONE), {}, "5 by place"),
        (False, (), {"mode": FileMode.OPEN}, "'mode'"),
        (False, (None, 0), {"capacity": 0}, "'capacity' twice"),
        (False, (None, 0, Access.READ, HandleInheritability.NONE, True, False), {}, "6 by place"),
    ],
)
def test_arguments_of_no_form_are_told_in_its_terms(
    path: Path, of_path: bool, arguments: tuple[Any, ...], keywords: dict[str, Any], said: str
) -> None:
    create: Any = MemoryMappedFile.create_from_file
    with path.open("rb+") as file:
        form = "a path takes mode, map_name" if of_path else "an open file or a descriptor takes map_name"
        with pytest.raises(TypeError, match=rf"create_from_file of {form}.*{said}$"):
            create(path if of_path else file, *arguments, **keywords)
        assert not file.closed
    for nothing in ((), (path,)):
        with pytest.raises(TypeError, match="one path, open file or descriptor"):
            create(*nothing, **({"path": path} if nothing else {}))


SECURITIES = [None, MemoryMappedFileSecurity([AccessRule("owner", Rights.READ)])]


@pytest.mark.parametrize("security", SECURITIES, ids=["none", "some"])
def test_security_before_inheritability_as_in_dotnet_4(path: Path, security: MemoryMappedFileSecurity | None) -> None:
    inherit = HandleInheritability.INHERITABLE
    create: Any
    for create in (MemoryMappedFile.create_new, MemoryMappedFile.create_or_open):
        with create("dotnet 4", 100, Access.READ_WRITE, Options.NONE, security, inherit) as map_:
            assert map_.capacity == 100
            assert get_inheritable(map_.fileno())
        with pytest.raises(TypeError, match="twice"):
            create("dotnet 4", 100, Access.READ_WRITE, Options.NONE, security, inherit, security=security)
    create = MemoryMappedFile.create_from_file
    with path.open("rb+") as file:
        with create(file, None, 0, Access.READ_WRITE, security, inherit, True) as map_:
            assert map_.capacity == 100
        assert not file.closed
        with pytest.raises(TypeError, match="twice"):
            create(file, None, 0, Access.READ_WRITE, security, inherit, True, security=security)


def test_security_by_place_is_applied_and_inheritability_too() -> None:
    create: Any = MemoryMappedFile.create_new
    security = MemoryMappedFileSecurity([AccessRule("everyone", Rights.READ)])
    with create(
        "Global\\dotnet 4", 9, Access.READ_WRITE, Options.NONE, security, HandleInheritability.INHERITABLE
    ) as map_:
        assert map_.get_access_control().mode & 0o007 == 0o004
        assert get_inheritable(map_.fileno())
