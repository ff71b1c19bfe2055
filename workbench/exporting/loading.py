"""An export read back: checked against its mapping.json, then nested by the dots of the names."""

from __future__ import annotations

import os
import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from workbench.checkpoint import open_checkpoint
from workbench.core.tensor import DType, dtype_named
from workbench.errors import MappingError, OpenError, WorkbenchError, printable
from workbench.exporting.files import FORMATS
from workbench.exporting.weights import npy_header, npz_dtype, sha256_of
from workbench.mapping import Mapping, persist

Nested: TypeAlias = "dict[str, npt.NDArray[Any] | Nested]"

_NPZ: Final = "model.npz"
_NAMES: Final = tuple(FORMATS.values())
"""The files an export may have; values are taken from the first that is there."""

_BURN: Final = FORMATS["bpk"]
_CHUNK: Final = 16 * 1024 * 1024
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_ZIP_FAULTS: Final = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
    struct.error,
    zipfile.BadZipFile,
)
"""What zipfile and numpy raise over a broken file; NotImplementedError is a RuntimeError."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Expected:
    """What mapping.json says of one tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    numpy: np.dtype[Any]
    stored: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        n = self.stored.itemsize
        for size in self.shape:
            n *= size
        return n


def load_export(folder: str | os.PathLike[str]) -> Nested:
    """The arrays of an export, as dicts nested by the dots of their names; bfloat16 and float8 bit for bit.

    Raises `MappingError` where mapping.json is missing or wrong, `OpenError` where a file it lists is missing
    or is not the one that was exported.
    """
    folder = Path(folder)
    path = folder / "mapping.json"
    data = persist.read_json(path)
    Mapping.from_json(data)
    assert isinstance(data, dict)
    files = _expected_files(data, path)
    first = min((name for name, _, _ in files), key=_NAMES.index)
    expected = _expected_tensors(data, path, first)
    for name, nbytes, sha256 in files:
        _check_file(folder / name, nbytes, sha256)
    arrays = _read_npz(folder / first, expected) if first == _NPZ else _read_checkpoint(folder / first, expected)
    return _nested(arrays, path)


def _expected_files(data: dict[str, object], path: Path) -> list[tuple[str, int, str]]:
    files = []
    for number, item in enumerate(_list(data, "files", path), start=1):
        place = f"files, entry {number}"
        name = _field(item, "name", str, place, path)
        sha256 = _field(item, "sha256", str, place, path)
        if name not in _NAMES or not _SHA256.fullmatch(sha256):
            raise _wrong(place, "it does not name a file of an export with its SHA-256", path)
        files.append((name, _count(_field(item, "nbytes", int, place, path), place, path), sha256))
    names = [name for name, _, _ in files]
    if not names or len(set(names)) < len(names):
        raise _wrong("files", f"it should list some of {', '.join(_NAMES)}, each once", path)
    return files


def _expected_tensors(data: dict[str, object], path: Path, file: str) -> dict[str, _Expected]:
    tensors: dict[str, _Expected] = {}
    for number, item in enumerate(_list(data, "rows", path), start=1):
        place = f"rows, entry {number}"
        if _field(item, "status", str, place, path) == "skipped":
            continue
        assert isinstance(item, dict)
        field = "bpk" if file == _BURN and item.get("bpk") is not None else "written"
        changed = item.get(field) is not None
        written = _field(item, field, dict, place, path) if changed else item
        name = _field(written, "name" if changed else "remapped", str, place, path)
        shape = tuple(_count(size, place, path) for size in _field(written, "shape", list, place, path))
        said = _field(written, "dtype", str, place, path)
        try:
            dtype = dtype_named(said)
        except (KeyError, ValueError, WorkbenchError):
            raise _wrong(place, f"its dtype {printable(said, 40)!r} is not known", path) from None
        if dtype.numpy is None:
            raise _wrong(place, f"its dtype {printable(said, 40)!r} has no numpy array", path)
        integers = npz_dtype(dtype) if file == _NPZ else None
        if file == _NPZ and item.get("npz_dtype") != integers:
            raise _wrong(place, f"its npz_dtype should be {integers or 'absent'}", path)
        if name in tensors:
            raise _wrong(place, f"the name {printable(name, 200)!r} stands there twice", path)
        stored = dtype.numpy if integers is None else np.dtype(integers)
        tensors[name] = _Expected(name, shape, dtype, dtype.numpy, stored)
    return tensors


def _check_file(path: Path, nbytes: int, sha256: str) -> None:
    try:
        if not path.is_file():
            raise OpenError(
                "The export is incomplete: this file is missing.",
                path=str(path),
                next_step="Export again.",
                code="export-incomplete",
            )
        if path.stat().st_size == nbytes and sha256_of(path) == sha256:
            return
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    raise OpenError(
        "This file is not the one that was exported: its size or SHA-256 differs from mapping.json.",
        path=str(path),
        cause="It was changed afterwards, cut off while copying, or an export over it was interrupted.",
        next_step="Export again, or copy the folder again.",
        code="export-changed",
    )


def _read_checkpoint(path: Path, expected: dict[str, _Expected]) -> dict[str, npt.NDArray[Any]]:
    checkpoint = open_checkpoint(path)
    if len(checkpoint.tensors) != len(expected) or set(checkpoint) != set(expected):
        raise _unreadable(path, "its tensors are not those that mapping.json lists")
    for tensor in checkpoint.tensors:
        wanted = expected[tensor.key]
        if (tensor.shape, tensor.dtype) != (wanted.shape, wanted.dtype):
            raise _unreadable(path, f"'{wanted.name}' has not the shape or dtype that mapping.json says")
    return {tensor.key: tensor.read() for tensor in checkpoint.tensors}


def _read_npz(path: Path, expected: dict[str, _Expected]) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename.removesuffix(".npy") for entry in entries]
            if sorted(names) != sorted(expected):
                raise _unreadable(path, "its tensors are not those that mapping.json lists")
            for name, entry in zip(names, entries, strict=True):
                arrays[name] = _read_entry(archive, entry, expected[name], path)
    except (
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        OverflowError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:
        raise _unreadable(path, str(error)) from error
    return arrays


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, expected: _Expected, path: Path) -> npt.NDArray[Any]:
    """One array. The header is compared with the one that must stand there, never parsed."""
    header = npy_header(expected.stored, expected.shape)
    size = len(header) + expected.nbytes
    fits = entry.file_size == entry.compress_size == size <= path.stat().st_size
    if entry.compress_type != zipfile.ZIP_STORED or not fits:
        raise _unreadable(path, f"'{expected.name}' has not the size that mapping.json says")
    with archive.open(entry) as file:
        if file.read(len(header)) != header:
            raise _unreadable(path, f"'{expected.name}' has not the shape or dtype that mapping.json says")
        flat = np.empty(expected.nbytes, np.uint8)
        view = flat.data
        at = 0
        while at < expected.nbytes:
            chunk = file.read(min(_CHUNK, expected.nbytes - at))
            if not chunk:
                raise _unreadable(path, f"'{expected.name}' ends early")
            view[at : at + len(chunk)] = chunk
            at += len(chunk)
        file.read(1)  # the end of an entry is where its CRC is compared
    return flat.view(expected.numpy).reshape(expected.shape)


def _nested(arrays: dict[str, npt.NDArray[Any]], path: Path) -> Nested:
    root: Nested = {}
    for name, array in arrays.items():
        *outer, last = name.split(".")
        level = root
        for segment in outer:
            below = level.setdefault(segment, {})
            if not isinstance(below, dict):
                raise _wrong("rows", f"'{printable(name, 200)}' lies below the name of a tensor", path)
            level = below
        if last in level:
            raise _wrong("rows", f"'{printable(name, 200)}' is a tensor and has names below it", path)
        level[last] = array
    return root


def _list(data: dict[str, object], name: str, path: Path) -> list[object]:
    value = data.get(name)
    if not isinstance(value, list):
        raise MappingError(
            f"This mapping belongs to no export: it has no list of {name}.",
            path=str(path),
            next_step="Choose a folder that an export wrote.",
            code="mapping-without-export",
        )
    return value


def _field(item: object, name: str, kind: type[_T], place: str, path: Path) -> _T:
    value = item.get(name) if isinstance(item, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _wrong(place, f"its field {name} is missing or of the wrong kind", path)
    return value


def _count(value: object, place: str, path: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise _wrong(place, f"{printable(str(value)[:40])} is no size", path)
    return value


def _wrong(place: str, cause: str, path: Path) -> MappingError:
    return MappingError(
        f"This mapping.json was not written like this: {cause}.",
        path=str(path),
        place=place,
        next_step="Export again, or take the mapping.json that belongs to these files.",
        code="mapping-field",
    )


def _unreadable(path: Path, cause: str) -> OpenError:
    return OpenError(
        "The weights cannot be read.",
        path=str(path),
        cause=f"{cause[:1].upper()}{cause[1:]}.",
        next_step="Export again.",
        code="export-unreadable",
    )
