"""Closing the gaps in list indices, as each generation of Burn does it.

A segment is an index when Rust reads it as `usize`: digits with an optional plus, so `01` and `+2` are indices and
2^64 is none.

flat (burn-store's ``map_indices_contiguous``, 0.20 on): all indices below one prefix are numbered 0, 1, … in numeric
order, wherever in the key they stand; the prefix is the one before any renumbering. `01` and `1` get the same number.

nested (burn-import): keys become a tree of maps and lists. A map's child is a list where its first segment is an
index; what lies in a list is a map, so an index directly below an index stays, as do those at the root. Lists lose
their gaps.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench.finding import Finding, Severity
from workbench.mapping import regex

__all__ = ["NestedResult", "as_index", "close_gaps", "nested_indices", "reindexed"]

_INDEX = re.compile(r"\+?[0-9]+")
_MAX_INDEX = 2**64 - 1
_HUGE = 10_000_000
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


def reindexed(keys: regex.Keys, *, nested: bool, dot_is_root: bool, keep: Sequence[str] = ()) -> regex.Keys:
    """`keys` with their gaps closed; the very same column where none moves.

    `keep` are regexes on the prefix before a number; a list whose prefix one of them matches keeps its indices.
    """
    heads = regex.index_heads(keys)
    counts = regex.counted(heads)
    distinct = list(counts)
    if not distinct:
        return keys
    if nested:
        tree = _Nested(counts, _sorted_texts(keys), keep)
        moved = [tree.name(head) for head in distinct]
    else:
        moved = close_gaps(distinct, dot_is_root=dot_is_root, keep=keep)
    changed = {old: new for old, new in zip(distinct, moved, strict=True) if old != new}
    return regex.with_heads(keys, heads, changed) if changed else keys


def close_gaps(keys: Sequence[str], *, dot_is_root: bool, keep: Sequence[str] = ()) -> list[str]:
    """`keys` with the indices of every prefix renumbered from 0, in the same order.

    `dot_is_root`: the one corner in which burn-store 0.22 differs from 0.21 (see `workbench.burn.Reader`). `keep`:
    regexes as ``map_indices_contiguous_except`` takes them.

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
    for prefix in _kept(moved, keep):
        del moved[prefix]
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


@dataclass(frozen=True, slots=True)
class NestedResult:
    """What burn-import's tree makes of keys: `names` in their order, and the names of its `lists`.

    `random` tells where chance decides between the names given here and a panic, `panics` where it always panics.
    """

    names: list[str]
    lists: tuple[str, ...]
    random: tuple[Finding, ...]
    panics: tuple[Finding, ...]


def nested_indices(keys: Sequence[str], keep: Sequence[str] = ()) -> NestedResult:
    """The names that burn-import gives to `keys`, each valid Unicode text.

    >>> nested_indices(["fc.0.weight", "fc.2.weight", "0.w", "2.w"]).names
    ['fc.0.weight', 'fc.1.weight', '0.w', '2.w']
    """
    column = regex.column(keys)
    heads: list[str | None] = regex.index_heads(column).to_list()
    tree = _Nested(Counter(head for head in heads if head is not None), sorted(keys), keep)
    names = [key if head is None else tree.name(head) + key[len(head) :] for key, head in zip(keys, heads, strict=True)]
    random = tuple(
        Finding(
            "mixed-list",
            Severity.ERROR,
            f"keys below {place!r}" if place else "keys at the root",
            "Some of them are numbers and some are not: burn-import panics or keeps the numbers, by chance.",
            "Rename them so that only numbers are left, or none.",
        )
        for place in tree.mixed
    )
    panics = tuple(
        Finding(
            "huge-index",
            Severity.ERROR,
            f"keys below {place!r}",
            f"burn-import makes room for {number:,} elements before the last one"
            + (", which is more than it can count: it panics." if number == _MAX_INDEX else "."),
            "Rename the index with a rule.",
        )
        for place, number in tree.huge
    )
    return NestedResult(names, tuple(tree.lists()), random, panics)


class _Nested:
    """burn-import's tree, made of the heads of keys (up to the last index): which containers are lists.

    A container is a list if its parent is a map and all segments in it are indices; where only some are, it is a map
    or the load panics. `01` and `1` are one element of a list, so what lies below both is one container.
    """

    def __init__(self, heads: Counter[str], keys: list[str], keep: Sequence[str]) -> None:
        self.mixed: list[str] = []
        self.huge: list[tuple[str, int]] = []
        # Prefixes as in close_gaps; of each, how many keys have an index next, and the indices.
        n_indexed: dict[str, int] = {}
        indices: dict[str, dict[str, int]] = {}
        for head, n in heads.items():
            prefix, segment = _split(head)
            while True:
                if (number := as_index(segment)) is not None:
                    indices.setdefault(prefix, {})[segment] = number
                    n_indexed[prefix] = n_indexed.get(prefix, 0) + n
                if not prefix:
                    break
                prefix, segment = _split(prefix[:-1])
        mixed = {prefix for prefix, n in n_indexed.items() if n < _n_below(keys, prefix)}
        kept = set(_kept(indices, keep))
        self._canonical: dict[str, str] = {"": ""}
        self._names: dict[str, str] = {"": ""}
        self._moved: dict[str, dict[int, str]] = {}
        self._lists: set[str] = set()
        groups: dict[int, list[str]] = {}
        for prefix in indices:
            groups.setdefault(prefix.count("."), []).append(prefix)
        for depth in sorted(groups):
            merged: dict[str, list[str]] = {}
            for prefix in groups[depth]:
                merged.setdefault(self._canon(prefix), []).append(prefix)
            for canonical, prefixes in merged.items():
                if not canonical or self._canon_parent(canonical) in self._lists:
                    continue
                if any(prefix in mixed for prefix in prefixes):
                    self.mixed.append(canonical[:-1])
                    continue
                numbers = {number for prefix in prefixes for number in indices[prefix].values()}
                self._lists.add(canonical)
                if max(numbers) >= _HUGE:
                    self.huge.append((canonical[:-1], max(numbers)))
                if not any(prefix in kept for prefix in prefixes):
                    self._moved[canonical] = {number: str(place) for place, number in enumerate(sorted(numbers))}

    def name(self, key: str) -> str:
        """`key` with its gaps closed."""
        prefix, segment = _split(key)
        return self._name_of(prefix) + self._new(prefix, segment)

    def lists(self) -> Iterable[str]:
        """The new names of all lists."""
        return sorted(self._name_of(canonical)[:-1] for canonical in self._lists)

    def _new(self, prefix: str, segment: str) -> str:
        table = self._moved.get(self._canon(prefix))
        number = None if table is None else as_index(segment)
        return segment if table is None or number is None else table.get(number, segment)

    def _name_of(self, prefix: str) -> str:
        for whole, outer, segment in _steps(prefix, self._names):
            self._names[whole] = f"{self._names[outer]}{self._new(outer, segment)}."
        return self._names[prefix]

    def _canon(self, prefix: str) -> str:
        """`prefix` with the indices of lists spelt plainly. Containers above it must be known."""
        for whole, outer, segment in _steps(prefix, self._canonical):
            above = self._canonical[outer]
            number = as_index(segment) if above in self._lists else None
            self._canonical[whole] = f"{above}{segment if number is None else number}."
        return self._canonical[prefix]

    @staticmethod
    def _canon_parent(canonical: str) -> str:
        return _split(canonical[:-1])[0]


def _n_below(ordered: list[str], prefix: str) -> int:
    """How many of the `ordered` keys begin with `prefix`, which ends in a dot or is empty."""
    if not prefix:
        return len(ordered)
    return bisect_left(ordered, prefix[:-1] + "/") - bisect_left(ordered, prefix)


def _sorted_texts(keys: regex.Keys) -> list[str]:
    texts: list[str] = keys.sort().to_list()
    return texts


def _kept(prefixes: Iterable[str], keep: Sequence[str]) -> list[str]:
    """Those of `prefixes` that a keep-list names."""
    prefixes = list(prefixes)
    if not keep or not prefixes:
        return []
    places = regex.column([prefix[:-1] for prefix in prefixes])
    found = regex.hits(places, keep[0])
    for pattern in keep[1:]:
        found |= regex.hits(places, pattern)
    return [prefix for prefix, is_kept in zip(prefixes, found.tolist(), strict=True) if is_kept]


def _split(key: str) -> tuple[str, str]:
    """All before the last segment, with its dot, and the last segment."""
    cut = key.rfind(".") + 1
    return key[:cut], key[cut:]


def _note(found: dict[str, dict[str, int]], prefix: str, segment: str) -> None:
    if (number := as_index(segment)) is not None:
        found.setdefault(prefix, {})[segment] = number


def _steps(prefix: str, known: dict[str, str]) -> list[tuple[str, str, str]]:
    """`prefix` and its prefixes that are not yet `known`, outermost first: each with its outer and segment."""
    pending = []
    while prefix not in known:
        outer, segment = _split(prefix[:-1])
        pending.append((prefix, outer, segment))
        prefix = outer
    return pending[::-1]


def _renumber_prefix(prefix: str, moved: dict[str, dict[str, str]], known: dict[str, str]) -> None:
    """Enter `prefix` and all prefixes of it into `known`, without recursion."""
    for whole, outer, segment in _steps(prefix, known):
        known[whole] = f"{known[outer]}{moved.get(outer, _EMPTY).get(segment, segment)}."


def _renumber(indices: dict[str, int]) -> dict[str, str]:
    """The new text of each index of one prefix; empty where all of them keep theirs."""
    places = {number: str(place) for place, number in enumerate(sorted(set(indices.values())))}
    table = {segment: places[number] for segment, number in indices.items()}
    return table if any(new != old for old, new in table.items()) else {}
