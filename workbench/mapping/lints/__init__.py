"""Lints: what a plan shows that its user should know, as findings placed on the rules, with repairs as data.

One small function a lint; each takes a `Look` at the plan. Their work is over whole columns, so all of them together
cost about as much as the rules; single keys are read for samples only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from workbench.finding import Finding, Severity
from workbench.mapping.lints import chains, folding, indices, matches, misses, names, reading, replacements
from workbench.mapping.lints.look import Look

if TYPE_CHECKING:
    from workbench.mapping.plan import Plan

__all__ = ["LINTS", "lints"]

LINTS: Final[tuple[Callable[[Look], Iterator[Finding]], ...]] = (
    names.collisions,
    names.empty_names,
    replacements.group_name_runs_on,
    replacements.unknown_group,
    replacements.python_group,
    replacements.backslash_in_replacement,
    misses.hits_nothing,
    matches.matches_empty_text,
    matches.matches_inside_names,
    matches.hits_several_times,
    matches.dot_matches_any,
    chains.changes_nothing,
    chains.repeats_earlier,
    chains.undoes_earlier,
    chains.not_idempotent,
    chains.loses_information,
    names.differ_in_case,
    names.differ_in_normalisation,
    indices.renumbered,
    indices.odd_indices,
    indices.root_indices,
    indices.nested_lists,
    reading.rules_not_in_code,
    reading.filter_tests_other_names,
    reading.top_level_key,
    reading.unsupported_switches,
    reading.norm_renamed_by_rule,
    folding.needs_export,
)
"""In the order in which repairs are tried where a file is too large to try all."""

_ORDER: Final = (Severity.ERROR, Severity.WARNING, Severity.NOTE)


def lints(plan: Plan) -> tuple[Finding, ...]:
    """All findings about `plan`: errors first, then warnings, then notes, each in the order of the rules.

    Every repair was carried out on the plan before it is offered: it mends what the finding says and costs no tensor.
    With very many keys only the first few are tried, and the others are told in words alone.
    """
    look = Look(plan)
    found = [finding for lint in LINTS for finding in lint(look)]
    last = len(plan.mapping.rules)
    return tuple(
        sorted(found, key=lambda each: (_ORDER.index(each.severity), last if each.rule is None else each.rule))
    )
