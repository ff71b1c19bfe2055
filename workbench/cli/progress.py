"""How far an export is, on a terminal; and Ctrl+C, which stops it cleanly."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, TypeVar

from workbench.errors import ExportCancelled, ExportError, printable
from workbench.writing.progress import Cancel, Progress, Report

__all__ = ["CANCELLED", "check_precision", "work"]

CANCELLED: Final = 130
"""The exit code after Ctrl+C, as shells have it."""

_CLEAR: Final = "\r\x1b[K"
_T = TypeVar("_T")


class _Line:
    """One line on stderr, drawn again and again."""

    def __init__(self) -> None:
        self._drawn = ""

    def __call__(self, now: Progress) -> None:
        percent = int(100 * now.done / now.total) if now.total else 0
        verb = "Writing" if now.step == "write" else "Checking"
        left = "" if now.seconds_left is None else f", {_left(now.seconds_left)} left"
        text = printable(f"{verb} {now.file}: {percent} %{left}", max(20, shutil.get_terminal_size().columns - 1))
        if text != self._drawn:
            self._drawn = text
            sys.stderr.write(_CLEAR + text)
            sys.stderr.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._drawn:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()


def work(run: Callable[[Report | None, Cancel], _T], show: Callable[[_T], None], *, quiet: bool = False) -> int:
    """Run, then show what came of it; the exit code. `run` is handed what to report to, and what to ask for a cancel.

    Nothing is reported where stderr is no terminal, or `quiet`. Ctrl+C cancels; a second one stops at once.
    """
    line = _Line() if not quiet and sys.stderr.isatty() else None
    try:
        with _interrupts() as cancelled:
            result = run(line, cancelled)
    except ExportCancelled:
        if line is not None:
            line.end()
            line = None
        sys.stderr.write("Cancelled. Nothing was changed. [cancelled]\n")
        return CANCELLED
    finally:
        if line is not None:
            line.end()
    show(result)
    return 0


def check_precision(precision: str, has_mpk: bool) -> None:
    """Raise `ExportError` where a precision is asked for, and no file of those asked for knows one."""
    if precision != "full" and not has_mpk:
        raise ExportError(
            "Only a .mpk has a precision.",
            cause="No .mpk is asked for. Nothing was changed.",
            next_step="Leave --precision out, or write a .mpk. --cast of workbench export gives floats another dtype.",
            code="precision-without-mpk",
        )


@contextlib.contextmanager
def _interrupts() -> Iterator[Cancel]:
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _left(seconds: float) -> str:
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 100 else f"{round(whole / 60)} min"
