"""Plan: a mapping applied to a checkpoint. Preview, export, report and code are all read from it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt

from workbench.mapping import regex
from workbench.mapping.collisions import Collision, find_collisions
from workbench.mapping.mapping import Mapping
from workbench.mapping.reindex import close_gaps
from workbench.mapping.rules import Rule

if TYPE_CHECKING:
    import pandas as pd

    from workbench.checkpoint import Checkpoint
    from workbench.core.tensor import TensorRef


class Status(StrEnum):
    """What becomes of a tensor; the later ones outrank the earlier ones."""

    UNCHANGED = "unchanged"
    REMAPPED = "remapped"
    REINDEXED = "reindexed"
    SKIPPED = "skipped"
    COLLISION = "collision"


STATUSES: tuple[Status, ...] = tuple(Status)


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor of the plan. `rules` counts from 0, disabled rules included; `reason` says why it is not exported."""

    original: str
    remapped: str
    tensor: TensorRef
    rules: tuple[int, ...]
    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Stage:
    """The keys after one enabled rule, and which keys the rule hit."""

    rule: Rule
    keys: regex.Keys
    hit: npt.NDArray[np.bool_]


class Plan:
    """One row per tensor under the mapping's top-level key, in file order. Made by `Mapping.plan`; never changes.

    By row: `originals` (keys), `after_rules`, `remapped` (final keys), `tensors`, `sizes` (bytes), `codes` (places in
    `STATUSES`). `dtypes` tells for each dtype how many tensors and bytes have it, most bytes first. `outside` are the
    tensors that are not under the top-level key.
    """

    def __init__(self, mapping: Mapping, checkpoint: Checkpoint, *, _earlier: Plan | None = None) -> None:
        start = time.perf_counter()
        self.mapping = mapping
        self.checkpoint = checkpoint
        if _earlier is not None and _earlier.checkpoint is checkpoint:
            earlier = _earlier if _earlier.mapping.top_level_key == mapping.top_level_key else None
        else:
            earlier = None

        if earlier is None:
            chosen = checkpoint.under(mapping.top_level_key)
            self.originals: tuple[str, ...] = tuple(key for key, _ in chosen)
            self.tensors: tuple[TensorRef, ...] = tuple(tensor for _, tensor in chosen)
            inside = {id(tensor) for tensor in self.tensors}
            self.outside = tuple(tensor for tensor in checkpoint.tensors if id(tensor) not in inside)
            self.sizes = [tensor.nbytes for tensor in self.tensors]
            self.dtypes = _dtypes(self.tensors, self.sizes)
            self._reasons = _reasons(self.originals, self.tensors)
            names = [key if _is_text(key) else "" for key in self.originals]
            self._start = regex.column(names)
        else:
            self.originals, self.tensors, self.outside = earlier.originals, earlier.tensors, earlier.outside
            self.sizes, self.dtypes = earlier.sizes, earlier.dtypes
            self._reasons, self._start = earlier._reasons, earlier._start

        self._stages = self._run(earlier)
        self.after_rules, self.remapped = self._names(earlier)
        self.collisions: tuple[Collision, ...]
        self._colliding: list[int]
        if earlier is not None and self.remapped is earlier.remapped:
            self.collisions, self._colliding = earlier.collisions, earlier._colliding
        else:
            self.collisions, self._colliding = self._collisions()
        self.codes = self._codes()
        self.seconds = time.perf_counter() - start

    # ---- what follows -----------------------------------------------------------------------------

    @property
    def rows(self) -> Sequence[Row]:
        """All rows; each is made when asked for."""
        return _Rows(self)

    @property
    def reader_api(self) -> str:
        """The store of Burn that this plan is for ("PytorchStore", "SafetensorsStore"), "" for no framework."""
        return self.mapping.reader(self.checkpoint.format).api

    @property
    def reindexes(self) -> bool:
        """Whether gaps in indices are closed."""
        return self.mapping.reindexes(self.checkpoint.format)

    @property
    def counts(self) -> dict[str, int]:
        """Rows by status, and "all"."""
        tally = np.bincount(self.codes, minlength=len(STATUSES))
        return {"all": len(self.originals)} | {str(s): int(n) for s, n in zip(STATUSES, tally, strict=True)}

    @property
    def n_out(self) -> int:
        """Tensors that an export would hold."""
        counts = self.counts
        return counts["all"] - counts[Status.SKIPPED] - counts[Status.COLLISION]

    @property
    def nbytes_out(self) -> int:
        """Bytes of the tensors that an export would hold."""
        kept = self.codes < STATUSES.index(Status.SKIPPED)
        return sum(size for size, keep in zip(self.sizes, kept.tolist(), strict=True) if keep)

    def hits(self, rule: int) -> npt.NDArray[np.bool_] | None:
        """Which rows the rule with index `rule` hit; None where it is disabled."""
        if not self.mapping.rules[rule].enabled:
            return None
        return self._stages[self._stage_number(rule)].hit

    def keys_before(self, rule: int) -> regex.Keys:
        """The column of keys that the rule with index `rule` is applied to."""
        number = self._stage_number(rule)
        return self._stages[number - 1].keys if number else self._start

    def status(self, row: int) -> Status:
        """The status of one row."""
        return STATUSES[int(self.codes[row])]

    def row(self, row: int) -> Row:
        """One row."""
        original = self.originals[row]
        return Row(
            original,
            self.remapped[row],
            self.tensors[row],
            tuple(n for n, rule in enumerate(self.mapping.rules) if rule.enabled and self._hit(n, row)),
            self.status(row),
            self._reasons.get(row) or self._collision_reason(row),
        )

    def frame(self) -> pd.DataFrame:
        """A pandas table: original, remapped, shape, dtype, nbytes, rules (from 0), status."""
        import pandas as pd

        rows = list(self.rows)
        return pd.DataFrame(
            {
                "original": [row.original for row in rows],
                "remapped": [row.remapped for row in rows],
                "shape": [row.tensor.shape for row in rows],
                "dtype": [row.tensor.dtype.name for row in rows],
                "nbytes": [row.tensor.nbytes for row in rows],
                "rules": [row.rules for row in rows],
                "status": [str(row.status) for row in rows],
            }
        )

    def update(self, mapping: Mapping) -> Plan:
        """The plan of another mapping on the same checkpoint; rules before the first difference are not run again."""
        return self if mapping == self.mapping else Plan(mapping, self.checkpoint, _earlier=self)

    def __len__(self) -> int:
        return len(self.originals)

    def __repr__(self) -> str:
        counts = self.counts
        words = [f"{counts[s]:,} {s}" for s in STATUSES if counts[s]]
        return f"<Plan of {self.checkpoint.name!r}: {counts['all']:,} tensors, {', '.join(words) or 'no tensors'}>"

    # ---- how --------------------------------------------------------------------------------------

    def _run(self, earlier: Plan | None) -> tuple[_Stage, ...]:
        done = earlier._stages if earlier is not None else ()
        stages: list[_Stage] = []
        keys = self._start
        for rule in self.mapping.rules:
            if not rule.enabled:
                continue
            n = len(stages)
            if n < len(done) and (done[n].rule.pattern, done[n].rule.replacement) == (
                rule.pattern,
                rule.replacement,
            ):
                stages.append(done[n])
            else:
                done = ()
                hit = regex.hits(keys, rule.pattern)
                after = regex.replace_all(keys, rule.pattern, rule.replacement) if hit.any() else keys
                stages.append(_Stage(rule, after, hit))
            keys = stages[-1].keys
        return tuple(stages)

    def _names(self, earlier: Plan | None) -> tuple[list[str], list[str]]:
        """The keys after the rules, and after reindexing; the very lists of `earlier` where nothing moved."""
        last = self._stages[-1].keys if self._stages else self._start
        dot_is_root = self.mapping.reader(self.checkpoint.format).dot_is_root
        if earlier is not None:
            before = earlier._stages[-1].keys if earlier._stages else earlier._start
            same_reindex = (earlier.reindexes, earlier.mapping.burn) == (self.reindexes, self.mapping.burn)
            if same_reindex and (before is last or before.equals(last)):
                return earlier.after_rules, earlier.remapped
        after_rules: list[str] = last.to_list()
        for row in self._reasons:
            if not _is_text(self.originals[row]):
                after_rules[row] = self.originals[row]
        if not self.reindexes:
            return after_rules, after_rules
        return after_rules, close_gaps(after_rules, dot_is_root=dot_is_root)

    def _collisions(self) -> tuple[tuple[Collision, ...], list[int]]:
        if not self._reasons:
            return find_collisions(self.originals, self.remapped)
        kept = [row for row in range(len(self.originals)) if row not in self._reasons]
        collisions, involved = find_collisions(
            [self.originals[row] for row in kept], [self.remapped[row] for row in kept]
        )
        return collisions, [kept[position] for position in involved]

    def _codes(self) -> npt.NDArray[np.uint8]:
        codes = np.zeros(len(self.originals), np.uint8)
        for code, names, than in (
            (STATUSES.index(Status.REMAPPED), self.after_rules, self.originals),
            (STATUSES.index(Status.REINDEXED), self.remapped, self.after_rules),
        ):
            if names is not than:
                moved = [one != other for one, other in zip(names, than, strict=True)]
                codes[np.array(moved, np.bool_)] = code
        codes[list(self._reasons)] = STATUSES.index(Status.SKIPPED)
        codes[self._colliding] = STATUSES.index(Status.COLLISION)
        return codes

    def _stage_number(self, rule: int) -> int:
        return sum(1 for earlier in self.mapping.rules[:rule] if earlier.enabled)

    def _hit(self, rule: int, row: int) -> bool:
        return bool(self._stages[self._stage_number(rule)].hit[row])

    def _collision_reason(self, row: int) -> str:
        if self.status(row) is not Status.COLLISION:
            return ""
        name, original = self.remapped[row], self.originals[row]
        same = self._collision_index.get((name, "same"))
        if same is not None:
            other = next((key for key in same.originals if key != original), None)
            if other is None:
                return f"{original} stands in the file {len(same.originals):,} times"
            n_more = len(same.originals) - 2
            return f"the same name as {other}" + (f" and {n_more:,} more" if n_more > 0 else "")
        if (name, "prefix") in self._collision_index:
            return f"other keys lie below {name}, so it cannot be a tensor too"
        dot = name.find(".")
        while dot >= 0:
            if (name[:dot], "prefix") in self._collision_index:
                return f"lies below {name[:dot]}, which is a tensor itself"
            dot = name.find(".", dot + 1)
        return ""

    @cached_property
    def _collision_index(self) -> dict[tuple[str, str], Collision]:
        return {(collision.remapped, collision.kind): collision for collision in self.collisions}


class _Rows(Sequence[Row]):
    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __len__(self) -> int:
        return len(self._plan)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self._plan.row(row) for row in range(len(self))[index]]
        return self._plan.row(range(len(self))[index])

    def __iter__(self) -> Iterator[Row]:
        plan = self._plan
        hits = [plan.hits(n) for n in range(len(plan.mapping.rules))]
        lists = [(n, hit.tolist()) for n, hit in enumerate(hits) if hit is not None]
        for row in range(len(plan)):
            yield Row(
                plan.originals[row],
                plan.remapped[row],
                plan.tensors[row],
                tuple(n for n, hit in lists if hit[row]),
                plan.status(row),
                plan._reasons.get(row) or plan._collision_reason(row),
            )


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _dtypes(tensors: Sequence[TensorRef], sizes: Sequence[int]) -> tuple[tuple[str, int, int], ...]:
    """Name, number of tensors and bytes of each dtype."""
    totals: dict[str, list[int]] = {}
    for tensor, size in zip(tensors, sizes, strict=True):
        total = totals.setdefault(tensor.dtype.name, [0, 0])
        total[0] += 1
        total[1] += size
    return tuple((name, n, size) for name, (n, size) in sorted(totals.items(), key=lambda item: -item[1][1]))


def _reasons(keys: Sequence[str], tensors: Sequence[TensorRef]) -> dict[int, str]:
    """Why rows are skipped, by row."""
    reasons = {row: tensor.unreadable for row, tensor in enumerate(tensors) if tensor.unreadable}
    for row, key in enumerate(keys):
        if not key.isascii() and not _is_text(key):
            reasons.setdefault(row, "its name is not valid Unicode text, so no rule and no export can hold it")
    return reasons
