"""Reads cases in a child process under limits, and lists what was not as it must be."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hostile.child import CAUGHT
from tests.make.hostile.case import HEALTHY, Case

ROOT = Path(__file__).resolve().parents[2]
MOST = 1 << 30
SLACK = 3
"""A machine that others use runs at no steady pace; what grows with the square of the input is far beyond."""

_READ_ROOM = 64 << 20


def bounds(metadata: int, pace: float = 1) -> tuple[float, int]:
    """Seconds of CPU and bytes at the peak that opening a file of so many bytes of metadata may take.

    `pace` is that of the machine (`tests.hostile.pace`): the seconds are of one that works as it does.
    """
    return (2 + 2e-6 * metadata) * max(1.0, pace) * SLACK, min((200 << 20) + 64 * metadata, MOST)


@dataclass
class Report:
    """What became of some cases in one child."""

    faults: list[str]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0
    peak: int = 0
    left: list[str] = field(default_factory=list)


def run(
    folder: Path,
    cases: Sequence[Case],
    reader: str = "workbench",
    *,
    guarded: bool = True,
    wall: int = 900,
    cpu: int = 300,
) -> Report:
    """One child for all `cases`; without faults it met every bound and every row of the manifest."""
    digests = {}
    for case in cases:
        data = case.build(f"marker-{case.name}")
        (folder / case.file_name).write_bytes(data)
        digests[case.file_name] = (len(data), hashlib.sha256(data).digest())
    jobs = folder / "jobs.json"
    jobs.write_text(json.dumps([[case.file_name, list(case.readable)] for case in cases]))
    ended = _launch(folder, reader, guarded, wall, cpu)
    report = Report([], seconds=ended["seconds"], peak=ended["peak"])
    begun = ""
    for line in ended["stdout"].splitlines():
        row = json.loads(line)
        begun = row.get("begin", begun)
        if "end" in row:
            report.rows[row["end"]] = row
            begun = ""
    _check_end(report, ended, begun)
    for case in cases:
        row = report.rows.get(case.file_name)
        if row is not None and "open_seconds" in row:
            said = _check_outcome(case, row) + _check_cost(case, row, digests[case.file_name][0])
            report.faults += [f"{case.file_name}: {fault}" for fault in said]
        path = folder / case.file_name
        if hashlib.sha256(path.read_bytes()).digest() != digests[case.file_name][1]:
            report.faults.append(f"{case.file_name}: it was changed")
        path.unlink()
    jobs.unlink()
    report.left = sorted(path.name for path in folder.iterdir() if path.name not in ("o", "e"))
    report.faults += [f"{name}: it was left behind" for name in report.left]
    return report


def _launch(folder: Path, reader: str, guarded: bool, wall: int, cpu: int) -> dict[str, Any]:
    module = [sys.executable, "-m", "tests.hostile.child", reader, str(int(guarded)), "jobs.json"]
    job = {"argv": module, "folder": str(folder), "seconds": cpu, "wall": wall, "space": 4 << 30}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests/hostile/bait")])
    ran = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "tests/hostile/launch.py")],
        input=json.dumps(job), capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    ended: dict[str, Any] = json.loads(ran.stdout)
    return ended


def _check_end(report: Report, ended: dict[str, Any], begun: str) -> None:
    at = f"{begun or 'the child'}: "
    if ended["too_long"]:
        report.faults.append(f"{at}it did not end")
    elif ended["exit"] < 0:
        report.faults.append(f"{at}signal {-ended['exit']}")
    elif ended["exit"] == CAUGHT:
        report.faults.append(f"{at}{ended['stderr'].strip()}")
    elif ended["exit"] or ended["stderr"].strip():
        report.faults.append(f"{at}exit {ended['exit']}, {ended['stderr'][-1500:].strip()}")
    if ended["peak"] > MOST:
        report.faults.append(f"{at}{ended['peak'] >> 20} MiB at the peak")


def _check_outcome(case: Case, row: dict[str, Any]) -> list[str]:
    faults = list(row.get("shown_faults", ()))
    error = row.get("error")
    if row["json_fault"]:
        faults.append(row["json_fault"])
    if case.outcome == "error":
        if error is None:
            faults.append("it opens")
        elif case.code not in ("", error):
            faults.append(f"the error is {error}, not {case.code}: {row['text']}")
        else:
            faults += [f"no {what} in {row['text']!r}" for what in ("title", "next") if not row[what]]
            if not row["text"].startswith(case.file_name) and len(case.file_name) < 100:
                faults.append(f"the file is not named in {row['text']!r}")
            if len(row["text"]) > 3000 or not row["text"].isprintable():
                faults.append(f"an error of {len(row['text']):,} characters, or with odd ones")
            if row["json_exit"] != 2:
                faults.append(f"the command line exits with {row['json_exit']}")
        return faults
    if error is not None:
        return [*faults, f"it does not open: {row['text']}"]
    if row["json_exit"] not in (0, 1):
        faults.append(f"the command line exits with {row['json_exit']}")
    codes = [code for code, _ in row["findings"]]
    if case.outcome == "finding" and not codes:
        faults.append("no finding")
    if case.code and case.code not in codes:
        faults.append(f"no finding {case.code} among {codes}")
    if case.outcome == "unreadable" and not row["unreadable"]:
        faults.append("every tensor is readable")
    faults += [f"{key} is not listed as unreadable" for key in case.unreadable if key not in row["unreadable_keys"]]
    for key in case.readable:
        value = row["values"].get(key)
        if key == HEALTHY and value != [1.0, 2.0, 3.0, 4.0]:
            faults.append(f"the healthy tensor gives {value}")
        elif not isinstance(value, list):
            faults.append(f"{key} gives {value}")
    return faults


def _check_cost(case: Case, row: dict[str, Any], size: int) -> list[str]:
    metadata = size if case.metadata is None else case.metadata
    seconds, peak = bounds(metadata, row["pace"])
    faults = []
    if row["open_seconds"] > seconds:
        faults.append(f"opening took {row['open_seconds']:.2f} s of CPU, the bound is {seconds:.2f}")
    if row["open_peak"] > peak:
        faults.append(f"opening took {row['open_peak'] >> 20} MiB, the bound is {peak >> 20} for {metadata:,} bytes")
    return faults
