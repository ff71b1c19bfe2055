"""Collisions: remapped keys that no single tensor, or no nested tree, can hold."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from workbench.mapping import regex


@dataclass(frozen=True, slots=True)
class Collision:
    """One remapped key that is claimed more than once.

    kind "same": several tensors get the name. kind "prefix": one tensor gets the name and others get names below it
    (`a` and `a.b`), which a nested tree can't hold; `originals` then begins with the tensor that has the name.
    """

    remapped: str
    originals: tuple[str, ...]
    kind: Literal["same", "prefix"]


def find_collisions(originals: Sequence[str], remapped: regex.Keys) -> tuple[tuple[Collision, ...], list[int]]:
    """The collisions among `remapped`, and the positions of all rows that are part of one, both in file order."""
    if regex.fit_a_tree(remapped):
        return (), []
    rows, packed, same, holds = regex.crowd(remapped)
    names: list[str] = remapped.to_list()
    found: list[tuple[int, Collision]] = []
    involved: set[int] = set()
    n, start = len(rows), 0
    while start < n:
        end = start
        while same[end]:
            end += 1
        end += 1
        # Rows start to end have one name.
        if end - start > 1:
            claims = sorted(rows[start:end])
            involved.update(claims)
            found.append((claims[0], _collision(originals, names, claims, "same")))
        if holds[end - 1]:
            last = bisect_left(packed, packed[start] + _AFTER_BELOW, end)
            members = [*sorted(rows[start:end]), *sorted(rows[end:last])]
            involved.update(members)
            found.append((members[0], _collision(originals, names, members, "prefix")))
        start = end
    found.sort(key=lambda item: (item[0], item[1].kind, item[1].remapped))
    return tuple(collision for _, collision in found), sorted(involved)


def _collision(
    originals: Sequence[str], names: list[str], rows: list[int], kind: Literal["same", "prefix"]
) -> Collision:
    return Collision(names[rows[0]], tuple(originals[row] for row in rows), kind)


_AFTER_BELOW: Final = regex.BELOW[:-1] + chr(ord(regex.BELOW[-1]) + 1)
