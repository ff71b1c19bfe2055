"""Findings, grouped where there are very many."""

from __future__ import annotations

from pathlib import Path

import workbench as wb
from tests.make import pickles as p
from tests.make.hostile.case import healthy, program, saved
from workbench.finding import MAX_OF_ONE_CODE, Finding, Severity, grouped


def test_many_findings_of_one_code_become_the_first_and_a_count() -> None:
    many = [Finding("a", Severity.NOTE, str(n), "x") for n in range(1000)]
    loud = Finding("a", Severity.ERROR, "", "y")
    found = grouped([*many, loud])
    assert found[:MAX_OF_ONE_CODE] == tuple(many[:MAX_OF_ONE_CODE])
    assert loud in found
    assert found[-1].text.startswith("900 more")
    assert (found[-1].code, found[-1].severity) == ("a", Severity.NOTE)
    assert grouped([loud]) == (loud,)


def test_a_file_of_many_unknown_names_keeps_all_of_them_and_a_few_findings(tmp_path: Path) -> None:
    names = b"".join(b"cacme\nf%d\n0" % n for n in range(500))
    (tmp_path / "net.pt").write_bytes(saved(program(names + b"N")))
    ckpt = wb.open(tmp_path / "net.pt")
    assert len(ckpt.findings) <= MAX_OF_ONE_CODE + 1
    assert len(ckpt.names) >= 500


def test_a_key_that_is_set_twice_makes_a_finding_and_the_last_counts(tmp_path: Path) -> None:
    twice = p.dict_of((p.text("w"), p.number(1)), (p.text("w"), healthy()))
    (tmp_path / "net.pt").write_bytes(saved(program(twice)))
    ckpt = wb.open(tmp_path / "net.pt")
    assert [finding.code for finding in ckpt.findings] == ["repeated-key"]
    assert ckpt["x0.w"].tolist() == [[1, 2], [3, 4]]
