# SPDX-License-Identifier: MIT
"""Decimals in the 16 bytes of .NET's `Write(decimal)`: four little-endian words lo, mid, hi, flags.

The value is (-1)**sign * (hi:mid:lo) / 10**scale, with a 96-bit integer and a scale of 0 to 28; in flags bit 31 is the
sign, bits 16 to 23 are the scale, all others are 0. The scale is kept: 1.10 stays 1.10."""

from __future__ import annotations

import struct

from ._typing import TYPE_CHECKING
from .errors import ValueOutOfRangeError

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["SIZE", "decode", "encode"]

SIZE = 16
LARGEST = 2**96 - 1
LARGEST_SCALE = 28

_WORDS = struct.Struct("<IIII")


def decode(raw: bytes) -> Decimal:
    """The decimal in these 16 bytes; ValueError if they are none."""
    from decimal import Decimal

    lo, mid, hi, flags = _WORDS.unpack(raw)
    scale = flags >> 16 & 0xFF
    if flags & 0x7F00FFFF or scale > LARGEST_SCALE:
        raise ValueError(f"{raw.hex(' ', 4)} is no decimal: its flags are {flags:#010x}")
    digits = tuple(map(int, str(hi << 64 | mid << 32 | lo)))
    return Decimal((flags >> 31, digits, -scale))


def encode(value: Decimal | int) -> bytes:
    """The 16 bytes of a value. ValueOutOfRangeError if it needs more than 96 bits or 28 places, or is not finite;
    nothing is rounded. TypeError for a float, which is seldom the decimal that it looks like."""
    from decimal import Decimal

    if isinstance(value, int):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise TypeError(f"a Decimal or an int is needed, not {type(value).__name__}")
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueOutOfRangeError(f"{value} does not fit in a decimal: it is not a finite number")
    scale = -exponent
    text = "".join(map(str, digits)).lstrip("0")
    if len(text) > 2 * LARGEST_SCALE:  # before making an integer of it: it may have a million digits
        scale -= len(text) - len(text.rstrip("0"))
        text = text.rstrip("0")
    number = int(text or "0") if len(text) <= 2 * LARGEST_SCALE else LARGEST + 1
    if scale < 0:
        if number:  # the power of ten that an exponent asks for may have more digits than there is memory
            number = number * 10**-scale if -scale <= LARGEST_SCALE + 1 else LARGEST + 1
        scale = 0
    while number % 10 == 0 and number and (scale > LARGEST_SCALE or (number > LARGEST and scale > 0)):
        number //= 10  # zeros at the end that do not fit are no loss
        scale -= 1
    if not number:
        scale = min(scale, LARGEST_SCALE)
    if number > LARGEST or scale > LARGEST_SCALE:
        raise ValueOutOfRangeError(
            f"{value!s:.100} does not fit in a decimal: it has at most 96 bits (28 to 29 digits) and 28 places"
        )
    flags = sign << 31 | scale << 16
    return _WORDS.pack(number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF, number >> 64, flags)
