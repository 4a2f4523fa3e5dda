# SPDX-License-Identifier: MIT
"""Struct: a class whose annotations declare how its values lie in memory.

class Point(Struct):
    x: int32
    y: int32

class MyData(Struct):
    my_int: int32
    pt: Point

data = MyData(1, Point(2, 3))       # a snapshot: its own bytes, never changes
view.write(0, data)
same = view.read(0, MyData)         # another snapshot
ref = view.ref(MyData, 0)           # a reference: reads and writes through
ref.pt.x = 3
"""

from __future__ import annotations

import sys

from .._native import structs as native
from .._native.structs import Array, Value
from .._typing import TYPE_CHECKING
from .layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, ClassVar, Literal, Self, TypeVar

    from typing_extensions import Buffer, dataclass_transform

    S = TypeVar("S", bound="Struct")
else:

    def dataclass_transform(**_):
        return lambda cls: cls


__all__ = ["Struct", "StructType"]


@dataclass_transform(eq_default=True, order_default=False)
class StructType(type):
    """The class of classes of structures: it makes the layout from the annotations."""

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        pack: int = 0,
        size: int = 0,
        align: int = 0,
        byte_order: Literal["little", "big"] = "little",
        **options: Any,
    ) -> StructType:
        namespace = {"__slots__": (), **namespace}
        if namespace["__slots__"] != () or "__del__" in namespace:
            raise TypeError(f"{name} is a structure: its values have nothing but its fields, and no __del__")
        cls = super().__new__(mcls, name, bases, namespace, **options)
        if bases == (Value,):
            return cls  # Struct itself
        _check_options(name, pack, size, align)
        _declare(cls, namespace, pack, size, align, byte_order, sys._getframe(1))
        return cls

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> None:
        super().__init__(name, bases, namespace)

    if TYPE_CHECKING:
        __layout__: Layout

    @property
    def __signature__(cls) -> Any:
        """What help and completion show of making a value."""
        from inspect import Parameter, Signature

        default = cls()
        parameters = [
            Parameter(field.name, Parameter.POSITIONAL_OR_KEYWORD, default=getattr(default, field.name))
            for field in cls.layout.fields
        ]
        return Signature(parameters, return_annotation=cls)

    @property
    def layout(cls) -> Layout:
        """Offsets, sizes and padding; declarations in C and C#."""
        found = getattr(cls, "__layout__", None)
        if not isinstance(found, Layout):
            raise TypeError(f"{cls.__name__} declares no fields, and so has no layout")
        return found

    @property
    def dtype(cls) -> Any:
        """NumPy's dtype of the same layout. ImportError without NumPy."""
        return cls.layout.dtype

    @property
    def ctype(cls) -> Any:
        """A ctypes structure of the same layout."""
        return cls.layout.ctype

    def __setattr__(cls, name: str, value: object) -> None:
        if name in ("__layout__", "__element__") or isinstance(cls.__dict__.get(name), native.Field):
            raise AttributeError(f"{cls.__name__}.{name} is how its values lie in memory, and cannot be changed")
        super().__setattr__(name, value)

    def __delattr__(cls, name: str) -> None:
        if name in ("__layout__", "__element__") or isinstance(cls.__dict__.get(name), native.Field):
            raise AttributeError(f"{cls.__name__}.{name} is how its values lie in memory, and cannot be deleted")
        super().__delattr__(name)


def _check_options(name: str, pack: int, size: int, align: int) -> None:
    for what, value in (("pack", pack), ("align", align)):
        if value not in (0, 1, 2, 4, 8, 16, 32, 64, 128):
            raise ValueError(f"{name}: {what} is a power of two up to 128, not {value!r}")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < 2**31:
        raise ValueError(f"{name}: size is a number of bytes less than 2**31, not {size!r}")


def _declare(
    cls: StructType, namespace: dict[str, Any], pack: int, size: int, align: int, byte_order: str, frame: Any
) -> None:
    """Gives a class its layout and its fields."""
    from .annotations import fields_of
    from .layout import laid_out
    from .markers import order_of

    order = order_of(byte_order)
    declares = "__annotations__" in vars(cls) or sys.version_info >= (3, 14)
    kinds = list(fields_of(cls, namespace, order, frame)) if declares else []
    inherited = getattr(cls, "__layout__", None)
    if not kinds:
        if pack or size or align or order != "<":
            raise TypeError(f"{cls.__name__} declares no fields: pack, size, align and byte_order are of those")
        if isinstance(inherited, Layout):
            for field in inherited.fields:
                if field.name in namespace:
                    raise TypeError(
                        f"{cls.__name__}.{field.name} is a field of {inherited.name}: it cannot be another thing"
                    )
            _seal(cls, inherited)
        return
    if inherited is not None:
        raise TypeError(
            f"{cls.__name__} adds fields to {inherited.name}: make that its first field instead, as C and C# do"
        )
    for name, _, _ in kinds:
        if not name.isidentifier():
            raise TypeError(f"{name!r} is no name for a field of {cls.__name__}")
        if name.startswith("__") and name.endswith("__"):
            raise TypeError(f"{cls.__name__}.{name} cannot be a field: Python uses such names itself")
        if name in vars(StructType):
            raise TypeError(f"{cls.__name__}.{name} cannot be a field: the class is asked for its {name} by that name")
        if any(name in vars(base) for base in Struct.__mro__):
            raise TypeError(f"{cls.__name__}.{name} is the name of a method of structures: take another")
    layout = laid_out(cls, kinds, pack, size, align)
    for field in layout.fields:
        if field.name in namespace:
            try:
                layout.set_default(field, namespace[field.name])
            except (TypeError, ValueError) as error:
                error.add_note(f"as the default of {cls.__name__}.{field.name}")
                raise
        type.__setattr__(cls, field.name, field)
    type.__setattr__(cls, "__match_args__", tuple(field.name for field in layout.fields))
    _seal(cls, layout)


def _seal(cls: StructType, layout: Layout) -> None:
    from .kinds import Nested

    type.__setattr__(cls, "__layout__", layout)
    native.seal(cls)
    type.__setattr__(cls, "__element__", Nested(layout, cls).field("", 0))


class Struct(Value, metaclass=StructType):
    """Base of all structures. A subclass declares its fields by annotations:

        class Sample(Struct, pack=1):
            when: datetime
            name: Annotated[str, Utf8(32)]
            values: Array[float64, Literal[4]]
            id: uint32 = 7                              # a default; others are zero

    Options of the class: `pack` (the largest alignment of a field), `align` (the least of the structure), `size`
    (bytes, if more than its fields need), `byte_order` ("little", as everywhere here, or "big"; nested structures keep
    their own). A class that adds only methods to a structure has its layout; other bases need `__slots__ = ()`.

    Making one, `Sample(when, id=3)`, gives a snapshot: it has its own bytes and never changes. Fields that are not
    given have their defaults, or are zero (type checkers want those without a default to be given:
    `Sample.zero().replace(id=3)`). Snapshots compare and hash by the values of their fields. `Sample.layout`,
    `Sample.dtype` (NumPy), `Sample.ctype` (ctypes) are of the same layout.

    A value that does not fit raises ValueOutOfRangeError, one of another kind TypeError; nothing is changed then.
    Bytes that mean nothing (text that is no UTF-8, a number that an enumeration has not) raise ValueError when they are
    read."""

    __slots__ = ()

    if TYPE_CHECKING:
        __match_args__: ClassVar[tuple[str, ...]]

    @classmethod
    def from_bytes(cls, data: Buffer) -> Self:
        """A snapshot of these bytes, which must be as many as the structure has."""
        return native.from_bytes(cls, data)

    @classmethod
    def zero(cls) -> Self:
        """The snapshot whose bytes are all zero: C#'s default(T)."""
        return cls.from_bytes(bytes(cls.layout.size))

    @classmethod
    def array(cls, values: int | Iterable[Self]) -> Array[Self]:
        """An array in memory of its own, whose elements can be assigned: of `values` zero structures, or of copies of
        these. `read_array` fills it, `write_array` takes it."""
        return native.own_array(cls, values)

    def snapshot(self) -> Self:
        """A snapshot of what is there now, with bytes of its own. A snapshot is its own."""
        return self if self._mode == 0 else self._copy(False)

    def draft(self) -> Self:
        """A copy with bytes of its own, whose fields can be assigned."""
        return self._copy(True)

    def replace(self, /, **changes: Any) -> Self:
        """A snapshot with some fields changed."""
        return self._replaced(changes)

    __replace__ = replace

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; nested structures are dictionaries too, and arrays lists."""
        return {field.name: _plain(getattr(self, field.name)) for field in self._layout.fields}

    @property
    def _layout(self) -> Layout:
        return type(self).layout

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Struct) or other._layout is not self._layout:
            return NotImplemented
        return self._is_same(other) or self._keys() == other._keys()

    def __hash__(self) -> int:
        if self._mode:
            raise TypeError(f"a {type(self).__name__} that may change has no hash: take its snapshot()")
        return hash((self._layout.text, self._keys()))

    def __repr__(self) -> str:
        if self._where is not None and self._where[0].closed:
            return f"<reference to {type(self).__name__} in {self._where[0]!r}>"
        return self._text() if self._mode == 0 else f"<{_MODES[self._mode]} {self._text()}>"

    def _text(self) -> str:
        shown = ", ".join(f"{field.name}={_shown(self, field.name)}" for field in self._layout.fields)
        return f"{type(self).__name__}({shown})"

    def __copy__(self) -> Self:
        return self.draft() if self._mode == 1 else self.snapshot()

    def __deepcopy__(self, memo: object) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        """A snapshot travels as its bytes."""
        if self._mode == 2:
            raise TypeError(
                f"a reference to a {type(self).__name__} is a place in memory of this process: pickle its snapshot()"
            )
        return _restored, (type(self), bytes(self), self._layout.hash)


_MODES = {1: "draft", 2: "reference to"}


def _restored(cls: type[S], raw: bytes, digest: bytes) -> S:
    if cls.layout.hash != digest:
        raise TypeError(f"the pickled {cls.__name__} has another layout than this one:\n{cls.layout}")
    return cls.from_bytes(raw)


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return value.to_dict()
    return [_plain(each) for each in value] if isinstance(value, Array) else value


def _shown(struct: Struct, name: str) -> str:
    try:
        value = getattr(struct, name)
        return value._text() if isinstance(value, Struct) else repr(value)
    except (ValueError, OSError) as error:  # bytes that mean nothing; memory that is gone
        return f"<{error}>"
