# SPDX-License-Identifier: MIT
"""check_wheel.py [--glibc 2.28] WHEEL...: is this what may be given to others? Ends with 1, and a line for each fault.

It must have what the tree beside this file has for that system, and nothing else: all modules, a compiled one and its
stub for each of the core, `py.typed`, what the package reads; no sources of the core, no tests, no foreign library. Its
tag must be one that installers take, of no later glibc than is said; RECORD must be right."""

from __future__ import annotations

import argparse
import ast
import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ABOUT = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
# What every system of such a tag has.
LIBRARIES = re.compile(r"lib(c|m|pthread|dl|rt)\.so\.\d+|ld-linux-[a-z0-9_-]+\.so\.\d+|libc\.musl-[a-z0-9_]+\.so\.1")
DLLS = re.compile(
    r"(?i)(python3\d+|memorymapped|kernel32|kernelbase|advapi32|ntdll|ucrtbase|api-ms-win-[a-z0-9-]+)\.dll"
)


def modules(system: str) -> tuple[set[str], set[str]]:
    """The compiled modules of that system, and those that only others have, as meson.build lists them."""
    text = (PROJECT / "meson.build").read_text(encoding="utf-8")
    portable = re.search(r"^portable = (\[.*?\])", text, re.MULTILINE | re.DOTALL)
    own = re.search(r"^own = (\{.*?\})", text, re.MULTILINE | re.DOTALL)
    if not portable or not own:
        raise SystemExit("check_wheel.py: meson.build has no lists `portable` and `own`")
    each = ast.literal_eval(own[1])
    here = {*ast.literal_eval(portable[1]), *each[system]}
    return here, {name for names in each.values() for name in names} - here


def expected(system: str, suffix: str) -> set[str]:
    """The files of the package, as the tree has them."""
    here, foreign = modules(system)
    source = PROJECT / "src"
    other = {"linux": "windows", "windows": "linux"}[system]
    files = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file()
        and path.suffix not in {".pyc", ".pyx", ".pxd", ".h", ".c", ".so", ".pyd"}
        and f"/system/{other}/" not in path.as_posix()
    }
    files -= {f"memorymapped/_native/{name}.pyi" for name in foreign}
    return files | {f"memorymapped/_native/{name}{suffix}" for name in here}


def faults(wheel: Path, glibc: tuple[int, int]) -> Iterator[str]:
    parts = wheel.stem.split("-")
    if len(parts) != 5:
        yield f"the file's name {wheel.name} is not NAME-VERSION-PYTHON-ABI-PLATFORM.whl"
        return
    name, version, python, abi, platform = parts
    yield from tag_faults(python, abi, platform, glibc)
    system = "windows" if platform.startswith("win") else "linux"
    with zipfile.ZipFile(wheel) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    about = f"{name}-{version}.dist-info/"
    cores = {file for file in files if re.fullmatch(r"memorymapped/_native/memory\.[^/]*(so|pyd)", file)}
    suffix = cores.pop().removeprefix("memorymapped/_native/memory") if cores else ".(compiled)"
    if abi.removeprefix("cp") not in suffix:
        yield f"the modules end with {suffix}, and the tag says {abi}"
    wanted = expected(system, suffix) | {about + file for file in ABOUT}
    if system == "windows":
        wanted.add("memorymapped/_native/memorymapped.dll")
    yield from (f"lacks {file}" for file in sorted(wanted - files.keys()))
    yield from (f"has {file}, which does not belong there" for file in sorted(files.keys() - wanted))
    said = files.get(about + "WHEEL", b"").decode().splitlines()
    tags = {line.removeprefix("Tag: ") for line in said if line.startswith("Tag: ")}
    if tags != {f"{python}-{abi}-{each}" for each in platform.split(".")}:
        yield f"WHEEL says the tags {', '.join(sorted(tags)) or 'none'}"
    yield from record_faults(files, about + "RECORD")
    yield from library_faults(files)


def tag_faults(python: str, abi: str, platform: str, glibc: tuple[int, int]) -> Iterator[str]:
    if python != abi or not re.fullmatch(r"cp3\d+", python):
        yield f"is for {python}-{abi}; it should be for one CPython, as cp311-cp311"
    for each in platform.split("."):
        if found := re.fullmatch(r"manylinux_(\d+)_(\d+)_(x86_64|aarch64)", each):
            if (int(found[1]), int(found[2])) > glibc:
                yield f"needs glibc {found[1]}.{found[2]}, later than {glibc[0]}.{glibc[1]}"
        elif not re.fullmatch(r"manylinux\d+_(x86_64|aarch64)|musllinux_\d+_\d+_(x86_64|aarch64)|win_amd64", each):
            yield f"has the tag {each}, which is not one for others"


def record_faults(files: dict[str, bytes], record: str) -> Iterator[str]:
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(files.get(record, b"").decode()))}
    yield from (f"RECORD lacks {file}" for file in sorted(files.keys() - rows.keys()))
    yield from (f"RECORD has {file}, the wheel has not" for file in sorted(rows.keys() - files.keys()))
    for file in sorted((rows.keys() & files.keys()) - {record}):
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[file]).digest()).decode().rstrip("=")
        if rows[file][0] != f"sha256={digest}":
            yield f"RECORD has another digest of {file}"


def library_faults(files: dict[str, bytes]) -> Iterator[str]:
    """What the compiled modules are linked with, by binutils."""
    for file, data in sorted(files.items()):
        if file.endswith(".so"):
            command, pattern, allowed = ["readelf", "-dW"], r"\((NEEDED|RPATH|RUNPATH)\).*\[(.*)\]", LIBRARIES
        elif file.endswith((".pyd", ".dll")):
            command, pattern, allowed = ["x86_64-w64-mingw32-objdump", "-p"], r"()DLL Name: (\S+)", DLLS
        else:
            continue
        with tempfile.NamedTemporaryFile() as copy:
            copy.write(data)
            copy.flush()
            said = subprocess.run([*command, copy.name], capture_output=True, text=True, check=True).stdout
        found = re.findall(pattern, said)
        if not found:
            yield f"{file} is linked with nothing, or is damaged"
        for kind, library in found:
            if kind.endswith("PATH") or not allowed.fullmatch(library):
                yield f"{file} is linked with {library}{' by ' + kind if kind.endswith('PATH') else ''}"


def main(arguments: list[str]) -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.partition(": ")[2])
    parser.add_argument("--glibc", default="2.28", metavar="VERSION", help="the latest that may be needed (2.28)")
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL")
    options = parser.parse_args(arguments)
    major, minor = map(int, options.glibc.split("."))
    code = 0
    for wheel in options.wheels:
        found = list(faults(wheel, (major, minor)))
        for fault in found:
            print(f"{wheel.name}: {fault}")
        code |= bool(found)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
