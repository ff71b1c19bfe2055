"""What all lints look at: the plan, rule by rule, and repairs that are tried before they are offered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, wraps
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from workbench.errors import MappingError, RuleError
from workbench.finding import Finding, Repair, Severity
from workbench.mapping import regex, stages
from workbench.mapping.lints.syntax import Syntax, syntax
from workbench.mapping.repairs import repaired
from workbench.mapping.rules import Rule

if TYPE_CHECKING:
    from workbench.burn import Reader
    from workbench.mapping.mapping import Mapping
    from workbench.mapping.plan import Plan

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

N_SAMPLES = 4
_MIN_TRIALS = 2
_TRIAL_ROWS = 200_000


class Look:
    """A plan with what several lints need of it, each computed once.

    Rules are meant by their index; `rules` are those that are enabled. A repair is offered only if the plan with it
    was made and has no fewer tensors to export; in a very large file only the first few findings get that far.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.mapping = plan.mapping
        self.reader: Reader = plan.reader
        self.rules = tuple(n for n, rule in enumerate(plan.mapping.rules) if rule.enabled)
        self._trials = max(_MIN_TRIALS, _TRIAL_ROWS // max(len(plan), 1))
        self._hit: dict[int, Mask] = {}
        self._before: dict[int, regex.Keys] = {}
        self._after: dict[int, regex.Keys] = {}

    # ---- rules ------------------------------------------------------------------------------------

    def rule(self, n: int) -> Rule:
        return self.mapping.rules[n]

    def syntax(self, n: int) -> Syntax:
        return syntax(self.mapping.rules[n].pattern)

    def mask(self, n: int) -> Mask:
        """Which rows rule `n` hits."""
        if n not in self._hit:
            hit = self.plan.hits(n)
            self._hit[n] = np.zeros(len(self.plan), np.bool_) if hit is None else hit
        return self._hit[n]

    def n_hits(self, n: int) -> int:
        return int(np.count_nonzero(self.mask(n)))

    @cached_property
    def _view(self) -> tuple[Rows, Rows]:
        """One row of each group that no rule can tell apart, and the group of each row.

        Rules tell digits apart only where a pattern names some, so keys that differ in other digits share their fate.
        """
        named = [syntax(self.mapping.rules[n].pattern).digits for n in self.rules]
        told_apart = "".join(sorted(set("".join(named))))
        if len(told_apart) >= 9 or not len(self.plan):
            every = np.arange(len(self.plan))
            return every, every
        return regex.alike(self.first, told_apart)

    def _seen(self, keys: regex.Keys) -> regex.Keys:
        """One key of each group."""
        rows = self._view[0]
        return keys if len(rows) == len(self.plan) else regex.pick(keys, rows)

    def before(self, n: int) -> regex.Keys:
        """The keys that rule `n` hits, as they are before it, one of each group; `spread` leads back to all."""
        if n not in self._before:
            self._before[n] = regex.take(self._seen(self.plan.keys_before(n)), self._hit_view(n))
        return self._before[n]

    def after(self, n: int) -> regex.Keys:
        """The same keys as rule `n` leaves them."""
        if n not in self._after:
            self._after[n] = regex.take(self._seen(self.plan.keys_before(n + 1)), self._hit_view(n))
        return self._after[n]

    def none(self, n: int) -> Mask:
        """An empty mask over `before(n)`."""
        return np.zeros(len(self.before(n)), np.bool_)

    def spread(self, n: int, mask: Mask) -> Mask:
        """A mask over `before(n)` as one over all rows."""
        groups = self._hit_view(n).copy()
        groups[groups] = mask
        return groups[self._view[1]] & self.mask(n)

    def count(self, n: int, mask: Mask) -> int:
        """How many keys a mask over `before(n)` stands for."""
        return int(np.count_nonzero(self.spread(n, mask)))

    def where(self, pattern: str, n: int | None = None) -> Mask:
        """Rows whose key before rule `n`, or after all, matches a `pattern` that tells no digits apart."""
        keys = self._seen(self.last if n is None else self.plan.keys_before(n))
        return regex.hits(keys, pattern)[self._view[1]]

    def shared(self, m: int, n: int) -> tuple[Rows, Mask]:
        """Rows that rules `m` and `n` both hit, one of each group, and the mask of all that they both hit."""
        rows = self._view[0]
        return rows[self.mask(m)[rows] & self.mask(n)[rows]], self.mask(m) & self.mask(n)

    def _hit_view(self, n: int) -> Mask:
        return self.mask(n)[self._view[0]]

    @cached_property
    def last(self) -> regex.Keys:
        """All keys after all rules, before reindexing. Those that are not valid text are empty."""
        return self.plan.keys_before(len(self.mapping.rules))

    @property
    def last_seen(self) -> regex.Keys:
        """One key of each group after all rules."""
        return self._seen(self.last)

    @cached_property
    def first(self) -> regex.Keys:
        """All keys before the rules."""
        return self.plan.keys_before(0)

    # ---- findings ---------------------------------------------------------------------------------

    def rows(self, mask: Mask, limit: int = N_SAMPLES) -> list[int]:
        """The first rows where `mask` holds."""
        return [int(row) for row in np.flatnonzero(mask)[:limit]]

    def hit_rows(self, n: int, mask: Mask, limit: int = N_SAMPLES) -> list[int]:
        """The first rows that a mask over `before(n)` stands for."""
        return self.rows(self.spread(n, mask), limit)

    def originals(self, rows: Iterable[int]) -> tuple[str, ...]:
        """The original keys of `rows`."""
        return tuple(self.plan.originals[row] for row in rows)

    def on_rule(
        self,
        n: int,
        code: str,
        severity: Severity,
        text: str,
        next_step: str = "",
        *,
        rows: Iterable[int] = (),
        repair: Repair | None = None,
    ) -> Finding:
        """A finding that stands on rule `n`."""
        keys = self.originals(rows)
        return Finding(code, severity, f"rule {n + 1}", text, next_step, rule=n, keys=keys, repair=repair)

    # ---- repairs ----------------------------------------------------------------------------------

    def edit(self, n: int, label: str, pattern: str | None = None, replacement: str | None = None) -> Repair:
        """Rule `n` with another pattern or replacement."""
        rule = self.rule(n)
        return Repair.make(
            label,
            "edit-rule",
            rule=n,
            pattern=rule.pattern if pattern is None else pattern,
            replacement=rule.replacement if replacement is None else replacement,
        )

    def offer(
        self,
        candidates: Sequence[Repair],
        works: Callable[[Look], bool],
        *,
        rows: Sequence[int] = (),
        good: Callable[[list[str]], bool] | None = None,
    ) -> Repair | None:
        """The first of `candidates` with which no tensor gets lost and which `works`, told by a look at its plan.

        Where the names that `rows` get by its rules are not `good`, no plan is made to find that out.
        """
        for repair in candidates:
            if self._trials <= 0:
                return None
            try:
                mapping = repaired(self.mapping, repair)
                if good is not None and not good(self._names(mapping, rows)):
                    continue
                self._trials -= 1
                trial = self.plan.update(mapping)
            except (MappingError, RuleError):
                continue
            if trial.n_out >= self.plan.n_out and works(Look(trial)):
                return repair
        return None

    def _names(self, mapping: Mapping, rows: Sequence[int]) -> list[str]:
        """What the rules of a mapping make of the keys of a few rows."""
        keys = regex.pick(self.first, np.asarray(rows, np.int64))
        done = stages.run(mapping.rules, keys)
        names: list[str] = (done[-1].after if done else keys).to_list()
        return names


def each_rule(lint: Callable[[Look, int], Iterator[Finding]]) -> Callable[[Look], Iterator[Finding]]:
    """A lint that is asked about one rule, as one that looks at all that are enabled."""

    @wraps(lint)
    def all_rules(look: Look) -> Iterator[Finding]:
        for n in look.rules:
            yield from lint(look, n)

    return all_rules


def is_text(key: str) -> bool:
    """Whether the crate can hold `key`."""
    if key.isascii():
        return True
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def quoted(keys: Iterable[str], limit: int = N_SAMPLES) -> str:
    """``'a', 'b' and 3 more`` for the text of a finding."""
    keys = list(keys)
    shown = ", ".join(repr(key) if key else "'' (empty)" for key in keys[:limit])
    return shown + (f" and {len(keys) - limit:,} more" if len(keys) > limit else "")


def counted(n: int, noun: str) -> str:
    """``1 key``, ``2 keys``."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
