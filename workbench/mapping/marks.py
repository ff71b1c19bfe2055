"""What a remapping changed inside one key, as marked parts: for screens that strike and underline."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Literal

Mark = Literal["", "dim", "new", "gone", "note", "find"]
Part = tuple[str, Mark]

_TOKEN = re.compile(r"[^.]+|\.")
_MAX_TOKENS = 200


@lru_cache(maxsize=4096)
def changes(before: str, after: str) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """`before` with the parts that went marked "gone", and `after` with the parts that came marked "new".

    Compared by segments and dots, so that a mark never cuts a name in two. The texts of the parts join to the
    whole again.

    >>> changes("conv.conv1.bias", "conv1.bias")
    ((('conv.', 'gone'), ('conv1.bias', '')), (('conv1.bias', ''),))
    """
    if before == after:
        return _parts([(before, "")]), _parts([(after, "")])
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    middle_old, middle_new = old[head : len(old) - tail], new[head : len(new) - tail]
    start, end = "".join(old[:head]), "".join(old[len(old) - tail :])
    left: list[Part] = [(start, "")]
    right: list[Part] = [(start, "")]
    if len(middle_old) + len(middle_new) > _MAX_TOKENS:
        left.append(("".join(middle_old), "gone"))
        right.append(("".join(middle_new), "new"))
    else:
        blocks = SequenceMatcher(None, middle_old, middle_new, autojunk=False).get_opcodes()
        for what, i1, i2, j1, j2 in blocks:
            left.append(("".join(middle_old[i1:i2]), "" if what == "equal" else "gone"))
            right.append(("".join(middle_new[j1:j2]), "" if what == "equal" else "new"))
    left.append((end, ""))
    right.append((end, ""))
    return _parts(left), _parts(right)


def _common(one: list[str], other: list[str]) -> int:
    for n, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return n
    return min(len(one), len(other))


def _parts(parts: list[Part]) -> tuple[Part, ...]:
    merged: list[Part] = []
    for text, mark in parts:
        if not text:
            continue
        if merged and merged[-1][1] == mark:
            merged[-1] = (merged[-1][0] + text, mark)
        else:
            merged.append((text, mark))
    return tuple(merged)
