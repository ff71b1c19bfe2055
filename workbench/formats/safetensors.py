"""safetensors, read as strictly as the reference reader does, and stricter where that one drops a name in silence."""

from __future__ import annotations

import json
from collections.abc import Collection
from itertools import count
from typing import Final

import numpy as np

from workbench.core.source import MAX_READ, ByteSource
from workbench.core.tensor import (
    DTYPES,
    MAX_RANK,
    Layout,
    Storage,
    TensorRef,
    contiguous_strides,
    new_storage,
)
from workbench.core.tensors import Tensors
from workbench.core.tree import Dict
from workbench.errors import OpenError, printable
from workbench.formats import strict_json
from workbench.formats.contents import Contents, fingerprint
from workbench.formats.limits import MAX_HEADER, MAX_ROWS
from workbench.formats.safetensors_tiles import LAYOUT, SURROGATE, Numbers, tiles

__all__ = ["name", "read", "sniff"]

name: Final = "safetensors"

# Header name: our dtype, and how many values of the header make one of ours.
_DTYPES: Final = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
    "F6_E2M3": "float6_e2m3fn",
    "F6_E3M2": "float6_e3m2fn",
    "F4": "float4_e2m1fn_x2",
}
_SIZE_LIMIT: Final = 1 << 64
_MAX_VALUES: Final = 16 * MAX_ROWS


def sniff(source: ByteSource) -> bool:
    """Whether a header length and a JSON object begin the file; the length may still be wrong."""
    if source.size < 9:
        return False
    head = source.read_exact(0, min(source.size, 64))
    n = int.from_bytes(head[:8], "little")
    begin = head[8:].lstrip(b" \t\r\n")
    return n <= MAX_HEADER and begin[:1] == b"{" and begin[1:].lstrip(b" \t\r\n")[:1] in (b'"', b"}", b"")


def _refuse(source: ByteSource, cause: str, *, code: str = "broken-header", place: str = "header") -> OpenError:
    return OpenError(
        "This safetensors file is cut off." if code == "cut-off" else "This safetensors file is broken.",
        path=source.path or source.name,
        place=place,
        cause=cause,
        next_step="Fetch it again, or ask its author for a file that the safetensors package loads.",
        code=code,
    )


def read(source: ByteSource) -> Contents:
    """Tensors in header order. OpenError unless header and file size agree to the byte."""
    n = int.from_bytes(source.read_exact(0, 8), "little")
    if n > source.size - 8:
        cause = f"Its header should take {n:,} bytes, but {source.size - 8:,} follow the length."
        raise _refuse(source, cause, code="cut-off", place="byte 0")
    raw = b"".join(source.read_exact(8 + at, min(MAX_READ, n - at)) for at in range(0, n, MAX_READ))
    quick = _quick(source, raw, 8 + n)
    metadata, tensors, begins, ends = _strict(source, raw, 8 + n) if quick is None else quick
    _check_tiles(source, tensors.keys, begins, ends, source.size - 8 - n)
    return Contents(name, Dict.of(tensors), tensors, (), metadata, fingerprint(n.to_bytes(8, "little"), raw))


_Table = tuple[dict[str, str], Tensors, Numbers, Numbers]
"""Metadata, tensors, and where the data of each begin and end."""


def _strict(source: ByteSource, raw: bytes, data: int) -> _Table:
    """The table of a header in any spelling; OpenError says what is wrong with it."""
    header = _parse(source, raw)
    metadata = _metadata(source, header.pop("__metadata__", None))
    if len(header) > MAX_ROWS:
        raise _refuse(source, f"It lists {len(header):,} tensors; the limit is {MAX_ROWS:,}.", code="too-many-tensors")
    tensors, begins, ends = [], [], []
    for key, entry in header.items():
        tensor, first, end = _tensor(source, key, entry, data)
        tensors.append(tensor)
        begins.append(first)
        ends.append(end)
    return metadata, Tensors(tensors), np.array(begins, np.int64), np.array(ends, np.int64)


def _quick(source: ByteSource, raw: bytes, data: int) -> _Table | None:
    """The same of a header in the usual spelling with nothing wrong; None for any other."""
    found = tiles(raw)
    if found is None or len(found.names) > MAX_ROWS:
        return None
    metadata, names, written, begins, ends = found
    layouts: dict[str, Layout] = {}
    sizes: dict[str, int] = {}
    for each, i in dict(zip(written, count(), strict=False)).items():
        first, end = int(begins[i]), int(ends[i])
        layout = _layout(source, names[i], each, first, end, data)
        if layout is None:
            return None
        layouts[each], sizes[each] = layout, end - first
    n = len(names)
    if (ends - begins != np.fromiter(map(sizes.__getitem__, written), np.int64, n)).any():
        return None
    if data + int(ends.max()) > source.size:
        return None
    laid = list(map(layouts.__getitem__, written))
    tensors = Tensors.apart(names, laid, _Places(source, data, begins, ends))
    if len(tensors.rows) < n or "__metadata__" in tensors.rows:
        return None
    return metadata, tensors, begins, ends


class _Places:
    """The storage of each tensor, by its number in the header."""

    __slots__ = ("_begins", "_data", "_ends", "source")

    def __init__(self, source: ByteSource, data: int, begins: Numbers, ends: Numbers) -> None:
        self.source = source
        self._data = data
        self._begins = begins
        self._ends = ends

    def storage(self, number: int) -> Storage:
        first, end = int(self._begins[number]), int(self._ends[number])
        return new_storage(f"data/{first}-{end}", end - first, self.source, self._data + first)

    def spans(self, numbers: Numbers) -> tuple[Numbers, Numbers]:
        begins = self._begins[numbers]
        return begins + self._data, self._ends[numbers] - begins


def _layout(source: ByteSource, key: str, written: str, first: int, end: int, data: int) -> Layout | None:
    """Dtype and shape as written, understood; None when they or the first tensor that has them is wrong."""
    match = LAYOUT.fullmatch(written)
    if match is None:
        return None
    shape = [int(size) for size in match[2].split(",")] if match[2] else []
    try:
        like, _, _ = _tensor(source, key, {"dtype": match[1], "shape": shape, "data_offsets": [first, end]}, data)
    except OpenError:
        return None
    return like.dtype, like.shape, like.strides, like.offset, like.unreadable


def _parse(source: ByteSource, raw: bytes) -> dict[str, object]:
    try:
        header = strict_json.parse(raw, max_values=_MAX_VALUES)
    except strict_json.JsonProblem as problem:
        place = "header" if problem.at < 0 else f"byte {8 + problem.at:,}"
        raise _refuse(source, f"In its header, {problem}.", place=place) from None
    if not isinstance(header, dict):
        raise _refuse(source, "Its header is no JSON object.")
    if SURROGATE.search(raw):
        try:
            json.dumps(header, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise _refuse(source, "Its header has half of a surrogate pair in a text.") from None
    return header


def _metadata(source: ByteSource, node: object) -> dict[str, str]:
    if node is None:
        return {}
    if not isinstance(node, dict):
        raise _refuse(source, "`__metadata__` is no JSON object.")
    for key, value in node.items():
        if not isinstance(value, str):
            raise _refuse(source, f"`__metadata__` {printable(key, 80)!r} is no text.")
    return node


def _counts(values: object, n: int | None = None) -> tuple[int, ...] | None:
    if not isinstance(values, list) or (n is not None and len(values) != n):
        return None
    if not all(type(value) is int and 0 <= value < _SIZE_LIMIT for value in values):
        return None
    return tuple(values)


def _product(shape: tuple[int, ...]) -> int:
    """The number of elements, or some number of 2^64 and up: a long shape must not cost numbers of a million digits."""
    n = 1
    for size in shape:
        n *= size
        if n >= _SIZE_LIMIT:
            return n
    return n


def _tensor(source: ByteSource, key: str, entry: object, data: int) -> tuple[TensorRef, int, int]:
    place = f"tensor {printable(key[:201], 200)!r}"
    if not isinstance(entry, dict):
        raise _refuse(source, "Its entry is no JSON object.", place=place)
    written = entry.get("dtype")
    dtype_name = _DTYPES.get(written) if isinstance(written, str) else None
    if dtype_name is None:
        shown = printable(repr(written)[:200], 60)
        raise _refuse(source, f"Its dtype {shown} is not known.", code="unknown-dtype", place=place)
    shape = _counts(entry.get("shape"))
    if shape is None:
        raise _refuse(source, "Its shape is no list of sizes.", place=place)
    offsets = _counts(entry.get("data_offsets"), 2)
    if offsets is None:
        raise _refuse(source, "Its data_offsets are not two counts of bytes.", place=place)
    first, end = offsets
    dtype = DTYPES[dtype_name]
    bits = 4 if written == "F4" else dtype.bits
    n_elements = _product(shape)
    if n_elements >= _SIZE_LIMIT:
        raise _refuse(source, "Its shape overflows.", place=place)
    if n_elements * bits != (end - first) * 8:
        expected = (n_elements * bits + 7) // 8
        cause = f"Its {n_elements:,} values of {written} take {expected:,} bytes, but it spans {first:,} to {end:,}."
        raise _refuse(source, cause, place=place)
    if data + end > source.size:
        cause = f"It needs bytes {data + first:,} to {data + end:,}, but the file ends at {source.size:,}."
        raise _refuse(source, cause, code="cut-off", place=place)
    unreadable = ""
    if written == "F4":
        # Two values a byte: torch counts bytes in the last dimension.
        if shape and shape[-1] % 2 == 0:
            shape = (*shape[:-1], shape[-1] // 2)
        else:
            shape = (end - first,)
    if dtype.numpy is None:
        unreadable = dtype.lacks_numpy
    elif len(shape) > MAX_RANK:
        unreadable = f"it has {len(shape):,} dimensions, numpy takes {MAX_RANK}"
    elif shape and max(shape) >= 1 << 63:
        unreadable = "its shape has more elements than memory can address"
    storage = Storage(f"data/{first}-{end}", end - first, source, data + first)
    return (
        TensorRef(key, (key,), dtype, shape, contiguous_strides(shape), 0, storage, unreadable=unreadable),
        first,
        end,
    )


def _check_tiles(source: ByteSource, names: Collection[str], begins: Numbers, ends: Numbers, n_data: int) -> None:
    """The tensors, sorted by place, must fill the data exactly: hidden bytes are where two readers part."""
    if len(names) and begins[0] == 0 and ends[-1] == n_data and (ends[:-1] == begins[1:]).all():
        return
    at, before = 0, ""
    for first, end, key in sorted(zip(begins.tolist(), ends.tolist(), names, strict=True)):
        if first != at:
            overlap = f"it overlaps {printable(repr(before), 200)}"
            what = f"{first - at:,} bytes before it belong to no tensor" if first > at else overlap
            raise _refuse(source, f"Its data begins at {first:,}, but {what}.", place=f"tensor {printable(key, 200)!r}")
        at, before = end, key
    if at != n_data:
        raise _refuse(
            source, f"{n_data - at:,} bytes follow the last tensor.", place=f"byte {source.size - n_data + at:,}"
        )
