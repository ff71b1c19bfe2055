"""What the commands print: aligned text for people, JSON for programs, errors on stderr."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from workbench.errors import RuleError, WorkbenchError, printable

if TYPE_CHECKING:
    from rich.console import Console

Style = str

_PIECE = 1 << 15


class Printer:
    """Lines on stdout, coloured on a terminal and plain elsewhere; never cut to the width of a screen."""

    def __init__(self) -> None:
        _escape_what_cannot_be_encoded()
        self._console = _terminal() if sys.stdout.isatty() else None

    def line(self, text: str = "", style: Style = "") -> None:
        """One line; what a terminal would obey is shown as text."""
        self._write([(printable(text), style)])

    def first(self, texts: Sequence[str], most: int, more: str, style: Style = "") -> None:
        """At most so many lines, then how many there are more, and in the words of `more` where they are."""
        for text in texts[:most]:
            self.line(text, style)
        if len(texts) > most:
            self.line(f"… {len(texts) - most:,} more{more}", style)

    def text(self, text: str) -> None:
        """Several lines that end in a line end; what a terminal would obey is shown as text."""
        for line in text.removesuffix("\n").split("\n") if text else ():
            self.line(line)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], styles: Sequence[Style] = ()) -> None:
        """Columns of equal width, two spaces apart; `styles` colour the columns."""
        cells = [[printable(cell) for cell in row] for row in rows]
        widths = [_width(name) for name in head]
        for row in cells:
            widths = [max(width, _width(cell)) for width, cell in zip(widths, row, strict=True)]
        columns = list(styles) or [""] * len(head)
        self._write(_aligned(head, widths, ["bold"] * len(head)))
        for row in cells:
            self._write(_aligned(row, widths, columns))

    def _write(self, parts: Sequence[tuple[str, Style]]) -> None:
        if self._console is None:
            sys.stdout.write("".join(text for text, _ in parts) + "\n")
        else:
            from rich.text import Text

            self._console.print(Text.assemble(*parts))


def _terminal() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def _escape_what_cannot_be_encoded() -> None:
    """Let a terminal that is not UTF-8 show an escape where it has no letter, in place of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _aligned(row: Sequence[str], widths: Sequence[int], styles: Sequence[Style]) -> list[tuple[str, Style]]:
    parts: list[tuple[str, Style]] = []
    last = len(row) - 1
    for n, (cell, width, style) in enumerate(zip(row, widths, styles, strict=True)):
        parts.append((cell, style))
        if n != last:
            parts.append((" " * (width - _width(cell) + 2), ""))
    return parts


def _width(text: str) -> int:
    """Columns that `text` takes in a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def print_json(value: object) -> None:
    """`value` as ASCII JSON, which no terminal obeys."""
    text = json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False)
    text = text.replace("\x7f", "\\u007f") + "\n"
    # In pieces: where stdout has no buffer (PYTHONUNBUFFERED), a write that a closed pipe cuts short raises nothing.
    for begin in range(0, len(text), _PIECE):
        sys.stdout.write(text[begin : begin + _PIECE])


def print_error(error: WorkbenchError) -> None:
    """Where, what, why, what to do, on stderr; under a pattern's error stands the whole text of the regex crate."""
    _escape_what_cannot_be_encoded()
    lines = [f"Error: {error}"]
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, RuleError):
        cause = cause.__cause__
    if isinstance(cause, RuleError) and "\n" in cause.text:
        lines += [f"    {printable(line)}" for line in cause.text.splitlines()]
    sys.stderr.write("\n".join(lines) + "\n")


def drop_stdout() -> None:
    """Point stdout at nothing, so that what is left in its buffer cannot block or fail when the program ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
