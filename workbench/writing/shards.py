"""A model as .safetensors or .pt over several files with an index; an export that was stopped goes on where it was."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workbench.checkpoint import open_checkpoint
from workbench.errors import ExportError, WorkbenchError, printable
from workbench.finding import Severity
from workbench.formats.shards import plain_name
from workbench.writing import workers
from workbench.writing.archive import is_archive
from workbench.writing.atomic import not_written
from workbench.writing.files import FORMATS, Crcs, Part, WeightFile, differs, weight_file
from workbench.writing.items import Item, firsts
from workbench.writing.progress import Meter
from workbench.writing.workers import Receipt, Task

if TYPE_CHECKING:
    from workbench.mapping import Plan

__all__ = [
    "INDICES",
    "SHARDED",
    "Shards",
    "check_asked",
    "check_beside",
    "is_shard",
    "kept_nbytes",
    "remove_kept",
    "sharded",
    "size_of",
    "split",
    "stored_nbytes",
]

INDICES: Final = {"safetensors": "model.safetensors.index.json", "pt": "pytorch_model.bin.index.json"}
"""The index of the shards of a format, by the one name that transformers and huggingface_hub look for."""

SHARDED: Final = tuple(INDICES)
"""The formats that are written in shards."""

_KEEPS_STORAGES: Final = ("pt",)
"""Those in which tied tensors are one storage: they go into one shard, for no storage reaches over two files."""

_SHARD: Final = re.compile(r"(.+)-[0-9]{5,}-of-[0-9]{5,}(\..+)")
_INDEX: Final = ".index.json"
_KEPT: Final = ".workbench_shards-"
_UNITS: Final = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY: Final = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}
_SIZE: Final = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*(?:([kmgt]i?)?b)?", re.IGNORECASE | re.ASCII)
_AT_WORK: Final[set[Path]] = set()
_AT_WORK_LOCK: Final = threading.Lock()
_ASKED_EVERY: Final = 0.1
"""Seconds between two looks at whether the export is cancelled, while others write."""


def size_of(size: int | str) -> int:
    """A size in bytes, as a number or in words: "5GB" (of 1000 MB), "500 MB", "2GiB" (of 1024 MiB).

    Raises `ExportError` where it is none, or nothing fits into it.

    >>> size_of("5GB"), size_of("1.5MiB"), size_of("4096")
    (5000000000, 1572864, 4096)
    """
    found = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    if found:
        unit = (found[2] or "").lower()
        number, _, rest = found[1].partition(".")
        scale = (_UNITS | _BINARY)[unit]
        n = int(number) * scale + int(rest or 0) * scale // int("1" + "0" * len(rest))
    else:
        n = size if isinstance(size, int) and not isinstance(size, bool) else 0
    if n < 1:
        raise ExportError(
            f"{printable(repr(size), 40)} is no size of a shard.",
            cause="It is a number of bytes above 0, or one with a unit: 5GB, 500MB, 2GiB.",
            next_step="Give such a size, or none for one file.",
            code="shard-size",
        )
    return n


def check_asked(formats: Sequence[str], size: int | str | None, executor: concurrent.futures.Executor | None) -> None:
    """Raise `ExportError` where shards are asked for in `formats` without any, or `size` is none."""
    if size is not None:
        size_of(size)
    if not set(SHARDED).intersection(formats) and (size is not None or executor is not None):
        raise ExportError(
            "Only .safetensors and .pt are written in shards, and by several processes.",
            cause=f"The formats asked for are {printable(', '.join(formats), 200) or 'none'}. Nothing was changed.",
            next_step="Add one of these two to the formats, or leave out the size of the shards (shard_size, --shards) "
            "and the processes (executor, --workers).",
            code="no-format-in-shards",
        )


def check_beside(folder: Path, names: Sequence[str], whole: str = "") -> None:
    """Raise `ExportError` where `folder` has other files of a format among `names` that loaders would take for it.

    They take one file before an index, and some take all shards that are there. `whole` is the name of all in one file
    where an export has none of its own for it.
    """
    if whole:
        _check_beside(folder, names, lambda name: name in (whole, whole + _INDEX) or _is_part(name, whole))
        return
    for format in SHARDED:
        if any(_is_of(name, format) for name in names):
            _check_beside(folder, names, functools.partial(_is_of, format=format))


def _check_beside(folder: Path, names: Sequence[str], is_of: Callable[[str], bool]) -> None:
    try:
        found = {entry.name for entry in os.scandir(folder)}
    except OSError:
        return
    others = sorted(name for name in found - set(names) if is_of(name))
    if others:
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        raise ExportError(
            f"{printable(others[0], 80)}{more} would stay beside the new files.",
            path=str(folder),
            cause="Loaders might take them for the model. Nothing was changed.",
            next_step="Remove them, or choose another folder.",
            code="other-shards",
        )


def _is_of(name: str, format: str) -> bool:
    """Whether a file of that name is the model in that format, or a part of it."""
    index = INDICES[format]
    return name in (FORMATS[format], index, index.removesuffix(_INDEX)) or is_shard(name, format)


def is_shard(name: str, format: str) -> bool:
    """Whether a file of that name is one of several that an export in `format` wrote."""
    return format in INDICES and _is_part(name, INDICES[format].removesuffix(_INDEX))


def _is_part(name: str, whole: str) -> bool:
    found = _SHARD.fullmatch(name)
    return found is not None and found[1] + found[2] == whole


def _shard_name(whole: str, n: int, count: int) -> str:
    """That of shard `n`, from 1, of `count`."""
    stem, suffix = os.path.splitext(whole)
    return f"{stem}-{n:05}-of-{count:05}{suffix}"


def split(items: Sequence[Item], size: int, *, keeps_storages: bool = False) -> list[list[Item]]:
    """The tensors of each shard, as huggingface_hub splits them.

    In their order; a new shard begins where the next tensor would pass `size`. One that is larger by itself gets a
    shard of its own, and those around it stay together. With `keeps_storages`, tied tensors stand where the first of
    them does, and take its bytes alone.
    """
    done: list[list[int]] = []
    open_: list[int] = []
    nbytes = 0
    for first, tied in _storages(items, keeps_storages=keeps_storages).items():
        n = items[first].nbytes
        if n > size:
            done.append(tied)
            continue
        if open_ and nbytes + n > size:
            done.append(open_)
            open_, nbytes = [], 0
        open_ += tied
        nbytes += n
    if open_ or not done:
        done.append(open_)
    return [[items[place] for place in sorted(places)] for places in done]


def stored_nbytes(items: Sequence[Item], format: str) -> int:
    """Bytes that the tensors take in files of that format: tied ones once, where it keeps them so."""
    storages = _storages(items, keeps_storages=format in _KEEPS_STORAGES)
    return sum(items[first].nbytes for first in storages)


def _storages(items: Sequence[Item], *, keeps_storages: bool) -> dict[int, list[int]]:
    """The places of the tensors that stay together, by that of the first one."""
    found: dict[int, list[int]] = {}
    for place, first in enumerate(firsts(items) if keeps_storages else range(len(items))):
        found.setdefault(first, []).append(place)
    return found


@dataclass(frozen=True)
class Shards:
    """The shards of a plan in one format and their index; or one file, where all fits into it.

    While they are written they lie in a hidden folder `kept`, which stays when the export does not get to its end: the
    same export, run again, takes the finished ones from there. `executor` writes them, or this process one by one.
    """

    format: str
    index: str
    items: tuple[Item, ...]
    tasks: tuple[Task, ...]
    files: tuple[WeightFile, ...]
    kept: Path
    executor: concurrent.futures.Executor | None = None
    verifies: bool = True

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Its files; the index is the last."""
        shards = tuple(file.name for file in self.files)
        return shards if len(shards) == 1 else (*shards, self.index)

    @cached_property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(item.nbytes for item in self.items)

    def write(self, folder: Path, meter: Meter) -> Crcs:
        """Write all shards, and read them back if that is wanted; what is finished already is only read back.

        An error that comes from a shard says how many are kept.
        """
        self._check_sources()
        if self.kept.is_symlink():
            raise ExportError(
                "Where the shards are kept until all are there, a link stands.",
                path=str(self.kept),
                cause="No export made it. Nothing was changed.",
                next_step="Remove it, or choose another folder.",
                code="kept-is-a-link",
            )
        self.kept.mkdir(mode=0o700, exist_ok=True)
        with _locked(self.kept):
            try:
                self._tidy()
                receipts = self._with_executor(meter) if self.executor is not None else self._one_by_one(meter)
                for file, receipt in zip(self.files, receipts, strict=True):
                    self._put(file.name, folder, receipt)
                    meter.digests[folder / file.name] = receipt["blake3"]
            except OSError as error:
                refusal = not_written(self.kept.parent, error)
                self._left(refusal)
                raise refusal from error
            except BaseException as error:
                self._left(error)
                raise
        if len(self.files) > 1:
            (folder / self.index).write_text(self._index(), encoding="ascii")
        return {name: crc for receipt in receipts for name, crc in receipt["crcs"].items()}

    def verify(self, folder: Path, crcs: Crcs, meter: Meter) -> None:
        """Each shard was read back when it was written; here the set is opened as a whole."""
        path = folder / self.names[-1]
        meter.begin(path.name, "verify")
        try:
            checkpoint = open_checkpoint(path)
        except WorkbenchError as error:
            raise differs(path, f"reading it again says: {error.title}") from error
        found = {tensor.key: (tensor.shape, tensor.dtype) for tensor in checkpoint.tensors}
        wanted = {item.name: (item.shape, item.dtype) for item in self.items}
        faults = [finding.text for finding in checkpoint.findings if finding.severity is Severity.ERROR]
        if found != wanted or len(checkpoint.tensors) != len(wanted) or faults:
            raise differs(path, "the shards do not hold the tensors that were written")

    def _one_by_one(self, meter: Meter) -> list[Receipt]:
        receipts = []
        for file, task in zip(self.files, self.tasks, strict=True):
            receipt = workers.finished(self.kept, file.name, task.digest, verify=self.verifies, meter=meter)
            if receipt is None:
                receipt = workers.write_items(self.kept, file, task.digest, verify=self.verifies, meter=meter)
            else:
                meter.add(self._counted(file))
            receipts.append(receipt)
        return receipts

    def _with_executor(self, meter: Meter) -> list[Receipt]:
        assert self.executor is not None
        stop = f"stop-{secrets.token_hex(8)}"
        where = os.path.abspath(self.kept)
        receipts: dict[int, Receipt] = {}
        pending: dict[concurrent.futures.Future[Receipt], int] = {}
        try:
            for n, task in enumerate(self.tasks):
                pending[self.executor.submit(workers.write_shard, replace(task, folder=where, stop=stop))] = n
            while pending:
                done, _ = concurrent.futures.wait(
                    pending, timeout=_ASKED_EVERY, return_when=concurrent.futures.FIRST_COMPLETED
                )
                meter.add(0)
                for future in done:
                    n = pending.pop(future)
                    receipts[n] = future.result()
                    meter.begin(self.files[n].name, "write")
                    meter.add(self._counted(self.files[n]))
        except BaseException as error:
            with contextlib.suppress(OSError):
                (self.kept / stop).touch()
            for future in pending:
                future.cancel()
            if isinstance(error, WorkbenchError | OSError | KeyboardInterrupt | SystemExit):
                raise
            raise _worker_failed(error) from error
        self._check_sources()
        return [receipts[n] for n in range(len(self.tasks))]

    def _check_sources(self) -> None:
        """What was opened here is what the workers read, and what a kept shard was read from."""
        for source in {id(source): source for item in self.items if (source := item.tensor.storage.source)}.values():
            source.check_unchanged()

    def _are_sources_there(self) -> bool:
        try:
            self._check_sources()
        except WorkbenchError:
            return False
        return True

    def _counted(self, file: WeightFile) -> int:
        return file.nbytes * (2 if self.verifies else 1)

    def _put(self, name: str, folder: Path, receipt: Receipt) -> None:
        """A second name for a shard in `folder`, so that it stays kept until the export is done."""
        path = self.kept / name
        if not path.is_file() or path.stat().st_size != receipt["nbytes"]:
            raise ExportError(
                f"A worker wrote {name}, but it is not there.",
                path=str(path),
                next_step="Choose a folder that all workers have under the same path.",
                code="worker-sees-no-folder",
            )
        try:
            os.link(path, folder / name)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            shutil.move(path, folder / name)

    def _tidy(self) -> None:
        """Remove what a killed process left of a shard."""
        for entry in os.scandir(self.kept):
            if entry.name.startswith(workers.PART_PREFIX):
                shutil.rmtree(entry.path, ignore_errors=True)

    @property
    def finished(self) -> list[Task]:
        """The tasks whose shard is kept from an earlier run."""
        return [task for task in self.tasks if workers.receipt_of(self.kept, task.file, task.digest)]

    def _left(self, error: BaseException) -> None:
        """Say what is kept: nothing where none is finished, or where no export can go on from there."""
        n = len(self.finished)
        if not n or not self._are_sources_there():
            shutil.rmtree(self.kept, ignore_errors=True)
        elif isinstance(error, WorkbenchError):
            shards = "1 shard is" if n == 1 else f"{n:,} shards are"
            kept = (
                f"{shards} finished, of {len(self.tasks):,}: the same export, run again, goes on from there. "
                f"Till then {'it lies' if n == 1 else 'they lie'} in {self.kept}."
            )
            error.next_step = f"{error.next_step} {kept}".strip()

    def _index(self) -> str:
        where = {item.name: file.name for file in self.files for item in file.items}
        nbytes = stored_nbytes(self.items, self.format)
        index = {"metadata": {"total_size": nbytes}, "weight_map": where}
        return json.dumps(index, indent=2, sort_keys=True) + "\n"


def sharded(
    format: str,
    plan: Plan,
    items: Sequence[Item],
    folder: Path,
    *,
    name: str = "",
    size: int | str | None,
    executor: concurrent.futures.Executor | None = None,
    verifies: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> Part:
    """The `items`, tensors of `plan`, in shards of `size` bytes at most, for an export into `folder`.

    What fits into one is one file, as without a size. `name` is that of the file if it is one, and those of shards and
    index come of it; unsaid, they are those of an export. `verifies` says whether what is written is read back. Raises
    `ExportError` where a tensor has no place in the format, or the executor's workers could not open the checkpoint.
    """
    keeps = format in _KEEPS_STORAGES
    groups = [list(items)] if size is None else split(items, size_of(size), keeps_storages=keeps)
    if executor is None and len(groups) == 1:
        return weight_file(format, items, name=name, metadata=metadata)
    count = len(groups)
    index = name + _INDEX if name else INDICES[format]
    whole = index.removesuffix(_INDEX)
    names = [name or FORMATS[format]] if count == 1 else [_shard_name(whole, n, count) for n in range(1, count + 1)]
    if count > 1 and not plain_name(names[0]):
        raise ExportError(
            "An index cannot list shards of this name, for not every system takes it for that of a file.",
            path=str(folder / name),
            cause="It is too long, or has a separator of folders, a colon or what is no text. Nothing was changed.",
            next_step="Choose another name, or leave out the size of the shards.",
            code="shard-name",
        )
    written = tuple(
        weight_file(format, group, name=each, metadata=metadata) for each, group in zip(names, groups, strict=True)
    )
    checkpoint = plan.checkpoint
    marks = _marks(plan)
    if marks is None and executor is not None:
        raise ExportError(
            "An executor's workers cannot open this checkpoint: it is in memory only.",
            path=checkpoint.path,
            next_step="Write it to a file and open that, or export without an executor.",
            code="source-in-memory",
        )
    # What is in memory only cannot be told from what was there an hour ago: nothing of it is found again.
    known = [secrets.token_hex(16)] if marks is None else marks
    places = {id(tensor): place for place, tensor in enumerate(checkpoint.tensors)}
    rows = {id(tensor): row for row, tensor in enumerate(plan.tensors)}
    tasks = []
    for file in written:
        is_plain = all(id(item.tensor) in places for item in file.items)
        at = places if is_plain else rows
        task = Task(
            source=os.path.abspath(checkpoint.path),
            fingerprint=checkpoint.fingerprint,
            size=checkpoint.size,
            mapping=None if is_plain else plan.mapping.to_json(),
            items=tuple((item.name, at[id(item.tensor)], item.transposed, item.cast) for item in file.items),
            metadata=dict(metadata or {}),
            format=format,
            file=file.name,
            verify=verifies,
        )
        tasks.append(replace(task, digest=task.digest_with(known)))
    digest = hashlib.sha256("".join(task.digest for task in tasks).encode()).hexdigest()
    kept = _place(folder) / f"{_prefix(folder / name)}{digest[:16]}"
    return Shards(format, index, tuple(items), tuple(tasks), written, kept, executor, verifies)


def kept_nbytes(parts: Sequence[object]) -> int:
    """Bytes of the shards among `parts` that are finished already, and take no new space."""
    return sum(
        (part.kept / task.file).stat().st_size for part in parts if isinstance(part, Shards) for task in part.finished
    )


def remove_kept(out: Path) -> None:
    """Remove what stopped exports into the folder `out`, or as that file, have left to go on from, where it can be."""
    folder = out.absolute()
    for place in {folder, *folder.parents[:2]}:
        with contextlib.suppress(OSError):
            for entry in list(os.scandir(place)):
                if entry.name.startswith(_prefix(folder)) and entry.is_dir(follow_symlinks=False):
                    # Under another name nobody goes on writing into it.
                    gone = place / f"{entry.name}-{secrets.token_hex(4)}"
                    os.rename(entry.path, gone)
                    shutil.rmtree(gone, ignore_errors=True)


def _place(folder: Path) -> Path:
    """Where the hidden folder lies, once the export is begun: on the file system of the files.

    So it is inside of a folder that exists, and beside one that is made as a whole.
    """
    folder = folder.absolute()
    if is_archive(folder):
        folder = folder.parent
    return folder if os.path.isdir(folder) else folder.parent


def _prefix(folder: Path) -> str:
    return f"{_KEPT}{hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:12]}-"


def _marks(plan: Plan) -> list[list[object]] | None:
    """What the system says of the files that the tensors lie in; None where some are in memory only."""
    found: dict[str, list[object]] = {}
    for tensor in plan.checkpoint.tensors:
        source = tensor.storage.source
        if source is None:
            continue
        if source.path is None:
            return None
        if source.path not in found:
            try:
                status = os.stat(source.path)
            except OSError:
                return None
            path = os.path.abspath(source.path)
            found[source.path] = [path, status.st_ino, status.st_size, status.st_mtime_ns]
    return list(found.values())


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one process at a time, and one thread of it, writes the shards of one export."""
    with _AT_WORK_LOCK:
        if folder in _AT_WORK:
            raise _running(folder)
        _AT_WORK.add(folder)
    descriptor = -1
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        if os.name == "posix":
            import fcntl

            # Not flock: processes forked from this one would hold it too, and may outlive it.
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                raise _running(folder) from None
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)
        with _AT_WORK_LOCK:
            _AT_WORK.discard(folder)


def _running(folder: Path) -> ExportError:
    return ExportError(
        "The same export is being written by another process or thread.",
        path=str(folder.parent),
        cause="Nothing was changed.",
        next_step="Wait until it is done, or cancel it.",
        code="export-running",
    )


def _worker_failed(error: BaseException) -> ExportError:
    said = str(error).strip().splitlines()
    words = f"{type(error).__name__}{': ' + printable(said[0], 300) if said else ''}"
    return ExportError(
        "A worker failed.",
        cause=f"It says {words}. Nothing was changed.",
        next_step="See that the workers run and have this package; then export again.",
        code="worker-failed",
    )
