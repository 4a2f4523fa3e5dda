# SPDX-License-Identifier: MIT
PAGE_READONLY: int
PAGE_READWRITE: int
PAGE_WRITECOPY: int
PAGE_EXECUTE_READ: int
PAGE_EXECUTE_READWRITE: int
SEC_RESERVE: int
FILE_MAP_COPY: int
FILE_MAP_READ: int
FILE_MAP_WRITE: int
FILE_MAP_EXECUTE: int

def create_section(
    name: str | None, file: int, protection: int, size: int, inheritable: bool, /
) -> tuple[int, bool]: ...
def open_section(name: str, access: int, inheritable: bool, /) -> int: ...
def section_size(section: int, access: int, /) -> int: ...
def close_handle(handle: int, /) -> None: ...
def duplicate_handle(handle: int, inheritable: bool, /) -> int: ...
