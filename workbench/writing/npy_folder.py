"""Tensors as .npy files in a folder, for numpy alone. No file is named by a key: an index says which is which."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from workbench.checkpoint import open_checkpoint
from workbench.core.tensor import DType
from workbench.errors import ExportError, WorkbenchError, printable
from workbench.finding import Severity
from workbench.formats.limits import MAX_INDEX
from workbench.formats.npy_folder import FILE, INDEX, SCHEMA, VERSION
from workbench.writing import checksums, output
from workbench.writing import items as items_
from workbench.writing.files import Crcs, differs, fault
from workbench.writing.items import Item, check_each
from workbench.writing.progress import Meter
from workbench.writing.weights import npy_header, npz_dtype

__all__ = ["NAME", "OWN", "NpyFolder", "npy_folder"]

NAME: Final = "npy"
OWN: Final = re.compile(rf"{FILE.pattern}|{re.escape(INDEX)}", re.ASCII)
"""What such a folder has in it when an export wrote it."""

_AT_ONCE: Final = 1 << 20
"""Bytes up to which a file is put together in memory: for thousands of small ones, all else costs more than they do."""

_LINE: Final = 240
"""Bytes of a line of the index without name and shape, at most."""

_WIDEST: Final = 12
"""Bytes that JSON takes for one character, at most."""


@dataclass(frozen=True)
class NpyFolder:
    """`npy/000000.npy` and so on, in the order of the items, and `npy/index.json`.

    In the index, "tensors" is an object from name to `file`, `shape`, `dtype`, `blake3` (of the file), and `stored`
    where numpy has no such dtype by itself: the unsigned integers that hold its bits.
    """

    items: tuple[Item, ...]
    name: str = NAME

    @property
    def format(self) -> str:
        """The word it is asked for by."""
        return "npy"

    @property
    def names(self) -> tuple[str, ...]:
        """The folder."""
        return (self.name,)

    @cached_property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(item.nbytes for item in self.items)

    def write(self, folder: Path, meter: Meter) -> Crcs:
        """Make the folder in `folder`, where nothing of its name is."""
        meter.begin(self.name, "write")
        place = folder / self.name
        place.mkdir()
        crcs, tensors = {}, {}
        for item, path in zip(self.items, self._paths(place), strict=True):
            write = _write_at_once if item.nbytes <= _AT_ONCE else _write
            crcs[item.name] = write(item, path, meter)
            tensors[item.name] = _facts(item, path.name, meter.digests[path])
        items_.check_sources(self.items)
        lines = ",\n".join(_line(name, facts) for name, facts in tensors.items())
        head = f'{{"schema": {json.dumps(SCHEMA)}, "version": {VERSION}, "tensors": {{'
        text = f"{head}\n{lines}\n}}}}\n" if lines else f"{head}}}}}\n"
        with output.created(place / INDEX, meter, 0) as out:
            out.write(text.encode("ascii"))
        return crcs

    def verify(self, folder: Path, crcs: Crcs, meter: Meter) -> None:
        """Open the folder, and compare keys, shapes, dtypes and bytes."""
        meter.begin(self.name, "verify")
        place = folder / self.name
        try:
            checkpoint = open_checkpoint(place)
            if [*checkpoint.tensors.keys] != [item.name for item in self.items]:
                raise differs(place / INDEX, "it does not list the tensors that were written")
            for finding in checkpoint.findings:
                if finding.severity is not Severity.NOTE:
                    raise differs(place, finding.text)
            for item, tensor in zip(self.items, checkpoint.tensors, strict=True):
                if wrong := fault(tensor, item, "npy", crcs[item.name], meter):
                    raise differs(place, f"'{printable(item.name, 200)}' has another {wrong}")
        except ExportError:
            raise
        except WorkbenchError as error:
            raise differs(place, f"reading it again says: {error.title}") from error

    def _paths(self, place: Path) -> Iterator[Path]:
        for n in range(len(self.items)):
            yield place / f"{n:06}.npy"


def npy_folder(items: Sequence[Item]) -> NpyFolder:
    """The folder of these tensors. Raises `ExportError` where numpy has no dtype for one."""
    check_each(items, lambda item: "" if item.dtype.numpy is not None else "numpy has no such dtype", "an .npy file")
    _check_index(items)
    return NpyFolder(tuple(items))


def _check_index(items: Sequence[Item]) -> None:
    if sum(_LINE + len(item.name) for item in items) < MAX_INDEX // _WIDEST:
        return
    digest = checksums.new_digest().hexdigest()
    nbytes = _LINE + sum(len(_line(item.name, _facts(item, f"{n:06}.npy", digest))) + 2 for n, item in enumerate(items))
    if nbytes > MAX_INDEX:
        raise ExportError(
            f"The names and shapes make {NAME}/{INDEX} too long.",
            cause=f"It takes {nbytes:,} bytes for {len(items):,} tensors, readers stop at {MAX_INDEX:,}. "
            "Nothing was changed.",
            next_step="Leave tensors out, shorten the names with a rule, or choose another format.",
            code="index-too-large",
        )


def _write(item: Item, path: Path, meter: Meter) -> int:
    """One file, its digest in `meter`; the CRC-32 of its values."""
    with output.created(path, meter, item.nbytes) as out:
        out.write(_header(item))
        return items_.copy(item, out)


def _write_at_once(item: Item, path: Path, meter: Meter) -> int:
    """The same of a small one, by one call of the system."""
    data = bytearray(_header(item))
    crc = 0
    for piece in items_.pieces(item):
        data += piece
        crc = checksums.crc32(piece, crc)
    with open(path, "xb") as file:
        file.write(data)
    digest = checksums.new_digest()
    digest.update(data)
    meter.digests[path] = digest.hexdigest()
    meter.add(item.nbytes)
    return crc


def _header(item: Item) -> bytes:
    return npy_header(_stored(item.dtype), item.shape)


def _line(name: str, facts: dict[str, object]) -> str:
    return f"  {json.dumps(name)}: {json.dumps(facts)}"


def _facts(item: Item, file: str, digest: str) -> dict[str, object]:
    facts: dict[str, object] = {"file": file, "shape": list(item.shape), "dtype": item.dtype.name}
    stored = npz_dtype(item.dtype)
    return facts | ({} if stored is None else {"stored": stored}) | {checksums.FIELD: digest}


def _stored(dtype: DType) -> np.dtype[Any]:
    stored = npz_dtype(dtype)
    if stored is None:
        assert dtype.numpy is not None
        return dtype.numpy
    return np.dtype(stored)
