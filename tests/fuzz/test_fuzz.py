"""A short run of every fuzz target, and what longer runs found. ``make fuzz SECONDS=600`` runs them for as long."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.fuzz.targets import TARGETS

FOUND: tuple[tuple[str, int], ...] = (("machine", 1_064_840),)
"""Target and seed of what a longer run found."""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_a_few_hundred_structures_give_a_file_or_one_of_our_errors(target: Callable[[Random], None]) -> None:
    for seed in range(300):
        target(Random(seed))


@pytest.mark.parametrize(("name", "seed"), FOUND)
def test_what_was_found_stays_mended(name: str, seed: int) -> None:
    (target,) = (each for each in TARGETS if each.__name__ == name)
    target(Random(seed))
