"""Repeats: blocks in a row that differ by their number only, told as one; and the block that is not like the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.core import collector
from workbench.core.tensor import TensorRef
from workbench.core.text import count_text, shape_text
from workbench.mapping import Plan
from workbench.mapping.plan import STATUSES, Status
from workbench.rows.numbers import INTEGER, alike, braces

_SKIPPED = STATUSES.index(Status.SKIPPED)
_MAX_DEPTH = 6
"""How deep folds lie in folds."""

Entry = tuple[str, Sequence[int]]
"""The rest of a key, and the rows that have it: one, or one of each block of the folds around it."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Blocks told as one: those with these `numbers` below the key `parent`."""

    parent: str
    numbers: tuple[int, ...]
    differing: int

    @property
    def first(self) -> str:
        """The key of the first block."""
        return self.block(self.numbers[0])

    def block(self, number: int) -> str:
        """The key of one block."""
        return f"{self.parent}.{number}" if self.parent else str(number)

    @property
    def text(self) -> str:
        """The numbers as a segment."""
        return braces(self.numbers)

    @property
    def tag(self) -> str:
        """How often it stands there."""
        return f"×{len(self.numbers):,} identical" if self.differing else f"×{len(self.numbers):,}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What sets a tensor apart from those of the other blocks: "dtype", "shape", "extra", or "block" for what lacks."""

    kind: str
    sentence: str
    dtype: str = ""
    group: str = ""
    n_others: int = 0


@dataclass(slots=True)
class Arranged:
    """Keys in which a segment ``\\0n`` stands for fold n, each with its rows; what a view lays out."""

    keys: list[str] = field(default_factory=list)
    rows: list[Sequence[int]] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    """By key of a block: that it differs."""
    heads: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    """By key of what holds blocks: how many lines they are, their numbers, a word on them all."""


_Block = tuple[list[str], list[Sequence[int]]]
"""The rests of the keys in a block, and the rows of each."""


@dataclass(slots=True)
class _Bucket:
    """All that lies below the integer segments after one prefix."""

    head: str
    blocks: dict[str, _Block] = field(default_factory=dict)
    alike: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    rels: tuple[str, ...] = ()
    columns: list[list[Sequence[int]]] = field(default_factory=list)
    inner: dict[str, list[Entry | _Bucket]] = field(default_factory=dict)
    _firsts: npt.NDArray[np.int64] | None = None

    @property
    def firsts(self) -> npt.NDArray[np.int64]:
        """The first row of each tensor (down) in each of the blocks that are alike (across)."""
        if self._firsts is None:
            self._firsts = np.array([[rows[0] for rows in column] for column in self.columns], np.int64)
        return self._firsts


class Repeats:
    """The blocks of `keys`: which are alike in relative keys, shapes and dtypes. No rule moves that."""

    def __init__(self, keys: Sequence[str], tensors: Sequence[TensorRef]) -> None:
        self.keys, self.tensors = keys, tensors
        known: dict[tuple[tuple[int, ...], str], int] = {}
        with collector.paused():
            self._kinds = [known.setdefault((t.shape, t.dtype.name), len(known)) for t in tensors]
            hostile = "\0" in "".join(keys)
            entries: list[Entry] = [(key, (row,)) for row, key in enumerate(keys)]
            self._top = [*entries] if hostile else self._grouped(entries)
        self._known: tuple[Plan | None, dict[str, list[list[int]]]] = (None, {})
        self._tells = False
        self._differing: dict[int, Difference] = {}

    @cached_property
    def dtypes(self) -> npt.NDArray[np.int64]:
        """A number for the dtype of each row."""
        known: dict[str, int] = {}
        return np.array([known.setdefault(tensor.dtype.name, len(known)) for tensor in self.tensors], np.int64)

    @cached_property
    def any(self) -> bool:
        """Whether something may fold or differ."""
        return any(isinstance(item, _Bucket) for item in self._top)

    @cached_property
    def differing(self) -> dict[int, Difference]:
        """The tensors that differ from those of most blocks, by row."""
        self._tells = True
        self.arranged()
        self._tells = False
        return self._differing

    def differs(self, plan: Plan) -> npt.NDArray[np.bool_]:
        """Which rows still differ under a plan: a cast to the dtype of the others mends."""
        mask = np.zeros(len(self.keys), np.bool_)
        casts = plan.casts
        mask[[row for row, one in self.differing.items() if not (one.dtype and casts.get(row) == one.dtype)]] = True
        return mask

    def arranged(
        self,
        plan: Plan | None = None,
        found: npt.NDArray[np.bool_] | None = None,
        single: frozenset[str] = frozenset(),
    ) -> Arranged:
        """Folds of blocks that are alike, that `plan` treats alike, and of which `found` holds the same tensors.

        Below the keys in `single` no block is folded.
        """
        result = Arranged()
        if self._known[0] is not plan:
            self._known = (plan, {})
        treatment = _Treatment(plan, found, self._known[1])
        with collector.paused():
            self._emit(self._top, "", "", treatment, single, result, 0)
        return result

    # ---- what is alike ----------------------------------------------------------------------------

    def _grouped(self, entries: Sequence[Entry]) -> list[Entry | _Bucket]:
        items: list[Entry | _Bucket] = []
        buckets: dict[str, _Bucket] = {}
        split = INTEGER.split
        blocks: dict[str, _Block] = {}
        last = "\0"
        for entry in entries:
            key, rows = entry
            if key.startswith(last):  # as the key before, most often, which needs no regex
                number, dot, rest = key[len(last) :].partition(".")
                block = blocks.get(number)
                if block is not None:
                    block[0].append(dot + rest)
                    block[1].append(rows)
                    continue
            pieces = split(key, 1)
            if len(pieces) == 1:
                items.append(entry)
                continue
            head, number, rest = pieces
            if head != last:
                bucket = buckets.get(head)
                if bucket is None:
                    bucket = buckets[head] = _Bucket(head)
                    items.append(bucket)
                last, blocks = head, bucket.blocks
            block = blocks.get(number)
            if block is None:
                blocks[number] = ([rest], [rows])
            else:
                block[0].append(rest)
                block[1].append(rows)
        for bucket in buckets.values():
            self._compare(bucket)
        return items

    def _compare(self, bucket: _Bucket) -> None:
        """Find the blocks that most are like."""
        kinds = self._kinds
        looks: dict[tuple[tuple[str, ...], tuple[int, ...]], list[str]] = {}
        for number, (rels, all_rows) in bucket.blocks.items():
            look = tuple(rels), tuple([kinds[rows[0]] for rows in all_rows])
            looks.setdefault(look, []).append(number)
        same: dict[tuple[tuple[str, int], ...], list[str]] = {}  # whatever the order in the file
        for (names, found), numbers in looks.items():
            if len(set(names)) == len(names):
                same.setdefault(tuple(sorted(zip(names, found, strict=True))), []).extend(numbers)
        most = max(same.values(), key=len, default=[])
        if len(most) < 2 or 2 * len(most) <= len(bucket.blocks):
            bucket.others = sorted(bucket.blocks, key=int)
            return
        bucket.alike = sorted(most, key=int)
        alike = set(most)
        bucket.others = sorted((number for number in bucket.blocks if number not in alike), key=int)
        first = bucket.blocks[bucket.alike[0]][0]
        bucket.rels = tuple(first)
        blocks = []
        for number in bucket.alike:
            rels, all_rows = bucket.blocks[number]
            if rels != first:
                by_rel = dict(zip(rels, all_rows, strict=True))
                all_rows = [by_rel[rel] for rel in first]
            blocks.append(all_rows)
        bucket.columns = [list(column) for column in zip(*blocks, strict=True)]

    # ---- what a view lays out ---------------------------------------------------------------------

    def _emit(
        self,
        items: Sequence[Entry | _Bucket],
        virtual: str,
        real: str,
        treatment: _Treatment,
        single: frozenset[str],
        result: Arranged,
        depth: int,
    ) -> None:
        def block(bucket: _Bucket, number: str) -> None:
            inner = bucket.inner.get(number)
            if inner is None:
                entries: list[Entry] = list(zip(*bucket.blocks[number], strict=True))
                inner = bucket.inner[number] = [*entries] if depth >= _MAX_DEPTH else self._grouped(entries)
            ahead = bucket.head + number
            self._emit(inner, virtual + ahead, real + ahead, treatment, single, result, depth + 1)

        for item in items:
            if not isinstance(item, _Bucket):
                result.keys.append(virtual + item[0])
                result.rows.append(item[1])
                continue
            bucket, parent = item, real + item.head[:-1]
            differing = {} if not bucket.alike else self._differences(bucket, real)
            for number in differing:
                result.tags[f"{real}{bucket.head}{number}"] = f"differs from {len(bucket.alike):,}"
            is_single = bool(bucket.alike) and parent in single
            for number in sorted(bucket.blocks, key=int) if is_single else bucket.others:
                block(bucket, number)
            if not bucket.alike:
                continue
            n_blocks = len(bucket.alike)
            classes = [] if is_single else treatment.classes(bucket, depth == 0)
            for chosen in classes:
                if len(chosen) == 1:
                    block(bucket, bucket.alike[chosen[0]])
            folds = [chosen for chosen in classes if len(chosen) > 1]
            for chosen in folds:
                numbers = tuple(int(bucket.alike[n]) for n in chosen)
                ahead = f"{bucket.head}\0{len(result.folds)}"
                result.folds.append(Fold(parent, numbers, len(differing)))
                entries = []
                for rel, column in zip(bucket.rels, bucket.columns, strict=True):
                    picked = column if len(chosen) == n_blocks else [column[n] for n in chosen]
                    rows = [row for peers in zip(*picked, strict=True) for row in peers]
                    entries.append((rel, rows))
                inner = [*entries] if depth >= _MAX_DEPTH else self._grouped(entries)
                first = f"{real}{bucket.head}{numbers[0]}"
                self._emit(inner, virtual + ahead, first, treatment, single, result, depth + 1)
            n_lines = len(bucket.blocks) if is_single else len(bucket.others) + len(classes)
            if n_lines > 1 and (differing or is_single):
                words = "one differs" if len(differing) == 1 else f"{len(differing):,} differ"
                words = "shown singly" if is_single else words
                all_numbers = braces(sorted(int(number) for number in bucket.blocks))
                result.heads[parent] = (n_lines, all_numbers, f"×{len(bucket.blocks):,}, {words}")

    def _differences(self, bucket: _Bucket, real: str) -> dict[str, dict[int, Difference]]:
        """By number of a block that is much, but not quite, like the others."""
        result = {}
        usual = {rel: self.tensors[column[0][0]] for rel, column in zip(bucket.rels, bucket.columns, strict=True)}
        for number in bucket.others:
            here = dict(zip(*bucket.blocks[number], strict=True))
            common = [rel for rel in here if rel in usual]
            alike_rank = sum(len(self.tensors[here[rel][0]].shape) == len(usual[rel].shape) for rel in common)
            if 2 * len(common) < len(usual.keys() | here.keys()) or 2 * alike_rank <= len(common):
                continue
            told = self._told(usual, here, len(bucket.alike), f"{real}{bucket.head}") if self._tells else {}
            self._differing.update(told)
            result[number] = told
        return result

    def _told(
        self, usual: dict[str, TensorRef], here: dict[str, Sequence[int]], n_others: int, group: str
    ) -> dict[int, Difference]:
        others = f"the {n_others:,} others"
        result: dict[int, Difference] = {}
        odd = [rel for rel in here if rel not in usual or _look(self.tensors[here[rel][0]]) != _look(usual[rel])]
        lacks = [rel.removeprefix(".") for rel in usual if rel not in here]
        rest = len(here) - len(odd)
        same = f" The other {count_text(rest, 'tensor')} are the same." if rest > 1 else ""
        for rel in odd:
            tensor, like = self.tensors[here[rel][0]], usual.get(rel)
            if like is None:
                one = Difference("extra", f"Only here: {others} have no such tensor.")
            elif like.shape == tensor.shape:
                end = f" Shape and the other {count_text(rest, 'tensor')} are the same." if same else ""
                words = f"{tensor.dtype.name} here, {like.dtype.name} in {others}.{end}"
                one = Difference("dtype", words, like.dtype.name, group, n_others)
            else:
                dtypes = like.dtype.name == tensor.dtype.name
                mine, theirs = (shape_text(t.shape) + ("" if dtypes else f" {t.dtype.name}") for t in (tensor, like))
                one = Difference("shape", f"{mine} here, {theirs} in {others}.{same}")
            result.update(dict.fromkeys(here[rel], one))
        if lacks and here:
            more = f" and {len(lacks) - 2:,} more" if len(lacks) > 2 else ""
            sentence = f"Its block lacks {', '.join(lacks[:2])}{more}, which {others} have."
            for row in next(iter(here.values())):
                before = result.get(row)
                result[row] = Difference("block" if before is None else before.kind,
                                         sentence if before is None else f"{before.sentence} {sentence}")  # fmt: skip
        return result


class _Treatment:
    """What a plan does to blocks, apart from their numbers."""

    def __init__(
        self, plan: Plan | None, found: npt.NDArray[np.bool_] | None, known: dict[str, list[list[int]]]
    ) -> None:
        self.plan, self.found, self.known = plan, found, known
        self.codes: npt.NDArray[np.int64] | None = None
        if plan is not None:
            codes = plan.codes.astype(np.int64)
            codes[codes < _SKIPPED] = 0  # how the name moves is compared by the names
            for facts, scale in ((plan.casts, 16), (plan.layouts, 4096)):
                words: dict[str, int] = {}
                for row, said in facts.items():
                    codes[row] += scale * words.setdefault(said, len(words) + 1)
            self.codes = codes
        self.moves = plan is not None and plan.codes.any()

    def classes(self, bucket: _Bucket, outermost: bool) -> list[list[int]]:
        """The blocks of a bucket that are treated alike, in order; of an outermost one they are known from then on."""
        groups = self.known.get(bucket.head) if outermost else None
        if groups is None:
            groups = self._treatedalike(bucket)
            if outermost:
                self.known[bucket.head] = groups
        if self.found is not None:
            table = self.found[bucket.firsts]
            groups = sorted(part for group in groups for part in _parted(table, group))
        return groups

    def _treatedalike(self, bucket: _Bucket) -> list[list[int]]:
        whole = list(range(len(bucket.alike)))
        if self.plan is None or self.codes is None:
            return [whole]
        groups = _parted(self.codes[bucket.firsts], whole)
        if self.moves:
            names = self.plan.remapped
            columns = [[names[row] for row in column] for column in bucket.firsts.tolist()]
            groups = [part for group in groups for part in alike(columns, group)]
        return sorted(groups)


def _parted(table: npt.NDArray[Any], group: list[int]) -> list[list[int]]:
    """`group` in parts whose columns in `table` are equal."""
    if len(group) < table.shape[1]:
        table = table[:, group]
    if (table == table[:, :1]).all():
        return [group]
    by_look: dict[bytes, list[int]] = {}
    for number, look in zip(group, np.ascontiguousarray(table.T), strict=True):
        by_look.setdefault(look.tobytes(), []).append(number)
    return list(by_look.values())


def _look(tensor: TensorRef) -> tuple[tuple[int, ...], str]:
    return tensor.shape, tensor.dtype.name
