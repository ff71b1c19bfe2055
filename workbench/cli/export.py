"""`workbench export`: the mapping, the remapped weights and what loads them, as files."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.checkpoint import open_checkpoint
from workbench.cli.output import Printer, print_json
from workbench.cli.progress import check_precision, work
from workbench.cli.remap import Decisions, casted, coverage_json, decide, equation
from workbench.core.text import bytes_text
from workbench.exporting import ExportResult, export
from workbench.target import Target
from workbench.writing.files import DEFAULT_FORMATS
from workbench.writing.progress import Cancel, Report
from workbench.writing.workers import process_pool

if TYPE_CHECKING:
    from workbench.exporting.contents import Ties
    from workbench.mapping import Plan
    from workbench.writing.mpk_file import Precision

_CHANGES_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of `workbench export` that do not decide on keys."""

    formats: Sequence[str] = ()
    target: Path | None = None
    ties: Ties = "twice"
    precision: Precision = "full"
    shards: str | None = None
    workers: int | None = None
    overwrite: bool = False
    verify: bool = True
    as_json: bool = False


def run(file: Path, folder: Path, said: Decisions, wanted: Wanted) -> int:
    """Write the files; say where they are, and what is not as in the source."""
    check_precision(wanted.precision, "mpk" in wanted.formats)
    mapping = decide(said)
    checkpoint = open_checkpoint(file)
    target = None if wanted.target is None else Target.open(wanted.target, burn=mapping.burn)
    plan = casted(mapping, said.cast, checkpoint).plan(checkpoint, target)

    def write(report: Report | None, cancel: Cancel) -> ExportResult:
        with contextlib.nullcontext() if wanted.workers is None else process_pool(wanted.workers) as executor:
            return export(
                plan,
                folder,
                formats=tuple(wanted.formats) or DEFAULT_FORMATS,
                ties=wanted.ties,
                precision=wanted.precision,
                shard_size=wanted.shards,
                executor=executor,
                overwrite=wanted.overwrite,
                verify=wanted.verify,
                progress=report,
                cancel=cancel,
            )

    return work(write, partial(_print_json if wanted.as_json else _print, plan), quiet=wanted.as_json)


def _print(plan: Plan, result: ExportResult) -> None:
    out = Printer()
    for path in result.paths:
        out.line(str(path))
    out.line(f"{equation(plan)}, {bytes_text(result.nbytes)} written")
    if not plan.n_out:
        out.line("No tensor is left: the files hold none.", "yellow")
    if plan.target is not None:
        coverage = plan.coverage()
        out.line(f"target: {coverage.summary}", "" if coverage.complete else "yellow")
        if not coverage.complete:
            out.line(coverage.verdict, "yellow")
    out.first(result.changes, _CHANGES_SHOWN, " such lines; mapping.json has them all")
    for row in plan.rows:
        if row.status == "skipped":
            out.line(f"skipped: {row.original}: {row.reason}", "yellow")


def _print_json(plan: Plan, result: ExportResult) -> None:
    counts = plan.counts
    print_json(
        {
            "folder": str(result.folder),
            "paths": [str(path) for path in result.paths],
            "nbytes": result.nbytes,
            "counts": {**counts, "out": plan.n_out, "outside": len(plan.outside)},
            "changes": list(result.changes),
            "skipped": [
                {"original": row.original, "reason": row.reason} for row in plan.rows if row.status == "skipped"
            ],
            "coverage": None if plan.target is None else coverage_json(plan.coverage()),
        }
    )
