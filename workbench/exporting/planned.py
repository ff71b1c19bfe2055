"""The files that an export would write, told without writing or checking anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workbench.core.tensor import dtype_named
from workbench.core.text import bytes_text, count_text
from workbench.exporting.contents import Contents, Ties
from workbench.exporting.mapping_file import MAPPING
from workbench.mapping.rows import STATUSES, Status
from workbench.target import kind_of
from workbench.writing import shards
from workbench.writing.files import DEFAULT_FORMATS, FORMATS, TEXTS
from workbench.writing.mpk_file import Precision

if TYPE_CHECKING:
    from workbench.mapping import Plan

__all__ = ["PlannedFile", "planned_files"]

_NOTES: Final = {
    "load.rs": "a program for Burn {burn}",
    "Cargo.toml": "what load.rs needs",
    "model.rs": "the source of the target",
    "load.py": "a program of numpy alone",
    "REPORT.md": "what was done, for people",
}


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file to come: the format it is asked for by ("": it is always there), and a few words on it.

    `nbytes` are those of its tensors, None for a text. `is_default` says whether it comes without being asked for.
    """

    name: str
    format: str
    nbytes: int | None
    note: str
    is_default: bool


def planned_files(
    plan: Plan,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    ties: Ties = "twice",
    precision: Precision = "full",
    shard_size: int | str | None = None,
) -> list[PlannedFile]:
    """The files that an export of `plan` with these options would write, mapping.json first."""
    found = [PlannedFile(MAPPING, "", None, count_text(len(plan), "row"), True)]
    for format, name in FORMATS.items():
        if format in formats:
            size = _nbytes(plan, format, ties, precision)
            most = size if shard_size is None or format not in shards.SHARDED else shards.size_of(shard_size)
            is_split = size > most and _stored_nbytes(plan, format, ties, size) > most
            split = f" in shards of {bytes_text(most)} at most" if is_split else ""
            shown = shards.INDICES[format] if is_split else name
            note = f"{bytes_text(size)} of tensors{split}"
            found.append(PlannedFile(shown, format, size, note, format in DEFAULT_FORMATS))
    for format in TEXTS:
        if format in formats:
            notes = {name: _NOTES[name].format(burn=plan.mapping.burn) for name in _texts(plan, format)}
            found += [PlannedFile(name, format, None, note, format in DEFAULT_FORMATS) for name, note in notes.items()]
    return found


def _texts(plan: Plan, format: str) -> Iterator[str]:
    if format != "rust":
        yield TEXTS[format]
    elif plan.mapping.burn is not None:
        yield from ("load.rs", "Cargo.toml")
        if plan.target is not None and plan.target.source:
            yield "model.rs"


def _stored_nbytes(plan: Plan, format: str, ties: Ties, nbytes: int) -> float:
    """Of the `nbytes` those that are split, tied ones once; endless while names collide, and nothing is written."""
    if plan.collisions or not plan.checkpoint.ties:
        return math.inf if plan.collisions else nbytes
    return shards.stored_nbytes(Contents(plan, ties).of(format).written, format)


def _nbytes(plan: Plan, format: str, ties: Ties, precision: Precision) -> int:
    is_half = format == "mpk" and precision == "half"
    if ties == "once" and not plan.collisions:
        return sum(item.nbytes for item in Contents(plan, ties).of(format).written)
    if not plan.casts and not is_half:
        return plan.nbytes_out
    kept = (plan.codes < STATUSES.index(Status.SKIPPED)).tolist()
    total = 0
    for row, tensor in enumerate(plan.tensors):
        if not kept[row]:
            continue
        name = plan.casts.get(row, tensor.dtype.name)
        itemsize = 2 if is_half and kind_of(name) in ("float", "int") else dtype_named(name).itemsize
        total += tensor.nbytes if name == tensor.dtype.name and not is_half else math.prod(tensor.shape) * itemsize
    return total
