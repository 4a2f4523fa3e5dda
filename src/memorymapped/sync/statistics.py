# SPDX-License-Identifier: MIT
"""Small results that compare and print by their fields."""

from __future__ import annotations

__all__ = ["Statistics"]


class Statistics:
    """What is known of a lock or signal at one moment. Others may have changed it by the time it is read."""

    __slots__: tuple[str, ...] = ()

    def _fields(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._fields().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._fields().items())})"
