"""A name for one key: an exact rule that touches nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import MappingError, printable
from workbench.mapping import regex
from workbench.mapping.mapping import Mapping
from workbench.mapping.rules import Rule
from workbench.mapping.trace import row_of

if TYPE_CHECKING:
    from workbench.mapping.plan import Plan

__all__ = ["exact_rule", "renamed"]

_TRIALS = 8


def exact_rule(key: str, name: str) -> Rule:
    """The rule that makes `name` of exactly `key`.

    >>> exact_rule("a.b", "c$d")
    Rule('^a\\\\.b$', 'c$$d')
    """
    return Rule(f"^{regex.escaped(key)}$", name.replace("$", "$$"))


def renamed(plan: Plan, key: str, name: str) -> Mapping:
    """The mapping of `plan` with a rule by which the tensor with that original key gets `name`, and no other moves.

    A rule that named it last is changed instead. Indices are closed up afterwards, as the mapping says. Raises
    `MappingError` where no rule does that, `UnknownKeyError` where there is no such key.
    """
    row = row_of(plan, key)
    mapping = plan.mapping
    rules = list(mapping.rules)
    if plan.after_rules[row] == name:
        return mapping
    candidates: list[list[Rule]] = []
    hitting = [stage for stage in plan.stages if stage.hit[row]]
    if hitting and np.count_nonzero(hitting[-1].hit) == 1:
        last = hitting[-1]
        before = str(last.before[row])
        new = exact_rule(before, name)
        if last.rule.pattern == new.pattern:
            others = (rules[: last.index], rules[last.index + 1 :])
            if before == name:
                candidates.append([*others[0], *others[1]])
            candidates.append([*others[0], replace(last.rule, replacement=new.replacement), *others[1]])
    # As late as the key is still told from all others: where rules made several alike, before them.
    places = [(len(rules), plan.keys_before(len(rules))), *((s.index, s.before) for s in reversed(plan.stages))]
    for at, column in places:
        text = str(column[row])
        if regex.count_same(column, text) == 1:
            candidates.append([*rules[:at], exact_rule(text, name), *rules[at:]])
    wanted = list(plan.after_rules)
    wanted[row] = name
    for candidate in candidates[:_TRIALS]:
        trial = mapping.with_rules(candidate)
        if plan.update(trial).after_rules == wanted:
            return trial
    raise MappingError(
        f"No rule gives {printable(key, 120)!r} the name {printable(name, 120)!r} and leaves the others alone.",
        cause="Other tensors have the same key wherever a rule could stand, or later rules change the name.",
        next_step="Move or change the rules that make them alike.",
        code="rename-impossible",
    )
