"""Collisions: remapped keys that no single tensor, or no nested tree, can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Collision:
    """One remapped key that is claimed more than once.

    kind "same": several tensors get the name. kind "prefix": one tensor gets the name and others get names below it
    (`a` and `a.b`), which a nested tree can't hold; `originals` then begins with the tensor that has the name.
    """

    remapped: str
    originals: tuple[str, ...]
    kind: Literal["same", "prefix"]


def find_collisions(originals: Sequence[str], remapped: Sequence[str]) -> tuple[tuple[Collision, ...], list[int]]:
    """The collisions among `remapped`, and the positions of all rows that are part of one, both in file order."""
    found: list[tuple[int, Collision]] = []
    involved: set[int] = set()
    names = set(remapped)

    if len(names) != len(remapped):
        claims: dict[str, list[int]] = {}
        for position, key in enumerate(remapped):
            claims.setdefault(key, []).append(position)
        for key, positions in claims.items():
            if len(positions) > 1:
                involved.update(positions)
                found.append((positions[0], Collision(key, tuple(originals[p] for p in positions), "same")))

    prefixes: set[str] = set()
    for key in remapped:
        dot = key.rfind(".")
        while dot >= 0:
            prefix = key[:dot]
            if prefix in prefixes:
                break
            prefixes.add(prefix)
            dot = key.rfind(".", 0, dot)
    blocked = names & prefixes
    if blocked:
        holders: dict[str, list[int]] = {key: [] for key in blocked}
        below: dict[str, list[int]] = {key: [] for key in blocked}
        for position, key in enumerate(remapped):
            if key in blocked:
                holders[key].append(position)
            dot = key.rfind(".")
            while dot >= 0:
                if key[:dot] in blocked:
                    below[key[:dot]].append(position)
                dot = key.rfind(".", 0, dot)
        for key in blocked:
            positions = [*holders[key], *below[key]]
            involved.update(positions)
            found.append((positions[0], Collision(key, tuple(originals[p] for p in positions), "prefix")))

    found.sort(key=lambda item: (item[0], item[1].kind, item[1].remapped))
    return tuple(collision for _, collision in found), sorted(involved)
