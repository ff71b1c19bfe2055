"""The harness is worth something only if it fails: each test here lets it meet what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.harness import run
from tests.make.hostile import FAMILIES, Case
from tests.make.hostile.case import fixed, program, saved

HEALTHY = Case("healthy", "opens", fixed(saved(program())))
PAYLOADS = [case for case in FAMILIES["execution"].cases() if case.runs and case.name != "runs-by-import"]


def test_a_healthy_file_read_by_the_workbench_has_no_faults(tmp_path: Path) -> None:
    assert run(tmp_path, [HEALTHY]).faults == []


@pytest.mark.parametrize(
    ("reader", "fault"),
    [
        ("crash", "signal 11"),
        ("spin", "signal"),
        ("wait", "it did not end"),
        ("slow", "s of CPU, the bound is"),
        ("greedy", "MiB, the bound is 200"),
        ("change", "caught: open"),
        ("look_around", "caught: open"),
        ("start", "caught: os.system"),
        ("connect", "socket"),
        ("import_by_name", "caught: import"),
        ("unpickle", "caught: pickle.find_class"),
        ("wrong_value", "the healthy tensor gives [0.0"),
    ],
)
def test_a_reader_that_does_wrong_is_caught(reader: str, fault: str, tmp_path: Path) -> None:
    limits = {"cpu": 1} if reader == "spin" else {"wall": 2} if reader == "wait" else {}
    faults = run(tmp_path, [HEALTHY], reader, **limits).faults
    assert any(fault in each for each in faults), faults


def test_a_file_that_is_changed_is_caught_without_the_audit_hook_as_well(tmp_path: Path) -> None:
    faults = run(tmp_path, [HEALTHY], "change", guarded=False).faults
    assert "healthy.pt: it was changed" in faults


def test_an_error_that_is_not_ours_is_caught(tmp_path: Path) -> None:
    broken = Case("broken", "error", fixed(b"PK\x03\x04 no zip at all"))
    assert "BadZipFile" in run(tmp_path, [broken], "zipped").faults[0]


def test_a_row_of_the_manifest_that_does_not_hold_is_a_fault(tmp_path: Path) -> None:
    for case, fault in (
        (Case("a", "error", HEALTHY.build), "it opens"),
        (Case("b", "finding", HEALTHY.build), "no finding"),
        (Case("c", "unreadable", HEALTHY.build), "every tensor is readable"),
        (Case("d", "opens", HEALTHY.build, readable=("absent",)), "absent gives None"),
        (Case("e", "opens", fixed(b"")), "it does not open"),
        (Case("f", "error", fixed(b""), "another-code"), "not another-code"),
    ):
        assert any(fault in each for each in run(tmp_path, [case]).faults)


def test_every_payload_does_run_where_it_is_unpickled(tmp_path: Path) -> None:
    left = run(tmp_path, PAYLOADS, "unpickle", guarded=False).left
    assert set(left) == {f"marker-{case.name}" for case in PAYLOADS}


def test_the_audit_hook_catches_each_payload_that_is_unpickled(tmp_path: Path) -> None:
    for number, case in enumerate(PAYLOADS[:4]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert "caught: pickle.find_class" in run(folder, [case], "unpickle").faults[0]


def test_a_name_that_is_imported_leaves_a_marker(tmp_path: Path) -> None:
    (bait,) = (case for case in FAMILIES["execution"].cases() if case.name == "runs-by-import")
    assert "marker-runs-by-import" in run(tmp_path, [bait], "unpickle", guarded=False).left
