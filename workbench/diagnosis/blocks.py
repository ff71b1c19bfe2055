"""The one block that is not like the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from workbench.diagnosis.case import Case
from workbench.finding import Finding, Repair, Severity
from workbench.mapping import Status
from workbench.mapping.plan import STATUSES
from workbench.rows.repeats import Repeats

__all__ = ["blocks"]

_MAX_CASTS: Final = 50
_SKIPPED: Final = STATUSES.index(Status.SKIPPED)


def blocks(case: Case) -> Iterator[Finding]:
    """The blocks of which one is of another dtype than the others, with the cast that mends it."""
    plan = case.plan
    repeats = Repeats(plan.originals, plan.tensors)
    groups: dict[tuple[str, str], list[int]] = {}
    casts = plan.casts
    for row, one in repeats.differing.items():
        if one.dtype and plan.codes[row] != _SKIPPED and casts.get(row) != one.dtype:
            groups.setdefault((one.group, one.dtype), []).append(row)
    for (_, dtype), rows in groups.items():
        one = repeats.differing[rows[0]]
        tensor, key = repeats.tensors[rows[0]], repeats.keys[rows[0]]
        more = f", as are {len(rows) - 1:,} more tensors that differ" if len(rows) > 2 else ""
        more = f", as is {repeats.keys[rows[1]]}" if len(rows) == 2 else more
        repair = None
        if len(rows) <= _MAX_CASTS:
            value = cast(list[object], plan.mapping.to_json()["casts"])
            new = [
                {"dtype": dtype, "from_dtype": None, "pick": {"kind": "key", "text": repeats.keys[row]}} for row in rows
            ]
            label = f"Cast {'it' if len(rows) == 1 else f'the {len(rows)}'} to {dtype}"
            repair = Repair.make(label, "set", field="casts", value=[*value, *new])
        yield Finding(
            "block-differs",
            Severity.WARNING,
            "",
            f"{key} is {tensor.dtype.name}, and {dtype} in the {one.n_others:,} other blocks{more}.",
            "A merge or a fine-tune often leaves one layer in another dtype. Burn keeps each tensor as it is.",
            keys=tuple(repeats.keys[row] for row in rows[:100]),
            repair=repair,
        )
