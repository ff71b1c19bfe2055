"""Tensors as .npz and .safetensors, one tensor in memory at a time, the same bytes each time."""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import IO, Final

import numpy as np

from workbench.core.tensor import DType
from workbench.errors import ExportError
from workbench.writing.items import Item, check_each, copy
from workbench.writing.zip_writer import ZipWriter

_SAFETENSORS: Final = (
    ("uint64", "U64"),
    ("int64", "I64"),
    ("float64", "F64"),
    ("complex64", "C64"),
    ("float32", "F32"),
    ("uint32", "U32"),
    ("int32", "I32"),
    ("bfloat16", "BF16"),
    ("float16", "F16"),
    ("uint16", "U16"),
    ("int16", "I16"),
    ("float8_e5m2fnuz", "F8_E5M2FNUZ"),
    ("float8_e4m3fnuz", "F8_E4M3FNUZ"),
    ("float8_e8m0fnu", "F8_E8M0"),
    ("float8_e4m3fn", "F8_E4M3"),
    ("float8_e5m2", "F8_E5M2"),
    ("int8", "I8"),
    ("uint8", "U8"),
    ("bool", "BOOL"),
)
"""Our names and the format's, in the order in which the reference writer (safetensors 0.8.0) sorts them."""

_CODES: Final = dict(_SAFETENSORS)
_RANKS: Final = {name: rank for rank, (name, _) in enumerate(_SAFETENSORS)}
_MAX_HEADER: Final = 100_000_000
_METADATA: Final = {"format": "pt"}
"""What transformers wants to see before it loads a file."""

_MAX_ZIP_NAME: Final = 65_535
_NPY: Final = ".npy"
_ALIGNMENT: Final = 64
"""Of entries and, as the headers of .npy are a multiple of it too, of values."""
_WHERE: Final = {"safetensors": "a .safetensors file", "npz": "an .npz file"}


def npz_dtype(dtype: DType) -> str | None:
    """The unsigned integers that hold `dtype` in an .npz ("uint16" for bfloat16); None where numpy has it."""
    if dtype.numpy is None or dtype.numpy.isbuiltin == 1:
        return None
    return f"uint{dtype.itemsize * 8}"


def check(items: Sequence[Item], formats: Collection[str] = ("npz", "safetensors")) -> None:
    """Raise `ExportError`, naming each tensor, where a value or a name has no place in one of the formats."""
    asked = [name for name in _WHERE if name in formats]
    refusals = [_REFUSALS[name] for name in asked]
    where = " or ".join(_WHERE[name] for name in asked)
    check_each(items, lambda item: next(filter(None, (refusal(item) for refusal in refusals)), ""), where)


def write_npz(items: Iterable[Item], file: IO[bytes]) -> dict[str, int]:
    """A zip of .npy entries, stored; names are kept as they are, and dates are fixed.

    The CRC-32 of each tensor's bytes by name, as from every writer.
    """
    crcs = {}
    with ZipWriter(file, alignment=_ALIGNMENT) as archive:
        for item in items:
            stored = npz_dtype(item.dtype)
            numpy_dtype = item.dtype.numpy if stored is None else np.dtype(stored)
            assert numpy_dtype is not None
            head = npy_header(numpy_dtype, item.shape)
            crcs[item.name] = archive.stream(item.name + _NPY, item.nbytes, partial(copy, item), head=head)
    return crcs


def npy_header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    """The header of a C-ordered .npy of format 1.0, as numpy.lib.format describes it."""
    described = f"{{'descr': {np.lib.format.dtype_to_descr(dtype)!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    padding = -(len(described) + 11) % 64
    text = described.encode("ascii") + b" " * padding + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def write_safetensors(
    items: Iterable[Item], file: IO[bytes], metadata: Mapping[str, str] | None = None
) -> dict[str, int]:
    """The layout of the reference writer: wide dtypes first, then by name, without gaps; `metadata` beside our own."""
    ordered = _in_order(items)
    header = _safetensors_header(ordered, _METADATA | dict(metadata or {}))
    file.write(struct.pack("<Q", len(header)))
    file.write(header)
    return {item.name: copy(item, file) for item in ordered}


def _in_order(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda item: (_RANKS[item.dtype.name], item.name))


def _safetensors_header(ordered: Sequence[Item], metadata: dict[str, str]) -> bytes:
    table: dict[str, object] = {"__metadata__": metadata}
    begin = 0
    for item in ordered:
        end = begin + item.nbytes
        table[item.name] = {
            "dtype": _CODES[item.dtype.name],
            "shape": list(item.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    header = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    header += b" " * (-len(header) % 8)
    if len(header) > _MAX_HEADER:
        raise ExportError(
            "The names make the header of model.safetensors too long.",
            cause=f"It takes {len(header):,} bytes, readers stop at {_MAX_HEADER:,}. Nothing was changed.",
            next_step="Shorten the names with a rule.",
            code="header-too-large",
        )
    return header


def _safetensors_refusal(item: Item) -> str:
    if item.dtype.name not in _CODES:
        return "safetensors has no such dtype"
    if item.name == "__metadata__":
        return "safetensors keeps this name for itself"
    return _no_text(item.name)


def _npz_refusal(item: Item) -> str:
    if item.dtype.numpy is None:
        return "numpy has no such dtype"
    if "\0" in item.name:
        return "npz ends a name at its first NUL character"
    if not _no_text(item.name) and len((item.name + _NPY).encode("utf-8")) > _MAX_ZIP_NAME:
        return f"npz allows names of {_MAX_ZIP_NAME:,} bytes"
    return _no_text(item.name)


def _no_text(name: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not valid Unicode text, which safetensors and npz need"
    return ""


_REFUSALS: Final = {"safetensors": _safetensors_refusal, "npz": _npz_refusal}
