"""Which source tensor a target tensor is: by shape, names, numbers and order. What two could be equally stays open.

Tensors of one module (weight, bias, running_mean, …) are aligned together. Evidence adds up to a score; a pair is
taken when it is the best of its row and of its column by a margin, the surest pairs first, and what was taken tells
which prefixes belong together. Numbers are an order; names are one only beside numbers, and only where the keys of
both sides do not simply stand in alphabetical order.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.suggesting.names import FAMILIES, leaf_of, template, words

__all__ = ["Alignment", "Ambiguity", "Item", "align", "fits", "representatives"]

Shape = tuple[int, ...] | None
_MARGIN = 0.04
_LEVELS = (1.6, 1.2, 0.9, 0.6, 0.3, 0.15)
_NEVER = -9.0
_MANY_ALIKE = 4
_MANY_FLAT = 64


class Item(NamedTuple):
    """A tensor by its key; a shape of None is not known."""

    key: str
    shape: Shape = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """A tensor of the target which several of the source fit equally well; none of them was taken."""

    key: str
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """`pairs`: source key and target key, of the representatives only; `ambiguous`: what stayed open.

    `others` are the representatives of the source that belong nowhere, `open` those of the target that got nothing.
    """

    pairs: tuple[tuple[str, str], ...]
    others: tuple[str, ...]
    open: tuple[str, ...]
    ambiguous: tuple[Ambiguity, ...]


@dataclass(slots=True)
class _Unit:
    """A module and its own parameters: canonical leaf to item."""

    path: str
    place: int
    leaves: dict[str, Item] = field(default_factory=dict)
    template: str = ""
    numbers: tuple[int, ...] = ()
    ancestors: tuple[str, ...] = ()

    def finish(self) -> None:
        self.template, self.numbers = template(self.path)
        segments = self.path.split(".")
        known = []
        for end in range(1, len(segments) + 1):
            prefix = ".".join(segments[:end])
            last = segments[end - 1] if segments[end - 1].isdigit() else ""
            known.append(f"{template(prefix)[0]} {last}")
        self.ancestors = tuple(known)


def fits(source: Shape, target: Shape, *, transposable: bool) -> bool:
    """Whether a tensor of shape `source` can be one of shape `target`."""
    if source is None or target is None or source == target:
        return True
    return transposable and len(source) == 2 and source[::-1] == target


def representatives(items: Sequence[Item]) -> list[Item]:
    """`items` without most of the equal children of numbered containers: the first three and the last stay."""
    containers: dict[str, dict[str, list[tuple[str, Shape]]]] = defaultdict(lambda: defaultdict(list))
    places = []
    for item in items:
        mine = []
        segments = item.key.split(".")
        for position, segment in enumerate(segments):
            name, numbers = template(segment)
            if len(numbers) == 1:
                prefix = ".".join([*segments[:position], name])
                containers[prefix][segment].append((".".join(segments[position + 1 :]), item.shape))
                mine.append((prefix, segment))
        places.append(mine)
    dropped: set[tuple[str, str]] = set()
    for prefix, children in containers.items():
        is_deep = any("." in rest for content in children.values() for rest, _ in content)
        if len(children) <= (_MANY_ALIKE if is_deep else _MANY_FLAT):
            continue
        alike: dict[frozenset[tuple[str, Shape]], list[str]] = defaultdict(list)
        for child, content in children.items():
            alike[frozenset(content)].append(child)
        for group in alike.values():
            group.sort(key=lambda text: (len(text), text))
            dropped.update((prefix, child) for child in group[_MANY_ALIKE - 1 : -1])
    return [item for item, mine in zip(items, places, strict=True) if not any(place in dropped for place in mine)]


def align(source: Sequence[Item], target: Sequence[Item], transposable: Collection[str] = ()) -> Alignment:
    """What belongs together, of representatives of both.

    `transposable` are target keys which a transposed source fits too (weights of Linear).
    """
    return _Aligner(source, target, transposable).run()


class _Aligner:
    def __init__(self, source: Sequence[Item], target: Sequence[Item], transposable: Collection[str]) -> None:
        self.sources, self.targets = _units(source), _units(target)
        self.transposable = transposable
        self.taken: list[tuple[int, int]] = []
        self.ordered = not _alphabetical(source) and not _alphabetical(target)
        self.leaf_fit = self._leaf_fits()
        self.possible: npt.NDArray[np.bool_] = np.asarray(self.leaf_fit > 0, np.bool_)
        self.names = self._names()
        self.base = self.names + 0.3 * self.leaf_fit + self._numbers()
        self.prefixes = _prefixes(self.sources), _prefixes(self.targets)
        n_left, n_right = (len(side.weights) for side in self.prefixes)
        self.votes = np.zeros((n_left, n_right), np.float32)
        self.n_left, self.n_right = np.zeros(n_left, np.float32), np.zeros(n_right, np.float32)
        self.rows = np.ones(len(self.sources), np.bool_)
        self.columns = np.ones(len(self.targets), np.bool_)

    def run(self) -> Alignment:
        if self.sources and self.targets:
            for level in _LEVELS:
                while self._take_best(level):
                    pass
            while self._take_ordered() or any(self._take_best(level) for level in _LEVELS):
                pass
        order = sorted(self.taken, key=lambda pair: self.targets[pair[1]].place)
        pairs = [pair for row, column in order for pair in self._pairs(row, column)]
        paired = {key for key, _ in pairs}
        others = [item.key for unit in self.sources for item in unit.leaves.values() if item.key not in paired]
        filled = {key for _, key in pairs}
        left = [item.key for unit in self.targets for item in unit.leaves.values() if item.key not in filled]
        return Alignment(tuple(pairs), tuple(others), tuple(left), tuple(self._ambiguous()))

    # ---- evidence ---------------------------------------------------------------------------------

    def _leaf_fits(self) -> npt.NDArray[np.float32]:
        """How much of the two modules' parameters is the same; 0 where they cannot be one module."""
        left = _classes(self.sources, lambda _: False)
        right = _classes(self.targets, lambda key: key in self.transposable)
        table = np.zeros((len(left[0]), len(right[0])), np.float32)
        near: dict[tuple[str, Shape], set[int]] = defaultdict(set)
        for j, other in enumerate(right[0]):
            for place in _marks(other):
                near[place].add(j)
        for i, one in enumerate(left[0]):
            known = all(shape is not None for _, shape, _ in one)
            found = [near[place] for place in _marks(one)] if known else [set(range(len(right[0])))]
            for j in set().union(*found, near["", None]):
                table[i, j] = _leaf_fit(one, right[0][j])
        return table[np.ix_(left[1], right[1])]

    def _names(self) -> npt.NDArray[np.float32]:
        paths = [unit.path for unit in (*self.sources, *self.targets)]
        spoken = [tuple(dict.fromkeys(words(path))) for path in paths]
        counts = Counter(word for mine in spoken for word in mine)
        places = {word: place for place, word in enumerate(counts)}
        weights = np.array([math.log(1 + len(spoken) / n) for n in counts.values()], np.float32)
        said = np.zeros((len(spoken), len(places)), np.float32)
        for row, mine in enumerate(spoken):
            for word in mine:
                said[row, places[word]] = 1
        one, other = said[: len(self.sources)], said[len(self.sources) :]
        both = (one * weights) @ other.T
        total = (one @ weights)[:, None] + (other @ weights)[None, :]
        for family in FAMILIES:
            members = [places[word] for word in family if word in places]
            left, right = one[:, members], other[:, members]
            self.possible &= ~((left.sum(1) > 0)[:, None] & (right.sum(1) > 0)[None, :] & ((left @ right.T) == 0))
        return np.asarray(2 * both / np.maximum(total, 1e-6), np.float32)

    def _numbers(self) -> npt.NDArray[np.float32]:
        """Up to 1 where the numbers in both names are the same and that means something, down to -1 where not."""
        score = np.zeros(self.possible.shape, np.float32)
        rows, columns = _by_template(self.sources), _by_template(self.targets)
        for there in columns.values():
            near = [
                (float(self.names[here[0], there[0]]), here)
                for here in rows.values()
                if self.possible[np.ix_(here, there)].any()
            ]
            for _, here in sorted(near, key=lambda pair: -pair[0])[:12]:
                found = self._same_numbers(here, there)
                if found is not None:
                    left, right, weight = found
                    same = [[weight if one == other else -weight for other in right] for one in left]
                    score[np.ix_(here, there)] = same
        return score

    def _same_numbers(
        self, here: list[int], there: list[int]
    ) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]], float] | None:
        n_left, n_right = len(self.sources[here[0]].numbers), len(self.targets[there[0]].numbers)
        n_possible = int(self.possible[np.ix_(here, there)].any(0).sum())
        for size in range(min(n_left, n_right), 0, -1):
            best: tuple[float, list[tuple[int, ...]], list[tuple[int, ...]]] | None = None
            for chosen in combinations(range(n_right), size):
                right = [tuple(self.targets[column].numbers[n] for n in chosen) for column in there]
                for picked in combinations(range(n_left), size):
                    left = [tuple(self.sources[row].numbers[n] for n in picked) for row in here]
                    if size > 1 and _one_for_many(left, right):
                        continue
                    rows: dict[tuple[int, ...], list[int]] = defaultdict(list)
                    for row, numbers in zip(here, left, strict=True):
                        rows[numbers].append(row)
                    n_met = sum(
                        1
                        for column, numbers in zip(there, right, strict=True)
                        if numbers in rows and self.possible[rows[numbers], column].any()
                    )
                    share = n_met / n_possible
                    if share >= 0.9 and (best is None or share > best[0]):
                        best = (share, left, right)
            if best is not None:
                n_distinct = len(set(best[2]))
                return best[1], best[2], 1.0 if n_distinct > 2 else 0.5 if n_distinct == 2 else 0.2
        return None

    def _context(self) -> npt.NDArray[np.float32]:
        """How often what was taken lies below the same prefixes as the two: the best of all pairs of prefixes."""
        if not self.taken:
            return np.zeros(self.possible.shape, np.float32)
        one, other = self.prefixes
        apart = self.n_left[:, None] + self.n_right[None, :] - self.votes
        share = self.votes / np.maximum(apart, 1) * one.weights[:, None] * other.weights[None, :]
        reach = share[one.places].max(1)
        score = np.zeros(self.possible.shape, np.float32)
        for level in range(other.places.shape[1]):
            np.maximum(score, reach[:, other.places[:, level]], out=score)
        return 0.5 * score

    # ---- decisions --------------------------------------------------------------------------------

    def _scores(self) -> npt.NDArray[np.float32]:
        score = self.base + self._context()
        score[~self.possible] = _NEVER
        score[~self.rows, :] = _NEVER
        score[:, ~self.columns] = _NEVER
        return score

    def _take_best(self, level: float) -> bool:
        score = self._scores()
        by_row, by_column = _best_two(score), _best_two(score.T)
        n_taken = len(self.taken)
        for row in np.flatnonzero(by_row.best > level).tolist():
            column = int(by_row.place[row])
            if by_column.place[column] != row or score[row, column] - self.leaf_fit[row, column] * 0.3 < 0.1:
                continue
            if min(by_row.margin[row], by_column.margin[column]) >= _MARGIN:
                self._take(row, column)
        return len(self.taken) > n_taken

    def _take_ordered(self) -> bool:
        """Take equally good pairs in order, where their numbers give one and their counts are the same."""
        score = self._scores()
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for column in np.flatnonzero(self.columns).tolist():
            best = float(score[:, column].max())
            if best > _NEVER / 2:
                groups[tuple(np.flatnonzero(score[:, column] > best - _MARGIN).tolist())].append(column)
        n_taken = len(self.taken)
        for rows, columns in groups.items():
            mine = score[list(rows), :]
            tied = mine > mine.max(1, keepdims=True) - _MARGIN
            closed = all(np.flatnonzero(line).tolist() == columns for line in tied)
            if len(rows) != len(columns) or not closed or not self._known(rows[0], columns[0]):
                continue
            left, right = [self.sources[row] for row in rows], [self.targets[column] for column in columns]
            if len(rows) > 1 and not self._in_order(left, right):
                continue
            one = sorted(rows, key=lambda row: _order(self.sources[row], left))
            other = sorted(columns, key=lambda column: _order(self.targets[column], right))
            for row, column in zip(one, other, strict=True):
                self._take(row, column)
        return len(self.taken) > n_taken

    def _known(self, row: int, column: int) -> bool:
        """Whether the shapes alone are evidence: known on both sides, and more than one number."""
        return any(
            one.shape is not None and other.shape is not None and len(one.shape) > 1
            for one, other in self._items(row, column)
        ) or bool(self.names[row, column] > 0.2)

    def _in_order(self, left: Sequence[_Unit], right: Sequence[_Unit]) -> bool:
        one, other = _numbered(left), _numbered(right)
        return (one and other) or ((one or other) and self.ordered)

    def _take(self, row: int, column: int) -> None:
        self.taken.append((row, column))
        self.rows[row] = self.columns[column] = False
        one, other = (side.places[n][side.places[n] > 0] for side, n in zip(self.prefixes, (row, column), strict=True))
        self.votes[np.ix_(one, other)] += 1
        self.n_left[one] += 1
        self.n_right[other] += 1

    # ---- what comes out ---------------------------------------------------------------------------

    def _items(self, row: int, column: int) -> Iterator[tuple[Item, Item]]:
        one, other = self.sources[row].leaves, self.targets[column].leaves
        for leaf, item in other.items():
            mine = one.get(leaf) or (_only(one) if _single(one, other) else None)
            if mine is not None:
                yield mine, item

    def _pairs(self, row: int, column: int) -> Iterator[tuple[str, str]]:
        for one, other in self._items(row, column):
            if fits(one.shape, other.shape, transposable=other.key in self.transposable):
                yield one.key, other.key

    def _ambiguous(self) -> Iterator[Ambiguity]:
        if not self.sources:
            return
        score = self._scores() if self.targets else np.zeros((0, 0), np.float32)
        for column in np.flatnonzero(self.columns).tolist():
            best = float(score[:, column].max())
            rows = np.flatnonzero(score[:, column] > best - _MARGIN).tolist()
            if best < 0.15 or len(rows) < 2:
                continue
            for leaf, item in self.targets[column].leaves.items():
                found = [self.sources[row].leaves[leaf].key for row in rows if leaf in self.sources[row].leaves]
                if len(found) > 1:
                    yield Ambiguity(item.key, tuple(found))


class _Best(NamedTuple):
    place: npt.NDArray[np.int64]
    best: npt.NDArray[np.float32]
    margin: npt.NDArray[np.float32]


def _best_two(score: npt.NDArray[np.float32]) -> _Best:
    place = score.argmax(1)
    best = score.max(1)
    if score.shape[1] == 1:
        return _Best(place, best, best - _NEVER)
    second = np.partition(score, -2, axis=1)[:, -2]
    return _Best(place, best, best - second)


def _units(items: Sequence[Item]) -> list[_Unit]:
    units: dict[str, _Unit] = {}
    for place, item in enumerate(items):
        path, leaf = leaf_of(item.key)
        name = f"{path}\0param" if leaf == "param" else path
        unit = units.setdefault(name, _Unit(path, place))
        if leaf in unit.leaves:
            unit = units.setdefault(f"{item.key}\0param", _Unit(item.key, place))
        unit.leaves.setdefault(leaf, item)
    for unit in units.values():
        unit.finish()
    return list(units.values())


Leaves = tuple[tuple[str, Shape, bool], ...]


def _classes(units: Sequence[_Unit], transposable: Callable[[str], bool]) -> tuple[list[Leaves], list[int]]:
    """The distinct sets of leaves, and the place of each unit's among them."""
    places: dict[Leaves, int] = {}
    rows = []
    for unit in units:
        leaves = tuple(
            (leaf, item.shape, leaf == "weight" and transposable(item.key)) for leaf, item in unit.leaves.items()
        )
        rows.append(places.setdefault(leaves, len(places)))
    return list(places), rows


def _marks(leaves: Leaves) -> Iterator[tuple[str, Shape]]:
    """Under what a class is found: two that fit share one; a leaf of unknown shape fits all."""
    for leaf, shape, turned in leaves:
        if shape is None:
            yield "", None
        elif leaf != "count" or len(leaves) == 1:
            yield ("weight" if leaf == "param" else leaf), shape
            if turned:
                yield "weight", shape[::-1]


def _leaf_fit(source: Leaves, target: Leaves) -> float:
    mine = {leaf: shape for leaf, shape, _ in source if leaf != "count"}
    theirs = {leaf: (shape, turned) for leaf, shape, turned in target if leaf != "count"}
    if not mine or not theirs:
        return float(not mine and not theirs)
    if _single(mine, theirs):
        ((_, shape),) = mine.items()
        ((_, (other, turned)),) = theirs.items()
        return float(fits(shape, other, transposable=turned))
    n_common = 0
    for leaf, (shape, turned) in theirs.items():
        if leaf in mine:
            if not fits(mine[leaf], shape, transposable=turned):
                return 0.0
            n_common += 1
    return n_common / len(mine.keys() | theirs.keys())


def _single(one: Collection[str], other: Collection[str]) -> bool:
    """A bare parameter is as good as the weight of a module that has nothing else."""
    return len(one) == len(other) == 1 and {*one, *other} <= {"weight", "param"}


def _only(leaves: dict[str, Item]) -> Item:
    return next(iter(leaves.values()))


def _by_template(units: Sequence[_Unit]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for place, unit in enumerate(units):
        found[unit.template].append(place)
    return found


class _Prefixes(NamedTuple):
    """The prefixes of each unit as places, 0 for none; the deeper ones weigh more."""

    places: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


def _prefixes(units: Sequence[_Unit]) -> _Prefixes:
    known: dict[str, int] = {}
    weights = [0.0]
    places = np.zeros((len(units), max((len(unit.ancestors) for unit in units), default=1)), np.int64)
    for row, unit in enumerate(units):
        for depth, prefix in enumerate(unit.ancestors):
            if prefix not in known:
                known[prefix] = len(weights)
                weights.append(1 + 0.1 * depth)
            places[row, depth] = known[prefix]
    return _Prefixes(places, np.array(weights, np.float32))


def _one_for_many(left: Sequence[tuple[int, ...]], right: Sequence[tuple[int, ...]]) -> bool:
    """Whether a number that varies on the left would stand for one that is always the same on the right."""
    columns = zip(zip(*left, strict=True), zip(*right, strict=True), strict=True)
    return any(len(set(theirs)) == 1 < len(set(mine)) for mine, theirs in columns)


def _alphabetical(items: Sequence[Item]) -> bool:
    return all(one.key <= other.key for one, other in pairwise(items))


def _numbered(units: Sequence[_Unit]) -> bool:
    """Whether the units differ by numbers only."""
    return len({unit.template for unit in units}) == 1


def _order(unit: _Unit, among: Sequence[_Unit]) -> tuple[int, ...]:
    return unit.numbers if _numbered(among) else (unit.place,)
