"""What a file may cost, one constant each, quoted in the error it causes. Sizes in bytes unless said otherwise."""

from __future__ import annotations

from typing import Final

from workbench.core.tree import MAX_ROW_TEXT, MAX_ROWS

__all__ = [
    "MAX_DIGITS",
    "MAX_DIRECTORY",
    "MAX_GLOBALS",
    "MAX_HEADER",
    "MAX_HEADER_INTEGER_DIGITS",
    "MAX_PICKLE",
    "MAX_ROWS",
    "MAX_ROW_TEXT",
    "inflated_limit",
    "max_memory",
    "max_opcodes",
]

MAX_PICKLE: Final = 256 << 20
"""A pickle as our machine meets it, after inflating."""

MAX_DIRECTORY: Final = 256 << 20
"""The central directory of a zip: room for some two million entries."""

MAX_HEADER: Final = 100_000_000
"""The header of a safetensors file: the limit of the reference reader."""

MAX_HEADER_INTEGER_DIGITS: Final = 20
"""Digits of an integer in that header: 2^64 has twenty."""

MAX_DIGITS: Final = 4300
"""Decimal digits of an integer in a pickle; turning longer ones into text and back is quadratic."""

MAX_GLOBALS: Final = 100_000
"""Distinct names one pickle may mention."""


def inflated_limit(declared: int, packed: int) -> int:
    """How far a deflated pickle may grow: honest ones shrink 10 to 20 times, deflate can reach 1,000."""
    return min(declared, MAX_PICKLE, (16 << 20) + 128 * packed)


def max_opcodes(on_disk: int) -> int:
    """Opcodes a pickle may hold: one stored plainly cannot exceed this, a deflated one may."""
    return 4_000_000 + 8 * on_disk


def max_memory(on_disk: int) -> int:
    """An estimate of the memory its objects may take: 100 MB and 64 bytes per byte on disk, at most 900 MB."""
    return min(100_000_000 + 64 * on_disk, 900_000_000)
