"""All that is the matter with a file, from every part that looks at it, each cause said once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from workbench.core.text import count_text
from workbench.diagnosis import models, names, storages, top_level
from workbench.diagnosis.blocks import blocks
from workbench.diagnosis.case import MAX_KEYS, Case, named
from workbench.errors import printable
from workbench.finding import Finding, Severity
from workbench.mapping import Mapping

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint
    from workbench.diagnosis.values import Progress
    from workbench.mapping import Plan
    from workbench.target import Target

__all__ = ["DETECTORS", "diagnose", "findings_of"]

_ALIKE: Final = 3
"""Findings of one code that are told one by one; more become one."""


def coverage(case: Case) -> Iterator[Finding]:
    """What a load into the target would leave open. A file that is refused altogether is said elsewhere."""
    if case.plan.target is None:
        return
    found = case.plan.coverage()
    wrong = [problem.path for problem in (*found.mismatched, *found.errors)]
    if found.refused or not (found.missing or wrong):
        return
    texts = [found.verdict]
    if found.missing:
        texts.append(f"Missing: {named(found.missing)}.")
        pairs = [(path, found.did_you_mean(path)) for path in found.missing[:20]]
        near = [f"`{printable(path, 60)}` may be `{printable(each.name, 60)}`" for path, each in pairs if each][:3]
        texts += [f"{', '.join(near)}."] if near else []
    if wrong:
        texts.append(f"Not fitting: {named(wrong)}.")
    yield Finding(
        "target-not-covered",
        Severity.ERROR,
        "the target",
        " ".join(texts),
        "Ask for rules with `workbench remap --suggest`, or look at the lists of the coverage.",
        keys=(*found.missing, *wrong)[:MAX_KEYS],
    )


DETECTORS: Final[tuple[Callable[[Case], Iterator[Finding]], ...]] = (
    models.whole_model,
    models.torchscript,
    models.weights_only,
    top_level.top_level_key,
    top_level.ballast,
    names.wrappers,
    names.common_prefix,
    names.parametrised,
    names.norm_names,
    names.index_gaps,
    names.rust_names,
    names.counters,
    storages.large_storages,
    storages.tied,
    blocks,
    coverage,
)

_SAID_BY: Final = {
    "whole-model": ("burn-whole-model", "burn-tensors-in-object", "inert-names"),
    "whole-model-under-key": ("burn-whole-model", "burn-tensors-in-object", "inert-names"),
    "whole-model-beside": ("burn-whole-model", "burn-tensors-in-object", "inert-names"),
    "torchscript": ("burn-torchscript",),
    "weights-only-refused": ("inert-names",),
}
"""What other parts say of a cause that a finding here tells with more words."""

_ORDER: Final = (Severity.ERROR, Severity.WARNING, Severity.NOTE)


def diagnose(
    checkpoint: Checkpoint,
    mapping: Mapping | None = None,
    target: Target | None = None,
    *,
    deep: bool = False,
    progress: Progress | None = None,
) -> tuple[Finding, ...]:
    """Everything worth knowing before this file is loaded: errors first, then warnings, then notes.

    What reading found, what the Burn version of `mapping` (0.22 where there is none) would make of the file, the lints
    of the rules, how it fits `target`, and causes that are known from elsewhere. `deep` reads all values as well, 16
    MiB at a time; `progress(done, total)` is told of each piece, in bytes. WorkbenchError where `mapping` does not fit.

    >>> diagnose(open_checkpoint("net.pt"))  # doctest: +SKIP
    (Finding('wrapper-prefix', …),)
    """
    return findings_of((mapping or Mapping()).plan(checkpoint, target), deep=deep, progress=progress)


def findings_of(plan: Plan, *, deep: bool = False, progress: Progress | None = None) -> tuple[Finding, ...]:
    """The same, of a plan that is there already."""
    case = Case(plan)
    own = [finding for detector in DETECTORS for finding in detector(case)]
    if deep:
        own += _deep(case, progress)
    else:
        own += top_level.copies(case)
    hidden = {code for finding in own for code in _SAID_BY.get(finding.code, ())}
    others = [finding for finding in (*plan.checkpoint.findings, *case.seen) if finding.code not in hidden]
    lints = [names.with_generations(each) if each.code.startswith("renumbered") else each for each in plan.lints]
    return tuple(sorted(condensed([*own, *others, *lints]), key=lambda each: _ORDER.index(each.severity)))


def _deep(case: Case, progress: Progress | None) -> Iterator[Finding]:
    """What only the values tell: first of each tensor, then of copies, with one progress over both."""
    from workbench.diagnosis.values import values

    extra, read = top_level.copies_nbytes(case), 0

    def first(done: int, total: int) -> None:
        nonlocal read
        read = total
        if progress is not None:
            progress(done, total + extra)

    yield from values(case, first)
    yield from top_level.copies(
        case, deep=True, progress=None if progress is None else lambda done: progress(read + done, read + extra)
    )


def condensed(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, where more than three of one code and severity, on no rule, are one that counts them."""
    groups: dict[tuple[str, Severity, int | None], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.code, finding.severity, finding.rule), []).append(finding)
    told: list[Finding] = []
    for group in groups.values():
        if len(group) <= _ALIKE:
            told += group
            continue
        first = group[0]
        places = list(dict.fromkeys(each.place for each in group[1:] if each.place))
        where = f" ({named(places)})" if places else ""
        keys = tuple(dict.fromkeys(key for each in group for key in each.keys))[:MAX_KEYS]
        repair = first.repair if all(each.repair == first.repair for each in group) else None
        text = f"{first.text} {count_text(len(group) - 1, 'more finding')} are alike{where}."
        told.append(replace(first, text=text, keys=keys, repair=repair))
    return told
