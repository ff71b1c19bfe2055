"""Rust's regex crate over columns of keys. The only file that knows polars, whose string functions run that crate."""

from __future__ import annotations

import re
from collections import Counter
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
_META = frozenset("\\.+*?()|[]{}^$")
_TAIL = r"(?:\.[^.]*[^.0-9+][^.]*)+$"


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


def apply(keys: Keys, pattern: str, replacement: str) -> tuple[npt.NDArray[np.bool_], Keys]:
    """Which keys `pattern` hits, and all keys with every match replaced; the very same column where none is hit."""
    hit = hits(keys, pattern)
    n = int(np.count_nonzero(hit))
    if n == 0:
        return hit, keys
    if n > len(keys) // 2:
        return hit, replace_all(keys, pattern, replacement)
    rows = np.flatnonzero(hit)
    return hit, put(keys, rows, replace_all(keys.gather(rows), pattern, replacement))


def put(keys: Keys, rows: npt.NDArray[np.intp], others: Keys) -> Keys:
    """`keys` with `others` at `rows`."""
    order = np.arange(len(keys))
    order[rows] = np.arange(len(keys), len(keys) + len(others))
    return pl.concat([keys, others]).gather(order)


def index_heads(keys: Keys) -> Keys:
    """Each key without its last segments that are no number: all its list indices lie in what is left."""
    return keys.str.replace(_TAIL, "")


def counted(keys: Keys) -> Counter[str]:
    """The distinct texts, and how often each stands in the column."""
    table = keys.value_counts()
    return Counter(dict(zip(table["key"].to_list(), table["count"].to_list(), strict=True)))


def with_heads(keys: Keys, heads: Keys, changed: dict[str, str]) -> Keys:
    """`keys` with their heads (`index_heads`) replaced as `changed` says."""
    new = heads.replace(list(changed), list(changed.values()))
    return (new + keys.str.slice(heads.str.len_chars())).rename("key")


def fit_a_tree(keys: Keys) -> bool:
    """Whether the keys are all different and none is a prefix, by whole segments, of another."""
    ordered = pl.DataFrame({"key": _packed(keys).sort()})
    return not ordered.select((_IS_NEXT | _HOLDS_NEXT).any()).item()


class Crowd(NamedTuple):
    """Keys in an order in which a key stands right before all that lie below it, by whole segments.

    `rows` are their places in the column, `packed` themselves, fit to be compared. `same`: equal to the next one.
    `holds`: the next one lies below.
    """

    rows: list[int]
    packed: list[str]
    same: list[bool]
    holds: list[bool]


BELOW = "\0\0"
"""A dot in a packed key; what lies below a packed key begins with it and this."""


def crowd(keys: Keys) -> Crowd:
    """The keys in tree order."""
    packed = _packed(keys)
    rows = packed.arg_sort()
    ordered = pl.DataFrame({"key": packed.gather(rows)})
    found = ordered.select(_IS_NEXT.fill_null(False).alias("same"), _HOLDS_NEXT.fill_null(False).alias("holds"))
    return Crowd(rows.to_list(), ordered["key"].to_list(), found["same"].to_list(), found["holds"].to_list())


_IS_NEXT = pl.col("key") == pl.col("key").shift(-1)
_HOLDS_NEXT = pl.col("key").shift(-1).str.starts_with(pl.col("key") + BELOW)


def _packed(keys: Keys) -> Keys:
    """Keys with dots that sort before all else."""
    if keys.str.contains("\0", literal=True).any():
        keys = keys.str.replace_all("\0", "\0\1", literal=True)
    return keys.str.replace_all(".", BELOW, literal=True).rename("key")


def escaped(text: str) -> str:
    r"""`text` as a pattern that matches it and nothing else.

    >>> escaped("fc.weight")
    'fc\\.weight'
    """
    return "".join(f"\\{char}" if char in _META else char for char in text)


def literal(text: str) -> str:
    """`text` as a replacement: a dollar sign stands for itself."""
    return text.replace("$", "$$")


def count_same(keys: Keys, text: str) -> int:
    """How many keys are exactly `text`."""
    return int((keys == text).sum())


def accepts(pattern: str) -> bool:
    """Whether `pattern` is one of the crate's regexes."""
    try:
        check_pattern(pattern)
    except RuleError:
        return False
    return True


def count_each(keys: Keys, pattern: str) -> npt.NDArray[np.int64]:
    """The number of matches in each key."""
    return np.asarray(keys.str.count_matches(pattern).to_numpy(), dtype=np.int64)


def differ(keys: Keys, others: Keys) -> npt.NDArray[np.bool_]:
    """Where two columns of the same length hold different texts."""
    return np.asarray((keys != others).to_numpy(), dtype=np.bool_)


def at(keys: Keys, rows: Sequence[int] | npt.NDArray[np.int64]) -> list[str]:
    """The keys at `rows`, in that order."""
    taken: list[str] = keys.gather(np.asarray(rows, dtype=np.int64)).to_list()
    return taken


def pick(keys: Keys, rows: npt.NDArray[np.int64]) -> Keys:
    """The keys at `rows`, as a column."""
    return keys.gather(rows)


def alike(keys: Keys, told_apart: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Groups of keys that differ only in digits, those in `told_apart` excepted: the first row of each group, and the
    group of each row."""
    digits = "".join(digit for digit in "9876543210" if digit not in told_apart)
    shapes = keys.str.replace_all(f"[{digits}]", digits[0]).to_frame("key").with_row_index("row")
    firsts = shapes.select(pl.col("row").first().over("key")).to_series().to_numpy()
    rows, groups = np.unique(firsts, return_inverse=True)
    return rows.astype(np.int64), groups.astype(np.int64)


def below(prefix: str, keys: Keys) -> Keys:
    """`prefix` before every key."""
    return pl.select(pl.lit(prefix) + keys).to_series()


def distinct(keys: Keys) -> Keys:
    """Each text once, in order of first appearance."""
    return keys.unique(maintain_order=True)


def n_distinct(keys: Keys, *, lowercase: bool = False) -> int:
    """How many different texts there are."""
    return (keys.str.to_lowercase() if lowercase else keys).n_unique()


def parents(keys: Keys) -> Keys:
    """The distinct prefixes that keys have before their last dot; keys without a dot have none."""
    return distinct(keys.str.extract(r"(?s)^(.*)\.").drop_nulls())


def segments(keys: Keys, limit: int) -> list[str]:
    """The first `limit` distinct texts between dots."""
    found: list[str] = keys.str.split(".").explode().unique(maintain_order=True).head(limit).to_list()
    return found


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
