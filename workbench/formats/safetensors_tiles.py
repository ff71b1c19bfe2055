"""The header of a safetensors file as the reference writer spells it, taken apart as columns.

JSON with its checks costs ten times as much for 100,000 tensors. Each entry must be that spelling from its first byte
to its last, and the next begin where it ends, so that nothing is skipped; for any other the strict parser is there.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["LAYOUT", "SURROGATE", "Numbers", "Tiles", "tiles"]

Numbers = npt.NDArray[np.int64]
_Bytes = npt.NDArray[np.uint8]


class Tiles(NamedTuple):
    """The metadata, and of each entry its name, its dtype and shape as written, and where its data begin and end."""

    metadata: dict[str, str]
    names: list[str]
    layouts: list[str]
    begins: Numbers
    ends: Numbers


_NUMBER: Final = r"(?:0|[1-9][0-9]{0,17})"
_MOST_DIGITS: Final = 18
LAYOUT: Final = re.compile(r'"([A-Z0-9_]{1,12})","shape":\[((?:NUMBER(?:,NUMBER)*)?)\]'.replace("NUMBER", _NUMBER))
"""What is in `Tiles.layouts`; whether it is such, is left to who reads it."""

SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
"""An escape that is half of a character: JSON of Python takes one alone, the safetensors package does not."""

_METADATA: Final = b'{"__metadata__":'
_WINDOW: Final = 1 << 20
"""Bytes looked at together, or a little more."""

# An entry has ten quotes and these texts between them, each by the quote where it begins and the one where it ends:
# "name":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}
# 0    1  2     3 4   5 6     7     8            9
_TEXTS: Final = ((1, 4, b'":{"dtype":"'), (5, 7, b'","shape":['), (8, 9, b'"data_offsets":['))
_SHORTEST: Final = len("0,0]}")


def tiles(raw: bytes) -> Tiles | None:
    """The columns of a header, or None where it is spelled in another way; names may be doubled."""
    try:
        text = raw.decode()
        metadata, begin = _metadata(text)
    except (ValueError, RecursionError):
        return None
    stop = len(raw.rstrip(b" ")) - 1
    if raw[stop : stop + 1] != b"}" or raw.find(b"\\", begin) >= 0 or SURROGATE.search(raw, 0, begin):
        return None
    found: list[tuple[Numbers, Numbers, Numbers]] = []
    at = begin
    while at < stop:
        end = raw.find(b"]},", at + _WINDOW)
        end = stop if end < 0 else end + 2
        columns = _entries(np.frombuffer(raw, np.uint8, end + 1 - at, at), last=end == stop)
        if columns is None:
            return None
        found.append((columns[0] + at, *columns[1:]))
        at = end + 1
    if not found or at != stop + 1:
        return None
    places, begins, ends = (np.concatenate(column, axis=-1) for column in zip(*found, strict=True))
    return Tiles(metadata, *_texts(raw, text, places), begins, ends)


def _metadata(text: str) -> tuple[dict[str, str], int]:
    """The metadata and the byte at which the first entry begins. ValueError where there is no plain way to tell."""
    start = _METADATA.decode()
    if not text.startswith(start):
        if not text.startswith("{"):
            raise ValueError
        return {}, 1
    metadata, end = _DECODER.raw_decode(text, len(start))
    if not isinstance(metadata, dict) or not all(type(value) is str for value in metadata.values()):
        raise ValueError("they are no texts")
    if text[end : end + 1] != ",":
        raise ValueError("no entries follow")
    return metadata, len(text[: end + 1].encode())


def _entries(data: _Bytes, *, last: bool) -> tuple[Numbers, Numbers, Numbers] | None:
    """Of entries, each with one byte behind it: where the name and the layout of each begin and end, and its numbers.

    None unless they fill ``data`` and each is spelled as it should be, but for what stands in name and layout.
    """
    found = np.flatnonzero(data == _QUOTE)
    n, more = divmod(len(found), 10)
    if not n or more or (data < 0x20).any():
        return None
    quotes = found.reshape(n, 10).T.copy()
    stops = np.append(quotes[0, 1:] - 1, len(data) - 1)
    for first, after, written in _TEXTS:
        if (quotes[after] - quotes[first] != written.rindex(b'"')).any():
            return None
    if quotes[0, 0] or (stops - quotes[9] < 3 + _SHORTEST).any():
        return None
    if any((data[quotes[first] + i] != byte).any() for first, _, written in _TEXTS for i, byte in enumerate(written)):
        return None
    # The byte behind the last entry of all is the brace that ends the header.
    behind = data[stops]
    if (behind[: n - last] != _COMMA).any() or (data[quotes[8] - 1] != _COMMA).any():
        return None
    if (data[stops - 1] != _BRACE).any() or (data[stops - 2] != _BRACKET).any():
        return None
    second = _numbers(data, stops - 2)
    if second is None or (data[second[1] - 1] != _COMMA).any():
        return None
    first_number = _numbers(data, second[1] - 1)
    if first_number is None or (first_number[1] != quotes[9] + 3).any():
        return None
    return np.stack((quotes[0] + 1, quotes[1], quotes[4], quotes[8] - 1)), first_number[0], second[0]


def _numbers(data: _Bytes, ends: Numbers) -> tuple[Numbers, Numbers] | None:
    """The decimal numbers that end at ``ends``, and where they begin; None when one of them is none."""
    values = np.zeros(len(ends), np.int64)
    at = ends.copy()
    power = 1
    for _ in range(_MOST_DIGITS):
        # What is no digit becomes more than nine, and goes on being looked at.
        digits = data[at - 1] - np.uint8(48)
        is_digit = digits <= 9
        if not is_digit.any():
            break
        values += np.where(is_digit, digits, 0) * np.int64(power)
        at -= is_digit
        power *= 10
    lengths = ends - at
    if not lengths.all() or ((data[at] == 48) & (lengths > 1)).any():
        return None
    return values, at


def _texts(raw: bytes, text: str, places: Numbers) -> tuple[list[str], list[str]]:
    """The texts between the first two of four rows of places, and those between the other two."""
    begins, ends, more_begins, more_ends = places.tolist()
    if len(text) == len(raw):
        names = [text[a:b] for a, b in zip(begins, ends, strict=True)]
        return names, [text[a:b] for a, b in zip(more_begins, more_ends, strict=True)]
    # No line ends are in them.
    joined = b"\n".join([raw[a:b] for a, b in zip(begins, ends, strict=True)])
    layouts = b"\n".join([raw[a:b] for a, b in zip(more_begins, more_ends, strict=True)])
    return joined.decode().split("\n"), layouts.decode().split("\n")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice")
    return made


_DECODER: Final[Any] = json.JSONDecoder(object_pairs_hook=_unique)
_QUOTE, _COMMA, _BRACE, _BRACKET = (np.uint8(byte) for byte in b'",}]')
