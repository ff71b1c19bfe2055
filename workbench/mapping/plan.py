"""Plan: a mapping applied to a checkpoint. Preview, export, report and code are all read from it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt

from workbench.burn import Reader
from workbench.errors import MappingError
from workbench.mapping import regex, stages
from workbench.mapping.basis import Basis
from workbench.mapping.casts import casts_of
from workbench.mapping.collisions import Collision, find_collisions
from workbench.mapping.layout import Adapter, Operation, type_of_class
from workbench.mapping.mapping import Mapping
from workbench.mapping.rows import STATUSES, Row, Status
from workbench.mapping.stages import Stage
from workbench.mapping.trace import Trace, row_of, trace

if TYPE_CHECKING:
    import pandas as pd

    from workbench.checkpoint import Checkpoint
    from workbench.finding import Finding
    from workbench.mapping.coverage import Coverage
    from workbench.target import Target

__all__ = ["STATUSES", "Plan", "Row", "Status"]


class Plan:
    """One row per tensor under the mapping's top-level key, in file order. Made by `Mapping.plan`; never changes.

    By row: `originals` (keys), `after_rules`, `remapped` (final keys), `tensors`, `sizes`, `codes` (places in
    `STATUSES`), `selected` (whether the selection takes it). `outside` are the tensors that are not under the
    top-level key. `folded` are the rows of parameters that are computed from parts, and the keys of these, where the
    mapping folds; the rows of the other parts are skipped. `stages` is what each enabled rule did, `reader` the facts
    of the Burn that the names are for, `target` what the result is to fit, if that is known.
    """

    def __init__(
        self,
        mapping: Mapping,
        checkpoint: Checkpoint,
        target: Target | None = None,
        *,
        _earlier: Plan | None = None,
        _no_indices: bool = False,
    ) -> None:
        start = time.perf_counter()
        self.mapping = mapping
        self.checkpoint = checkpoint
        self.target = target
        self.reader: Reader = mapping.reader(checkpoint.format)
        self.reindexes = mapping.reindexes(checkpoint.format) and not _no_indices
        earlier = _earlier
        if earlier is not None and earlier.mapping.top_level_key != mapping.top_level_key:
            earlier = None
        self._basis: Basis
        if earlier is None:
            self._basis = Basis(checkpoint, mapping.top_level_key, fold=mapping.fold)
        elif earlier.mapping.fold == mapping.fold:
            self._basis = earlier._basis
        else:
            self._basis, earlier = earlier._basis.refolded(checkpoint, mapping.fold), None
        self._start, self.folded = self._basis.start, self._basis.folded
        self.originals, self.tensors, self.outside = self._basis.keys, self._basis.tensors, self._basis.outside

        self.selected: npt.NDArray[np.bool_]
        self._reasons: dict[int, str]
        if earlier is not None and earlier.mapping.selection == mapping.selection:
            self.selected, self._reasons = earlier.selected, earlier._reasons
        else:
            left_out = mapping.selection.left_out(self._basis.column, self.originals) if mapping.selection else {}
            self.selected = np.ones(len(self.originals), np.bool_)
            self.selected[list(left_out)] = False
            self._reasons = self._basis.reasons(left_out)

        self.stages: tuple[Stage, ...] = stages.run(mapping.rules, self._start, earlier.stages if earlier else ())
        self._last = self.stages[-1].after if self.stages else self._start
        if earlier is not None and (earlier._last is self._last or earlier._last.equals(self._last)):
            self._last = earlier._last
        self._final = self._close_gaps(earlier)
        if earlier is not None and earlier._final is self._final and earlier._reasons is self._reasons:
            self._share(earlier)
        else:
            self.collisions: tuple[Collision, ...]
            self.collisions, self._colliding = self._collisions()
            self.codes = self._codes()
        self.seconds = time.perf_counter() - start

    # ---- what follows -----------------------------------------------------------------------------

    @property
    def rows(self) -> Sequence[Row]:
        """All rows; each is made when asked for."""
        return _Rows(self)

    @property
    def sizes(self) -> list[int]:
        """Bytes of each tensor, by row."""
        return self._basis.sizes

    @property
    def dtypes(self) -> tuple[tuple[str, int, int], ...]:
        """For each dtype its name and how many tensors and bytes have it, most bytes first."""
        return self._basis.dtypes

    @property
    def reader_api(self) -> str:
        """The store of Burn that this plan is for ("PytorchStore", "SafetensorsStore"), "" for no framework."""
        return self.reader.store

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
        stage = self._stage_of.get(range(len(self.mapping.rules))[rule])
        return None if stage is None else stage.hit

    def keys_before(self, rule: int) -> regex.Keys:
        """The column of keys that the rule with index `rule` is applied to."""
        keys = self._start
        for stage in self.stages:
            if stage.index >= rule:
                break
            keys = stage.after
        return keys

    @cached_property
    def after_rules(self) -> list[str]:
        """The keys after all rules, before indices are closed up, by row."""
        return self._names(self._last)

    @cached_property
    def remapped(self) -> list[str]:
        """The final keys, by row."""
        return self.after_rules if self._final is self._last else self._names(self._final)

    def status(self, row: int) -> Status:
        """The status of one row."""
        return STATUSES[int(self.codes[row])]

    def row(self, row: int) -> Row:
        """One row."""
        return self._row(row, tuple(stage.index for stage in self.stages if stage.hit[row]))

    def adapted_key(self, row: int) -> str:
        """The key of a row after the adapter, before enum variants."""
        return self._layouts.get(row, ("", self.remapped[row]))[1]

    def target_key(self, row: int) -> str:
        """The key that the target has for a row after the adapter."""
        adapted = self.adapted_key(row)
        return self._variants.get(adapted, adapted)

    def layout(self, row: int) -> Operation:
        """What an adapter does to the tensor of a row."""
        return self._layouts[row][0] if row in self._layouts else ""

    @property
    def layouts(self) -> dict[int, str]:
        """The rows that an adapter changes, and how."""
        return {row: operation for row, (operation, _) in self._layouts.items()}

    @property
    def casts(self) -> dict[int, str]:
        """The rows that get another dtype, and which."""
        return self._casts

    @cached_property
    def in_burn(self) -> Plan:
        """The plan of a file that is Burn's own: read as exported, in Burn's layout unless the mapping says not to.

        A source that is Burn's own has that layout already.
        """
        decided = self.mapping
        adapts = self.checkpoint.format not in ("burnpack", "mpk")
        layout = decided.layout if decided.layout.adapt is not None else replace(decided.layout, adapt=adapts)
        return self.update(replace(decided, route="exported", layout=layout, reindex=self.reindexes))

    def knows_type(self, row: int) -> bool:
        """Whether it is known to which type of module a tensor belongs, be it one that no adapter changes."""
        module = self.remapped[row].rpartition(".")[0]
        if module in dict(self.mapping.layout.modules) or (self.target is not None and self.target.type_of(module)):
            return True
        top, original = self.mapping.top_level_key, self.originals[row].rpartition(".")[0]
        path = ".".join(part for part in (top or "", original) if part)
        return self.checkpoint.modules.get(path, "").startswith("torch.nn.")

    @cached_property
    def unfolded(self) -> Plan:
        """The plan without folding: what a reader of the original file does, which computes nothing."""
        return self.update(replace(self.mapping, fold=False)) if self.folded else self

    def upto(self, n: int) -> Plan:
        """The plan of the first `n` rules: indices are closed up only after the last of them."""
        rules = self.mapping.rules
        if not 0 <= n <= len(rules):
            raise IndexError(f"there are no {n} rules: the mapping has {len(rules)}")
        if n == len(rules):
            return self
        return Plan(self.mapping.with_rules(rules[:n]), self.checkpoint, self.target, _earlier=self, _no_indices=True)

    def trace(self, key: str | int | Row) -> Trace:
        """The way of one tensor, by its key in the file, its row or the number of that. Raises UnknownKeyError."""
        if isinstance(key, Row):
            number = next((row for row, tensor in enumerate(self.tensors) if tensor is key.tensor), None)
            key = key.original if number is None else number
        return trace(self, row_of(self, key) if isinstance(key, str) else range(len(self))[key])

    def debug(self) -> str:
        """burn-import's debug print, as the version of this plan would print it for this file."""
        from workbench.mapping.debug import debug_print

        return debug_print(self)

    def rows_after(self, mapping: Mapping, rows: Sequence[int]) -> list[str]:
        """What the rules of another mapping make of the keys of a few rows: at once, for a screen.

        Indices are not closed up; that needs all keys, so `update` tells it. A key that is not text stays.
        """
        keys = regex.pick(self._start, np.array(rows, np.int64))
        for rule in mapping.rules:
            if rule.enabled:
                keys = regex.replace_all(keys, rule.pattern, rule.replacement)
        blank = set(self._basis.not_text)
        return [self.originals[row] if row in blank else key for row, key in zip(rows, keys.to_list(), strict=True)]

    @cached_property
    def lints(self) -> tuple[Finding, ...]:
        """What is odd about the rules, and what the chosen Burn would do silently; the worst first."""
        from workbench.mapping.lints import lints

        return lints(self)

    def coverage(self, target: Target | None = None) -> Coverage:
        """What of `target`, or of the plan's own, this plan fills. Raises `MappingError` where there is none."""
        target = self.target if target is None else target
        if target is None:
            raise MappingError(
                "There is no target to cover.",
                next_step="Give one: plan.coverage(wb.Target.open(path)).",
                code="no-target",
            )
        return self._coverage(target)

    def frame(self) -> pd.DataFrame:
        """A pandas table: original, remapped, shape, dtype, nbytes, rules (from 0), status, reason (for skipping)."""
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
                "reason": [row.reason for row in rows],
            }
        )

    def update(self, mapping: Mapping) -> Plan:
        """The plan of another mapping on the same checkpoint; rules before the first difference are not run again."""
        return self if mapping == self.mapping else Plan(mapping, self.checkpoint, self.target, _earlier=self)

    def with_target(self, target: Target | None) -> Plan:
        """The same plan, to fit another target; no rule is run again."""
        return self if target is self.target else Plan(self.mapping, self.checkpoint, target, _earlier=self)

    def __len__(self) -> int:
        return len(self.originals)

    def __repr__(self) -> str:
        counts = self.counts
        words = [f"{counts[s]:,} {s}" for s in STATUSES if counts[s]]
        return f"<Plan of {self.checkpoint.name!r}: {counts['all']:,} tensors, {', '.join(words) or 'no tensors'}>"

    # ---- how --------------------------------------------------------------------------------------

    def _close_gaps(self, earlier: Plan | None) -> regex.Keys:
        """The keys with their gaps closed; the very column of `earlier` where it is the same."""
        if not self.reindexes:
            return self._last
        if earlier is not None and earlier.reindexes and earlier._last is self._last and self._counts_as(earlier):
            return earlier._final
        names, container = self._last, self.checkpoint.format
        if self.mapping.route == "original" or self.selected.all():
            # Burn numbers what it reads, also what a filter leaves out afterwards.
            return self.mapping.close_gaps(names, container)
        rows = np.flatnonzero(self.selected)
        return regex.put(names, rows, self.mapping.close_gaps(regex.pick(names, rows), container))

    def _counts_as(self, earlier: Plan) -> bool:
        """Whether indices are closed up as in `earlier`: by the same facts, over the same rows."""
        if (self.reader, self.mapping.keep_indices) != (earlier.reader, earlier.mapping.keep_indices):
            return False
        if self.mapping.route != earlier.mapping.route:
            return bool(self.selected.all() and earlier.selected.all())
        return self.mapping.route == "original" or self.selected is earlier.selected

    def _names(self, column: regex.Keys) -> list[str]:
        names: list[str] = column.to_list()
        for row in self._basis.not_text:
            names[row] = self.originals[row]
        return names

    def _share(self, earlier: Plan) -> None:
        """Take over what follows from the names of `earlier`, which are the same."""
        self.collisions, self._colliding = earlier.collisions, earlier._colliding
        for name in ("after_rules", "remapped"):
            if name in earlier.__dict__ and (name == "remapped" or earlier._last is self._last):
                self.__dict__[name] = earlier.__dict__[name]
        self.codes = earlier.codes if earlier._last is self._last else self._codes()

    def _collisions(self) -> tuple[tuple[Collision, ...], list[int]]:
        if not self._reasons:
            return find_collisions(self.originals, self._final)
        is_kept = np.ones(len(self.originals), np.bool_)
        is_kept[list(self._reasons)] = False
        kept = np.flatnonzero(is_kept)
        collisions, involved = find_collisions([self.originals[row] for row in kept], regex.pick(self._final, kept))
        return collisions, [int(kept[position]) for position in involved]

    def _codes(self) -> npt.NDArray[np.uint8]:
        codes = np.zeros(len(self.originals), np.uint8)
        if self._last is not self._basis.column:
            codes[regex.differ(self._last, self._basis.column)] = STATUSES.index(Status.REMAPPED)
        if self._final is not self._last:
            codes[regex.differ(self._final, self._last)] = STATUSES.index(Status.REINDEXED)
        codes[list(self._reasons)] = STATUSES.index(Status.SKIPPED)
        codes[self._colliding] = STATUSES.index(Status.COLLISION)
        return codes

    @cached_property
    def _stage_of(self) -> dict[int, Stage]:
        return {stage.index: stage for stage in self.stages}

    def _row(self, row: int, rules: tuple[int, ...]) -> Row:
        return Row(
            self.originals[row],
            self.remapped[row],
            self.tensors[row],
            rules,
            self.status(row),
            self._reasons.get(row) or self._collision_reason(row),
            self.layout(row),
            self.target_key(row),
            self._casts.get(row, ""),
            self.folded.get(row, ()),
        )

    @cached_property
    def _layouts(self) -> dict[int, tuple[Operation, str]]:
        """The rows that an adapter changes: how, and the key that the target has for each."""
        mapping = self.mapping
        adapter = Adapter.of(mapping.layout, self.reader, mapping.route)
        marks, target = dict(mapping.layout.modules), self.target
        classes = self._module_types
        if not adapter or not (marks or classes or target is not None):
            return {}
        found: dict[int, tuple[Operation, str]] = {}
        for row, key in enumerate(self.remapped):
            if not key.endswith(("weight", "bias")):
                continue
            kind = classes.get(self.originals[row].rpartition(".")[0], "") if classes else ""

            def type_of(path: str, kind: str = kind) -> str:
                return marks.get(path) or (target.type_of(path) if target is not None else "") or kind

            operation, name = adapter.change(key, len(self.tensors[row].shape), type_of)
            if operation:
                found[row] = operation, name
        return found

    @cached_property
    def _module_types(self) -> dict[str, str]:
        """Burn's types of the modules of a model that was saved whole, by key below the top-level key."""
        top = self.mapping.top_level_key
        types = {key: kind for key, path in self.checkpoint.modules.items() if (kind := type_of_class(path))}
        if top is None:
            return types
        return {key[len(top) + 1 :]: kind for key, kind in types.items() if key == top or key.startswith(f"{top}.")}

    @cached_property
    def _variants(self) -> dict[str, str]:
        """What the target calls a key from which enum variants were left out."""
        if self.target is None or not self._skips_variants:
            return {}
        from workbench.target import unskipped

        named = ((unskipped(entry.path, entry.containers), entry.path) for entry in self.target.entries)
        return {short: path for short, path in named if short != path}

    @property
    def _skips_variants(self) -> bool:
        said = self.mapping.skip_enum_variants
        return self.reader.enums_by_structure or bool(self.reader.skips_enum_variants if said is None else said)

    @cached_property
    def _casts(self) -> dict[int, str]:
        return casts_of(self.mapping.casts, self._basis.column, self.originals, self.tensors)

    def _coverage(self, target: Target) -> Coverage:
        from workbench.mapping.coverage import coverage

        known = self.__dict__.get("_covered")
        if known is None or known[0] is not target:
            known = self.__dict__["_covered"] = target, coverage(self, target)
        return known[1]

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
        lists = [(stage.index, stage.hit.tolist()) for stage in plan.stages]
        for row in range(len(plan)):
            yield plan._row(row, tuple(n for n, hit in lists if hit[row]))
