"""What a file may cost, one constant each, quoted in the error it causes. Sizes in bytes unless said otherwise."""

from __future__ import annotations

from typing import Final

from workbench.core.tree import MAX_ROW_TEXT, MAX_ROWS

__all__ = [
    "MAX_CBOR",
    "MAX_CBOR_DEPTH",
    "MAX_DIGITS",
    "MAX_DIRECTORY",
    "MAX_FOLDER",
    "MAX_FREE_WORK",
    "MAX_GLOBALS",
    "MAX_HEADER",
    "MAX_HEADER_INTEGER_DIGITS",
    "MAX_INDEX",
    "MAX_MSGPACK_DEPTH",
    "MAX_MSGPACK_TEXT",
    "MAX_NPY_HEADER",
    "MAX_PICKLE",
    "MAX_ROWS",
    "MAX_ROW_TEXT",
    "MAX_SHARDS",
    "MAX_SNIFFED",
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

MAX_INDEX: Final = 64 << 20
"""The index.json of a sharded checkpoint."""

MAX_SHARDS: Final = 10_000
"""Files one index may name."""

MAX_CBOR: Final = 100 << 20
"""The metadata of a burnpack file: Burn's own limit."""

MAX_CBOR_DEPTH: Final = 128
"""Levels of containers in it: Burn's own limit."""

MAX_MSGPACK_DEPTH: Final = 1024
"""Levels of containers in a MessagePack record."""

MAX_MSGPACK_TEXT: Final = 1 << 20
"""One text in it: names and types are short, weights are no texts."""

MAX_FOLDER: Final = 100_000
"""Names looked at in a folder."""

MAX_SNIFFED: Final = 1_000
"""Files of a folder whose first bytes are looked at to find its checkpoint."""

MAX_NPY_HEADER: Final = 65_536
"""The text header of a numpy array: honest ones of plain arrays take 64 to 192 bytes."""

MAX_DIGITS: Final = 4300
"""Decimal digits of an integer in a pickle; turning longer ones into text and back is quadratic."""

MAX_GLOBALS: Final = 100_000
"""Distinct names one pickle may mention."""


MAX_FREE_WORK: Final = 4_000_000
"""Values that the calls of one pickle may walk beyond one for each of its bytes."""


def inflated_limit(declared: int, packed: int) -> int:
    """How far a deflated pickle may grow: honest ones shrink 10 to 20 times, deflate can reach 1,000."""
    return min(declared, MAX_PICKLE, (16 << 20) + 128 * packed)


def max_opcodes(on_disk: int) -> int:
    """Opcodes a pickle may hold: one stored plainly cannot exceed this, a deflated one may."""
    return 4_000_000 + 8 * on_disk


def max_memory(on_disk: int) -> int:
    """An estimate of the memory its objects may take: 100 MB and 64 bytes per byte on disk, at most 900 MB."""
    return min(100_000_000 + 64 * on_disk, 900_000_000)
