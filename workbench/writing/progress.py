"""How far an export is, told to whoever asked, and where it stops when they cancel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from workbench.errors import ExportCancelled

__all__ = ["Cancel", "Meter", "Progress", "Report", "Step"]

Step: TypeAlias = Literal["write", "verify"]
Cancel: TypeAlias = Callable[[], bool]
"""Asked now and then; the export stops where it says yes. The `is_set` of a threading.Event is one."""

_BETWEEN: Final = 0.05
"""Seconds between two reports of one file."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` bytes are through, counted over all files and both steps; `file` is the one at hand.

    `seconds_left` is None as long as nothing can be said.
    """

    file: str
    step: Step
    done: int
    total: int
    seconds_left: float | None


Report: TypeAlias = Callable[[Progress], None]


class Meter:
    """Counts bytes; raises `ExportCancelled` in the one who counts, once `cancel` says yes.

    Any thread may count; `report` is called in the one that made the meter alone. `digests` has the digest of files
    that were written, by path, where it is known.
    """

    def __init__(self, total: int = 0, report: Report | None = None, cancel: Cancel | None = None) -> None:
        self._total = total
        self._report = report
        self._cancel = cancel
        self._done = 0
        self._file = ""
        self._step: Step = "write"
        self._began = self._told = time.monotonic()
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        self.digests: dict[Path, str] = {}

    def begin(self, file: str, step: Step) -> None:
        """From now on bytes are those of `file`."""
        self._file, self._step = file, step
        self._check()
        self._tell(time.monotonic())

    def add(self, nbytes: int) -> None:
        """So many bytes are through."""
        with self._lock:
            self._done += nbytes
        self._check()
        if threading.get_ident() == self._thread and (now := time.monotonic()) - self._told >= _BETWEEN:
            self._tell(now)

    def _check(self) -> None:
        if self._cancel is not None and self._cancel():
            raise ExportCancelled(
                "The export was cancelled.", cause="Nothing was changed.", next_step="Export again.", code="cancelled"
            )

    def _tell(self, now: float) -> None:
        self._told = now
        if self._report is None:
            return
        spent = now - self._began
        is_known = self._done and 100 * self._done >= self._total and spent > 0.3
        left = spent * (self._total - self._done) / self._done if is_known else None
        self._report(Progress(self._file, self._step, min(self._done, self._total), self._total, left))
