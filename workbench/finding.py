"""One thing the user should know, found while reading, planning or diagnosing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Severity"]


class Severity(StrEnum):
    """How loud: an error makes the command line exit with 1, a note is only listed."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """A stable code, where it is, what it means and what to do; texts may quote the file, so sinks escape them."""

    code: str
    severity: Severity
    place: str
    text: str
    next_step: str = ""
