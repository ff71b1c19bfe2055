"""An export: mapping.json and the weight files asked for in one folder, written together."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.core.text import bytes_text, count_text
from workbench.errors import CollisionError, printable
from workbench.exporting import atomic, files, weights
from workbench.exporting.files import DEFAULT_FORMATS, FORMATS, Part
from workbench.exporting.items import Item
from workbench.exporting.loading import load_export
from workbench.exporting.progress import Cancel, Meter, Report
from workbench.mapping.rows import STATUSES, Status

if TYPE_CHECKING:
    from workbench.mapping import Collision, Plan, Row

__all__ = ["ExportResult", "export", "load_export", "planned_files"]

_MAPPING: Final = "mapping.json"
_HEADS: Final = 4096
"""Bytes allowed for the heads of files when free space is checked."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Where the files are; `nbytes` is their size together.

    `changes` names, a line each, what is not as in the source beside the names of the mapping: casts, transposes,
    parameters named for Burn; and what could not be decided.
    """

    folder: Path
    paths: tuple[Path, ...]
    nbytes: int
    changes: tuple[str, ...] = ()


def export(
    plan: Plan,
    folder: str | os.PathLike[str],
    *,
    formats: Sequence[str] = DEFAULT_FORMATS,
    overwrite: bool = False,
    verify: bool = True,
    progress: Report | None = None,
    cancel: Cancel | None = None,
) -> ExportResult:
    """Write the tensors of `plan` under their new names, and mapping.json which says what was done.

    `formats` are "npz", "safetensors", "pt" (for torch.load and Burn) and "bpk" (for the Burn version of the mapping;
    in Burn's layout, where the types of modules are known, unless the mapping says not to adapt). All files appear,
    or nothing changes; each is opened again and compared with what was read, unless `verify` is off. Tensors that the
    plan skips are listed in mapping.json with the reason. Raises `CollisionError` while two tensors claim one name, and
    `ExportError` where a tensor has no place in one of the formats, the folder cannot be written, or files are there
    and `overwrite` is not set.

    `progress` is called with a `Progress` now and then; where `cancel` says yes, `ExportCancelled` is raised.
    """
    folder = Path(folder)
    planned = _parts(plan, formats)
    # A reader that meets mapping.json last can trust the files it lists.
    names = (*(name for part in planned for name in part.names), _MAPPING)
    nbytes = sum(part.nbytes for part in planned)
    needed = nbytes + _HEADS * len(names)
    meter = Meter(nbytes * (2 if verify else 1), progress, cancel)
    with atomic.staged(folder, names, overwrite=overwrite, sources=_sources(plan), needed=needed) as staging:
        for part in planned:
            crcs = part.write(staging, meter)
            if verify:
                part.verify(staging, crcs, meter)
        facts = [_file_facts(staging / name) for part in planned for name in part.names]
        (staging / _MAPPING).write_bytes(_mapping_text(plan, facts, planned).encode("ascii"))
        nbytes = sum((staging / name).stat().st_size for name in names)
    ordered = (_MAPPING, *(name for part in planned for name in part.names))
    changes = tuple(_changes(plan, planned))
    return ExportResult(folder, tuple(folder / name for name in ordered), nbytes, changes)


def _parts(plan: Plan, formats: Sequence[str]) -> list[Part]:
    """The parts asked for, each refused by `ExportError` where it cannot hold what the plan gives it."""
    for format in formats:
        if format not in FORMATS:
            files.weight_file(format, ())
    if plan.collisions:
        raise _blocked(plan.collisions)
    found: list[Part] = []
    items = _kept(plan, _items(plan))
    weights.check(items, formats)
    for format in FORMATS:
        if format not in formats:
            continue
        if format == "bpk":
            burn = burn_plan(plan)
            if burn.collisions:
                raise _blocked(burn.collisions)
            file = files.weight_file(format, _kept(burn, _burn_items(burn)), burn=plan.mapping.burn)
        else:
            file = files.weight_file(format, items)
        _check_names(file.items)
        found.append(file)
    return found


def _kept(plan: Plan, items: Iterable[Item]) -> list[Item]:
    skipped = STATUSES.index(Status.SKIPPED)
    return [item for code, item in zip(plan.codes.tolist(), items, strict=True) if code != skipped]


def _items(plan: Plan) -> Iterator[Item]:
    """What is written of each row. Layouts are adapted here only if Burn reads this export, and not the original."""
    adapts = plan.mapping.route == "exported"
    for number, row in enumerate(plan.rows):
        if adapts:
            yield Item(plan.adapted_key(number), row.tensor, row.layout == "transpose", row.cast)
        else:
            yield Item(row.remapped, row.tensor, cast=row.cast)


def burn_plan(plan: Plan) -> Plan:
    """The plan of a file that is Burn's own: read as exported, in Burn's layout unless the mapping says not to."""
    decided = plan.mapping
    layout = decided.layout if decided.layout.adapt is not None else replace(decided.layout, adapt=True)
    return plan.update(replace(decided, route="exported", layout=layout, reindex=plan.reindexes))


def _burn_items(plan: Plan) -> Iterator[Item]:
    for row in plan.rows:
        yield Item(row.target_key, row.tensor, row.layout == "transpose", row.cast)


def _changes(plan: Plan, planned: Sequence[Part]) -> Iterator[str]:
    """A line for each tensor whose values or layout are not those of the source, and for what is not known.

    The file is named where it is a .bpk and the others, which are alike, do not have the same change.
    """
    names = [row.remapped for row in plan.rows if row.status != "skipped"]
    seen: set[tuple[str, str]] = set()
    for file in planned:
        for name, item in zip(names, file.items, strict=True):
            said = []
            if item.cast:
                said.append(f"cast from {item.tensor.dtype.name} to {item.cast}")
            if item.transposed:
                said.append("transposed")
            if item.name != name:
                said.append(f"named {item.name}")
            if said and (name, text := " and ".join(said)) not in seen:
                seen.add((name, text))
                yield f"{file.names[-1]}: {name}: {text}" if file.format == "bpk" else f"{name}: {text}"
        is_burns = plan.checkpoint.format in ("burnpack", "mpk")
        if file.format == "bpk" and not is_burns and plan.mapping.layout.adapt is not False:
            yield from _undecided(file, names)


def _undecided(file: Part, names: Sequence[str]) -> Iterator[str]:
    """Matrices of modules whose type is not known; a square one that should be transposed loads without an error."""
    found = [
        name
        for name, item in zip(names, file.items, strict=True)
        if name.endswith("weight") and item.name == name and len(item.shape) == 2 and not item.transposed
    ]
    if found:
        shown = ", ".join(found[:3]) + (f" and {len(found) - 3:,} more" if len(found) > 3 else "")
        yield (
            f"{file.names[-1]}: left in PyTorch's layout, for these are no Linear or their type is not known: {shown}. "
            "Give the target or mark the modules to have them transposed."
        )


def _check_names(items: Iterable[Item]) -> None:
    """An adapter may give a tensor the name that another one has already."""
    twice = [name for name, n in Counter(item.name for item in items).items() if n > 1]
    if twice:
        raise CollisionError(
            f"Export is blocked: '{printable(twice[0], 120)}' is claimed more than once.",
            cause="The adapter gives one tensor the name that another one has. Nothing was changed.",
            next_step="Leave one of them out, or rename it with a rule.",
            code="collision",
        )


def _sources(plan: Plan) -> list[str]:
    """The files that the tensors lie in: one, or the shards."""
    files = {plan.checkpoint.path: None}
    for tensor in plan.checkpoint.tensors:
        source = tensor.storage.source
        if source is not None and source.path is not None:
            files[source.path] = None
    return list(files)


def planned_files(plan: Plan, formats: Sequence[str] = DEFAULT_FORMATS) -> list[tuple[str, str]]:
    """The files that an export of `plan` would write, each with a few words on what is in it."""
    size = bytes_text(plan.nbytes_out)
    return [
        (_MAPPING, count_text(len(plan), "row")),
        *((name, f"{size} of tensors") for format, name in FORMATS.items() if format in formats),
    ]


def _mapping_text(plan: Plan, facts: list[dict[str, object]], planned: Sequence[Part]) -> str:
    """mapping.json: plain ASCII, one row of the plan a line, so that a diff of two exports can be read."""
    decided = plan.mapping.to_json()
    checkpoint = plan.checkpoint
    has_npz = any(file.format == "npz" for file in planned)
    in_burn = iter(next((file.items for file in planned if file.format == "bpk"), ()))
    rows = []
    for row, item in zip(plan.rows, _items(plan), strict=True):
        said = _row_facts(row, item, has_npz=has_npz)
        burn = None if row.status == "skipped" else next(in_burn, None)
        if burn is not None and _as_written(burn) != _as_written(item):
            said["bpk"] = _written(burn)
        rows.append(said)
    document = {
        "schema": decided.pop("schema"),
        "version": decided.pop("version"),
        "source": {
            "name": checkpoint.name,
            "size": checkpoint.size,
            "format": checkpoint.format,
            "fingerprint": checkpoint.fingerprint,
        },
        **decided,
        "reader": plan.reader.store,
        "reindexed": plan.reindexes,
        "rows": rows,
        "files": facts,
    }
    fields = []
    for name, value in document.items():
        if isinstance(value, list) and value:
            lines = ",\n".join(f"    {json.dumps(item)}" for item in value)
            fields.append(f"  {json.dumps(name)}: [\n{lines}\n  ]")
        else:
            fields.append(f"  {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _as_written(item: Item) -> tuple[object, ...]:
    return item.name, item.shape, item.dtype, item.transposed


def _written(item: Item) -> dict[str, object]:
    facts: dict[str, object] = {"name": item.name, "shape": list(item.shape), "dtype": item.dtype.name}
    return facts | {"transposed": True} if item.transposed else facts


def _row_facts(row: Row, item: Item, *, has_npz: bool) -> dict[str, object]:
    facts: dict[str, object] = {
        "original": row.original,
        "remapped": row.remapped,
        "shape": list(row.tensor.shape),
        "dtype": row.tensor.dtype.name,
        "status": str(row.status),
    }
    if row.status == "skipped":
        return facts | {"reason": row.reason}
    if _as_written(item) != (row.remapped, row.tensor.shape, row.tensor.dtype, False):
        facts["written"] = _written(item)
    if has_npz and (stored := weights.npz_dtype(item.dtype)) is not None:
        facts["npz_dtype"] = stored
    return facts


def _file_facts(path: Path) -> dict[str, object]:
    return {"name": path.name, "nbytes": path.stat().st_size, "sha256": weights.sha256_of(path)}


def _blocked(collisions: Iterable[Collision]) -> CollisionError:
    collisions = list(collisions)
    shown = "; ".join(_collision_words(collision) for collision in collisions[:3])
    more = f"; and {len(collisions) - 3:,} more" if len(collisions) > 3 else ""
    claimed = "one remapped key is" if len(collisions) == 1 else f"{len(collisions):,} remapped keys are"
    return CollisionError(
        f"Export is blocked: {claimed} claimed more than once.",
        cause=f"{shown}{more}. Nothing was changed.",
        next_step="Change a rule so that every tensor keeps a name of its own.",
        code="collision",
    )


def _collision_words(collision: Collision) -> str:
    names = [f"'{printable(name, 120)}'" for name in collision.originals[:3]]
    more = f" and {len(collision.originals) - 3:,} more" if len(collision.originals) > 3 else ""
    short = printable(collision.remapped, 120)
    if collision.kind == "prefix":
        others = f"{', '.join(names[1:])}{more}"
        return f"'{short}' is the name of a tensor ({names[0]}) and the beginning of others ({others})"
    return f"'{short}' comes from {', '.join(names)}{more}"
