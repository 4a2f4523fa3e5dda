# SPDX-License-Identifier: MIT
from typing import SupportsIndex, final

from .memory import View
from .robust import RobustMutex

SIZE: int
SLOTS: int

@final
class ReadingSide(RobustMutex):
    @property
    def readers(self) -> int: ...

@final
class WritingSide(RobustMutex): ...

def readers_at(view: View, position: SupportsIndex) -> tuple[ReadingSide, WritingSide, bool]: ...
