"""Integer segments of keys: names that differ in one number only, and many numbers written as one segment."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

INTEGER: Final = re.compile(r"(?:^|(?<=\.))(0|[1-9][0-9]{0,8})(?![^.])")
"""A segment that is a number, written as one writes it."""

_MAX_RUNS = 8


def alike(columns: list[list[str]], group: list[int]) -> Iterator[list[int]]:
    """`group` in parts whose names (by column) are the same but for one number, the same in all columns."""
    if len(group) < 2:
        yield group
        return
    picked = columns if len(group) == len(columns[0]) else [[column[n] for n in group] for column in columns]
    if _same_but_for_a_number(picked):
        yield group
        return
    by_look: dict[tuple[str, ...], list[int]] = {}
    for n, names in enumerate(zip(*picked, strict=True)):
        by_look.setdefault(tuple([INTEGER.sub("#", name) for name in names]), []).append(n)
    for part in by_look.values():
        rows = [[int(x) for column in picked for x in INTEGER.findall(column[n])] for n in part]
        numbers = np.array(rows, np.int64).reshape(len(part), -1)
        fits = np.ones(len(part), np.bool_)
        block: npt.NDArray[np.int64] | None = None
        for place in numbers.T:
            usual, n_usual = Counter(place.tolist()).most_common(1)[0]
            if 2 * n_usual > len(part):
                fits &= place == usual
            elif block is None:
                block = place
            else:
                fits &= place == block
        alike = [group[part[n]] for n in np.flatnonzero(fits)]
        if alike:
            yield alike
        yield from ([group[part[n]]] for n in np.flatnonzero(~fits))


def _same_but_for_a_number(columns: list[list[str]]) -> bool:
    """The usual case, quickly: the first two blocks say where the number stands."""
    numbers: list[str] | None = None
    for names in columns:
        one, two = names[0].split("."), names[1].split(".")
        if len(one) != len(two):
            return False
        places = [n for n, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
        if not all(INTEGER.fullmatch(one[place]) for place in places):
            return False
        if not places:
            if names.count(names[0]) != len(names):
                return False
            continue
        pieces = ".".join("\0" if n in places else segment for n, segment in enumerate(one)).split("\0")
        if numbers is None:
            head = len(pieces[0])
            numbers = [name[head:].partition(".")[0] for name in names]
            if not all(map(INTEGER.fullmatch, numbers)):
                return False
        if len(pieces) == 2:
            before, after = pieces
            if [before + number + after for number in numbers] != names:
                return False
        elif [number.join(pieces) for number in numbers] != names:
            return False
    return True


def braces(numbers: Sequence[int]) -> str:
    """Sorted numbers as runs.

    >>> braces([0, 1]), braces([0, 1, 2, 4]), braces([3])
    ('{0,1}', '{0..2, 4}', '3')
    """
    if len(numbers) == 1:
        return str(numbers[0])
    if numbers[-1] - numbers[0] == len(numbers) - 1 > 1:
        return f"{{{numbers[0]}..{numbers[-1]}}}"
    if len(numbers) == 2:
        return f"{{{numbers[0]},{numbers[1]}}}"
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = [str(a) if a == b else f"{a}..{b}" if b > a + 1 else f"{a}, {b}" for a, b in runs]
    if len(words) > _MAX_RUNS:
        words = [*words[: _MAX_RUNS - 1], "…", words[-1]]
    return f"{{{', '.join(words)}}}"


def merged(names: list[str]) -> str:
    """Names that differ in numbers only as one, each such number in braces; the first of them where they do not.

    >>> merged(["a.0.w", "a.1.w", "a.2.w"])
    'a.{0..2}.w'
    """
    first = names[0].split(".")
    split = [name.split(".") for name in dict.fromkeys(names)]
    if any(len(segments) != len(first) for segments in split):
        return names[0]
    out = []
    for column in zip(*split, strict=True):
        distinct = set(column)
        if len(distinct) == 1:
            out.append(column[0])
        elif all(INTEGER.fullmatch(segment) for segment in distinct):
            out.append(braces(sorted(map(int, distinct))))
        else:
            return names[0]
    return ".".join(out)
