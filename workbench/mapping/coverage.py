"""Coverage: what a load into the target would give, as the reader of the chosen Burn version does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

from workbench.burn import Reader, Sight, reader_for, sight
from workbench.core.text import count_text, shape_text
from workbench.errors import RuleError, printable
from workbench.mapping import regex
from workbench.mapping.near import HintIndex, Near, NearIndex
from workbench.mapping.rows import STATUSES as ROW_STATUSES
from workbench.mapping.rows import Status
from workbench.target import Entry, Kind, Target, kind_of, unskipped

if TYPE_CHECKING:
    from workbench.core.tensor import TensorRef
    from workbench.mapping.plan import Plan

__all__ = ["Coverage", "Filter", "Problem", "State", "coverage"]

_HINTS: Final = 10
"""Missing parameters that Burn makes a suggestion for."""


class State(StrEnum):
    """What becomes of a parameter of the target."""

    APPLIED = "applied"
    SKIPPED = "skipped"
    MISSING = "missing"
    MISMATCHED = "mismatched"
    ERROR = "error"


STATES: Final[tuple[State, ...]] = tuple(State)
_RIGHT: Final = ("", "")
_APPLIED, _SKIPPED, _MISSING, _MISMATCHED, _ERROR = range(len(STATES))


@dataclass(frozen=True, slots=True)
class Filter:
    """What a load lets through: names that one of the regexes matches somewhere, or that are one of `paths`."""

    patterns: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def as_read(self, reader: Reader) -> tuple[Filter | None, str]:
        """What a reader makes of it: the filter in force (None lets all through), and why it panics, or "".

        A pattern that is no regex is dropped up to Burn 0.21; a filter with nothing in it counts as none, but in the
        store for burnpack files.
        """
        bad: dict[str, str] = {}
        for pattern in self.patterns:
            try:
                regex.check_pattern(pattern)
            except RuleError as error:
                bad[pattern] = error.reason
        if bad and reader.bad_filter == "panics":
            pattern, reason = next(iter(bad.items()))
            return None, f"it panics at the filter {printable(pattern, 80)!r}, which is no regex: {reason}."
        kept = Filter(tuple(pattern for pattern in self.patterns if pattern not in bad), self.paths)
        is_empty = not kept.patterns and not kept.paths
        return (None if is_empty and "burnpack" not in reader.containers else kept), ""

    def passes(self, names: Sequence[str]) -> list[bool]:
        """Which of the names it lets through."""
        exact = frozenset(self.paths)
        passed = [name in exact for name in names]
        if self.patterns and names:
            column = regex.column(names)
            for pattern in self.patterns:
                passed = [a or b for a, b in zip(passed, regex.hits(column, pattern).tolist(), strict=True)]
        return passed


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a tensor does not fit its parameter: in shape (as it would be loaded), in kind, or it cannot be read."""

    path: str
    key: str
    what: Literal["shape", "kind", "read"]
    found: tuple[int, ...]
    wanted: tuple[int, ...] | None
    fits_after_transpose: bool
    text: str


@dataclass(frozen=True, eq=False)
class Coverage:
    """Which parameters of the target get a tensor. By entry of `target.entries`: its state, the row of its tensor (-1).

    `target` is the one that fits the file: see `Target.expanded`. `renamed` are the entries that Burn's adapter finds
    under a PyTorch name, `transposed` those it transposes; `assumed` those of both for which the type of the module
    is not known, so that they are applied only if it is the one that their shape and name suggest. `wrong_values` are
    filled ones that this reader gives other values than the file has. `refused` says why the reader would open
    nothing of the file, "" where it opens it. `names` are the keys that the load sees, by row of the plan.
    """

    plan: Plan
    target: Target
    reader: Reader
    states: tuple[State, ...] = field(repr=False)
    rows: tuple[int, ...] = field(repr=False)
    problems: tuple[Problem, ...] = field(repr=False)
    unused_rows: tuple[int, ...] = field(repr=False)
    renamed: frozenset[int] = field(repr=False)
    transposed: frozenset[int] = field(repr=False)
    assumed: frozenset[int] = field(repr=False)
    wrong_values: tuple[str, ...] = field(repr=False)
    refused: str = ""
    names: Sequence[str] = field(default=(), repr=False)

    # ---- the five lists -------------------------------------------------------------------------------

    @cached_property
    def applied(self) -> tuple[str, ...]:
        """Paths of the parameters that are filled."""
        return self._paths(State.APPLIED)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Paths of the parameters that the file has nothing for."""
        return self._paths(State.MISSING)

    @cached_property
    def skipped(self) -> tuple[str, ...]:
        """Paths of the parameters that the selection leaves out."""
        return self._paths(State.SKIPPED)

    @cached_property
    def unused(self) -> tuple[str, ...]:
        """Names of the tensors that no parameter takes, in file order, each once."""
        return tuple(dict.fromkeys(self.names[row] for row in self.unused_rows))

    @cached_property
    def mismatched(self) -> tuple[Problem, ...]:
        """Tensors of another shape than their parameter."""
        return tuple(problem for problem in self.problems if problem.what == "shape")

    @cached_property
    def errors(self) -> tuple[Problem, ...]:
        """Tensors of another kind than their parameter, or that the reader cannot read."""
        return tuple(problem for problem in self.problems if problem.what != "shape")

    @cached_property
    def burn_unused(self) -> tuple[str, ...]:
        """The list that this version of Burn gives as unused, sorted: 0.20 and 0.21 count renamed norms in."""
        names = set(self.unused)
        if self.reader.lists_renamed_norms_unused:
            names |= {self.names[self.rows[n]] for n in self.renamed if self.rows[n] >= 0}
        return tuple(sorted(names))

    @cached_property
    def dtype_differs(self) -> tuple[tuple[str, str, str], ...]:
        """Path, dtype in the file, dtype of the target: for filled parameters where the two differ."""
        found = []
        for entry, state, row in zip(self.target.entries, self.states, self.rows, strict=True):
            if state is State.APPLIED and entry.dtype is not None:
                dtype = self._dtype(row)
                if dtype != entry.dtype:
                    found.append((entry.path, dtype, entry.dtype))
        return tuple(found)

    # ---- in sum -----------------------------------------------------------------------------------------

    @property
    def n_total(self) -> int:
        """Parameters of the target."""
        return len(self.target.entries)

    @property
    def percent(self) -> int:
        """Filled parameters of all in the target, rounded down, so that 100 means all; 0 for a target without any."""
        return 100 * len(self.applied) // self.n_total if self.n_total else 0

    @property
    def is_at_least(self) -> bool:
        """Whether the target may have more parameters than are counted here (Rust source leaves some open)."""
        return self.target.is_open

    @property
    def complete(self) -> bool:
        """Whether every parameter is filled and nothing stops the load."""
        return not self.refused and len(self.applied) == self.n_total

    @property
    def summary(self) -> str:
        """One line: "38 of 42 parameters of the target filled (90 %); 3 tensors of the file unused"."""
        at_least = "at least " if self.is_at_least else ""
        filled = f"{len(self.applied):,} of {at_least}{count_text(self.n_total, 'parameter')} of the target filled"
        unused = f"{count_text(len(self.unused), 'tensor')} of the file unused"
        return f"{filled} ({self.percent} %); {unused}"

    @property
    def verdict(self) -> str:
        """What the reader will say to this load, in one sentence."""
        name = self.reader.name if self.reader.version else "A strict load"
        if self.refused:
            return f"{name} refuses this file: {self.refused}"
        n_missing, n_shape, n_other = len(self.missing), len(self.mismatched), len(self.errors)
        parts = [
            f"{n_missing:,} missing" if n_missing else "",
            f"{n_shape:,} wrong {'shape' if n_shape == 1 else 'shapes'}" if n_shape else "",
            f"{n_other:,} of another dtype or unreadable" if n_other else "",
        ]
        said = ", ".join(part for part in parts if part)
        if not said:
            note = ""
            if self.assumed:
                some = ", ".join(f"`{self.target.entries[n].path}`" for n in sorted(self.assumed)[:2])
                of = count_text(len(self.assumed), "parameter")
                note = f", if the modules of {of} are what they seem ({some}, …)"
            return f"{name} will take this load{note}."
        if n_other and self.reader.kind_check == "panic":
            return f"{name} will panic: {said}."
        if not n_missing and not n_other and not self.reader.checks_shapes:
            return f"{name} does not compare shapes and will fail later, or never: {said}."
        hint = ""
        if n_missing and not n_shape and not n_other and self.reader.has_allow_partial:
            hint = " unless it allows a partial load"
        return f"{name} will refuse this load{hint}: {said}."

    def asked_for(self, path: str) -> str:
        """The name that the load looks for: without enum variants where the reader leaves them out."""
        return unskipped(path, self.target.by_path[path].containers) if self._skips_variants else path

    @cached_property
    def _skips_variants(self) -> bool:
        return _Options.of(self.plan, self.reader).skip

    # ---- did you mean -------------------------------------------------------------------------------------

    def did_you_mean(self, path: str) -> Near | None:
        """The unused tensor that is most likely meant by a missing parameter: by its shape, then by its name."""
        entry = self.target.by_path.get(path)
        if entry is None:
            return None
        return self._index.of(unskipped(entry.path, entry.containers), entry.shape)

    def burn_hints(self, limit: int = _HINTS) -> tuple[tuple[str, str | None], ...]:
        """What Burn itself prints for the first missing parameters: the path and its "Did you mean", or None."""
        paths = sorted(self.asked_for(path) for path in self.missing)
        return tuple((path, self._hints.of(path)) for path in paths[:limit])

    @cached_property
    def _hints(self) -> HintIndex:
        return HintIndex(self.burn_unused)

    @cached_property
    def _index(self) -> NearIndex:
        rows, tensors = self.unused_rows, self.plan.tensors
        return NearIndex(rows, [self.names[row] for row in rows], [tensors[row].shape for row in rows])

    def _dtype(self, row: int) -> str:
        cast = self.plan.row(row).cast if self.plan.mapping.route == "exported" and self.plan.mapping.casts else ""
        return cast or self.plan.tensors[row].dtype.name

    def _paths(self, wanted: State) -> tuple[str, ...]:
        pairs = zip(self.target.entries, self.states, strict=True)
        return tuple(entry.path for entry, state in pairs if state is wanted)

    def __repr__(self) -> str:
        return f"<Coverage: {self.summary}>"


@dataclass(frozen=True, slots=True)
class _Options:
    """What the mapping and the reader together say of a load."""

    skip: bool
    adapt: bool

    @classmethod
    def of(cls, plan: Plan, reader: Reader) -> _Options:
        skip = plan.mapping.skip_enum_variants
        if reader.enums_by_structure:
            skip = True
        elif reader.version and reader.skips_enum_variants is None:
            skip = False
        elif skip is None:
            skip = bool(reader.skips_enum_variants)
        adapt = plan.mapping.layout.adapt
        if plan.mapping.route == "exported":
            # What the export has adapted is not adapted again; else the load does what it does for the original.
            adapt = adapt is None and plan.reader.adapter_by_default
        elif adapt is None:
            adapt = reader.adapter_by_default
        if reader.version:
            adapt = adapt and reader.can_adapt
        return cls(skip, adapt)


def coverage(plan: Plan, target: Target, *, only: Filter | None = None, seen: Sight | None = None) -> Coverage:
    """What loading the plan's tensors into `target` gives: from the original file, or from the one that is exported.

    `only` is the filter that the load itself has, tested on the names that this version tests. `seen` is what the
    reader makes of the original file, worked out here where it is not given.
    """
    reader = plan.reader
    if plan.mapping.burn is not None and plan.mapping.route == "original":
        plan = plan.unfolded
    if plan.mapping.route == "exported":
        version = plan.mapping.burn
        reader = reader if version is None else reader_for(version, "safetensors", plan.mapping.api)
        seen = None
    elif seen is None and reader.store:
        seen = sight(reader, plan.checkpoint, plan.mapping.top_level_key)
    return _Load(plan, target, reader, only, seen).run()


class _Load:
    """One load, entry by entry, as `apply` of burn-store does it."""

    def __init__(self, plan: Plan, target: Target, reader: Reader, only: Filter | None, seen: Sight | None) -> None:
        self.plan = plan
        self.reader = reader
        self.is_exported = plan.mapping.route == "exported"
        self.only, self.refused = only.as_read(reader) if only is not None else (None, "")
        self.options = _Options.of(plan, reader)
        if seen is not None and seen.refused:
            self.refused = seen.refused
        self.fates: dict[int, tuple[str, str]] = {}
        if seen is not None and not self.refused:
            for tensor, fate in zip(seen.tensors, seen.seen, strict=True):
                if fate.state != "right":
                    self.fates[id(tensor)] = fate.state, fate.why
        self.names = plan.remapped
        if self.is_exported and plan.mapping.layout.adapt:
            self.names = [plan.adapted_key(row) for row in range(len(plan))]
        self.source = self._source()
        norms = reader.renames_norms if self.options.adapt else frozenset()
        self.norms = norms
        self.target = target.expanded(self.source, skip_enum_variants=self.options.skip, norms=norms)
        self.marks = dict(plan.mapping.layout.modules)
        self.all_selected = bool(plan.selected.all())
        self.tensors = plan.tensors
        self.problems: list[Problem] = []
        self.renamed: set[int] = set()
        self.transposed: set[int] = set()
        self.assumed: set[int] = set()
        self.wrong: list[str] = []

    def run(self) -> Coverage:
        entries = self.target.entries
        names = [entry.path for entry in entries]
        if self.options.skip:
            names = [unskipped(entry.path, entry.containers) if entry.containers else entry.path for entry in entries]
        passed = [True] * len(names)
        if self.only is not None and self.reader.filters == "module-path":
            passed = self.only.passes(names)
        states: list[State] = []
        rows: list[int] = []
        asked = set(names)
        for n, (entry, name) in enumerate(zip(entries, names, strict=True)):
            row = self._lookup(n, entry, name, asked)
            states.append(STATES[self._outcome(n, entry, row, passed[n])])
            rows.append(row)
        taken = {rows[n] for n in self.renamed}
        unused = [
            row for row, name in enumerate(self.names) if name not in asked and name in self.source and row not in taken
        ]
        return Coverage(
            self.plan,
            self.target,
            self.reader,
            tuple(states),
            tuple(rows),
            tuple(self.problems),
            tuple(unused),
            frozenset(self.renamed),
            frozenset(self.transposed),
            frozenset(self.assumed),
            tuple(self.wrong),
            self.refused,
            self.names,
        )

    def _source(self) -> dict[str, int]:
        """Row by name, of the tensors that the reader would list; of several with one name the last."""
        if self.refused:
            return {}
        plan = self.plan
        names = self.names
        if self.is_exported:
            kept = plan.codes < ROW_STATUSES.index(Status.SKIPPED)
            return {name: row for row, (name, keep) in enumerate(zip(names, kept.tolist(), strict=True)) if keep}
        if self.only is not None and self.reader.filters == "original":
            passed = self.only.passes(plan.originals)
            names_and_rows = [(name, row) for row, (name, ok) in enumerate(zip(names, passed, strict=True)) if ok]
        else:
            names_and_rows = list(zip(names, range(len(names)), strict=True))
        if not self.fates:
            return dict(names_and_rows)
        lost = {id_ for id_, (state, _) in self.fates.items() if state == "lost"}
        return {name: row for name, row in names_and_rows if id(plan.tensors[row]) not in lost}

    def _type(self, entry: Entry, name: str) -> str | None:
        """The type of the module that a parameter is in; None where nobody knows."""
        if self.marks:
            module = name.rpartition(".")[0]
            if module in self.marks:
                return self.marks[module]
        return entry.module_type if entry.containers else None

    def _lookup(self, n: int, entry: Entry, name: str, asked: set[str]) -> int:
        row = self.source.get(name, -1)
        if not self.norms:
            return row
        prefix, _, leaf = name.rpartition(".")
        if leaf not in ("gamma", "beta"):
            return row
        if row >= 0 and not self.reader.norms_need_both:
            return row
        module = self._type(entry, name)
        if module is not None and module not in self.norms:
            return row
        other = f"{prefix}.{'weight' if leaf == 'gamma' else 'bias'}".removeprefix(".")
        found = self.source.get(other, -1)
        if found < 0 or (module is None and other in asked):
            return -1 if module is not None and self.reader.norms_need_both else row
        self.renamed.add(n)
        if module is None:
            self.assumed.add(n)
        return found

    def _outcome(self, n: int, entry: Entry, row: int, passes: bool) -> int:
        if row < 0:
            return _MISSING if passes or self.reader.filtered_counts_missing else _SKIPPED
        if not passes or not (self.all_selected or self.plan.selected[row]):
            return _SKIPPED
        tensor = self.tensors[row]
        shape, is_transposed = self._shape(n, entry, row, tensor)
        if is_transposed:
            self.transposed.add(n)
        fate, why = self.fates.get(id(tensor), _RIGHT) if self.fates else _RIGHT
        if fate == "unreadable":
            return self._problem(entry, row, "read", shape, f"it {why}")
        other_kind = self._wrong_kind(entry, row, tensor)
        if other_kind is not None:
            return self._problem(entry, row, "kind", shape, other_kind)
        wanted = entry.shape
        if wanted is not None and shape != wanted:
            return self._problem(entry, row, "shape", shape, _shape_words(shape, wanted))
        if wanted is None and entry.rank is not None and len(shape) != entry.rank:
            text = f"the file has {shape_text(shape)}, the target {count_text(entry.rank, 'dimension')}"
            return self._problem(entry, row, "shape", shape, text)
        if fate == "wrong values":
            self.wrong.append(entry.path)
        return _APPLIED

    def _shape(self, n: int, entry: Entry, row: int, tensor: TensorRef) -> tuple[tuple[int, ...], bool]:
        """The shape as it is loaded, and whether the adapter transposes."""
        shape = tensor.shape
        if self.is_exported and self.plan.layout(row) == "transpose":
            return shape[::-1], True
        if not (self.options.adapt and self.reader.transposes_linear) or len(shape) != 2:
            return shape, False
        name = self.names[row]
        if entry.path.rpartition(".")[2] != "weight":
            return shape, False
        module = self._type(entry, name)
        if module == "Linear":
            return shape[::-1], True
        if module is None and entry.shape is not None and shape != entry.shape and shape[::-1] == entry.shape:
            self.assumed.add(n)
            return shape[::-1], True
        return shape, False

    def _wrong_kind(self, entry: Entry, row: int, tensor: TensorRef) -> str | None:
        if entry.kind is None or self.reader.kind_check == "cast" or not self.reader.version:
            return None
        cast = self.plan.row(row).cast if self.is_exported and self.plan.mapping.casts else ""
        dtype = cast or tensor.dtype.name
        kind: Kind | None = kind_of(dtype)
        fits = dtype in self.reader.bool_takes if entry.kind == "bool" else kind == entry.kind
        return None if fits else f"the file has {dtype}, the target {entry.kind}"

    def _problem(
        self, entry: Entry, row: int, what: Literal["shape", "kind", "read"], shape: tuple[int, ...], text: str
    ) -> int:
        fits = what == "shape" and len(shape) > 1 and shape[::-1] == entry.shape
        made = Problem(entry.path, self.plan.originals[row], what, shape, entry.shape, fits, text)
        self.problems.append(made)
        return _MISMATCHED if what == "shape" else _ERROR


def _shape_words(found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    fits = len(found) > 1 and found[::-1] == wanted
    after = "fits after transpose" if fits else "no transpose fits"
    return f"the file has {shape_text(found)}, the target {shape_text(wanted)}; {after}"
