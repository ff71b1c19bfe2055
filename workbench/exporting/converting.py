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
from workbench.errors import CollisionError, ExportError, printable
from workbench.exporting.contents import BURN_LAYOUT, Contents
from workbench.exporting.single import write_single
from workbench.mapping import Mapping
from workbench.writing import files, npy_folder, shards
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
    """The file or folder written, or the index of several files, and the bytes of all.

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
    shard_size: int | str | None = None,
    overwrite: bool = False,
    verify: bool = True,
    progress: Report | None = None,
    cancel: Cancel | None = None,
) -> ConvertResult:
    """Write the tensors of `checkpoint` as `out`, whose ending says the format; without one, a folder of .npy files.

    Keys stay as they are, but in a .bpk or .mpk, where names and layout are those of Burn `burn`: indices closed up as
    its reader of such a file does, Linear weights transposed where `target` or the file tells the types of modules.
    `target` may be a path. A .safetensors or PyTorch file of more than `shard_size` bytes (or "5GB") becomes several
    beside it: of out.safetensors out-00001-of-00003.safetensors, … and out.safetensors.index.json, where one that was
    stopped goes on where it was. Only these are written, all or none. Raises `ExportError`, and `OpenError`
    where there is nothing to read; `progress` and `cancel` are those of `export`.

    >>> convert("net.pt", "net.safetensors").n_tensors  # doctest: +SKIP
    3
    """
    path = Path(out)
    if path.name in ("", ".."):
        raise ExportError(
            "This is a folder to write into, and convert wants the name of what it writes.",
            path=os.fspath(out),
            next_step="Name a file in it, by the ending of what it is to be: net.safetensors.",
            code="no-file-name",
        )
    format = ENDINGS.get(path.suffix.lower())
    if format is None:
        raise ExportError(
            "The ending of a file says what is to be written, and this one is not known.",
            path=str(path),
            cause=f"Known are {', '.join(filter(None, ENDINGS))}, and none for a folder of .npy files.",
            next_step="Give the file one of these endings.",
            code="export-format",
        )
    if shard_size is not None:
        shards.check_asked([format], shard_size, None)
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = open_checkpoint(checkpoint)
    reindex = None if format in BURN_LAYOUT else False
    mapping = Mapping(burn=burn, top_level_key=top_level_key, reindex=reindex)
    plan = mapping.plan(checkpoint, _target(target, burn))
    try:
        contents = Contents(plan, flat=format not in BURN_LAYOUT)
        part = _part(contents, plan, format, path, precision, shard_size, verify)
    except CollisionError as error:
        error.path = checkpoint.path
        error.next_step = "convert takes no rules: rename one of them with wb.export or workbench export --rule."
        raise
    nbytes = write_single(path, part, checkpoint, overwrite=overwrite, verify=verify, progress=progress, cancel=cancel)
    changes = [*contents.changes(format, path.name), *getattr(part, "notes", ()), *_values_left(checkpoint)]
    if len(part.names) > 1:
        path = path.parent / part.names[-1]
    return ConvertResult(path, nbytes, len(part.items), tuple(dict.fromkeys(changes)), tuple(_left_out(plan)))


def _target(target: Target | str | os.PathLike[str] | None, burn: str | None) -> Target | None:
    if not isinstance(target, (str, os.PathLike)):
        return target
    from workbench.target import Target

    return Target.open(Path(target), burn=burn)


def _part(
    contents: Contents,
    plan: Plan,
    format: str,
    path: Path,
    precision: Precision,
    shard_size: int | str | None,
    verify: bool,
) -> Part:
    content = contents.of(format)
    if format == "npy":
        return replace(npy_folder.npy_folder(content.written), name=path.name)
    tied = content.tied if format == "safetensors" else {}
    metadata = {"aliases": json.dumps(tied, separators=(",", ":"))} if tied else {}
    if shard_size is not None:
        return shards.sharded(
            format,
            plan,
            content.written,
            path.parent,
            name=path.name,
            size=shard_size,
            verifies=verify,
            metadata=metadata,
        )
    return files.weight_file(
        format,
        content.written,
        name=path.name,
        burn=plan.mapping.burn,
        metadata=metadata,
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
