"""What the screen says of one line of the table in full: the steps of its name, and where its tensor lies."""

from __future__ import annotations

from typing import TypedDict

from workbench.core.tensor import TensorRef
from workbench.core.text import bytes_text, listed_text, shape_text
from workbench.errors import printable
from workbench.mapping import Plan
from workbench.mapping.marks import Part, changes
from workbench.rows.outline import Item
from workbench.rows.sections import Extra, Section
from workbench.rows.table import Table

_MAX_KEY = 4_000
_MAX_TEXT = 600

Fact = tuple[str, str, bool]
"""A word, its text, and whether the text is code."""


class StepDict(TypedDict):
    """One change of a name."""

    what: str
    before: list[Part]
    after: list[Part]


class Inspected(TypedDict):
    """`key` is what a copy takes, `shown` the same with its odd characters escaped."""

    key: str
    shown: str
    steps: list[StepDict]
    facts: list[Fact]


def inspected(table: Table, line_id: str) -> Inspected:
    """The line with this id; ValueError where there is none."""
    kind, number = line_id[:2], line_id[2:]
    n = int(number) if number.isdecimal() and len(number) < 10 else -1
    if kind == "t:" and n < len(table.plan):
        return _tensor(table, n)
    if kind == "n:" and n < len(table.plan):
        return _tensor(table, n)
    if kind in ("g:", "r:"):
        item = table.item(line_id)
        if item is not None:
            return _several(table, item)
    if kind == "x:" and n < len(table.extras):
        return _extra(table.extras[n])
    raise ValueError("no such line")


def _several(table: Table, item: Item) -> Inspected:
    """A group, or what stands for the same part of several blocks."""
    plan, rows = table.plan, table.outline.order[item.start : item.end]
    facts: list[Fact] = [("Tensors", f"{len(rows):,}", False), _bytes(sum(plan.sizes[row] for row in rows))]
    if item.n > 1:
        facts.insert(0, ("Blocks", f"{item.n:,}, alike in keys, shapes and dtypes", False))
    if item.is_group:
        return _answer(item.key, [], facts)
    tensor, last = plan.tensors[rows[0]], plan.originals[rows[-1]]
    each = f"{shape_text(tensor.shape)} · {tensor.n_elements:,} elements"
    facts += [
        ("Each", each, True),
        ("dtype", tensor.dtype.name, True),
        ("First", plan.originals[rows[0]], True),
        ("Last", last, True),
    ]
    return _answer(item.key, _steps(plan, rows[0]), facts)


def _tensor(table: Table, row: int) -> Inspected:
    plan = table.plan
    tensor, entry = plan.tensors[row], plan.row(row)
    facts: list[Fact] = [("Status", f"{entry.status}: {entry.reason}" if entry.reason else str(entry.status), False)]
    if entry.folded_from:
        facts.append(("Folded from", listed_text(entry.folded_from), True))
    if entry.layout:
        facts.append(("Layout", entry.layout, False))
    if entry.cast:
        facts.append(("Cast", f"to {entry.cast}", False))
    difference = table.repeats.differing.get(row) if table.repeats.any else None
    if difference is not None:
        facts.append(("The others", difference.sentence, False))
    tag = table.tags.get(tensor.key)
    if tag is not None:
        facts.append(("Shared", f"{tag[0]}: {tag[1]}", False))
    return _answer(plan.originals[row], _steps(plan, row), [*facts, *_place(tensor)])


def _steps(plan: Plan, row: int) -> list[StepDict]:
    steps = []
    for step in plan.trace(row).steps:
        before, after = changes(step.before, step.after)
        what = step.what if step.rule is None else f"rule {step.rule + 1}"
        steps.append(StepDict(what=what, before=_parts(before), after=_parts(after)))
    return steps


def _place(tensor: TensorRef) -> list[Fact]:
    storage = tensor.storage
    facts: list[Fact] = [
        ("Shape", f"{shape_text(tensor.shape)} · {tensor.n_elements:,} elements", True),
        ("dtype", tensor.dtype.name, True),
        _bytes(tensor.nbytes),
        (
            "Strides",
            f"{', '.join(map(str, tensor.strides)) or 'none'}{'' if tensor.is_contiguous else ' (strided)'}",
            True,
        ),
        ("Storage", f"{storage.id}, {storage.nbytes:,} bytes, from element {tensor.offset:,}", True),
    ]
    if tensor.unreadable:
        facts.append(("Unreadable", tensor.unreadable, False))
    return facts


def _extra(extra: Section | Extra) -> Inspected:
    if isinstance(extra, Section):
        return _answer(extra.title, [], [("Lines", f"{extra.n:,}", False)])
    facts = [("Value", extra.text, True), ("Shape", extra.shape, True), ("Type", extra.dtype, True),
             ("Size", extra.size, False), ("Why", extra.reason, False)]  # fmt: skip
    return _answer(extra.key, [], [fact for fact in facts if fact[1]])


def _answer(key: str, steps: list[StepDict], facts: list[Fact]) -> Inspected:
    shown = [(word, printable(text, _MAX_TEXT), code) for word, text, code in facts]
    return Inspected(key=key, shown=printable(key, _MAX_KEY), steps=steps, facts=shown)


def _bytes(n: int) -> Fact:
    return ("Size", f"{bytes_text(n)} ({n:,} bytes)" if n >= 1_000 else f"{n:,} bytes", False)


def _parts(parts: tuple[Part, ...]) -> list[Part]:
    return [(printable(text, _MAX_KEY), mark) for text, mark in parts]
