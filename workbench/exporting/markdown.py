"""Markdown that says what a text is, whatever it holds: no link, picture, HTML or table comes of a text of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from workbench.errors import printable

__all__ = ["code", "prose", "table"]

_RUN: Final = re.compile(r"`+")
_SPECIAL: Final = re.compile(r"[\\`*\[\]<>&#|~!@$]|:(?=\S)|(?<=[wW]{3})\.|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_MAX: Final = 400


def code(text: str, *, cell: bool = False) -> str:
    r"""`text` as a code span on one line; `cell` where it stands in a table.

    >>> print(code("a`b"), code("a|b", cell=True))
    ``a`b`` `a\|b`
    """
    shown = printable(text, _MAX)
    if not shown:
        return "(empty)"
    longest = max((len(run[0]) for run in _RUN.finditer(shown)), default=0)
    fence = "`" * (1 if longest == 0 else longest + 1)
    needs_room = shown.strip(" ") and (shown[0] in "` " or shown[-1] in "` ")
    inside = f" {shown} " if needs_room else shown
    return fence + (inside.replace("|", "\\|") if cell else inside) + fence


def prose(text: str, *, cell: bool = False) -> str:
    r"""A sentence that may quote a file: what stands between backticks is a code span, all else is taken as it stands.

    >>> print(prose("`a.b` is <b>"))
    `a.b` is \<b\>
    """
    parts = printable(text).split("`")
    if len(parts) % 2 == 0:
        parts[-2:] = ["`".join(parts[-2:])]
    return "".join(
        (code(part, cell=cell) if part else "") if n % 2 else _SPECIAL.sub(r"\\\g<0>", part)
        for n, part in enumerate(parts)
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table of cells that are Markdown already; columns whose numbers are in `right` stand to the right."""
    lines = [head, ["---:" if n in right else "---" for n in range(len(head))], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
