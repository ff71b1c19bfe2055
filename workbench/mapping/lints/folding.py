"""Lints on folding: what the reader of the original file does not compute."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.finding import Finding, Repair, Severity
from workbench.mapping.lints.look import Look, counted


def needs_export(look: Look) -> Iterator[Finding]:
    """Weights are folded here, and Burn is to read the file that has them in parts."""
    folded = look.plan.folded
    if not folded or look.mapping.route != "original" or not look.reader.version:
        return
    yield Finding(
        "fold-needs-export",
        Severity.WARNING,
        "route",
        f"{counted(len(folded), 'parameter')} {'is' if len(folded) == 1 else 'are'} folded from parts, and "
        f"{look.reader.name} computes nothing: from the original file it gets the parts.",
        "Export, and read the exported file.",
        keys=look.originals(list(folded)[:100]),
        repair=look.offer(
            [Repair.make("Read the exported file", "set", field="route", value="exported")],
            lambda trial: trial.mapping.route == "exported",
        ),
    )
