"""One file of weights as another kind of file, its ending says which: the plain case, without rules."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.burn import DEFAULT_VERSION
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.errors import ExportError, printable
from workbench.exporting.contents import BURN_LAYOUT, Contents
from workbench.exporting.single import write_single
from workbench.mapping import Mapping
from workbench.writing import files, npy_folder
from workbench.writing.mpk_file import Precision
from workbench.writing.progress import Cancel, Report

if TYPE_CHECKING:
    from workbench.mapping import Plan
    from workbench.target import Target
    from workbench.writing.files import Part

__all__ = ["ENDINGS", "ConvertResult", "convert"]

ENDINGS: Final = {
    ".safetensors": "safetensors",
    ".npz": "npz",
    ".pt": "pt",
    ".pth": "pt",
    ".bin": "pt",
    ".bpk": "bpk",
    ".mpk": "mpk",
    "": "npy",
}
"""The format of a file by its ending; without one it is a folder of .npy files."""


_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class ConvertResult:
    """The file or folder written, and its bytes.

    `changes` names, a line each, what is not as in the source: transposes, names for Burn, what could not be decided;
    `left_out` are pairs of a key and a clause that says why the file does not have it.
    """

    path: Path
    nbytes: int
    n_tensors: int
    changes: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


def convert(
    checkpoint: Checkpoint | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    top_level_key: str | None = None,
    burn: str | None = DEFAULT_VERSION,
    target: Target | str | os.PathLike[str] | None = None,
    precision: Precision = "full",
    overwrite: bool = False,
    verify: bool = True,
    progress: Report | None = None,
    cancel: Cancel | None = None,
) -> ConvertResult:
    """Write the tensors of `checkpoint` as `out`, whose ending says the format; without one, a folder of .npy files.

    Keys stay as they are, but in a .bpk or .mpk, where names and layout are those of Burn `burn`: indices closed up as
    its reader of such a file does, Linear weights transposed where `target` or the file tells the types of modules.
    `target` may be a path. Only this one file is written, whole or not at all. Raises `ExportError`, and `OpenError`
    where there is nothing to read; `progress` and `cancel` are those of `export`.

    >>> convert("net.pt", "net.safetensors").n_tensors  # doctest: +SKIP
    3
    """
    path = Path(out)
    format = ENDINGS.get(path.suffix.lower())
    if format is None:
        raise ExportError(
            "The ending of a file says what is to be written, and this one is not known.",
            path=str(path),
            cause=f"Known are {', '.join(filter(None, ENDINGS))}, and none for a folder of .npy files.",
            next_step="Give the file one of these endings.",
            code="export-format",
        )
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = open_checkpoint(checkpoint)
    reindex = None if format in BURN_LAYOUT else False
    mapping = Mapping(burn=burn, top_level_key=top_level_key, reindex=reindex)
    plan = mapping.plan(checkpoint, _target(target, burn))
    contents = Contents(plan)
    part = _part(contents, plan, format, path.name, precision)
    nbytes = write_single(path, part, checkpoint, overwrite=overwrite, verify=verify, progress=progress, cancel=cancel)
    changes = [*contents.changes(format, path.name), *getattr(part, "notes", ()), *_values_left(checkpoint)]
    return ConvertResult(path, nbytes, len(part.items), tuple(dict.fromkeys(changes)), tuple(_left_out(plan)))


def _target(target: Target | str | os.PathLike[str] | None, burn: str | None) -> Target | None:
    if not isinstance(target, (str, os.PathLike)):
        return target
    from workbench.target import Target

    return Target.open(Path(target), burn=burn)


def _part(contents: Contents, plan: Plan, format: str, name: str, precision: Precision) -> Part:
    content = contents.of(format)
    if format == "npy":
        return replace(npy_folder.npy_folder(content.written), name=name)
    tied = content.tied if format == "safetensors" else {}
    return files.weight_file(
        format,
        content.written,
        name=name,
        burn=plan.mapping.burn,
        metadata={"aliases": json.dumps(tied, separators=(",", ":"))} if tied else {},
        target=plan.target or plan.checkpoint,
        precision=precision,
    )


def _values_left(checkpoint: Checkpoint) -> Iterator[str]:
    """A line on what is in the file and is no tensor."""
    names = [value.key for value in checkpoint.other_values]
    if names:
        shown = ", ".join(printable(name, 80) for name in names[:_SHOWN])
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        yield f"left out, no {'tensor' if len(names) == 1 else 'tensors'}: {shown}{more}"


def _left_out(plan: Plan) -> Iterator[tuple[str, str]]:
    for row in plan.rows:
        if row.status == "skipped":
            yield row.original, row.reason
    for tensor in plan.outside:
        yield tensor.key, f"it is outside {plan.mapping.top_level_key}"
    for each in plan.checkpoint.beside:
        yield each.tensor.key, each.reason
