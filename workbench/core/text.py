"""Numbers as people read them: shapes, bytes, counts."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["bytes_text", "count_text", "listed_text", "shape_text"]

_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")


def shape_text(shape: Sequence[int]) -> str:
    """A shape in one word.

    >>> shape_text((64, 3, 7, 7)), shape_text(())
    ('64×3×7×7', 'scalar')
    """
    return "×".join(map(str, shape)) if shape else "scalar"


def bytes_text(n: int) -> str:
    """A size in decimal units, exact below 1,000. The page writes sizes the same way (`bytes` in text.js).

    >>> bytes_text(136), bytes_text(9408), bytes_text(44_700_000)
    ('136 B', '9.4 kB', '44.7 MB')
    """
    if n < 1000:
        return f"{n} B"
    if n.bit_length() > 128:
        return "more than 10^38 B"
    value = float(n)
    for unit in _UNITS:
        value /= 1000
        if value < 999.5 or unit == _UNITS[-1]:
            digits = 0 if value >= 99.95 else 1 if value >= 9.995 or unit == _UNITS[0] else 2
            return f"{value:,.{digits}f} {unit}"
    raise AssertionError("unreachable")


def count_text(n: int, noun: str) -> str:
    """A count with its noun in the right number.

    >>> count_text(1, "tensor"), count_text(12_000, "tensor"), count_text(2, "entry")
    ('1 tensor', '12,000 tensors', '2 entries')
    """
    if n == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
    return f"{n:,} {plural}"


def listed_text(names: Sequence[str]) -> str:
    """Names in a row.

    >>> listed_text(["a"]), listed_text(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
