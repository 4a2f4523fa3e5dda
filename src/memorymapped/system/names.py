# SPDX-License-Identifier: MIT
"""From the name that a user writes to the file that stands for it.

A name has a scope, written as a prefix, and a text, which is any Unicode text but NUL, lone surrogates and further
backslashes. The text becomes a file name that can be read and turned back: UTF-8, percent-encoded but for letters,
digits and `-_.`. A text of more than 200 such bytes becomes 40 readable characters, `~`, and its SHA-256 in base32;
the true text is then kept in a side file. `~` and `@` are always encoded, so what follows them is ours:

    report.map                     User\\report (and the bare `report`)
    report@1234.4026531836.map     Local\\report in session 1234 of the pid namespace 4026531836
    report~1000.map                Global\\report, created by user 1000
"""

from __future__ import annotations

import enum
import functools

from ..errors import InvalidNameError

__all__ = ["Name", "Scope", "decode", "encode", "parse"]

LONGEST = 200
READABLE = 40
_HASH = 52  # characters of a SHA-256 in base32 without padding

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
_ENCODED = tuple(chr(b) if b in _PLAIN else f"%{b:02X}" for b in range(256))


class Scope(enum.Enum):
    """Who sees a name: all processes of this user, those of this session, those of every user."""

    USER = "User"
    LOCAL = "Local"
    GLOBAL = "Global"


class Name:
    """A checked name. `given` is what the user wrote (`is_bare`: without a prefix), `stem` the encoded text, `is_long`
    whether it is a hash."""

    __slots__ = ("given", "is_bare", "is_long", "scope", "stem", "text")

    def __init__(self, given: str, scope: Scope, text: str, stem: str, is_long: bool) -> None:
        self.given = given
        self.is_bare = "\\" not in given
        self.scope = scope
        self.text = text
        self.stem = stem
        self.is_long = is_long


_PREFIXES = {"User": Scope.USER, "Local": Scope.LOCAL, "Global": Scope.GLOBAL}


def parse(given: str) -> Name:
    """Checks a name and encodes it. TypeError, ValueError (empty) or InvalidNameError, which say what is wrong."""
    if not isinstance(given, str):
        raise TypeError(f"a name is a str, not {type(given).__name__}")  # before the cache, which needs a hash
    return _parse(given)


@functools.lru_cache(maxsize=512)
def _parse(given: str) -> Name:
    if not given:
        raise ValueError("a name must not be empty (where there may be none, None says so)")
    prefix, backslash, text = given.partition("\\")
    scope = Scope.USER
    if backslash:
        if prefix not in _PREFIXES:
            raise InvalidNameError(
                f"{given!r} is not a name: what is before the backslash must be User, Local or Global, in this spelling"
            )
        scope = _PREFIXES[prefix]
        if "\\" in text:
            raise InvalidNameError(f"{given!r} is not a name: there is a backslash behind the prefix")
        if not text:
            raise InvalidNameError(f"{given!r} is not a name: there is nothing behind the prefix")
    else:
        text = given
    if "\0" in text:
        raise InvalidNameError(f"{given!r} is not a name: it contains NUL")
    try:
        stem, is_long = encode(text)
    except UnicodeEncodeError:
        raise InvalidNameError(f"{given!r} is not a name: it contains a lone surrogate") from None
    return Name(given, scope, text, stem, is_long)


def encode(text: str) -> tuple[str, bool]:
    """The file name for a text, and whether it had to be cut to a hash. UnicodeEncodeError for a lone surrogate."""
    raw = text.encode("utf-8")
    parts = [_ENCODED[b] for b in raw]
    if parts[0] == ".":
        parts[0] = "%2E"  # neither hidden nor the folder itself
    stem = "".join(parts)
    if len(stem) <= LONGEST:
        return stem, False
    import base64
    import hashlib

    readable = ""
    for part in parts:
        if len(readable) + len(part) > READABLE:
            break
        readable += part
    return f"{readable}~{base64.b32encode(hashlib.sha256(raw).digest()).decode().rstrip('=')}", True


def decode(stem: str) -> str | None:
    """The text of a file name, or None if it is a hash (the side file has it then) or none of ours: files of
    others may have any name, and a text that leads to another file than this one would be the wrong answer."""
    try:
        text = _unquote(stem).decode("utf-8")
        parsed = parse(f"User\\{text}")
    except ValueError:
        return None
    return text if (parsed.stem, parsed.is_long) == (stem, False) else None


def _unquote(stem: str) -> bytes:
    head, *parts = stem.encode("ascii").split(b"%")
    return head + b"".join(bytes.fromhex(part[:2].decode()) + part[2:] for part in parts)


def is_hash(stem: str) -> bool:
    """Whether the last part of a file name's stem is a hash of a long text."""
    head, tilde, tail = stem.rpartition("~")
    return bool(tilde) and len(tail) == _HASH and bool(head)
