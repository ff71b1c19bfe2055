"""What two names differ in: runs of segments that become others, with their numbers as variables and their places."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["NUMBER", "Edit", "Part", "Segment", "Site", "alike", "distance", "edits", "groups", "reach"]

NUMBER = re.compile("[0-9]+")
_MAX_VALUES = 64

Part = str | int
"""A piece of a segment: text, or the place of a number among the numbers of its key."""
Segment = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """Segments `old` become `new`; numbers are places among those of `old`, so equal edits compare equal."""

    old: tuple[Segment, ...]
    new: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """Where an edit stands: the segments before and after it in one group of keys, and what their numbers are there.

    `fixed` has the text of each number that is the same in the whole group. `is_leaf`: the edit is the last segment.
    """

    before: tuple[Segment, ...]
    after: tuple[Segment, ...]
    fixed: tuple[tuple[int, str], ...]

    @property
    def is_leaf(self) -> bool:
        """Whether nothing stands after the edit."""
        return not self.after


@dataclass(slots=True)
class Group:
    """Pairs of names which differ in the same way; `old` and `new` share the places of their numbers."""

    old: tuple[Segment, ...]
    new: tuple[Segment, ...]
    matches: tuple[tuple[int, int], ...]
    fixed: dict[int, str]
    members: list[int]


def distance(one: str, other: str) -> int:
    """How many segments must be put in, left out or replaced to make one key the other."""
    if one == other:
        return 0
    left, right = one.split("."), other.split(".")
    line = list(range(len(right) + 1))
    for row, segment in enumerate(left, 1):
        corner, line[0] = line[0], row
        for column, wanted in enumerate(right, 1):
            corner, line[column] = (
                line[column],
                min(line[column] + 1, line[column - 1] + 1, corner + (segment != wanted)),
            )
    return line[-1]


def reach(edit: Edit) -> int:
    """How many segments `edit` brings right, where it stands."""
    old, new = (
        ".".join("".join(part if isinstance(part, str) else f"#{part}" for part in segment) for segment in side)
        for side in (edit.old, edit.new)
    )
    return distance(old, new) if old and new else max(len(edit.old), len(edit.new))


def alike(pairs: Iterable[tuple[str, str]]) -> Iterator[list[int]]:
    """The places of pairs which differ in their numbers only."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, (old, new) in enumerate(pairs):
        found[NUMBER.sub("#", old), NUMBER.sub("#", new)].append(place)
    yield from found.values()


def groups(pairs: Sequence[tuple[str, str]]) -> list[Group]:
    """The pairs in groups that one edit serves: numbers are copied from old to new name or stand fixed in both."""
    found: list[Group] = []
    for members in alike(pairs):
        old, new = (_segments(NUMBER.sub("#", name)) for name in pairs[members[0]])
        numbers = {place: (NUMBER.findall(pairs[place][0]), NUMBER.findall(pairs[place][1])) for place in members}
        found += _linked(old, new, members, numbers)
    return found


def _linked(
    old: tuple[Segment, ...],
    new: tuple[Segment, ...],
    members: list[int],
    numbers: dict[int, tuple[list[str], list[str]]],
) -> Iterator[Group]:
    left = [numbers[place][0] for place in members]
    right = [numbers[place][1] for place in members]
    n_left, n_right = len(left[0]), len(right[0])
    same = {
        (i, j)
        for i in range(n_left)
        for j in range(n_right)
        if all(mine[i] == theirs[j] for mine, theirs in zip(left, right, strict=True))
    }
    matches = _matches(old, new, same)
    fixed = {i: left[0][i] for i in range(n_left) if all(mine[i] == left[0][i] for mine in left)}
    links = {theirs: mine for a, b in matches for mine, theirs in zip(_places(old[a]), _places(new[b]), strict=True)}
    copied = set(links.values())
    split: int | None = None
    for a0, a1, b0, b1 in _runs(matches, len(old), len(new)):
        inside = [i for segment in old[a0:a1] for i in _places(segment)]
        for j in (j for segment in new[b0:b1] for j in _places(segment)):
            near = [i for i in inside if (i, j) in same and i not in copied]
            if near and not (near[0] in fixed and len(members) == 1 and len(near) > 1):
                links[j] = near[0]
                copied.add(near[0])
            elif any(theirs[j] != right[0][j] for theirs in right):
                split = _splitter(left, right, j) if split is None else split
        for i in inside:
            if i not in fixed and i not in copied:
                split = i if split is None else split
    if split is not None and len(members) > 1:
        parts: dict[str, list[int]] = defaultdict(list)
        for place in members:
            parts[numbers[place][0][split]].append(place)
        if len(parts) > 1 and len(parts) <= _MAX_VALUES:
            for part in parts.values():
                yield from _linked(old, new, part, numbers)
        return
    texts = right[0]
    named = tuple(_join(tuple(links.get(p, texts[p]) if isinstance(p, int) else p for p in seg)) for seg in new)
    plain = tuple(
        _join(tuple(fixed[p] if isinstance(p, int) and p in fixed and p not in copied else p for p in segment))
        for segment in old
    )
    yield Group(plain, named, matches, fixed, members)


def _splitter(left: Sequence[list[str]], right: Sequence[list[str]], wanted: int) -> int | None:
    """The number of the old name that decides the one at `wanted` of the new name, with the fewest values."""
    best: tuple[int, int] | None = None
    for i in range(len(left[0])):
        values: dict[str, set[str]] = defaultdict(set)
        for mine, theirs in zip(left, right, strict=True):
            values[mine[i]].add(theirs[wanted])
        if len(values) > 1:
            rank = sum(len(found) for found in values.values()) * 1000 + len(values)
            if best is None or rank < best[0]:
                best = (rank, i)
    return best[1] if best else None


def edits(group: Group) -> Iterator[tuple[Edit, Site, bool]]:
    """The edits of a group with their sites, each whole and (flag set) in smaller steps."""
    runs = list(_runs(group.matches, len(group.old), len(group.new)))
    wholes = set(runs)
    steps: set[tuple[int, int, int, int]] = set()
    for one, other in pairwise(runs):
        wholes.add((one[0], other[1], one[2], other[3]))
        if other[0] - one[1] == 1:
            steps |= {one, other}
    wholes -= steps
    for a0, a1, b0, b1 in runs:
        n_old, n_new = a1 - a0, b1 - b0
        if n_old == n_new:
            steps |= {(a0 + n, a0 + n + 1, b0 + n, b0 + n + 1) for n in range(n_old)}
        for n in range(1, n_old):
            steps |= {(a0, a0 + n, b0, b0), (a0 + n, a1, b0, b1), (a1 - n, a1, b1, b1), (a0, a1 - n, b0, b1)}
            if n < n_new:
                steps |= {(a0, a0 + n, b0, b0 + n), (a1 - n, a1, b1 - n, b1)}
                steps |= {(a0 + n, a1, b0 + n, b1), (a0, a1 - n, b0, b1 - n)}
        for n in range(1, n_new):
            steps |= {(a0, a0, b0, b0 + n), (a0, a1, b0 + n, b1), (a1, a1, b1 - n, b1), (a0, a1, b0, b1 - n)}
    for i0, i1, j0, j1 in (*sorted(wholes), *sorted(steps - wholes)):
        old, new = group.old[i0:i1], group.new[j0:j1]
        for found in dict.fromkeys((_edit(old, new), _edit(_plain(old, group.fixed), _plain(new, group.fixed)))):
            if found is not None and found.old != found.new:
                site = Site(group.old[:i0], group.old[i1:], tuple(sorted(group.fixed.items())))
                yield found, site, (i0, i1, j0, j1) not in wholes


def _plain(segments: tuple[Segment, ...], fixed: dict[int, str]) -> tuple[Segment, ...]:
    """The segments with the numbers that are the same everywhere as text."""
    return tuple(_join(tuple(fixed.get(p, p) if isinstance(p, int) else p for p in seg)) for seg in segments)


def _edit(old: tuple[Segment, ...], new: tuple[Segment, ...]) -> Edit | None:
    order: dict[int, int] = {}
    for segment in old:
        for part in segment:
            if isinstance(part, int):
                order.setdefault(part, len(order))
    if any(isinstance(part, int) and part not in order for segment in new for part in segment):
        return None
    return Edit(_renumbered(old, order), _renumbered(new, order))


def _renumbered(segments: tuple[Segment, ...], order: dict[int, int]) -> tuple[Segment, ...]:
    return tuple(tuple(order[p] if isinstance(p, int) else p for p in segment) for segment in segments)


def _segments(template: str) -> tuple[Segment, ...]:
    found = []
    place = 0
    for text in template.split("."):
        parts: list[Part] = []
        for n, piece in enumerate(text.split("#")):
            if n:
                parts.append(place)
                place += 1
            if piece:
                parts.append(piece)
        found.append(tuple(parts))
    return tuple(found)


def _join(segment: Segment) -> Segment:
    """Neighbouring texts of a segment as one."""
    parts: list[Part] = []
    for part in segment:
        if parts and isinstance(part, str) and isinstance(parts[-1], str):
            parts[-1] += part
        else:
            parts.append(part)
    return tuple(parts)


def _places(segment: Segment) -> list[int]:
    return [part for part in segment if isinstance(part, int)]


def _shape(segment: Segment) -> Segment:
    return tuple(-1 if isinstance(part, int) else part for part in segment)


def _matches(old: Sequence[Segment], new: Sequence[Segment], same: set[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The longest common run of segments, as places in both; words count more than bare numbers."""

    def equal(a: int, b: int) -> bool:
        if _shape(old[a]) != _shape(new[b]):
            return False
        return all(pair in same for pair in zip(_places(old[a]), _places(new[b]), strict=True))

    table = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for a in reversed(range(len(old))):
        for b in reversed(range(len(new))):
            best = max(table[a + 1][b], table[a][b + 1])
            if equal(a, b):
                best = max(best, table[a + 1][b + 1] + (1.0 if any(isinstance(p, str) for p in old[a]) else 0.9))
            table[a][b] = best
    found, a, b = [], 0, 0
    while a < len(old) and b < len(new):
        weight = 1.0 if any(isinstance(p, str) for p in old[a]) else 0.9
        if equal(a, b) and abs(table[a][b] - table[a + 1][b + 1] - weight) < 1e-9:
            found.append((a, b))
            a, b = a + 1, b + 1
        elif table[a + 1][b] >= table[a][b + 1]:
            a += 1
        else:
            b += 1
    return tuple(found)


def _runs(matches: Sequence[tuple[int, int]], n_old: int, n_new: int) -> Iterator[tuple[int, int, int, int]]:
    """The gaps between matches that are not empty on both sides."""
    for (a, b), (c, d) in pairwise([(-1, -1), *matches, (n_old, n_new)]):
        if c > a + 1 or d > b + 1:
            yield a + 1, c, b + 1, d
