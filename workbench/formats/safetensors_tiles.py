"""The header of a safetensors file as the reference writer spells it, taken apart by one pattern.

JSON with its checks costs ten times as much for 100,000 tensors. This reads only text that the pattern covers from the
first brace to the last, so nothing between two entries is skipped; for any other spelling the strict parser is there.
"""

from __future__ import annotations

import json
import re
from typing import Final

__all__ = ["LAYOUT", "Tiles", "tiles"]

Tiles = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Of each entry its name, what stands between that and the numbers (dtype and shape), begin and end, as written."""

_NUMBER: Final = r"(?:0|[1-9][0-9]{0,17})"
LAYOUT: Final = re.compile(
    r'"dtype":"([A-Z0-9_]{1,12})","shape":\[((?:NUMBER(?:,NUMBER)*)?)\]'.replace("NUMBER", _NUMBER)
)
# What does not fit is one last match without groups, so that entries always lie one after the other.
_ENTRY: Final = re.compile(
    r'"([^"\\\x00-\x1f]*)":\{("dtype":"[A-Z0-9_]{1,12}","shape":\[(?:NUMBER(?:,NUMBER)*)?\]),'
    r'"data_offsets":\[(NUMBER),(NUMBER)\]\}(?:,|(\} *\Z))|.+'.replace("NUMBER", _NUMBER),
    re.DOTALL,
)
_METADATA: Final = '{"__metadata__":'


def tiles(text: str) -> tuple[dict[str, str] | None, Tiles] | None:
    """The metadata and the entries in order, or None where the pattern does not cover the text or a name is doubled."""
    metadata: dict[str, str] | None = None
    begin = 1
    if text.startswith(_METADATA):
        try:
            metadata, begin = _DECODER.raw_decode(text, len(_METADATA))
        except (ValueError, RecursionError):
            return None
        if not isinstance(metadata, dict) or not all(type(value) is str for value in metadata.values()):
            return None
        if text[begin : begin + 1] != ",":
            return None
        begin += 1
    elif not text.startswith("{"):
        return None
    found = _ENTRY.findall(text, begin)
    # Only the match that reaches the end of the text has the closing brace.
    if not found or not found[-1][4]:
        return None
    names, layouts, firsts, ends, _ = zip(*found, strict=True)
    if len(set(names)) != len(names) or "__metadata__" in names:
        return None
    return metadata, (names, layouts, firsts, ends)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice")
    return made


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique)
