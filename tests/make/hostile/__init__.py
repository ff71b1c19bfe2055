"""Hostile and broken files, generated. ``python -m tests.make.hostile FOLDER`` writes them with their manifest.

A family is what has ``cases()``, mostly a module; a new format adds one here and its name to FAMILIES.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.make.hostile import containers, cost, execution, headers, others, structure, tensors, texts, zips
from tests.make.hostile.case import HEALTHY, Case

__all__ = ["FAMILIES", "HEALTHY", "Case", "all_cases"]

FAMILIES: Final = {
    "execution": execution,
    "structure": structure,
    "tensors": tensors,
    "zips": zips,
    "headers": headers,
    "texts": texts,
    "others": others,
    **containers.CONTAINERS,
    "cost": cost,
}


def all_cases() -> Iterator[tuple[str, Case]]:
    """Every case with the name of its family."""
    for family, module in FAMILIES.items():
        for case in module.cases():
            yield family, case
