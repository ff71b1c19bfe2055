"""Trace: the way of one key through a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workbench.core.text import listed_text
from workbench.errors import UnknownKeyError, printable
from workbench.mapping.rows import Row

if TYPE_CHECKING:
    from workbench.mapping.plan import Plan

__all__ = ["Step", "Trace", "trace"]

What = Literal[
    "top-level key", "folding", "rule", "reindexing", "layout", "enum variant", "cast", "skipped", "collision"
]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to a tensor. `before` and `after` are keys; dtypes for a cast, shapes for a transpose.

    `rule` is the index of the rule, None where none did it; `note` says why, for what is not exported.
    """

    rule: int | None
    what: What
    before: str
    after: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """All that happened to one tensor, in order; `row` is where it ended. `original` is its key in the whole file."""

    original: str
    steps: tuple[Step, ...]
    row: Row

    @property
    def final(self) -> str:
        """The key that the target has for it."""
        return self.row.target_key

    def __str__(self) -> str:
        lines = [printable(self.original)]
        for step in self.steps:
            name = f"rule {step.rule + 1}" if step.rule is not None else step.what
            moved = f"{step.before} → {step.after}" if step.before != step.after else step.note or "unchanged"
            lines.append(f"  {name}: {printable(moved)}")
        return "\n".join(lines)


def trace(plan: Plan, row: int) -> Trace:
    """The way of one row."""
    facts = plan.row(row)
    whole = facts.tensor.key
    steps: list[Step] = []
    if whole != facts.original:
        steps.append(Step(None, "top-level key", whole, facts.original))
    if facts.folded_from:
        note = f"computed from {listed_text(facts.folded_from)}"
        steps.append(Step(None, "folding", facts.original, str(plan.keys_before(0)[row]), note))
    for stage in plan.stages:
        if stage.hit[row]:
            steps.append(Step(stage.index, "rule", str(stage.before[row]), str(stage.after[row])))
    after_rules = plan.after_rules[row]
    if facts.remapped != after_rules:
        steps.append(Step(None, "reindexing", after_rules, facts.remapped))
    adapted = plan.adapted_key(row)
    if facts.layout == "transpose":
        shape = facts.tensor.shape
        steps.append(Step(None, "layout", str(list(shape)), str(list(shape[::-1])), facts.layout))
    elif facts.layout:
        steps.append(Step(None, "layout", facts.remapped, adapted, facts.layout))
    if facts.target_key != adapted:
        steps.append(Step(None, "enum variant", adapted, facts.target_key))
    if facts.cast:
        steps.append(Step(None, "cast", facts.tensor.dtype.name, facts.cast))
    if facts.status == "skipped":
        steps.append(Step(None, "skipped", facts.remapped, facts.remapped, facts.reason))
    elif facts.status == "collision":
        steps.append(Step(None, "collision", facts.remapped, facts.remapped, facts.reason))
    return Trace(whole, tuple(steps), facts)


def row_of(plan: Plan, key: str) -> int:
    """The row with that original key, as it stands below the top-level key or in the whole file."""
    for row, original in enumerate(plan.originals):
        if original == key:
            return row
    for row, tensor in enumerate(plan.tensors):
        if tensor.key == key:
            return row
    raise UnknownKeyError(
        f"There is no tensor {printable(key, 200)!r}.",
        path=plan.checkpoint.path,
        cause="A trace begins with the key that a tensor has in the file.",
        next_step="List them with plan.frame(), or workbench inspect.",
        code="unknown-key",
    )
