"""Suggestions for what users hold: a checkpoint or plan, a target, and the mapping so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.mapping import Mapping, Plan, regex
from workbench.mapping.layout import Adapter
from workbench.mapping.rules import Rule
from workbench.suggesting.align import Item, Shape
from workbench.suggesting.engine import Suggestions, suggest_rules
from workbench.target import Target, unskipped

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint

__all__ = ["suggest"]

Rows = Sequence[tuple[str, Shape, str | None]]
_PYTORCH_LEAVES = {"gamma": "weight", "beta": "bias"}
_N_OF_A_LIST = 2


def suggest(source: Checkpoint | Plan | Rows, target: Target | Rows, mapping: Mapping | None = None) -> Suggestions:
    """A short list of rules, to be added after those of `mapping`, which brings `source` to the names of `target`.

    `source` is a checkpoint (with `mapping`), a plan, or rows of key, shape and dtype (the last two may be None) which
    are then run through the rules of `mapping`; `target` likewise. With a plan and a target, coverage is what
    `Plan.coverage` says. Nothing is guessed: what several tensors fit equally well is left out and listed.
    """
    if isinstance(source, Plan):
        plan = source if mapping is None else source.update(mapping)
    elif isinstance(source, Sequence):
        return _of_rows(source, target, mapping)
    else:
        plan = (mapping or Mapping()).plan(source)
    if not isinstance(target, Target):
        return suggest_rules(_items(plan), [Item(*row) for row in target], finish=_finish(plan))
    return _of_plan(plan, target)


def _of_rows(source: Rows, target: Target | Rows, mapping: Mapping | None) -> Suggestions:
    names = [row[0] for row in source]
    finish: Callable[[list[str]], list[str]] | None = None
    if mapping is not None:
        names = replace(mapping, reindex=False).remap_keys(names)
        if mapping.reindex:
            finish = replace(mapping, rules=()).remap_keys
    items = [Item(name, *row[1:]) for name, row in zip(names, source, strict=True)]
    if isinstance(target, Target):
        wanted, transposable = _wanted(target, Adapter(False, frozenset()), skips_variants=False)
        return suggest_rules(items, wanted, transposable=transposable, finish=finish)
    return suggest_rules(items, [Item(*row) for row in target], finish=finish)


def _of_plan(plan: Plan, target: Target) -> Suggestions:
    adapter = Adapter.of(plan.mapping.layout, plan.reader, plan.mapping.route)
    said = plan.mapping.skip_enum_variants
    skips = plan.reader.enums_by_structure or bool(plan.reader.skips_enum_variants if said is None else said)
    wanted, transposable = _wanted(target, adapter, skips_variants=skips)
    found = suggest_rules(_items(plan), wanted, transposable=transposable, finish=_finish(plan))
    before = plan.coverage(target)
    rules: tuple[Rule, ...] = ()
    kept = []
    covered = frozenset(before.applied)
    now = before
    for suggestion in found.rules:
        then = plan.update(plan.mapping.with_rules((*plan.mapping.rules, *rules, suggestion.rule))).coverage(target)
        if covered <= frozenset(then.applied):
            kept.append(suggestion)
            rules, covered, now = (*rules, suggestion.rule), frozenset(then.applied), then
    return Suggestions(tuple(kept), len(before.applied), len(now.applied), now.n_total, found.ambiguous)


def _items(plan: Plan) -> list[Item]:
    """What the rules so far make of each tensor that the plan takes."""
    return [
        Item(name, tensor.shape, tensor.dtype.name)
        for name, tensor, taken in zip(plan.after_rules, plan.tensors, plan.selected.tolist(), strict=True)
        if taken
    ]


def _finish(plan: Plan) -> Callable[[list[str]], list[str]] | None:
    container = plan.checkpoint.format
    if not plan.mapping.reindexes(container):
        return None

    def finish(keys: list[str]) -> list[str]:
        closed: list[str] = plan.mapping.close_gaps(regex.column(keys), container).to_list()
        return closed

    return finish


def _wanted(target: Target, adapter: Adapter, *, skips_variants: bool) -> tuple[list[Item], frozenset[str]]:
    """The names that a key must get for each entry, and those whose tensor may come transposed."""
    items: dict[str, Item] = {}
    transposable = set()
    for entry in target.entries:
        for path in _numbered(entry.path):
            name = unskipped(path, entry.containers) if skips_variants else path
            module, _, leaf = name.rpartition(".")
            if entry.module_type in adapter.renames and leaf in _PYTORCH_LEAVES:
                name = f"{module}.{_PYTORCH_LEAVES[leaf]}" if module else _PYTORCH_LEAVES[leaf]
            items.setdefault(name, Item(name, entry.shape, entry.dtype))
            if entry.module_type == "Linear" and leaf == "weight" and adapter.transposes:
                transposable.add(name)
    return list(items.values()), frozenset(transposable)


def _numbered(path: str) -> Iterator[str]:
    """A path with its open indices as numbers: the first few are enough to find the rules."""
    if "*" not in path.split("."):
        yield path
        return
    head, _, tail = path.partition("*")
    for n in range(_N_OF_A_LIST):
        yield from _numbered(f"{head}{n}{tail}")
