"""`workbench export`: the mapping and the remapped weights as files."""

from __future__ import annotations

from pathlib import Path

from workbench.checkpoint import open_checkpoint
from workbench.cli.output import Printer
from workbench.cli.remap import Decisions, decide, equation
from workbench.core.text import bytes_text
from workbench.exporting import export


def run(file: Path, folder: Path, said: Decisions, *, overwrite: bool) -> int:
    """Write the files and say where they are."""
    mapping = decide(said)
    plan = mapping.plan(open_checkpoint(file))
    result = export(plan, folder, overwrite=overwrite)
    out = Printer()
    for path in result.paths:
        out.line(str(path))
    out.line(f"{equation(plan)}, {bytes_text(result.nbytes)} written")
    skipped = [row for row in plan.rows if row.status == "skipped"]
    for row in skipped:
        out.line(f"skipped: {row.original}: {row.reason}", "yellow")
    return 0
