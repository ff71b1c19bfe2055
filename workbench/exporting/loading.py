"""An export read back: checked against its mapping.json, then nested by the dots of the names."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from workbench.checkpoint import checkpoint_of, open_checkpoint
from workbench.core.tensor import DType, TensorRef, dtype_named
from workbench.errors import MappingError, OpenError, WorkbenchError, printable
from workbench.exporting import places
from workbench.exporting.contents import BURN_LAYOUT, KEEPS_TIES
from workbench.exporting.mapping_file import MAPPING
from workbench.exporting.places import ZIP_FAULTS, Place
from workbench.exporting.programs import PYTHON, RUST
from workbench.formats.npy_folder import INDEX
from workbench.mapping import Mapping
from workbench.writing import checksums, npy_folder, shards
from workbench.writing.files import FORMATS, TEXTS, unreadable
from workbench.writing.weights import npy_header, npz_dtype

Nested: TypeAlias = "dict[str, npt.NDArray[Any] | Nested]"

_TEXTS: Final = frozenset({*RUST, PYTHON, TEXTS["report"]})
"""Files for people: they may be edited, or taken out."""

_ORDER: Final = ("npz", "safetensors", "pt", "npy", "bpk", "mpk")
"""Values are taken from the first that is there: Burn's own come last, for they have another layout."""

_CHUNK: Final = 16 * 1024 * 1024

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Expected:
    """What mapping.json says of one tensor; `tied_to` is the name that has its values, "" where it has its own."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    numpy: np.dtype[Any]
    stored: np.dtype[Any]
    tied_to: str = ""

    @property
    def nbytes(self) -> int:
        n = self.stored.itemsize
        for size in self.shape:
            n *= size
        return n


def load_export(folder: str | os.PathLike[str]) -> Nested:
    """The arrays of an export, a folder or a zip, as dicts nested by the dots of their names, every bit as written.

    They come from model.npz or the first other file of weights that is there; two names that are tied, and written
    once, are one array. Raises `MappingError` where mapping.json is missing or wrong, `OpenError` where a file it
    lists is missing or is not the one that was exported.
    """
    with places.opened(Path(folder)) as place:
        path = place.path / MAPPING
        data = place.json(MAPPING)
        Mapping.from_json(data)
        assert isinstance(data, dict)
        files = _expected_files(data, path)
        found = {format: names for format in _ORDER if (names := [name for name in files if _is_of(name, format)])}
        if not found:
            raise _wrong("files", "it lists no file of weights", path)
        format, names = next(iter(found.items()))
        expected = _expected_tensors(data, path, format)
        for name, (nbytes, digest) in files.items():
            if name not in _TEXTS:
                _check_file(place, name, nbytes, digest)
        wanted = {each.name: each for each in expected if not each.tied_to}
        arrays = _read(place, format, names, wanted)
    for each in expected:
        if each.tied_to:
            if each.tied_to not in arrays:
                raise _wrong("rows", f"{printable(each.name, 200)!r} is tied to a name that is not there", path)
            arrays[each.name] = arrays[each.tied_to]
    return _nested({each.name: arrays[each.name] for each in expected}, path)


def _is_of(name: str, format: str) -> bool:
    if format == "npy":
        folder, _, file = name.partition("/")
        return folder == npy_folder.NAME and bool(npy_folder.OWN.fullmatch(file))
    return name == FORMATS[format] or shards.is_shard(name, format)


def _expected_files(data: dict[str, object], path: Path) -> dict[str, tuple[int, str]]:
    """Size and digest of each file, by name."""
    files: dict[str, tuple[int, str]] = {}
    for number, item in enumerate(_list(data, "files", path), start=1):
        place = f"files, entry {number}"
        name = _field(item, "name", str, place, path)
        digest = _field(item, checksums.FIELD, str, place, path)
        is_known = name in _TEXTS or name in shards.INDICES.values() or any(_is_of(name, format) for format in _ORDER)
        if not is_known or not checksums.is_digest(digest):
            raise _wrong(place, "it does not name a file of an export with its BLAKE3", path)
        if name in files:
            raise _wrong(place, "it names a file for the second time", path)
        files[name] = _count(_field(item, "nbytes", int, place, path), place, path), digest
    return files


def _expected_tensors(data: dict[str, object], path: Path, format: str) -> list[_Expected]:
    is_once = data.get("ties") == "once" and format not in KEEPS_TIES
    tensors: dict[str, _Expected] = {}
    for number, item in enumerate(_list(data, "rows", path), start=1):
        place = f"rows, entry {number}"
        if _field(item, "status", str, place, path) == "skipped":
            continue
        assert isinstance(item, dict)
        own = item.get(format) if format in BURN_LAYOUT else None
        if own is False:
            continue
        field = format if own is not None else "written"
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
        integers = npz_dtype(dtype) if format == "npz" else None
        if format == "npz" and item.get("npz_dtype") != integers:
            raise _wrong(place, f"its npz_dtype should be {integers or 'absent'}", path)
        if name in tensors:
            raise _wrong(place, f"the name {printable(name, 200)!r} stands there twice", path)
        stored = dtype.numpy if integers is None else np.dtype(integers)
        holder = written if own is not None else item
        tied = _field(holder, "tied_to", str, place, path) if is_once and "tied_to" in holder else ""
        tensors[name] = _Expected(name, shape, dtype, dtype.numpy, stored, tied)
    return list(tensors.values())


def _check_file(place: Place, name: str, nbytes: int, digest: str) -> None:
    if place.size(name) == nbytes and place.digest(name) == digest:
        return
    raise OpenError(
        "This file is not the one that was exported: its size or BLAKE3 differs from mapping.json.",
        path=str(place.path / name),
        cause="It was changed afterwards, cut off while copying, or an export over it was interrupted.",
        next_step="Export again, or copy the folder again.",
        code="export-changed",
    )


def _read(place: Place, format: str, names: list[str], wanted: dict[str, _Expected]) -> dict[str, npt.NDArray[Any]]:
    if format == "npz":
        return _read_npz(place, names[0], wanted)
    if format == "npy":
        with place.folder(npy_folder.NAME) as folder:
            return _read_npy(folder, {name.partition("/")[2] for name in names}, wanted)
    tensors = [tensor for name in names for tensor in checkpoint_of(place.source(name)).tensors]
    return _read_tensors(tensors, place.path / names[0], wanted)


def _read_npy(folder: Path, listed: set[str], expected: dict[str, _Expected]) -> dict[str, npt.NDArray[Any]]:
    path = folder / INDEX
    try:
        tensors = open_checkpoint(path).tensors
    except WorkbenchError as error:
        raise unreadable(path, f"{error.title} {error.cause}".strip().removesuffix(".")) from error
    for tensor in tensors:
        if tensor.unreadable:
            raise unreadable(folder, f"'{printable(tensor.key, 200)}': {tensor.unreadable}")
        if tensor.storage.id not in listed:
            raise unreadable(path, f"it names {tensor.storage.id}, which mapping.json does not list")
    return _read_tensors(list(tensors), path, expected)


def _read_tensors(
    tensors: Sequence[TensorRef], path: Path, expected: dict[str, _Expected]
) -> dict[str, npt.NDArray[Any]]:
    if len(tensors) != len(expected) or {tensor.key for tensor in tensors} != set(expected):
        raise unreadable(path, "its tensors are not those that mapping.json lists")
    for tensor in tensors:
        wanted = expected[tensor.key]
        if (tensor.shape, tensor.dtype) != (wanted.shape, wanted.dtype):
            raise unreadable(path, f"'{wanted.name}' has not the shape or dtype that mapping.json says")
    return {tensor.key: tensor.read() for tensor in tensors}


def _read_npz(place: Place, name: str, expected: dict[str, _Expected]) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {}
    path = place.path / name
    try:
        with zipfile.ZipFile(place.stream(name)) as archive:
            entries = archive.infolist()
            places.check_apart(archive, place.size(path.name), path)
            names = [entry.filename.removesuffix(".npy") for entry in entries]
            if sorted(names) != sorted(expected):
                raise unreadable(path, "its tensors are not those that mapping.json lists")
            for name, entry in zip(names, entries, strict=True):
                arrays[name] = _read_entry(archive, entry, expected[name], path, place.size(path.name))
    except ZIP_FAULTS as error:
        raise unreadable(path, str(error)) from error
    return arrays


def _read_entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, expected: _Expected, path: Path, limit: int
) -> npt.NDArray[Any]:
    """One array. The header is compared with the one that must stand there, never parsed."""
    header = npy_header(expected.stored, expected.shape)
    size = len(header) + expected.nbytes
    fits = entry.file_size == entry.compress_size == size <= limit
    if entry.compress_type != zipfile.ZIP_STORED or not fits:
        raise unreadable(path, f"'{expected.name}' has not the size that mapping.json says")
    with archive.open(entry) as file:
        if file.read(len(header)) != header:
            raise unreadable(path, f"'{expected.name}' has not the shape or dtype that mapping.json says")
        flat = np.empty(expected.nbytes, np.uint8)
        view = flat.data
        at = 0
        while at < expected.nbytes:
            chunk = file.read(min(_CHUNK, expected.nbytes - at))
            if not chunk:
                raise unreadable(path, f"'{expected.name}' ends early")
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
