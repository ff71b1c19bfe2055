"""One part alone, a file, its shards or a folder: written beside its place, read back, then put there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.writing import atomic, npy_folder, shards
from workbench.writing.progress import Cancel, Meter, Report

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint
    from workbench.writing.files import Part

__all__ = ["write_single"]

_HEAD: Final = 4096
"""Bytes allowed for the head of a file when free space is checked."""


def write_single(
    path: Path,
    part: Part,
    checkpoint: Checkpoint,
    *,
    overwrite: bool,
    verify: bool,
    progress: Report | None = None,
    cancel: Cancel | None = None,
) -> int:
    """Write `part`, which is `path` or its shards and their index, out of `checkpoint`; its bytes.

    Raises `ExportError`.
    """
    meter = Meter(part.nbytes * (2 if verify else 1), progress, cancel)
    with atomic.staged(
        path.parent,
        part.names,
        overwrite=overwrite,
        sources=sources_of(checkpoint),
        needed=part.nbytes + _HEAD * len(part.names) - shards.kept_nbytes([part]),
        folders={path.name: npy_folder.OWN} if part.format == "npy" else {},
    ) as staging:
        if len(part.names) > 1:
            shards.check_beside(path.parent, part.names, path.name)
        crcs = part.write(staging, meter)
        if verify:
            part.verify(staging, crcs, meter)
        written = [staging / name for name in part.names]
        nbytes = sum(
            os.stat(file).st_size for each in written for file in (os.scandir(each) if each.is_dir() else [each])
        )
    shards.remove_kept(path)
    return nbytes


def sources_of(checkpoint: Checkpoint) -> list[str]:
    """The files that the tensors lie in: one, or the shards."""
    files = {checkpoint.path: None}
    for tensor in checkpoint.tensors:
        source = tensor.storage.source
        if source is not None and source.path is not None:
            files[source.path] = None
    return list(files)
