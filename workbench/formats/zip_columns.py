"""The headers of a zip with very many entries, checked all at once as columns of numbers.

One by one, 100,000 entries cost half a second. What is the least bit unusual is left out here, and `zip_directory`
looks at it field by field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workbench.core.source import ByteSource
from workbench.errors import OpenError

__all__ = ["NOWHERE", "Columns", "Numbers", "plain_places", "quick_columns"]

Numbers = npt.NDArray[Any]
Column = Sequence[int] | Numbers
Columns = tuple[Sequence[str], Column, Column, Column, Column, Column, Column, Column]
"""Of each entry its name, method, flags, CRC, packed size, size, position of its header, and of what follows it."""

NOWHERE: Final = -1
"""Stands for the place of an entry that is not plain."""

_SIGNATURE: Final = b"PK\x01\x02"
_CENTRAL: Final = np.dtype(
    [
        ("versions", "<u4"),
        ("flags", "<u2"),
        ("method", "<u2"),
        ("time", "<u4"),
        ("crc", "<u4"),
        ("packed", "<u4"),
        ("size", "<u4"),
        ("n_name", "<u2"),
        ("n_extra", "<u2"),
        ("n_comment", "<u2"),
        ("disk", "<u2"),
        ("inner", "<u2"),
        ("outer", "<u4"),
        ("offset", "<u4"),
    ]
)
_LOCAL: Final = np.dtype(
    [
        ("signature", "<u4"),
        ("version", "<u2"),
        ("flags", "<u2"),
        ("method", "<u2"),
        ("time", "<u4"),
        ("crc", "<u4"),
        ("packed", "<u4"),
        ("size", "<u4"),
        ("n_name", "<u2"),
        ("n_extra", "<u2"),
    ]
)
_LOCAL_SIGNATURE: Final = 0x04034B50
_WIDE: Final = 0xFFFFFFFF
_NEAR: Final = 4096
"""Headers no further apart are read together: the system reads by pages anyway."""
_WINDOW: Final = 1 << 20


def quick_columns(raw: bytes, begin: int, count: int) -> Columns | None:
    """The entries of a directory that ends where the records do, at ``begin``, when all of it is as usual, else None.

    Usual: no extra fields or comments, no 64-bit sizes, names of UTF-8, and no two records on the same bytes.
    """
    if not count or raw.count(_SIGNATURE) != count or not raw.startswith(_SIGNATURE):
        return None
    pieces = raw.split(_SIGNATURE)[1:]
    lengths = np.fromiter(map(len, pieces), np.int64, count)
    if lengths.min() < 42:
        return None
    fields = np.frombuffer(b"".join([piece[:42] for piece in pieces]), _CENTRAL)
    # Each name fills what lies between its header and the next signature: nothing else can be there.
    if (fields["n_name"] != lengths - 42).any():
        return None
    if fields["n_extra"].any() or fields["n_comment"].any():
        return None
    packed, size, offset = (fields[name].astype(np.int64) for name in ("packed", "size", "offset"))
    if max(packed.max(), size.max(), offset.max()) == _WIDE:
        return None
    order = np.argsort(offset, kind="stable")
    limit = np.full(count, begin, np.int64)
    limit[order[:-1]] = offset[order[1:]]
    if (offset + 30 + packed > limit).any():
        return None
    numbers = (fields["method"], fields["flags"], fields["crc"], packed, size, offset, limit)
    try:
        names = b"\n".join([piece[42:] for piece in pieces]).decode().split("\n")
    except UnicodeDecodeError:
        return None
    return (names, *numbers) if len(names) == count else None


def plain_places(source: ByteSource, columns: Columns, once: Sequence[bool] | None) -> tuple[Numbers, Numbers]:
    """Begin and size of the entries that are stored as they are and whose local header says so; `NOWHERE` of others.

    ``once`` tells which names stand for one entry only, None for all. Their bytes end before the next record begins.
    """
    names, *numbers = columns
    begins, found_sizes = np.full((2, len(names)), NOWHERE, np.int64)
    try:
        method, flags, _, packed, size, offset, limit = (np.asarray(column, np.int64) for column in numbers)
    except OverflowError:
        return begins, found_sizes
    usual = (method == 0) & (packed == size) & (flags & 0x2041 == 0) & (packed < _WIDE)
    if once is not None:
        usual &= np.array(once, bool)
    chosen = np.flatnonzero(usual)
    chosen = chosen[np.argsort(offset[chosen], kind="stable")]
    raw_names = [name.encode("utf-8", "surrogateescape") for name in map(names.__getitem__, chosen.tolist())]
    lengths = np.fromiter(map(len, raw_names), np.int64, len(raw_names))
    for data, first, at in _headers(source, offset[chosen], lengths):
        last = first + len(at)
        rows, here = chosen[first:last], raw_names[first:last]
        local = np.frombuffer(data, np.uint8)[at[:, None] + np.arange(30)].view(_LOCAL)[:, 0]
        begin = offset[rows] + 30 + local["n_name"] + local["n_extra"]
        sizes = packed[rows]
        told = (local["packed"] == sizes) & (local["size"] == sizes)
        later = (local["flags"] & 8 != 0) | (local["packed"] == _WIDE) | (local["size"] == _WIDE)
        good = (
            (local["signature"] == _LOCAL_SIGNATURE)
            & (local["method"] == 0)
            & ((local["flags"] ^ flags[rows]) & ~0x0808 == 0)
            & (local["n_name"] == lengths[first:last])
            & (told | later)
            & (begin + sizes <= limit[rows])
            & np.fromiter(map(data.startswith, here, (at + 30).tolist()), bool, len(here))
        )
        kept = np.flatnonzero(good)
        begins[rows[kept]] = begin[kept]
        found_sizes[rows[kept]] = sizes[kept]
    return begins, found_sizes


def _headers(source: ByteSource, offset: Numbers, lengths: Numbers) -> Iterator[tuple[bytes, int, Numbers]]:
    """Bytes that hold local headers with their names, the number of the first of them, and where in the bytes each is.

    ``offset`` is sorted. Those near each other are read together; there is no word of those that cannot be read.
    """
    end = np.minimum(offset + 30 + lengths, source.size)
    far = np.flatnonzero(offset[1:] - end[:-1] > _NEAR) + 1
    pieces: list[bytes] = []
    shifts: list[int] = []
    first = held = 0
    bounds = [0, *far.tolist(), len(offset)]
    for start, stop in pairwise(bounds):
        while start < stop:
            begin, last = int(offset[start]), start + 1
            if last < stop:
                last = start + int(np.searchsorted(offset[start:stop], begin + _WINDOW))
            try:
                piece = source.read_exact(begin, int(end[last - 1]) - begin)
            except OpenError:
                piece = None
            if piece is not None:
                pieces.append(piece)
                shifts += [begin - held] * (last - start)
                held += len(piece)
            if pieces and (piece is None or held >= _WINDOW or last == len(offset)):
                stop_at = first + len(shifts)
                yield b"".join(pieces), first, offset[first:stop_at] - np.array(shifts, np.int64)
                pieces, shifts, held = [], [], 0
            if not pieces:
                first = last
            start = last
