"""Tensors as .npy files in a folder, for numpy alone. No file is named by a key: an index says which is which."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workbench.checkpoint import checkpoint_of
from workbench.core.source import FileSource
from workbench.core.tensor import CHUNK, MAX_RANK, DType
from workbench.errors import OpenError, WorkbenchError, printable
from workbench.formats.strict_json import JsonProblem, parse
from workbench.writing import checksums, output
from workbench.writing import items as items_
from workbench.writing.files import Crcs, differs, fault, unreadable
from workbench.writing.items import Item, check_each
from workbench.writing.progress import Meter
from workbench.writing.weights import npy_header, npz_dtype

__all__ = ["INDEX", "NAME", "OWN", "NpyFolder", "npy_folder", "read_npy"]

NAME: Final = "npy"
INDEX: Final = "index.json"
_SCHEMA: Final = "checkpoint-workbench/npy"
_VERSION: Final = 1
_FILE: Final = re.compile(r"[0-9]{6,9}\.npy")
OWN: Final = re.compile(rf"{_FILE.pattern}|{re.escape(INDEX)}")
"""What such a folder has in it when an export wrote it."""


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
        for name, file, item in self._files():
            header = npy_header(_stored(item.dtype), item.shape)
            with output.created(place / file, meter, item.nbytes) as out:
                out.write(header)
                crcs[name] = items_.copy(item, out)
            tensors[name] = _facts(item, file, meter.digests.pop(place / file))
        items_.check_sources(self.items)
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(facts)}" for name, facts in tensors.items())
        head = f'{{"schema": {json.dumps(_SCHEMA)}, "version": {_VERSION}, "tensors": {{'
        text = f"{head}\n{lines}\n}}}}\n" if lines else f"{head}}}}}\n"
        with output.created(place / INDEX, meter, 0) as out:
            out.write(text.encode("ascii"))
        return crcs

    def verify(self, folder: Path, crcs: Crcs, meter: Meter) -> None:
        """Read each file again."""
        meter.begin(self.name, "verify")
        for name, file, item in self._files():
            path = folder / self.name / file
            try:
                found = checkpoint_of(FileSource(path)).tensors
                wrong = fault(found[0], item, "npz", crcs[name], meter)
            except WorkbenchError as error:
                raise differs(path, f"reading it again says: {error.title}") from error
            if wrong:
                raise differs(path, f"'{printable(name, 200)}' has another {wrong}")

    def _files(self) -> Iterator[tuple[str, str, Item]]:
        for n, item in enumerate(self.items):
            yield item.name, f"{n:06}.npy", item


def npy_folder(items: Sequence[Item]) -> NpyFolder:
    """The folder of these tensors. Raises `ExportError` where numpy has no dtype for one."""
    check_each(items, lambda item: "" if item.dtype.numpy is not None else "numpy has no such dtype", "an .npy file")
    return NpyFolder(tuple(items))


def read_npy(folder: Path, wanted: Mapping[str, tuple[tuple[int, ...], DType]]) -> dict[str, npt.NDArray[Any]]:
    """The arrays in the folder of an export, by name: those of `wanted`, with its shapes and dtypes.

    Raises `OpenError` where the folder holds others, or a file is not the one that the index says.
    """
    tensors = _index(folder / INDEX)
    if tensors.keys() != wanted.keys():
        raise unreadable(folder / INDEX, "its tensors are not those that mapping.json lists")
    arrays = {}
    for name, (shape, dtype) in wanted.items():
        arrays[name] = _read(folder, tensors[name], name, shape, dtype)
    return arrays


def _index(path: Path) -> dict[str, object]:
    try:
        source = FileSource(path)
        text = bytearray(source.size)
        _fill(text, source, 0)
        root = parse(bytes(text))
    except WorkbenchError as error:
        raise unreadable(path, error.title.removesuffix(".")) from error
    except JsonProblem as problem:
        raise unreadable(path, f"in its text, {problem}") from None
    tensors = root.get("tensors") if isinstance(root, dict) else None
    if not isinstance(root, dict) or root.get("schema") != _SCHEMA or not isinstance(tensors, dict):
        raise unreadable(path, "it is no index of an export")
    if root.get("version") != _VERSION:
        raise unreadable(path, f"its version is {printable(str(root.get('version')), 40)}, not {_VERSION}")
    return tensors


def _read(folder: Path, facts: object, name: str, shape: tuple[int, ...], dtype: DType) -> npt.NDArray[Any]:
    """One array. The header is compared with the one that must stand there, never parsed."""
    file, wanted = (facts.get("file"), facts.get(checksums.FIELD)) if isinstance(facts, dict) else (None, None)
    if not isinstance(file, str) or not _FILE.fullmatch(file) or not isinstance(wanted, str):
        raise unreadable(folder / INDEX, f"it says of '{printable(name, 200)}' no file with its BLAKE3")
    path = folder / file
    assert dtype.numpy is not None
    if len(shape) > MAX_RANK:
        raise unreadable(path, f"'{printable(name, 200)}' has {len(shape):,} dimensions, numpy takes {MAX_RANK}")
    header = npy_header(_stored(dtype), shape)
    size = dtype.itemsize * math.prod(shape)
    digest = checksums.new_digest()
    digest.update(header)
    try:
        source = FileSource(path)
        is_whole = source.size == len(header) + size and source.read_exact(0, len(header)) == header
        flat = np.empty(size if is_whole else 0, np.uint8)
        _fill(flat.data, source, len(header))
    except WorkbenchError as error:
        raise unreadable(path, error.title.removesuffix(".")) from error
    digest.update(flat.data)
    if not is_whole or digest.hexdigest() != wanted:
        raise OpenError(
            f"This file is not the one that was exported for '{printable(name, 200)}'.",
            path=str(path),
            cause="It was changed afterwards, or cut off while copying.",
            next_step="Export again, or copy the folder again.",
            code="export-changed",
        )
    return flat.view(dtype.numpy).reshape(shape)


def _fill(out: bytearray | memoryview, source: FileSource, begin: int) -> None:
    view = memoryview(out)
    for at in range(0, len(view), CHUNK):
        source.read_into(begin + at, view[at : at + CHUNK])


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
