# SPDX-License-Identifier: MIT
"""tools/check_wheel.py says of a wheel what must not be given to others (tools/linux-wheel builds one, and asks it)."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from memorymapped._native import memory

CHECKER = Path(__file__).resolve().parent.parent / "tools" / "check_wheel.py"
TAG = "cp311-cp311-manylinux_2_28_x86_64"
ABOUT = "memorymapped-0.1.0.dist-info/"
SUFFIX = ".cpython-311-x86_64-linux-gnu.so"
CORE = f"memorymapped/_native/futex{SUFFIX}"

Files = dict[str, bytes]


def good() -> Files:
    """What a wheel has, with one compiled module in the place of all, and all else empty."""
    spec = importlib.util.spec_from_file_location("check_wheel", CHECKER)
    assert spec
    assert spec.loader
    checker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checker)
    library = Path(memory.__file__).read_bytes()
    files = {name: library if name.endswith(".so") else b"" for name in checker.expected("linux", SUFFIX)}
    files |= {ABOUT + name: b"" for name in checker.ABOUT}
    files[ABOUT + "WHEEL"] = f"Wheel-Version: 1.0\nTag: {TAG}\n".encode()
    return files


def record(files: Files) -> bytes:
    """The digests of all others."""
    digests = {name: hashlib.sha256(data).digest() for name, data in files.items()}
    rows = [f"{name},sha256={base64.urlsafe_b64encode(each).decode().rstrip('=')}," for name, each in digests.items()]
    return "\n".join(rows).encode()


def check(folder: Path, files: Files, tag: str = TAG) -> list[str]:
    """What the checker says, without the wheel's name."""
    wheel = folder / f"memorymapped-0.1.0-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    run = subprocess.run(
        [sys.executable, str(CHECKER), str(wheel)], stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    said = [line.removeprefix(f"{wheel.name}: ") for line in run.stdout.splitlines()]
    assert run.returncode == bool(said)
    return said


def test_a_good_wheel_is_good(tmp_path: Path) -> None:
    files = good()
    files[ABOUT + "RECORD"] = record(files)
    assert "memorymapped/py.typed" in files
    assert "memorymapped/_native/futex.pyi" in files
    assert "memorymapped/system/linux/__init__.py" in files
    assert "memorymapped/system/windows/__init__.py" not in files
    assert check(tmp_path, files) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda files: files.pop("memorymapped/py.typed"), ["lacks memorymapped/py.typed"]),
        (lambda files: files.pop(CORE), [f"lacks {CORE}"]),
        (lambda files: files.pop("memorymapped/_native/futex.pyi"), ["lacks memorymapped/_native/futex.pyi"]),
        (lambda files: files.update({"tests/root.py": b""}), ["has tests/root.py, which does not belong there"]),
        (
            lambda files: files.update({"memorymapped/_native/futex.pyx": b""}),
            ["has memorymapped/_native/futex.pyx, which does not belong there"],
        ),
        (
            lambda files: files.update({"memorymapped.libs/libz.so.1": files[CORE]}),
            ["has memorymapped.libs/libz.so.1, which does not belong there"],
        ),
        (
            lambda files: files.update({CORE: files[CORE].replace(b"libc.so.6\0", b"libz.so.1\0")}),
            [f"{CORE} is linked with libz.so.1"],
        ),
        (
            lambda files: files.update({ABOUT + "WHEEL": b"Tag: cp311-cp311-linux_x86_64\n"}),
            ["WHEEL says the tags cp311-cp311-linux_x86_64"],
        ),
    ],
)
def test_what_is_wrong_is_told(change: Callable[[Files], object], said: list[str], tmp_path: Path) -> None:
    files = good()
    change(files)
    files.pop(ABOUT + "RECORD")
    files[ABOUT + "RECORD"] = record(files) + f"\n{ABOUT}RECORD,,".encode()
    assert check(tmp_path, files) == said


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        (
            "cp311-cp311-linux_x86_64",
            "has the tag linux_x86_64, which is not one for others",
        ),
        ("cp311-cp311-manylinux_2_34_x86_64", "needs glibc 2.34, later than 2.28"),
        ("py3-none-any", "is for py3-none; it should be for one CPython, as cp311-cp311"),
    ],
)
def test_a_wrong_tag_is_told(tag: str, said: str, tmp_path: Path) -> None:
    assert said in check(tmp_path, good(), tag)


def test_a_changed_file_is_told(tmp_path: Path) -> None:
    files = good()
    files[ABOUT + "RECORD"] = record(files)
    files["memorymapped/__init__.py"] = b"import evil"
    assert check(tmp_path, files) == ["RECORD has another digest of memorymapped/__init__.py"]


def test_no_source_of_the_core_is_installed() -> None:
    """meson.build names each: it has no patterns."""
    project = CHECKER.parent.parent
    text = (project / "meson.build").read_text(encoding="utf-8")
    core = project / "src" / "memorymapped" / "_native"
    sources = {path.name for path in core.iterdir() if path.suffix in {".pyx", ".pxd", ".h", ".c"}}
    assert {name for name in sources if f"'_native/{name}'" not in text} == set()
