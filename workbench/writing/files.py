"""The parts of an export: which files each makes, who writes them, and whether they read back."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

from workbench.burn import DEFAULT_VERSION
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.errors import ExportError, OpenError, WorkbenchError, printable
from workbench.writing import burnpack_file, mpk_file, output, torch_pt, weights
from workbench.writing.checksums import crc32
from workbench.writing.items import Item, check_sources, pieces
from workbench.writing.progress import Meter

if TYPE_CHECKING:
    from workbench.core.tensor import TensorRef
    from workbench.target import Target

__all__ = ["DEFAULT_FORMATS", "FORMATS", "TEXTS", "Crcs", "Part", "WeightFile", "differs", "fault", "weight_file"]

FORMATS: Final = {
    "npz": "model.npz",
    "safetensors": "model.safetensors",
    "pt": "model.pt",
    "bpk": "model.bpk",
    "mpk": "model.mpk",
    "npy": "npy",
}
"""What can be asked for, and the name of its file, in the order in which they are written."""

TEXTS: Final = {"rust": "load.rs", "python": "load.py", "report": "REPORT.md"}
"""What can be asked for beside weights, and the name of its first file."""

DEFAULT_FORMATS: Final = ("npz", "safetensors", *TEXTS)

Crcs = Mapping[str, int]
"""The CRC-32 of the bytes of each tensor, as they were written, by name."""

_Writer = Callable[[Sequence[Item], IO[bytes]], dict[str, int]]


class Part(Protocol):
    """Some of what an export writes: a file, several that belong together, or a folder of them."""

    @property
    def format(self) -> str:
        """The word it is asked for by."""

    @property
    def names(self) -> tuple[str, ...]:
        """The files and folders that it makes; what makes the others count is the last."""

    @property
    def items(self) -> tuple[Item, ...]:
        """The tensors in it, under their names there."""

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""

    def write(self, folder: Path, meter: Meter) -> Crcs:
        """Write it into `folder`, where nothing of it is."""

    def verify(self, folder: Path, crcs: Crcs, meter: Meter) -> None:
        """Read again what was written. `ExportError` where it is not that."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """All tensors in one file."""

    format: str
    name: str
    items: tuple[Item, ...]
    writer: _Writer
    notes: tuple[str, ...] = ()
    """What the format changes by itself, a line each."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its name."""
        return (self.name,)

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(item.nbytes for item in self.items)

    def write(self, folder: Path, meter: Meter) -> Crcs:
        """Write it into `folder`, where nothing of that name is."""
        meter.begin(self.name, "write")
        with output.created(folder / self.name, meter, self.nbytes) as file:
            crcs = self.writer(self.items, file)
        check_sources(self.items)
        return crcs

    def verify(self, folder: Path, crcs: Crcs, meter: Meter) -> None:
        """Open what was written, and compare keys, shapes, dtypes and bytes."""
        meter.begin(self.name, "verify")
        _verify(folder / self.name, self, crcs, meter)


def weight_file(
    format: str,
    items: Sequence[Item],
    *,
    name: str = "",
    burn: str | None = None,
    metadata: Mapping[str, str] | None = None,
    target: Target | Checkpoint | None = None,
    precision: mpk_file.Precision = "full",
) -> WeightFile:
    """The file of that format, refused by `ExportError` where it cannot hold one of the tensors.

    `burn` is the version that is to read a .bpk or .mpk: without one there is no .mpk, and a .bpk has the layout of the
    default version, which is told. `metadata` is for safetensors alone. An .mpk has the fields that `target` tells, in
    their order, and so perhaps not all of `items`; its floats and integers get the dtypes of `precision`.
    """
    writer: _Writer
    notes: tuple[str, ...] = ()
    if format == "npz":
        writer = weights.write_npz
    elif format == "safetensors":
        writer = functools.partial(weights.write_safetensors, metadata=metadata)
    elif format == "pt":
        torch_pt.check_pt(items)
        writer = torch_pt.write_pt
    elif format == "bpk":
        version = DEFAULT_VERSION if burn is None else burn
        burnpack_file.check_bpk(items, version)
        if burn is None:
            notes = (f"written as Burn {version} does it, for no version is chosen",)
        writer = functools.partial(burnpack_file.write_bpk, version=version)
    elif format == "mpk":
        record = mpk_file.mpk_record(items, target, version=burn, precision=precision)
        writer = functools.partial(_write_record, record)
        return WeightFile(format, name or FORMATS[format], record.items, writer, record.notes)
    else:
        raise ExportError(
            f"There is no format {printable(repr(format), 40)} to export to.",
            cause=f"Those there are: {', '.join(FORMATS)}, and the texts {', '.join(TEXTS)}.",
            next_step="Choose one of them.",
            code="export-format",
        )
    if format in ("npz", "safetensors"):
        weights.check(items, [format])
    return WeightFile(format, name or FORMATS[format], tuple(items), writer, notes)


def _write_record(record: mpk_file.Record, _: Sequence[Item], file: IO[bytes]) -> dict[str, int]:
    return mpk_file.write_mpk(record, file)


def _verify(path: Path, file: WeightFile, crcs: Crcs, meter: Meter) -> None:
    if file.format == "npz" and not file.items:
        return  # A zip without entries is no checkpoint.
    try:
        checkpoint = open_checkpoint(path)
        found = {tensor.key: tensor for tensor in checkpoint.tensors}
        if len(checkpoint.tensors) != len(file.items) or found.keys() != {item.name for item in file.items}:
            raise differs(path, "it does not hold the tensors that were written")
        _check_all(path, file, found, crcs, meter)
    except ExportError:
        raise
    except WorkbenchError as error:
        raise differs(path, f"reading it again says: {error.title}") from error


def _check_all(path: Path, file: WeightFile, found: Mapping[str, TensorRef], crcs: Crcs, meter: Meter) -> None:
    """In two threads, each taking the next tensor."""
    waiting = iter(file.items)

    def check() -> None:
        try:
            for item in waiting:
                if wrong := fault(found[item.name], item, file.format, crcs[item.name], meter):
                    raise differs(path, f"'{printable(item.name, 200)}' has another {wrong}")
        finally:
            deque(waiting, maxlen=0)  # Where one fails, the other has no more to do.

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(check)
        check()
        other.result()


def fault(tensor: TensorRef, item: Item, format: str, crc: int, meter: Meter) -> str:
    """In what a tensor of a file that was written is not that of `item`: shape, dtype or value; "" where it is."""
    dtype = weights.npz_dtype(item.dtype) if format == "npz" else None
    if tensor.shape != item.shape:
        return "shape"
    if tensor.dtype.name != (dtype or item.dtype.name):
        return "dtype"
    read = 0
    for piece in pieces(Item(item.name, tensor)):
        read = crc32(piece, read)
        meter.add(len(piece))
    return "" if read == crc else "value"


def unreadable(path: Path, cause: str) -> OpenError:
    """The error for an export that cannot be read again, now that it is wanted."""
    return OpenError(
        "The export cannot be read.",
        path=str(path),
        cause=f"{cause[:1].upper()}{cause[1:]}.",
        next_step="Export again.",
        code="export-unreadable",
    )


def differs(path: Path, cause: str) -> ExportError:
    """The error for a file that does not read back as it was written."""
    return ExportError(
        f"{path.name} was written, but does not read back as it should.",
        path=str(path),
        cause=f"{cause[:1].upper()}{cause[1:].removesuffix('.')}. Nothing was changed.",
        next_step="Export again; if it happens again, the disk may be at fault.",
        code="not-verified",
    )
