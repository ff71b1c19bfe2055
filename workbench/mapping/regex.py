"""Rust's regex crate over columns of keys. The only file that knows polars, whose string functions run that crate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PolarsError

from workbench.errors import RuleError

Keys = pl.Series
"""A column of keys, one text a row."""

_NUMBERED = re.compile(r"^( *\d+: )(.*)$")


class Group(NamedTuple):
    """A capture group: its name as written in a replacement, and some of the distinct values it held."""

    name: str
    values: tuple[str, ...]
    n_values: int


def column(keys: Sequence[str]) -> Keys:
    """A column of `keys`; each must be valid Unicode text (no lone surrogates)."""
    return pl.Series("key", keys, dtype=pl.String)


def check_pattern(pattern: str) -> None:
    """Raise `RuleError` with the crate's words and the place where `pattern` is not one of its regexes."""
    check_text(pattern, pattern, "pattern")
    try:
        column([""]).str.contains(pattern)
    except PolarsError as error:
        raise _rule_error(pattern, error) from None


def check_text(pattern: str, text: str, what: str) -> None:
    """Raise `RuleError` where `text`, the rule's `what`, is not valid Unicode: the crate knows no other text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        reason = f"the {what} must be valid Unicode text"
        raise RuleError(pattern, reason, text=f"{reason}: {error.reason}", column=error.start, width=1) from None


def hits(keys: Keys, pattern: str) -> npt.NDArray[np.bool_]:
    """Which keys `pattern` matches somewhere."""
    return np.asarray(keys.str.contains(pattern).to_numpy(), dtype=np.bool_)


def replace_all(keys: Keys, pattern: str, replacement: str) -> Keys:
    """Every match in every key replaced; `$1`, `${name}` and `$$` in `replacement` as the crate reads them."""
    return keys.str.replace_all(pattern, replacement)


def count_matches(keys: Keys, pattern: str) -> int:
    """The number of matches in all keys together."""
    return int(keys.str.count_matches(pattern).sum())


def groups(keys: Keys, pattern: str, limit: int) -> tuple[Group, ...]:
    """What each capture group holds at the first match of each key: the first `limit` distinct values."""
    fields = keys.str.extract_groups(pattern).struct.unnest()
    found = []
    for name in fields.columns:
        distinct = fields[name].drop_nulls().unique(maintain_order=True)
        found.append(Group(f"${name}", tuple(distinct.head(limit).to_list()), len(distinct)))
    return tuple(found)


def take(keys: Keys, mask: npt.NDArray[np.bool_]) -> Keys:
    """The keys where `mask` holds, in order."""
    return keys.filter(pl.Series(mask))


def _rule_error(pattern: str, error: Exception) -> RuleError:
    text = str(error).partition("\n\nThis error occurred in the following expression:")[0]
    text = text.removeprefix("regex error: ")
    lines = text.split("\n")
    column_, width = _caret(lines)
    return RuleError(pattern, lines[-1].removeprefix("error: "), text=text, column=column_, width=width)


def _caret(lines: list[str]) -> tuple[int, int]:
    """Where the crate's carets stand, in characters of the pattern; (-1, 0) where it draws none."""
    before = 0
    for line, below in pairwise(lines[1:]):
        numbered = _NUMBERED.match(line) if lines[1].startswith("~~~") else None
        indent = len(numbered[1]) if numbered else 4
        if below.strip() and not below.strip(" ^") and "^" in below:
            start = below.index("^")
            width = len(below[start:]) - len(below[start:].lstrip("^"))
            return before + start - indent, width
        if numbered:
            before += len(numbered[2]) + 1
    return -1, 0
