# SPDX-License-Identifier: MIT
"""What the package promises: its names, their signatures, members and bases; docstrings; what an import costs.

`public_api.txt` is that promise as text. To change it deliberately, run

    python tests/test_public.py > tests/public_api.txt

look at the difference, and give it a line in CHANGELOG.md."""

from __future__ import annotations

import ast
import difflib
import enum
import functools
import inspect
import itertools
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import memorymapped

TABLE = Path(__file__).with_name("public_api.txt")
PACKAGE = Path(memorymapped.__file__).parent
Function = ast.FunctionDef | ast.AsyncFunctionDef
# What a type does in an expression, or a statement.
SPECIAL = {
    "__init__", "__bool__", "__len__", "__getitem__", "__setitem__", "__delitem__", "__iter__", "__next__",
    "__reversed__", "__contains__", "__enter__", "__exit__", "__eq__", "__lt__", "__hash__", "__index__", "__call__",
    "__reduce__", "__str__",
}  # fmt: skip

# ------------------------------------------------------------------------------------------------------ its description


@functools.cache
def source_of(module: str) -> ast.Module:
    """The source that says how things of a module are called: its stub, if it is compiled."""
    place = PACKAGE.joinpath(*module.split(".")[1:])
    for path in (place.with_suffix(".pyi"), place.with_suffix(".py"), place / "__init__.py"):
        if path.exists():
            return ast.parse(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(f"{module} has no source")


def definitions(module: str, name: str, of_class: str | None = None) -> list[Function]:
    """The overloads of a function or method, or its one definition."""
    body = source_of(module).body
    if of_class is not None:
        body = next((node.body for node in body if isinstance(node, ast.ClassDef) and node.name == of_class), [])
    found = [node for node in body if isinstance(node, Function) and node.name == name]
    overloads = [node for node in found if any(ast.unparse(d) == "overload" for d in node.decorator_list)]
    return overloads or found


def signature(node: Function, *, bound: bool) -> str:
    """Parameters and defaults, without types: of these the type checker takes care."""
    arguments = node.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if argument is not None:
            argument.annotation = None
    text = ast.unparse(arguments)
    if bound:
        first, _, text = text.partition(", ")
        assert first in ("self", "cls"), node.name
        text = text.removeprefix("/, ") if text != "/" else ""
    return f"({text})"


def described(cls: type, name: str) -> Iterator[str]:
    """An attribute of a class: how it is called, one line for each overload."""
    kind = inspect.getattr_static(cls, name)
    if not callable(getattr(cls, name)) or isinstance(kind, property):
        yield name
        return
    by_name = getattr(getattr(cls, name), "__name__", name)  # that of which this is another name
    for base in cls.__mro__:
        for node in definitions(base.__module__, by_name, base.__name__) if is_ours(base) else ():
            prefix = "classmethod " if isinstance(kind, classmethod) else ""
            prefix += "async " if isinstance(node, ast.AsyncFunctionDef) else ""
            yield prefix + name + signature(node, bound=not isinstance(kind, staticmethod))
        if is_ours(base) and definitions(base.__module__, by_name, base.__name__):
            return
    raise AssertionError(f"{cls.__name__}.{name} is defined nowhere")


def is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "memorymapped"


def attributes(cls: type) -> list[str]:
    """The public attributes that are not from elsewhere: a builtin exception, the enumerations."""
    theirs = {name for base in cls.__mro__ if not is_ours(base) for name in vars(base)}
    return sorted(name for name in dir(cls) if not name.startswith("_") and name not in theirs)


def describe_class(cls: type) -> Iterator[str]:
    bases = [base for base in cls.__bases__ if not base.__name__.startswith("_") and base is not object]
    ours = [getattr(memorymapped, name) for name in memorymapped.__all__]
    public = [base.__name__ for base in bases if issubclass(cls, BaseException | enum.Enum) or base in ours]
    yield f"class {cls.__name__}" + (f"({', '.join(public)})" if public else "")
    if issubclass(cls, enum.Enum):
        for name, member in cls.__members__.items():
            yield f"    {name} = {member.value:#x}" if issubclass(cls, enum.Flag) else f"    {name} = {member.value}"
        return
    lines: list[str] = []
    special = {name for base in cls.__mro__ if is_ours(base) for name in vars(base)} & SPECIAL
    if "__init__" in special:
        lines += (line.replace("__init__", "", 1) for line in described(cls, "__init__"))
    for name in attributes(cls):
        lines += described(cls, name)
    yield from (f"    {line}" for line in lines)
    others = sorted(special - {"__init__"})
    if others:
        yield f"    {' '.join(others)}"


def describe() -> Iterator[str]:
    """The whole package, as text."""
    for name in memorymapped.__all__:
        value = getattr(memorymapped, name)
        if isinstance(value, type):
            yield from describe_class(value)
        elif typing.get_origin(value) is typing.Annotated:
            yield f"{name} = {value.__origin__.__name__}"
        else:
            for node in definitions(value.__module__, name):
                yield f"def {name}{signature(node, bound=False)}"
        yield ""


def test_the_public_names_are_as_written_down() -> None:
    now = [line + "\n" for line in describe()]
    before = TABLE.read_text(encoding="utf-8").splitlines(keepends=True)
    difference = "".join(difflib.unified_diff(before, now, "public_api.txt", "the package"))
    assert now == before, f"{difference}\n(meant so? The head of this file says what to do)"


def test_all_is_sorted_and_all_there_is() -> None:
    assert len(memorymapped.__all__) == len(set(memorymapped.__all__))  # ruff looks at their order
    for name in memorymapped.__all__:
        getattr(memorymapped, name)  # some are loaded only now
    public = {
        name
        for name, value in vars(memorymapped).items()
        if not name.startswith("_")
        and (
            getattr(value, "__module__", "").startswith("memorymapped") or typing.get_origin(value) is typing.Annotated
        )
    }
    assert public == set(memorymapped.__all__)
    assert set(memorymapped.__all__) <= set(dir(memorymapped))


def test_signatures_at_run_time_are_those_of_the_source() -> None:
    """What `help` and completion show."""
    for cls in filter(inspect.isclass, (getattr(memorymapped, name) for name in memorymapped.__all__)):
        for name in attributes(cls):
            try:
                shown = inspect.signature(getattr(cls, name))
            except (TypeError, ValueError):  # no function, or compiled
                continue
            wanted = " ".join(line.partition("(")[2] for line in described(cls, name))  # of all its overloads
            names = [parameter for parameter in shown.parameters if parameter not in ("self", "args", "kwargs")]
            assert all(parameter in wanted for parameter in names), f"{cls.__name__}.{name}"


# ------------------------------------------------------------------------------------------------------------ the words


def has_words(cls: type, name: str) -> bool:
    """Whether an attribute is explained: by what `help` shows of it, or, where nothing can be shown, in its class's
    docstring or by the text behind its annotation."""
    kind = inspect.getattr_static(cls, name)
    if getattr(kind, "__doc__", None) or inspect.ismemberdescriptor(kind):
        return bool(inspect.getdoc(kind))  # of a slot: what the dictionary `__slots__` says
    for base in filter(is_ours, cls.__mro__):
        if re.search(rf"`{name}\b", base.__doc__ or ""):
            return True
        classes = (node for node in source_of(base.__module__).body if isinstance(node, ast.ClassDef))
        body = next((node.body for node in classes if node.name == base.__name__), [])
        for node, behind in itertools.pairwise(body):
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
                return isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant)
    return False


def test_everything_public_has_a_docstring() -> None:
    missing = []
    assert memorymapped.__doc__
    for name in memorymapped.__all__:
        value = getattr(memorymapped, name)
        doc = vars(value).get("__doc__") if isinstance(value, type) else value.__doc__
        if not doc:
            missing.append(name)
        if not isinstance(value, type) or issubclass(value, enum.Enum):
            continue
        missing += [f"{name}.{attribute}" for attribute in attributes(value) if not has_words(value, attribute)]
    assert not missing, " ".join(missing)


# ---------------------------------------------------------------------------------------------------------- exceptions


def test_exceptions_are_what_the_builtins_mean() -> None:
    """`except ValueError` and `except OSError` catch what they should; one mixin catches all that is ours."""
    table: dict[str, tuple[type[BaseException], ...]] = {
        "AbandonedMutexError": (),
        "AlreadyRunningError": (RuntimeError,),
        "ClosedError": (ValueError,),
        "DamagedObjectError": (OSError,),
        "DamagedSegmentError": (OSError, memorymapped.DamagedObjectError),
        "ForeignObjectError": (OSError,),
        "InvalidNameError": (ValueError, FileNotFoundError),
        "LayoutMismatchError": (TypeError,),
        "MemoryFaultError": (OSError,),
        "MemoryMappedFileError": (Exception,),
        "NameInUseError": (FileExistsError,),
        "OutOfRangeError": (ValueError, IndexError),
        "SemaphoreFullError": (ValueError,),
        "ValueOutOfRangeError": (ValueError, IndexError, OverflowError, memorymapped.OutOfRangeError),
        "WaitHandleCannotBeOpenedError": (OSError,),
        "WaitHandleNotFoundError": (FileNotFoundError, memorymapped.WaitHandleCannotBeOpenedError),
    }
    public = {name: getattr(memorymapped, name) for name in memorymapped.__all__}
    ours = {name: value for name, value in public.items() if isinstance(value, type) and issubclass(value, Exception)}
    assert ours.keys() == table.keys()
    builtins = (TypeError, ValueError, OSError, LookupError, ArithmeticError, RuntimeError, NotImplementedError)
    for name, error in ours.items():
        assert issubclass(error, memorymapped.MemoryMappedFileError)
        assert all(issubclass(error, base) for base in table[name]), name
        for base in builtins:
            expected = any(issubclass(wanted, base) for wanted in table[name])
            assert issubclass(error, base) == expected, (name, base)


# ----------------------------------------------------------------------------------------------------------- the import

# All of the standard library that `import memorymapped` may load; a bare interpreter has most of it.
ALLOWED = {
    "__future__", "_collections", "_functools", "_operator", "_struct", "_weakref", "_weakrefset", "atexit",
    "collections", "collections.abc", "contextlib", "copyreg", "enum", "errno", "fcntl", "functools", "itertools",
    "keyword", "math", "msvcrt", "operator", "reprlib", "struct", "types", "warnings",
}  # fmt: skip
HEAVY = (
    "numpy", "pandas", "typing", "ctypes", "asyncio", "multiprocessing", "subprocess", "threading", "json", "pickle",
    "decimal", "tempfile", "shutil", "pathlib", "logging", "inspect", "dataclasses", "re", "socket", "hashlib",
    "click", "rich", "array", "mmap", "traceback", "random", "importlib.metadata", "memorymapped.cli",
)  # fmt: skip


def child(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, text=True, check=True, timeout=60
    ).stdout


def test_an_import_loads_nothing_heavy() -> None:
    """What must not be loaded cannot be; what the interpreter itself has loaded before does not count."""
    # An editable installation loads some of it to find the package: it is taken away only after that.
    said = child("""
import sys
before = set(sys.modules)
import memorymapped
print(*sorted(set(sys.modules) - before))
""")
    loaded = {name for name in said.split() if name.partition(".")[0] != "memorymapped"}
    beyond = {name for name in loaded - ALLOWED if not name.startswith(("_cython", "cython_runtime"))}
    assert beyond == set()
    assert "memorymapped.cli" not in said.split()
    assert not ALLOWED & set(HEAVY)


def test_the_import_asks_for_nothing_heavy() -> None:
    """Also where the interpreter has it loaded already."""
    said = child(f"""
import builtins, sys
asked = set()
real = builtins.__import__
def watched(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and globals and str(globals.get("__name__", "")).startswith("memorymapped"):
        asked.add(name)
    return real(name, globals, locals, fromlist, level)
builtins.__import__ = watched
import memorymapped
print(*sorted(asked & set({HEAVY!r})))
""")
    assert said.split() == []


def test_a_use_of_the_main_things_loads_no_more() -> None:
    """Maps, both views, elements: of the heavy ones, none."""
    said = child(f"""
import sys
before = set(sys.modules)
from memorymapped import MemoryMappedFile
with MemoryMappedFile.create_new(None, 100) as map_, map_.create_view_accessor() as view:
    view.write_int32(0, 1)
    view.cast("i")[1] = 2
    view[0:8], view.read_double(8), view.read(0, "ii")
    with map_.create_view_stream() as stream:
        stream.read(10)
print(*sorted((set(sys.modules) - before) & set({HEAVY!r})))
""")
    assert said.split() == []


def test_the_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").is_file()
    for module in filter(lambda name: name.startswith("memorymapped._native."), list(sys.modules)):
        stub = PACKAGE / "_native" / (module.rpartition(".")[2] + ".pyi")
        assert stub.is_file(), module


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import metadata

    assert metadata("memorymapped")["Version"] == memorymapped.__version__
    assert metadata("memorymapped")["Requires-Python"] == ">=3.11"


def test_the_library_needs_no_other() -> None:
    from importlib.metadata import requires

    assert [line for line in requires("memorymapped") or [] if "extra ==" not in line] == []


if __name__ == "__main__":
    print("\n".join(describe()))
