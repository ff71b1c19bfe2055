"""Closing the gaps in list indices, as burn-store's ``map_indices_contiguous`` does it (0.20 on).

A segment is an index when Rust reads it as `usize`: digits with an optional plus, so `01` and `+2` are indices and
2^64 is none. All indices below one prefix are numbered 0, 1, … in numeric order, wherever in the key they stand;
the prefix is the one before any renumbering. `01` and `1` therefore get the same number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_INDEX = re.compile(r"\+?[0-9]+")
_MAX_INDEX = 2**64 - 1
_EMPTY: dict[str, str] = {}


def as_index(segment: str) -> int | None:
    """The number that Rust's ``parse::<usize>`` reads in `segment`, or None."""
    if _INDEX.fullmatch(segment) is None:
        return None
    digits = segment.lstrip("+").lstrip("0") or "0"
    if len(digits) > 20:  # int() refuses very long numbers; 2^64 has 20 digits
        return None
    number = int(digits)
    return number if number <= _MAX_INDEX else None


def close_gaps(keys: Sequence[str], *, dot_is_root: bool) -> list[str]:
    """`keys` with the indices of every prefix renumbered from 0, in the same order.

    `dot_is_root`: the one corner in which burn-store 0.22 differs from 0.21 (see `workbench.burn.Reader`).

    >>> close_gaps(["fc.0.weight", "fc.2.weight"], dot_is_root=True)
    ['fc.0.weight', 'fc.1.weight']
    """
    # The prefix of a segment is all that stands before it, its dot included: "" at the root, "." below an empty one.
    found: dict[str, dict[str, int]] = {}
    seen: set[str] = {""}
    for key in keys:
        prefix = key[: key.rfind(".") + 1]
        if key[-1:].isdigit():
            _note(found, prefix, key[len(prefix) :])
        while prefix not in seen:
            seen.add(prefix)
            prefix, segment = _split(prefix[:-1])
            if segment[-1:].isdigit():
                _note(found, prefix, segment)
    if dot_is_root and "." in found:
        found[""] = found.get("", {}) | found["."]
        found["."] = found[""]
    moved = {prefix: table for prefix, indices in found.items() if (table := _renumber(indices))}
    if not moved:
        return list(keys)

    new_prefixes = {"": ""}
    result = []
    for key in keys:
        prefix, segment = _split(key)
        if prefix not in new_prefixes:
            _renumber_prefix(prefix, moved, new_prefixes)
        result.append(new_prefixes[prefix] + moved.get(prefix, _EMPTY).get(segment, segment))
    return result


def _split(key: str) -> tuple[str, str]:
    """All before the last segment, with its dot, and the last segment."""
    cut = key.rfind(".") + 1
    return key[:cut], key[cut:]


def _note(found: dict[str, dict[str, int]], prefix: str, segment: str) -> None:
    if (number := as_index(segment)) is not None:
        found.setdefault(prefix, {})[segment] = number


def _renumber_prefix(prefix: str, moved: dict[str, dict[str, str]], known: dict[str, str]) -> None:
    """Enter `prefix` and all prefixes of it into `known`, without recursion."""
    pending = []
    while prefix not in known:
        outer, segment = _split(prefix[:-1])
        pending.append((prefix, outer, segment))
        prefix = outer
    for whole, outer, segment in reversed(pending):
        known[whole] = f"{known[outer]}{moved.get(outer, _EMPTY).get(segment, segment)}."


def _renumber(indices: dict[str, int]) -> dict[str, str]:
    """The new text of each index of one prefix; empty where all of them keep theirs."""
    places = {number: str(place) for place, number in enumerate(sorted(set(indices.values())))}
    table = {segment: places[number] for segment, number in indices.items()}
    return table if any(new != old for old, new in table.items()) else {}
