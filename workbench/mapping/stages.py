"""Stages: what each rule made of the keys, so that an edit of a rule runs only that one and those after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.mapping import regex
from workbench.mapping.rules import Rule

__all__ = ["Stage", "run"]


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One enabled rule, by its index: the keys before it and after it, and which of them it hit."""

    index: int
    rule: Rule
    before: regex.Keys
    after: regex.Keys
    hit: npt.NDArray[np.bool_]


def run(rules: Sequence[Rule], keys: regex.Keys, done: Sequence[Stage] = ()) -> tuple[Stage, ...]:
    """The stages of the enabled `rules` on `keys`; those of `done` that are still the same are not run again."""
    stages: list[Stage] = []
    for index, rule in enumerate(rules):
        if not rule.enabled:
            continue
        n = len(stages)
        old = done[n] if n < len(done) else None
        if old is not None and (old.rule.pattern, old.rule.replacement) == (rule.pattern, rule.replacement):
            stages.append(Stage(index, rule, keys, old.after, old.hit))
        else:
            done = ()
            hit, after = regex.apply(keys, rule.pattern, rule.replacement)
            stages.append(Stage(index, rule, keys, after, hit))
        keys = stages[-1].after
    return tuple(stages)
