"""One shard written by whoever gets the task: this process, one of a pool, or a machine of a cluster.

A task is plain data. A shard that is finished has a receipt beside it, and is not written again by a task that asks
for the same.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypedDict

from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.core.tensor import TensorRef
from workbench.errors import ExportError, WorkbenchError
from workbench.mapping import Mapping
from workbench.writing import checksums, files, output
from workbench.writing.items import Item
from workbench.writing.progress import Meter

__all__ = ["PART_PREFIX", "Receipt", "Task", "finished", "process_pool", "receipt_of", "write_items", "write_shard"]

PART_PREFIX: Final = "part-"
"""How the folders begin in which a shard lies while it is written."""

_RECEIPT: Final = ".receipt.json"
_ASKED_EVERY: Final = 0.2
"""Seconds between two looks at whether the work was called off."""

_IMPORTED_IN: Final = os.getpid()


@dataclass(frozen=True, slots=True)
class Task:
    """A shard to write: `items` are (name, place, transposed, cast) of its tensors in the checkpoint at `source`.

    A place is that in the checkpoint's table of tensors; where there is a `mapping`, the row of its plan. The shard
    `file` goes into `folder`, which is there; a file `stop` in it calls the work off. `digest` says what is asked for.
    """

    source: str
    fingerprint: str
    size: int
    mapping: dict[str, object] | None
    items: tuple[tuple[str, int, bool, str], ...]
    metadata: dict[str, str]
    format: str
    file: str
    verify: bool
    digest: str = ""
    folder: str = ""
    stop: str = ""

    def digest_with(self, marks: Sequence[object]) -> str:
        """What tells this task from every other one: all that it says, and `marks` that the source had."""
        text = json.dumps([asdict(self) | {"digest": "", "folder": "", "stop": ""}, list(marks)], sort_keys=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()


class Receipt(TypedDict):
    """What was written: bytes and digest of the file, its time in nanoseconds, and the CRC-32 of each tensor."""

    digest: str
    nbytes: int
    mtime_ns: int
    blake3: str
    crcs: dict[str, int]


def write_shard(task: Task) -> Receipt:
    """Write the shard of `task`, unless it is finished. What the executor calls.

    Raises `WorkbenchError` where the checkpoint is not the one that was planned, or a tensor cannot be written.
    """
    folder = Path(task.folder)
    if not folder.is_dir():
        raise ExportError(
            "A worker does not see the folder of the export.",
            path=task.folder,
            next_step="Choose a folder that all workers have under the same path.",
            code="worker-sees-no-folder",
        )
    meter = Meter(cancel=_CalledOff(folder / task.stop))
    receipt = finished(folder, task.file, task.digest, verify=task.verify, meter=meter)
    return receipt or write_items(
        folder,
        files.weight_file(task.format, _items(task), name=task.file, metadata=task.metadata),
        task.digest,
        verify=task.verify,
        meter=meter,
    )


def write_items(folder: Path, file: files.WeightFile, digest: str, *, verify: bool, meter: Meter) -> Receipt:
    """Write one shard into `folder`, read it back, give it its name, and leave a receipt. Only then it counts."""
    part = Path(tempfile.mkdtemp(prefix=PART_PREFIX, dir=folder))
    try:
        crcs = dict(file.write(part, meter))
        if verify:
            file.verify(part, crcs, meter)
        path = part / file.name
        output.sync(path)
        status = path.stat()
        receipt = Receipt(
            digest=digest,
            nbytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            blake3=meter.digests.pop(path, "") or checksums.digest_of(path),
            crcs=crcs,
        )
        note = part / (file.name + _RECEIPT)
        note.write_text(json.dumps(receipt), encoding="ascii")
        output.sync(note)
        os.replace(path, folder / file.name)
        os.replace(note, folder / note.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return receipt


def finished(folder: Path, name: str, digest: str, *, verify: bool, meter: Meter) -> Receipt | None:
    """The receipt of a shard that is there already, as it was asked for; None where it has to be written.

    Its bytes were on the disk before its receipt was, so size and time tell a whole shard from a torn one. With
    `verify` its digest is compared too: what is new is read back, and so is what is old.
    """
    receipt = receipt_of(folder, name, digest)
    if receipt is None or not verify:
        return receipt
    meter.begin(name, "verify")
    return receipt if checksums.digest_of(folder / name) == receipt["blake3"] else None


def receipt_of(folder: Path, name: str, digest: str) -> Receipt | None:
    """The receipt of a shard whose size and time are those it says; None where there is no such shard."""
    try:
        status = (folder / name).stat()
        receipt: Receipt = json.loads((folder / (name + _RECEIPT)).read_text(encoding="ascii"))
        said = receipt["digest"], receipt["nbytes"], receipt["mtime_ns"]
        is_whole = receipt.keys() == Receipt.__annotations__.keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return receipt if is_whole and said == (digest, status.st_size, status.st_mtime_ns) else None


def process_pool(n_workers: int) -> ProcessPoolExecutor:
    """A pool for `export(executor=…)` whose processes start afresh, and end when the one that made it is killed."""
    return ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_and_end, args=(parent,), daemon=True).start()


def _wait_and_end(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _items(task: Task) -> list[Item]:
    """The tensors of `task`, out of the checkpoint as this worker sees it."""
    try:
        checkpoint = open_checkpoint(task.source)
    except WorkbenchError as error:
        raise ExportError(
            "A worker cannot open the checkpoint.",
            path=task.source,
            cause=error.title,
            next_step="Give all workers the same files under the same paths, or export without an executor.",
            code="worker-cannot-open",
        ) from error
    if (checkpoint.fingerprint, checkpoint.size) != (task.fingerprint, task.size):
        raise changed(task.source)
    tensors = checkpoint.tensors if task.mapping is None else _planned(task.mapping, checkpoint)
    return [Item(name, tensors[place], transposed, cast) for name, place, transposed, cast in task.items]


def _planned(mapping: dict[str, object], checkpoint: Checkpoint) -> Sequence[TensorRef]:
    """The tensors of the plan, some of which are computed. A forked process cannot make one: polars has threads."""
    if os.getpid() != _IMPORTED_IN:
        raise ExportError(
            "Tensors that are computed from others cannot be written by a process that was forked.",
            cause="It has the locks of the threads of its parent, and none of the threads.",
            next_step='Make the pool with mp_context=multiprocessing.get_context("spawn").',
            code="forked-worker",
        )
    return Mapping.from_json(mapping).plan(checkpoint).tensors


def changed(path: str) -> ExportError:
    """The checkpoint is another one now."""
    return ExportError(
        "The checkpoint is not the one that was planned.",
        path=path,
        cause="It was replaced or changed meanwhile, or a worker has another file under this path.",
        next_step="Open it again, and export again.",
        code="changed",
    )


class _CalledOff:
    """Whether there is a file that says to stop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asked = -_ASKED_EVERY

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self._asked < _ASKED_EVERY:
            return False
        self._asked = now
        return self._path.exists()
