"""One thing the user should know, found while reading, planning or diagnosing, and the way out where there is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum

__all__ = ["MAX_OF_ONE_CODE", "Finding", "Repair", "Severity", "grouped"]

MAX_OF_ONE_CODE = 100
"""Findings of one code and severity that are listed one by one."""


class Severity(StrEnum):
    """How loud: an error makes the command line exit with 1, a note is only listed."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Repair:
    """A way out as data, which the session carries out: `label` is what a button says.

    `do` names what is done, `arguments` (plain JSON values) with what: "edit-rule" (rule, pattern, replacement),
    "add-rule" (at, pattern, replacement), "add-rules" (at, rules: pairs of pattern and replacement), "move-rule" (rule,
    to), "remove-rule" (rule), "set" (field, value: a field of mapping.json), "skip" (keys), "fold", "export" (format).
    Rules count from 0.
    """

    label: str
    do: str
    arguments: tuple[tuple[str, object], ...] = ()

    @classmethod
    def make(cls, label: str, do: str, **arguments: object) -> Repair:
        """A repair with its arguments by name."""
        return cls(label, do, tuple(arguments.items()))

    def __getitem__(self, name: str) -> object:
        return dict(self.arguments)[name]

    def as_dict(self) -> dict[str, object]:
        """The repair as JSON shows it."""
        return {"label": self.label, "do": self.do, **dict(self.arguments)}


@dataclass(frozen=True, slots=True)
class Finding:
    """A stable code, where it is, what it means and what to do; texts may quote the file, so sinks escape them.

    A finding about a mapping stands on the rule with index `rule`. `keys` are some of the keys that it is about.
    """

    code: str
    severity: Severity
    place: str
    text: str
    next_step: str = ""
    _: KW_ONLY
    rule: int | None = None
    keys: tuple[str, ...] = ()
    repair: Repair | None = None


def grouped(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings in order: of one code and severity at most `MAX_OF_ONE_CODE`, then one that counts the rest."""
    seen: Counter[tuple[str, Severity]] = Counter()
    kept: list[Finding] = []
    for finding in findings:
        kind = (finding.code, finding.severity)
        seen[kind] += 1
        if seen[kind] <= MAX_OF_ONE_CODE:
            kept.append(finding)
    for (code, severity), n in seen.items():
        if n > MAX_OF_ONE_CODE:
            kept.append(Finding(code, severity, "", f"{n - MAX_OF_ONE_CODE:,} more findings are of this kind."))
    return tuple(kept)
