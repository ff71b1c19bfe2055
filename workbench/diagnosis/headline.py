"""The one finding that changes what a person does next with the file, as the banner above the table says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workbench.diagnosis.models import OWNER
from workbench.errors import printable
from workbench.finding import Finding, Severity
from workbench.formats.pickle.names import DANGER_CODES

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint

__all__ = ["HEADLINES", "Headline", "headline"]

HEADLINES: Final = (
    "whole-model",
    "whole-model-under-key",
    "whole-model-beside",
    "torchscript",
    "several-top-level-keys",
    "top-level-key-not-chosen",
    "top-level-key-missing",
)
"""Codes that make a headline, the weightiest first; code that a pickle would call goes before all of them."""


@dataclass(frozen=True, slots=True)
class Headline:
    """Finding `number` of the list as a title of one sentence, what follows it, and the line its owner should run."""

    number: int
    title: str
    text: str
    owner: str = ""
    is_danger: bool = False


def headline(checkpoint: Checkpoint, findings: Sequence[Finding]) -> Headline | None:
    """The headline of a file with these findings; None where nothing has to be decided before all else."""
    for number, finding in enumerate(findings):
        if finding.code in DANGER_CODES and finding.severity is Severity.ERROR:
            return _danger(checkpoint, number, finding)
    found = [(HEADLINES.index(each.code), number) for number, each in enumerate(findings) if each.code in HEADLINES]
    if not found:
        return None
    number = min(found)[1]
    finding = findings[number]
    title, rest = _first_sentence(finding.text)
    step, _, owner = finding.next_step.partition(OWNER)
    return Headline(number, title, rest or step.strip(), owner)


def _danger(checkpoint: Checkpoint, number: int, finding: Finding) -> Headline:
    called = [name for name, kind in checkpoint.names.items() if kind == "dangerous" and f"{name}(" in finding.text]
    what = f"`{printable(called[0], 100)}`" if called else "code"
    return Headline(
        number, f"Loading this with PyTorch would run {what}.", f"{finding.text} {finding.next_step}", is_danger=True
    )


def _first_sentence(text: str) -> tuple[str, str]:
    """A text parted behind its first sentence; dots in a name between backticks end none."""
    at = text.find(". ")
    while at >= 0 and text.count("`", 0, at) % 2:
        at = text.find(". ", at + 1)
    return (text, "") if at < 0 else (text[: at + 1], text[at + 2 :])
