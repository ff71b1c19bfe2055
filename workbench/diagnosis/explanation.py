"""What an error text of Burn, PyTorch or safetensors means for this file, and what takes it away."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from workbench.core.text import count_text
from workbench.diagnosis.answers import MAX_NAMED, Here, answered
from workbench.diagnosis.case import Case, named
from workbench.diagnosis.findings import findings_of
from workbench.diagnosis.known import KNOWN, Known
from workbench.finding import Finding, Repair, Severity
from workbench.mapping import Mapping

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint
    from workbench.mapping import Plan

__all__ = ["Explanation", "explain"]

_MAX_TEXT: Final = 200_000


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an error text means. `code` is the cause ("" where the text is not known), `wording` whose text it is.

    `keys` are what it names, `here` the keys of the file for each of them that has some; `findings` are those with the
    same cause, or all errors and warnings where the text is not known; `repairs` what takes the cause away, the
    likeliest first. `still_there`: whether the cause stands with the present rules and Burn version; None where that
    cannot be told.
    """

    known: bool
    code: str
    title: str
    cause: str
    wording: str = ""
    keys: tuple[str, ...] = ()
    here: Here = ()
    findings: tuple[Finding, ...] = field(default=(), repr=False)
    repairs: tuple[Repair, ...] = ()
    still_there: bool | None = None

    def as_dict(self) -> dict[str, object]:
        """The same as JSON shows it."""
        return {
            "known": self.known,
            "code": self.code,
            "title": self.title,
            "cause": self.cause,
            "wording": self.wording,
            "keys": list(self.keys),
            "here": {name: list(keys) for name, keys in self.here},
            "findings": [finding.code for finding in self.findings],
            "repairs": [repair.as_dict() for repair in self.repairs],
            "still_there": self.still_there,
        }


def explain(text: str, checkpoint: Checkpoint | None = None, plan: Plan | None = None) -> Explanation:
    """What the error `text` means, matched against a file and its mapping; the first that is known in a long text.

    With a plan its checkpoint, mapping and Burn version count; with a checkpoint alone, no rules and Burn 0.22.

    >>> explain("HeaderTooLarge").title
    'The file is no safetensors file.'
    """
    text = text[:_MAX_TEXT]
    if plan is None and checkpoint is not None:
        plan = Mapping().plan(checkpoint)
    case = None if plan is None else Case(plan)
    found = findings_of(plan) if plan is not None else ()
    for each in KNOWN:
        match = each.pattern.search(text)
        if match is not None:
            return _known(each, match, text, case, found)
    return _unknown(text, case, found)


def _known(each: Known, match: re.Match[str], text: str, case: Case | None, found: Sequence[Finding]) -> Explanation:
    answer = answered(each.how, match, text, case)
    findings = tuple(finding for finding in found if finding.code in each.codes)
    repairs = (*answer.repairs, *(finding.repair for finding in findings if finding.repair is not None))
    still = answer.still_there
    if not answer.decided and case is not None and each.codes:
        still = bool(findings)
    cause = " ".join(part for part in (each.cause, answer.text) if part)
    return Explanation(
        True,
        answer.code or each.code,
        answer.title or each.title,
        cause,
        each.wording,
        answer.keys,
        answer.here,
        findings,
        tuple({(repair.do, repr(repair.arguments)): repair for repair in reversed(repairs)}.values())[::-1],
        still,
    )


def _unknown(text: str, case: Case | None, found: Sequence[Finding]) -> Explanation:
    loud = tuple(finding for finding in found if finding.severity is not Severity.NOTE)
    if case is None:
        return Explanation(False, "", "Not known.", "This text is none of those known here.")
    names = list(dict.fromkeys(re.findall(r"[\w$-]+(?:\.[\w$-]+)+|(?<=['\"`])[\w$-]+(?=['\"`])", text)))[:MAX_NAMED]
    here = []
    for name in names:
        keys = tuple(
            original
            for original, key in zip(case.plan.originals, case.plan.remapped, strict=True)
            if name in (original, key) or original.startswith(f"{name}.") or original.endswith(f".{name}")
        )
        if keys:
            here.append((name, keys[:20]))
    said = (
        f"The keys it names, found here: {named([name for name, _ in here])}."
        if here
        else "It names no key of this file."
    )
    if loud:
        said += f" What the file itself shows: {count_text(len(loud), 'finding')}."
    repairs = tuple(finding.repair for finding in loud if finding.repair is not None)
    return Explanation(False, "", "Not known.", said, "", tuple(name for name, _ in here), tuple(here), loud, repairs)
