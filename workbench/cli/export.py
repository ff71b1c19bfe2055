"""`workbench export`: the mapping and the remapped weights as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from workbench.checkpoint import open_checkpoint
from workbench.cli.output import Printer
from workbench.cli.remap import Decisions, decide, equation
from workbench.core.text import bytes_text
from workbench.exporting import export
from workbench.exporting.files import DEFAULT_FORMATS
from workbench.target import Target

_CHANGES_SHOWN: Final = 50


def run(
    file: Path,
    folder: Path,
    said: Decisions,
    *,
    formats: Sequence[str] = (),
    target: Path | None = None,
    overwrite: bool,
    verify: bool = True,
) -> int:
    """Write the files; say where they are, and what is not as in the source."""
    mapping = decide(said)
    plan = mapping.plan(open_checkpoint(file), None if target is None else Target.open(target, burn=mapping.burn))
    result = export(plan, folder, formats=tuple(formats) or DEFAULT_FORMATS, overwrite=overwrite, verify=verify)
    out = Printer()
    for path in result.paths:
        out.line(str(path))
    out.line(f"{equation(plan)}, {bytes_text(result.nbytes)} written")
    for change in result.changes[:_CHANGES_SHOWN]:
        out.line(change)
    if len(result.changes) > _CHANGES_SHOWN:
        out.line(f"… {len(result.changes) - _CHANGES_SHOWN:,} more such lines; mapping.json has them all")
    skipped = [row for row in plan.rows if row.status == "skipped"]
    for row in skipped:
        out.line(f"skipped: {row.original}: {row.reason}", "yellow")
    return 0
