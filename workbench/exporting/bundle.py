"""An export: mapping.json, model.npz and model.safetensors in one folder, written together."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.core.text import bytes_text, count_text
from workbench.errors import CollisionError, printable
from workbench.exporting import atomic, weights
from workbench.exporting.loading import load_export
from workbench.exporting.weights import Item

if TYPE_CHECKING:
    from workbench.mapping import Collision, Plan, Row

__all__ = ["ExportResult", "export", "load_export", "planned_files"]

_WEIGHTS: Final = ("model.npz", "model.safetensors")
_MAPPING: Final = "mapping.json"


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Where the files are; `nbytes` is their size together."""

    folder: Path
    paths: tuple[Path, ...]
    nbytes: int


def export(plan: Plan, folder: str | os.PathLike[str], *, overwrite: bool = False) -> ExportResult:
    """Write the tensors of `plan` under their new names, and mapping.json which says what was done.

    All three files appear, or nothing changes. Tensors that the plan skips are listed in mapping.json with
    the reason. Raises `CollisionError` while two tensors claim one name, and `ExportError` where a tensor has
    no place in one of the formats, the folder cannot be written, or files are there and `overwrite` is not set.
    """
    folder = Path(folder)
    if plan.collisions:
        raise _blocked(plan.collisions)
    items = [Item(row.remapped, row.tensor) for row in plan.rows if row.status != "skipped"]
    weights.check(items)
    # A reader that meets mapping.json last can trust the files it lists.
    names = (*_WEIGHTS, _MAPPING)
    with atomic.staged(folder, names, overwrite=overwrite, sources=_sources(plan)) as staging:
        for name in _WEIGHTS:
            weights.write(staging / name, items)
        files = [_file_facts(staging / name) for name in _WEIGHTS]
        (staging / _MAPPING).write_bytes(_mapping_text(plan, files).encode("ascii"))
        nbytes = sum((staging / name).stat().st_size for name in names)
    return ExportResult(folder, tuple(folder / name for name in (_MAPPING, *_WEIGHTS)), nbytes)


def _sources(plan: Plan) -> list[str]:
    """The files that the tensors lie in: one, or the shards."""
    files = {plan.checkpoint.path: None}
    for tensor in plan.checkpoint.tensors:
        source = tensor.storage.source
        if source is not None and source.path is not None:
            files[source.path] = None
    return list(files)


def planned_files(plan: Plan) -> list[tuple[str, str]]:
    """The files that an export of `plan` would write, each with a few words on what is in it."""
    size = bytes_text(plan.nbytes_out)
    return [
        (_MAPPING, count_text(len(plan), "row")),
        *((name, f"{size} of tensors") for name in _WEIGHTS),
    ]


def _mapping_text(plan: Plan, files: list[dict[str, object]]) -> str:
    """mapping.json: plain ASCII, one row of the plan a line, so that a diff of two exports can be read."""
    decided = plan.mapping.to_json()
    checkpoint = plan.checkpoint
    burn = decided["burn"]
    document = {
        "schema": decided["schema"],
        "version": decided["version"],
        "source": {
            "name": checkpoint.name,
            "size": checkpoint.size,
            "format": checkpoint.format,
            "fingerprint": checkpoint.fingerprint,
        },
        "burn": {**burn, "api": plan.reader_api} if isinstance(burn, dict) else None,
        "top_level_key": decided["top_level_key"],
        "rules": decided["rules"],
        "reindex": decided["reindex"],
        "reindexed": plan.reindexes,
        "rows": [_row_facts(row) for row in plan.rows],
        "files": files,
    }
    fields = []
    for name, value in document.items():
        if isinstance(value, list) and value:
            lines = ",\n".join(f"    {json.dumps(item)}" for item in value)
            fields.append(f"  {json.dumps(name)}: [\n{lines}\n  ]")
        else:
            fields.append(f"  {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _row_facts(row: Row) -> dict[str, object]:
    facts: dict[str, object] = {
        "original": row.original,
        "remapped": row.remapped,
        "shape": list(row.tensor.shape),
        "dtype": row.tensor.dtype.name,
        "status": str(row.status),
    }
    if row.status == "skipped":
        facts["reason"] = row.reason
    elif (stored := weights.npz_dtype(row.tensor.dtype)) is not None:
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
