"""Every hostile and broken file, read in a child process under limits: what must come of each is in its manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.harness import run
from tests.make.hostile import FAMILIES, Case, all_cases

CASES = list(all_cases())
CHEAP = {family: [c for f, c in CASES if f == family and not c.costly] for family in FAMILIES}
COSTLY = [case for _, case in CASES if case.costly]


@pytest.mark.parametrize("family", [family for family, cases in CHEAP.items() if cases])
def test_a_family_of_files_gives_what_its_manifest_says_within_bounds(family: str, tmp_path: Path) -> None:
    """All in one child: its peak is above that of each, so the bounds hold for every one."""
    report = run(tmp_path, CHEAP[family])
    assert not report.faults, "\n".join(report.faults)
    assert len(report.rows) == len(CHEAP[family])


@pytest.mark.parametrize("case", COSTLY, ids=lambda case: case.name)
def test_a_file_that_costs_more_than_it_weighs_stays_within_bounds(case: Case, tmp_path: Path) -> None:
    report = run(tmp_path, [case])
    assert not report.faults, "\n".join(report.faults)


def test_there_are_at_least_sixty_files_under_as_many_names() -> None:
    names = [case.file_name for _, case in CASES]
    assert len(names) == len(set(names)) >= 60
